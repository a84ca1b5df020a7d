/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The incoming side as its own files see it: incoming.c, postcopy/incoming.c. */
#ifndef GODWIT_MIGRATION_INCOMING_STATE_H
#define GODWIT_MIGRATION_INCOMING_STATE_H

#include "migration/channels.h"
#include "migration/incoming.h"
#include "migration/multifd/multifd.h"
#include "migration/postcopy/incoming.h"
#include "migration/return-path.h"

struct MigrationIncomingState {
    Migration *m;
    MigrationHost *host;
    int status; /* atomic, MigrationStatus */

    /* Main thread. */
    MigrationTransport *transport; /* from listening on */
    TransportListener *listener;
    IncomingChannels *channels; /* while listening */
    bool exit_on_error;
    GThread *thread;
    GSource *finish; /* the scheduled end */
    GSource *cut;    /* of the main channel, scheduled when another has failed */
    bool finished;

    MultifdRecv *multifd; /* from listening to the end; NULL: not used */
    /* Main thread, before and after the incoming thread runs, and while it waits for recovery. */
    QEMUFile *file;

    /* Incoming thread. */
    ReturnPathWriter *return_path;
    unsigned acks_due; /* legacy: devices that have not allowed the switchover yet */
    bool two_step;     /* the source wants to be asked: */
    bool loaded;       /* we have, */
    bool committed;    /* and it has let go of the guest */
    PostcopyIncoming postcopy;

    GMutex lock; /* protects the block below */
    GCond wake;  /* something there has changed */
    GError *error;
    GPtrArray *addresses; /* of SocketAddress, while listening */
    bool exiting;         /* the process ends: a load cut short is no news */
    bool recovers;        /* paused, and there is a new channel in file */
};

/* ---- incoming.c ---- */

/* One thread at a time owns the status: main until the incoming thread starts, and again after it;
 * the thread that loads a package until it is joined. */
void incoming_set_status(MigrationIncomingState *mis, MigrationStatus status);
/* Takes @err; the first one is kept. Any thread. */
void incoming_fail(MigrationIncomingState *mis, GError *err);
/* Nothing has failed, on whatever channel. Any thread. */
bool incoming_may_go_on(MigrationIncomingState *mis, GError **errp);
/* Open the images unless that can wait: the state the guest can have then, @state or paused. Big
 * lock. */
RunState incoming_activate_images(MigrationIncomingState *mis, RunState state);
/* Run or do not run, as @state says, and tell the network. Big lock. */
void incoming_start_guest(MigrationIncomingState *mis, RunState state);
/* Nobody is accepted any more on the listener of the main loop. Main thread. */
void incoming_stop_listening(MigrationIncomingState *mis);
/* Accept connections of @acceptor on @t instead of whatever was accepted before. Main thread. */
bool incoming_replace_listener(MigrationIncomingState *mis, const MigrationTransport *t,
                               const TransportAcceptor *acceptor, GError **errp);
/* Connections are accepted on @t, at @addresses (takes them), now. Any thread. */
void incoming_announce_listener(MigrationIncomingState *mis, GPtrArray *addresses,
                                const MigrationTransport *t);

#endif
