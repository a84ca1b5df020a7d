/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command table, and the commands that are little more than their QMP counterpart. */
#include "util/osdep.h"
#include "accel/accel.h"
#include "util/keyval.h"
#include "util/log.h"
#include "monitor/hmp.h"
#include "qapi/json-stream.h"

/* ---- helpers ---- */

void hmp_error(HmpContext *c, GError *err)
{
    g_string_append_printf(c->out, "Error: %s\n", err->message);
    g_error_free(err);
}

JsonNode *hmp_call(HmpContext *c, const char *command, JsonObject *args)
{
    GError *err = NULL;
    JsonNode *ret = monitor_hub_call(c->hub, command, args, &err);

    if (!ret) {
        hmp_error(c, err);
    }
    return ret;
}

bool hmp_do(HmpContext *c, const char *command, JsonObject *args)
{
    g_autoptr(JsonNode) ret = hmp_call(c, command, args);

    return ret != NULL;
}

JsonObject *hmp_object(JsonNode *node)
{
    return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}

void hmp_foreach(JsonNode *list, void (*cb)(HmpContext *c, JsonObject *obj), HmpContext *c)
{
    if (!list || !JSON_NODE_HOLDS_ARRAY(list)) {
        return;
    }
    JsonArray *array = json_node_get_array(list);

    for (unsigned i = 0; i < json_array_get_length(array); i++) {
        cb(c, hmp_object(json_array_get_element(array, i)));
    }
}

bool hmp_on_cpu(HmpContext *c, unsigned index, void (*fn)(RISCVCPU *cpu, void *opaque),
                void *opaque)
{
    Machine *m = c->hub->machine;

    if (!m || !m->cpus || index >= m->cpus->len) {
        return false;
    }
    if (m->accel) {
        accel_run_on_vcpu(m->accel, index, fn, opaque);
    } else {
        fn(m->cpus->pdata[index], opaque);
    }
    return true;
}

/* Arguments with one string. */
static JsonObject *string_args(const char *name, const char *value)
{
    JsonObject *args = json_object_new();

    json_object_set_string_member(args, name, value);
    return args;
}

/* ---- without arguments ---- */

static void hmp_stop(HmpContext *c)
{
    hmp_do(c, "stop", NULL);
}

static void hmp_cont(HmpContext *c)
{
    hmp_do(c, "cont", NULL);
}

static void hmp_quit(HmpContext *c)
{
    hmp_do(c, "quit", NULL);
}

static void hmp_system_reset(HmpContext *c)
{
    hmp_do(c, "system_reset", NULL);
}

static void hmp_migrate_start_postcopy(HmpContext *c)
{
    hmp_do(c, "migrate-start-postcopy", NULL);
}

static void hmp_migrate_pause(HmpContext *c)
{
    hmp_do(c, "migrate-pause", NULL);
}

static void hmp_migrate_cancel(HmpContext *c)
{
    hmp_do(c, "migrate_cancel", NULL);
}

/* ---- things with an id ---- */

static void hmp_device_del(HmpContext *c)
{
    hmp_do(c, "device_del", string_args("id", c->arg[0]));
}

static void hmp_object_del(HmpContext *c)
{
    hmp_do(c, "object-del", string_args("id", c->arg[0]));
}

static void hmp_netdev_del(HmpContext *c)
{
    hmp_do(c, "netdev_del", string_args("id", c->arg[0]));
}

static void hmp_chardev_remove(HmpContext *c)
{
    hmp_do(c, "chardev-remove", string_args("id", c->arg[0]));
}

static void hmp_getfd(HmpContext *c)
{
    hmp_do(c, "getfd", string_args("fdname", c->arg[0]));
}

static void hmp_closefd(HmpContext *c)
{
    hmp_do(c, "closefd", string_args("fdname", c->arg[0]));
}

static void hmp_set_link(HmpContext *c)
{
    JsonObject *args = string_args("name", c->arg[0]);

    json_object_set_boolean_member(args, "up", (gboolean)c->number[1]);
    hmp_do(c, "set_link", args);
}

static void hmp_balloon(HmpContext *c)
{
    JsonObject *args = json_object_new();

    json_object_set_int_member(args, "value", (int64_t)((uint64_t)c->number[0] << 20));
    hmp_do(c, "balloon", args);
}

/* ---- key=value,... ---- */

