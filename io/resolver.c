/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>
#include <linux/vm_sockets.h>
#include "io/resolver.h"
#include "io/socket-address.h"

/* The table of spec 35 section 2.1; both off never gets here. */
static int inet_family(const InetSocketAddress *a, bool listening)
{
    bool v4_on = a->has_ipv4 && a->ipv4, v6_on = a->has_ipv6 && a->ipv6;

    if (v4_on && v6_on) {
        return listening && !a->host[0] ? AF_INET6 : AF_UNSPEC;
    }
    if (v6_on || (a->has_ipv4 && !a->ipv4)) {
        return AF_INET6;
    }
    if (v4_on || (a->has_ipv6 && !a->ipv6)) {
        return AF_INET;
    }
    return AF_UNSPEC;
}

static bool resolve_inet(GArray *out, const InetSocketAddress *a, bool listening, GError **errp)
{
    struct addrinfo hints = {.ai_family = inet_family(a, listening), .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int err;

    hints.ai_flags = listening ? AI_PASSIVE : AI_CANONNAME | AI_ADDRCONFIG | AI_V4MAPPED;
    if (a->has_numeric && a->numeric) {
        hints.ai_flags |= AI_NUMERICHOST | AI_NUMERICSERV;
    }
    err = getaddrinfo(a->host[0] ? a->host : NULL, a->port, &hints, &list);
    if (err == EAI_BADFLAGS) {
        hints.ai_flags &= ~AI_V4MAPPED;
        err = getaddrinfo(a->host[0] ? a->host : NULL, a->port, &hints, &list);
    }
    if (err) {
        error_setg(errp, "address resolution failed for %s:%s: %s", a->host, a->port,
                   err == EAI_SYSTEM ? g_strerror(errno) : gai_strerror(err));
        return false;
    }
    for (struct addrinfo *i = list; i; i = i->ai_next) {
        ResolvedAddress r = {.family = i->ai_family, .len = i->ai_addrlen};

        if (i->ai_addrlen <= sizeof(r.sa)) {
            r.protocol = a->has_mptcp && a->mptcp ? IPPROTO_MPTCP : i->ai_protocol;
            memcpy(&r.sa, i->ai_addr, i->ai_addrlen);
            g_array_append_val(out, r);
        }
    }
    freeaddrinfo(list);
    return true;
}

static void resolve_unix(GArray *out, const UnixSocketAddress *a)
{
    ResolvedAddress r = {.family = AF_UNIX};
    struct sockaddr_un *un = (struct sockaddr_un *)&r.sa;
    bool abstract = a->has_abstract && a->abstract;
    size_t len = strlen(a->path);

    un->sun_family = AF_UNIX;
    memcpy(un->sun_path + abstract, a->path, len);
    if (!abstract) {
        len = MIN(len + 1, sizeof(un->sun_path)); /* the terminator, where it fits */
    } else if (a->has_tight && !a->tight) {
        len = sizeof(un->sun_path);
    } else {
        len++;
    }
    r.len = offsetof(struct sockaddr_un, sun_path) + len;
    g_array_append_val(out, r);
}

static void resolve_vsock(GArray *out, const VsockSocketAddress *a)
{
    ResolvedAddress r = {.family = AF_VSOCK, .len = sizeof(struct sockaddr_vm)};
    struct sockaddr_vm *vm = (struct sockaddr_vm *)&r.sa;

    vm->svm_family = AF_VSOCK;
    vm->svm_cid = strtoul(a->cid, NULL, 10);
    vm->svm_port = strtoul(a->port, NULL, 10);
    g_array_append_val(out, r);
}

GArray *resolve_socket_address(const SocketAddress *addr, bool listening, GError **errp)
{
    g_autoptr(GArray) out = g_array_new(FALSE, FALSE, sizeof(ResolvedAddress));

    if (!socket_address_check(addr, errp)) {
        return NULL;
    }
    switch (addr->type) {
    case SOCKET_ADDRESS_TYPE_INET:
        if (!resolve_inet(out, addr->u.inet, listening, errp)) {
            return NULL;
        }
        break;
    case SOCKET_ADDRESS_TYPE_UNIX:
        resolve_unix(out, addr->u.q_unix);
        break;
    case SOCKET_ADDRESS_TYPE_VSOCK:
        resolve_vsock(out, addr->u.vsock);
        break;
    default:
        error_setg(errp, "a descriptor has no address to %s",
                   listening ? "listen on" : "connect to");
        return NULL;
    }
    return g_steal_pointer(&out);
}

uint16_t sockaddr_port(const struct sockaddr_storage *sa)
{
    return ntohs(sa->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)sa)->sin6_port
                                           : ((const struct sockaddr_in *)sa)->sin_port);
}

