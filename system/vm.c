/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Machine start, top to bottom: objects and back ends, monitors, memory and accelerator, the board,
 * devices, then run, wait for a migration, or load a saved state.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include "hw/device.h"
#include "io/channel-file.h"
#include "memory/memory-backend.h"
#include "system/vm.h"
#include "util/cutils.h"
#include "util/keyval.h"
#include "util/log.h"

/* ---- small helpers ---- */

/* Take a string member out of @obj; NULL when absent. */
static char *take_string(JsonObject *obj, const char *key)
{
    char *value = obj ? g_strdup(keyval_get_string(obj, key)) : NULL;

    if (obj) {
        json_object_remove_member(obj, key);
    }
    return value;
}

static bool each(GPtrArray *list, bool (*fn)(VM *vm, JsonObject *obj, GError **errp), VM *vm,
                 const char *option, GError **errp)
{
    for (guint i = 0; i < list->len; i++) {
        if (!fn(vm, g_ptr_array_index(list, i), errp)) {
            g_prefix_error(errp, "-%s: ", option);
            return false;
        }
    }
    return true;
}

/* ---- machine properties ---- */

static bool machine_property(VM *vm, const char *name, const char *value, GError **errp)
{
    Machine *m = vm->machine;
    bool known = false;
    bool *flag = NULL, ignored;

    if (m->cls->set_property && !m->cls->set_property(m, name, value, &known, errp)) {
        if (known) {
            return false;
        }
    }
    if (known) {
        return true;
    }
    if (g_str_equal(name, "suppress-vmdesc")) {
        flag = &m->suppress_vmdesc;
    } else if (g_str_equal(name, "usb")) {
        if (!parse_bool(value, &ignored, errp)) {
            return false;
        }
        if (ignored) {
            error_setg(errp, "machine '%s' has no USB controller", m->cls->name);
            return false;
        }
        return true;
    } else if (g_str_equal(name, "dump-guest-core") || g_str_equal(name, "mem-merge") ||
               g_str_equal(name, "graphics")) {
        flag = &ignored;
    } else if (g_str_equal(name, "firmware")) {
        g_free(m->firmware);
        m->firmware = g_strdup(value);
        return true;
    } else if (g_str_equal(name, "kernel")) {
        g_free(m->kernel);
        m->kernel = g_strdup(value);
        return true;
    } else if (g_str_equal(name, "initrd")) {
        g_free(m->initrd);
        m->initrd = g_strdup(value);
        return true;
    } else if (g_str_equal(name, "append")) {
        g_free(m->append);
        m->append = g_strdup(value);
        return true;
    } else if (g_str_equal(name, "dtb")) {
        g_free(m->dtb);
        m->dtb = g_strdup(value);
        return true;
    } else if (g_str_equal(name, "dumpdtb")) {
        g_free(m->dumpdtb);
        m->dumpdtb = g_strdup(value);
        return true;
    } else {
        error_setg(errp, "Property '%s-machine.%s' not found", m->cls->name, name);
        return false;
    }
    return parse_bool(value, flag, errp);
}

static bool create_machine(VM *vm, GError **errp)
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
    m->firmware = cfg->bios ? g_strdup(cfg->bios) : m->firmware;
    m->kernel = cfg->kernel ? g_strdup(cfg->kernel) : m->kernel;
    m->initrd = cfg->initrd ? g_strdup(cfg->initrd) : m->initrd;
    m->append = cfg->append ? g_strdup(cfg->append) : m->append;
    m->dtb = cfg->dtb ? g_strdup(cfg->dtb) : m->dtb;
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

/* ---- back ends ---- */

static bool add_fd(VM *vm, JsonObject *obj, GError **errp)
{
    uint64_t fd, set;

    if (!keyval_get_size(obj, "fd", 1, UINT64_MAX, &fd, errp) ||
        !keyval_get_size(obj, "set", 1, UINT64_MAX, &set, errp)) {
        return false;
    }
    if (fd > G_MAXINT || fcntl((int)fd, F_GETFD) < 0 || set > G_MAXINT64) {
        error_setg(errp, "fd= must be an open descriptor and set= a number");
        return false;
    }
    return monitor_fdset_add(vm->hub, (int)fd, (int64_t)set, keyval_get_string(obj, "opaque"),
                             errp);
}

