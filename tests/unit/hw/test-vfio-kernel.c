/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kernel back end of VFIO devices against a kernel made of functions (spec 60 section 1). */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/eventfd.h>
#include "hw/vfio/iommufd-uapi.h"
#include "hw/vfio/kernel.h"

#define GUEST_RAM (4 * MiB)

/* ---- the kernel ---- */

static struct {
    GString *trace;        /* what was asked, one word each */
    unsigned long fail;    /* this request fails */
    const char *fail_open; /* opening this fails */
    int error;             /* with this */
    bool unviable, no_type1, other_api, can_log, no_data_fd;
    int data_fd; /* the last session's */
    uint64_t migration_flags;
    GHashTable *maps; /* iova -> size */
    bool tracking;
    uint64_t ranges[2][2];
    unsigned n_ranges;
    bool hw_tracking, alone; /* IOMMU of the devices; a page table is for one of them only */
    uint32_t tables, attached, tracked, destroyed;
} k;

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static int fake_open(const char *path, int flags)
{
    g_autofree char *base = g_path_get_basename(path);

    g_string_append_printf(k.trace, "open:%s ", base);
    if (k.fail_open && strcmp(path, k.fail_open) == 0) {
        errno = k.error;
        return -1;
    }
    return open("/dev/null", O_RDWR | O_CLOEXEC);
}

static int iommu_info(struct vfio_iommu_type1_info *info)
{
    struct vfio_iommu_type1_info_cap_migration *cap = (void *)(info + 1);
    uint32_t room = info->argsz;

    info->argsz = sizeof(*info) + sizeof(*cap);
    info->flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
    info->cap_offset = 0;
    if (room >= info->argsz) {
        info->cap_offset = sizeof(*info);
        *cap = (struct vfio_iommu_type1_info_cap_migration){
            .header.id = VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION, .pgsize_bitmap = 4096};
    }
    return 0;
}

static int map_dma(const struct vfio_iommu_type1_dma_map *map)
{
    g_assert_cmpuint(map->argsz, ==, 32);
    g_assert_true(g_hash_table_insert(k.maps, (gpointer)(uintptr_t)map->iova,
                                      (gpointer)(uintptr_t)map->size));
    return 0;
}

static int unmap_dma(const struct vfio_iommu_type1_dma_unmap *unmap)
{
    const struct vfio_bitmap *bitmap = (const void *)unmap->data;

    g_assert_true(g_hash_table_remove(k.maps, (gpointer)(uintptr_t)unmap->iova));
    if (unmap->flags) {
        g_assert_cmphex(unmap->flags, ==, VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP);
        g_assert_cmpuint(unmap->argsz, ==, 48);
        g_assert_true(k.tracking);
        bitmap->data[0] = 2;
    }
    return 0;
}

static int dirty_pages(const struct vfio_iommu_type1_dirty_bitmap *d)
{
    const struct vfio_iommu_type1_dirty_bitmap_get *get = (const void *)d->data;

    switch (d->flags) {
    case VFIO_IOMMU_DIRTY_PAGES_FLAG_START:
        g_assert_false(k.tracking);
        k.tracking = true;
        return 0;
    case VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP:
        g_assert_true(k.tracking);
        k.tracking = false;
        return 0;
    default:
        g_assert_cmpuint(d->argsz, ==, 48);
        g_assert_cmpuint(get->bitmap.pgsize, ==, 4096);
        g_assert_cmpuint(get->bitmap.size, ==, get->size / 4096 / 8);
        get->bitmap.data[0] = 5;
        return 0;
    }
}

static int feature(struct vfio_device_feature *f)
{
    struct vfio_device_feature_mig_state *state = (void *)f->data;
    struct vfio_device_feature_dma_logging_control *control = (void *)f->data;
    struct vfio_device_feature_dma_logging_report *report = (void *)f->data;
    const struct vfio_device_feature_dma_logging_range *ranges;

    switch (f->flags & VFIO_DEVICE_FEATURE_MASK) {
    case VFIO_DEVICE_FEATURE_MIGRATION:
        ((struct vfio_device_feature_migration *)f->data)->flags = k.migration_flags;
        return 0;
    case VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE:
        g_assert_cmpint(state->data_fd, ==, -1);
        if (!k.no_data_fd && (state->device_state == VFIO_DEVICE_STATE_STOP_COPY ||
                              state->device_state == VFIO_DEVICE_STATE_RESUMING)) {
            state->data_fd = k.data_fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
        }
        return 0;
    case VFIO_DEVICE_FEATURE_DMA_LOGGING_START:
        if (f->flags & VFIO_DEVICE_FEATURE_PROBE) {
            errno = ENOTTY;
            return k.can_log ? 0 : -1;
        }
        g_assert_cmpuint(f->argsz, ==, 32);
        ranges = (const void *)(uintptr_t)control->ranges;
        k.n_ranges = control->num_ranges;
        for (unsigned i = 0; i < k.n_ranges; i++) {
            k.ranges[i][0] = ranges[i].iova;
            k.ranges[i][1] = ranges[i].length;
        }
        return 0;
    case VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT:
        g_assert_cmpuint(f->argsz, ==, 40);
        *(uint64_t *)(uintptr_t)report->bitmap = 9;
        return 0;
    default:
        return 0;
    }
}

