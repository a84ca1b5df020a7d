/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The vfio-user back end of a VFIO device: a server process at a unix socket. */
#include "backends/vfio-user.h"
#include "hw/vfio/device.h"
#include "util/log.h"

typedef struct {
    VFIODevice parent;
    VfioUserClient *client;
    VfioUserDeviceInfo info;
    uint64_t migration_flags;
    bool has_log;
    /* Without sizes from the server; migration thread. */
    uint64_t round;      /* bytes read since nothing was left, */
    uint64_t last_round; /* and when that was so for the last time */
    uint32_t last_read;
    bool drained; /* it was so in this session */
} UserDevice;

/* A state change, which may have to wait for the device's own work. */
#define STATE_TIMEOUT_MS  60000
#define PAGE_BITMAP(size) (DIV_ROUND_UP((size) >> TARGET_PAGE_BITS, 64) * 8)

static UserDevice *user(VFIODevice *d)
{
    return container_of(d, UserDevice, parent);
}

/* ---- the server reaches for guest memory; reader thread, no lock ---- */

static bool access_ram(VFIODevice *d, uint64_t addr, void *buf, uint64_t len, bool is_write)
{
    uint8_t *p = buf;

    while (len) {
        uint64_t n = len;
        void *host = addr + (len - 1) >= addr ? address_space_map(d->as, addr, &n, is_write) : NULL;

        if (!host) {
            return false; /* also registers: those need the big lock, which the waiting caller has
                           */
        }
        memcpy(is_write ? host : p, is_write ? p : host, n);
        address_space_unmap(d->as, host, n, is_write);
        p += n;
        addr += n;
        len -= n;
    }
    return true;
}

static bool dma_read(void *opaque, uint64_t addr, void *buf, uint64_t len)
{
    return access_ram(opaque, addr, buf, len, false);
}

static bool dma_write(void *opaque, uint64_t addr, const void *buf, uint64_t len)
{
    return access_ram(opaque, addr, (void *)buf, len, true);
}

static void broken(void *opaque, const char *reason)
{
    VFIODevice *d = opaque;

    if (!__atomic_exchange_n(&d->failed, true, __ATOMIC_RELAXED)) {
        error_report("%s: %s; the device reads as ones from now on", d->name, reason);
    }
}

static const VfioUserCallbacks callbacks = {
    .dma_read = dma_read, .dma_write = dma_write, .broken = broken};

/* ---- operations ---- */

static bool user_region_read(VFIODevice *d, unsigned region, uint64_t offset, void *buf,
                             unsigned len, GError **errp)
{
    return vfio_user_region_read(user(d)->client, region, offset, buf, len, errp);
}

static bool user_region_write(VFIODevice *d, unsigned region, uint64_t offset, const void *buf,
                              unsigned len, GError **errp)
{
    return vfio_user_region_write(user(d)->client, region, offset, buf, len, errp);
}

static bool user_get_region(VFIODevice *d, unsigned region, VFIORegion *info, GError **errp)
{
    VfioUserRegion r;

    *info = (VFIORegion){0};
    if (region >= user(d)->info.num_regions) {
        return true;
    }
    if (!vfio_user_get_region(user(d)->client, region, &r, errp)) {
        return false;
    }
    if (r.fd >= 0) {
        close(r.fd); /* every access is a message */
    }
    *info = (VFIORegion){r.info.size, r.info.flags};
    return true;
}

static bool user_get_irq_count(VFIODevice *d, unsigned index, unsigned *count, GError **errp)
{
    VfioUserIrqInfo info;

    *count = 0;
    if (index >= user(d)->info.num_irqs) {
        return true;
    }
    if (!vfio_user_get_irq(user(d)->client, index, &info, errp)) {
        return false;
    }
    *count = info.flags & VFIO_IRQ_INFO_EVENTFD ? info.count : 0;
    return true;
}

static bool user_set_irqs(VFIODevice *d, unsigned index, uint32_t flags, unsigned start,
                          unsigned count, const int *fds, GError **errp)
{
    return vfio_user_set_irqs(user(d)->client, flags, index, start, count, fds, fds ? count : 0,
                              errp);
}

static bool user_reset(VFIODevice *d, GError **errp)
{
    return !(user(d)->info.flags & VFIO_DEVICE_FLAGS_RESET) ||
           vfio_user_reset(user(d)->client, errp);
}

