/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TLS channels over socket pairs: who is let in, what is said otherwise, and what happens to bytes.
 */
#include <sys/socket.h>
#include "channel-test-util.h"
#include "io/channel-socket.h"
#include "io/channel-tls.h"
#include "tls-test-certs.h"

/* ---- everything a session needs ---- */

typedef struct {
    char *long_dir; /* its certificate does not fit into the buffers at once */
    char *many_dir; /* a second certificate, for another name and with another kind of key */
    char *server_dir, *client_dir, *bare_dir, *foreign_dir, *revoked_dir, *expired_dir,
        *wrong_role_dir;
    ObjectRegistry *reg;
} Fixture;

static Fixture fx;

static void fill_dir(char **dir, const TestCert *ca, const char *kind, const TestCert *cert)
{
    g_autofree char *cert_name = g_strconcat(kind, "-cert.pem", NULL);
    g_autofree char *key_name = g_strconcat(kind, "-key.pem", NULL);

    *dir = make_dir();
    write_cert(*dir, "ca-cert.pem", ca);
    if (cert) {
        write_cert(*dir, cert_name, cert);
        write_key(*dir, key_name, cert, NULL);
    }
}

static GObject *object(const char *type, const char *id, const char *props, const char *dir)
{
    g_autoptr(GError) err = NULL;
    GObject *obj = make_object(fx.reg, type, id, props, dir, &err);

    g_assert_no_error(err);
    return obj;
}

