/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages go straight into guest memory.
 *
 * The placer remembers two things of each page:
 *  - Is it *fresh*: untouched when the placer was made, and not received since? It reads as zero
 *    without having been looked at, so a ZERO record for it costs nothing and does not populate it.
 *  - Is it *open*: has nothing but zeros been received for it? Then bytes of something else may
 * land in it for a moment: overwriting them with zeros restores what was received, and what lay
 * there before the first record matters to nobody. So memory that was touched beforehand (prealloc)
 * is read into in place as well. Every fresh page is open.
 *
 * Fresh memory about to be streamed into is populated (populate.h) a huge page at a time, outside
 * the channel's locks, instead of one fault at a time inside its copy.
 */
#include "migration/ram-sink.h"
#include "migration/ram/populate.h"
#include "migration/wire/ram.h"
#include "util/zero.h"

/* Only for streams: whoever asks for at least so many. */
#define STREAM_PAGES 32

typedef struct {
    RAMBlock *block;
    unsigned long *fresh;   /* NULL, or bits that are cleared atomically, never set */
    unsigned long *open;    /* the same */
    unsigned long *claimed; /* per chunk: populated, or about to be, by direct(); atomic */
} DirectBlock;

typedef struct {
    RamPlacer base;
    RamPopulate *populate;
    unsigned n;
    DirectBlock blocks[];
} DirectPlacer;

static DirectBlock *find_block(RamPlacer *p, const RAMBlock *block)
{
    DirectPlacer *d = container_of(p, DirectPlacer, base);

    for (unsigned i = 0; i < d->n; i++) {
        if (d->blocks[i].block == block) {
            return &d->blocks[i];
        }
    }
    return NULL;
}

static uint8_t *page_host(const RAMBlock *block, uint64_t page)
{
    return block->host + (page << TARGET_PAGE_BITS);
}

static void clear_pages(unsigned long *map, uint64_t first, uint64_t count)
{
    while (map && count) {
        unsigned bit = first % BITS_PER_LONG;
        uint64_t n = MIN(count, BITS_PER_LONG - bit);
        unsigned long mask = (n == BITS_PER_LONG ? ~0UL : (1UL << n) - 1) << bit;
        unsigned long *word = &map[BIT_WORD(first)];

        if (__atomic_load_n(word, __ATOMIC_RELAXED) & mask) {
            __atomic_fetch_and(word, ~mask, __ATOMIC_RELAXED);
        }
        first += n;
        count -= n;
    }
}

static void received(DirectBlock *db, uint64_t first, uint64_t count)
{
    if (db) {
        clear_pages(db->fresh, first, count);
        clear_pages(db->open, first, count);
    }
}

static void direct_accept(RamPlacer *p, RAMBlock *block, uint64_t first, uint64_t count)
{
    received(find_block(p, block), first, count);
}

static bool chunk_is_fresh(const unsigned long *fresh, uint64_t chunk)
{
    const unsigned long *words = fresh + chunk * POPULATE_CHUNK_PAGES / BITS_PER_LONG;

    for (unsigned i = 0; i < POPULATE_CHUNK_PAGES / BITS_PER_LONG; i++) {
        if (~__atomic_load_n(&words[i], __ATOMIC_RELAXED)) {
            return false;
        }
    }
    return true;
}

/* A huge page at a time, by whoever comes first; several channels come to different ones. */
static void populate_for_run(RAMBlock *block, DirectBlock *db, uint64_t first, uint64_t count)
{
    uint64_t whole = ram_block_pages(block) / POPULATE_CHUNK_PAGES;
    uint64_t chunk = first / POPULATE_CHUNK_PAGES;

    for (; chunk < whole && chunk * POPULATE_CHUNK_PAGES < first + count; chunk++) {
        if (chunk_is_fresh(db->fresh, chunk) && set_bit_atomic(chunk, db->claimed)) {
            ram_block_populate(block, (chunk * POPULATE_CHUNK_PAGES) << TARGET_PAGE_BITS,
                               POPULATE_CHUNK_PAGES << TARGET_PAGE_BITS);
        }
    }
}

static void *direct_direct(RamPlacer *p, RAMBlock *block, uint64_t first, uint64_t count)
{
    DirectBlock *db = find_block(p, block);

    if (db && db->fresh && count >= STREAM_PAGES) {
        populate_for_run(block, db, first, count);
    }
    received(db, first, count);
    return page_host(block, first);
}

