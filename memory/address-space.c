/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Regions, the published flat view, and listeners.
 *
 * Readers look up a range without a lock: they count themselves into one of READER_SLOTS cache
 * lines, chosen by thread, read the view pointer, copy one range out and leave. A writer (big lock)
 * publishes the new view, then waits until it has seen every slot empty once; whoever enters later
 * sees the new view, so the old one can be freed. Read sections are a binary search long, so the
 * wait is too.
 */
#include <pthread.h>
#include <sched.h>
#include "memory/address-space.h"
#include "memory/flat-view.h"

#define READER_SLOTS 64

typedef struct {
    unsigned readers;
    char pad[60];
} __attribute__((aligned(64))) ReaderSlot;

struct AddressSpace {
    ReaderSlot slots[READER_SLOTS];
    FlatView *view; /* atomic */
    RAMList *ram;
    GPtrArray *regions; /* MemoryRegion, in order of addition */
    MemoryListener *listeners;
};

static ReaderSlot *reader_slot(AddressSpace *as)
{
    /* Fibonacci hashing: thread descriptors differ in a few middle bits. */
    uint64_t h = (uint64_t)(uintptr_t)pthread_self() * UINT64_C(0x9E3779B97F4A7C15);

    return &as->slots[h >> 58];
}

static FlatView *view_read_begin(AddressSpace *as, ReaderSlot **slot)
{
    *slot = reader_slot(as);
    __atomic_fetch_add(&(*slot)->readers, 1, __ATOMIC_SEQ_CST);
    return __atomic_load_n(&as->view, __ATOMIC_SEQ_CST);
}

static void view_read_end(ReaderSlot *slot)
{
    __atomic_fetch_sub(&slot->readers, 1, __ATOMIC_RELEASE);
}

static void wait_for_readers(AddressSpace *as)
{
    for (int i = 0; i < READER_SLOTS; i++) {
        while (__atomic_load_n(&as->slots[i].readers, __ATOMIC_SEQ_CST) != 0) {
            sched_yield();
        }
    }
}

AddressSpace *address_space_new(RAMList *ram)
{
    AddressSpace *as = g_aligned_alloc0(1, sizeof(*as), 64);

    as->ram = ram;
    as->regions = g_ptr_array_new();
    as->view = flat_view_new(as->regions);
    return as;
}

void address_space_free(AddressSpace *as)
{
    if (as) {
        g_ptr_array_unref(as->regions);
        g_free(as->view);
        g_aligned_free(as);
    }
}

RAMList *address_space_ram(AddressSpace *as)
{
    return as->ram;
}

static uint64_t range_len(const FlatRange *r)
{
    /* The whole 64-bit space in one range would not fit: one byte less is close enough. */
    return r->last - r->first == UINT64_MAX ? UINT64_MAX : r->last - r->first + 1;
}

static void notify(AddressSpace *as, const FlatRange *r, bool add)
{
    for (MemoryListener *l = as->listeners; l; l = l->next) {
        if (add && l->region_add) {
            l->region_add(l, r->mr, r->first, range_len(r), r->offset);
        } else if (!add && l->region_del) {
            l->region_del(l, r->mr, r->first, range_len(r), r->offset);
        }
    }
}

static bool view_has(const FlatView *view, const FlatRange *r)
{
    unsigned i = flat_view_search(view, r->first);

    return i < view->n && flat_range_equal(&view->ranges[i], r);
}

/* Rebuild, publish, tell the listeners what went and what came. */
static void update_view(AddressSpace *as)
{
    FlatView *fresh = flat_view_new(as->regions);
    g_autofree FlatView *old = __atomic_exchange_n(&as->view, fresh, __ATOMIC_SEQ_CST);

    wait_for_readers(as);
    for (unsigned i = 0; i < old->n; i++) {
        if (!view_has(fresh, &old->ranges[i])) {
            notify(as, &old->ranges[i], false);
        }
    }
    for (unsigned i = 0; i < fresh->n; i++) {
        if (!view_has(old, &fresh->ranges[i])) {
            notify(as, &fresh->ranges[i], true);
        }
    }
    for (MemoryListener *l = as->listeners; l; l = l->next) {
        if (l->commit) {
            l->commit(l);
        }
    }
}

