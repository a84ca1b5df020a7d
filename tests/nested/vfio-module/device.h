/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VFIO PCI device for tests, made of nothing: the device of tests/lib/vfiouser.py behind the real
 * kernel interface of Linux 6.1. Its "IOMMU" is emulated: the type1 container translates.
 *
 *   device.c   life, registers, memory BAR, DMA, the knobs that make it fail
 *   irq.c      one pin, MSI-X vectors
 *   state.c    migration states and the log of written pages
 *   stream.c   its state as bytes
 *
 *   BAR 0   00 scratch   04 signal vector N   08/0c source   10/14 destination   18 length
 *           1c command: 1 copy, 2 raise the pin, 3 lower the pin   20 result   24 commands done
 *           40/44 ring in guest memory   48 its pages, 0: stop writing   50/54 records written
 *           60 accesses while it stood still (not part of the state)
 *   BAR 2   64 KiB of memory, 64 bit, can be mapped
 *   BAR 4   MSI-X table and pending bits; the first page cannot be mapped, the second can
 *
 * /sys/devices/platform/godwit-vfio.N/ has the knobs, see device.c.
 */
#ifndef GODWIT_VFIO_TEST_DEVICE_H
#define GODWIT_VFIO_TEST_DEVICE_H

#include <linux/eventfd.h>
#include <linux/mutex.h>
#include <linux/vfio.h>
#include <linux/xarray.h>

#define GW_VECTORS    4
#define GW_REGS       0x1000
#define GW_BAR2       0x10000
#define GW_BAR4       0x2000
#define GW_CONFIG     256
#define GW_BLOCK      0x10000 /* most that one record of the stream carries */
#define GW_MAX_RANGES 256
#define GW_STATES     8

/* Offered by this driver, unknown to the headers of 6.1. */
#define GW_PRE_COPY      6
#define GW_PRE_COPY_P2P  7
#define GW_FLAG_PRE_COPY 4

struct gw_session;

struct gw_device {
    struct vfio_device vdev;
    struct mutex lock; /* everything below */
    u8 config[GW_CONFIG];
    __le32 regs[GW_REGS / 4];
    u8 bar4[GW_BAR4];
    void *bar2;
    void *bulk; /* inner state */
    unsigned int bulk_size;
    struct task_struct *engine; /* while open */

    struct eventfd_ctx *intx, *msix[GW_VECTORS];
    bool level, masked;

    unsigned int state;
    struct gw_session *session; /* of the saving states, or of RESUMING */
    bool loaded;                /* RESUMING has seen the end */

    bool logging;
    struct xarray log; /* page frames written */
    unsigned int n_ranges;
    struct {
        u64 first, last;
    } ranges[GW_MAX_RANGES];

    /* knobs */
    unsigned int fail_state, fail_times, fail_fatal; /* the next changes to it fail */
    unsigned int fail_read;                          /* the n-th read of state fails */
    unsigned int damage;                             /* flip a bit in the n-th record */
    unsigned int truncate;                           /* leave out the end */
    unsigned int drop;                               /* hide each n-th page of the log */
    unsigned int endless;                            /* the log always has the ring's first page */
    unsigned int fail_log, fail_reset;               /* the next */
    char states[256];                                /* digits: states it was in */
};

static inline struct gw_device *gw_of(struct vfio_device *vdev)
{
    return container_of(vdev, struct gw_device, vdev);
}

static inline bool gw_is_saving(unsigned int state)
{
    return state == VFIO_DEVICE_STATE_STOP_COPY || state == GW_PRE_COPY || state == GW_PRE_COPY_P2P;
}

/* New DMA may start. */
static inline bool gw_is_running(const struct gw_device *gw)
{
    return gw->state == VFIO_DEVICE_STATE_RUNNING || gw->state == GW_PRE_COPY;
}

/* All with gw->lock held, unless they are entries of an ops table. */

/* device.c */
u64 gw_ring(const struct gw_device *gw);

/* irq.c */
void gw_signal(struct gw_device *gw, unsigned int vector);
void gw_update_pin(struct gw_device *gw);
void gw_release_irqs(struct gw_device *gw);
long gw_set_irqs(struct gw_device *gw, unsigned long arg);
unsigned int gw_irq_count(unsigned int index);

/* state.c */
extern const struct vfio_migration_ops gw_migration_ops;
extern const struct vfio_log_ops gw_log_ops;
void gw_note_state(struct gw_device *gw, unsigned int state);
void gw_log_write(struct gw_device *gw, u64 iova, size_t len);
void gw_log_drop(struct gw_device *gw);

/* stream.c */
struct file *gw_session_open(struct gw_device *gw, bool saving);
void gw_session_end(struct gw_device *gw);
/* The guest stands still: the rest may be read too. */
void gw_session_finish(struct gw_device *gw);

#endif
