/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON into C: validation against the type tables. The texts of the errors are part of the
 * interface (spec 70 section 3). The way back, freeing and cloning are in type-output.c.
 */
#include "util/osdep.h"
#include "qapi/json.h"
#include "type-fields.h"

#define BUILTIN(ident, k, expects, c_type) \
    const QapiType qapi_type_##ident = {.kind = k, .name = expects, .size = sizeof(c_type)}

BUILTIN(str, QAPI_STR, "string", char *);
BUILTIN(bool, QAPI_BOOL, "boolean", bool);
BUILTIN(number, QAPI_NUMBER, "number", double);
BUILTIN(any, QAPI_ANY, "value", JsonNode *);
BUILTIN(null, QAPI_NULL, "null", char);
BUILTIN(int, QAPI_INT, "integer", int64_t);
BUILTIN(int8, QAPI_INT, "int8", int8_t);
BUILTIN(int16, QAPI_INT, "int16", int16_t);
BUILTIN(int32, QAPI_INT, "int32", int32_t);
BUILTIN(int64, QAPI_INT, "int64", int64_t);
BUILTIN(uint8, QAPI_UINT, "uint8", uint8_t);
BUILTIN(uint16, QAPI_UINT, "uint16", uint16_t);
BUILTIN(uint32, QAPI_UINT, "uint32", uint32_t);
BUILTIN(uint64, QAPI_UINT, "uint64", uint64_t);

/* The way from the arguments to the value being read; only spelled out when something is wrong. */
typedef struct Place {
    const struct Place *outer;
    const char *name; /* NULL: array element */
    unsigned index;
} Place;

static void place_append(const Place *place, GString *s)
{
    if (!place) {
        return;
    }
    place_append(place->outer, s);
    if (!place->name) {
        g_string_append_printf(s, "[%u]", place->index);
        return;
    }
    if (s->len) {
        g_string_append_c(s, '.');
    }
    g_string_append(s, place->name);
}

static char *place_str(const Place *place)
{
    GString *s = g_string_new(NULL);

    place_append(place, s);
    return g_string_free(s, FALSE);
}

static bool fail_type(const QapiType *type, const Place *place, GError **errp)
{
    g_autofree char *name = place_str(place);

    error_setg(errp, "Parameter '%s' expects %s", *name ? name : "value", type->name);
    return false;
}

static bool read_value(const QapiType *type, JsonNode *node, const Place *place, void *field,
                       GError **errp);

static bool read_int(const QapiType *type, JsonNode *node, const Place *place, void *field,
                     GError **errp)
{
    int64_t v;
    int64_t max = INT64_MAX >> (64 - 8 * type->size);

    if (!qapi_json_get_int(node, &v) || v > max || v < -max - 1) {
        return fail_type(type, place, errp);
    }
    field_store_int(type, field, v);
    return true;
}

static bool read_uint(const QapiType *type, JsonNode *node, const Place *place, void *field,
                      GError **errp)
{
    uint64_t v;
    uint64_t max = UINT64_MAX >> (64 - 8 * type->size);

    if (!qapi_json_get_uint(node, &v) || v > max) {
        return fail_type(type, place, errp);
    }
    field_store_int(type, field, (int64_t)v);
    return true;
}

static bool read_number(const QapiType *type, JsonNode *node, const Place *place, void *field,
                        GError **errp)
{
    int64_t i;
    uint64_t u;
    double v;

    if (qapi_json_get_int(node, &i)) {
        v = i;
    } else if (qapi_json_get_uint(node, &u)) {
        v = u;
    } else if (JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_DOUBLE) {
        v = json_node_get_double(node);
    } else {
        return fail_type(type, place, errp);
    }
    *(double *)field = v;
    return true;
}

static bool read_enum(const QapiType *type, JsonNode *node, const Place *place, void *field,
                      GError **errp)
{
    const char *s = qapi_json_get_str(node);
    int v;

    if (!s) {
        return fail_type(type, place, errp);
    }
    if (!qapi_enum_parse(type, s, &v)) {
        g_autofree char *name = place_str(place);

        error_setg(errp, "Parameter '%s' does not accept value '%s'", name, s);
        return false;
    }
    *(int *)field = v;
    return true;
}

