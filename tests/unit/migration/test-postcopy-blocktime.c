/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/postcopy/blocktime.h"

#define MS INT64_C(1000000)

/* Threads 100 and 101 are vCPUs 0 and 1. */
static int vcpu_of(uint32_t tid, void *opaque)
{
    return tid >= 100 && tid < 102 ? (int)tid - 100 : -1;
}

static void test_figures(void)
{
    PostcopyBlocktime *b = blocktime_new(2, vcpu_of, NULL);
    static uint8_t memory[3 * 4096];
    int64_t now = blocktime_now();
    BlocktimeFigures f;
    uint64_t waits = 0;

    blocktime_end(b, memory, sizeof(memory)); /* nobody waits */
    blocktime_begin(b, 100, memory, now - 50 * MS);
    blocktime_begin(b, 100, memory, now - 10 * MS); /* the same wait */
    blocktime_begin(b, 101, memory + 4096, now - 20 * MS);
    blocktime_begin(b, 7, memory + 8192, now - 5 * MS);
    blocktime_end(b, memory + 4096, 4096); /* vCPU 1 goes on: both waited 20 ms */
    blocktime_end(b, memory, 4096);
    blocktime_end(b, memory + 8192, 4096);
    blocktime_read(b, &f);
    g_assert_cmpint(f.all_blocked, >=, 20 * MS);
    g_assert_cmpint(f.all_blocked, <, f.blocked[0]);
    g_assert_cmpint(f.blocked[0], >=, 50 * MS);
    g_assert_cmpint(f.blocked[1], >=, 20 * MS);
    g_assert_cmpuint(f.latency[0], ==, f.blocked[0]);
    g_assert_cmpuint(f.other_average, >=, 5 * MS);
    g_assert_cmpuint(f.average, >=, 25 * MS);
    for (unsigned i = 0; i < BLOCKTIME_BUCKETS; i++) {
        waits += f.buckets[i];
    }
    g_assert_cmpuint(waits, ==, 3);
    g_assert_cmpuint(f.buckets[0], ==, 0);
    blocktime_free(b);
}

/* The vCPU is woken, runs and misses the next page before the end of its first wait is noted. */
static void test_overtaken(void)
{
    PostcopyBlocktime *b = blocktime_new(1, vcpu_of, NULL);
    static uint8_t memory[2 * 4096];
    int64_t now = blocktime_now();
    BlocktimeFigures f;

    blocktime_begin(b, 100, memory, now - 50 * MS);
    blocktime_begin(b, 100, memory + 4096, now - 40 * MS);
    blocktime_end(b, memory, 4096);
    blocktime_read(b, &f);
    g_assert_cmpint(f.blocked[0], ==, 10 * MS);
    blocktime_end(b, memory + 4096, 4096);
    blocktime_read(b, &f);
    g_assert_cmpint(f.blocked[0], >=, 50 * MS);
    g_assert_cmpint(f.all_blocked, >=, 50 * MS);
    g_assert_cmpuint(f.latency[0], ==, f.blocked[0] / 2);
    blocktime_free(b);
}

static void test_buckets(void)
{
    PostcopyBlocktime *b = blocktime_new(1, vcpu_of, NULL);
    static uint8_t page[4096];
    BlocktimeFigures f;

    blocktime_begin(b, 100, page, blocktime_now() + 1000 * MS); /* a clock that went back */
    blocktime_end(b, page, 1);
    blocktime_begin(b, 100, page, 0); /* very long */
    blocktime_end(b, page, 1);
    blocktime_read(b, &f);
    g_assert_cmpuint(f.buckets[0], ==, 1);
    g_assert_cmpuint(f.buckets[BLOCKTIME_BUCKETS - 1], ==, 1);
    blocktime_free(b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/postcopy-blocktime/figures", test_figures);
    g_test_add_func("/postcopy-blocktime/overtaken", test_overtaken);
    g_test_add_func("/postcopy-blocktime/buckets", test_buckets);
    return g_test_run();
}
