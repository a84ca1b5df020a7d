/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio devices and their queues, independent of how they are reached (spec 80 section 10).
 *
 * A device model derives from VirtIODevice, says which features, configuration and queues it has,
 * and handles queue notifications. A transport (virtio-mmio) translates register accesses into the
 * calls of the "for transports" part. Everything here: big lock held.
 *
 * Nothing a guest puts into its rings may do more than break the device: virtio_error() marks it
 * broken, it stops looking at its rings, and the guest has to reset it.
 */
#ifndef GODWIT_HW_VIRTIO_H
#define GODWIT_HW_VIRTIO_H

#include <sys/uio.h>
#include "hw/device.h"

#define VIRTIO_QUEUE_MAX    1024 /* queues of a device */
#define VIRTQUEUE_MAX_SIZE  1024 /* entries of a queue, and segments of a request */
#define VIRTIO_NO_VECTOR    0xffff
#define VIRTIO_LEGACY_ALIGN 4096

enum { /* device ids */
       VIRTIO_ID_NET = 1,
       VIRTIO_ID_BLOCK = 2,
       VIRTIO_ID_CONSOLE = 3,
       VIRTIO_ID_RNG = 4,
       VIRTIO_ID_BALLOON = 5,
};

enum { /* device status */
       VIRTIO_STATUS_ACKNOWLEDGE = 1,
       VIRTIO_STATUS_DRIVER = 2,
       VIRTIO_STATUS_DRIVER_OK = 4,
       VIRTIO_STATUS_FEATURES_OK = 8,
       VIRTIO_STATUS_NEEDS_RESET = 64,
       VIRTIO_STATUS_FAILED = 128,
};

enum { /* feature bits of the ring and the transport */
       VIRTIO_F_NOTIFY_ON_EMPTY = 24,
       VIRTIO_F_ANY_LAYOUT = 27,
       VIRTIO_F_INDIRECT_DESC = 28,
       VIRTIO_F_EVENT_IDX = 29,
       VIRTIO_F_VERSION_1 = 32,
       VIRTIO_F_RING_RESET = 40,
};

typedef struct VirtIODevice VirtIODevice;
typedef struct VirtQueue VirtQueue;
typedef void VirtQueueHandler(VirtIODevice *vdev, VirtQueue *vq);

/* One request: what the driver reads from is "in", what it wrote is "out". */
typedef struct VirtQueueElement {
    unsigned index; /* head descriptor */
    unsigned out_num, in_num;
    hwaddr *out_addr, *in_addr; /* guest addresses of the segments */
    struct iovec *out_sg, *in_sg;
} VirtQueueElement;

/* A ring area in guest RAM; @host is NULL while it is not mapped. */
typedef struct {
    uint8_t *host;
    RAMBlock *block;
    ram_addr_t offset;
} VRingArea;

struct VirtQueue {
    VirtIODevice *vdev;
    VirtQueueHandler *handler; /* NULL: the queue does not exist */
    uint16_t index;
    uint32_t num; /* current size, a guest may shrink it */
    uint32_t default_num;
    uint32_t align;  /* legacy layout */
    uint16_t vector; /* MSI-X, of the PCI transport; VIRTIO_NO_VECTOR: none */
    uint64_t desc, avail, used;
    VRingArea desc_map, avail_map, used_map;
    uint16_t last_avail_idx;   /* next entry to pop */
    uint16_t shadow_avail_idx; /* last value read from the guest */
    uint16_t used_idx;
    uint16_t signalled_used;
    bool signalled_used_valid;
    bool notification;
    unsigned inuse; /* popped and not pushed */
};

#define TYPE_VIRTIO_DEVICE (virtio_device_get_type())
typedef struct VirtIODeviceClass {
    DeviceStateClass parent_class;
    uint16_t device_id;
    /* Bits a modern driver must not see although the legacy one does. */
    uint64_t legacy_features;
    /* Called by realize after the transport is known; adds queues and sets config_len. */
    bool (*realize_device)(VirtIODevice *vdev, GError **errp);
    void (*unrealize_device)(VirtIODevice *vdev);
    /* Add the device's own bits to @features (which has the ring bits and properties). */
    uint64_t (*get_features)(VirtIODevice *vdev, uint64_t features);
    /* The driver chose @features; not called by a load, see post_load. Optional. */
    void (*set_features)(VirtIODevice *vdev, uint64_t features);
    /* Fill in @config (config_len bytes); the driver wrote the image @config. Optional. */
    void (*get_config)(VirtIODevice *vdev, uint8_t *config);
    void (*set_config)(VirtIODevice *vdev, const uint8_t *config);
    /* Back to power-on; requests in flight are finished or forgotten. Optional. */
    void (*reset_device)(VirtIODevice *vdev);
    /* The driver resets one queue: its requests in flight are finished or forgotten. Optional. */
    void (*reset_queue)(VirtIODevice *vdev, VirtQueue *vq);
    /* The status changes to @status; optional. */
    void (*set_status)(VirtIODevice *vdev, uint8_t status);
    /* The VM stops or runs; vdev->vm_running is already new. Optional. */
    void (*running_changed)(VirtIODevice *vdev);
    /* Device part of the stream (spec 82 section 13 C) and the device's own subsections; optional.
     */
    bool (*save_device)(VirtIODevice *vdev, QEMUFile *f, GError **errp);
    bool (*load_device)(VirtIODevice *vdev, QEMUFile *f, GError **errp);
    const VMStateDescription *device_vmsd;
    /* Everything was loaded and checked; optional. */
    bool (*post_load)(VirtIODevice *vdev, GError **errp);
} VirtIODeviceClass;