/* /dev/iommu and what binds devices to it. */
static int ask_iommufd(unsigned long request, void *arg)
{
    switch (request) {
    case IOMMUFD_IOAS_ALLOC:
        ((IommufdIoasAlloc *)arg)->out_ioas = 1;
        return 0;
    case IOMMUFD_IOAS_MAP:
        g_assert_cmpuint(((IommufdIoasMap *)arg)->size, ==, 40);
        g_assert_cmpuint(((IommufdIoasMap *)arg)->ioas, ==, 1);
        g_hash_table_insert(k.maps, (gpointer)(uintptr_t)((IommufdIoasMap *)arg)->iova, k.maps);
        return 0;
    case IOMMUFD_IOAS_UNMAP:
        g_hash_table_remove(k.maps, (gpointer)(uintptr_t)((IommufdIoasUnmap *)arg)->iova);
        return 0;
    case IOMMUFD_GET_HW_INFO:
        g_assert_cmpuint(((IommufdHwInfo *)arg)->size, ==, 40);
        ((IommufdHwInfo *)arg)->out_capabilities = k.hw_tracking ? HW_CAP_DIRTY_TRACKING : 0;
        return 0;
    case IOMMUFD_HWPT_ALLOC:
        g_assert_cmpuint(((IommufdHwptAlloc *)arg)->size, ==, 48);
        g_assert_cmphex(((IommufdHwptAlloc *)arg)->flags, ==, HWPT_ALLOC_DIRTY_TRACKING);
        ((IommufdHwptAlloc *)arg)->out_hwpt = 20 + k.tables++;
        return 0;
    case IOMMUFD_SET_DIRTY_TRACKING:
        k.tracked += ((IommufdSetDirtyTracking *)arg)->flags ? 1 : -1;
        return 0;
    case IOMMUFD_GET_DIRTY_BITMAP:
        g_assert_cmpuint(((IommufdGetDirtyBitmap *)arg)->size, ==, 48);
        *(uint64_t *)(uintptr_t)((IommufdGetDirtyBitmap *)arg)->bitmap |=
            UINT64_C(1) << (((IommufdGetDirtyBitmap *)arg)->hwpt - 20);
        return 0;
    case IOMMUFD_DESTROY:
        k.destroyed++;
        return 0;
    case VFIO_CDEV_BIND:
        g_assert_true(is_open(((VfioCdevBind *)arg)->iommufd));
        ((VfioCdevBind *)arg)->out_devid = 10;
        return 0;
    case VFIO_CDEV_ATTACH:
        if (k.alone && ((VfioCdevAttach *)arg)->pt == k.attached) {
            errno = EINVAL;
            return -1;
        }
        k.attached = ((VfioCdevAttach *)arg)->pt;
        return 0;
    default:
        return 0;
    }
}

static int ask(unsigned long request, void *arg)
{
    struct vfio_device_info *info = arg;

    switch (request) {
    case VFIO_GET_API_VERSION:
        return k.other_api ? 1 : VFIO_API_VERSION;
    case VFIO_CHECK_EXTENSION:
        g_assert_cmpint((intptr_t)arg, ==, VFIO_TYPE1v2_IOMMU);
        return !k.no_type1;
    case VFIO_GROUP_GET_STATUS:
        ((struct vfio_group_status *)arg)->flags = k.unviable ? 0 : VFIO_GROUP_FLAGS_VIABLE;
        return 0;
    case VFIO_GROUP_GET_DEVICE_FD:
        return open("/dev/null", O_RDWR | O_CLOEXEC);
    case VFIO_DEVICE_GET_INFO:
        info->flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
        info->num_regions = 9;
        info->num_irqs = 5;
        return 0;
    case VFIO_IOMMU_GET_INFO:
        return iommu_info(arg);
    case VFIO_IOMMU_MAP_DMA:
        return map_dma(arg);
    case VFIO_IOMMU_UNMAP_DMA:
        return unmap_dma(arg);
    default:
        return ask_iommufd(request, arg);
    }
}

