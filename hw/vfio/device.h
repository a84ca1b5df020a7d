/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VFIO device, whoever implements it: one table of operations, so that hw/vfio/pci.c does not
 * know whether it talks to a kernel or to a server process (spec 60 section 13, spec 65 section 8).
 *
 *   device-user.c   the vfio-user back end
 *   device-kernel.c the kernel's, see kernel.h
 *   container.c     guest memory, mapped for DMA as the address space changes
 *   pci.c           the PCI function: configuration space, BARs, reset
 *   pci-irq.c       its interrupts
 *   dirty.c         which guest memory it wrote
 *   state.c         which state it is in, and how it gets out of a failed change
 *   migration.c     its state in the stream
 *   pci-migration.c a PCI function that migrates: its configuration, and what may keep it here
 */
#ifndef GODWIT_HW_VFIO_DEVICE_H
#define GODWIT_HW_VFIO_DEVICE_H

#include <linux/vfio.h>
#include "memory/address-space.h"

/* Younger than the headers of Linux 6.1. */
#ifndef VFIO_MIGRATION_PRE_COPY
#define VFIO_MIGRATION_PRE_COPY        (1 << 2)
#define VFIO_DEVICE_STATE_PRE_COPY     6
#define VFIO_DEVICE_STATE_PRE_COPY_P2P 7
#endif

typedef struct VFIODevice VFIODevice;
typedef struct VFIOContainer VFIOContainer;

typedef struct {
    uint64_t size;
    uint32_t flags; /* VFIO_REGION_INFO_FLAG_* */
} VFIORegion;

/* What a device that runs has ready, in bytes. */
typedef struct {
    uint64_t initial; /* to be sent before the guest may stop */
    uint64_t dirty;   /* that, or what has changed since */
    bool reinit;      /* initial data has begun anew */
} VFIOPrecopySizes;

/* All with the big lock held, except free's after the device has gone. */
typedef struct {
    /* Registers: @len is 1, 2, 4 or 8 for a BAR, up to 4096 for configuration space. */
    bool (*region_read)(VFIODevice *d, unsigned region, uint64_t offset, void *buf, unsigned len,
                        GError **errp);
    bool (*region_write)(VFIODevice *d, unsigned region, uint64_t offset, const void *buf,
                         unsigned len, GError **errp);
    bool (*get_region)(VFIODevice *d, unsigned region, VFIORegion *info, GError **errp);
    /* How many interrupts @index has; 0 also for those the device does not know. */
    bool (*get_irq_count)(VFIODevice *d, unsigned index, unsigned *count, GError **errp);
    /* VFIO_IRQ_SET_* @flags; @fds: @count eventfds, or NULL for flags without data. */
    bool (*set_irqs)(VFIODevice *d, unsigned index, uint32_t flags, unsigned start, unsigned count,
                     const int *fds, GError **errp);
    bool (*reset)(VFIODevice *d, GError **errp);
    /* Guest memory [iova, iova + size) is at @offset of @block; page aligned. */
    bool (*dma_map)(VFIODevice *d, uint64_t iova, uint64_t size, RAMBlock *block, ram_addr_t offset,
                    bool writable, GError **errp);
    /* @bitmap: NULL, or zero; becomes the pages that were written and not reported yet. */
    bool (*dma_unmap)(VFIODevice *d, uint64_t iova, uint64_t size, uint64_t *bitmap, GError **errp);

    /* ---- migration; any thread ---- */
    /* VFIO_MIGRATION_*; 0: the device has no migration. */
    uint64_t (*migration_flags)(VFIODevice *d);
    /* VFIO_DEVICE_STATE_* */
    bool (*set_state)(VFIODevice *d, unsigned state, GError **errp);
    /* State bytes: *len in: room, out: what came; 0: nothing now, or the end. */
    bool (*state_read)(VFIODevice *d, void *buf, uint32_t *len, GError **errp);
    bool (*state_write)(VFIODevice *d, const void *buf, uint32_t len, GError **errp);
    /* All that would come if the device stopped now. False, or no such operation: it does not say.
     */
    bool (*stop_copy_size)(VFIODevice *d, uint64_t *bytes, GError **errp);
    /* In PRE_COPY and PRE_COPY_P2P; the same. */
    bool (*precopy_sizes)(VFIODevice *d, VFIOPrecopySizes *sizes, GError **errp);
    /* Log the device's writes to memory; log_supported false: it cannot. */
    bool (*log_supported)(VFIODevice *d);
    bool (*log_start)(VFIODevice *d, GError **errp);
    void (*log_stop)(VFIODevice *d);
    /* Pages of one mapped range written since last asked: bit n is page n. @bitmap is zero before.
     */
    bool (*log_report)(VFIODevice *d, uint64_t iova, uint64_t size, uint64_t *bitmap,
                       GError **errp);
    void (*free)(VFIODevice *d);
} VFIODeviceOps;

struct VFIODevice {
    const VFIODeviceOps *ops;
    char *name; /* for messages */
    AddressSpace *as;
    bool guesses_sizes; /* from what was read: ask again after each read */
    bool failed;        /* atomic: answers to nothing any more */
};

/* A vfio-user device behind the unix socket @path. @timeout_ms: 0 for the default. */
VFIODevice *vfio_user_device_new(const char *name, const char *path, unsigned timeout_ms,
                                 AddressSpace *as, GError **errp);

static inline void vfio_device_free(VFIODevice *d)
{
    if (d) {
        d->ops->free(d);
    }
}
static inline bool vfio_device_failed(const VFIODevice *d)
{
    return __atomic_load_n(&d->failed, __ATOMIC_RELAXED);
}

/* Map all RAM of the device's address space now and follow its changes. False: not all of it could
 * be mapped. */
VFIOContainer *vfio_container_new(VFIODevice *d, GError **errp);
/* Before the device; what is mapped goes with it. */
void vfio_container_free(VFIOContainer *c);
/* Its writes are being logged: of memory that is unmapped meanwhile, what was written is marked.
 * Big lock. */
void vfio_container_track(VFIOContainer *c, bool on);
/* For each mapped range that the device may write. Any thread while the map does not change. */
typedef void VFIORangeFn(uint64_t iova, uint64_t size, RAMBlock *block, ram_addr_t offset,
                         void *opaque);
void vfio_container_foreach(VFIOContainer *c, VFIORangeFn *fn, void *opaque);

/* What the device writes to guest memory becomes dirty (dirty.c). */
typedef struct VFIODirty VFIODirty;
VFIODirty *vfio_dirty_new(VFIODevice *d, VFIOContainer *c);
void vfio_dirty_free(VFIODirty *v);
/* Mark the pages of [offset, offset + size) that have a bit in @bitmap. */
void vfio_dirty_mark(RAMBlock *block, ram_addr_t offset, uint64_t size, uint64_t *bitmap);

#endif
