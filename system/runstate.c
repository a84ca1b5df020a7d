/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Run state: who may run when. Everything that starts or stops the guest comes through here, so
 * that vCPUs, the virtual clock, devices and block I/O change together and in one order: stop:
 * vCPUs, clock, devices, network, block drain start: the reverse
 */
#include "hw/device.h"
#include "qapi-events-run-state.h"
#include "system/vm.h"
#include "util/lock.h"

RunState vm_runstate(VM *vm)
{
    return __atomic_load_n(&vm->runstate, __ATOMIC_ACQUIRE);
}

bool vm_is_running(VM *vm)
{
    return vm_runstate(vm) == RUN_STATE_RUNNING;
}

void vm_set_runstate(VM *vm, RunState state)
{
    __atomic_store_n(&vm->runstate, state, __ATOMIC_RELEASE);
}

void vm_stop(VM *vm, RunState state)
{
    Machine *m = vm->machine;
    bool was_running = vm_is_running(vm);

    if (was_running) {
        m->accel->ops->pause_all(m->accel);
        clock_virtual_stop(m->vclock);
        vm_set_runstate(vm, state);
        devices_vm_state(m, false);
        net_list_set_running(m->nets, false);
        block_drain_all(m->blocks);
        qapi_event_send_stop(&m->events);
    } else {
        vm_set_runstate(vm, state);
    }
}

void vm_start(VM *vm)
{
    Machine *m = vm->machine;

    if (vm_is_running(vm)) {
        return;
    }
    qapi_event_send_resume(&m->events);
    vm_set_runstate(vm, RUN_STATE_RUNNING);
    net_list_set_running(m->nets, true);
    devices_vm_state(m, true);
    clock_virtual_start(m->vclock);
    m->accel->ops->resume_all(m->accel);
}

void vm_user_stop(VM *vm)
{
    if (vm_runstate(vm) == RUN_STATE_INMIGRATE) {
        vm->autostart = false;
    } else if (vm_is_running(vm)) {
        vm_stop(vm, RUN_STATE_PAUSED);
    }
}

bool vm_user_cont(VM *vm, GError **errp)
{
    switch (vm_runstate(vm)) {
    case RUN_STATE_RUNNING:
        return true;
    case RUN_STATE_INMIGRATE:
        vm->autostart = true;
        return true;
    case RUN_STATE_FINISH_MIGRATE:
        error_setg(errp, "The VM is being handed over by a migration; cancel it first");
        return false;
    case RUN_STATE_SAVE_VM:
    case RUN_STATE_RESTORE_VM:
        error_setg(errp, "The VM state is being saved or restored");
        return false;
    default:
        break;
    }
    if (vm->needs_reset) {
        error_setg(errp, "Resetting the Virtual Machine is required");
        return false;
    }
    /* After a migration the images belong to the destination until taken back. */
    if (!block_activate_all(vm->machine->blocks, errp)) {
        return false;
    }
    vm_start(vm);
    return true;
}

static bool cause_is_guest(ShutdownCause reason)
{
    return reason >= SHUTDOWN_CAUSE_GUEST_SHUTDOWN && reason <= SHUTDOWN_CAUSE_GUEST_PANIC;
}

void vm_reset(VM *vm, ShutdownCause reason)
{
    Machine *m = vm->machine;
    bool was_running = vm_is_running(vm);

    /* vCPUs must not see half-reset devices; no STOP/RESUME, the guest only reboots. */
    if (was_running) {
        m->accel->ops->pause_all(m->accel);
    }
    m->cls->reset(m);
    vm->needs_reset = false;
    if (reason != SHUTDOWN_CAUSE_NONE) {
        qapi_event_send_reset(&m->events, cause_is_guest(reason), reason);
    }
    if (was_running) {
        m->accel->ops->resume_all(m->accel);
    } else if (vm_runstate(vm) == RUN_STATE_SHUTDOWN || vm_runstate(vm) == RUN_STATE_RESTORE_VM) {
        /* restore-vm: what was left of a load that failed is gone. */
        vm_set_runstate(vm, RUN_STATE_PAUSED);
    }
}

void vm_quit(VM *vm, ShutdownCause reason, int exit_code)
{
    if (!vm->quitting) {
        vm->quitting = true;
        vm->exit_code = exit_code;
        qapi_event_send_shutdown(&vm->machine->events, cause_is_guest(reason), reason);
        g_main_loop_quit(vm->loop);
    }
}

/* ---- requests: run by the main loop, outside any vCPU ---- */

typedef struct {
    VM *vm;
    ShutdownCause reason;
    int exit_code;
    bool shutdown;
} Request;

static gboolean request_run(gpointer data)
{
    Request *r = data;
    VM *vm = r->vm;

    if (!r->shutdown) {
        if (!vm->snapshot_busy) { /* not while its state is read or written */
            vm_reset(vm, r->reason);
        }
    } else if (vm->on_shutdown == SHUTDOWN_ACTION_PAUSE &&
               r->reason != SHUTDOWN_CAUSE_GUEST_PANIC) {
        qapi_event_send_shutdown(&vm->machine->events, cause_is_guest(r->reason), r->reason);
        vm->needs_reset = true;
        vm_stop(vm, RUN_STATE_SHUTDOWN);
    } else {
        vm_quit(vm, r->reason, r->exit_code);
    }
    return G_SOURCE_REMOVE;
}

static void request_post(VM *vm, bool shutdown, ShutdownCause reason, int exit_code)
{
    Request *r = g_new0(Request, 1);

    r->vm = vm;
    r->shutdown = shutdown;
    r->reason = reason;
    r->exit_code = exit_code;
    g_idle_add_full(G_PRIORITY_HIGH, request_run, r, g_free);
}

void vm_request_reset(VM *vm, ShutdownCause reason)
{
    if (vm->on_reboot == REBOOT_ACTION_SHUTDOWN) {
        vm_request_shutdown(vm, reason, 0);
    } else {
        request_post(vm, false, reason, 0);
    }
}

void vm_request_shutdown(VM *vm, ShutdownCause reason, int exit_code)
{
    request_post(vm, true, reason, exit_code);
}
