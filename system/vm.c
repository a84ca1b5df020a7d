/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Machine start, top to bottom: options, back ends, memory and accelerator, the board, devices,
 * monitors; then run, wait for a migration, or load a saved state.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include "hw/device.h"
#include "io/channel-file.h"
#include "memory/memory-backend.h"
#include "monitor/jobs.h"
#include "system/vm.h"
#include "util/cutils.h"
#include "util/keyval.h"
#include "util/log.h"

bool vm_each_option(VM *vm, GPtrArray *values, const char *option, VMOptionFn *fn, GError **errp)
{
    for (guint i = 0; i < values->len; i++) {
        if (!fn(vm, g_ptr_array_index(values, i), errp)) {
            g_prefix_error(errp, "-%s: ", option);
            return false;
        }
    }
    return true;
}

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

static gboolean stop_for_internal_error(gpointer opaque)
{
    VM *vm = opaque;

    if (vm_is_running(vm)) {
        vm_stop(vm, RUN_STATE_INTERNAL_ERROR);
    }
    return G_SOURCE_REMOVE;
}

/* Comes out of a start of the VM, which must end first. */
static void on_internal_error_request(void *opaque)
{
    g_idle_add_full(G_PRIORITY_HIGH, stop_for_internal_error, opaque, NULL);
}

static void on_device_deleted(void *opaque, DeviceState *dev)
{
    monitor_device_deleted(((VM *)opaque)->hub, dev);
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

/* Behind every -device, as QEMU does it. */
static bool plug_virtio_drives(VM *vm, GError **errp)
{
    for (guint i = 0; i < vm->virtio_drives->len; i++) {
        const char *name = g_ptr_array_index(vm->virtio_drives, i);
        g_autoptr(JsonObject) obj = json_object_new();

        json_object_set_string_member(obj, "driver", "virtio-blk-pci");
        json_object_set_string_member(obj, "drive", name);
        if (!plug_device(vm, obj, errp)) {
            g_prefix_error(errp, "-drive if=virtio,id=%s: ", name);
            return false;
        }
    }
    return true;
}

VM *vm_new(const VMConfig *cfg, GError **errp)
{
    VM *vm = g_new0(VM, 1);
    Machine *m;

    vm->cfg = cfg;
    vm->virtio_drives = g_ptr_array_new_with_free_func(g_free);
    vm->loop = g_main_loop_new(NULL, FALSE);
    vm->runstate = RUN_STATE_PRELAUNCH;
    vm->autostart = !cfg->start_stopped;
    if (!vm_create_machine(vm, errp)) {
        goto fail;
    }
    m = vm->machine;
    vm->hub = monitor_hub_new();
    m->events = monitor_hub_event_sink(vm->hub);
    m->requests.reset_request = on_reset_request;
    m->requests.shutdown_request = on_shutdown_request;
    m->requests.io_error_request = on_io_error_request;
    m->requests.internal_error_request = on_internal_error_request;
    m->requests.device_deleted = on_device_deleted;
    m->vclock = clock_virtual_new();
    m->ram_list = ram_list_new();
    m->as = address_space_new(m->ram_list);
    m->objects = object_registry_new();
    m->chardevs = chardev_list_new();
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

    if (!vm_apply_options(vm, errp) || !vm_create_backends(vm, errp)) {
        goto fail;
    }
    vm_register_commands(vm);
    monitor_hub_set_machine(vm->hub, m);
    /* The machine itself. */
    if (!create_ram(vm, errp) || !create_accel(vm, errp) || !m->cls->init(m, errp) ||
        !vm_each_option(vm, cfg->devices, "device", plug_device, errp) ||
        !plug_virtio_drives(vm, errp) || !m->cls->done(m, errp) || !lock_memory(vm, errp)) {
        goto fail;
    }
    m->cls->reset(m);
    if (!vm_create_monitors(vm, errp)) {
        goto fail;
    }
    return vm;
fail:
    vm_free(vm);
    return NULL;
}

static bool load_file(VM *vm, const char *path, GError **errp)
{
    g_autoptr(QIOChannelFile) ioc = io_channel_file_new_path(path, O_RDONLY, 0, errp);

    return ioc && migration_load_snapshot(vm->migration, IO_CHANNEL(ioc), errp);
}

/* -loadvm: a file that `migrate file:` wrote, or the name of a snapshot. */
static bool load_saved_state(VM *vm, GError **errp)
{
    const char *what = vm->cfg->loadvm;
    bool is_path = strchr(what, '/') || g_file_test(what, G_FILE_TEST_EXISTS);

    if (!(is_path ? load_file(vm, what, errp) : vm_load_snapshot(vm, what, errp))) {
        g_prefix_error(errp, "-loadvm %s: ", what);
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
    if (vm->hub) {
        jobs_end(monitor_hub_jobs(vm->hub));
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
    g_ptr_array_unref(vm->virtio_drives);
    g_main_loop_unref(vm->loop);
    g_free(vm);
}
