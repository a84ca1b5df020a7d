/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kinds of transport: what one file each implements and transport.c drives. */
#ifndef GODWIT_MIGRATION_TRANSPORT_KINDS_H
#define GODWIT_MIGRATION_TRANSPORT_KINDS_H

#include <gio/gio.h>
#include "io/net-listener.h"
#include "migration/transport/transport.h"

/* What the migration wants of a connection besides bytes. */
typedef struct {
    bool return_path;
    bool pin_memory; /* rdma-pin-all */
} TransportWishes;

typedef struct TransportOps {
    unsigned flags; /* TransportFlags */
    /* What the schema cannot say: ranges, lengths, what must not be empty. Pure. */
    bool (*check)(const MigrationAddress *addr, GError **errp);
    /* One line for people; free with g_free(). */
    char *(*name)(const MigrationAddress *addr);
    /*
     * Kinds with exactly one channel: open it, for writing (source) or reading (@incoming). Quick,
     * and the only point of failure. NULL for sockets, which connect and listen instead.
     */
    QIOChannel *(*open)(const MigrationAddress *addr, MigrationHost *host, bool incoming,
                        GError **errp);
    /*
     * Kinds that are no sockets but connect and listen (RDMA). connect() blocks, in a thread of its
     * own, until @cancel or its own timeouts end it. listen() calls @cb (which takes the reference)
     * from the main loop, for the one channel there is; unlisten() ends that.
     */
    QIOChannel *(*connect)(const MigrationAddress *addr, const TransportWishes *wishes,
                           GCancellable *cancel, GError **errp);
    void *(*listen)(const MigrationAddress *addr, void (*cb)(QIOChannel *ioc, void *opaque),
                    void *opaque, GError **errp);
    void (*unlisten)(void *listening);
} TransportOps;

extern const TransportOps transport_socket_ops;
extern const TransportOps transport_fd_ops;
extern const TransportOps transport_exec_ops;
extern const TransportOps transport_file_ops;
extern const TransportOps transport_rdma_ops;

/* "file:PATH[,offset=N]" without its prefix. */
FileMigrationArgs *transport_file_parse(const char *text, GError **errp);
/* The command of "exec:", without its prefix, as argument vector. */
MigrationExecCommand *transport_exec_parse(const char *text);

struct MigrationTransport {
    const TransportOps *ops;
    MigrationAddress *addr;
    char *name;
    const MigrationOptions *options; /* NULL: no TLS */
};

#endif
