/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 32-bit instruction formats. The 16-bit ones are in decode-rvc.c. */
#include "target/riscv/decode-rvc.h"

#define RD(b)     (((b) >> 7) & 31)
#define FUNCT3(b) (((b) >> 12) & 7)
#define RS1(b)    (((b) >> 15) & 31)
#define RS2(b)    (((b) >> 20) & 31)
#define RS3(b)    ((b) >> 27)
#define FUNCT7(b) ((b) >> 25)

static inline int32_t imm_i(uint32_t b)
{
    return (int32_t)b >> 20;
}

static inline int32_t imm_s(uint32_t b)
{
    return ((int32_t)(b & 0xfe000000) >> 20) | RD(b);
}

static inline int32_t imm_b(uint32_t b)
{
    return ((int32_t)(b & 0x80000000) >> 19) | ((b & 0x80) << 4) | ((b >> 20) & 0x7e0) |
           ((b >> 7) & 0x1e);
}

static inline int32_t imm_u(uint32_t b)
{
    return (int32_t)(b & 0xfffff000);
}

static inline int32_t imm_j(uint32_t b)
{
    return ((int32_t)(b & 0x80000000) >> 11) | (b & 0xff000) | ((b >> 9) & 0x800) |
           ((b >> 20) & 0x7fe);
}

/* The operation, or illegal when the extension bits @need are not all present. */
static inline RvOp gated(RvOp op, unsigned need, unsigned exts)
{
    return (exts & need) == need ? op : RV_OP_illegal;
}

static RvOp decode_op_imm(uint32_t b, unsigned exts, int32_t *imm)
{
    unsigned funct6 = b >> 26, shamt = (b >> 20) & 63;

    switch (FUNCT3(b)) {
    case 0:
        return RV_OP_addi;
    case 2:
        return RV_OP_slti;
    case 3:
        return RV_OP_sltiu;
    case 4:
        return RV_OP_xori;
    case 6:
        return RV_OP_ori;
    case 7:
        return RV_OP_andi;
    case 1:
        *imm = shamt;
        switch (funct6) {
        case 0x00:
            return RV_OP_slli;
        case 0x0a:
            return gated(RV_OP_bseti, RV_EXT_ZBS, exts);
        case 0x12:
            return gated(RV_OP_bclri, RV_EXT_ZBS, exts);
        case 0x1a:
            return gated(RV_OP_binvi, RV_EXT_ZBS, exts);
        case 0x18:
            switch (shamt) {
            case 0:
                return gated(RV_OP_clz, RV_EXT_ZBB, exts);
            case 1:
                return gated(RV_OP_ctz, RV_EXT_ZBB, exts);
            case 2:
                return gated(RV_OP_cpop, RV_EXT_ZBB, exts);
            case 4:
                return gated(RV_OP_sext_b, RV_EXT_ZBB, exts);
            case 5:
                return gated(RV_OP_sext_h, RV_EXT_ZBB, exts);
            }
        }
        return RV_OP_illegal;
    default: /* 5 */
        *imm = shamt;
        switch (funct6) {
        case 0x00:
            return RV_OP_srli;
        case 0x10:
            return RV_OP_srai;
        case 0x12:
            return gated(RV_OP_bexti, RV_EXT_ZBS, exts);
        case 0x18:
            return gated(RV_OP_rori, RV_EXT_ZBB, exts);
        case 0x0a:
            return shamt == 7 ? gated(RV_OP_orc_b, RV_EXT_ZBB, exts) : RV_OP_illegal;
        case 0x1a:
            return shamt == 56 ? gated(RV_OP_rev8, RV_EXT_ZBB, exts) : RV_OP_illegal;
        }
        return RV_OP_illegal;
    }
}

