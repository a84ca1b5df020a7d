/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The outgoing side: one MigrationState from `migrate` to its end.
 *
 *   main thread          migrate -> connect -> start thread            ... finish -> final status
 *   migration thread         begin -> iterate -> switchover -> settle guest --^
 *   return-path thread           messages -> verdict -> wakes the migration thread
 *
 * Who fails calls migration_fail(); the first error stays. Everything ends in outgoing_finish().
 */
#ifndef GODWIT_MIGRATION_OUTGOING_H
#define GODWIT_MIGRATION_OUTGOING_H

#include "migration/channels.h"
#include "migration/core.h"
#include "migration/multifd/multifd.h"
#include "migration/postcopy/source.h"
#include "migration/return-path.h"
#include "migration/transport/transport.h"

struct MigrationState {
    Migration *m;
    MigrationHost *host;
    bool snapshot;   /* to a file, by migration_save_snapshot() */
    bool background; /* of one moment, while the guest goes on; it stays ours */
    int status;      /* atomic, MigrationStatus */

    /* Main thread. */
    MigrationTransport *transport;   /* NULL: a snapshot */
    TransportConnection *connection; /* while connecting */
    GPtrArray *multifd_to;           /* of MigrationTransport; NULL: to @transport */
    QIOChannel *main;                /* connected, while others are not yet: */
    ChannelsOpening *opening;
    GPtrArray *extra; /* those of multifd, connected */
    GThread *thread;
    GSource *finish; /* the scheduled end */
    GSource *cut;    /* the main channel's, scheduled by a channel that failed */
    bool exiting;    /* the process ends: leave the guest stopped */

    /* Set on the main thread before the others start, freed there after they have ended; in between
     * exchanged there while the migration thread is parked in a paused postcopy. */
    QEMUFile *file;
    ReturnPathReader *return_path;
    MultifdSend *multifd; /* NULL: memory travels on the main channel */

    GMutex lock;        /* protects the block below */
    GCond wake;         /* something there has changed */
    GError *error;      /* what failed first */
    GError *peer_error; /* the reason the destination gave: explains ours */
    bool cancelled;
    bool continued;   /* migrate-continue */
    bool eof_sent;    /* a destination that waits for no commit takes the guest, */
    bool offered;     /* and from here on every one may */
    bool peer_known;  /* has answered our hello */
    bool peer_waits;  /* has confirmed that it waits for our commit, */
    bool peer_loaded; /* waits for our commit */
    bool peer_done;   /* no more return-path messages */
    ReturnPathVerdict peer_verdict;
    uint32_t peer_features;     /* also read, atomically, without the lock */
    uint32_t pongs;             /* answers to our settle pings so far */
    unsigned acks_wanted, acks; /* switchover-ack */

    /* Migration thread (others: after it has ended). */
    RateWindow window;
    int64_t pace_us;       /* when this window of the rate limit began */
    RunState state_before; /* the guest's, when it was stopped by us */
    bool stopped;
    bool images_released;
    bool two_step;  /* the destination waits for our commit */
    bool committed; /* the destination owns the guest */
    bool in_doubt;  /* nobody can tell whether it does */
    unsigned settle_rounds, settle_waits;
    uint64_t last_pending, last_bytes; /* left, and sent, when the stop was last thought of */
    uint32_t settle_pings;
    uint64_t settled_bytes; /* the destination has read this far, or was given the time to */

    PostcopySource postcopy;
    uint64_t retired_bytes; /* atomic: sent on channels that broke, or beside @file */

    /* Atomic; times in us of the monotonic clock, 0: not yet. */
    int64_t begin_us, active_us, stop_us, end_us;
    uint64_t downtime_us;
};

static inline MigrationStatus outgoing_status(const MigrationState *s)
{
    return __atomic_load_n(&s->status, __ATOMIC_ACQUIRE);
}

/* A new one in status none; becomes m->outgoing in place of the last one. Main thread. */
MigrationState *outgoing_new(Migration *m);
void outgoing_free(MigrationState *s);
/* Between setup and the end? */
bool outgoing_is_running(const MigrationState *s);
/* Change the status if it still is @from; event and record. Any thread. */
bool outgoing_set_status(MigrationState *s, MigrationStatus from, MigrationStatus to);

/* Connect and go. False: it has failed already, *errp says why. Main thread, big lock. */
bool outgoing_start(MigrationState *s, const MigrationTransport *t, GError **errp);
/* The main channel is open, and so are those of multifd (@extra, of QIOChannel; takes the
 * reference; NULL: none): go, or fail for want of a thread; @s is in status setup. */
void outgoing_run_on(MigrationState *s, QIOChannel *ioc, GPtrArray *extra);
/* Stop as soon as possible; any state. A guest that is already offered is only taken back when the
 * destination does not answer for a second. Main thread, big lock. */
void outgoing_cancel(MigrationState *s);
/* Leave pre-switchover. */
void outgoing_continue(MigrationState *s);
/* The one way out: wait for the threads, release everything, final status. Main thread, big lock.
 */
