/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From bits to runs to parts, against page-by-page models. */
#include <sys/mman.h>
#include "migration/ram/zero.h"
#include "ram-side.h"

typedef struct {
    RAMList *list;
    DirtyMap dirty;
    RamScan scan;
} Fixture;

static void set_up(Fixture *fx, gconstpointer data)
{
    fx->list = ram_list_new();
    ram_block_new_anon(fx->list, "big", 1000 * 4096, RAM_MIGRATABLE, NULL);
    ram_block_new_anon(fx->list, "not", 500 * 4096, 0, NULL);
    ram_block_new_anon(fx->list, "mid", 64 * 4096, RAM_MIGRATABLE, NULL);
    ram_block_new_anon(fx->list, "one", 1 * 4096, RAM_MIGRATABLE, NULL);
    g_assert_true(dirty_map_start(&fx->dirty, fx->list, false, NULL));
    ram_scan_start(&fx->scan, &fx->dirty);
}

static void tear_down(Fixture *fx, gconstpointer data)
{
    dirty_map_stop(&fx->dirty);
    while (ram_list_first(fx->list)) {
        ram_block_free(ram_list_first(fx->list));
    }
    ram_list_free(fx->list);
}

static void test_dirty_map(Fixture *fx, gconstpointer data)
{
    RAMBlock *big = ram_block_by_name(fx->list, "big");
    RamRun run;

    g_assert_cmpuint(fx->dirty.n, ==, 3);
    g_assert_cmpuint(fx->dirty.dirty_pages, ==, 1065);
    g_assert_cmpuint(fx->dirty.total_bytes, ==, 1065 * 4096);
    dirty_log_mark(big, 0, 4096);
    dirty_map_sync(&fx->dirty); /* set already: not counted twice */
    g_assert_cmpuint(fx->dirty.dirty_pages, ==, 1065);
    while (fx->dirty.dirty_pages) { /* a round, and what it passed over */
        while (ram_scan_peek(&fx->scan, 10000, &run)) {
            ram_scan_take(&fx->scan, run.count);
        }
    }
    g_assert_cmpuint(fx->dirty.dirty_pages, ==, 0);
    dirty_log_mark(big, 117 * 4096 - 1, 2);
    dirty_log_mark(ram_block_by_name(fx->list, "not"), 0, 4096);
    dirty_map_sync(&fx->dirty);
    g_assert_cmpuint(fx->dirty.dirty_pages, ==, 2);
    g_assert_true(ram_scan_peek(&fx->scan, 10000, &run));
    g_assert_true(run.block == big && run.first == 116 && run.count == 2);
}

/* Random bits, random limits, random amounts taken: each bit comes once, in order, in maximal runs.
 */
static void test_scan_model(Fixture *fx, gconstpointer data)
{
    GRand *rng = g_rand_new_with_seed(7);

    for (int round = 0; round < 300; round++) {
        bool model[3][1000] = {{false}};
        unsigned at_block, density = g_rand_int_range(rng, 1, 100);
        uint64_t at_page, expect = 0, taken = 0, max;
        RamRun run;

        for (unsigned i = 0; i < 3; i++) {
            for (uint64_t p = 0; p < ram_block_pages(fx->dirty.blocks[i].block); p++) {
                model[i][p] = g_rand_int_range(rng, 0, 100) < (int)density;
                if (model[i][p]) {
                    set_bit(p, fx->dirty.blocks[i].map);
                    expect++;
                } else {
                    clear_bit(p, fx->dirty.blocks[i].map);
                }
            }
        }
        fx->dirty.dirty_pages = expect;
        at_block = fx->scan.index;
        at_page = fx->scan.page;
        while (max = g_rand_int_range(rng, 1, 80), ram_scan_peek(&fx->scan, max, &run)) {
            uint64_t count = g_rand_int_range(rng, 1, run.count + 1);

            /* Walk the model to the next set page. */
            while (at_page >= ram_block_pages(fx->dirty.blocks[at_block].block) ||
                   !model[at_block][at_page]) {
                if (++at_page >= ram_block_pages(fx->dirty.blocks[at_block].block)) {
                    at_page = 0;
                    at_block = (at_block + 1) % 3;
                }
            }
            g_assert_true(run.block == fx->dirty.blocks[at_block].block);
            g_assert_cmpuint(run.first, ==, at_page);
            g_assert_cmpuint(run.count, <=, max);
            for (uint64_t i = 0; i < run.count; i++) {
                g_assert_true(model[at_block][at_page + i]);
            }
            if (run.count < max && at_page + run.count < ram_block_pages(run.block)) {
                g_assert_false(model[at_block][at_page + run.count]);
            }
            ram_scan_take(&fx->scan, count);
            for (uint64_t i = 0; i < count; i++) {
                model[at_block][at_page++] = false;
            }
            taken += count;
        }
        g_assert_cmpuint(taken, ==, expect);
        g_assert_cmpuint(fx->dirty.dirty_pages, ==, 0);
    }
    g_rand_free(rng);
}

