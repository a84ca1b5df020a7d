/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The hart's sections against streams captured from the peer, the timer rules of both sides,
 * refusals. */
#include "riscv-fixture.h"
#include "io/channel-buffer.h"
#include "golden/cpu-reset.h"

static GBytes *save(const VMStateDescription *vmsd, void *opaque)
{
    g_autoptr(QIOChannelBuffer) ioc = io_channel_buffer_new();
    QEMUFile *f = qemu_file_new_output(IO_CHANNEL(ioc));
    GByteArray *all = io_channel_buffer_bytes(ioc);
    GBytes *bytes;

    g_assert_true(vmstate_save_state(f, vmsd, opaque, NULL, NULL));
    g_assert_true(qemu_fflush(f));
    bytes = g_bytes_new(all->data, all->len);
    g_assert_true(qemu_fclose(f, NULL));
    return bytes;
}

static bool load(const VMStateDescription *vmsd, void *opaque, int version, const void *data,
                 size_t len, GError **errp)
{
    g_autoptr(QIOChannelBuffer) ioc = io_channel_buffer_new();
    QEMUFile *f;
    bool ok;

    g_assert_cmpint(io_channel_write(IO_CHANNEL(ioc), data, len, NULL), ==, len);
    f = qemu_file_new_input(IO_CHANNEL(ioc));
    ok = vmstate_load_state(f, vmsd, opaque, version, errp);
    if (ok) {
        g_assert_cmpuint(qemu_file_offset(f), ==, len);
    }
    qemu_fclose(f, NULL);
    return ok;
}

static void assert_saves(Hart *h, const uint8_t *want, size_t len)
{
    g_autoptr(GBytes) got = save(&riscv_vmstate_cpu, h->cpu);

    g_assert_cmpmem(g_bytes_get_data(got, NULL), g_bytes_get_size(got), want, len);
}

/* The board's timer holds MTIP from power-on: mtimecmp is 0. */
static Hart *fresh(const char *props)
{
    Hart *h = hart_new(props);

    riscv_cpu_set_irq(h->cpu, 7, true);
    return h;
}

static void test_reset_image(void)
{
    g_autoptr(Hart) h = fresh(NULL);
    g_autoptr(Hart) no_h = fresh("{\"h\": false}");
    g_autoptr(GBytes) common = save(&riscv_vmstate_cpu_common, h->env);

    g_assert_cmpuint(sizeof(cpu_reset), ==, 3103);
    g_assert_cmpuint(sizeof(cpu_reset_no_h), ==, 2792);
    assert_saves(h, cpu_reset, sizeof(cpu_reset));
    assert_saves(no_h, cpu_reset_no_h, sizeof(cpu_reset_no_h));
    g_assert_cmpmem(g_bytes_get_data(common, NULL), g_bytes_get_size(common), cpu_common_reset,
                    sizeof(cpu_common_reset));
}

static void test_sizes(void)
{
    static const struct {
        const char *props;
        size_t size;
    } rows[] = {
        {"{\"pmp\": false}", 2946},
        {"{\"debug\": \"off\"}", 3032},
        {"{\"h\": false, \"pmp\": false, \"debug\": false, \"priv_spec\": \"v1.11.0\"}", 2524},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autoptr(Hart) h = fresh(rows[i].props);
        g_autoptr(GBytes) got = save(&riscv_vmstate_cpu, h->cpu);

        g_assert_cmpuint(g_bytes_get_size(got), ==, rows[i].size);
    }
}