struct VirtIODevice {
    DeviceState parent;
    AddressSpace *as;
    GObject *transport;     /* implements VirtioTransport */
    bool feature_on[64];    /* feature bits that are properties */
    uint64_t host_features; /* offered */
    uint64_t guest_features;
    uint8_t status, isr;
    uint16_t queue_sel;
    uint32_t generation;
    uint16_t config_vector; /* as VirtQueue.vector, for configuration changes */
    uint8_t *config;
    uint32_t config_len;
    VirtQueue *vq; /* VIRTIO_QUEUE_MAX */
    bool broken, started, disabled;
    bool vm_running;
};
GType virtio_device_get_type(void);
#define VIRTIO_DEVICE(obj)     (G_TYPE_CHECK_INSTANCE_CAST((obj), TYPE_VIRTIO_DEVICE, VirtIODevice))
#define VIRTIO_DEVICE_CLASS(k) (G_TYPE_CHECK_CLASS_CAST((k), TYPE_VIRTIO_DEVICE, VirtIODeviceClass))
#define VIRTIO_DEVICE_GET_CLASS(o) \
    (G_TYPE_INSTANCE_GET_CLASS((o), TYPE_VIRTIO_DEVICE, VirtIODeviceClass))
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VirtIODevice, g_object_unref)

/* ---- for device models ---- */

/* A row of a DeviceProperty table that switches feature @bit, on by default. */
#define VIRTIO_FEATURE_PROP(name, bit, desc) \
    DEVICE_PROP_BOOL(name, VirtIODevice, feature_on[bit], true, desc)

