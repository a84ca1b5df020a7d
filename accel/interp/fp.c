/* SPDX-License-Identifier: GPL-2.0-or-later */
/* F and D (spec 81 section 6): access checks, operands and flags; the arithmetic is target's. */
#include "accel/interp/interp.h"
#include "target/riscv-fpu.h"

#define MSTATUS_FS (UINT64_C(3) << 13)

/* The register file, or what is reserved about it, makes the instruction illegal. */
static bool fp_illegal(InterpVCPU *v)
{
    return exec_fail(v, RISCV_EXCP_ILLEGAL_INST, 0);
}

static inline bool fp_off(const CPURISCVState *env)
{
    return !(env->mstatus & MSTATUS_FS);
}

static inline void set_fpr(CPURISCVState *env, unsigned rd, uint64_t value)
{
    env->fpr[rd] = value;
    env->mstatus |= MSTATUS_FS;
}

GUEST_ACCESS bool exec_fp_load(InterpVCPU *v, const Op *op, unsigned size)
{
    CPURISCVState *env = &v->cpu->env;
    uint64_t addr = env->gpr[op->rs1] + (int64_t)op->imm, value;
    SoftTLBEntry *e = softtlb_entry(&env->tlb[env->mmu_idx_data], addr);

    if (fp_off(env)) {
        return fp_illegal(v);
    }
    if (e->tag_read == (addr & (TARGET_PAGE_MASK | (size - 1)))) {
        const void *host = (const void *)(addr + e->addend);

        value = size == 4 ? __atomic_load_n((const uint32_t *)host, __ATOMIC_RELAXED)
                          : __atomic_load_n((const uint64_t *)host, __ATOMIC_RELAXED);
    } else {
        value = exec_load_slow(v, addr, size);
        if (v->excp != RISCV_EXCP_NONE) {
            return false;
        }
    }
    set_fpr(env, op->rd, size == 4 ? fp_box32(value) : value);
    return true;
}

GUEST_ACCESS bool exec_fp_store(InterpVCPU *v, const Op *op, unsigned size)
{
    CPURISCVState *env = &v->cpu->env;
    uint64_t addr = env->gpr[op->rs1] + (int64_t)op->imm, value = env->fpr[op->rs2];
    SoftTLBEntry *e = softtlb_entry(&env->tlb[env->mmu_idx_data], addr);

    if (fp_off(env)) {
        return fp_illegal(v);
    }
    if (e->tag_write == (addr & (TARGET_PAGE_MASK | (size - 1)))) {
        void *host = (void *)(addr + e->addend);

        if (size == 4) {
            __atomic_store_n((uint32_t *)host, (uint32_t)value, __ATOMIC_RELAXED);
        } else {
            __atomic_store_n((uint64_t *)host, value, __ATOMIC_RELAXED);
        }
        return true;
    }
    exec_store_slow(v, addr, size, value);
    return v->excp == RISCV_EXCP_NONE;
}

static uint32_t sgnj32(unsigned kind, uint32_t a, uint32_t b)
{
    uint32_t sign = UINT32_C(1) << 31;

    b = kind == 0 ? b : kind == 1 ? ~b : a ^ b;
    return (a & ~sign) | (b & sign);
}

static uint64_t sgnj64(unsigned kind, uint64_t a, uint64_t b)
{
    uint64_t sign = UINT64_C(1) << 63;

    b = kind == 0 ? b : kind == 1 ? ~b : a ^ b;
    return (a & ~sign) | (b & sign);
}

/* Fused multiply-add forms differ in the signs of product and addend. */
static uint32_t fma32(unsigned kind, uint32_t a, uint32_t b, uint32_t c, int rm, uint32_t *flags)
{
    uint32_t sign = UINT32_C(1) << 31;

    return fp32_fma(kind >= 2 ? a ^ sign : a, b, kind == 1 || kind == 3 ? c ^ sign : c, rm, flags);
}

static uint64_t fma64(unsigned kind, uint64_t a, uint64_t b, uint64_t c, int rm, uint32_t *flags)
{
    uint64_t sign = UINT64_C(1) << 63;

    return fp64_fma(kind >= 2 ? a ^ sign : a, b, kind == 1 || kind == 3 ? c ^ sign : c, rm, flags);
}

/* Does the operation read its rm field as a rounding mode? */
static bool uses_rounding(RvOp op)
{
    return op <= RV_OP_fsqrt_d || (op >= RV_OP_fcvt_w_s && op <= RV_OP_fcvt_d_s);
}

static bool writes_gpr(RvOp op)
{
    return (op >= RV_OP_fle_s && op <= RV_OP_fcvt_lu_s) ||
           (op >= RV_OP_fcvt_w_d && op <= RV_OP_fcvt_lu_d) || op == RV_OP_fmv_x_w ||
           op == RV_OP_fmv_x_d || op >= RV_OP_fclass_s;
}

typedef struct {
    uint64_t a, b, c; /* raw FP registers rs1, rs2, rs3 */
    uint64_t x;       /* integer register rs1 */
    int rm;
} FpArgs;

#define S(v) fp_unbox32(v)

