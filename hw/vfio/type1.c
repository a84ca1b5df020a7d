/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Groups and type1 containers (spec 60 section 1.5). A group is opened once, whatever number of its
 * devices is used; groups share a container, and with it the accounting of locked memory, where the
 * kernel lets them.
 */
#include <fcntl.h>
#include "hw/vfio/kernel.h"

#define HELP "see docs/user/vfio.md"

struct VFIOGroup {
    const VFIOSys *sys;
    unsigned number;
    int fd;
    VFIOIommu *iommu;
    unsigned users;
};

/* What this process has open; big lock. */
static GList *groups, *containers;

/* ---- the container ---- */

static bool type1_map(VFIOIommu *m, uint64_t iova, uint64_t size, void *host, bool writable,
                      GError **errp)
{
    struct vfio_iommu_type1_dma_map map = {
        .argsz = sizeof(map),
        .flags = VFIO_DMA_MAP_FLAG_READ | (writable ? VFIO_DMA_MAP_FLAG_WRITE : 0),
        .vaddr = (uintptr_t)host,
        .iova = iova,
        .size = size,
    };

    if (m->sys->ioctl(m->fd, VFIO_IOMMU_MAP_DMA, &map) < 0) {
        vfio_iommu_map_error(errp, errno, size);
        return false;
    }
    return true;
}

/* The kernel's structure with a bitmap behind it. */
typedef struct {
    struct vfio_iommu_type1_dma_unmap unmap;
    struct vfio_bitmap bitmap;
} UnmapBitmap;

static struct vfio_bitmap bitmap_of(uint64_t size, uint64_t *bits)
{
    return (struct vfio_bitmap){
        .pgsize = TARGET_PAGE_SIZE,
        .size = DIV_ROUND_UP(size >> TARGET_PAGE_BITS, 64) * 8,
        .data = (__u64 *)bits,
    };
}

static bool type1_unmap(VFIOIommu *m, uint64_t iova, uint64_t size, uint64_t *bitmap, GError **errp)
{
    UnmapBitmap u = {.unmap = {.argsz = sizeof(u.unmap), .iova = iova, .size = size}};

    if (bitmap) {
        u.unmap.argsz = sizeof(u);
        u.unmap.flags = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
        u.bitmap = bitmap_of(size, bitmap);
    }
    if (m->sys->ioctl(m->fd, VFIO_IOMMU_UNMAP_DMA, &u) < 0) {
        error_setg_errno(errp, errno, "the kernel refuses to end a DMA mapping");
        return false;
    }
    return true;
}

static bool type1_track(VFIOIommu *m, bool on, GError **errp)
{
    struct vfio_iommu_type1_dirty_bitmap dirty = {
        .argsz = sizeof(dirty),
        .flags = on ? VFIO_IOMMU_DIRTY_PAGES_FLAG_START : VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
    };

    if (m->sys->ioctl(m->fd, VFIO_IOMMU_DIRTY_PAGES, &dirty) < 0) {
        error_setg_errno(errp, errno, "the kernel refuses to %s tracking of written pages",
                         on ? "start" : "stop");
        return false;
    }
    return true;
}

static bool type1_written(VFIOIommu *m, uint64_t iova, uint64_t size, uint64_t *bitmap,
                          GError **errp)
{
    struct {
        struct vfio_iommu_type1_dirty_bitmap head;
        struct vfio_iommu_type1_dirty_bitmap_get get;
    } ask = {
        .head = {.argsz = sizeof(ask), .flags = VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP},
        .get = {.iova = iova, .size = size, .bitmap = bitmap_of(size, bitmap)},
    };

    if (m->sys->ioctl(m->fd, VFIO_IOMMU_DIRTY_PAGES, &ask) < 0) {
        error_setg_errno(errp, errno, "the kernel does not say which pages were written");
        return false;
    }
    return true;
}

static void type1_free(VFIOIommu *m)
{
    containers = g_list_remove(containers, m);
    close(m->fd);
    g_free(m);
}

static const VFIOIommuOps type1_ops = {
    .map = type1_map,
    .unmap = type1_unmap,
    .track = type1_track,
    .written = type1_written,
    .free = type1_free,
};

/* Capabilities lie behind the structure; @at is the offset of one from its start. */
static bool reads_migration_cap(const uint8_t *info, uint32_t size, uint32_t at)
{
    struct vfio_iommu_type1_info_cap_migration cap;

    for (unsigned i = 0; i < 64 && at && at <= size - sizeof(cap.header); i++) {
        memcpy(&cap.header, info + at, sizeof(cap.header));
        if (cap.header.id == VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION && at <= size - sizeof(cap)) {
            memcpy(&cap, info + at, sizeof(cap));
            return cap.pgsize_bitmap & TARGET_PAGE_SIZE;
        }
        at = cap.header.next;
    }
    return false;
}

/* Does it track written pages? */
static bool can_track(const VFIOSys *sys, int fd)
{
    g_autofree uint8_t *buf = g_malloc0(sizeof(struct vfio_iommu_type1_info));
    struct vfio_iommu_type1_info *info = (void *)buf;
    uint32_t size = sizeof(*info);

    for (unsigned i = 0; i < 2; i++) {
        info->argsz = size;
        if (sys->ioctl(fd, VFIO_IOMMU_GET_INFO, info) < 0) {
            return false;
        }
        if (info->argsz <= size || info->argsz > 1 << 20) {
            break;
        }
        size = info->argsz;
        buf = g_realloc(buf, size);
        info = (void *)buf;
        memset(buf, 0, size);
    }
    return (info->flags & VFIO_IOMMU_INFO_CAPS) && reads_migration_cap(buf, size, info->cap_offset);
}

