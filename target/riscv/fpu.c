/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Arithmetic of F and D.
 *
 * Every operation has one exact integer implementation, shared by both formats (softfp.h). In front
 * of the six frequent ones stands a short cut: when NX has already accrued, rounding is to nearest
 * even and the operands are ordinary, the host computes the result, and if that is ordinary too, no
 * flag can have been raised but NX. This touches neither the host's rounding mode nor its status
 * word, both of which are slow.
 */
#include "util/osdep.h"
#include <math.h>
#include "target/riscv-fpu.h"
#include "target/riscv/softfp.h"

/* ---- the host's unit ---- */

static inline float as_float(uint32_t v)
{
    float f;

    memcpy(&f, &v, sizeof(f));
    return f;
}

static inline uint32_t float_bits(float f)
{
    uint32_t v;

    memcpy(&v, &f, sizeof(v));
    return v;
}

static inline double as_double(uint64_t v)
{
    double d;

    memcpy(&d, &v, sizeof(d));
    return d;
}

static inline uint64_t double_bits(double d)
{
    uint64_t v;

    memcpy(&v, &d, sizeof(v));
    return v;
}

static inline bool host_allowed(int rm, const uint32_t *flags)
{
    return rm == RM_RNE && (*flags & FP_NX);
}

/* Zero or normal: no NaN, infinity or subnormal. */
static inline bool ordinary32(uint32_t v)
{
    uint32_t mag = v & 0x7FFFFFFF;

    return mag - 0x00800000u < 0x7F000000u || mag == 0;
}

static inline bool ordinary64(uint64_t v)
{
    uint64_t mag = v & INT64_MAX;

    return mag - 0x0010000000000000ull < 0x7FE0000000000000ull || mag == 0;
}

/* A result above the smallest normal number and below infinity neither overflowed nor underflowed.
 */
static inline bool safe_result32(uint32_t v)
{
    uint32_t mag = v & 0x7FFFFFFF;

    return mag - 0x00800001u < 0x7EFFFFFFu;
}

static inline bool safe_result64(uint64_t v)
{
    uint64_t mag = v & INT64_MAX;

    return mag - 0x0010000000000001ull < 0x7FDFFFFFFFFFFFFFull;
}

/* ---- exact integer arithmetic ---- */

static inline bool is_nan(FpParts p)
{
    return p.kind >= KIND_QNAN;
}

static inline uint64_t invalid(FpFormat f, uint32_t *flags)
{
    *flags |= FP_NV;
    return fp_default_nan(f);
}

/* The result of an operation one of whose operands is a NaN. */
static inline uint64_t propagate(FpFormat f, bool any_signaling, uint32_t *flags)
{
    *flags |= any_signaling ? FP_NV : 0;
    return fp_default_nan(f);
}

static inline uint64_t repack(FpFormat f, FpParts p, int rm, uint32_t *flags)
{
    switch (p.kind) {
    case KIND_ZERO:
        return fp_sign_bit(f, p.sign);
    case KIND_INF:
        return fp_inf(f, p.sign);
    default:
        return fp_pack(f, p.sign, p.exp, p.sig, rm, flags);
    }
}

static inline uint64_t soft_add(FpFormat f, uint64_t va, uint64_t vb, bool subtract, int rm,
                                uint32_t *flags)
{
    FpParts a = fp_unpack(f, va), b = fp_unpack(f, vb);

    if (is_nan(a) || is_nan(b)) {
        return propagate(f, a.kind == KIND_SNAN || b.kind == KIND_SNAN, flags);
    }
    b.sign ^= subtract;
    if (a.kind == KIND_INF || b.kind == KIND_INF) {
        if (a.kind == b.kind && a.sign != b.sign) {
            return invalid(f, flags);
        }
        return fp_inf(f, a.kind == KIND_INF ? a.sign : b.sign);
    }
    if (a.kind == KIND_ZERO && b.kind == KIND_ZERO) {
        return fp_sign_bit(f, a.sign == b.sign ? a.sign : rm == RM_RDN);
    }
    if (a.kind == KIND_ZERO || b.kind == KIND_ZERO) {
        return repack(f, a.kind == KIND_ZERO ? b : a, rm, flags);
    }
    if (a.exp < b.exp || (a.exp == b.exp && a.sig < b.sig)) {
        FpParts t = a;

        a = b;
        b = t;
    }
    /* One bit of head room; the operands have at least 11 zero bits at the bottom. */
    uint64_t big = a.sig >> 1;
    uint64_t small = shift_jam(b.sig >> 1, a.exp - b.exp);
    uint64_t sum = a.sign == b.sign ? big + small : big - small;

    if (sum == 0) {
        return fp_sign_bit(f, rm == RM_RDN);
    }
    int shift = __builtin_clzll(sum);

    return fp_pack(f, a.sign, a.exp + 1 - shift, sum << shift, rm, flags);
}

