/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtio device core: negotiation, status, configuration space and reset. Rings are in
 * virtqueue.c, the stream in virtio-vmstate.c, registers in the transports.
 */
#include "util/osdep.h"
#include "hw/virtio.h"

G_DEFINE_INTERFACE(VirtioTransport, virtio_transport, G_TYPE_OBJECT)
static void virtio_transport_default_init(VirtioTransportInterface *iface)
{
}

G_DEFINE_ABSTRACT_TYPE(VirtIODevice, virtio_device, TYPE_DEVICE)
DEVICE_TYPE_REGISTER("virtio-device", virtio_device_get_type)

static const DeviceProperty common_props[] = {
    VIRTIO_FEATURE_PROP("indirect_desc", VIRTIO_F_INDIRECT_DESC, "indirect descriptors"),
    VIRTIO_FEATURE_PROP("event_idx", VIRTIO_F_EVENT_IDX, "event index"),
    VIRTIO_FEATURE_PROP("notify_on_empty", VIRTIO_F_NOTIFY_ON_EMPTY, "notify when a ring is empty"),
    VIRTIO_FEATURE_PROP("any_layout", VIRTIO_F_ANY_LAYOUT, "any layout of legacy requests"),
    VIRTIO_FEATURE_PROP("queue_reset", VIRTIO_F_RING_RESET, "reset of single queues"),
    {},
};

static VirtioTransportInterface *transport_iface(VirtIODevice *vdev)
{
    return VIRTIO_TRANSPORT_GET_IFACE(vdev->transport);
}

static void update_irq(VirtIODevice *vdev)
{
    transport_iface(vdev)->update_irq(VIRTIO_TRANSPORT(vdev->transport));
}

static void notify(VirtIODevice *vdev, uint16_t vector)
{
    VirtioTransportInterface *t = transport_iface(vdev);

    if (t->notify) {
        t->notify(VIRTIO_TRANSPORT(vdev->transport), vector);
    } else {
        update_irq(vdev);
    }
}

const char *virtio_user_id(VirtIODevice *vdev)
{
    const char *id = device_id(&vdev->parent);

    return id ? id : device_id(HW_DEVICE(vdev->transport));
}

VirtQueue *virtio_add_queue(VirtIODevice *vdev, uint16_t size, VirtQueueHandler *handler)
{
    for (unsigned i = 0; i < VIRTIO_QUEUE_MAX; i++) {
        VirtQueue *vq = &vdev->vq[i];

        if (!vq->handler) {
            vq->num = vq->default_num = size;
            vq->align = VIRTIO_LEGACY_ALIGN;
            vq->vector = VIRTIO_NO_VECTOR;
            vq->handler = handler;
            return vq;
        }
    }
    g_assert_not_reached(); /* a device model's own arithmetic */
}

void virtio_error(VirtIODevice *vdev, const char *fmt, ...)
{
    g_autofree char *msg = NULL;
    va_list ap;

    if (vdev->broken) {
        return;
    }
    va_start(ap, fmt);
    msg = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    error_report("%s: %s; the device stops until the guest resets it",
                 object_type_name(G_OBJECT(vdev)), msg);
    vdev->broken = true;
    if (virtio_is_modern(vdev)) {
        vdev->status |= VIRTIO_STATUS_NEEDS_RESET;
        virtio_notify_config(vdev);
    }
}

void virtio_notify_config(VirtIODevice *vdev)
{
    if (!(vdev->status & VIRTIO_STATUS_DRIVER_OK)) {
        return;
    }
    vdev->generation++;
    vdev->isr |= 3;
    notify(vdev, vdev->config_vector);
}

bool virtio_driver_ok(const VirtIODevice *vdev)
{
    return (vdev->status & VIRTIO_STATUS_DRIVER_OK) && !vdev->broken && vdev->vm_running;
}

void virtio_reset(VirtIODevice *vdev)
{
    VirtIODeviceClass *k = VIRTIO_DEVICE_GET_CLASS(vdev);

    virtio_set_status(vdev, 0);
    if (k->reset_device) {
        k->reset_device(vdev);
    }
    vdev->broken = vdev->started = vdev->disabled = false;
    vdev->guest_features = 0;
    vdev->queue_sel = 0;
    vdev->status = 0;
    vdev->isr = 0;
    vdev->config_vector = VIRTIO_NO_VECTOR;
    update_irq(vdev);
    for (unsigned i = 0; i < VIRTIO_QUEUE_MAX && vdev->vq[i].handler; i++) {
        virtqueue_reset(&vdev->vq[i]);
        vdev->vq[i].align = VIRTIO_LEGACY_ALIGN;
        vdev->vq[i].vector = VIRTIO_NO_VECTOR;
    }
}

