/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text and object forms of socket addresses: spec 35 sections 2.1, 2.4, 2.5. */
#include "io/socket-address.h"

typedef enum { NONE, ON, OFF } Flag;

static void check_flag(bool has, bool value, Flag want)
{
    g_assert_cmpint(has ? (value ? ON : OFF) : NONE, ==, want);
}

static void test_inet(void)
{
    static const struct {
        const char *text, *host, *port;
        Flag ipv4, ipv6, keep_alive, mptcp, numeric;
        int to; /* -1: absent */
    } rows[] = {
        {":4444", "", "4444", .to = -1},
        {"127.0.0.1:4444", "127.0.0.1", "4444", .to = -1},
        {"localhost:http", "localhost", "http", .to = -1},
        {"0:0", "0", "0", .to = -1},
        {"[::1]:65535", "::1", "65535", .to = -1},
        {"h:1,", "h", "1", .to = -1},
        {"h:1,to=9", "h", "1", .to = 9},
        {"h:1,ipv4", "h", "1", .ipv4 = ON, .to = -1},
        {"h:1,ipv4=on,ipv6=off", "h", "1", .ipv4 = ON, .ipv6 = OFF, .to = -1},
        {"[fe80::1%lo]:1,ipv6=on,keep-alive,mptcp=off,numeric,to=1", "fe80::1%lo", "1", .ipv6 = ON,
         .keep_alive = ON, .mptcp = OFF, .numeric = ON, .to = 1},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) err = NULL;
        g_autofree char *uri = g_strconcat("tcp:", rows[i].text, NULL);
        g_autoptr(SocketAddress) addr = socket_address_parse(uri, &err);
        InetSocketAddress *a;

        g_assert_no_error(err);
        g_assert_cmpint(addr->type, ==, SOCKET_ADDRESS_TYPE_INET);
        a = addr->u.inet;
        g_assert_cmpstr(a->host, ==, rows[i].host);
        g_assert_cmpstr(a->port, ==, rows[i].port);
        check_flag(a->has_ipv4, a->ipv4, rows[i].ipv4);
        check_flag(a->has_ipv6, a->ipv6, rows[i].ipv6);
        check_flag(a->has_keep_alive, a->keep_alive, rows[i].keep_alive);
        check_flag(a->has_mptcp, a->mptcp, rows[i].mptcp);
        check_flag(a->has_numeric, a->numeric, rows[i].numeric);
        g_assert_cmpint(a->has_to ? a->to : -1, ==, rows[i].to);
    }
}

static void test_errors(void)
{
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"tcp:127.0.0.1", "error parsing address '127.0.0.1'"},
        {"tcp:", "error parsing address ''"},
        {"tcp:h:", "error parsing address 'h:'"},
        {"tcp:h:1:2", "error parsing address 'h:1:2'"},
        {"tcp:::1:4444", "error parsing port in address '::1:4444'"},
        {"tcp::", "error parsing port in address ':'"},
        {"tcp:,to=3", "error parsing address ',to=3'"},
        {"tcp:[::1", "error parsing IPv6 address '[::1'"},
        {"tcp:[::1]", "error parsing IPv6 address '[::1]'"},
        {"tcp:[::1]:", "error parsing IPv6 address '[::1]:'"},
        {"tcp:[]:1", "error parsing IPv6 address '[]:1'"},
        {"tcp:h:1,to=abc", "error parsing to= argument"},
        {"tcp:h:1,to", "error parsing to= argument"},
        {"tcp:h:1,to=65536", "error parsing to= argument"},
        {"tcp:h:9,to=8", "no port between 9 and 8"},
        {"tcp:h:1,ipv4=maybe", "error parsing 'ipv4' flag '=maybe'"},
        {"tcp:h:1,keep-alive=", "error parsing 'keep-alive' flag '='"},
        {"tcp:h:1,,ipv4", "Invalid parameter ''"},
        {"tcp:h:1,bogus=1", "Invalid parameter 'bogus'"},
        {"tcp:h:65536", "port '65536' is above 65535"},
        {"tcp:h:99999999999999999999999", "port '99999999999999999999999' is above 65535"},
        {"tcp:h:1,ipv4=off,ipv6=off", "Cannot disable IPv4 and IPv6 at same time"},
        {"unix:", "invalid Unix socket address"},
        {"vsock:1", "error parsing address '1'"},
        {"vsock::1", "error parsing address ':1'"},
        {"vsock:1:", "error parsing address '1:'"},
        {"vsock:x:1", "Failed to parse cid 'x'"},
        {"vsock:0x1:1", "Failed to parse cid '0x1'"},
        {"vsock:4294967296:1", "Failed to parse cid '4294967296'"},
        {"vsock:1:y", "Failed to parse port 'y'"},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) err = NULL;

        g_assert_null(socket_address_parse(rows[i].text, &err));
        g_assert_cmpstr(err->message, ==, rows[i].error);
    }
}

static void test_limits(void)
{
    g_autofree char *long64 = g_strnfill(64, 'h'), *long65 = g_strnfill(65, 'h');
    g_autofree char *port32 = g_strnfill(32, 'p'), *port33 = g_strnfill(33, 'p');
    g_autofree char *path108 = g_strnfill(108, 'x'), *path109 = g_strnfill(109, 'x');
    g_autofree char *ok = g_strdup_printf("%s:%s", long64, port32);
    g_autofree char *bad_host = g_strdup_printf("%s:1", long65);
    g_autofree char *bad_port = g_strdup_printf("h:%s", port33);
    g_autoptr(SocketAddress) addr = socket_address_parse_inet(ok, NULL);
    UnixSocketAddress un = {.path = path108};
    SocketAddress a = {.type = SOCKET_ADDRESS_TYPE_UNIX, .u.q_unix = &un};
    g_autoptr(GError) err = NULL;

    g_assert_nonnull(addr);
    g_assert_null(socket_address_parse_inet(bad_host, NULL));
    g_assert_null(socket_address_parse_inet(bad_port, NULL));
    g_assert_true(socket_address_check(&a, NULL));
    un.has_abstract = un.abstract = true;
    g_assert_false(socket_address_check(&a, NULL));
    un.abstract = false;
    un.path = path109;
    g_assert_false(socket_address_check(&a, &err));
    g_assert_true(g_str_has_prefix(err->message, "UNIX socket path 'xxx"));
    g_assert_true(g_str_has_suffix(err->message, "xxx' is too long"));
}

static void test_format(void)
{
    static const char *const same[] = {"tcp:127.0.0.1:4444", "tcp:[::1]:1", "tcp::0", "unix:/a,b",
                                       "vsock:4294967295:7", "fd:name",     "fd:7"};
    g_autoptr(SocketAddress) v6 = socket_address_parse("tcp:[::1]:1,ipv6=on", NULL);
    g_autofree char *peer = socket_address_to_peer_string(v6);

    for (unsigned i = 0; i < G_N_ELEMENTS(same); i++) {
        g_autoptr(SocketAddress) addr = socket_address_parse(same[i], NULL);
        g_autofree char *text = NULL;

        g_assert_nonnull(addr);
        text = socket_address_to_string(addr);
        g_assert_cmpstr(text, ==, same[i]);
    }
    g_assert_cmpstr(peer, ==, "[::1]:1");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/socket-address/inet", test_inet);
    g_test_add_func("/socket-address/errors", test_errors);
    g_test_add_func("/socket-address/limits", test_limits);
    g_test_add_func("/socket-address/format", test_format);
    return g_test_run();
}
