/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rdma: the stream in messages, pages written straight into memory (spec 50). */
#include "io/socket-address.h"
#include "migration/rdma/rdma.h"
#include "migration/transport/kinds.h"
#include "util/error.h"

static bool rdma_check(const MigrationAddress *addr, GError **errp)
{
    SocketAddress sa = {.type = SOCKET_ADDRESS_TYPE_INET, .u.inet = addr->u.rdma};

    if (!addr->u.rdma->host[0]) {
        error_setg(errp, "rdma: needs the address of an RDMA interface");
        return false;
    }
    return socket_address_check(&sa, errp);
}

static char *rdma_name(const MigrationAddress *addr)
{
    const char *host = addr->u.rdma->host;

    return g_strdup_printf(strchr(host, ':') ? "rdma:[%s]:%s" : "rdma:%s:%s", host,
                           addr->u.rdma->port);
}

static QIOChannel *rdma_connect(const MigrationAddress *addr, const TransportWishes *wishes,
                                GCancellable *cancel, GError **errp)
{
    RdmaWishes w = {.pin_all = wishes->pin_memory, .return_path = wishes->return_path};

    return rdma_channel_connect(rdma_fabric_host(), addr->u.rdma->host, addr->u.rdma->port, &w,
                                cancel, errp);
}

static void *rdma_listen(const MigrationAddress *addr, void (*cb)(QIOChannel *ioc, void *opaque),
                         void *opaque, GError **errp)
{
    return rdma_listener_new(rdma_fabric_host(), addr->u.rdma->host, addr->u.rdma->port, cb, opaque,
                             errp);
}

static void rdma_unlisten(void *listening)
{
    rdma_listener_free(listening);
}

const TransportOps transport_rdma_ops = {
    .flags = TRANSPORT_RETURN_PATH,
    .check = rdma_check,
    .name = rdma_name,
    .connect = rdma_connect,
    .listen = rdma_listen,
    .unlisten = rdma_unlisten,
};
