/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every CSR number against a sweep captured from the peer, then the gates and side effects by hand.
 */
#include "riscv-fixture.h"

typedef struct {
    unsigned csr;
    bool read_only;
    uint64_t first, ones, zeros; /* value found, after writing ones, after writing zeros */
} CsrGolden;

#include "golden/csr-golden.h"

static bool is_counter(unsigned csr)
{
    return csr == CSR_MCYCLE || csr == CSR_MINSTRET || (csr >= CSR_CYCLE && csr <= CSR_INSTRET);
}

/* Values left by the sweep's own traps. */
static bool first_differs(unsigned csr)
{
    return is_counter(csr) || (csr >= CSR_MEPC && csr <= CSR_MTVAL);
}

/* VSTIP follows vstimecmp only where V = 1 exists. */
static uint64_t ignored_bits(unsigned csr)
{
    return csr == CSR_MIP || csr == CSR_HIP || csr == CSR_HVIP ? MIP_VSTIP : 0;
}

static void check(unsigned csr, const char *what, uint64_t got, uint64_t want)
{
    if ((got ^ want) & ~ignored_bits(csr)) {
        g_test_message("CSR %03x (%s) %s: %016" PRIx64 ", peer %016" PRIx64, csr,
                       riscv_csr_table[csr].name, what, got, want);
        g_test_fail();
    }
}

static const CsrGolden *probe(Hart *h, unsigned csr, const CsrGolden *row, const CsrGolden *end)
{
    uint64_t first;
    RISCVException e = riscv_csr_read(h->cpu, csr, &first);
    bool expected = row < end && row->csr == csr;

    if ((e == RISCV_EXCP_NONE) != expected) {
        g_test_message("CSR %03x: %s here", csr, expected ? "missing" : "exists only");
        g_test_fail();
    }
    if (!expected || e != RISCV_EXCP_NONE) {
        return row + expected;
    }
    if (!first_differs(csr)) {
        check(csr, "at first", first, row->first);
    }
    e = hart_csr_try_write(h, csr, UINT64_MAX);
    g_assert_cmpint(e == RISCV_EXCP_ILLEGAL_INST, ==, row->read_only);
    if (!row->read_only) {
        uint64_t ones = hart_csr(h, csr), zeros;

        hart_csr_write(h, csr, 0);
        zeros = hart_csr(h, csr);
        hart_csr_write(h, csr, first);
        if (!is_counter(csr)) {
            check(csr, "after ones", ones, row->ones);
            check(csr, "after zeros", zeros, row->zeros);
        }
    }
    return row + 1;
}

/* The same walk as golden/csr-payload.c. */
static void sweep(const char *props, const CsrGolden *row, unsigned n)
{
    g_autoptr(Hart) h = hart_new(props);
    const CsrGolden *end = row + n;

    h->time = 1;
    riscv_cpu_set_irq(h->cpu, 7, true);
    h->env->mstatus |= BIT64(13) | BIT64(14) | MSTATUS_MPIE; /* the peer returned from traps */
    for (unsigned i = 0; i < n; i++) {
        if (row[i].csr == CSR_MTVEC) {
            h->env->mtvec = row[i].first;
        }
    }
    for (unsigned csr = 0; csr < 4096; csr++) {
        if (csr < 0x3A0 || csr > 0x3AF) {
            row = probe(h, csr, row, end);
        }
    }
    for (unsigned csr = 0x3A0; csr <= 0x3AF; csr++) {
        row = probe(h, csr, row, end);
    }
    g_assert_true(row == end);
}

static void test_sweep(void)
{
    sweep(NULL, csr_golden, ARRAY_SIZE(csr_golden));
}

static void test_sweep_no_h(void)
{
    sweep("{\"h\": \"off\"}", csr_golden_no_h, ARRAY_SIZE(csr_golden_no_h));
}

static RISCVException try_read(Hart *h, unsigned csr)
{
    uint64_t v;

    return riscv_csr_read(h->cpu, csr, &v);
}

