/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages that were written but hold what was sent last: recognised by a hash, and not sent again.
 *
 * A hash is only worth something if it is of exactly the bytes that went out. So a page that is
 * watched is copied once, hashed and sent from the copy. That costs about as much as a sixth of
 * sending it, which is wasted on guests that never write the same again. Therefore a few pages are
 * watched to learn whether it pays, and all of them only while it does.
 *
 * In front of the sinks, from the second round on; not with deltas, which know the same for free.
 * Migration thread only.
 */
#ifndef GODWIT_MIGRATION_RAM_UNCHANGED_H
#define GODWIT_MIGRATION_RAM_UNCHANGED_H

#include "migration/ram-sink.h"
#include "migration/ram/scan.h"

typedef struct RamUnchanged RamUnchanged;

/* For the blocks of @dirty, which outlives it. NULL: no memory, do without. */
RamUnchanged *ram_unchanged_new(const DirtyMap *dirty);
/* NULL is fine. */
void ram_unchanged_free(RamUnchanged *u);
/*
 * The first pages of @run, at most @max: how many are treated alike. *watched: as the @n patches
 * (none of unchanged ones); otherwise they go the ordinary way. At least 1. *patches are good until
 * the next call.
 */
uint64_t ram_unchanged_split(RamUnchanged *u, const RamRun *run, uint64_t max, bool *watched,
                             const RamPatch **patches, unsigned *n);
/* Pages that go another way: what was known of them is void. */
void ram_unchanged_forget(RamUnchanged *u, const RamRun *part);

#endif
