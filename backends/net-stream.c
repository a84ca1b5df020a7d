/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -netdev stream and -netdev socket (listen=, connect=, fd=): frames over a stream socket, each
 * after its length as a 32-bit big-endian number. A server takes one client at a time; when it
 * leaves, the next may come.
 */
#include "util/osdep.h"
#include "io/net-listener.h"
#include "io/socket-address.h"
#include "net-int.h"
#include "util/iov.h"
#include "util/keyval.h"

#define HEADER    4
#define OUT_LIMIT (1 * MiB) /* bytes waiting for the peer before frames are dropped */
#define IN_CHUNK  (HEADER + NET_MAX_FRAME)

typedef struct {
    NetListener *listener;
    QIOChannelSocket *ioc; /* NULL: nobody there */
    GSource *in, *out;
    GByteArray *pending; /* accepted frames the socket did not take yet */
    size_t have;         /* bytes in buf */
    uint8_t buf[IN_CHUNK];
} StreamState;

static void watch_in(NetBackend *nb);

static void clear_source(GSource **source)
{
    if (*source) {
        g_source_destroy(*source);
        g_clear_pointer(source, g_source_unref);
    }
}

static void disconnect(NetBackend *nb)
{
    StreamState *s = nb->state;

    clear_source(&s->in);
    clear_source(&s->out);
    g_byte_array_set_size(s->pending, 0);
    s->have = 0;
    if (s->ioc) {
        io_channel_close(IO_CHANNEL(s->ioc), NULL);
        g_clear_object(&s->ioc);
    }
}

/* Deliver the complete frames of the buffer; false when the peer announced a frame nobody sends. */
static bool deliver_frames(NetBackend *nb)
{
    StreamState *s = nb->state;
    size_t at = 0;

    while (s->have - at >= HEADER && net_can_deliver(nb)) {
        uint32_t len;

        memcpy(&len, s->buf + at, HEADER);
        len = GUINT32_FROM_BE(len);
        if (len > NET_MAX_FRAME) {
            return false;
        }
        if (s->have - at < HEADER + len) {
            break;
        }
        net_deliver(nb, &(struct iovec){s->buf + at + HEADER, len}, 1);
        at += HEADER + len;
    }
    s->have -= at;
    memmove(s->buf, s->buf + at, s->have);
    return true;
}

static gboolean readable(QIOChannel *ioc, GIOCondition cond, gpointer opaque)
{
    NetBackend *nb = opaque;
    StreamState *s = nb->state;
    g_autoptr(GError) err = NULL;
    ssize_t got;

    if (s->have < sizeof(s->buf)) {
        got = io_channel_read(ioc, s->buf + s->have, sizeof(s->buf) - s->have, &err);
        if (got == IO_CHANNEL_WOULD_BLOCK) {
            return G_SOURCE_CONTINUE;
        }
        if (got <= 0) {
            disconnect(nb);
            return G_SOURCE_REMOVE;
        }
        s->have += got;
    }
    if (!deliver_frames(nb)) {
        warn_report("netdev '%s': the peer sent a frame that is too long; disconnecting", nb->id);
        disconnect(nb);
        return G_SOURCE_REMOVE;
    }
    if (!net_can_deliver(nb)) {
        clear_source(&s->in);
        return G_SOURCE_REMOVE;
    }
    return G_SOURCE_CONTINUE;
}

static void watch_in(NetBackend *nb)
{
    StreamState *s = nb->state;

    if (s->ioc && !s->in) {
        s->in = io_channel_create_watch(IO_CHANNEL(s->ioc), G_IO_IN);
        g_source_set_callback(s->in, G_SOURCE_FUNC(readable), nb, NULL);
        g_source_attach(s->in, NULL);
    }
}

static void stream_resume(NetBackend *nb)
{
    if (!deliver_frames(nb)) {
        disconnect(nb);
    } else if (net_can_deliver(nb)) {
        watch_in(nb);
    }
}

static gboolean writable(QIOChannel *ioc, GIOCondition cond, gpointer opaque)
{
    NetBackend *nb = opaque;
    StreamState *s = nb->state;
    ssize_t put = io_channel_write(ioc, s->pending->data, s->pending->len, NULL);

    if (put == IO_CHANNEL_ERR) {
        disconnect(nb);
        return G_SOURCE_REMOVE;
    }
    if (put > 0) {
        g_byte_array_remove_range(s->pending, 0, put);
    }
    if (s->pending->len) {
        return G_SOURCE_CONTINUE;
    }
    clear_source(&s->out);
    return G_SOURCE_REMOVE;
}