static void test_privilege(void)
{
    g_autoptr(Hart) h = hart_new(NULL);

    h->env->priv = PRV_S;
    g_assert_cmpint(try_read(h, CSR_MSTATUS), ==, RISCV_EXCP_ILLEGAL_INST);
    g_assert_cmpint(try_read(h, CSR_SSTATUS), ==, RISCV_EXCP_NONE);
    g_assert_cmpint(try_read(h, CSR_HSTATUS), ==, RISCV_EXCP_NONE);
    h->env->priv = PRV_U;
    g_assert_cmpint(try_read(h, CSR_SSTATUS), ==, RISCV_EXCP_ILLEGAL_INST);
    g_assert_cmpint(try_read(h, CSR_HSTATUS), ==, RISCV_EXCP_ILLEGAL_INST);
}

static void test_gates(void)
{
    g_autoptr(Hart) h = hart_new(NULL);

    g_assert_cmpint(try_read(h, CSR_FCSR), ==, RISCV_EXCP_ILLEGAL_INST);
    h->env->mstatus |= BIT64(13);
    hart_csr_write(h, CSR_FCSR, 0x7F);
    g_assert_cmphex(hart_csr(h, CSR_FRM), ==, 3);
    g_assert_cmphex(hart_csr(h, CSR_FFLAGS), ==, 0x1F);
    g_assert_cmphex(hart_csr(h, CSR_MSTATUS) & (MSTATUS_FS | MSTATUS_SD), ==,
                    MSTATUS_FS | MSTATUS_SD);

    h->env->priv = PRV_S;
    g_assert_cmpint(try_read(h, CSR_TIME), ==, RISCV_EXCP_ILLEGAL_INST);
    h->env->mcounteren = COUNTEREN_TM;
    g_assert_cmpint(try_read(h, CSR_TIME), ==, RISCV_EXCP_NONE);
    g_assert_cmpint(try_read(h, CSR_CYCLE), ==, RISCV_EXCP_ILLEGAL_INST);
    g_assert_cmpint(try_read(h, CSR_STIMECMP), ==, RISCV_EXCP_ILLEGAL_INST);
    h->env->menvcfg = ENVCFG_STCE;
    g_assert_cmpint(try_read(h, CSR_STIMECMP), ==, RISCV_EXCP_NONE);
    h->env->mstatus |= MSTATUS_TVM;
    g_assert_cmpint(try_read(h, CSR_SATP), ==, RISCV_EXCP_ILLEGAL_INST);
    h->env->priv = PRV_U;
    g_assert_cmpint(try_read(h, CSR_TIME), ==, RISCV_EXCP_ILLEGAL_INST);
    h->env->scounteren = COUNTEREN_TM;
    g_assert_cmpint(try_read(h, CSR_TIME), ==, RISCV_EXCP_NONE);
}

static void test_satp_modes(void)
{
    g_autoptr(Hart) h = hart_new(NULL);

    for (uint64_t mode = 0; mode < 16; mode++) {
        bool known = mode == 0 || (mode >= 8 && mode <= 10);

        hart_csr_write(h, CSR_SATP, 0);
        hart_csr_write(h, CSR_SATP, mode << 60 | 0xFFFFFF);
        g_assert_cmphex(hart_csr(h, CSR_SATP), ==, known ? mode << 60 | 0xFFFFFF : 0);
    }
}

static void test_tvec(void)
{
    g_autoptr(Hart) h = hart_new(NULL);

    for (uint64_t low = 0; low < 4; low++) {
        hart_csr_write(h, CSR_STVEC, 0x4000);
        hart_csr_write(h, CSR_STVEC, 0x8000 | low);
        g_assert_cmphex(hart_csr(h, CSR_STVEC), ==, low < 2 ? 0x8000 | low : 0x4000);
    }
}

