/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every integer instruction on chosen operands, run by the execution loop, against results worked
 * out from the manual. */
#include "asm.h"
#include "harness.h"

#define OP(f7, f3)   R_TYPE(f7, a2, a1, f3, a0, 0x33)
#define OP32(f7, f3) R_TYPE(f7, a2, a1, f3, a0, 0x3b)
#define IMM(i, f3)   I_TYPE(i, a1, f3, a0, 0x13)
#define IMM32(i, f3) I_TYPE(i, a1, f3, a0, 0x1b)
#define MIN64        UINT64_C(0x8000000000000000)
#define MIN32        UINT64_C(0xffffffff80000000)
#define ONES         UINT64_MAX
#define X            UINT64_C(0x0123456789abcdef)

/* a0 = insn(a1, a2) */
typedef struct {
    const char *name;
    uint32_t insn;
    uint64_t a, b, result;
} AluCase;

static const AluCase alu_cases[] = {
    {"add", OP(0, 0), ONES, 1, 0},
    {"sub", OP(0x20, 0), 0, 1, ONES},
    {"sll", OP(0, 1), 1, 63 + 64, MIN64},
    {"slt", OP(0, 2), ONES, 0, 1},
    {"slt", OP(0, 2), 0, ONES, 0},
    {"sltu", OP(0, 3), ONES, 0, 0},
    {"sltu", OP(0, 3), 0, ONES, 1},
    {"xor", OP(0, 4), X, ONES, ~X},
    {"srl", OP(0, 5), MIN64, 63, 1},
    {"sra", OP(0x20, 5), MIN64, 63, ONES},
    {"or", OP(0, 6), 0xf0, 0x0f, 0xff},
    {"and", OP(0, 7), 0xfc, 0x3f, 0x3c},
    {"addi", IMM(-1, 0), 0, 0, ONES},
    {"addi", IMM(-2048, 0), 2048, 0, 0},
    {"slti", IMM(-1, 2), MIN64, 0, 1},
    {"sltiu", IMM(-1, 3), 5, 0, 1},
    {"sltiu seqz", IMM(1, 3), 0, 0, 1},
    {"xori", IMM(-1, 4), X, 0, ~X},
    {"ori", IMM(0x7f, 6), 0x80, 0, 0xff},
    {"andi", IMM(-16, 7), 0xff, 0, 0xf0},
    {"slli", IMM(63, 1), 3, 0, MIN64},
    {"srli", IMM(63, 5), ONES, 0, 1},
    {"srai", IMM(0x400 | 60, 5), MIN64, 0, -UINT64_C(8)},
    {"lui", LUI(a0, 0x80000), 0, 0, MIN32},
    {"lui", LUI(a0, 0x7ffff), 0, 0, 0x7ffff000},
    {"addiw", IMM32(1, 0), 0x7fffffff, 0, MIN32},
    {"addiw sext.w", IMM32(0, 0), UINT64_C(0x1ffffffff), 0, ONES},
    {"slliw", IMM32(31, 1), 1, 0, MIN32},
    {"srliw", IMM32(1, 5), ONES, 0, 0x7fffffff},
    {"sraiw", IMM32(0x400 | 4, 5), 0x80000000, 0, UINT64_C(0xfffffffff8000000)},
    {"addw", OP32(0, 0), 0x7fffffff, 1, MIN32},
    {"subw", OP32(0x20, 0), MIN32, 1, 0x7fffffff},
    {"sllw", OP32(0, 1), 1, 31 + 32, MIN32},
    {"srlw", OP32(0, 5), MIN32, 31, 1},
    {"sraw", OP32(0x20, 5), 0x80000000, 31, ONES},

    {"mul", OP(1, 0), ONES, 7, -UINT64_C(7)},
    {"mulh", OP(1, 1), ONES, ONES, 0},
    {"mulh", OP(1, 1), MIN64, MIN64, UINT64_C(1) << 62},
    {"mulhsu", OP(1, 2), ONES, ONES, ONES},
    {"mulhsu", OP(1, 2), 1, ONES, 0},
    {"mulhu", OP(1, 3), ONES, ONES, ONES - 1},
    {"div", OP(1, 4), -UINT64_C(7), 2, -UINT64_C(3)},
    {"div by 0", OP(1, 4), 7, 0, ONES},
    {"div overflow", OP(1, 4), MIN64, ONES, MIN64},
    {"divu", OP(1, 5), ONES, 16, ONES >> 4},
    {"divu by 0", OP(1, 5), 7, 0, ONES},
    {"rem", OP(1, 6), -UINT64_C(7), 2, ONES},
    {"rem by 0", OP(1, 6), 7, 0, 7},
    {"rem overflow", OP(1, 6), MIN64, ONES, 0},
    {"remu", OP(1, 7), ONES, 16, 15},
    {"remu by 0", OP(1, 7), 7, 0, 7},
    {"mulw", OP32(1, 0), 0x10000, 0x8000, MIN32},
    {"divw", OP32(1, 4), 0xfffffff9, 2, -UINT64_C(3)},
    {"divw by 0", OP32(1, 4), 7, UINT64_C(1) << 32, ONES},
    {"divw overflow", OP32(1, 4), 0x80000000, 0xffffffff, MIN32},
    {"divuw", OP32(1, 5), 0xffffffff, 1, ONES},
    {"divuw by 0", OP32(1, 5), 7, UINT64_C(1) << 32, ONES},
    {"remw", OP32(1, 6), 0xfffffff9, 2, ONES},
    {"remw overflow", OP32(1, 6), 0x80000000, 0xffffffff, 0},
    {"remuw by 0", OP32(1, 7), 0x80000000, 0, MIN32},

    {"sh1add", OP(0x10, 2), X, 1, 2 * X + 1},
    {"sh2add", OP(0x10, 4), X, 1, 4 * X + 1},
    {"sh3add", OP(0x10, 6), X, 1, 8 * X + 1},
    {"add.uw", OP32(4, 0), ONES, 1, UINT64_C(0x100000000)},
    {"sh1add.uw", OP32(0x10, 2), ONES, 1, UINT64_C(0x1ffffffff)},
    {"sh2add.uw", OP32(0x10, 4), ONES, 1, UINT64_C(0x3fffffffd)},
    {"sh3add.uw", OP32(0x10, 6), ONES, 1, UINT64_C(0x7fffffff9)},
    {"slli.uw", IMM32(0x80 | 36, 1), ONES, 0, UINT64_C(0xfffffff000000000)},

    {"andn", OP(0x20, 7), 0xff, 0x0f, 0xf0},
    {"orn", OP(0x20, 6), 0, X, ~X},
    {"xnor", OP(0x20, 4), X, X, ONES},
    {"min", OP(5, 4), ONES, 1, ONES},
    {"minu", OP(5, 5), ONES, 1, 1},
    {"max", OP(5, 6), ONES, 1, 1},
    {"maxu", OP(5, 7), ONES, 1, ONES},
    {"rol", OP(0x30, 1), X, 4, UINT64_C(0x123456789abcdef0)},
    {"rol 0", OP(0x30, 1), X, 64, X},
    {"ror", OP(0x30, 5), X, 4, UINT64_C(0xf0123456789abcde)},
    {"rori", IMM(0x600 | 4, 5), X, 0, UINT64_C(0xf0123456789abcde)},
    {"rolw", OP32(0x30, 1), 0x80000001, 1, 3},
    {"rorw", OP32(0x30, 5), 1, 1, MIN32},
    {"rorw 0", OP32(0x30, 5), 0x80000000, 32, MIN32},
    {"roriw", IMM32(0x600 | 1, 5), 3, 0, UINT64_C(0xffffffff80000001)},
    {"clz", IMM(0x600, 1), 1, 0, 63},
    {"clz 0", IMM(0x600, 1), 0, 0, 64},
    {"ctz", IMM(0x601, 1), MIN64, 0, 63},
    {"ctz 0", IMM(0x601, 1), 0, 0, 64},
    {"cpop", IMM(0x602, 1), X, 0, 32},
    {"clzw", IMM32(0x600, 1), ONES << 31, 0, 0},
    {"clzw 0", IMM32(0x600, 1), ONES << 32, 0, 32},
    {"ctzw", IMM32(0x601, 1), ONES << 31, 0, 31},
    {"ctzw 0", IMM32(0x601, 1), ONES << 32, 0, 32},
    {"cpopw", IMM32(0x602, 1), ONES, 0, 32},
    {"sext.b", IMM(0x604, 1), 0x180, 0, -UINT64_C(128)},
    {"sext.h", IMM(0x605, 1), 0x18000, 0, -UINT64_C(32768)},
    {"zext.h", R_TYPE(4, 0, a1, 4, a0, 0x3b), ONES, 0, 0xffff},
    {"orc.b", IMM(0x287, 5), UINT64_C(0x0100800000100001), 0, UINT64_C(0xff00ff0000ff00ff)},
    {"rev8", IMM(0x6b8, 5), X, 0, UINT64_C(0xefcdab8967452301)},

    {"clmul", OP(5, 1), 7, 7, 0x15},
    {"clmul", OP(5, 1), ONES, 2, ONES - 1},
    {"clmulh", OP(5, 3), ONES, 2, 1},
    {"clmulh", OP(5, 3), MIN64, MIN64, UINT64_C(1) << 62},
    {"clmulr", OP(5, 2), ONES, 2, 3},
    {"clmulr", OP(5, 2), MIN64, MIN64, MIN64},

    {"bclr", OP(0x24, 1), ONES, 64, ONES - 1},
    {"bset", OP(0x14, 1), 0, 127, MIN64},
    {"binv", OP(0x34, 1), 1, 0, 0},
    {"bext", OP(0x24, 5), MIN64, 63, 1},
    {"bclri", IMM(0x480 | 63, 1), ONES, 0, ONES >> 1},
    {"bseti", IMM(0x280 | 63, 1), 0, 0, MIN64},
    {"binvi", IMM(0x680 | 4, 1), 0x10, 0, 0},
    {"bexti", IMM(0x480 | 4, 5), 0x10, 0, 1},

    /* The same through the short forms that the block builder makes. */
    {"mv", OP(0, 0) & ~(31u << 15), 1, X, X},
    {"li", ADDI(a0, zero, -5), 1, 1, -UINT64_C(5)},
    {"c.mv", 0x852e | 0x00010000, X, 0, X},
    {"sltu snez", R_TYPE(0, a1, zero, 3, a0, 0x33), X, 0, 1},
};

