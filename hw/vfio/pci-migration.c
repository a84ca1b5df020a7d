/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI functions that migrate: the configuration the guest gave them, what is told about them, and
 * what keeps them, and with them their machine, from migrating (spec 60 sections 2.4 and 8).
 */
#include "hw/vfio.h"
#include "hw/vfio/pci.h"
#include "qapi-events-vfio.h"

/* ---- what migration.c asks of its owner ---- */

static bool save_config(void *opaque, QEMUFile *f, GError **errp)
{
    PCIDevice *dev = &((VFIOPCI *)opaque)->parent;

    if (!vmstate_save_state(f, &vmstate_pci_config, pci_config(dev), NULL, errp)) {
        return false;
    }
    pci_msix_save(dev, f);
    return true;
}

/* The device learns the guest's command word, and its vectors if they are on. */
static bool load_config(void *opaque, QEMUFile *f, GError **errp)
{
    VFIOPCI *s = opaque;
    PCIDevice *dev = &s->parent;

    if (!vmstate_load_state(f, &vmstate_pci_config, pci_config(dev), vmstate_pci_config.version_id,
                            errp) ||
        !pci_msix_load(dev, f, errp)) {
        return false;
    }
    vfio_pci_forward_command(s);
    return true;
}

static void state_changed(void *opaque, VFIOMigrationState state)
{
    VFIOPCI *s = opaque;
    DeviceState *dev = HW_DEVICE(s);
    const char *id = device_id(dev);
    g_autofree char *path = NULL;

    if (s->migration_events) {
        path = device_qom_path(dev);
        qapi_event_send_vfio_migration(&device_machine(dev)->events, id ? id : "", path, state);
    }
}

static void stop_guest(void *opaque)
{
    Machine *m = device_machine(HW_DEVICE(opaque));

    if (m->requests.internal_error_request) {
        m->requests.internal_error_request(m->requests.opaque);
    }
}

/* ---- what is told ---- */

static VFIOMigrationInfo *info_of(VFIOPCI *s)
{
    VFIOMigrationInfo *info = g_new0(VFIOMigrationInfo, 1);
    const char *id = device_id(HW_DEVICE(s));

    info->device_id = g_strdup(id ? id : "");
    info->qom_path = device_qom_path(HW_DEVICE(s));
    vfio_migration_fill_info(s->migration, info);
    return info;
}

/* Of each that can migrate; VFIOPCI. */
static GPtrArray *migrating_functions(Machine *m)
{
    GPtrArray *list = g_ptr_array_new();

    for (guint i = 0; m && m->devices && i < m->devices->len; i++) {
        VFIOPCI *s = vfio_pci_from(m->devices->pdata[i]);

        if (s && s->migration) {
            g_ptr_array_add(list, s);
        }
    }
    return list;
}

GPtrArray *vfio_migration_query(Machine *m)
{
    g_autoptr(GPtrArray) functions = migrating_functions(m);
    GPtrArray *list = qapi_list_new_VFIOMigrationInfo();

    for (guint i = 0; i < functions->len; i++) {
        g_ptr_array_add(list, info_of(functions->pdata[i]));
    }
    return list;
}

bool vfio_migration_bytes(Machine *m, uint64_t *bytes)
{
    g_autoptr(GPtrArray) list = vfio_migration_query(m);

    *bytes = 0;
    for (guint i = 0; i < list->len; i++) {
        *bytes += ((VFIOMigrationInfo *)list->pdata[i])->sent;
    }
    return list->len > 0;
}

/* ---- what keeps them ---- */

static bool block(VFIOPCI *s, MigrationBlocker **blocker, const char *why, GError **errp)
{
    g_autofree char *reason = g_strdup_printf("%s: %s", s->dev->name, why);

    *blocker = migration_add_blocker(device_machine(HW_DEVICE(s))->migration, reason, errp);
    return *blocker != NULL;
}

static void unblock(VFIOPCI *s, MigrationBlocker **blocker)
{
    if (*blocker) {
        migration_del_blocker(device_machine(HW_DEVICE(s))->migration, *blocker);
        *blocker = NULL;
    }
}

/*
 * A device that stops at once may still be written to by one that stops a moment later: with more
 * than one, all must know the states in between. @joining is not among the machine's devices yet.
 */
static bool update_p2p_blockers(Machine *m, VFIOPCI *joining, GError **errp)
{
    g_autoptr(GPtrArray) functions = migrating_functions(m);

    if (joining) {
        g_ptr_array_add(functions, joining);
    }
    for (guint i = 0; i < functions->len; i++) {
        VFIOPCI *s = functions->pdata[i];
        bool blocked =
            functions->len > 1 && !(s->dev->ops->migration_flags(s->dev) & VFIO_MIGRATION_P2P);

        if (!blocked) {
            unblock(s, &s->p2p_blocker);
        } else if (!s->p2p_blocker &&
                   !block(s, &s->p2p_blocker,
                          "it has no P2P states, which all VFIO devices of a machine with more "
                          "than one must have to migrate",
                          errp)) {
            return false;
        }
    }
    return true;
}

/* Why the device's state cannot travel, or NULL. */
static const char *obstacle(VFIOPCI *s)
{
    if (!s->enable_migration) {
        return "migration is switched off for this device (enable-migration=off)";
    }
    return s->dev->ops->migration_flags(s->dev) & VFIO_MIGRATION_STOP_COPY
               ? NULL
               : "it offers no migration";
}

bool vfio_pci_migration_init(VFIOPCI *s, GError **errp)
{
    Machine *m = device_machine(HW_DEVICE(s));
    const char *why = obstacle(s);
    VFIOMigrationOwner owner = {
        .dev = s->dev,
        .migration = m->migration,
        .save_config = save_config,
        .load_config = load_config,
        .state_changed = state_changed,
        .stop_guest = stop_guest,
        .opaque = s,
    };
    g_autofree char *path = pci_path(&s->parent);

    if (!m->migration) {
        return true;
    }
    if (why) {
        return block(s, &s->blocker, why, errp);
    }
    s->migration = vfio_migration_new(&owner, path);
    return update_p2p_blockers(m, s, errp);
}

void vfio_pci_migration_cleanup(VFIOPCI *s)
{
    unblock(s, &s->blocker);
    unblock(s, &s->p2p_blocker);
    if (s->migration) {
        g_clear_pointer(&s->migration, vfio_migration_free);
        update_p2p_blockers(device_machine(HW_DEVICE(s)), NULL, NULL);
    }
}