/* Write pages [first, first + n) of "big" and read the log, @times. */
static void keep_writing(Fixture *fx, uint64_t first, uint64_t n, int times)
{
    while (times--) {
        dirty_log_mark(ram_block_by_name(fx->list, "big"), first * 4096, n * 4096);
        dirty_map_sync(&fx->dirty);
    }
}

/* Take all there is until the end of the round; the pages of "big" in order, as "a-b c-d". */
static char *take_round(Fixture *fx)
{
    GString *text = g_string_new(NULL);
    RamRun run;

    while (ram_scan_peek(&fx->scan, 10000, &run)) {
        if (g_str_equal(run.block->idstr, "big")) {
            g_string_append_printf(text, "%s%d-%d", text->len ? " " : "", (int)run.first,
                                   (int)(run.first + run.count - 1));
        }
        ram_scan_take(&fx->scan, run.count);
    }
    return g_string_free(text, FALSE);
}

#define assert_round(fx, want)                  \
    do {                                        \
        g_autofree char *got_ = take_round(fx); \
                                                \
        g_assert_cmpstr(got_, ==, want);        \
    } while (0)

/* What is written again and again goes last, and is not put off for longer than a round. */
static void test_hot_last(Fixture *fx, gconstpointer data)
{
    fx->scan.margin = 0;
    keep_writing(fx, 130, 60, 2); /* inside the third word: pages 128 to 191 */
    assert_round(fx, "0-127 192-999");
    g_assert_cmpuint(fx->dirty.dirty_pages, ==, 64);
    g_assert_cmpuint(fx->dirty.spared_pages, ==, 0);
    keep_writing(fx, 130, 60, 1); /* so putting them off has saved sending them once, */
    g_assert_cmpuint(fx->dirty.spared_pages, ==, 60);
    keep_writing(fx, 130, 60, 1); /* and no more than that */
    g_assert_cmpuint(fx->dirty.spared_pages, ==, 60);
    assert_round(fx, "128-191");
    g_assert_cmpuint(fx->dirty.dirty_pages, ==, 0);

    /* Hot for as long as it is written now and then; once is not hot. */
    keep_writing(fx, 10, 5, 1);
    keep_writing(fx, 130, 60, 1);
    assert_round(fx, "10-14");
    assert_round(fx, "130-189");
    keep_writing(fx, 20, 5, 9);
    keep_writing(fx, 130, 60, 1); /* has cooled down */
    assert_round(fx, "130-189");
    assert_round(fx, "20-24");
}

/* The first pass begins away from what was written, were it only once, and comes nearer: from four
 * words to one to none. */
static void test_first_pass(Fixture *fx, gconstpointer data)
{
    RamRun run;

    g_assert_cmpuint(fx->scan.margin, ==, 4);
    keep_writing(fx, 512, 1, 1); /* word 8 of 16 */
    g_assert_true(ram_scan_peek(&fx->scan, 10, &run));
    ram_scan_take(&fx->scan, 10);
    assert_round(fx, "10-255 832-999 256-447 640-831 448-511 576-639");
    g_assert_cmpuint(fx->dirty.dirty_pages, ==, 64);
    keep_writing(fx, 512, 1, 1);
    g_assert_cmpuint(fx->dirty.spared_pages, ==, 1);
    assert_round(fx, "512-575");
    keep_writing(fx, 600, 20, 1); /* written once since the start means nothing any more */
    assert_round(fx, "600-619");
}

