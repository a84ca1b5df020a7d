/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entering and leaving traps, interrupt selection, privileged instructions, reset, PMP registers.
 */
#include "riscv-fixture.h"

#define PC UINT64_C(0x80000100)

static Hart *at(uint64_t priv)
{
    Hart *h = hart_new(NULL);

    hart_open_pmp(h);
    h->env->mtvec = 0x80001001; /* vectored */
    h->env->stvec = 0x80002001;
    h->env->pc = PC;
    riscv_set_priv(h->cpu, priv);
    return h;
}

static void test_exception_to_m(void)
{
    g_autoptr(Hart) h = at(PRV_U);

    h->env->mstatus |= MSTATUS_MIE | MSTATUS_MPP | MSTATUS_GVA | MSTATUS_MPV;
    h->env->mtval2 = h->env->mtinst = 5;
    h->env->load_res = PC;
    riscv_raise_exception(h->cpu, RISCV_EXCP_LOAD_PAGE_FAULT, 0x1234);
    g_assert_cmpuint(h->env->priv, ==, PRV_M);
    g_assert_cmphex(h->env->pc, ==, 0x80001000); /* exceptions are not vectored */
    g_assert_cmphex(h->env->mepc, ==, PC);
    g_assert_cmphex(h->env->mcause, ==, 13);
    g_assert_cmphex(h->env->mtval, ==, 0x1234);
    g_assert_cmphex(h->env->mtval2 | h->env->mtinst, ==, 0);
    g_assert_cmphex(h->env->mstatus, ==, MSTATUS_XL64 | MSTATUS_MPIE); /* MPP = U */
    g_assert_cmphex(h->env->load_res, ==, UINT64_MAX);
    g_assert_cmpuint(h->env->mmu_idx_data, ==, MMU_IDX_M);
}

static void test_exception_delegated(void)
{
    g_autoptr(Hart) h = at(PRV_S);

    h->env->medeleg = BIT64(2) | BIT64(3);
    h->env->mstatus |= MSTATUS_SIE;
    h->env->hstatus = HSTATUS_SPV | HSTATUS_GVA;
    riscv_raise_exception(h->cpu, RISCV_EXCP_ILLEGAL_INST, 0xFFFFFFFF);
    g_assert_cmpuint(h->env->priv, ==, PRV_S);
    g_assert_cmphex(h->env->pc, ==, 0x80002000);
    g_assert_cmphex(h->env->sepc, ==, PC);
    g_assert_cmphex(h->env->scause, ==, 2);
    g_assert_cmphex(h->env->stval, ==, 0xFFFFFFFF);
    g_assert_cmphex(h->env->hstatus, ==, 0);
    g_assert_cmphex(h->env->mstatus, ==, MSTATUS_XL64 | MSTATUS_SPIE | MSTATUS_SPP);
    riscv_raise_exception(h->cpu, RISCV_EXCP_BREAKPOINT, 0x77);
    g_assert_cmphex(h->env->stval, ==, 0); /* breakpoints report no address */
    /* M-mode keeps its own exceptions. */
    riscv_set_priv(h->cpu, PRV_M);
    riscv_raise_exception(h->cpu, RISCV_EXCP_ILLEGAL_INST, 0);
    g_assert_cmpuint(h->env->priv, ==, PRV_M);
    g_assert_cmphex(h->env->mstatus & MSTATUS_MPP, ==, MSTATUS_MPP);
}

static void test_interrupt_selection(void)
{
    static const struct {
        uint64_t priv, status, mideleg, pending;
        int want;
    } rows[] = {
        {PRV_M, 0, 0, 0xAAA, -1},
        {PRV_M, MSTATUS_MIE, 0, 0x888, 3}, /* lowest number first, as the peer */
        {PRV_M, MSTATUS_MIE, 0, 0x880, 7},
        {PRV_M, MSTATUS_MIE, 0x222, 0x222, -1}, /* delegated: never taken in M */
        {PRV_S, 0, 0x222, 0x80, 7},             /* M interrupts interrupt S whatever MIE says */
        {PRV_S, 0, 0x222, 0x222, -1},
        {PRV_S, MSTATUS_SIE, 0x222, 0x220, 5},
        {PRV_S, MSTATUS_SIE, 0x222, 0xA22, 11}, /* the M set goes first */
        {PRV_U, 0, 0x222, 0x200, 9},
        {PRV_U, MSTATUS_SIE, 0x666, 0x400, -1}, /* VS interrupts wait for V = 1 */
    };

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autoptr(Hart) h = at(rows[i].priv);

        h->env->mstatus |= rows[i].status;
        h->env->mideleg = rows[i].mideleg;
        h->env->hideleg = 0x444;
        h->env->mie = 0xFFF;
        h->env->mip = rows[i].pending;
        g_assert_cmpint(riscv_pending_interrupt(h->cpu), ==, rows[i].want);
        h->env->mie = 0;
        g_assert_cmpint(riscv_pending_interrupt(h->cpu), ==, -1);
    }
}

