/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages of a running guest: from a channel's records into memory that somebody may be waiting for.
 *
 * Small pages are collected as long as the next one has arrived already and follows the last, and
 * then placed with one call of the kernel: runs cost half of single pages, and nobody waits for
 * bytes that are still on their way. Huge pages are collected until they are whole.
 */
#ifndef GODWIT_MIGRATION_POSTCOPY_PLACE_H
#define GODWIT_MIGRATION_POSTCOPY_PLACE_H

#include "migration/postcopy/blocktime.h"
#include "migration/postcopy/pages.h"
#include "migration/qemu-file.h"

/* Where pages go; shared by all channels and the fault thread. */
typedef struct {
    PostcopyPages pages;
    int uffd;              /* -1: not listening */
    uint64_t largest_page; /* of all blocks */
    uint8_t *zeroes;       /* of largest_page bytes if a block cannot do without, else NULL */
    PostcopyBlocktime *blocktime;   /* NULL: nobody wants to know */
    void (*complete)(void *opaque); /* the last missing page has come; any thread; or NULL */
    void *opaque;
} PostcopyPlace;

/* Bytes for whole host pages, at @src; NULL: zeroes. Wakes who waits. Any thread. */
bool postcopy_place(PostcopyPlace *p, PostcopyBlock *pb, uint64_t first, uint64_t count,
                    const uint8_t *src, GError **errp);

/* One channel; one thread at a time. */
typedef struct PostcopyLoader PostcopyLoader;

/* @background: nobody waits for what comes there; it makes way for who does. NULL and *errp: no
 * memory for a page. */
PostcopyLoader *postcopy_loader_new(PostcopyPlace *p, bool background, GError **errp);
void postcopy_loader_free(PostcopyLoader *l);
/* Records up to and including EOS. */
bool postcopy_loader_run(PostcopyLoader *l, QEMUFile *f, GError **errp);
/* The channel is gone: what was begun will come again from its start. */
void postcopy_loader_reset(PostcopyLoader *l);

#endif
