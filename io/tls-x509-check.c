/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Would a peer accept these certificates? Asked when they are loaded, where the answer can name the
 * file; a peer's refusal would only say "bad certificate".
 */
#include <time.h>
#include "io/tls-creds-kinds.h"
#include "util/error.h"

typedef struct {
    gnutls_x509_crt_t *crt;
    unsigned n;
} CertList;

static void cert_list_clear(CertList *l)
{
    for (unsigned i = 0; i < l->n; i++) {
        gnutls_x509_crt_deinit(l->crt[i]);
    }
    gnutls_free(l->crt);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CertList, cert_list_clear)

char *tls_x509_describe(gnutls_x509_crt_t crt)
{
    gnutls_datum_t subject = {NULL, 0}, issuer = {NULL, 0};
    char *text;

    gnutls_x509_crt_get_dn3(crt, &subject, 0);
    gnutls_x509_crt_get_issuer_dn3(crt, &issuer, 0);
    text =
        g_strdup_printf("subject '%s', issued by '%s'", subject.data ? (char *)subject.data : "?",
                        issuer.data ? (char *)issuer.data : "?");
    gnutls_free(subject.data);
    gnutls_free(issuer.data);
    return text;
}

static bool load_list(const char *path, CertList *l, GError **errp)
{
    gnutls_datum_t pem;
    int ret;

    if (!tls_read_file(path, &pem, errp)) {
        return false;
    }
    ret = gnutls_x509_crt_list_import2(&l->crt, &l->n, &pem, GNUTLS_X509_FMT_PEM, 0);
    tls_datum_wipe(&pem);
    if (ret < 0) {
        l->n = 0;
        error_setg(errp, "No certificate in %s: %s", path, gnutls_strerror(ret));
    }
    return ret >= 0;
}

static char *date(time_t t)
{
    g_autoptr(GDateTime) d = g_date_time_new_from_unix_utc(t);

    return d ? g_date_time_format(d, "%Y-%m-%d %H:%M UTC") : g_strdup("an unknown date");
}

static bool check_dates(gnutls_x509_crt_t crt, const char *path, GError **errp)
{
    time_t now = time(NULL), from = gnutls_x509_crt_get_activation_time(crt),
           until = gnutls_x509_crt_get_expiration_time(crt);
    g_autofree char *when = date(now > until ? until : from);

    if (now > until) {
        error_setg(errp, "The certificate %s has expired (%s)", path, when);
    } else if (now < from) {
        error_setg(errp, "The certificate %s is not yet active (%s)", path, when);
    }
    return now >= from && now <= until;
}

static bool check_ca_flag(gnutls_x509_crt_t crt, const char *path, bool want, GError **errp)
{
    unsigned ca = 0;
    int ret = gnutls_x509_crt_get_basic_constraints(crt, NULL, &ca, NULL);

    if (ret < 0 && ret != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) {
        error_setg(errp, "The basic constraints of %s are damaged: %s", path, gnutls_strerror(ret));
        return false;
    }
    if (want && !ca) {
        error_setg(errp, "The certificate %s is not one of a certificate authority", path);
    } else if (!want && ca) {
        error_setg(errp, "The certificate %s is one of a certificate authority", path);
    }
    return !!ca == want;
}

static bool check_key_usage(gnutls_x509_crt_t crt, const char *path, bool ca, GError **errp)
{
    unsigned usage = 0, want = ca ? GNUTLS_KEY_KEY_CERT_SIGN
                                  : GNUTLS_KEY_DIGITAL_SIGNATURE | GNUTLS_KEY_KEY_ENCIPHERMENT;
    int ret = gnutls_x509_crt_get_key_usage(crt, &usage, NULL);

    if (ret == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE || (ret >= 0 && (usage & want))) {
        return true;
    }
    error_setg(errp, "The key usage of certificate %s does not permit %s", path,
               ca ? "signing certificates" : "digital signature or key encipherment");
    return false;
}

static bool check_purpose(gnutls_x509_crt_t crt, const char *path, bool server, GError **errp)
{
    const char *want = server ? GNUTLS_KP_TLS_WWW_SERVER : GNUTLS_KP_TLS_WWW_CLIENT;
    bool any = false;

    for (unsigned i = 0;; i++) {
        char oid[128];
        size_t size = sizeof(oid);
        int ret = gnutls_x509_crt_get_key_purpose_oid(crt, i, oid, &size, NULL);

        if (ret == GNUTLS_E_SHORT_MEMORY_BUFFER) {
            any = true; /* longer than any we look for */
            continue;
        }
        if (ret < 0) {
            break;
        }
        any = true;
        if (strcmp(oid, want) == 0 || strcmp(oid, GNUTLS_KP_ANY) == 0) {
            return true;
        }
    }
    if (any) {
        error_setg(errp, "The purpose of certificate %s does not include being a TLS %s", path,
                   server ? "server" : "client");
    }
    return !any;
}

static bool check_chain(const CertList *own, const CertList *ca, const char *cert_path,
                        const char *ca_path, GError **errp)
{
    gnutls_datum_t text = {NULL, 0};
    unsigned status = 0;
    int ret = gnutls_x509_crt_list_verify(own->crt, own->n, ca->crt, ca->n, NULL, 0, 0, &status);

    if (ret >= 0 && status == 0) {
        return true;
    }
    if (ret >= 0) {
        ret = gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);
    }
    error_setg(errp, "The certificate %s does not verify against %s: %s", cert_path, ca_path,
               text.data ? g_strchomp((char *)text.data) : gnutls_strerror(ret));
    gnutls_free(text.data);
    return false;
}

bool tls_x509_check_authority(const char *ca_path, GError **errp)
{
    g_auto(CertList) ca = {NULL};

    if (!load_list(ca_path, &ca, errp)) {
        return false;
    }
    for (unsigned i = 0; i < ca.n; i++) {
        if (!check_dates(ca.crt[i], ca_path, errp) ||
            !check_ca_flag(ca.crt[i], ca_path, true, errp) ||
            !check_key_usage(ca.crt[i], ca_path, true, errp)) {
            return false;
        }
    }
    return true;
}

bool tls_x509_check_own(const char *ca_path, const char *cert_path, bool server, GError **errp)
{
    g_auto(CertList) ca = {NULL}, own = {NULL};

    return load_list(ca_path, &ca, errp) && load_list(cert_path, &own, errp) &&
           check_dates(own.crt[0], cert_path, errp) &&
           check_ca_flag(own.crt[0], cert_path, false, errp) &&
           check_key_usage(own.crt[0], cert_path, false, errp) &&
           check_purpose(own.crt[0], cert_path, server, errp) &&
           check_chain(&own, &ca, cert_path, ca_path, errp);
}