static void make_fixture(void)
{
    TestCert ca = test_cert(&(TestCertSpec){.dn = "CN=CA", .ca = true}, NULL);
    TestCert other_ca = test_cert(&(TestCertSpec){.dn = "CN=Other CA", .ca = true}, NULL);
    TestCert server = test_cert(
        &(TestCertSpec){
            .dn = "CN=dst", .dns = "dst.example.org", .ip = "127.0.0.1", .server = true},
        &ca);
    TestCert long_server = test_cert(
        &(TestCertSpec){.dn = "CN=long", .dns = "dst.example.org", .server = true, .kilobytes = 80},
        &ca);
    TestCert newer = test_cert(
        &(TestCertSpec){.dn = "CN=new", .dns = "new.example.org", .server = true, .ed25519 = true},
        &ca);
    TestCert client = test_cert(&(TestCertSpec){.dn = "CN=src,O=Lab,C=DE", .client = true}, &ca);
    TestCert foreign = test_cert(&(TestCertSpec){.dn = "CN=src", .client = true}, &other_ca);
    TestCert revoked = test_cert(&(TestCertSpec){.dn = "CN=lost", .client = true}, &ca);

    TestCert expired = test_cert(
        &(TestCertSpec){.dn = "CN=old", .client = true, .from_days = -9, .until_days = -2}, &ca);

    fx.reg = object_registry_new();
    fill_dir(&fx.expired_dir, &ca, "client", &expired);
    test_cert_free(&expired);
    expired =
        test_cert(&(TestCertSpec){.dn = "CN=thief", .dns = "dst.example.org", .client = true}, &ca);
    fill_dir(&fx.wrong_role_dir, &ca, "server", &expired); /* a client that plays the server */
    test_cert_free(&expired);
    fill_dir(&fx.server_dir, &ca, "server", &server);
    fill_dir(&fx.many_dir, &ca, "server", &server);
    write_cert(fx.many_dir, "server-cert-0.pem", &newer);
    write_key(fx.many_dir, "server-key-0.pem", &newer, NULL);
    test_cert_free(&newer);
    fill_dir(&fx.long_dir, &ca, "server", &long_server);
    test_cert_free(&long_server);
    write_crl(fx.server_dir, &ca, &revoked);
    write_text(fx.server_dir, "keys.psk", "qemu:0123456789abcdef0123456789abcdef\n");
    fill_dir(&fx.client_dir, &ca, "client", &client);
    write_text(fx.client_dir, "keys.psk",
               "qemu:0123456789abcdef0123456789abcdef\nevil:00000000000000000000000000000000\n");
    fill_dir(&fx.bare_dir, &ca, "client", NULL);
    write_text(fx.bare_dir, "keys.psk", "qemu:00000000000000000000000000000000\n");
    fill_dir(&fx.foreign_dir, &ca, "client", &foreign);
    fill_dir(&fx.revoked_dir, &ca, "client", &revoked);
    test_cert_free(&ca);
    test_cert_free(&other_ca);
    test_cert_free(&server);
    test_cert_free(&client);
    test_cert_free(&foreign);
    test_cert_free(&revoked);

    object("tls-creds-x509", "server", "{'dir':'%s','endpoint':'server'}", fx.server_dir);
    object("tls-creds-x509", "many-server", "{'dir':'%s','endpoint':'server'}", fx.many_dir);
    object("tls-creds-x509", "new-client",
           "{'dir':'%s','priority':'NORMAL:-SIGN-ALL:+SIGN-EDDSA-ED25519'}", fx.bare_dir);
    object("tls-creds-x509", "long-server", "{'dir':'%s','endpoint':'server'}", fx.long_dir);
    object("tls-creds-x509", "lax-server", "{'dir':'%s','endpoint':'server','verify-peer':false}",
           fx.server_dir);
    object("tls-creds-x509", "client", "{'dir':'%s'}", fx.client_dir);
    object("tls-creds-x509", "client12", "{'dir':'%s','priority':'NORMAL:-VERS-TLS1.3'}",
           fx.client_dir);
    object("tls-creds-x509", "client-cbc",
           "{'dir':'%s','priority':'NORMAL:-VERS-TLS1.3:-AES-128-GCM:-AES-256-GCM:-AES-128-CCM:"
           "-AES-256-CCM:-CHACHA20-POLY1305'}",
           fx.client_dir);
    object("tls-creds-x509", "client-chacha",
           "{'dir':'%s','priority':'NORMAL:-AES-128-GCM:-AES-256-GCM:-AES-128-CCM:-AES-256-CCM'}",
           fx.client_dir);
    object("tls-creds-x509", "lax-client", "{'dir':'%s','verify-peer':false}", fx.client_dir);
    object("tls-creds-x509", "bare-client", "{'dir':'%s'}", fx.bare_dir);
    object("tls-creds-x509", "foreign-client", "{'dir':'%s','sanity-check':false}", fx.foreign_dir);
    object("tls-creds-x509", "expired-client", "{'dir':'%s','sanity-check':false}", fx.expired_dir);
    object("tls-creds-x509", "wrong-role", "{'dir':'%s','endpoint':'server','sanity-check':false}",
           fx.wrong_role_dir);
    object("tls-creds-x509", "revoked-client", "{'dir':'%s'}", fx.revoked_dir);
    object("tls-creds-psk", "psk-server", "{'dir':'%s','endpoint':'server'}", fx.server_dir);
    object("tls-creds-psk", "psk-client", "{'dir':'%s'}", fx.client_dir);
    object("tls-creds-psk", "psk-stranger", "{'dir':'%s','username':'evil'}", fx.client_dir);
    object("tls-creds-psk", "psk-liar", "{'dir':'%s'}", fx.bare_dir);
    object("tls-creds-anon", "anon-server", "{'endpoint':'server'}", NULL);
    object("tls-creds-anon", "anon-client", "{}", NULL);
    object("authz-simple", "allow", "{'identity':'C=DE,O=Lab,CN=src'}", NULL);
    object("authz-simple", "deny", "{'identity':'CN=src'}", NULL);
}

static void drop_fixture(void)
{
    object_registry_free(fx.reg);
    remove_dir(fx.many_dir);
    remove_dir(fx.long_dir);
    remove_dir(fx.server_dir);
    remove_dir(fx.client_dir);
    remove_dir(fx.bare_dir);
    remove_dir(fx.foreign_dir);
    remove_dir(fx.revoked_dir);
    remove_dir(fx.expired_dir);
    remove_dir(fx.wrong_role_dir);
}

/* ---- a pair of channels ---- */

typedef struct {
    QIOChannel *base, *tls;
    bool done;
    GError *err;
} Side;

typedef struct {
    Side server, client;
} Pair;

static void side_done(GError *err, void *opaque)
{
    Side *side = opaque;

    side->done = true;
    side->err = err;
}

