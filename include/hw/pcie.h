/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI Express: the capability of end points, and a port's slot with hot plug (spec 80 section 11).
 * Big lock held.
 */
#ifndef GODWIT_HW_PCIE_H
#define GODWIT_HW_PCIE_H

#include "hw/pci.h"

#define PCIE_CAP_SIZE 0x3C

/* An end point's capability: 2.5 GT/s, one lane, function level reset. In realize_function of a
 * function for which pci_is_express(). */
void pcie_endpoint_init(PCIDevice *dev, unsigned cap);
/* In config_changed: a function level reset if the guest asked for one. */
void pcie_endpoint_config_changed(PCIDevice *dev, unsigned cap, unsigned addr, unsigned len);
void pcie_endpoint_reset(PCIDevice *dev, unsigned cap);

/*
 * A root port's slot: one device, which may come and go. What the guest sees is in the port's
 * configuration space and travels with it.
 */
typedef struct {
    PCIDevice *port;
    unsigned cap;
    PCIBus *bus;
    /* The control word before the guest's last write. */
    uint16_t control;
    bool notified;       /* the interrupt line, or the edge of the message */
    bool unplug_pending; /* the guest was asked to let go */
} PCIESlot;

/* The port's capability with slot @number; @hotplug: the slot takes devices while the guest runs.
 */
void pcie_slot_init(PCIESlot *s, PCIDevice *port, unsigned cap, uint16_t number, bool hotplug);
void pcie_slot_reset(PCIESlot *s);
/* A device sits on the bus now; @event: tell the guest. */
void pcie_slot_plugged(PCIESlot *s, bool event);
/* Ask the guest to let go of the device; it goes at once if its power is off. */
bool pcie_slot_unplug_request(PCIESlot *s, PCIDevice *dev, GError **errp);
void pcie_slot_config_changed(PCIESlot *s, unsigned addr, unsigned len);
/* After a load: what follows from the words. */
void pcie_slot_loaded(PCIESlot *s);

#endif