static RvOp decode_op_imm_32(uint32_t b, unsigned exts, int32_t *imm)
{
    unsigned funct7 = FUNCT7(b), shamt = RS2(b);

    switch (FUNCT3(b)) {
    case 0:
        return RV_OP_addiw;
    case 1:
        *imm = shamt;
        if (funct7 == 0) {
            return RV_OP_slliw;
        }
        if (funct7 >> 1 == 0x02) {
            *imm = (b >> 20) & 63;
            return gated(RV_OP_slli_uw, RV_EXT_ZBA, exts);
        }
        if (funct7 == 0x30 && shamt <= 2) {
            static const RvOp count[] = {RV_OP_clzw, RV_OP_ctzw, RV_OP_cpopw};

            return gated(count[shamt], RV_EXT_ZBB, exts);
        }
        return RV_OP_illegal;
    case 5:
        *imm = shamt;
        switch (funct7) {
        case 0x00:
            return RV_OP_srliw;
        case 0x20:
            return RV_OP_sraiw;
        case 0x30:
            return gated(RV_OP_roriw, RV_EXT_ZBB, exts);
        }
        return RV_OP_illegal;
    }
    return RV_OP_illegal;
}

#define KEY(funct7, funct3) ((funct7) << 3 | (funct3))

static RvOp decode_op(uint32_t b, unsigned exts)
{
    switch (KEY(FUNCT7(b), FUNCT3(b))) {
    case KEY(0x00, 0):
        return RV_OP_add;
    case KEY(0x20, 0):
        return RV_OP_sub;
    case KEY(0x00, 1):
        return RV_OP_sll;
    case KEY(0x00, 2):
        return RV_OP_slt;
    case KEY(0x00, 3):
        return RV_OP_sltu;
    case KEY(0x00, 4):
        return RV_OP_xor;
    case KEY(0x00, 5):
        return RV_OP_srl;
    case KEY(0x20, 5):
        return RV_OP_sra;
    case KEY(0x00, 6):
        return RV_OP_or;
    case KEY(0x00, 7):
        return RV_OP_and;
    case KEY(0x01, 0):
        return RV_OP_mul;
    case KEY(0x01, 1):
        return RV_OP_mulh;
    case KEY(0x01, 2):
        return RV_OP_mulhsu;
    case KEY(0x01, 3):
        return RV_OP_mulhu;
    case KEY(0x01, 4):
        return RV_OP_div;
    case KEY(0x01, 5):
        return RV_OP_divu;
    case KEY(0x01, 6):
        return RV_OP_rem;
    case KEY(0x01, 7):
        return RV_OP_remu;
    case KEY(0x10, 2):
        return gated(RV_OP_sh1add, RV_EXT_ZBA, exts);
    case KEY(0x10, 4):
        return gated(RV_OP_sh2add, RV_EXT_ZBA, exts);
    case KEY(0x10, 6):
        return gated(RV_OP_sh3add, RV_EXT_ZBA, exts);
    case KEY(0x20, 4):
        return gated(RV_OP_xnor, RV_EXT_ZBB, exts);
    case KEY(0x20, 6):
        return gated(RV_OP_orn, RV_EXT_ZBB, exts);
    case KEY(0x20, 7):
        return gated(RV_OP_andn, RV_EXT_ZBB, exts);
    case KEY(0x05, 4):
        return gated(RV_OP_min, RV_EXT_ZBB, exts);
    case KEY(0x05, 5):
        return gated(RV_OP_minu, RV_EXT_ZBB, exts);
    case KEY(0x05, 6):
        return gated(RV_OP_max, RV_EXT_ZBB, exts);
    case KEY(0x05, 7):
        return gated(RV_OP_maxu, RV_EXT_ZBB, exts);
    case KEY(0x30, 1):
        return gated(RV_OP_rol, RV_EXT_ZBB, exts);
    case KEY(0x30, 5):
        return gated(RV_OP_ror, RV_EXT_ZBB, exts);
    case KEY(0x05, 1):
        return gated(RV_OP_clmul, RV_EXT_ZBC, exts);
    case KEY(0x05, 2):
        return gated(RV_OP_clmulr, RV_EXT_ZBC, exts);
    case KEY(0x05, 3):
        return gated(RV_OP_clmulh, RV_EXT_ZBC, exts);
    case KEY(0x24, 1):
        return gated(RV_OP_bclr, RV_EXT_ZBS, exts);
    case KEY(0x14, 1):
        return gated(RV_OP_bset, RV_EXT_ZBS, exts);
    case KEY(0x34, 1):
        return gated(RV_OP_binv, RV_EXT_ZBS, exts);
    case KEY(0x24, 5):
        return gated(RV_OP_bext, RV_EXT_ZBS, exts);
    }
    return RV_OP_illegal;
}

