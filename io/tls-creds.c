/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all kinds of TLS credentials have in common: properties, files, use counts. */
#include <sys/stat.h>
#include "io/tls-creds-kinds.h"
#include "util/error.h"

/*
 * AES before ChaCha20, whose software is five times slower where AES instructions exist; the
 * server's order counts, so a stock client gets the fast one too.
 */
#define BASE_PRIORITY "NORMAL:-CHACHA20-POLY1305:+CHACHA20-POLY1305:%SERVER_PRECEDENCE"

/* Certificates and key lists; what is longer is the wrong file. */
#define FILE_MAX (4 * MiB)

typedef struct {
    char *dir, *priority;
    TlsEndpoint endpoint;
    bool verify_peer;
    unsigned users; /* atomic: channels */
} TlsCredsPrivate;

static void user_creatable_init(UserCreatableInterface *iface);
G_DEFINE_ABSTRACT_TYPE_WITH_CODE(TlsCreds, tls_creds, G_TYPE_OBJECT,
                                 G_ADD_PRIVATE(TlsCreds) G_IMPLEMENT_INTERFACE(TYPE_USER_CREATABLE,
                                                                               user_creatable_init))

static TlsCredsPrivate *priv(TlsCreds *creds)
{
    return tls_creds_get_instance_private(creds);
}

TlsEndpoint tls_creds_endpoint(TlsCreds *creds)
{
    return priv(creds)->endpoint;
}

const char *tls_creds_dir(TlsCreds *creds)
{
    return priv(creds)->dir;
}

bool tls_creds_verify_peer(TlsCreds *creds)
{
    return priv(creds)->verify_peer;
}

const char *tls_creds_id(TlsCreds *creds)
{
    const char *id = object_id(G_OBJECT(creds));

    return id ? id : "(unnamed)";
}

TlsCreds *tls_creds_check(GObject *obj, const char *id, TlsEndpoint endpoint, GError **errp)
{
    if (!obj) {
        error_setg(errp, "No TLS credentials with id '%s'", id);
        return NULL;
    }
    if (!GW_IS_TLS_CREDS(obj)) {
        error_setg(errp, "Object with id '%s' is not TLS credentials", id);
        return NULL;
    }
    if (tls_creds_endpoint(GW_TLS_CREDS(obj)) != endpoint) {
        error_setg(errp, "Expected TLS credentials for a %s endpoint, '%s' is for the other",
                   endpoint == TLS_ENDPOINT_SERVER ? "server" : "client", id);
        return NULL;
    }
    return GW_TLS_CREDS(obj);
}

void tls_creds_use(TlsCreds *creds)
{
    __atomic_fetch_add(&priv(creds)->users, 1, __ATOMIC_RELAXED);
}

void tls_creds_release(TlsCreds *creds)
{
    __atomic_fetch_sub(&priv(creds)->users, 1, __ATOMIC_RELEASE);
}

bool tls_creds_attach(TlsCreds *creds, gnutls_session_t session, GError **errp)
{
    TlsCredsPrivate *p = priv(creds);
    TlsCredsClass *k = GW_TLS_CREDS_GET_CLASS(creds);
    g_autofree char *priority =
        g_strconcat(p->priority ? p->priority : BASE_PRIORITY, k->priority_suffix, NULL);
    const char *where;
    int ret = gnutls_priority_set_direct(session, priority, &where);

    if (ret < 0) {
        error_setg(errp, "TLS credentials '%s': no use for priority '%s' from '%s': %s",
                   tls_creds_id(creds), priority, ret == GNUTLS_E_INVALID_REQUEST ? where : "",
                   gnutls_strerror(ret));
        return false;
    }
    ret = k->attach(creds, session);
    if (ret < 0) {
        error_setg(errp, "TLS credentials '%s': %s", tls_creds_id(creds), gnutls_strerror(ret));
    }
    return ret >= 0;
}

/* ---- files ---- */

char *tls_creds_path(TlsCreds *creds, const char *name, bool optional, GError **errp)
{
    g_autofree char *path = NULL;

    if (!tls_creds_dir(creds)) {
        if (!optional) {
            error_setg(errp, "'dir' must be given: the directory with %s", name);
        }
        return NULL;
    }
    path = g_build_filename(tls_creds_dir(creds), name, NULL);
    if (access(path, R_OK) < 0) {
        if (!optional || errno != ENOENT) {
            error_setg_errno(errp, errno, "Cannot read %s", path);
        }
        return NULL;
    }
    return g_steal_pointer(&path);
}

bool tls_read_file(const char *path, gnutls_datum_t *out, GError **errp)
{
    g_autofree char *text = NULL;
    struct stat st;
    gsize len;

    if (stat(path, &st) < 0) {
        error_setg_errno(errp, errno, "Cannot read %s", path);
        return false;
    }
    if (!S_ISREG(st.st_mode) || st.st_size > (off_t)FILE_MAX) {
        error_setg(errp, "%s is not a file of at most %u bytes", path, (unsigned)FILE_MAX);
        return false;
    }
    if (!g_file_get_contents(path, &text, &len, errp)) {
        return false;
    }
    *out = (gnutls_datum_t){(void *)g_steal_pointer(&text), len};
    return true;
}

void tls_datum_wipe(gnutls_datum_t *d)
{
    if (d->data) {
        explicit_bzero(d->data, d->size);
        g_free(d->data);
    }
    *d = (gnutls_datum_t){NULL, 0};
}

