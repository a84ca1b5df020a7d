/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Device sections: equal to what stock QEMU sends after the same register pokes
 * (vmstate/capture.py), loadable, stable, and hostile bytes refused (spec 82, checks 2, 4, 5 and 6
 * of section 16).
 */
#include "board-fixture.h"
#include "migration/savevm.h"
#include "util/lock.h"
#include "../migration/vmstate-helper.h"

static SaveStateEntry *find_section(BoardFixture *f, const char *name, unsigned instance)
{
    SaveStateEntry *se = savevm_find(f->m->savevm, name, instance);

    g_assert_nonnull(se);
    return se;
}

static char *save_section(SaveStateEntry *se)
{
    GError *err = NULL;
    g_autofree char *spaced = save_hex(se->vmsd, se->opaque, NULL, &err);
    GString *hex = g_string_new(NULL);

    g_assert_no_error(err);
    for (const char *p = spaced; *p; p++) {
        if (*p != ' ') {
            g_string_append_c(hex, *p);
        }
    }
    return g_string_free(hex, FALSE);
}

static void start(BoardFixture *f, unsigned harts)
{
    board_new(f);
    f->m->smp_cpus = harts;
    f->m->savevm = savevm_list_new();
    board_start(f);
}

static void stop(BoardFixture *f)
{
    SaveStateList *list = f->m->savevm;

    board_free(f);
    savevm_list_free(list);
}

/* tick_offset is the last field of the RTC and depends on the moment. */
static bool same_payload(const char *name, const char *a, const char *b)
{
    size_t len = strlen(a);

    if (strcmp(name, "goldfish_rtc") == 0) {
        return strlen(b) == len && strncmp(a, b, len - 16) == 0;
    }
    return strcmp(a, b) == 0;
}

typedef struct {
    char name[64];
    unsigned instance, version;
    const char *hex;
} Section;

static Section parse_section(const char *line)
{
    Section s;
    int at;

    g_assert_cmpint(sscanf(line, "s %63s %u %u %n", s.name, &s.instance, &s.version, &at), ==, 3);
    s.hex = line + at;
    return s;
}

static void expect_saves(BoardFixture *f, const Section *s)
{
    SaveStateEntry *se = find_section(f, s->name, s->instance);
    g_autofree char *hex = save_section(se);

    g_assert_cmpint(se->version_id, ==, s->version);
    if (!same_payload(s->name, s->hex, hex)) {
        g_test_message("%s %u\nwant %s\ngot  %s", s->name, s->instance, s->hex, hex);
        g_test_fail();
    }
}

static void test_golden(gconstpointer name)
{
    g_autofree char *file = g_strdup_printf("vmstate/%s.txt", (const char *)name);
    g_autofree char *path = board_test_file(file);
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    BoardFixture poked, loaded;
    GError *err = NULL;
    unsigned harts, sections = 0;

    g_file_get_contents(path, &text, NULL, &err);
    g_assert_no_error(err);
    lines = g_strsplit(g_strchomp(text), "\n", -1);
    g_assert_cmpint(sscanf(lines[0], "smp %u", &harts), ==, 1);
    start(&poked, harts);
    bql_unlock();
    start(&loaded, harts);
    for (unsigned i = 1; lines[i]; i++) {
        unsigned size;
        uint64_t addr, value;

        if (sscanf(lines[i], "w %u %" SCNx64 " %" SCNx64, &size, &addr, &value) == 3) {
            board_write(&poked, size, addr, value);
            continue;
        }

        Section s = parse_section(lines[i]);
        SaveStateEntry *se = find_section(&loaded, s.name, s.instance);
        expect_saves(&poked, &s);
        load_hex(se->vmsd, se->opaque, s.version, s.hex, &err);
        g_assert_no_error(err);
        expect_saves(&loaded, &s);
        sections++;
    }
    g_assert_cmpuint(sections, ==, 11);
    stop(&loaded);
    bql_lock();
    stop(&poked);
}

