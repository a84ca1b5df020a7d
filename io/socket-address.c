/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <sys/socket.h>
#include <sys/un.h>
#include "io/socket-address.h"
#include "util/cutils.h"

#define HOST_MAX 64
#define PORT_MAX 32

/* ---- parse ---- */

/* "on", "off" or nothing (= on). */
static bool parse_flag(const char *key, const char *value, bool *has, bool *out, GError **errp)
{
    if (value && strcmp(value, "on") != 0 && strcmp(value, "off") != 0) {
        error_setg(errp, "error parsing '%s' flag '=%s'", key, value);
        return false;
    }
    *has = true;
    *out = !value || strcmp(value, "on") == 0;
    return true;
}

static bool parse_inet_option(InetSocketAddress *a, const char *key, const char *value,
                              GError **errp)
{
    const struct {
        const char *key;
        bool *has, *out;
    } flags[] = {
        {"ipv4", &a->has_ipv4, &a->ipv4},
        {"ipv6", &a->has_ipv6, &a->ipv6},
        {"keep-alive", &a->has_keep_alive, &a->keep_alive},
        {"mptcp", &a->has_mptcp, &a->mptcp},
        {"numeric", &a->has_numeric, &a->numeric},
    };
    uint64_t to;

    if (strcmp(key, "to") == 0) {
        if (!value || !parse_uint64(value, &to, NULL) || to > UINT16_MAX) {
            error_setg(errp, "error parsing to= argument");
            return false;
        }
        a->has_to = true;
        a->to = to;
        return true;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(flags); i++) {
        if (strcmp(key, flags[i].key) == 0) {
            return parse_flag(key, value, flags[i].has, flags[i].out, errp);
        }
    }
    error_setg(errp, "Invalid parameter '%s'", key);
    return false;
}

static bool parse_inet_options(InetSocketAddress *a, const char *text, GError **errp)
{
    g_auto(GStrv) options = g_strsplit(text, ",", -1);

    for (char **o = options; *o; o++) {
        char *value = strchr(*o, '=');

        if (value) {
            *value++ = '\0';
        } else if (!**o && !o[1]) {
            break; /* a trailing comma is legal */
        }
        if (!parse_inet_option(a, *o, value, errp)) {
            return false;
        }
    }
    return true;
}

SocketAddress *socket_address_parse_inet(const char *text, GError **errp)
{
    const char *host = text, *host_end, *port, *end = text + strcspn(text, ",");
    const char *kind = text[0] == '['   ? "IPv6 address"
                       : text[0] == ':' ? "port in address"
                                        : "address";
    g_autoptr(SocketAddress) addr = g_new0(SocketAddress, 1);

    if (text[0] == '[') {
        host++;
        host_end = memchr(host, ']', end - host);
        port = host_end ? host_end + 1 : end;
    } else {
        host_end = port = memchr(text, ':', end - text);
    }
    if (!host_end || port == end || *port != ':' || port + 1 == end || host_end - host > HOST_MAX ||
        end - (port + 1) > PORT_MAX || (text[0] == '[' && host == host_end) ||
        memchr(port + 1, ':', end - (port + 1))) {
        error_setg(errp, "error parsing %s '%s'", kind, text);
        return NULL;
    }
    addr->type = SOCKET_ADDRESS_TYPE_INET;
    addr->u.inet = g_new0(InetSocketAddress, 1);
    addr->u.inet->host = g_strndup(host, host_end - host);
    addr->u.inet->port = g_strndup(port + 1, end - (port + 1));
    if ((*end && !parse_inet_options(addr->u.inet, end + 1, errp)) ||
        !socket_address_check(addr, errp)) {
        return NULL;
    }
    return g_steal_pointer(&addr);
}

static SocketAddress *parse_vsock(const char *text, GError **errp)
{
    const char *colon = strchr(text, ':');
    g_autoptr(SocketAddress) addr = NULL;

    if (!colon || colon == text || !colon[1]) {
        error_setg(errp, "error parsing address '%s'", text);
        return NULL;
    }
    addr = g_new0(SocketAddress, 1);
    addr->type = SOCKET_ADDRESS_TYPE_VSOCK;
    addr->u.vsock = g_new0(VsockSocketAddress, 1);
    addr->u.vsock->cid = g_strndup(text, colon - text);
    addr->u.vsock->port = g_strdup(colon + 1);
    return socket_address_check(addr, errp) ? g_steal_pointer(&addr) : NULL;
}