/* csrrs and csrrc touch only the bits they name; SEIP is the OR of a software bit and the line. */
static void test_mip(void)
{
    g_autoptr(Hart) h = hart_new(NULL);
    uint64_t old;

    riscv_cpu_set_irq(h->cpu, IRQ_SEIP, true);
    riscv_cpu_set_irq(h->cpu, 1, true);
    riscv_csr_rmw(h->cpu, CSR_MIP, &old, UINT64_MAX, MIP_SEIP | MIP_STIP, true);
    g_assert_cmphex(old, ==, MIP_SEIP | MIP_SSIP);
    g_assert_cmphex(hart_csr(h, CSR_MIP), ==, MIP_SEIP | MIP_STIP | MIP_SSIP);
    riscv_cpu_set_irq(h->cpu, IRQ_SEIP, false);
    g_assert_cmphex(hart_csr(h, CSR_MIP), ==, MIP_SEIP | MIP_STIP | MIP_SSIP);
    riscv_csr_rmw(h->cpu, CSR_MIP, &old, 0, MIP_SEIP, true);
    g_assert_cmphex(hart_csr(h, CSR_MIP), ==, MIP_STIP | MIP_SSIP);
    /* A line that rose between an instruction's read and its write stays up. */
    riscv_csr_table[CSR_MIP].write(h->cpu, &riscv_csr_table[CSR_MIP], CSR_MIP, 0, MIP_VSSIP);
    g_assert_cmphex(hart_csr(h, CSR_MIP), ==, MIP_STIP | MIP_SSIP);
    hart_csr_write(h, CSR_MENVCFG, ENVCFG_STCE);
    hart_csr_write(h, CSR_MIP, 0);
    g_assert_cmphex(hart_csr(h, CSR_MIP), ==, MIP_STIP);
}

static void count_kick(RISCVCPU *cpu)
{
    ((Hart *)cpu->rdtime_opaque)->kicks++;
}

static void test_stimecmp(void)
{
    g_autoptr(Hart) h = hart_new(NULL);

    h->cpu->kick = count_kick;
    clock_virtual_set_manual(h->clock);
    h->time = 50;
    g_assert_cmphex(riscv_mip(h->env), ==, 0); /* stimecmp is 0, but nobody wrote it */
    hart_csr_write(h, CSR_STIMECMP, 50);
    g_assert_cmphex(riscv_mip(h->env), ==, MIP_STIP);
    hart_csr_write(h, CSR_STIMECMP, 60);
    g_assert_cmphex(riscv_mip(h->env), ==, 0);
    g_assert_cmpuint(timer_expire_time_ns(h->cpu->stimer), ==, 1000);
    h->time = 59; /* the clock says it is time, mtime does not: wait for the rest */
    clock_virtual_step_to(h->clock, 1000);
    g_assert_cmphex(riscv_mip(h->env), ==, 0);
    g_assert_cmpuint(timer_expire_time_ns(h->cpu->stimer), ==, 1100);
    h->time = 60;
    clock_virtual_step_to(h->clock, 1100);
    g_assert_cmphex(riscv_mip(h->env), ==, MIP_STIP);
    g_assert_cmpuint(h->kicks, ==, 1);
    hart_csr_write(h, CSR_STIMECMP, UINT64_MAX);
    g_assert_cmphex(riscv_mip(h->env), ==, 0);
    g_assert_cmpuint(timer_expire_time_ns(h->cpu->stimer), >, INT64_MAX - 200);
}

static void test_counters(void)
{
    g_autoptr(Hart) h = hart_new(NULL);

    h->env->icount = 1000;
    g_assert_cmpuint(hart_csr(h, CSR_INSTRET), ==, 1000);
    hart_csr_write(h, CSR_MINSTRET, 5);
    h->env->icount = 1010;
    g_assert_cmpuint(hart_csr(h, CSR_INSTRET), ==, 15);
    hart_csr_write(h, CSR_MCOUNTINHIBIT, 4);
    h->env->icount = 2000;
    g_assert_cmpuint(hart_csr(h, CSR_INSTRET), ==, 15);
    g_assert_cmpuint(hart_csr(h, CSR_CYCLE), ==, 2000);
    hart_csr_write(h, CSR_MCOUNTINHIBIT, 0);
    h->env->icount = 2001;
    g_assert_cmpuint(hart_csr(h, CSR_INSTRET), ==, 16);
}

