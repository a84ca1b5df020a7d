/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The migration of one VFIO device: its state in the stream and the states it goes through for
 * that (spec 60 sections 3 to 7). Nothing here knows of PCI: the owner keeps the configuration.
 */
#ifndef GODWIT_HW_VFIO_MIGRATION_H
#define GODWIT_HW_VFIO_MIGRATION_H

#include "hw/vfio/device.h"
#include "migration/migration.h"
#include "qapi-types-vfio.h"

typedef struct VFIOMigration VFIOMigration;

/* What the device belongs to; all must outlive the migration. */
typedef struct {
    VFIODevice *dev;
    Migration *migration;
    /* The configuration the guest has given it, the whole payload of CONFIG; migration or incoming
     * thread, big lock. The device is RESUMING when it is loaded. */
    bool (*save_config)(void *opaque, QEMUFile *f, GError **errp);
    bool (*load_config)(void *opaque, QEMUFile *f, GError **errp);
    /* The device has changed its state; any thread. */
    void (*state_changed)(void *opaque, VFIOMigrationState state);
    /* What came with the migration does not run: the guest must not go on. Big lock. */
    void (*stop_guest)(void *opaque);
    void *opaque;
} VFIOMigrationOwner;

/* Registers section "@path/vfio". The device is RUNNING. */
VFIOMigration *vfio_migration_new(const VFIOMigrationOwner *owner, const char *path);
void vfio_migration_free(VFIOMigration *v);

/*
 * The VM stops or runs, in two phases: first all devices leave off reaching for each other, then
 * each stops; and back. The first one is only for devices with P2P states. Big lock.
 */
void vfio_migration_vm_prepare(VFIOMigration *v, bool running);
void vfio_migration_vm_state(VFIOMigration *v, bool running);
/* Reset the device in whatever state it is; a migration under way fails. Big lock. */
void vfio_migration_reset(VFIOMigration *v);

/* The figures of @info; any thread. */
void vfio_migration_fill_info(VFIOMigration *v, VFIOMigrationInfo *info);

#endif