void virtio_set_status(VirtIODevice *vdev, uint8_t status)
{
    VirtIODeviceClass *k = VIRTIO_DEVICE_GET_CLASS(vdev);

    vdev->started = status & VIRTIO_STATUS_DRIVER_OK;
    if (k->set_status) {
        k->set_status(vdev, status);
    }
    vdev->status = status;
}

bool virtio_set_features(VirtIODevice *vdev, uint64_t features)
{
    VirtIODeviceClass *k = VIRTIO_DEVICE_GET_CLASS(vdev);
    bool ok = !(features & ~vdev->host_features);
    uint64_t changed;

    if (vdev->status & VIRTIO_STATUS_FEATURES_OK) {
        return false; /* settled */
    }
    changed = vdev->guest_features ^ (features & vdev->host_features);
    vdev->guest_features ^= changed;
    if (k->set_features) {
        k->set_features(vdev, vdev->guest_features);
    }
    if (changed & (1ULL << VIRTIO_F_EVENT_IDX)) {
        /* The event words make the ring areas two bytes longer. */
        for (unsigned i = 0; i < VIRTIO_QUEUE_MAX && vdev->vq[i].handler; i++) {
            virtqueue_map(&vdev->vq[i]);
        }
    }
    return ok;
}

/* ---- configuration space ---- */

uint32_t virtio_config_read(VirtIODevice *vdev, uint32_t addr, unsigned size)
{
    VirtIODeviceClass *k = VIRTIO_DEVICE_GET_CLASS(vdev);
    uint32_t value = 0;

    if (addr > vdev->config_len || size > vdev->config_len - addr) {
        return UINT32_MAX;
    }
    if (k->get_config) {
        k->get_config(vdev, vdev->config);
    }
    memcpy(&value, vdev->config + addr, size);
    return GUINT32_FROM_LE(value);
}

void virtio_config_write(VirtIODevice *vdev, uint32_t addr, unsigned size, uint32_t value)
{
    VirtIODeviceClass *k = VIRTIO_DEVICE_GET_CLASS(vdev);

    if (addr > vdev->config_len || size > vdev->config_len - addr) {
        return;
    }
    value = GUINT32_TO_LE(value);
    memcpy(vdev->config + addr, &value, size);
    if (k->set_config) {
        k->set_config(vdev, vdev->config);
    }
}

/* ---- queues, as transports program them ---- */

static VirtQueue *existing_queue(VirtIODevice *vdev, unsigned n)
{
    return n < VIRTIO_QUEUE_MAX && vdev->vq[n].num ? &vdev->vq[n] : NULL;
}

void virtio_queue_set_num(VirtIODevice *vdev, unsigned n, uint32_t num)
{
    VirtQueue *vq = existing_queue(vdev, n);

    if (vq && num && num <= VIRTQUEUE_MAX_SIZE && num != vq->num) {
        virtqueue_unmap(vq);
        vq->num = num;
    }
}

void virtio_queue_set_addr(VirtIODevice *vdev, unsigned n, uint64_t desc)
{
    VirtQueue *vq = existing_queue(vdev, n);

    if (vq) {
        vq->desc = desc;
        virtqueue_legacy_layout(vq);
        virtqueue_map(vq);
    }
}

void virtio_queue_set_align(VirtIODevice *vdev, unsigned n, uint32_t align)
{
    VirtQueue *vq = existing_queue(vdev, n);

    if (vq && align && !(align & (align - 1))) {
        vq->align = align;
        virtio_queue_set_addr(vdev, n, vq->desc);
    }
}

void virtio_queue_set_rings(VirtIODevice *vdev, unsigned n, uint64_t desc, uint64_t avail,
                            uint64_t used)
{
    VirtQueue *vq = existing_queue(vdev, n);

    if (vq) {
        vq->desc = desc;
        vq->avail = avail;
        vq->used = used;
        virtqueue_map(vq);
    }
}

