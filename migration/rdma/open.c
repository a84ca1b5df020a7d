/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who connects to whom, and what the two agree on (spec 50 sections 2, 3, 11 and 14).
 *
 *   source                                          destination
 *   connect, hello      ----------------------->    a request of version 1: accept
 *   [return path] wait for the first READY          the channel is delivered, its reader says READY
 *   connect, hello      ----------------------->    second request: the way back
 *
 * The first READY proves that the destination is done accepting; a QEMU that sees the second
 * request earlier loses its listener.
 */
#include <gio/gio.h>
#include <glib-unix.h>
#include "migration/rdma/channel.h"
#include "util/log.h"

LOG_CATEGORY(rdma)

/* How long a QEMU destination may take with a second connection, which some of them never accept.
 */
#define BACK_TIMEOUT_MS 5000

static bool judge_hello(const RdmaPrivate *p, RdmaHello *hello, GError **errp)
{
    if (!rdma_get_hello(p->bytes, p->len, hello)) {
        error_setg(errp, "%zu bytes of private data, %d are needed", p->len, RDMA_HELLO_MIN);
        return false;
    }
    if (hello->version != RDMA_VERSION) {
        error_setg(errp, "it speaks version %u of the RDMA protocol, only %d is known here",
                   hello->version, RDMA_VERSION);
        return false;
    }
    return true;
}

static void put_hello(RdmaPrivate *p, const RdmaHello *hello)
{
    p->len = RDMA_HELLO_SIZE;
    rdma_put_hello(p->bytes, hello);
}

/* What both sides can do. */
static RdmaHello common(const RdmaHello *a, const RdmaHello *b)
{
    return (RdmaHello){
        .version = RDMA_VERSION,
        .flags = a->flags & b->flags & RDMA_FLAG_PIN_ALL,
        .godwit = a->godwit && b->godwit,
        .features = a->features & b->features & RDMA_FEATURES_KNOWN,
    };
}

/* ---- source ---- */

static RdmaConnection *connect_one(RdmaFabric *fabric, const char *host, const char *port,
                                   const RdmaHello *wish, int timeout_ms, GCancellable *cancel,
                                   GError **errp)
{
    RdmaEndpoint *ep = fabric->ops->resolve(fabric, host, port, cancel, errp);
    RdmaConnection *c = ep ? rdma_connection_new(ep, errp) : NULL;
    RdmaPrivate hello, answer;
    GError *err = NULL;
    RdmaHello theirs;

    if (!c) {
        return NULL;
    }
    trace(rdma, "way to %s found", c->name);
    put_hello(&hello, wish);
    if (!ep->ops->connect(ep, &hello, timeout_ms, cancel, &answer, &err)) {
        c->over = true; /* there is nobody to say goodbye to */
    } else if (judge_hello(&answer, &theirs, &err)) {
        c->agreed = common(wish, &theirs);
        return c;
    } else {
        g_prefix_error(&err, "RDMA peer %s: ", c->name);
    }
    g_propagate_error(errp, err);
    rdma_connection_free(c);
    return NULL;
}

/* The destination's loader is at work, or @cancel. */
static bool await_ready(RdmaConnection *c, GCancellable *cancel, GError **errp)
{
    bool late;

    while (!c->credits) {
        /* The cancellable wakes nobody here: look at it now and then. */
        if (g_cancellable_set_error_if_cancelled(cancel, errp) ||
            !rdma_pump_until(c, g_get_monotonic_time() + 100 * G_TIME_SPAN_MILLISECOND, &late,
                             errp)) {
            return false;
        }
    }
    return true;
}

