/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtio device as a PCI function. VirtIOPCI is the function and the transport; the device model
 * is a part of it, on a bus of its own.
 *
 *   virtio-pci.c          life cycle, configuration space, interrupts
 *   virtio-pci-modern.c   registers of virtio 1 (BAR 4)
 *   virtio-pci-legacy.c   registers of virtio 0.9 (BAR 0, I/O)
 *   virtio-pci-vmstate.c  the stream
 *   virtio-pci-devices.c  the types that users name
 */
#ifndef GODWIT_HW_VIRTIO_PCI_H
#define GODWIT_HW_VIRTIO_PCI_H

#include "hw/pcie.h"
#include "hw/virtio.h"

#define VIRTIO_PCI_LEGACY_BAR 0
#define VIRTIO_PCI_MSIX_BAR   1
#define VIRTIO_PCI_MODERN_BAR 4

enum { /* BAR 4 */
       VIRTIO_PCI_COMMON,
       VIRTIO_PCI_ISR,
       VIRTIO_PCI_DEVICE,
       VIRTIO_PCI_NOTIFY,
       VIRTIO_PCI_AREAS,
       VIRTIO_PCI_AREA_SIZE = 0x1000,
       VIRTIO_PCI_NOTIFY_STRIDE = 4,
};

/* What a modern driver programs before it enables a queue; low half first. */
typedef struct {
    uint16_t num;
    bool enabled;
    uint32_t desc[2], avail[2], used[2];
} VirtIOPCIQueue;

#define TYPE_VIRTIO_PCI (virtio_pci_get_type())
GType virtio_pci_get_type(void);
#define VIRTIO_PCI(obj) (G_TYPE_CHECK_INSTANCE_CAST((obj), TYPE_VIRTIO_PCI, VirtIOPCI))
#define VIRTIO_PCI_GET_CLASS(obj) \
    (G_TYPE_INSTANCE_GET_CLASS((obj), TYPE_VIRTIO_PCI, VirtIOPCIClass))

typedef struct {
    PCIDevice parent;
    DeviceState *part;  /* the device model */
    VirtIODevice *vdev; /* the same while it is plugged */
    Bus *bus;
    bool legacy, modern;
    unsigned config_cap; /* the capability through which BAR 4 can be reached; 0: none */
    MemoryRegion legacy_region, areas[VIRTIO_PCI_AREAS];
    uint32_t dfselect, gfselect;
    uint32_t guest_features[2];
    VirtIOPCIQueue *vqs; /* VIRTIO_QUEUE_MAX */
    /* properties */
    char *disable_legacy;
    bool disable_modern;
    uint32_t vectors;
} VirtIOPCI;

typedef struct {
    PCIDeviceClass parent_class;
    const char *part_type;    /* "virtio-blk-device" */
    uint16_t transitional_id; /* device id while the legacy registers are there */
    /* MSI-X vectors unless the user says so; the part is not realized yet. */
    uint32_t (*default_vectors)(VirtIOPCI *s);
} VirtIOPCIClass;

/* The driver resets the device. */
void virtio_pci_reset_by_driver(VirtIOPCI *s);
/* What the isr register reads, which acknowledges it. */
uint8_t virtio_pci_read_isr(VirtIOPCI *s);
/* @vector if it exists, VIRTIO_NO_VECTOR otherwise. */
uint16_t virtio_pci_check_vector(VirtIOPCI *s, uint32_t vector);

/* Set up the regions of BAR 4; an access through the capability. */
void virtio_pci_modern_init(VirtIOPCI *s);
uint32_t virtio_pci_modern_read(VirtIOPCI *s, uint32_t offset, unsigned size);
void virtio_pci_modern_write(VirtIOPCI *s, uint32_t offset, unsigned size, uint32_t value);
/* Set up the region of BAR 0, @size bytes. */
void virtio_pci_legacy_init(VirtIOPCI *s, uint64_t size);
#define VIRTIO_PCI_LEGACY_HEADER 24 /* with the MSI-X words */

bool virtio_pci_save_config(VirtioTransport *t, QEMUFile *f, GError **errp);
bool virtio_pci_load_config(VirtioTransport *t, QEMUFile *f, GError **errp);
void virtio_pci_save_queue(VirtioTransport *t, unsigned n, QEMUFile *f);
bool virtio_pci_load_queue(VirtioTransport *t, unsigned n, QEMUFile *f, GError **errp);
extern const VMStateDescription vmstate_virtio_pci;

#endif
