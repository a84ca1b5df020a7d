/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a virtio device travels (spec 82 section 13).
 *
 *   A  transport prefix          VirtioTransport.save_config
 *   B  common part               here
 *   C  device part               VirtIODeviceClass.save_device, then its subsections
 *   D  generic subsections       here, and the transport's extra state inside one of them
 *
 * Loading checks each value where it is read; what concerns the rings is checked at the end, when
 * the features are known and the ring areas can be looked up in guest memory.
 */
#include "util/osdep.h"
#include "hw/virtio.h"

/* ---- D: generic subsections ---- */

static bool needed_64bit(void *opaque)
{
    VirtIODevice *vdev = opaque;

    return vdev->host_features >> 32;
}

static bool needed_virtqueues(void *opaque)
{
    VirtIODevice *vdev = opaque;

    return (vdev->host_features >> VIRTIO_F_VERSION_1) & 1;
}

static bool needed_ringsize(void *opaque)
{
    VirtIODevice *vdev = opaque;

    for (unsigned i = 0; i < VIRTIO_QUEUE_MAX; i++) {
        if (vdev->vq[i].num != vdev->vq[i].default_num) {
            return true;
        }
    }
    return false;
}

static bool needed_broken(void *opaque)
{
    return ((VirtIODevice *)opaque)->broken;
}

static bool needed_extra_state(void *opaque)
{
    VirtIODevice *vdev = opaque;
    VirtioTransportInterface *t = VIRTIO_TRANSPORT_GET_IFACE(vdev->transport);

    return t->extra_always || t->modern(VIRTIO_TRANSPORT(vdev->transport));
}

static bool needed_started(void *opaque)
{
    return ((VirtIODevice *)opaque)->started;
}

static bool needed_disabled(void *opaque)
{
    return ((VirtIODevice *)opaque)->disabled;
}

static bool put_ring_addresses(QEMUFile *f, void *pv, size_t size, const VMStateField *field,
                               GError **errp)
{
    VirtIODevice *vdev = pv;

    for (unsigned i = 0; i < VIRTIO_QUEUE_MAX; i++) {
        qemu_put_be64(f, vdev->vq[i].avail);
        qemu_put_be64(f, vdev->vq[i].used);
    }
    return true;
}

static bool get_ring_addresses(QEMUFile *f, void *pv, size_t size, const VMStateField *field,
                               GError **errp)
{
    VirtIODevice *vdev = pv;

    for (unsigned i = 0; i < VIRTIO_QUEUE_MAX; i++) {
        vdev->vq[i].avail = qemu_get_be64(f);
        vdev->vq[i].used = qemu_get_be64(f);
    }
    return qemu_file_check(f, errp);
}

static bool put_ring_sizes(QEMUFile *f, void *pv, size_t size, const VMStateField *field,
                           GError **errp)
{
    VirtIODevice *vdev = pv;

    for (unsigned i = 0; i < VIRTIO_QUEUE_MAX; i++) {
        qemu_put_be32(f, vdev->vq[i].default_num);
    }
    return true;
}

static bool get_ring_sizes(QEMUFile *f, void *pv, size_t size, const VMStateField *field,
                           GError **errp)
{
    VirtIODevice *vdev = pv;

    for (unsigned i = 0; i < VIRTIO_QUEUE_MAX; i++) {
        uint32_t n = qemu_get_be32(f);

        if (n > VIRTQUEUE_MAX_SIZE) {
            error_setg(errp, "queue %u: default size %u is above the limit of %u", i, n,
                       VIRTQUEUE_MAX_SIZE);
            return false;
        }
        vdev->vq[i].default_num = n;
    }
    return qemu_file_check(f, errp);
}

static bool put_extra_state(QEMUFile *f, void *pv, size_t size, const VMStateField *field,
                            GError **errp)
{
    VirtIODevice *vdev = pv;

    return vmstate_save_state(f, VIRTIO_TRANSPORT_GET_IFACE(vdev->transport)->extra_state,
                              vdev->transport, NULL, errp);
}

static bool get_extra_state(QEMUFile *f, void *pv, size_t size, const VMStateField *field,
                            GError **errp)
{
    VirtIODevice *vdev = pv;
    const VMStateDescription *extra = VIRTIO_TRANSPORT_GET_IFACE(vdev->transport)->extra_state;

    return vmstate_load_state(f, extra, vdev->transport, extra->version_id, errp);
}

static const VMStateInfo info_ring_addresses = {"virtqueues", get_ring_addresses,
                                                put_ring_addresses};
static const VMStateInfo info_ring_sizes = {"ringsize", get_ring_sizes, put_ring_sizes};
static const VMStateInfo info_extra_state = {"virtqueue_extra_state", get_extra_state,
                                             put_extra_state};

#define GENERIC_SUBSECTION(ident, name_, needed_, field_)                \
    static const VMStateDescription ident = {                            \
        .name = name_,                                                   \
        .version_id = 1,                                                 \
        .minimum_version_id = 1,                                         \
        .needed = needed_,                                               \
        .fields = (const VMStateField[]){field_, VMSTATE_END_OF_LIST()}, \
    }
