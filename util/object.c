/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <json-glib/json-glib.h>
#include "util/cutils.h"
#include "util/error.h"
#include "util/object.h"

G_DEFINE_INTERFACE(UserCreatable, user_creatable, G_TYPE_OBJECT)

static void user_creatable_default_init(UserCreatableInterface *iface)
{
}

/* ---- types ---- */

typedef struct ObjectType {
    const char *name;
    GType (*get_type)(void);
    struct ObjectType *next;
} ObjectType;

static ObjectType *types; /* filled by constructors before main() */

void object_type_register(const char *name, GType (*get_type)(void))
{
    ObjectType *t = g_new0(ObjectType, 1);

    t->name = name;
    t->get_type = get_type;
    t->next = types;
    types = t;
}

GType object_type_lookup(const char *name)
{
    for (ObjectType *t = types; t; t = t->next) {
        if (g_str_equal(t->name, name)) {
            return t->get_type();
        }
    }
    return G_TYPE_INVALID;
}

const char *object_type_name(GObject *obj)
{
    for (ObjectType *t = types; t; t = t->next) {
        if (t->get_type() == G_OBJECT_TYPE(obj)) {
            return t->name;
        }
    }
    return NULL;
}

const char *object_id(GObject *obj)
{
    return g_object_get_data(obj, "godwit-id");
}