/* Memory that is a file the server may map; everything else it must ask for. */
static bool user_dma_map(VFIODevice *d, uint64_t iova, uint64_t size, RAMBlock *block,
                         ram_addr_t offset, bool writable, GError **errp)
{
    bool shared = block->fd >= 0 && (block->flags & RAM_SHARED);
    uint32_t flags = VFIO_USER_DMA_READABLE | (writable ? VFIO_USER_DMA_WRITEABLE : 0);

    return vfio_user_dma_map(user(d)->client, iova, size, shared ? block->fd : -1,
                             shared ? block->fd_offset + offset : 0, flags, errp);
}

/* What was written until then is not asked: it may be all. */
static bool user_dma_unmap(VFIODevice *d, uint64_t iova, uint64_t size, uint64_t *bitmap,
                           GError **errp)
{
    if (bitmap) {
        memset(bitmap, 0xFF, PAGE_BITMAP(size));
    }
    return vfio_user_dma_unmap(user(d)->client, iova, size, errp);
}

/* ---- migration ---- */

static uint64_t user_migration_flags(VFIODevice *d)
{
    return user(d)->migration_flags;
}

static bool user_set_state(VFIODevice *d, unsigned state, GError **errp)
{
    UserDevice *u = user(d);
    struct vfio_device_feature_mig_state set = {.device_state = state, .data_fd = -1}, got;

    if (state == VFIO_DEVICE_STATE_PRE_COPY) {
        u->round = u->last_read = 0;
        u->drained = false;
    }
    return vfio_user_feature(u->client,
                             VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, &set,
                             sizeof(set), &got, sizeof(got), NULL, STATE_TIMEOUT_MS, errp) == 0;
}

/* Less than was asked for: that was all for now. */
static bool user_state_read(VFIODevice *d, void *buf, uint32_t *len, GError **errp)
{
    UserDevice *u = user(d);
    uint32_t room = MIN(*len, VFIO_USER_MIG_READS * vfio_user_max_transfer(u->client));

    *len = room;
    if (!vfio_user_mig_read(u->client, buf, len, errp)) {
        return false;
    }
    u->last_read = *len;
    u->round += *len;
    if (*len < room) {
        u->last_round = u->round;
        u->round = 0;
        u->drained = true;
    }
    return true;
}

static bool user_state_write(VFIODevice *d, const void *buf, uint32_t len, GError **errp)
{
    return vfio_user_mig_write(user(d)->client, buf, len, errp);
}

/* ---- how much there is; a server that does not say is likely to give what it gave last ---- */

#define LEAST_STOP_COPY (1 * MiB)

static bool user_stop_copy_size(VFIODevice *d, uint64_t *bytes, GError **errp)
{
    UserDevice *u = user(d);
    size_t len = 0;

    if (d->guesses_sizes) {
        *bytes = MAX(u->last_round, LEAST_STOP_COPY);
        return true;
    }
    if (vfio_user_feature(u->client, VFIO_DEVICE_FEATURE_GET | VFIO_USER_FEATURE_DATA_SIZE, NULL, 0,
                          bytes, sizeof(*bytes), &len, 0, errp) != 0) {
        return false;
    }
    if (len != sizeof(*bytes)) {
        error_setg(errp, "%zu bytes about the size of its state, not %zu", len, sizeof(*bytes));
        return false;
    }
    return true;
}

static bool user_precopy_sizes(VFIODevice *d, VFIOPrecopySizes *sizes, GError **errp)
{
    UserDevice *u = user(d);
    VfioUserPrecopyInfo info;
    size_t len = 0;

    if (d->guesses_sizes) {
        *sizes = (VFIOPrecopySizes){.initial = u->drained ? 0 : MAX(u->last_read, 1),
                                    .dirty = u->drained ? u->last_read : 0};
        return true;
    }
    if (vfio_user_feature(u->client, VFIO_DEVICE_FEATURE_GET | VFIO_USER_FEATURE_PRECOPY_INFO, NULL,
                          0, &info, sizeof(info), &len, 0, errp) != 0) {
        return false;
    }
    if (len != sizeof(info)) {
        error_setg(errp, "%zu bytes about the sizes of its state, not %zu", len, sizeof(info));
        return false;
    }
    *sizes = (VFIOPrecopySizes){info.initial_bytes, info.dirty_bytes, info.flags & 1};
    return true;
}

/* ---- dirty log ---- */

