/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tls-creds-x509: certificates, in a directory under the names everybody uses. */
#include "io/secret.h"
#include "io/tls-creds-kinds.h"
#include "util/error.h"

typedef struct {
    TlsCreds parent;
    bool sanity_check;
    char *passwordid;
    gnutls_certificate_credentials_t cred;
    gnutls_dh_params_t dh;
} TlsCredsX509;
typedef TlsCredsClass TlsCredsX509Class;

GType tls_creds_x509_get_type(void);
G_DEFINE_TYPE(TlsCredsX509, tls_creds_x509, TYPE_TLS_CREDS)
OBJECT_TYPE_REGISTER("tls-creds-x509", tls_creds_x509_get_type)

/* Besides server-cert.pem there may be server-cert-0.pem and so on, each with its key. */
#define NUMBERED_PAIRS 5

/* A certificate and its key. */
typedef struct {
    char *cert, *key;
} X509Pair;

/* The files of one side; NULL where an optional one is absent. */
typedef struct {
    char *ca, *crl;
    X509Pair pair[1 + NUMBERED_PAIRS]; /* in the order of preference */
    unsigned pairs;
} X509Files;

static void files_clear(X509Files *f)
{
    g_free(f->ca);
    g_free(f->crl);
    for (unsigned i = 0; i < f->pairs; i++) {
        g_free(f->pair[i].cert);
        g_free(f->pair[i].key);
    }
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(X509Files, files_clear)

/* *out NULL: absent, which is fine if @optional. */
static bool find(TlsCreds *creds, const char *name, bool optional, char **out, GError **errp)
{
    g_autoptr(GError) err = NULL;

    *out = tls_creds_path(creds, name, optional, &err);
    if (err) {
        g_propagate_error(errp, g_steal_pointer(&err));
        return false;
    }
    return true;
}

/* The pair whose names end in @suffix joins the others if it is there. */
static bool find_pair(TlsCreds *creds, X509Files *f, const char *suffix, bool optional,
                      GError **errp)
{
    bool server = tls_creds_endpoint(creds) == TLS_ENDPOINT_SERVER;
    const char *role = server ? "server" : "client";
    g_autofree char *cert = g_strdup_printf("%s-cert%s.pem", role, suffix);
    g_autofree char *key = g_strdup_printf("%s-key%s.pem", role, suffix);
    X509Pair *pair = &f->pair[f->pairs++];

    if (!find(creds, cert, optional, &pair->cert, errp) ||
        !find(creds, key, optional, &pair->key, errp)) {
        return false;
    }
    if (!pair->cert != !pair->key) {
        error_setg(errp, "%s has only one of %s and %s", tls_creds_dir(creds), cert, key);
        return false;
    }
    f->pairs -= !pair->cert;
    return true;
}

static bool find_files(TlsCreds *creds, X509Files *f, GError **errp)
{
    bool server = tls_creds_endpoint(creds) == TLS_ENDPOINT_SERVER;

    if (!find(creds, "ca-cert.pem", false, &f->ca, errp) ||
        !find(creds, "ca-crl.pem", true, &f->crl, errp) || !find_pair(creds, f, "", true, errp)) {
        return false;
    }
    for (unsigned i = 0; i < NUMBERED_PAIRS; i++) {
        g_autofree char *suffix = g_strdup_printf("-%u", i);

        if (!find_pair(creds, f, suffix, true, errp)) {
            return false;
        }
    }
    return !server || f->pairs || find_pair(creds, f, "", false, errp);
}

typedef int TrustFn(gnutls_certificate_credentials_t, const gnutls_datum_t *,
                    gnutls_x509_crt_fmt_t);

static bool load_trust(TlsCredsX509 *s, const char *path, TrustFn *fn, GError **errp)
{
    gnutls_datum_t pem;
    int ret;

    if (!path) {
        return true;
    }
    if (!tls_read_file(path, &pem, errp)) {
        return false;
    }
    ret = fn(s->cred, &pem, GNUTLS_X509_FMT_PEM);
    tls_datum_wipe(&pem);
    if (ret <= 0) {
        error_setg(errp, "Nothing to use in %s: %s", path,
                   ret ? gnutls_strerror(ret) : "no PEM block of the right kind");
    }
    return ret > 0;
}

static bool load_pair(TlsCredsX509 *s, const X509Pair *f, GError **errp)
{
    gnutls_datum_t cert = {NULL, 0}, key = {NULL, 0};
    char *password = NULL;
    bool ok = true;
    int ret;

    if (s->passwordid) {
        password = secret_lookup_password(object_registry_of(G_OBJECT(s)), s->passwordid, errp);
        ok = password != NULL;
    }
    ok = ok && tls_read_file(f->cert, &cert, errp) && tls_read_file(f->key, &key, errp);
    if (ok) {
        ret = gnutls_certificate_set_x509_key_mem2(s->cred, &cert, &key, GNUTLS_X509_FMT_PEM,
                                                   password, 0);
        ok = ret >= 0;
        if (ret == GNUTLS_E_CERTIFICATE_KEY_MISMATCH) {
            error_setg(errp, "%s is not the key of %s", f->key, f->cert);
        } else if (ret == GNUTLS_E_DECRYPTION_FAILED && !password) {
            error_setg(errp, "%s is encrypted: 'passwordid' must name a secret with its password",
                       f->key);
        } else if (ret == GNUTLS_E_DECRYPTION_FAILED) {
            error_setg(errp, "%s cannot be decrypted with the password of secret '%s'", f->key,
                       s->passwordid);
        } else if (!ok) {
            error_setg(errp, "No use for certificate %s with key %s: %s", f->cert, f->key,
                       gnutls_strerror(ret));
        }
    }
    secret_free_password(password);
    tls_datum_wipe(&cert);
    tls_datum_wipe(&key);
    return ok;
}

static bool load_dh(TlsCredsX509 *s, GError **errp)
{
    if (tls_creds_endpoint(&s->parent) != TLS_ENDPOINT_SERVER) {
        return true;
    }
    if (!tls_creds_load_dh(&s->parent, &s->dh, errp)) {
        return false;
    }
    if (s->dh) {
        gnutls_certificate_set_dh_params(s->cred, s->dh);
    } else {
        gnutls_certificate_set_known_dh_params(s->cred, GNUTLS_SEC_PARAM_MEDIUM);
    }
    return true;
}

static bool check_files(TlsCreds *creds, const X509Files *f, GError **errp)
{
    bool server = tls_creds_endpoint(creds) == TLS_ENDPOINT_SERVER;

    if (!tls_x509_check_authority(f->ca, errp)) {
        return false;
    }
    for (unsigned i = 0; i < f->pairs; i++) {
        if (!tls_x509_check_own(f->ca, f->pair[i].cert, server, errp)) {
            return false;
        }
    }
    return true;
}

static bool x509_load(TlsCreds *creds, GError **errp)
{
    TlsCredsX509 *s = (TlsCredsX509 *)creds;
    g_auto(X509Files) f = {NULL};
    int ret;

    if (!find_files(creds, &f, errp)) {
        return false;
    }
    if (s->sanity_check && !check_files(creds, &f, errp)) {
        return false;
    }
    ret = gnutls_certificate_allocate_credentials(&s->cred);
    if (ret < 0) {
        error_setg(errp, "%s", gnutls_strerror(ret));
        return false;
    }
    if (!load_trust(s, f.ca, gnutls_certificate_set_x509_trust_mem, errp)) {
        return false;
    }
    for (unsigned i = 0; i < f.pairs; i++) {
        if (!load_pair(s, &f.pair[i], errp)) {
            return false;
        }
    }
    return load_trust(s, f.crl, gnutls_certificate_set_x509_crl_mem, errp) && load_dh(s, errp);
}

static int x509_attach(TlsCreds *creds, gnutls_session_t session)
{
    TlsCredsX509 *s = (TlsCredsX509 *)creds;
    bool verify = tls_creds_verify_peer(creds);

    if (tls_creds_endpoint(creds) == TLS_ENDPOINT_SERVER) {
        gnutls_certificate_server_set_request(session,
                                              verify ? GNUTLS_CERT_REQUIRE : GNUTLS_CERT_IGNORE);
    }
    if (verify) {
        gnutls_session_set_verify_function(session, tls_x509_verify);
    }
    return gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, s->cred);
}

