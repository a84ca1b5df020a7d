/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef GODWIT_HW_VFIO_PCI_H
#define GODWIT_HW_VFIO_PCI_H

#include "hw/pci.h"
#include "hw/vfio/migration.h"

typedef struct VFIOPCI VFIOPCI;

typedef struct {
    VFIOPCI *s;
    unsigned nr;
    int fd;      /* eventfd, -1 while it does not exist */
    guint watch; /* GSource id */
} VFIOVector;

typedef struct {
    VFIOPCI *s;
    unsigned nr;
    MemoryRegion mr;
} VFIOBar;

struct VFIOPCI {
    PCIDevice parent;
    VFIODevice *dev;
    VFIOContainer *container;
    VFIODirty *dirty;
    VFIOMigration *migration;      /* or */
    MigrationBlocker *blocker;     /* why not */
    MigrationBlocker *p2p_blocker; /* why not together with others */
    VFIOBar bars[PCI_NUM_BARS];
    uint8_t
        emulated[PCI_CONFIG_SIZE]; /* bits that the device's own configuration does not decide */
    VFIOVector intx;
    VFIOVector *vectors; /* MSI-X, pci_msix_vectors() of them; while enabled */
    unsigned n_vectors;
    /* properties */
    bool enable_migration;
    bool migration_events;
};

typedef struct {
    PCIDeviceClass parent_class;
    /* The properties are set: reach the device, which messages call @name. */
    VFIODevice *(*open)(VFIOPCI *s, const char *name, GError **errp);
} VFIOPCIClass;

#define TYPE_VFIO_PCI_BASE (vfio_pci_base_get_type())
GType vfio_pci_base_get_type(void);
#define VFIO_PCI(obj) (G_TYPE_CHECK_INSTANCE_CAST((obj), TYPE_VFIO_PCI_BASE, VFIOPCI))

/* The device signals its pin and its vectors through eventfds from now on. */
bool vfio_pci_irq_init(VFIOPCI *s, GError **errp);
void vfio_pci_irq_cleanup(VFIOPCI *s);
/* After the device was reset. */
void vfio_pci_irq_reset(VFIOPCI *s);
/* The device learns the command word of the guest's view. */
void vfio_pci_forward_command(VFIOPCI *s);

/* @device if it is such a function, or NULL. */
VFIOPCI *vfio_pci_from(gpointer device);

/* Let it migrate, or block migration and say why (pci-migration.c). False: it may be neither. */
bool vfio_pci_migration_init(VFIOPCI *s, GError **errp);
void vfio_pci_migration_cleanup(VFIOPCI *s);

/* The guest touched a register: a pin that still asserts must signal again. */
void vfio_pci_intx_eoi(VFIOPCI *s);

#endif
