/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two threads read where one would: which pages of a stretch of memory are zero, found out ahead of
 * the sender by a helper, and by the sender itself wherever the helper has not been yet.
 *
 * The stretch is cut into chunks, taken in order by whoever is free. The sender waits only for a
 * chunk that the helper is reading at this moment.
 *
 * An answer is as old as the reading. It may be used for a page only as long as a store since then
 * would show in the dirty log and not yet in the bits being sent: so no longer than to the next
 * sync (zero_ahead_stop()).
 */
#ifndef GODWIT_MIGRATION_RAM_ZERO_AHEAD_H
#define GODWIT_MIGRATION_RAM_ZERO_AHEAD_H

#include "util/osdep.h"

/* The longest stretch, and the unit of work. */
#define ZERO_AHEAD_PAGES UINT64_C(32768)
#define ZERO_CHUNK_PAGES 256

typedef struct ZeroAhead ZeroAhead;

/* With its helper thread, asleep; NULL if there can be none. */
ZeroAhead *zero_ahead_new(void);
/* NULL is fine. */
void zero_ahead_free(ZeroAhead *a);
/* Work on the @pages (<= ZERO_AHEAD_PAGES) at @host from now on; readable until zero_ahead_stop().
 */
void zero_ahead_start(ZeroAhead *a, const uint8_t *host, uint64_t pages);
/* Answers are void; when this returns nobody reads the stretch any more. */
void zero_ahead_stop(ZeroAhead *a);
/* How many pages from @page on, at most @max, have the same answer, and *is_zero which. At least 1;
 * may be fewer than there are. The thread that started. */
uint64_t zero_ahead_same(ZeroAhead *a, uint64_t page, uint64_t max, bool *is_zero);

#endif