static void side_start(Side *side, const char *creds, const char *hostname, const char *authz)
{
    g_autoptr(GError) err = NULL;
    GObject *z = authz ? object_registry_find(fx.reg, authz) : NULL;
    QIOChannelTLS *tls =
        io_channel_tls_new(side->base, GW_TLS_CREDS(object_registry_find(fx.reg, creds)), hostname,
                           z ? GW_AUTHZ(z) : NULL, &err);

    g_assert_no_error(err);
    side->tls = IO_CHANNEL(tls);
    io_channel_tls_handshake(tls, TLS_HANDSHAKE_MS, side_done, side);
}

static void base_pair(Pair *p)
{
    int fds[2];

    *p = (Pair){0};
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    p->server.base = IO_CHANNEL(io_channel_socket_new_fd(fds[0], NULL));
    p->client.base = IO_CHANNEL(io_channel_socket_new_fd(fds[1], NULL));
}

static void shake(Pair *p, const char *server, const char *client, const char *hostname,
                  const char *authz)
{
    base_pair(p);
    side_start(&p->server, server, NULL, authz);
    side_start(&p->client, client, hostname, NULL);
    while (!p->server.done || !p->client.done) {
        g_main_context_iteration(NULL, TRUE);
    }
}

static void good_pair(Pair *p, const char *server, const char *client)
{
    shake(p, server, client, "dst.example.org", NULL);
    g_assert_no_error(p->server.err);
    g_assert_no_error(p->client.err);
    g_assert_true(io_channel_set_blocking(p->server.tls, true, NULL));
    g_assert_true(io_channel_set_blocking(p->client.tls, true, NULL));
}

static void side_clear(Side *side)
{
    g_clear_error(&side->err);
    g_clear_object(&side->tls);
    g_clear_object(&side->base);
}

static void pair_clear(Pair *p)
{
    side_clear(&p->server);
    side_clear(&p->client);
}

/* ---- who is let in ---- */

static void expect(const GError *err, const char *text, unsigned row)
{
    if (!text) {
        g_assert_no_error(err);
    } else if (!err || !strstr(err->message, text)) {
        g_error("row %u: '%s' does not contain '%s'", row, err ? err->message : "(no error)", text);
    }
}

static void test_matrix(void)
{
    static const struct {
        const char *server, *client, *hostname, *authz;
        const char *server_error, *client_error;
    } cases[] = {
        {"server", "client", "dst.example.org"},
        {"server", "client", "127.0.0.1"},
        {"server", "client12", "dst.example.org"},
        {"long-server", "client", "dst.example.org"},
        {"many-server", "client", "dst.example.org"},
        {"many-server", "new-client", "new.example.org", NULL, "No certificate was found", NULL},
        {"server", "client-cbc", "dst.example.org"},
        {"server", "client-chacha", "dst.example.org"},
        {"server", "client", "other.example.org", NULL, "alert 'Certificate is bad'",
         "Certificate does not match the hostname other.example.org (it is of subject 'CN=dst'"},
        {"server", "client12", "other.example.org", NULL, "alert 'Certificate is bad'",
         "Certificate does not match the hostname other.example.org"},
        {"server", "client", "127.0.0.2", NULL, "alert", "does not match the hostname 127.0.0.2"},
        {"server", "lax-client", "other.example.org"},
        {"server", "lax-client", NULL},
        {"server", "bare-client", "dst.example.org", NULL,
         "Verify failed: No certificate was found", NULL},
        {"lax-server", "bare-client", "dst.example.org"},
        {"lax-server", "foreign-client", "dst.example.org"},
        {"server", "foreign-client", "dst.example.org", NULL,
         "issued by 'CN=Other CA': The certificate is NOT trusted. The certificate issuer is "
         "unknown",
         NULL},
        {"server", "revoked-client", "dst.example.org", NULL, "'CN=lost'", NULL},
        {"server", "expired-client", "dst.example.org", NULL,
         "'CN=old', issued by 'CN=CA': The certificate is NOT trusted. The certificate chain uses "
         "expired certificate",
         NULL},
        {"wrong-role", "client", "dst.example.org", NULL, "alert", "'CN=thief'"},
        {"server", "client", "dst.example.org", "allow"},
        {"server", "client", "dst.example.org", "deny",
         "TLS x509 authz check for C=DE,O=Lab,CN=src is denied", NULL},
        {"server", "client12", "dst.example.org", "deny", "authz check for C=DE,O=Lab,CN=src",
         "alert 'Access was denied': its 'tls-authz' does not allow"},
        {"psk-server", "psk-client"},
        {"psk-server", "psk-stranger", NULL, NULL, "no key for user 'evil' in keys.psk", "alert"},
        {"psk-server", "psk-liar", NULL, NULL, "Peer 'qemu': TLS handshake failed", "alert"},
        {"anon-server", "anon-client"},
        {"psk-server", "client", "dst.example.org", NULL, "same kind of credentials", "alert"},
        {"server", "psk-client", NULL, NULL, "TLS handshake failed", "same kind of credentials"},
        {"anon-server", "psk-client", NULL, NULL, "same kind of credentials", "alert"},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        unsigned fds = count_fds();
        Pair p;

        shake(&p, cases[i].server, cases[i].client, cases[i].hostname, cases[i].authz);
        expect(p.server.err, cases[i].server_error, i);
        /* TLS 1.3: a client is done before the server has judged it; it hears with its first use.
         */
        if (cases[i].server_error && !p.client.err) {
            char byte;

            g_assert_true(io_channel_set_blocking(p.client.tls, true, NULL));
            g_assert_cmpint(io_channel_read(p.client.tls, &byte, 1, &p.client.err), ==, -1);
            expect(p.client.err, "the peer ended the session with alert", i);
        } else {
            expect(p.client.err, cases[i].client_error, i);
        }
        pair_clear(&p);
        g_assert_cmpuint(count_fds(), ==, fds);
    }
}