static bool attach(VFIOGroup *g, int container)
{
    return g->sys->ioctl(g->fd, VFIO_GROUP_SET_CONTAINER, &container) == 0;
}

/* A container is nothing until a group is in it; then its kind can be chosen. */
static bool open_container(VFIOGroup *g, AddressSpace *as, GError **errp)
{
    int fd = g->sys->open("/dev/vfio/vfio", O_RDWR);
    VFIOIommu *m;

    if (fd < 0) {
        error_setg_errno(errp, errno, "cannot open /dev/vfio/vfio%s",
                         errno == ENOENT ? " (is the module vfio loaded?)" : "");
        return false;
    }
    if (g->sys->ioctl(fd, VFIO_GET_API_VERSION, NULL) != VFIO_API_VERSION) {
        error_setg(errp, "/dev/vfio/vfio speaks an unknown version of the interface");
    } else if (g->sys->ioctl(fd, VFIO_CHECK_EXTENSION, (void *)VFIO_TYPE1v2_IOMMU) != 1) {
        error_setg(errp, "the kernel has no type1 IOMMU: load the module vfio_iommu_type1");
    } else if (!attach(g, fd)) {
        error_setg_errno(errp, errno, "cannot attach IOMMU group %u to a container", g->number);
    } else if (g->sys->ioctl(fd, VFIO_SET_IOMMU, (void *)VFIO_TYPE1v2_IOMMU) < 0) {
        error_setg_errno(errp, errno, "cannot set up a type1 IOMMU for group %u%s", g->number,
                         errno == EPERM ? " (the platform cannot isolate its interrupts; " HELP ")"
                                        : "");
        g->sys->ioctl(g->fd, VFIO_GROUP_UNSET_CONTAINER, NULL);
    } else {
        m = g_new0(VFIOIommu, 1);
        vfio_iommu_init(m, &type1_ops, g->sys, as, fd);
        m->can_track = can_track(g->sys, fd);
        containers = g_list_append(containers, m);
        g->iommu = m;
        return true;
    }
    close(fd);
    return false;
}

static bool find_container(VFIOGroup *g, AddressSpace *as, GError **errp)
{
    for (GList *l = containers; l; l = l->next) {
        VFIOIommu *m = l->data;

        if (m->as == as && m->sys == g->sys && attach(g, m->fd)) {
            vfio_iommu_ref(m);
            g->iommu = m;
            return true;
        }
    }
    return open_container(g, as, errp);
}

/* ---- the group ---- */

static const char *hint(int error)
{
    switch (error) {
    case ENOENT:
        return " (is the device bound to a VFIO driver? " HELP ")";
    case EACCES:
    case EPERM:
        return " (its owner must be the user who runs this; " HELP ")";
    case EBUSY:
        return " (another process uses the group)";
    default:
        return "";
    }
}

static bool check_viable(VFIOGroup *g, GError **errp)
{
    struct vfio_group_status status = {.argsz = sizeof(status)};

    if (g->sys->ioctl(g->fd, VFIO_GROUP_GET_STATUS, &status) < 0) {
        error_setg_errno(errp, errno, "IOMMU group %u does not tell its status", g->number);
        return false;
    }
    if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE)) {
        error_setg(errp,
                   "IOMMU group %u is not viable: every device in "
                   "/sys/kernel/iommu_groups/%u/devices must be bound to a VFIO driver or to none",
                   g->number, g->number);
        return false;
    }
    return true;
}

static void group_free(VFIOGroup *g)
{
    if (g->iommu) {
        g->sys->ioctl(g->fd, VFIO_GROUP_UNSET_CONTAINER, NULL);
        vfio_iommu_unref(g->iommu);
    }
    if (g->fd >= 0) {
        close(g->fd);
    }
    g_free(g);
}

VFIOGroup *vfio_group_get(const VFIOSys *sys, unsigned number, AddressSpace *as, GError **errp)
{
    g_autofree char *path = g_strdup_printf("/dev/vfio/%u", number);
    VFIOGroup *g;

    for (GList *l = groups; l; l = l->next) {
        g = l->data;
        if (g->number == number && g->sys == sys) {
            if (g->iommu->as != as) {
                error_setg(errp, "IOMMU group %u is in use by another machine", number);
                return NULL;
            }
            g->users++;
            return g;
        }
    }
    g = g_new0(VFIOGroup, 1);
    g->sys = sys;
    g->number = number;
    g->users = 1;
    g->fd = sys->open(path, O_RDWR);
    if (g->fd < 0) {
        int error = errno;

        error_setg_errno(errp, error, "cannot open %s%s", path, hint(error));
    } else if (check_viable(g, errp) && find_container(g, as, errp)) {
        groups = g_list_append(groups, g);
        return g;
    }
    group_free(g);
    return NULL;
}

void vfio_group_put(VFIOGroup *g)
{
    if (g && !--g->users) {
        groups = g_list_remove(groups, g);
        group_free(g);
    }
}

VFIOIommu *vfio_group_iommu(VFIOGroup *g)
{
    return g->iommu;
}

int vfio_group_open_device(VFIOGroup *g, const char *name, GError **errp)
{
    int fd = g->sys->ioctl(g->fd, VFIO_GROUP_GET_DEVICE_FD, (void *)name);

    if (fd < 0) {
        error_setg_errno(errp, errno, "IOMMU group %u gives no device '%s'", g->number, name);
    }
    return fd;
}
