/* SPDX-License-Identifier: GPL-2.0-or-later */
/* By how much a guest is slowed down. */
#include "migration/ram/throttle.h"

static const RamThrottleOptions defaults = {true, 50, 20, 10, 99, false};

typedef struct {
    RamThrottle t;
    RamThrottleOptions o;
    int64_t now;
    uint64_t sent;
} Run;

/* A period of @ms in which @dirtied and @sent bytes came together; has the percentage changed? */
static bool period(Run *r, int ms, uint64_t dirtied, uint64_t sent)
{
    r->now += ms * 1000;
    r->sent += sent;
    ram_throttle_dirtied(&r->t, dirtied);
    return ram_throttle_judge(&r->t, &r->o, r->now, r->sent);
}

static void test_steps(void)
{
    Run r = {.o = defaults};
    unsigned expect = 20;

    ram_throttle_start(&r.t, 0, 0);
    g_assert_false(period(&r, 200, 501, 1000));
    g_assert_true(period(&r, 200, 501, 1000)); /* the second time */
    g_assert_cmpuint(r.t.percent, ==, 20);
    while (expect < 99) {
        expect = MIN(expect + 10, 99);
        g_assert_false(period(&r, 200, 9999, 1000));
        g_assert_false(period(&r, 200, 500, 1000)); /* good periods forgive nothing */
        g_assert_true(period(&r, 200, 9999, 1000));
        g_assert_cmpuint(r.t.percent, ==, expect);
    }
    g_assert_false(period(&r, 200, 9999, 1000));
    g_assert_false(period(&r, 200, 9999, 1000)); /* no further */
    g_assert_cmpuint(r.t.percent, ==, 99);
}

/* Short periods are put together. */
static void test_short_periods(void)
{
    Run r = {.o = defaults};

    ram_throttle_start(&r.t, 0, 0);
    for (int i = 0; i < 19; i++) {
        g_assert_false(period(&r, 10, 100, 100));
    }
    g_assert_true(period(&r, 10, 100, 100));
    g_assert_cmpuint(r.t.percent, ==, 20);
}

static void test_limits(void)
{
    Run r = {.o = {true, 100, 30, 50, 70, false}};

    ram_throttle_start(&r.t, 0, 0);
    for (int i = 0; i < 10; i++) {
        g_assert_false(period(&r, 200, 1000, 1000)); /* exactly what is allowed */
    }
    for (int i = 0; i < 10; i++) {
        period(&r, 200, 1001, 1000);
    }
    g_assert_cmpuint(r.t.percent, ==, 70);
}

/* Steps that fit what is missing; never more than the increment. */
static void test_tailslow(void)
{
    Run r = {.o = {true, 50, 20, 10, 99, true}};

    ram_throttle_start(&r.t, 0, 0);
    period(&r, 200, 1000, 1000);
    period(&r, 200, 1000, 1000);
    g_assert_cmpuint(r.t.percent, ==, 20);
    period(&r, 200, 1000, 1000);
    period(&r, 200, 526, 1000); /* of 80 percent left 76 would do */
    g_assert_cmpuint(r.t.percent, ==, 24);
    period(&r, 200, 1000, 1000);
    period(&r, 200, 1000, 1000);
    g_assert_cmpuint(r.t.percent, ==, 34);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ram-throttle/steps", test_steps);
    g_test_add_func("/ram-throttle/short-periods", test_short_periods);
    g_test_add_func("/ram-throttle/limits", test_limits);
    g_test_add_func("/ram-throttle/tailslow", test_tailslow);
    return g_test_run();
}
