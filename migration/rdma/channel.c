/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The migration stream in QEMU_FILE messages (spec 50 sections 5 and 11).
 *
 * Stream bytes travel one way per connection: to the destination on the main one, to the source on
 * a second. A write returns when the peer's adapter has confirmed it: then it is as good as
 * delivered, and "the channel has accepted EOF" means it.
 */
#include "migration/rdma/channel.h"

/* How long the source's second connection may take. */
#define BACK_US (10 * G_TIME_SPAN_SECOND)
/* A QEMU source may allow the first message back at once, or not expect that we wait for it. */
#define FIRST_CREDIT_US (100 * G_TIME_SPAN_MILLISECOND)

G_DEFINE_FINAL_TYPE(RdmaChannel, rdma_channel, TYPE_IO_CHANNEL)

bool io_channel_is_rdma(QIOChannel *ioc)
{
    return G_TYPE_CHECK_INSTANCE_TYPE(ioc, TYPE_RDMA_CHANNEL);
}

/* ---- reading ---- */

/* The next message of the stream becomes the one that is read. */
static bool next_message(RdmaChannel *ch, RdmaConnection *c, GError **errp)
{
    RdmaMessage m;

    /* On the way back a READY follows each message, none goes ahead: QEMU starts with a credit. */
    if (ch->source ? !rdma_receive(c, &m, errp) : !rdma_await(c, &m, errp)) {
        return false;
    }
    if (m.header.type != RDMA_MSG_QEMU_FILE) {
        return rdma_peer_error(c, errp, "%s inside the migration stream",
                               rdma_message_name(m.header.type));
    }
    ch->reading = m;
    ch->read_at = 0;
    return ch->source || rdma_grant(c, errp); /* the next one may come while this one is read */
}

static ssize_t channel_readv(QIOChannel *ioc, const struct iovec *iov, unsigned n, int **fds,
                             size_t *nfds, GError **errp)
{
    RdmaChannel *ch = RDMA_CHANNEL(ioc);
    RdmaConnection *c = ch->source ? ch->back : ch->main;
    size_t done = 0;

    if (!c) {
        error_setg(errp, "Channel '%s' has no reverse direction", io_channel_name(ioc));
        return IO_CHANNEL_ERR;
    }
    if (ch->read_at == ch->reading.header.len && !next_message(ch, c, errp)) {
        return IO_CHANNEL_ERR;
    }
    for (unsigned i = 0; i < n && ch->read_at < ch->reading.header.len; i++) {
        size_t part = MIN(iov[i].iov_len, ch->reading.header.len - ch->read_at);

        memcpy(iov[i].iov_base, ch->reading.payload + ch->read_at, part);
        ch->read_at += part;
        done += part;
    }
    if (ch->read_at == ch->reading.header.len) {
        /* A peer that left with this message is the next reader's news, not this one's. */
        if (rdma_release(c, &ch->reading, NULL) && ch->source) {
            rdma_send_empty(c, RDMA_MSG_READY, NULL);
        }
    }
    return done;
}

/* ---- writing ---- */

/* Destination: the source's second connection, which may still be on its way. */
static RdmaConnection *await_back(RdmaChannel *ch, GError **errp)
{
    int64_t end = g_get_monotonic_time() + BACK_US;
    RdmaConnection *c;

    g_mutex_lock(&ch->lock);
    while (!ch->back && !ch->no_back && !ch->shut_write &&
           g_cond_wait_until(&ch->attached, &ch->lock, end)) {
    }
    c = ch->back;
    g_mutex_unlock(&ch->lock);
    if (!c) {
        error_setg(errp, "The source asked for a return path, but made no second RDMA connection");
    }
    return c;
}

/* The first message back: no READY is due for it, but if one comes it is for this one. */
static bool take_first_credit(RdmaConnection *c, GError **errp)
{
    int64_t end = g_get_monotonic_time() + FIRST_CREDIT_US;
    bool late = c->agreed.godwit;

    while (!c->credits && !late) {
        if (!rdma_pump_until(c, end, &late, errp)) {
            return false;
        }
    }
    c->credits -= c->credits ? 1 : 0;
    return true;
}

static size_t gather(uint8_t *to, const struct iovec *iov, unsigned n)
{
    size_t len = 0;

    for (unsigned i = 0; i < n && len < RDMA_PAYLOAD_MAX; i++) {
        size_t part = MIN(iov[i].iov_len, RDMA_PAYLOAD_MAX - len);

        memcpy(to + len, iov[i].iov_base, part);
        len += part;
    }
    return len;
}

/*
 * A message whose fate is unknown may have been the last word of a hand-over, and never shall both
 * sides run the guest. The source's counts as sent if the destination answers: the answer, or its
 * absence, decides. The destination's counts as lost: it does not take the guest then.
 */
static bool doubt_is_sent(const RdmaChannel *ch)
{
    return ch->source && ch->back;
}

