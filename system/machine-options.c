/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine as the command line describes it: board, properties, harts, clock, globals. */
#include "system/vm.h"
#include "util/cutils.h"
#include "util/keyval.h"

bool vm_create_machine(VM *vm, GError **errp)
{
    JsonObject *opts = vm->cfg->machine;
    const char *type = opts ? keyval_get_string(opts, "type") : NULL;
    const MachineClass *cls = machine_class_find(type ? type : "virt");

    if (!cls) {
        error_setg(errp, "-machine %s: unsupported machine type; use one of 'virt' and 'none'",
                   type);
        return false;
    }
    vm->machine = machine_new(cls);
    vm->machine->requests.opaque = vm;
    return true;
}

typedef struct {
    const char *name;
    size_t offset; /* of a char * in Machine */
} StringProperty;

static const StringProperty string_properties[] = {
    {"firmware", offsetof(Machine, firmware)}, {"kernel", offsetof(Machine, kernel)},
    {"initrd", offsetof(Machine, initrd)},     {"append", offsetof(Machine, append)},
    {"dtb", offsetof(Machine, dtb)},           {"dumpdtb", offsetof(Machine, dumpdtb)},
};

static void set_string(Machine *m, size_t offset, const char *value)
{
    char **field = (char **)((char *)m + offset);

    if (value) {
        g_free(*field);
        *field = g_strdup(value);
    }
}

/* A -machine property: the board's own, then those of every machine. */
static bool machine_property(VM *vm, const char *name, const char *value, GError **errp)
{
    static const char *const no_effect[] = {"dump-guest-core", "mem-merge", "graphics", NULL};
    Machine *m = vm->machine;
    bool known = false, on;

    if (m->cls->set_property) {
        bool ok = m->cls->set_property(m, name, value, &known, errp);

        if (known) {
            return ok;
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(string_properties); i++) {
        if (g_str_equal(name, string_properties[i].name)) {
            set_string(m, string_properties[i].offset, value);
            return true;
        }
    }
    if (g_str_equal(name, "suppress-vmdesc")) {
        return parse_bool(value, &m->suppress_vmdesc, errp);
    }
    if (g_strv_contains(no_effect, name)) {
        return parse_bool(value, &on, errp);
    }
    if (g_str_equal(name, "usb")) {
        if (!parse_bool(value, &on, errp)) {
            return false;
        }
        if (on) {
            error_setg(errp, "machine '%s' has no USB controller", m->cls->name);
        }
        return !on;
    }
    error_setg(errp, "Property '%s-machine.%s' not found", m->cls->name, name);
    return false;
}

static bool apply_machine_options(VM *vm, GError **errp)
{
    const VMConfig *cfg = vm->cfg;
    Machine *m = vm->machine;
    g_autoptr(GList) keys = cfg->machine ? json_object_get_members(cfg->machine) : NULL;

    for (GList *k = keys; k; k = k->next) {
        const char *name = k->data;
        const char *value = keyval_get_string(cfg->machine, name);

        if (g_str_equal(name, "type") || g_str_equal(name, "accel") ||
            g_str_equal(name, "memory-backend")) {
            continue; /* handled where they are used */
        }
        if (!value || !machine_property(vm, name, value, errp)) {
            g_prefix_error(errp, "-machine %s: ", name);
            return false;
        }
    }
    set_string(m, offsetof(Machine, firmware), cfg->bios);
    set_string(m, offsetof(Machine, kernel), cfg->kernel);
    set_string(m, offsetof(Machine, initrd), cfg->initrd);
    set_string(m, offsetof(Machine, append), cfg->append);
    set_string(m, offsetof(Machine, dtb), cfg->dtb);
    g_ptr_array_add(cfg->firmware_dirs, NULL);
    m->firmware_dirs = g_strdupv((char **)cfg->firmware_dirs->pdata);
    m->nographic = cfg->nographic;
    m->incoming = cfg->incomings->len || cfg->loadvm;
    m->name = cfg->name ? g_strdup(keyval_get_string(cfg->name, "guest")) : NULL;
    if (cfg->uuid) {
        static const uint8_t unset[16];

        if (!parse_uuid(cfg->uuid, m->uuid, errp)) {
            g_prefix_error(errp, "-uuid: ");
            return false;
        }
        m->has_uuid = memcmp(m->uuid, unset, sizeof(unset)) != 0;
    }
    return true;
}

static bool apply_smp(VM *vm, GError **errp)
{
    static const char *const known[] = {"cpus",     "maxcpus", "sockets", "dies",
                                        "clusters", "cores",   "threads", NULL};
    static const char *const levels[] = {"sockets", "dies", "clusters", "cores", "threads"};
    JsonObject *smp = vm->cfg->smp;
    Machine *m = vm->machine;
    uint64_t cpus, maxcpus, product = 1;
    bool topology = false;

    if (!smp) {
        return true;
    }
    for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
        uint64_t n;

        if (!keyval_get_size(smp, levels[i], 1, 1, &n, errp) || n == 0 || n > 4096) {
            g_prefix_error(errp, "-smp: ");
            if (errp && !*errp) {
                error_setg(errp, "-smp: '%s' must be between 1 and 4096", levels[i]);
            }
            return false;
        }
        topology |= json_object_has_member(smp, levels[i]);
        product *= n;
    }
    if (!keyval_check_known(smp, known, errp) ||
        !keyval_get_size(smp, "cpus", 1, topology ? product : 1, &cpus, errp) ||
        !keyval_get_size(smp, "maxcpus", 1, topology ? product : cpus, &maxcpus, errp)) {
        g_prefix_error(errp, "-smp: ");
        return false;
    }
    if (cpus < 1 || maxcpus < cpus || (topology && product != maxcpus)) {
        error_setg(errp,
                   "-smp: the topology gives %" PRIu64 " CPUs, maxcpus is %" PRIu64
                   ", cpus is %" PRIu64 "; cpus <= maxcpus = the topology's product is needed",
                   product, maxcpus, cpus);
        return false;
    }
    if (cpus > m->cls->max_cpus) {
        error_setg(errp,
                   "Invalid SMP CPUs %" PRIu64 ". The max CPUs supported by machine '%s' is %u",
                   cpus, m->cls->name, m->cls->max_cpus);
        return false;
    }
    m->smp_cpus = cpus;
    return true;
}