/* A writer without a reader hears the reason too. */
static void test_late_refusal(void)
{
    static const char junk[100000];
    GError *err = NULL;
    Pair p;

    shake(&p, "server", "client", "dst.example.org", "deny");
    g_assert_no_error(p.client.err);
    g_assert_nonnull(p.server.err);
    g_assert_true(io_channel_set_blocking(p.client.tls, true, NULL));
    g_assert_false(io_channel_write_all(p.client.tls, junk, sizeof(junk), &err));
    g_assert_nonnull(strstr(err->message, "Access was denied"));
    g_clear_error(&err);
    pair_clear(&p);
}

static void test_no_hostname(void)
{
    g_autoptr(GError) err = NULL;
    Pair p;

    base_pair(&p);
    g_assert_null(io_channel_tls_new(
        p.client.base, GW_TLS_CREDS(object_registry_find(fx.reg, "client")), "", NULL, &err));
    g_assert_nonnull(strstr(err->message, "No hostname for certificate validation"));
    pair_clear(&p);
}

/* ---- handshakes that do not get there ---- */

static void wait_done(Side *side)
{
    while (!side->done) {
        g_main_context_iteration(NULL, TRUE);
    }
}

static void test_not_tls(void)
{
    static const char junk[] = "GET / HTTP/1.0\r\n\r\n............................................";
    Pair p;

    base_pair(&p);
    side_start(&p.server, "server", NULL, NULL);
    g_assert_true(io_channel_write_all(p.client.base, junk, sizeof(junk), NULL));
    wait_done(&p.server);
    g_assert_nonnull(strstr(p.server.err->message, "what the peer sent is not TLS"));
    pair_clear(&p);
}

/* Let @side's handshake go on for a little. */
static void spin(unsigned ms)
{
    int64_t end = g_get_monotonic_time() + ms * 1000;

    while (g_get_monotonic_time() < end) {
        g_main_context_iteration(NULL, FALSE);
        g_usleep(200);
    }
}

static void test_cut(void)
{
    /* Forward the first N bytes that the client sends, then cut. */
    for (unsigned n = 0; n < 1500; n += 97) {
        Pair a, b; /* client -> a ... b -> server */
        char buf[4096];
        size_t forwarded = 0;

        base_pair(&a);
        base_pair(&b);
        side_start(&a.client, "client", "dst.example.org", NULL);
        side_start(&b.server, "server", NULL, NULL);
        g_assert_true(io_channel_set_blocking(a.server.base, false, NULL));
        g_assert_true(io_channel_set_blocking(b.client.base, false, NULL));
        while (forwarded < n && !b.server.done) {
            ssize_t got;

            g_main_context_iteration(NULL, FALSE);
            got = io_channel_read(a.server.base, buf, n - forwarded, NULL);
            if (got > 0) {
                g_assert_true(io_channel_write_all(b.client.base, buf, got, NULL));
                forwarded += got;
            }
            got = io_channel_read(b.client.base, buf, sizeof(buf), NULL);
            if (got > 0) {
                g_assert_true(io_channel_write_all(a.server.base, buf, got, NULL));
            }
            if (a.client.done && got <= 0 && b.server.done) {
                break;
            }
        }
        io_channel_close(a.server.base, NULL);
        io_channel_close(b.client.base, NULL);
        wait_done(&a.client);
        wait_done(&b.server);
        if (b.server.err) {
            g_assert_nonnull(strstr(b.server.err->message, "TLS handshake failed"));
        } else {
            g_assert_cmpuint(forwarded, >, 500);
        }
        pair_clear(&a);
        pair_clear(&b);
    }
}