static void add_from_options(HmpContext *c, const char *command, const char *implied)
{
    GError *err = NULL;
    JsonObject *args = keyval_parse(c->arg[0], implied, &err);

    if (!args) {
        hmp_error(c, err);
        return;
    }
    hmp_do(c, command, args);
}

static void hmp_device_add(HmpContext *c)
{
    add_from_options(c, "device_add", "driver");
}

static void hmp_object_add(HmpContext *c)
{
    add_from_options(c, "object-add", "qom-type");
}

static void hmp_netdev_add(HmpContext *c)
{
    add_from_options(c, "netdev_add", "type");
}

static void hmp_chardev_add(HmpContext *c)
{
    GError *err = NULL;
    g_autoptr(JsonObject) args = keyval_parse(c->arg[0], "backend", &err);
    Machine *m = args ? monitor_hub_machine(c->hub, &err) : NULL;

    if (!m || (!chardev_new(m->chardevs, args, &err) && err)) {
        hmp_error(c, err);
    }
}

/* ---- the tree ---- */

static void print_property(HmpContext *c, JsonObject *obj)
{
    g_string_append_printf(c->out, "%s (%s)\n", json_object_get_string_member(obj, "name"),
                           json_object_get_string_member(obj, "type"));
}

static void hmp_qom_list(HmpContext *c)
{
    g_autoptr(JsonNode) list =
        hmp_call(c, "qom-list", string_args("path", c->arg[0] ? c->arg[0] : "/"));

    hmp_foreach(list, print_property, c);
}

static void hmp_qom_get(HmpContext *c)
{
    JsonObject *args = string_args("path", c->arg[0]);

    json_object_set_string_member(args, "property", c->arg[1]);
    g_autoptr(JsonNode) value = hmp_call(c, "qom-get", args);

    if (value) {
        qapi_json_write(c->out, value, true);
        g_string_append_c(c->out, '\n');
    }
}

static void hmp_qom_set(HmpContext *c)
{
    JsonObject *args = string_args("path", c->arg[0]);

    json_object_set_string_member(args, "property", c->arg[1]);
    json_object_set_string_member(args, "value", c->arg[2]);
    hmp_do(c, "qom-set", args);
}

/* ---- the monitor itself ---- */

static void hmp_help(HmpContext *c)
{
    if (c->arg[0] && strcmp(c->arg[0], "info") == 0) {
        hmp_print_help(c, hmp_info_items, "info ", c->arg[1]);
    } else {
        hmp_print_help(c, hmp_commands, "", c->arg[0]);
    }
}

static void hmp_cpu(HmpContext *c)
{
    Machine *m = c->hub->machine;

    if (!m || !m->cpus || c->number[0] < 0 || c->number[0] >= m->cpus->len) {
        g_string_append(c->out, "invalid CPU index\n");
    } else if (c->mon) {
        hmp_monitor_set_cpu(c->mon, (unsigned)c->number[0]);
    }
}

static void hmp_log(HmpContext *c)
{
    g_auto(GStrv) items = g_strsplit(c->arg[0], ",", 0);

    for (char **item = items; *item; item++) {
        if (!log_enable(*item)) {
            g_string_append_printf(c->out, "unknown log item '%s'\n", *item);
        }
    }
}

static void hmp_logfile(HmpContext *c)
{
    GError *err = NULL;

    if (!log_set_file(c->arg[0], &err)) {
        hmp_error(c, err);
    }
}

