/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands of the vfio-user protocol as functions; what the server answers is checked here. */
#include <linux/vfio.h>
#include "backends/vfio-user-internal.h"

#define MAX_REGIONS 100
#define MAX_IRQS    50
/* What servers of the wild are known to take as one MIG_DATA_WRITE. */
#define MIG_WRITE_MAX 65536

/* A descriptor that nobody expects is not kept. */
static bool call_without_fd(VfioUserClient *c, VfioUserCall *call, GError **errp)
{
    bool ok = vfio_user_call(c, call, errp);

    if (ok && call->fd >= 0) {
        close(call->fd);
    }
    return ok;
}

bool vfio_user_get_info(VfioUserClient *c, VfioUserDeviceInfo *info, GError **errp)
{
    VfioUserDeviceInfo ask = {.argsz = sizeof(ask)};
    VfioUserCall call = {
        .command = VFIO_USER_DEVICE_GET_INFO,
        .request = {{&ask, sizeof(ask)}},
        .n_request = 1,
        .reply = info,
        .reply_size = sizeof(*info),
    };

    if (!call_without_fd(c, &call, errp)) {
        return false;
    }
    if (info->num_regions > MAX_REGIONS || info->num_irqs > MAX_IRQS) {
        error_setg(errp,
                   "vfio-user: the device has %u regions and %u interrupts; %u and %u are "
                   "possible",
                   info->num_regions, info->num_irqs, MAX_REGIONS, MAX_IRQS);
        return false;
    }
    return true;
}

bool vfio_user_get_region(VfioUserClient *c, unsigned index, VfioUserRegion *region, GError **errp)
{
    VfioUserRegionInfo ask = {.argsz = sizeof(ask), .index = index};
    VfioUserCall call = {
        .command = VFIO_USER_DEVICE_GET_REGION_INFO,
        .request = {{&ask, sizeof(ask)}},
        .n_request = 1,
        .reply = &region->info,
        .reply_size = sizeof(region->info),
    };

    region->fd = -1;
    if (!vfio_user_call(c, &call, errp)) {
        return false;
    }
    region->fd = call.fd;
    return true;
}

bool vfio_user_get_irq(VfioUserClient *c, unsigned index, VfioUserIrqInfo *info, GError **errp)
{
    VfioUserIrqInfo ask = {.argsz = sizeof(ask), .index = index};
    VfioUserCall call = {
        .command = VFIO_USER_DEVICE_GET_IRQ_INFO,
        .request = {{&ask, sizeof(ask)}},
        .n_request = 1,
        .reply = info,
        .reply_size = sizeof(*info),
    };

    return call_without_fd(c, &call, errp);
}

static bool set_irqs_once(VfioUserClient *c, const VfioUserSetIrqs *set, const int *fds,
                          unsigned n_fds, GError **errp)
{
    VfioUserCall call = {
        .command = VFIO_USER_DEVICE_SET_IRQS,
        .request = {{(void *)set, sizeof(*set)}},
        .n_request = 1,
        .fds = fds,
        .n_fds = n_fds,
    };

    return call_without_fd(c, &call, errp);
}

bool vfio_user_set_irqs(VfioUserClient *c, uint32_t flags, unsigned index, unsigned start,
                        unsigned count, const int *fds, unsigned n_fds, GError **errp)
{
    VfioUserSetIrqs set = {
        .argsz = sizeof(set), .flags = flags, .index = index, .start = start, .count = count};
    unsigned step = vfio_user_max_fds(c);

    if (!n_fds) {
        return set_irqs_once(c, &set, NULL, 0, errp);
    }
    for (unsigned done = 0; done < n_fds; done += set.count) {
        set.start = start + done;
        set.count = MIN(step, n_fds - done);
        if (!set_irqs_once(c, &set, fds + done, set.count, errp)) {
            return false;
        }
    }
    return true;
}

bool vfio_user_region_read(VfioUserClient *c, unsigned region, uint64_t offset, void *buf,
                           uint32_t len, GError **errp)
{
    VfioUserRegionAccess ask = {offset, region, len}, got;
    VfioUserCall call = {
        .command = VFIO_USER_REGION_READ,
        .request = {{&ask, sizeof(ask)}},
        .n_request = 1,
        .reply = &got,
        .reply_size = sizeof(got),
        .data = buf,
        .data_max = len,
    };

    if (!call_without_fd(c, &call, errp)) {
        return false;
    }
    if (call.data_len != len || got.count != len) {
        error_setg(errp, "vfio-user: %zu of %u bytes of region %u", call.data_len, len, region);
        return false;
    }
    return true;
}

bool vfio_user_region_write(VfioUserClient *c, unsigned region, uint64_t offset, const void *buf,
                            uint32_t len, GError **errp)
{
    VfioUserRegionAccess ask = {offset, region, len}, got;
    VfioUserCall call = {
        .command = VFIO_USER_REGION_WRITE,
        .request = {{&ask, sizeof(ask)}, {(void *)buf, len}},
        .n_request = 2,
        .reply = &got,
        .reply_size = sizeof(got),
    };

    if (!call_without_fd(c, &call, errp)) {
        return false;
    }
    if (got.count != len) {
        error_setg(errp, "vfio-user: region %u took %u of %u bytes", region, got.count, len);
        return false;
    }
    return true;
}

