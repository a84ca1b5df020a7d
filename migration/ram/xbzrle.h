/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Deltas: pages that are sent again travel as what changed since they were sent last (spec 20
 * section 8). Decided in front of the sinks.
 *
 * A cache holds what the destination has of the pages sent last. It is direct mapped; a page gives
 * way to another only when it has not been seen for two passes. What the cache holds is always
 * exactly what was sent: contents are taken from guest memory once, into the cache, and sent from
 * there.
 *
 * Migration thread only.
 */
#ifndef GODWIT_MIGRATION_RAM_XBZRLE_H
#define GODWIT_MIGRATION_RAM_XBZRLE_H

#include "migration/ram-sink.h"
#include "migration/ram/scan.h"
#include "migration/stats.h"

/* Deltas are made and sent in batches of so many pages. */
#define XBZRLE_BATCH 64

typedef struct RamXbzrle RamXbzrle;

/* How a part of a run travels. */
typedef enum {
    XBZRLE_PLAIN,  /* as if there were no deltas */
    XBZRLE_DELTAS, /* as the patches made of it; there may be fewer than pages, or none */
} XbzrleKind;

/* A cache of @bytes (a power of two >= 4096, more than @ram_bytes is not used); NULL: no memory. */
RamXbzrle *ram_xbzrle_new(uint64_t bytes, uint64_t ram_bytes, MigrationCounters *counters,
                          GError **errp);
/* NULL is fine. */
void ram_xbzrle_free(RamXbzrle *x);
/* Another size; what fits is kept. If there is no memory for it the old cache stays. */
void ram_xbzrle_resize(RamXbzrle *x, uint64_t bytes);
/* A dirty sync is done: contents age. */
void ram_xbzrle_new_pass(RamXbzrle *x);

/*
 * What becomes of the first pages of @run, at most @max: how many go the way that is put into
 * *kind. At least 1. With @last (the guest is stopped, nothing follows) nothing new is remembered.
 * *patches and what it points to are good until the next call.
 */
uint64_t ram_xbzrle_split(RamXbzrle *x, const RamRun *run, uint64_t max, bool last,
                          XbzrleKind *kind, const RamPatch **patches, unsigned *n);
/* The patches of the last split took @bytes on the wire. */
void ram_xbzrle_sent(RamXbzrle *x, uint64_t bytes);
/* @count pages from @first on were sent as zeros. */
void ram_xbzrle_zeroed(RamXbzrle *x, const RAMBlock *block, uint64_t first, uint64_t count);

/* What sending all dirty pages will take by the experience of the last pass: bytes. Looks at every
 * dirty page. */
uint64_t ram_xbzrle_cost(const RamXbzrle *x, const DirtyMap *dirty);

#endif
