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

#define DATA  (HARNESS_RAM + 0x10000)
#define TABLE DATA

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

#define CSR_MTVEC  0x305
#define CSR_MEPC   0x341
#define CSR_MCAUSE 0x342
#define CSR_MTVAL  0x343
#define RAM_SIZE   (1 * MiB)
#define HANDLER    (HARNESS_RAM + 0x8000)
#define NOWHERE    UINT64_C(0x2000)

typedef struct {
    const char *name;
    uint32_t insn; /* uses a1 */
    uint64_t a1;
    uint64_t cause, tval;
    bool elsewhere; /* mepc is tval, not the instruction */
} FaultCase;

static const FaultCase fault_cases[] = {
    {"load", LD(a0, a1, 8), NOWHERE, 5, NOWHERE + 8},
    {"load to x0", LW(zero, a1, 4), NOWHERE, 5, NOWHERE + 4},
    {"misaligned load", LD(a0, a1, 1), NOWHERE, 5, NOWHERE + 1},
    {"load over the end", LD(a0, a1, -4), HARNESS_RAM + RAM_SIZE, 5, HARNESS_RAM + RAM_SIZE},
    {"store", SD(a0, a1, -8), NOWHERE, 7, NOWHERE - 8},
    {"store over the end", SD(a0, a1, -1), HARNESS_RAM + RAM_SIZE, 7, HARNESS_RAM + RAM_SIZE},
    {"device width", LD(a0, a1, 0), HARNESS_UART, 5, HARNESS_UART},
    {"device alignment", LW(a0, a1, 2), HARNESS_FINISHER, 5, HARNESS_FINISHER + 2},
    {"illegal word", 0xffffffff, 0, 2, 0xffffffff},
    {"illegal halfword 0", 0x00010000, 0, 2, 0},
    {"reserved halfword", 0x00018000, 0, 2, 0x8000},
    {"unknown csr read", CSRRS(a0, 0x123, zero), 0, 2, CSRRS(a0, 0x123, zero)},
    {"read-only csr", CSRRW(a0, 0xc00, a1), 0, 2, CSRRW(a0, 0xc00, a1)},
    {"ebreak", EBREAK, 0, 3, 0},
    {"c.ebreak", 0x00019002, 0, 3, 0},
    {"ecall", ECALL, 0, 11, 0},
    {"lr misaligned", LR_W(a0, a1), DATA + 2, 4, DATA + 2},
    {"amo misaligned", AMO(0, a1, a1, 8, a0), DATA + 4, 6, DATA + 4},
    {"amo nowhere", AMO(0, a1, a1, 8, a0), NOWHERE, 7, NOWHERE},
    {"lr nowhere", LR_D(a0, a1), NOWHERE, 5, NOWHERE},
    {"fp off", 0x02000053, 0, 2, 0x02000053},
    {"fp load off", 0x0000b087, 0, 2, 0x0000b087},
    {"jump nowhere", JALR(ra, a1, 1), NOWHERE, 1, NOWHERE, true},
    {"jump into a device", JALR(ra, a1, 0), HARNESS_UART, 1, HARNESS_UART, true},
};

/* Log cause, epc and tval at t0, go on behind the instruction (behind the jump if fetching failed).
 */
static const uint32_t handler[] = {
    CSRRS(t1, CSR_MCAUSE, zero),
    SD(t1, t0, 0),
    CSRRS(t2, CSR_MEPC, zero),
    SD(t2, t0, 8),
    ADDI(t1, t1, -1),
    BNE(t1, zero, 8),
    ADDI(t2, ra, -4),
    CSRRS(t1, CSR_MTVAL, zero),
    SD(t1, t0, 16),
    ADDI(t0, t0, 24),
    ADDI(t2, t2, 4),
    CSRRW(zero, CSR_MEPC, t2),
    MRET,
};

#define SET_DATA_BASE(rd) LUI(rd, 0x80010), SLLI(rd, rd, 32), I_TYPE(32, rd, 5, rd, 0x13)

