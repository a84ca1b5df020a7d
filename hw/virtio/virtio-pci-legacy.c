/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-pci: the registers of virtio 0.9, in I/O space. */
#include "hw/virtio/virtio-pci.h"

enum {
    LEGACY_HOST_FEATURES = 0,
    LEGACY_GUEST_FEATURES = 4,
    LEGACY_QUEUE_PFN = 8,
    LEGACY_QUEUE_NUM = 12,
    LEGACY_QUEUE_SEL = 14,
    LEGACY_QUEUE_NOTIFY = 16,
    LEGACY_STATUS = 18,
    LEGACY_ISR = 19,
    LEGACY_CONFIG_VECTOR = 20, /* this and the next: while MSI-X is enabled */
    LEGACY_QUEUE_VECTOR = 22,
};

#define PFN_SHIFT 12
/* Offered so that a driver which takes all features is found out. */
#define BAD_FEATURE (1u << 30)

/* Device configuration follows the header, which is longer while MSI-X is enabled. */
static unsigned header_size(VirtIOPCI *s)
{
    return pci_msix_enabled(&s->parent) ? VIRTIO_PCI_LEGACY_HEADER : LEGACY_CONFIG_VECTOR;
}

static uint32_t header_read(VirtIOPCI *s, hwaddr addr)
{
    VirtIODevice *vdev = s->vdev;
    VirtQueue *vq = &vdev->vq[vdev->queue_sel];

    switch (addr) {
    case LEGACY_HOST_FEATURES:
        return (uint32_t)vdev->host_features | BAD_FEATURE;
    case LEGACY_GUEST_FEATURES:
        return vdev->guest_features;
    case LEGACY_QUEUE_PFN:
        return vq->desc >> PFN_SHIFT;
    case LEGACY_QUEUE_NUM:
        return vq->num;
    case LEGACY_QUEUE_SEL:
        return vdev->queue_sel;
    case LEGACY_STATUS:
        return vdev->status;
    case LEGACY_ISR:
        return virtio_pci_read_isr(s);
    case LEGACY_CONFIG_VECTOR:
        return vdev->config_vector;
    case LEGACY_QUEUE_VECTOR:
        return vq->vector;
    default:
        return UINT32_MAX;
    }
}

static void write_pfn(VirtIOPCI *s, uint32_t pfn)
{
    if (pfn) {
        virtio_queue_set_addr(s->vdev, s->vdev->queue_sel, (uint64_t)pfn << PFN_SHIFT);
    } else {
        virtio_pci_reset_by_driver(s);
    }
}

static void header_write(VirtIOPCI *s, hwaddr addr, uint32_t value)
{
    VirtIODevice *vdev = s->vdev;

    switch (addr) {
    case LEGACY_GUEST_FEATURES:
        virtio_set_features(vdev, value & BAD_FEATURE ? 0 : value);
        break;
    case LEGACY_QUEUE_PFN:
        write_pfn(s, value);
        break;
    case LEGACY_QUEUE_SEL:
        if (value < VIRTIO_QUEUE_MAX) {
            vdev->queue_sel = value;
        }
        break;
    case LEGACY_QUEUE_NOTIFY:
        virtio_queue_notify(vdev, value);
        break;
    case LEGACY_STATUS:
        virtio_set_status(vdev, value);
        if (!(value & 0xff)) {
            virtio_pci_reset_by_driver(s);
        }
        break;
    case LEGACY_CONFIG_VECTOR:
        vdev->config_vector = virtio_pci_check_vector(s, value);
        break;
    case LEGACY_QUEUE_VECTOR:
        vdev->vq[vdev->queue_sel].vector = virtio_pci_check_vector(s, value);
        break;
    default:
        break;
    }
}

static MemTxResult legacy_read(void *opaque, hwaddr addr, unsigned size, uint64_t *value)
{
    VirtIOPCI *s = opaque;

    *value = addr < header_size(s) ? header_read(s, addr)
                                   : virtio_config_read(s->vdev, addr - header_size(s), size);
    *value &= UINT64_MAX >> (64 - 8 * size);
    return MEMTX_OK;
}

static MemTxResult legacy_write(void *opaque, hwaddr addr, unsigned size, uint64_t value)
{
    VirtIOPCI *s = opaque;

    if (addr < header_size(s)) {
        header_write(s, addr, value);
    } else {
        virtio_config_write(s->vdev, addr - header_size(s), size, value);
    }
    return MEMTX_OK;
}

static const MemoryRegionOps legacy_ops = {
    .read = legacy_read, .write = legacy_write, .sizes = 1 | 2 | 4, .split = true};

void virtio_pci_legacy_init(VirtIOPCI *s, uint64_t size)
{
    memory_region_init_io(&s->legacy_region, "virtio-pci", size, &legacy_ops, s);
    pci_bar_add_region(&s->parent, VIRTIO_PCI_LEGACY_BAR, 0, &s->legacy_region);
}
