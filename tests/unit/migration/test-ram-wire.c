/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/wire/ram.h"

static void test_heads(void)
{
    static const uint8_t named[] = {0, 0, 0, 0, 0x12, 0x34, 0x50, 0x08, 2, 'm', '0'};
    static const uint8_t more[] = {0, 0, 0, 0, 0x12, 0x34, 0x60, 0x28};
    uint8_t buf[RAM_HEAD_MAX];
    RamRecord rec;
    size_t n, used;

    n = ram_put_head(buf, 0x12345000, RAM_FLAG_PAGE, "m0");
    g_assert_cmpmem(buf, n, named, sizeof(named));
    g_assert_cmpint(ram_decode_record(buf, n, &rec, &used), ==, RAM_DECODE_OK);
    g_assert_cmpuint(used, ==, n);
    g_assert_cmphex(rec.flags, ==, RAM_FLAG_PAGE);
    g_assert_cmphex(rec.offset, ==, 0x12345000);
    g_assert_true(rec.named);
    g_assert_cmpstr(rec.name, ==, "m0");
    n = ram_put_head(buf, 0x12346000, RAM_FLAG_PAGE, NULL);
    g_assert_cmpmem(buf, n, more, sizeof(more));
    g_assert_cmpint(ram_decode_record(buf, n, &rec, &used), ==, RAM_DECODE_OK);
    g_assert_false(rec.named);
}

/* Every prefix of every record asks for more and never for less than there is; no byte behind it is
 * needed. */
static void test_prefixes(void)
{
    g_autofree char *longest = g_strnfill(255, 'n');
    const char *names[] = {NULL, "", "m0", longest};
    const unsigned flags[] = {RAM_FLAG_ZERO, RAM_FLAG_PAGE, RAM_FLAG_XBZRLE, RAM_FLAG_ZERO_RUN,
                              RAM_FLAG_EOS};

    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        for (unsigned k = 0; k < ARRAY_SIZE(flags); k++) {
            uint8_t full[RAM_HEAD_MAX];
            bool about_page = flags[k] != RAM_FLAG_EOS;
            size_t n = ram_put_head(full, 0x1000, flags[k], about_page ? names[i] : NULL);

            if (flags[k] == RAM_FLAG_ZERO) {
                full[n++] = 0xAB;
            } else if (flags[k] == RAM_FLAG_ZERO_RUN) {
                ram_put_word(full + n, UINT64_C(0x123456789ABCDEF0));
                n += 8;
            }
            for (size_t len = 0; len <= n; len++) {
                g_autofree uint8_t *part = g_memdup2(full, len); /* exact: ASan sees any overrun */
                RamRecord rec;
                size_t used = 0;
                RamDecodeResult r = ram_decode_record(part, len, &rec, &used);

                g_assert_cmpint(r, ==, len < n ? RAM_DECODE_SHORT : RAM_DECODE_OK);
                g_assert_cmpuint(used, <=, n);
                if (len < n) {
                    g_assert_cmpuint(used, >, len);
                } else {
                    g_assert_cmpuint(used, ==, n);
                    g_assert_cmpuint(rec.fill, ==, flags[k] == RAM_FLAG_ZERO ? 0xAB : 0);
                    g_assert_cmphex(rec.count, ==,
                                    flags[k] == RAM_FLAG_ZERO_RUN ? 0x123456789ABCDEF0 : 0);
                }
            }
        }
    }
}

/* All 4096 flag combinations: accepted are the nine of the table, with or without CONTINUE. */
static void test_flags(void)
{
    unsigned accepted = 0;

    for (unsigned flags = 0; flags <= RAM_FLAGS_MASK; flags++) {
        uint8_t buf[RAM_HEAD_MAX] = {0};
        RamRecord rec;
        size_t used;

        ram_put_word(buf, 0x7000 | flags);
        if (ram_decode_record(buf, sizeof(buf), &rec, &used) == RAM_DECODE_OK) {
            accepted++;
            g_assert_cmpuint(rec.flags, ==, flags & ~RAM_FLAG_CONTINUE);
            g_assert_true(__builtin_popcount(rec.flags) == 1 || rec.flags == RAM_FLAG_LOST_CHANNEL);
        } else {
            g_assert_cmpuint(rec.flags, ==, flags);
        }
    }
    g_assert_cmpuint(accepted, ==, 2 * 10);
}

static void test_nul_in_name(void)
{
    uint8_t buf[] = {0, 0, 0, 0, 0, 0, 0, RAM_FLAG_PAGE, 3, 'a', 0, 'b'};
    RamRecord rec;
    size_t used;

    g_assert_cmpint(ram_decode_record(buf, sizeof(buf), &rec, &used), ==, RAM_DECODE_BAD_NAME);
}

