/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An incoming migration that switches to postcopy.
 *
 *   incoming thread   advise, discard ... package | pages, pages, pages ...             EOF
 *   devices thread                          '-> devices of the package, run the guest --^ joined
 *   fault thread                            requests ...
 *
 * The incoming thread reads the main channel all the time: the devices may need pages while they
 * load. Until `run` any failure is the end here, and the source keeps its guest. From then on a
 * broken channel pauses: the incoming thread waits for `migrate-recover` to give it another.
 */
#ifndef GODWIT_MIGRATION_POSTCOPY_INCOMING_H
#define GODWIT_MIGRATION_POSTCOPY_INCOMING_H

#include "migration/loadvm.h"
#include "migration/postcopy/receivers.h"
#include "migration/postcopy/recovery-listener.h"
#include "migration/transport/transport.h"

typedef struct {
    PostcopyDestination *dest; /* NULL: not advised */
    LoadContext package;       /* what the devices thread reads */
    GThread *devices;
    bool (*ping)(void *opaque, uint32_t cookie, GError **errp); /* outside the package */
    bool answered;     /* under MigrationIncomingState.lock: a ping of the package; the source */
    bool devices_done; /* may know now that all is loaded. And: nothing more comes of that thread */
    PostcopyBlocktime *measured;  /* incoming thread, main after completion; NULL: not */
    bool listening;               /* the package has said so */
    PostcopyReceivers *receivers; /* under MigrationIncomingState.lock, from listening on */
    bool turned;                  /* under it too: the main loop has had a turn since */
    GError *pause_reason; /* under MigrationIncomingState.lock: what broke last, while paused */
    bool exchanging;      /* likewise: a listener is about to set `recovers` */

    GMutex recovering;          /* one migrate-recover at a time; protects @recovery */
    RecoveryListener *recovery; /* of the last one; NULL: the main loop does it */
} PostcopyIncoming;

/* A command of postcopy or a package; see LoadContext. @opaque: MigrationIncomingState. */
bool postcopy_incoming_command(const LoadContext *c, uint16_t command, const uint8_t *args,
                               uint16_t len, bool *leave, void *opaque, GError **errp);
/* EOF was read on the main channel. False and *errp: too early. Incoming thread. */
bool postcopy_incoming_eof(void *opaque, GError **errp);
/* Does the guest run here while its memory still comes? Any thread. */
bool postcopy_incoming_is_running(MigrationIncomingState *mis);
/* All pages are here. Incoming thread. */
void postcopy_incoming_complete(MigrationIncomingState *mis);
/*
 * Reading has failed. True: paused, and now there is another channel in mis->file. False: that is
 * the end; @err goes to incoming_fail() then. Takes @err if true. Incoming thread.
 */
bool postcopy_incoming_pause(MigrationIncomingState *mis, GError *err);
/* Wait for the devices thread, release everything. Incoming thread, or main after it has ended. */
void postcopy_incoming_cleanup(MigrationIncomingState *mis);

/* What threads waited for pages, once the migration has completed. */
void postcopy_incoming_fill_info(MigrationIncomingState *mis, MigrationInfo *info);

/* The source announces @n more channels for pushed pages on line @line. Incoming thread. */
bool postcopy_incoming_expect(MigrationIncomingState *mis, uint8_t line, unsigned n, GError **errp);
/* A connection beside those of the stream. Takes @ioc. Main thread, or that of a RecoveryListener.
 */
void postcopy_incoming_extra(MigrationIncomingState *mis, QIOChannel *ioc);

/* ---- commands; main thread, big lock ---- */

/* migrate-recover: listen on @t for the source's second try. Also out of band: any thread, without
 * the big lock. */
bool postcopy_incoming_recover(MigrationIncomingState *mis, const MigrationTransport *t,
                               GError **errp);
/* Listen no more. */
void postcopy_incoming_stop_listening(MigrationIncomingState *mis);
/* migrate-pause. False: there is nothing to pause. Any thread, Migration.line held. */
bool postcopy_incoming_interrupt(MigrationIncomingState *mis);

#endif