static int chardev_open_file(void *opaque, const char *path, int flags, int mode, GError **errp)
{
    VM *vm = opaque;

    return vm->host.ops->open_file(&vm->host, path, flags, mode, errp);
}

static void chardev_quit(void *opaque)
{
    vm_quit(opaque, SHUTDOWN_CAUSE_HOST_UI, 0);
}

static bool add_chardev(VM *vm, JsonObject *obj, GError **errp)
{
    return chardev_new(vm->machine->chardevs, obj, errp) != NULL;
}

static bool monitor_on(VM *vm, const char *id, bool control, bool pretty, GError **errp)
{
    Chardev *chr = id ? chardev_find(vm->machine->chardevs, id) : NULL;

    if (!chr) {
        error_setg(errp, "chardev '%s' not found", id ? id : "");
        return false;
    }
    return control ? monitor_add_qmp(vm->hub, chr, pretty, errp)
                   : monitor_add_hmp(vm->hub, chr, true, errp);
}

static bool add_mon(VM *vm, JsonObject *obj, GError **errp)
{
    const char *mode = keyval_get_string(obj, "mode");
    bool pretty;

    if (mode && !g_str_equal(mode, "control") && !g_str_equal(mode, "readline")) {
        error_setg(errp, "mode=%s: use control or readline", mode);
        return false;
    }
    return keyval_get_bool(obj, "pretty", false, &pretty, errp) &&
           monitor_on(vm, keyval_get_string(obj, "chardev"), mode && g_str_equal(mode, "control"),
                      pretty, errp);
}

/* Objects that are monitors are started with the monitors. */
static bool is_monitor_object(JsonObject *obj)
{
    const char *type = keyval_get_string(obj, "qom-type");

    return type && (g_str_equal(type, "monitor-qmp") || g_str_equal(type, "monitor-hmp"));
}

static bool add_object(VM *vm, JsonObject *obj, GError **errp)
{
    g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), obj);
    g_autoptr(JsonNode) copy = json_node_copy(node);
    JsonObject *props = json_node_get_object(copy);
    g_autofree char *type = NULL;
    g_autofree char *id = NULL;

    if (is_monitor_object(obj)) {
        return true;
    }
    type = take_string(props, "qom-type");
    id = take_string(props, "id");
    if (!type || !id) {
        error_setg(errp, "Parameter '%s' is missing", type ? "id" : "qom-type");
        return false;
    }
    return object_registry_create(vm->machine->objects, type, id, props, errp) != NULL;
}

static bool add_monitor_object(VM *vm, JsonObject *obj, GError **errp)
{
    bool pretty;

    if (!is_monitor_object(obj)) {
        return true;
    }
    return keyval_get_bool(obj, "pretty", false, &pretty, errp) &&
           monitor_on(vm, keyval_get_string(obj, "chardev"),
                      g_str_equal(keyval_get_string(obj, "qom-type"), "monitor-qmp"), pretty, errp);
}

static bool add_blockdev(VM *vm, JsonObject *obj, GError **errp)
{
    return block_node_add(vm->machine->blocks, obj, vm->machine->incoming, errp);
}

static bool add_netdev(VM *vm, JsonObject *obj, GError **errp)
{
    return net_backend_add(vm->machine->nets, obj, errp);
}

static bool add_pflash(VM *vm, BlockBackend *blk, uint64_t unit, GError **errp)
{
    if (unit >= ARRAY_SIZE(vm->machine->pflash) || vm->machine->pflash[unit]) {
        error_setg(errp, "flash bank %" PRIu64 " does not exist or is taken", unit);
        return false;
    }
    vm->machine->pflash[unit] = blk;
    return true;
}