SocketAddress *socket_address_parse(const char *text, GError **errp)
{
    g_autoptr(SocketAddress) addr = NULL;
    const char *rest;

    if (g_str_has_prefix(text, "tcp:")) {
        return socket_address_parse_inet(text + strlen("tcp:"), errp);
    }
    if (g_str_has_prefix(text, "vsock:")) {
        return parse_vsock(text + strlen("vsock:"), errp);
    }
    addr = g_new0(SocketAddress, 1);
    if (g_str_has_prefix(text, "unix:")) {
        rest = text + strlen("unix:");
        addr->type = SOCKET_ADDRESS_TYPE_UNIX;
        addr->u.q_unix = g_new0(UnixSocketAddress, 1);
        addr->u.q_unix->path = g_strdup(rest);
    } else if (g_str_has_prefix(text, "fd:")) {
        rest = text + strlen("fd:");
        addr->type = SOCKET_ADDRESS_TYPE_FD;
        addr->u.fd = g_new0(FdSocketAddress, 1);
        addr->u.fd->str = g_strdup(rest);
    } else {
        error_setg(errp, "unknown socket address '%s', expected tcp:, unix:, vsock: or fd:", text);
        return NULL;
    }
    return socket_address_check(addr, errp) ? g_steal_pointer(&addr) : NULL;
}

/* ---- check ---- */

static bool all_digits(const char *s)
{
    return *s && s[strspn(s, "0123456789")] == '\0';
}

static bool check_inet(const InetSocketAddress *a, GError **errp)
{
    bool number = all_digits(a->port);
    uint64_t port = 0;

    if (number && (!parse_uint64(a->port, &port, NULL) || port > UINT16_MAX)) {
        error_setg(errp, "port '%s' is above 65535", a->port);
        return false;
    }
    if (number && a->has_to && a->to < port) {
        error_setg(errp, "no port between %s and %u", a->port, a->to);
        return false;
    }
    if (a->has_ipv4 && !a->ipv4 && a->has_ipv6 && !a->ipv6) {
        error_setg(errp, "Cannot disable IPv4 and IPv6 at same time");
        return false;
    }
    return true;
}

static bool check_unix(const UnixSocketAddress *a, GError **errp)
{
    bool abstract = a->has_abstract && a->abstract;
    /* A path may fill the field without a terminator; an abstract name has a zero byte in front. */
    size_t max = sizeof(((struct sockaddr_un *)NULL)->sun_path) - abstract;

    if (!a->path[0]) {
        error_setg(errp, "invalid Unix socket address");
        return false;
    }
    if (strlen(a->path) > max) {
        error_setg(errp, "UNIX socket path '%s' is too long", a->path);
        return false;
    }
    return true;
}

static bool check_vsock(const VsockSocketAddress *a, GError **errp)
{
    uint64_t n;

    if (!all_digits(a->cid) || !parse_uint64(a->cid, &n, NULL) || n > UINT32_MAX) {
        error_setg(errp, "Failed to parse cid '%s'", a->cid);
        return false;
    }
    if (!all_digits(a->port) || !parse_uint64(a->port, &n, NULL) || n > UINT32_MAX) {
        error_setg(errp, "Failed to parse port '%s'", a->port);
        return false;
    }
    return true;
}

bool socket_address_check(const SocketAddress *addr, GError **errp)
{
    switch (addr->type) {
    case SOCKET_ADDRESS_TYPE_INET:
        return check_inet(addr->u.inet, errp);
    case SOCKET_ADDRESS_TYPE_UNIX:
        return check_unix(addr->u.q_unix, errp);
    case SOCKET_ADDRESS_TYPE_VSOCK:
        return check_vsock(addr->u.vsock, errp);
    default:
        return true;
    }
}

/* ---- format ---- */

char *socket_address_to_peer_string(const SocketAddress *addr)
{
    switch (addr->type) {
    case SOCKET_ADDRESS_TYPE_INET:
        return g_strdup_printf(strchr(addr->u.inet->host, ':') ? "[%s]:%s" : "%s:%s",
                               addr->u.inet->host, addr->u.inet->port);
    case SOCKET_ADDRESS_TYPE_UNIX:
        return g_strdup(addr->u.q_unix->path);
    case SOCKET_ADDRESS_TYPE_VSOCK:
        return g_strdup_printf("%s:%s", addr->u.vsock->cid, addr->u.vsock->port);
    default:
        return g_strdup(addr->u.fd->str);
    }
}

char *socket_address_to_string(const SocketAddress *addr)
{
    static const char *const prefixes[] = {
        [SOCKET_ADDRESS_TYPE_INET] = "tcp",
        [SOCKET_ADDRESS_TYPE_UNIX] = "unix",
        [SOCKET_ADDRESS_TYPE_VSOCK] = "vsock",
        [SOCKET_ADDRESS_TYPE_FD] = "fd",
    };
    g_autofree char *peer = socket_address_to_peer_string(addr);

    return g_strdup_printf("%s:%s", prefixes[addr->type], peer);
}
