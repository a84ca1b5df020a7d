/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TLS of the channels of a migration (spec 35 section 6): the parameters tls-creds, tls-hostname
 * and tls-authz, and the step from a connection to a channel whose handshake is finished.
 *
 * The parameters are looked at when a connection is made: a destination may be listening before
 * they are set. Main thread, big lock.
 */
#ifndef GODWIT_MIGRATION_TRANSPORT_TLS_H
#define GODWIT_MIGRATION_TRANSPORT_TLS_H

#include "io/channel.h"
#include "migration/host.h"
#include "migration/options.h"

/* Does 'tls-creds' name something? @o NULL: no. */
bool transport_tls_wanted(const MigrationOptions *o);
/* Do 'tls-creds' and 'tls-authz' name objects that fit? Nothing is done yet. */
bool transport_tls_check(const MigrationOptions *o, MigrationHost *host, bool server,
                         GError **errp);

typedef struct TransportTls TransportTls;
/* Exactly one of @ioc (non-blocking; callee takes the reference) and @err (callee frees) is set.
 * The attempt is gone on return. */
typedef void TransportTlsCB(QIOChannel *ioc, GError *err, void *opaque);

/*
 * Take @base and its reference to TLS. @hostname: of the address, NULL if it has none; the
 * parameter goes before it. NULL and *errp: it failed at once, @base is closed. Otherwise @cb runs
 * once from the main loop, never before this returns.
 */
TransportTls *transport_tls_start(QIOChannel *base, const MigrationOptions *o, MigrationHost *host,
                                  bool server, const char *hostname, TransportTlsCB *cb,
                                  void *opaque, GError **errp);
/* Before @cb ran: it never will, the connection is closed. NULL is fine. */
void transport_tls_cancel(TransportTls *t);

#endif
