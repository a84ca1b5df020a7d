/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kernel back end of a VFIO device: ioctls and a descriptor. */
#include <fcntl.h>
#include "hw/vfio/kernel.h"

/* Regions and interrupts beyond those of PCI are never asked for. */
#define MAX_REGIONS VFIO_PCI_NUM_REGIONS

/* Younger than the headers of Linux 6.1. */
#define FEATURE_MIG_DATA_SIZE 9
#define MIG_GET_PRECOPY_INFO  _IO(VFIO_TYPE, VFIO_BASE + 21)

typedef struct {
    uint64_t size, offset; /* 0: none; where in the descriptor */
} Place;

typedef struct {
    uint64_t iova, size;
} Range;

typedef struct {
    VFIODevice parent;
    const VFIOSys *sys;
    VFIOGroup *group; /* or */
    bool attached;    /* to the iommufd, as this: */
    uint32_t table;
    VFIOIommu *iommu;
    int fd;
    struct vfio_device_info info;
    Place regions[MAX_REGIONS]; /* that were asked about */
    GArray *maps;               /* Range: what this device asked the address space for */
    uint64_t migration_flags;
    bool can_log;
    GMutex data_lock; /* a read or write of the state against the change of state that ends it */
    int data_fd;      /* data_lock; -1: no session */
} KernelDevice;

static KernelDevice *kernel(VFIODevice *d)
{
    return container_of(d, KernelDevice, parent);
}

static int dev_ioctl(KernelDevice *k, unsigned long request, void *arg)
{
    return k->sys->ioctl(k->fd, request, arg);
}

/* ---- registers ---- */

static bool region_place(KernelDevice *k, unsigned region, uint64_t offset, uint64_t *at,
                         GError **errp)
{
    if (region >= MAX_REGIONS || offset >= k->regions[region].size) {
        error_setg(errp, "region %u has no register 0x%" PRIx64, region, offset);
        return false;
    }
    *at = k->regions[region].offset + offset;
    return true;
}

static bool kernel_region_read(VFIODevice *d, unsigned region, uint64_t offset, void *buf,
                               unsigned len, GError **errp)
{
    uint64_t at;
    ssize_t n;

    if (!region_place(kernel(d), region, offset, &at, errp)) {
        return false;
    }
    n = pread(kernel(d)->fd, buf, len, at);
    if (n != (ssize_t)len) {
        error_setg_errno(errp, n < 0 ? errno : EIO,
                         "cannot read %u bytes at 0x%" PRIx64 " of region %u", len, offset, region);
        return false;
    }
    return true;
}

static bool kernel_region_write(VFIODevice *d, unsigned region, uint64_t offset, const void *buf,
                                unsigned len, GError **errp)
{
    uint64_t at;
    ssize_t n;

    if (!region_place(kernel(d), region, offset, &at, errp)) {
        return false;
    }
    n = pwrite(kernel(d)->fd, buf, len, at);
    if (n != (ssize_t)len) {
        error_setg_errno(errp, n < 0 ? errno : EIO,
                         "cannot write %u bytes at 0x%" PRIx64 " of region %u", len, offset,
                         region);
        return false;
    }
    return true;
}

static bool kernel_get_region(VFIODevice *d, unsigned region, VFIORegion *info, GError **errp)
{
    KernelDevice *k = kernel(d);
    struct vfio_region_info r = {.argsz = sizeof(r), .index = region};

    *info = (VFIORegion){0};
    if (region >= MIN(k->info.num_regions, MAX_REGIONS)) {
        return true;
    }
    if (dev_ioctl(k, VFIO_DEVICE_GET_REGION_INFO, &r) < 0) {
        if (errno == EINVAL) {
            return true; /* it has none of that kind */
        }
        error_setg_errno(errp, errno, "cannot learn about region %u", region);
        return false;
    }
    k->regions[region] = (Place){r.size, r.offset};
    *info = (VFIORegion){.size = r.size, .flags = r.flags};
    return true;
}

/* ---- interrupts ---- */