static void test_timeout(void)
{
    Pair p;
    QIOChannelTLS *tls;

    base_pair(&p);
    tls = io_channel_tls_new(p.server.base, GW_TLS_CREDS(object_registry_find(fx.reg, "server")),
                             NULL, NULL, NULL);
    p.server.tls = IO_CHANNEL(tls);
    io_channel_tls_handshake(tls, 50, side_done, &p.server);
    wait_done(&p.server);
    g_assert_nonnull(strstr(p.server.err->message, "did not finish it within"));
    pair_clear(&p);
}

static void test_cancel(void)
{
    unsigned fds = count_fds();
    Pair p;
    QIOChannelTLS *tls;
    TlsHandshake *h;

    base_pair(&p);
    tls = io_channel_tls_new(p.client.base, GW_TLS_CREDS(object_registry_find(fx.reg, "client")),
                             "dst.example.org", NULL, NULL);
    h = io_channel_tls_handshake(tls, TLS_HANDSHAKE_MS, side_done, &p.client);
    spin(5);
    g_assert_false(object_registry_remove(fx.reg, "client", NULL)); /* in use */
    tls_handshake_cancel(h);
    g_object_unref(tls);
    spin(5);
    g_assert_false(p.client.done);
    pair_clear(&p);
    g_assert_cmpuint(count_fds(), ==, fds);
}

/* ---- bytes ---- */

typedef struct {
    QIOChannel *ioc;
    uint64_t bytes;
    uint32_t seed;
    bool writing, in_pieces;
} Pump;

static uint8_t pattern(uint32_t seed, uint64_t at)
{
    return (at * 2654435761u + seed) >> 13;
}

#define CHUNK 100000

static void *pump(void *opaque)
{
    Pump *p = opaque;
    g_autofree uint8_t *buf = g_malloc(CHUNK);
    g_autoptr(GRand) rand = g_rand_new_with_seed(p->seed);
    g_autoptr(GError) err = NULL;

    for (uint64_t at = 0; at < p->bytes;) {
        size_t wish = g_rand_int_range(rand, 1, CHUNK), len = MIN(p->bytes - at, wish);
        struct iovec iov[32];
        unsigned n = 0;
        size_t offset = 0;

        while (p->in_pieces && n < 31 && offset < len) {
            size_t piece = g_rand_int_range(rand, 0, 9000);

            piece = MIN(len - offset, piece);
            iov[n++] = (struct iovec){buf + offset, piece};
            offset += piece;
        }
        iov[n++] = (struct iovec){buf + offset, len - offset};
        if (p->writing) {
            for (size_t i = 0; i < len; i++) {
                buf[i] = pattern(p->seed, at + i);
            }
            io_channel_writev_all(p->ioc, iov, n, &err);
        } else {
            io_channel_readv_all(p->ioc, iov, n, &err);
            for (size_t i = 0; i < len; i++) {
                g_assert_cmpuint(buf[i], ==, pattern(p->seed, at + i));
            }
        }
        g_assert_no_error(err);
        at += len;
    }
    return NULL;
}

/* Both directions at once, a reader and a writer on each side. */
static void check_duplex(const char *server, const char *client, bool blocking)
{
    Pair p;
    Pump pumps[4];
    GThread *threads[4];

    good_pair(&p, server, client);
    g_assert_true(io_channel_set_blocking(p.server.tls, blocking, NULL));
    g_assert_true(io_channel_set_blocking(p.client.tls, blocking, NULL));
    pumps[0] = (Pump){p.server.tls, 8 * MiB, 1, true, true};
    pumps[1] = (Pump){p.client.tls, 8 * MiB, 1, false, true};
    pumps[2] = (Pump){p.client.tls, 8 * MiB, 2, true, false};
    pumps[3] = (Pump){p.server.tls, 8 * MiB, 2, false, false};
    for (unsigned i = 0; i < 4; i++) {
        threads[i] = g_thread_new("pump", pump, &pumps[i]);
    }
    for (unsigned i = 0; i < 4; i++) {
        g_thread_join(threads[i]);
    }
    pair_clear(&p);
}

