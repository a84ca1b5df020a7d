/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stream sockets, as server (one client at a time, the next waits in the backlog) or as client
 * (connecting at creation, or again and again with reconnect=).
 */
#include <sys/socket.h>
#include "backends/chardev-internal.h"
#include "io/net-listener.h"
#include "io/socket-address.h"
#include "util/cutils.h"
#include "util/keyval.h"

typedef struct {
    SocketAddress *addr; /* NULL: an inherited descriptor */
    bool server;
    bool delay;
    NetListener *listener;    /* server */
    uint64_t reconnect;       /* client: seconds between attempts, 0 = never */
    GCancellable *connecting; /* client: an attempt is under way */
    GSource *timer;           /* client: until the next one */
    bool complained;          /* about this series of failures */
    char *peer;               /* " <-> 10.0.0.2:4444" while connected over tcp */
} ChardevSocket;

/* ---- connection ---- */

/* Takes @ioc. */
static void use_connection(Chardev *chr, QIOChannelSocket *ioc)
{
    ChardevSocket *s = chr->state;
    g_autoptr(SocketAddress) remote = io_channel_socket_remote_address(ioc, NULL);

    s->complained = false;
    g_clear_pointer(&s->peer, g_free);
    if (remote && remote->type == SOCKET_ADDRESS_TYPE_INET) {
        g_autofree char *text = socket_address_to_peer_string(remote);

        s->peer = g_strconcat(" <-> ", text, NULL);
    }
    io_channel_set_delay(IO_CHANNEL(ioc), s->delay);
    chardev_stream_connect(chr, IO_CHANNEL(ioc), IO_CHANNEL(ioc));
    g_object_unref(ioc);
}

static void accepted(NetListener *l, QIOChannelSocket *ioc, void *opaque)
{
    net_listener_set_accepting(l, false);
    use_connection(opaque, ioc);
}

static void try_connect(Chardev *chr);

static gboolean timer_fired(void *opaque)
{
    Chardev *chr = opaque;

    g_clear_pointer(&((ChardevSocket *)chr->state)->timer, g_source_unref);
    try_connect(chr);
    return G_SOURCE_REMOVE;
}

static void connect_later(Chardev *chr)
{
    ChardevSocket *s = chr->state;

    s->timer = g_timeout_source_new_seconds(s->reconnect);
    g_source_set_callback(s->timer, timer_fired, chr, NULL);
    g_source_attach(s->timer, NULL);
}

static void connected(QIOChannelSocket *ioc, GError *err, void *opaque)
{
    g_autoptr(GError) error = err;
    Chardev *chr = opaque;
    ChardevSocket *s = chr->state;

    if (chr->dead) {
        g_clear_object(&ioc);
    } else {
        g_clear_object(&s->connecting);
        if (ioc) {
            use_connection(chr, ioc);
        } else {
            if (!s->complained) {
                warn_report("chardev '%s': %s; trying again every %" PRIu64 " s", chr->label,
                            error->message, s->reconnect);
                s->complained = true;
            }
            connect_later(chr);
        }
    }
    chardev_unref(chr);
}

static void try_connect(Chardev *chr)
{
    ChardevSocket *s = chr->state;

    s->connecting = g_cancellable_new();
    io_channel_socket_connect_async(s->addr, s->connecting, connected, chardev_ref(chr));
}

static void socket_hangup(Chardev *chr)
{
    ChardevSocket *s = chr->state;

    g_clear_pointer(&s->peer, g_free);
    if (s->listener) {
        net_listener_set_accepting(s->listener, true);
    } else if (s->reconnect) {
        connect_later(chr);
    }
}

/* ---- options ---- */

static SocketAddress *unix_address(JsonObject *options, const char *path, GError **errp)
{
    g_autoptr(SocketAddress) addr = g_new0(SocketAddress, 1);
    UnixSocketAddress *a = addr->u.q_unix = g_new0(UnixSocketAddress, 1);

    addr->type = SOCKET_ADDRESS_TYPE_UNIX;
    a->path = g_strdup(path);
    a->has_abstract = a->has_tight = true;
    if (!keyval_get_bool(options, "abstract", false, &a->abstract, errp) ||
        !keyval_get_bool(options, "tight", true, &a->tight, errp)) {
        return NULL;
    }
    return socket_address_check(addr, errp) ? g_steal_pointer(&addr) : NULL;
}

static bool optional_bool(JsonObject *options, const char *key, bool *has, bool *out, GError **errp)
{
    *has = json_object_has_member(options, key);
    return keyval_get_bool(options, key, false, out, errp);
}

static SocketAddress *inet_address(JsonObject *options, const char *host, GError **errp)
{
    const char *port = chardev_need_option(options, "socket", "port", errp);
    g_autoptr(SocketAddress) addr = g_new0(SocketAddress, 1);
    InetSocketAddress *a = addr->u.inet = g_new0(InetSocketAddress, 1);
    uint64_t to;

    addr->type = SOCKET_ADDRESS_TYPE_INET;
    a->host = g_strdup(host);
    a->port = g_strdup(port);
    if (!port || !keyval_get_size(options, "to", 1, 0, &to, errp) ||
        !optional_bool(options, "ipv4", &a->has_ipv4, &a->ipv4, errp) ||
        !optional_bool(options, "ipv6", &a->has_ipv6, &a->ipv6, errp)) {
        return NULL;
    }
    if (to > UINT16_MAX) {
        error_setg(errp, "port '%" PRIu64 "' is above 65535", to);
        return NULL;
    }
    a->has_to = to != 0;
    a->to = to;
    return socket_address_check(addr, errp) ? g_steal_pointer(&addr) : NULL;
}

