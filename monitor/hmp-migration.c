/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Migration for humans: starting it with a progress bar, and its options. The state is printed by
 * hmp-migration-info.c. */
#include "util/osdep.h"
#include "util/cutils.h"
#include "monitor/hmp.h"
#include "qapi-types-migration.h"
#include "qapi/json.h"

#define BAR_WIDTH 30

/* ---- migrate, with a bar ---- */

static uint64_t ram_number(JsonObject *ram, const char *name)
{
    uint64_t v = 0;
    JsonNode *node = ram ? json_object_get_member(ram, name) : NULL;

    return node && qapi_json_get_uint(node, &v) ? v : 0;
}

static void append_time_left(GString *s, double remaining, double rate, double dirty)
{
    if (rate <= 0) {
        g_string_append(s, "  waiting");
    } else if (rate <= dirty) {
        g_string_append(s, "  not converging");
    } else {
        double left = remaining / (rate - dirty);

        if (left < 120) {
            g_string_append_printf(s, "  %.1f s left", left);
        } else {
            g_string_append_printf(s, "  %.0f min left", left / 60);
        }
    }
}

char *hmp_progress_line(const JsonObject *info, unsigned spin)
{
    JsonObject *obj = (JsonObject *)info;
    GString *s = g_string_new("\r[");
    JsonObject *ram =
        json_object_has_member(obj, "ram") ? json_object_get_object_member(obj, "ram") : NULL;
    uint64_t total = ram_number(ram, "total"), remaining = ram_number(ram, "remaining");
    double rate = ram ? json_object_get_double_member_with_default(ram, "mbps", 0) * 1e6 / 8 : 0;
    double page_size = (double)ram_number(ram, "page-size");
    double pages = (double)ram_number(ram, "pages-per-second");
    double dirty = (double)ram_number(ram, "dirty-pages-rate") * page_size;
    unsigned percent =
        total ? (unsigned)(100 * (double)(total - MIN(remaining, total)) / total) : 0;
    unsigned filled = BAR_WIDTH * percent / 100;

    for (unsigned i = 0; i < BAR_WIDTH; i++) {
        g_string_append_c(s, i < filled ? '#' : i == filled ? "-\\|/"[spin % 4] : ' ');
    }
    g_string_append_printf(s, "] %3u%%", percent);
    if (ram) {
        g_autofree char *rate_text = hmp_size((uint64_t)MAX(rate, 0));
        g_autofree char *dirty_text = hmp_size((uint64_t)dirty);

        g_string_append_printf(s, "  %s/s  dirty %s/s", rate_text, dirty_text);
        /* Zero pages need next to no bytes on the wire, so count pages where that is faster. */
        append_time_left(s, (double)remaining, MAX(rate, pages * page_size), dirty);
    } else {
        g_string_append_printf(s, "  %s",
                               json_object_get_string_member_with_default(obj, "status", ""));
    }
    g_string_append(s, "\033[K");
    return g_string_free(s, FALSE);
}

typedef struct {
    unsigned spin;
} Progress;

static bool progress_poll(HmpMonitor *mon, void *opaque)
{
    Progress *p = opaque;
    g_autoptr(JsonNode) node = monitor_hub_call(hmp_monitor_hub(mon), "query-migrate", NULL, NULL);
    JsonObject *info = hmp_object(node);
    MigrationStatus status = MIGRATION_STATUS_NONE;

    if (info) {
        MigrationStatus_parse(json_object_get_string_member_with_default(info, "status", "none"),
                              &status);
    }
    if (status != MIGRATION_STATUS_NONE && status != MIGRATION_STATUS_COMPLETED &&
        status != MIGRATION_STATUS_FAILED && status != MIGRATION_STATUS_CANCELLED) {
        g_autofree char *line = hmp_progress_line(info, p->spin++);

        hmp_monitor_write(mon, line);
        return false;
    }
    g_autofree char *end = NULL;

    if (status == MIGRATION_STATUS_COMPLETED) {
        end = g_strdup_printf("\r\033[Kmigrated in %" PRId64 " ms, downtime %" PRId64 " ms\r\n",
                              json_object_get_int_member_with_default(info, "total-time", 0),
                              json_object_get_int_member_with_default(info, "downtime", 0));
    } else if (status == MIGRATION_STATUS_FAILED) {
        end = g_strdup_printf("\r\033[KError: %s\r\n", json_object_get_string_member_with_default(
                                                           info, "error-desc", "migration failed"));
    } else {
        end = g_strdup_printf("\r\033[Kmigration %s\r\n",
                              status == MIGRATION_STATUS_CANCELLED ? "cancelled" : "ended");
    }
    hmp_monitor_write(mon, end);
    return true;
}

