/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loading of TLS credentials and secrets, authz objects: one clear error for each way to be wrong.
 */
#include <sys/stat.h>
#include "io/authz.h"
#include "io/psk-file.h"
#include "io/secret.h"
#include "tls-test-certs.h"

static void expect_error(GError **err, const char *text)
{
    g_assert_nonnull(*err);
    if (!strstr((*err)->message, text)) {
        g_error("'%s' does not contain '%s'", (*err)->message, text);
    }
    g_clear_error(err);
}

/* ---- x509 ---- */

typedef struct {
    char *dir;
    ObjectRegistry *reg;
    TestCert ca, server, client;
} Pki;

static const TestCertSpec ca_spec = {.dn = "CN=Test CA", .ca = true};
static const TestCertSpec server_spec = {.dn = "CN=dst", .dns = "dst.example.org", .server = true};
static const TestCertSpec client_spec = {.dn = "CN=src,O=Lab", .client = true};

static void pki_init(Pki *p)
{
    p->dir = make_dir();
    p->reg = object_registry_new();
    p->ca = test_cert(&ca_spec, NULL);
    p->server = test_cert(&server_spec, &p->ca);
    p->client = test_cert(&client_spec, &p->ca);
    write_cert(p->dir, "ca-cert.pem", &p->ca);
    write_cert(p->dir, "server-cert.pem", &p->server);
    write_key(p->dir, "server-key.pem", &p->server, NULL);
    write_cert(p->dir, "client-cert.pem", &p->client);
    write_key(p->dir, "client-key.pem", &p->client, NULL);
}

static void pki_clear(Pki *p)
{
    object_registry_free(p->reg);
    remove_dir(p->dir);
    test_cert_free(&p->ca);
    test_cert_free(&p->server);
    test_cert_free(&p->client);
}

#define SERVER "{'dir':'%s','endpoint':'server'}"
#define CLIENT "{'dir':'%s'}"

static void refuse(Pki *p, const char *props, const char *text)
{
    g_autoptr(GError) err = NULL;

    g_assert_null(make_object(p->reg, "tls-creds-x509", "t", props, p->dir, &err));
    expect_error(&err, text);
}

static void accept(Pki *p, const char *props)
{
    g_autoptr(GError) err = NULL;

    make_object(p->reg, "tls-creds-x509", "t", props, p->dir, &err);
    g_assert_no_error(err);
    g_assert_true(object_registry_remove(p->reg, "t", NULL));
}

static void without(Pki *p, const char *name)
{
    g_autofree char *path = g_build_filename(p->dir, name, NULL);

    g_assert_cmpint(g_unlink(path), ==, 0);
}

static void test_x509_files(void)
{
    g_autofree char *path = NULL;
    Pki p;

    pki_init(&p);
    accept(&p, SERVER);
    accept(&p, CLIENT);
    refuse(&p, "{}", "'dir' must be given");
    refuse(&p, "{'dir':'%s/none'}", "ca-cert.pem: No such file");
    refuse(&p, "{'dir':'%s','endpoint':'both'}", "does not accept value 'both'");
    refuse(&p, "{'dir':'%s','priority':'NORMAL:+NONSENSE'}", "'priority' is not understood");
    refuse(&p, "{'dir':'%s','passwordid':'none'}", "No secret with id 'none'");
    accept(&p, "{'dir':'%s','priority':'NORMAL:-VERS-TLS1.2'}");

    write_text(p.dir, "dh-params.pem", "junk");
    refuse(&p, SERVER, "No Diffie-Hellman parameters in");
    without(&p, "dh-params.pem");
    write_text(p.dir, "ca-crl.pem", "junk");
    refuse(&p, CLIENT, "Nothing to use in");
    without(&p, "ca-crl.pem");
    write_key(p.dir, "server-key.pem", &p.client, NULL);
    refuse(&p, SERVER, "is not the key of");
    write_text(p.dir, "server-key.pem", "junk");
    refuse(&p, SERVER, "No use for certificate");
    without(&p, "server-key.pem");
    refuse(&p, SERVER, "only one of server-cert.pem and server-key.pem");
    without(&p, "server-cert.pem");
    refuse(&p, SERVER, "server-cert.pem: No such file");
    without(&p, "client-key.pem");
    refuse(&p, CLIENT, "only one of client-cert.pem and client-key.pem");
    without(&p, "client-cert.pem");
    accept(&p, CLIENT); /* a client without a certificate */
    write_text(p.dir, "ca-cert.pem", "junk");
    refuse(&p, CLIENT, "No certificate in");
    refuse(&p, "{'dir':'%s','sanity-check':false}", "Nothing to use in");
    without(&p, "ca-cert.pem");
    path = g_build_filename(p.dir, "ca-cert.pem", NULL);
    g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
    refuse(&p, CLIENT, "is not a file");
    g_rmdir(path);
    pki_clear(&p);
}

