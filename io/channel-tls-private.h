/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the handshake needs of the channel. */
#ifndef GODWIT_IO_CHANNEL_TLS_PRIVATE_H
#define GODWIT_IO_CHANNEL_TLS_PRIVATE_H

#include "io/channel-tls.h"
#include "io/tls-session.h"

QIOChannel *tls_base(QIOChannelTLS *tls);
TlsSession *tls_session_of(QIOChannelTLS *tls);
/* Records from the base; results as io_channel_read(), 1 if there are some already. Reader. */
ssize_t tls_fill(QIOChannelTLS *tls, GError **errp);
/* Records to the base; 0 when all are gone, or a failure as of io_channel_write(). Writer. */
ssize_t tls_flush(QIOChannelTLS *tls, GError **errp);

#endif
