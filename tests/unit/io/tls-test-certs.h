/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Certificates, keys and credentials objects for tests, made with GnuTLS when they are needed. */
#ifndef GODWIT_TESTS_TLS_TEST_CERTS_H
#define GODWIT_TESTS_TLS_TEST_CERTS_H

#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <time.h>
#include <glib/gstdio.h>
#include "io/tls-creds.h"
#include "util/error.h"

#define DAY (24 * 3600)

typedef struct {
    gnutls_x509_crt_t crt;
    gnutls_x509_privkey_t key;
} TestCert;

typedef struct {
    const char *dn; /* RFC 4514 */
    const char *dns, *ip;
    bool ca, server, client;
    int from_days, until_days; /* relative to now; both 0: -1 to 30 */
    unsigned usage;            /* 0: fitting */
    bool ed25519;              /* the key; otherwise ECDSA */
    unsigned kilobytes;        /* of further names: a long certificate */
} TestCertSpec;

/* @signer NULL: self-signed. */
static inline TestCert test_cert(const TestCertSpec *spec, const TestCert *signer)
{
    TestCert c;
    time_t now = time(NULL);
    uint8_t serial[4];
    unsigned usage = spec->usage;
    const char *where;

    gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof(serial));
    serial[0] &= 0x7f;
    gnutls_x509_privkey_init(&c.key);
    if (spec->ed25519) {
        gnutls_x509_privkey_generate(c.key, GNUTLS_PK_EDDSA_ED25519, 0, 0);
    } else {
        gnutls_x509_privkey_generate(c.key, GNUTLS_PK_ECDSA,
                                     GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
    }
    gnutls_x509_crt_init(&c.crt);
    gnutls_x509_crt_set_version(c.crt, 3);
    gnutls_x509_crt_set_key(c.crt, c.key);
    gnutls_x509_crt_set_serial(c.crt, serial, sizeof(serial));
    g_assert_cmpint(gnutls_x509_crt_set_dn(c.crt, spec->dn, &where), ==, 0);
    gnutls_x509_crt_set_activation_time(c.crt,
                                        now + (spec->from_days ? spec->from_days : -1) * DAY);
    gnutls_x509_crt_set_expiration_time(c.crt,
                                        now + (spec->until_days ? spec->until_days : 30) * DAY);
    if (spec->dns) {
        gnutls_x509_crt_set_subject_alt_name(c.crt, GNUTLS_SAN_DNSNAME, spec->dns,
                                             strlen(spec->dns), GNUTLS_FSAN_APPEND);
    }
    for (unsigned i = 0; i < spec->kilobytes; i++) {
        char uri[1024] = "http://dst.example.org/";

        memset(uri + strlen(uri), 'a', sizeof(uri) - strlen(uri));
        gnutls_x509_crt_set_subject_alt_name(c.crt, GNUTLS_SAN_URI, uri, sizeof(uri),
                                             GNUTLS_FSAN_APPEND);
    }
    if (spec->ip) {
        uint8_t ip[4];

        g_assert_cmpint(sscanf(spec->ip, "%hhu.%hhu.%hhu.%hhu", ip, ip + 1, ip + 2, ip + 3), ==, 4);
        gnutls_x509_crt_set_subject_alt_name(c.crt, GNUTLS_SAN_IPADDRESS, ip, sizeof(ip),
                                             GNUTLS_FSAN_APPEND);
    }
    gnutls_x509_crt_set_basic_constraints(c.crt, spec->ca, -1);
    if (!usage) {
        usage = spec->ca ? GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN
                         : GNUTLS_KEY_DIGITAL_SIGNATURE;
    }
    gnutls_x509_crt_set_key_usage(c.crt, usage);
    if (spec->server) {
        gnutls_x509_crt_set_key_purpose_oid(c.crt, GNUTLS_KP_TLS_WWW_SERVER, 0);
    }
    if (spec->client) {
        gnutls_x509_crt_set_key_purpose_oid(c.crt, GNUTLS_KP_TLS_WWW_CLIENT, 0);
    }
    g_assert_cmpint(gnutls_x509_crt_sign2(c.crt, signer ? signer->crt : c.crt,
                                          signer ? signer->key : c.key, GNUTLS_DIG_SHA256, 0),
                    ==, 0);
    return c;
}