/* The order of spec 82 section 2, with a hart's two sections together and fw_cfg at the end. */
static void test_order(void)
{
    static const char *const want[] = {
        "timer",
        "slirp",
        "cpu_common",
        "cpu",
        "cpu_common",
        "cpu",
        "riscv_mtimer",
        "riscv_sifive_plic",
        "0000:00:00.0/gpex_root",
        "PCIHost",
        "PCIBUS",
        "serial",
        "goldfish_rtc",
        "pflash_cfi01",
        "pflash_cfi01",
        "fw_cfg",
    };
    BoardFixture f;

    board_new(&f);
    f.m->smp_cpus = 2;
    f.m->default_net = true;
    f.m->savevm = savevm_list_new();
    board_start(&f);
    g_assert_cmpuint(f.m->savevm->entries->len, ==, G_N_ELEMENTS(want));
    for (unsigned i = 0; i < G_N_ELEMENTS(want); i++) {
        const SaveStateEntry *se = f.m->savevm->entries->pdata[i];

        g_assert_cmpstr(se->idstr, ==, want[i]);
    }
    stop(&f);
}

static char *flip(const char *hex, unsigned byte, const char *value)
{
    char *copy = g_strdup(hex);

    memcpy(copy + 2 * byte, value, strlen(value));
    return copy;
}

static void expect_refused(BoardFixture *f, const char *name, unsigned instance, int version,
                           const char *hex, const char *text)
{
    SaveStateEntry *se = find_section(f, name, instance);
    g_autoptr(GError) err = NULL;

    g_assert_false(load_hex(se->vmsd, se->opaque, version, hex, &err));
    g_assert_nonnull(err);
    if (!strstr(err->message, text)) {
        g_test_message("%s: '%s' does not contain '%s'", name, err->message, text);
        g_test_fail();
    }
}

#define SERIAL_RESET "000c000001000860b00000"
#define RECV_FIFO    "051073657269616c2f726563765f6669666f00000001"
#define TSR          "050a73657269616c2f74737200000001"
#define FIFO_DATA    "41424344450000000000000000000000"

static void test_hostile(void)
{
    BoardFixture f;

    start(&f, 1);

    g_autofree char *plic = save_section(find_section(&f, "riscv_sifive_plic", 0));
    g_autofree char *bad_priority = flip(plic, 4, "00000008");
    g_autofree char *bad_threshold = flip(plic, 388, "ffffffff");
    expect_refused(&f, "riscv_sifive_plic", 0, 1, bad_priority, "priority 8 of source 1");
    expect_refused(&f, "riscv_sifive_plic", 0, 1, bad_threshold, "of context 1");

    expect_refused(&f, "serial", 0, 3, "000c000001000800b00000", "without serial/tsr");
    expect_refused(&f, "serial", 0, 3, SERIAL_RESET TSR "000000014141", "empty transmitter");
    expect_refused(&f, "serial", 0, 3, SERIAL_RESET RECV_FIFO FIFO_DATA "0000001000000005",
                   "FIFO head 16");
    expect_refused(&f, "serial", 0, 3, SERIAL_RESET RECV_FIFO FIFO_DATA "0000000000000011",
                   "count 17");

    g_autofree char *root = save_section(find_section(&f, "0000:00:00.0/gpex_root", 0));
    g_autofree char *bad_vendor = flip(root, 4, "37");
    g_autofree char *bad_version = flip(root, 0, "00000003");
    g_autofree char *bad_level = flip(root, 260, "00000002");
    expect_refused(&f, "0000:00:00.0/gpex_root", 0, 1, bad_vendor,
                   "get_pci_config_device: Bad config data: i=0x0 read: 37 device: 36");
    expect_refused(&f, "0000:00:00.0/gpex_root", 0, 1, bad_version, "not between 0 and 2");
    expect_refused(&f, "0000:00:00.0/gpex_root", 0, 1, bad_level, "pin A has level 2");

    g_autofree char *bus = save_section(find_section(&f, "PCIBUS", 0));
    g_autofree char *bad_nirq = flip(bus, 0, "00000005");
    g_autofree char *bad_count = flip(bus, 4, "ffffffff");
    expect_refused(&f, "PCIBUS", 0, 1, bad_nirq, "nirq");
    expect_refused(&f, "PCIBUS", 0, 1, bad_count, "interrupt line 0");

    g_autofree char *offset = g_strdup_printf("%04096d%s", 0, "");
    g_autofree char *more =
        g_strdup_printf("0000800000000000000000"
                        "051670666c6173685f63666930315f626c6b5f777269746500000001"
                        "%s%s02000000",
                        offset, offset);
    g_autofree char *odd = g_strdup_printf("%.*s00000001", (int)strlen(more) - 8, more);
    expect_refused(&f, "pflash_cfi01", 0, 1, "0400800000000000000000", "write cycle 4");
    expect_refused(&f, "pflash_cfi01", 0, 1, more, "outside the bank");
    expect_refused(&f, "pflash_cfi01", 0, 1, odd, "outside the bank");

    expect_refused(&f, "timer", 0, 2, "00000000000000000000000000000000ffffffffffffffff",
                   "before power-on");
    expect_refused(&f, "goldfish_rtc", 0, 4, "00", "goldfish_rtc");
    expect_refused(&f, "goldfish_rtc", 0, 1, "00", "goldfish_rtc");
    stop(&f);
}

