/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qapi/qom.json: types, properties, creation of objects and devices. */
#include "util/osdep.h"
#include "accel/accel.h"
#include "hw/device.h"
#include "monitor/commands.h"
#include "qapi-commands-qom.h"
#include "qapi-events-qom.h"
#include "qapi/json.h"

/* ---- types ---- */

static void add_type(GPtrArray *list, const char *name, const char *parent, bool abstract)
{
    ObjectTypeInfo *info = g_new0(ObjectTypeInfo, 1);

    info->name = g_strdup(name);
    info->parent = g_strdup(parent);
    info->has_abstract = info->abstract = abstract;
    g_ptr_array_add(list, info);
}

/* Families that are no GObject types, by what they implement. */
static void add_fixed_types(GPtrArray *list, const char *implements)
{
    if (!implements || strcmp(implements, "machine") == 0) {
        for (const MachineClass *const *c = machine_class_list(); *c; c++) {
            g_autofree char *name = g_strconcat((*c)->name, "-machine", NULL);

            add_type(list, name, "machine", false);
        }
    }
    if (!implements || strcmp(implements, "accel") == 0) {
        for (const AccelOps *const *a = accel_list(); *a; a++) {
            g_autofree char *name = g_strconcat((*a)->name, "-accel", NULL);

            add_type(list, name, "accel", false);
            for (const char *const *alias = (*a)->aliases; alias && *alias; alias++) {
                g_autofree char *alias_name = g_strconcat(*alias, "-accel", NULL);

                add_type(list, alias_name, "accel", false);
            }
        }
    }
}

/* Does @type belong to what qom-list-types calls @implements? */
static bool type_implements(GType type, const char *implements)
{
    if (!implements || strcmp(implements, "object") == 0) {
        return true;
    }
    if (strcmp(implements, "device") == 0) {
        return g_type_is_a(type, TYPE_DEVICE);
    }
    if (strcmp(implements, "user-creatable") == 0) {
        return g_type_is_a(type, TYPE_USER_CREATABLE);
    }
    GType wanted = object_type_lookup(implements);

    return wanted != G_TYPE_INVALID && g_type_is_a(type, wanted);
}

/* The nearest ancestor that has a QOM name. */
static const char *parent_name(GPtrArray *names, GType type)
{
    for (GType up = g_type_parent(type); up; up = g_type_parent(up)) {
        for (unsigned i = 0; i < names->len; i++) {
            if (object_type_lookup(names->pdata[i]) == up) {
                return names->pdata[i];
            }
        }
    }
    return "object";
}

GPtrArray *qmp_qom_list_types(QmpCall *call, const QmpArgs_qom_list_types *args, GError **errp)
{
    g_autoptr(GPtrArray) names = object_type_list();
    GPtrArray *list = qapi_list_new_ObjectTypeInfo();
    const char *implements = g_strcmp0(args->implements, "object") == 0 ? NULL : args->implements;

    add_fixed_types(list, implements);
    for (unsigned i = 0; i < names->len; i++) {
        GType type = object_type_lookup(names->pdata[i]);
        bool abstract = G_TYPE_IS_ABSTRACT(type);

        if (type_implements(type, implements) &&
            (!abstract || !args->has_abstract || args->abstract)) {
            add_type(list, names->pdata[i], parent_name(names, type), abstract);
        }
    }
    return list;
}

/* ---- properties ---- */

static const char *spec_type_name(GParamSpec *spec)
{
    static const struct {
        GType fundamental;
        const char *name;
    } known[] = {
        {G_TYPE_BOOLEAN, "bool"},  {G_TYPE_STRING, "string"}, {G_TYPE_UCHAR, "uint8"},
        {G_TYPE_INT, "int32"},     {G_TYPE_UINT, "uint32"},   {G_TYPE_INT64, "int64"},
        {G_TYPE_UINT64, "uint64"}, {G_TYPE_LONG, "int64"},    {G_TYPE_ULONG, "uint64"},
        {G_TYPE_DOUBLE, "number"},
    };
    GType type = G_TYPE_FUNDAMENTAL(spec->value_type);

    for (unsigned i = 0; i < ARRAY_SIZE(known); i++) {
        if (known[i].fundamental == type) {
            return known[i].name;
        }
    }
    return g_type_name(spec->value_type);
}

