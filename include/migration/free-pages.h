/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that the guest does not use, as a device hears it from the guest (virtio-balloon), for
 * migration. Main or vCPU thread, big lock.
 */
#ifndef GODWIT_MIGRATION_FREE_PAGES_H
#define GODWIT_MIGRATION_FREE_PAGES_H

#include "migration/register.h"

typedef struct {
    /* A migration begins: ask the guest what it does not use, and call migration_free_pages() for
     * it. False: there is nobody to ask. */
    bool (*begin)(void *opaque);
    /* It does not matter any more; the guest may use all of it again. */
    void (*end)(void *opaque);
} FreePageOps;

/* One device of a VM knows; NULL: none any more. */
void migration_set_free_page_ops(Migration *m, const FreePageOps *ops, void *opaque);
/* The guest does not use these bytes of its memory, and what is in them does not matter, until it
 * writes them. False: too late, the guest need not go on. */
bool migration_free_pages(Migration *m, void *host, uint64_t bytes);
/* It has no more. */
void migration_free_pages_done(Migration *m);

/* May memory be given back to the host? Not while it is being saved as of one moment, and not while
 * it is still coming in behind the guest. */
bool migration_may_discard(Migration *m);

#endif