static void test_faults(void)
{
    static const uint32_t start[] = {
        SET_DATA_BASE(t0), LUI(t1, 0xffff8), /* handler = t0 - 0x8000 */
        ADD(t1, t0, t1),   CSRRW(zero, CSR_MTVEC, t1), ADDI(s0, t0, 0x400), /* operands */
    };
    static const uint32_t end[] = {FINISH(t1, s1), JAL(zero, 0)};
    Harness *h = harness_new(RAM_SIZE, 1);
    uint64_t *log = harness_ptr(h, DATA), *operands = harness_ptr(h, DATA + 0x400);
    uint64_t pc = HARNESS_RAM + sizeof(start);
    uint64_t epc[ARRAY_SIZE(fault_cases)];

    harness_code(h, HANDLER, handler, ARRAY_SIZE(handler));
    harness_code(h, HARNESS_RAM, start, ARRAY_SIZE(start));
    for (unsigned i = 0; i < ARRAY_SIZE(fault_cases); i++) {
        /* The neighbours may share handlers with each other; the fault must still be found. */
        const uint32_t code[] = {
            LD(a1, s0, 8 * i), ADDI(s1, s1, 1),     0x00010001 /* c.nop twice */,
            ADDI(a2, s1, 0),   fault_cases[i].insn,
        };

        operands[i] = fault_cases[i].a1;
        epc[i] = pc + 16;
        harness_code(h, pc, code, ARRAY_SIZE(code));
        pc += sizeof(code);
    }
    harness_code(h, pc, end, ARRAY_SIZE(end));
    g_assert_cmpuint(harness_run(h), ==, ARRAY_SIZE(fault_cases));
    for (unsigned i = 0; i < ARRAY_SIZE(fault_cases); i++) {
        const FaultCase *c = &fault_cases[i];

        if (log[3 * i] != c->cause || log[3 * i + 2] != c->tval ||
            log[3 * i + 1] != (c->elsewhere ? c->tval : epc[i])) {
            g_test_message("%s: cause %" PRIu64 " epc %" PRIx64 " tval %" PRIx64, c->name,
                           log[3 * i], log[3 * i + 1], log[3 * i + 2]);
            g_test_fail();
        }
    }
    harness_free(h);
}

/* Loads and stores of all sizes at all offsets around a page boundary. */
static void test_misaligned(void)
{
    static const struct {
        uint32_t store, load;
        unsigned size;
    } kinds[] = {
        {S_TYPE(0, a1, a0, 1, 0x23), I_TYPE(0, a0, 5, a2, 0x03), 2}, /* sh, lhu */
        {S_TYPE(0, a1, a0, 2, 0x23), I_TYPE(0, a0, 6, a2, 0x03), 4}, /* sw, lwu */
        {S_TYPE(0, a1, a0, 3, 0x23), I_TYPE(0, a0, 3, a2, 0x03), 8}, /* sd, ld */
    };

    for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
        const uint32_t code[] = {kinds[k].store, kinds[k].load, ADDI(s1, zero, 1), FINISH(t1, s1),
                                 JAL(zero, 0)};
        uint64_t mask = kinds[k].size == 8 ? UINT64_MAX : (UINT64_C(1) << kinds[k].size * 8) - 1;

        for (unsigned off = 0xff0; off <= 0x1008; off++) {
            Harness *h = harness_new(RAM_SIZE, 1);
            CPURISCVState *env = &harness_cpu(h, 0)->env;
            uint64_t stored = 0;

            harness_code(h, HARNESS_RAM, code, ARRAY_SIZE(code));
            env->gpr[a0] = DATA + off;
            env->gpr[a1] = X;
            harness_run(h);
            memcpy(&stored, harness_ptr(h, DATA + off), kinds[k].size);
            g_assert_cmphex(stored, ==, X & mask);
            g_assert_cmphex(env->gpr[a2], ==, X & mask);
            g_assert_cmphex(*(uint8_t *)harness_ptr(h, DATA + off - 1), ==, 0);
            g_assert_cmphex(*(uint8_t *)harness_ptr(h, DATA + off + kinds[k].size), ==, 0);
            harness_free(h);
        }
    }
}

