/* SPDX-License-Identifier: GPL-2.0-or-later */
/* C into JSON, and the life of described values: fields, lists, free, clone. */
#include "util/osdep.h"
#include "qapi/json.h"
#include "type-fields.h"

bool type_is_pointer(const QapiType *type)
{
    return type->kind >= QAPI_STR;
}

void field_store_int(const QapiType *type, void *field, int64_t v)
{
    switch (type->size) {
    case 1:
        *(int8_t *)field = v;
        break;
    case 2:
        *(int16_t *)field = v;
        break;
    case 4:
        *(int32_t *)field = v;
        break;
    default:
        *(int64_t *)field = v;
    }
}

int64_t field_load_int(const QapiType *type, const void *field)
{
    bool is_signed = type->kind == QAPI_INT;

    switch (type->size) {
    case 1:
        return is_signed ? (int64_t) * (const int8_t *)field : *(const uint8_t *)field;
    case 2:
        return is_signed ? (int64_t) * (const int16_t *)field : *(const uint16_t *)field;
    case 4:
        return is_signed ? (int64_t) * (const int32_t *)field : *(const uint32_t *)field;
    default:
        return *(const int64_t *)field;
    }
}

const char *qapi_enum_str(const QapiType *type, int value)
{
    return value >= 0 && (unsigned)value < type->n_values ? type->values[value] : "invalid";
}

bool qapi_enum_parse(const QapiType *type, const char *s, int *out)
{
    for (unsigned i = 0; i < type->n_values; i++) {
        if (strcmp(type->values[i], s) == 0) {
            *out = i;
            return true;
        }
    }
    return false;
}

void *list_new(const QapiType *element)
{
    if (!type_is_pointer(element)) {
        return g_array_new(FALSE, FALSE, element->size);
    }
    GDestroyNotify free_element = element->kind == QAPI_STR   ? g_free
                                  : element->kind == QAPI_ANY ? (GDestroyNotify)json_node_unref
                                                              : element->free;
    return g_ptr_array_new_with_free_func(free_element);
}

void list_free(const QapiType *element, void *list)
{
    if (!list) {
        return;
    }
    if (type_is_pointer(element)) {
        g_ptr_array_unref(list);
    } else {
        g_array_unref(list);
    }
}

void list_append(const QapiType *element, void *list, const void *field)
{
    if (type_is_pointer(element)) {
        g_ptr_array_add(list, *(void *const *)field);
    } else {
        g_array_append_vals(list, field, 1);
    }
}

unsigned list_length(const QapiType *element, const void *list)
{
    if (!list) {
        return 0;
    }
    return type_is_pointer(element) ? ((const GPtrArray *)list)->len : ((const GArray *)list)->len;
}

const void *list_field(const QapiType *element, const void *list, unsigned i)
{
    return type_is_pointer(element) ? (const void *)&((const GPtrArray *)list)->pdata[i]
                                    : ((const GArray *)list)->data + (size_t)i * element->size;
}

void field_clear(const QapiType *type, void *field)
{
    void **pointer = field;

    switch (type->kind) {
    case QAPI_STR:
        g_clear_pointer(pointer, g_free);
        break;
    case QAPI_ANY:
        g_clear_pointer((JsonNode **)pointer, json_node_unref);
        break;
    case QAPI_LIST:
        list_free(type->element, *pointer);
        *pointer = NULL;
        break;
    case QAPI_OBJECT:
    case QAPI_ALTERNATE:
        qapi_free(type, *pointer);
        *pointer = NULL;
        break;
    default:
        break;
    }
}

static const QapiType *object_branch(const QapiType *type, const void *value)
{
    if (!type->tag) {
        return NULL;
    }
    /* Values built by hand may carry anything here. */
    unsigned tag = *(const unsigned *)((const char *)value + type->tag->offset);

    return tag < type->tag->type->n_values ? type->branches[tag] : NULL;
}

void qapi_args_clear(const QapiType *type, void *args)
{
    const QapiType *branch = object_branch(type, args);

    if (branch) {
        field_clear(branch, branch_field(type, args));
    }
    for (unsigned i = 0; i < type->n_members; i++) {
        field_clear(type->members[i].type, (char *)args + type->members[i].offset);
    }
}

void qapi_free(const QapiType *type, void *value)
{
    if (!value) {
        return;
    }
    if (type->kind == QAPI_ALTERNATE) {
        const QapiType *branch = type->branches[*(const QapiAltKind *)value];

        if (branch) {
            field_clear(branch, (char *)value + type->branch_offset);
        }
    } else {
        qapi_args_clear(type, value);
    }
    g_free(value);
}

static bool member_present(const QapiMember *m, const void *value)
{
    if (m->has_offset >= 0) {
        return *(const bool *)((const char *)value + m->has_offset);
    }
    return !m->optional || *(void *const *)((const char *)value + m->offset);
}