static inline void test_cert_free(TestCert *c)
{
    gnutls_x509_crt_deinit(c->crt);
    gnutls_x509_privkey_deinit(c->key);
}

static inline void write_datum(const char *dir, const char *name, gnutls_datum_t *d)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);

    g_assert_true(g_file_set_contents(path, (char *)d->data, d->size, NULL));
    gnutls_free(d->data);
}

static inline void write_cert(const char *dir, const char *name, const TestCert *c)
{
    gnutls_datum_t d;

    g_assert_cmpint(gnutls_x509_crt_export2(c->crt, GNUTLS_X509_FMT_PEM, &d), ==, 0);
    write_datum(dir, name, &d);
}

/* @password NULL: not encrypted. */
static inline void write_key(const char *dir, const char *name, const TestCert *c,
                             const char *password)
{
    gnutls_datum_t d;

    g_assert_cmpint(gnutls_x509_privkey_export2_pkcs8(
                        c->key, GNUTLS_X509_FMT_PEM, password,
                        password ? GNUTLS_PKCS_PBES2_AES_256 : GNUTLS_PKCS_PLAIN, &d),
                    ==, 0);
    write_datum(dir, name, &d);
}

/* ca-crl.pem that revokes @revoked. */
static inline void write_crl(const char *dir, const TestCert *ca, const TestCert *revoked)
{
    gnutls_x509_crl_t crl;
    gnutls_datum_t d;
    time_t now = time(NULL);

    gnutls_x509_crl_init(&crl);
    gnutls_x509_crl_set_version(crl, 2);
    gnutls_x509_crl_set_this_update(crl, now - DAY);
    gnutls_x509_crl_set_next_update(crl, now + 30 * DAY);
    gnutls_x509_crl_set_number(crl, "\1", 1);
    g_assert_cmpint(gnutls_x509_crl_set_crt(crl, revoked->crt, now - DAY), ==, 0);
    g_assert_cmpint(gnutls_x509_crl_sign2(crl, ca->crt, ca->key, GNUTLS_DIG_SHA256, 0), ==, 0);
    g_assert_cmpint(gnutls_x509_crl_export2(crl, GNUTLS_X509_FMT_PEM, &d), ==, 0);
    gnutls_x509_crl_deinit(crl);
    write_datum(dir, "ca-crl.pem", &d);
}

static inline void write_text(const char *dir, const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static inline char *make_dir(void)
{
    char *dir = g_dir_make_tmp("godwit-tls-XXXXXX", NULL);

    g_assert_nonnull(dir);
    return dir;
}

/* Takes @dir. */
static inline void remove_dir(char *dir)
{
    GDir *d = g_dir_open(dir, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(d))) {
        g_autofree char *path = g_build_filename(dir, name, NULL);

        g_unlink(path);
    }
    g_dir_close(d);
    g_rmdir(dir);
    g_free(dir);
}

/* A user-creatable object of properties in JSON, with ' for " and %s for @dir. */
static inline GObject *make_object(ObjectRegistry *reg, const char *type, const char *id,
                                   const char *json, const char *dir, GError **errp)
{
    g_auto(GStrv) parts = g_strsplit(json, "%s", -1);
    g_autofree char *text = g_strjoinv(dir ? dir : "", parts);
    g_autoptr(JsonNode) node = NULL;

    g_strdelimit(text, "'", '"');
    node = json_from_string(text, NULL);
    g_assert_nonnull(node);
    return object_registry_create(reg, type, id, json_node_get_object(node), errp);
}

#endif