const HmpCommand hmp_commands[] = {
    {"balloon", NULL, NULL, "i", "target", "ask the guest to keep this much memory (in MiB)",
     hmp_balloon},
    {"chardev-add", NULL, NULL, "S", "args", "add chardev", hmp_chardev_add},
    {"chardev-remove", NULL, NULL, "s", "id", "remove chardev", hmp_chardev_remove},
    {"closefd", NULL, NULL, "s", "name", "close a file descriptor that was passed via SCM rights",
     hmp_closefd},
    {"calc_dirty_rate", NULL, "rb", "i?i", "[-r] [-b] second [sample_pages_per_GB]",
     "measure how fast memory becomes dirty (-r: per CPU, -b: by the dirty log)",
     hmp_calc_dirty_rate},
    {"cancel_vcpu_dirty_limit", NULL, NULL, "?i", "[cpu_index]", "lift the limit of dirty pages",
     hmp_cancel_vcpu_dirty_limit},
    {"cont", "c", NULL, NULL, "", "resume emulation", hmp_cont},
    {"cpu", NULL, NULL, "i", "index", "set the CPU that x, print and info registers look at",
     hmp_cpu},
    {"delvm", NULL, NULL, "s", "tag", "delete a snapshot", hmp_delvm},
    {"device_add", NULL, NULL, "S", "driver[,prop=value][,...]",
     "add device, like -device on the command line", hmp_device_add},
    {"device_del", NULL, NULL, "s", "device", "remove device", hmp_device_del},
    {"getfd", NULL, NULL, "s", "name", "take a file descriptor passed via SCM rights, and name it",
     hmp_getfd},
    {"help", "?", NULL, "?ss", "[cmd]", "show the help", hmp_help},
    {"log", NULL, NULL, "s", "item1[,...]", "activate logging of the given items", hmp_log},
    {"logfile", NULL, NULL, "s", "filename", "write the log to 'filename'", hmp_logfile},
    {"loadvm", NULL, NULL, "s", "tag", "go back to a snapshot", hmp_loadvm},
    {"migrate", NULL, "dr", "s", "[-d] [-r] uri",
     "migrate to URI, showing the progress (-d: return at once; -r: go on with a paused postcopy; "
     "Ctrl-C cancels)",
     hmp_migrate},
    {"migrate_cancel", NULL, NULL, NULL, "", "cancel the current migration", hmp_migrate_cancel},
    {"migrate_continue", NULL, NULL, "s", "state",
     "continue the migration that waits in the given state", hmp_migrate_continue},
    {"migrate_incoming", NULL, NULL, "s", "uri",
     "start listening, after -incoming defer on the command line", hmp_migrate_incoming},
    {"migrate_pause", NULL, NULL, NULL, "", "break the line of a postcopy migration",
     hmp_migrate_pause},
    {"migrate_recover", NULL, NULL, "s", "uri",
     "listen for the source of a paused postcopy migration", hmp_migrate_recover},
    {"migrate_set_capability", NULL, NULL, "sb", "capability state",
     "turn a migration capability on or off", hmp_migrate_set_capability},
    {"migrate_set_parameter", NULL, NULL, "ss", "parameter value", "set a migration parameter",
     hmp_migrate_set_parameter},
    {"migrate_start_postcopy", NULL, NULL, NULL, "",
     "let the guest move now, its memory follows (capability postcopy-ram)",
     hmp_migrate_start_postcopy},
    {"netdev_add", NULL, NULL, "S", "type,id=str[,prop=value][,...]", "add host network device",
     hmp_netdev_add},
    {"netdev_del", NULL, NULL, "s", "id", "remove host network device", hmp_netdev_del},
    {"object_add", NULL, NULL, "S", "[qom-type=]type,id=str[,prop=value][,...]", "create an object",
     hmp_object_add},
    {"object_del", NULL, NULL, "s", "id", "destroy an object", hmp_object_del},
    {"print", "p", NULL, "/i", "/fmt expr",
     "print the value of an expression ($reg: a CPU register)", hmp_print},
    {"qom-get", NULL, NULL, "ss", "path property", "print a property of an object", hmp_qom_get},
    {"qom-list", NULL, NULL, "?s", "[path]", "list the properties of an object", hmp_qom_list},
    {"qom-set", NULL, NULL, "sss", "path property value", "set a property of an object",
     hmp_qom_set},
    {"quit", "q", NULL, NULL, "", "quit the emulator", hmp_quit},
    {"savevm", NULL, NULL, "?s", "[tag]", "save a snapshot, in place of one of the same name",
     hmp_savevm},
    {"set_link", NULL, NULL, "sb", "name on|off", "change the link status of a network back end",
     hmp_set_link},
    {"set_vcpu_dirty_limit", NULL, NULL, "i?i", "dirty_rate [cpu_index]",
     "limit how many MB/s a CPU may make dirty (0: no limit)", hmp_set_vcpu_dirty_limit},
    {"stop", "s", NULL, NULL, "", "stop emulation", hmp_stop},
    {"sum", NULL, NULL, "ii", "addr size", "compute the checksum of a memory region", hmp_sum},
    {"system_reset", NULL, NULL, NULL, "", "reset the system", hmp_system_reset},
    {"x", NULL, NULL, "/i", "/fmt addr", "virtual memory dump starting at 'addr'", hmp_x},
    {"xp", NULL, NULL, "/i", "/fmt addr", "physical memory dump starting at 'addr'", hmp_xp},
    {NULL},
};