static bool kernel_get_irq_count(VFIODevice *d, unsigned index, unsigned *count, GError **errp)
{
    struct vfio_irq_info info = {.argsz = sizeof(info), .index = index};

    *count = 0;
    if (index >= kernel(d)->info.num_irqs) {
        return true;
    }
    if (dev_ioctl(kernel(d), VFIO_DEVICE_GET_IRQ_INFO, &info) < 0) {
        if (errno == EINVAL) {
            return true; /* it has none of that kind */
        }
        error_setg_errno(errp, errno, "cannot learn about interrupts of kind %u", index);
        return false;
    }
    *count = info.flags & VFIO_IRQ_INFO_EVENTFD ? info.count : 0;
    return true;
}

static bool kernel_set_irqs(VFIODevice *d, unsigned index, uint32_t flags, unsigned start,
                            unsigned count, const int *fds, GError **errp)
{
    size_t size = sizeof(struct vfio_irq_set) + (fds ? count * sizeof(int32_t) : 0);
    g_autofree struct vfio_irq_set *set = g_malloc0(size);

    set->argsz = size;
    set->flags = flags;
    set->index = index;
    set->start = start;
    set->count = count;
    if (fds) {
        memcpy(set->data, fds, count * sizeof(int32_t));
    }
    if (dev_ioctl(kernel(d), VFIO_DEVICE_SET_IRQS, set) < 0) {
        error_setg_errno(errp, errno, "interrupts of kind %u, %u from %u, action 0x%x", index,
                         count, start, flags);
        return false;
    }
    return true;
}

/* ---- sessions of state bytes ---- */

static bool has_session(unsigned state)
{
    return state == VFIO_DEVICE_STATE_STOP_COPY || state == VFIO_DEVICE_STATE_RESUMING ||
           state >= VFIO_DEVICE_STATE_PRE_COPY;
}

/* @fd: that of a new session, or -1 when the old one goes on or ends. */
static bool take_session(KernelDevice *k, unsigned state, int fd, GError **errp)
{
    bool ok = true;

    g_mutex_lock(&k->data_lock);
    if (k->data_fd >= 0 && (fd >= 0 || !has_session(state))) {
        close(k->data_fd);
        k->data_fd = -1;
    }
    if (fd >= 0) {
        k->data_fd = fd;
    } else if (has_session(state) && k->data_fd < 0) {
        error_setg(errp, "the kernel gave no descriptor for its state");
        ok = false;
    }
    g_mutex_unlock(&k->data_lock);
    return ok;
}

static bool kernel_reset(VFIODevice *d, GError **errp)
{
    KernelDevice *k = kernel(d);

    if (k->info.flags & VFIO_DEVICE_FLAGS_RESET) {
        if (dev_ioctl(k, VFIO_DEVICE_RESET, NULL) < 0) {
            error_setg_errno(errp, errno, "the kernel cannot reset it");
            return false;
        }
        take_session(k, VFIO_DEVICE_STATE_RUNNING, -1, NULL);
    }
    return true;
}

/* A DEVICE_FEATURE with @len bytes of data, which are overwritten by what it answers. */
static bool feature(KernelDevice *k, uint32_t flags, void *data, size_t len, GError **errp)
{
    g_autofree struct vfio_device_feature *f = g_malloc0(sizeof(*f) + len);

    f->argsz = sizeof(*f) + len;
    f->flags = flags;
    if (len) {
        memcpy(f->data, data, len);
    }
    if (dev_ioctl(k, VFIO_DEVICE_FEATURE, f) < 0) {
        error_setg_errno(errp, errno, "the kernel refuses it");
        return false;
    }
    if (len) {
        memcpy(data, f->data, len);
    }
    return true;
}

static uint64_t kernel_migration_flags(VFIODevice *d)
{
    return kernel(d)->migration_flags;
}

static bool kernel_set_state(VFIODevice *d, unsigned state, GError **errp)
{
    struct vfio_device_feature_mig_state set = {.device_state = state, .data_fd = -1};

    return feature(kernel(d), VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, &set,
                   sizeof(set), errp) &&
           take_session(kernel(d), state, set.data_fd, errp);
}

