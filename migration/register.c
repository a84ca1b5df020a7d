/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The registry of sections: names, instances, order and lookup (spec 10 section 2). */
#include "migration/savevm.h"

SaveStateList *savevm_list_new(void)
{
    SaveStateList *list = g_new0(SaveStateList, 1);

    list->entries = g_ptr_array_new_with_free_func(g_free);
    /* Never 0: QEMU 7.2 resolves a PART or END with id 0 to its first handler not loaded yet. */
    list->next_section_id = 1;
    return list;
}

void savevm_list_free(SaveStateList *list)
{
    if (list) {
        g_ptr_array_unref(list->entries);
        g_free(list);
    }
}

void savevm_set_only_migratable(SaveStateList *list, bool on)
{
    list->only_migratable = on;
}

static MigrationPriority priority(const SaveStateEntry *se)
{
    return se->vmsd ? se->vmsd->priority : MIG_PRI_DEFAULT;
}

/* Descending priority; registration order within one. */
static void insert(SaveStateList *list, SaveStateEntry *se)
{
    unsigned at = 0;

    while (at < list->entries->len &&
           priority(g_ptr_array_index(list->entries, at)) >= priority(se)) {
        at++;
    }
    se->section_id = list->next_section_id++;
    g_ptr_array_insert(list->entries, at, se);
}

static uint32_t free_instance_id(const SaveStateList *list, const char *idstr)
{
    uint32_t next = 0;

    SAVEVM_FOREACH(se, list)
    {
        if (g_str_equal(se->idstr, idstr)) {
            next = MAX(next, se->instance_id + 1);
        }
    }
    return next;
}

static uint32_t free_compat_id(const SaveStateList *list, const char *name)
{
    uint32_t next = 0;

    SAVEVM_FOREACH(se, list)
    {
        if (se->compat_name && g_str_equal(se->compat_name, name)) {
            next = MAX(next, se->compat_instance_id + 1);
        }
    }
    return next;
}

static SaveStateEntry *entry_new(int version_id, int alias_id, void *opaque)
{
    SaveStateEntry *se = g_new0(SaveStateEntry, 1);

    se->version_id = version_id;
    se->alias_id = alias_id;
    se->remote_id = SECTION_ID_UNSET;
    se->opaque = opaque;
    return se;
}

SaveStateEntry *savevm_register_live(SaveStateList *list, const char *idstr, uint32_t instance_id,
                                     int version_id, const SaveVMHandlers *ops, void *opaque)
{
    SaveStateEntry *se = entry_new(version_id, 0, opaque);

    g_strlcpy(se->idstr, idstr, sizeof(se->idstr));
    se->ops = ops;
    se->instance_id =
        instance_id == INSTANCE_ID_ANY ? free_instance_id(list, se->idstr) : instance_id;
    insert(list, se);
    return se;
}

SaveStateEntry *vmstate_register(SaveStateList *list, const char *dev_path, uint32_t instance_id,
                                 const VMStateDescription *vmsd, void *opaque, int alias_id,
                                 GError **errp)
{
    g_autofree SaveStateEntry *se = entry_new(vmsd->version_id, alias_id, opaque);
    int len;

    if (list->only_migratable && vmsd->unmigratable) {
        error_setg(errp, "Device '%s' cannot be migrated, which -only-migratable requires",
                   vmsd->name);
        return NULL;
    }
    len = dev_path ? g_snprintf(se->idstr, sizeof(se->idstr), "%s/%s", dev_path, vmsd->name)
                   : g_snprintf(se->idstr, sizeof(se->idstr), "%s", vmsd->name);
    if (len >= (int)sizeof(se->idstr)) {
        error_setg(errp, "Path of device '%s' is too long for a section name (%d of 255 bytes)",
                   vmsd->name, len);
        return NULL;
    }
    se->vmsd = vmsd;
    if (dev_path) {
        se->compat_name = vmsd->name;
        se->compat_instance_id =
            instance_id == INSTANCE_ID_ANY ? free_compat_id(list, vmsd->name) : instance_id;
        se->instance_id = free_instance_id(list, se->idstr);
        if (se->instance_id != 0) {
            error_setg(errp, "Section '%s' is registered already", se->idstr);
            return NULL;
        }
    } else {
        se->instance_id =
            instance_id == INSTANCE_ID_ANY ? free_instance_id(list, se->idstr) : instance_id;
    }
    insert(list, se);
    return g_steal_pointer(&se);
}

void savevm_unregister(SaveStateList *list, SaveStateEntry *entry)
{
    g_ptr_array_remove(list->entries, entry);
}

static bool instance_matches(uint32_t instance_id, uint32_t wanted, int alias_id)
{
    return instance_id == wanted || (alias_id >= 0 && instance_id == (uint32_t)alias_id);
}

SaveStateEntry *savevm_find(const SaveStateList *list, const char *idstr, uint32_t instance_id)
{
    SAVEVM_FOREACH(se, list)
    {
        if (g_str_equal(se->idstr, idstr) &&
            instance_matches(instance_id, se->instance_id, se->alias_id)) {
            return se;
        }
        if (se->compat_name && g_str_equal(se->compat_name, idstr) &&
            instance_matches(instance_id, se->compat_instance_id, se->alias_id)) {
            return se;
        }
    }
    return NULL;
}

SaveStateEntry *savevm_find_remote(const SaveStateList *list, uint32_t remote_id)
{
    SAVEVM_FOREACH(se, list)
    {
        if (se->remote_id == remote_id) {
            return se;
        }
    }
    return NULL;
}

const SaveStateEntry *savevm_unmigratable(const SaveStateList *list)
{
    SAVEVM_FOREACH(se, list)
    {
        if (se->vmsd && se->vmsd->unmigratable) {
            return se;
        }
    }
    return NULL;
}