ObjectRegistry *object_registry_of(GObject *obj)
{
    return g_object_get_data(obj, "godwit-registry");
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

GPtrArray *object_type_list(void)
{
    GPtrArray *names = g_ptr_array_new();

    for (ObjectType *t = types; t; t = t->next) {
        g_ptr_array_add(names, (char *)t->name);
    }
    g_ptr_array_sort(names, compare_names);
    return names;
}

/* ---- properties ---- */

static GParamSpec *find_writable(GObject *obj, const char *name, GError **errp)
{
    GParamSpec *spec = g_object_class_find_property(G_OBJECT_GET_CLASS(obj), name);
    const char *type = object_type_name(obj);

    if (!spec || !(spec->flags & G_PARAM_WRITABLE)) {
        error_setg(errp, "Property '%s.%s' not found", type ? type : G_OBJECT_TYPE_NAME(obj), name);
        return NULL;
    }
    return spec;
}

/* Range checks come from the spec: a value that validation would change is refused. */
static bool set_checked(GObject *obj, GParamSpec *spec, GValue *value, GError **errp)
{
    if (g_param_value_validate(spec, value)) {
        error_setg(errp, "Parameter '%s' is out of range", spec->name);
        return false;
    }
    g_object_set_property(obj, spec->name, value);
    return true;
}

static bool value_from_unsigned(GValue *value, GParamSpec *spec, uint64_t v, GError **errp)
{
    bool ok = true;

    switch (G_VALUE_TYPE(value)) {
    case G_TYPE_UCHAR:
        ok = v <= G_MAXUINT8;
        g_value_set_uchar(value, v);
        break;
    case G_TYPE_UINT:
        ok = v <= G_MAXUINT;
        g_value_set_uint(value, v);
        break;
    case G_TYPE_UINT64:
        g_value_set_uint64(value, v);
        break;
    case G_TYPE_INT:
        ok = v <= G_MAXINT;
        g_value_set_int(value, v);
        break;
    case G_TYPE_INT64:
        ok = v <= G_MAXINT64;
        g_value_set_int64(value, v);
        break;
    default:
        ok = false;
        break;
    }
    if (!ok) {
        error_setg(errp, "Parameter '%s' is out of range", spec->name);
    }
    return ok;
}

static bool value_from_signed(GValue *value, GParamSpec *spec, int64_t v, GError **errp)
{
    if (v >= 0) {
        return value_from_unsigned(value, spec, v, errp);
    }
    if (G_VALUE_TYPE(value) == G_TYPE_INT && v >= G_MININT) {
        g_value_set_int(value, v);
    } else if (G_VALUE_TYPE(value) == G_TYPE_INT64) {
        g_value_set_int64(value, v);
    } else {
        error_setg(errp, "Parameter '%s' is out of range", spec->name);
        return false;
    }
    return true;
}

static bool enum_from_nick(GValue *value, GParamSpec *spec, const char *text, GError **errp)
{
    GEnumValue *ev = g_enum_get_value_by_nick(G_PARAM_SPEC_ENUM(spec)->enum_class, text);

    if (!ev) {
        error_setg(errp, "Parameter '%s' does not accept value '%s'", spec->name, text);
        return false;
    }
    g_value_set_enum(value, ev->value);
    return true;
}

static bool text_to_value(GParamSpec *spec, GValue *value, const char *text, GError **errp)
{
    g_autoptr(GError) err = NULL;
    uint64_t u;
    bool b;

    switch (G_TYPE_FUNDAMENTAL(G_PARAM_SPEC_VALUE_TYPE(spec))) {
    case G_TYPE_STRING:
        g_value_set_string(value, text);
        return true;
    case G_TYPE_BOOLEAN:
        if (parse_bool(text, &b, NULL)) {
            g_value_set_boolean(value, b);
            return true;
        }
        error_setg(errp, "Parameter '%s' expects 'on' or 'off'", spec->name);
        return false;
    case G_TYPE_ENUM:
        return enum_from_nick(value, spec, text, errp);
    case G_TYPE_UCHAR:
    case G_TYPE_UINT:
    case G_TYPE_UINT64:
    case G_TYPE_INT:
    case G_TYPE_INT64:
        if (text[0] == '-') {
            char *end;
            int64_t v = g_ascii_strtoll(text, &end, 0);

            if (!*end && end != text + 1) {
                return value_from_signed(value, spec, v, errp);
            }
        } else if (parse_size(text, 1, &u, &err)) {
            return value_from_unsigned(value, spec, u, errp);
        }
        error_setg(errp, "Parameter '%s' expects a number, not '%s'", spec->name, text);
        return false;
    case G_TYPE_BOXED:
        if (G_PARAM_SPEC_VALUE_TYPE(spec) == G_TYPE_STRV) {
            g_auto(GStrv) parts = g_strsplit(text, ";", -1);

            g_value_set_boxed(value, parts);
            return true;
        }
        /* fall through */
    default:
        error_setg(errp, "Property '%s' cannot be set from text", spec->name);
        return false;
    }
}

bool object_set_property_text(GObject *obj, const char *name, const char *text, GError **errp)
{
    g_auto(GValue) value = G_VALUE_INIT;
    GParamSpec *spec = find_writable(obj, name, errp);

    if (!spec) {
        return false;
    }
    g_value_init(&value, G_PARAM_SPEC_VALUE_TYPE(spec));
    return text_to_value(spec, &value, text, errp) && set_checked(obj, spec, &value, errp);
}

static bool json_to_strv(GParamSpec *spec, GValue *value, JsonNode *node, GError **errp)
{
    g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
    g_auto(GStrv) strv = NULL;
    JsonArray *array;

    if (!JSON_NODE_HOLDS_ARRAY(node)) {
        error_setg(errp, "Invalid parameter type for '%s', expected: array", spec->name);
        return false;
    }
    array = json_node_get_array(node);
    for (guint i = 0; i < json_array_get_length(array); i++) {
        JsonNode *e = json_array_get_element(array, i);

        if (!JSON_NODE_HOLDS_VALUE(e) || json_node_get_value_type(e) != G_TYPE_STRING) {
            error_setg(errp, "Invalid parameter type for '%s[%u]', expected: string", spec->name,
                       i);
            return false;
        }
        g_strv_builder_add(builder, json_node_get_string(e));
    }
    strv = g_strv_builder_end(builder);
    g_value_set_boxed(value, strv);
    return true;
}

static bool json_to_value(GParamSpec *spec, GValue *value, JsonNode *node, GError **errp)
{
    GType have = JSON_NODE_HOLDS_VALUE(node) ? json_node_get_value_type(node) : G_TYPE_INVALID;
    const char *want;

    if (have == G_TYPE_STRING) {
        return text_to_value(spec, value, json_node_get_string(node), errp);
    }
    switch (G_TYPE_FUNDAMENTAL(G_PARAM_SPEC_VALUE_TYPE(spec))) {
    case G_TYPE_BOOLEAN:
        if (have == G_TYPE_BOOLEAN) {
            g_value_set_boolean(value, json_node_get_boolean(node));
            return true;
        }
        want = "boolean";
        break;
    case G_TYPE_STRING:
        if (JSON_NODE_HOLDS_OBJECT(node)) {
            g_value_take_string(value, json_to_string(node, false)); /* a structured value */
            return true;
        }
        want = "string";
        break;
    case G_TYPE_ENUM:
        want = "string";
        break;
    case G_TYPE_UCHAR:
    case G_TYPE_UINT:
    case G_TYPE_UINT64:
    case G_TYPE_INT:
    case G_TYPE_INT64:
        if (have == G_TYPE_INT64) {
            return value_from_signed(value, spec, json_node_get_int(node), errp);
        }
        want = "integer";
        break;
    case G_TYPE_BOXED:
        if (G_PARAM_SPEC_VALUE_TYPE(spec) == G_TYPE_STRV) {
            return json_to_strv(spec, value, node, errp);
        }
        if (G_PARAM_SPEC_VALUE_TYPE(spec) == JSON_TYPE_NODE) {
            g_value_set_boxed(value, node);
            return true;
        }
        /* fall through */
    default:
        error_setg(errp, "Property '%s' cannot be set", spec->name);
        return false;
    }
    error_setg(errp, "Invalid parameter type for '%s', expected: %s", spec->name, want);
    return false;
}

bool object_set_property_json(GObject *obj, const char *name, JsonNode *node, GError **errp)
{
    g_auto(GValue) value = G_VALUE_INIT;
    GParamSpec *spec = find_writable(obj, name, errp);

    if (!spec) {
        return false;
    }
    g_value_init(&value, G_PARAM_SPEC_VALUE_TYPE(spec));
    return json_to_value(spec, &value, node, errp) && set_checked(obj, spec, &value, errp);
}

JsonNode *object_get_property_json(GObject *obj, const char *name, GError **errp)
{
    GParamSpec *spec = g_object_class_find_property(G_OBJECT_GET_CLASS(obj), name);
    g_auto(GValue) value = G_VALUE_INIT;
    JsonNode *node = json_node_alloc();
    const char *type = object_type_name(obj);

    if (!spec || !(spec->flags & G_PARAM_READABLE)) {
        error_setg(errp, "Property '%s.%s' not found", type ? type : G_OBJECT_TYPE_NAME(obj), name);
        json_node_free(node);
        return NULL;
    }
    g_value_init(&value, G_PARAM_SPEC_VALUE_TYPE(spec));
    g_object_get_property(obj, name, &value);
    switch (G_TYPE_FUNDAMENTAL(G_VALUE_TYPE(&value))) {
    case G_TYPE_STRING:
        return json_node_init_string(node, g_value_get_string(&value) ?: "");
    case G_TYPE_BOOLEAN:
        return json_node_init_boolean(node, g_value_get_boolean(&value));
    case G_TYPE_ENUM: {
        GEnumClass *cls = G_PARAM_SPEC_ENUM(spec)->enum_class;

        return json_node_init_string(node,
                                     g_enum_get_value(cls, g_value_get_enum(&value))->value_nick);
    }
    case G_TYPE_UCHAR:
        return json_node_init_int(node, g_value_get_uchar(&value));
    case G_TYPE_UINT:
        return json_node_init_int(node, g_value_get_uint(&value));
    case G_TYPE_UINT64:
        return json_node_init_int(node, g_value_get_uint64(&value));
    case G_TYPE_INT:
        return json_node_init_int(node, g_value_get_int(&value));
    case G_TYPE_INT64:
        return json_node_init_int(node, g_value_get_int64(&value));
    default:
        json_node_free(node);
        if (G_VALUE_HOLDS(&value, JSON_TYPE_NODE) && g_value_get_boxed(&value)) {
            return g_value_dup_boxed(&value);
        }
        error_setg(errp, "Property '%s' cannot be read", name);
        return NULL;
    }
}

/* ---- the registry ---- */

struct ObjectRegistry {
    GPtrArray *entries; /* in creation order */
};

typedef struct {
    char *id;
    GObject *obj;
} ObjectEntry;

static void object_entry_free(gpointer data)
{
    ObjectEntry *e = data;

    g_free(e->id);
    g_object_unref(e->obj);
    g_free(e);
}

ObjectRegistry *object_registry_new(void)
{
    ObjectRegistry *reg = g_new0(ObjectRegistry, 1);

    reg->entries = g_ptr_array_new_with_free_func(object_entry_free);
    return reg;
}

void object_registry_free(ObjectRegistry *reg)
{
    if (reg) {
        g_ptr_array_unref(reg->entries);
        g_free(reg);
    }
}

static bool id_is_wellformed(const char *id)
{
    if (!g_ascii_isalpha(id[0])) {
        return false;
    }
    for (const char *p = id; *p; p++) {
        if (!g_ascii_isalnum(*p) && !strchr("-._", *p)) {
            return false;
        }
    }
    return true;
}

static bool object_apply(GObject *obj, JsonObject *props, GError **errp)
{
    UserCreatableInterface *iface = GW_USER_CREATABLE_GET_IFACE(obj);
    JsonObjectIter iter;
    const char *name;
    JsonNode *node;

    if (props) {
        json_object_iter_init_ordered(&iter, props);
        while (json_object_iter_next_ordered(&iter, &name, &node)) {
            if (!object_set_property_json(obj, name, node, errp)) {
                return false;
            }
        }
    }
    return !iface->complete || iface->complete(GW_USER_CREATABLE(obj), errp);
}

GObject *object_registry_create(ObjectRegistry *reg, const char *type, const char *id,
                                JsonObject *props, GError **errp)
{
    GType gtype = object_type_lookup(type);
    g_autoptr(GObject) obj = NULL;
    ObjectEntry *e;

    if (!gtype || !g_type_is_a(gtype, TYPE_USER_CREATABLE) || G_TYPE_IS_ABSTRACT(gtype)) {
        error_setg(errp, "Invalid parameter '%s': not a user-creatable object type", type);
        return NULL;
    }
    if (!id_is_wellformed(id)) {
        error_setg(
            errp,
            "Parameter 'id' expects an identifier: a letter, then letters, digits, '-', '.', '_'");
        return NULL;
    }
    if (object_registry_find(reg, id)) {
        error_setg(errp, "attempt to add duplicate property '%s' to object (type 'container')", id);
        return NULL;
    }
    obj = g_object_new(gtype, NULL);
    g_object_set_data_full(obj, "godwit-id", g_strdup(id), g_free);
    g_object_set_data(obj, "godwit-registry", reg);
    if (!object_apply(obj, props, errp)) {
        return NULL;
    }
    e = g_new0(ObjectEntry, 1);
    e->id = g_strdup(id);
    e->obj = g_steal_pointer(&obj);
    g_ptr_array_add(reg->entries, e);
    return e->obj;
}

static ObjectEntry *registry_entry(ObjectRegistry *reg, const char *id)
{
    for (guint i = 0; i < reg->entries->len; i++) {
        ObjectEntry *e = g_ptr_array_index(reg->entries, i);

        if (g_str_equal(e->id, id)) {
            return e;
        }
    }
    return NULL;
}

GObject *object_registry_find(ObjectRegistry *reg, const char *id)
{
    ObjectEntry *e = registry_entry(reg, id);

    return e ? e->obj : NULL;
}

bool object_registry_remove(ObjectRegistry *reg, const char *id, GError **errp)
{
    ObjectEntry *e = registry_entry(reg, id);
    UserCreatableInterface *iface;

    if (!e) {
        error_setg(errp, "object '%s' not found", id);
        return false;
    }
    iface = GW_USER_CREATABLE_GET_IFACE(e->obj);
    if (iface->can_be_deleted && !iface->can_be_deleted(GW_USER_CREATABLE(e->obj))) {
        error_setg(errp, "object '%s' is in use, can not be deleted", id);
        return false;
    }
    g_ptr_array_remove(reg->entries, e);
    return true;
}

void object_registry_foreach(ObjectRegistry *reg,
                             void (*cb)(const char *id, GObject *obj, void *opaque), void *opaque)
{
    for (guint i = 0; i < reg->entries->len; i++) {
        ObjectEntry *e = g_ptr_array_index(reg->entries, i);

        cb(e->id, e->obj, opaque);
    }
}