static bool direct_place_run(RamPlacer *p, QEMUFile *f, RAMBlock *block, uint64_t first,
                             uint64_t count, GError **errp)
{
    direct_accept(p, block, first, count);
    return qemu_get_buffer_into(f, page_host(block, first), count << TARGET_PAGE_BITS) ||
           qemu_file_check(f, errp);
}

static bool direct_place_fill(RamPlacer *p, RAMBlock *block, uint64_t first, uint64_t count,
                              uint8_t fill, GError **errp)
{
    DirectBlock *db = find_block(p, block);
    const unsigned long *fresh = db ? db->fresh : NULL;
    uint64_t end = first + count;

    if (fill) {
        received(db, first, count);
        memset(page_host(block, first), fill, count << TARGET_PAGE_BITS);
        return true;
    }
    for (uint64_t page = first;; page++) {
        uint8_t *host;

        page = fresh ? find_next_zero_bit(fresh, end, page) : page;
        if (page >= end) {
            return true;
        }
        host = page_host(block, page);
        if (!buffer_is_zero(host, TARGET_PAGE_SIZE)) {
            memset(host, 0, TARGET_PAGE_SIZE);
        }
    }
}

/* Populate the chunks that start inside [first, first + count). */
static void populate(RamPlacer *p, RAMBlock *block, const unsigned long *fresh, uint64_t first,
                     uint64_t count)
{
    DirectPlacer *d = container_of(p, DirectPlacer, base);
    uint64_t chunk = DIV_ROUND_UP(first, POPULATE_CHUNK_PAGES);

    for (; chunk * POPULATE_CHUNK_PAGES < first + count; chunk++) {
        ram_populate_reach(d->populate, block, chunk, fresh);
    }
}

static uint64_t direct_offer(RamPlacer *p, RAMBlock *block, uint64_t first, uint64_t max,
                             uint8_t **host)
{
    const DirectBlock *db = find_block(p, block);
    uint64_t n = db && db->open ? find_next_zero_bit(db->open, first + max, first) - first : 0;

    if (db && db->fresh && n >= STREAM_PAGES) {
        populate(p, block, db->fresh, first, n);
    }
    *host = page_host(block, first);
    return n;
}

static void direct_retract(RamPlacer *p, RAMBlock *block, uint64_t first, uint64_t bytes)
{
    memset(page_host(block, first), 0, bytes);
    ram_populate_pause(container_of(p, DirectPlacer, base)->populate);
}

static void direct_cleanup(RamPlacer *p)
{
    DirectPlacer *d = container_of(p, DirectPlacer, base);

    ram_populate_free(d->populate);
    for (unsigned i = 0; i < d->n; i++) {
        g_free(d->blocks[i].fresh);
        g_free(d->blocks[i].open);
        g_free(d->blocks[i].claimed);
    }
    g_free(d);
}

static const RamPlacerOps direct_ops = {
    .name = "direct",
    .place_run = direct_place_run,
    .place_fill = direct_place_fill,
    .direct = direct_direct,
    .offer = direct_offer,
    .accept = direct_accept,
    .retract = direct_retract,
    .cleanup = direct_cleanup,
};

RamPlacer *ram_placer_direct_new(RAMList *list)
{
    DirectPlacer *d;
    unsigned n = 0;

    RAMBLOCK_FOREACH_MIGRATABLE (block, list) {
        n++;
    }
    d = g_malloc0(sizeof(*d) + n * sizeof(DirectBlock));
    d->base.ops = &direct_ops;
    d->populate = ram_populate_new();
    RAMBLOCK_FOREACH_MIGRATABLE (block, list) {
        DirectBlock *db = &d->blocks[d->n++];

        db->block = block;
        db->fresh = bitmap_try_new(block->max_length >> TARGET_PAGE_BITS);
        db->open = bitmap_try_new(block->max_length >> TARGET_PAGE_BITS);
        db->claimed = bitmap_new(block->max_length / TARGET_PAGE_SIZE / POPULATE_CHUNK_PAGES + 1);
        if (db->fresh) {
            ram_block_find_untouched(block, 0, ram_block_pages(block), db->fresh);
        }
        if (db->open) {
            bitmap_set(db->open, 0, block->max_length >> TARGET_PAGE_BITS);
        }
    }
    return &d->base;
}
