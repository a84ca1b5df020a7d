/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "memory/flat-view.h"

static void emit(GArray *out, MemoryRegion *mr, hwaddr first, hwaddr last)
{
    FlatRange r = {.first = first, .last = last, .mr = mr, .offset = first - mr->addr};
    bool direct = mr->kind == REGION_RAM || mr->kind == REGION_ROM ||
                  (mr->kind == REGION_ROMD && mr->romd_mode);

    if (direct) {
        r.host = mr->block->host + mr->block_offset + r.offset;
        r.writable = mr->kind == REGION_RAM && !(mr->block->flags & RAM_READONLY);
    }
    g_array_append_val(out, r);
}

static int by_address(gconstpointer a, gconstpointer b)
{
    const FlatRange *ra = a, *rb = b;

    return ra->first < rb->first ? -1 : ra->first > rb->first;
}

/* Add the parts of @mr that none of the @n sorted ranges covers yet. */
static void add_uncovered(GArray *out, MemoryRegion *mr)
{
    hwaddr pos = mr->addr, last = mr->addr + (mr->size - 1);
    guint n = out->len;

    for (guint i = 0; i < n; i++) {
        hwaddr first_i = g_array_index(out, FlatRange, i).first;
        hwaddr last_i = g_array_index(out, FlatRange, i).last;

        if (last_i < pos) {
            continue;
        }
        if (first_i > last) {
            break;
        }
        if (first_i > pos) {
            emit(out, mr, pos, first_i - 1);
        }
        if (last_i >= last) {
            return;
        }
        pos = last_i + 1;
    }
    emit(out, mr, pos, last);
}

static int by_precedence(gconstpointer a, gconstpointer b, gpointer order)
{
    const MemoryRegion *ra = *(MemoryRegion *const *)a, *rb = *(MemoryRegion *const *)b;
    guint ia = 0, ib = 0;

    if (ra->priority != rb->priority) {
        return ra->priority > rb->priority ? -1 : 1;
    }
    g_ptr_array_find(order, ra, &ia);
    g_ptr_array_find(order, rb, &ib);
    return ia > ib ? -1 : 1;
}

FlatView *flat_view_new(const GPtrArray *regions)
{
    g_autoptr(GPtrArray) sorted = g_ptr_array_copy((GPtrArray *)regions, NULL, NULL);
    g_autoptr(GArray) out = g_array_new(FALSE, FALSE, sizeof(FlatRange));
    FlatView *view;

    g_ptr_array_sort_with_data(sorted, by_precedence, (gpointer)regions);
    for (guint i = 0; i < sorted->len; i++) {
        add_uncovered(out, g_ptr_array_index(sorted, i));
        g_array_sort(out, by_address);
    }
    view = g_malloc(sizeof(FlatView) + out->len * sizeof(FlatRange));
    view->n = out->len;
    for (guint i = 0; i < out->len; i++) {
        view->ranges[i] = g_array_index(out, FlatRange, i);
    }
    return view;
}

unsigned flat_view_search(const FlatView *view, hwaddr addr)
{
    unsigned lo = 0, hi = view->n;

    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;

        if (view->ranges[mid].last < addr) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

bool flat_range_equal(const FlatRange *a, const FlatRange *b)
{
    return a->first == b->first && a->last == b->last && a->mr == b->mr && a->offset == b->offset &&
           a->host == b->host && a->writable == b->writable;
}
