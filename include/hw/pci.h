/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Conventional PCI functions on a root bus: configuration space, INTx and their state in the stream
 * (spec 80 section 11, spec 82 section 7). A device derives from PCIDevice, fills in config in its
 * realize (after chaining up) and plugs into a bus of type "PCIE".
 */
#ifndef GODWIT_HW_PCI_H
#define GODWIT_HW_PCI_H

#include "hw/device.h"

#define PCI_CONFIG_SIZE 256
#define PCI_NUM_PINS    4
#define PCI_SLOTS       32
#define TYPE_PCIE_BUS   "PCIE"

enum {
    PCI_VENDOR_ID = 0x00,
    PCI_DEVICE_ID = 0x02,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_REVISION_ID = 0x08,
    PCI_CLASS_PROG = 0x09,
    PCI_CLASS_DEVICE = 0x0A,
    PCI_CACHE_LINE_SIZE = 0x0C,
    PCI_HEADER_TYPE = 0x0E,
    PCI_SUBSYSTEM_VENDOR_ID = 0x2C,
    PCI_SUBSYSTEM_ID = 0x2E,
    PCI_CAPABILITY_LIST = 0x34,
    PCI_INTERRUPT_LINE = 0x3C,
    PCI_INTERRUPT_PIN = 0x3D,
};

typedef struct PCIBus PCIBus;

#define TYPE_PCI_DEVICE (pci_device_get_type())
G_DECLARE_DERIVABLE_TYPE(PCIDevice, pci_device, HW, PCI_DEVICE, DeviceState)

struct _PCIDeviceClass {
    DeviceStateClass parent_class;
    uint16_t vendor_id, device_id, class_id, subsystem_vendor_id, subsystem_id;
    uint8_t revision;
    /* After bytes of config changed, by the guest or by loading; optional. */
    void (*config_changed)(PCIDevice *dev, unsigned addr, unsigned len);
};

/* First member of the section of every function: VMSTATE_PCI_DEVICE(). */
typedef struct {
    int32_t version_id;
    uint8_t config[PCI_CONFIG_SIZE];
    uint32_t irq_state[PCI_NUM_PINS]; /* INTA..INTD asserted, 0 or 1 */
    /* Not in the stream: which bits must match, may be written, are cleared by writing 1. */
    uint8_t cmask[PCI_CONFIG_SIZE];
    uint8_t wmask[PCI_CONFIG_SIZE];
    uint8_t w1cmask[PCI_CONFIG_SIZE];
    PCIDevice *dev;
} PCIConfig;

PCIConfig *pci_config(PCIDevice *dev);
/* Slot and function; fixed before realize, or the lowest free slot when negative. */
void pci_set_devfn(PCIDevice *dev, int devfn);
int pci_devfn(PCIDevice *dev);
/* Drive pin 0..3 (INTA..INTD). */
void pci_set_irq(PCIDevice *dev, unsigned pin, bool level);

extern const VMStateDescription vmstate_pci_config;
/* For a section whose opaque is the device: @f is a PCIConfig pointer member, set to pci_config()
 * in instance init. */
#define VMSTATE_PCI_CONFIG(f, s) VMSTATE_STRUCT_POINTER(f, s, vmstate_pci_config, PCIConfig)

static inline void pci_put_le16(uint8_t *p, uint16_t v)
{
    p[0] = v;
    p[1] = v >> 8;
}

/* ---- the bus; host bridges use these ---- */
/* Pin p of device d drives irqs[(d + p) % 4]. */
PCIBus *pci_bus_new(Machine *m, const char *name, DeviceState *host, const Irq irqs[PCI_NUM_PINS]);
void pci_bus_free(PCIBus *bus);
/* For -device and device_realize(). */
Bus *pci_bus_slots(PCIBus *bus);
PCIDevice *pci_bus_find(PCIBus *bus, unsigned bus_nr, unsigned devfn);
/* Configuration accesses: absent functions and registers read as ones. Size 1, 2 or 4, naturally
 * aligned. */
uint32_t pci_config_read(PCIDevice *dev, unsigned reg, unsigned size);
void pci_config_write(PCIDevice *dev, unsigned reg, unsigned size, uint32_t value);
/* The "PCIBUS" section; its opaque is the bus. */
extern const VMStateDescription vmstate_pci_bus;

/*
 * The generic PCIe host: ECAM, windows, host bridge 00:00.0 and bus "pcie.0". Sections in stream
 * order: 0000:00:00.0/gpex_root, PCIHost, PCIBUS.
 */
typedef struct {
    hwaddr ecam_base, ecam_size;
    hwaddr pio_base, pio_size;
    hwaddr mmio32_base, mmio32_size;
    hwaddr mmio64_base, mmio64_size;
    Irq irqs[PCI_NUM_PINS];
} GpexConfig;
DeviceState *gpex_create(Machine *m, const GpexConfig *cfg, GError **errp);

#endif
