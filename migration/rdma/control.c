/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control messages (spec 50 section 4). A READY of the receiver is the permission for one message;
 * answers and ERROR need none. READYs are counted when they arrive, whoever waits for what.
 */
#include "migration/rdma/connection.h"

/* Nobody has a reason to let us send more than a few. */
#define CREDITS_MAX 64

/* ---- receiving ---- */

bool rdma_post_receive(RdmaConnection *c, unsigned slot, GError **errp)
{
    RdmaWork work = {
        .id = slot,
        .addr = rdma_recv_slot(c, slot),
        .len = RDMA_CONTROL_MAX,
        .lkey = c->region.lkey,
    };
    GError *err = NULL;

    return c->ep->ops->post_recv(c->ep, &work, &err) || rdma_connection_fail(c, err, errp);
}

bool rdma_message_arrived(RdmaConnection *c, unsigned slot, uint32_t bytes, GError **errp)
{
    const uint8_t *buf = rdma_recv_slot(c, slot);
    RdmaMessage m = {.payload = buf + RDMA_HEADER_SIZE, .slot = slot};
    const char *problem = rdma_get_header(buf, bytes, &m.header);

    if (problem) {
        return rdma_peer_error(c, errp, "control message of type %u (%s), %u bytes: %s",
                               m.header.type, rdma_message_name(m.header.type), bytes, problem);
    }
    switch (m.header.type) {
    case RDMA_MSG_READY:
        if (++c->credits > CREDITS_MAX) {
            return rdma_peer_error(c, errp, "%u READY messages that nobody waited for", c->credits);
        }
        return rdma_post_receive(c, slot, errp);
    case RDMA_MSG_ERROR:
        c->peer_error = true;
        return rdma_peer_error(c, errp, "it has failed, see its log");
    default:
        c->inbox[c->inbox_len++] = m; /* a slot is in at most one place, so there is room */
        return true;
    }
}

bool rdma_receive(RdmaConnection *c, RdmaMessage *out, GError **errp)
{
    while (!c->inbox_len) {
        if (!rdma_pump(c, true, errp)) {
            return false;
        }
    }
    *out = c->inbox[0];
    c->inbox_len--;
    memmove(c->inbox, c->inbox + 1, c->inbox_len * sizeof(c->inbox[0]));
    return true;
}

bool rdma_grant(RdmaConnection *c, GError **errp)
{
    c->granted = c->granted || rdma_send_empty(c, RDMA_MSG_READY, errp);
    return c->granted;
}

bool rdma_await(RdmaConnection *c, RdmaMessage *out, GError **errp)
{
    /* What is here already needs no permission to come. */
    if ((!c->inbox_len && !rdma_grant(c, errp)) || !rdma_receive(c, out, errp)) {
        return false;
    }
    if (!c->granted) {
        return rdma_peer_error(c, errp, "%s without a READY", rdma_message_name(out->header.type));
    }
    c->granted = false;
    return true;
}

bool rdma_expect(RdmaConnection *c, RdmaMessageType type, RdmaMessage *out, GError **errp)
{
    if (!rdma_receive(c, out, errp)) {
        return false;
    }
    if (out->header.type != type) {
        return rdma_peer_error(c, errp, "%s where %s was expected",
                               rdma_message_name(out->header.type), rdma_message_name(type));
    }
    return true;
}

bool rdma_release(RdmaConnection *c, const RdmaMessage *m, GError **errp)
{
    return rdma_post_receive(c, m->slot, errp);
}

/* ---- sending ---- */

bool rdma_take_slot(RdmaConnection *c, unsigned *slot, GError **errp)
{
    *slot = c->next_slot;
    c->next_slot = (c->next_slot + 1) % RDMA_SEND_SLOTS;
    return rdma_wait_retired(c, c->slot_busy[*slot], errp);
}

uint8_t *rdma_slot_payload(RdmaConnection *c, unsigned slot)
{
    return rdma_send_slot(c, slot) + RDMA_HEADER_SIZE;
}

bool rdma_send_slot_now(RdmaConnection *c, unsigned slot, RdmaMessageType type, uint32_t repeat,
                        uint32_t len, uint64_t *id, GError **errp)
{
    RdmaHeader h = {.len = len, .type = type, .repeat = repeat};
    uint64_t sent;

    rdma_put_header(rdma_send_slot(c, slot), &h);
    if (!rdma_post_slot(c, slot, RDMA_HEADER_SIZE + len, &sent, errp)) {
        return false;
    }
    if (id) {
        *id = sent;
    }
    return true;
}

bool rdma_send_empty(RdmaConnection *c, RdmaMessageType type, GError **errp)
{
    unsigned slot;

    return rdma_take_slot(c, &slot, errp) && rdma_send_slot_now(c, slot, type, 1, 0, NULL, errp);
}

bool rdma_take_credit(RdmaConnection *c, GError **errp)
{
    while (!c->credits) {
        if (!rdma_pump(c, true, errp)) {
            return false;
        }
    }
    c->credits--;
    return true;
}