static void test_take_interrupt(void)
{
    g_autoptr(Hart) h = at(PRV_S);

    h->env->halted = 1;
    h->env->mideleg = MIP_STIP;
    riscv_take_interrupt(h->cpu, 5);
    g_assert_cmphex(h->env->pc, ==, 0x80002000 + 4 * 5);
    g_assert_cmphex(h->env->scause, ==, CAUSE_INTERRUPT | 5);
    g_assert_cmphex(h->env->stval, ==, 0);
    g_assert_cmpuint(h->env->halted, ==, 0);
    riscv_take_interrupt(h->cpu, 7);
    g_assert_cmphex(h->env->pc, ==, 0x80001000 + 4 * 7);
    g_assert_cmphex(h->env->mcause, ==, CAUSE_INTERRUPT | 7);
}

static void test_mret(void)
{
    g_autoptr(Hart) h = at(PRV_M);

    h->env->mepc = 0x80000201;
    h->env->mstatus |= MSTATUS_MPIE | MSTATUS_MPRV | UINT64_C(1) << MSTATUS_MPP_SHIFT;
    g_assert_cmpint(riscv_mret(h->cpu), ==, RISCV_EXCP_NONE);
    g_assert_cmphex(h->env->pc, ==, 0x80000200);
    g_assert_cmpuint(h->env->priv, ==, PRV_S);
    g_assert_cmphex(h->env->mstatus, ==, MSTATUS_XL64 | MSTATUS_MIE | MSTATUS_MPIE | MSTATUS_MPRV);
    g_assert_cmpint(riscv_mret(h->cpu), ==, RISCV_EXCP_ILLEGAL_INST); /* not from S */

    riscv_set_priv(h->cpu, PRV_M);
    h->env->mstatus |= UINT64_C(2) << MSTATUS_MPP_SHIFT;
    g_assert_cmpint(riscv_mret(h->cpu), ==, RISCV_EXCP_NONE);
    g_assert_cmpuint(h->env->priv, ==, PRV_U);
}

static void test_mret_needs_pmp(void)
{
    g_autoptr(Hart) h = hart_new(NULL);

    g_assert_cmpint(riscv_mret(h->cpu), ==, RISCV_EXCP_ILLEGAL_INST);
    h->env->mstatus |= MSTATUS_MPP;
    g_assert_cmpint(riscv_mret(h->cpu), ==, RISCV_EXCP_NONE); /* M to M is fine */
    hart_open_pmp(h);
    h->env->mstatus |= MSTATUS_MPV; /* into a virtual machine: not implemented, so illegal */
    g_assert_cmpint(riscv_mret(h->cpu), ==, RISCV_EXCP_ILLEGAL_INST);
}

static void test_sret(void)
{
    g_autoptr(Hart) h = at(PRV_S);

    h->env->sepc = 0x80000300;
    h->env->mstatus |= MSTATUS_SPP | MSTATUS_SPIE;
    g_assert_cmpint(riscv_sret(h->cpu), ==, RISCV_EXCP_NONE);
    g_assert_cmphex(h->env->pc, ==, 0x80000300);
    g_assert_cmpuint(h->env->priv, ==, PRV_S);
    g_assert_cmphex(h->env->mstatus, ==, MSTATUS_XL64 | MSTATUS_SIE | MSTATUS_SPIE);
    h->env->mstatus |= MSTATUS_TSR;
    g_assert_cmpint(riscv_sret(h->cpu), ==, RISCV_EXCP_ILLEGAL_INST);
    h->env->mstatus &= ~MSTATUS_TSR;
    g_assert_cmpint(riscv_sret(h->cpu), ==, RISCV_EXCP_NONE);
    g_assert_cmpuint(h->env->priv, ==, PRV_U);
    g_assert_cmpint(riscv_sret(h->cpu), ==, RISCV_EXCP_ILLEGAL_INST);
}