static void test_x509_permissions(void)
{
    g_autofree char *path = NULL;
    Pki p;

    if (geteuid() == 0) {
        g_test_skip("root may read everything");
        return;
    }
    pki_init(&p);
    path = g_build_filename(p.dir, "server-key.pem", NULL);
    g_assert_cmpint(chmod(path, 0), ==, 0);
    refuse(&p, SERVER, "server-key.pem: Permission denied");
    pki_clear(&p);
}

static void replace(Pki *p, const char *name, const TestCertSpec *spec, const TestCert *signer)
{
    g_autofree char *cert = g_strconcat(name, "-cert.pem", NULL);
    g_autofree char *key = g_strconcat(name, "-key.pem", NULL);
    TestCert c = test_cert(spec, signer);

    write_cert(p->dir, cert, &c);
    write_key(p->dir, key, &c, NULL);
    test_cert_free(&c);
}

/* server-cert-0.pem and so on are checked like the plain ones, and one pair of all is enough. */
static void test_x509_pairs(void)
{
    static const TestCertSpec newer = {
        .dn = "CN=dst", .dns = "dst.example.org", .server = true, .ed25519 = true};
    static const TestCertSpec old = {
        .dn = "CN=dst", .server = true, .from_days = -9, .until_days = -2};
    TestCert c;
    Pki p;

    pki_init(&p);
    c = test_cert(&newer, &p.ca);
    write_cert(p.dir, "server-cert-0.pem", &c);
    refuse(&p, SERVER, "only one of server-cert-0.pem and server-key-0.pem");
    write_key(p.dir, "server-key-0.pem", &p.server, NULL);
    refuse(&p, SERVER, "server-key-0.pem is not the key of ");
    write_key(p.dir, "server-key-0.pem", &c, NULL);
    accept(&p, SERVER);
    accept(&p, CLIENT);
    without(&p, "server-cert.pem");
    refuse(&p, SERVER, "only one of server-cert.pem and server-key.pem");
    without(&p, "server-key.pem");
    accept(&p, SERVER);
    test_cert_free(&c);
    c = test_cert(&old, &p.ca);
    write_cert(p.dir, "server-cert-4.pem", &c);
    write_key(p.dir, "server-key-4.pem", &c, NULL);
    refuse(&p, SERVER, "server-cert-4.pem has expired");
    accept(&p, "{'dir':'%s','endpoint':'server','sanity-check':false}");
    test_cert_free(&c);
    pki_clear(&p);
}

static void test_x509_sanity(void)
{
    static const struct {
        TestCertSpec spec;
        const char *error;
    } cases[] = {
        {{.dn = "CN=a", .server = true, .from_days = -9, .until_days = -2}, "has expired"},
        {{.dn = "CN=a", .server = true, .from_days = 2, .until_days = 9}, "is not yet active"},
        {{.dn = "CN=a", .server = true, .ca = true}, "is one of a certificate authority"},
        {{.dn = "CN=a", .client = true}, "does not include being a TLS server"},
        {{.dn = "CN=a", .usage = GNUTLS_KEY_CRL_SIGN}, "key usage"},
    };
    TestCert foreign;
    Pki p;

    pki_init(&p);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        replace(&p, "server", &cases[i].spec, &p.ca);
        refuse(&p, SERVER, cases[i].error);
        accept(&p, "{'dir':'%s','endpoint':'server','sanity-check':false}");
    }
    foreign = test_cert(&ca_spec, NULL);
    replace(&p, "server", &server_spec, &foreign);
    refuse(&p, SERVER, "does not verify against");
    write_cert(p.dir, "ca-cert.pem", &p.client);
    refuse(&p, CLIENT, "is not one of a certificate authority");
    test_cert_free(&foreign);
    pki_clear(&p);
}

