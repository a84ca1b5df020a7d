/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The base class of devices: their life from creation to unplug, and the lists the machine keeps.
 */
#include "device-internal.h"

typedef struct {
    Machine *machine;
    char *id;
    Bus *bus;
    uint32_t instance_id;
    bool realized, hotplugged;
    GPtrArray *sections; /* SaveStateEntry */
} DeviceStatePrivate;

G_DEFINE_ABSTRACT_TYPE_WITH_PRIVATE(DeviceState, device, G_TYPE_OBJECT)
DEVICE_TYPE_REGISTER("device", device_get_type)

static DeviceStatePrivate *priv(DeviceState *dev)
{
    return device_get_instance_private(dev);
}

Machine *device_machine(DeviceState *dev)
{
    return priv(dev)->machine;
}

const char *device_id(DeviceState *dev)
{
    return priv(dev)->id;
}

char *device_qom_path(DeviceState *dev)
{
    const char *id = device_id(dev);
    unsigned i = 0;

    if (id) {
        return g_strconcat("/machine/peripheral/", id, NULL);
    }
    if (!g_ptr_array_find(device_machine(dev)->devices, dev, &i)) {
        return g_strdup("/machine/unattached");
    }
    return g_strdup_printf("/machine/unattached/device[%u]", i);
}

Bus *device_bus(DeviceState *dev)
{
    return priv(dev)->bus;
}

bool device_is_realized(DeviceState *dev)
{
    return priv(dev)->realized;
}

bool device_is_hotplugged(DeviceState *dev)
{
    return priv(dev)->hotplugged;
}

void device_set_hotplugged(DeviceState *dev)
{
    priv(dev)->hotplugged = true;
}

void device_set_instance_id(DeviceState *dev, uint32_t id)
{
    priv(dev)->instance_id = id;
}

/* ---- creation ---- */

/* "driver.prop" applies to every type that is a "driver"; the most derived type is applied last and
 * wins. */
static bool apply_globals(DeviceState *dev, GType type, GError **errp)
{
    Machine *m = priv(dev)->machine;
    GHashTableIter it;
    char *key, *text;

    if (type != TYPE_DEVICE && !apply_globals(dev, g_type_parent(type), errp)) {
        return false;
    }
    g_hash_table_iter_init(&it, m->globals);
    while (g_hash_table_iter_next(&it, (gpointer *)&key, (gpointer *)&text)) {
        const char *dot = strchr(key, '.');
        g_autofree char *driver = dot ? g_strndup(key, dot - key) : NULL;
        g_autoptr(GError) err = NULL;

        if (!driver || object_type_lookup(driver) != type) {
            continue;
        }
        if (!g_object_class_find_property(G_OBJECT_GET_CLASS(dev), dot + 1)) {
            error_setg(errp, "can't apply global %s=%s: Property '%s' not found", key, text, key);
            return false;
        }
        if (!object_set_property_text(G_OBJECT(dev), dot + 1, text, &err)) {
            error_setg(errp, "can't apply global %s=%s: %s", key, text, err->message);
            return false;
        }
    }
    return true;
}

static bool check_id(Machine *m, const char *id, GError **errp)
{
    bool ok = g_ascii_isalpha(id[0]);

    for (const char *p = id; ok && *p; p++) {
        ok = g_ascii_isalnum(*p) || strchr("-._", *p);
    }
    if (!ok) {
        error_setg(errp, "Parameter 'id' expects an identifier: letters, digits, '-', '.', '_', "
                         "starting with a letter");
        return false;
    }
    if (device_find(m, id)) {
        error_setg(errp, "Duplicate ID '%s' for device", id);
        return false;
    }
    return true;
}

