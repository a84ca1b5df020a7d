/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-pci: the four register areas of virtio 1. */
#include "hw/virtio/virtio-pci.h"

enum { /* common configuration */
       COMMON_DFSELECT = 0x00,
       COMMON_DF = 0x04,
       COMMON_GFSELECT = 0x08,
       COMMON_GF = 0x0c,
       COMMON_MSIX = 0x10,
       COMMON_NUM_QUEUES = 0x12,
       COMMON_STATUS = 0x14,
       COMMON_GENERATION = 0x15,
       COMMON_Q_SELECT = 0x16,
       COMMON_Q_SIZE = 0x18,
       COMMON_Q_MSIX = 0x1a,
       COMMON_Q_ENABLE = 0x1c,
       COMMON_Q_NOTIFY_OFF = 0x1e,
       COMMON_Q_DESC = 0x20,
       COMMON_Q_AVAIL = 0x28,
       COMMON_Q_USED = 0x30,
       COMMON_Q_RESET = 0x3a,
};

static uint64_t join(const uint32_t half[2])
{
    return (uint64_t)half[1] << 32 | half[0];
}

static unsigned queue_count(const VirtIODevice *vdev)
{
    unsigned n = 0;

    for (unsigned i = 0; i < VIRTIO_QUEUE_MAX; i++) {
        n = vdev->vq[i].num ? i + 1 : n;
    }
    return n;
}

static uint32_t device_features(VirtIOPCI *s)
{
    uint64_t features = s->vdev->host_features &
                        ~VIRTIO_DEVICE_GET_CLASS(s->vdev)->legacy_features &
                        ~(1ULL << VIRTIO_F_NOTIFY_ON_EMPTY | 1ULL << VIRTIO_F_ANY_LAYOUT);

    return s->dfselect < 2 ? features >> (32 * s->dfselect) : 0;
}

static uint32_t common_read(VirtIOPCI *s, hwaddr addr)
{
    VirtIODevice *vdev = s->vdev;
    VirtQueue *vq = &vdev->vq[vdev->queue_sel];
    const VirtIOPCIQueue *q = &s->vqs[vdev->queue_sel];

    switch (addr) {
    case COMMON_DFSELECT:
        return s->dfselect;
    case COMMON_DF:
        return device_features(s);
    case COMMON_GFSELECT:
        return s->gfselect;
    case COMMON_GF:
        return s->gfselect < 2 ? s->guest_features[s->gfselect] : 0;
    case COMMON_MSIX:
        return vdev->config_vector;
    case COMMON_NUM_QUEUES:
        return queue_count(vdev);
    case COMMON_STATUS:
        return vdev->status;
    case COMMON_GENERATION:
        return vdev->generation & 0xff;
    case COMMON_Q_SELECT:
        return vdev->queue_sel;
    case COMMON_Q_SIZE:
        return vq->num;
    case COMMON_Q_MSIX:
        return vq->vector;
    case COMMON_Q_ENABLE:
        return q->enabled;
    case COMMON_Q_NOTIFY_OFF:
        return vdev->queue_sel;
    case COMMON_Q_DESC:
    case COMMON_Q_DESC + 4:
        return q->desc[addr != COMMON_Q_DESC];
    case COMMON_Q_AVAIL:
    case COMMON_Q_AVAIL + 4:
        return q->avail[addr != COMMON_Q_AVAIL];
    case COMMON_Q_USED:
    case COMMON_Q_USED + 4:
        return q->used[addr != COMMON_Q_USED];
    default: /* a reset of a queue is over when the write is */
        return 0;
    }
}

static void write_status(VirtIOPCI *s, uint8_t status)
{
    if (status & VIRTIO_STATUS_FEATURES_OK) {
        virtio_set_features(s->vdev, join(s->guest_features));
    }
    virtio_set_status(s->vdev, status);
    if (!status) {
        virtio_pci_reset_by_driver(s);
    }
}

static void enable_queue(VirtIOPCI *s, uint32_t value)
{
    unsigned sel = s->vdev->queue_sel;
    VirtIOPCIQueue *q = &s->vqs[sel];

    if (value != 1) {
        virtio_error(s->vdev, "the driver wrote %u to queue_enable", value);
        return;
    }
    if (q->num) {
        virtio_queue_set_num(s->vdev, sel, q->num);
    }
    virtio_queue_set_rings(s->vdev, sel, join(q->desc), join(q->avail), join(q->used));
    q->enabled = true;
}

