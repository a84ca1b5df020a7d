/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Client of the vfio-user protocol: a PCI device in another process (spec 65,
 * docs/interop/vfio-user.md).
 *
 * A thread of the client reads the socket. Replies wake whoever asked; DMA commands of the server
 * are answered by that thread, through the callbacks, so that neither side waits for the other.
 * Calls may come from any thread, one at a time goes out; the caller may hold the big lock, which
 * the callbacks therefore must not take.
 *
 * Everything the server sends is checked. What breaks the protocol, a time-out, or the end of the
 * connection makes the client *broken*: this and every later call fails with that first reason.
 */
#ifndef GODWIT_BACKENDS_VFIO_USER_H
#define GODWIT_BACKENDS_VFIO_USER_H

#include "backends/vfio-user-protocol.h"
#include "util/error.h"

typedef struct VfioUserClient VfioUserClient;

typedef struct {
    /* The server reads or writes guest memory; false: not there. The reader thread, no lock held.
     */
    bool (*dma_read)(void *opaque, uint64_t addr, void *buf, uint64_t len);
    bool (*dma_write)(void *opaque, uint64_t addr, const void *buf, uint64_t len);
    /* The connection broke; the reader thread. Optional. */
    void (*broken)(void *opaque, const char *reason);
} VfioUserCallbacks;

/* What a region offers, beside its wire form. */
typedef struct {
    VfioUserRegionInfo info;
    int fd; /* mappable: the caller's; -1 otherwise */
} VfioUserRegion;

/* Connect to the server at the unix socket @path and agree on a version. NULL and error. */
VfioUserClient *vfio_user_connect(const char *path, const VfioUserCallbacks *cb, void *opaque,
                                  GError **errp);
/* The same on a connected socket, which is taken over also on failure. */
VfioUserClient *vfio_user_client_new(int fd, const VfioUserCallbacks *cb, void *opaque,
                                     GError **errp);
/* Ends the connection and the thread. */
void vfio_user_free(VfioUserClient *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfioUserClient, vfio_user_free)

/* Milliseconds a call waits for its reply; 0 restores the default of 5 s. */
void vfio_user_set_timeout(VfioUserClient *c, unsigned ms);
/* Data bytes one message may carry, as agreed. */
uint64_t vfio_user_max_transfer(const VfioUserClient *c);
/* Does the server say how much state there is (x_vmtd)? */
bool vfio_user_tells_sizes(const VfioUserClient *c);
/* Why the connection broke, NULL while it works; free with g_free(). */
char *vfio_user_broken(VfioUserClient *c);

bool vfio_user_get_info(VfioUserClient *c, VfioUserDeviceInfo *info, GError **errp);
bool vfio_user_get_region(VfioUserClient *c, unsigned index, VfioUserRegion *region, GError **errp);
bool vfio_user_get_irq(VfioUserClient *c, unsigned index, VfioUserIrqInfo *info, GError **errp);
/*
 * Data kind and action are VFIO's flags. @fds: @n_fds eventfds for the interrupts from @start on;
 * none: @count interrupts lose theirs, or with @count 0 the whole index is switched off. Split as
 * the server needs it.
 */
bool vfio_user_set_irqs(VfioUserClient *c, uint32_t flags, unsigned index, unsigned start,
                        unsigned count, const int *fds, unsigned n_fds, GError **errp);
/* @len up to vfio_user_max_transfer(). */
bool vfio_user_region_read(VfioUserClient *c, unsigned region, uint64_t offset, void *buf,
                           uint32_t len, GError **errp);
bool vfio_user_region_write(VfioUserClient *c, unsigned region, uint64_t offset, const void *buf,
                            uint32_t len, GError **errp);
/* @fd -1: the server asks us for every access. */
bool vfio_user_dma_map(VfioUserClient *c, uint64_t iova, uint64_t size, int fd, uint64_t fd_offset,
                       uint32_t flags, GError **errp);
bool vfio_user_dma_unmap(VfioUserClient *c, uint64_t iova, uint64_t size, GError **errp);
bool vfio_user_reset(VfioUserClient *c, GError **errp);

/*
 * DEVICE_FEATURE @flags (id and VFIO's GET, SET, PROBE bits) with @in_len bytes; the answer's data
 * go to @out, @out_max at most, *out_len says how many came. 0, or the negative errno with which
 * the server refused (*errp is set then, too; -EIO when the connection is gone).
 */
int vfio_user_feature(VfioUserClient *c, uint32_t flags, const void *in, size_t in_len, void *out,
                      size_t out_max, size_t *out_len, unsigned timeout_ms, GError **errp);
/*
 * Bytes of the device's state: *len in: room, out: what came; 0: nothing now, or the end. With room
 * for more than a message several are under way at once, VFIO_USER_MIG_READS at most.
 */
#define VFIO_USER_MIG_READS 4
bool vfio_user_mig_read(VfioUserClient *c, void *buf, uint32_t *len, GError **errp);
/* Any @len; in pieces of 64 KiB unless the server takes more (x_vmtd). */
bool vfio_user_mig_write(VfioUserClient *c, const void *buf, uint32_t len, GError **errp);

#endif