static GType device_type_lookup(const char *type, GError **errp)
{
    GType gtype = object_type_lookup(type);

    if (gtype == G_TYPE_INVALID || !g_type_is_a(gtype, TYPE_DEVICE)) {
        error_setg(errp, "'%s' is not a valid device model name", type);
        return G_TYPE_INVALID;
    }
    if (G_TYPE_IS_ABSTRACT(gtype)) {
        error_setg(errp, "Parameter 'driver' expects a non-abstract device type");
        return G_TYPE_INVALID;
    }
    return gtype;
}

DeviceState *device_new(Machine *m, const char *type, const char *id, GError **errp)
{
    GType gtype = device_type_lookup(type, errp);

    if (gtype == G_TYPE_INVALID || (id && !check_id(m, id, errp))) {
        return NULL;
    }

    g_autoptr(DeviceState) dev = g_object_new(gtype, NULL);
    priv(dev)->machine = m;
    priv(dev)->id = g_strdup(id);
    if (HW_DEVICE_GET_CLASS(dev)->create_parts &&
        !HW_DEVICE_GET_CLASS(dev)->create_parts(dev, errp)) {
        return NULL;
    }
    if (!apply_globals(dev, gtype, errp)) {
        return NULL;
    }
    return g_steal_pointer(&dev);
}

/* ---- realize and unrealize ---- */

bool device_register_vmstate(DeviceState *dev, const VMStateDescription *vmsd, void *opaque,
                             GError **errp)
{
    DeviceStateClass *klass = HW_DEVICE_GET_CLASS(dev);
    g_autofree char *path = klass->path ? klass->path(dev) : NULL;

    return device_register_vmstate_as(dev, path, vmsd, opaque, errp);
}

bool device_register_vmstate_as(DeviceState *dev, const char *path, const VMStateDescription *vmsd,
                                void *opaque, GError **errp)
{
    DeviceStatePrivate *p = priv(dev);

    if (!p->machine->savevm) { /* a machine that cannot migrate, e.g. in a unit test */
        return true;
    }

    SaveStateEntry *se =
        vmstate_register(p->machine->savevm, path, p->instance_id, vmsd, opaque, -1, errp);
    if (!se) {
        return false;
    }
    g_ptr_array_add(p->sections, se);
    return true;
}

static void drop_sections(DeviceStatePrivate *p)
{
    for (guint i = p->sections->len; i-- > 0;) {
        savevm_unregister(p->machine->savevm, p->sections->pdata[i]);
    }
    g_ptr_array_set_size(p->sections, 0);
}

static void leave_bus(DeviceState *dev)
{
    DeviceStatePrivate *p = priv(dev);

    if (p->bus) {
        g_ptr_array_remove(p->bus->children, dev);
        p->bus = NULL;
    }
}

static bool enter_bus(DeviceState *dev, Bus *bus, GError **errp)
{
    DeviceStateClass *klass = HW_DEVICE_GET_CLASS(dev);

    if (!bus) {
        return true;
    }
    if (g_strcmp0(klass->bus_type, bus->type) != 0) {
        error_setg(errp, "Device '%s' can't go on %s bus", object_type_name(G_OBJECT(dev)),
                   bus->type);
        return false;
    }
    if (bus->children->len >= bus->capacity) {
        error_setg(errp, "Bus '%s' is full", bus->name);
        return false;
    }
    g_ptr_array_add(bus->children, dev);
    priv(dev)->bus = bus;
    return true;
}

bool device_realize(DeviceState *dev, Bus *bus, GError **errp)
{
    g_autoptr(DeviceState) owned = dev;
    DeviceStatePrivate *p = priv(dev);
    DeviceStateClass *klass = HW_DEVICE_GET_CLASS(dev);

    if (!enter_bus(dev, bus, errp)) {
        return false;
    }
    if (klass->realize && !klass->realize(dev, errp)) {
        drop_sections(p);
        leave_bus(dev);
        return false;
    }
    if (klass->vmsd && !device_register_vmstate(dev, klass->vmsd, dev, errp)) {
        drop_sections(p);
        if (klass->unrealize) {
            klass->unrealize(dev);
        }
        leave_bus(dev);
        return false;
    }
    p->realized = true;
    g_ptr_array_add(p->machine->devices, g_steal_pointer(&owned));
    if (bus && bus->parent && HW_DEVICE_GET_CLASS(bus->parent)->child_plugged) {
        HW_DEVICE_GET_CLASS(bus->parent)->child_plugged(bus->parent, dev);
    }
    return true;
}

