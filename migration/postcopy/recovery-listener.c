/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/postcopy/recovery-listener.h"
#include "migration/transport/kinds.h"
#include "migration/transport/tls.h"

struct RecoveryListener {
    GMainContext *context;
    GMainLoop *loop;
    TransportListener *listener; /* its sources belong to @context */
    GThread *thread;
};

static gpointer recovery_thread(gpointer opaque)
{
    RecoveryListener *r = opaque;

    g_main_context_push_thread_default(r->context);
    g_main_loop_run(r->loop);
    g_main_context_pop_thread_default(r->context);
    return NULL;
}

bool recovery_listener_possible(const MigrationTransport *t, GError **errp)
{
    if (!(transport_flags(t) & TRANSPORT_MULTI_CHANNEL)) {
        error_setg(errp, "Out of band a recovery can listen on a socket only (tcp, unix, vsock)");
        return false;
    }
    if (transport_tls_wanted(t->options)) {
        error_setg(errp, "Out of band a recovery cannot use TLS ('tls-creds')");
        return false;
    }
    return true;
}

RecoveryListener *recovery_listener_new(const MigrationTransport *t, MigrationHost *host,
                                        const TransportAcceptor *acceptor, GError **errp)
{
    RecoveryListener *r;

    if (!recovery_listener_possible(t, errp)) {
        return NULL;
    }
    r = g_new0(RecoveryListener, 1);
    r->context = g_main_context_new();
    r->loop = g_main_loop_new(r->context, FALSE);
    g_main_context_push_thread_default(r->context);
    r->listener = transport_listen(t, host, 1, acceptor, errp);
    g_main_context_pop_thread_default(r->context);
    r->thread = r->listener ? g_thread_try_new("recovery", recovery_thread, r, errp) : NULL;
    if (!r->thread) {
        g_clear_pointer(&r, recovery_listener_free);
    }
    return r;
}

static gboolean quit(gpointer opaque)
{
    g_main_loop_quit(opaque);
    return G_SOURCE_REMOVE;
}

void recovery_listener_free(RecoveryListener *r)
{
    if (!r) {
        return;
    }
    if (r->thread) {
        GSource *source = g_idle_source_new(); /* from inside: the loop may not have begun */

        g_source_set_callback(source, quit, r->loop, NULL);
        g_source_attach(source, r->context);
        g_source_unref(source);
        g_thread_join(r->thread);
    }
    transport_listener_free(r->listener);
    g_main_loop_unref(r->loop);
    g_main_context_unref(r->context);
    g_free(r);
}

GPtrArray *recovery_listener_addresses(RecoveryListener *r)
{
    return transport_listener_addresses(r->listener);
}
