/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Free page hints (spec 20 section 10): memory that the guest says it does not use is not sent.
 *
 * A hint is true only until the guest takes the page back, which shows in the dirty log. So hints
 * count from one reading of the log to the next and no longer: what is written after the hint is in
 * the next reading, and a hint that comes after it is dropped. They are worth most before memory is
 * sent for the first time, so there is one session, at the beginning.
 */
#ifndef GODWIT_MIGRATION_RAM_HINTS_H
#define GODWIT_MIGRATION_RAM_HINTS_H

#include "migration/ram/dirty.h"

typedef struct RamHints RamHints;

RamHints *ram_hints_new(void);
void ram_hints_free(RamHints *h);

/* From now on hints count. Big lock. */
void ram_hints_open(RamHints *h);
/* @block will not be read from page @first on for @count pages. False: too late, or too many; the
 * guest need not go on. Any thread. */
bool ram_hints_add(RamHints *h, RAMBlock *block, uint64_t first, uint64_t count);
/* The guest has no more. Any thread. */
void ram_hints_finish(RamHints *h);

/* May more come, and is it worth to put off the next reading of the log? Any thread. */
bool ram_hints_expected(RamHints *h);
/* Is there one to apply? Any thread. */
bool ram_hints_pending(const RamHints *h);
/* Take what was hinted out of @d; not between a peek of the scanner and its take. Returns how many
 * pages that saves. Migration thread. */
uint64_t ram_hints_apply(RamHints *h, DirtyMap *d);
/* No more; those that came so far are applied. True: it was open. Migration thread, in front of
 * each reading of the log. */
bool ram_hints_close(RamHints *h);

#endif