static bool kernel_state_read(VFIODevice *d, void *buf, uint32_t *len, GError **errp)
{
    KernelDevice *k = kernel(d);
    ssize_t n;
    int error;

    g_mutex_lock(&k->data_lock);
    do {
        n = read(k->data_fd, buf, *len);
    } while (n < 0 && errno == EINTR);
    error = errno;
    g_mutex_unlock(&k->data_lock);
    if (n < 0 && error != ENOMSG) {
        error_setg_errno(errp, error, "the kernel gives none");
        return false;
    }
    *len = MAX(n, 0);
    return true;
}

static bool kernel_stop_copy_size(VFIODevice *d, uint64_t *bytes, GError **errp)
{
    *bytes = 0;
    return feature(kernel(d), VFIO_DEVICE_FEATURE_GET | FEATURE_MIG_DATA_SIZE, bytes,
                   sizeof(*bytes), errp);
}

/* That initial data have begun anew only a kernel says that was asked to (Linux 7.1). */
static bool kernel_precopy_sizes(VFIODevice *d, VFIOPrecopySizes *sizes, GError **errp)
{
    KernelDevice *k = kernel(d);
    struct {
        uint32_t argsz, flags;
        uint64_t initial_bytes, dirty_bytes;
    } info = {.argsz = sizeof(info)};
    int ret, error;

    g_mutex_lock(&k->data_lock);
    ret = k->sys->ioctl(k->data_fd, MIG_GET_PRECOPY_INFO, &info);
    error = errno;
    g_mutex_unlock(&k->data_lock);
    if (ret < 0) {
        error_setg_errno(errp, error, "the kernel does not tell");
        return false;
    }
    *sizes = (VFIOPrecopySizes){.initial = info.initial_bytes, .dirty = info.dirty_bytes};
    return true;
}

static bool kernel_state_write(VFIODevice *d, const void *buf, uint32_t len, GError **errp)
{
    KernelDevice *k = kernel(d);
    const uint8_t *p = buf;
    ssize_t n = 1;
    int error;

    g_mutex_lock(&k->data_lock);
    while (len && n > 0) {
        n = write(k->data_fd, p, len);
        if (n > 0) {
            p += n;
            len -= n;
        } else if (n < 0 && errno == EINTR) {
            n = 1;
        }
    }
    error = n < 0 ? errno : EIO;
    g_mutex_unlock(&k->data_lock);
    if (len) {
        error_setg_errno(errp, error, "the kernel takes no more");
        return false;
    }
    return true;
}

/* ---- what it wrote to memory: it says so itself, or its IOMMU does ---- */

static bool kernel_log_supported(VFIODevice *d)
{
    return kernel(d)->can_log || kernel(d)->iommu->can_track;
}

static bool start_own_log(KernelDevice *k, GError **errp)
{
    struct vfio_device_feature_dma_logging_range ranges[2];
    struct vfio_device_feature_dma_logging_control control = {
        .page_size = TARGET_PAGE_SIZE,
        .num_ranges = vfio_iommu_ranges(k->iommu, ranges),
        .ranges = (uintptr_t)ranges,
    };

    return feature(k, VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_START, &control,
                   sizeof(control), errp);
}

static bool kernel_log_start(VFIODevice *d, GError **errp)
{
    KernelDevice *k = kernel(d);

    return k->can_log ? start_own_log(k, errp) : vfio_iommu_track(k->iommu, true, errp);
}

static void kernel_log_stop(VFIODevice *d)
{
    KernelDevice *k = kernel(d);

    if (k->can_log) {
        feature(k, VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP, NULL, 0, NULL);
    } else {
        vfio_iommu_track(k->iommu, false, NULL);
    }
}

static bool own_report(KernelDevice *k, uint64_t iova, uint64_t size, uint64_t *bitmap,
                       GError **errp)
{
    struct vfio_device_feature_dma_logging_report report = {
        .iova = iova,
        .length = size,
        .page_size = TARGET_PAGE_SIZE,
        .bitmap = (uintptr_t)bitmap,
    };

    return feature(k, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT, &report,
                   sizeof(report), errp);
}