#define WHOLE_DEVICE(name_, info_)                           \
    {                                                        \
        .name = name_, .info = &(info_), .flags = VMS_SINGLE \
    }

GENERIC_SUBSECTION(sub_64bit, "virtio/64bit_features", needed_64bit,
                   VMSTATE_UINT64(guest_features, VirtIODevice));
GENERIC_SUBSECTION(sub_virtqueues, "virtio/virtqueues", needed_virtqueues,
                   WHOLE_DEVICE("vq", info_ring_addresses));
GENERIC_SUBSECTION(sub_ringsize, "virtio/ringsize", needed_ringsize,
                   WHOLE_DEVICE("vq", info_ring_sizes));
GENERIC_SUBSECTION(sub_broken, "virtio/broken", needed_broken, VMSTATE_BOOL(broken, VirtIODevice));
GENERIC_SUBSECTION(sub_extra_state, "virtio/extra_state", needed_extra_state,
                   WHOLE_DEVICE("extra_state", info_extra_state));
GENERIC_SUBSECTION(sub_started, "virtio/started", needed_started,
                   VMSTATE_BOOL(started, VirtIODevice));
GENERIC_SUBSECTION(sub_disabled, "virtio/disabled", needed_disabled,
                   VMSTATE_BOOL(disabled, VirtIODevice));

static const VMStateDescription vmstate_virtio = {
    .name = "virtio",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]){VMSTATE_END_OF_LIST()},
    .subsections =
        (const VMStateDescription *const[]){&sub_64bit, &sub_virtqueues, &sub_ringsize, &sub_broken,
                                            &sub_extra_state, &sub_started, &sub_disabled, NULL},
};

/* ---- B: the common part ---- */

static unsigned queue_count(const VirtIODevice *vdev)
{
    unsigned n = 0;

    while (n < VIRTIO_QUEUE_MAX && vdev->vq[n].num) {
        n++;
    }
    return n;
}

static bool virtio_put(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    VirtIODevice *vdev = pv;
    VirtIODeviceClass *k = VIRTIO_DEVICE_GET_CLASS(vdev);
    VirtioTransportInterface *t = VIRTIO_TRANSPORT_GET_IFACE(vdev->transport);
    unsigned queues = queue_count(vdev);

    if (!t->save_config(VIRTIO_TRANSPORT(vdev->transport), f, errp)) {
        return false;
    }
    qemu_put_byte(f, vdev->status);
    qemu_put_byte(f, vdev->isr);
    qemu_put_be16(f, vdev->queue_sel);
    qemu_put_be32(f, vdev->guest_features);
    qemu_put_be32(f, vdev->config_len);
    qemu_put_buffer(f, vdev->config, vdev->config_len);
    qemu_put_be32(f, queues);
    for (unsigned i = 0; i < queues; i++) {
        const VirtQueue *vq = &vdev->vq[i];

        qemu_put_be32(f, vq->num);
        if (t->has_align) {
            qemu_put_be32(f, vq->align);
        }
        qemu_put_be64(f, vq->desc);
        qemu_put_be16(f, vq->last_avail_idx);
        if (t->save_queue) {
            t->save_queue(VIRTIO_TRANSPORT(vdev->transport), i, f);
        }
    }
    return (!k->save_device || k->save_device(vdev, f, errp)) &&
           (!k->device_vmsd || vmstate_save_state(f, k->device_vmsd, vdev, NULL, errp)) &&
           vmstate_save_state(f, &vmstate_virtio, vdev, NULL, errp);
}

static bool load_config_image(VirtIODevice *vdev, QEMUFile *f, GError **errp)
{
    uint32_t len = qemu_get_be32(f);
    uint32_t mine = MIN(len, vdev->config_len);

    if (len > 4096) {
        error_setg(errp, "configuration of %u bytes is larger than any virtio device has", len);
        return false;
    }
    qemu_get_buffer(f, vdev->config, mine);
    qemu_file_skip(f, len - mine);
    return qemu_file_check(f, errp);
}

static bool load_queue(VirtQueue *vq, QEMUFile *f, bool has_align, GError **errp)
{
    uint32_t num = qemu_get_be32(f);
    uint32_t align = has_align ? qemu_get_be32(f) : VIRTIO_LEGACY_ALIGN;
    uint64_t desc = qemu_get_be64(f);
    uint16_t last_avail = qemu_get_be16(f);

    if (!qemu_file_check(f, errp)) {
        return false;
    }
    if (!num || num > VIRTQUEUE_MAX_SIZE) {
        error_setg(errp, "queue %u: size %u is not in 1..%u", vq->index, num, VIRTQUEUE_MAX_SIZE);
        return false;
    }
    if (!vq->handler) {
        error_setg(errp,
                   "queue %u does not exist here; configure the device like on the source "
                   "(number of queues or ports)",
                   vq->index);
        return false;
    }
    if (align & (align - 1)) {
        error_setg(errp, "queue %u: alignment %u is not a power of two", vq->index, align);
        return false;
    }
    if (!desc && last_avail) {
        error_setg(errp, "VQ %u address 0x0 inconsistent with Host index 0x%x", vq->index,
                   last_avail);
        return false;
    }
    virtqueue_unmap(vq);
    vq->num = num;
    vq->align = align;
    vq->desc = desc;
    vq->avail = vq->used = 0;
    vq->last_avail_idx = vq->shadow_avail_idx = last_avail;
    vq->signalled_used_valid = false;
    vq->notification = true;
    return true;
}