static RvOp decode_op_32(uint32_t b, unsigned exts)
{
    switch (KEY(FUNCT7(b), FUNCT3(b))) {
    case KEY(0x00, 0):
        return RV_OP_addw;
    case KEY(0x20, 0):
        return RV_OP_subw;
    case KEY(0x00, 1):
        return RV_OP_sllw;
    case KEY(0x00, 5):
        return RV_OP_srlw;
    case KEY(0x20, 5):
        return RV_OP_sraw;
    case KEY(0x01, 0):
        return RV_OP_mulw;
    case KEY(0x01, 4):
        return RV_OP_divw;
    case KEY(0x01, 5):
        return RV_OP_divuw;
    case KEY(0x01, 6):
        return RV_OP_remw;
    case KEY(0x01, 7):
        return RV_OP_remuw;
    case KEY(0x04, 0):
        return gated(RV_OP_add_uw, RV_EXT_ZBA, exts);
    case KEY(0x10, 2):
        return gated(RV_OP_sh1add_uw, RV_EXT_ZBA, exts);
    case KEY(0x10, 4):
        return gated(RV_OP_sh2add_uw, RV_EXT_ZBA, exts);
    case KEY(0x10, 6):
        return gated(RV_OP_sh3add_uw, RV_EXT_ZBA, exts);
    case KEY(0x30, 1):
        return gated(RV_OP_rolw, RV_EXT_ZBB, exts);
    case KEY(0x30, 5):
        return gated(RV_OP_rorw, RV_EXT_ZBB, exts);
    case KEY(0x04, 4):
        return RS2(b) ? RV_OP_illegal : gated(RV_OP_zext_h, RV_EXT_ZBB, exts);
    }
    return RV_OP_illegal;
}

static RvOp decode_amo(uint32_t b)
{
    RvOp w;

    if (FUNCT3(b) != 2 && FUNCT3(b) != 3) {
        return RV_OP_illegal;
    }
    switch (b >> 27) {
    case 0x02:
        if (RS2(b)) {
            return RV_OP_illegal;
        }
        return FUNCT3(b) == 2 ? RV_OP_lr_w : RV_OP_lr_d;
    case 0x03:
        return FUNCT3(b) == 2 ? RV_OP_sc_w : RV_OP_sc_d;
    case 0x00:
        w = RV_OP_amoadd_w;
        break;
    case 0x01:
        w = RV_OP_amoswap_w;
        break;
    case 0x04:
        w = RV_OP_amoxor_w;
        break;
    case 0x08:
        w = RV_OP_amoor_w;
        break;
    case 0x0c:
        w = RV_OP_amoand_w;
        break;
    case 0x10:
        w = RV_OP_amomin_w;
        break;
    case 0x14:
        w = RV_OP_amomax_w;
        break;
    case 0x18:
        w = RV_OP_amominu_w;
        break;
    case 0x1c:
        w = RV_OP_amomaxu_w;
        break;
    default:
        return RV_OP_illegal;
    }
    return FUNCT3(b) == 2 ? w : w + (RV_OP_amoswap_d - RV_OP_amoswap_w);
}

/* Rounding modes 5 and 6 are reserved in the instruction; whether the dynamic one is legal is known
 * at run time. */
static inline RvOp rounded(RvOp op, uint32_t b)
{
    return FUNCT3(b) == 5 || FUNCT3(b) == 6 ? RV_OP_illegal : op;
}

