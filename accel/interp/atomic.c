/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The A extension on the host's own atomic instructions (spec 81 section 5): sequentially
 * consistent, whatever aq and rl say. LR remembers the address and the value; SC is a
 * compare-and-swap against that value.
 */
#include "accel/interp/interp.h"
#include "memory/dirty-log.h"

/* Where an atomic access goes. A page without a cached write permission is marked by hand after the
 * access. */
typedef struct {
    void *host;
    RAMBlock *block;
    ram_addr_t offset;
} AtomicTarget;

static bool atomic_target(InterpVCPU *v, uint64_t addr, unsigned size, AtomicTarget *t)
{
    CPURISCVState *env = &v->cpu->env;
    SoftTLBEntry *e = softtlb_entry(&env->tlb[env->mmu_idx_data], addr);
    RISCVException excp;
    MemoryTranslation mt;
    hwaddr paddr;

    t->block = NULL;
    if (e->tag_write == (addr & TARGET_PAGE_MASK)) {
        t->host = (void *)(addr + e->addend);
        return true;
    }
    excp = riscv_translate(v->cpu, addr, size, ACCESS_STORE, env->mmu_idx_data, &paddr);
    if (excp != RISCV_EXCP_NONE) {
        return exec_fail(v, excp, env->badaddr);
    }
    address_space_translate(v->cpu->as, paddr, &mt);
    if (!mt.host || !mt.writable || mt.len < size) {
        return exec_fail(v, RISCV_EXCP_STORE_ACCESS, addr);
    }
    t->host = mt.host;
    t->block = mt.mr->block;
    t->offset = mt.mr->block_offset + mt.offset;
    return true;
}

static void atomic_written(const AtomicTarget *t, unsigned size)
{
    if (t->block) {
        dirty_log_mark(t->block, t->offset, size);
    }
}

GUEST_ACCESS static bool load_reserved(InterpVCPU *v, uint64_t addr, unsigned size,
                                       uint64_t *result)
{
    CPURISCVState *env = &v->cpu->env;
    SoftTLBEntry *e = softtlb_entry(&env->tlb[env->mmu_idx_data], addr);
    uint64_t value;

    if (e->tag_read == (addr & TARGET_PAGE_MASK)) {
        const void *host = (const void *)(addr + e->addend);

        value = size == 4 ? __atomic_load_n((const uint32_t *)host, __ATOMIC_SEQ_CST)
                          : __atomic_load_n((const uint64_t *)host, __ATOMIC_SEQ_CST);
    } else {
        value = exec_load_slow(v, addr, size);
        if (v->excp != RISCV_EXCP_NONE) {
            return false;
        }
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    }
    if (size == 4) {
        value = (int64_t)(int32_t)value;
    }
    env->load_res = addr;
    env->load_val = value;
    *result = value;
    return true;
}