static bool read_list(const QapiType *type, JsonNode *node, const Place *place, void *field,
                      GError **errp)
{
    const QapiType *element = type->element;

    if (!JSON_NODE_HOLDS_ARRAY(node)) {
        return fail_type(type, place, errp);
    }
    JsonArray *array = json_node_get_array(node);
    unsigned n = json_array_get_length(array);
    void *list = list_new(element);

    for (unsigned i = 0; i < n; i++) {
        Place here = {place, NULL, i};
        uint64_t value = 0;

        if (!read_value(element, json_array_get_element(array, i), &here, &value, errp)) {
            list_free(element, list);
            return false;
        }
        list_append(element, list, &value);
    }
    *(void **)field = list;
    return true;
}

static const QapiType *branch_of(const QapiType *type, const void *value)
{
    return type->tag ? type->branches[*(const int *)((const char *)value + type->tag->offset)]
                     : NULL;
}

static bool is_member(const QapiType *type, const void *value, const char *name)
{
    for (unsigned i = 0; i < type->n_members; i++) {
        if (strcmp(type->members[i].name, name) == 0) {
            return true;
        }
    }
    const QapiType *branch = branch_of(type, value);

    return branch && is_member(branch, *branch_field(type, (void *)value), name);
}

/* Read the members of @type out of @obj, leaving those of others alone. */
static bool read_members(const QapiType *type, JsonObject *obj, const Place *place, void *value,
                         GError **errp)
{
    for (unsigned i = 0; i < type->n_members; i++) {
        const QapiMember *m = &type->members[i];
        Place here = {place, m->name, 0};
        JsonNode *node = obj ? json_object_get_member(obj, m->name) : NULL;

        if (!node && m->optional) {
            continue;
        }
        if (!node) {
            g_autofree char *name = place_str(&here);

            error_setg(errp, "Parameter '%s' is missing", name);
            return false;
        }
        if (!read_value(m->type, node, &here, (char *)value + m->offset, errp)) {
            return false;
        }
        if (m->has_offset >= 0) {
            *(bool *)((char *)value + m->has_offset) = true;
        }
    }
    const QapiType *branch = branch_of(type, value);

    if (!branch) {
        return true;
    }
    *branch_field(type, value) = g_malloc0(branch->size);
    return read_members(branch, obj, place, *branch_field(type, value), errp);
}

static bool read_object(const QapiType *type, JsonObject *obj, const Place *place, void *value,
                        GError **errp)
{
    if (!read_members(type, obj, place, value, errp)) {
        return false;
    }
    if (!obj) {
        return true;
    }
    JsonObjectIter iter;
    const char *name;

    json_object_iter_init(&iter, obj);
    while (json_object_iter_next(&iter, &name, NULL)) {
        if (!is_member(type, value, name)) {
            Place here = {place, name, 0};
            g_autofree char *full = place_str(&here);

            error_setg(errp, "Parameter '%s' is unexpected", full);
            return false;
        }
    }
    return true;
}

static QapiAltKind alt_kind(JsonNode *node)
{
    if (JSON_NODE_HOLDS_OBJECT(node)) {
        return QAPI_ALT_OBJECT;
    }
    if (JSON_NODE_HOLDS_ARRAY(node)) {
        return QAPI_ALT_ARRAY;
    }
    if (JSON_NODE_HOLDS_NULL(node)) {
        return QAPI_ALT_NULL;
    }
    if (qapi_json_is_big_uint(node) || json_node_get_value_type(node) == G_TYPE_INT64) {
        return QAPI_ALT_INT;
    }
    if (json_node_get_value_type(node) == G_TYPE_DOUBLE) {
        return QAPI_ALT_NUMBER;
    }
    return json_node_get_value_type(node) == G_TYPE_BOOLEAN ? QAPI_ALT_BOOL : QAPI_ALT_STR;
}

