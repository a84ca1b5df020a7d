/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "io/channel-tls.h"
#include "migration/transport/tls.h"
#include "util/error.h"

struct TransportTls {
    QIOChannelTLS *tls;
    TlsHandshake *handshake;
    TransportTlsCB *cb;
    void *opaque;
};

bool transport_tls_wanted(const MigrationOptions *o)
{
    return o && *options_text(o, TEXT_TLS_CREDS);
}

static GObject *find(MigrationHost *host, const char *id)
{
    return host->ops->find_object ? host->ops->find_object(host, id) : NULL;
}

static TlsCreds *find_creds(const MigrationOptions *o, MigrationHost *host, bool server,
                            GError **errp)
{
    const char *id = options_text(o, TEXT_TLS_CREDS);

    return tls_creds_check(find(host, id), id, server ? TLS_ENDPOINT_SERVER : TLS_ENDPOINT_CLIENT,
                           errp);
}

/* *authz NULL: everybody may come in. Only a server asks. */
static bool find_authz(const MigrationOptions *o, MigrationHost *host, bool server, Authz **authz,
                       GError **errp)
{
    const char *id = options_text(o, TEXT_TLS_AUTHZ);
    GObject *obj;

    *authz = NULL;
    if (!server || !*id) {
        return true;
    }
    obj = find(host, id);
    if (!obj) {
        error_setg(errp, "Cannot find QAuthZ object ID %s", id);
        return false;
    }
    if (!GW_IS_AUTHZ(obj)) {
        error_setg(errp,
                   "Object with id '%s' does not decide who may come in: 'tls-authz' wants an "
                   "authz object",
                   id);
        return false;
    }
    *authz = GW_AUTHZ(obj);
    return true;
}

bool transport_tls_check(const MigrationOptions *o, MigrationHost *host, bool server, GError **errp)
{
    Authz *authz;

    return find_creds(o, host, server, errp) && find_authz(o, host, server, &authz, errp);
}

static void drop(QIOChannel *ioc)
{
    io_channel_shutdown(ioc, IO_SHUTDOWN_BOTH);
    io_channel_close(ioc, NULL);
    g_object_unref(ioc);
}

static void shaken(GError *err, void *opaque)
{
    TransportTls *t = opaque;
    QIOChannel *ioc = IO_CHANNEL(t->tls);
    TransportTlsCB *cb = t->cb;

    opaque = t->opaque;
    g_free(t);
    if (err) {
        drop(ioc);
        ioc = NULL;
    }
    cb(ioc, err, opaque);
}

TransportTls *transport_tls_start(QIOChannel *base, const MigrationOptions *o, MigrationHost *host,
                                  bool server, const char *hostname, TransportTlsCB *cb,
                                  void *opaque, GError **errp)
{
    const char *override = options_text(o, TEXT_TLS_HOSTNAME);
    TlsCreds *creds = find_creds(o, host, server, errp);
    QIOChannelTLS *tls = NULL;
    TransportTls *t;
    Authz *authz;

    if (creds && find_authz(o, host, server, &authz, errp)) {
        tls = io_channel_tls_new(base, creds, *override ? override : hostname, authz, errp);
    }
    if (!tls) {
        drop(base);
        return NULL;
    }
    g_object_unref(base); /* the TLS channel has its own */
    t = g_new(TransportTls, 1);
    *t = (TransportTls){.tls = tls, .cb = cb, .opaque = opaque};
    t->handshake = io_channel_tls_handshake(tls, TLS_HANDSHAKE_MS, shaken, t);
    return t;
}

void transport_tls_cancel(TransportTls *t)
{
    if (t) {
        tls_handshake_cancel(t->handshake);
        drop(IO_CHANNEL(t->tls));
        g_free(t);
    }
}
