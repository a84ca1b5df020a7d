/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every kind of IOMMU address space keeps: who uses it, and what is mapped how often. */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include "hw/vfio/kernel.h"

static int sys_open(const char *path, int flags)
{
    return open(path, flags | O_CLOEXEC);
}

static int sys_ioctl(int fd, unsigned long request, void *arg)
{
    int ret;

    do {
        ret = ioctl(fd, request, arg);
    } while (ret < 0 && errno == EINTR);
    return ret;
}

const VFIOSys vfio_sys = {.open = sys_open, .ioctl = sys_ioctl};

void vfio_iommu_init(VFIOIommu *m, const VFIOIommuOps *ops, const VFIOSys *sys, AddressSpace *as,
                     int fd)
{
    m->ops = ops;
    m->sys = sys;
    m->as = as;
    m->fd = fd;
    m->users = 1;
    m->maps = g_array_new(FALSE, FALSE, sizeof(VFIOMap));
}

/* Locked memory is what runs out most, and the kernel only says ENOMEM. */
void vfio_iommu_map_error(GError **errp, int error, uint64_t size)
{
    struct rlimit limit;

    if (error == ENOMEM && getrlimit(RLIMIT_MEMLOCK, &limit) == 0 &&
        limit.rlim_cur != RLIM_INFINITY) {
        error_setg(errp,
                   "%" PRIu64 " bytes more of locked memory are not allowed: the limit is %" PRIu64
                   " bytes, it must be above the guest's memory (ulimit -l, LimitMEMLOCK=)",
                   size, (uint64_t)limit.rlim_cur);
    } else {
        error_setg_errno(errp, error, "the kernel refuses a DMA mapping of %" PRIu64 " bytes",
                         size);
    }
}

void vfio_iommu_ref(VFIOIommu *m)
{
    m->users++;
}

void vfio_iommu_unref(VFIOIommu *m)
{
    if (!--m->users) {
        g_array_unref(m->maps);
        m->ops->free(m);
    }
}

static VFIOMap *find_map(const VFIOIommu *m, uint64_t iova, uint64_t size)
{
    for (guint i = 0; i < m->maps->len; i++) {
        VFIOMap *map = &g_array_index(m->maps, VFIOMap, i);

        if (map->iova == iova && map->size == size) {
            return map;
        }
    }
    return NULL;
}

bool vfio_iommu_map(VFIOIommu *m, uint64_t iova, uint64_t size, void *host, bool writable,
                    GError **errp)
{
    VFIOMap fresh = {iova, size, 1, writable}, *map = find_map(m, iova, size);

    if (map) {
        map->users++;
        return true;
    }
    if (!m->ops->map(m, iova, size, host, writable, errp)) {
        return false;
    }
    g_array_append_val(m->maps, fresh);
    return true;
}

/* Devices that share it let go one by one; of the last, the bitmap says what all wrote. */
bool vfio_iommu_unmap(VFIOIommu *m, uint64_t iova, uint64_t size, uint64_t *bitmap, GError **errp)
{
    VFIOMap *map = find_map(m, iova, size);

    if (!map) {
        error_setg(errp, "nothing is mapped there");
        return false;
    }
    if (--map->users) {
        return !bitmap || m->ops->written(m, iova, size, bitmap, errp);
    }
    g_array_remove_index_fast(m->maps, map - (VFIOMap *)(void *)m->maps->data);
    return m->ops->unmap(m, iova, size, bitmap, errp);
}

bool vfio_iommu_track(VFIOIommu *m, bool on, GError **errp)
{
    unsigned others = on ? m->trackers : m->trackers - 1;

    if (!others && !m->ops->track(m, on, errp)) {
        return false;
    }
    m->trackers += on ? 1 : -1;
    return true;
}

unsigned vfio_iommu_ranges(const VFIOIommu *m,
                           struct vfio_device_feature_dma_logging_range ranges[2])
{
    uint64_t first[2] = {UINT64_MAX, UINT64_MAX}, end[2] = {0, 0};
    unsigned n = 0;

    for (guint i = 0; i < m->maps->len; i++) {
        const VFIOMap *map = &g_array_index(m->maps, VFIOMap, i);
        bool high = map->iova + map->size - 1 > UINT32_MAX;

        if (map->writable) {
            first[high] = MIN(first[high], map->iova);
            end[high] = MAX(end[high], map->iova + map->size);
        }
    }
    for (unsigned high = 0; high < 2; high++) {
        if (end[high]) {
            ranges[n++] = (struct vfio_device_feature_dma_logging_range){
                .iova = first[high], .length = end[high] - first[high]};
        }
    }
    return n;
}