void device_unplug(DeviceState *dev)
{
    DeviceStatePrivate *p = priv(dev);
    DeviceStateClass *klass = HW_DEVICE_GET_CLASS(dev);

    drop_sections(p);
    if (klass->unrealize) {
        klass->unrealize(dev);
    }
    p->realized = false;
    leave_bus(dev);
    g_ptr_array_remove(p->machine->devices, dev);
    g_object_unref(dev);
}

void device_unplug_deleted(DeviceState *dev)
{
    const MachineRequests *r = &priv(dev)->machine->requests;

    if (r->device_deleted) {
        r->device_deleted(r->opaque, dev);
    }
    device_unplug(dev);
}

static void device_finalize(GObject *obj)
{
    DeviceStatePrivate *p = priv(HW_DEVICE(obj));

    device_props_free_strings(obj);
    g_ptr_array_unref(p->sections);
    g_free(p->id);
    G_OBJECT_CLASS(device_parent_class)->finalize(obj);
}

static void device_class_init(DeviceStateClass *klass)
{
    G_OBJECT_CLASS(klass)->finalize = device_finalize;
}

static void device_init(DeviceState *dev)
{
    priv(dev)->instance_id = INSTANCE_ID_ANY;
    priv(dev)->sections = g_ptr_array_new();
}

/* ---- all devices of a machine ---- */

DeviceState *device_find(Machine *m, const char *id)
{
    for (guint i = 0; i < m->devices->len; i++) {
        if (g_strcmp0(device_id(m->devices->pdata[i]), id) == 0) {
            return m->devices->pdata[i];
        }
    }
    return NULL;
}

void devices_reset_all(Machine *m)
{
    for (guint i = 0; i < m->devices->len; i++) {
        DeviceState *dev = m->devices->pdata[i];
        DeviceStateClass *klass = HW_DEVICE_GET_CLASS(dev);

        if (klass->reset) {
            klass->reset(dev);
        }
    }
}

void devices_vm_state(Machine *m, bool running)
{
    guint n = m->devices->len;

    for (guint i = 0; i < 2 * n; i++) {
        bool prepare = i < n;
        DeviceState *dev = m->devices->pdata[running ? i % n : n - 1 - i % n];
        DeviceStateClass *klass = HW_DEVICE_GET_CLASS(dev);
        void (*tell)(DeviceState *, gboolean) = prepare ? klass->vm_state_prepare : klass->vm_state;

        if (tell) {
            tell(dev, running);
        }
    }
}

void devices_unrealize_all(Machine *m)
{
    while (m->devices->len > 0) {
        device_unplug(m->devices->pdata[m->devices->len - 1]);
    }
}

/* ---- buses ---- */

Bus *bus_new(Machine *m, const char *type, const char *name, unsigned capacity, DeviceState *parent)
{
    Bus *bus = g_new0(Bus, 1);

    bus->type = type;
    bus->name = g_strdup(name);
    bus->capacity = capacity;
    bus->parent = parent;
    bus->children = g_ptr_array_new();
    bus->machine = m;
    g_ptr_array_add(m->buses, bus);
    return bus;
}

void bus_free(Bus *bus)
{
    if (!bus) {
        return;
    }
    g_assert(bus->children->len == 0);
    g_ptr_array_remove(bus->machine->buses, bus);
    g_ptr_array_unref(bus->children);
    g_free(bus->name);
    g_free(bus);
}

GPtrArray *machine_buses(Machine *m)
{
    return m->buses;
}
