/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TLS over another channel (spec 35 section 6). Everything of io/channel.h holds: one reader and
 * one writer at the same time, shutdown from any thread, blocking and non-blocking use. A
 * non-blocking write that would block is to be repeated with the same bytes.
 *
 * Closing ends the connection without close_notify, as migration streams have an end of their own;
 * io_channel_say_end() sends it for those who want it. A reader takes either for the end.
 */
#ifndef GODWIT_IO_CHANNEL_TLS_H
#define GODWIT_IO_CHANNEL_TLS_H

#include "io/authz.h"
#include "io/channel.h"
#include "io/tls-creds.h"

#define TYPE_IO_CHANNEL_TLS (io_channel_tls_get_type())
G_DECLARE_FINAL_TYPE(QIOChannelTLS, io_channel_tls, IO, CHANNEL_TLS, QIOChannel)

/* How long a peer may take for a handshake unless the caller knows better. */
#define TLS_HANDSHAKE_MS 30000

/*
 * @base needs both directions; a reference is taken. @creds decide whether this is the client or
 * the server, and cannot be deleted while the channel is open. @hostname (client): the name or IP
 * address the certificate must be for. @authz (server): who may come in. Both may be NULL.
 * Main thread, big lock.
 */
QIOChannelTLS *io_channel_tls_new(QIOChannel *base, TlsCreds *creds, const char *hostname,
                                  Authz *authz, GError **errp);
/* "TLS1.3 AES-256-GCM"; after the handshake; free with g_free(). */
char *io_channel_tls_describe(QIOChannelTLS *tls);

typedef struct TlsHandshake TlsHandshake;
/* @err NULL: the channel is ready (and non-blocking); else callee frees it, and the base is shut.
 * The handshake is gone on return. */
typedef void TlsHandshakeCB(GError *err, void *opaque);
/* Do the handshake in the main loop; @cb runs there once, never before this returns. Main thread,
 * big lock. @timeout_ms: for all of it. */
TlsHandshake *io_channel_tls_handshake(QIOChannelTLS *tls, unsigned timeout_ms, TlsHandshakeCB *cb,
                                       void *opaque);
/* Before @cb ran: it never will. NULL is fine. */
void tls_handshake_cancel(TlsHandshake *h);

#endif
