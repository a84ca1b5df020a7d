/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Accepting channels (destination).
 *
 * On a public address anybody may connect: a port scanner, a monitoring probe, a client that got
 * the port wrong. A source always speaks first, so a peer is shown to the core once its first four
 * bytes are there; until then it waits in the lobby, holds nobody up, and is forgotten when it
 * leaves. With TLS the handshake is done in the lobby, too, and the four bytes are those inside.
 */
#include "migration/transport/kinds.h"
#include "migration/transport/tls.h"
#include "util/error.h"
#include "util/log.h"

LOG_CATEGORY(lobby)

#define MAGIC_SIZE 4
/* The first two bytes of a TLS handshake. */
#define TLS_MAGIC 0x1603
/* A part of the magic stays readable, so polling for the rest needs a clock. */
#define PARTIAL_RETRY_MS 20
#define PARTIAL_RETRIES  250
/* More silent peers than this: the one that waited longest has to go. */
#define LOBBY_SIZE 64
/* A backlog as short as the number of channels lets one scanner delay the real peer by seconds. */
#define BACKLOG_MIN 16

typedef struct {
    TransportListener *listener;
    QIOChannel *ioc;
    TransportTls *tls; /* its handshake, instead of @ioc */
    GSource *source;
    unsigned retries;
} Peer;

struct TransportListener {
    unsigned refs; /* the owner's, and one during a callback */
    TransportAcceptor acceptor;
    char *name;
    NetListener *net; /* public kinds; NULL once freed */
    GPtrArray *lobby; /* Peer, oldest first */
    QIOChannel *ioc;  /* all others: their one channel, delivered from @idle, */
    const TransportOps *ops;
    void *own; /* of ops->listen() */
    GSource *idle;
    TransportTls *tls; /* or after its handshake */
    MigrationHost *host;
    const MigrationOptions *options;
};

static void examine(Peer *p);
static void watch_peer(Peer *p);

static void clear_source(GSource **s)
{
    if (*s) {
        g_source_destroy(*s);
        g_clear_pointer(s, g_source_unref);
    }
}

static void peer_free(void *opaque)
{
    Peer *p = opaque;

    clear_source(&p->source);
    transport_tls_cancel(p->tls);
    g_clear_object(&p->ioc);
    g_free(p);
}

static void listener_unref(TransportListener *l)
{
    if (--l->refs == 0) {
        g_ptr_array_unref(l->lobby);
        g_free(l->name);
        g_free(l);
    }
}

/* Takes @ioc; may free @l. */
static void deliver(TransportListener *l, QIOChannel *ioc, uint32_t magic)
{
    l->refs++;
    trace(lobby, "%s: peer %s, magic %08x", l->name, io_channel_name(ioc), magic);
    l->acceptor.accept(l, ioc, magic, l->acceptor.opaque);
    listener_unref(l);
}

/* ---- the lobby ---- */

static void forget(Peer *p, const char *why)
{
    trace(lobby, "%s: peer %s %s", p->listener->name,
          p->ioc ? io_channel_name(p->ioc) : "in its TLS handshake", why);
    g_ptr_array_remove(p->listener->lobby, p);
}

/* Takes @err; may free @l. @last: no other channel can come. */
static void refuse(TransportListener *l, GError *err, bool last)
{
    if (!last) {
        warn_report("migration: dropped a connection: %s", err->message);
    }
    if (l->acceptor.refused) {
        l->refs++;
        l->acceptor.refused(l, err, last, l->acceptor.opaque);
        listener_unref(l);
    } else {
        g_error_free(err);
    }
}

static void admit(Peer *p, uint32_t magic)
{
    TransportListener *l = p->listener;
    QIOChannel *ioc = g_steal_pointer(&p->ioc);

    g_ptr_array_remove(l->lobby, p);
    if (io_channel_set_blocking(ioc, true, NULL)) {
        deliver(l, ioc, magic);
    } else {
        g_object_unref(ioc);
    }
}