void memory_region_init_io(MemoryRegion *mr, const char *name, uint64_t size,
                           const MemoryRegionOps *ops, void *opaque)
{
    *mr =
        (MemoryRegion){.name = name, .kind = REGION_IO, .size = size, .ops = ops, .opaque = opaque};
}

static void init_block(MemoryRegion *mr, const char *name, MemoryRegionKind kind, RAMBlock *block)
{
    *mr = (MemoryRegion){.name = name, .kind = kind, .size = block->max_length, .block = block};
}

void memory_region_init_ram(MemoryRegion *mr, const char *name, RAMBlock *block)
{
    init_block(mr, name, REGION_RAM, block);
}

void memory_region_init_rom(MemoryRegion *mr, const char *name, RAMBlock *block)
{
    init_block(mr, name, REGION_ROM, block);
}

void memory_region_init_romd(MemoryRegion *mr, const char *name, RAMBlock *block,
                             const MemoryRegionOps *ops, void *opaque)
{
    init_block(mr, name, REGION_ROMD, block);
    mr->ops = ops;
    mr->opaque = opaque;
    mr->romd_mode = true;
}

void address_space_add(AddressSpace *as, MemoryRegion *mr, hwaddr addr, int priority)
{
    g_assert(!mr->as && mr->size > 0 && addr + (mr->size - 1) >= addr);
    mr->as = as;
    mr->addr = addr;
    mr->priority = priority;
    if (mr->block) {
        mr->block->gpa = addr;
    }
    g_ptr_array_add(as->regions, mr);
    update_view(as);
}

void address_space_del(AddressSpace *as, MemoryRegion *mr)
{
    g_assert(mr->as == as);
    g_ptr_array_remove(as->regions, mr);
    mr->as = NULL;
    update_view(as);
}

void memory_region_set_romd(MemoryRegion *mr, bool romd_mode)
{
    if (mr->romd_mode != romd_mode) {
        mr->romd_mode = romd_mode;
        if (mr->as) {
            update_view(mr->as);
        }
    }
}

void address_space_translate(AddressSpace *as, hwaddr addr, MemoryTranslation *out)
{
    ReaderSlot *slot;
    const FlatView *view = view_read_begin(as, &slot);
    unsigned i = flat_view_search(view, addr);
    const FlatRange *r = &view->ranges[i];

    if (i == view->n || r->first > addr) {
        uint64_t gap = i == view->n ? UINT64_MAX - addr : r->first - addr;

        *out = (MemoryTranslation){.len = MAX(gap, 1)};
    } else {
        hwaddr delta = addr - r->first;

        *out = (MemoryTranslation){
            .mr = r->mr,
            .offset = r->offset + delta,
            .len = r->last - addr == UINT64_MAX ? UINT64_MAX : r->last - addr + 1,
            .host = r->host ? r->host + delta : NULL,
            .writable = r->writable,
        };
    }
    view_read_end(slot);
}

void memory_listener_register(AddressSpace *as, MemoryListener *l)
{
    MemoryListener **link = &as->listeners;

    while (*link) {
        link = &(*link)->next;
    }
    l->next = NULL;
    *link = l;
    for (unsigned i = 0; i < as->view->n; i++) {
        const FlatRange *r = &as->view->ranges[i];

        if (l->region_add) {
            l->region_add(l, r->mr, r->first, range_len(r), r->offset);
        }
    }
    if (l->commit) {
        l->commit(l);
    }
}

void memory_listener_unregister(AddressSpace *as, MemoryListener *l)
{
    MemoryListener **link = &as->listeners;

    while (*link && *link != l) {
        link = &(*link)->next;
    }
    if (*link) {
        *link = l->next;
    }
}

void address_space_foreach(AddressSpace *as,
                           void (*cb)(MemoryRegion *mr, hwaddr addr, uint64_t len, void *opaque),
                           void *opaque)
{
    for (unsigned i = 0; i < as->view->n; i++) {
        const FlatRange *r = &as->view->ranges[i];

        cb(r->mr, r->first, range_len(r), opaque);
    }
}