static void stream_send(NetBackend *nb, const struct iovec *iov, unsigned n)
{
    StreamState *s = nb->state;
    size_t len = iov_size(iov, n);
    uint32_t header = GUINT32_TO_BE(len);
    guint at = s->pending->len;

    if (!s->ioc || len > NET_MAX_FRAME || at > OUT_LIMIT) {
        return;
    }
    g_byte_array_set_size(s->pending, at + HEADER + len);
    memcpy(s->pending->data + at, &header, HEADER);
    iov_to_buf(iov, n, 0, s->pending->data + at + HEADER, len);
    if (s->out) {
        return;
    }
    s->out = io_channel_create_watch(IO_CHANNEL(s->ioc), G_IO_OUT);
    g_source_set_callback(s->out, G_SOURCE_FUNC(writable), nb, NULL);
    if (writable(IO_CHANNEL(s->ioc), G_IO_OUT, nb) == G_SOURCE_CONTINUE) {
        g_source_attach(s->out, NULL);
    }
}

/* ---- connecting ---- */

static bool connected(NetBackend *nb, QIOChannelSocket *ioc, GError **errp)
{
    StreamState *s = nb->state;

    if (!io_channel_set_blocking(IO_CHANNEL(ioc), false, errp)) {
        g_object_unref(ioc);
        return false;
    }
    io_channel_set_delay(IO_CHANNEL(ioc), false);
    s->ioc = ioc;
    watch_in(nb);
    return true;
}

static void accepted(NetListener *l, QIOChannelSocket *ioc, void *opaque)
{
    NetBackend *nb = opaque;

    if (((StreamState *)nb->state)->ioc) {
        io_channel_close(IO_CHANNEL(ioc), NULL);
        g_object_unref(ioc);
        return;
    }
    connected(nb, ioc, NULL);
}

static bool listen_on(NetBackend *nb, const SocketAddress *addr, GError **errp)
{
    StreamState *s = nb->state;

    s->listener = net_listener_new(addr, 1, accepted, nb, errp);
    return s->listener != NULL;
}

static bool connect_to(NetBackend *nb, const SocketAddress *addr, GError **errp)
{
    QIOChannelSocket *ioc = io_channel_socket_connect_sync(addr, errp);

    return ioc && connected(nb, ioc, errp);
}

static void state_new(NetBackend *nb)
{
    StreamState *s = nb->state = g_new0(StreamState, 1);

    s->pending = g_byte_array_new();
}

static bool stream_open(NetBackend *nb, JsonObject *options, GError **errp)
{
    JsonNode *node = json_object_get_member(options, "addr");
    g_autoptr(SocketAddress) addr = node ? qapi_SocketAddress_from_json(node, "addr", errp) : NULL;
    g_autofree char *text = NULL;
    bool server;

    if (!addr) {
        if (!node) {
            error_setg(errp, "Parameter 'addr' is missing");
        }
        return false;
    }
    if (!keyval_get_bool(options, "server", false, &server, errp)) {
        return false;
    }
    state_new(nb);
    text = socket_address_to_string(addr);
    nb->info = g_strdup_printf("%s%s", text, server ? ",server=on" : "");
    return server ? listen_on(nb, addr, errp) : connect_to(nb, addr, errp);
}

static bool socket_open(NetBackend *nb, JsonObject *options, GError **errp)
{
    const char *listen = keyval_get_string(options, "listen");
    const char *connect = keyval_get_string(options, "connect");
    const char *fd = keyval_get_string(options, "fd");
    g_autoptr(SocketAddress) addr = NULL;
    QIOChannelSocket *ioc;
    uint64_t number;

    if (!!listen + !!connect + !!fd != 1) {
        error_setg(errp, "exactly one of listen=, connect= or fd= is required");
        return false;
    }
    state_new(nb);
    if (fd) {
        if (!g_ascii_string_to_unsigned(fd, 10, 0, INT32_MAX, &number, NULL)) {
            error_setg(errp, "fd=%s is not a number", fd);
            return false;
        }
        nb->info = g_strdup_printf("fd=%s", fd);
        ioc = io_channel_socket_new_fd(number, errp);
        return ioc && connected(nb, ioc, errp);
    }
    addr = socket_address_parse_inet(listen ? listen : connect, errp);
    if (!addr) {
        return false;
    }
    nb->info = g_strdup_printf("%s=%s", listen ? "listen" : "connect", listen ? listen : connect);
    return listen ? listen_on(nb, addr, errp) : connect_to(nb, addr, errp);
}

static void stream_close(NetBackend *nb)
{
    StreamState *s = nb->state;

    disconnect(nb);
    if (s->listener) {
        net_listener_free(s->listener);
    }
    g_byte_array_unref(s->pending);
    g_free(s);
    nb->state = NULL;
}

static const char *const stream_keys[] = {"addr", "server", NULL};
static const char *const socket_keys[] = {"listen", "connect", "fd", NULL};

const NetKind net_kind_stream = {
    .type = "stream",
    .keys = stream_keys,
    .open = stream_open,
    .close = stream_close,
    .send = stream_send,
    .resume = stream_resume,
};

const NetKind net_kind_socket = {
    .type = "socket",
    .keys = socket_keys,
    .open = socket_open,
    .close = stream_close,
    .send = stream_send,
    .resume = stream_resume,
};
