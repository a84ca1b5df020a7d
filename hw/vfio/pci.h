/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef GODWIT_HW_VFIO_PCI_H
#define GODWIT_HW_VFIO_PCI_H

#include "hw/pci.h"
#include "hw/vfio/device.h"
#include "migration/migration.h"
#include "qapi-types-vfio.h"

typedef struct VFIOPCI VFIOPCI;
typedef struct VFIOMigration VFIOMigration;

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
    VFIOMigration *migration;  /* or */
    MigrationBlocker *blocker; /* why not */
    VFIOBar bars[PCI_NUM_BARS];
    uint8_t
        emulated[PCI_CONFIG_SIZE]; /* bits that the device's own configuration does not decide */
    VFIOVector intx;
    VFIOVector *vectors; /* MSI-X, pci_msix_vectors() of them; while enabled */
    unsigned n_vectors;
    /* properties */
    char *socket;
    uint32_t msg_timeout;
    bool enable_migration;
    bool migration_events;
};

/* The device signals its pin and its vectors through eventfds from now on. */
bool vfio_pci_irq_init(VFIOPCI *s, GError **errp);
void vfio_pci_irq_cleanup(VFIOPCI *s);
/* After the device was reset. */
void vfio_pci_irq_reset(VFIOPCI *s);
/* The device learns the command word of the guest's view. */
void vfio_pci_forward_command(VFIOPCI *s);

/* The device's section and its states (migration.c). */
VFIOMigration *vfio_migration_new(VFIOPCI *s);
void vfio_migration_free(VFIOMigration *v);
void vfio_migration_vm_state(VFIOMigration *v, bool running);
/* Reset the device in whatever state it is; a migration under way fails. */
void vfio_migration_reset(VFIOMigration *v);

/* What is known of it; the caller's. Any thread. */
VFIOMigrationInfo *vfio_migration_info(VFIOMigration *v);

/* The guest touched a register: a pin that still asserts must signal again. */
void vfio_pci_intx_eoi(VFIOPCI *s);

#endif
