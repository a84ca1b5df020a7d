/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Listening sockets of one address (several when a name resolves to several).
 * Created, used and freed on the main loop thread.
 */
#ifndef GODWIT_IO_NET_LISTENER_H
#define GODWIT_IO_NET_LISTENER_H

#include "io/channel-socket.h"

typedef struct NetListener NetListener;
/* @ioc: an accepted connection, the callee takes the reference. */
typedef void NetListenerCB(NetListener *l, QIOChannelSocket *ioc, void *opaque);

/* Resolve, bind, listen (spec 35 section 2.2); accepting starts at once on the default main
 * context. */
NetListener *net_listener_new(const SocketAddress *addr, int backlog, NetListenerCB *cb,
                              void *opaque, GError **errp);
/* Adopt an inherited listening socket. */
NetListener *net_listener_new_fd(int fd, NetListenerCB *cb, void *opaque, GError **errp);
/* Off: clients wait in the backlog. */
void net_listener_set_accepting(NetListener *l, bool accepting);
/* Block until a client is there and return it, past the callback; NULL and *errp on failure. */
QIOChannelSocket *net_listener_wait(NetListener *l, GError **errp);
/* Stop accepting and close; safe inside the callback. */
void net_listener_free(NetListener *l);
/* Bound addresses, numeric, in the order of spec 35 section 1.3; GPtrArray of SocketAddress. */
GPtrArray *net_listener_addresses(NetListener *l);

#endif
