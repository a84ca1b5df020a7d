/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The certificate of the peer: signed by whom we trust, in time, not revoked, of the right name
 * (client) or of somebody who may come in (server).
 *
 * It runs inside the handshake, so that a refused peer gets an alert that says why instead of a
 * connection that ends after it seemed to be established.
 */
#include "io/tls-creds-kinds.h"
#include "util/error.h"

static int refuse(TlsPeer *peer, gnutls_alert_description_t alert)
{
    peer->alert = alert;
    return GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR;
}

static gnutls_alert_description_t alert_of_status(unsigned status)
{
    if (status & GNUTLS_CERT_REVOKED) {
        return GNUTLS_A_CERTIFICATE_REVOKED;
    }
    if (status & GNUTLS_CERT_SIGNER_NOT_FOUND) {
        return GNUTLS_A_UNKNOWN_CA;
    }
    if (status & (GNUTLS_CERT_EXPIRED | GNUTLS_CERT_NOT_ACTIVATED)) {
        return GNUTLS_A_CERTIFICATE_EXPIRED;
    }
    return GNUTLS_A_BAD_CERTIFICATE;
}

static int check_trust(gnutls_session_t session, TlsPeer *peer, gnutls_x509_crt_t crt)
{
    g_autofree char *who = tls_x509_describe(crt);
    gnutls_datum_t text = {NULL, 0};
    gnutls_typed_vdata_st purpose = {GNUTLS_DT_KEY_PURPOSE_OID, NULL, 0};
    unsigned status = 0;
    int ret;

    purpose.data =
        (void *)(tls_creds_endpoint(peer->creds) == TLS_ENDPOINT_SERVER ? GNUTLS_KP_TLS_WWW_CLIENT
                                                                        : GNUTLS_KP_TLS_WWW_SERVER);
    ret = gnutls_certificate_verify_peers(session, &purpose, 1, &status);
    if (ret < 0) {
        error_setg(&peer->refused, "certificate of %s: %s", who, gnutls_strerror(ret));
        return refuse(peer, GNUTLS_A_BAD_CERTIFICATE);
    }
    if (status) {
        gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);
        error_setg(&peer->refused, "certificate of %s: %s", who,
                   text.data ? g_strchomp((char *)text.data) : "not trusted");
        gnutls_free(text.data);
        return refuse(peer, alert_of_status(status));
    }
    return 0;
}

static int check_hostname(TlsPeer *peer, gnutls_x509_crt_t crt)
{
    g_autofree char *who = tls_x509_describe(crt);

    if (!gnutls_x509_crt_check_hostname(crt, peer->hostname)) {
        error_setg(&peer->refused, "Certificate does not match the hostname %s (it is of %s)",
                   peer->hostname, who);
        return refuse(peer, GNUTLS_A_BAD_CERTIFICATE);
    }
    return 0;
}

static int check_authz(TlsPeer *peer)
{
    if (peer->authz && !authz_is_allowed(peer->authz, peer->identity)) {
        error_setg(&peer->refused, "TLS x509 authz check for %s is denied", peer->identity);
        return refuse(peer, GNUTLS_A_ACCESS_DENIED);
    }
    return 0;
}

/* The name in the order of the certificate: "C=DE,O=Lab,CN=src.example.org". */
static void note_identity(TlsPeer *peer, gnutls_x509_crt_t crt)
{
    gnutls_datum_t dn = {NULL, 0};

    g_clear_pointer(&peer->identity, g_free);
    if (gnutls_x509_crt_get_dn3(crt, &dn, GNUTLS_X509_DN_FLAG_COMPAT) >= 0) {
        peer->identity = g_strndup((char *)dn.data, dn.size);
    } else {
        peer->identity = g_strdup("");
    }
    gnutls_free(dn.data);
}

static int judge(gnutls_session_t session, TlsPeer *peer, gnutls_x509_crt_t crt)
{
    bool server = tls_creds_endpoint(peer->creds) == TLS_ENDPOINT_SERVER;
    int ret = check_trust(session, peer, crt);

    if (ret < 0) {
        return ret;
    }
    note_identity(peer, crt);
    return server ? check_authz(peer) : check_hostname(peer, crt);
}

int tls_x509_verify(gnutls_session_t session)
{
    TlsPeer *peer = gnutls_session_get_ptr(session);
    unsigned n = 0;
    const gnutls_datum_t *certs = gnutls_certificate_get_peers(session, &n);
    gnutls_x509_crt_t crt;
    int ret;

    g_clear_error(&peer->refused);
    if (!certs || !n || gnutls_x509_crt_init(&crt) < 0) {
        error_setg(&peer->refused, "Verify failed: No certificate was found");
        return refuse(peer, GNUTLS_A_CERTIFICATE_REQUIRED);
    }
    ret = gnutls_x509_crt_import(crt, &certs[0], GNUTLS_X509_FMT_DER);
    if (ret < 0) {
        error_setg(&peer->refused, "the certificate of the peer is damaged: %s",
                   gnutls_strerror(ret));
        ret = refuse(peer, GNUTLS_A_BAD_CERTIFICATE);
    } else {
        ret = judge(session, peer, crt);
    }
    gnutls_x509_crt_deinit(crt);
    return ret;
}
