/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Binary floating point in integers: take a number apart, put a result together with correct
 * rounding and flags. fpu.c does the arithmetic in between; both formats share all of it.
 *
 * A finite non-zero number is sig * 2^(exp - 63) with the most significant bit of sig at bit 63.
 * Bits that fall off the low end are "jammed" into bit 0, which keeps every rounding decision exact
 * as long as at least two bits lie between it and the last bit of the result (double leaves 11,
 * single 40).
 */
#ifndef GODWIT_TARGET_RISCV_SOFTFP_H
#define GODWIT_TARGET_RISCV_SOFTFP_H

#include "util/osdep.h"

enum { FP_NX = 1, FP_UF = 2, FP_OF = 4, FP_DZ = 8, FP_NV = 16 };
enum { RM_RNE, RM_RTZ, RM_RDN, RM_RUP, RM_RMM };

typedef unsigned __int128 u128;

typedef struct {
    unsigned frac_bits, exp_max, bias, width;
} FpFormat;

static const FpFormat fp_single = {23, 0xFF, 127, 32};
static const FpFormat fp_double = {52, 0x7FF, 1023, 64};

typedef enum { KIND_ZERO, KIND_FINITE, KIND_INF, KIND_QNAN, KIND_SNAN } FpKind;

typedef struct {
    uint64_t sig;
    int32_t exp;
    FpKind kind;
    bool sign;
} FpParts;

static inline uint64_t fp_frac_mask(FpFormat f)
{
    return (UINT64_C(1) << f.frac_bits) - 1;
}

static inline uint64_t fp_sign_bit(FpFormat f, bool sign)
{
    return (uint64_t)sign << (f.width - 1);
}

static inline uint64_t fp_inf(FpFormat f, bool sign)
{
    return fp_sign_bit(f, sign) | (uint64_t)f.exp_max << f.frac_bits;
}

static inline uint64_t fp_default_nan(FpFormat f)
{
    return fp_inf(f, false) | UINT64_C(1) << (f.frac_bits - 1);
}

static inline FpParts fp_unpack(FpFormat f, uint64_t v)
{
    FpParts p = {.sign = v >> (f.width - 1) & 1};
    unsigned e = v >> f.frac_bits & f.exp_max;
    uint64_t frac = v & fp_frac_mask(f);

    if (e == f.exp_max) {
        p.kind = !frac ? KIND_INF : frac >> (f.frac_bits - 1) ? KIND_QNAN : KIND_SNAN;
    } else if (e) {
        p.kind = KIND_FINITE;
        p.exp = (int32_t)e - (int32_t)f.bias;
        p.sig = (frac | UINT64_C(1) << f.frac_bits) << (63 - f.frac_bits);
    } else if (frac) {
        int shift = __builtin_clzll(frac);

        p.kind = KIND_FINITE;
        p.exp = 1 - (int32_t)f.bias + (63 - (int32_t)f.frac_bits) - shift;
        p.sig = frac << shift;
    }
    return p;
}

/* @v >> @n, jamming what is lost; any n >= 0. */
static inline uint64_t shift_jam(uint64_t v, unsigned n)
{
    if (n == 0) {
        return v;
    }
    return n > 63 ? v != 0 : v >> n | (v << (64 - n) != 0);
}

static inline u128 shift_jam128(u128 v, unsigned n)
{
    if (n == 0) {
        return v;
    }
    return n > 127 ? v != 0 : v >> n | (v << (128 - n) != 0);
}

static inline uint64_t jam128(u128 v)
{
    return (uint64_t)(v >> 64) | ((uint64_t)v != 0);
}

/* Does rounding @low (of 2 * @half units) move away from zero? @odd: the last kept bit. */
static inline bool fp_round_away(int rm, bool sign, uint64_t low, uint64_t half, bool odd)
{
    switch (rm) {
    case RM_RNE:
        return low > half || (low == half && odd);
    case RM_RDN:
        return sign && low;
    case RM_RUP:
        return !sign && low;
    case RM_RMM:
        return low >= half;
    default:
        return false;
    }
}

/* The value (-1)^sign * sig * 2^(exp - 63), bit 63 of sig set, rounded to the format. */
static inline uint64_t fp_pack(FpFormat f, bool sign, int32_t exp, uint64_t sig, int rm,
                               uint32_t *flags)
{
    unsigned drop = 63 - f.frac_bits;
    uint64_t half = UINT64_C(1) << (drop - 1), mask = half * 2 - 1;
    int32_t e = exp + (int32_t)f.bias;
    bool tiny = false;

    if (unlikely(e <= 0)) {
        /* Tiny is judged after rounding with an unbounded exponent: 0.1...1 may still become 1.0.
         */
        bool away = fp_round_away(rm, sign, sig & mask, half, sig >> drop & 1);

        tiny = e < 0 || !away || (sig | mask) != UINT64_MAX;
        sig = shift_jam(sig, 1 - e);
        e = 0;
    }
    uint64_t low = sig & mask;
    uint64_t frac = sig >> drop;

    if (low) {
        *flags |= FP_NX | (tiny ? FP_UF : 0);
        frac += fp_round_away(rm, sign, low, half, frac & 1);
    }
    /* The leading one of frac (if any) adds itself to the exponent field; so does a rounding carry.
     */
    uint64_t biased = e ? (uint64_t)(e - 1) : 0;
    uint64_t magnitude = (biased << f.frac_bits) + frac;

    if (unlikely(e >= (int32_t)f.exp_max || magnitude >= fp_inf(f, false))) {
        bool to_inf =
            rm == RM_RNE || rm == RM_RMM || (rm == RM_RDN && sign) || (rm == RM_RUP && !sign);

        *flags |= FP_OF | FP_NX;
        magnitude = fp_inf(f, false) - !to_inf;
    }
    return fp_sign_bit(f, sign) | magnitude;
}

#endif