void outgoing_finish(MigrationState *s);
/* Cancel, wait for everything, end now instead of in the main loop. */
void outgoing_shutdown(MigrationState *s);

/* Takes @err; the first one is kept. Wakes everybody. Any thread. */
void migration_fail(MigrationState *s, GError *err);
/* Cancelled or failed: stop working. *errp says so. Any thread. */
bool migration_interrupted(MigrationState *s, GError **errp);
/* The error to show, or NULL; the caller frees it. Any thread. */
char *outgoing_error(MigrationState *s);

/* With a return path, the guest running: give the destination a second to say who it is. Migration
 * thread. */
void outgoing_await_hello(MigrationState *s);
/* PeerFeatures of the destination; 0 until it has answered our hello. Any thread. */
uint32_t outgoing_peer_features(MigrationState *s);
/* Bytes sent so far, on all channels. Migration thread, or main when there is none. */
uint64_t outgoing_bytes(const MigrationState *s);
/* PING into the stream's buffer; migration thread. */
void outgoing_put_ping(MigrationState *s, uint32_t cookie);
/* Bytes that the channels took and the destination is not known to have read. Migration thread. */
uint64_t outgoing_backlog(const MigrationState *s);
/* PING, flushed; migration thread. */
void outgoing_ping(MigrationState *s, uint32_t cookie);

/* Hear the destination on the reverse direction of s->file; migration thread. */
bool outgoing_read_answers(MigrationState *s, GError **errp);
/* Nothing more is to be sent now: sleep until @end (us, monotonic), or until something happens. */
void outgoing_wait_until(MigrationState *s, int64_t end);

/* The stream up to the first PART; migration thread. */
bool outgoing_begin_stream(MigrationState *s, GError **errp);

/* ---- outgoing-channels.c; main thread, big lock ---- */

/* Connect to s->transport: in the end outgoing_run_on() or fail_early. False: failed at once. */
bool outgoing_connect(MigrationState *s, GError **errp);
/* True: it was under way, and is not any more. */
bool outgoing_connect_cancel(MigrationState *s);
/* Make @extra the channels of multifd. False: *errp, and @extra is released. */
bool outgoing_start_multifd(MigrationState *s, GPtrArray *extra, GError **errp);
/* Wait for its threads, note what each channel did, close them; the return path's has ended. */
void outgoing_end_multifd(MigrationState *s);
/* See ReturnPathEvents.lost_channel; @opaque: a MigrationState. Return-path thread. */
bool outgoing_peer_lost_channel(void *opaque, uint32_t value, GError **errp);
/* Takes @err. Before there is a thread: the guest was never touched. */
void outgoing_fail_early(MigrationState *s, GError *err);
/* ---- background.c; migration thread ---- */

/* Everything after the START sections of a background snapshot. */
bool background_run(MigrationState *s, GError **errp);

/* ---- switchover.c; migration thread ---- */

/* The destination allows the stop, as far as one device, or all, are concerned; return-path thread.
 * @opaque: a MigrationState. */
bool switchover_ack(void *opaque, GError **errp);
/* Is it time to stop the guest? *errp on failure (then false). */
bool switchover_due(MigrationState *s);
/* Stop the guest and remember what it did; @state: its run state now. Big lock. */
bool switchover_stop_guest(MigrationState *s, RunState state, GError **errp);
/* End of stream and description, for a stream that is kept in memory. */
void switchover_put_end(QEMUFile *f, const VMDescWriter *desc);
/* Stop the guest and hand it over. True: the destination owns it. */
bool switchover_run(MigrationState *s, GError **errp);
/* Whatever happened: the guest goes on here, or stays postmigrate. Takes the big lock. */
void switchover_settle_guest(MigrationState *s);
/* Bytes that can be sent within the downtime limit. */
uint64_t switchover_budget(MigrationState *s);
/* The other steps of switchover_run(), for postcopy; big lock held: */
/* pause if that is wanted, then status device; */
bool switchover_enter_device(MigrationState *s, GError **errp);
bool switchover_release_images(MigrationState *s, GError **errp);
/* set a member of @s, unless it is too late: cancelled or failed; */
bool switchover_pass_point(MigrationState *s, bool *point, GError **errp);
/* @what, for the error, to the channel; */
bool switchover_flush_rest(MigrationState *s, const char *what, GError **errp);
/* the destination owns the guest. */
void switchover_commit(MigrationState *s);
/* The rest of the stream, guest stopped: END and FULL sections, EOF, flush. Big lock held. */
bool switchover_send_rest(MigrationState *s, VMDescWriter *desc, GError **errp);
/* The description behind EOF. */
bool switchover_send_description(MigrationState *s, const VMDescWriter *desc);
/* The same into a file, which nobody else has: only the whole of it counts, and it gets its name.
 */
bool switchover_store(MigrationState *s, const VMDescWriter *desc, GError **errp);

#endif