static void test_wfi_and_fence(void)
{
    static const struct {
        uint64_t priv, status;
        bool wfi, fence;
    } rows[] = {
        {PRV_M, MSTATUS_TW | MSTATUS_TVM, true, true},
        {PRV_S, 0, true, true},
        {PRV_S, MSTATUS_TW, false, true},
        {PRV_S, MSTATUS_TVM, true, false},
        {PRV_U, 0, false, false},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autoptr(Hart) h = at(rows[i].priv);

        h->env->mstatus |= rows[i].status;
        g_assert_cmpint(riscv_wfi(h->cpu) == RISCV_EXCP_NONE, ==, rows[i].wfi);
        g_assert_cmpuint(h->env->halted, ==, rows[i].wfi);
        g_assert_cmpint(riscv_sfence_vma(h->cpu) == RISCV_EXCP_NONE, ==, rows[i].fence);
        g_assert_cmpint(riscv_sfence_vma_page(h->cpu, 0) == RISCV_EXCP_NONE, ==, rows[i].fence);
    }
    /* A pending enabled interrupt keeps the hart awake even where it cannot be taken. */
    g_autoptr(Hart) h = at(PRV_M);
    h->env->mie = MIP_STIP;
    h->env->mip = MIP_STIP;
    g_assert_cmpint(riscv_wfi(h->cpu), ==, RISCV_EXCP_NONE);
    g_assert_cmpuint(h->env->halted, ==, 0);
}

static void test_reset(void)
{
    g_autoptr(Hart) h = at(PRV_S);

    h->env->gpr[5] = 5;
    h->env->mstatus |= MSTATUS_MIE | MSTATUS_MPRV | MSTATUS_SUM | MSTATUS_UXL;
    h->env->mcause = 3;
    h->env->virt = 1;
    h->env->halted = 1;
    h->env->load_res = 1;
    h->env->satp = UINT64_C(8) << 60;
    h->env->tdata1[1] = 0;
    riscv_cpu_reset(h->cpu);
    g_assert_cmphex(h->env->pc, ==, 0x1000);
    g_assert_cmpuint(h->env->priv, ==, PRV_M);
    g_assert_cmpuint(h->env->virt | h->env->halted | h->env->mcause, ==, 0);
    g_assert_cmphex(h->env->mstatus, ==, MSTATUS_XL64 | MSTATUS_SUM);
    g_assert_cmphex(h->env->load_res, ==, UINT64_MAX);
    g_assert_cmphex(h->env->tdata1[1], ==, TDATA1_TYPE2);
    g_assert_cmphex(h->env->satp, ==, UINT64_C(8) << 60); /* kept, like the registers */
    g_assert_cmpuint(h->env->gpr[5], ==, 5);
}

static void test_pmp_match(void)
{
    g_autoptr(Hart) h = hart_new(NULL);
    CPURISCVState *env = h->env;

    /* Nothing enabled: M may, others may not. */
    g_assert_true(riscv_pmp_check(env, RAM_BASE, 8, ACCESS_FETCH, PRV_M));
    g_assert_false(riscv_pmp_check(env, RAM_BASE, 8, ACCESS_LOAD, PRV_S));

    hart_csr_write(h, CSR_PMPADDR0, 0x1000 >> 2);
    hart_csr_write(h, CSR_PMPADDR0 + 1, 0x2000 >> 2);
    hart_csr_write(h, CSR_PMPADDR0 + 2, 0x3000 >> 2);
    hart_csr_write(h, CSR_PMPADDR0 + 3, (0x4000 >> 2) | 0x1FF);
    /* 0: TOR [0, 1000) R; 1: TOR [1000, 2000) RW; 2: NA4 at 3000 X; 3: NAPOT [4000, 5000) RWX,
     * locked */
    hart_csr_write(h, CSR_PMPCFG0, UINT64_C(0x99) << 24 | 0x14 << 16 | 0x0B << 8 | 0x09);
    static const struct {
        hwaddr addr;
        unsigned size;
        const char *s, *m;
    } rows[] = {
        {0x0, 8, "r", "rwx"},     {0xFF8, 8, "r", "rwx"}, {0xFFC, 8, "", ""},
        {0x1000, 8, "rw", "rwx"}, {0x2000, 4, "", "rwx"}, {0x3000, 4, "x", "rwx"},
        {0x3000, 8, "", ""},      {0x3002, 4, "", ""},    {0x4000, 8, "r", "r"},
        {0x4FF8, 8, "r", "r"},    {0x5000, 8, "", "rwx"},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        for (unsigned access = ACCESS_LOAD; access <= ACCESS_FETCH; access++) {
            char letter = "rwx"[access];

            g_assert_cmpint(riscv_pmp_check(env, rows[i].addr, rows[i].size, access, PRV_S), ==,
                            strchr(rows[i].s, letter) != NULL);
            g_assert_cmpint(riscv_pmp_check(env, rows[i].addr, rows[i].size, access, PRV_M), ==,
                            strchr(rows[i].m, letter) != NULL);
        }
    }
    /* An empty TOR range matches nothing, but the entry counts as enabled. */
    hart_csr_write(h, CSR_PMPADDR0 + 4, 0);
    hart_csr_write(h, CSR_PMPCFG0, UINT64_C(0x0F) << 32);
    g_assert_cmpuint(env->pmp_on, ==, 0x18);
    g_assert_cmpuint(env->pmp_range[4].base, >, env->pmp_range[4].last);
}