static bool add_drive(VM *vm, JsonObject *obj, GError **errp)
{
    const char *interface = keyval_get_string(obj, "if");
    bool pflash = !g_strcmp0(interface, "pflash");
    BlockBackend *blk;
    uint64_t unit;

    if (interface && !pflash && !g_str_equal(interface, "none")) {
        error_setg(errp, "if=%s: use none (with -device virtio-blk-device,drive=ID) or pflash",
                   interface);
        return false;
    }
    if (!keyval_get_size(obj, "unit", 1, vm->machine->pflash[0] ? 1 : 0, &unit, errp)) {
        return false;
    }
    json_object_remove_member(obj, "if");
    json_object_remove_member(obj, "unit");
    blk = block_drive_add(vm->machine->blocks, obj, vm->machine->incoming, errp);
    return blk && (!pflash || add_pflash(vm, blk, unit, errp));
}

static bool create_drives(VM *vm, GError **errp)
{
    if (!each(vm->cfg->blockdevs, add_blockdev, vm, "blockdev", errp) ||
        !each(vm->cfg->drives, add_drive, vm, "drive", errp)) {
        return false;
    }
    for (guint i = 0; i < vm->cfg->pflashes->len; i++) {
        g_autoptr(JsonObject) obj = json_object_new();

        json_object_set_string_member(obj, "file", g_ptr_array_index(vm->cfg->pflashes, i));
        json_object_set_string_member(obj, "format", "raw");
        json_object_set_string_member(obj, "if", "pflash");
        if (!add_drive(vm, obj, errp)) {
            g_prefix_error(errp, "-pflash: ");
            return false;
        }
    }
    return true;
}

static bool create_network(VM *vm, GError **errp)
{
    Machine *m = vm->machine;

    m->default_net = !vm->cfg->nodefaults;
    for (guint i = 0; i < vm->cfg->nics->len; i++) {
        const char *type = keyval_get_string(g_ptr_array_index(vm->cfg->nics, i), "type");

        if (g_strcmp0(type, "none")) {
            error_setg(errp,
                       "-nic %s: only 'none' exists; use -netdev and -device virtio-net-device",
                       type ? type : "");
            return false;
        }
        m->default_net = false;
    }
    m->default_net = m->default_net && !vm->cfg->netdevs->len;
    return each(vm->cfg->netdevs, add_netdev, vm, "netdev", errp);
}

/* The serial port, and the monitor that shares its back end ("mon:stdio", Ctrl-A c to switch). */
static bool create_serial(VM *vm, GError **errp)
{
    const VMConfig *cfg = vm->cfg;
    ChardevList *chardevs = vm->machine->chardevs;
    g_autoptr(GError) err = NULL;
    const char *dev = NULL;
    Chardev *monitor;

    if (cfg->serials->len > 1) {
        error_setg(errp, "-serial: this board has one serial port");
        return false;
    }
    if (cfg->serials->len) {
        dev = g_ptr_array_index(cfg->serials, 0);
    } else if (!cfg->nodefaults && !cfg->daemonize && (cfg->nographic || !cfg->display)) {
        dev = cfg->monitors->len ? "stdio" : "mon:stdio";
    }
    if (!dev) {
        return true;
    }
    vm->machine->serial0 = chardev_new_short(chardevs, "serial0", dev, &err);
    if (err) {
        g_propagate_prefixed_error(errp, g_steal_pointer(&err), "-serial %s: ", dev);
        return false;
    }
    monitor = vm->machine->serial0 ? chardev_mux_monitor(vm->machine->serial0) : NULL;
    return !monitor || monitor_add_hmp(vm->hub, monitor, true, errp);
}

static bool short_monitors(VM *vm, GPtrArray *devs, const char *option, bool control, bool pretty,
                           GError **errp)
{
    for (guint i = 0; i < devs->len; i++) {
        const char *dev = g_ptr_array_index(devs, i);
        g_autofree char *label = g_strdup_printf("compat_%s%u", option, i);
        g_autoptr(GError) err = NULL;
        Chardev *chr = chardev_new_short(vm->machine->chardevs, label, dev, &err);

        if (!err && chr) {
            if (control) {
                monitor_add_qmp(vm->hub, chr, pretty, &err);
            } else {
                monitor_add_hmp(vm->hub, chr, true, &err);
            }
        }
        if (err) {
            g_propagate_prefixed_error(errp, g_steal_pointer(&err), "-%s %s: ", option, dev);
            return false;
        }
    }
    return true;
}

