/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The composition tree as clients see it. Nothing keeps it: the few containers are fixed, their
 * children are the object registry and the device list.
 *
 *   /objects/ID                    -object
 *   /machine/peripheral/ID         devices with an id
 *   /machine/unattached/cpu[N]     harts
 *   /machine/unattached/device[N]  devices without id, by position in the machine's list
 */
#include "util/osdep.h"
#include "hw/device.h"
#include "monitor/commands.h"

static GObject *find_object(MonitorHub *hub, const char *id)
{
    return hub->machine && hub->machine->objects ? object_registry_find(hub->machine->objects, id)
                                                 : NULL;
}

static GObject *find_device(MonitorHub *hub, const char *id)
{
    DeviceState *dev = hub->machine ? device_find(hub->machine, id) : NULL;

    return dev ? G_OBJECT(dev) : NULL;
}

/* "device[12]" -> 12 */
static bool parse_index(const char *name, const char *stem, uint64_t *index)
{
    g_autofree char *digits = NULL;
    size_t len = strlen(name);

    if (!g_str_has_prefix(name, stem) || !g_str_has_suffix(name, "]")) {
        return false;
    }
    digits = g_strndup(name + strlen(stem), len - strlen(stem) - 1);
    return g_ascii_string_to_unsigned(digits, 10, 0, UINT32_MAX, index, NULL);
}

static void resolve_unattached(MonitorHub *hub, const char *name, QomPlace *place)
{
    GPtrArray *devices = hub->machine ? hub->machine->devices : NULL;
    GPtrArray *cpus = hub->machine ? hub->machine->cpus : NULL;
    uint64_t n;

    if (cpus && parse_index(name, "cpu[", &n) && n < cpus->len) {
        place->kind = QOM_CPU;
    } else if (devices && parse_index(name, "device[", &n) && n < devices->len &&
               !device_id(devices->pdata[n])) {
        place->kind = QOM_OBJECT;
        place->object = devices->pdata[n];
    }
}

static void resolve_id(GObject *found, QomPlace *place)
{
    place->object = found;
    place->kind = found ? QOM_OBJECT : QOM_NONE;
}

bool qom_resolve(MonitorHub *hub, const char *path, QomPlace *place, GError **errp)
{
    static const struct {
        const char *path;
        QomKind kind;
    } fixed[] = {
        {"", QOM_ROOT},
        {"/objects", QOM_OBJECTS},
        {"/machine", QOM_MACHINE},
        {"/machine/peripheral", QOM_PERIPHERAL},
        {"/machine/unattached", QOM_UNATTACHED},
    };
    g_autofree char *trimmed = g_strdup(path);
    size_t len = strlen(trimmed);

    *place = (QomPlace){QOM_NONE, NULL};
    while (len && trimmed[len - 1] == '/') {
        trimmed[--len] = '\0';
    }
    for (unsigned i = 0; i < ARRAY_SIZE(fixed) && path[0]; i++) {
        if (strcmp(trimmed, fixed[i].path) == 0) {
            place->kind = fixed[i].kind;
            return true;
        }
    }
    if (g_str_has_prefix(trimmed, "/objects/")) {
        resolve_id(find_object(hub, trimmed + strlen("/objects/")), place);
    } else if (g_str_has_prefix(trimmed, "/machine/peripheral/")) {
        resolve_id(find_device(hub, trimmed + strlen("/machine/peripheral/")), place);
    } else if (g_str_has_prefix(trimmed, "/machine/unattached/")) {
        resolve_unattached(hub, trimmed + strlen("/machine/unattached/"), place);
    } else if (trimmed[0] && trimmed[0] != '/') {
        GObject *found = find_object(hub, trimmed);

        resolve_id(found ? found : find_device(hub, trimmed), place);
    }
    if (place->kind == QOM_NONE) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", path);
        return false;
    }
    return true;
}

typedef struct {
    void (*cb)(const char *name, const char *type, void *opaque);
    void *opaque;
} Visit;

static void visit_object(const char *id, GObject *obj, void *opaque)
{
    Visit *v = opaque;
    const char *type = object_type_name(obj);

    v->cb(id, type ? type : G_OBJECT_TYPE_NAME(obj), v->opaque);
}

static void visit_devices(MonitorHub *hub, bool with_id, Visit *v)
{
    GPtrArray *devices = hub->machine->devices;

    for (unsigned i = 0; devices && i < devices->len; i++) {
        const char *id = device_id(devices->pdata[i]);

        if (with_id && id) {
            visit_object(id, devices->pdata[i], v);
        } else if (!with_id && !id) {
            g_autofree char *name = g_strdup_printf("device[%u]", i);

            visit_object(name, devices->pdata[i], v);
        }
    }
}

void qom_foreach_child(MonitorHub *hub, const QomPlace *place,
                       void (*cb)(const char *name, const char *type, void *opaque), void *opaque)
{
    Visit v = {cb, opaque};
    Machine *m = hub->machine;

    if (place->kind == QOM_ROOT) {
        cb("objects", "container", opaque);
    }
    if (!m) {
        return;
    }
    switch (place->kind) {
    case QOM_ROOT: {
        g_autofree char *type = g_strconcat(m->cls->name, "-machine", NULL);

        cb("machine", type, opaque);
        break;
    }
    case QOM_OBJECTS:
        if (m->objects) {
            object_registry_foreach(m->objects, visit_object, &v);
        }
        break;
    case QOM_MACHINE:
        cb("peripheral", "container", opaque);
        cb("unattached", "container", opaque);
        break;
    case QOM_PERIPHERAL:
        visit_devices(hub, true, &v);
        break;
    case QOM_UNATTACHED:
        for (unsigned i = 0; m->cpus && i < m->cpus->len; i++) {
            g_autofree char *name = g_strdup_printf("cpu[%u]", i);

            cb(name, "rv64-riscv-cpu", opaque);
        }
        visit_devices(hub, false, &v);
        break;
    default:
        break;
    }
}

char *qom_place_type(MonitorHub *hub, const QomPlace *place)
{
    const char *type = "container";

    if (place->kind == QOM_MACHINE && hub->machine) {
        return g_strconcat(hub->machine->cls->name, "-machine", NULL);
    }
    if (place->kind == QOM_CPU) {
        type = "rv64-riscv-cpu";
    } else if (place->kind == QOM_OBJECT) {
        type = object_type_name(place->object);
        type = type ? type : G_OBJECT_TYPE_NAME(place->object);
    }
    return g_strdup(type);
}