static JsonNode *spec_default(GParamSpec *spec)
{
    const GValue *v = g_param_spec_get_default_value(spec);
    g_auto(GValue) as_int = G_VALUE_INIT;

    if (G_VALUE_HOLDS_BOOLEAN(v)) {
        return json_node_init_boolean(json_node_alloc(), g_value_get_boolean(v));
    }
    if (G_VALUE_HOLDS_STRING(v)) {
        const char *s = g_value_get_string(v);

        return s ? json_node_init_string(json_node_alloc(), s) : NULL;
    }
    if (G_VALUE_HOLDS_UINT64(v)) {
        return qapi_json_new_uint(g_value_get_uint64(v));
    }
    g_value_init(&as_int, G_TYPE_INT64);
    if (!G_VALUE_HOLDS_ENUM(v) && g_value_type_transformable(G_VALUE_TYPE(v), G_TYPE_INT64) &&
        g_value_transform(v, &as_int)) {
        return json_node_init_int(json_node_alloc(), g_value_get_int64(&as_int));
    }
    return NULL;
}

static void add_property(GPtrArray *list, const char *name, const char *type, const char *desc,
                         JsonNode *dflt)
{
    ObjectPropertyInfo *info = g_new0(ObjectPropertyInfo, 1);

    info->name = g_strdup(name);
    info->type = g_strdup(type);
    info->description = g_strdup(desc);
    info->default_value = dflt;
    g_ptr_array_add(list, info);
}

static void add_class_properties(GPtrArray *list, GObjectClass *klass, bool defaults)
{
    unsigned n;
    g_autofree GParamSpec **specs = g_object_class_list_properties(klass, &n);

    for (unsigned i = 0; i < n; i++) {
        const char *blurb = g_param_spec_get_blurb(specs[i]);

        add_property(list, specs[i]->name, spec_type_name(specs[i]), blurb && *blurb ? blurb : NULL,
                     defaults ? spec_default(specs[i]) : NULL);
    }
}

/* -machine properties that every board takes; the boards' own are known only to themselves. */
static bool list_machine_properties(GPtrArray *list, const char *typename)
{
    static const char *const names[] = {"append", "dtb",    "dumpdtb",       "firmware",
                                        "initrd", "kernel", "memory-backend"};

    for (const MachineClass *const *c = machine_class_list(); *c; c++) {
        g_autofree char *name = g_strconcat((*c)->name, "-machine", NULL);

        if (strcmp(name, typename) == 0) {
            add_property(list, "type", "string", NULL, NULL);
            for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
                add_property(list, names[i], "string", NULL, NULL);
            }
            return true;
        }
    }
    return false;
}

static bool is_accel_type(const char *typename)
{
    g_autoptr(GPtrArray) list = qapi_list_new_ObjectTypeInfo();

    add_fixed_types(list, "accel");
    for (unsigned i = 0; i < list->len; i++) {
        if (strcmp(((ObjectTypeInfo *)list->pdata[i])->name, typename) == 0) {
            return true;
        }
    }
    return false;
}

GPtrArray *qmp_qom_list_properties(QmpCall *call, const QmpArgs_qom_list_properties *args,
                                   GError **errp)
{
    g_autoptr(GPtrArray) list = qapi_list_new_ObjectPropertyInfo();
    GType type = object_type_lookup(args->typename);

    if (list_machine_properties(list, args->typename)) {
        return g_steal_pointer(&list);
    }
    add_property(list, "type", "string", NULL, NULL);
    if (type != G_TYPE_INVALID) {
        GObjectClass *klass = g_type_class_ref(type);

        add_class_properties(list, klass, false);
        g_type_class_unref(klass);
    } else if (!is_accel_type(args->typename)) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Class '%s' not found", args->typename);
        return NULL;
    }
    return g_steal_pointer(&list);
}

GPtrArray *qmp_device_list_properties(QmpCall *call, const QmpArgs_device_list_properties *args,
                                      GError **errp)
{
    GType type = object_type_lookup(args->typename);

    if (type == G_TYPE_INVALID) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", args->typename);
        return NULL;
    }
    if (!g_type_is_a(type, TYPE_DEVICE) || G_TYPE_IS_ABSTRACT(type)) {
        error_setg(errp, "Parameter 'typename' expects a non-abstract device type");
        return NULL;
    }
    GPtrArray *list = qapi_list_new_ObjectPropertyInfo();
    GObjectClass *klass = g_type_class_ref(type);

    add_class_properties(list, klass, true);
    g_type_class_unref(klass);
    return list;
}

/* ---- the tree ---- */

static void add_child(const char *name, const char *type, void *opaque)
{
    g_autofree char *child = g_strdup_printf("child<%s>", type);

    add_property(opaque, name, child, NULL, NULL);
}