static inline uint64_t soft_mul(FpFormat f, uint64_t va, uint64_t vb, int rm, uint32_t *flags)
{
    FpParts a = fp_unpack(f, va), b = fp_unpack(f, vb);
    bool sign = a.sign ^ b.sign;

    if (is_nan(a) || is_nan(b)) {
        return propagate(f, a.kind == KIND_SNAN || b.kind == KIND_SNAN, flags);
    }
    if (a.kind == KIND_INF || b.kind == KIND_INF) {
        return a.kind == KIND_ZERO || b.kind == KIND_ZERO ? invalid(f, flags) : fp_inf(f, sign);
    }
    if (a.kind == KIND_ZERO || b.kind == KIND_ZERO) {
        return fp_sign_bit(f, sign);
    }
    u128 product = (u128)a.sig * b.sig;
    int shift = product >> 127 ? 0 : 1;

    return fp_pack(f, sign, a.exp + b.exp + 1 - shift, jam128(product << shift), rm, flags);
}

static inline uint64_t soft_div(FpFormat f, uint64_t va, uint64_t vb, int rm, uint32_t *flags)
{
    FpParts a = fp_unpack(f, va), b = fp_unpack(f, vb);
    bool sign = a.sign ^ b.sign;

    if (is_nan(a) || is_nan(b)) {
        return propagate(f, a.kind == KIND_SNAN || b.kind == KIND_SNAN, flags);
    }
    if (a.kind == b.kind && a.kind != KIND_FINITE) {
        return invalid(f, flags); /* 0 / 0, inf / inf */
    }
    if (a.kind == KIND_INF || b.kind == KIND_ZERO) {
        *flags |= b.kind == KIND_ZERO && a.kind == KIND_FINITE ? FP_DZ : 0;
        return fp_inf(f, sign);
    }
    if (a.kind == KIND_ZERO || b.kind == KIND_INF) {
        return fp_sign_bit(f, sign);
    }
    /* Scale so that the quotient has its top bit at 63. */
    int less = a.sig < b.sig;
    u128 num = (u128)a.sig << (63 + less);
    uint64_t q = (uint64_t)(num / b.sig);

    q |= num != (u128)q * b.sig;
    return fp_pack(f, sign, a.exp - b.exp - less, q, rm, flags);
}

/* Floor of the square root of @v, and whether there is a remainder. */
static uint64_t isqrt128(u128 v, bool *inexact)
{
    /* The host's estimate is good to 52 bits; two integer Newton steps make it exact. */
    uint64_t r = (uint64_t)MIN(sqrt((double)v), 0x1.fffffffffffffp63);

    for (int i = 0; i < 2; i++) {
        u128 next = ((u128)r + v / r) >> 1;

        r = next > UINT64_MAX ? UINT64_MAX : (uint64_t)next;
    }
    while ((u128)r * r > v) {
        r--;
    }
    while (r != UINT64_MAX && (u128)(r + 1) * (r + 1) <= v) {
        r++;
    }
    *inexact = (u128)r * r != v;
    return r;
}

static inline uint64_t soft_sqrt(FpFormat f, uint64_t va, int rm, uint32_t *flags)
{
    FpParts a = fp_unpack(f, va);
    bool inexact;

    if (is_nan(a)) {
        return propagate(f, a.kind == KIND_SNAN, flags);
    }
    if (a.kind == KIND_ZERO) {
        return va;
    }
    if (a.sign) {
        return invalid(f, flags);
    }
    if (a.kind == KIND_INF) {
        return va;
    }
    /* sig * 2^(exp - 63), exponent made even: the root then has its top bit at 63. */
    int odd = a.exp & 1;
    uint64_t root = isqrt128((u128)a.sig << (63 + odd), &inexact);

    return fp_pack(f, false, (a.exp - odd) / 2, root | inexact, rm, flags);
}

