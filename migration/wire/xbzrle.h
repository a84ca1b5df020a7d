/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The body of an XBZRLE record (spec 20 section 8): what changed in a page.
 *
 *   body := ( equal-run changed-run )+     equal-run := len      changed-run := len byte{len}
 *   len  := one byte below 0x80, or two with the low seven bits in the first (0x80 set)
 *
 * The output is canonical: maximal runs, the last equal run left out, an equal run of 0 only at
 * the start. Pure functions; nothing is read or written outside the given bytes.
 */
#ifndef GODWIT_MIGRATION_WIRE_XBZRLE_H
#define GODWIT_MIGRATION_WIRE_XBZRLE_H

#include "util/bitmap.h"

#define XBZRLE_PAGE 4096

/* One bit per byte of a page: differs. */
typedef struct {
    unsigned long bits[XBZRLE_PAGE / BITS_PER_LONG];
} XbzrleDiff;

/*
 * Bring @copy up to date with @live and note in @diff which bytes changed. Each byte of @live is
 * read once: it may be written meanwhile, and @copy is what was seen. False: nothing differs.
 */
bool xbzrle_update(uint8_t copy[XBZRLE_PAGE], const uint8_t live[XBZRLE_PAGE], XbzrleDiff *diff);

/* Encode the bytes of @page that @diff names; at least one. Returns the length, or -1 if it does
 * not fit into @out (at most a page). */
int xbzrle_encode(const uint8_t page[XBZRLE_PAGE], const XbzrleDiff *diff,
                  uint8_t out[XBZRLE_PAGE]);

/* Apply @len bytes of body to @page; false: not a body. @page may then be changed in part. */
bool xbzrle_decode(uint8_t page[XBZRLE_PAGE], const uint8_t *body, size_t len);

/* ---- for tests and benchmarks ---- */

/* Implementations of xbzrle_update() that this CPU has, fastest first; NULL behind the last. */
const char *xbzrle_update_name(unsigned i);
bool xbzrle_update_with(unsigned i, uint8_t copy[XBZRLE_PAGE], const uint8_t live[XBZRLE_PAGE],
                        XbzrleDiff *diff);

#endif
