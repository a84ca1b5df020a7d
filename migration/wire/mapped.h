/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mapped-ram layout of a RAM block (docs/interop/mapped-ram.md): a header inside the block
 * list, a bitmap of pages that have data, and the pages, each at a place that never changes.
 *
 *   at                 be32 version, be64 page size, be64 bitmap offset, be64 pages offset
 *   bitmap offset      = at + 28; one bit per page in little-endian 64-bit words
 *   pages offset       the end of the bitmap rounded up to 1 MiB; page p at + p * 4096
 *   pages offset + length   the stream goes on
 *
 * All offsets count from the beginning of the file. Pure functions.
 */
#ifndef GODWIT_MIGRATION_WIRE_MAPPED_H
#define GODWIT_MIGRATION_WIRE_MAPPED_H

#include "util/bitmap.h"
#include "util/error.h"

#define MAPPED_HEADER_BYTES 28
#define MAPPED_VERSION      1
#define MAPPED_PAGES_ALIGN  (1 * MiB)

typedef struct {
    uint64_t bitmap_offset, pages_offset; /* both 0: the block's memory is not in the file */
} MappedLayout;

static inline uint64_t mapped_bitmap_bytes(uint64_t pages)
{
    return DIV_ROUND_UP(pages, 64) * 8;
}

/* The layout of a block of @pages pages whose header begins at @at. */
MappedLayout mapped_layout(uint64_t at, uint64_t pages);
void mapped_put_header(uint8_t buf[MAPPED_HEADER_BYTES], const MappedLayout *l);
/* The header that was read at @at; false and *errp if it cannot be that of such a block. */
bool mapped_get_header(const uint8_t buf[MAPPED_HEADER_BYTES], uint64_t at, uint64_t pages,
                       MappedLayout *l, GError **errp);
/* A bitmap's words between file and host order, in place. */
void mapped_swap_bitmap(unsigned long *map, uint64_t pages);
/* Bits behind the last page must be clear. */
bool mapped_check_bitmap(const unsigned long *map, uint64_t pages, GError **errp);

#endif
