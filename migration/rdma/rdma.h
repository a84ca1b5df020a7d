/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Migration over RDMA, as the rest of the subsystem sees it: a channel for the stream, a RamSink
 * that writes pages into the destination's memory, a RamPlacer that lets it.
 *
 *   verbs.h       the fabric: adapters, or a fake one
 *   connection.c  control.c   one connection: work requests, messages, credits
 *   channel.c     the QIOChannel: stream bytes in messages, return path on a second connection
 *   open.c        who connects to whom, what is agreed
 *   memory.c      blocks and what of them is registered
 *   write.c       RamSink: runs of pages -> registrations, WRITEs, zero ranges
 *   serve.c       RamPlacer: what the source asks for in a registration phase
 */
#ifndef GODWIT_MIGRATION_RDMA_H
#define GODWIT_MIGRATION_RDMA_H

#include "io/channel.h"
#include "migration/ram-sink.h"
#include "migration/rdma/verbs.h"
#include "migration/stats.h"

/* ---- source ---- */

typedef struct {
    bool pin_all;     /* rdma-pin-all */
    bool return_path; /* capability return-path */
} RdmaWishes;

/*
 * Connect to HOST:PORT; with a return path both connections. Blocks as long as the fabric's
 * timeouts: for a thread of its own, which @cancel ends soon. NULL and *errp.
 */
QIOChannel *rdma_channel_connect(RdmaFabric *fabric, const char *host, const char *port,
                                 const RdmaWishes *wishes, GCancellable *cancel, GError **errp);

/* Pages go through @ioc, a channel of the above. @chunk: bytes one registration covers, a power of
 * two >= 1 MiB. */
RamSink *ram_sink_rdma_new(QIOChannel *ioc, RAMList *list, bool ignore_shared, uint64_t chunk,
                           MigrationCounters *counters);

/* ---- destination; main thread ---- */

typedef struct RdmaListener RdmaListener;
/* A source is there; callee takes the reference. At most once: the channel takes its return path
 * by itself. */
typedef void RdmaAcceptCB(QIOChannel *ioc, void *opaque);

RdmaListener *rdma_listener_new(RdmaFabric *fabric, const char *host, const char *port,
                                RdmaAcceptCB *cb, void *opaque, GError **errp);
/* The channel lives on, but no return path will come any more. NULL is fine. */
void rdma_listener_free(RdmaListener *l);

/* Pages come through @ioc, a channel of the above. */
RamPlacer *ram_placer_rdma_new(QIOChannel *ioc, RAMList *list, bool ignore_shared, uint64_t chunk);

/* ---- both ---- */

bool io_channel_is_rdma(QIOChannel *ioc);
/*
 * Postcopy: the guest runs at the destination, pages go through the stream from now on, so nothing
 * needs to stay registered (and locked). Source: the migration thread; destination: any, while the
 * channel lives. Does nothing to other kinds of channel.
 */
void rdma_channel_release_memory(QIOChannel *ioc);
/* Postcopy pauses: the peer learns that the line is cut, of which a shutdown alone says nothing.
 * The thread that used the channel last. Nothing to other kinds. */
void rdma_channel_hang_up(QIOChannel *ioc);

#endif