static bool create_monitors(VM *vm, GError **errp)
{
    const VMConfig *cfg = vm->cfg;

    return short_monitors(vm, cfg->monitors, "monitor", false, false, errp) &&
           short_monitors(vm, cfg->qmps, "qmp", true, false, errp) &&
           short_monitors(vm, cfg->qmps_pretty, "qmp-pretty", true, true, errp) &&
           each(cfg->mons, add_mon, vm, "mon", errp) &&
           each(cfg->objects, add_monitor_object, vm, "object", errp);
}

/* ---- memory and accelerator ---- */

static bool create_ram(VM *vm, GError **errp)
{
    const VMConfig *cfg = vm->cfg;
    Machine *m = vm->machine;
    const char *backend = cfg->machine ? keyval_get_string(cfg->machine, "memory-backend") : NULL;
    bool given = cfg->memory && json_object_has_member(cfg->memory, "size");

    m->ram_size = m->cls->default_ram_size;
    if (cfg->memory &&
        !keyval_get_size(cfg->memory, "size", MiB, m->ram_size, &m->ram_size, errp)) {
        g_prefix_error(errp, "-m: ");
        return false;
    }
    if (backend) {
        GObject *obj = object_registry_find(m->objects, backend);
        uint64_t size;

        if (!obj || !GW_IS_MEMORY_BACKEND(obj)) {
            error_setg(errp, "-machine memory-backend=%s: no such memory-backend-* object",
                       backend);
            return false;
        }
        size = memory_backend_size(GW_MEMORY_BACKEND(obj));
        if (given && size != m->ram_size) {
            error_setg(errp, "-m: %" PRIu64 " bytes, but memory backend '%s' has %" PRIu64,
                       m->ram_size, backend, size);
            return false;
        }
        m->ram_size = size;
        m->ram =
            memory_backend_new_block(GW_MEMORY_BACKEND(obj), m->ram_list, RAM_MIGRATABLE, errp);
        return m->ram != NULL;
    }
    if (!m->cls->default_ram_id) {
        return true;
    }
    m->ram_size = ROUND_UP(m->ram_size, TARGET_PAGE_SIZE);
    m->ram =
        ram_block_new_anon(m->ram_list, m->cls->default_ram_id, m->ram_size, RAM_MIGRATABLE, errp);
    return m->ram != NULL;
}

static bool lock_memory(VM *vm, GError **errp)
{
    bool lock = false;

    if (vm->cfg->overcommit &&
        !keyval_get_bool(vm->cfg->overcommit, "mem-lock", false, &lock, errp)) {
        g_prefix_error(errp, "-overcommit: ");
        return false;
    }
    if (lock && mlockall(MCL_CURRENT | MCL_FUTURE) < 0) {
        error_setg_errno(errp, errno,
                         "-overcommit mem-lock=on: cannot lock memory; raise 'ulimit -l'");
        return false;
    }
    return true;
}

static bool create_accel(VM *vm, GError **errp)
{
    const VMConfig *cfg = vm->cfg;
    Machine *m = vm->machine;
    const char *listed = cfg->machine ? keyval_get_string(cfg->machine, "accel") : NULL;
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_auto(GStrv) parts = listed ? g_strsplit(listed, ":", -1) : NULL;

    for (char **p = parts; p && *p; p++) {
        g_ptr_array_add(names, g_strdup(*p));
    }
    for (guint i = 0; i < cfg->accels->len; i++) {
        const char *name = keyval_get_string(g_ptr_array_index(cfg->accels, i), "accel");

        g_ptr_array_add(names, g_strdup(name ? name : ""));
    }
    if (!names->len) {
        g_ptr_array_add(names, g_strdup("tcg"));
    }
    for (guint i = 0; i < names->len && !m->accel; i++) {
        const char *name = g_ptr_array_index(names, i);
        const AccelOps *ops = accel_find(name);
        g_autoptr(GError) err = NULL;

        if (ops) {
            m->accel = ops->create(ops, m->as, m->vclock, &err);
        } else {
            error_setg(&err, "invalid accelerator %s", name);
        }
        if (err) {
            error_report("-accel %s: %s", name, err->message);
        }
    }
    if (!m->accel) {
        error_setg(errp, "no accelerator found");
        return false;
    }
    return true;
}

