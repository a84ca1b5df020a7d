/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Register transcripts captured from stock QEMU (transcripts/capture.py), replayed on the board:
 * every read must give the same value (spec 80 section 16, checks 3 and 4).
 */
#include "board-fixture.h"

static void test_replay(gconstpointer name)
{
    g_autofree char *file = g_strdup_printf("transcripts/%s.txt", (const char *)name);
    g_autofree char *path = board_test_file(file);
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    GError *err = NULL;
    BoardFixture f;
    unsigned reads = 0;

    g_file_get_contents(path, &text, NULL, &err);
    g_assert_no_error(err);
    lines = g_strsplit(text, "\n", -1);
    board_new(&f);
    board_start(&f);
    for (unsigned i = 0; lines[i] && *lines[i]; i++) {
        char op;
        unsigned size;
        uint64_t addr, want;

        g_assert_cmpint(sscanf(lines[i], "%c %u %" SCNx64 " %" SCNx64, &op, &size, &addr, &want),
                        ==, 4);
        if (op == 'w') {
            board_write(&f, size, addr, want);
            continue;
        }

        uint64_t got = board_read(&f, size, addr);
        if (got != want) {
            g_test_message("%s:%u: %s, got %" PRIx64, file, i + 1, lines[i], got);
            g_test_fail();
        }
        reads++;
    }
    g_assert_cmpuint(reads, >, 5);
    board_free(&f);
}

static void test_faults(void)
{
    static const struct {
        hwaddr addr;
        unsigned size;
    } refused[] = {
        {0x10, 4},       {0x0FF8, 8},     {0x04000000, 4}, {0x10000008, 1},       {0x0C000000, 1},
        {0x0C000004, 8}, {0x02000000, 1}, {0x02000000, 8}, {0x02004000, 2},       {0x0200C000, 4},
        {0x02F00000, 4}, {0x00100000, 1}, {0x00100000, 8}, {0x00101000, 8},       {0x00101000, 1},
        {0x00101024, 4}, {0x10100001, 1}, {0x10100008, 2}, {0x10100020, 4},       {0x10001200, 4},
        {0x0C600000, 4}, {0x24000000, 4}, {0x88000000, 8}, {0x7FFFFFFFF8 + 8, 4}, {0x0C000002, 4},
        {0x00100002, 4},
    };
    static const struct {
        hwaddr addr;
        unsigned size;
    } write_refused[] = {
        {0x10100008, 1}, {0x10100008, 4}, {0x10100010, 2}, {0x10100010, 1}, {0x0C000000, 2},
    };
    BoardFixture f;

    board_new(&f);
    board_start(&f);
    for (unsigned i = 0; i < G_N_ELEMENTS(refused); i++) {
        if (!board_read_faults(&f, refused[i].size, refused[i].addr)) {
            g_test_message("load of %u at %" PRIx64 " succeeds", refused[i].size, refused[i].addr);
            g_test_fail();
        }
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(write_refused); i++) {
        g_assert_true(board_write_faults(&f, write_refused[i].size, write_refused[i].addr));
    }
    board_free(&f);
}

static void test_finisher(void)
{
    BoardFixture f;

    board_new(&f);
    board_start(&f);
    board_write(&f, 4, 0x100004, 0x5555);
    board_write(&f, 4, 0x100000, 0x1234);
    g_assert_cmpint(f.exit_code, ==, -1);
    board_write(&f, 4, 0x100000, 0xFFFF5555);
    g_assert_cmpint(f.exit_code, ==, 0);
    g_assert_false(f.panic);
    board_write(&f, 4, 0x100000, 42 << 16 | 0x3333);
    g_assert_cmpint(f.exit_code, ==, 42);
    g_assert_true(f.panic);
    board_write(&f, 2, 0x100000, 0x7777);
    g_assert_cmpuint(f.resets, ==, 1);
    board_free(&f);
}

/* mtimecmp of a hart raises its MTIP at the right virtual time, and the two timer halves work. */
static void test_mtimer(void)
{
    const uint64_t cmp0 = 0x2004000, cmp1 = 0x2004008, mtime = 0x200BFF8, mtip = 1 << 7;
    BoardFixture f;

    board_new(&f);
    f.m->smp_cpus = 2;
    board_start(&f);

    RISCVCPU *hart0 = f.m->cpus->pdata[0], *hart1 = f.m->cpus->pdata[1];
    g_assert_cmphex(hart0->env.mip & mtip, ==, mtip); /* mtimecmp is 0 */
    board_write(&f, 8, cmp0, 1000);
    board_write(&f, 8, cmp1, 2000);
    g_assert_cmphex((hart0->env.mip | hart1->env.mip) & mtip, ==, 0);
    clock_virtual_step_to(f.m->vclock, 99999);
    g_assert_cmpuint(board_read(&f, 8, mtime), ==, 999);
    g_assert_cmpuint(hart0->rdtime(hart0->rdtime_opaque), ==, 999);
    g_assert_cmpuint(hart1->mtimecmp(hart1->rdtime_opaque, 1), ==, 2000);
    g_assert_cmphex(hart0->env.mip & mtip, ==, 0);
    clock_virtual_step_to(f.m->vclock, 100000);
    g_assert_cmphex(hart0->env.mip & mtip, ==, mtip);
    g_assert_cmphex(hart1->env.mip & mtip, ==, 0);
    board_write(&f, 8, mtime, 5000);
    g_assert_cmphex(hart1->env.mip & mtip, ==, mtip);
    board_write(&f, 8, cmp1, UINT64_MAX);
    g_assert_cmphex(hart1->env.mip & mtip, ==, 0);
    board_free(&f);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"plic",  "clint",  "uart", "rtc",
                                        "flash", "fw-cfg", "pci",  "mask-rom"};

    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_strdup_printf("/hw/transcript/%s", names[i]);

        g_test_add_data_func(path, names[i], test_replay);
    }
    g_test_add_func("/hw/board/faults", test_faults);
    g_test_add_func("/hw/board/finisher", test_finisher);
    g_test_add_func("/hw/board/mtimer", test_mtimer);
    return g_test_run();
}
