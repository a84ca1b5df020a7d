/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the integer instructions compute, one pure function each, for those that C's operators do
 * not already say. Shift amounts are masked here; the W forms take 64-bit operands and return
 * sign-extended 32-bit results.
 */
#ifndef GODWIT_TARGET_RISCV_ALU_H
#define GODWIT_TARGET_RISCV_ALU_H

#include "util/osdep.h"

static inline uint64_t rv_sext32(uint64_t v)
{
    return (int64_t)(int32_t)v;
}

static inline uint64_t rv_mulh(uint64_t a, uint64_t b)
{
    return (unsigned __int128)((__int128)(int64_t)a * (int64_t)b) >> 64;
}

static inline uint64_t rv_mulhsu(uint64_t a, uint64_t b)
{
    return (unsigned __int128)((__int128)(int64_t)a * b) >> 64;
}

static inline uint64_t rv_mulhu(uint64_t a, uint64_t b)
{
    return ((unsigned __int128)a * b) >> 64;
}

/* Division never traps: by zero gives all ones (the dividend as remainder), overflow wraps. */
static inline uint64_t rv_div(uint64_t a, uint64_t b)
{
    if (!b) {
        return UINT64_MAX;
    }
    if (b == UINT64_MAX) {
        return -a;
    }
    return (int64_t)a / (int64_t)b;
}

static inline uint64_t rv_divu(uint64_t a, uint64_t b)
{
    return b ? a / b : UINT64_MAX;
}

static inline uint64_t rv_rem(uint64_t a, uint64_t b)
{
    if (!b) {
        return a;
    }
    if (b == UINT64_MAX) {
        return 0;
    }
    return (int64_t)a % (int64_t)b;
}

static inline uint64_t rv_remu(uint64_t a, uint64_t b)
{
    return b ? a % b : a;
}

static inline uint64_t rv_divw(uint64_t a, uint64_t b)
{
    return rv_sext32(rv_div(rv_sext32(a), rv_sext32(b)));
}

static inline uint64_t rv_divuw(uint64_t a, uint64_t b)
{
    return (uint32_t)b ? rv_sext32((uint32_t)a / (uint32_t)b) : UINT64_MAX;
}

static inline uint64_t rv_remw(uint64_t a, uint64_t b)
{
    return rv_sext32(rv_rem(rv_sext32(a), rv_sext32(b)));
}

static inline uint64_t rv_remuw(uint64_t a, uint64_t b)
{
    return rv_sext32((uint32_t)b ? (uint32_t)a % (uint32_t)b : (uint32_t)a);
}

static inline uint64_t rv_ror(uint64_t a, unsigned n)
{
    return a >> (n & 63) | a << (-n & 63);
}

static inline uint64_t rv_rorw(uint64_t a, unsigned n)
{
    return rv_sext32((uint32_t)a >> (n & 31) | (uint32_t)a << (-n & 31));
}

static inline uint64_t rv_clz(uint64_t a)
{
    return a ? __builtin_clzll(a) : 64;
}

static inline uint64_t rv_ctz(uint64_t a)
{
    return a ? __builtin_ctzll(a) : 64;
}

static inline uint64_t rv_clzw(uint64_t a)
{
    return (uint32_t)a ? __builtin_clz((uint32_t)a) : 32;
}

static inline uint64_t rv_ctzw(uint64_t a)
{
    return (uint32_t)a ? __builtin_ctz((uint32_t)a) : 32;
}

/* Each byte becomes 0xff if any of its bits is set. */
static inline uint64_t rv_orc_b(uint64_t a)
{
    uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f);
    uint64_t any = (((a & low) + low) | a) & ~low;

    return (any >> 7) * 0xff;
}

/* The 127-bit carry-less product: bits 63:0, 127:64 and 126:63. */
static inline uint64_t rv_clmul(uint64_t a, uint64_t b)
{
    uint64_t r = 0;

    for (; b; b &= b - 1) {
        r ^= a << __builtin_ctzll(b);
    }
    return r;
}

static inline uint64_t rv_clmulr(uint64_t a, uint64_t b)
{
    uint64_t r = 0;

    for (; b; b &= b - 1) {
        r ^= a >> (63 - __builtin_ctzll(b));
    }
    return r;
}

static inline uint64_t rv_clmulh(uint64_t a, uint64_t b)
{
    return rv_clmulr(a, b) >> 1;
}

#endif
