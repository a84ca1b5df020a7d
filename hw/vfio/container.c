/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a VFIO device may reach: guest RAM at its guest physical addresses, mapped and unmapped as
 * the flat view changes. ROM is mapped for reading. Registers and flash are not memory to a device.
 */
#include "hw/vfio/device.h"

struct VFIOContainer {
    MemoryListener listener;
    VFIODevice *d;
    GError *error; /* the first failure while the listener is registered */
    bool starting;
};

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

static void region_add(MemoryListener *l, MemoryRegion *mr, hwaddr addr, uint64_t len,
                       hwaddr offset)
{
    VFIOContainer *c = container_of(l, VFIOContainer, listener);
    bool writable = mr->kind == REGION_RAM && !(mr->block && mr->block->flags & RAM_READONLY);
    GError *err = NULL;

    if (!is_memory(mr) || !whole_pages(&addr, &len, &offset) || (c->starting && c->error)) {
        return;
    }
    if (!c->d->ops->dma_map(c->d, addr, len, mr->block, mr->block_offset + offset, writable,
                            &err)) {
        g_prefix_error(&err, "cannot map guest memory at 0x%" PRIx64 " (%s): ", addr, mr->name);
        failed(c, err);
    }
}

static void region_del(MemoryListener *l, MemoryRegion *mr, hwaddr addr, uint64_t len,
                       hwaddr offset)
{
    VFIOContainer *c = container_of(l, VFIOContainer, listener);
    GError *err = NULL;

    if (is_memory(mr) && whole_pages(&addr, &len, &offset) &&
        !c->d->ops->dma_unmap(c->d, addr, len, &err)) {
        g_prefix_error(&err, "cannot unmap guest memory at 0x%" PRIx64 ": ", addr);
        failed(c, err);
    }
}

VFIOContainer *vfio_container_new(VFIODevice *d, GError **errp)
{
    VFIOContainer *c = g_new0(VFIOContainer, 1);

    c->d = d;
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
        g_free(c);
    }
}
