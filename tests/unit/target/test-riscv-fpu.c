/* SPDX-License-Identifier: GPL-2.0-or-later */
/* F and D arithmetic against hashes captured from the peer (golden/), and explicit corner cases. */
#include "util/osdep.h"
#include "target/riscv-fpu.h"
#include "golden/fp-cases.h"
#include "golden/fp-golden.h"

static const struct {
    const char *name;
    int width, operands;
} ops[] = {
#define X(name, text, width, result, n) {text, width, n},
    FP_CASE_OPS(X) FP_CASE_OPS_NO_RM(X)
#undef X
};

static uint64_t run(int op, int rm, const uint64_t v[3], uint32_t *fl)
{
    uint32_t a = v[0], b = v[1], c = v[2];

    switch (op) {
    case FPC_ADD_S:
        return fp_box32(fp32_binop(FP_ADD, a, b, rm, fl));
    case FPC_SUB_S:
        return fp_box32(fp32_binop(FP_SUB, a, b, rm, fl));
    case FPC_MUL_S:
        return fp_box32(fp32_binop(FP_MUL, a, b, rm, fl));
    case FPC_DIV_S:
        return fp_box32(fp32_binop(FP_DIV, a, b, rm, fl));
    case FPC_SQRT_S:
        return fp_box32(fp32_sqrt(a, rm, fl));
    case FPC_FMA_S:
        return fp_box32(fp32_fma(a, b, c, rm, fl));
    case FPC_ADD_D:
        return fp64_binop(FP_ADD, v[0], v[1], rm, fl);
    case FPC_SUB_D:
        return fp64_binop(FP_SUB, v[0], v[1], rm, fl);
    case FPC_MUL_D:
        return fp64_binop(FP_MUL, v[0], v[1], rm, fl);
    case FPC_DIV_D:
        return fp64_binop(FP_DIV, v[0], v[1], rm, fl);
    case FPC_SQRT_D:
        return fp64_sqrt(v[0], rm, fl);
    case FPC_FMA_D:
        return fp64_fma(v[0], v[1], v[2], rm, fl);
    case FPC_W_S:
    case FPC_WU_S:
    case FPC_L_S:
    case FPC_LU_S:
        return fp32_to_int(a, op >= FPC_L_S, op == FPC_WU_S || op == FPC_LU_S, rm, fl);
    case FPC_W_D:
    case FPC_WU_D:
    case FPC_L_D:
    case FPC_LU_D:
        return fp64_to_int(v[0], op >= FPC_L_D, op == FPC_WU_D || op == FPC_LU_D, rm, fl);
    case FPC_S_W:
    case FPC_S_WU:
    case FPC_S_L:
    case FPC_S_LU:
        return fp_box32(
            fp32_from_int(v[0], op >= FPC_S_L, op == FPC_S_WU || op == FPC_S_LU, rm, fl));
    case FPC_D_L:
    case FPC_D_LU:
        return fp64_from_int(v[0], true, op == FPC_D_LU, rm, fl);
    case FPC_S_D:
        return fp_box32(fp64_to_fp32(v[0], rm, fl));
    case FPC_MIN_S:
    case FPC_MAX_S:
        return fp_box32(fp32_binop(op == FPC_MIN_S ? FP_MIN : FP_MAX, a, b, rm, fl));
    case FPC_EQ_S:
        return fp32_cmp(FP_EQ, a, b, fl);
    case FPC_LT_S:
        return fp32_cmp(FP_LT, a, b, fl);
    case FPC_LE_S:
        return fp32_cmp(FP_LE, a, b, fl);
    case FPC_CLASS_S:
        return fp32_class(a);
    case FPC_MIN_D:
    case FPC_MAX_D:
        return fp64_binop(op == FPC_MIN_D ? FP_MIN : FP_MAX, v[0], v[1], rm, fl);
    case FPC_EQ_D:
        return fp64_cmp(FP_EQ, v[0], v[1], fl);
    case FPC_LT_D:
        return fp64_cmp(FP_LT, v[0], v[1], fl);
    case FPC_LE_D:
        return fp64_cmp(FP_LE, v[0], v[1], fl);
    case FPC_CLASS_D:
        return fp64_class(v[0]);
    case FPC_D_W:
    case FPC_D_WU:
        return fp64_from_int(v[0], false, op == FPC_D_WU, rm, fl);
    case FPC_D_S:
        return fp32_to_fp64(a, fl);
    default:
        g_assert_not_reached();
    }
}

/*
 * Each case twice: with no flags accrued everything is done in integers and must hash to the peer's
 * value; with NX accrued the host's unit may be used and must give the same.
 */