/* Load the peer's section with every byte of content different from reset, save it again. */
static void test_round_trip(void)
{
    g_autoptr(Hart) a = fresh(NULL);
    g_autoptr(Hart) b = fresh("{\"h\": false}");
    g_autoptr(GBytes) first = NULL;
    g_autoptr(GError) err = NULL;

    for (unsigned i = 1; i < 32; i++) {
        a->env->gpr[i] = 0x0101010101010101 * i;
        a->env->fpr[i] = 0x1010101010101010 ^ i;
        a->env->pmu_ctrs[i].mhpmcounter_val = i;
        a->env->mhpmevent_val[i] = i * 3;
    }
    a->env->pc = 0x80001234;
    a->env->frm = 3;
    a->env->fflags = 0x1F;
    a->env->priv = PRV_S;
    a->env->mstatus |= MSTATUS_FS | MSTATUS_SUM | MSTATUS_SIE;
    a->env->satp = UINT64_C(10) << 60 | 0x80123;
    a->env->mideleg = 0x1666;
    a->env->vsatp = 77;
    a->env->hviprio[63] = 9;
    a->env->menvcfg = 1;
    a->env->tdata2[1] = 0x1234;
    a->env->trigger_cur = 1;
    a->env->pmp_state.pmp[3] = (PMPEntry){0x20001FFF, 0x1F};
    first = save(&riscv_vmstate_cpu, a->cpu);

    g_assert_true(load(&riscv_vmstate_cpu, b->cpu, 5, g_bytes_get_data(first, NULL),
                       g_bytes_get_size(first), &err));
    g_assert_no_error(err);
    assert_saves(b, g_bytes_get_data(first, NULL), g_bytes_get_size(first));
    g_assert_true(riscv_has_ext(b->env, 'h'));
    g_assert_true(b->cpu->cfg.ext_h);
    g_assert_cmpuint(b->env->mmu_idx_data, ==, MMU_IDX_S_SUM);
    g_assert_cmpuint(b->env->pmp_on, ==, 8);
    g_assert_cmphex(b->env->pmp_range[3].base, ==, 0x80000000);
    g_assert_cmphex(b->env->fflags, ==, 0);
}

/* Running counters go on from what the guest last read, not from foreign ticks. */
static void test_counters(void)
{
    g_autoptr(Hart) a = hart_new(NULL);
    g_autoptr(Hart) b = hart_new(NULL);
    g_autoptr(GBytes) bytes = NULL;

    a->env->icount = 5000;
    hart_csr_write(a, CSR_MINSTRET, 100);
    a->env->icount = 5300;
    bytes = save(&riscv_vmstate_cpu, a->cpu);
    g_assert_cmpuint(hart_csr(a, CSR_MINSTRET), ==, 400);
    b->env->icount = 7;
    g_assert_true(load(&riscv_vmstate_cpu, b->cpu, 5, g_bytes_get_data(bytes, NULL),
                       g_bytes_get_size(bytes), NULL));
    g_assert_cmpuint(hart_csr(b, CSR_MINSTRET), ==, 400);
    b->env->icount += 10;
    g_assert_cmpuint(hart_csr(b, CSR_MINSTRET), ==, 410);
}

#define WIRE_MIP 764

static uint64_t sent_mip(Hart *h)
{
    g_autoptr(GBytes) bytes = save(&riscv_vmstate_cpu, h->cpu);
    uint64_t be;

    memcpy(&be, (const uint8_t *)g_bytes_get_data(bytes, NULL) + WIRE_MIP, 8);
    return GUINT64_FROM_BE(be);
}

static uint32_t sent_interrupt_request(Hart *h)
{
    g_autoptr(GBytes) bytes = save(&riscv_vmstate_cpu_common, h->env);

    return ((const uint8_t *)g_bytes_get_data(bytes, NULL))[7];
}