/* What is written while the first pass goes on is not run into either. */
static void test_first_pass_meets_writer(Fixture *fx, gconstpointer data)
{
    RamRun run;

    fx->scan.margin = 1;
    keep_writing(fx, 0, 1, 1);
    g_assert_true(ram_scan_peek(&fx->scan, 100, &run));
    g_assert_cmpuint(run.first, ==, 128);
    ram_scan_take(&fx->scan, 100);
    keep_writing(fx, 320, 64, 1); /* word 5 */
    assert_round(fx, "228-255 448-999 64-127 256-319 384-447");
    assert_round(fx, "0-63 320-383");
    g_assert_cmpuint(fx->dirty.dirty_pages, ==, 0);
}

/* The last section sends everything, in order. */
static void test_hot_at_the_end(Fixture *fx, gconstpointer data)
{
    keep_writing(fx, 130, 60, 2);
    fx->scan.last = true;
    assert_round(fx, "0-999");
    g_assert_cmpuint(fx->dirty.dirty_pages, ==, 0);
}

#define PAGES 3000u

/* Parts cover the run, are all zero or all data, and stay within the limits. */
static void test_split_model(void)
{
    RAMList *list = ram_list_new();
    RAMBlock *b = ram_block_new_anon(list, "b", PAGES * 4096, RAM_MIGRATABLE, NULL);
    g_autofree RamZero *z = g_new0(RamZero, 1);
    g_autofree bool *data = g_new0(bool, PAGES);
    GRand *rng = g_rand_new_with_seed(3);

    madvise(b->host, PAGES * 4096, MADV_NOHUGEPAGE);
    for (int round = 0; round < 200; round++) {
        RamRun run = {b, g_rand_int_range(rng, 0, PAGES), 0};

        /* Some more pages become data, some are zeroed again: untouched, touched zero and data mix.
         */
        for (int i = 0; i < 20; i++) {
            unsigned p = g_rand_int_range(rng, 0, PAGES), n = g_rand_int_range(rng, 1, 8);

            for (; n-- && p < PAGES; p++) {
                data[p] = g_rand_boolean(rng);
                b->host[p * 4096 + g_rand_int_range(rng, 0, 4096)] = 1;
                if (!data[p]) {
                    memset(b->host + p * 4096, 0, 4096);
                }
            }
        }
        ram_zero_forget(z);
        run.count = g_rand_int_range(rng, 1, PAGES - run.first + 1);
        while (run.count) {
            uint64_t max_zero = g_rand_int_range(rng, 1, 400);
            uint64_t max_data = g_rand_int_range(rng, 1, 40), n;
            bool zero;

            n = ram_zero_split(z, &run, max_zero, max_data, &zero);
            g_assert_cmpuint(n, >, 0);
            g_assert_cmpuint(n, <=, run.count);
            g_assert_cmpuint(n, <=, zero ? max_zero : max_data);
            for (uint64_t i = 0; i < n; i++) {
                g_assert_true(data[run.first + i] == !zero);
            }
            if (n < (zero ? max_zero : max_data) && n < run.count) {
                g_assert_true(data[run.first + n] == zero);
            }
            run.first += n;
            run.count -= n;
        }
    }
    g_rand_free(rng);
    ram_block_free(b);
    ram_list_free(list);
}

