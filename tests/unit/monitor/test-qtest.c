/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The qtest protocol (spec 71 section 6), over a socket. */
#include "fixture.h"
#include <glib/gstdio.h>
#include "util/timer.h"

static const struct {
    const char *request, *reply;
} cases[] = {
    {"endianness", "OK little"},
    {"writeb 0x80000000 0x1ff", "OK"},
    {"readb 0x80000000", "OK 0x00000000000000ff"},
    {"writeq 0x80000008 0x1122334455667788", "OK"},
    {"readq 2147483656", "OK 0x1122334455667788"},
    {"readl 0x80000008", "OK 0x0000000055667788"},
    {"  readw   0x8000000a ", "OK 0x0000000000005566"},
    {"\n# a comment\nreadb 020000000010", "OK 0x0000000000000088"},
    {"read 0x80000008 8", "OK 0x8877665544332211"},
    {"read 0x80000008 0", "ERR invalid argument size"},
    {"read 0x80000008 99999999999", "FAIL read: more than 67108864 bytes"},
    {"write 0x80000010 4 0xa1b2c3d4ff", "OK"},
    {"read 0x80000010 5", "OK 0xa1b2c3d400"},
    {"write 0x80000010 4 0x01", "OK"},
    {"read 0x80000010 4", "OK 0x01000000"},
    {"write 0x80000010 0 0x01", "ERR invalid argument size"},
    {"write 0x80000010 4", "ERR invalid argument size"},
    {"b64write 0x80000020 5 aGVsbG8=", "OK"},
    {"b64read 0x80000020 5", "OK aGVsbG8="},
    {"b64write 0x80000020 2 SEVMTE8=", "OK"},
    {"b64read 0x80000020 5", "OK SEVsbG8="},
    {"memset 0x80001000 8192 0x5a", "OK"},
    {"read 0x80002ffe 4", "OK 0x5a5a0000"},
    {"memset 0x80001000 0 1", "OK"},
    {"memset 0x80001000 0xffffffffffffffff 1", "OK"},
    {"readl 0x10", "OK 0x0000000000000000"},
    {"writel 0x10 1", "OK"},
    {"inb 0x60", "OK 0x00ff"},
    {"inl 0x60", "OK 0xffffffff"},
    {"outw 0x60 1", "OK"},
    {"readb", "FAIL readb: argument 1 must be a number"},
    {"readb x", "FAIL readb: argument 1 must be a number"},
    {"readb 1x", "FAIL readb: argument 1 must be a number"},
    {"writeb 1", "FAIL writeb: argument 2 must be a number"},
    {"nope 1", "FAIL Unknown command 'nope'"},
    {"clock_step 5", "FAIL Unknown command 'clock_step'"},
};

static void check(MonitorFixture *f, const char *request, const char *reply)
{
    g_autofree char *line = g_strconcat(request, "\n", NULL);

    monitor_fixture_send(f, line);
    g_autofree char *got = monitor_fixture_wait(f, "\n");

    g_assert_cmpstr(g_strchomp(got), ==, reply);
}

static void test_commands(void)
{
    MonitorFixture f;
    g_autoptr(GError) err = NULL;

    monitor_fixture_init(&f);
    monitor_fixture_connect(&f);
    QtestServer *q = qtest_server_start(f.machine, f.chr, "none", &err);

    g_assert_no_error(err);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        check(&f, cases[i].request, cases[i].reply);
    }
    qtest_server_free(q);
    monitor_fixture_free(&f);
}

static void count_cb(void *opaque)
{
    ++*(unsigned *)opaque;
}

static void test_clock(void)
{
    MonitorFixture f;
    unsigned fired = 0;
    QEMUTimer *timer;

    monitor_fixture_init(&f);
    f.machine->accel = &f.accel;
    monitor_fixture_connect(&f);
    timer = timer_new_ns(f.machine->vclock, count_cb, &fired);
    QtestServer *q = qtest_server_start(f.machine, f.chr, "none", NULL);

    check(&f, "clock_step", "FAIL clock_step: no timer is armed");
    check(&f, "clock_step 1000", "OK 1000");
    timer_mod_ns(timer, 5000);
    check(&f, "clock_step", "OK 5000");
    g_assert_cmpuint(fired, ==, 1);
    check(&f, "clock_set 7000", "OK 7000");
    check(&f, "clock_set 6000", "FAIL 7000");
    check(&f, "clock_step 0xffffffffffffffff", "OK 9223372036854775807");
    qtest_server_free(q);
    timer_free(timer);
    f.machine->accel = NULL;
    monitor_fixture_free(&f);
}

static void test_log(void)
{
    MonitorFixture f;
    g_autofree char *dir = g_dir_make_tmp("godwit-qtest-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "log", NULL);
    g_autofree char *text = NULL;
    g_autoptr(GError) err = NULL;

    monitor_fixture_init(&f);
    monitor_fixture_connect(&f);
    g_assert_null(qtest_server_start(f.machine, f.chr, "/nowhere/at/all", &err));
    g_assert_nonnull(err);
    QtestServer *q = qtest_server_start(f.machine, f.chr, path, NULL);

    check(&f, "endianness", "OK little");
    qtest_server_free(q);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_true(g_regex_match_simple(
        "^\\[I \\+0\\.\\d+\\] OPENED\n\\[R \\+0\\.\\d+\\] endianness\n\\[S \\+0\\.\\d+\\] OK little\n$",
        text, 0, 0));
    g_unlink(path);
    g_rmdir(dir);
    monitor_fixture_free(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/monitor/qtest/commands", test_commands);
    g_test_add_func("/monitor/qtest/clock", test_clock);
    g_test_add_func("/monitor/qtest/log", test_log);
    return g_test_run();
}