/* Damaged sections are refused or harmless: afterwards every register can be used. */
static void test_damaged(void)
{
    static const hwaddr registers[] = {0x0C000028, 0x0C200004, 0x02004000, 0x0200BFF8, 0x10100000,
                                       0x20000000, 0x20001000, 0x22000000, 0x30000000, 0x00101000};
    g_autoptr(GRand) rand = g_rand_new_with_seed(20240901);
    BoardFixture f;
    unsigned refused = 0, loaded = 0;

    start(&f, 2);
    for (unsigned i = 0; i < f.m->savevm->entries->len; i++) {
        SaveStateEntry *se = f.m->savevm->entries->pdata[i];
        GError *err = NULL;
        g_autofree char *spaced = save_hex(se->vmsd, se->opaque, NULL, &err);

        for (unsigned round = 0; round < 300; round++) {
            g_autoptr(GByteArray) bytes = bytes_from_hex(spaced);
            g_autoptr(QIOChannelBuffer) ioc = io_channel_buffer_new();
            QEMUFile *file;

            for (unsigned n = g_rand_int_range(rand, 1, 5); n > 0; n--) {
                bytes->data[g_rand_int_range(rand, 0, bytes->len)] = g_rand_int(rand);
            }
            g_byte_array_set_size(bytes, g_rand_int_range(rand, bytes->len / 2, bytes->len + 1));
            io_channel_write_all(IO_CHANNEL(ioc), bytes->data, bytes->len, NULL);
            file = qemu_file_new_input(IO_CHANNEL(ioc));
            if (vmstate_load_state(file, se->vmsd, se->opaque, se->version_id, &err)) {
                loaded++;
            } else {
                g_assert_nonnull(err);
                g_clear_error(&err);
                refused++;
            }
            qemu_fclose(file, NULL);
            devices_vm_state(f.m, true);
            for (unsigned r = 0; r < G_N_ELEMENTS(registers); r++) {
                board_read(&f, 4, registers[r]);
                board_write(&f, 4, registers[r], g_rand_int(rand));
            }
            for (unsigned r = 0; r < 8; r++) {
                board_read(&f, 1, 0x10000000 + r);
                board_write(&f, 1, 0x10000000 + r, g_rand_int(rand));
            }
            devices_vm_state(f.m, false);
        }
        f.m->cls->reset(f.m);
    }
    g_assert_cmpuint(refused, >, 100);
    g_assert_cmpuint(loaded, >, 100);
    stop(&f);
}

/* A selector and offset from nowhere read as zero; nothing is out of bounds. */
static void test_fw_cfg_out_of_range(void)
{
    static const char *const states[] = {"ffffffffffff", "003fffffffff", "0000ffffffff",
                                         "800000000000", "7fff00000000"};
    BoardFixture f;

    start(&f, 1);
    for (unsigned i = 0; i < G_N_ELEMENTS(states); i++) {
        SaveStateEntry *se = find_section(&f, "fw_cfg", 0);
        GError *err = NULL;

        load_hex(se->vmsd, se->opaque, 2, states[i], &err);
        g_assert_no_error(err);
        g_assert_cmphex(board_read(&f, 8, 0x10100000), ==, 0);
    }
    stop(&f);
}