static gboolean look_again(void *opaque)
{
    examine(opaque);
    return G_SOURCE_REMOVE;
}

static void examine_later(Peer *p, unsigned ms)
{
    clear_source(&p->source);
    p->source = g_timeout_source_new(ms);
    g_source_set_callback(p->source, look_again, p, NULL);
    g_source_attach(p->source, g_main_context_get_thread_default());
}

/* TLS, where we did not expect it. */
static void refuse_tls(Peer *p)
{
    TransportListener *l = p->listener;
    GError *err = NULL;

    error_setg(&err, "%s: the peer speaks TLS, but 'tls-creds' is not set here",
               io_channel_name(p->ioc));
    forget(p, "speaks TLS");
    refuse(l, err, false);
}

/* Look what the peer has sent; @p may be gone afterwards. */
static void examine(Peer *p)
{
    uint8_t b[MAGIC_SIZE];
    ssize_t n = io_channel_peek(p->ioc, b, sizeof(b), NULL);

    if (n == MAGIC_SIZE) {
        uint32_t magic = (uint32_t)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];

        if (magic >> 16 == TLS_MAGIC) {
            refuse_tls(p);
        } else {
            admit(p, magic);
        }
    } else if (n == 0 || n == IO_CHANNEL_ERR) {
        forget(p, "left without a word");
    } else if (n == IO_CHANNEL_WOULD_BLOCK) {
        if (p->listener->acceptor.silent) {
            admit(p, 0);
        } else {
            watch_peer(p);
        }
    } else if (p->retries++ < PARTIAL_RETRIES) {
        examine_later(p, PARTIAL_RETRY_MS);
    } else {
        forget(p, "stopped within its first four bytes");
    }
}

static gboolean peer_ready(QIOChannel *ioc, GIOCondition cond, void *opaque)
{
    examine(opaque);
    return G_SOURCE_REMOVE;
}

static void watch_peer(Peer *p)
{
    clear_source(&p->source);
    p->source = io_channel_create_watch(p->ioc, G_IO_IN);
    g_source_set_callback(p->source, (GSourceFunc)(void (*)(void))peer_ready, p, NULL);
    g_source_attach(p->source, g_main_context_get_thread_default());
}

static void peer_shaken(QIOChannel *ioc, GError *err, void *opaque)
{
    Peer *p = opaque;
    TransportListener *l = p->listener;

    p->tls = NULL;
    if (ioc) {
        p->ioc = ioc;
        examine(p);
    } else {
        forget(p, "failed its TLS handshake");
        refuse(l, err, false);
    }
}

static void peer_arrived(NetListener *net, QIOChannelSocket *s, void *opaque)
{
    TransportListener *l = opaque;
    Peer *p;

    if (!io_channel_set_blocking(IO_CHANNEL(s), false, NULL)) {
        g_object_unref(s);
        return;
    }
    if (l->lobby->len == LOBBY_SIZE) {
        forget(g_ptr_array_index(l->lobby, 0), "made room for others");
    }
    p = g_new0(Peer, 1);
    p->listener = l;
    g_ptr_array_add(l->lobby, p);
    if (transport_tls_wanted(l->options)) {
        GError *err = NULL;

        p->tls = transport_tls_start(IO_CHANNEL(s), l->options, l->host, true, NULL, peer_shaken, p,
                                     &err);
        if (!p->tls) {
            peer_shaken(NULL, err, p);
        }
    } else {
        p->ioc = IO_CHANNEL(s);
        examine(p);
    }
}

void transport_listener_set_silent(TransportListener *l, bool silent)
{
    l->acceptor.silent = silent;
    for (unsigned i = 0; silent && i < l->lobby->len; i++) {
        Peer *p = g_ptr_array_index(l->lobby, i);

        if (p->ioc) {
            examine_later(p, 0); /* the caller may be inside accept() */
        }
    }
}

