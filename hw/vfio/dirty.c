/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a VFIO device wrote to guest memory. A device that logs is asked at each sync; of one that
 * does not, or whose answer cannot be used, everything it may write counts as written.
 */
#include "hw/vfio/device.h"
#include "memory/dirty-log.h"
#include "util/log.h"

struct VFIODirty {
    DirtySource source;
    VFIODevice *d;
    VFIOContainer *container;
    bool logging;
};

static bool dirty_start(DirtySource *s, GError **errp)
{
    VFIODirty *v = container_of(s, VFIODirty, source);

    if (vfio_device_failed(v->d) || !v->d->ops->log_supported(v->d)) {
        return true;
    }
    if (!v->d->ops->log_start(v->d, errp)) {
        g_prefix_error(errp, "%s: cannot log its writes to memory: ", v->d->name);
        return false;
    }
    v->logging = true;
    vfio_container_track(v->container, true);
    return true;
}

static void dirty_stop(DirtySource *s)
{
    VFIODirty *v = container_of(s, VFIODirty, source);

    if (v->logging && !vfio_device_failed(v->d)) {
        v->d->ops->log_stop(v->d);
    }
    v->logging = false;
    vfio_container_track(v->container, false);
}

void vfio_dirty_mark(RAMBlock *block, ram_addr_t offset, uint64_t size, uint64_t *bitmap)
{
    uint64_t pages = size >> TARGET_PAGE_BITS, words = DIV_ROUND_UP(pages, 64);

    /* Bits behind the end of the range mean nothing. */
    if (pages % 64) {
        bitmap[words - 1] &= GUINT64_TO_LE((UINT64_C(1) << pages % 64) - 1);
    }
    for (uint64_t w = 0; w < words; w++) {
        for (uint64_t bits = GUINT64_FROM_LE(bitmap[w]); bits; bits &= bits - 1) {
            dirty_log_mark(block, offset + ((w * 64 + __builtin_ctzll(bits)) << TARGET_PAGE_BITS),
                           1);
        }
    }
}

static void collect_range(uint64_t iova, uint64_t size, RAMBlock *block, ram_addr_t offset,
                          void *opaque)
{
    VFIODirty *v = opaque;
    g_autofree uint64_t *bitmap = g_new0(uint64_t, DIV_ROUND_UP(size >> TARGET_PAGE_BITS, 64));
    g_autoptr(GError) err = NULL;

    if (!v->logging || vfio_device_failed(v->d)) {
        dirty_log_mark(block, offset, size);
        return;
    }
    if (!v->d->ops->log_report(v->d, iova, size, bitmap, &err)) {
        error_report("%s: which pages it wrote is not known (%s); all of '%s' is sent again",
                     v->d->name, err->message, block->idstr);
        dirty_log_mark(block, offset, size);
        return;
    }
    vfio_dirty_mark(block, offset, size, bitmap);
}

static void dirty_collect(DirtySource *s)
{
    VFIODirty *v = container_of(s, VFIODirty, source);

    vfio_container_foreach(v->container, collect_range, v);
}

VFIODirty *vfio_dirty_new(VFIODevice *d, VFIOContainer *c)
{
    VFIODirty *v = g_new0(VFIODirty, 1);

    v->source = (DirtySource){.start = dirty_start, .stop = dirty_stop, .collect = dirty_collect};
    v->d = d;
    v->container = c;
    dirty_log_add_source(address_space_ram(d->as), &v->source);
    return v;
}

void vfio_dirty_free(VFIODirty *v)
{
    if (v) {
        dirty_log_remove_source(address_space_ram(v->d->as), &v->source);
        g_free(v);
    }
}