static ssize_t channel_writev(QIOChannel *ioc, const struct iovec *iov, unsigned n, const int *fds,
                              size_t nfds, int flags, GError **errp)
{
    RdmaChannel *ch = RDMA_CHANNEL(ioc);
    RdmaConnection *c = ch->source ? ch->main : await_back(ch, errp);
    GError *err = NULL;
    unsigned slot;
    uint64_t id;
    size_t len;
    bool ok;

    if (!c || !rdma_take_slot(c, &slot, errp)) {
        return IO_CHANNEL_ERR;
    }
    len = gather(rdma_slot_payload(c, slot), iov, n);
    if (!len) {
        return 0;
    }
    ok = ch->source || ch->wrote ? rdma_take_credit(c, errp) : take_first_credit(c, errp);
    ch->wrote = true;
    if (!ok || !rdma_send_slot_now(c, slot, RDMA_MSG_QEMU_FILE, 1, len, &id, errp)) {
        return IO_CHANNEL_ERR;
    }
    if (!rdma_wait_retired(c, id, &err) && !rdma_has_arrived(c, id) && !doubt_is_sent(ch)) {
        g_propagate_error(errp, err);
        return IO_CHANNEL_ERR;
    }
    g_clear_error(&err); /* what comes next fails with it */
    return len;
}

/* ---- the rest of the contract ---- */

static bool channel_set_blocking(QIOChannel *ioc, bool blocking, GError **errp)
{
    if (!blocking) {
        error_setg(errp, "RDMA channels are blocking");
    }
    return blocking;
}

static void channel_shutdown(QIOChannel *ioc, IOShutdown how)
{
    RdmaChannel *ch = RDMA_CHANNEL(ioc);
    RdmaConnection *reads, *writes;

    g_mutex_lock(&ch->lock);
    ch->shut_read |= how & IO_SHUTDOWN_READ;
    ch->shut_write |= (how & IO_SHUTDOWN_WRITE) != 0;
    reads = ch->source ? ch->back : ch->main;
    writes = ch->source ? ch->main : ch->back;
    if (reads && (how & IO_SHUTDOWN_READ)) {
        rdma_connection_shutdown(reads);
    }
    if (writes && (how & IO_SHUTDOWN_WRITE)) {
        rdma_connection_shutdown(writes);
    }
    g_cond_broadcast(&ch->attached);
    g_mutex_unlock(&ch->lock);
}

static bool channel_close(QIOChannel *ioc, GError **errp)
{
    RdmaChannel *ch = RDMA_CHANNEL(ioc);
    RdmaConnection *main, *back;

    g_mutex_lock(&ch->lock);
    main = g_steal_pointer(&ch->main);
    back = g_steal_pointer(&ch->back);
    ch->no_back = true;
    g_mutex_unlock(&ch->lock);
    if (main && back && ch->source && !main->agreed.godwit && rdma_connection_check(main, NULL)) {
        /* A QEMU takes a line that ends before it has put everything away for a broken one. This
         * connection is the last it closes. */
        rdma_await_hang_up(back);
    }
    if (main) {
        rdma_memory_free(g_steal_pointer(&ch->memory), main);
    }
    rdma_connection_free(back);
    rdma_connection_free(main);
    return true;
}

static void rdma_channel_finalize(GObject *obj)
{
    RdmaChannel *ch = RDMA_CHANNEL(obj);

    channel_close(IO_CHANNEL(ch), NULL);
    g_cond_clear(&ch->attached);
    g_mutex_clear(&ch->lock);
    G_OBJECT_CLASS(rdma_channel_parent_class)->finalize(obj);
}

static void rdma_channel_class_init(RdmaChannelClass *klass)
{
    QIOChannelClass *io = IO_CHANNEL_CLASS(klass);

    G_OBJECT_CLASS(klass)->finalize = rdma_channel_finalize;
    io->readv = channel_readv;
    io->writev = channel_writev;
    io->set_blocking = channel_set_blocking;
    io->shutdown = channel_shutdown;
    io->close = channel_close;
}

static void rdma_channel_init(RdmaChannel *ch)
{
    g_mutex_init(&ch->lock);
    g_cond_init(&ch->attached);
}

RdmaChannel *rdma_channel_new(bool source, RdmaConnection *main, RdmaConnection *back)
{
    RdmaChannel *ch = g_object_new(TYPE_RDMA_CHANNEL, NULL);

    ch->source = source;
    ch->main = main;
    ch->back = back;
    if (back || !source) {
        io_channel_set_feature(IO_CHANNEL(ch), IO_FEATURE_BIDIRECTIONAL);
    }
    return ch;
}

void rdma_channel_attach(RdmaChannel *ch, RdmaConnection *back)
{
    g_mutex_lock(&ch->lock);
    if (back && !ch->back && ch->main) {
        ch->back = g_steal_pointer(&back);
        if (ch->shut_write) {
            rdma_connection_shutdown(ch->back);
        }
    }
    ch->no_back = !ch->back;
    g_cond_broadcast(&ch->attached);
    g_mutex_unlock(&ch->lock);
    rdma_connection_free(back);
}

void rdma_channel_release_memory(QIOChannel *ioc)
{
    RdmaChannel *ch = io_channel_is_rdma(ioc) ? RDMA_CHANNEL(ioc) : NULL;

    /* The source's adapter may still be reading it; without an end of that, closing will do. */
    if (ch && (!ch->source || rdma_wait_retired(ch->main, ch->main->signalled, NULL))) {
        rdma_memory_free(g_steal_pointer(&ch->memory), ch->main);
    }
}

void rdma_channel_hang_up(QIOChannel *ioc)
{
    RdmaChannel *ch = io_channel_is_rdma(ioc) ? RDMA_CHANNEL(ioc) : NULL;

    if (ch && ch->back) {
        rdma_connection_hang_up(ch->back);
    }
    if (ch) {
        rdma_connection_hang_up(ch->main);
    }
}

bool rdma_channel_has_back(RdmaChannel *ch)
{
    bool has;

    g_mutex_lock(&ch->lock);
    has = ch->back != NULL;
    g_mutex_unlock(&ch->lock);
    return has;
}