/* "MODEL,prop=val,+feat,-feat" */
static bool apply_cpu(VM *vm, GError **errp)
{
    Machine *m = vm->machine;
    g_autofree char *props = NULL;
    g_autoptr(GString) text = g_string_new(NULL);
    g_auto(GStrv) parts = NULL;

    if (!vm->cfg->cpu) {
        return true;
    }
    parts = g_strsplit(vm->cfg->cpu, ",", -1);
    for (char **p = parts + 1; parts[0] && *p; p++) {
        if ((*p)[0] == '+' || (*p)[0] == '-') {
            g_string_append_printf(text, "%s=%s,", *p + 1, (*p)[0] == '+' ? "on" : "off");
        } else {
            g_string_append_printf(text, "%s,", *p);
        }
    }
    m->cpu_model = g_intern_string(parts[0] ? parts[0] : "");
    m->cpu_props = keyval_parse(text->str, NULL, errp);
    if (!m->cpu_props) {
        g_prefix_error(errp, "-cpu: ");
        return false;
    }
    return true;
}

static bool apply_actions(VM *vm, GError **errp)
{
    JsonObject *action = vm->cfg->action;
    const char *reboot = action ? keyval_get_string(action, "reboot") : NULL;
    const char *shutdown = action ? keyval_get_string(action, "shutdown") : NULL;

    vm->on_reboot = vm->cfg->no_reboot || !g_strcmp0(reboot, "shutdown") ? REBOOT_ACTION_SHUTDOWN
                                                                         : REBOOT_ACTION_RESET;
    vm->on_shutdown = vm->cfg->no_shutdown || !g_strcmp0(shutdown, "pause")
                          ? SHUTDOWN_ACTION_PAUSE
                          : SHUTDOWN_ACTION_POWEROFF;
    if ((reboot && !g_str_equal(reboot, "reset") && !g_str_equal(reboot, "shutdown")) ||
        (shutdown && !g_str_equal(shutdown, "poweroff") && !g_str_equal(shutdown, "pause"))) {
        error_setg(errp, "-action: reboot=reset|shutdown, shutdown=poweroff|pause");
        return false;
    }
    return true;
}

/* -rtc base=: guest date minus host clock. */
static bool apply_rtc(VM *vm, GError **errp)
{
    const char *base = vm->cfg->rtc ? keyval_get_string(vm->cfg->rtc, "base") : NULL;
    int64_t host_ns = clock_get_ns(clock_host());
    int64_t seconds = host_ns / NANOSECONDS_PER_SECOND;

    if (base && g_str_equal(base, "localtime")) {
        g_autoptr(GDateTime) now = g_date_time_new_now_local();

        seconds += g_date_time_get_utc_offset(now) / G_USEC_PER_SEC;
    } else if (base && !g_str_equal(base, "utc")) {
        g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
        g_autoptr(GDateTime) date = g_date_time_new_from_iso8601(base, utc);

        if (!date) {
            g_autofree char *midnight = g_strconcat(base, "T00:00:00", NULL);

            date = g_date_time_new_from_iso8601(midnight, utc);
        }
        if (!date) {
            error_setg(errp, "-rtc base=%s: use utc, localtime, YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS",
                       base);
            return false;
        }
        seconds = g_date_time_to_unix(date);
    }
    vm->machine->rtc_offset_ns = seconds * NANOSECONDS_PER_SECOND - host_ns;
    return true;
}

static bool apply_globals(VM *vm, GError **errp)
{
    Machine *m = vm->machine;

    for (guint i = 0; i < vm->cfg->globals->len; i++) {
        const char *text = g_ptr_array_index(vm->cfg->globals, i);
        const char *dot = strchr(text, '.');
        const char *eq = strchr(text, '=');
        g_autofree char *key = NULL;

        if (!dot || !eq || dot > eq) {
            error_setg(errp, "-global %s: use DRIVER.PROPERTY=VALUE", text);
            return false;
        }
        key = g_strndup(text, eq - text);
        if (!g_str_has_prefix(text, "migration.")) {
            g_hash_table_replace(m->globals, g_steal_pointer(&key), g_strdup(eq + 1));
        } else if (!migration_set_global(vm->migration, key + strlen("migration."), eq + 1, errp)) {
            g_prefix_error(errp, "-global %s: ", text);
            return false;
        }
    }
    return true;
}

bool vm_apply_options(VM *vm, GError **errp)
{
    return apply_globals(vm, errp) && apply_machine_options(vm, errp) && apply_smp(vm, errp) &&
           apply_cpu(vm, errp) && apply_actions(vm, errp) && apply_rtc(vm, errp);
}
