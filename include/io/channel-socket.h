/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stream sockets: tcp, unix, vsock, or an adopted descriptor (spec 35 section 2). */
#ifndef GODWIT_IO_CHANNEL_SOCKET_H
#define GODWIT_IO_CHANNEL_SOCKET_H

#include "io/channel.h"
#include "qapi-types-sockets.h"

#define TYPE_IO_CHANNEL_SOCKET (io_channel_socket_get_type())
G_DECLARE_FINAL_TYPE(QIOChannelSocket, io_channel_socket, IO, CHANNEL_SOCKET, QIOChannel)

/* Takes ownership of a connected stream socket, also when it fails; becomes blocking. */
QIOChannelSocket *io_channel_socket_new_fd(int fd, GError **errp);
/* Resolve and connect; blocks as long as the kernel does. Texts of spec 35 section 2.3. */
QIOChannelSocket *io_channel_socket_connect_sync(const SocketAddress *addr, GError **errp);
/* The same in a helper thread; @cb runs on the main loop, exactly once, also after @cancel fires.
 */
typedef void IOConnectCB(QIOChannelSocket *ioc, GError *err, void *opaque);
void io_channel_socket_connect_async(const SocketAddress *addr, GCancellable *cancel,
                                     IOConnectCB *cb, void *opaque);
/* Numeric address of either end; free with qapi_free_SocketAddress(). */
SocketAddress *io_channel_socket_local_address(QIOChannelSocket *ioc, GError **errp);
SocketAddress *io_channel_socket_remote_address(QIOChannelSocket *ioc, GError **errp);
int io_channel_socket_fd(QIOChannelSocket *ioc);

#endif
