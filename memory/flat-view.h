/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The flat view: overlapping regions resolved into an immutable, sorted array of disjoint ranges.
 * Built with the big lock held, read by anybody who keeps it alive.
 */
#ifndef GODWIT_MEMORY_FLAT_VIEW_H
#define GODWIT_MEMORY_FLAT_VIEW_H

#include "memory/address-space.h"

typedef struct {
    hwaddr first, last; /* inclusive: the top of the address space has no end */
    MemoryRegion *mr;
    hwaddr offset; /* of @first inside the region */
    uint8_t *host; /* of @first, when readable directly */
    bool writable;
} FlatRange;

typedef struct {
    unsigned n;
    FlatRange ranges[];
} FlatView;

/* @regions: MemoryRegion*, in order of addition. */
FlatView *flat_view_new(const GPtrArray *regions);
/* The range that contains @addr, or the first one above it, or view->n. */
unsigned flat_view_search(const FlatView *view, hwaddr addr);
bool flat_range_equal(const FlatRange *a, const FlatRange *b);

#endif