static void test_x509_password(void)
{
    g_autoptr(GError) err = NULL;
    Pki p;

    pki_init(&p);
    write_key(p.dir, "server-key.pem", &p.server, "sesame");
    refuse(&p, SERVER, "'passwordid' must name a secret");
    make_object(p.reg, "secret", "wrong", "{'data':'open'}", NULL, &err);
    make_object(p.reg, "secret", "right", "{'data':'sesame'}", NULL, &err);
    g_assert_no_error(err);
    refuse(&p, "{'dir':'%s','endpoint':'server','passwordid':'wrong'}", "cannot be decrypted");
    accept(&p, "{'dir':'%s','endpoint':'server','passwordid':'right'}");
    pki_clear(&p);
}

/* ---- psk and anon ---- */

static void test_psk(void)
{
    ObjectRegistry *reg = object_registry_new();
    char *dir = make_dir();
    static const struct {
        const char *keys, *props, *error;
    } cases[] = {
        {"qemu:00ff\n", "{'dir':'%s'}", NULL},
        {"qemu:00ff", "{'dir':'%s','endpoint':'server'}", NULL},
        {"# comment\r\n\r\na:00\r\nb:11", "{'dir':'%s','username':'b'}", NULL},
        {"a:00\n", "{'dir':'%s'}", "has no key for user 'qemu'"},
        {"a:00\n", "{'dir':'%s','endpoint':'server','username':'a'}", "for endpoint=client"},
        {"a:0\n", "{'dir':'%s'}", "line 1: the key of user 'a'"},
        {"a:00\na:01\n", "{'dir':'%s'}", "line 2: a second key for user 'a'"},
        {"nonsense\n", "{'dir':'%s'}", "line 1: expected USER:HEXKEY"},
        {"", "{'dir':'%s'}", "no key in it"},
        {"a:zz\n", "{'dir':'%s'}", "line 1: the key of user 'a'"},
        {"a:00\n", "{}", "'dir' must be given"},
        {"a:00\n", "{'dir':'%s/none'}", "keys.psk: No such file"},
        {"a:00\n", "{'dir':'%s','verify-peer':'maybe'}", "expects 'on' or 'off'"},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autoptr(GError) err = NULL;
        GObject *obj;

        write_text(dir, "keys.psk", cases[i].keys);
        obj = make_object(reg, "tls-creds-psk", "p", cases[i].props, dir, &err);
        if (cases[i].error) {
            g_assert_null(obj);
            expect_error(&err, cases[i].error);
        } else {
            g_assert_no_error(err);
            g_assert_true(object_registry_remove(reg, "p", NULL));
        }
    }
    object_registry_free(reg);
    remove_dir(dir);
}

/* Any bytes: keys or an error, and nothing read outside. */
static void test_psk_hostile(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    static const char alphabet[] = "ab:0f\n\r# \0\xff";

    for (unsigned i = 0; i < 20000; i++) {
        unsigned len = g_rand_int_range(rand, 0, 40);
        g_autofree char *text = g_malloc(len); /* exactly: the sanitizers see one byte too far */
        g_autoptr(GError) err = NULL;
        g_autoptr(GHashTable) keys = NULL;

        for (unsigned j = 0; j < len; j++) {
            text[j] = alphabet[g_rand_int_range(rand, 0, sizeof(alphabet) - 1)];
        }
        keys = psk_file_parse(text, len, &err);
        g_assert_true(!keys == !!err);
    }
}