/* Two requests have one number: written pages of a container, features of a device. */
static int fake_ioctl(int fd, unsigned long request, void *arg)
{
    g_assert_true(is_open(fd));
    g_string_append_printf(k.trace, "%lx ", request & 0xFF);
    if (request == k.fail) {
        errno = k.error;
        return -1;
    }
    if (request == VFIO_DEVICE_FEATURE) {
        const struct vfio_device_feature *f = arg;

        return f->flags > 0xFFFF ? feature(arg) : dirty_pages(arg);
    }
    return ask(request, arg);
}

static const VFIOSys fake_sys = {.open = fake_open, .ioctl = fake_ioctl};

/* ---- what the tests stand on ---- */

typedef struct {
    char *dir;
    RAMList *list;
    AddressSpace *as;
    RAMBlock *ram;
    unsigned fds; /* open before */
} Fixture;

static unsigned open_fds(void)
{
    g_autoptr(GDir) dir = g_dir_open("/proc/self/fd", 0, NULL);
    unsigned n = 0;

    while (g_dir_read_name(dir)) {
        n++;
    }
    return n;
}

/* A directory as in /sys, in group @group. */
static char *make_device(Fixture *fx, const char *name, unsigned group)
{
    char *path = g_build_filename(fx->dir, name, NULL);
    g_autofree char *link = g_build_filename(path, "iommu_group", NULL);
    g_autofree char *target = g_strdup_printf("../groups/%u", group);

    g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
    g_assert_cmpint(symlink(target, link), ==, 0);
    return path;
}

static void set_up(Fixture *fx, gconstpointer data)
{
    memset(&k, 0, sizeof(k));
    k.trace = g_string_new(NULL);
    k.maps = g_hash_table_new(NULL, NULL);
    k.migration_flags = VFIO_MIGRATION_STOP_COPY;
    fx->dir = g_dir_make_tmp("vfio-XXXXXX", NULL);
    fx->list = ram_list_new();
    fx->as = address_space_new(fx->list);
    fx->ram = ram_block_new_anon(fx->list, "ram", GUEST_RAM, 0, NULL);
    fx->fds = open_fds();
}

static void tear_down(Fixture *fx, gconstpointer data)
{
    g_autofree char *command = g_strdup_printf("rm -r '%s'", fx->dir);

    g_assert_cmpuint(open_fds(), ==, fx->fds);
    address_space_free(fx->as);
    ram_block_free(fx->ram);
    ram_list_free(fx->list);
    g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
    g_free(fx->dir);
    g_hash_table_unref(k.maps);
    g_string_free(k.trace, TRUE);
}

static VFIODevice *open_device(Fixture *fx, const char *path)
{
    g_autoptr(GError) err = NULL;
    VFIODevice *d = vfio_kernel_device_new(&fake_sys, "dev", path, fx->as, &err);

    g_assert_no_error(err);
    return d;
}

/* ---- tests ---- */

/* Group, container, device; the order is the kernel's demand. */
static void test_open(Fixture *fx, gconstpointer data)
{
    g_autofree char *path = make_device(fx, "0000:01:00.0", 7);
    VFIODevice *d = open_device(fx, path);

    g_assert_cmpstr(k.trace->str, ==, "open:7 67 open:vfio 64 65 68 66 70 70 6a 6b 75 75 ");
    g_assert_cmphex(d->ops->migration_flags(d), ==, VFIO_MIGRATION_STOP_COPY);
    g_assert_true(d->ops->log_supported(d)); /* by the container */
    vfio_device_free(d);
}

