/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One request -> one reply: the checks of spec 70 section 3, then the command table. */
#include "util/osdep.h"
#include "monitor/internal.h"
#include "qapi/json.h"

static JsonNode *reply_with(const char *member, JsonNode *value, JsonNode *id)
{
    JsonNode *reply = json_node_new(JSON_NODE_OBJECT);
    JsonObject *obj = json_object_new();

    json_object_set_member(obj, member, value);
    if (id) {
        json_object_set_member(obj, "id", json_node_copy(id));
    }
    json_node_take_object(reply, obj);
    return reply;
}

JsonNode *qmp_error_reply(GError *err, JsonNode *id)
{
    JsonNode *value = json_node_new(JSON_NODE_OBJECT);
    JsonObject *obj = json_object_new();

    json_object_set_string_member(obj, "class", error_class_name(error_get_class(err)));
    json_object_set_string_member(obj, "desc", err->message);
    json_node_take_object(value, obj);
    g_error_free(err);
    return reply_with("error", value, id);
}

bool qmp_request_is_oob(JsonNode *request)
{
    return JSON_NODE_HOLDS_OBJECT(request) &&
           json_object_has_member(json_node_get_object(request), "exec-oob") &&
           !json_object_has_member(json_node_get_object(request), "execute");
}

typedef struct {
    const char *command;
    JsonObject *args; /* may be NULL */
    bool oob;
} Request;

static bool parse_request(JsonObject *obj, unsigned flags, Request *r, GError **errp)
{
    JsonObjectIter iter;
    const char *name;
    JsonNode *value;

    json_object_iter_init_ordered(&iter, obj);
    while (json_object_iter_next_ordered(&iter, &name, &value)) {
        bool oob = (flags & QMP_OOB_ENABLED) && strcmp(name, "exec-oob") == 0;

        if (strcmp(name, "execute") == 0 || oob) {
            if (!qapi_json_get_str(value)) {
                error_setg(errp, "QMP input member '%s' must be a string", name);
                return false;
            }
            if (r->command) {
                error_setg(errp, "QMP input member '%s' clashes with '%s'", name,
                           oob ? "execute" : "exec-oob");
                return false;
            }
            r->command = qapi_json_get_str(value);
            r->oob = oob;
        } else if (strcmp(name, "arguments") == 0) {
            if (!JSON_NODE_HOLDS_OBJECT(value)) {
                error_setg(errp, "QMP input member 'arguments' must be an object");
                return false;
            }
            r->args = json_node_get_object(value);
        } else if (strcmp(name, "id") != 0) {
            error_setg(errp, "QMP input member '%s' is unexpected", name);
            return false;
        }
    }
    if (!r->command) {
        error_setg(errp, "QMP input lacks member 'execute'");
        return false;
    }
    return true;
}

static JsonNode *run_request(QmpCommandTable *table, QmpSession *session, const Request *r,
                             unsigned flags, GError **errp)
{
    QmpCall call = {NULL, session};
    const QmpCommandDef *def = qmp_command_table_find(table, r->command, &call.opaque);
    bool is_negotiation = strcmp(r->command, "qmp_capabilities") == 0;
    JsonNode *ret = NULL;

    if ((flags & QMP_NEGOTIATING) && !is_negotiation) {
        error_set(errp, ERROR_CLASS_COMMAND_NOT_FOUND,
                  "Expecting capabilities negotiation with 'qmp_capabilities'");
        return NULL;
    }
    if (!(flags & QMP_NEGOTIATING) && is_negotiation) {
        error_set(errp, ERROR_CLASS_COMMAND_NOT_FOUND,
                  "Capabilities negotiation is already complete, command ignored");
        return NULL;
    }
    if (!def) {
        error_set(errp, ERROR_CLASS_COMMAND_NOT_FOUND, "The command %s has not been found",
                  r->command);
        return NULL;
    }
    if (r->oob && !def->allow_oob) {
        error_setg(errp, "The command %s does not support OOB", r->command);
        return NULL;
    }
    return def->marshal(&call, r->args, &ret, errp) ? ret : NULL;
}

JsonNode *qmp_dispatch(QmpCommandTable *table, QmpSession *session, JsonNode *request,
                       unsigned flags)
{
    Request r = {0};
    GError *err = NULL;
    JsonNode *ret = NULL;

    if (!JSON_NODE_HOLDS_OBJECT(request)) {
        error_setg(&err, "QMP input must be a JSON object");
        return qmp_error_reply(err, NULL);
    }
    JsonObject *obj = json_node_get_object(request);
    JsonNode *id = json_object_get_member(obj, "id");

    if (parse_request(obj, flags, &r, &err)) {
        ret = run_request(table, session, &r, flags, &err);
    }
    return ret ? reply_with("return", ret, id) : qmp_error_reply(err, id);
}
