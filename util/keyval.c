/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/cutils.h"
#include "util/error.h"
#include "util/keyval.h"

#define MAX_DEPTH 32

static JsonObject *parse_json(const char *text, GError **errp)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    g_autoptr(GError) err = NULL;
    JsonNode *root;

    if (!json_parser_load_from_data(parser, text, -1, &err)) {
        error_setg(errp, "JSON parse error: %s", err->message);
        return NULL;
    }
    root = json_parser_get_root(parser);
    if (!root || !JSON_NODE_HOLDS_OBJECT(root)) {
        error_setg(errp, "JSON parse error: an object is expected");
        return NULL;
    }
    return json_object_ref(json_node_get_object(root));
}

/* Cut the next item off *text; ",," stands for a comma. */
static char *next_item(const char **text)
{
    g_autoptr(GString) item = g_string_new(NULL);
    const char *p = *text;

    for (; *p; p++) {
        if (*p == ',') {
            if (p[1] != ',') {
                break;
            }
            p++;
        }
        g_string_append_c(item, *p);
    }
    *text = *p ? p + 1 : p;
    return g_string_free(g_steal_pointer(&item), FALSE);
}

static bool insert(JsonObject *obj, const char *key, const char *value, unsigned depth,
                   GError **errp)
{
    const char *dot = strchr(key, '.');
    g_autofree char *head = NULL;
    JsonObject *child;

    if (!key[0] || key[0] == '.' || depth > MAX_DEPTH) {
        error_setg(errp, "Invalid parameter name '%s'", key);
        return false;
    }
    if (!dot) {
        json_object_set_string_member(obj, key, value);
        return true;
    }
    head = g_strndup(key, dot - key);
    if (!json_object_has_member(obj, head)) {
        json_object_set_object_member(obj, head, json_object_new());
    } else if (!JSON_NODE_HOLDS_OBJECT(json_object_get_member(obj, head))) {
        error_setg(errp, "Parameters '%s' and '%s.*' used inconsistently", head, head);
        return false;
    }
    child = json_object_get_object_member(obj, head);
    return insert(child, dot + 1, value, depth + 1, errp);
}

/* Objects whose keys are 0..n-1 are lists. */
static JsonNode *make_lists(JsonNode *node)
{
    g_autoptr(GList) keys = NULL;
    JsonNode *copy = json_node_alloc();
    JsonObject *obj;
    bool list;

    if (!JSON_NODE_HOLDS_OBJECT(node)) {
        json_node_free(copy);
        return json_node_copy(node);
    }
    obj = json_node_get_object(node);
    keys = json_object_get_members(obj);
    list = keys != NULL;
    for (guint i = 0; i < g_list_length(keys) && list; i++) {
        char index[16];

        g_snprintf(index, sizeof(index), "%u", i);
        list = json_object_has_member(obj, index);
    }
    if (list) {
        g_autoptr(JsonArray) array = json_array_new();

        for (guint i = 0; i < g_list_length(keys); i++) {
            char index[16];

            g_snprintf(index, sizeof(index), "%u", i);
            json_array_add_element(array, make_lists(json_object_get_member(obj, index)));
        }
        return json_node_init_array(copy, array);
    } else {
        g_autoptr(JsonObject) fresh = json_object_new();

        for (GList *k = keys; k; k = k->next) {
            json_object_set_member(fresh, k->data,
                                   make_lists(json_object_get_member(obj, k->data)));
        }
        return json_node_init_object(copy, fresh);
    }
}

JsonObject *keyval_parse(const char *text, const char *implied_key, GError **errp)
{
    g_autoptr(JsonObject) obj = NULL;
    g_autoptr(JsonNode) node = NULL;
    g_autoptr(JsonNode) listed = NULL;
    bool first = true;

    if (text[0] == '{') {
        return parse_json(text, errp);
    }
    obj = json_object_new();
    while (*text) {
        g_autofree char *item = next_item(&text);
        char *eq = strchr(item, '=');

        if (eq) {
            *eq = '\0';
            if (!insert(obj, item, eq + 1, 0, errp)) {
                return NULL;
            }
        } else if (first && implied_key) {
            json_object_set_string_member(obj, implied_key, item);
        } else if (!insert(obj, item, "on", 0, errp)) {
            return NULL;
        }
        first = false;
    }
    node = json_node_init_object(json_node_alloc(), obj);
    listed = make_lists(node);
    if (!JSON_NODE_HOLDS_OBJECT(listed)) {
        error_setg(errp, "a list is not expected here");
        return NULL;
    }
    return json_object_ref(json_node_get_object(listed));
}

const char *keyval_get_string(JsonObject *obj, const char *key)
{
    JsonNode *node = json_object_get_member(obj, key);

    return node && JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING
               ? json_node_get_string(node)
               : NULL;
}

bool keyval_get_bool(JsonObject *obj, const char *key, bool dflt, bool *out, GError **errp)
{
    JsonNode *node = json_object_get_member(obj, key);
    const char *text = keyval_get_string(obj, key);

    if (!node) {
        *out = dflt;
    } else if (JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_BOOLEAN) {
        *out = json_node_get_boolean(node);
    } else if (!text || !parse_bool(text, out, NULL)) {
        error_setg(errp, "Parameter '%s' expects 'on' or 'off'", key);
        return false;
    }
    return true;
}

bool keyval_get_size(JsonObject *obj, const char *key, uint64_t unit, uint64_t dflt, uint64_t *out,
                     GError **errp)
{
    JsonNode *node = json_object_get_member(obj, key);
    const char *text = keyval_get_string(obj, key);
    g_autoptr(GError) err = NULL;

    if (!node) {
        *out = dflt;
        return true;
    }
    if (JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_INT64 &&
        json_node_get_int(node) >= 0) {
        *out = json_node_get_int(node);
        return true;
    }
    if (text && parse_size(text, unit, out, &err)) {
        return true;
    }
    error_setg(errp, "Parameter '%s' expects a number: %s", key,
               err ? err->message : "a number or its text is needed");
    return false;
}

bool keyval_check_known(JsonObject *obj, const char *const *known, GError **errp)
{
    g_autoptr(GList) keys = json_object_get_members(obj);

    for (GList *k = keys; k; k = k->next) {
        if (!g_strv_contains(known, k->data)) {
            error_setg(errp, "Invalid parameter '%s'", (char *)k->data);
            return false;
        }
    }
    return true;
}
