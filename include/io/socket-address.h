/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text forms of socket addresses (spec 35 section 2.1). Pure, any thread. */
#ifndef GODWIT_IO_SOCKET_ADDRESS_H
#define GODWIT_IO_SOCKET_ADDRESS_H

#include "qapi-types-sockets.h"

/* "tcp:HOST:PORT,opt", "unix:PATH", "vsock:CID:PORT", "fd:X" with its prefix. */
SocketAddress *socket_address_parse(const char *text, GError **errp);
/* The part after "tcp:". */
SocketAddress *socket_address_parse_inet(const char *text, GError **errp);
/* What parsing checks beyond the grammar, for addresses that came as objects: port numbers,
 * address families, lengths. */
bool socket_address_check(const SocketAddress *addr, GError **errp);
/* For people: "tcp:[::1]:4444", "unix:/path"; options are left out. Free with g_free(). */
char *socket_address_to_string(const SocketAddress *addr);
/* The same without the prefix, as in "Failed to connect to '...'". */
char *socket_address_to_peer_string(const SocketAddress *addr);

#endif
