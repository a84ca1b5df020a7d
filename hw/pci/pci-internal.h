/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of hw/pci share about a function. */
#ifndef GODWIT_HW_PCI_INTERNAL_H
#define GODWIT_HW_PCI_INTERNAL_H

#include "hw/pci.h"

typedef struct {
    uint64_t offset; /* inside the BAR */
    MemoryRegion *mr;
} PCIBarRegion;

typedef struct {
    uint64_t size; /* 0: no such BAR */
    uint8_t type;
    GArray *regions;  /* PCIBarRegion */
    uint64_t address; /* where the regions are mapped now, in the system's address space */
} PCIBar;

typedef struct {
    PCIConfig cfg;
    int devfn;
    char *addr; /* the property: slot[.function] */
    char *romfile;
    bool multifunction;
    PCIBus *bus;
    PCIBar bars[PCI_NUM_BARS];
    PCIMsix *msix;
} PCIDevicePrivate;

PCIDevicePrivate *pci_priv(PCIDevice *dev);

void pci_bus_attach(PCIBus *bus, PCIDevice *dev);
void pci_bus_detach(PCIBus *bus, PCIDevice *dev);
/* What @dev asserts on @pin changed. */
void pci_bus_pin_changed(PCIDevice *dev, unsigned pin);
/* irq_state unless the guest disabled the pins. */
bool pci_pin_level(PCIDevice *dev, unsigned pin);

void pci_msix_config_changed(PCIDevice *dev, unsigned addr, unsigned len);
void pci_msix_free(PCIDevice *dev);

#endif