static bool kernel_log_report(VFIODevice *d, uint64_t iova, uint64_t size, uint64_t *bitmap,
                              GError **errp)
{
    KernelDevice *k = kernel(d);

    return k->can_log ? own_report(k, iova, size, bitmap, errp)
                      : k->iommu->ops->written(k->iommu, iova, size, bitmap, errp);
}

/* ---- guest memory ---- */

static bool kernel_dma_map(VFIODevice *d, uint64_t iova, uint64_t size, RAMBlock *block,
                           ram_addr_t offset, bool writable, GError **errp)
{
    KernelDevice *k = kernel(d);
    Range r = {iova, size};

    if (!vfio_iommu_map(k->iommu, iova, size, block->host + offset, writable, errp)) {
        return false;
    }
    g_array_append_val(k->maps, r);
    return true;
}

static void forget_map(KernelDevice *k, uint64_t iova)
{
    for (guint i = 0; i < k->maps->len; i++) {
        if (g_array_index(k->maps, Range, i).iova == iova) {
            g_array_remove_index_fast(k->maps, i);
            return;
        }
    }
}

static bool kernel_dma_unmap(VFIODevice *d, uint64_t iova, uint64_t size, uint64_t *bitmap,
                             GError **errp)
{
    KernelDevice *k = kernel(d);

    forget_map(k, iova);
    if (!vfio_iommu_unmap(k->iommu, iova, size, k->can_log ? NULL : bitmap, errp)) {
        return false;
    }
    /* It cannot write there any more: the last word about it. */
    return !bitmap || !k->can_log || own_report(k, iova, size, bitmap, errp);
}

/* ---- life ---- */

static void kernel_free(VFIODevice *d)
{
    KernelDevice *k = kernel(d);

    for (guint i = 0; k->iommu && i < k->maps->len; i++) {
        const Range *r = &g_array_index(k->maps, Range, i);

        vfio_iommu_unmap(k->iommu, r->iova, r->size, NULL, NULL);
    }
    g_array_unref(k->maps);
    if (k->data_fd >= 0) {
        close(k->data_fd);
    }
    if (k->attached) {
        vfio_iommufd_detach(k->iommu, k->fd, k->table);
    }
    if (k->fd >= 0) {
        close(k->fd); /* before the group lets go of its container */
    }
    if (k->group) {
        vfio_group_put(k->group);
    } else if (k->iommu) {
        vfio_iommu_unref(k->iommu);
    }
    g_mutex_clear(&k->data_lock);
    g_free(d->name);
    g_free(k);
}

static const VFIODeviceOps kernel_ops = {
    .region_read = kernel_region_read,
    .region_write = kernel_region_write,
    .get_region = kernel_get_region,
    .get_irq_count = kernel_get_irq_count,
    .set_irqs = kernel_set_irqs,
    .reset = kernel_reset,
    .dma_map = kernel_dma_map,
    .dma_unmap = kernel_dma_unmap,
    .migration_flags = kernel_migration_flags,
    .set_state = kernel_set_state,
    .state_read = kernel_state_read,
    .stop_copy_size = kernel_stop_copy_size,
    .precopy_sizes = kernel_precopy_sizes,
    .state_write = kernel_state_write,
    .log_supported = kernel_log_supported,
    .log_start = kernel_log_start,
    .log_stop = kernel_log_stop,
    .log_report = kernel_log_report,
    .free = kernel_free,
};

/* Kernels say in different ways that a device has none of it. */
static void find_out_migration(KernelDevice *k)
{
    struct vfio_device_feature_migration m = {0};

    if (feature(k, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION, &m, sizeof(m), NULL)) {
        k->migration_flags = m.flags;
    }
    k->can_log = feature(k,
                         VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_SET |
                             VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
                         NULL, 0, NULL);
}

static bool find_out(KernelDevice *k, const char *sysfs, GError **errp)
{
    k->info.argsz = sizeof(k->info);
    if (dev_ioctl(k, VFIO_DEVICE_GET_INFO, &k->info) < 0) {
        error_setg_errno(errp, errno, "'%s' does not say what it is", sysfs);
        return false;
    }
    if (!(k->info.flags & VFIO_DEVICE_FLAGS_PCI) ||
        k->info.num_regions <= VFIO_PCI_CONFIG_REGION_INDEX) {
        error_setg(errp, "'%s' is no PCI device (flags 0x%x, %u regions)", sysfs, k->info.flags,
                   k->info.num_regions);
        return false;
    }
    find_out_migration(k);
    return true;
}

