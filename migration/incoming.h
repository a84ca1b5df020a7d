/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The incoming side: from -incoming to the running guest.
 *
 *   main thread       listen -> accept -> start thread                  ... finish
 *   incoming thread       load -> take the guest -> read the trailer --^
 *
 * The incoming thread blocks in reads without the big lock and takes it around device state only,
 * so the monitor answers all the time.
 */
#ifndef GODWIT_MIGRATION_INCOMING_H
#define GODWIT_MIGRATION_INCOMING_H

#include "migration/core.h"
#include "migration/transport/transport.h"

MigrationIncomingState *incoming_new(Migration *m);
void incoming_free(MigrationIncomingState *mis);
/* Listen on @t. May be repeated after an error. Main thread, big lock. */
bool incoming_listen(MigrationIncomingState *mis, const MigrationTransport *t, bool exit_on_error,
                     GError **errp);
/* Has a listen succeeded? Any thread. */
/* Where it listens, or was read from; NULL before. */
const MigrationTransport *incoming_transport(const MigrationIncomingState *mis);
bool incoming_has_started(const MigrationIncomingState *mis);
/* @ioc carries the migration. Main thread, big lock. */
void incoming_run_on(MigrationIncomingState *mis, QIOChannel *ioc);
/* Memory that comes on channels beside the main one goes to @placer. Incoming thread, before the
 * first section. */
void incoming_bind_placer(MigrationIncomingState *mis, RAMList *list, RamPlacer *placer);
/* See RamEnv.marker. */
bool incoming_marker(MigrationIncomingState *mis, bool flush, GError **errp);
/* See RamEnv.lost_channel. */
bool incoming_lost_channel(MigrationIncomingState *mis, uint64_t number, GError **errp);
/* The channel of the stream; NULL: there is none (yet, or any more). Incoming thread. */
QIOChannel *incoming_channel(const MigrationIncomingState *mis);
MigrationStatus incoming_status(const MigrationIncomingState *mis);
/* What query-migrate says; big lock. */
void incoming_fill_info(MigrationIncomingState *mis, MigrationInfo *info);
/* Stop everything, wait for the thread; big lock. */
void incoming_shutdown(MigrationIncomingState *mis);

#endif
