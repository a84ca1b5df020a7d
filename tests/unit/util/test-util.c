/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/cutils.h"
#include "util/error.h"
#include "util/iov.h"
#include "util/timer.h"
#include "util/zero.h"

static void test_zero(void)
{
    g_autofree uint8_t *buf = g_malloc0(8192 + 64);
    bool zero;

    for (unsigned impl = 0; buffer_is_zero_test_impl(impl, buf, 1, &zero); impl++) {
        for (size_t len = 1; len < 700; len += 13) {
            for (size_t skew = 0; skew < 3; skew++) {
                g_assert_true(buffer_is_zero_test_impl(impl, buf + skew, len, &zero) && zero);
                for (size_t at = 0; at < len; at++) {
                    buf[skew + at] = 1;
                    buffer_is_zero_test_impl(impl, buf + skew, len, &zero);
                    g_assert_false(zero);
                    buf[skew + at] = 0;
                }
                /* Neighbours do not count. */
                buf[skew + len] = 1;
                buffer_is_zero_test_impl(impl, buf + skew, len, &zero);
                g_assert_true(zero);
                buf[skew + len] = 0;
            }
        }
    }
    for (size_t at = 0; at < 4096; at++) {
        buf[at] = 0x80;
        g_assert_false(buffer_is_zero(buf, 4096));
        buf[at] = 0;
    }
    g_assert_true(buffer_is_zero(buf, 4096));
}

static void test_parse_size(void)
{
    static const struct {
        const char *text;
        uint64_t unit, want;
        bool ok;
    } rows[] = {
        {"150M", 1, 150 * MiB, true},
        {"128", MiB, 128 * MiB, true},
        {"1.5G", 1, 1536 * MiB, true},
        {"0x1000", MiB, 4096, true},
        {"4k", 1, 4096, true},
        {"18446744073709551615", 1, UINT64_MAX, true},
        {"18446744073709551616", 1, 0, false},
        {"16E", 1, 0, false},
        {"", 1, 0, false},
        {"-1", 1, 0, false},
        {"0x20M", 1, 0, false},
        {"12x", 1, 0, false},
        {"1.5", 1, 0, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autoptr(GError) err = NULL;
        uint64_t out = 0;

        g_assert_cmpint(parse_size(rows[i].text, rows[i].unit, &out, &err), ==, rows[i].ok);
        g_assert_cmpint(err == NULL, ==, rows[i].ok);
        if (rows[i].ok) {
            g_assert_cmpuint(out, ==, rows[i].want);
        }
    }
}

static void test_parse_uuid(void)
{
    uint8_t uuid[16];

    g_assert_true(parse_uuid("00112233-4455-6677-8899-aabbccddeeff", uuid, NULL));
    g_assert_cmphex(uuid[1], ==, 0x11);
    g_assert_cmphex(uuid[15], ==, 0xff);
    g_assert_false(parse_uuid("00112233-4455-6677-8899-aabbccddeef", uuid, NULL));
    g_assert_false(parse_uuid("00112233-4455-6677-8899-aabbccddeefff", uuid, NULL));
    g_assert_false(parse_uuid("0011223344556677-8899-aabbccddeeff--", uuid, NULL));
}

static void test_iov(void)
{
    char a[3] = "abc", b[5] = "defgh", out[8] = {0};
    struct iovec v[2] = {{a, 3}, {b, 5}}, *p = v;
    unsigned n = 2;

    g_assert_cmpuint(iov_to_buf(v, 2, 2, out, 4), ==, 4);
    g_assert_cmpmem(out, 4, "cdef", 4);
    iov_discard_front(&p, &n, 4);
    g_assert_cmpuint(n, ==, 1);
    g_assert_cmpuint(iov_size(p, n), ==, 4);
    g_assert_cmpuint(iov_from_buf(p, n, 0, "XY", 9 - 7), ==, 2);
    g_assert_cmpmem(b, 5, "dXYgh", 5);
}

static void count(void *opaque)
{
    (*(int *)opaque)++;
}

static void test_virtual_clock(void)
{
    Clock *clock = clock_virtual_new();
    int early = 0, late = 0;
    QEMUTimer *t1, *t2;

    clock_virtual_set_manual(clock);
    t1 = timer_new_ns(clock, count, &early);
    t2 = timer_new_ns(clock, count, &late);
    timer_mod_ns(t2, 2000);
    timer_mod_ns(t1, 1000);
    g_assert_cmpint(clock_deadline_ns(clock), ==, 1000);
    g_assert_cmpint(clock_virtual_step_to(clock, 1500), ==, 1500);
    g_assert_cmpint(early, ==, 1);
    g_assert_cmpint(late, ==, 0);
    g_assert_cmpuint(timer_expire_time_ns(t1), ==, UINT64_MAX);
    timer_mod_ns(t2, 3000);
    clock_virtual_step_to(clock, 2500);
    g_assert_cmpint(late, ==, 0);
    timer_del(t2);
    clock_virtual_step_to(clock, 5000);
    g_assert_cmpint(late, ==, 0);
    g_assert_cmpint(clock_virtual_step_to(clock, 10), ==, 5000);
    timer_free(t1);
    timer_free(t2);
    clock_free(clock);
}

static void test_running_clock(void)
{
    Clock *clock = clock_virtual_new();
    int fired = 0;
    QEMUTimer *t = timer_new_ns(clock, count, &fired);
    int64_t stopped;

    clock_virtual_set_ns(clock, 1000);
    timer_mod_ns(t, 1000 + SCALE_MS);
    g_main_context_iteration(NULL, FALSE);
    g_assert_cmpint(fired, ==, 0); /* stopped clocks do not fire */
    clock_virtual_start(clock);
    while (!fired) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_cmpint(clock_get_ns(clock), >=, 1000 + SCALE_MS);
    clock_virtual_stop(clock);
    stopped = clock_get_ns(clock);
    g_usleep(1000);
    g_assert_cmpint(clock_get_ns(clock), ==, stopped);
    timer_free(t);
    clock_free(clock);
}

static void test_error_class(void)
{
    g_autoptr(GError) err = NULL;

    error_set(&err, ERROR_CLASS_DEVICE_NOT_FOUND, "no %s", "x");
    g_assert_cmpstr(error_class_name(error_get_class(err)), ==, "DeviceNotFound");
    g_clear_error(&err);
    g_set_error_literal(&err, G_FILE_ERROR, 3, "foreign");
    g_assert_cmpstr(error_class_name(error_get_class(err)), ==, "GenericError");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/util/zero", test_zero);
    g_test_add_func("/util/parse-size", test_parse_size);
    g_test_add_func("/util/parse-uuid", test_parse_uuid);
    g_test_add_func("/util/iov", test_iov);
    g_test_add_func("/util/clock/manual", test_virtual_clock);
    g_test_add_func("/util/clock/running", test_running_clock);
    g_test_add_func("/util/error-class", test_error_class);
    return g_test_run();
}