static void test_pmp_locks(void)
{
    g_autoptr(Hart) h = hart_new(NULL);

    hart_csr_write(h, CSR_PMPADDR0, 1);
    hart_csr_write(h, CSR_PMPADDR0 + 1, 2);
    hart_csr_write(h, CSR_PMPCFG0, (PMP_L | PMP_TOR << 3) << 8);
    hart_csr_write(h, CSR_PMPADDR0, 10);     /* lower bound of a locked TOR entry */
    hart_csr_write(h, CSR_PMPADDR0 + 1, 20); /* the locked entry */
    hart_csr_write(h, CSR_PMPADDR0 + 2, 30);
    hart_csr_write(h, CSR_PMPCFG0, 0);
    g_assert_cmphex(hart_csr(h, CSR_PMPADDR0), ==, 1);
    g_assert_cmphex(hart_csr(h, CSR_PMPADDR0 + 1), ==, 2);
    g_assert_cmphex(hart_csr(h, CSR_PMPADDR0 + 2), ==, 30);
    g_assert_cmphex(hart_csr(h, CSR_PMPCFG0), ==, (PMP_L | PMP_TOR << 3) << 8);
    hart_csr_write(h, CSR_PMPCFG2, 0x1F);
    g_assert_cmphex(h->env->pmp_state.pmp[8].cfg_reg, ==, 0x1F);
}

static void test_pmp_off(void)
{
    g_autoptr(Hart) h = hart_new("{\"pmp\": false}");
    uint64_t v;

    g_assert_cmpint(riscv_csr_read(h->cpu, CSR_PMPCFG0, &v), ==, RISCV_EXCP_ILLEGAL_INST);
    g_assert_true(riscv_pmp_check(h->env, RAM_BASE, 8, ACCESS_FETCH, PRV_U));
    g_assert_cmpint(riscv_mret(h->cpu), ==, RISCV_EXCP_NONE);
}

static void test_dump(void)
{
    g_autoptr(Hart) h = hart_new(NULL);
    g_autoptr(GString) out = g_string_new(NULL);

    h->env->gpr[10] = 0xABC;
    riscv_cpu_dump(h->cpu, out);
    g_assert_nonnull(strstr(out->str, " pc       0000000000001000\r\n"));
    g_assert_nonnull(strstr(out->str, " hstatus  0000000200000000\r\n"));
    g_assert_nonnull(strstr(out->str, " x10/a0   0000000000000abc x11/a1"));
    g_assert_nonnull(strstr(out->str, " f30/ft10 0000000000000000 f31/ft11 0000000000000000\r\n"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/target/trap/exception-to-m", test_exception_to_m);
    g_test_add_func("/target/trap/exception-delegated", test_exception_delegated);
    g_test_add_func("/target/trap/interrupt-selection", test_interrupt_selection);
    g_test_add_func("/target/trap/take-interrupt", test_take_interrupt);
    g_test_add_func("/target/trap/mret", test_mret);
    g_test_add_func("/target/trap/mret-needs-pmp", test_mret_needs_pmp);
    g_test_add_func("/target/trap/sret", test_sret);
    g_test_add_func("/target/trap/wfi-and-fence", test_wfi_and_fence);
    g_test_add_func("/target/trap/reset", test_reset);
    g_test_add_func("/target/pmp/match", test_pmp_match);
    g_test_add_func("/target/pmp/locks", test_pmp_locks);
    g_test_add_func("/target/pmp/off", test_pmp_off);
    g_test_add_func("/target/dump", test_dump);
    return g_test_run();
}