static bool parse_socket_options(ChardevSocket *s, JsonObject *options, const char *fd,
                                 GError **errp)
{
    const char *path = keyval_get_string(options, "path");
    const char *host = keyval_get_string(options, "host");
    bool nodelay, telnet;

    if (!!path + !!host + !!fd != 1) {
        error_setg(errp, "chardev: socket: exactly one of 'path', 'host' and 'fd' is required");
        return false;
    }
    if (!keyval_get_bool(options, "server", false, &s->server, errp) ||
        !keyval_get_bool(options, "nodelay", true, &nodelay, errp) ||
        !keyval_get_bool(options, "delay", !nodelay, &s->delay, errp) ||
        !keyval_get_bool(options, "telnet", false, &telnet, errp) ||
        !keyval_get_size(options, "reconnect", 1, 0, &s->reconnect, errp)) {
        return false;
    }
    if (!s->server && json_object_has_member(options, "wait")) {
        error_setg(errp, "'wait' option is incompatible with socket in client connect mode");
        return false;
    }
    if (telnet) {
        error_setg(errp, "chardev: socket: the telnet protocol is not supported");
        return false;
    }
    if (s->server && s->reconnect) {
        error_setg(errp, "'reconnect' option is incompatible with socket in server listen mode");
        return false;
    }
    if (fd && s->reconnect) {
        error_setg(errp, "'reconnect' option is incompatible with 'fd'");
        return false;
    }
    if (s->reconnect > G_MAXUINT) {
        error_setg(errp, "'reconnect' is too long");
        return false;
    }
    if (!fd) {
        s->addr = path ? unix_address(options, path, errp) : inet_address(options, host, errp);
    }
    return fd || s->addr;
}

/* ---- the kind ---- */

static bool start_server(Chardev *chr, JsonObject *options, const char *fd, GError **errp)
{
    ChardevSocket *s = chr->state;
    int listen_fd;
    bool wait;

    if (!keyval_get_bool(options, "wait", true, &wait, errp)) {
        return false;
    }
    if (fd) {
        listen_fd = chardev_inherited_fd(fd, errp);
        s->listener = listen_fd < 0 ? NULL : net_listener_new_fd(listen_fd, accepted, chr, errp);
    } else {
        s->listener = net_listener_new(s->addr, 1, accepted, chr, errp);
    }
    if (!s->listener) {
        return false;
    }
    return !wait || chardev_wait_connected(chr, errp);
}

static bool start_client(Chardev *chr, const char *fd, GError **errp)
{
    ChardevSocket *s = chr->state;
    QIOChannelSocket *ioc;

    if (s->reconnect) {
        try_connect(chr);
        return true;
    }
    if (fd) {
        int n = chardev_inherited_fd(fd, errp);

        ioc = n < 0 ? NULL : io_channel_socket_new_fd(n, errp);
    } else {
        ioc = io_channel_socket_connect_sync(s->addr, errp);
    }
    if (!ioc) {
        return false;
    }
    use_connection(chr, ioc);
    return true;
}

static bool socket_open(Chardev *chr, JsonObject *options, GError **errp)
{
    ChardevSocket *s = chr->state;
    const char *fd = keyval_get_string(options, "fd");

    if (!parse_socket_options(s, options, fd, errp)) {
        return false;
    }
    return s->server ? start_server(chr, options, fd, errp) : start_client(chr, fd, errp);
}

/* Ours as a server, the peer's as a client. */
static char *address_text(const ChardevSocket *s)
{
    g_autoptr(GPtrArray) bound = s->listener ? net_listener_addresses(s->listener) : NULL;
    const SocketAddress *addr = bound && bound->len ? g_ptr_array_index(bound, 0) : s->addr;

    return addr ? socket_address_to_string(addr) : g_strdup("fd");
}

static bool socket_wait_connected(Chardev *chr, GError **errp)
{
    ChardevSocket *s = chr->state;
    g_autofree char *name = NULL;
    QIOChannelSocket *ioc;

    if (!s->listener) {
        error_setg(errp, "Chardev '%s' is not a server: nobody connects to it", chr->label);
        return false;
    }
    name = address_text(s);
    fprintf(stderr, "waiting for a connection on %s\n", name);
    net_listener_set_accepting(s->listener, false);
    ioc = net_listener_wait(s->listener, errp);
    if (!ioc) {
        return false;
    }
    use_connection(chr, ioc);
    return true;
}

static void socket_close(Chardev *chr)
{
    ChardevSocket *s = chr->state;

    g_clear_pointer(&s->listener, net_listener_free);
    if (s->timer) {
        g_source_destroy(s->timer);
        g_clear_pointer(&s->timer, g_source_unref);
    }
    if (s->connecting) {
        g_cancellable_cancel(s->connecting); /* connected() still comes */
        g_clear_object(&s->connecting);
    }
    g_clear_pointer(&s->addr, qapi_free_SocketAddress);
    g_clear_pointer(&s->peer, g_free);
}

static char *socket_filename(Chardev *chr)
{
    ChardevSocket *s = chr->state;
    g_autofree char *text = address_text(s);
    bool open = chardev_is_open(chr);

    return g_strconcat(open ? "" : "disconnected:", text, s->server ? ",server=on" : "",
                       open && s->peer ? s->peer : "", NULL);
}

static const char *const socket_options[] = {
    "path", "host", "port",      "fd",   "server",   "wait",  "delay",  "nodelay",
    "to",   "ipv4", "reconnect", "ipv6", "abstract", "tight", "telnet", NULL};

const ChardevOps chardev_socket_ops = {
    .name = "socket",
    .options = socket_options,
    .state_size = sizeof(ChardevSocket),
    .open = socket_open,
    .close = socket_close,
    .filename = socket_filename,
    .hangup = socket_hangup,
    .wait_connected = socket_wait_connected,
};
