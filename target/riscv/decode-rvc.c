/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 16-bit instructions of C (with F and D), each expanded to the operation it abbreviates. */
#include "target/riscv/decode-rvc.h"

/* Bits [hi:lo] of @b moved to bit @to. */
#define FIELD(b, hi, lo, to) ((((uint32_t)(b) >> (lo)) & ((1u << ((hi) - (lo) + 1)) - 1)) << (to))
#define SIGN(b)              (-(int32_t)(((b) >> 12) & 1))

#define RD(b)     (((b) >> 7) & 31)
#define RS2(b)    (((b) >> 2) & 31)
#define RD_P(b)   ((((b) >> 2) & 7) + 8) /* rd' or rs2' */
#define RS1_P(b)  ((((b) >> 7) & 7) + 8) /* rs1' or rd'/rs1' */
#define FUNCT3(b) ((b) >> 13)

static inline int32_t imm6(uint16_t b)
{
    return SIGN(b) * 32 | FIELD(b, 6, 2, 0);
}

static inline int32_t uimm6(uint16_t b)
{
    return FIELD(b, 12, 12, 5) | FIELD(b, 6, 2, 0);
}

static inline int32_t imm_j(uint16_t b)
{
    return SIGN(b) * 2048 | FIELD(b, 11, 11, 4) | FIELD(b, 10, 9, 8) | FIELD(b, 8, 8, 10) |
           FIELD(b, 7, 7, 6) | FIELD(b, 6, 6, 7) | FIELD(b, 5, 3, 1) | FIELD(b, 2, 2, 5);
}

static inline int32_t imm_b(uint16_t b)
{
    return SIGN(b) * 256 | FIELD(b, 11, 10, 3) | FIELD(b, 6, 5, 6) | FIELD(b, 4, 3, 1) |
           FIELD(b, 2, 2, 5);
}

static RvInsn make(RvOp op, unsigned rd, unsigned rs1, unsigned rs2, int32_t imm)
{
    return (RvInsn){.op = op, .len = 2, .rd = rd, .rs1 = rs1, .rs2 = rs2, .imm = imm};
}

static RvInsn illegal(uint16_t b)
{
    return make(RV_OP_illegal, 0, 0, 0, b);
}

/* Quadrant 0: sp-relative address, and loads and stores of the eight popular registers. */
static RvInsn decode_q0(uint16_t b, unsigned exts)
{
    int32_t off_w = FIELD(b, 12, 10, 3) | FIELD(b, 6, 6, 2) | FIELD(b, 5, 5, 6);
    int32_t off_d = FIELD(b, 12, 10, 3) | FIELD(b, 6, 5, 6);
    int32_t nzuimm;

    switch (FUNCT3(b)) {
    case 0: /* c.addi4spn */
        nzuimm = FIELD(b, 12, 11, 4) | FIELD(b, 10, 7, 6) | FIELD(b, 6, 6, 2) | FIELD(b, 5, 5, 3);
        return nzuimm ? make(RV_OP_addi, RD_P(b), 2, 0, nzuimm) : illegal(b);
    case 1:
        return exts & RV_EXT_D ? make(RV_OP_fld, RD_P(b), RS1_P(b), 0, off_d) : illegal(b);
    case 2:
        return make(RV_OP_lw, RD_P(b), RS1_P(b), 0, off_w);
    case 3:
        return make(RV_OP_ld, RD_P(b), RS1_P(b), 0, off_d);
    case 5:
        return exts & RV_EXT_D ? make(RV_OP_fsd, 0, RS1_P(b), RD_P(b), off_d) : illegal(b);
    case 6:
        return make(RV_OP_sw, 0, RS1_P(b), RD_P(b), off_w);
    case 7:
        return make(RV_OP_sd, 0, RS1_P(b), RD_P(b), off_d);
    }
    return illegal(b); /* 4: reserved */
}

