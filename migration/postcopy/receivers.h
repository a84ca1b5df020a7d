/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The destination's connections beside the main one, after the switch: a thread each. It waits for
 * the first words, which say who that is, so that nobody else has to: the main loop may stand still
 * for a page that comes on one of them.
 *
 *   magic of push-channels.h, expected, its place is free   pages the source pushes
 *   the upper half of an offset, postcopy-preempt is on     pages somebody waits for, one such
 *   anything else, or silence                               nobody: dropped, or let be
 */
#ifndef GODWIT_MIGRATION_POSTCOPY_RECEIVERS_H
#define GODWIT_MIGRATION_POSTCOPY_RECEIVERS_H

#include "migration/postcopy/destination.h"

typedef struct PostcopyReceivers PostcopyReceivers;

/* Both are called by the thread that reads the channel. */
typedef struct {
    /* Number @number of those for pushed pages is read from now on: tell the source. False and
     * *errp: it cannot be told. */
    bool (*ready)(unsigned number, void *opaque, GError **errp);
    /* Nothing more is read: @err NULL at an orderly end or our own, else the callee frees it. */
    void (*ended)(GError *err, void *opaque);
} PostcopyReceiversOps;

/* @urgent: a channel of postcopy-preempt comes. @ops is not copied; @d outlives it. */
PostcopyReceivers *postcopy_receivers_new(PostcopyDestination *d, bool urgent,
                                          const PostcopyReceiversOps *ops, void *opaque);
/* Stopped. NULL is fine. */
void postcopy_receivers_free(PostcopyReceivers *o);
/* Somebody has connected; takes a reference. False and *errp: there can be no thread. Any thread.
 */
bool postcopy_receivers_add(PostcopyReceivers *o, QIOChannel *ioc, GError **errp);
/* @n channels for pushed pages come on line @line. False and *errp: not so. Incoming thread. */
bool postcopy_receivers_expect(PostcopyReceivers *o, uint8_t line, unsigned n, GError **errp);
/* May pages still come? *absent: from somebody who has not said a word. Any thread. */
bool postcopy_receivers_pending(PostcopyReceivers *o, bool *absent);
/* Cut all, wait for their threads; whoever comes from now on belongs to the next line. */
void postcopy_receivers_stop(PostcopyReceivers *o);

#endif
