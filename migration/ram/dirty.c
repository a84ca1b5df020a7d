/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/ram/dirty.h"

/* Rates over less than this are noise (spec 20 section 6). */
#define PERIOD_US G_USEC_PER_SEC

/* A word of the map is hot when it was written twice in a row, and as long as it is now and then.
 */
#define HEAT_WRITTEN 3
#define HEAT_MAX     9
#define HEAT_HOT     6

static bool add_block(DirtyMap *d, RAMBlock *block, GError **errp)
{
    uint64_t max_pages = block->max_length >> TARGET_PAGE_BITS;
    DirtyBlock *db = &d->blocks[d->n];

    db->block = block;
    db->length = block->used_length;
    db->map = bitmap_try_new(max_pages);
    db->heat = g_try_malloc0(MAX(BITS_TO_LONGS(max_pages), 1));
    db->hot = bitmap_try_new(BITS_TO_LONGS(max_pages));
    db->written = bitmap_try_new(BITS_TO_LONGS(max_pages));
    db->passed = bitmap_try_new(BITS_TO_LONGS(max_pages));
    d->n++; /* dirty_map_stop() frees what there is */
    if (!db->map || !db->heat || !db->hot || !db->written || !db->passed) {
        error_setg(errp, "not enough memory for the migration bitmap of RAM block '%s'",
                   block->idstr);
        return false;
    }
    bitmap_set(db->map, 0, ram_block_pages(block));
    d->dirty_pages += ram_block_pages(block);
    d->total_bytes += block->used_length;
    return true;
}

bool dirty_map_start(DirtyMap *d, RAMList *list, bool ignore_shared, GError **errp)
{
    uint64_t longest = 0;
    unsigned n = 0;

    RAMBLOCK_FOREACH (block, list) {
        longest = MAX(longest, block->max_length);
        n += !ram_block_ignored(block, ignore_shared);
    }
    d->list = list;
    d->blocks = g_new0(DirtyBlock, n);
    RAMBLOCK_FOREACH (block, list) {
        if (!ram_block_ignored(block, ignore_shared) && !add_block(d, block, errp)) {
            return false;
        }
    }
    d->scratch = bitmap_try_new(longest >> TARGET_PAGE_BITS);
    if (!d->scratch) {
        error_setg(errp, "not enough memory for the migration bitmaps");
        return false;
    }
    if (!dirty_log_start(list, DIRTY_CLIENT_MIGRATION, errp)) {
        return false;
    }
    d->logging = true;
    d->period_start_us = g_get_monotonic_time();
    return true;
}

/* Word @w of the block was written, or not, since the last sync: how likely is it to be again? */
static void note_heat(DirtyMap *d, DirtyBlock *db, uint64_t w, bool written)
{
    uint8_t heat = db->heat[w];
    bool was_hot = heat >= HEAT_HOT, is_hot;

    if (!written && !heat) {
        return;
    }
    db->heat[w] = heat = written ? MIN(heat + HEAT_WRITTEN, HEAT_MAX) : heat - 1;
    is_hot = heat >= HEAT_HOT;
    if (is_hot != was_hot) {
        db->hot[BIT_WORD(w)] ^= BIT_MASK(w);
        d->hot_words += is_hot ? 1 : -1;
    }
}

static uint64_t sync_block(DirtyMap *d, DirtyBlock *db)
{
    uint64_t words = BITS_TO_LONGS(ram_block_pages(db->block)), found = 0;

    dirty_log_sync_block(db->block, DIRTY_CLIENT_MIGRATION, d->scratch);
    for (uint64_t w = 0; w < words; w++) {
        unsigned long written = d->scratch[w];

        note_heat(d, db, w, written);
        if (!written) {
            continue;
        }
        d->scratch[w] = 0;
        set_bit(w, db->written);
        d->period_written += __builtin_popcountl(written);
        d->period_cold += test_bit(w, db->hot) ? 0 : __builtin_popcountl(written);
        if (test_bit(w, db->passed)) {
            clear_bit(w, db->passed);
            d->spared_pages += __builtin_popcountl(written & db->map[w]);
        }
        found += __builtin_popcountl(written & ~db->map[w]);
        db->map[w] |= written;
    }
    return found;
}

