/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What stands behind the machine: descriptors, chardevs, objects, images, networks, monitors. */
#include <fcntl.h>
#include "system/vm.h"
#include "util/cutils.h"
#include "util/keyval.h"

/* Take a string member out of @obj; NULL when absent. */
static char *take_string(JsonObject *obj, const char *key)
{
    char *value = obj ? g_strdup(keyval_get_string(obj, key)) : NULL;

    if (obj) {
        json_object_remove_member(obj, key);
    }
    return value;
}

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
    bool pflash = !g_strcmp0(interface, "pflash"), virtio = !g_strcmp0(interface, "virtio");
    BlockBackend *blk;
    uint64_t unit;

    if (interface && !pflash && !virtio && !g_str_equal(interface, "none")) {
        error_setg(errp,
                   "if=%s: use virtio, pflash, or none (with -device virtio-blk-pci,drive=ID)",
                   interface);
        return false;
    }
    if (!keyval_get_size(obj, "unit", 1, vm->machine->pflash[0] ? 1 : 0, &unit, errp)) {
        return false;
    }
    json_object_remove_member(obj, "if");
    json_object_remove_member(obj, "unit");
    blk = block_drive_add(vm->machine->blocks, obj, vm->machine->incoming, errp);
    if (blk && virtio) {
        g_ptr_array_add(vm->virtio_drives, g_strdup(block_name(blk)));
    }
    return blk && (!pflash || add_pflash(vm, blk, unit, errp));
}

static bool create_drives(VM *vm, GError **errp)
{
    if (!vm_each_option(vm, vm->cfg->blockdevs, "blockdev", add_blockdev, errp) ||
        !vm_each_option(vm, vm->cfg->drives, "drive", add_drive, errp)) {
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
    return vm_each_option(vm, vm->cfg->netdevs, "netdev", add_netdev, errp);
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

bool vm_create_monitors(VM *vm, GError **errp)
{
    const VMConfig *cfg = vm->cfg;

    return short_monitors(vm, cfg->monitors, "monitor", false, false, errp) &&
           short_monitors(vm, cfg->qmps, "qmp", true, false, errp) &&
           short_monitors(vm, cfg->qmps_pretty, "qmp-pretty", true, true, errp) &&
           vm_each_option(vm, cfg->mons, "mon", add_mon, errp) &&
           vm_each_option(vm, cfg->objects, "object", add_monitor_object, errp);
}

bool vm_create_backends(VM *vm, GError **errp)
{
    const VMConfig *cfg = vm->cfg;

    chardev_list_set_open_file(vm->machine->chardevs, chardev_open_file, vm);
    chardev_list_set_quit(vm->machine->chardevs, chardev_quit, vm);
    return vm_each_option(vm, cfg->add_fds, "add-fd", add_fd, errp) &&
           vm_each_option(vm, cfg->chardevs, "chardev", add_chardev, errp) &&
           vm_each_option(vm, cfg->objects, "object", add_object, errp) &&
           create_drives(vm, errp) && create_network(vm, errp) && create_serial(vm, errp);
}
