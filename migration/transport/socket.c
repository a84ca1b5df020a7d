/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tcp:, unix: and vsock: the source connects, the destination listens (spec 35 section 2). */
#include "io/socket-address.h"
#include "migration/transport/kinds.h"

static bool socket_check(const MigrationAddress *addr, GError **errp)
{
    return socket_address_check(addr->u.socket, errp);
}

static char *socket_name(const MigrationAddress *addr)
{
    return socket_address_to_string(addr->u.socket);
}

const TransportOps transport_socket_ops = {
    .flags = TRANSPORT_RETURN_PATH | TRANSPORT_MULTI_CHANNEL | TRANSPORT_PUBLIC,
    .check = socket_check,
    .name = socket_name,
};