/* ---- start and end ---- */

static void only_channel_shaken(QIOChannel *ioc, GError *err, void *opaque)
{
    TransportListener *l = opaque;

    l->tls = NULL;
    if (ioc && !io_channel_set_blocking(ioc, true, &err)) {
        g_clear_object(&ioc);
    }
    if (ioc) {
        deliver(l, ioc, 0);
    } else {
        refuse(l, err, true);
    }
}

static gboolean deliver_idle(void *opaque)
{
    TransportListener *l = opaque;
    QIOChannel *ioc = g_steal_pointer(&l->ioc);
    GError *err = NULL;

    clear_source(&l->idle);
    if (!transport_tls_wanted(l->options)) {
        deliver(l, ioc, 0);
        return G_SOURCE_REMOVE;
    }
    l->tls =
        transport_tls_start(ioc, l->options, l->host, true, NULL, only_channel_shaken, l, &err);
    if (!l->tls) {
        only_channel_shaken(NULL, err, l);
    }
    return G_SOURCE_REMOVE;
}

static void deliver_own(QIOChannel *ioc, void *opaque)
{
    TransportListener *l = opaque;

    io_channel_set_name(ioc, l->name);
    deliver(l, ioc, 0);
}

TransportListener *transport_listen(const MigrationTransport *t, MigrationHost *host,
                                    unsigned expected, const TransportAcceptor *acceptor,
                                    GError **errp)
{
    g_autoptr(TransportListener) l = g_new0(TransportListener, 1);

    l->options = t->options;
    l->host = host;
    l->refs = 1;
    l->acceptor = *acceptor;
    l->name = g_strdup(t->name);
    l->ops = t->ops;
    l->lobby = g_ptr_array_new_with_free_func(peer_free);
    if (t->ops->listen && transport_tls_wanted(t->options)) {
        error_setg(errp, "%s cannot be encrypted: unset 'tls-creds'", t->name);
        return NULL;
    }
    if (transport_tls_wanted(t->options) && !transport_tls_check(t->options, host, true, errp)) {
        return NULL;
    }
    if (t->ops->open) {
        l->ioc = t->ops->open(t->addr, host, true, errp);
        if (!l->ioc) {
            return NULL;
        }
        io_channel_set_name(l->ioc, t->name);
        l->idle = g_idle_source_new();
        g_source_set_priority(l->idle, G_PRIORITY_DEFAULT);
        g_source_set_callback(l->idle, deliver_idle, l, NULL);
        g_source_attach(l->idle, NULL);
    } else if (t->ops->listen) {
        l->own = t->ops->listen(t->addr, deliver_own, l, errp);
        if (!l->own) {
            return NULL;
        }
    } else {
        l->net =
            net_listener_new(t->addr->u.socket, MAX(expected, BACKLOG_MIN), peer_arrived, l, errp);
        if (!l->net) {
            return NULL;
        }
    }
    return g_steal_pointer(&l);
}

void transport_listener_free(TransportListener *l)
{
    if (!l) {
        return;
    }
    g_clear_pointer(&l->net, net_listener_free);
    if (l->own) {
        l->ops->unlisten(g_steal_pointer(&l->own));
    }
    g_ptr_array_set_size(l->lobby, 0);
    clear_source(&l->idle);
    transport_tls_cancel(g_steal_pointer(&l->tls));
    g_clear_object(&l->ioc);
    listener_unref(l);
}

bool transport_listener_reject(TransportListener *l, QIOChannel *ioc, const char *reason)
{
    warn_report("migration: dropped the connection from %s: %s", io_channel_name(ioc), reason);
    io_channel_shutdown(ioc, IO_SHUTDOWN_BOTH);
    io_channel_close(ioc, NULL);
    g_object_unref(ioc);
    return l->net != NULL;
}

GPtrArray *transport_listener_addresses(TransportListener *l)
{
    return l->net ? net_listener_addresses(l->net) : NULL;
}
