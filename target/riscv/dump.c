/* SPDX-License-Identifier: GPL-2.0-or-later */
/* info registers: the peer's layout, which scripts read. */
#include "target/riscv/internal.h"

static const char *const gpr_names[32] = {
    "x0/zero", "x1/ra",  "x2/sp",   "x3/gp",   "x4/tp",  "x5/t0",  "x6/t1",  "x7/t2",
    "x8/s0",   "x9/s1",  "x10/a0",  "x11/a1",  "x12/a2", "x13/a3", "x14/a4", "x15/a5",
    "x16/a6",  "x17/a7", "x18/s2",  "x19/s3",  "x20/s4", "x21/s5", "x22/s6", "x23/s7",
    "x24/s8",  "x25/s9", "x26/s10", "x27/s11", "x28/t3", "x29/t4", "x30/t5", "x31/t6"};
static const char *const fpr_names[32] = {
    "f0/ft0",  "f1/ft1",  "f2/ft2",   "f3/ft3",   "f4/ft4",  "f5/ft5",  "f6/ft6",   "f7/ft7",
    "f8/fs0",  "f9/fs1",  "f10/fa0",  "f11/fa1",  "f12/fa2", "f13/fa3", "f14/fa4",  "f15/fa5",
    "f16/fa6", "f17/fa7", "f18/fs2",  "f19/fs3",  "f20/fs4", "f21/fs5", "f22/fs6",  "f23/fs7",
    "f24/fs8", "f25/fs9", "f26/fs10", "f27/fs11", "f28/ft8", "f29/ft9", "f30/ft10", "f31/ft11"};

static void dump_array(GString *out, const char *const names[32], const uint64_t values[32])
{
    for (unsigned i = 0; i < 32; i++) {
        g_string_append_printf(out, " %-8s %016" PRIx64 "%s", names[i], values[i],
                               i % 4 == 3 ? "\r\n" : "");
    }
}

void riscv_cpu_dump(RISCVCPU *cpu, GString *out)
{
    const CPURISCVState *env = &cpu->env;
    bool h = riscv_has_ext(env, 'h');
    const struct {
        const char *name;
        uint64_t value;
        bool shown;
    } csrs[] = {
        {"mhartid", env->mhartid, true},
        {"mstatus", riscv_mstatus_read(env), true},
        {"hstatus", (env->hstatus & ~(HSTATUS_VSXL | HSTATUS_VSBE)) | BIT64(33), h},
        {"vsstatus", env->vsstatus, h},
        {"mip", riscv_mip(env), true},
        {"mie", env->mie, true},
        {"mideleg", env->mideleg, true},
        {"hideleg", env->hideleg, h},
        {"medeleg", env->medeleg, true},
        {"hedeleg", env->hedeleg, h},
        {"mtvec", env->mtvec, true},
        {"stvec", env->stvec, true},
        {"vstvec", env->vstvec, h},
        {"mepc", env->mepc, true},
        {"sepc", env->sepc, true},
        {"vsepc", env->vsepc, h},
        {"mcause", env->mcause, true},
        {"scause", env->scause, true},
        {"vscause", env->vscause, h},
        {"mtval", env->mtval, true},
        {"stval", env->stval, true},
        {"htval", env->htval, h},
        {"mtval2", env->mtval2, h},
        {"mscratch", env->mscratch, true},
        {"sscratch", env->sscratch, true},
        {"satp", env->satp, true},
    };

    if (h) {
        g_string_append_printf(out, " V      =   %u\r\n", (unsigned)(env->virt & 1));
    }
    g_string_append_printf(out, " pc       %016" PRIx64 "\r\n", env->pc);
    for (unsigned i = 0; i < ARRAY_SIZE(csrs); i++) {
        if (csrs[i].shown) {
            g_string_append_printf(out, " %-8s %016" PRIx64 "\r\n", csrs[i].name, csrs[i].value);
        }
    }
    dump_array(out, gpr_names, env->gpr);
    dump_array(out, fpr_names, env->fpr);
}
