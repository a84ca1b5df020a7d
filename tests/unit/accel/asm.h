/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Instruction words by format, and short names for those the tests write programs with. */
#ifndef GODWIT_TESTS_ACCEL_ASM_H
#define GODWIT_TESTS_ACCEL_ASM_H

#include "util/osdep.h"

enum { zero, ra, sp, gp, tp, t0, t1, t2, s0, s1, a0, a1, a2, a3, a4, a5, a6, a7 };

#define R_TYPE(f7, rs2, rs1, f3, rd, opc) \
    ((uint32_t)(f7) << 25 | (rs2) << 20 | (rs1) << 15 | (f3) << 12 | (rd) << 7 | (opc))
#define I_TYPE(imm, rs1, f3, rd, opc) \
    ((uint32_t)((imm)&0xfff) << 20 | (rs1) << 15 | (f3) << 12 | (rd) << 7 | (opc))
#define S_TYPE(imm, rs2, rs1, f3, opc)                                              \
    ((uint32_t)((imm) >> 5 & 0x7f) << 25 | (rs2) << 20 | (rs1) << 15 | (f3) << 12 | \
     ((imm)&0x1f) << 7 | (opc))
#define B_TYPE(imm, rs2, rs1, f3)                                                            \
    ((uint32_t)((imm) >> 12 & 1) << 31 | (uint32_t)((imm) >> 5 & 0x3f) << 25 | (rs2) << 20 | \
     (rs1) << 15 | (f3) << 12 | ((imm) >> 1 & 0xf) << 8 | ((imm) >> 11 & 1) << 7 | 0x63)
#define J_TYPE(imm, rd)                                                         \
    ((uint32_t)((imm) >> 20 & 1) << 31 | (uint32_t)((imm) >> 1 & 0x3ff) << 21 | \
     (uint32_t)((imm) >> 11 & 1) << 20 | (uint32_t)((imm) >> 12 & 0xff) << 12 | (rd) << 7 | 0x6f)

#define ADDI(rd, rs1, imm)       I_TYPE(imm, rs1, 0, rd, 0x13)
#define SLLI(rd, rs1, n)         I_TYPE(n, rs1, 1, rd, 0x13)
#define ADD(rd, rs1, rs2)        R_TYPE(0, rs2, rs1, 0, rd, 0x33)
#define LUI(rd, imm20)           ((uint32_t)(imm20) << 12 | (rd) << 7 | 0x37)
#define AUIPC(rd, imm20)         ((uint32_t)(imm20) << 12 | (rd) << 7 | 0x17)
#define LB(rd, rs1, imm)         I_TYPE(imm, rs1, 0, rd, 0x03)
#define LH(rd, rs1, imm)         I_TYPE(imm, rs1, 1, rd, 0x03)
#define LW(rd, rs1, imm)         I_TYPE(imm, rs1, 2, rd, 0x03)
#define LD(rd, rs1, imm)         I_TYPE(imm, rs1, 3, rd, 0x03)
#define SB(rs2, rs1, imm)        S_TYPE(imm, rs2, rs1, 0, 0x23)
#define SW(rs2, rs1, imm)        S_TYPE(imm, rs2, rs1, 2, 0x23)
#define SD(rs2, rs1, imm)        S_TYPE(imm, rs2, rs1, 3, 0x23)
#define BEQ(rs1, rs2, off)       B_TYPE(off, rs2, rs1, 0)
#define BNE(rs1, rs2, off)       B_TYPE(off, rs2, rs1, 1)
#define JAL(rd, off)             J_TYPE(off, rd)
#define JALR(rd, rs1, imm)       I_TYPE(imm, rs1, 0, rd, 0x67)
#define CSRRW(rd, csr, rs1)      I_TYPE(csr, rs1, 1, rd, 0x73)
#define CSRRS(rd, csr, rs1)      I_TYPE(csr, rs1, 2, rd, 0x73)
#define CSRRSI(rd, csr, n)       I_TYPE(csr, n, 6, rd, 0x73)
#define CSRRCI(rd, csr, n)       I_TYPE(csr, n, 7, rd, 0x73)
#define AMO(f5, rs2, rs1, w, rd) R_TYPE((f5) << 2, rs2, rs1, (w) == 8 ? 3 : 2, rd, 0x2f)
#define LR_W(rd, rs1)            AMO(0x02, 0, rs1, 4, rd)
#define LR_D(rd, rs1)            AMO(0x02, 0, rs1, 8, rd)
#define SC_W(rd, rs2, rs1)       AMO(0x03, rs2, rs1, 4, rd)
#define SC_D(rd, rs2, rs1)       AMO(0x03, rs2, rs1, 8, rd)
#define FENCE                    0x0ff0000fu
#define FENCE_I                  0x0000100fu
#define ECALL                    0x00000073u
#define EBREAK                   0x00100073u
#define MRET                     0x30200073u
#define WFI                      0x10500073u

/* Tell the harness that the guest is done: store @rs2 to the finisher; clobbers @tmp. Two words. */
#define FINISH(tmp, rs2) LUI(tmp, 0x100), SW(rs2, tmp, 0)

#endif