void sockaddr_set_port(struct sockaddr_storage *sa, uint16_t port)
{
    if (sa->ss_family == AF_INET6) {
        ((struct sockaddr_in6 *)sa)->sin6_port = htons(port);
    } else {
        ((struct sockaddr_in *)sa)->sin_port = htons(port);
    }
}

static bool from_inet(SocketAddress *addr, const struct sockaddr_storage *sa, socklen_t len,
                      GError **errp)
{
    char host[NI_MAXHOST], port[NI_MAXSERV];
    InetSocketAddress *a;
    int err = getnameinfo((const struct sockaddr *)sa, len, host, sizeof(host), port, sizeof(port),
                          NI_NUMERICHOST | NI_NUMERICSERV);

    if (err) {
        error_setg(errp, "Cannot format numeric socket address: %s", gai_strerror(err));
        return false;
    }
    addr->type = SOCKET_ADDRESS_TYPE_INET;
    addr->u.inet = a = g_new0(InetSocketAddress, 1);
    a->host = g_strdup(host);
    a->port = g_strdup(port);
    a->has_ipv4 = a->ipv4 = sa->ss_family == AF_INET;
    a->has_ipv6 = a->ipv6 = sa->ss_family == AF_INET6;
    return true;
}

static void from_unix(SocketAddress *addr, const struct sockaddr_un *un, socklen_t len)
{
    size_t n = len - MIN(len, offsetof(struct sockaddr_un, sun_path));
    UnixSocketAddress *a = g_new0(UnixSocketAddress, 1);

    addr->type = SOCKET_ADDRESS_TYPE_UNIX;
    addr->u.q_unix = a;
    if (n && !un->sun_path[0]) {
        a->has_abstract = a->abstract = true;
        a->has_tight = true;
        a->tight = n < sizeof(un->sun_path);
        a->path = g_strndup(un->sun_path + 1, n - 1);
    } else {
        a->path = g_strndup(un->sun_path, n);
    }
}

SocketAddress *socket_address_from_sockaddr(const struct sockaddr_storage *sa, socklen_t len,
                                            GError **errp)
{
    g_autoptr(SocketAddress) addr = g_new0(SocketAddress, 1);
    const struct sockaddr_vm *vm = (const struct sockaddr_vm *)sa;

    switch (sa->ss_family) {
    case AF_INET:
    case AF_INET6:
        if (!from_inet(addr, sa, len, errp)) {
            return NULL;
        }
        break;
    case AF_UNIX:
        from_unix(addr, (const struct sockaddr_un *)sa, len);
        break;
    case AF_VSOCK:
        addr->type = SOCKET_ADDRESS_TYPE_VSOCK;
        addr->u.vsock = g_new0(VsockSocketAddress, 1);
        addr->u.vsock->cid = g_strdup_printf("%u", vm->svm_cid);
        addr->u.vsock->port = g_strdup_printf("%u", vm->svm_port);
        break;
    default:
        error_setg(errp, "socket family %d unsupported", sa->ss_family);
        return NULL;
    }
    return g_steal_pointer(&addr);
}
