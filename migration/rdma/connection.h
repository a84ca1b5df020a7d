/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One RDMA connection: receives that are always posted, a send queue that is never over-filled,
 * control messages with their credits (spec 50 sections 4 and 9).
 *
 *   write.c, serve.c, channel.c     what is said
 *   control.c                       messages and READY credits
 *   connection.c                    work requests and completions, waiting, the end
 *   verbs.h                         the fabric
 *
 * One thread at a time, except rdma_connection_shutdown(). The first error sticks: everything
 * afterwards fails with it. A call that waits for the peer lets go of the big lock meanwhile.
 */
#ifndef GODWIT_MIGRATION_RDMA_CONNECTION_H
#define GODWIT_MIGRATION_RDMA_CONNECTION_H

#include "migration/rdma/verbs.h"
#include "migration/wire/rdma.h"

/* Receives posted at any time. QEMU never has more than two messages under way to us. */
#define RDMA_RECV_SLOTS 4
/* Messages of ours the adapter may still be reading. */
#define RDMA_SEND_SLOTS 2

typedef struct RdmaConnection RdmaConnection;

/* A message that arrived; the payload is good until rdma_release(). */
typedef struct {
    RdmaHeader header;
    const uint8_t *payload;
    unsigned slot;
} RdmaMessage;

struct RdmaConnection {
    RdmaEndpoint *ep;
    RdmaHello agreed; /* what both sides want */
    char *name;       /* the peer, for errors */
    bool wait_established;

    GMutex lock;   /* protects error */
    GError *error; /* sticky */
    bool shut;     /* atomic: rdma_connection_shutdown() was called */
    bool over;     /* the peer is gone: nothing more can be sent, what has arrived can be read */
    GError *end;   /* why, if the fabric has said so */
    bool peer_error;

    uint8_t *memory; /* all slots */
    RdmaRegion region;
    RdmaMessage inbox[RDMA_RECV_SLOTS]; /* arrived, not asked for yet; oldest first */
    unsigned inbox_len;
    unsigned credits; /* READYs not used yet */
    bool granted;     /* our READY is out, its message is not here yet */

    /* Send queue: a request's id is how many were posted before it, plus one. */
    uint64_t posted, retired, signalled;
    uint64_t slot_busy[RDMA_SEND_SLOTS]; /* id of the SEND that uses it */
    unsigned next_slot;
};

/* ---- connection.c ---- */

/* Takes @ep, also on failure: buffers, receives posted. */
RdmaConnection *rdma_connection_new(RdmaEndpoint *ep, GError **errp);
/* Say goodbye and free; if something went wrong the peer hears ERROR. All regions registered
 * through it must be gone. NULL is fine. */
void rdma_connection_free(RdmaConnection *c);
/* The first part of that: the peer learns that this was the end. Nothing can be sent afterwards. */
void rdma_connection_hang_up(RdmaConnection *c);
/* Give the peer a moment to hang up first; also after a shutdown. */
void rdma_await_hang_up(RdmaConnection *c);
/* Any thread, any time before free: whoever waits fails soon, and everybody after it. */
void rdma_connection_shutdown(RdmaConnection *c);
/* Take @err as the sticky error unless there is one. Always false, with the sticky error in *errp.
 */
bool rdma_connection_fail(RdmaConnection *c, GError *err, GError **errp);
/* Fail because the connection is over. */
bool rdma_connection_closed(RdmaConnection *c, GError **errp);
/* A protocol error of the peer's, in the same way. */
bool rdma_peer_error(RdmaConnection *c, GError **errp, const char *fmt, ...) G_GNUC_PRINTF(3, 4);
/* False with the sticky error if there is one. */
bool rdma_connection_check(RdmaConnection *c, GError **errp);

/* Look for completions; with @block wait until something has changed. */
bool rdma_pump(RdmaConnection *c, bool block, GError **errp);
/* The same, at most until @deadline (monotonic us). *late: it has passed, nothing came. */
bool rdma_pump_until(RdmaConnection *c, int64_t deadline, bool *late, GError **errp);
/* Post one; waits for room in the queue. WRITEs are signalled now and then. */
bool rdma_post_write(RdmaConnection *c, void *addr, uint32_t len, uint32_t lkey, uint64_t remote,
                     uint32_t rkey, GError **errp);
/* A SEND of @len bytes of the slot; returns its id in *id. */
bool rdma_post_slot(RdmaConnection *c, unsigned slot, uint32_t len, uint64_t *id, GError **errp);
/* Until everything up to @id is out of our hands and in the peer's. */
bool rdma_wait_retired(RdmaConnection *c, uint64_t id, GError **errp);
/* The connection has failed: had the SEND @id arrived before? Waits a moment for the answer. */
bool rdma_has_arrived(RdmaConnection *c, uint64_t id);
/* Register guest memory; an error explains the limit of locked memory. */
bool rdma_register(RdmaConnection *c, void *addr, uint64_t len, bool remote, const char *what,
                   RdmaRegion *out, GError **errp);
void rdma_unregister(RdmaConnection *c, RdmaRegion *region);

/* The buffers. */
uint8_t *rdma_recv_slot(RdmaConnection *c, unsigned i);
uint8_t *rdma_send_slot(RdmaConnection *c, unsigned i);

/* ---- control.c ---- */

/* A send slot whose last message has left, for a payload to be built at rdma_slot_payload(). */
bool rdma_take_slot(RdmaConnection *c, unsigned *slot, GError **errp);
uint8_t *rdma_slot_payload(RdmaConnection *c, unsigned slot);
/* Send what is in @slot without a credit: answers. */
bool rdma_send_slot_now(RdmaConnection *c, unsigned slot, RdmaMessageType type, uint32_t repeat,
                        uint32_t len, uint64_t *id, GError **errp);
/* The same for a message without payload: READY, answers, ERROR. */
bool rdma_send_empty(RdmaConnection *c, RdmaMessageType type, GError **errp);
/* Wait for a credit and use it. */
bool rdma_take_credit(RdmaConnection *c, GError **errp);
/* Allow the peer one message, unless it has that permission already. */
bool rdma_grant(RdmaConnection *c, GError **errp);
/* The next message that needed a permission: grant, then receive. */
bool rdma_await(RdmaConnection *c, RdmaMessage *out, GError **errp);
/* The next message that is not a READY; waits. Release it when done. */
bool rdma_receive(RdmaConnection *c, RdmaMessage *out, GError **errp);
/* The next message must be a @type; anything else is the peer's error. */
bool rdma_expect(RdmaConnection *c, RdmaMessageType type, RdmaMessage *out, GError **errp);
bool rdma_release(RdmaConnection *c, const RdmaMessage *m, GError **errp);
/* A receive has finished; connection.c calls it. */
bool rdma_message_arrived(RdmaConnection *c, unsigned slot, uint32_t bytes, GError **errp);
/* Post the receive of a slot (again). */
bool rdma_post_receive(RdmaConnection *c, unsigned slot, GError **errp);

#endif
