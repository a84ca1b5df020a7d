/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How the streams of a migration are opened (source) and accepted (destination), spec 35.
 *
 *   text or QAPI object --transport_parse*()--> MigrationTransport (where to, what it can do)
 *       source:       transport_connect() --cb--> QIOChannel
 *       destination:  transport_listen()  --cb--> QIOChannel, QIOChannel, ...
 *
 * A kind (socket, fd, exec, file, rdma) is one file with one TransportOps; nobody above knows them
 * by name. Main thread with the big lock, unless stated. No state outside the objects below.
 *
 * With 'tls-creds' among the options every channel, main or other, is delivered after its
 * handshake; until then it holds up nobody (tls.h).
 */
#ifndef GODWIT_MIGRATION_TRANSPORT_H
#define GODWIT_MIGRATION_TRANSPORT_H

#include "io/channel.h"
#include "migration/host.h"
#include "migration/options.h"
#include "qapi-types-migration.h"
#include "qapi-types-sockets.h"

/* What a transport can do, known before anything is opened. */
typedef enum {
    /* The reverse direction may exist. For fd: it depends on the descriptor: after opening, ask the
     * channel for IO_FEATURE_BIDIRECTIONAL. */
    TRANSPORT_RETURN_PATH = 1 << 0,
    /* Channels have positions: mapped-ram is possible. */
    TRANSPORT_SEEKABLE = 1 << 1,
    /* Several connections to the same address: multifd, preempt. */
    TRANSPORT_MULTI_CHANNEL = 1 << 2,
    /* A stranger can connect: a rejected channel is not the end, see transport_listener_reject().
     */
    TRANSPORT_PUBLIC = 1 << 3,
} TransportFlags;

typedef struct MigrationTransport MigrationTransport;

/* ---- addresses (any thread, pure; texts of spec 35 sections 1 and 2.1) ---- */

/* "tcp:H:P,opt", "unix:PATH", "vsock:C:P", "fd:X", "exec:CMD", "file:PATH[,offset=N]",
 * "rdma:HOST:PORT". */
MigrationTransport *transport_parse_uri(const char *uri, GError **errp);
/* The arguments of migrate and migrate-incoming: exactly one of them non-NULL. @channels: of
 * MigrationChannel. */
MigrationTransport *transport_parse_args(const char *uri, const GPtrArray *channels, GError **errp);
/* The value of -incoming: a URI, or one channel as JSON object or dotted keys. Not "defer". */
MigrationTransport *transport_parse_option(const char *text, GError **errp);
MigrationTransport *transport_new_from_address(const MigrationAddress *addr, GError **errp);
/* The same address with the same options: for a second use after the first owner freed it. */
MigrationTransport *transport_copy(const MigrationTransport *t);
void transport_free(MigrationTransport *t);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MigrationTransport, transport_free)

/* The live options of the VM, asked for TLS each time a connection is made; they outlive whatever
 * is opened with @t. Without them channels are plain. */
void transport_set_options(MigrationTransport *t, const MigrationOptions *o);

unsigned transport_flags(const MigrationTransport *t);
/* The canonical form; owned by @t. */
const MigrationAddress *transport_address(const MigrationTransport *t);
/* One line for errors, logs and the recorder: "tcp:10.0.0.2:4444", "exec:cat >f"; owned by @t. */
const char *transport_name(const MigrationTransport *t);
/* The host of an inet address (the name TLS checks), else NULL; owned by @t. */
const char *transport_hostname(const MigrationTransport *t);

/* ---- source ---- */

typedef struct TransportConnection TransportConnection;
/* Exactly one of @ioc (callee takes the reference) and @err (callee frees) is set. @c is gone on
 * return. */
typedef void TransportConnectCB(QIOChannel *ioc, GError *err, void *opaque);

/*
 * Open a channel: the main one, or one more. NULL and *errp: it failed at once (file, fd and exec
 * always report that way, spec 70 section 11 point 5) and @cb is never called. Otherwise @cb runs
 * once from the main loop, never before this returns. @t may be freed meanwhile.
 */
TransportConnection *transport_connect(const MigrationTransport *t, MigrationHost *host,
                                       TransportConnectCB *cb, void *opaque, GError **errp);
/* Before @cb ran: it never will, whatever arrives is closed. Frees @c; NULL is fine. */
void transport_connection_cancel(TransportConnection *c);

/* A second channel to the file behind @main that goes past the page cache (O_DIRECT). @t: how @main
 * was opened, or NULL. Big lock. */
QIOChannel *transport_open_direct(const MigrationTransport *t, MigrationHost *host,
                                  QIOChannel *main, bool incoming, GError **errp);

/* ---- destination ---- */

typedef struct TransportListener TransportListener;

typedef struct TransportAcceptor {
    /*
     * A peer is there; callee takes the reference. Called from the main loop, never before
     * transport_listen() returns. @magic: the first four bytes of the stream, big-endian, not
     * consumed; 0 where there is just one channel and no stranger (fd, exec, file), and for a
     * silent peer.
     */
    void (*accept)(TransportListener *l, QIOChannel *ioc, uint32_t magic, void *opaque);
    /*
     * Optional. A peer was dropped before it got to accept(), for @err (callee frees). @last: the
     * transport can give no other channel.
     */
    void (*refused)(TransportListener *l, GError *err, bool last, void *opaque);
    void *opaque;
    /* Also deliver connections whose peer has not sent anything yet (a preempt channel of releases
     * before 8.0). Off: peers that leave or stay silent (port scanners) never reach accept(), and
     * hold up nobody. */
    bool silent;
} TransportAcceptor;

/* @expected: how many channels will come; sets the backlog. Success means: bound, a source may
 * connect now. TLS parameters that are set already are checked. */
TransportListener *transport_listen(const MigrationTransport *t, MigrationHost *host,
                                    unsigned expected, const TransportAcceptor *acceptor,
                                    GError **errp);
/* Stop listening, drop peers not yet delivered; delivered channels are untouched. Safe inside
 * accept(). NULL is fine. */
void transport_listener_free(TransportListener *l);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TransportListener, transport_listener_free)
/*
 * @ioc was not our peer (bad magic, ended before the first record): log @reason, close it, drop the
 * caller's reference. True: the listener goes on and the right peer may still come. False: it was
 * the only channel this transport can give, the migration has failed.
 */
bool transport_listener_reject(TransportListener *l, QIOChannel *ioc, const char *reason);
/* From now on deliver silent peers too, those already waiting included (see
 * TransportAcceptor.silent). */
void transport_listener_set_silent(TransportListener *l, bool silent);
/* Bound addresses in the order of spec 35 section 1.3; GPtrArray of SocketAddress, NULL where there
 * is none. */
GPtrArray *transport_listener_addresses(TransportListener *l);

#endif