static void progress_interrupt(HmpMonitor *mon, void *opaque)
{
    g_autoptr(JsonNode) ret = monitor_hub_call(hmp_monitor_hub(mon), "migrate_cancel", NULL, NULL);
}

void hmp_migrate(HmpContext *c)
{
    JsonObject *args = json_object_new();

    json_object_set_string_member(args, "uri", c->arg[0]);
    if (hmp_flag(c, 'r')) {
        json_object_set_boolean_member(args, "resume", TRUE);
    }
    if (!hmp_do(c, "migrate", args) || hmp_flag(c, 'd')) {
        return;
    }
    HmpWait wait = {progress_poll, progress_interrupt, g_free, g_new0(Progress, 1)};

    if (!hmp_wait(c->mon, &wait)) {
        g_free(wait.opaque);
        g_string_append(c->out, "This monitor cannot wait: the migration continues detached, "
                                "see \"info migrate\"\n");
    }
}

void hmp_migrate_incoming(HmpContext *c)
{
    JsonObject *args = json_object_new();

    json_object_set_string_member(args, "uri", c->arg[0]);
    json_object_set_boolean_member(args, "exit-on-error", FALSE);
    hmp_do(c, "migrate-incoming", args);
}

void hmp_migrate_recover(HmpContext *c)
{
    JsonObject *args = json_object_new();

    json_object_set_string_member(args, "uri", c->arg[0]);
    hmp_do(c, "migrate-recover", args);
}

static void bad_value(HmpContext *c, const char *value)
{
    g_string_append_printf(c->out, "Error: invalid parameter value: %s\n", value);
}

void hmp_migrate_continue(HmpContext *c)
{
    MigrationStatus status;
    JsonObject *args;

    if (!MigrationStatus_parse(c->arg[0], &status)) {
        bad_value(c, c->arg[0]);
        return;
    }
    args = json_object_new();
    json_object_set_string_member(args, "state", c->arg[0]);
    hmp_do(c, "migrate-continue", args);
}

/* ---- options ---- */

void hmp_migrate_set_capability(HmpContext *c)
{
    MigrationCapability cap;

    if (!MigrationCapability_parse(c->arg[0], &cap)) {
        bad_value(c, c->arg[0]);
        return;
    }
    JsonObject *one = json_object_new();
    JsonArray *list = json_array_new();
    JsonObject *args = json_object_new();

    json_object_set_string_member(one, "capability", c->arg[0]);
    json_object_set_boolean_member(one, "state", (gboolean)c->number[1]);
    json_array_add_object_element(list, one);
    json_object_set_array_member(args, "capabilities", list);
    hmp_do(c, "migrate-set-capabilities", args);
}

static const struct {
    const char *name;
    const char *unit;   /* shown behind the value */
    uint64_t size_unit; /* set: takes suffixes, and this is the unit without one */
} parameters[] = {
    {"announce-initial", "ms", 0},
    {"announce-max", "ms", 0},
    {"announce-step", "ms", 0},
    {"downtime-limit", "ms", 0},
    {"max-bandwidth", "bytes/second", MiB},
    {"avail-switchover-bandwidth", "bytes/second", MiB},
    {"max-postcopy-bandwidth", "bytes/second", 1},
    {"xbzrle-cache-size", "bytes", 1},
    {"x-checkpoint-delay", "ms", 0},
    {"x-vcpu-dirty-limit-period", "ms", 0},
    {"vcpu-dirty-limit", "MB/s", 0},
};