/* The next free queue with @size entries, in realize_device. */
VirtQueue *virtio_add_queue(VirtIODevice *vdev, uint16_t size, VirtQueueHandler *handler);
static inline bool virtio_has_feature(const VirtIODevice *vdev, unsigned bit)
{
    return (vdev->guest_features >> bit) & 1;
}
static inline bool virtio_is_modern(const VirtIODevice *vdev)
{
    return virtio_has_feature(vdev, VIRTIO_F_VERSION_1);
}
/* The guest broke the rules: report, stop using the rings until reset. */
void virtio_error(VirtIODevice *vdev, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* Tell the driver that the configuration changed. */
void virtio_notify_config(VirtIODevice *vdev);
/* The id by which users know the device: its own, or that of the PCI function it is a part of. */
const char *virtio_user_id(VirtIODevice *vdev);
/* Is the driver set up, the device sane and the VM running? Then rings may be used. */
bool virtio_driver_ok(const VirtIODevice *vdev);

/*
 * Take the next request: @size >= sizeof(VirtQueueElement) bytes, the element first, rest zero. One
 * allocation; g_free() after push or detach. NULL: nothing there, or the device is broken. Guest
 * memory stays mapped.
 */
void *virtqueue_pop(VirtQueue *vq, size_t size);
/* Done, @len bytes were written to the in segments (they become dirty). Does not interrupt. */
void virtqueue_push(VirtQueue *vq, VirtQueueElement *elem, uint32_t len);
/* As push in two steps: entry @idx past the used index, then @count of them become visible at once.
 */
void virtqueue_fill(VirtQueue *vq, VirtQueueElement *elem, uint32_t len, unsigned idx);
void virtqueue_flush(VirtQueue *vq, unsigned count);
/* Give up an element without answering it (reset). */
void virtqueue_detach(VirtQueue *vq, VirtQueueElement *elem);
/* Put the element popped last back: it will be popped again. */
void virtqueue_unpop(VirtQueue *vq, VirtQueueElement *elem);
bool virtqueue_empty(VirtQueue *vq);
bool virtqueue_ready(const VirtQueue *vq);
/* Does the driver have to notify about new entries? Recheck the queue after enabling. */
void virtqueue_set_notification(VirtQueue *vq, bool enable);
/* Interrupt the driver about used entries, if it wants to know. */
void virtio_notify(VirtQueue *vq);

/* Parked requests on the wire (49168 bytes, spec 82 section 13 C). The loaded element is mapped and
 * counted in use. */
void virtqueue_element_save(QEMUFile *f, const VirtQueueElement *elem);
void *virtqueue_element_load(VirtQueue *vq, QEMUFile *f, size_t size, GError **errp);

/* ---- for transports ---- */

#define TYPE_VIRTIO_TRANSPORT (virtio_transport_get_type())
G_DECLARE_INTERFACE(VirtioTransport, virtio_transport, VIRTIO, TRANSPORT, GObject)
struct _VirtioTransportInterface {
    GTypeInterface parent;
    /* Connect / disconnect the one device; it is usable in between. */
    void (*plugged)(VirtioTransport *t, VirtIODevice *vdev);
    void (*unplugged)(VirtioTransport *t);
    /* vdev->isr changed. */
    void (*update_irq)(VirtioTransport *t);
    /* The same because of an event that has a vector of its own; NULL: update_irq. */
    void (*notify)(VirtioTransport *t, uint16_t vector);
    /* Speaks virtio 1. */
    bool (*modern)(VirtioTransport *t);
    /* Section name prefix; free with g_free(). */
    char *(*path)(VirtioTransport *t);
    /* The stream's prefix (part A), per-queue words and extra state. */
    bool (*save_config)(VirtioTransport *t, QEMUFile *f, GError **errp);
    bool (*load_config)(VirtioTransport *t, QEMUFile *f, GError **errp);
    bool has_align; /* the per-queue record carries the ring alignment */
    /* More words of the per-queue record; optional. */
    void (*save_queue)(VirtioTransport *t, unsigned n, QEMUFile *f);
    bool (*load_queue)(VirtioTransport *t, unsigned n, QEMUFile *f, GError **errp);
    bool extra_always;                     /* extra_state is also sent when not modern */
    const VMStateDescription *extra_state; /* sent when modern */
};

void virtio_reset(VirtIODevice *vdev);
void virtio_set_status(VirtIODevice *vdev, uint8_t status);
/* False if bits were asked for that are not offered (they are dropped). */
bool virtio_set_features(VirtIODevice *vdev, uint64_t features);
/* Bytes past the end read as ones; writes there are ignored. @size 1, 2, 4. */
uint32_t virtio_config_read(VirtIODevice *vdev, uint32_t addr, unsigned size);
void virtio_config_write(VirtIODevice *vdev, uint32_t addr, unsigned size, uint32_t value);
/* Ignored unless it keeps the queue's existence and is at most VIRTQUEUE_MAX_SIZE. */
void virtio_queue_set_num(VirtIODevice *vdev, unsigned n, uint32_t num);
/* Legacy: all three areas follow from @desc, the size and the alignment. */
void virtio_queue_set_addr(VirtIODevice *vdev, unsigned n, uint64_t desc);
void virtio_queue_set_align(VirtIODevice *vdev, unsigned n, uint32_t align);
void virtio_queue_set_rings(VirtIODevice *vdev, unsigned n, uint64_t desc, uint64_t avail,
                            uint64_t used);
void virtio_queue_notify(VirtIODevice *vdev, unsigned n);
/* VIRTIO_F_RING_RESET: queue @n forgets its rings. */
void virtio_queue_reset(VirtIODevice *vdev, unsigned n);

/* Between virtio.c, virtqueue.c and virtio-vmstate.c. */
void virtqueue_init(VirtQueue *vq, VirtIODevice *vdev, unsigned index);
void virtqueue_reset(VirtQueue *vq);
/* Has the driver asked to hear about what was pushed? */
bool virtqueue_wants_interrupt(VirtQueue *vq);
void virtqueue_unmap(VirtQueue *vq);
void virtqueue_legacy_layout(VirtQueue *vq);
/* Look the areas up in guest RAM; breaks the device when they are not there. */
void virtqueue_map(VirtQueue *vq);
uint16_t virtqueue_guest_used_idx(VirtQueue *vq);
uint16_t virtqueue_guest_avail_idx(VirtQueue *vq);

/* ---- the stream ---- */

/* Saves and loads A to D; the section of every device has this one field. */
extern const VMStateInfo vmstate_info_virtio;
#define VMSTATE_VIRTIO_DEVICE()                                             \
    {                                                                       \
        .name = "virtio", .info = &vmstate_info_virtio, .flags = VMS_SINGLE \
    }
#define VIRTIO_VMSD(ident, name_, version)                                                \
    static const VMStateDescription ident = {                                             \
        .name = name_,                                                                    \
        .version_id = version,                                                            \
        .minimum_version_id = version,                                                    \
        .fields = (const VMStateField[]){VMSTATE_VIRTIO_DEVICE(), VMSTATE_END_OF_LIST()}, \
    }

#endif
