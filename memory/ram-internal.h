/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of this room share and nobody else sees. */
#ifndef GODWIT_MEMORY_RAM_INTERNAL_H
#define GODWIT_MEMORY_RAM_INTERNAL_H

#include "memory/dirty-log.h"

struct RAMList {
    RAMBlock *first;
    unsigned version;       /* atomic; changes with the list */
    ram_addr_t next_offset; /* where the next block lies in the flat space of all blocks */
    unsigned dirty_clients; /* atomic bit mask of DirtyClient */
    DirtyWriteBarrier *barrier;
    void *barrier_opaque;
    DirtySource *sources;
    GPtrArray *meters; /* DirtyMeter; NULL: none */
};

/*
 * A block with what only this room needs. The bitmaps live as long as the block: a writer that read
 * dirty[client] just before the log was switched off may still set a bit, and must hit valid
 * memory.
 */
typedef struct {
    RAMBlock block;
    unsigned long *dirty_store[DIRTY_CLIENT__MAX];
} RAMBlockPriv;

static inline RAMBlockPriv *ram_block_priv(RAMBlock *block)
{
    return container_of(block, RAMBlockPriv, block);
}

/* A block added while a log is on joins it, all dirty. */
bool dirty_log_block_added(RAMBlock *block, GError **errp);

#endif