static void test_anon(void)
{
    ObjectRegistry *reg = object_registry_new();
    g_autoptr(GError) err = NULL;
    GObject *obj = make_object(reg, "tls-creds-anon", "a", "{'endpoint':'server'}", NULL, &err);

    g_assert_no_error(err);
    g_assert_true(tls_creds_check(obj, "a", TLS_ENDPOINT_SERVER, &err) == GW_TLS_CREDS(obj));
    g_assert_null(tls_creds_check(obj, "a", TLS_ENDPOINT_CLIENT, &err));
    expect_error(&err, "Expected TLS credentials for a client endpoint");
    g_assert_null(tls_creds_check(NULL, "b", TLS_ENDPOINT_CLIENT, &err));
    expect_error(&err, "No TLS credentials with id 'b'");
    obj = make_object(reg, "secret", "s", "{'data':'x'}", NULL, &err);
    g_assert_null(tls_creds_check(obj, "s", TLS_ENDPOINT_CLIENT, &err));
    expect_error(&err, "Object with id 's' is not TLS credentials");
    object_registry_free(reg);
}

/* ---- secrets ---- */

static void test_secret(void)
{
    ObjectRegistry *reg = object_registry_new();
    char *dir = make_dir();
    static const struct {
        const char *props, *error;
    } bad[] = {
        {"{}", "exactly one of 'data' and 'file'"},
        {"{'data':'a','file':'/x'}", "exactly one of 'data' and 'file'"},
        {"{'file':'%s/none'}", "No such file"},
        {"{'data':'a*','format':'base64'}", "is not base64"},
        {"{'data':'a','keyid':'none'}", "No secret with id 'none'"},
        {"{'data':'a','keyid':'master'}", "'iv' must be given"},
        {"{'data':'a','keyid':'master','iv':'AAAA'}", "AES-256-CBC needs"},
        {"{'data':'AAAAAAAAAAAAAAAAAAAAAA==','format':'base64','keyid':'master',"
         "'iv':'AAAAAAAAAAAAAAAAAAAAAA=='}",
         "no valid padding"},
    };
    g_autoptr(GError) err = NULL;
    char *password;

    /* echo -n sesame | openssl enc -aes-256-cbc -K 3031...(32 times "0") -iv 0... -base64 */
    make_object(reg, "secret", "master", "{'data':'00000000000000000000000000000000'}", NULL, &err);
    g_assert_no_error(err);
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        g_assert_null(make_object(reg, "secret", "s", bad[i].props, dir, &err));
        expect_error(&err, bad[i].error);
    }
    make_object(reg, "secret", "s",
                "{'data':'C2oqxZcFTou3nqxEeBxZ0g==','format':'base64','keyid':'master',"
                "'iv':'AAAAAAAAAAAAAAAAAAAAAA=='}",
                NULL, &err);
    g_assert_no_error(err);
    password = secret_lookup_password(reg, "s", &err);
    g_assert_cmpstr(password, ==, "sesame");
    secret_free_password(password);
    make_object(reg, "secret", "nul", "{'data':'AGE=','format':'base64'}", NULL, &err);
    g_assert_null(secret_lookup_password(reg, "nul", &err));
    expect_error(&err, "contains a NUL byte");
    object_registry_free(reg);
    remove_dir(dir);
}

/* ---- authz ---- */

static Authz *make_authz(ObjectRegistry *reg, const char *type, const char *props, const char *dir,
                         GError **errp)
{
    return (Authz *)make_object(reg, type, "z", props, dir, errp);
}

