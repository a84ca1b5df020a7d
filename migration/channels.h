/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A migration of several connections: how the source opens those beside the main one, and how the
 * destination tells which is which.
 *
 *   source        main connects, then channels_open(): all others at once, to the same address
 *   destination   whoever connects goes to incoming_channels_accept(), in any order:
 *
 *       stream magic ----------------------------------------------> main
 *       multifd magic --> vetting: 64 bytes, in time, ours ---------> multifd, by its number
 *       anything else, once main and all multifd channels are there > extra (a preempt channel)
 *       anything else before ---------------------------------------> dropped, listening goes on
 *
 * Nothing here blocks: a silent or slow peer costs a place in a list until its time is up. Main
 * thread, big lock, unless stated.
 */
#ifndef GODWIT_MIGRATION_CHANNELS_H
#define GODWIT_MIGRATION_CHANNELS_H

#include "migration/transport/transport.h"
#include "migration/wire/multifd.h"

/* ---- source ---- */

typedef struct ChannelsOpening ChannelsOpening;
/* Exactly one of @channels (of QIOChannel, blocking, no delay; callee takes the reference) and @err
 * (callee frees) is set. The opening is gone on return. */
typedef void ChannelsOpenedCB(GPtrArray *channels, GError *err, void *opaque);

/* Say what has to be said first on connection @index, which is open now; not more than fits into
 * the buffers of a fresh socket. */
typedef bool ChannelsGreet(QIOChannel *ioc, unsigned index, void *opaque, GError **errp);

/*
 * Open @n more connections, to each of @to (of MigrationTransport) in turn, and @greet (NULL: say
 * nothing) on each without waiting for the others: QEMU 7.2 waits for the first words of one before
 * it shakes hands on the next. @cb runs once from the main loop, when all are there or one has
 * failed (the others are dropped), never before this returns. NULL and *errp: failed at once, @cb
 * is never called.
 */
ChannelsOpening *channels_open(const GPtrArray *to, MigrationHost *host, unsigned n,
                               ChannelsGreet *greet, ChannelsOpenedCB *cb, void *opaque,
                               GError **errp);
/* Before @cb ran: it never will. NULL is fine. */
void channels_open_cancel(ChannelsOpening *o);

/* ---- destination ---- */

typedef struct IncomingChannels IncomingChannels;

typedef struct {
    /* The first; callee takes the reference. */
    void (*main)(QIOChannel *ioc, void *opaque);
    /* Channel @id (< IncomingChannelsConfig.multifd), once each, after main; blocking; the next
     * byte follows the init packet. Callee takes the reference. */
    void (*multifd)(unsigned id, QIOChannel *ioc, void *opaque);
    /* One more connection after main and all multifd channels; @magic as in TransportAcceptor.
     * Optional: without it such a connection is closed. Callee takes the reference. */
    void (*extra)(QIOChannel *ioc, uint32_t magic, void *opaque);
    /* The set cannot become complete: @err (callee frees) says what is wrong. At most once; nothing
     * more is delivered. */
    void (*failed)(GError *err, void *opaque);
} IncomingChannelsOps;

typedef struct {
    unsigned multifd; /* how many multifd channels belong to the set */
    uint8_t uuid[MULTIFD_UUID_SIZE];
    unsigned timeout_ms; /* how long the next connection of a set may take, and its first bytes */
} IncomingChannelsConfig;

/* @config is copied, @ops is not. */
IncomingChannels *incoming_channels_new(const IncomingChannelsConfig *config,
                                        const IncomingChannelsOps *ops, void *opaque);
/* The accept callback of a TransportListener. Takes @ioc. */
void incoming_channels_accept(IncomingChannels *ic, TransportListener *l, QIOChannel *ioc,
                              uint32_t magic);
/* Main and all multifd channels are there. */
bool incoming_channels_complete(const IncomingChannels *ic);
/* Close everything not delivered yet. Not inside a callback. NULL is fine. */
void incoming_channels_free(IncomingChannels *ic);

#endif
