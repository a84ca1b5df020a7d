/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * More channels for what is pushed after the switch (parameter x-postcopy-channels), Godwits only.
 *
 *   source                                        destination
 *     PING "n channels come"  --- main channel -->  expects them
 *                             <-- return path ---  PONG
 *     connects n times, says who it is  -------->  a thread each: reads, places pages
 *                             <-- return path ---  PONG "number i is being read"
 *     a thread each: walks through what is left
 *     EOS on each, then EOF on the main one
 *
 * No page is put on a channel before the destination reads it: accepting one may have to wait for
 * who holds the big lock there, and that one for a page. Until then, and if they cannot be opened,
 * the main channel does it alone. One that breaks once there are pages on it breaks the line: both
 * sides pause, and the next line has channels of its own.
 */
#ifndef GODWIT_MIGRATION_POSTCOPY_PUSH_CHANNELS_H
#define GODWIT_MIGRATION_POSTCOPY_PUSH_CHANNELS_H

#include "migration/core.h"
#include "migration/transport/transport.h"

/* The source's half; the destination's is receivers.h. */

typedef struct PushChannels PushChannels;

/* Can what is wanted be done over @t? Main thread. */
bool push_channels_possible(const Migration *m, const MigrationTransport *t, GError **errp);
/* Are more channels wanted on the line that begins, does the destination know them? Ask for them.
 * Migration thread. */
void push_channels_begin(MigrationState *s);
/* The destination has answered @cookie: it expects them, or reads one, or has nothing to do with
 * them. Return-path thread. */
void push_channels_pong(MigrationState *s, uint32_t cookie);
/* How many of them carry pages. Migration thread. */
unsigned push_channels_running(const MigrationState *s);
/* A new window of max-postcopy-bandwidth, @bytes for each of them (0: no limit), @windows after the
 * last (qemu_file_rate_next()). Migration thread. */
void push_channels_begin_window(MigrationState *s, uint64_t bytes, double windows);
/* Nothing is left, or (@cut) the line has broken: wait for the threads. False and *errp: a channel
 * has failed. Migration thread. */
bool push_channels_end(MigrationState *s, bool cut, GError **errp);
/* Make every thread fail soon. Any thread. */
void push_channels_cut(MigrationState *s);
/* Close them: nothing is under way any more. Main thread, big lock, no thread runs. */
void push_channels_close(MigrationState *s);

#endif