GUEST_ACCESS static bool store_conditional(InterpVCPU *v, uint64_t addr, unsigned size,
                                           uint64_t value, uint64_t *result)
{
    CPURISCVState *env = &v->cpu->env;
    bool reserved = env->load_res == addr;
    AtomicTarget t;

    env->load_res = UINT64_MAX;
    *result = 1;
    if (!reserved || addr & (size - 1)) {
        return true;
    }
    if (!atomic_target(v, addr, size, &t)) {
        return false;
    }
    if (size == 4) {
        uint32_t expected = env->load_val;

        /* An LR.D of anything that is not such a word reserved something else. */
        if (env->load_val != (uint64_t)(int32_t)expected) {
            return true;
        }
        *result = !__atomic_compare_exchange_n((uint32_t *)t.host, &expected, (uint32_t)value,
                                               false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    } else {
        uint64_t expected = env->load_val;

        *result = !__atomic_compare_exchange_n((uint64_t *)t.host, &expected, value, false,
                                               __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    atomic_written(&t, size);
    return true;
}

/* *p = better(*p, v) as one step; @type decides the comparison. */
#define ATOMIC_CHOOSE(type, utype, host, operand, cmp)                                       \
    ({                                                                                       \
        utype old_ = __atomic_load_n((utype *)(host), __ATOMIC_RELAXED);                     \
        while (!__atomic_compare_exchange_n(                                                 \
            (utype *)(host), &old_, (type)old_ cmp(type)(operand) ? old_ : (utype)(operand), \
            false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {                                    \
        }                                                                                    \
        old_;                                                                                \
    })

GUEST_ACCESS static uint32_t amo32(RvOp op, uint32_t *host, uint32_t b)
{
    switch (op) {
    case RV_OP_amoswap_w:
        return __atomic_exchange_n(host, b, __ATOMIC_SEQ_CST);
    case RV_OP_amoadd_w:
        return __atomic_fetch_add(host, b, __ATOMIC_SEQ_CST);
    case RV_OP_amoxor_w:
        return __atomic_fetch_xor(host, b, __ATOMIC_SEQ_CST);
    case RV_OP_amoand_w:
        return __atomic_fetch_and(host, b, __ATOMIC_SEQ_CST);
    case RV_OP_amoor_w:
        return __atomic_fetch_or(host, b, __ATOMIC_SEQ_CST);
    case RV_OP_amomin_w:
        return ATOMIC_CHOOSE(int32_t, uint32_t, host, b, <=);
    case RV_OP_amomax_w:
        return ATOMIC_CHOOSE(int32_t, uint32_t, host, b, >=);
    case RV_OP_amominu_w:
        return ATOMIC_CHOOSE(uint32_t, uint32_t, host, b, <=);
    default: /* amomaxu.w */
        return ATOMIC_CHOOSE(uint32_t, uint32_t, host, b, >=);
    }
}

GUEST_ACCESS static uint64_t amo64(RvOp op, uint64_t *host, uint64_t b)
{
    switch (op) {
    case RV_OP_amoswap_d:
        return __atomic_exchange_n(host, b, __ATOMIC_SEQ_CST);
    case RV_OP_amoadd_d:
        return __atomic_fetch_add(host, b, __ATOMIC_SEQ_CST);
    case RV_OP_amoxor_d:
        return __atomic_fetch_xor(host, b, __ATOMIC_SEQ_CST);
    case RV_OP_amoand_d:
        return __atomic_fetch_and(host, b, __ATOMIC_SEQ_CST);
    case RV_OP_amoor_d:
        return __atomic_fetch_or(host, b, __ATOMIC_SEQ_CST);
    case RV_OP_amomin_d:
        return ATOMIC_CHOOSE(int64_t, uint64_t, host, b, <=);
    case RV_OP_amomax_d:
        return ATOMIC_CHOOSE(int64_t, uint64_t, host, b, >=);
    case RV_OP_amominu_d:
        return ATOMIC_CHOOSE(uint64_t, uint64_t, host, b, <=);
    default: /* amomaxu.d */
        return ATOMIC_CHOOSE(uint64_t, uint64_t, host, b, >=);
    }
}

static bool amo(InterpVCPU *v, RvOp op, uint64_t addr, unsigned size, uint64_t b, uint64_t *result)
{
    AtomicTarget t;

    if (!atomic_target(v, addr, size, &t)) {
        return false;
    }
    *result = size == 4 ? (uint64_t)(int32_t)amo32(op, t.host, b) : amo64(op, t.host, b);
    atomic_written(&t, size);
    return true;
}

bool exec_amo(InterpVCPU *v, const Op *op)
{
    CPURISCVState *env = &v->cpu->env;
    RvOp kind = op->imm;
    bool is_sc = kind == RV_OP_sc_w || kind == RV_OP_sc_d;
    bool dword = kind == RV_OP_lr_d || kind == RV_OP_sc_d || kind >= RV_OP_amoswap_d;
    unsigned size = dword ? 8 : 4;
    uint64_t addr = env->gpr[op->rs1], result;
    bool is_lr = kind == RV_OP_lr_w || kind == RV_OP_lr_d;
    bool ok;

    /* Like stock a misaligned SC merely fails. */
    if (addr & (size - 1) && !is_sc) {
        return exec_fail(v, is_lr ? RISCV_EXCP_LOAD_ADDR_MIS : RISCV_EXCP_STORE_ADDR_MIS, addr);
    }
    if (is_lr) {
        ok = load_reserved(v, addr, size, &result);
    } else if (is_sc) {
        ok = store_conditional(v, addr, size, env->gpr[op->rs2], &result);
    } else {
        ok = amo(v, kind, addr, size, env->gpr[op->rs2], &result);
    }
    if (ok && op->rd) {
        env->gpr[op->rd] = result;
    }
    return ok;
}