static const struct {
    const char *name;
    unsigned long fail;
    const char *fail_open;
    int error;
    const char *words;
} failures[] = {
    {"no-node", 0, "/dev/vfio/7", ENOENT, "bound to a VFIO driver"},
    {"not-owner", 0, "/dev/vfio/7", EACCES, "its owner must be the user"},
    {"busy", 0, "/dev/vfio/7", EBUSY, "another process uses the group"},
    {"status", VFIO_GROUP_GET_STATUS, NULL, EIO, "does not tell its status"},
    {"no-module", 0, "/dev/vfio/vfio", ENOENT, "is the module vfio loaded"},
    {"attach", VFIO_GROUP_SET_CONTAINER, NULL, EINVAL, "cannot attach IOMMU group 7"},
    {"unsafe", VFIO_SET_IOMMU, NULL, EPERM, "cannot isolate its interrupts"},
    {"no-device", VFIO_GROUP_GET_DEVICE_FD, NULL, ENODEV, "gives no device 'd0'"},
    {"no-info", VFIO_DEVICE_GET_INFO, NULL, EIO, "does not say what it is"},
};

static void expect_error(const char *path, Fixture *fx, const char *words)
{
    g_autoptr(GError) err = NULL;

    g_assert_null(vfio_kernel_device_new(&fake_sys, "dev", path, fx->as, &err));
    g_assert_nonnull(strstr(err->message, words));
    g_assert_cmpuint(open_fds(), ==, fx->fds);
}

static void test_failures(Fixture *fx, gconstpointer data)
{
    g_autofree char *path = make_device(fx, "d0", 7);

    for (size_t i = 0; i < G_N_ELEMENTS(failures); i++) {
        k.fail = failures[i].fail;
        k.fail_open = failures[i].fail_open;
        k.error = failures[i].error;
        g_test_message("%s", failures[i].name);
        expect_error(path, fx, failures[i].words);
    }
    k.fail = 0;
    k.fail_open = NULL;
    k.unviable = true;
    expect_error(path, fx, "is not viable");
    k.unviable = false;
    k.no_type1 = true;
    expect_error(path, fx, "load the module vfio_iommu_type1");
    k.no_type1 = false;
    k.other_api = true;
    expect_error(path, fx, "unknown version");
    expect_error("/nonexistent", fx, "there is no device");
    expect_error(fx->dir, fx, "belongs to no IOMMU group");
}

static bool map_all(Fixture *fx, VFIODevice *d, GError **errp)
{
    return d->ops->dma_map(d, 0x80000000, GUEST_RAM, fx->ram, 0, true, errp);
}

/* Two devices of one group, one of another: one container, each mapping made once. */
static void test_sharing(Fixture *fx, gconstpointer data)
{
    g_autofree char *a = make_device(fx, "d0", 7), *b = make_device(fx, "d1", 7),
                    *c = make_device(fx, "d2", 8);
    VFIODevice *d[3] = {open_device(fx, a), open_device(fx, b), open_device(fx, c)};

    for (unsigned i = 0; i < 3; i++) {
        g_assert_true(map_all(fx, d[i], NULL));
    }
    g_assert_cmpuint(g_hash_table_size(k.maps), ==, 1);
    g_assert_null(strstr(strstr(k.trace->str, "open:vfio") + 1, "open:vfio"));
    g_assert_true(d[0]->ops->log_start(d[0], NULL));
    g_assert_true(d[1]->ops->log_start(d[1], NULL));
    d[0]->ops->log_stop(d[0]);
    g_assert_true(k.tracking); /* for the other one */
    d[1]->ops->log_stop(d[1]);
    g_assert_false(k.tracking);
    vfio_device_free(d[0]); /* with what it has mapped */
    g_assert_true(d[1]->ops->dma_unmap(d[1], 0x80000000, GUEST_RAM, NULL, NULL));
    g_assert_cmpuint(g_hash_table_size(k.maps), ==, 1);
    vfio_device_free(d[1]);
    vfio_device_free(d[2]);
    g_assert_cmpuint(g_hash_table_size(k.maps), ==, 0);
}

static void test_locked_memory(Fixture *fx, gconstpointer data)
{
    g_autofree char *a = make_device(fx, "d0", 7);
    VFIODevice *d = open_device(fx, a);
    g_autoptr(GError) err = NULL;

    k.fail = VFIO_IOMMU_MAP_DMA;
    k.error = EFAULT;
    g_assert_false(map_all(fx, d, &err));
    g_assert_nonnull(strstr(err->message, "refuses a DMA mapping of 4194304 bytes: Bad address"));
    k.fail = 0;
    g_assert_true(map_all(fx, d, NULL)); /* nothing was left behind */
    vfio_device_free(d);
}

