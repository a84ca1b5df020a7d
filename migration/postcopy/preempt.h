/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A channel of its own for pages that somebody waits for (capability postcopy-preempt), so that
 * they do not queue behind megabytes of background pages.
 *
 *   source        opened right behind the main channel (QEMU 7.2 begins to read only then); the
 *                 thread that reads requests sends on it, push.c; one EOS record ends it
 *   destination   the connection that is neither main nor multifd; a thread reads page records
 *
 * No handshake, no sections: bare page records, with a "same block" of their own.
 */
#ifndef GODWIT_MIGRATION_POSTCOPY_PREEMPT_H
#define GODWIT_MIGRATION_POSTCOPY_PREEMPT_H

#include "migration/postcopy/destination.h"
#include "migration/transport/transport.h"

/* ---- source; main thread, big lock ---- */

/* Is it wanted, and can @t do it? False: *errp if it is wanted and @t cannot. */
bool preempt_possible(const Migration *m, const MigrationTransport *t, GError **errp);

/* Exactly one of @urgent (callee owns it) and @err (callee frees) is set, or neither when no such
 * channel is wanted; @main is the callee's. */
typedef void PreemptOpened(MigrationState *s, QIOChannel *main, QEMUFile *urgent, GError *err);
/* @main (takes it) is connected to @t: open the other one if it is wanted, then @then, from the
 * main loop or before this returns. */
void preempt_open(MigrationState *s, const MigrationTransport *t, QIOChannel *main,
                  PreemptOpened *then);
/* True: it was under way and is not any more. */
bool preempt_open_cancel(MigrationState *s);

/* ---- destination ---- */

typedef struct PreemptReceiver PreemptReceiver;

/* Read pages from @ioc. @ended is called by the reading thread when nothing more will come: @err
 * NULL at an orderly end, else the callee frees it. NULL and *errp: no such thread. */
PreemptReceiver *preempt_receiver_start(PostcopyDestination *d, QIOChannel *ioc,
                                        void (*ended)(GError *err, void *opaque), void *opaque,
                                        GError **errp);
/* Cut the channel, wait for the thread. NULL is fine. */
void preempt_receiver_stop(PreemptReceiver *r);

#endif