/* A function is called, rewritten, called again after FENCE.I; it ends in an instruction that
 * crosses a page. */
static void test_code_changes(void)
{
    static const uint32_t code[] = {
        SET_DATA_BASE(t0),
        JALR(ra, t0, -6),
        ADD(s1, s1, a0),
        JALR(ra, t0, -6), /* now from the cache */
        ADD(s1, s1, a0),
        LW(a1, t0, 0x100),
        S_TYPE(0, a1, t0, 1, 0x23), /* sh: the half behind the page boundary */
        FENCE_I,
        JALR(ra, t0, -6),
        ADD(s1, s1, a0),
        LW(a1, t0, 0x104),
        SW(a1, t0, -6), /* and the instruction before it */
        FENCE_I,
        JALR(ra, t0, -6),
        ADD(s1, s1, a0),
        FINISH(t1, s1),
        JAL(zero, 0),
    };
    /* addi a0, zero, 0x010; addi a0, a0, 0x001 (crossing); ret */
    static const uint32_t function[] = {ADDI(a0, zero, 0x10), ADDI(a0, a0, 1), JALR(zero, ra, 0)};
    Harness *h = harness_new(RAM_SIZE, 1);

    harness_code(h, HARNESS_RAM, code, ARRAY_SIZE(code));
    harness_code(h, DATA - 6, function, ARRAY_SIZE(function));
    *(uint32_t *)harness_ptr(h, DATA + 0x100) = ADDI(a0, a0, 2) >> 16;
    *(uint32_t *)harness_ptr(h, DATA + 0x104) = ADDI(a0, zero, 0x200);
    g_assert_cmphex(harness_run(h), ==, 0x11 + 0x11 + 0x12 + 0x202);
    harness_free(h);
}

/* Memory loaded from outside while the vCPU was stopped is seen without FENCE.I. */
static void test_code_loaded_while_stopped(void)
{
    uint32_t code[] = {ADDI(s1, zero, 1), FINISH(t1, s1), JAL(zero, 0)};
    Harness *h = harness_new(RAM_SIZE, 1);

    for (unsigned i = 1; i < 5; i++) {
        code[0] = ADDI(s1, zero, i);
        harness_code(h, HARNESS_RAM, code, ARRAY_SIZE(code));
        harness_cpu(h, 0)->env.pc = HARNESS_RAM;
        g_assert_cmpuint(harness_run(h), ==, i);
    }
    harness_free(h);
}

/* Straight code over several blocks and pages, run twice; and backwards jumps between pages. */
static void test_long_code(void)
{
    enum { LONG = 3000 };
    g_autofree uint32_t *code = g_new(uint32_t, LONG + 8);
    Harness *h = harness_new(RAM_SIZE, 1);
    unsigned n = 0;

    code[n++] = ADDI(s0, zero, 2);
    for (unsigned i = 0; i < LONG; i++) {
        code[n++] = ADDI(s1, s1, 1);
    }
    code[n++] = ADDI(s0, s0, -1);
    code[n++] = BEQ(s0, zero, 8);
    code[n] = JAL(zero, -4 * ((int)n - 1));
    n++;
    code[n++] = LUI(t1, 0x100);
    code[n++] = SW(s1, t1, 0);
    code[n++] = JAL(zero, 0);
    harness_code(h, HARNESS_RAM, code, n);
    g_assert_cmpuint(harness_run(h), ==, 2 * LONG);
    harness_free(h);
}

