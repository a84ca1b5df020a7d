/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Floating-point test cases, generated the same way in the bare-metal payload that asks the peer
 * (fp-payload.c) and in the unit test that asks our code. A group is one operation in one rounding
 * mode; its operands follow from a fixed seed and its results and flags are folded into one hash.
 */
#ifndef GODWIT_TESTS_FP_CASES_H
#define GODWIT_TESTS_FP_CASES_H

#include <stdint.h>

/* clang-format off */
/* X(name, assembly, width of FP operands, result: F32 / F64 / INT, FP operands: 0 = one integer) */
#define FP_CASE_OPS(X)                                       \
    X(ADD_S, "fadd.s", 32, F32, 2)                           \
    X(SUB_S, "fsub.s", 32, F32, 2)                           \
    X(MUL_S, "fmul.s", 32, F32, 2)                           \
    X(DIV_S, "fdiv.s", 32, F32, 2)                           \
    X(SQRT_S, "fsqrt.s", 32, F32, 1)                         \
    X(FMA_S, "fmadd.s", 32, F32, 3)                          \
    X(ADD_D, "fadd.d", 64, F64, 2)                           \
    X(SUB_D, "fsub.d", 64, F64, 2)                           \
    X(MUL_D, "fmul.d", 64, F64, 2)                           \
    X(DIV_D, "fdiv.d", 64, F64, 2)                           \
    X(SQRT_D, "fsqrt.d", 64, F64, 1)                         \
    X(FMA_D, "fmadd.d", 64, F64, 3)                          \
    X(W_S, "fcvt.w.s", 32, INT, 1)                           \
    X(WU_S, "fcvt.wu.s", 32, INT, 1)                         \
    X(L_S, "fcvt.l.s", 32, INT, 1)                           \
    X(LU_S, "fcvt.lu.s", 32, INT, 1)                         \
    X(W_D, "fcvt.w.d", 64, INT, 1)                           \
    X(WU_D, "fcvt.wu.d", 64, INT, 1)                         \
    X(L_D, "fcvt.l.d", 64, INT, 1)                           \
    X(LU_D, "fcvt.lu.d", 64, INT, 1)                         \
    X(S_W, "fcvt.s.w", 64, F32, 0)                           \
    X(S_WU, "fcvt.s.wu", 64, F32, 0)                         \
    X(S_L, "fcvt.s.l", 64, F32, 0)                           \
    X(S_LU, "fcvt.s.lu", 64, F32, 0)                         \
    X(D_L, "fcvt.d.l", 64, F64, 0)                           \
    X(D_LU, "fcvt.d.lu", 64, F64, 0)                         \
    X(S_D, "fcvt.s.d", 64, F32, 1)

/* The same without a rounding mode in the instruction. */
#define FP_CASE_OPS_NO_RM(X)                                 \
    X(MIN_S, "fmin.s", 32, F32, 2)                           \
    X(MAX_S, "fmax.s", 32, F32, 2)                           \
    X(EQ_S, "feq.s", 32, INT, 2)                             \
    X(LT_S, "flt.s", 32, INT, 2)                             \
    X(LE_S, "fle.s", 32, INT, 2)                             \
    X(CLASS_S, "fclass.s", 32, INT, 1)                       \
    X(MIN_D, "fmin.d", 64, F64, 2)                           \
    X(MAX_D, "fmax.d", 64, F64, 2)                           \
    X(EQ_D, "feq.d", 64, INT, 2)                             \
    X(LT_D, "flt.d", 64, INT, 2)                             \
    X(LE_D, "fle.d", 64, INT, 2)                             \
    X(CLASS_D, "fclass.d", 64, INT, 1)                       \
    X(D_W, "fcvt.d.w", 64, F64, 0)                           \
    X(D_WU, "fcvt.d.wu", 64, F64, 0)                         \
    X(D_S, "fcvt.d.s", 32, F64, 1)

enum {
#define X(name, ...) FPC_##name,
    FP_CASE_OPS(X)
    FP_CASE_OPS_NO_RM(X)
#undef X
    FPC__MAX
};
/* clang-format on */

#define FP_CASE_RM       5
#define FP_CASE_COUNT    3000
#define FPC__FIRST_NO_RM FPC_MIN_S

