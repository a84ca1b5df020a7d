/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening the main channel (source). The destination's half is listener.c. */
#include "migration/transport/kinds.h"
#include "util/error.h"
#include "util/log.h"

LOG_CATEGORY(transport)

struct TransportConnection {
    TransportConnectCB *cb; /* NULL: cancelled */
    void *opaque;
    char *name;
    GCancellable *cancel; /* sockets: the attempt in the background */
    QIOChannel *ioc;      /* all others: open already, delivered from @idle */
    GSource *idle;
};

static void connection_free(TransportConnection *c)
{
    if (c->idle) {
        g_source_destroy(c->idle);
        g_source_unref(c->idle);
    }
    g_clear_object(&c->ioc);
    g_clear_object(&c->cancel);
    g_free(c->name);
    g_free(c);
}

/* Takes @ioc and @err; ends @c. */
static void deliver(TransportConnection *c, QIOChannel *ioc, GError *err)
{
    TransportConnectCB *cb = c->cb;
    void *opaque = c->opaque;

    trace(transport, "%s: %s", c->name, err ? err->message : cb ? "open" : "open, but cancelled");
    if (ioc) {
        io_channel_set_name(ioc, c->name);
    }
    connection_free(c);
    if (cb) {
        cb(ioc, err, opaque);
    } else {
        g_clear_object(&ioc);
        g_clear_error(&err);
    }
}

static void socket_connected(QIOChannelSocket *s, GError *err, void *opaque)
{
    deliver(opaque, s ? IO_CHANNEL(s) : NULL, err);
}

static gboolean deliver_idle(void *opaque)
{
    TransportConnection *c = opaque;

    deliver(c, g_steal_pointer(&c->ioc), NULL);
    return G_SOURCE_REMOVE;
}

TransportConnection *transport_connect(const MigrationTransport *t, MigrationHost *host,
                                       TransportConnectCB *cb, void *opaque, GError **errp)
{
    QIOChannel *ioc = NULL;
    TransportConnection *c;

    if (t->ops->open) {
        ioc = t->ops->open(t->addr, host, false, errp);
        if (!ioc) {
            return NULL;
        }
    }
    c = g_new0(TransportConnection, 1);
    c->cb = cb;
    c->opaque = opaque;
    c->name = g_strdup(t->name);
    c->ioc = ioc;
    if (ioc) {
        c->idle = g_idle_source_new();
        g_source_set_priority(c->idle, G_PRIORITY_DEFAULT);
        g_source_set_callback(c->idle, deliver_idle, c, NULL);
        g_source_attach(c->idle, NULL);
    } else {
        c->cancel = g_cancellable_new();
        io_channel_socket_connect_async(t->addr->u.socket, c->cancel, socket_connected, c);
    }
    return c;
}

void transport_connection_cancel(TransportConnection *c)
{
    if (!c) {
        return;
    }
    c->cb = NULL;
    if (c->cancel) {
        g_cancellable_cancel(c->cancel); /* socket_connected() still comes, and frees */
    } else {
        connection_free(c);
    }
}