static void test_duplex(void)
{
    check_duplex("server", "client", true);
    check_duplex("server", "client", false);
    check_duplex("server", "client12", true);
    check_duplex("server", "client-cbc", true);
    check_duplex("psk-server", "psk-client", true);
    check_duplex("anon-server", "anon-client", false);
}

static void test_shutdown(void)
{
    static const IOShutdown ways[] = {IO_SHUTDOWN_READ, IO_SHUTDOWN_BOTH};

    for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
        BusyThread r, w;
        Pair p;

        good_pair(&p, "server", "client");
        busy_thread_start(&r, p.client.tls, false);
        busy_thread_start(&w, p.client.tls, true);
        io_channel_shutdown(p.client.tls, ways[i]);
        busy_thread_join(&r);
        g_assert_no_error(r.error);
        io_channel_shutdown(p.client.tls, IO_SHUTDOWN_WRITE);
        busy_thread_join(&w);
        g_assert_nonnull(w.error);
        g_clear_error(&w.error);
        g_assert_true(io_channel_close(p.client.tls, NULL));
        g_assert_true(io_channel_close(p.client.tls, NULL));
        io_channel_shutdown(p.client.tls, IO_SHUTDOWN_BOTH);
        pair_clear(&p);
    }
}

/* A goodbye and none at all are both the end. */
static void test_end(void)
{
    for (unsigned polite = 0; polite < 2; polite++) {
        char buf[4];
        Pair p;

        good_pair(&p, "server", "client");
        g_assert_true(io_channel_write_all(p.client.tls, "last", 4, NULL));
        if (polite) {
            g_assert_true(io_channel_say_end(p.client.tls, NULL));
        } else {
            io_channel_close(p.client.tls, NULL);
        }
        g_assert_true(io_channel_read_all(p.server.tls, buf, 4, NULL));
        g_assert_cmpint(io_channel_read(p.server.tls, buf, 4, NULL), ==, 0);
        g_assert_cmpint(io_channel_read(p.server.tls, buf, 4, NULL), ==, 0);
        if (polite) {
            /* The other direction is still there. */
            g_assert_true(io_channel_write_all(p.server.tls, "yes", 3, NULL));
            g_assert_true(io_channel_read_all(p.client.tls, buf, 3, NULL));
        }
        pair_clear(&p);
    }
}

static void test_damaged(void)
{
    char record[64] = "\x17\x03\x03\x00\x20 damaged";
    char buf[16];
    g_autoptr(GError) err = NULL;
    Pair p;

    good_pair(&p, "server", "client");
    g_assert_true(io_channel_write_all(p.client.tls, "good", 4, NULL));
    g_assert_true(io_channel_write_all(p.client.base, record, 5 + 0x20, NULL));
    g_assert_cmpint(io_channel_read(p.server.tls, buf, sizeof(buf), NULL), ==, 4);
    g_assert_cmpint(io_channel_read(p.server.tls, buf, sizeof(buf), &err), ==, -1);
    g_assert_nonnull(strstr(err->message, "a record was damaged on its way"));
    g_clear_error(&err);
    g_assert_cmpint(io_channel_read(p.server.tls, buf, sizeof(buf), &err), ==, -1);
    g_assert_nonnull(strstr(err->message, "a record was damaged on its way"));
    pair_clear(&p);
}

/* The end in the middle of a record is the end, with nothing of that record delivered. */
static void test_truncated(void)
{
    char buf[16];
    g_autoptr(GError) err = NULL;
    Pair p;

    good_pair(&p, "server", "client");
    g_assert_true(io_channel_write_all(p.client.tls, "good", 4, NULL));
    g_assert_true(io_channel_write_all(p.client.base, "\x17\x03\x03\x01\x00half", 9, NULL));
    io_channel_shutdown(p.client.base, IO_SHUTDOWN_WRITE);
    g_assert_cmpint(io_channel_read(p.server.tls, buf, sizeof(buf), NULL), ==, 4);
    g_assert_cmpint(io_channel_read(p.server.tls, buf, sizeof(buf), &err), ==, -1);
    g_assert_nonnull(strstr(err->message, "the connection ended inside a record"));
    pair_clear(&p);
}