static RvInsn decode_q1_alu(uint16_t b)
{
    static const RvOp rr[8] = {RV_OP_sub,  RV_OP_xor,  RV_OP_or,      RV_OP_and,
                               RV_OP_subw, RV_OP_addw, RV_OP_illegal, RV_OP_illegal};
    unsigned rd = RS1_P(b);
    RvOp op;

    switch ((b >> 10) & 3) {
    case 0:
        return make(RV_OP_srli, rd, rd, 0, uimm6(b));
    case 1:
        return make(RV_OP_srai, rd, rd, 0, uimm6(b));
    case 2:
        return make(RV_OP_andi, rd, rd, 0, imm6(b));
    }
    op = rr[FIELD(b, 12, 12, 2) | FIELD(b, 6, 5, 0)];
    return op == RV_OP_illegal ? illegal(b) : make(op, rd, rd, RD_P(b), 0);
}

static RvInsn decode_q1(uint16_t b)
{
    unsigned rd = RD(b);
    int32_t imm;

    switch (FUNCT3(b)) {
    case 0: /* c.nop, c.addi and their hints */
        return make(RV_OP_addi, rd, rd, 0, imm6(b));
    case 1:
        return rd ? make(RV_OP_addiw, rd, rd, 0, imm6(b)) : illegal(b);
    case 2: /* c.li */
        return make(RV_OP_addi, rd, 0, 0, imm6(b));
    case 3:
        if (rd == 2) { /* c.addi16sp */
            imm = SIGN(b) * 512 | FIELD(b, 6, 6, 4) | FIELD(b, 5, 5, 6) | FIELD(b, 4, 3, 7) |
                  FIELD(b, 2, 2, 5);
            return imm ? make(RV_OP_addi, 2, 2, 0, imm) : illegal(b);
        }
        imm = imm6(b) * 4096;
        return imm ? make(RV_OP_lui, rd, 0, 0, imm) : illegal(b);
    case 4:
        return decode_q1_alu(b);
    case 5:
        return make(RV_OP_jal, 0, 0, 0, imm_j(b));
    case 6:
        return make(RV_OP_beq, 0, RS1_P(b), 0, imm_b(b));
    default:
        return make(RV_OP_bne, 0, RS1_P(b), 0, imm_b(b));
    }
}

static RvInsn decode_q2(uint16_t b, unsigned exts)
{
    unsigned rd = RD(b), rs2 = RS2(b);
    int32_t load_d = FIELD(b, 12, 12, 5) | FIELD(b, 6, 5, 3) | FIELD(b, 4, 2, 6);
    int32_t load_w = FIELD(b, 12, 12, 5) | FIELD(b, 6, 4, 2) | FIELD(b, 3, 2, 6);
    int32_t store_d = FIELD(b, 12, 10, 3) | FIELD(b, 9, 7, 6);
    int32_t store_w = FIELD(b, 12, 9, 2) | FIELD(b, 8, 7, 6);

    switch (FUNCT3(b)) {
    case 0:
        return make(RV_OP_slli, rd, rd, 0, uimm6(b));
    case 1:
        return exts & RV_EXT_D ? make(RV_OP_fld, rd, 2, 0, load_d) : illegal(b);
    case 2:
        return rd ? make(RV_OP_lw, rd, 2, 0, load_w) : illegal(b);
    case 3:
        return rd ? make(RV_OP_ld, rd, 2, 0, load_d) : illegal(b);
    case 4:
        if (!(b & 1 << 12)) {
            if (rs2) { /* c.mv */
                return make(RV_OP_add, rd, 0, rs2, 0);
            }
            return rd ? make(RV_OP_jalr, 0, rd, 0, 0) : illegal(b);
        }
        if (rs2) { /* c.add */
            return make(RV_OP_add, rd, rd, rs2, 0);
        }
        return rd ? make(RV_OP_jalr, 1, rd, 0, 0) : make(RV_OP_ebreak, 0, 0, 0, 0);
    case 5:
        return exts & RV_EXT_D ? make(RV_OP_fsd, 0, 2, rs2, store_d) : illegal(b);
    case 6:
        return make(RV_OP_sw, 0, 2, rs2, store_w);
    default:
        return make(RV_OP_sd, 0, 2, rs2, store_d);
    }
}

RvInsn rvc_decode(uint16_t bits, unsigned exts)
{
    if (!(exts & RV_EXT_C)) {
        return illegal(bits);
    }
    switch (bits & 3) {
    case 0:
        return decode_q0(bits, exts);
    case 1:
        return decode_q1(bits);
    default:
        return decode_q2(bits, exts);
    }
}
