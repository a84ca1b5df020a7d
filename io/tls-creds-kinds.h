/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kinds of credentials implement, and what sessions use of them. */
#ifndef GODWIT_IO_TLS_CREDS_KINDS_H
#define GODWIT_IO_TLS_CREDS_KINDS_H

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include "io/authz.h"
#include "io/tls-creds.h"

/* Facts about a handshake that its callbacks find out; the session pointer of GnuTLS. */
typedef struct TlsPeer {
    TlsCreds *creds;
    const char *hostname;             /* client: the name to find in the certificate, or NULL */
    Authz *authz;                     /* server: who may come in, or NULL */
    char *identity;                   /* who the peer is or says it is; owned */
    GError *refused;                  /* why we do not want it; owned */
    gnutls_alert_description_t alert; /* what to tell it then */
} TlsPeer;

struct _TlsCredsClass {
    GObjectClass parent_class;
    /* Appended to the priority string. */
    const char *priority_suffix;
    bool certificates; /* a client that verifies needs the name of the server */
    /* All properties are set: read and check the files. */
    bool (*load)(TlsCreds *creds, GError **errp);
    /* Give a new session its credentials; returns a GnuTLS code. */
    int (*attach)(TlsCreds *creds, gnutls_session_t session);
};

const char *tls_creds_dir(TlsCreds *creds);
bool tls_creds_verify_peer(TlsCreds *creds);
/* Priority and credentials for @session, whose pointer is a TlsPeer. */
bool tls_creds_attach(TlsCreds *creds, gnutls_session_t session, GError **errp);
/* The id for messages. */
const char *tls_creds_id(TlsCreds *creds);

/* A channel uses them from now on, until it is closed: they cannot be deleted meanwhile. Any
 * thread. */
void tls_creds_use(TlsCreds *creds);
void tls_creds_release(TlsCreds *creds);

/* The path of @name in the directory; NULL without error if @optional and absent. */
char *tls_creds_path(TlsCreds *creds, const char *name, bool optional, GError **errp);
/* The contents of @path, bounded. Wipe keys with tls_datum_wipe(). */
bool tls_read_file(const char *path, gnutls_datum_t *out, GError **errp);
void tls_datum_wipe(gnutls_datum_t *d);
/* dh-params.pem if it is there; *params NULL: use the known ones. */
bool tls_creds_load_dh(TlsCreds *creds, gnutls_dh_params_t *params, GError **errp);

/* tls-x509-check.c: validity, usage and chain of what was loaded, before a peer complains. */
bool tls_x509_check_authority(const char *ca_path, GError **errp);
bool tls_x509_check_own(const char *ca_path, const char *cert_path, bool server, GError **errp);
/* tls-x509-verify.c: judge the certificate of the peer in the middle of the handshake. */
int tls_x509_verify(gnutls_session_t session);

/* "subject 'CN=a', issued by 'CN=b'"; free with g_free(). */
char *tls_x509_describe(gnutls_x509_crt_t crt);

#endif