static bool read_alternate(const QapiType *type, JsonNode *node, const Place *place, void *value,
                           GError **errp)
{
    QapiAltKind kind = alt_kind(node);

    if (kind == QAPI_ALT_INT && !type->branches[kind]) {
        kind = QAPI_ALT_NUMBER;
    }
    if (!type->branches[kind]) {
        return fail_type(type, place, errp);
    }
    *(QapiAltKind *)value = kind;
    return read_value(type->branches[kind], node, place, (char *)value + type->branch_offset, errp);
}

static bool read_struct(const QapiType *type, JsonNode *node, const Place *place, void *field,
                        GError **errp)
{
    if (type->kind == QAPI_OBJECT && !JSON_NODE_HOLDS_OBJECT(node)) {
        return fail_type(type, place, errp);
    }
    void *value = g_malloc0(type->size);
    bool ok = type->kind == QAPI_OBJECT
                  ? read_object(type, json_node_get_object(node), place, value, errp)
                  : read_alternate(type, node, place, value, errp);

    if (!ok) {
        qapi_free(type, value);
        return false;
    }
    *(void **)field = value;
    return true;
}

static bool read_value(const QapiType *type, JsonNode *node, const Place *place, void *field,
                       GError **errp)
{
    switch (type->kind) {
    case QAPI_BOOL:
        if (!JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_BOOLEAN) {
            return fail_type(type, place, errp);
        }
        *(bool *)field = json_node_get_boolean(node);
        return true;
    case QAPI_INT:
        return read_int(type, node, place, field, errp);
    case QAPI_UINT:
        return read_uint(type, node, place, field, errp);
    case QAPI_NUMBER:
        return read_number(type, node, place, field, errp);
    case QAPI_ENUM:
        return read_enum(type, node, place, field, errp);
    case QAPI_STR:
        if (!qapi_json_get_str(node)) {
            return fail_type(type, place, errp);
        }
        *(char **)field = g_strdup(qapi_json_get_str(node));
        return true;
    case QAPI_ANY:
        *(JsonNode **)field = json_node_copy(node);
        return true;
    case QAPI_NULL:
        return JSON_NODE_HOLDS_NULL(node) || fail_type(type, place, errp);
    case QAPI_LIST:
        return read_list(type, node, place, field, errp);
    case QAPI_OBJECT:
    case QAPI_ALTERNATE:
        return read_struct(type, node, place, field, errp);
    }
    g_assert_not_reached();
}

bool qapi_from_json(const QapiType *type, JsonNode *node, const char *path, void *field,
                    GError **errp)
{
    Place here = {NULL, path, 0};

    return read_value(type, node, path && *path ? &here : NULL, field, errp);
}

bool qapi_args_from_json(const QapiType *type, JsonObject *obj, void *args, GError **errp)
{
    if (!read_object(type, obj, NULL, args, errp)) {
        qapi_args_clear(type, args);
        return false;
    }
    return true;
}

bool qapi_args_boxed(const QapiType *type, JsonObject *obj, void **args, GError **errp)
{
    *args = g_malloc0(type->size);
    if (!qapi_args_from_json(type, obj, *args, errp)) {
        g_clear_pointer(args, g_free);
        return false;
    }
    return true;
}

bool qapi_args_none(JsonObject *obj, GError **errp)
{
    static const QapiType nothing = {.kind = QAPI_OBJECT, .name = "object"};

    return read_object(&nothing, obj, NULL, NULL, errp);
}

bool qapi_return(const QapiType *type, void *field, GError *err, JsonNode **ret, GError **errp)
{
    if (err) {
        g_propagate_error(errp, err);
        return false;
    }
    if (!type) {
        *ret = json_node_new(JSON_NODE_OBJECT);
        json_node_take_object(*ret, json_object_new());
        return true;
    }
    *ret = qapi_to_json(type, field);
    field_clear(type, field);
    return true;
}