static void common_write(VirtIOPCI *s, hwaddr addr, uint32_t value)
{
    VirtIODevice *vdev = s->vdev;
    VirtQueue *vq = &vdev->vq[vdev->queue_sel];
    VirtIOPCIQueue *q = &s->vqs[vdev->queue_sel];

    switch (addr) {
    case COMMON_DFSELECT:
        s->dfselect = value;
        break;
    case COMMON_GFSELECT:
        s->gfselect = value;
        break;
    case COMMON_GF:
        if (s->gfselect < 2) {
            s->guest_features[s->gfselect] = value;
        }
        break;
    case COMMON_MSIX:
        vdev->config_vector = virtio_pci_check_vector(s, value);
        break;
    case COMMON_STATUS:
        write_status(s, value);
        break;
    case COMMON_Q_SELECT:
        if (value < VIRTIO_QUEUE_MAX) {
            vdev->queue_sel = value;
        }
        break;
    case COMMON_Q_SIZE:
        q->num = value;
        virtio_queue_set_num(vdev, vdev->queue_sel, q->num);
        break;
    case COMMON_Q_MSIX:
        vq->vector = virtio_pci_check_vector(s, value);
        break;
    case COMMON_Q_ENABLE:
        enable_queue(s, value);
        break;
    case COMMON_Q_DESC:
    case COMMON_Q_DESC + 4:
        q->desc[addr != COMMON_Q_DESC] = value;
        break;
    case COMMON_Q_AVAIL:
    case COMMON_Q_AVAIL + 4:
        q->avail[addr != COMMON_Q_AVAIL] = value;
        break;
    case COMMON_Q_USED:
    case COMMON_Q_USED + 4:
        q->used[addr != COMMON_Q_USED] = value;
        break;
    case COMMON_Q_RESET:
        if (value == 1 && virtio_has_feature(vdev, VIRTIO_F_RING_RESET)) {
            virtio_queue_reset(vdev, vdev->queue_sel);
            *q = (VirtIOPCIQueue){0};
        }
        break;
    default:
        break;
    }
}

/* ---- the areas ---- */

uint32_t virtio_pci_modern_read(VirtIOPCI *s, uint32_t offset, unsigned size)
{
    uint32_t at = offset % VIRTIO_PCI_AREA_SIZE, value;

    switch (offset / VIRTIO_PCI_AREA_SIZE) {
    case VIRTIO_PCI_COMMON:
        value = common_read(s, at);
        break;
    case VIRTIO_PCI_ISR:
        value = virtio_pci_read_isr(s);
        break;
    case VIRTIO_PCI_DEVICE:
        value = virtio_config_read(s->vdev, at, size);
        break;
    default:
        value = 0;
        break;
    }
    return value & (UINT32_MAX >> (32 - 8 * size));
}

void virtio_pci_modern_write(VirtIOPCI *s, uint32_t offset, unsigned size, uint32_t value)
{
    uint32_t at = offset % VIRTIO_PCI_AREA_SIZE;

    value &= UINT32_MAX >> (32 - 8 * size);
    switch (offset / VIRTIO_PCI_AREA_SIZE) {
    case VIRTIO_PCI_COMMON:
        common_write(s, at, value);
        break;
    case VIRTIO_PCI_DEVICE:
        virtio_config_write(s->vdev, at, size, value);
        break;
    case VIRTIO_PCI_NOTIFY:
        virtio_queue_notify(s->vdev, at / VIRTIO_PCI_NOTIFY_STRIDE);
        break;
    default:
        break;
    }
}

#define AREA_ACCESSORS(name, area)                                                            \
    static MemTxResult name##_read(void *opaque, hwaddr addr, unsigned size, uint64_t *value) \
    {                                                                                         \
        *value = virtio_pci_modern_read(opaque, (area)*VIRTIO_PCI_AREA_SIZE + addr, size);    \
        return MEMTX_OK;                                                                      \
    }                                                                                         \
    static MemTxResult name##_write(void *opaque, hwaddr addr, unsigned size, uint64_t value) \
    {                                                                                         \
        virtio_pci_modern_write(opaque, (area)*VIRTIO_PCI_AREA_SIZE + addr, size, value);     \
        return MEMTX_OK;                                                                      \
    }
#define AREA_OPS(name)                                                                \
    {                                                                                 \
        .read = name##_read, .write = name##_write, .sizes = 1 | 2 | 4, .split = true \
    }

AREA_ACCESSORS(area_common, VIRTIO_PCI_COMMON)
AREA_ACCESSORS(area_isr, VIRTIO_PCI_ISR)
AREA_ACCESSORS(area_device, VIRTIO_PCI_DEVICE)
AREA_ACCESSORS(area_notify, VIRTIO_PCI_NOTIFY)

static const struct {
    const char *name;
    MemoryRegionOps ops;
} areas[VIRTIO_PCI_AREAS] = {
    [VIRTIO_PCI_COMMON] = {"virtio-pci-common", AREA_OPS(area_common)},
    [VIRTIO_PCI_ISR] = {"virtio-pci-isr", AREA_OPS(area_isr)},
    [VIRTIO_PCI_DEVICE] = {"virtio-pci-device", AREA_OPS(area_device)},
    [VIRTIO_PCI_NOTIFY] = {"virtio-pci-notify", AREA_OPS(area_notify)},
};

void virtio_pci_modern_init(VirtIOPCI *s)
{
    for (unsigned i = 0; i < VIRTIO_PCI_AREAS; i++) {
        memory_region_init_io(&s->areas[i], areas[i].name, VIRTIO_PCI_AREA_SIZE, &areas[i].ops, s);
        pci_bar_add_region(&s->parent, VIRTIO_PCI_MODERN_BAR, i * VIRTIO_PCI_AREA_SIZE,
                           &s->areas[i]);
    }
}