static void test_sender_timers(void)
{
    g_autoptr(Hart) h = hart_new(NULL);

    h->time = 1000;
    hart_csr_write(h, CSR_STIMECMP, 2000);
    h->mtimecmp = 3000;
    g_assert_cmphex(sent_mip(h), ==, 0); /* nothing is enabled */
    g_assert_cmpuint(sent_interrupt_request(h), ==, 0);

    h->env->mie = MIP_STIP | MIP_MTIP;
    g_assert_cmphex(sent_mip(h), ==, MIP_MTIP); /* Sstc is off */
    hart_csr_write(h, CSR_MENVCFG, ENVCFG_STCE);
    g_assert_cmphex(sent_mip(h), ==, MIP_MTIP | MIP_STIP);
    g_assert_cmpuint(sent_interrupt_request(h), ==, 2);
    g_assert_cmphex(riscv_mip(h->env), ==, 0); /* the live guest is not disturbed */

    h->mtimecmp = UINT64_MAX; /* never */
    g_assert_cmphex(sent_mip(h), ==, MIP_STIP);
    hart_csr_write(h, CSR_STIMECMP, UINT64_MAX);
    g_assert_cmphex(sent_mip(h), ==, 0);
    h->env->stimecmp = 500; /* due, but the main loop has not seen it */
    g_assert_cmphex(sent_mip(h), ==, MIP_STIP);
    h->env->stimecmp = 0; /* never programmed */
    g_assert_cmphex(sent_mip(h), ==, 0);
    h->mtimecmp = 500;
    g_assert_cmphex(sent_mip(h), ==, MIP_MTIP);
}

static void test_receiver_timers(void)
{
    g_autoptr(Hart) a = hart_new(NULL);
    g_autoptr(Hart) b = hart_new(NULL);
    g_autoptr(GBytes) bytes = NULL;

    hart_csr_write(a, CSR_MENVCFG, ENVCFG_STCE);
    hart_csr_write(a, CSR_STIMECMP, 2000);
    a->env->mip = 0;
    a->env->halted = 1;
    bytes = save(&riscv_vmstate_cpu, a->cpu);
    b->time = 1000;
    g_assert_true(load(&riscv_vmstate_cpu, b->cpu, 5, g_bytes_get_data(bytes, NULL),
                       g_bytes_get_size(bytes), NULL));
    g_assert_cmphex(riscv_mip(b->env), ==, 0);
    g_assert_cmpuint(timer_expire_time_ns(b->cpu->stimer), ==, 100000);
    b->time = 2000; /* due on arrival */
    g_assert_true(load(&riscv_vmstate_cpu, b->cpu, 5, g_bytes_get_data(bytes, NULL),
                       g_bytes_get_size(bytes), NULL));
    g_assert_cmphex(riscv_mip(b->env), ==, MIP_STIP);
    g_assert_false(timer_pending(b->cpu->stimer));
}

/* SEIP stays as sent until the interrupt controller speaks. */
static void test_external_interrupt(void)
{
    g_autoptr(Hart) a = hart_new(NULL);
    g_autoptr(Hart) b = hart_new(NULL);
    g_autoptr(GBytes) bytes = NULL;

    riscv_cpu_set_irq(a->cpu, IRQ_SEIP, true);
    bytes = save(&riscv_vmstate_cpu, a->cpu);
    g_assert_true(load(&riscv_vmstate_cpu, b->cpu, 5, g_bytes_get_data(bytes, NULL),
                       g_bytes_get_size(bytes), NULL));
    g_assert_cmphex(riscv_mip(b->env), ==, MIP_SEIP);
    riscv_cpu_set_irq(b->cpu, IRQ_SEIP, false);
    g_assert_cmphex(riscv_mip(b->env), ==, 0);
}

static void test_refusals(void)
{
    static const struct {
        unsigned offset; /* of the low byte */
        uint8_t value;
        const char *message;
    } rows[] = {
        {739, 1, "*V = 1*"},
        {707, 1, "*not 64-bit*"},
        {709, 0x34, "*0x200000*not implemented*"}, /* V */
        {723, 0x17, "*features*"},
        {695, 3, "*privileged specification*"},
        {755, 1, "*hart 1 arrived for hart 0*"},
        {731, 2, "*impossible privilege 2*"},
        {671, 8, "*rounding mode 8*"},
        {796, 0xB0, "*satp mode 11*"},
        {796, 0x10, "*satp mode 1*"},
        {sizeof(cpu_reset) - 56 + 7, 2, "*trigger 2*"},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autoptr(Hart) h = hart_new(NULL);
        g_autoptr(GError) err = NULL;
        uint8_t bytes[sizeof(cpu_reset)];

        memcpy(bytes, cpu_reset, sizeof(bytes));
        bytes[rows[i].offset] = rows[i].value;
        g_assert_false(load(&riscv_vmstate_cpu, h->cpu, 5, bytes, sizeof(bytes), &err));
        g_assert_nonnull(err);
        if (!g_pattern_match_simple(rows[i].message, err->message)) {
            g_error("row %u: %s", i, err->message);
        }
    }
}

