/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One TLS session, without I/O: plain bytes on one side, records on the other.
 *
 * GnuTLS talks to two buffers of ours. The owner fills the one with records from the peer and
 * empties the other, with as few and as large transfers as it likes.
 *
 * Threads: one reader (open, input) and one writer (seal, output) at the same time. A lock inside
 * covers what GnuTLS keeps per session, key updates included; it is held while records are made
 * or opened (tens of microseconds), never while anybody waits for the peer.
 */
#ifndef GODWIT_IO_TLS_SESSION_H
#define GODWIT_IO_TLS_SESSION_H

#include <sys/uio.h>
#include "io/authz.h"
#include "io/tls-creds.h"

typedef struct TlsSession TlsSession;

/* The side is that of @creds. @hostname: what the server's certificate must be for (client);
 * @authz: who may come in (server); either may be NULL. Main thread. */
TlsSession *tls_session_new(TlsCreds *creds, const char *hostname, Authz *authz, GError **errp);
void tls_session_free(TlsSession *s);

typedef enum {
    TLS_OK,
    TLS_NEED_INPUT, /* nothing more to be done before the peer has sent something */
    TLS_FAILED,     /* *errp set */
} TlsResult;

/* One step; whatever the result is, there may be output. Main thread: it looks at certificates and
 * asks authz objects. After a failure the output is the alert for the peer. */
TlsResult tls_session_handshake(TlsSession *s, GError **errp);
/* Did the last step stop for want of room for output? Then it is not input that it needs. */
bool tls_session_handshake_stuck(TlsSession *s);
/* "TLS1.3 AES-256-GCM", valid after the handshake; free with g_free(). */
char *tls_session_describe(TlsSession *s);
/* Who the peer proved to be (distinguished name, PSK user), or NULL; owned by the session. */
const char *tls_session_identity(TlsSession *s);

/* ---- records of the peer ---- */

/* Room for *len bytes, or NULL while there is unread input: open first. Reader. */
uint8_t *tls_session_input_room(TlsSession *s, size_t *len);
/* @n bytes were put there; 0: there will be no more. Reader. */
void tls_session_input(TlsSession *s, size_t n);
/*
 * Plain bytes into @iov until it is full or the input used up. *got is their number; 0 with TLS_OK:
 * the stream has ended, whether the peer said so or just left (spec 35 section 6.4: the streams
 * inside have their own end). Reader.
 */
TlsResult tls_session_open(TlsSession *s, const struct iovec *iov, unsigned n, size_t *got,
                           GError **errp);
/* Would open find something without new input? Reader. */
bool tls_session_has_input(TlsSession *s);

/* ---- records for the peer ---- */

/* Make records of a part of @iov, at least one byte and as much as fits; there must be no output
 * left. *taken is the number of plain bytes. Writer. */
bool tls_session_seal(TlsSession *s, const struct iovec *iov, unsigned n, size_t *taken,
                      GError **errp);
/* What is to be sent, NULL when there is nothing. Writer. */
const uint8_t *tls_session_output(TlsSession *s, size_t *len);
void tls_session_output_sent(TlsSession *s, size_t n);
/* Say that nothing more will be written (close_notify); makes output. Writer. */
void tls_session_say_end(TlsSession *s);

#endif
