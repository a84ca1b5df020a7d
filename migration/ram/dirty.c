/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/ram/dirty.h"

/* Rates over less than this are noise (spec 20 section 6). */
#define PERIOD_US G_USEC_PER_SEC

static bool add_block(DirtyMap *d, RAMBlock *block, GError **errp)
{
    uint64_t max_pages = block->max_length >> TARGET_PAGE_BITS;
    DirtyBlock *db = &d->blocks[d->n];

    db->block = block;
    db->length = block->used_length;
    db->map = bitmap_try_new(max_pages);
    if (!db->map) {
        error_setg(errp, "not enough memory for the migration bitmap of RAM block '%s'",
                   block->idstr);
        return false;
    }
    d->n++;
    bitmap_set(db->map, 0, ram_block_pages(block));
    d->dirty_pages += ram_block_pages(block);
    d->total_bytes += block->used_length;
    return true;
}

bool dirty_map_start(DirtyMap *d, RAMList *list, bool ignore_shared, GError **errp)
{
    unsigned n = 0;

    RAMBLOCK_FOREACH (block, list) {
        n += !ram_block_ignored(block, ignore_shared);
    }
    d->list = list;
    d->blocks = g_new0(DirtyBlock, n);
    RAMBLOCK_FOREACH (block, list) {
        if (!ram_block_ignored(block, ignore_shared) && !add_block(d, block, errp)) {
            return false;
        }
    }
    if (!dirty_log_start(list, DIRTY_CLIENT_MIGRATION, errp)) {
        return false;
    }
    d->logging = true;
    d->period_start_us = g_get_monotonic_time();
    return true;
}

uint64_t dirty_map_sync(DirtyMap *d)
{
    int64_t now = g_get_monotonic_time();
    uint64_t found = 0;

    for (unsigned i = 0; i < d->n; i++) {
        found += dirty_log_sync_block(d->blocks[i].block, DIRTY_CLIENT_MIGRATION, d->blocks[i].map);
    }
    dirty_log_barrier(d->list);
    d->dirty_pages += found;
    d->period_pages += found;
    if (now - d->period_start_us > PERIOD_US) {
        d->pages_per_second = d->period_pages * G_USEC_PER_SEC / (now - d->period_start_us);
        d->period_pages = 0;
        d->period_start_us = now;
    }
    return found;
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
    }
    g_clear_pointer(&d->blocks, g_free);
    d->n = 0;
}