static RvOp decode_fp_convert(uint32_t b)
{
    static const RvOp w_s[] = {RV_OP_fcvt_w_s, RV_OP_fcvt_wu_s, RV_OP_fcvt_l_s, RV_OP_fcvt_lu_s};
    static const RvOp w_d[] = {RV_OP_fcvt_w_d, RV_OP_fcvt_wu_d, RV_OP_fcvt_l_d, RV_OP_fcvt_lu_d};
    static const RvOp s_w[] = {RV_OP_fcvt_s_w, RV_OP_fcvt_s_wu, RV_OP_fcvt_s_l, RV_OP_fcvt_s_lu};
    static const RvOp d_w[] = {RV_OP_fcvt_d_w, RV_OP_fcvt_d_wu, RV_OP_fcvt_d_l, RV_OP_fcvt_d_lu};
    unsigned kind = RS2(b);

    switch (FUNCT7(b)) {
    case 0x60:
        return kind < 4 ? rounded(w_s[kind], b) : RV_OP_illegal;
    case 0x61:
        return kind < 4 ? rounded(w_d[kind], b) : RV_OP_illegal;
    case 0x68:
        return kind < 4 ? rounded(s_w[kind], b) : RV_OP_illegal;
    case 0x69:
        return kind < 4 ? rounded(d_w[kind], b) : RV_OP_illegal;
    case 0x20:
        return kind == 1 ? rounded(RV_OP_fcvt_s_d, b) : RV_OP_illegal;
    case 0x21:
        return kind == 0 ? rounded(RV_OP_fcvt_d_s, b) : RV_OP_illegal;
    }
    return RV_OP_illegal;
}

/* OP-FP; funct7 bit 0 selects double, and the double operation of each kind follows in the
 * enumeration. */
static RvOp decode_fp(uint32_t b)
{
    bool dbl = FUNCT7(b) & 1;
    unsigned f3 = FUNCT3(b);

    switch (FUNCT7(b) & ~1u) {
    case 0x00:
        return rounded(dbl ? RV_OP_fadd_d : RV_OP_fadd_s, b);
    case 0x04:
        return rounded(dbl ? RV_OP_fsub_d : RV_OP_fsub_s, b);
    case 0x08:
        return rounded(dbl ? RV_OP_fmul_d : RV_OP_fmul_s, b);
    case 0x0c:
        return rounded(dbl ? RV_OP_fdiv_d : RV_OP_fdiv_s, b);
    case 0x2c:
        return RS2(b) ? RV_OP_illegal : rounded(dbl ? RV_OP_fsqrt_d : RV_OP_fsqrt_s, b);
    case 0x10:
        return f3 < 3 ? (dbl ? RV_OP_fsgnj_d : RV_OP_fsgnj_s) + f3 : RV_OP_illegal;
    case 0x14:
        return f3 < 2 ? (dbl ? RV_OP_fmin_d : RV_OP_fmin_s) + f3 : RV_OP_illegal;
    case 0x50:
        return f3 < 3 ? (dbl ? RV_OP_fle_d : RV_OP_fle_s) + f3 : RV_OP_illegal;
    case 0x70:
        if (RS2(b) || f3 > 1) {
            return RV_OP_illegal;
        }
        if (f3 == 1) {
            return dbl ? RV_OP_fclass_d : RV_OP_fclass_s;
        }
        return dbl ? RV_OP_fmv_x_d : RV_OP_fmv_x_w;
    case 0x78:
        if (RS2(b) || f3) {
            return RV_OP_illegal;
        }
        return dbl ? RV_OP_fmv_d_x : RV_OP_fmv_w_x;
    }
    return decode_fp_convert(b);
}

static RvOp decode_fma(uint32_t b)
{
    static const RvOp ops[4][2] = {
        {RV_OP_fmadd_s, RV_OP_fmadd_d},
        {RV_OP_fmsub_s, RV_OP_fmsub_d},
        {RV_OP_fnmsub_s, RV_OP_fnmsub_d},
        {RV_OP_fnmadd_s, RV_OP_fnmadd_d},
    };
    unsigned fmt = (b >> 25) & 3;

    return fmt > 1 ? RV_OP_illegal : rounded(ops[(b >> 2) & 3][fmt], b);
}

static RvOp decode_system(uint32_t b, unsigned exts)
{
    static const RvOp csr[8] = {
        RV_OP_illegal, RV_OP_csrrw,  RV_OP_csrrs,  RV_OP_csrrc,
        RV_OP_illegal, RV_OP_csrrwi, RV_OP_csrrsi, RV_OP_csrrci,
    };

    if (FUNCT3(b)) {
        return gated(csr[FUNCT3(b)], RV_EXT_ZICSR, exts);
    }
    if (FUNCT7(b) == 0x09 && !RD(b)) {
        return RV_OP_sfence_vma;
    }
    switch (b) {
    case 0x00000073:
        return RV_OP_ecall;
    case 0x00100073:
        return RV_OP_ebreak;
    case 0x30200073:
        return RV_OP_mret;
    case 0x10200073:
        return RV_OP_sret;
    case 0x10500073:
        return RV_OP_wfi;
    }
    return RV_OP_illegal;
}