/* An enabled interrupt makes the execution loop look up at once. */
static void test_attention(void)
{
    g_autoptr(Hart) h = hart_new(NULL);

    hart_csr_write(h, CSR_MIE, MIP_SSIP);
    hart_csr_write(h, CSR_MIP, MIP_SSIP);
    g_assert_cmpuint(h->env->exit_request, ==, 0);
    hart_csr_write(h, CSR_MSTATUS, MSTATUS_MIE);
    g_assert_cmpuint(h->env->exit_request, ==, 1);
}

static void test_triggers(void)
{
    g_autoptr(Hart) h = hart_new(NULL);

    hart_csr_write(h, CSR_TSELECT, 1);
    hart_csr_write(h, CSR_TDATA1, TDATA1_TYPE2 | 0x8000000000001FFF);
    g_assert_cmphex(hart_csr(h, CSR_TDATA1), ==, TDATA1_TYPE2);
    hart_csr_write(h, CSR_TDATA1, TDATA1_TYPE2 | 0x30FFF);
    g_assert_cmphex(hart_csr(h, CSR_TDATA1), ==, TDATA1_TYPE2 | 0x3005F);
    hart_csr_write(h, CSR_TDATA1, 0x44); /* the type cannot be changed */
    g_assert_cmphex(hart_csr(h, CSR_TDATA1), ==, TDATA1_TYPE2 | 0x3005F);
    hart_csr_write(h, CSR_TSELECT, 2);
    g_assert_cmphex(hart_csr(h, CSR_TSELECT), ==, 1);
    hart_csr_write(h, CSR_TSELECT, 0);
    g_assert_cmphex(hart_csr(h, CSR_TDATA1), ==, TDATA1_TYPE2);
}

static void test_model(void)
{
    static const struct {
        const char *props, *message;
    } bad[] = {
        {"{\"bogus\": true}", "*rv64-riscv-cpu.bogus*not found*"},
        {"{\"v\": \"on\"}", "*'v'*not implemented*"},
        {"{\"m\": false}", "*'m'*cannot be switched off*"},
        {"{\"h\": \"maybe\"}", "*'h'*neither*"},
        {"{\"f\": false}", "*D extension requires F*"},
        {"{\"pmu-num\": 30}", "*maximum of 29*"},
        {"{\"priv_spec\": \"v1.13.0\"}", "*v1.13.0*"},
        {"{\"h\": []}", "*plain value*"},
    };
    g_autoptr(Hart) h = hart_new(NULL);
    g_autoptr(Hart) small = hart_new("{\"h\": false, \"zbc\": \"off\", \"sstc\": \"off\"}");
    g_autofree char *isa = riscv_isa_string(h->cpu);
    g_autofree char *small_isa = riscv_isa_string(small->cpu);

    g_assert_cmpstr(isa, ==, "rv64imafdch_zicsr_zifencei_zihintpause_zba_zbb_zbc_zbs_sstc");
    g_assert_cmpstr(small_isa, ==, "rv64imafdc_zicsr_zifencei_zihintpause_zba_zbb_zbs");
    g_assert_cmphex(hart_csr(small, CSR_MISA), ==, 0x800000000014112D);
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        g_autoptr(JsonNode) node = json_from_string(bad[i].props, NULL);
        g_autoptr(GError) err = NULL;

        g_assert_null(riscv_cpu_new("rv64", json_node_get_object(node), 0, h->as, h->clock, &err));
        if (!g_pattern_match_simple(bad[i].message, err->message)) {
            g_error("%s: %s", bad[i].props, err->message);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/target/csr/sweep", test_sweep);
    g_test_add_func("/target/csr/sweep-no-h", test_sweep_no_h);
    g_test_add_func("/target/csr/privilege", test_privilege);
    g_test_add_func("/target/csr/gates", test_gates);
    g_test_add_func("/target/csr/satp-modes", test_satp_modes);
    g_test_add_func("/target/csr/tvec", test_tvec);
    g_test_add_func("/target/csr/mip", test_mip);
    g_test_add_func("/target/csr/stimecmp", test_stimecmp);
    g_test_add_func("/target/csr/counters", test_counters);
    g_test_add_func("/target/csr/attention", test_attention);
    g_test_add_func("/target/csr/triggers", test_triggers);
    g_test_add_func("/target/csr/model", test_model);
    return g_test_run();
}