static void test_tracking_by_iommu(Fixture *fx, gconstpointer data)
{
    g_autofree char *a = make_device(fx, "d0", 7);
    VFIODevice *d = open_device(fx, a);
    uint64_t bitmap[GUEST_RAM / 4096 / 64] = {0};

    g_assert_true(map_all(fx, d, NULL));
    g_assert_true(d->ops->log_start(d, NULL));
    g_assert_true(d->ops->log_report(d, 0x80000000, GUEST_RAM, bitmap, NULL));
    g_assert_cmphex(bitmap[0], ==, 5);
    bitmap[0] = 0;
    g_assert_true(d->ops->dma_unmap(d, 0x80000000, GUEST_RAM, bitmap, NULL));
    g_assert_cmphex(bitmap[0], ==, 2);
    d->ops->log_stop(d);
    vfio_device_free(d);
}

/* It watches what it may write, on either side of 4 GiB. */
static void test_log_of_its_own(Fixture *fx, gconstpointer data)
{
    g_autofree char *a = make_device(fx, "d0", 7);
    uint64_t bitmap[2] = {0};
    VFIODevice *d;

    k.can_log = true;
    d = open_device(fx, a);
    g_assert_true(d->ops->dma_map(d, 0x80000000, MiB, fx->ram, 0, true, NULL));
    g_assert_true(d->ops->dma_map(d, 0x90000000, MiB, fx->ram, MiB, true, NULL));
    g_assert_true(d->ops->dma_map(d, 0xA0000000, MiB, fx->ram, MiB, false, NULL));
    g_assert_true(d->ops->dma_map(d, 0x100000000, MiB, fx->ram, 2 * MiB, true, NULL));
    g_assert_true(d->ops->log_start(d, NULL));
    g_assert_cmpuint(k.n_ranges, ==, 2);
    g_assert_cmphex(k.ranges[0][0], ==, 0x80000000);
    g_assert_cmphex(k.ranges[0][1], ==, 0x10000000 + MiB);
    g_assert_cmphex(k.ranges[1][0], ==, 0x100000000);
    g_assert_cmphex(k.ranges[1][1], ==, MiB);
    g_assert_false(k.tracking);
    g_string_truncate(k.trace, 0);
    g_assert_true(d->ops->dma_unmap(d, 0x90000000, MiB, bitmap, NULL));
    g_assert_cmpstr(k.trace->str, ==, "72 75 "); /* asked when it cannot write any more */
    g_assert_cmphex(bitmap[0], ==, 9);
    d->ops->log_stop(d);
    vfio_device_free(d);
}

static void test_sessions(Fixture *fx, gconstpointer data)
{
    g_autofree char *a = make_device(fx, "d0", 7);
    VFIODevice *d = open_device(fx, a);
    g_autoptr(GError) err = NULL;
    uint8_t buf[16];
    uint32_t len = sizeof(buf);
    int first;

    g_assert_true(d->ops->set_state(d, VFIO_DEVICE_STATE_STOP, NULL));
    g_assert_true(d->ops->set_state(d, VFIO_DEVICE_STATE_STOP_COPY, NULL));
    first = k.data_fd;
    g_assert_true(d->ops->state_read(d, buf, &len, NULL));
    g_assert_cmpuint(len, ==, sizeof(buf));
    g_assert_true(d->ops->set_state(d, VFIO_DEVICE_STATE_RUNNING, NULL));
    g_assert_false(is_open(first));
    g_assert_false(d->ops->state_read(d, buf, &len, &err)); /* there is none */
    g_clear_error(&err);
    g_assert_true(d->ops->set_state(d, VFIO_DEVICE_STATE_RESUMING, NULL));
    g_assert_true(d->ops->state_write(d, buf, sizeof(buf), NULL));
    g_assert_true(d->ops->reset(d, NULL));
    g_assert_false(is_open(k.data_fd));
    k.no_data_fd = true;
    g_assert_false(d->ops->set_state(d, VFIO_DEVICE_STATE_STOP_COPY, &err));
    g_assert_nonnull(strstr(err->message, "no descriptor"));
    vfio_device_free(d);
}

/* ---- iommufd ---- */

static VFIODevice *open_cdev(Fixture *fx, VFIOIommu *m, const char *name)
{
    g_autofree char *path = g_build_filename(fx->dir, name, NULL);
    g_autofree char *entry = g_build_filename(path, "vfio-dev", "vfio3", NULL);
    g_autoptr(GError) err = NULL;
    VFIODevice *d;

    g_assert_cmpint(g_mkdir_with_parents(entry, 0700), ==, 0);
    vfio_iommu_ref(m);
    d = vfio_kernel_device_new_cdev(m, "dev", path, -1, &err);
    g_assert_no_error(err);
    return d;
}

