/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Forecasts against migrations played out, and advice that helps when it is taken. */
#include "migration/forecast.h"

static const ForecastInput base = {
    .pending = 1000e6,
    .total = 1000e6,
    .bandwidth = 100e6,
    .max_bandwidth = 100000000,
    .downtime_limit_ms = 300,
    .vcpus = 2,
    .busy_percent = 90,
    .host_cpus = 64,
};

static MigrationVerdict verdict(const ForecastInput *in)
{
    g_autoptr(MigrationForecast) f = migration_forecast(in);

    return f->verdict;
}

static void test_verdicts(void)
{
    ForecastInput in = base;

    g_assert_cmpint(verdict(&in), ==, MIGRATION_VERDICT_CONVERGING); /* idle */
    in.dirty = 40e6;
    g_assert_cmpint(verdict(&in), ==, MIGRATION_VERDICT_CONVERGING);
    in.dirty = 90e6;
    g_assert_cmpint(verdict(&in), ==, MIGRATION_VERDICT_BORDERLINE);
    in.dirty = 200e6;
    g_assert_cmpint(verdict(&in), ==, MIGRATION_VERDICT_WILL_NOT_CONVERGE);
    in.hot = 10e6; /* fast, but little: it fits into the downtime */
    g_assert_cmpint(verdict(&in), ==, MIGRATION_VERDICT_CONVERGING);
    in.hot = 60e6;
    g_assert_cmpint(verdict(&in), ==, MIGRATION_VERDICT_WILL_NOT_CONVERGE);
    in.bandwidth = 0;
    g_assert_null(migration_forecast(&in));
}

/* What devices give only when stopped takes its part of the downtime, however little memory is
 * left. */
static void test_stopped_state(void)
{
    ForecastInput in = base;
    g_autoptr(MigrationForecast) f = NULL;
    uint64_t limit = 0;

    in.stopped = 20e6;
    in.dirty = 1e6;
    g_assert_cmpint(verdict(&in), ==, MIGRATION_VERDICT_CONVERGING);
    in.stopped = 60e6;
    f = migration_forecast(&in);
    g_assert_cmpint(f->verdict, ==, MIGRATION_VERDICT_WILL_NOT_CONVERGE);
    for (guint i = 0; i < f->remedies->len; i++) {
        const MigrationAdvice *a = g_ptr_array_index(f->remedies, i);

        g_assert_cmpint(a->remedy, !=, MIGRATION_REMEDY_POSTCOPY);
        limit = a->remedy == MIGRATION_REMEDY_DOWNTIME_LIMIT ? a->value : limit;
    }
    g_assert_cmpuint(limit, >, 600);
    in.downtime_limit_ms = limit;
    g_assert_cmpint(verdict(&in), ==, MIGRATION_VERDICT_CONVERGING);
}

/* The time of a migration with steady rates lies in the stated range. */
static void test_times(void)
{
    for (int dirty = 0; dirty <= 70; dirty += 10) {
        ForecastInput in = base;
        g_autoptr(MigrationForecast) f = NULL;
        double left = in.pending, ms = 0;

        in.dirty = dirty * 1e6;
        f = migration_forecast(&in);
        while (left > 30e6) {
            ms += left / 100e6 * 1000;
            left = left / 100e6 * in.dirty;
        }
        g_assert_true(f->has_time_left_min);
        g_assert_cmpfloat(ms, >=, f->time_left_min);
        if (f->has_time_left_max) {
            g_assert_cmpfloat(ms, <=, f->time_left_max);
            g_assert_cmpuint(f->downtime, <=, 301);
            g_assert_cmpuint(f->remedies->len, ==, 0);
        }
    }
}

/* Whatever is advised: taken alone it makes the forecast good. */
static void test_remedies(void)
{
    for (int dirty = 100; dirty <= 900; dirty += 100) {
        ForecastInput in = base;
        g_autoptr(MigrationForecast) f = NULL;
        unsigned seen = 0;

        in.dirty = dirty * 1e6;
        in.hot = dirty % 200 ? 0 : 500e6;
        f = migration_forecast(&in);
        g_assert_cmpint(f->verdict, !=, MIGRATION_VERDICT_CONVERGING);
        for (guint i = 0; i < f->remedies->len; i++) {
            const MigrationAdvice *a = g_ptr_array_index(f->remedies, i);
            ForecastInput better = in;

            seen |= 1u << a->remedy;
            switch (a->remedy) {
            case MIGRATION_REMEDY_MAX_BANDWIDTH:
                better.max_bandwidth = a->value;
                better.bandwidth = (double)a->value;
                break;
            case MIGRATION_REMEDY_DOWNTIME_LIMIT:
                better.downtime_limit_ms = a->value;
                break;
            case MIGRATION_REMEDY_AUTO_CONVERGE:
                g_assert_cmpuint(a->value, <=, 99);
                better.dirty *= (100 - (double)a->value) / 100;
                break;
            case MIGRATION_REMEDY_POSTCOPY:
                continue; /* ends whatever the guest does */
            case MIGRATION_REMEDY_DIRTY_LIMIT:
                better.dirty = (double)(a->value * in.vcpus * MiB);
                break;
            case MIGRATION_REMEDY_MULTIFD:
                better.max_bandwidth = 0;
                better.bandwidth *= (double)a->value;
                break;
            default:
                better.dirty /= (double)a->value;
                better.hot /= (double)a->value;
                break;
            }
            g_assert_cmpint(verdict(&better), !=, MIGRATION_VERDICT_WILL_NOT_CONVERGE);
        }
        g_assert_cmphex(seen, ==, 0x7f);
    }
}

/* More threads are no help to a line, nor on a host that has none to spare. */
static void test_multifd_is_no_remedy(void)
{
    ForecastInput line = base, host = base, on = base;
    const ForecastInput *all[] = {&line, &host, &on};

    line.busy_percent = 30;
    host.host_cpus = 2;
    on.multifd = true;
    for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
        ForecastInput in = *all[i];
        g_autoptr(MigrationForecast) f = NULL;

        in.dirty = 300e6;
        f = migration_forecast(&in);
        for (guint k = 0; k < f->remedies->len; k++) {
            const MigrationAdvice *a = g_ptr_array_index(f->remedies, k);

            g_assert_cmpint(a->remedy, !=, MIGRATION_REMEDY_MULTIFD);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/forecast/verdicts", test_verdicts);
    g_test_add_func("/forecast/stopped-state", test_stopped_state);
    g_test_add_func("/forecast/times", test_times);
    g_test_add_func("/forecast/remedies", test_remedies);
    g_test_add_func("/forecast/multifd", test_multifd_is_no_remedy);
    return g_test_run();
}