/* The virtual clock continues where the source stopped, and timers follow it. */
static void test_clock(void)
{
    BoardFixture f;
    SaveStateEntry *se;
    RISCVCPU *cpu;
    GError *err = NULL;

    start(&f, 1);
    cpu = f.m->cpus->pdata[0];
    se = find_section(&f, "riscv_mtimer", 0); /* before the clock: any order is allowed */
    load_hex(se->vmsd, se->opaque, 1, "00000000000f4240", &err); /* 1 000 000 ticks = 0.1 s */
    se = find_section(&f, "timer", 0);
    load_hex(se->vmsd, se->opaque, 2,
             "0000000000000000"
             "0000000000000000"
             "0000000005f5e0ff",
             &err); /* 99 999 999 ns */
    g_assert_no_error(err);
    g_assert_cmpuint(board_read(&f, 8, 0x200BFF8), ==, 999999);
    devices_vm_state(f.m, true);
    g_assert_cmphex(cpu->env.mip & 0x80, ==, 0);
    clock_virtual_step_to(f.m->vclock, 100000000);
    g_assert_cmphex(cpu->env.mip & 0x80, ==, 0x80);
    stop(&f);
}

/* Before version 3 the RTC travelled relative to both clocks of the sender. */
static void test_rtc_v2(void)
{
    BoardFixture f;
    SaveStateEntry *se;
    GError *err = NULL;
    uint64_t host = clock_get_ns(clock_host()), low, now;

    start(&f, 1);
    se = find_section(&f, "goldfish_rtc", 0);
    /* A clock that reads 2^60 ns: tick_offset_vmstate = tick_offset + host - virtual (0). */
    load_hex(se->vmsd, se->opaque, 2,
             "1000000000000000"
             "0000000000000000"
             "00000000"
             "00000000"
             "00000000"
             "00000000",
             &err);
    g_assert_no_error(err);
    low = board_read(&f, 4, 0x101000);
    now = board_read(&f, 4, 0x101004) << 32 | low;
    g_assert_cmpuint(now, >=, UINT64_C(1) << 60);
    g_assert_cmpuint(now - (UINT64_C(1) << 60), <=, clock_get_ns(clock_host()) - host);
    stop(&f);
}

static void test_slirp(void)
{
    const char *leases = "0000000000000000000000000000000000000000000000000000000000000000"
                         "0000000000000000000000000000000000000000000000000000000000000000"
                         "0000000000000000000000000000000000000000000000000000000000000000"
                         "0000000000000000000000000000000000000000000000000000000000000000";
    g_autofree char *good = g_strdup_printf("000000%s", leases);
    g_autofree char *forwarded = g_strdup_printf("2a0000%s", leases);
    BoardFixture f;
    SaveStateEntry *se;
    GError *err = NULL;

    board_new(&f);
    f.m->default_net = true;
    f.m->savevm = savevm_list_new();
    board_start(&f);
    se = find_section(&f, "slirp", 0);
    load_hex(se->vmsd, se->opaque, 4, good, &err);
    g_assert_no_error(err);
    g_assert_false(vmstate_section_needed(se->vmsd, se->opaque));
    expect_refused(&f, "slirp", 0, 4, forwarded, "guest-forward");
    stop(&f);
}

int main(int argc, char **argv)
{
    static const char *const cases[] = {
        "reset",
        "reset-smp2",
        "plic",
        "mtimer",
        "serial-regs",
        "serial-rx-fifo",
        "serial-thr-hidden",
        "serial-overrun",
        "rtc-alarm",
        "flash-buffer",
        "flash-buffer-full",
        "fw-cfg",
        "pci",
    };

    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strdup_printf("/hw/vmstate/golden/%s", cases[i]);

        g_test_add_data_func(path, cases[i], test_golden);
    }
    g_test_add_func("/hw/vmstate/order", test_order);
    g_test_add_func("/hw/vmstate/hostile", test_hostile);
    g_test_add_func("/hw/vmstate/damaged", test_damaged);
    g_test_add_func("/hw/vmstate/fw-cfg-out-of-range", test_fw_cfg_out_of_range);
    g_test_add_func("/hw/vmstate/clock", test_clock);
    g_test_add_func("/hw/vmstate/rtc-v2", test_rtc_v2);
    g_test_add_func("/hw/vmstate/slirp", test_slirp);
    return g_test_run();
}