bool vfio_user_dma_map(VfioUserClient *c, uint64_t iova, uint64_t size, int fd, uint64_t fd_offset,
                       uint32_t flags, GError **errp)
{
    VfioUserDmaMap map = {
        .argsz = sizeof(map), .flags = flags, .offset = fd_offset, .address = iova, .size = size};
    VfioUserCall call = {
        .command = VFIO_USER_DMA_MAP,
        .request = {{&map, sizeof(map)}},
        .n_request = 1,
        .fds = &fd,
        .n_fds = fd >= 0,
    };

    return call_without_fd(c, &call, errp);
}

bool vfio_user_dma_unmap(VfioUserClient *c, uint64_t iova, uint64_t size, GError **errp)
{
    VfioUserDmaUnmap unmap = {.argsz = sizeof(unmap), .address = iova, .size = size}, got;
    VfioUserCall call = {
        .command = VFIO_USER_DMA_UNMAP,
        .request = {{&unmap, sizeof(unmap)}},
        .n_request = 1,
        .reply = &got,
        .reply_size = sizeof(got),
    };

    return call_without_fd(c, &call, errp);
}

bool vfio_user_reset(VfioUserClient *c, GError **errp)
{
    VfioUserCall call = {.command = VFIO_USER_DEVICE_RESET};

    return call_without_fd(c, &call, errp);
}

/* ---- migration ---- */

int vfio_user_feature(VfioUserClient *c, uint32_t flags, const void *in, size_t in_len, void *out,
                      size_t out_max, size_t *out_len, unsigned timeout_ms, GError **errp)
{
    VfioUserFeature ask = {.argsz = sizeof(ask) + MAX(in_len, out_max), .flags = flags}, got;
    VfioUserCall call = {
        .command = VFIO_USER_DEVICE_FEATURE,
        .request = {{&ask, sizeof(ask)}, {(void *)in, in_len}},
        .n_request = in_len ? 2 : 1,
        .reply = &got,
        .reply_size = sizeof(got),
        .data = out,
        .data_max = out_max,
        .timeout_ms = timeout_ms,
    };

    if (!call_without_fd(c, &call, errp)) {
        return call.error ? -call.error : -EIO;
    }
    if (out_len) {
        *out_len = call.data_len;
    }
    return 0;
}

/* Some servers pad the answer; what they say counts. */
static bool check_mig_data(const VfioUserCall *call, const VfioUserMigData *got, GError **errp)
{
    if (got->size > call->data_len) {
        error_setg(errp, "vfio-user: %zu bytes of device state, %u announced", call->data_len,
                   got->size);
        return false;
    }
    return true;
}

bool vfio_user_mig_read(VfioUserClient *c, void *buf, uint32_t *len, GError **errp)
{
    uint32_t most = vfio_user_max_transfer(c), room = *len, n;
    VfioUserMigData ask[VFIO_USER_MIG_READS], got[VFIO_USER_MIG_READS];
    VfioUserCall calls[VFIO_USER_MIG_READS];
    bool ok;

    for (n = 0; n < VFIO_USER_MIG_READS && n * most < room; n++) {
        uint32_t part = MIN(room - n * most, most);

        ask[n] = (VfioUserMigData){sizeof(*ask) + part, part};
        calls[n] = (VfioUserCall){
            .command = VFIO_USER_MIG_DATA_READ,
            .request = {{&ask[n], sizeof(ask[n])}},
            .n_request = 1,
            .reply = &got[n],
            .reply_size = sizeof(got[n]),
            .data = (uint8_t *)buf + n * most,
            .data_max = part,
        };
    }
    ok = vfio_user_calls(c, calls, n, errp);
    *len = 0;
    for (unsigned i = 0; i < n; i++) {
        if (calls[i].fd >= 0) {
            close(calls[i].fd);
        }
        ok = ok && check_mig_data(&calls[i], &got[i], errp);
        if (ok) {
            /* Behind what came before, which may have been less than there was room for. */
            memmove((uint8_t *)buf + *len, calls[i].data, got[i].size);
            *len += got[i].size;
        }
    }
    return ok;
}

bool vfio_user_mig_write(VfioUserClient *c, const void *buf, uint32_t len, GError **errp)
{
    uint32_t most = vfio_user_takes_large_writes(c) ? vfio_user_max_transfer(c) : MIG_WRITE_MAX;

    for (uint32_t done = 0, n; done < len; done += n) {
        VfioUserMigData ask;
        VfioUserCall call = {
            .command = VFIO_USER_MIG_DATA_WRITE,
            .request = {{&ask, sizeof(ask)}, {(uint8_t *)buf + done, 0}},
            .n_request = 2,
        };

        n = MIN(len - done, most);
        ask = (VfioUserMigData){sizeof(ask) + n, n};
        call.request[1].iov_len = n;
        if (!call_without_fd(c, &call, errp)) {
            return false;
        }
    }
    return true;
}
