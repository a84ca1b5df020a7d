/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An outgoing migration that switches to postcopy.
 *
 *   active -> [pre-switchover] -> device -> postcopy-device -> postcopy-active -> completed
 *                                    |            |                |       ^
 *                 any failure: the guest goes on here              v       |
 *                                                          postcopy-paused |
 *                                                                  v       |
 *                                     postcopy-recover-setup -> postcopy-recover
 *
 * postcopy-device ends when the destination has answered the ping in front of `run`: its devices
 * are loaded, the guest is its own. Until then only pages that are asked for travel. From then on
 * nothing fails: a broken channel pauses, as often as it likes.
 */
#ifndef GODWIT_MIGRATION_POSTCOPY_SOURCE_H
#define GODWIT_MIGRATION_POSTCOPY_SOURCE_H

#include "migration/channels.h"
#include "migration/postcopy/preempt.h"
#include "migration/postcopy/push-channels.h"
#include "migration/postcopy/push.h"

/* Pings: 2 in front of the package, 3 in it, in front of `run`, 4 behind it. */
#define POSTCOPY_PING_LOADED 3

typedef struct {
    bool wanted; /* atomic: migrate-start-postcopy, or x-auto-postcopy */
    /* x-auto-postcopy; migration thread: when the forecast is asked next, and since when it says
     * that precopy does not end (0: it does not). */
    int64_t ask_us, hopeless_us;
    PostcopyPush *push; /* atomic; NULL until the switch; the RAM section's */
    bool requests_open; /* atomic: the destination may ask for pages */
    QEMUFile *urgent;   /* as MigrationState.file; NULL: no channel of its own */

    /* Under MigrationState.lock where threads meet, push-out.c; NULL: only the main channel. */
    PushChannels *channels;
    uint8_t lines; /* how many had such channels; migration thread */

    /* Main thread, while the channel for urgent pages is being opened. */
    ChannelsOpening *opening;
    QIOChannel *main;
    PreemptOpened *opened;

    bool all_sent; /* migration thread: and confirmed */

    /* Under MigrationState.lock. */
    bool loaded;      /* the destination's devices are */
    bool recovers;    /* there is a new channel */
    unsigned bitmaps; /* how many the destination has sent since */
    bool resume_acked;
} PostcopySource;

/* Is it time to switch? Migration thread. */
bool postcopy_source_due(MigrationState *s);
/* Switch, push everything. True: the destination has all. Migration thread. */
bool postcopy_source_run(MigrationState *s, GError **errp);
/* Does the guest run over there, or is about to? Any thread. */
bool postcopy_source_switched(const MigrationState *s);

/* ---- auto.c ---- */

/* x-auto-postcopy: ask for the switch when precopy has no chance. Migration thread, each turn. */
void postcopy_auto_consider(MigrationState *s);

/* ---- recover.c ---- */

/* The channel broke: wait for another and agree on what has arrived. False: the process ends.
 * Migration thread. */
bool postcopy_source_pause(MigrationState *s, GError *err);

/* Shut down all channels of the line. Any thread, Migration.line held. */
void postcopy_source_cut(MigrationState *s);

/* ---- messages of the destination; return-path thread ---- */

bool postcopy_source_request(void *opaque, const char *block, uint64_t offset, uint64_t length,
                             GError **errp);
bool postcopy_source_bitmap(void *opaque, const char *block, QEMUFile *f, GError **errp);
bool postcopy_source_resume_ack(void *opaque, uint32_t value, GError **errp);
void postcopy_source_pong(MigrationState *s, uint32_t cookie);

/* ---- commands; main thread, big lock ---- */

/* migrate-start-postcopy. False and *errp: not with this destination. */
bool postcopy_source_start(MigrationState *s, GError **errp);
/* migrate resume=true: connect again. */
bool postcopy_source_resume(MigrationState *s, const MigrationTransport *t, GError **errp);
/* migrate-pause. False: there is nothing to pause. Any thread, Migration.line held. */
bool postcopy_source_interrupt(MigrationState *s);

#endif
