/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one VM of this process. Main thread with the big lock held unless stated.
 */
#ifndef GODWIT_SYSTEM_VM_H
#define GODWIT_SYSTEM_VM_H

#include "hw/machine.h"
#include "migration/migration.h"
#include "monitor/monitor.h"
#include "qapi-types-run-state.h"
#include "system/config.h"

typedef struct VM {
    const VMConfig *cfg;
    GMainLoop *loop;
    int exit_code;

    MonitorHub *hub;
    QtestServer *qtest;       /* or NULL */
    GPtrArray *virtio_drives; /* names of -drive if=virtio, which get a virtio-blk-pci each */
    Machine *machine;
    Migration *migration;
    MigrationHost host;

    /* run state (runstate.c) */
    int runstate;     /* RunState; changed under the big lock, read anywhere */
    bool autostart;   /* run by itself after start or an incoming migration */
    bool needs_reset; /* shut down with shutdown=pause: cont is refused until a reset */
    bool quitting;
    bool snapshot_busy; /* one is being saved or loaded */
    RebootAction on_reboot;
    ShutdownAction on_shutdown;
} VM;

/* Build everything @cfg asks for, in reading order; the guest does not run yet. */
VM *vm_new(const VMConfig *cfg, GError **errp);
/* Start or wait as the command line says; called once before the main loop. */
bool vm_launch(VM *vm, GError **errp);
void vm_free(VM *vm);

/* Call @fn for each JsonObject of @values until one fails; the error is prefixed with the option.
 */
typedef bool VMOptionFn(VM *vm, JsonObject *value, GError **errp);
bool vm_each_option(VM *vm, GPtrArray *values, const char *option, VMOptionFn *fn, GError **errp);

/* ---- machine-options.c ---- */
bool vm_create_machine(VM *vm, GError **errp);
/* -machine, -smp, -cpu, -global, -rtc, ... into vm->machine; needs vm->migration. */
bool vm_apply_options(VM *vm, GError **errp);

/* ---- backends.c ---- */
bool vm_create_backends(VM *vm, GError **errp);
/* Last of all, so that a client never sees a machine that is half there. */
bool vm_create_monitors(VM *vm, GError **errp);

/* ---- runstate.c ---- */
RunState vm_runstate(VM *vm); /* any thread */
bool vm_is_running(VM *vm);   /* any thread */
/* Stop vCPUs, devices and block I/O; STOP is sent if it was running; then the state is @state. */
void vm_stop(VM *vm, RunState state);
/* Change the state of a stopped VM. */
void vm_set_runstate(VM *vm, RunState state);
/* Run, with RESUME; the VM is stopped and allowed to run. */
void vm_start(VM *vm);
/* What the monitor's stop and cont do, with their rules (spec 70 section 15, spec 10 section 14.3).
 */
void vm_user_stop(VM *vm);
bool vm_user_cont(VM *vm, GError **errp);
/* Reset now; @reason for the RESET event. */
void vm_reset(VM *vm, ShutdownCause reason);
/* Reset, power off, or leave the process: deferred to the main loop; any thread with the big lock.
 */
void vm_request_reset(VM *vm, ShutdownCause reason);
void vm_request_shutdown(VM *vm, ShutdownCause reason, int exit_code);
/* Leave the main loop now with @exit_code, after the SHUTDOWN event; no guest policy applies. */
void vm_quit(VM *vm, ShutdownCause reason, int exit_code);

/* ---- host.c ---- */
/* Fill in vm->host, door 1 of the migration subsystem. */
void vm_init_migration_host(VM *vm);

/* ---- snapshots.c ---- */
/* Load the snapshot @tag, which all disks belong to; it is stopped before anything of the VM
 * changes unless everything fits. The VM stays stopped. */
bool vm_load_snapshot(VM *vm, const char *tag, GError **errp);

/* ---- commands.c ---- */
void vm_register_commands(VM *vm);

/* ---- process.c ---- */
/* SIGTERM, SIGINT, SIGHUP end the VM; SIGPIPE is ignored. */
void process_setup_signals(VM *vm);
bool process_exit_with_parent(GError **errp);
/* Fork; the parent waits for process_daemon_ready() and exits with its verdict. */
bool process_daemonize(GError **errp);
/* Detach from the terminal and release the parent. */
bool process_daemon_ready(GError **errp);
/* Create and lock the file, removed by process_remove_pidfile(). */
bool process_write_pidfile(const char *path, GError **errp);
void process_remove_pidfile(void);

#endif