static void test_zero_records(void)
{
    static const uint8_t golden[] = {0, 0, 0, 0, 0, 1, 0xF0, 0x22, 0, 0, 0, 0, 0, 0, 2, 0, 0x22, 0};
    uint8_t buf[20 * RAM_ZERO_RECORD_BYTES];

    ram_put_zero_records(buf, 0x1F000, 2);
    g_assert_cmpmem(buf, 18, golden, sizeof(golden));
    ram_put_zero_records(buf, 0x5000, 20);
    g_assert_cmpuint(ram_count_zero_records(buf, sizeof(buf), 0x5000, 100), ==, 20);
    g_assert_cmpuint(ram_count_zero_records(buf, sizeof(buf), 0x5000, 7), ==, 7);
    g_assert_cmpuint(ram_count_zero_records(buf, sizeof(buf) - 1, 0x5000, 100), ==, 19);
    g_assert_cmpuint(ram_count_zero_records(buf, sizeof(buf), 0x6000, 100), ==, 0);
    buf[9 * 4 + 8] = 1; /* fill byte of the fifth */
    g_assert_cmpuint(ram_count_zero_records(buf, sizeof(buf), 0x5000, 100), ==, 4);
    buf[9 * 2 + 7] = RAM_FLAG_PAGE | RAM_FLAG_CONTINUE;
    g_assert_cmpuint(ram_count_zero_records(buf, sizeof(buf), 0x5000, 100), ==, 2);
}

/* Runs are made and recognised many records at a time: as one by one, wherever they begin and end.
 */
static void test_long_runs(void)
{
    static const uint64_t firsts[] = {
        0, 1, 15, 16, 4095, 4096, 4090, 8191, (1 << 20) - 3, UINT64_C(1) << 40};
    static const unsigned counts[] = {1, 15, 16, 17, 33, 4096, 5000};
    g_autofree uint8_t *run = g_malloc(5000 * RAM_ZERO_RECORD_BYTES);

    for (unsigned i = 0; i < ARRAY_SIZE(firsts) * ARRAY_SIZE(counts); i++) {
        uint64_t first = firsts[i % ARRAY_SIZE(firsts)];
        unsigned n = counts[i / ARRAY_SIZE(firsts)];
        size_t len = n * RAM_ZERO_RECORD_BYTES;

        ram_put_zero_records(run, first << 12, n);
        for (unsigned r = 0; r < n; r++) {
            uint8_t one[RAM_HEAD_MAX] = {0};

            ram_put_head(one, (first + r) << 12, RAM_FLAG_ZERO, NULL);
            g_assert_cmpmem(run + r * RAM_ZERO_RECORD_BYTES, RAM_ZERO_RECORD_BYTES, one,
                            RAM_ZERO_RECORD_BYTES);
        }
        g_assert_cmpuint(ram_count_zero_records(run, len, first << 12, UINT64_MAX), ==, n);
        g_assert_cmpuint(ram_count_zero_records(run, len, first << 12, n - 1), ==, n - 1);
    }
}

/* A single wrong byte ends the run right there. */
static void test_broken_runs(void)
{
    enum { N = 100 };
    uint64_t first = 4096 - 40;
    uint8_t run[N * RAM_ZERO_RECORD_BYTES];

    ram_put_zero_records(run, first << 12, N);
    for (unsigned i = 0; i < sizeof(run); i++) {
        run[i] ^= 1 << i % 8;
        g_assert_cmpuint(ram_count_zero_records(run, sizeof(run), first << 12, N), ==,
                         i / RAM_ZERO_RECORD_BYTES);
        run[i] ^= 1 << i % 8;
    }
    g_assert_cmpuint(ram_count_zero_records(run, sizeof(run), first << 12, N), ==, N);
}

static void test_list_entry(void)
{
    static const uint8_t golden[] = {2, 'm', '0', 0, 0, 0,    0, 8, 0, 0,
                                     0, 0,   0,   0, 0, 0x80, 0, 0, 0};
    uint8_t buf[RAM_LIST_ENTRY_MAX];

    g_assert_cmpmem(buf, ram_put_list_entry(buf, "m0", 0x8000000, 0, true, 0x80000000), golden, 19);
    g_assert_cmpuint(ram_put_list_entry(buf, "m0", 0x8000000, 0, false, 0x80000000), ==, 11);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ram-wire/heads", test_heads);
    g_test_add_func("/ram-wire/prefixes", test_prefixes);
    g_test_add_func("/ram-wire/flags", test_flags);
    g_test_add_func("/ram-wire/nul-in-name", test_nul_in_name);
    g_test_add_func("/ram-wire/zero-records", test_zero_records);
    g_test_add_func("/ram-wire/zero-records/long", test_long_runs);
    g_test_add_func("/ram-wire/zero-records/broken", test_broken_runs);
    g_test_add_func("/ram-wire/list-entry", test_list_entry);
    return g_test_run();
}