static inline uint64_t soft_fma(FpFormat f, uint64_t va, uint64_t vb, uint64_t vc, int rm,
                                uint32_t *flags)
{
    FpParts a = fp_unpack(f, va), b = fp_unpack(f, vb), c = fp_unpack(f, vc);
    bool sign = a.sign ^ b.sign;
    bool inf_product = a.kind == KIND_INF || b.kind == KIND_INF;
    bool zero_product = a.kind == KIND_ZERO || b.kind == KIND_ZERO;

    if (is_nan(a) || is_nan(b)) {
        return propagate(f, a.kind == KIND_SNAN || b.kind == KIND_SNAN || c.kind == KIND_SNAN,
                         flags);
    }
    if (inf_product && zero_product) {
        return invalid(f, flags); /* even when c is a quiet NaN */
    }
    if (is_nan(c)) {
        return propagate(f, c.kind == KIND_SNAN, flags);
    }
    if (inf_product) {
        return c.kind == KIND_INF && c.sign != sign ? invalid(f, flags) : fp_inf(f, sign);
    }
    if (c.kind == KIND_INF) {
        return vc;
    }
    if (zero_product) {
        if (c.kind == KIND_ZERO) {
            return fp_sign_bit(f, sign == c.sign ? sign : rm == RM_RDN);
        }
        return repack(f, c, rm, flags);
    }
    /* Both terms as 128-bit numbers with the top bit at 126: one bit of head room. */
    u128 p = (u128)a.sig * b.sig;
    int32_t pexp = a.exp + b.exp + 1;

    if (p >> 127) {
        p >>= 1; /* exact: the product of two significands ends in zeros */
    } else {
        pexp--;
    }
    if (c.kind == KIND_FINITE) {
        u128 addend = (u128)c.sig << 63;

        if (pexp >= c.exp) {
            addend = shift_jam128(addend, pexp - c.exp);
        } else {
            p = shift_jam128(p, c.exp - pexp);
            pexp = c.exp;
        }
        if (sign == c.sign) {
            p += addend;
        } else if (p >= addend) {
            p -= addend;
        } else {
            p = addend - p;
            sign = c.sign;
        }
        if (p == 0) {
            return fp_sign_bit(f, rm == RM_RDN);
        }
    }
    uint64_t high = (uint64_t)(p >> 64);
    int shift = high ? __builtin_clzll(high) : 64 + __builtin_clzll((uint64_t)p);

    return fp_pack(f, sign, pexp + 1 - shift, jam128(p << shift), rm, flags);
}

static inline uint64_t soft_minmax(FpFormat f, uint64_t va, uint64_t vb, bool max, uint32_t *flags)
{
    FpParts a = fp_unpack(f, va), b = fp_unpack(f, vb);

    if (a.kind == KIND_SNAN || b.kind == KIND_SNAN) {
        *flags |= FP_NV;
    }
    if (is_nan(a) || is_nan(b)) {
        return is_nan(a) && is_nan(b) ? fp_default_nan(f) : is_nan(a) ? vb : va;
    }
    if (a.sign != b.sign) {
        return a.sign == max ? vb : va; /* orders the zeros too */
    }
    return (va < vb) ^ a.sign ^ max ? va : vb;
}

static inline uint64_t soft_binop(FpFormat f, FpBinOp op, uint64_t a, uint64_t b, int rm,
                                  uint32_t *flags)
{
    switch (op) {
    case FP_ADD:
    case FP_SUB:
        return soft_add(f, a, b, op == FP_SUB, rm, flags);
    case FP_MUL:
        return soft_mul(f, a, b, rm, flags);
    case FP_DIV:
        return soft_div(f, a, b, rm, flags);
    default:
        return soft_minmax(f, a, b, op == FP_MAX, flags);
    }
}

