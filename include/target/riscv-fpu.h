/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Floating point of F and D (spec 81 section 6). Values are raw bits; singles are NaN-boxed by the
 * caller's box/unbox helpers. Each operation honours @rm (0-4, already resolved from DYN), returns
 * canonical NaNs and ORs the raised RISC-V flags (NX 1, UF 2, OF 4, DZ 8, NV 16) into *flags. Pure,
 * any thread.
 *
 * Pass the accrued fflags as *flags: once NX is set there, nearest-even arithmetic on ordinary
 * numbers runs on the host's unit without looking at its status; everything else is done in
 * integers, the same on every host.
 */
#ifndef GODWIT_TARGET_RISCV_FPU_H
#define GODWIT_TARGET_RISCV_FPU_H

#include "util/osdep.h"

static inline uint64_t fp_box32(uint32_t v)
{
    return v | 0xFFFFFFFF00000000ull;
}

static inline uint32_t fp_unbox32(uint64_t v)
{
    return (v >> 32) == 0xFFFFFFFFu ? (uint32_t)v : 0x7FC00000u;
}

typedef enum { FP_ADD, FP_SUB, FP_MUL, FP_DIV, FP_MIN, FP_MAX } FpBinOp;
typedef enum { FP_LE, FP_LT, FP_EQ } FpCmp;

uint32_t fp32_binop(FpBinOp op, uint32_t a, uint32_t b, int rm, uint32_t *flags);
uint64_t fp64_binop(FpBinOp op, uint64_t a, uint64_t b, int rm, uint32_t *flags);
uint32_t fp32_sqrt(uint32_t a, int rm, uint32_t *flags);
uint64_t fp64_sqrt(uint64_t a, int rm, uint32_t *flags);
/* a * b + c; the caller flips signs for the msub/nmadd/nmsub forms. */
uint32_t fp32_fma(uint32_t a, uint32_t b, uint32_t c, int rm, uint32_t *flags);
uint64_t fp64_fma(uint64_t a, uint64_t b, uint64_t c, int rm, uint32_t *flags);
bool fp32_cmp(FpCmp op, uint32_t a, uint32_t b, uint32_t *flags);
bool fp64_cmp(FpCmp op, uint64_t a, uint64_t b, uint32_t *flags);
uint32_t fp32_class(uint32_t a);
uint32_t fp64_class(uint64_t a);
/* To integer, saturating as the manual says. @is64: 64-bit result; @is_unsigned. 32-bit results are
 * sign-extended. */
uint64_t fp32_to_int(uint32_t a, bool is64, bool is_unsigned, int rm, uint32_t *flags);
uint64_t fp64_to_int(uint64_t a, bool is64, bool is_unsigned, int rm, uint32_t *flags);
uint32_t fp32_from_int(uint64_t a, bool is64, bool is_unsigned, int rm, uint32_t *flags);
uint64_t fp64_from_int(uint64_t a, bool is64, bool is_unsigned, int rm, uint32_t *flags);
uint32_t fp64_to_fp32(uint64_t a, int rm, uint32_t *flags);
uint64_t fp32_to_fp64(uint32_t a, uint32_t *flags);

#endif