uint64_t dirty_map_sync(DirtyMap *d)
{
    int64_t now = g_get_monotonic_time();
    uint64_t found = 0;

    dirty_log_collect(d->list);
    for (unsigned i = 0; i < d->n; i++) {
        found += sync_block(d, &d->blocks[i]);
    }
    dirty_log_barrier(d->list);
    d->dirty_pages += found;
    d->period_pages += found;
    if (now - d->period_start_us > PERIOD_US) {
        d->pages_per_second = d->period_pages * G_USEC_PER_SEC / (now - d->period_start_us);
        d->written_per_second = d->period_written * G_USEC_PER_SEC / (now - d->period_start_us);
        d->cold_per_second = d->period_cold * G_USEC_PER_SEC / (now - d->period_start_us);
        d->period_pages = d->period_written = d->period_cold = 0;
        d->rate_known = true;
        d->period_start_us = now;
    }
    return found;
}

void dirty_map_add(DirtyMap *d, const RAMBlock *block, uint64_t first, uint64_t count)
{
    for (unsigned i = 0; i < d->n; i++) {
        DirtyBlock *db = &d->blocks[i];

        if (db->block == block) {
            d->dirty_pages += count - bitmap_count(db->map, first, count);
            bitmap_set(db->map, first, count);
        }
    }
}

uint64_t dirty_map_forget(DirtyMap *d, const RAMBlock *block, uint64_t first, uint64_t count)
{
    uint64_t forgotten = 0;

    for (unsigned i = 0; i < d->n; i++) {
        DirtyBlock *db = &d->blocks[i];
        uint64_t pages = db->block == block ? ram_block_pages(block) : 0;
        uint64_t end = first < pages ? first + MIN(count, pages - first) : 0;

        for (uint64_t page = first; (page = find_next_bit(db->map, end, page)) < end;) {
            uint64_t clean = find_next_zero_bit(db->map, end, page);

            bitmap_clear(db->map, page, clean - page);
            forgotten += clean - page;
            page = clean;
        }
    }
    d->dirty_pages -= forgotten;
    return forgotten;
}

uint64_t dirty_map_count_untouched(DirtyMap *d)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < d->n; i++) {
        uint64_t pages = ram_block_pages(d->blocks[i].block);

        ram_block_find_untouched(d->blocks[i].block, 0, pages, d->scratch);
        for (uint64_t w = 0; w < BITS_TO_LONGS(pages); w++) {
            count += __builtin_popcountl(d->scratch[w]);
            d->scratch[w] = 0; /* as it was */
        }
    }
    return count;
}

bool dirty_map_check_sizes(const DirtyMap *d, GError **errp)
{
    for (unsigned i = 0; i < d->n; i++) {
        if (d->blocks[i].length != d->blocks[i].block->used_length) {
            error_setg(errp, "RAM block '%s' resized during precopy.", d->blocks[i].block->idstr);
            return false;
        }
    }
    return true;
}

void dirty_map_stop(DirtyMap *d)
{
    if (d->logging) {
        dirty_log_stop(d->list, DIRTY_CLIENT_MIGRATION);
        d->logging = false;
    }
    for (unsigned i = 0; i < d->n; i++) {
        g_free(d->blocks[i].map);
        g_free(d->blocks[i].heat);
        g_free(d->blocks[i].hot);
        g_free(d->blocks[i].written);
        g_free(d->blocks[i].passed);
    }
    g_clear_pointer(&d->blocks, g_free);
    g_clear_pointer(&d->scratch, g_free);
    d->n = 0;
}
