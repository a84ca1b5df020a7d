/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The decoder, exhaustively. The two checksums were taken when the output had been compared, line
 * by line, with GNU objdump's disassembly of the same words; the differences were only these:
 * objdump does not know Zba to Zbs by default, prints reserved rounding modes, and prints
 * C.ADDI16SP with the reserved immediate 0.
 */
#include "target/riscv-decode.h"

static void assert_sha256(GChecksum *sum, const char *expected)
{
    g_assert_cmpstr(g_checksum_get_string(sum), ==, expected);
    g_checksum_free(sum);
}

static void add_line(GChecksum *sum, const char *fmt, ...)
{
    char line[80];
    va_list ap;
    int len;

    va_start(ap, fmt);
    len = g_vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    g_checksum_update(sum, (const guchar *)line, len);
}

/* All 49152 16-bit words, with operands. */
static void test_compressed(void)
{
    GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA256);

    for (unsigned bits = 0; bits < 0x10000; bits++) {
        RvInsn in = rv_decode(bits, RV_EXT_ALL);

        if (rv_insn_len(bits) != 2) {
            continue;
        }
        g_assert_cmpuint(in.len, ==, 2);
        if (in.op == RV_OP_illegal) {
            g_assert_cmphex(in.imm, ==, bits);
            add_line(sum, "%04x illegal\n", bits);
        } else {
            add_line(sum, "%04x %s %u %u %u %d\n", bits, rv_op_name(in.op), in.rd, in.rs1, in.rs2,
                     in.imm);
        }
    }
    assert_sha256(sum, "6bcf8a12e937ebf025c94c8f609d3c13f9a7d3826b2c17bd499b32be33b46fe6");
}

/* All major opcodes with all minor ones (funct3, funct7, rs2), with rd = x1, rs1 = x2. */
static void test_opcodes(void)
{
    GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA256);

    for (uint32_t major = 3; major < 128; major += 4) {
        if ((major & 0x1f) == 0x1f) {
            continue; /* longer than 32 bits */
        }
        for (uint32_t minor = 0; minor < 1u << 15; minor++) {
            uint32_t funct3 = minor >> 12, funct7 = minor >> 5 & 0x7f, rs2 = minor & 0x1f;
            uint32_t bits = funct7 << 25 | rs2 << 20 | 2 << 15 | funct3 << 12 | 1 << 7 | major;
            RvInsn in = rv_decode(bits, RV_EXT_ALL);

            g_assert_cmpuint(in.len, ==, 4);
            add_line(sum, "%08x %s\n", bits, rv_op_name(in.op));
        }
    }
    assert_sha256(sum, "ccaf6e27bd1b2b6a0db32cc8bf991543efa0cc4807de74ad8e69dbdcc9068cac");
}

static void test_immediates(void)
{
    static const struct {
        uint32_t bits;
        RvOp op;
        int32_t imm;
    } cases[] = {
        {0x80000013, RV_OP_addi, -2048},    {0x7ff00013, RV_OP_addi, 2047},
        {0x80000023, RV_OP_sb, -2048},      {0x7e000fa3, RV_OP_sb, 2047},
        {0x80000063, RV_OP_beq, -4096},     {0x7e000fe3, RV_OP_beq, 4094},
        {0x8000006f, RV_OP_jal, -1048576},  {0x7ffff06f, RV_OP_jal, 1048574},
        {0x800000b7, RV_OP_lui, INT32_MIN}, {0x7ffff097, RV_OP_auipc, 0x7ffff000},
        {0xc0102573, RV_OP_csrrs, 0xc01},   {0x30047073, RV_OP_csrrci, 0x300},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        RvInsn in = rv_decode(cases[i].bits, RV_EXT_ALL);

        g_assert_cmpstr(rv_op_name(in.op), ==, rv_op_name(cases[i].op));
        g_assert_cmpint(in.imm, ==, cases[i].imm);
    }
}

static void test_system(void)
{
    static const struct {
        uint32_t bits;
        RvOp op;
    } cases[] = {
        {0x00000073, RV_OP_ecall},      {0x00100073, RV_OP_ebreak},
        {0x00200073, RV_OP_illegal},    {0x30200073, RV_OP_mret},
        {0x10200073, RV_OP_sret},       {0x10500073, RV_OP_wfi},
        {0x12000073, RV_OP_sfence_vma}, {0x12a58073, RV_OP_sfence_vma},
        {0x120000f3, RV_OP_illegal}, /* sfence.vma with rd */
        {0x000000f3, RV_OP_illegal}, /* ecall with rd */
        {0x7b200073, RV_OP_illegal}, /* dret */
        {0xffffffff, RV_OP_illegal},    {0x00000000, RV_OP_illegal},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        g_assert_cmpstr(rv_op_name(rv_decode(cases[i].bits, RV_EXT_ALL).op), ==,
                        rv_op_name(cases[i].op));
    }
}

/* What is switched off is illegal. */
static void test_extensions(void)
{
    static const struct {
        uint32_t bits;
        unsigned ext;
    } cases[] = {
        {0x4505, RV_EXT_C},           /* c.li */
        {0x2100, RV_EXT_D},           /* c.fld */
        {0x0000a087, RV_EXT_F},       /* flw */
        {0x0000b087, RV_EXT_D},       /* fld */
        {0x00000053, RV_EXT_F},       /* fadd.s */
        {0x02000053, RV_EXT_D},       /* fadd.d */
        {0x40100053, RV_EXT_D},       /* fcvt.s.d */
        {0x02000043, RV_EXT_D},       /* fmadd.d */
        {0x20002033, RV_EXT_ZBA},     /* sh1add */
        {0x40007033, RV_EXT_ZBB},     /* andn */
        {0x0a001033, RV_EXT_ZBC},     /* clmul */
        {0x28001033, RV_EXT_ZBS},     /* bset */
        {0xc0102573, RV_EXT_ZICSR},   /* rdtime */
        {0x0000100f, RV_EXT_ZIFENCEI} /* fence.i */
    };

    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        g_assert_cmpint(rv_decode(cases[i].bits, RV_EXT_ALL).op, !=, RV_OP_illegal);
        g_assert_cmpint(rv_decode(cases[i].bits, RV_EXT_ALL & ~cases[i].ext).op, ==, RV_OP_illegal);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/target/decode/compressed", test_compressed);
    g_test_add_func("/target/decode/opcodes", test_opcodes);
    g_test_add_func("/target/decode/immediates", test_immediates);
    g_test_add_func("/target/decode/system", test_system);
    g_test_add_func("/target/decode/extensions", test_extensions);
    return g_test_run();
}
