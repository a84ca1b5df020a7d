/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tls-creds-psk: both sides know the same key; a user name says which. */
#include "io/psk-file.h"
#include "io/tls-creds-kinds.h"
#include "util/error.h"

#define DEFAULT_USER "qemu"

typedef struct {
    TlsCreds parent;
    char *username;
    GHashTable *keys; /* server: of all users */
    gnutls_psk_client_credentials_t client;
    gnutls_psk_server_credentials_t server;
    gnutls_dh_params_t dh;
} TlsCredsPsk;
typedef TlsCredsClass TlsCredsPskClass;

GType tls_creds_psk_get_type(void);
G_DEFINE_TYPE(TlsCredsPsk, tls_creds_psk, TYPE_TLS_CREDS)
OBJECT_TYPE_REGISTER("tls-creds-psk", tls_creds_psk_get_type)

static GHashTable *load_keys(TlsCreds *creds, char **path, GError **errp)
{
    gnutls_datum_t text;
    GHashTable *keys;

    *path = tls_creds_path(creds, "keys.psk", false, errp);
    if (!*path || !tls_read_file(*path, &text, errp)) {
        return NULL;
    }
    keys = psk_file_parse((char *)text.data, text.size, errp);
    tls_datum_wipe(&text);
    if (!keys) {
        g_prefix_error(errp, "%s: ", *path);
    }
    return keys;
}

static bool check_code(int ret, GError **errp)
{
    if (ret < 0) {
        error_setg(errp, "%s", gnutls_strerror(ret));
    }
    return ret >= 0;
}

static bool load_client(TlsCredsPsk *s, GError **errp)
{
    const char *user = s->username ? s->username : DEFAULT_USER;
    g_autofree char *path = NULL;
    g_autoptr(GHashTable) keys = load_keys(&s->parent, &path, errp);
    GBytes *key = keys ? g_hash_table_lookup(keys, user) : NULL;
    gnutls_datum_t d;
    gsize len;

    if (!key) {
        if (keys) {
            error_setg(errp, "%s has no key for user '%s'", path, user);
        }
        return false;
    }
    d.data = (void *)g_bytes_get_data(key, &len);
    d.size = len;
    return check_code(gnutls_psk_allocate_client_credentials(&s->client), errp) &&
           check_code(gnutls_psk_set_client_credentials(s->client, user, &d, GNUTLS_PSK_KEY_RAW),
                      errp);
}

/* In a handshake: the key of the user the client names. */
static int find_key(gnutls_session_t session, const char *user, gnutls_datum_t *key)
{
    TlsPeer *peer = gnutls_session_get_ptr(session);
    GBytes *found = g_hash_table_lookup(((TlsCredsPsk *)peer->creds)->keys, user);
    const void *bytes;
    gsize len;

    g_free(peer->identity);
    peer->identity = g_strdup(user);
    if (!found) {
        if (!peer->refused) {
            error_setg(&peer->refused, "no key for user '%s' in keys.psk of credentials '%s'", user,
                       tls_creds_id(peer->creds));
        }
        return -1;
    }
    bytes = g_bytes_get_data(found, &len);
    key->data = gnutls_malloc(len);
    if (!key->data) {
        return -1;
    }
    memcpy(key->data, bytes, len);
    key->size = len;
    return 0;
}

static bool load_server(TlsCredsPsk *s, GError **errp)
{
    g_autofree char *path = NULL;

    if (s->username) {
        error_setg(errp, "'username' is for endpoint=client; a server knows all users of keys.psk");
        return false;
    }
    s->keys = load_keys(&s->parent, &path, errp);
    if (!s->keys || !tls_creds_load_dh(&s->parent, &s->dh, errp) ||
        !check_code(gnutls_psk_allocate_server_credentials(&s->server), errp)) {
        return false;
    }
    gnutls_psk_set_server_credentials_function(s->server, find_key);
    if (s->dh) {
        gnutls_psk_set_server_dh_params(s->server, s->dh);
        return true;
    }
    return check_code(gnutls_psk_set_server_known_dh_params(s->server, GNUTLS_SEC_PARAM_MEDIUM),
                      errp);
}

static bool psk_load(TlsCreds *creds, GError **errp)
{
    TlsCredsPsk *s = (TlsCredsPsk *)creds;

    return tls_creds_endpoint(creds) == TLS_ENDPOINT_CLIENT ? load_client(s, errp)
                                                            : load_server(s, errp);
}

static int psk_attach(TlsCreds *creds, gnutls_session_t session)
{
    TlsCredsPsk *s = (TlsCredsPsk *)creds;

    return gnutls_credentials_set(session, GNUTLS_CRD_PSK,
                                  s->server ? (void *)s->server : (void *)s->client);
}

static void psk_set(GObject *obj, guint id, const GValue *value, GParamSpec *spec)
{
    g_free(((TlsCredsPsk *)obj)->username);
    ((TlsCredsPsk *)obj)->username = g_value_dup_string(value);
}

static void psk_get(GObject *obj, guint id, GValue *value, GParamSpec *spec)
{
    g_value_set_string(value, ((TlsCredsPsk *)obj)->username);
}

static void psk_finalize(GObject *obj)
{
    TlsCredsPsk *s = (TlsCredsPsk *)obj;

    g_free(s->username);
    g_clear_pointer(&s->keys, g_hash_table_unref);
    g_clear_pointer(&s->client, gnutls_psk_free_client_credentials);
    g_clear_pointer(&s->server, gnutls_psk_free_server_credentials);
    g_clear_pointer(&s->dh, gnutls_dh_params_deinit);
    G_OBJECT_CLASS(tls_creds_psk_parent_class)->finalize(obj);
}

static void tls_creds_psk_init(TlsCredsPsk *s)
{
}

static void tls_creds_psk_class_init(TlsCredsPskClass *k)
{
    GObjectClass *oc = G_OBJECT_CLASS(k);

    oc->set_property = psk_set;
    oc->get_property = psk_get;
    oc->finalize = psk_finalize;
    k->priority_suffix = ":+ECDHE-PSK:+DHE-PSK:+PSK";
    k->load = psk_load;
    k->attach = psk_attach;
    g_object_class_install_property(oc, 1,
                                    g_param_spec_string("username", NULL,
                                                        "Client: whose key (" DEFAULT_USER ")",
                                                        NULL, G_PARAM_READWRITE));
}