static bool user_log_supported(VFIODevice *d)
{
    return user(d)->has_log;
}

static bool user_log_start(VFIODevice *d, GError **errp)
{
    struct {
        uint64_t page_size;
        uint32_t num_ranges, reserved; /* none: everything */
    } start = {.page_size = TARGET_PAGE_SIZE}, got;

    return vfio_user_feature(user(d)->client,
                             VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
                             &start, sizeof(start), &got, sizeof(got), NULL, 0, errp) == 0;
}

static void user_log_stop(VFIODevice *d)
{
    vfio_user_feature(user(d)->client,
                      VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP, NULL, 0, NULL,
                      0, NULL, 0, NULL);
}

static bool user_log_report(VFIODevice *d, uint64_t iova, uint64_t size, uint64_t *bitmap,
                            GError **errp)
{
    struct {
        uint64_t iova, length, page_size;
    } ask = {iova, size, TARGET_PAGE_SIZE}, got;
    g_autofree uint8_t *answer = g_malloc(sizeof(got) + PAGE_BITMAP(size));
    size_t len;

    if (vfio_user_feature(
            user(d)->client, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT, &ask,
            sizeof(ask), answer, sizeof(got) + PAGE_BITMAP(size), &len, 0, errp) != 0) {
        return false;
    }
    if (len != sizeof(got) + PAGE_BITMAP(size)) {
        error_setg(errp, "%zu bytes about written pages, not %zu", len,
                   (size_t)(sizeof(got) + PAGE_BITMAP(size)));
        return false;
    }
    memcpy(bitmap, answer + sizeof(got), PAGE_BITMAP(size));
    return true;
}

/* Servers say in different ways that they have none of it. */
static void find_out_migration(UserDevice *u)
{
    struct vfio_device_feature_migration flags;
    size_t len = 0;

    if (vfio_user_feature(u->client, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION, NULL,
                          0, &flags, sizeof(flags), &len, 0, NULL) == 0 &&
        len == sizeof(flags)) {
        u->migration_flags = flags.flags;
    }
    u->has_log = u->migration_flags &&
                 vfio_user_feature(u->client,
                                   VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_SET |
                                       VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
                                   NULL, 0, NULL, 0, NULL, 0, NULL) == 0;
}

static void user_free(VFIODevice *d)
{
    __atomic_store_n(&d->failed, true, __ATOMIC_RELAXED); /* an end that nobody regrets */
    vfio_user_free(user(d)->client);
    g_free(d->name);
    g_free(d);
}

static const VFIODeviceOps user_ops = {
    .region_read = user_region_read,
    .region_write = user_region_write,
    .get_region = user_get_region,
    .get_irq_count = user_get_irq_count,
    .set_irqs = user_set_irqs,
    .reset = user_reset,
    .dma_map = user_dma_map,
    .dma_unmap = user_dma_unmap,
    .migration_flags = user_migration_flags,
    .set_state = user_set_state,
    .state_read = user_state_read,
    .state_write = user_state_write,
    .stop_copy_size = user_stop_copy_size,
    .precopy_sizes = user_precopy_sizes,
    .log_supported = user_log_supported,
    .log_start = user_log_start,
    .log_stop = user_log_stop,
    .log_report = user_log_report,
    .free = user_free,
};

VFIODevice *vfio_user_device_new(const char *name, const char *path, unsigned timeout_ms,
                                 AddressSpace *as, GError **errp)
{
    UserDevice *u = g_new0(UserDevice, 1);
    VFIODevice *d = &u->parent;

    d->ops = &user_ops;
    d->name = g_strdup(name);
    d->as = as;
    u->client = vfio_user_connect(path, &callbacks, d, errp);
    if (!u->client) {
        user_free(d);
        return NULL;
    }
    vfio_user_set_timeout(u->client, timeout_ms);
    d->guesses_sizes = !vfio_user_tells_sizes(u->client);
    if (!vfio_user_get_info(u->client, &u->info, errp)) {
        user_free(d);
        return NULL;
    }
    if (!(u->info.flags & VFIO_DEVICE_FLAGS_PCI) ||
        u->info.num_regions <= VFIO_PCI_CONFIG_REGION_INDEX) {
        error_setg(errp, "the server at '%s' is no PCI device (flags 0x%x, %u regions)", path,
                   u->info.flags, u->info.num_regions);
        user_free(d);
        return NULL;
    }
    find_out_migration(u);
    return d;
}
