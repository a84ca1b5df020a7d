/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MigrationHost for the real VM: door 1 of the migration subsystem, every callback a few lines. */
#include <fcntl.h>
#include "hw/device.h"
#include "hw/vfio.h"
#include "system/vm.h"
#include "util/cutils.h"

static VM *host_vm(const MigrationHost *h)
{
    return h->opaque;
}

static const char *host_machine_name(const MigrationHost *h)
{
    return host_vm(h)->machine->cls->name;
}

static bool host_uuid(const MigrationHost *h, uint8_t uuid[16])
{
    memcpy(uuid, host_vm(h)->machine->uuid, 16);
    return host_vm(h)->machine->has_uuid;
}

static bool host_suppress_vmdesc(const MigrationHost *h)
{
    return host_vm(h)->machine->suppress_vmdesc;
}

static RunState host_runstate(MigrationHost *h)
{
    return vm_runstate(host_vm(h));
}

static bool host_vm_stop(MigrationHost *h, RunState state, GError **errp)
{
    vm_stop(host_vm(h), state);
    return true;
}

static void host_vm_start(MigrationHost *h)
{
    vm_start(host_vm(h));
}

static void host_set_runstate(MigrationHost *h, RunState state)
{
    vm_set_runstate(host_vm(h), state);
}

static bool host_autostart(MigrationHost *h)
{
    return host_vm(h)->autostart;
}

static RAMList *host_ram(MigrationHost *h)
{
    return host_vm(h)->machine->ram_list;
}

static void host_set_throttle(MigrationHost *h, int percent)
{
    Accel *accel = host_vm(h)->machine->accel;

    accel->ops->set_throttle(accel, percent);
}

typedef struct {
    VM *vm;
    char *why;
} StuckMemory;

static gboolean stop_for_memory(gpointer opaque)
{
    StuckMemory *s = opaque;

    if (vm_is_running(s->vm)) {
        error_report("The guest is stopped, a page of its memory cannot be read: %s. 'cont' tries "
                     "again",
                     s->why);
        vm_stop(s->vm, RUN_STATE_IO_ERROR);
    }
    g_free(s->why);
    g_free(s);
    return G_SOURCE_REMOVE;
}

static void set_asleep(MigrationHost *h, uint32_t thread, bool asleep)
{
    Accel *accel = host_vm(h)->machine->accel;

    if (accel->ops->set_asleep) {
        accel->ops->set_asleep(accel, thread, asleep);
    }
}

static void host_memory_stuck(MigrationHost *h, uint32_t thread, const char *why)
{
    StuckMemory *s = g_new(StuckMemory, 1);

    *s = (StuckMemory){host_vm(h), g_strdup(why)};
    set_asleep(h, thread, true);
    g_idle_add(stop_for_memory, s);
}

static void host_memory_unstuck(MigrationHost *h, uint32_t thread)
{
    set_asleep(h, thread, false);
}

static bool host_block_inactivate(MigrationHost *h, GError **errp)
{
    return block_inactivate_all(host_vm(h)->machine->blocks, errp);
}

static bool host_block_activate(MigrationHost *h, GError **errp)
{
    return block_activate_all(host_vm(h)->machine->blocks, errp);
}

static void host_announce_self(MigrationHost *h)
{
    net_list_announce(host_vm(h)->machine->nets);
}

static int host_take_fd(MigrationHost *h, const char *name, bool allow_number, GError **errp)
{
    uint64_t number;

    if (!g_ascii_isdigit(name[0])) {
        return monitor_take_fd(host_vm(h)->hub, name, errp);
    }
    if (!allow_number || !parse_uint64(name, &number, NULL) || number > G_MAXINT ||
        fcntl((int)number, F_GETFD) < 0) {
        error_setg(errp, "Invalid file descriptor number '%s'", name);
        return -1;
    }
    return (int)number;
}

static int host_open_file(MigrationHost *h, const char *path, int flags, int mode, GError **errp)
{
    int fd;

    if (g_str_has_prefix(path, "/dev/fdset/")) {
        return monitor_fdset_open(host_vm(h)->hub, path, flags, errp);
    }
    fd = open(path, flags | O_CLOEXEC, mode);
    if (fd < 0) {
        error_setg_errno(errp, errno, "Unable to open '%s'", path);
    }
    return fd;
}

static void host_exit_failed(MigrationHost *h)
{
    VM *vm = host_vm(h);

    vm->quitting = true;
    vm->exit_code = 1;
    g_main_loop_quit(vm->loop);
}

static unsigned host_vcpus(MigrationHost *h)
{
    return host_vm(h)->machine->cpus->len;
}

static int host_vcpu_of_thread(MigrationHost *h, uint32_t tid)
{
    Machine *m = host_vm(h)->machine;

    for (unsigned i = 0; i < m->cpus->len; i++) {
        if ((uint32_t)accel_vcpu_thread_id(m->accel, i) == tid) {
            return i;
        }
    }
    return -1;
}

static bool host_device_bytes(MigrationHost *h, uint64_t *bytes)
{
    return vfio_migration_bytes(host_vm(h)->machine, bytes);
}

static GObject *host_find_object(MigrationHost *h, const char *id)
{
    return object_registry_find(host_vm(h)->machine->objects, id);
}

static const MigrationHostOps host_ops = {
    .machine_name = host_machine_name,
    .uuid = host_uuid,
    .suppress_vmdesc = host_suppress_vmdesc,
    .runstate = host_runstate,
    .vm_stop = host_vm_stop,
    .vm_start = host_vm_start,
    .set_runstate = host_set_runstate,
    .autostart = host_autostart,
    .vcpus = host_vcpus,
    .vcpu_of_thread = host_vcpu_of_thread,
    .ram = host_ram,
    .set_throttle = host_set_throttle,
    .memory_stuck = host_memory_stuck,
    .memory_unstuck = host_memory_unstuck,
    .block_inactivate = host_block_inactivate,
    .block_activate = host_block_activate,
    .device_bytes = host_device_bytes,
    .announce_self = host_announce_self,
    .take_fd = host_take_fd,
    .open_file = host_open_file,
    .exit_failed = host_exit_failed,
    .find_object = host_find_object,
};

void vm_init_migration_host(VM *vm)
{
    vm->host.ops = &host_ops;
    vm->host.events = vm->machine->events;
    vm->host.opaque = vm;
}
