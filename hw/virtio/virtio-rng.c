/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-rng: buffers of the driver are filled with random bytes, at most max-bytes per period
 * milliseconds. */
#include "util/osdep.h"
#include "backends/rng.h"
#include "hw/virtio.h"
#include "util/iov.h"

#define QUEUE_SIZE 8

typedef struct {
    VirtIODevice parent;
    VirtQueue *vq;
    char *rng_id;
    RngBackend *rng;
    uint64_t max_bytes;
    uint32_t period_ms;
    int64_t quota;
    QEMUTimer *timer; /* refills the quota; armed while the device is throttled */
    bool requested;
} VirtIORng;
typedef VirtIODeviceClass VirtIORngClass;
#define VIRTIO_RNG(vdev) ((VirtIORng *)(vdev))

GType virtio_rng_get_type(void);
G_DEFINE_TYPE(VirtIORng, virtio_rng, TYPE_VIRTIO_DEVICE)
DEVICE_TYPE_REGISTER("virtio-rng-device", virtio_rng_get_type)

static void ask(VirtIORng *s);

static void receive(void *opaque, const uint8_t *buf, size_t len)
{
    VirtIORng *s = opaque;
    size_t done = 0;

    s->requested = false;
    if (!virtio_driver_ok(&s->parent)) {
        return;
    }
    s->quota -= len;
    while (done < len) {
        g_autofree VirtQueueElement *elem = virtqueue_pop(s->vq, sizeof(*elem));
        size_t part;

        if (!elem) {
            break;
        }
        part = iov_from_buf(elem->in_sg, elem->in_num, 0, buf + done, len - done);
        done += part;
        virtqueue_push(s->vq, elem, part);
    }
    virtio_notify(s->vq);
    ask(s);
}

/* Bytes the driver is waiting for: what the entries can hold is not known before they are popped.
 */
static void ask(VirtIORng *s)
{
    VirtQueueElement *elem;
    uint64_t want = 0;

    if (s->requested || !virtio_driver_ok(&s->parent)) {
        return;
    }
    elem = virtqueue_pop(s->vq, sizeof(*elem));
    if (!elem) {
        return;
    }
    want = iov_size(elem->in_sg, elem->in_num);
    virtqueue_unpop(s->vq, elem);
    g_free(elem);
    if (s->quota <= 0) {
        if (!timer_pending(s->timer)) {
            timer_mod_ns(s->timer, clock_get_ns(timer_clock(s->timer)) + s->period_ms * SCALE_MS);
        }
        return;
    }
    s->requested = true;
    rng_backend_request(s->rng, MIN(MAX(want, 1), (uint64_t)s->quota), receive, s);
}

static void refill(void *opaque)
{
    VirtIORng *s = opaque;

    s->quota = MIN(s->max_bytes, INT64_MAX);
    ask(s);
}

static void handle_notify(VirtIODevice *vdev, VirtQueue *vq)
{
    ask(VIRTIO_RNG(vdev));
}

static void rng_running_changed(VirtIODevice *vdev)
{
    ask(VIRTIO_RNG(vdev));
}

static void rng_reset(VirtIODevice *vdev)
{
    VirtIORng *s = VIRTIO_RNG(vdev);

    rng_backend_cancel(s->rng, s);
    s->requested = false;
}

static RngBackend *find_backend(VirtIORng *s, GError **errp)
{
    Machine *m = device_machine(&s->parent.parent);
    GObject *obj;

    if (!s->rng_id) {
        return g_object_new(object_type_lookup("rng-builtin"), NULL);
    }
    obj = m->objects ? object_registry_find(m->objects, s->rng_id) : NULL;
    if (!obj || !GW_IS_RNG_BACKEND(obj)) {
        error_setg(errp, "Device '%s' not found", s->rng_id);
        return NULL;
    }
    return g_object_ref(GW_RNG_BACKEND(obj));
}

static bool rng_realize(VirtIODevice *vdev, GError **errp)
{
    VirtIORng *s = VIRTIO_RNG(vdev);

    if (!s->period_ms) {
        error_setg(errp, "'period' parameter expects a positive integer");
        return false;
    }
    if (s->max_bytes > INT64_MAX) {
        error_setg(errp, "'max-bytes' parameter must be non-negative, and less than 2^63");
        return false;
    }
    s->rng = find_backend(s, errp);
    if (!s->rng) {
        return false;
    }
    s->quota = s->max_bytes;
    s->timer = timer_new_ns(device_machine(&vdev->parent)->vclock, refill, s);
    s->vq = virtio_add_queue(vdev, QUEUE_SIZE, handle_notify);
    return true;
}

static void rng_unrealize(VirtIODevice *vdev)
{
    VirtIORng *s = VIRTIO_RNG(vdev);

    g_clear_pointer(&s->timer, timer_free);
    g_clear_object(&s->rng);
}

VIRTIO_VMSD(vmstate_virtio_rng, "virtio-rng", 1);

static const DeviceProperty rng_props[] = {
    DEVICE_PROP_STRING("rng", VirtIORng, rng_id, "id of the entropy source"),
    DEVICE_PROP_UINT64("max-bytes", VirtIORng, max_bytes, INT64_MAX, "limit per period"),
    DEVICE_PROP_UINT32("period", VirtIORng, period_ms, 1 << 16, "milliseconds"),
    {},
};

static void virtio_rng_init(VirtIORng *s)
{
}

static void virtio_rng_class_init(VirtIORngClass *k)
{
    DeviceStateClass *dc = &k->parent_class;

    device_class_set_props(dc, rng_props);
    dc->desc = "virtio entropy device";
    dc->user_creatable = true;
    dc->vmsd = &vmstate_virtio_rng;
    k->device_id = VIRTIO_ID_RNG;
    k->realize_device = rng_realize;
    k->unrealize_device = rng_unrealize;
    k->reset_device = rng_reset;
    k->running_changed = rng_running_changed;
}