static bool load_common(VirtIODevice *vdev, QEMUFile *f, GError **errp)
{
    VirtioTransportInterface *t = VIRTIO_TRANSPORT_GET_IFACE(vdev->transport);
    uint16_t queue_sel;
    uint32_t queues;

    vdev->status = qemu_get_byte(f);
    vdev->isr = qemu_get_byte(f);
    queue_sel = qemu_get_be16(f);
    if (queue_sel >= VIRTIO_QUEUE_MAX) {
        error_setg(errp, "selected queue %u is not below %u", queue_sel, VIRTIO_QUEUE_MAX);
        return false;
    }
    vdev->queue_sel = queue_sel;
    vdev->guest_features = qemu_get_be32(f);
    if (!load_config_image(vdev, f, errp)) {
        return false;
    }
    queues = qemu_get_be32(f);
    if (queues > VIRTIO_QUEUE_MAX) {
        error_setg(errp, "Invalid number of virtqueues: 0x%x", queues);
        return false;
    }
    for (unsigned i = 0; i < queues; i++) {
        if (!load_queue(&vdev->vq[i], f, t->has_align, errp) ||
            (t->load_queue && !t->load_queue(VIRTIO_TRANSPORT(vdev->transport), i, f, errp))) {
            return false;
        }
    }
    return true;
}

/* ---- what can only be checked when everything is here ---- */

static bool check_features(VirtIODevice *vdev, GError **errp)
{
    if (vdev->guest_features & ~vdev->host_features) {
        error_setg(errp, "Features 0x%" PRIx64 " unsupported. Allowed features: 0x%" PRIx64,
                   vdev->guest_features, vdev->host_features);
        return false;
    }
    return true;
}

/* The used index is in guest memory; together with ours it says how many requests are in flight. */
static bool check_ring(VirtQueue *vq, GError **errp)
{
    VirtIODevice *vdev = vq->vdev;
    uint16_t avail_idx;

    if (!vq->desc) {
        return true;
    }
    if (!virtio_is_modern(vdev)) {
        virtqueue_legacy_layout(vq);
    }
    virtqueue_map(vq);
    if (!virtqueue_ready(vq)) {
        return true; /* the device is broken now, as if the guest had done it here */
    }
    avail_idx = virtqueue_guest_avail_idx(vq);
    if ((uint16_t)(avail_idx - vq->last_avail_idx) > vq->num) {
        error_setg(errp,
                   "VQ %u size 0x%x Guest index 0x%x inconsistent with Host index 0x%x: delta 0x%x",
                   vq->index, vq->num, avail_idx, vq->last_avail_idx,
                   (uint16_t)(avail_idx - vq->last_avail_idx));
        return false;
    }
    vq->used_idx = virtqueue_guest_used_idx(vq);
    vq->inuse = (uint16_t)(vq->last_avail_idx - vq->used_idx);
    if (vq->inuse > vq->num) {
        error_setg(errp, "VQ %u size 0x%x < last_avail_idx 0x%x - used_idx 0x%x", vq->index,
                   vq->num, vq->last_avail_idx, vq->used_idx);
        return false;
    }
    return true;
}

static bool virtio_get(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    VirtIODevice *vdev = pv;
    VirtIODeviceClass *k = VIRTIO_DEVICE_GET_CLASS(vdev);
    VirtioTransport *t = VIRTIO_TRANSPORT(vdev->transport);

    virtio_reset(vdev);
    if (!VIRTIO_TRANSPORT_GET_IFACE(t)->load_config(t, f, errp) || !load_common(vdev, f, errp) ||
        (k->load_device && !k->load_device(vdev, f, errp)) ||
        (k->device_vmsd &&
         !vmstate_load_state(f, k->device_vmsd, vdev, k->device_vmsd->version_id, errp)) ||
        !vmstate_load_state(f, &vmstate_virtio, vdev, vmstate_virtio.version_id, errp) ||
        !check_features(vdev, errp)) {
        return false;
    }
    if (vdev->status & VIRTIO_STATUS_DRIVER_OK) {
        vdev->started = true;
    }
    for (unsigned i = 0; i < VIRTIO_QUEUE_MAX && vdev->vq[i].handler; i++) {
        if (!check_ring(&vdev->vq[i], errp)) {
            return false;
        }
    }
    if (k->post_load && !k->post_load(vdev, errp)) {
        return false;
    }
    VIRTIO_TRANSPORT_GET_IFACE(t)->update_irq(t);
    return true;
}

const VMStateInfo vmstate_info_virtio = {"virtio", virtio_get, virtio_put};