GPtrArray *qmp_qom_list(QmpCall *call, const QmpArgs_qom_list *args, GError **errp)
{
    MonitorHub *hub = call->opaque;
    QomPlace place;

    if (!qom_resolve(hub, args->path, &place, errp)) {
        return NULL;
    }
    GPtrArray *list = qapi_list_new_ObjectPropertyInfo();

    add_property(list, "type", "string", NULL, NULL);
    qom_foreach_child(hub, &place, add_child, list);
    if (place.kind == QOM_OBJECT) {
        add_class_properties(list, G_OBJECT_GET_CLASS(place.object), false);
    }
    return list;
}

static void no_property(const char *path, const char *property, GError **errp)
{
    error_setg(errp, "Property '%s.%s' not found", path, property);
}

JsonNode *qmp_qom_get(QmpCall *call, const QmpArgs_qom_get *args, GError **errp)
{
    MonitorHub *hub = call->opaque;
    QomPlace place;

    if (!qom_resolve(hub, args->path, &place, errp)) {
        return NULL;
    }
    if (strcmp(args->property, "type") == 0) {
        g_autofree char *type = qom_place_type(hub, &place);

        return json_node_init_string(json_node_alloc(), type);
    }
    if (place.kind != QOM_OBJECT) {
        no_property(args->path, args->property, errp);
        return NULL;
    }
    return object_get_property_json(place.object, args->property, errp);
}

void qmp_qom_set(QmpCall *call, const QmpArgs_qom_set *args, GError **errp)
{
    MonitorHub *hub = call->opaque;
    QomPlace place;

    if (!qom_resolve(hub, args->path, &place, errp)) {
        return;
    }
    if (place.kind != QOM_OBJECT) {
        no_property(args->path, args->property, errp);
        return;
    }
    object_set_property_json(place.object, args->property, args->value, errp);
}

/* ---- creation ---- */

/* A mandatory string member of free-form arguments. */
static const char *string_arg(JsonObject *args, const char *name, GError **errp)
{
    JsonNode *node = args ? json_object_get_member(args, name) : NULL;

    if (!node) {
        error_setg(errp, "Parameter '%s' is missing", name);
        return NULL;
    }
    if (!qapi_json_get_str(node)) {
        error_setg(errp, "Parameter '%s' expects string", name);
        return NULL;
    }
    return qapi_json_get_str(node);
}

static void copy_property(JsonObject *from, const char *name, JsonNode *value, void *opaque)
{
    if (strcmp(name, "qom-type") != 0 && strcmp(name, "id") != 0) {
        json_object_set_member(opaque, name, json_node_copy(value));
    }
}

void qmp_object_add(QmpCall *call, JsonObject *args, GError **errp)
{
    Machine *m = monitor_hub_machine(call->opaque, errp);
    const char *type = m ? string_arg(args, "qom-type", errp) : NULL;
    const char *id = type ? string_arg(args, "id", errp) : NULL;

    if (!id) {
        return;
    }
    GType gtype = object_type_lookup(type);

    if (gtype == G_TYPE_INVALID || !g_type_is_a(gtype, TYPE_USER_CREATABLE)) {
        error_setg(errp, "Parameter 'qom-type' does not accept value '%s'", type);
        return;
    }
    g_autoptr(JsonObject) props = json_object_new();

    json_object_foreach_member(args, copy_property, props);
    object_registry_create(m->objects, type, id, props, errp);
}

void qmp_object_del(QmpCall *call, const QmpArgs_object_del *args, GError **errp)
{
    Machine *m = monitor_hub_machine(call->opaque, errp);

    if (m) {
        object_registry_remove(m->objects, args->id, errp);
    }
}

void qmp_device_add(QmpCall *call, JsonObject *args, GError **errp)
{
    Machine *m = monitor_hub_machine(call->opaque, errp);

    if (m && string_arg(args, "driver", errp)) {
        device_add_from_options(m, args, true, errp);
    }
}

void qmp_device_del(QmpCall *call, const QmpArgs_device_del *args, GError **errp)
{
    Machine *m = monitor_hub_machine(call->opaque, errp);

    if (m) {
        device_del_by_id(m, args->id, errp);
    }
}

void monitor_device_deleted(MonitorHub *hub, DeviceState *dev)
{
    g_autofree char *path = device_qom_path(dev);
    QapiEventSink events = monitor_hub_event_sink(hub);

    qapi_event_send_device_deleted(&events, device_id(dev), path);
}
