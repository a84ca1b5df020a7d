/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -device, device_add and device_del: from option objects to plugged devices (spec 71 section 3).
 */
#include "device-internal.h"
#include "migration/migration.h"

static Bus *find_named_bus(Machine *m, const char *name, GError **errp)
{
    for (guint i = 0; i < m->buses->len; i++) {
        Bus *bus = m->buses->pdata[i];

        if (strcmp(bus->name, name) == 0) {
            return bus;
        }
    }
    error_setg(errp, "Bus '%s' not found", name);
    return NULL;
}

/* How many buses are above @bus. */
static unsigned bus_depth(const Bus *bus)
{
    unsigned depth = 0;

    while (bus->parent && device_bus(bus->parent)) {
        bus = device_bus(bus->parent);
        depth++;
    }
    return depth;
}

/*
 * The bus with room nearest to the root, the newest of several: a PCI device goes on pcie.0, and
 * virtio-mmio slots fill from the top (spec 80 section 10).
 */
static Bus *find_free_bus(Machine *m, const char *type, const char *driver, GError **errp)
{
    Bus *best = NULL;

    for (guint i = m->buses->len; i-- > 0;) {
        Bus *bus = m->buses->pdata[i];

        if (strcmp(bus->type, type) == 0 && bus->children->len < bus->capacity &&
            (!best || bus_depth(bus) < bus_depth(best))) {
            best = bus;
        }
    }
    if (!best) {
        error_setg(errp, "No '%s' bus found for device '%s'", type, driver);
    }
    return best;
}

/* The set of devices is fixed while it travels. */
static bool check_not_migrating(Machine *m, const char *command, GError **errp)
{
    if (m->migration && migration_is_running(m->migration)) {
        error_setg(errp, "%s not allowed while migrating", command);
        return false;
    }
    return true;
}

static bool set_properties(DeviceState *dev, const char *driver, JsonObject *options, GError **errp)
{
    JsonObjectIter it;
    const char *name;
    JsonNode *value;

    json_object_iter_init(&it, options);
    while (json_object_iter_next(&it, &name, &value)) {
        if (strcmp(name, "driver") == 0 || strcmp(name, "id") == 0 || strcmp(name, "bus") == 0) {
            continue;
        }
        if (!g_object_class_find_property(G_OBJECT_GET_CLASS(dev), name)) {
            error_setg(errp, "Property '%s.%s' not found", driver, name);
            return false;
        }
        if (!object_set_property_json(G_OBJECT(dev), name, value, errp)) {
            return false;
        }
    }
    return true;
}

/* The string member @name; NULL when absent. False when it is there and not a string. */
static bool get_string(JsonObject *options, const char *name, const char **out, GError **errp)
{
    JsonNode *node = json_object_get_member(options, name);

    *out = NULL;
    if (!node) {
        return true;
    }
    if (!JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_STRING) {
        error_setg(errp, "Invalid parameter type for '%s', expected: string", name);
        return false;
    }
    *out = json_node_get_string(node);
    return true;
}

DeviceState *device_add_from_options(Machine *m, JsonObject *options, bool hotplug, GError **errp)
{
    const char *driver, *id, *bus_name;

    if (!get_string(options, "driver", &driver, errp) || !get_string(options, "id", &id, errp) ||
        !get_string(options, "bus", &bus_name, errp)) {
        return NULL;
    }
    if (!driver) {
        error_setg(errp, "Parameter 'driver' is missing");
        return NULL;
    }
    if (hotplug && !check_not_migrating(m, "device_add", errp)) {
        return NULL;
    }

    g_autoptr(DeviceState) dev = device_new(m, driver, id, errp);
    if (!dev) {
        return NULL;
    }
    DeviceStateClass *klass = HW_DEVICE_GET_CLASS(dev);
    Bus *bus = NULL;

    if (!klass->user_creatable) {
        error_setg(errp, "Parameter 'driver' expects a pluggable device type");
        return NULL;
    }
    if (klass->bus_type) {
        bus = bus_name ? find_named_bus(m, bus_name, errp)
                       : find_free_bus(m, klass->bus_type, driver, errp);
        if (!bus) {
            return NULL;
        }
    } else if (bus_name) {
        error_setg(errp, "Device '%s' can't go on a bus; remove bus=%s", driver, bus_name);
        return NULL;
    }
    if (hotplug && bus && !bus->hotplug) {
        error_setg(errp, "Bus '%s' does not support hotplugging", bus->name);
        return NULL;
    }
    if (hotplug && !klass->hotpluggable) {
        error_setg(errp, "Device '%s' does not support hotplugging", driver);
        return NULL;
    }
    if (!set_properties(dev, driver, options, errp)) {
        return NULL;
    }

    if (hotplug) {
        device_set_hotplugged(dev);
    }

    DeviceState *plugged = dev;
    return device_realize(g_steal_pointer(&dev), bus, errp) ? plugged : NULL;
}

bool device_del_by_id(Machine *m, const char *id, GError **errp)
{
    DeviceState *dev = device_find(m, id);

    if (!dev) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", id);
        return false;
    }

    Bus *bus = device_bus(dev);
    if (bus && !bus->hotplug) {
        error_setg(errp, "Bus '%s' does not support hotplugging", bus->name);
        return false;
    }
    if (!HW_DEVICE_GET_CLASS(dev)->hotpluggable) {
        error_setg(errp, "Device '%s' does not support hotplugging",
                   object_type_name(G_OBJECT(dev)));
        return false;
    }
    if (!check_not_migrating(m, "device_del", errp)) {
        return false;
    }
    if (bus && bus->parent && HW_DEVICE_GET_CLASS(bus->parent)->child_unplug_request) {
        return HW_DEVICE_GET_CLASS(bus->parent)->child_unplug_request(bus->parent, dev, errp);
    }
    device_unplug_deleted(dev);
    return true;
}