static gboolean note_ready(QIOChannel *ioc, GIOCondition cond, void *opaque)
{
    *(unsigned *)opaque += 1;
    return G_SOURCE_CONTINUE;
}

static void test_peek_and_watch(void)
{
    unsigned ready = 0;
    char buf[8];
    GSource *watch;
    Pair p;

    good_pair(&p, "server", "client");
    g_assert_true(io_channel_set_blocking(p.server.tls, false, NULL));
    g_assert_cmpint(io_channel_peek(p.server.tls, buf, 4, NULL), ==, IO_CHANNEL_WOULD_BLOCK);
    watch = io_channel_create_watch(p.server.tls, G_IO_IN);
    g_source_set_callback(watch, (GSourceFunc)(void (*)(void))note_ready, &ready, NULL);
    g_source_attach(watch, NULL);
    spin(5);
    g_assert_cmpuint(ready, ==, 0);
    /* Two records arrive together: peeking at the first takes both off the socket. */
    g_assert_true(io_channel_write_all(p.client.tls, "ab", 2, NULL));
    g_assert_true(io_channel_write_all(p.client.tls, "cdefgh", 6, NULL));
    while (!ready) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_cmpint(io_channel_peek(p.server.tls, buf, 4, NULL), ==, 4);
    g_assert_cmpint(io_channel_peek(p.server.tls, buf, 4, NULL), ==, 4);
    g_assert_cmpmem(buf, 4, "abcd", 4);
    ready = 0;
    while (!ready) {
        g_main_context_iteration(NULL, TRUE); /* what was taken off is still to be read */
    }
    g_assert_true(io_channel_wait(p.server.tls, G_IO_IN, 0));
    g_assert_true(io_channel_read_all(p.server.tls, buf, 8, NULL));
    g_assert_cmpmem(buf, 8, "abcdefgh", 8);
    g_assert_cmpint(io_channel_read(p.server.tls, buf, 8, NULL), ==, IO_CHANNEL_WOULD_BLOCK);
    ready = 0;
    spin(5);
    g_assert_cmpuint(ready, ==, 0);
    g_assert_false(io_channel_wait(p.server.tls, G_IO_IN, 0));
    io_channel_close(p.client.tls, NULL);
    while (!ready) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_cmpint(io_channel_peek(p.server.tls, buf, 4, NULL), ==, 0);
    g_source_destroy(watch);
    g_source_unref(watch);
    pair_clear(&p);
}

static void test_cipher_choice(void)
{
    Pair p;
    g_autofree char *how = NULL;

    good_pair(&p, "psk-server", "psk-client");
    how = io_channel_tls_describe(IO_CHANNEL_TLS(p.client.tls));
    g_assert_cmpstr(how, ==, "TLS1.3 AES-128-GCM"); /* not the slow ChaCha20 of the defaults */
    pair_clear(&p);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    make_fixture();
    g_main_context_iteration(NULL, FALSE); /* its wake-up descriptor is no leak */
    g_test_add_func("/channel-tls/matrix", test_matrix);
    g_test_add_func("/channel-tls/late-refusal", test_late_refusal);
    g_test_add_func("/channel-tls/no-hostname", test_no_hostname);
    g_test_add_func("/channel-tls/not-tls", test_not_tls);
    g_test_add_func("/channel-tls/cut", test_cut);
    g_test_add_func("/channel-tls/timeout", test_timeout);
    g_test_add_func("/channel-tls/cancel", test_cancel);
    g_test_add_func("/channel-tls/duplex", test_duplex);
    g_test_add_func("/channel-tls/shutdown", test_shutdown);
    g_test_add_func("/channel-tls/end", test_end);
    g_test_add_func("/channel-tls/damaged", test_damaged);
    g_test_add_func("/channel-tls/truncated", test_truncated);
    g_test_add_func("/channel-tls/peek-and-watch", test_peek_and_watch);
    g_test_add_func("/channel-tls/cipher-choice", test_cipher_choice);
    ret = g_test_run();
    drop_fixture();
    return ret;
}