#define TABLE (HARNESS_RAM + 0x10000)

typedef struct {
    uint64_t a, b, result, pad;
} Row;

static void test_alu(void)
{
    Harness *h = harness_new(1 * MiB, 1);
    Row *rows = harness_ptr(h, TABLE);
    uint32_t code[ARRAY_SIZE(alu_cases) * 5 + 8];
    unsigned n = 0;

    code[n++] = LUI(t0, 0x80010);
    code[n++] = SLLI(t0, t0, 32);
    code[n++] = I_TYPE(32, t0, 5, t0, 0x13);
    for (unsigned i = 0; i < ARRAY_SIZE(alu_cases); i++) {
        rows[i].a = alu_cases[i].a;
        rows[i].b = alu_cases[i].b;
        code[n++] = LD(a1, t0, 0);
        code[n++] = LD(a2, t0, 8);
        code[n++] = alu_cases[i].insn;
        code[n++] = SD(a0, t0, 16);
        code[n++] = ADDI(t0, t0, 32);
    }
    code[n++] = ADDI(a0, zero, 1);
    code[n++] = LUI(t1, 0x100);
    code[n++] = SW(a0, t1, 0);
    code[n++] = JAL(zero, 0);
    harness_code(h, HARNESS_RAM, code, n);
    harness_run(h);
    for (unsigned i = 0; i < ARRAY_SIZE(alu_cases); i++) {
        if (rows[i].result != alu_cases[i].result) {
            g_test_message("%s: got %" PRIx64 ", expected %" PRIx64, alu_cases[i].name,
                           rows[i].result, alu_cases[i].result);
            g_test_fail();
        }
    }
    g_assert_cmphex(harness_cpu(h, 0)->env.gpr[0], ==, 0);
    harness_free(h);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/accel/exec/alu", test_alu);
    return g_test_run();
}