void virtio_queue_notify(VirtIODevice *vdev, unsigned n)
{
    VirtQueue *vq = existing_queue(vdev, n);

    if (!vq || !vq->desc || vdev->broken) {
        return;
    }
    if (!virtio_is_modern(vdev)) {
        vdev->started = true; /* legacy drivers may kick before DRIVER_OK */
    }
    vq->handler(vdev, vq);
}

void virtio_queue_reset(VirtIODevice *vdev, unsigned n)
{
    VirtIODeviceClass *k = VIRTIO_DEVICE_GET_CLASS(vdev);
    VirtQueue *vq = existing_queue(vdev, n);

    if (vq) {
        if (k->reset_queue) {
            k->reset_queue(vdev, vq);
        }
        virtqueue_reset(vq);
        vq->vector = VIRTIO_NO_VECTOR;
    }
}

void virtio_notify(VirtQueue *vq)
{
    if (virtqueue_wants_interrupt(vq)) {
        vq->vdev->isr |= 1;
        notify(vq->vdev, vq->vector);
    }
}

/* ---- as a device ---- */

static gboolean virtio_realize(DeviceState *dev, GError **errp)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(dev);
    VirtIODeviceClass *k = VIRTIO_DEVICE_GET_CLASS(vdev);
    Bus *bus = device_bus(dev);
    uint64_t features;

    if (!bus || !bus->parent || !VIRTIO_IS_TRANSPORT(bus->parent)) {
        error_setg(errp, "%s needs a virtio bus", object_type_name(G_OBJECT(dev)));
        return FALSE;
    }
    vdev->as = device_machine(dev)->as;
    vdev->transport = G_OBJECT(bus->parent);
    vdev->vq = g_new(VirtQueue, VIRTIO_QUEUE_MAX);
    for (unsigned i = 0; i < VIRTIO_QUEUE_MAX; i++) {
        virtqueue_init(&vdev->vq[i], vdev, i);
    }
    features = 0;
    for (unsigned i = 0; i < 64; i++) {
        features |= (uint64_t)vdev->feature_on[i] << i;
    }
    if (transport_iface(vdev)->modern(VIRTIO_TRANSPORT(vdev->transport))) {
        features |= 1ULL << VIRTIO_F_VERSION_1;
    }
    vdev->host_features = features;
    if (!k->realize_device(vdev, errp)) {
        g_clear_pointer(&vdev->vq, g_free);
        vdev->transport = NULL;
        return FALSE;
    }
    vdev->host_features = k->get_features ? k->get_features(vdev, features) : features;
    vdev->config = g_malloc0(MAX(vdev->config_len, 1)); /* never NULL, also without configuration */
    transport_iface(vdev)->plugged(VIRTIO_TRANSPORT(vdev->transport), vdev);
    return TRUE;
}

static void virtio_unrealize(DeviceState *dev)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(dev);
    VirtIODeviceClass *k = VIRTIO_DEVICE_GET_CLASS(vdev);

    if (!vdev->transport) {
        return;
    }
    virtio_reset(vdev);
    transport_iface(vdev)->unplugged(VIRTIO_TRANSPORT(vdev->transport));
    if (k->unrealize_device) {
        k->unrealize_device(vdev);
    }
    g_clear_pointer(&vdev->vq, g_free);
    g_clear_pointer(&vdev->config, g_free);
    vdev->transport = NULL;
}

static void virtio_device_reset(DeviceState *dev)
{
    virtio_reset(VIRTIO_DEVICE(dev));
}

static void virtio_vm_state(DeviceState *dev, gboolean running)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(dev);
    VirtIODeviceClass *k = VIRTIO_DEVICE_GET_CLASS(vdev);

    if (vdev->vm_running == (bool)running) {
        return;
    }
    vdev->vm_running = running;
    if (k->running_changed) {
        k->running_changed(vdev);
    }
}

static char *virtio_path(DeviceState *dev)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(dev);

    return transport_iface(vdev)->path(VIRTIO_TRANSPORT(vdev->transport));
}

static void virtio_device_init(VirtIODevice *vdev)
{
    vdev->config_vector = VIRTIO_NO_VECTOR;
}

static void virtio_device_class_init(VirtIODeviceClass *k)
{
    DeviceStateClass *dc = &k->parent_class;

    device_class_set_props(dc, common_props);
    dc->bus_type = "virtio-bus";
    dc->realize = virtio_realize;
    dc->unrealize = virtio_unrealize;
    dc->reset = virtio_device_reset;
    dc->vm_state = virtio_vm_state;
    dc->path = virtio_path;
}