enum { PROP_0, PROP_SANITY_CHECK, PROP_PASSWORDID };

static void x509_set(GObject *obj, guint id, const GValue *value, GParamSpec *spec)
{
    TlsCredsX509 *s = (TlsCredsX509 *)obj;

    if (id == PROP_SANITY_CHECK) {
        s->sanity_check = g_value_get_boolean(value);
    } else {
        g_free(s->passwordid);
        s->passwordid = g_value_dup_string(value);
    }
}

static void x509_get(GObject *obj, guint id, GValue *value, GParamSpec *spec)
{
    TlsCredsX509 *s = (TlsCredsX509 *)obj;

    if (id == PROP_SANITY_CHECK) {
        g_value_set_boolean(value, s->sanity_check);
    } else {
        g_value_set_string(value, s->passwordid);
    }
}

static void x509_finalize(GObject *obj)
{
    TlsCredsX509 *s = (TlsCredsX509 *)obj;

    g_free(s->passwordid);
    g_clear_pointer(&s->cred, gnutls_certificate_free_credentials);
    g_clear_pointer(&s->dh, gnutls_dh_params_deinit);
    G_OBJECT_CLASS(tls_creds_x509_parent_class)->finalize(obj);
}

static void tls_creds_x509_init(TlsCredsX509 *s)
{
    s->sanity_check = true;
}

static void tls_creds_x509_class_init(TlsCredsX509Class *k)
{
    GObjectClass *oc = G_OBJECT_CLASS(k);

    oc->set_property = x509_set;
    oc->get_property = x509_get;
    oc->finalize = x509_finalize;
    k->priority_suffix = "";
    k->certificates = true;
    k->load = x509_load;
    k->attach = x509_attach;
    g_object_class_install_property(oc, PROP_SANITY_CHECK,
                                    g_param_spec_boolean("sanity-check", NULL,
                                                         "Check the certificates when loading",
                                                         TRUE, G_PARAM_READWRITE));
    g_object_class_install_property(oc, PROP_PASSWORDID,
                                    g_param_spec_string("passwordid", NULL,
                                                        "Secret with the password of the key", NULL,
                                                        G_PARAM_READWRITE));
}
