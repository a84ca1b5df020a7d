/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SocketAddress to and from what the kernel takes (spec 35 sections 2.1 to 2.5). Any thread. */
#ifndef GODWIT_IO_RESOLVER_H
#define GODWIT_IO_RESOLVER_H

#include <sys/socket.h>
#include "qapi-types-sockets.h"

typedef struct {
    int family;
    int protocol;
    socklen_t len;
    struct sockaddr_storage sa;
} ResolvedAddress;

/* Check and resolve; blocks for names. @listening: empty host = wildcard. GArray of
 * ResolvedAddress, never empty; not for fd addresses. */
GArray *resolve_socket_address(const SocketAddress *addr, bool listening, GError **errp);
/* Numeric form of what getsockname() or getpeername() said. */
SocketAddress *socket_address_from_sockaddr(const struct sockaddr_storage *sa, socklen_t len,
                                            GError **errp);
/* Port of an IPv4 or IPv6 address, host byte order. */
uint16_t sockaddr_port(const struct sockaddr_storage *sa);
void sockaddr_set_port(struct sockaddr_storage *sa, uint16_t port);

#endif