static int find_parameter(const char *name)
{
    for (unsigned i = 0; i < ARRAY_SIZE(parameters); i++) {
        if (strcmp(parameters[i].name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static JsonNode *number_node(HmpContext *c, const char *name, const char *text)
{
    int row = find_parameter(name);
    uint64_t unit = row >= 0 ? parameters[row].size_unit : 0;
    uint64_t v;

    if (unit ? parse_size(text, unit, &v, NULL) : parse_uint64(text, &v, NULL)) {
        return qapi_json_new_uint(v);
    }
    if (unit) {
        g_string_append_printf(c->out, "Error: Invalid size %s\n", text);
    } else {
        g_string_append_printf(c->out, "Error: Parameter '%s' expects a number\n", name);
    }
    return NULL;
}

/* The schema says which parameters there are and what they hold. */
static JsonNode *parameter_node(HmpContext *c, const QapiMember *m, const char *text)
{
    bool on;

    switch (m->type->kind) {
    case QAPI_BOOL:
        if (!parse_bool(text, &on, NULL)) {
            g_string_append_printf(c->out, "Error: Parameter '%s' expects 'on' or 'off'\n",
                                   m->name);
            return NULL;
        }
        return json_node_init_boolean(json_node_alloc(), on);
    case QAPI_INT:
    case QAPI_UINT:
        return number_node(c, m->name, text);
    case QAPI_ENUM:
    case QAPI_STR:
    case QAPI_ALTERNATE:
        return json_node_init_string(json_node_alloc(), text);
    default:
        g_string_append_printf(c->out, "Error: Parameter '%s' can only be set with QMP\n", m->name);
        return NULL;
    }
}

void hmp_migrate_set_parameter(HmpContext *c)
{
    const QapiType *type = &qapi_type_MigrationParameters;

    for (unsigned i = 0; i < type->n_members; i++) {
        if (strcmp(type->members[i].name, c->arg[0]) != 0) {
            continue;
        }
        JsonNode *value = parameter_node(c, &type->members[i], c->arg[1]);

        if (value) {
            JsonObject *args = json_object_new();

            json_object_set_member(args, c->arg[0], value);
            hmp_do(c, "migrate-set-parameters", args);
        }
        return;
    }
    bad_value(c, c->arg[0]);
}

static void print_capability(HmpContext *c, JsonObject *cap)
{
    g_string_append_printf(
        c->out, "%s: %s\n", json_object_get_string_member_with_default(cap, "capability", ""),
        json_object_get_boolean_member_with_default(cap, "state", FALSE) ? "on" : "off");
}

void hmp_info_migrate_capabilities(HmpContext *c)
{
    g_autoptr(JsonNode) list = hmp_call(c, "query-migrate-capabilities", NULL);

    hmp_foreach(list, print_capability, c);
}

static void print_parameter(HmpContext *c, const char *name, JsonNode *value)
{
    int row = find_parameter(name);
    const char *text = qapi_json_get_str(value);
    uint64_t number;

    g_string_append_printf(c->out, "%s: ", name);
    if (text && g_str_has_prefix(name, "tls-")) {
        g_string_append_printf(c->out, "'%s'", text);
    } else if (text) {
        g_string_append(c->out, text);
    } else if (qapi_json_get_uint(value, &number)) {
        g_string_append_printf(c->out, "%" PRIu64, number);
    } else if (JSON_NODE_HOLDS_VALUE(value)) {
        g_string_append(c->out, json_node_get_boolean(value) ? "on" : "off");
    }
    g_string_append_printf(c->out, "%s%s\n", row >= 0 ? " " : "",
                           row >= 0 ? parameters[row].unit : "");
}

void hmp_info_migrate_parameters(HmpContext *c)
{
    const QapiType *type = &qapi_type_MigrationParameters;
    g_autoptr(JsonNode) node = hmp_call(c, "query-migrate-parameters", NULL);
    JsonObject *info = hmp_object(node);

    for (unsigned i = 0; info && i < type->n_members; i++) {
        const char *name = type->members[i].name;

        if (json_object_has_member(info, name)) {
            print_parameter(c, name, json_object_get_member(info, name));
        }
    }
}