static void test_versions(void)
{
    g_autoptr(Hart) h = hart_new(NULL);

    g_assert_false(load(&riscv_vmstate_cpu, h->cpu, 4, cpu_reset, sizeof(cpu_reset), NULL));
    g_assert_false(load(&riscv_vmstate_cpu, h->cpu, 6, cpu_reset, sizeof(cpu_reset), NULL));
    g_assert_true(load(&riscv_vmstate_cpu, h->cpu, 5, cpu_reset, sizeof(cpu_reset), NULL));
    /* Cut anywhere it is an error, except where a subsection would begin. */
    for (size_t len = 0; len < 2524; len += 61) {
        g_assert_false(load(&riscv_vmstate_cpu, h->cpu, 5, cpu_reset, len, NULL));
    }
    g_assert_true(load(&riscv_vmstate_cpu, h->cpu, 5, cpu_reset, 2524, NULL));
}

static void test_latched_exception(void)
{
    static const char name[] = "cpu_common/exception_index";
    static const struct {
        uint32_t index;
        bool ok, taken;
    } rows[] = {{13, true, true}, {0x10001, true, false}, {24, false, false}};

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autoptr(Hart) h = hart_new(NULL);
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        uint32_t version = GUINT32_TO_BE(1), index = GUINT32_TO_BE(rows[i].index);
        uint8_t mark[2] = {5, sizeof(name) - 1};

        g_byte_array_append(bytes, cpu_common_reset, sizeof(cpu_common_reset));
        g_byte_array_append(bytes, mark, 2);
        g_byte_array_append(bytes, (const uint8_t *)name, sizeof(name) - 1);
        g_byte_array_append(bytes, (const uint8_t *)&version, 4);
        g_byte_array_append(bytes, (const uint8_t *)&index, 4);
        g_assert_cmpint(load(&riscv_vmstate_cpu_common, h->env, 1, bytes->data, bytes->len, NULL),
                        ==, rows[i].ok);
        if (rows[i].ok) {
            g_assert_true(load(&riscv_vmstate_cpu, h->cpu, 5, cpu_reset, sizeof(cpu_reset), NULL));
            g_assert_cmpuint(h->env->mcause, ==, rows[i].taken ? 13 : 0);
            g_assert_cmphex(h->env->pc, ==, rows[i].taken ? 0 : 0x1000);
            g_assert_cmpint(h->env->exception_index, ==, RISCV_EXCP_NONE);
        }
    }
}

static void test_registered(void)
{
    g_autoptr(Hart) h = hart_new(NULL);
    SaveStateList *list = savevm_list_new();

    g_assert_true(riscv_cpu_register_vmstate(h->cpu, list, NULL));
    savevm_list_free(list);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/target/vmstate/reset-image", test_reset_image);
    g_test_add_func("/target/vmstate/sizes", test_sizes);
    g_test_add_func("/target/vmstate/round-trip", test_round_trip);
    g_test_add_func("/target/vmstate/counters", test_counters);
    g_test_add_func("/target/vmstate/sender-timers", test_sender_timers);
    g_test_add_func("/target/vmstate/receiver-timers", test_receiver_timers);
    g_test_add_func("/target/vmstate/external-interrupt", test_external_interrupt);
    g_test_add_func("/target/vmstate/refusals", test_refusals);
    g_test_add_func("/target/vmstate/versions", test_versions);
    g_test_add_func("/target/vmstate/latched-exception", test_latched_exception);
    g_test_add_func("/target/vmstate/registered", test_registered);
    return g_test_run();
}
