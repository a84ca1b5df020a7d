/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The channel as the other files of the RDMA transport see it. */
#ifndef GODWIT_MIGRATION_RDMA_CHANNEL_H
#define GODWIT_MIGRATION_RDMA_CHANNEL_H

#include "migration/rdma/connection.h"
#include "migration/rdma/memory.h"
#include "migration/rdma/rdma.h"

#define TYPE_RDMA_CHANNEL (rdma_channel_get_type())
G_DECLARE_FINAL_TYPE(RdmaChannel, rdma_channel, RDMA, CHANNEL, QIOChannel)

struct _RdmaChannel {
    QIOChannel parent;
    bool source;
    RdmaConnection *main; /* both directions of control, stream bytes source -> destination */

    GMutex lock; /* protects back, no_back, shut_read and shut_write */
    GCond attached;
    RdmaConnection *back; /* stream bytes destination -> source; NULL: none (yet) */
    bool no_back;         /* and none will come */
    bool shut_read, shut_write;

    /* The message that is being read. */
    RdmaMessage reading;
    size_t read_at; /* next byte of its payload; == header.len: none */
    bool wrote;     /* the destination has sent something on the way back */

    RdmaMemory *memory; /* registered memory; made by sink or placer, freed with the channel */
};

/* Takes @main and @back (NULL: none). */
RdmaChannel *rdma_channel_new(bool source, RdmaConnection *main, RdmaConnection *back);
/* Destination: the way back is there; takes @back. NULL: it will never be. Any thread. */
void rdma_channel_attach(RdmaChannel *ch, RdmaConnection *back);
/* Does it have a way back already? */
bool rdma_channel_has_back(RdmaChannel *ch);

#endif