static RvInsn decode32(uint32_t b, unsigned exts)
{
    static const RvOp load[8] = {RV_OP_lb,  RV_OP_lh,  RV_OP_lw,  RV_OP_ld,
                                 RV_OP_lbu, RV_OP_lhu, RV_OP_lwu, RV_OP_illegal};
    static const RvOp branch[8] = {RV_OP_beq, RV_OP_bne, RV_OP_illegal, RV_OP_illegal,
                                   RV_OP_blt, RV_OP_bge, RV_OP_bltu,    RV_OP_bgeu};
    RvInsn in = {.len = 4, .op = RV_OP_illegal, .rd = RD(b), .rs1 = RS1(b), .rs2 = RS2(b)};
    unsigned f3 = FUNCT3(b);

    switch (b & 0x7f) {
    case 0x03:
        in.op = load[f3];
        in.imm = imm_i(b);
        break;
    case 0x07:
        in.op = f3 == 2   ? gated(RV_OP_flw, RV_EXT_F, exts)
                : f3 == 3 ? gated(RV_OP_fld, RV_EXT_D, exts)
                          : RV_OP_illegal;
        in.imm = imm_i(b);
        break;
    case 0x0f:
        in.op = f3 == 0   ? RV_OP_fence
                : f3 == 1 ? gated(RV_OP_fence_i, RV_EXT_ZIFENCEI, exts)
                          : RV_OP_illegal;
        break;
    case 0x13:
        in.imm = imm_i(b);
        in.op = decode_op_imm(b, exts, &in.imm);
        break;
    case 0x17:
        in.op = RV_OP_auipc;
        in.imm = imm_u(b);
        break;
    case 0x1b:
        in.imm = imm_i(b);
        in.op = decode_op_imm_32(b, exts, &in.imm);
        break;
    case 0x23:
        in.op = f3 < 4 ? RV_OP_sb + f3 : RV_OP_illegal;
        in.imm = imm_s(b);
        break;
    case 0x27:
        in.op = f3 == 2   ? gated(RV_OP_fsw, RV_EXT_F, exts)
                : f3 == 3 ? gated(RV_OP_fsd, RV_EXT_D, exts)
                          : RV_OP_illegal;
        in.imm = imm_s(b);
        break;
    case 0x2f:
        in.op = decode_amo(b);
        break;
    case 0x33:
        in.op = decode_op(b, exts);
        break;
    case 0x37:
        in.op = RV_OP_lui;
        in.imm = imm_u(b);
        break;
    case 0x3b:
        in.op = decode_op_32(b, exts);
        break;
    case 0x43:
    case 0x47:
    case 0x4b:
    case 0x4f:
        in.op = gated(decode_fma(b), b & 1 << 25 ? RV_EXT_D : RV_EXT_F, exts);
        in.imm = f3 | RS3(b) << 3;
        break;
    case 0x53:
        in.op = decode_fp(b);
        in.op = gated(in.op, in.op == RV_OP_fcvt_s_d || FUNCT7(b) & 1 ? RV_EXT_D : RV_EXT_F, exts);
        in.imm = f3;
        break;
    case 0x63:
        in.op = branch[f3];
        in.imm = imm_b(b);
        break;
    case 0x67:
        in.op = f3 ? RV_OP_illegal : RV_OP_jalr;
        in.imm = imm_i(b);
        break;
    case 0x6f:
        in.op = RV_OP_jal;
        in.imm = imm_j(b);
        break;
    case 0x73:
        in.op = decode_system(b, exts);
        in.imm = b >> 20;
        break;
    }
    if (in.op == RV_OP_illegal) {
        in.imm = (int32_t)b;
    }
    return in;
}

RvInsn rv_decode(uint32_t bits, unsigned exts)
{
    if (rv_insn_len(bits) == 4) {
        return decode32(bits, exts);
    }
    return rvc_decode(bits, exts);
}

const char *rv_op_name(RvOp op)
{
    static const char *const names[] = {
#define X(name) #name,
        RV_OPS_ALL(X)
#undef X
    };

    return op < RV_OP__MAX ? names[op] : "?";
}
