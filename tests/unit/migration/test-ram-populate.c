/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A stream goes through a block while the helper populates ahead of it. */
#include <sys/mman.h>
#include "migration/ram/populate.h"
#include "util/bitmap.h"

#define CHUNKS      40u
#define CHUNK_BYTES (POPULATE_CHUNK_PAGES * TARGET_PAGE_SIZE)

typedef struct {
    RAMList *list;
    RAMBlock *block;
    unsigned long *fresh;
    RamPopulate *populate;
} Fixture;

static void set_up(Fixture *fx, gconstpointer data)
{
    fx->list = ram_list_new();
    fx->block = ram_block_new_anon(fx->list, "b", CHUNKS * CHUNK_BYTES, RAM_MIGRATABLE, NULL);
    fx->fresh = bitmap_new(CHUNKS * POPULATE_CHUNK_PAGES);
    bitmap_set(fx->fresh, 0, CHUNKS * POPULATE_CHUNK_PAGES);
    fx->populate = ram_populate_new();
}

static void tear_down(Fixture *fx, gconstpointer data)
{
    ram_populate_free(fx->populate);
    g_free(fx->fresh);
    ram_block_free(fx->block);
    ram_list_free(fx->list);
}

static unsigned resident_pages(Fixture *fx, unsigned chunk)
{
    unsigned char resident[POPULATE_CHUNK_PAGES];
    unsigned n = 0;

    g_assert_cmpint(mincore(fx->block->host + chunk * CHUNK_BYTES, CHUNK_BYTES, resident), ==, 0);
    for (unsigned i = 0; i < POPULATE_CHUNK_PAGES; i++) {
        n += resident[i] & 1;
    }
    return n;
}

/* What placer and reader do for a chunk. */
static void stream_chunk(Fixture *fx, unsigned chunk)
{
    ram_populate_reach(fx->populate, fx->block, chunk, fx->fresh);
    g_assert_cmpuint(resident_pages(fx, chunk), ==, POPULATE_CHUNK_PAGES);
    memset(fx->block->host + chunk * CHUNK_BYTES, chunk + 1, CHUNK_BYTES);
    bitmap_clear(fx->fresh, chunk * POPULATE_CHUNK_PAGES, POPULATE_CHUNK_PAGES);
}

static void test_stream(Fixture *fx, gconstpointer data)
{
    for (unsigned chunk = 0; chunk < CHUNKS; chunk++) {
        stream_chunk(fx, chunk);
        if (chunk % 7 == 6) {
            ram_populate_pause(fx->populate);
        }
    }
    for (unsigned chunk = 0; chunk < CHUNKS; chunk++) {
        const uint8_t *p = fx->block->host + chunk * CHUNK_BYTES;

        g_assert_true(p[0] == chunk + 1 && memcmp(p, p + 1, CHUNK_BYTES - 1) == 0);
    }
}

/* No further ahead than the stream has come, and never where something has been received. */
static void test_bounds(Fixture *fx, gconstpointer data)
{
    clear_bit(30 * POPULATE_CHUNK_PAGES + 100, fx->fresh);
    stream_chunk(fx, 10);
    stream_chunk(fx, 11);
    stream_chunk(fx, 12);
    stream_chunk(fx, 29);
    ram_populate_reach(fx->populate, fx->block, 30, fx->fresh);
    g_clear_pointer(&fx->populate, ram_populate_free); /* the helper has ended */
    for (unsigned chunk = 0; chunk < CHUNKS; chunk++) {
        if (chunk < 10 || (chunk > 14 && chunk != 29)) {
            g_assert_cmpuint(resident_pages(fx, chunk), ==, 0);
        }
    }
}

/* Jumps to and fro between blocks end well too. */
static void test_jumps(Fixture *fx, gconstpointer data)
{
    RAMBlock *other = ram_block_new_anon(fx->list, "o", CHUNK_BYTES / 2, RAM_MIGRATABLE, NULL);
    GRand *rng = g_rand_new_with_seed(11);

    for (int i = 0; i < 400; i++) {
        unsigned chunk = g_rand_int_range(rng, 0, CHUNKS), n = g_rand_int_range(rng, 1, 5);

        for (; n && chunk < CHUNKS; n--, chunk++) {
            if (test_bit(chunk * POPULATE_CHUNK_PAGES, fx->fresh)) {
                stream_chunk(fx, chunk);
            } else {
                ram_populate_reach(fx->populate, fx->block, chunk, fx->fresh);
            }
        }
        if (i % 3 == 0) {
            g_autofree unsigned long *fresh = bitmap_new(POPULATE_CHUNK_PAGES / 2);

            ram_populate_reach(fx->populate, other, 0, fresh);
        }
    }
    g_rand_free(rng);
    g_clear_pointer(&fx->populate, ram_populate_free);
    ram_block_free(other);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/ram-populate/stream", Fixture, NULL, set_up, test_stream, tear_down);
    g_test_add("/ram-populate/bounds", Fixture, NULL, set_up, test_bounds, tear_down);
    g_test_add("/ram-populate/jumps", Fixture, NULL, set_up, test_jumps, tear_down);
    return g_test_run();
}
