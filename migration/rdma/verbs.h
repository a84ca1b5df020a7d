/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the RDMA transport needs of a fabric: connections that carry messages (SEND into a posted
 * receive) and one-sided WRITEs into registered memory of the peer, with completions.
 *
 * Two back ends: verbs-ibv.c (librdmacm, libibverbs) and the fake fabric of the unit tests. The
 * protocol above them (connection.c and up) knows nothing of either.
 *
 *   source        resolve() -> register and post receives -> connect()
 *   destination   listen() -> next_request() -> register and post receives -> accept()
 *   both          post_*(), poll() ... disconnect() -> close()
 *
 * An endpoint is used by one thread at a time, except wake(), which any thread may call at any time
 * before close(). All calls return at once unless a timeout is among their arguments.
 */
#ifndef GODWIT_MIGRATION_RDMA_VERBS_H
#define GODWIT_MIGRATION_RDMA_VERBS_H

#include <gio/gio.h>
#include "util/error.h"
#include "util/osdep.h"

typedef struct RdmaFabric RdmaFabric;
typedef struct RdmaListening RdmaListening;
typedef struct RdmaEndpoint RdmaEndpoint;

/* Memory the adapter may use. */
typedef struct {
    void *handle; /* NULL: none */
    uint32_t lkey, rkey;
} RdmaRegion;

/* One finished work request. Those of the send queue (SEND, WRITE) finish in posting order; an
 * unsignalled one shows only when it failed. */
typedef struct {
    uint64_t id;
    bool received;     /* of the receive queue */
    bool flushed;      /* failed because the connection is over, not by itself */
    uint32_t bytes;    /* received: the length of the message */
    const char *error; /* NULL: success; a constant text */
} RdmaCompletion;

/* Private data of a connection request or its answer. */
typedef struct {
    uint8_t bytes[256];
    size_t len;
} RdmaPrivate;

/* What a work request is about. */
typedef struct {
    uint64_t id;
    void *addr;
    uint32_t len;
    uint32_t lkey;
    bool signalled;       /* SEND, WRITE */
    uint64_t remote_addr; /* WRITE, */
    uint32_t rkey;        /* into this region of the peer's */
} RdmaWork;

/* Depths every endpoint has. */
#define RDMA_SEND_DEPTH 512
#define RDMA_RECV_DEPTH 16

typedef struct RdmaFabricOps {
    /*
     * Find the way to HOST:PORT and make an endpoint there, not yet connected. Blocks; a cancelled
     * @cancel ends it soon. NULL and *errp.
     */
    RdmaEndpoint *(*resolve)(RdmaFabric *fabric, const char *host, const char *port,
                             GCancellable *cancel, GError **errp);
    /* Ask the peer, and wait for its answer as above, at most @timeout_ms (-1: as long as it
     * takes). */
    bool (*connect)(RdmaEndpoint *ep, const RdmaPrivate *hello, int timeout_ms,
                    GCancellable *cancel, RdmaPrivate *answer, GError **errp);

    RdmaListening *(*listen)(RdmaFabric *fabric, const char *host, const char *port, GError **errp);
    /* Readable when next_request() may have something. */
    int (*listening_fd)(RdmaListening *l);
    /* The next connection request as an endpoint, or NULL: nothing there now. */
    RdmaEndpoint *(*next_request)(RdmaListening *l, RdmaPrivate *hello);
    void (*listening_close)(RdmaListening *l);

    /* Take the request; receives should be posted before. */
    bool (*accept)(RdmaEndpoint *ep, const RdmaPrivate *answer, GError **errp);
    /* Refuse it, or give up before accept(). The endpoint is still to be closed. */
    void (*reject)(RdmaEndpoint *ep);

    /* "10.0.0.2:4444", constant. */
    const char *(*peer_name)(RdmaEndpoint *ep);
    /* The longest WRITE, in bytes. */
    uint64_t (*max_write)(RdmaEndpoint *ep);

    /* Register [addr, addr + len); @remote: the peer may write it. */
    bool (*reg)(RdmaEndpoint *ep, void *addr, uint64_t len, bool remote, RdmaRegion *out,
                GError **errp);
    /* Forget it; nothing posted may use it. Clears *region. */
    void (*unreg)(RdmaEndpoint *ep, RdmaRegion *region);

    bool (*post_recv)(RdmaEndpoint *ep, const RdmaWork *work, GError **errp);
    bool (*post_send)(RdmaEndpoint *ep, const RdmaWork *work, GError **errp);
    bool (*post_write)(RdmaEndpoint *ep, const RdmaWork *work, GError **errp);

    /* Up to @max completions, -1 and *errp: the queue is broken. */
    int (*poll)(RdmaEndpoint *ep, RdmaCompletion *out, int max, GError **errp);
    /* The next sleep() ends with the next completion. Call poll() again in between. */
    bool (*arm)(RdmaEndpoint *ep, GError **errp);
    /* Until a completion, an event, wake() or the timeout. False: the connection is over or the
     * device failed, *errp says which; completions may still be there. */
    bool (*sleep)(RdmaEndpoint *ep, int timeout_ms, GError **errp);
    /* End a sleep(), now or the next one. */
    void (*wake)(RdmaEndpoint *ep);
    /* Has the peer confirmed the connection (at once on the source)? */
    bool (*established)(RdmaEndpoint *ep);

    /* Say goodbye; does not wait for the peer. */
    void (*disconnect)(RdmaEndpoint *ep);
    /* Release everything; all regions are gone before. */
    void (*close)(RdmaEndpoint *ep);
} RdmaFabricOps;

/* Back ends put these first. */
struct RdmaFabric {
    const RdmaFabricOps *ops;
};
struct RdmaListening {
    const RdmaFabricOps *ops;
};
struct RdmaEndpoint {
    const RdmaFabricOps *ops;
};

/* The adapters of this host; a constant. */
RdmaFabric *rdma_fabric_host(void);

#endif