QIOChannel *rdma_channel_connect(RdmaFabric *fabric, const char *host, const char *port,
                                 const RdmaWishes *wishes, GCancellable *cancel, GError **errp)
{
    RdmaHello wish = {
        .version = RDMA_VERSION,
        .flags = wishes->pin_all ? RDMA_FLAG_PIN_ALL : 0,
        .godwit = true,
        .features = RDMA_FEATURE_BATCH | (wishes->return_path ? RDMA_FEATURE_RETURN_PATH : 0),
    };
    RdmaConnection *main = connect_one(fabric, host, port, &wish, -1, cancel, errp), *back = NULL;
    GError *err = NULL;

    if (!main) {
        return NULL;
    }
    trace(rdma, "connected to %s, %s, flags %x, features %x", main->name,
          main->agreed.godwit ? "a Godwit" : "a QEMU", main->agreed.flags, main->agreed.features);
    if (wishes->return_path) {
        back = await_ready(main, cancel, &err)
                   ? connect_one(fabric, host, port, &wish, BACK_TIMEOUT_MS, cancel, &err)
                   : NULL;
    }
    if (err && (main->agreed.godwit || g_cancellable_is_cancelled(cancel) ||
                !rdma_connection_check(main, NULL))) {
        g_propagate_error(errp, err);
        rdma_connection_free(main);
        return NULL;
    }
    if (err) {
        error_setg(errp,
                   "The destination %s does not accept the second RDMA connection of the return "
                   "path (QEMU before 8.0 never does): turn the capability 'return-path' off",
                   main->name);
        g_error_free(err);
        rdma_connection_free(main);
        return NULL;
    }
    return IO_CHANNEL(rdma_channel_new(true, main, back));
}

/* ---- destination ---- */

struct RdmaListener {
    RdmaListening *l;
    GSource *source;
    RdmaAcceptCB *cb;
    void *opaque;
    RdmaChannel *channel; /* delivered */
};

static bool accept_request(RdmaConnection *c, const RdmaPrivate *p, GError **errp)
{
    static const RdmaHello ours = {
        .version = RDMA_VERSION,
        .flags = RDMA_FLAG_PIN_ALL,
        .godwit = true,
        .features = RDMA_FEATURES_KNOWN,
    };
    RdmaPrivate answer;
    RdmaHello theirs;

    if (!judge_hello(p, &theirs, errp)) {
        return false;
    }
    c->agreed = common(&ours, &theirs);
    c->wait_established = true;
    put_hello(&answer, &c->agreed);
    if (!c->agreed.godwit) {
        answer.len = RDMA_HELLO_MIN;
    }
    return c->ep->ops->accept(c->ep, &answer, errp);
}

/* Takes @ep. */
static void take_request(RdmaListener *l, RdmaEndpoint *ep, const RdmaPrivate *p)
{
    g_autoptr(GError) err = NULL;
    RdmaConnection *c;

    if (l->channel && rdma_channel_has_back(l->channel)) {
        warn_report("Extra incoming RDMA connection from %s; ignoring", ep->ops->peer_name(ep));
        ep->ops->reject(ep);
        ep->ops->close(ep);
        return;
    }
    c = rdma_connection_new(ep, &err);
    if (c && !accept_request(c, p, &err)) {
        c->over = true;
        ep->ops->reject(ep);
        rdma_connection_free(g_steal_pointer(&c));
    }
    if (!c) {
        warn_report("migration: dropped an RDMA connection: %s", err->message);
        return;
    }
    if (l->channel) {
        rdma_channel_attach(l->channel, c);
    } else {
        l->channel = rdma_channel_new(false, c, NULL);
        l->cb(g_object_ref(IO_CHANNEL(l->channel)), l->opaque);
    }
}

static gboolean requests_arrived(gint fd, GIOCondition cond, gpointer opaque)
{
    RdmaListener *l = opaque;
    RdmaPrivate p;
    RdmaEndpoint *ep = l->l->ops->next_request(l->l, &p);

    if (ep) {
        take_request(l, ep, &p); /* may be the end of the listener */
    }
    return G_SOURCE_CONTINUE;
}

RdmaListener *rdma_listener_new(RdmaFabric *fabric, const char *host, const char *port,
                                RdmaAcceptCB *cb, void *opaque, GError **errp)
{
    RdmaListening *listening = fabric->ops->listen(fabric, host, port, errp);
    RdmaListener *l;

    if (!listening) {
        return NULL;
    }
    l = g_new0(RdmaListener, 1);
    l->l = listening;
    l->cb = cb;
    l->opaque = opaque;
    l->source = g_unix_fd_source_new(fabric->ops->listening_fd(listening), G_IO_IN);
    g_source_set_callback(l->source, G_SOURCE_FUNC(requests_arrived), l, NULL);
    g_source_attach(l->source, NULL);
    return l;
}

void rdma_listener_free(RdmaListener *l)
{
    if (l) {
        g_source_destroy(l->source);
        g_source_unref(l->source);
        l->l->ops->listening_close(l->l);
        if (l->channel) {
            rdma_channel_attach(l->channel, NULL);
            g_object_unref(l->channel);
        }
        g_free(l);
    }
}