/* The number at the end of the link that every device with an IOMMU has. */
static bool group_number(const char *sysfs, unsigned *number, GError **errp)
{
    g_autofree char *link = g_build_filename(sysfs, "iommu_group", NULL);
    g_autofree char *target = NULL, *base = NULL;
    guint64 n;

    if (!g_file_test(sysfs, G_FILE_TEST_IS_DIR)) {
        error_setg(errp, "there is no device '%s'", sysfs);
        return false;
    }
    target = g_file_read_link(link, NULL);
    base = target ? g_path_get_basename(target) : NULL;
    if (!base || !g_ascii_string_to_unsigned(base, 10, 0, INT_MAX, &n, NULL)) {
        error_setg(errp,
                   "'%s' belongs to no IOMMU group: the host has no IOMMU, or it is switched off "
                   "(see docs/user/vfio.md)",
                   sysfs);
        return false;
    }
    *number = n;
    return true;
}

static bool open_device(KernelDevice *k, const char *sysfs, GError **errp)
{
    char real[PATH_MAX];
    g_autofree char *base = NULL;
    unsigned number;

    if (!group_number(sysfs, &number, errp)) {
        return false;
    }
    k->group = vfio_group_get(k->sys, number, k->parent.as, errp);
    if (!k->group) {
        return false;
    }
    k->iommu = vfio_group_iommu(k->group);
    base = g_path_get_basename(realpath(sysfs, real) ? real : sysfs);
    k->fd = vfio_group_open_device(k->group, base, errp);
    return k->fd >= 0 && find_out(k, sysfs, errp);
}

static KernelDevice *device_new(const VFIOSys *sys, const char *name, AddressSpace *as)
{
    KernelDevice *k = g_new0(KernelDevice, 1);

    k->parent.ops = &kernel_ops;
    k->parent.name = g_strdup(name);
    k->parent.as = as;
    k->sys = sys;
    k->fd = k->data_fd = -1;
    k->maps = g_array_new(FALSE, FALSE, sizeof(Range));
    g_mutex_init(&k->data_lock);
    return k;
}

VFIODevice *vfio_kernel_device_new(const VFIOSys *sys, const char *name, const char *sysfs,
                                   AddressSpace *as, GError **errp)
{
    KernelDevice *k = device_new(sys, name, as);

    if (!open_device(k, sysfs, errp)) {
        kernel_free(&k->parent);
        return NULL;
    }
    return &k->parent;
}

/* "vfioN", the only entry of its directory. */
static int open_cdev(KernelDevice *k, const char *sysfs, GError **errp)
{
    g_autofree char *path = g_build_filename(sysfs, "vfio-dev", NULL), *node = NULL;
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *entry = dir ? g_dir_read_name(dir) : NULL;
    int fd;

    if (!entry) {
        error_setg(errp,
                   "'%s' is no character device of VFIO: bind it to a VFIO driver, of Linux 6.6 or "
                   "later (see docs/user/vfio.md)",
                   sysfs);
        return -1;
    }
    node = g_build_filename("/dev/vfio/devices", entry, NULL);
    fd = k->sys->open(node, O_RDWR);
    if (fd < 0) {
        error_setg_errno(errp, errno, "cannot open %s", node);
    }
    return fd;
}

VFIODevice *vfio_kernel_device_new_cdev(VFIOIommu *m, const char *name, const char *sysfs, int fd,
                                        GError **errp)
{
    KernelDevice *k = device_new(m->sys, name, m->as);

    k->iommu = m;
    k->fd = fd >= 0 ? fd : open_cdev(k, sysfs, errp);
    k->attached = k->fd >= 0 && vfio_iommufd_attach(m, k->fd, &k->table, errp);
    if (!k->attached || !find_out(k, sysfs ? sysfs : "fd=", errp)) {
        kernel_free(&k->parent);
        return NULL;
    }
    return &k->parent;
}
