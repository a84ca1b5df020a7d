/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instruction words: first two bytes the extensions, then words. What is decoded names registers
 * that exist, and switching an extension off never makes an instruction out of an illegal one.
 */
#include "fuzz.h"
#include "target/riscv-decode.h"

static void check(uint32_t bits, unsigned exts)
{
    RvInsn insn = rv_decode(bits, exts), all = rv_decode(bits, RV_EXT_ALL);

    g_assert_cmpuint(insn.op, <, RV_OP__MAX);
    g_assert_true(rv_op_name(insn.op)[0]);
    g_assert_true(insn.len == rv_insn_len(bits));
    if (insn.op == RV_OP_illegal) {
        return;
    }
    g_assert_true(insn.rd < 32 && insn.rs1 < 32 && insn.rs2 < 32);
    g_assert_true(all.op == insn.op && all.rd == insn.rd && all.rs1 == insn.rs1 &&
                  all.rs2 == insn.rs2 && all.imm == insn.imm && all.len == insn.len);
    g_assert_true(insn.len == 4 || exts & RV_EXT_C);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput in = {data, data + size};
    unsigned exts = fuzz_take(&in, 2) & RV_EXT_ALL;

    while (fuzz_left(&in)) {
        check(fuzz_take(&in, 4), exts);
    }
    return 0;
}
