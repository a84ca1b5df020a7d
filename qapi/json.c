/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Integers above INT64_MAX in a JsonNode. */
#include "util/osdep.h"
#include "qapi/json.h"

#define BIG_UINT_MARK '\xff'

JsonNode *qapi_json_new_uint(uint64_t value)
{
    JsonNode *node = json_node_alloc();

    if (value <= INT64_MAX) {
        return json_node_init_int(node, (int64_t)value);
    }
    char text[24];

    g_snprintf(text, sizeof(text), "%c%" PRIu64, BIG_UINT_MARK, value);
    return json_node_init_string(node, text);
}

bool qapi_json_is_big_uint(JsonNode *node)
{
    return JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING &&
           json_node_get_string(node)[0] == BIG_UINT_MARK;
}

bool qapi_json_get_uint(JsonNode *node, uint64_t *out)
{
    if (qapi_json_is_big_uint(node)) {
        *out = g_ascii_strtoull(json_node_get_string(node) + 1, NULL, 10);
        return true;
    }
    int64_t value;

    if (!qapi_json_get_int(node, &value) || value < 0) {
        return false;
    }
    *out = value;
    return true;
}

bool qapi_json_get_int(JsonNode *node, int64_t *out)
{
    if (!JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_INT64) {
        return false;
    }
    *out = json_node_get_int(node);
    return true;
}

const char *qapi_json_get_str(JsonNode *node)
{
    if (!JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_STRING ||
        qapi_json_is_big_uint(node)) {
        return NULL;
    }
    return json_node_get_string(node);
}