static inline uint64_t fpc_random(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static inline uint64_t fpc_hash(uint64_t h, uint64_t v)
{
    h ^= v;
    h *= 0x9E3779B97F4A7C15u;
    return h ^ h >> 29;
}

/* An operand; a third of them are special values, the rest have exponents near each other or
 * anywhere. */
static inline uint64_t fpc_operand(uint64_t *state, int width, int integer)
{
    static const uint64_t special64[] = {0,
                                         1,
                                         2,
                                         0xFFFFFFFFFFFFFull,
                                         0x10000000000000ull,
                                         0x10000000000001ull,
                                         0x1FFFFFFFFFFFFFull,
                                         0x3FF0000000000000ull,
                                         0x3FE0000000000000ull,
                                         0x3FF8000000000000ull,
                                         0x4004000000000000ull,
                                         0x41DFFFFFFFC00000ull,
                                         0x41DFFFFFFFE00000ull,
                                         0x41E0000000000000ull,
                                         0x41EFFFFFFFE00000ull,
                                         0x41EFFFFFFFF00000ull,
                                         0x41F0000000000000ull,
                                         0x43DFFFFFFFFFFFFFull,
                                         0x43E0000000000000ull,
                                         0x43EFFFFFFFFFFFFFull,
                                         0x43F0000000000000ull,
                                         0x7FEFFFFFFFFFFFFFull,
                                         0x7FF0000000000000ull,
                                         0x7FF0000000000001ull,
                                         0x7FF8000000000000ull,
                                         0x7FFFFFFFFFFFFFFFull,
                                         0x36A0000000000000ull,
                                         0x380FFFFFFFFFFFFFull,
                                         0x3690000000000000ull,
                                         0x47EFFFFFEFFFFFFFull,
                                         0x47EFFFFFF0000000ull};
    static const uint32_t special32[] = {0,          1,          2,          0x7FFFFF,   0x800000,
                                         0x800001,   0xFFFFFF,   0x3F800000, 0x3F000000, 0x3FC00000,
                                         0x40200000, 0x4EFFFFFF, 0x4F000000, 0x4F7FFFFF, 0x4F800000,
                                         0x5EFFFFFF, 0x5F000000, 0x5F7FFFFF, 0x5F800000, 0x7F7FFFFF,
                                         0x7F800000, 0x7F800001, 0x7FC00000, 0x7FFFFFFF};
    static const uint64_t special_int[] = {0,
                                           1,
                                           0x7FFFFFFF,
                                           0x80000000,
                                           0xFFFFFFFF,
                                           0x1000001,
                                           0x1000003,
                                           0x3FFFFFFFFFFFFF,
                                           0x20000000000001,
                                           0x20000000000003,
                                           0x7FFFFFFFFFFFFFFF,
                                           0x7FFFFFFFFFFFFDFF,
                                           0x8000000000000000,
                                           0xFFFFFFFFFFFFFFFF,
                                           0xFFFFFFFFFFFFFBFF,
                                           0xFFFFFFFFFFFFFC00,
                                           0xFFFFFF7FFFFFFFFF,
                                           0xFFFFFF8000000000};
    uint64_t r = fpc_random(state), kind = fpc_random(state) % 6;
    uint64_t sign, frac, exp, spread;

    if (integer) {
        uint64_t v = kind < 2 ? special_int[r % (sizeof(special_int) / sizeof(special_int[0]))]
                              : fpc_random(state) >> (r & 63);

        return r >> 32 & 1 ? -v : v;
    }
    if (width == 32) {
        sign = (r >> 40 & 1) << 31;
        if (kind < 2) {
            return sign | special32[r % (sizeof(special32) / sizeof(special32[0]))];
        }
        frac = fpc_random(state) & (r >> 41 & 1 ? 0x7FFFFF : 0x7FF000);
        spread = kind == 2 ? 256 : kind == 3 ? 70 : kind == 4 ? 28 : 3;
        exp = kind == 2 ? r % 256 : kind == 5 && r >> 42 & 1 ? r % 3 : 125 + r % spread;
        return sign | (exp & 255) << 23 | frac;
    }
    sign = (r >> 40 & 1) << 63;
    if (kind < 2) {
        return sign | special64[r % (sizeof(special64) / sizeof(special64[0]))];
    }
    frac = fpc_random(state) & (r >> 41 & 1 ? 0xFFFFFFFFFFFFFull : 0xFFFFFFE000000ull);
    spread = kind == 3 ? 70 : kind == 4 ? 58 : 3;
    exp = kind == 2                         ? r % 2048
          : kind == 5 && (r >> 42 & 3) == 1 ? r % 3
          : kind == 5 && (r >> 42 & 3) == 2 ? 870 + r % 30 /* near the subnormal singles */
                                            : 1021 + r % spread;
    return sign | exp << 52 | frac;
}

static inline uint64_t fpc_seed(int op, int rm)
{
    return (uint64_t)op * 8 + rm + 1;
}

#endif
