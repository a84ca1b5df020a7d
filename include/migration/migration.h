/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The migration subsystem of one VM: what system/ creates, what commands act on.
 *
 *   Migration            options, blockers, registry, recorder; one per VM
 *     MigrationState           the outgoing side, from `migrate` to its end
 *     MigrationIncomingState   the incoming side
 *
 * Unless stated: main thread, big lock held.
 */
#ifndef GODWIT_MIGRATION_MIGRATION_H
#define GODWIT_MIGRATION_MIGRATION_H

#include "migration/host.h"
#include "migration/register.h"
#include "qapi-types-migration.h"

typedef struct MigrationState MigrationState;
typedef struct MigrationIncomingState MigrationIncomingState;

/* @host must outlive it. Registers the "ram" handlers. */
Migration *migration_new(MigrationHost *host);
/* Cancels and waits for whatever runs. */
void migration_free(Migration *m);
SaveStateList *migration_savevm(Migration *m);
MigrationHost *migration_host(Migration *m);

/* Register the commands of qapi/migration.json. */
void migration_register_commands(Migration *m, QmpCommandTable *table);

/* -global migration.NAME=VALUE (spec 71 section 3.1); error for unknown names and bad values. */
bool migration_set_global(Migration *m, const char *name, const char *value, GError **errp);

/* -incoming was given: run state is inmigrate. @spec: URI, "defer", JSON or dotted channel form.
 * Listens unless "defer"; exit-on-error rules of spec 35 section 1.2. */
bool migration_incoming_start(Migration *m, const char *spec, GError **errp);

/* Is an outgoing migration between setup and its end, or a saved state being loaded? Any thread. */
bool migration_is_running(Migration *m);

/* Is it on? Any thread. */
bool migration_has_capability(Migration *m, MigrationCapability cap);
/*
 * switchover-ack: the destination has what it needs before the guest may stop. With legacy acks
 * each handler says so once, without as often as the source's has asked. Incoming thread.
 */
bool migration_has_legacy_acks(Migration *m);
bool migration_approve_switchover(Migration *m, GError **errp);

/* Reasons why this VM cannot migrate now. Refused (error) while a migration runs or with
 * -only-migratable. */
typedef struct MigrationBlocker MigrationBlocker;
MigrationBlocker *migration_add_blocker(Migration *m, const char *reason, GError **errp);
void migration_del_blocker(Migration *m, MigrationBlocker *b);

/* Save the state to / load it from a channel through the same core as a migration (spec 10 section
 * 13). Saving stops a VM that runs and lets it go on; for loading it is stopped, and reset. Whether
 * a file is mapped-ram it says itself. Any thread, big lock held (and released meanwhile). */
bool migration_save_snapshot(Migration *m, QIOChannel *ioc, GError **errp);
bool migration_check_load(Migration *m, GError **errp); /* would it be refused? */
bool migration_load_snapshot(Migration *m, QIOChannel *ioc, GError **errp);
/* End the save that runs, which then fails; too late, or none, is fine. */
void migration_cancel_snapshot(Migration *m);
/* What a saved state of this VM consists of, for people and for comparing: sections and RAM blocks
 * with their sizes, in order; GPtrArray of strings, the caller's. */
GPtrArray *migration_contents(Migration *m);
/* Parameter x-snapshot-directory; "" if not set. */
const char *migration_snapshot_directory(Migration *m);

/* The process is going to exit: stop channels, wait for threads; guest is not resumed. */
void migration_shutdown(Migration *m);

#endif
