/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that comes out of a mapped-ram file when it is touched: the guest runs at once, a page it
 * touches is read then, and prefetchers read the rest meanwhile.
 *
 *   chunk (128 KiB):   absent --taken by whoever is first--> coming --bytes in place--> here
 *
 * A chunk whose pages are all zero in the file is never fetched: whoever touches it gets zero
 * pages, and when all others are here the kernel is told to do that by itself.
 *
 * Bytes that cannot be read are never made up: who touched them sleeps until they can be.
 */
#ifndef GODWIT_MIGRATION_RAM_LAZY_H
#define GODWIT_MIGRATION_RAM_LAZY_H

#include "io/channel.h"
#include "memory/ramblock.h"

typedef struct RamLazy RamLazy;

/* Called by threads of the RamLazy, without locks. */
typedef struct {
    /* Thread @thread (0: not known) sleeps, @err (callee frees) says why. */
    void (*stuck)(void *opaque, uint32_t thread, GError *err);
    /* Shall it be tried again? Asked now and then. */
    bool (*retry)(void *opaque);
    /* The bytes have come after all; it goes on in a moment. */
    void (*unstuck)(void *opaque, uint32_t thread);
    /* All memory is here. */
    void (*complete)(void *opaque, uint64_t bytes_read);
} RamLazyEvents;

/* Can @block's memory come lazily? Private anonymous memory of small pages only. */
bool ram_lazy_can(const RAMBlock *block);
/* Takes a reference of @pages, the file. @max_blocks: how many will be added at most. NULL and
 * *errp: the kernel has no userfaultfd for us, or there are no threads. */
RamLazy *ram_lazy_new(QIOChannel *pages, unsigned max_blocks, const RamLazyEvents *events,
                      void *opaque, GError **errp);
/* From now on @block's memory is that of the file: page p at @pages_offset + 4096 * p if its bit in
 * @map (taken over) is set, else zero. What it held is dropped. One thread. */
bool ram_lazy_add(RamLazy *l, RAMBlock *block, unsigned long *map, uint64_t pages_offset,
                  GError **errp);
/* Nothing more will be added: read all of it, with @threads threads. */
void ram_lazy_prefetch(RamLazy *l, unsigned threads);
/* Whoever still sleeps goes on with zeros: only when complete, or the guest is given up. NULL is
 * fine. */
void ram_lazy_free(RamLazy *l);

#endif
