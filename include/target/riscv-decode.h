/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instruction words of RV64GC + Zba Zbb Zbc Zbs + Zicsr Zifencei + the privileged ones -> RvInsn.
 *
 * Pure functions, any thread. Every reserved encoding, and every one of an extension that is
 * switched off, decodes to RV_OP_illegal; the caller raises the exception when (and if) it is
 * executed.
 */
#ifndef GODWIT_TARGET_RISCV_DECODE_H
#define GODWIT_TARGET_RISCV_DECODE_H

#include "util/osdep.h"

/*
 * All operations, by group; the groups tell the execution loop what an operation may do. Names are
 * the manual's mnemonics. 16-bit forms decode to the 32-bit operation they stand for.
 */
/* clang-format off */
/* rd = f(rs1, rs2); no side effects. */
#define RV_OPS_ALU_RR(X)                                                                           \
    X(add) X(sub) X(sll) X(slt) X(sltu) X(xor) X(srl) X(sra) X(or) X(and) X(addw) X(subw)          \
    X(sllw) X(srlw) X(sraw) X(mul) X(mulh) X(mulhsu) X(mulhu) X(div) X(divu) X(rem) X(remu)        \
    X(mulw) X(divw) X(divuw) X(remw) X(remuw) X(sh1add) X(sh2add) X(sh3add) X(add_uw)              \
    X(sh1add_uw) X(sh2add_uw) X(sh3add_uw) X(andn) X(orn) X(xnor) X(max) X(maxu) X(min) X(minu)    \
    X(rol) X(ror) X(rolw) X(rorw) X(clmul) X(clmulr) X(clmulh) X(bclr) X(bset) X(binv) X(bext)
/* rd = f(rs1, imm); no side effects. */
#define RV_OPS_ALU_RI(X)                                                                           \
    X(addi) X(slti) X(sltiu) X(xori) X(ori) X(andi) X(slli) X(srli) X(srai) X(addiw) X(slliw)      \
    X(srliw) X(sraiw) X(slli_uw) X(bclri) X(bseti) X(binvi) X(bexti) X(rori) X(roriw) X(clz)       \
    X(ctz) X(cpop) X(clzw) X(ctzw) X(cpopw) X(sext_b) X(sext_h) X(zext_h) X(orc_b) X(rev8)
/* rd = imm, rd = pc + imm. */
#define RV_OPS_ALU_I(X) X(lui) X(auipc)
#define RV_OPS_LOAD(X) X(lb) X(lh) X(lw) X(ld) X(lbu) X(lhu) X(lwu) X(flw) X(fld)
#define RV_OPS_STORE(X) X(sb) X(sh) X(sw) X(sd) X(fsw) X(fsd)
#define RV_OPS_BRANCH(X) X(beq) X(bne) X(blt) X(bge) X(bltu) X(bgeu)
#define RV_OPS_JUMP(X) X(jal) X(jalr)
#define RV_OPS_AMO(X)                                                                              \
    X(lr_w) X(lr_d) X(sc_w) X(sc_d) X(amoswap_w) X(amoadd_w) X(amoxor_w) X(amoand_w) X(amoor_w)    \
    X(amomin_w) X(amomax_w) X(amominu_w) X(amomaxu_w) X(amoswap_d) X(amoadd_d) X(amoxor_d)         \
    X(amoand_d) X(amoor_d) X(amomin_d) X(amomax_d) X(amominu_d) X(amomaxu_d)
/* Floating point except loads and stores: imm = rm | rs3 << 3. */
#define RV_OPS_FP(X)                                                                               \
    X(fmadd_s) X(fmsub_s) X(fnmsub_s) X(fnmadd_s) X(fmadd_d) X(fmsub_d) X(fnmsub_d) X(fnmadd_d)    \
    X(fadd_s) X(fsub_s) X(fmul_s) X(fdiv_s) X(fsqrt_s) X(fadd_d) X(fsub_d) X(fmul_d) X(fdiv_d)     \
    X(fsqrt_d) X(fsgnj_s) X(fsgnjn_s) X(fsgnjx_s) X(fsgnj_d) X(fsgnjn_d) X(fsgnjx_d) X(fmin_s)     \
    X(fmax_s) X(fmin_d) X(fmax_d) X(fle_s) X(flt_s) X(feq_s) X(fle_d) X(flt_d) X(feq_d)            \
    X(fcvt_w_s) X(fcvt_wu_s) X(fcvt_l_s) X(fcvt_lu_s) X(fcvt_s_w) X(fcvt_s_wu) X(fcvt_s_l)         \
    X(fcvt_s_lu) X(fcvt_w_d) X(fcvt_wu_d) X(fcvt_l_d) X(fcvt_lu_d) X(fcvt_d_w) X(fcvt_d_wu)        \
    X(fcvt_d_l) X(fcvt_d_lu) X(fcvt_s_d) X(fcvt_d_s) X(fmv_x_w) X(fmv_w_x) X(fmv_x_d) X(fmv_d_x)   \
    X(fclass_s) X(fclass_d)
#define RV_OPS_FENCE(X) X(fence)
/* CSR operations: imm = number; the i-forms have their 5-bit operand in rs1. */
#define RV_OPS_CSR(X) X(csrrw) X(csrrs) X(csrrc) X(csrrwi) X(csrrsi) X(csrrci)
/* illegal: imm = the instruction bits. */
#define RV_OPS_SYSTEM(X)                                                                           \
    X(fence_i) X(ecall) X(ebreak) X(mret) X(sret) X(wfi) X(sfence_vma) X(illegal)

#define RV_OPS_ALL(X)                                                                              \
    RV_OPS_ALU_RR(X) RV_OPS_ALU_RI(X) RV_OPS_ALU_I(X) RV_OPS_LOAD(X) RV_OPS_STORE(X)               \
    RV_OPS_BRANCH(X) RV_OPS_JUMP(X) RV_OPS_AMO(X) RV_OPS_FP(X) RV_OPS_FENCE(X) RV_OPS_CSR(X)       \
    RV_OPS_SYSTEM(X)

typedef enum {
#define X(name) RV_OP_##name,
    RV_OPS_ALL(X)
#undef X
    RV_OP__MAX
} RvOp;
/* clang-format on */

typedef struct {
    uint8_t op;  /* RvOp */
    uint8_t len; /* bytes: 2 or 4 */
    uint8_t rd, rs1, rs2;
    int32_t imm;
} RvInsn;

/* Which optional extensions exist; bits of the @exts argument. */
enum {
    RV_EXT_C = 1 << 0,
    RV_EXT_F = 1 << 1,
    RV_EXT_D = 1 << 2,
    RV_EXT_ZBA = 1 << 3,
    RV_EXT_ZBB = 1 << 4,
    RV_EXT_ZBC = 1 << 5,
    RV_EXT_ZBS = 1 << 6,
    RV_EXT_ZICSR = 1 << 7,
    RV_EXT_ZIFENCEI = 1 << 8,
    RV_EXT_ALL = (1 << 9) - 1,
};

/* Bytes of the instruction that begins with the halfword @low: 2 or 4 (longer forms are illegal
 * 4-byte ones). */
static inline unsigned rv_insn_len(uint16_t low)
{
    return (low & 3) == 3 ? 4 : 2;
}

/* Decode @bits (only the low half counts for a 16-bit instruction). */
RvInsn rv_decode(uint32_t bits, unsigned exts);
/* The mnemonic, for tests and traces ("add_uw"). */
const char *rv_op_name(RvOp op);

#endif
