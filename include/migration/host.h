/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Door 1: all that the migration subsystem needs of a machine.
 *
 * system/ fills it in for the real VM, tests with a fake guest of some forty lines. Two migrations
 * in one process (a source and a destination, each with its host) must work: nothing here is
 * global.
 *
 * Threads: "main" = main loop thread with the big lock held, "mig" = migration or incoming thread,
 * big lock as stated. All callbacks are mandatory unless marked optional.
 */
#ifndef GODWIT_MIGRATION_HOST_H
#define GODWIT_MIGRATION_HOST_H

#include "memory/dirty-log.h"
#include "qapi-types-run-state.h"
#include "qapi/qapi.h"
#include "io/channel.h"

typedef struct MigrationHost MigrationHost;
typedef struct MigrationHostOps {
    /* Identity; any thread, constant. */
    const char *(*machine_name)(const MigrationHost *h);    /* on the wire: "virt" */
    bool (*uuid)(const MigrationHost *h, uint8_t uuid[16]); /* false: none was set */
    bool (*suppress_vmdesc)(const MigrationHost *h);        /* machine property, optional (false) */

    /* Run state. */
    RunState (*runstate)(MigrationHost *h); /* any thread */
    /* Stop all vCPUs and flush device I/O; event STOP if it was running; then runstate = @state.
     * Big lock. */
    bool (*vm_stop)(MigrationHost *h, RunState state, GError **errp);
    /* Run (event RESUME). Big lock. */
    void (*vm_start)(MigrationHost *h);
    /* Change the state of a stopped VM, no vCPU action. Big lock. */
    void (*set_runstate)(MigrationHost *h, RunState state);
    /* May the VM run by itself after an incoming migration (no -S, no stop)? Any thread. */
    bool (*autostart)(MigrationHost *h);
    /* A suspended guest is woken before the stop; optional. Big lock. */
    void (*wakeup)(MigrationHost *h);

    /* vCPUs, and which of them is host thread @tid (-1: none). Any thread, constant while the VM
     * runs; optional. */
    unsigned (*vcpus)(MigrationHost *h);
    int (*vcpu_of_thread)(MigrationHost *h, uint32_t tid);

    /* Memory; the list is stable while a migration runs. */
    RAMList *(*ram)(MigrationHost *h);
    /* 0 = off, 1..99: share of time the vCPUs must sleep; any thread. */
    void (*set_throttle)(MigrationHost *h, int percent);

    /*
     * Guest memory cannot be read, @why; thread @thread (0: not known) sleeps in it and will not
     * wake soon. Stop the guest (io-error) without waiting for that thread, which is none of ours
     * until memory_unstuck(). Optional. Any thread.
     */
    void (*memory_stuck)(MigrationHost *h, uint32_t thread, const char *why);
    void (*memory_unstuck)(MigrationHost *h, uint32_t thread);

    /* Block images: release before the destination opens them, take back after a failure. Big lock.
     */
    bool (*block_inactivate)(MigrationHost *h, GError **errp);
    bool (*block_activate)(MigrationHost *h, GError **errp);

    /* Bytes of VFIO device state sent by the migration; false: there is no such device. Optional.
     * Big lock. */
    bool (*device_bytes)(MigrationHost *h, uint64_t *bytes);

    /* The guest now runs here: announce its addresses; optional. Big lock. */
    void (*announce_self)(MigrationHost *h);

    /* A descriptor a monitor received by name (getfd): ownership moves to the caller, -1 and error
     * if unknown.
     * @name starting with a digit is an inherited number where @allow_number. Big lock. */
    int (*take_fd)(MigrationHost *h, const char *name, bool allow_number, GError **errp);
    /* open(2) that also understands /dev/fdset/N; -1 and error. Big lock. */
    int (*open_file)(MigrationHost *h, const char *path, int flags, int mode, GError **errp);

    /* An incoming migration failed with exit-on-error: leave the process with status 1. Big lock.
     */
    void (*exit_failed)(MigrationHost *h);
    /* Object lookup for tls-creds, tls-authz; optional. Big lock. */
    GObject *(*find_object)(MigrationHost *h, const char *id);
} MigrationHostOps;

struct MigrationHost {
    const MigrationHostOps *ops;
    QapiEventSink events; /* MIGRATION, MIGRATION_PASS, ... */
    void *opaque;         /* the implementer's */
};

#endif
