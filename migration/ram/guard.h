/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory as it was at one moment, while the guest goes on writing it: memory is protected
 * against writing, and what is about to change is copied first.
 *
 *   chunk (64 KiB):  guarded --sender claims--> claimed --has left, released--> free
 *                       |
 *                       +--somebody writes: copied, protection taken off-------> free
 *
 * A writer waits for a copy of 64 KiB, not for the channel, as long as there is room for copies
 * (32 MiB). Pages that were untouched at the moment are zero and need no guard.
 */
#ifndef GODWIT_MIGRATION_RAM_GUARD_H
#define GODWIT_MIGRATION_RAM_GUARD_H

#include "memory/ramblock.h"

typedef struct RamGuard RamGuard;

#define GUARD_CHUNK_PAGES UINT64_C(16)

typedef struct {
    RAMBlock *block;
    uint64_t first, count; /* pages */
    const uint8_t *bytes;  /* untouched pages are not in it: see ram_guard_untouched() */
} GuardCopy;

/* Can memory be guarded at all? False and *errp: not by this kernel. */
bool ram_guard_possible(GError **errp);
/* All migratable blocks but ROMs and ignored ones. NULL and *errp. Big lock. */
RamGuard *ram_guard_new(RAMList *list, bool ignore_shared, GError **errp);
/* Now is the moment; the guest stands still, big lock. False: nothing is protected. */
bool ram_guard_protect(RamGuard *g, GError **errp);

/* ---- the sender's thread ---- */

/* Old contents of a chunk that has been written, the oldest first; false: none waits. Good until
 * ram_guard_copies_left(). */
bool ram_guard_next_copy(RamGuard *g, GuardCopy *copy);
/* All copies seen so far have left the process. */
void ram_guard_copies_left(RamGuard *g);
/* The block and page that a writer, going through memory in order, will get to next: good to claim
 * before it does. NULL: nobody got anywhere since the last call. */
RAMBlock *ram_guard_ahead(RamGuard *g, uint64_t *first);
/*
 * Pages from @first on that may be sent from guest memory, at most @max: they stand still until
 * released. 0: the chunk of @first was copied, or is being. Ends at a chunk.
 */
uint64_t ram_guard_claim(RamGuard *g, RAMBlock *block, uint64_t first, uint64_t max);
/* All that was claimed has left the process. */
bool ram_guard_release(RamGuard *g, GError **errp);
/* How many pages from @first on, at most @max, were all untouched at the moment, or all not. */
uint64_t ram_guard_same(const RamGuard *g, const RAMBlock *block, uint64_t first, uint64_t max,
                        bool *untouched);
/* Is no copy under way or waiting? Then everything that was not claimed has been seen. */
bool ram_guard_quiet(RamGuard *g);
/* What failed while copying, if anything. */
bool ram_guard_check(RamGuard *g, GError **errp);

/* Protection off, everybody goes on. NULL is fine. */
void ram_guard_free(RamGuard *g);

#endif