bool tls_creds_load_dh(TlsCreds *creds, gnutls_dh_params_t *params, GError **errp)
{
    g_autoptr(GError) err = NULL;
    g_autofree char *path = tls_creds_path(creds, "dh-params.pem", true, &err);
    gnutls_datum_t pem;
    int ret;

    *params = NULL;
    if (err) {
        g_propagate_error(errp, g_steal_pointer(&err));
        return false;
    }
    if (!path) {
        return true;
    }
    if (!tls_read_file(path, &pem, errp)) {
        return false;
    }
    ret = gnutls_dh_params_init(params);
    if (ret == 0) {
        ret = gnutls_dh_params_import_pkcs3(*params, &pem, GNUTLS_X509_FMT_PEM);
    }
    tls_datum_wipe(&pem);
    if (ret < 0) {
        error_setg(errp, "No Diffie-Hellman parameters in %s: %s", path, gnutls_strerror(ret));
        g_clear_pointer(params, gnutls_dh_params_deinit);
    }
    return ret >= 0;
}

/* ---- object ---- */

/* A bad priority string would otherwise show at the first connection. */
static bool check_priority(TlsCreds *creds, GError **errp)
{
    g_autofree char *all = NULL;
    const char *where;
    gnutls_priority_t cache;
    int ret;

    if (!priv(creds)->priority) {
        return true;
    }
    all = g_strconcat(priv(creds)->priority, GW_TLS_CREDS_GET_CLASS(creds)->priority_suffix, NULL);
    ret = gnutls_priority_init(&cache, all, &where);
    if (ret < 0) {
        error_setg(errp, "'priority' is not understood from '%s' on",
                   ret == GNUTLS_E_INVALID_REQUEST ? where : all);
        return false;
    }
    gnutls_priority_deinit(cache);
    return true;
}

static gboolean tls_creds_complete(UserCreatable *self, GError **errp)
{
    TlsCreds *creds = GW_TLS_CREDS(self);

    if (!check_priority(creds, errp) || !GW_TLS_CREDS_GET_CLASS(creds)->load(creds, errp)) {
        g_prefix_error(errp, "TLS credentials '%s': ", tls_creds_id(creds));
        return FALSE;
    }
    return TRUE;
}

static gboolean tls_creds_can_be_deleted(UserCreatable *self)
{
    return __atomic_load_n(&priv(GW_TLS_CREDS(self))->users, __ATOMIC_ACQUIRE) == 0;
}

static void user_creatable_init(UserCreatableInterface *iface)
{
    iface->complete = tls_creds_complete;
    iface->can_be_deleted = tls_creds_can_be_deleted;
}

static GType endpoint_type(void)
{
    static const GEnumValue values[] = {{TLS_ENDPOINT_CLIENT, "TLS_ENDPOINT_CLIENT", "client"},
                                        {TLS_ENDPOINT_SERVER, "TLS_ENDPOINT_SERVER", "server"},
                                        {0}};
    static GType type;

    if (g_once_init_enter(&type)) {
        g_once_init_leave(&type, g_enum_register_static("GodwitTlsEndpoint", values));
    }
    return type;
}

enum { PROP_0, PROP_DIR, PROP_ENDPOINT, PROP_VERIFY_PEER, PROP_PRIORITY };

static void tls_creds_set(GObject *obj, guint id, const GValue *value, GParamSpec *spec)
{
    TlsCredsPrivate *p = priv(GW_TLS_CREDS(obj));
    char **text = id == PROP_DIR ? &p->dir : &p->priority;

    if (id == PROP_ENDPOINT) {
        p->endpoint = g_value_get_enum(value);
    } else if (id == PROP_VERIFY_PEER) {
        p->verify_peer = g_value_get_boolean(value);
    } else {
        g_free(*text);
        *text = g_value_dup_string(value);
    }
}

static void tls_creds_get(GObject *obj, guint id, GValue *value, GParamSpec *spec)
{
    TlsCredsPrivate *p = priv(GW_TLS_CREDS(obj));

    if (id == PROP_ENDPOINT) {
        g_value_set_enum(value, p->endpoint);
    } else if (id == PROP_VERIFY_PEER) {
        g_value_set_boolean(value, p->verify_peer);
    } else {
        g_value_set_string(value, id == PROP_DIR ? p->dir : p->priority);
    }
}

static void tls_creds_finalize(GObject *obj)
{
    TlsCredsPrivate *p = priv(GW_TLS_CREDS(obj));

    g_free(p->dir);
    g_free(p->priority);
    G_OBJECT_CLASS(tls_creds_parent_class)->finalize(obj);
}

static void tls_creds_init(TlsCreds *creds)
{
    priv(creds)->verify_peer = true;
}

static void tls_creds_class_init(TlsCredsClass *k)
{
    GObjectClass *oc = G_OBJECT_CLASS(k);

    oc->set_property = tls_creds_set;
    oc->get_property = tls_creds_get;
    oc->finalize = tls_creds_finalize;
    g_object_class_install_property(
        oc, PROP_DIR,
        g_param_spec_string("dir", NULL, "Directory with the files", NULL, G_PARAM_READWRITE));
    g_object_class_install_property(oc, PROP_ENDPOINT,
                                    g_param_spec_enum("endpoint", NULL, "Which side of a session",
                                                      endpoint_type(), TLS_ENDPOINT_CLIENT,
                                                      G_PARAM_READWRITE));
    g_object_class_install_property(oc, PROP_VERIFY_PEER,
                                    g_param_spec_boolean("verify-peer", NULL,
                                                         "Check who the peer is", TRUE,
                                                         G_PARAM_READWRITE));
    g_object_class_install_property(
        oc, PROP_PRIORITY,
        g_param_spec_string("priority", NULL, "GnuTLS priority string", NULL, G_PARAM_READWRITE));
}
