/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text forms of socket addresses (spec 35 section 2.1). Pure, any thread. */
#ifndef GODWIT_IO_SOCKET_ADDRESS_H
#define GODWIT_IO_SOCKET_ADDRESS_H

#include "qapi-types-sockets.h"

/* "tcp:HOST:PORT,opt", "unix:PATH", "vsock:CID:PORT", "fd:X" with its prefix. */
SocketAddress *socket_address_parse(const char *text, GError **errp);
/* The part after "tcp:". */
SocketAddress *socket_address_parse_inet(const char *text, GError **errp);
char *socket_address_to_string(const SocketAddress *addr);

#endif