/* Its driver translates: it is attached to the address space, and only it can log. */
static void test_iommufd_emulated(Fixture *fx, gconstpointer data)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    VFIOIommu *m = vfio_iommufd_space_new(&fake_sys, fd, fx->as, NULL);
    VFIODevice *d = open_cdev(fx, m, "d0");

    vfio_iommu_unref(m);
    g_assert_cmpstr(k.trace->str, ==, "81 open:vfio3 76 8a 77 6b 75 75 ");
    g_assert_cmpuint(k.attached, ==, 1);
    g_assert_false(d->ops->log_supported(d));
    g_assert_true(map_all(fx, d, NULL));
    g_string_truncate(k.trace, 0);
    vfio_device_free(d);
    g_assert_cmpstr(k.trace->str, ==, "86 78 80 ");
    close(fd);
}

/* Two devices, one page table or two; both together say what was written. */
static void test_iommufd_tracking(Fixture *fx, gconstpointer data)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    VFIOIommu *m = vfio_iommufd_space_new(&fake_sys, fd, fx->as, NULL);
    uint64_t bitmap[GUEST_RAM / 4096 / 64] = {0};
    VFIODevice *d[2];

    k.hw_tracking = true;
    k.alone = data != NULL;
    for (unsigned i = 0; i < 2; i++) {
        d[i] = open_cdev(fx, m, i ? "d1" : "d0");
        g_assert_true(d[i]->ops->log_supported(d[i]));
        g_assert_true(map_all(fx, d[i], NULL));
    }
    vfio_iommu_unref(m);
    g_assert_cmpuint(k.tables, ==, k.alone ? 2 : 1);
    g_assert_cmpuint(g_hash_table_size(k.maps), ==, 1);
    g_assert_true(d[0]->ops->log_start(d[0], NULL));
    g_assert_true(d[1]->ops->log_start(d[1], NULL));
    g_assert_cmpuint(k.tracked, ==, k.tables);
    g_assert_true(d[0]->ops->log_report(d[0], 0x80000000, GUEST_RAM, bitmap, NULL));
    g_assert_cmphex(bitmap[0], ==, k.alone ? 3 : 1);
    d[0]->ops->log_stop(d[0]);
    d[1]->ops->log_stop(d[1]);
    g_assert_cmpuint(k.tracked, ==, 0);
    vfio_device_free(d[0]);
    vfio_device_free(d[1]);
    g_assert_cmpuint(k.destroyed, ==, k.tables + 1);
    close(fd);
}

static void test_iommufd_failures(Fixture *fx, gconstpointer data)
{
    static const struct {
        unsigned long fail;
        int error;
        const char *words;
    } steps[] = {
        {VFIO_CDEV_BIND, ENOTTY, "Linux 6.6 or later is needed"},
        {VFIO_CDEV_ATTACH, EINVAL, "cannot attach the device"},
        {VFIO_DEVICE_GET_INFO, EIO, "does not say what it is"},
    };
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    VFIOIommu *m = vfio_iommufd_space_new(&fake_sys, fd, fx->as, NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(steps); i++) {
        g_autoptr(GError) err = NULL;

        k.fail = steps[i].fail;
        k.error = steps[i].error;
        vfio_iommu_ref(m);
        g_assert_null(vfio_kernel_device_new_cdev(m, "dev", fx->dir,
                                                  open("/dev/null", O_RDWR | O_CLOEXEC), &err));
        g_assert_nonnull(strstr(err->message, steps[i].words));
        g_assert_cmpuint(open_fds(), ==, fx->fds + 1);
    }
    vfio_iommu_unref(m);
    close(fd);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add("/vfio-kernel/" name, Fixture, NULL, set_up, fn, tear_down)
    ADD("open", test_open);
    ADD("failures", test_failures);
    ADD("sharing", test_sharing);
    ADD("locked-memory", test_locked_memory);
    ADD("tracking-by-iommu", test_tracking_by_iommu);
    ADD("log-of-its-own", test_log_of_its_own);
    ADD("sessions", test_sessions);
    ADD("iommufd/emulated", test_iommufd_emulated);
    ADD("iommufd/tracking", test_iommufd_tracking);
    ADD("iommufd/failures", test_iommufd_failures);
    g_test_add("/vfio-kernel/iommufd/tracking-alone", Fixture, "alone", set_up,
               test_iommufd_tracking, tear_down);
    return g_test_run();
}
