/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tls-creds-anon: encryption without knowing who the peer is. TLS 1.2, the last version with it. */
#include "io/tls-creds-kinds.h"
#include "util/error.h"

typedef struct {
    TlsCreds parent;
    gnutls_anon_client_credentials_t client;
    gnutls_anon_server_credentials_t server;
    gnutls_dh_params_t dh;
} TlsCredsAnon;
typedef TlsCredsClass TlsCredsAnonClass;

GType tls_creds_anon_get_type(void);
G_DEFINE_TYPE(TlsCredsAnon, tls_creds_anon, TYPE_TLS_CREDS)
OBJECT_TYPE_REGISTER("tls-creds-anon", tls_creds_anon_get_type)

static int load_server(TlsCredsAnon *s)
{
    int ret = gnutls_anon_allocate_server_credentials(&s->server);

    if (ret < 0) {
        return ret;
    }
    if (s->dh) {
        gnutls_anon_set_server_dh_params(s->server, s->dh);
        return 0;
    }
    return gnutls_anon_set_server_known_dh_params(s->server, GNUTLS_SEC_PARAM_MEDIUM);
}

static bool anon_load(TlsCreds *creds, GError **errp)
{
    TlsCredsAnon *s = (TlsCredsAnon *)creds;
    int ret;

    if (tls_creds_endpoint(creds) == TLS_ENDPOINT_CLIENT) {
        ret = gnutls_anon_allocate_client_credentials(&s->client);
    } else if (tls_creds_load_dh(creds, &s->dh, errp)) {
        ret = load_server(s);
    } else {
        return false;
    }
    if (ret < 0) {
        error_setg(errp, "%s", gnutls_strerror(ret));
    }
    return ret >= 0;
}

static int anon_attach(TlsCreds *creds, gnutls_session_t session)
{
    TlsCredsAnon *s = (TlsCredsAnon *)creds;

    return gnutls_credentials_set(session, GNUTLS_CRD_ANON,
                                  s->server ? (void *)s->server : (void *)s->client);
}

static void anon_finalize(GObject *obj)
{
    TlsCredsAnon *s = (TlsCredsAnon *)obj;

    g_clear_pointer(&s->client, gnutls_anon_free_client_credentials);
    g_clear_pointer(&s->server, gnutls_anon_free_server_credentials);
    g_clear_pointer(&s->dh, gnutls_dh_params_deinit);
    G_OBJECT_CLASS(tls_creds_anon_parent_class)->finalize(obj);
}

static void tls_creds_anon_init(TlsCredsAnon *s)
{
}

static void tls_creds_anon_class_init(TlsCredsAnonClass *k)
{
    G_OBJECT_CLASS(k)->finalize = anon_finalize;
    k->priority_suffix = ":-VERS-TLS1.3:+ANON-ECDH:+ANON-DH";
    k->load = anon_load;
    k->attach = anon_attach;
}
