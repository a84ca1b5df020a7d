/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is still to be sent: one bit per page of every block that takes part (spec 20 section 6).
 * Setup and teardown with the big lock; otherwise the migration thread alone.
 */
#ifndef GODWIT_MIGRATION_RAM_DIRTY_H
#define GODWIT_MIGRATION_RAM_DIRTY_H

#include "memory/dirty-log.h"

typedef struct {
    RAMBlock *block;
    uint64_t length;    /* used_length at the start */
    unsigned long *map; /* set: to be sent */
    /* Of each word of @map (64 pages): how often it was written lately, and from that one bit: it
     * will be again before long. */
    uint8_t *heat;
    unsigned long *hot;
    unsigned long *written; /* one bit per word: was since the start */
    unsigned long *passed;  /* one bit per word: passed over while it was dirty */
} DirtyBlock;

typedef struct {
    RAMList *list;
    DirtyBlock *blocks; /* in list order */
    unsigned n;
    uint64_t total_bytes;   /* of all blocks */
    uint64_t dirty_pages;   /* bits set in all maps */
    uint64_t hot_words;     /* bits set in all hot maps */
    uint64_t spared_pages;  /* passed over and then written again: sent once less */
    unsigned long *scratch; /* of the largest block */
    bool logging;
    /* Rate of dirtying: pages that became dirty since period_start_us. */
    int64_t period_start_us;
    uint64_t period_pages;
    uint64_t pages_per_second; /* of the last whole period */
    /* The same of pages that were written, dirty already or not: what would become dirty if all
     * were clean. */
    uint64_t period_written, written_per_second;
    uint64_t period_cold, cold_per_second; /* and of these, outside hot memory */
    bool rate_known;                       /* one is over */
} DirtyMap;

/* Does @block take part? x-ignore-shared leaves shared memory where it is. */
static inline bool ram_block_ignored(const RAMBlock *block, bool ignore_shared)
{
    return !(block->flags & RAM_MIGRATABLE) || (ignore_shared && (block->flags & RAM_SHARED));
}

/* How many pages have never been touched; they cost nothing to send. Slow for large memory. */
uint64_t dirty_map_count_untouched(DirtyMap *d);
/* Everything dirty, logging on. *@d is zeroed memory; on failure dirty_map_stop() is still due. */
bool dirty_map_start(DirtyMap *d, RAMList *list, bool ignore_shared, GError **errp);
/* Add what was written since the last sync; afterwards contents are at least as new as the bits.
 * Returns how many pages became dirty. */
uint64_t dirty_map_sync(DirtyMap *d);
/* These pages are to be sent again, although nobody has written them. */
void dirty_map_add(DirtyMap *d, const RAMBlock *block, uint64_t first, uint64_t count);
/* @count pages of @block from @first on need not be sent until they are written again; returns how
 * many would have been. */
uint64_t dirty_map_forget(DirtyMap *d, const RAMBlock *block, uint64_t first, uint64_t count);
/* A block that changed its size since the start ends the migration (spec 20 section 10). */
bool dirty_map_check_sizes(const DirtyMap *d, GError **errp);
/* Logging off, memory back. Also after a failed start and twice. */
void dirty_map_stop(DirtyMap *d);

#endif