/* Untouched memory is told without touching it, and stale knowledge is dropped when asked to. */
static void test_split_untouched(void)
{
    RAMList *list = ram_list_new();
    RAMBlock *b = ram_block_new_anon(list, "b", PAGES * 4096, RAM_MIGRATABLE, NULL);
    g_autofree RamZero *z = g_new0(RamZero, 1);
    g_autofree unsigned char *resident = g_malloc(PAGES);
    RamRun run = {b, 0, PAGES};
    bool zero;

    g_assert_cmpuint(ram_zero_split(z, &run, 1 << 20, 512, &zero), ==, PAGES);
    g_assert_true(zero);
    g_assert_cmpint(mincore(b->host, PAGES * 4096, resident), ==, 0);
    for (unsigned i = 0; i < PAGES; i++) {
        g_assert_cmpuint(resident[i] & 1, ==, 0);
    }
    b->host[100 * 4096] = 1;
    ram_zero_forget(z);
    run.first = 100;
    run.count = 1;
    g_assert_cmpuint(ram_zero_split(z, &run, 1 << 20, 512, &zero), ==, 1);
    g_assert_false(zero);
    z->off = true;
    run.first = 0;
    run.count = 100;
    g_assert_cmpuint(ram_zero_split(z, &run, 1 << 20, 512, &zero), ==, 100);
    g_assert_false(zero);
    ram_block_free(b);
    ram_list_free(list);
}

/* Mostly zeros, so that a second thread joins in: every answer is right, those for pages written
 * since are dropped when asked to, and what was never touched stays unread. */
static void test_split_ahead(void)
{
    const uint64_t pages = 40000; /* more than one window */
    RAMList *list = ram_list_new();
    RAMBlock *b = ram_block_new_anon(list, "b", pages * 4096, RAM_MIGRATABLE, NULL);
    g_autofree RamZero *z = g_new0(RamZero, 1);
    g_autofree bool *data = g_new0(bool, pages);
    g_autofree unsigned char *resident = g_malloc(pages);
    GRand *rng = g_rand_new_with_seed(5);
    unsigned ahead = 0, touched = 0;

    madvise(b->host, pages * 4096, MADV_NOHUGEPAGE);
    for (uint64_t p = 0; p < pages; p++) {
        data[p] = g_rand_int_range(rng, 0, 500) == 0;
        if (p / 1000 % 10 != 9) { /* the rest is untouched but for its data */
            *(volatile uint8_t *)(b->host + p * 4096) = 0;
        }
        if (data[p]) {
            b->host[p * 4096 + 1000] = 1;
        }
    }
    for (int round = 0; round < 5; round++) {
        RamRun run = {b, 0, pages};

        while (run.count) {
            uint64_t n;
            bool zero;

            n = ram_zero_split(z, &run, 3000, 512, &zero);
            g_assert_true(n > 0 && n <= run.count);
            for (uint64_t i = 0; i < n; i++) {
                g_assert_true(data[run.first + i] == !zero);
            }
            run.first += n;
            run.count -= n;
            ahead += z->ahead_block == b;
            if (run.count && g_rand_int_range(rng, 0, 20) == 0) {
                uint64_t p = run.first + g_rand_int_range(rng, 0, MIN(run.count, 600));

                ram_zero_forget(z); /* nobody reads any more: */
                data[p] = !data[p];
                b->host[p * 4096 + 1000] = data[p];
            }
        }
    }
    g_assert_cmpuint(ahead, >, 0);
    g_assert_cmpint(mincore(b->host, pages * 4096, resident), ==, 0);
    for (uint64_t p = 9000; p < 10000; p++) {
        touched += resident[p] & 1;
    }
    g_assert_cmpuint(touched, <, 100);
    ram_zero_clear(z);
    g_assert_null(z->ahead);
    g_rand_free(rng);
    ram_block_free(b);
    ram_list_free(list);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/ram-scan/dirty-map", Fixture, NULL, set_up, test_dirty_map, tear_down);
    g_test_add("/ram-scan/model", Fixture, NULL, set_up, test_scan_model, tear_down);
    g_test_add("/ram-scan/hot-last", Fixture, NULL, set_up, test_hot_last, tear_down);
    g_test_add("/ram-scan/first-pass", Fixture, NULL, set_up, test_first_pass, tear_down);
    g_test_add("/ram-scan/first-pass-meets-writer", Fixture, NULL, set_up,
               test_first_pass_meets_writer, tear_down);
    g_test_add("/ram-scan/hot-at-the-end", Fixture, NULL, set_up, test_hot_at_the_end, tear_down);
    g_test_add_func("/ram-scan/split-model", test_split_model);
    g_test_add_func("/ram-scan/split-untouched", test_split_untouched);
    g_test_add_func("/ram-scan/split-ahead", test_split_ahead);
    return g_test_run();
}