static void test_golden(void)
{
    unsigned group = 0;

    for (int op = 0; op < FPC__MAX; op++) {
        for (int rm = 0; rm < (op < FPC__FIRST_NO_RM ? FP_CASE_RM : 1); rm++, group++) {
            uint64_t state = fpc_seed(op, rm), hash = 0;

            for (int i = 0; i < FP_CASE_COUNT; i++) {
                uint32_t flags = 0, accrued = 1;
                uint64_t v[3], r, again;

                for (int k = 0; k < 3; k++) {
                    v[k] = fpc_operand(&state, ops[op].width, ops[op].operands == 0);
                }
                r = run(op, rm, v, &flags);
                again = run(op, rm, v, &accrued);
                hash = fpc_hash(fpc_hash(hash, r), flags);
                if (again != r || accrued != (flags | 1)) {
                    g_error("%s rm %d of %" PRIx64 " %" PRIx64 " %" PRIx64 ": %" PRIx64
                            " flags %x, with NX accrued %" PRIx64 " flags %x",
                            ops[op].name, rm, v[0], v[1], v[2], r, flags, again, accrued);
                }
            }
            g_assert_cmpuint(group, <, ARRAY_SIZE(fp_golden));
            if (hash != fp_golden[group]) {
                g_test_message("%s rm %d differs from the peer", ops[op].name, rm);
                g_test_fail();
            }
        }
    }
    g_assert_cmpuint(group, ==, ARRAY_SIZE(fp_golden));
}

static void test_boxing(void)
{
    g_assert_cmphex(fp_box32(0x3F800000), ==, 0xFFFFFFFF3F800000);
    g_assert_cmphex(fp_unbox32(0xFFFFFFFF3F800000), ==, 0x3F800000);
    g_assert_cmphex(fp_unbox32(0xFFFFFFFE3F800000), ==, 0x7FC00000);
    g_assert_cmphex(fp_unbox32(0x3FF0000000000000), ==, 0x7FC00000);
}

/* Rows a reader can check by hand. */
static void test_explicit(void)
{
    uint32_t f;

    f = 0; /* 1 + 2^-53 is halfway: even keeps 1, away makes it 1 + ulp */
    g_assert_cmphex(fp64_binop(FP_ADD, 0x3FF0000000000000, 0x3CA0000000000000, 0, &f), ==,
                    0x3FF0000000000000);
    g_assert_cmphex(f, ==, 1);
    g_assert_cmphex(fp64_binop(FP_ADD, 0x3FF0000000000000, 0x3CA0000000000000, 4, &f), ==,
                    0x3FF0000000000001);
    f = 0; /* max + max: infinity, or the largest number when rounding to zero */
    g_assert_cmphex(fp32_binop(FP_ADD, 0x7F7FFFFF, 0x7F7FFFFF, 0, &f), ==, 0x7F800000);
    g_assert_cmphex(f, ==, 5);
    g_assert_cmphex(fp32_binop(FP_ADD, 0x7F7FFFFF, 0x7F7FFFFF, 1, &f), ==, 0x7F7FFFFF);
    f = 0; /* x - x is +0, but -0 when rounding down */
    g_assert_cmphex(fp64_binop(FP_SUB, 0x3FF0000000000000, 0x3FF0000000000000, 0, &f), ==, 0);
    g_assert_cmphex(fp64_binop(FP_SUB, 0x3FF0000000000000, 0x3FF0000000000000, 2, &f), ==,
                    0x8000000000000000);
    g_assert_cmphex(f, ==, 0);
    /* 1 / 0 */
    g_assert_cmphex(fp32_binop(FP_DIV, 0xBF800000, 0, 0, &f), ==, 0xFF800000);
    g_assert_cmphex(f, ==, 8);
    f = 0; /* inf * 0 + quiet NaN is invalid all the same */
    g_assert_cmphex(fp32_fma(0x7F800000, 0, 0x7FC00000, 0, &f), ==, 0x7FC00000);
    g_assert_cmphex(f, ==, 16);
    f = 0; /* min(-0, +0), and a NaN loses against a number */
    g_assert_cmphex(fp32_binop(FP_MIN, 0, 0x80000000, 0, &f), ==, 0x80000000);
    g_assert_cmphex(fp32_binop(FP_MAX, 0x7FC00000, 0x80000000, 0, &f), ==, 0x80000000);
    g_assert_cmphex(f, ==, 0);
    /* -0.5 to unsigned rounds to zero without being invalid; -1 is invalid */
    g_assert_cmphex(fp64_to_int(0xBFE0000000000000, true, true, 0, &f), ==, 0);
    g_assert_cmphex(f, ==, 1);
    g_assert_cmphex(fp64_to_int(0xBFF0000000000000, false, true, 0, &f), ==, 0);
    g_assert_cmphex(f, ==, 17);
    f = 0; /* NaN to a 32-bit unsigned: the maximum, sign-extended */
    g_assert_cmphex(fp32_to_int(0xFFC00000, false, true, 1, &f), ==, UINT64_MAX);
    g_assert_cmphex(fp32_to_int(0xFFC00000, false, false, 1, &f), ==, 0x7FFFFFFF);
    g_assert_cmphex(f, ==, 16);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/target/fpu/golden", test_golden);
    g_test_add_func("/target/fpu/boxing", test_boxing);
    g_test_add_func("/target/fpu/explicit", test_explicit);
    return g_test_run();
}