static inline bool soft_cmp(FpFormat f, FpCmp op, uint64_t va, uint64_t vb, uint32_t *flags)
{
    FpParts a = fp_unpack(f, va), b = fp_unpack(f, vb);

    if (is_nan(a) || is_nan(b)) {
        if (op != FP_EQ || a.kind == KIND_SNAN || b.kind == KIND_SNAN) {
            *flags |= FP_NV;
        }
        return false;
    }
    bool equal = va == vb || (a.kind == KIND_ZERO && b.kind == KIND_ZERO);

    if (equal || op == FP_EQ) {
        return equal && op != FP_LT;
    }
    return a.sign != b.sign ? a.sign : (va < vb) ^ a.sign;
}

static inline uint32_t soft_class(FpFormat f, uint64_t v)
{
    FpParts p = fp_unpack(f, v);

    switch (p.kind) {
    case KIND_INF:
        return p.sign ? 1 << 0 : 1 << 7;
    case KIND_ZERO:
        return p.sign ? 1 << 3 : 1 << 4;
    case KIND_FINITE:
        if (p.exp < 1 - (int32_t)f.bias) {
            return p.sign ? 1 << 2 : 1 << 5;
        }
        return p.sign ? 1 << 1 : 1 << 6;
    default:
        return p.kind == KIND_SNAN ? 1 << 8 : 1 << 9;
    }
}

static inline uint64_t soft_to_int(FpFormat f, uint64_t v, bool is64, bool is_unsigned, int rm,
                                   uint32_t *flags)
{
    FpParts p = fp_unpack(f, v);
    unsigned bits = is64 ? 64 : 32;
    uint64_t max = is_unsigned ? UINT64_MAX >> (64 - bits) : (UINT64_C(1) << (bits - 1)) - 1;
    uint64_t min = is_unsigned ? 0 : UINT64_C(1) << (bits - 1); /* magnitude */
    uint64_t limit, mag, low = 0;

    if (p.kind == KIND_ZERO) {
        return 0;
    }
    if (is_nan(p)) {
        p.sign = false;
    }
    limit = p.sign ? min : max;
    if (p.kind != KIND_FINITE || p.exp > 63) {
        goto out_of_range;
    }
    if (p.exp == 63) {
        mag = p.sig;
    } else if (p.exp >= 0) {
        mag = p.sig >> (63 - p.exp);
        low = p.sig << (p.exp + 1);
    } else {
        mag = 0;
        low = shift_jam(p.sig, -1 - p.exp);
    }
    if (fp_round_away(rm, p.sign, low, UINT64_C(1) << 63, mag & 1)) {
        mag++; /* cannot wrap: low != 0 means exp < 63 */
    }
    if (mag > limit) {
        goto out_of_range;
    }
    *flags |= low ? FP_NX : 0;
    mag = p.sign ? -mag : mag;
    return is64 ? mag : (uint64_t)(int32_t)mag;

out_of_range:
    *flags |= FP_NV;
    limit = p.sign ? -limit : limit;
    return is64 ? limit : (uint64_t)(int32_t)limit;
}

static inline uint64_t soft_from_int(FpFormat f, uint64_t v, bool is64, bool is_unsigned, int rm,
                                     uint32_t *flags)
{
    if (!is64) {
        v = is_unsigned ? (uint32_t)v : (uint64_t)(int32_t)v;
    }
    bool sign = !is_unsigned && (int64_t)v < 0;
    uint64_t mag = sign ? -v : v;

    if (mag == 0) {
        return 0;
    }
    int shift = __builtin_clzll(mag);

    return fp_pack(f, sign, 63 - shift, mag << shift, rm, flags);
}

static inline uint64_t soft_convert(FpFormat to, FpFormat from, uint64_t v, int rm, uint32_t *flags)
{
    FpParts p = fp_unpack(from, v);

    return is_nan(p) ? propagate(to, p.kind == KIND_SNAN, flags) : repack(to, p, rm, flags);
}

/* ---- the doors ---- */

uint32_t fp32_binop(FpBinOp op, uint32_t a, uint32_t b, int rm, uint32_t *flags)
{
    if (host_allowed(rm, flags) && op <= FP_DIV && ordinary32(a) && ordinary32(b)) {
        float x = as_float(a), y = as_float(b);
        uint32_t r = float_bits(op == FP_ADD   ? x + y
                                : op == FP_SUB ? x - y
                                : op == FP_MUL ? x * y
                                               : x / y);

        if (likely(safe_result32(r))) {
            return r;
        }
    }
    return soft_binop(fp_single, op, a, b, rm, flags);
}