/* ---- migration ---- */

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

static void on_reset_request(void *opaque)
{
    vm_request_reset(opaque, SHUTDOWN_CAUSE_GUEST_RESET);
}

static void on_shutdown_request(void *opaque, bool panic, int exit_code)
{
    vm_request_shutdown(opaque, panic ? SHUTDOWN_CAUSE_GUEST_PANIC : SHUTDOWN_CAUSE_GUEST_SHUTDOWN,
                        exit_code);
}

static gboolean stop_for_io_error(gpointer opaque)
{
    VM *vm = opaque;

    if (vm_is_running(vm)) {
        vm_stop(vm, RUN_STATE_IO_ERROR);
    }
    return G_SOURCE_REMOVE;
}

/* Comes out of block completions, also while a stop drains them: stop from the main loop. */
static void on_io_error_request(void *opaque)
{
    g_idle_add_full(G_PRIORITY_HIGH, stop_for_io_error, opaque, NULL);
}

static bool start_qtest(VM *vm, GError **errp)
{
    g_autoptr(GError) err = NULL;
    Chardev *chr;

    if (!vm->cfg->qtest) {
        return true;
    }
    chr = chardev_new_short(vm->machine->chardevs, "qtest", vm->cfg->qtest, &err);
    if (chr) {
        vm->qtest = qtest_server_start(vm->machine, chr, vm->cfg->qtest_log, &err);
    }
    if (!vm->qtest) {
        g_propagate_prefixed_error(errp, g_steal_pointer(&err), "-qtest %s: ", vm->cfg->qtest);
        return false;
    }
    return true;
}

static bool plug_device(VM *vm, JsonObject *obj, GError **errp)
{
    return device_add_from_options(vm->machine, obj, false, errp) != NULL;
}

VM *vm_new(const VMConfig *cfg, GError **errp)
{
    VM *vm = g_new0(VM, 1);
    Machine *m;

    vm->cfg = cfg;
    vm->loop = g_main_loop_new(NULL, FALSE);
    vm->runstate = RUN_STATE_PRELAUNCH;
    vm->autostart = !cfg->start_stopped;
    if (!create_machine(vm, errp)) {
        goto fail;
    }
    m = vm->machine;
    vm->hub = monitor_hub_new();
    m->events = monitor_hub_event_sink(vm->hub);
    m->requests.reset_request = on_reset_request;
    m->requests.shutdown_request = on_shutdown_request;
    m->requests.io_error_request = on_io_error_request;
    m->vclock = clock_virtual_new();
    m->ram_list = ram_list_new();
    m->as = address_space_new(m->ram_list);
    m->objects = object_registry_new();
    m->chardevs = chardev_list_new();
    chardev_list_set_open_file(m->chardevs, chardev_open_file, vm);
    chardev_list_set_quit(m->chardevs, chardev_quit, vm);
    m->blocks = block_list_new();
    m->nets = net_list_new(m->vclock);
    if (cfg->incomings->len || cfg->loadvm) {
        vm->runstate = cfg->loadvm ? RUN_STATE_RESTORE_VM : RUN_STATE_INMIGRATE;
    }
    vm_init_migration_host(vm);
    vm->migration = migration_new(&vm->host);
    m->migration = vm->migration;
    m->savevm = migration_savevm(vm->migration);
    savevm_set_only_migratable(m->savevm, cfg->only_migratable);

    if (!apply_globals(vm, errp) || !apply_machine_options(vm, errp) || !apply_smp(vm, errp) ||
        !apply_cpu(vm, errp) || !apply_actions(vm, errp) || !apply_rtc(vm, errp)) {
        goto fail;
    }
    /* Back ends, then the monitors that name them. */
    if (!each(cfg->add_fds, add_fd, vm, "add-fd", errp) ||
        !each(cfg->chardevs, add_chardev, vm, "chardev", errp) ||
        !each(cfg->objects, add_object, vm, "object", errp) || !create_drives(vm, errp) ||
        !create_network(vm, errp) || !create_serial(vm, errp)) {
        goto fail;
    }
    vm_register_commands(vm);
    monitor_hub_set_machine(vm->hub, m);
    /* The machine itself. */
    if (!create_ram(vm, errp) || !create_accel(vm, errp) || !m->cls->init(m, errp) ||
        !each(cfg->devices, plug_device, vm, "device", errp) || !m->cls->done(m, errp) ||
        !lock_memory(vm, errp)) {
        goto fail;
    }
    m->cls->reset(m);
    if (!create_monitors(vm, errp)) {
        goto fail;
    }
    return vm;
fail:
    vm_free(vm);
    return NULL;
}

