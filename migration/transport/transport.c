/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening the main channel (source). The destination's half is listener.c. */
#include "migration/transport/kinds.h"
#include "migration/transport/tls.h"
#include "util/error.h"
#include "util/log.h"

LOG_CATEGORY(transport)

struct TransportConnection {
    TransportConnectCB *cb; /* NULL: cancelled */
    void *opaque;
    char *name;
    char *hostname; /* of the address, for TLS */
    const MigrationOptions *options;
    MigrationHost *host;
    GCancellable *cancel; /* the attempt in the background */
    QIOChannel *ioc;      /* all others: open already, delivered from @idle */
    GError *err;          /* or what is delivered from there */
    GSource *idle;
    TransportTls *tls; /* the handshake, when there is a connection */
};

static void connection_free(TransportConnection *c)
{
    if (c->idle) {
        g_source_destroy(c->idle);
        g_source_unref(c->idle);
    }
    transport_tls_cancel(c->tls);
    g_clear_object(&c->ioc);
    g_clear_error(&c->err);
    g_clear_object(&c->cancel);
    g_free(c->hostname);
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

/* ---- connecting in a thread ---- */

typedef struct {
    const TransportOps *ops;
    MigrationAddress *addr;
    TransportWishes wishes;
} Attempt;

static void attempt_free(void *opaque)
{
    Attempt *a = opaque;

    qapi_free_MigrationAddress(a->addr);
    g_free(a);
}

static void attempt_run(GTask *task, void *object, void *opaque, GCancellable *cancel)
{
    Attempt *a = opaque;
    GError *err = NULL;
    QIOChannel *ioc = a->ops->connect(a->addr, &a->wishes, cancel, &err);

    if (ioc) {
        g_task_return_pointer(task, ioc, g_object_unref);
    } else {
        g_task_return_error(task, err);
    }
}

static void attempt_done(GObject *object, GAsyncResult *result, void *opaque)
{
    GError *err = NULL;
    QIOChannel *ioc = g_task_propagate_pointer(G_TASK(result), &err);

    deliver(opaque, ioc, err);
}

static void attempt_start(TransportConnection *c, const MigrationTransport *t)
{
    g_autoptr(GTask) task = g_task_new(NULL, c->cancel, attempt_done, c);
    Attempt *a = g_new0(Attempt, 1);

    a->ops = t->ops;
    a->addr = qapi_clone_MigrationAddress(t->addr);
    if (t->options) {
        a->wishes.return_path = options_cap(t->options, MIGRATION_CAPABILITY_RETURN_PATH) ||
                                options_cap(t->options, MIGRATION_CAPABILITY_POSTCOPY_RAM);
        a->wishes.pin_memory = options_cap(t->options, MIGRATION_CAPABILITY_RDMA_PIN_ALL);
    }
    g_task_set_task_data(task, a, attempt_free);
    g_task_run_in_thread(task, attempt_run);
}

static void tls_done(QIOChannel *ioc, GError *err, void *opaque)
{
    TransportConnection *c = opaque;

    c->tls = NULL;
    if (ioc && !io_channel_set_blocking(ioc, true, &err)) {
        g_clear_object(&ioc);
    }
    deliver(c, ioc, err);
}

/* The connection stands, or cannot. Takes @ioc and @err. */
static void connected(TransportConnection *c, QIOChannel *ioc, GError *err)
{
    g_clear_object(&c->cancel);
    if (!ioc || !c->cb || !transport_tls_wanted(c->options)) {
        deliver(c, ioc, err);
        return;
    }
    io_channel_set_name(ioc, c->name);
    c->tls = transport_tls_start(ioc, c->options, c->host, false, c->hostname, tls_done, c, &err);
    if (!c->tls) {
        deliver(c, NULL, err);
    }
}

static void socket_connected(QIOChannelSocket *s, GError *err, void *opaque)
{
    connected(opaque, s ? IO_CHANNEL(s) : NULL, err);
}

static gboolean connected_idle(void *opaque)
{
    TransportConnection *c = opaque;

    connected(c, g_steal_pointer(&c->ioc), g_steal_pointer(&c->err));
    return G_SOURCE_REMOVE;
}

static void connect_later(TransportConnection *c)
{
    c->idle = g_idle_source_new();
    g_source_set_priority(c->idle, G_PRIORITY_DEFAULT);
    g_source_set_callback(c->idle, connected_idle, c, NULL);
    g_source_attach(c->idle, NULL);
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
    if (t->ops->connect && transport_tls_wanted(t->options)) {
        error_setg(errp, "%s cannot be encrypted: unset 'tls-creds'", t->name);
        return NULL;
    }
    c = g_new0(TransportConnection, 1);
    c->cb = cb;
    c->opaque = opaque;
    c->name = g_strdup(t->name);
    c->hostname = g_strdup(transport_hostname(t));
    c->options = t->options;
    c->host = host;
    c->ioc = ioc;
    if (ioc) {
        connect_later(c);
    } else if (transport_tls_wanted(c->options) &&
               !transport_tls_check(c->options, host, false, &c->err)) {
        connect_later(c); /* to fail: no need to bother the other side */
    } else if (t->ops->connect) {
        c->cancel = g_cancellable_new();
        attempt_start(c, t);
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
    if (c->cancel) {                     /* until there is a connection */
        g_cancellable_cancel(c->cancel); /* the end of the attempt still comes, and frees */
    } else {
        connection_free(c);
    }
}
