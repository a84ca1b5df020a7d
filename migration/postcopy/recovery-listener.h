/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Listening for a source's second try while the main loop stands still: whoever holds the big lock
 * may be waiting for a page that only that source can bring, on whatever channel.
 *
 * A thread of its own accepts and looks at connections. Sockets only, without TLS: credentials are
 * objects, which belong to the big lock.
 */
#ifndef GODWIT_MIGRATION_POSTCOPY_RECOVERY_LISTENER_H
#define GODWIT_MIGRATION_POSTCOPY_RECOVERY_LISTENER_H

#include "migration/transport/transport.h"

typedef struct RecoveryListener RecoveryListener;

/* Can there be one on @t? Any thread. */
bool recovery_listener_possible(const MigrationTransport *t, GError **errp);
/* Any thread, big lock or not. @acceptor is called by the listener's thread, without the big lock,
 * and never waits for it. NULL and *errp: not on @t, or not now. */
RecoveryListener *recovery_listener_new(const MigrationTransport *t, MigrationHost *host,
                                        const TransportAcceptor *acceptor, GError **errp);
/* Ends the thread; not from @acceptor. NULL is fine. */
void recovery_listener_free(RecoveryListener *r);
/* Of SocketAddress; the caller frees it. */
GPtrArray *recovery_listener_addresses(RecoveryListener *r);

#endif
