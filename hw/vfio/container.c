/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a VFIO device may reach: guest RAM at its guest physical addresses, mapped and unmapped as
 * the flat view changes. ROM is mapped for reading. Registers and flash are not memory to a device.
 */
#include "hw/vfio/device.h"
#include "memory/dirty-log.h"
#include "util/log.h"

struct VFIOContainer {
    MemoryListener listener;
    VFIODevice *d;
    GError *error; /* the first failure while the listener is registered */
    bool starting, tracking;
    GArray *ranges; /* Range */
};

typedef struct {
    uint64_t iova, size;
    RAMBlock *block;
    ram_addr_t offset;
    bool writable;
} Range;

/* One answer to "which pages were written" must fit into a message. */
#define MAX_RANGE (UINT64_C(8) << 30)

static bool is_memory(const MemoryRegion *mr)
{
    return mr->kind == REGION_RAM || mr->kind == REGION_ROM;
}

/* The whole pages in [addr, addr + len). */
static bool whole_pages(hwaddr *addr, uint64_t *len, hwaddr *offset)
{
    hwaddr first = ROUND_UP(*addr, TARGET_PAGE_SIZE);
    hwaddr end = ROUND_DOWN(*addr + *len, TARGET_PAGE_SIZE);

    if (end <= first) {
        return false;
    }
    *offset += first - *addr;
    *addr = first;
    *len = end - first;
    return true;
}

/* Memory that cannot be mapped at start is an error of the device; later the guest goes on without
 * DMA to it, and the operator is told. */
static void failed(VFIOContainer *c, GError *err)
{
    if (c->starting && !c->error) {
        c->error = err;
        return;
    }
    if (!vfio_device_failed(c->d)) {
        error_report("%s: %s", c->d->name, err->message);
    }
    g_error_free(err);
}

static bool map_range(VFIOContainer *c, const Range *r)
{
    GError *err = NULL;

    if (!c->d->ops->dma_map(c->d, r->iova, r->size, r->block, r->offset, r->writable, &err)) {
        g_prefix_error(&err, "cannot map guest memory at 0x%" PRIx64 " (%s): ", r->iova,
                       r->block->idstr);
        failed(c, err);
        return false;
    }
    g_array_append_val(c->ranges, *r);
    return true;
}

static void region_add(MemoryListener *l, MemoryRegion *mr, hwaddr addr, uint64_t len,
                       hwaddr offset)
{
    VFIOContainer *c = container_of(l, VFIOContainer, listener);
    Range r;

    if (!is_memory(mr) || !whole_pages(&addr, &len, &offset) || (c->starting && c->error)) {
        return;
    }
    for (uint64_t done = 0; done < len; done += r.size) {
        r = (Range){
            .iova = addr + done,
            .size = MIN(len - done, MAX_RANGE),
            .block = mr->block,
            .offset = mr->block_offset + offset + done,
            .writable = mr->kind == REGION_RAM && !(mr->block->flags & RAM_READONLY),
        };
        if (!map_range(c, &r)) {
            return;
        }
    }
}

static void unmap_range(VFIOContainer *c, const Range *r)
{
    g_autofree uint64_t *bitmap =
        c->tracking && r->writable ? g_new0(uint64_t, DIV_ROUND_UP(r->size >> TARGET_PAGE_BITS, 64))
                                   : NULL;
    GError *err = NULL;

    if (!c->d->ops->dma_unmap(c->d, r->iova, r->size, bitmap, &err)) {
        g_prefix_error(&err, "cannot unmap guest memory at 0x%" PRIx64 ": ", r->iova);
        failed(c, err);
        if (bitmap) {
            dirty_log_mark(r->block, r->offset, r->size);
        }
    } else if (bitmap) {
        vfio_dirty_mark(r->block, r->offset, r->size, bitmap);
    }
}

static void region_del(MemoryListener *l, MemoryRegion *mr, hwaddr addr, uint64_t len,
                       hwaddr offset)
{
    VFIOContainer *c = container_of(l, VFIOContainer, listener);

    if (!is_memory(mr) || !whole_pages(&addr, &len, &offset)) {
        return;
    }
    for (guint i = c->ranges->len; i-- > 0;) {
        Range r = g_array_index(c->ranges, Range, i);

        if (r.iova < addr || r.iova - addr >= len) {
            continue;
        }
        g_array_remove_index_fast(c->ranges, i);
        unmap_range(c, &r);
    }
}

void vfio_container_track(VFIOContainer *c, bool on)
{
    c->tracking = on;
}

void vfio_container_foreach(VFIOContainer *c, VFIORangeFn *fn, void *opaque)
{
    for (guint i = 0; i < c->ranges->len; i++) {
        const Range *r = &g_array_index(c->ranges, Range, i);

        if (r->writable) {
            fn(r->iova, r->size, r->block, r->offset, opaque);
        }
    }
}

VFIOContainer *vfio_container_new(VFIODevice *d, GError **errp)
{
    VFIOContainer *c = g_new0(VFIOContainer, 1);

    c->d = d;
    c->ranges = g_array_new(FALSE, FALSE, sizeof(Range));
    c->listener = (MemoryListener){.region_add = region_add, .region_del = region_del};
    c->starting = true;
    memory_listener_register(d->as, &c->listener);
    c->starting = false;
    if (c->error) {
        g_propagate_error(errp, g_steal_pointer(&c->error));
        vfio_container_free(c);
        return NULL;
    }
    return c;
}

void vfio_container_free(VFIOContainer *c)
{
    if (c) {
        memory_listener_unregister(c->d->as, &c->listener);
        g_array_unref(c->ranges);
        g_free(c);
    }
}