/* Operations on two FP registers that give one. */
static uint64_t fp_arith(RvOp op, const FpArgs *g, uint32_t *flags)
{
    static const FpBinOp binop[] = {FP_ADD, FP_SUB, FP_MUL, FP_DIV};

    switch (op) {
    case RV_OP_fmadd_s ... RV_OP_fnmadd_s:
        return fp_box32(fma32(op - RV_OP_fmadd_s, S(g->a), S(g->b), S(g->c), g->rm, flags));
    case RV_OP_fmadd_d ... RV_OP_fnmadd_d:
        return fma64(op - RV_OP_fmadd_d, g->a, g->b, g->c, g->rm, flags);
    case RV_OP_fadd_s ... RV_OP_fdiv_s:
        return fp_box32(fp32_binop(binop[op - RV_OP_fadd_s], S(g->a), S(g->b), g->rm, flags));
    case RV_OP_fadd_d ... RV_OP_fdiv_d:
        return fp64_binop(binop[op - RV_OP_fadd_d], g->a, g->b, g->rm, flags);
    case RV_OP_fsqrt_s:
        return fp_box32(fp32_sqrt(S(g->a), g->rm, flags));
    case RV_OP_fsqrt_d:
        return fp64_sqrt(g->a, g->rm, flags);
    case RV_OP_fsgnj_s ... RV_OP_fsgnjx_s:
        return fp_box32(sgnj32(op - RV_OP_fsgnj_s, S(g->a), S(g->b)));
    case RV_OP_fsgnj_d ... RV_OP_fsgnjx_d:
        return sgnj64(op - RV_OP_fsgnj_d, g->a, g->b);
    case RV_OP_fmin_s:
        return fp_box32(fp32_binop(FP_MIN, S(g->a), S(g->b), g->rm, flags));
    case RV_OP_fmax_s:
        return fp_box32(fp32_binop(FP_MAX, S(g->a), S(g->b), g->rm, flags));
    case RV_OP_fmin_d:
        return fp64_binop(FP_MIN, g->a, g->b, g->rm, flags);
    default: /* fmax.d */
        return fp64_binop(FP_MAX, g->a, g->b, g->rm, flags);
    }
}

/* Comparisons, conversions, moves, classification. */
static uint64_t fp_convert(RvOp op, const FpArgs *g, uint32_t *flags)
{
    unsigned k;

    switch (op) {
    case RV_OP_fle_s ... RV_OP_feq_s:
        return fp32_cmp(FP_LE + (op - RV_OP_fle_s), S(g->a), S(g->b), flags);
    case RV_OP_fle_d ... RV_OP_feq_d:
        return fp64_cmp(FP_LE + (op - RV_OP_fle_d), g->a, g->b, flags);
    case RV_OP_fcvt_w_s ... RV_OP_fcvt_lu_s:
        k = op - RV_OP_fcvt_w_s;
        return fp32_to_int(S(g->a), k >= 2, k & 1, g->rm, flags);
    case RV_OP_fcvt_w_d ... RV_OP_fcvt_lu_d:
        k = op - RV_OP_fcvt_w_d;
        return fp64_to_int(g->a, k >= 2, k & 1, g->rm, flags);
    case RV_OP_fcvt_s_w ... RV_OP_fcvt_s_lu:
        k = op - RV_OP_fcvt_s_w;
        return fp_box32(fp32_from_int(g->x, k >= 2, k & 1, g->rm, flags));
    case RV_OP_fcvt_d_w ... RV_OP_fcvt_d_lu:
        k = op - RV_OP_fcvt_d_w;
        return fp64_from_int(g->x, k >= 2, k & 1, g->rm, flags);
    case RV_OP_fcvt_s_d:
        return fp_box32(fp64_to_fp32(g->a, g->rm, flags));
    case RV_OP_fcvt_d_s:
        return fp32_to_fp64(S(g->a), flags);
    case RV_OP_fmv_x_w:
        return (int64_t)(int32_t)g->a;
    case RV_OP_fmv_w_x:
        return fp_box32(g->x);
    case RV_OP_fmv_x_d:
        return g->a;
    case RV_OP_fmv_d_x:
        return g->x;
    case RV_OP_fclass_s:
        return fp32_class(S(g->a));
    default: /* fclass.d */
        return fp64_class(g->a);
    }
}

bool exec_fp(InterpVCPU *v, const Op *op)
{
    CPURISCVState *env = &v->cpu->env;
    RvOp kind = (uint32_t)op->imm >> 8;
    FpArgs g = {
        .a = env->fpr[op->rs1],
        .b = env->fpr[op->rs2],
        .c = env->fpr[(op->imm >> 3) & 31],
        .x = env->gpr[op->rs1],
        .rm = op->imm & 7,
    };
    uint32_t flags = env->fflags;
    uint64_t result;

    if (fp_off(env)) {
        return fp_illegal(v);
    }
    if (uses_rounding(kind)) {
        if (g.rm == 7) {
            g.rm = env->frm;
        }
        if (g.rm > 4) {
            return fp_illegal(v);
        }
    }
    result = kind < RV_OP_fle_s ? fp_arith(kind, &g, &flags) : fp_convert(kind, &g, &flags);
    if (flags != env->fflags) {
        env->fflags = flags;
        env->mstatus |= MSTATUS_FS;
    }
    if (!writes_gpr(kind)) {
        set_fpr(env, op->rd, result);
    } else if (op->rd) {
        env->gpr[op->rd] = result;
    }
    return true;
}
