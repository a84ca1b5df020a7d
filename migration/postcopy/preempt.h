/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A channel of its own for pages that somebody waits for (capability postcopy-preempt), so that
 * they do not queue behind megabytes of background pages.
 *
 *   source        opened right behind the main channel (QEMU 7.2 begins to read only then); the
 *                 thread that reads requests sends on it, push.c; one EOS record ends it
 *   destination   the connection that begins with the upper half of an offset, receivers.h
 *
 * No handshake, no sections: bare page records, with a "same block" of their own.
 */
#ifndef GODWIT_MIGRATION_POSTCOPY_PREEMPT_H
#define GODWIT_MIGRATION_POSTCOPY_PREEMPT_H

#include "migration/transport/transport.h"

/* ---- the source's half; main thread, big lock ---- */

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

#endif
