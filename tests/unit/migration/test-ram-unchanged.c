/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pages that hold what was sent last: never one that does not, and soon all that do. */
#include "migration/ram/unchanged.h"

#define PAGES 2048u

typedef struct {
    RAMList *list;
    RAMBlock *block;
    DirtyMap dirty;
    RamUnchanged *u;
    uint8_t *dest; /* what a destination has */
    unsigned watched, skipped;
} Fixture;

static void set_up(Fixture *fx, gconstpointer data)
{
    fx->list = ram_list_new();
    ram_block_new_anon(fx->list, "other", 4 * PAGES * 4096, RAM_MIGRATABLE, NULL);
    fx->block = ram_block_new_anon(fx->list, "b", PAGES * 4096, RAM_MIGRATABLE, NULL);
    g_assert_true(dirty_map_start(&fx->dirty, fx->list, false, NULL));
    fx->u = ram_unchanged_new(&fx->dirty);
    fx->dest = g_malloc0(PAGES * 4096);
}

static void tear_down(Fixture *fx, gconstpointer data)
{
    ram_unchanged_free(fx->u);
    dirty_map_stop(&fx->dirty);
    while (ram_list_first(fx->list)) {
        ram_block_free(ram_list_first(fx->list));
    }
    ram_list_free(fx->list);
    g_free(fx->dest);
}

static void send(Fixture *fx, uint64_t first, uint64_t count)
{
    while (count) {
        RamRun run = {fx->block, first, count};
        const RamPatch *patches;
        bool watched;
        unsigned n_patches;
        uint64_t n = ram_unchanged_split(fx->u, &run, 512, &watched, &patches, &n_patches);

        g_assert_true(n >= 1 && n <= MIN(count, 512));
        if (watched) {
            for (unsigned i = 0; i < n_patches; i++) {
                g_assert_false(patches[i].delta);
                memcpy(fx->dest + patches[i].page * 4096, patches[i].bytes, 4096);
            }
            fx->watched += n;
            fx->skipped += n - n_patches;
        } else {
            memcpy(fx->dest + first * 4096, fx->block->host + first * 4096, n * 4096);
        }
        first += n;
        count -= n;
    }
    g_assert_true(memcmp(fx->dest, fx->block->host, PAGES * 4096) == 0);
}

/* A guest that writes something new each time: only the sample is watched. */
static void test_changing(Fixture *fx, gconstpointer data)
{
    for (unsigned round = 1; round < 20; round++) {
        memset(fx->block->host, round, PAGES * 4096);
        send(fx, 0, PAGES);
    }
    g_assert_cmpuint(fx->skipped, ==, 0);
    g_assert_cmpuint(fx->watched, <, 19 * PAGES / 8);
    g_assert_cmpuint(fx->watched, >, 0);
}

/* One that writes the same again: after a few rounds next to nothing is sent. When that ends, it is
 * noticed. */
static void test_same(Fixture *fx, gconstpointer data)
{
    memset(fx->block->host, 1, PAGES * 4096);
    for (unsigned round = 0; round < 10; round++) {
        send(fx, 0, PAGES);
    }
    fx->skipped = 0;
    send(fx, 0, PAGES);
    g_assert_cmpuint(fx->skipped, ==, PAGES);
    for (unsigned round = 2; round < 6; round++) {
        memset(fx->block->host, round, PAGES * 4096);
        send(fx, 0, PAGES);
    }
    fx->watched = 0;
    memset(fx->block->host, 9, PAGES * 4096);
    send(fx, 0, PAGES);
    g_assert_cmpuint(fx->watched, <, PAGES / 8);
}

/* Contents come and go, pages go other ways in between: what arrives is what is there. */
static void test_model(Fixture *fx, gconstpointer data)
{
    GRand *rng = g_rand_new_with_seed(6);

    for (unsigned round = 0; round < 3000; round++) {
        uint64_t first = g_rand_int_range(rng, 0, PAGES);
        uint64_t count = g_rand_int_range(rng, 1, MIN(PAGES - first, 100) + 1);
        RamRun run = {fx->block, first, count};

        /* Few values, so that they repeat. */
        memset(fx->block->host + first * 4096, g_rand_int_range(rng, 1, 3), count * 4096);
        if (g_rand_int_range(rng, 0, 10) == 0) {
            ram_unchanged_forget(fx->u, &run);
            memcpy(fx->dest + first * 4096, fx->block->host + first * 4096, count * 4096);
        } else {
            send(fx, first, count);
        }
    }
    g_assert_cmpuint(fx->skipped, >, 1000);
    g_rand_free(rng);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/ram-unchanged/changing", Fixture, NULL, set_up, test_changing, tear_down);
    g_test_add("/ram-unchanged/same", Fixture, NULL, set_up, test_same, tear_down);
    g_test_add("/ram-unchanged/model", Fixture, NULL, set_up, test_model, tear_down);
    return g_test_run();
}