static void write_members(const QapiType *type, const void *value, JsonObject *obj)
{
    for (unsigned i = 0; i < type->n_members; i++) {
        const QapiMember *m = &type->members[i];

        if (member_present(m, value)) {
            json_object_set_member(obj, m->name,
                                   qapi_to_json(m->type, (const char *)value + m->offset));
        }
    }
    const QapiType *branch = object_branch(type, value);
    void *data = branch ? *branch_field(type, (void *)value) : NULL;

    if (data) {
        write_members(branch, data, obj);
    }
}

JsonObject *qapi_to_object(const QapiType *type, const void *value)
{
    JsonObject *obj = json_object_new();

    write_members(type, value, obj);
    return obj;
}

static JsonNode *list_to_json(const QapiType *type, const void *list)
{
    JsonNode *node = json_node_new(JSON_NODE_ARRAY);
    unsigned n = list_length(type->element, list);
    JsonArray *array = json_array_sized_new(n);

    for (unsigned i = 0; i < n; i++) {
        json_array_add_element(array,
                               qapi_to_json(type->element, list_field(type->element, list, i)));
    }
    json_node_take_array(node, array);
    return node;
}

JsonNode *qapi_to_json(const QapiType *type, const void *field)
{
    const void *pointer = type_is_pointer(type) ? *(void *const *)field : NULL;
    JsonNode *node;

    switch (type->kind) {
    case QAPI_BOOL:
        return json_node_init_boolean(json_node_alloc(), *(const bool *)field);
    case QAPI_INT:
        return json_node_init_int(json_node_alloc(), field_load_int(type, field));
    case QAPI_UINT:
        return qapi_json_new_uint((uint64_t)field_load_int(type, field));
    case QAPI_NUMBER:
        return json_node_init_double(json_node_alloc(), *(const double *)field);
    case QAPI_ENUM:
        return json_node_init_string(json_node_alloc(), qapi_enum_str(type, *(const int *)field));
    case QAPI_STR:
        return json_node_init_string(json_node_alloc(), pointer ? pointer : "");
    case QAPI_ANY:
        return pointer ? json_node_copy((JsonNode *)pointer) : json_node_new(JSON_NODE_NULL);
    case QAPI_NULL:
        return json_node_new(JSON_NODE_NULL);
    case QAPI_LIST:
        return list_to_json(type, pointer);
    case QAPI_OBJECT:
        node = json_node_new(JSON_NODE_OBJECT);
        json_node_take_object(node, pointer ? qapi_to_object(type, pointer) : json_object_new());
        return node;
    case QAPI_ALTERNATE:
        if (!pointer) {
            return json_node_new(JSON_NODE_NULL);
        }
        return qapi_to_json(type->branches[*(const QapiAltKind *)pointer],
                            (const char *)pointer + type->branch_offset);
    }
    g_assert_not_reached();
}

static void clone_field(const QapiType *type, const void *from, void *to)
{
    const void *pointer = type_is_pointer(type) ? *(void *const *)from : NULL;

    switch (type->kind) {
    case QAPI_STR:
        *(char **)to = g_strdup(pointer);
        break;
    case QAPI_ANY:
        *(JsonNode **)to = pointer ? json_node_copy((JsonNode *)pointer) : NULL;
        break;
    case QAPI_NULL:
        break;
    case QAPI_LIST: {
        void *list = pointer ? list_new(type->element) : NULL;

        for (unsigned i = 0; i < list_length(type->element, pointer); i++) {
            uint64_t element = 0;

            clone_field(type->element, list_field(type->element, pointer, i), &element);
            list_append(type->element, list, &element);
        }
        *(void **)to = list;
        break;
    }
    case QAPI_OBJECT:
    case QAPI_ALTERNATE:
        *(void **)to = qapi_clone(type, pointer);
        break;
    default:
        memcpy(to, from, type->size);
    }
}

static void clone_members(const QapiType *type, const void *from, void *to)
{
    for (unsigned i = 0; i < type->n_members; i++) {
        const QapiMember *m = &type->members[i];

        clone_field(m->type, (const char *)from + m->offset, (char *)to + m->offset);
        if (m->has_offset >= 0) {
            memcpy((char *)to + m->has_offset, (const char *)from + m->has_offset, sizeof(bool));
        }
    }
    const QapiType *branch = object_branch(type, from);

    if (branch) {
        clone_field(branch, branch_field(type, (void *)from), branch_field(type, to));
    }
}

void *qapi_clone(const QapiType *type, const void *value)
{
    if (!value) {
        return NULL;
    }
    void *copy = g_malloc0(type->size);

    if (type->kind == QAPI_OBJECT) {
        clone_members(type, value, copy);
        return copy;
    }
    QapiAltKind kind = *(const QapiAltKind *)value;

    *(QapiAltKind *)copy = kind;
    if (type->branches[kind]) {
        clone_field(type->branches[kind], (const char *)value + type->branch_offset,
                    (char *)copy + type->branch_offset);
    }
    return copy;
}