/* -loadvm FILE: a stream that migrate file: or a snapshot wrote. */
static bool load_saved_state(VM *vm, GError **errp)
{
    g_autoptr(QIOChannelFile) ioc = io_channel_file_new_path(vm->cfg->loadvm, O_RDONLY, 0, errp);

    if (!ioc || !migration_load_snapshot(vm->migration, IO_CHANNEL(ioc), errp)) {
        g_prefix_error(errp, "-loadvm %s: ", vm->cfg->loadvm);
        return false;
    }
    if (!block_activate_all(vm->machine->blocks, errp)) {
        return false;
    }
    vm_set_runstate(vm, RUN_STATE_PAUSED);
    return true;
}

bool vm_launch(VM *vm, GError **errp)
{
    const VMConfig *cfg = vm->cfg;

    if (cfg->incomings->len && cfg->loadvm) {
        error_setg(errp, "-incoming and -loadvm exclude each other");
        return false;
    }
    if (cfg->incomings->len) {
        const char *spec = g_ptr_array_index(cfg->incomings, cfg->incomings->len - 1);

        if (!migration_incoming_start(vm->migration, spec, errp)) {
            g_prefix_error(errp, "-incoming %s: ", spec);
            return false;
        }
        return start_qtest(vm, errp);
    }
    if (cfg->loadvm && !load_saved_state(vm, errp)) {
        return false;
    }
    if (vm->autostart) {
        vm_start(vm);
    }
    return start_qtest(vm, errp);
}

void vm_free(VM *vm)
{
    Machine *m = vm ? vm->machine : NULL;
    Machine parts;

    if (!vm) {
        return;
    }
    if (vm->migration) {
        migration_shutdown(vm->migration);
    }
    if (m && m->accel) {
        m->accel->ops->pause_all(m->accel);
        clock_virtual_stop(m->vclock);
        m->accel->ops->destroy(m->accel);
    }
    if (m && m->blocks) {
        block_drain_all(m->blocks);
    }
    g_clear_pointer(&vm->qtest, qtest_server_free);
    g_clear_pointer(&vm->hub, monitor_hub_free);
    /* Nobody listens any more to what devices and migration say while they go. */
    vm->host.events = (QapiEventSink){0};
    if (m) {
        m->events = vm->host.events;
        /* Devices go before what they stand on; the structure goes with the devices. */
        parts = *m;
        machine_free(m);
        g_clear_pointer(&vm->migration, migration_free);
        net_list_free(parts.nets);
        block_list_free(parts.blocks);
        chardev_list_free(parts.chardevs);
        address_space_free(parts.as);
        if (parts.ram) {
            ram_block_free(parts.ram);
        }
        ram_list_free(parts.ram_list);
        object_registry_free(parts.objects);
        clock_free(parts.vclock);
    }
    g_main_loop_unref(vm->loop);
    g_free(vm);
}