/* Pairs that the block builder makes one operation of. */
static void test_constants(void)
{
    static const uint32_t code[] = {
        LUI(a1, 0x12345),   ADDI(a1, a1, -1),
        LUI(a2, 0x80000),   I_TYPE(-1, a2, 0, a2, 0x1b), /* addiw wraps to 0x7fffffff */
        LUI(a3, 0x7ffff),   ADDI(a3, a3, 0x7ff),
        LUI(a4, 0x80000),   ADDI(a4, a4, -1), /* 33 bits: stays two */
        AUIPC(a5, 0x10),    ADDI(a5, a5, -8),
        AUIPC(ra, 0),       JALR(ra, ra, 16), /* call over two instructions */
        ADDI(s1, zero, 99), JAL(zero, 0),
        ADDI(s1, s1, 7),    FINISH(t1, s1),
        JAL(zero, 0),
    };
    Harness *h = harness_new(RAM_SIZE, 1);
    const uint64_t *gpr = harness_cpu(h, 0)->env.gpr;

    harness_code(h, HARNESS_RAM, code, ARRAY_SIZE(code));
    g_assert_cmpuint(harness_run(h), ==, 7);
    g_assert_cmphex(gpr[a1], ==, 0x12344fff);
    g_assert_cmphex(gpr[a2], ==, 0x7fffffff);
    g_assert_cmphex(gpr[a3], ==, 0x7ffff7ff);
    g_assert_cmphex(gpr[a4], ==, UINT64_C(0xffffffff7fffffff));
    g_assert_cmphex(gpr[a5], ==, HARNESS_RAM + 8 * 4 + 0x10000 - 8);
    g_assert_cmphex(gpr[ra], ==, HARNESS_RAM + 12 * 4);
    harness_free(h);
}

/* A reservation is lost by another value, by a second SC, by a trap; a misaligned SC fails quietly.
 */
static void test_reservation(void)
{
    static const uint32_t code[] = {
        SET_DATA_BASE(t0), ADDI(a4, zero, 5), SC_D(a1, a4, t0), /* none yet: 1 */
        LR_D(a0, t0),      SC_D(a2, a4, t0),                    /* 0 */
        SC_D(a3, a4, t0),                                       /* used up: 1 */
        LR_D(a0, t0),      SD(zero, t0, 0),   SC_D(a5, a4, t0), /* other value: 1 */
        LR_D(a0, t0),      SD(zero, t0, 0),   SC_D(a6, a4, t0), /* same value: 0 */
        ADDI(t1, t0, 8),   LR_D(a0, t0),      SC_D(a7, a4, t1), /* other address: 1 */
        ADDI(t1, t0, 2),   LR_D(a0, t0),      SC_W(s0, a4, t1), /* misaligned: 1, no trap */
        ADDI(s1, zero, 1), FINISH(t1, s1),    JAL(zero, 0),
    };
    Harness *h = harness_new(RAM_SIZE, 1);
    const uint64_t *gpr = harness_cpu(h, 0)->env.gpr;

    harness_code(h, HARNESS_RAM, code, ARRAY_SIZE(code));
    harness_run(h);
    g_assert_cmpuint(gpr[a1], ==, 1);
    g_assert_cmpuint(gpr[a2], ==, 0);
    g_assert_cmpuint(gpr[a3], ==, 1);
    g_assert_cmpuint(gpr[a5], ==, 1);
    g_assert_cmpuint(gpr[a6], ==, 0);
    g_assert_cmpuint(gpr[a7], ==, 1);
    g_assert_cmpuint(gpr[s0], ==, 1);
    harness_free(h);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/accel/exec/alu", test_alu);
    g_test_add_func("/accel/exec/faults", test_faults);
    g_test_add_func("/accel/exec/misaligned", test_misaligned);
    g_test_add_func("/accel/exec/code-changes", test_code_changes);
    g_test_add_func("/accel/exec/code-loaded-while-stopped", test_code_loaded_while_stopped);
    g_test_add_func("/accel/exec/long-code", test_long_code);
    g_test_add_func("/accel/exec/constants", test_constants);
    g_test_add_func("/accel/exec/reservation", test_reservation);
    return g_test_run();
}
