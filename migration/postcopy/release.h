/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Give memory back on the source as soon as the destination has it (capability release-ram).
 *
 *   at the switch   note what is clean; once the guest is theirs, that goes at once
 *   background      pages are noted while they are queued, and go when the channel has taken them
 *   urgent          the channel has taken them: they go at once
 *
 * What is gone cannot be sent a second time: no recovery, and no page on two channels. Blocks that
 * cannot be discarded (files on disk, private mappings of files) stay as they are.
 */
#ifndef GODWIT_MIGRATION_POSTCOPY_RELEASE_H
#define GODWIT_MIGRATION_POSTCOPY_RELEASE_H

#include "migration/ram/dirty.h"

typedef struct PostcopyRelease PostcopyRelease;

/* Everything but what is dirty in @dirty now has been sent. @dirty outlives it. */
PostcopyRelease *postcopy_release_new(const DirtyMap *dirty);
void postcopy_release_free(PostcopyRelease *r);
/* The guest runs at the destination: release what was sent before the switch. Once, before all
 * below. Migration thread. */
void postcopy_release_begin(PostcopyRelease *r);
/* Has it begun? Any thread. */
bool postcopy_release_begun(const PostcopyRelease *r);
/* Pages of block @db of the map, whole host pages, are queued in the main channel; true: it is time
 * to flush that. Migration thread. */
bool postcopy_release_note(PostcopyRelease *r, const DirtyBlock *db, uint64_t first,
                           uint64_t count);
/* What was noted has left. Migration thread. */
void postcopy_release_noted(PostcopyRelease *r);
/* These have left. Any thread. */
void postcopy_release_now(PostcopyRelease *r, const DirtyBlock *db, uint64_t first, uint64_t count);

#endif