uint64_t fp64_binop(FpBinOp op, uint64_t a, uint64_t b, int rm, uint32_t *flags)
{
    if (host_allowed(rm, flags) && op <= FP_DIV && ordinary64(a) && ordinary64(b)) {
        double x = as_double(a), y = as_double(b);
        uint64_t r = double_bits(op == FP_ADD   ? x + y
                                 : op == FP_SUB ? x - y
                                 : op == FP_MUL ? x * y
                                                : x / y);

        if (likely(safe_result64(r))) {
            return r;
        }
    }
    return soft_binop(fp_double, op, a, b, rm, flags);
}

uint32_t fp32_sqrt(uint32_t a, int rm, uint32_t *flags)
{
    if (host_allowed(rm, flags) && ordinary32(a) && !(a >> 31)) {
        return float_bits(sqrtf(as_float(a)));
    }
    return soft_sqrt(fp_single, a, rm, flags);
}

uint64_t fp64_sqrt(uint64_t a, int rm, uint32_t *flags)
{
    if (host_allowed(rm, flags) && ordinary64(a) && !(a >> 63)) {
        return double_bits(sqrt(as_double(a)));
    }
    return soft_sqrt(fp_double, a, rm, flags);
}

uint32_t fp32_fma(uint32_t a, uint32_t b, uint32_t c, int rm, uint32_t *flags)
{
    if (host_allowed(rm, flags) && ordinary32(a) && ordinary32(b) && ordinary32(c)) {
        uint32_t r = float_bits(fmaf(as_float(a), as_float(b), as_float(c)));

        if (likely(safe_result32(r))) {
            return r;
        }
    }
    return soft_fma(fp_single, a, b, c, rm, flags);
}

uint64_t fp64_fma(uint64_t a, uint64_t b, uint64_t c, int rm, uint32_t *flags)
{
    if (host_allowed(rm, flags) && ordinary64(a) && ordinary64(b) && ordinary64(c)) {
        uint64_t r = double_bits(fma(as_double(a), as_double(b), as_double(c)));

        if (likely(safe_result64(r))) {
            return r;
        }
    }
    return soft_fma(fp_double, a, b, c, rm, flags);
}

bool fp32_cmp(FpCmp op, uint32_t a, uint32_t b, uint32_t *flags)
{
    return soft_cmp(fp_single, op, a, b, flags);
}

bool fp64_cmp(FpCmp op, uint64_t a, uint64_t b, uint32_t *flags)
{
    return soft_cmp(fp_double, op, a, b, flags);
}

uint32_t fp32_class(uint32_t a)
{
    return soft_class(fp_single, a);
}

uint32_t fp64_class(uint64_t a)
{
    return soft_class(fp_double, a);
}

uint64_t fp32_to_int(uint32_t a, bool is64, bool is_unsigned, int rm, uint32_t *flags)
{
    return soft_to_int(fp_single, a, is64, is_unsigned, rm, flags);
}

uint64_t fp64_to_int(uint64_t a, bool is64, bool is_unsigned, int rm, uint32_t *flags)
{
    return soft_to_int(fp_double, a, is64, is_unsigned, rm, flags);
}

uint32_t fp32_from_int(uint64_t a, bool is64, bool is_unsigned, int rm, uint32_t *flags)
{
    return soft_from_int(fp_single, a, is64, is_unsigned, rm, flags);
}

uint64_t fp64_from_int(uint64_t a, bool is64, bool is_unsigned, int rm, uint32_t *flags)
{
    return soft_from_int(fp_double, a, is64, is_unsigned, rm, flags);
}

uint32_t fp64_to_fp32(uint64_t a, int rm, uint32_t *flags)
{
    return soft_convert(fp_single, fp_double, a, rm, flags);
}

uint64_t fp32_to_fp64(uint32_t a, uint32_t *flags)
{
    return soft_convert(fp_double, fp_single, a, RM_RNE, flags);
}