static void test_authz(void)
{
    static const struct {
        const char *type, *props, *error;
        const char *allowed, *denied;
    } cases[] = {
        {"authz-simple", "{}", "'identity' must be given"},
        {"authz-simple", "{'identity':'CN=a'}", NULL, "CN=a", "CN=A"},
        {"authz-list", "{}", NULL, NULL, "CN=a"},
        {"authz-list", "{'policy':'allow'}", NULL, "CN=a"},
        {"authz-list", "{'policy':'perhaps'}", "a policy is 'allow' or 'deny'"},
        {"authz-list", "{'rules':[{'match':'CN=a','policy':'allow'}]}", NULL, "CN=a", "CN=b"},
        {"authz-list", "{'rules':[{'match':'*b','policy':'allow','format':'glob'}]}", NULL, "CN=b",
         "CN=bc"},
        {"authz-list", "{'rules':[{'match':'*b','policy':'allow'}]}", NULL, "*b", "CN=b"},
        {"authz-list",
         "{'policy':'allow','rules':[{'match':'CN=a','policy':'deny'},"
         "{'match':'CN=*','format':'glob','policy':'allow'}]}",
         NULL, "CN=b", "CN=a"},
        {"authz-list", "{'rules':['x']}", "rule 0: expected an object"},
        {"authz-list", "{'rules':[{'match':'a'}]}", "rule 0: expected the strings"},
        {"authz-list", "{'rules':[{'match':'a','policy':1}]}", "rule 0: expected the strings"},
        {"authz-list", "{'rules':[{'match':'a','policy':'deny','x':'y'}]}", "rule 0: expected"},
        {"authz-list", "{'rules':[{'match':'a','policy':'deny','format':'regex'}]}",
         "'format' is 'exact' or 'glob'"},
        {"authz-list", "{'rules':{}}", "rules are a list"},
        {"authz-list-file", "{}", "'filename' must be given"},
        {"authz-list-file", "{'filename':'%s/none'}", "No such file"},
        {"authz-list-file", "{'filename':'%s'}", "is not a file"},
    };
    char *dir = make_dir();

    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        ObjectRegistry *reg = object_registry_new();
        g_autoptr(GError) err = NULL;
        Authz *z = make_authz(reg, cases[i].type, cases[i].props, dir, &err);

        if (cases[i].error) {
            g_assert_null(z);
            expect_error(&err, cases[i].error);
        } else {
            g_assert_no_error(err);
            g_assert_true(!cases[i].allowed || authz_is_allowed(z, cases[i].allowed));
            g_assert_false(cases[i].denied && authz_is_allowed(z, cases[i].denied));
        }
        object_registry_free(reg);
    }
    remove_dir(dir);
}

static void test_authz_file(void)
{
    static const char *const damaged[] = {
        "",
        "[]",
        "{",
        "{\"policy\":1}",
        "{\"rules\":1}",
        "{\"rules\":[1]}",
        "{\"x\":[]}",
        "\0",
        "{\"policy\":\"open\"}",
    };
    ObjectRegistry *reg = object_registry_new();
    char *dir = make_dir();
    g_autoptr(GString) deep = g_string_new("{\"rules\":");
    g_autoptr(GError) err = NULL;
    Authz *z;

    write_text(dir, "l", "{\"rules\":[{\"match\":\"a\",\"policy\":\"allow\"}]}");
    z = make_authz(reg, "authz-list-file", "{'filename':'%s/l'}", dir, &err);
    g_assert_no_error(err);
    g_assert_true(authz_is_allowed(z, "a"));
    g_assert_false(authz_is_allowed(z, "bb"));
    write_text(dir, "l", "{\"rules\":[{\"match\":\"bb\",\"policy\":\"allow\"}]}");
    g_assert_false(authz_is_allowed(z, "a"));
    g_assert_true(authz_is_allowed(z, "bb"));
    for (unsigned i = 0; i < ARRAY_SIZE(damaged); i++) {
        write_text(dir, "l", damaged[i]);
        g_assert_false(authz_is_allowed(z, "bb"));
    }
    for (unsigned i = 0; i < 100000; i++) {
        g_string_append_c(deep, '[');
    }
    write_text(dir, "l", deep->str);
    g_assert_false(authz_is_allowed(z, "bb"));
    object_registry_free(reg);
    remove_dir(dir);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tls-creds/x509/files", test_x509_files);
    g_test_add_func("/tls-creds/x509/permissions", test_x509_permissions);
    g_test_add_func("/tls-creds/x509/pairs", test_x509_pairs);
    g_test_add_func("/tls-creds/x509/sanity", test_x509_sanity);
    g_test_add_func("/tls-creds/x509/password", test_x509_password);
    g_test_add_func("/tls-creds/psk", test_psk);
    g_test_add_func("/tls-creds/psk/hostile", test_psk_hostile);
    g_test_add_func("/tls-creds/anon", test_anon);
    g_test_add_func("/tls-creds/secret", test_secret);
    g_test_add_func("/tls-creds/authz", test_authz);
    g_test_add_func("/tls-creds/authz/file", test_authz_file);
    return g_test_run();
}
