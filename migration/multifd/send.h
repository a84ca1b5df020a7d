/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What send.c and sink.c share. The writer is the migration thread. */
#ifndef GODWIT_MIGRATION_MULTIFD_SEND_H
#define GODWIT_MIGRATION_MULTIFD_SEND_H

#include "migration/multifd/multifd.h"
#include "migration/multifd/queue.h"

typedef struct {
    MultifdSend *s;
    unsigned id;
    QIOChannel *ioc;
    GThread *thread;
    MultifdQueue *queue;
    MultifdEncoder *encoder; /* NULL: plain bytes */
    struct MultifdBatch *batch;
    bool zero_copy;                 /* the thread's: still worth asking for */
    bool lost;                      /* atomic: broken, and others go on */
    uint64_t seen_head;             /* the writer's, while it waits: where the queue was, */
    int64_t seen_us;                /* and since when; 0: not looked yet */
    uint64_t bytes, packets, pages; /* sent so far; atomic, written by the thread */
} MultifdSendChannel;

struct MultifdSend {
    MultifdSendConfig config;
    const MultifdCodec *codec;
    bool quit;   /* atomic: threads end when their queue is empty */
    bool cut;    /* atomic: channels are shut down, nothing works any more */
    int wake_at; /* atomic: the writer sleeps until a queue is this short; MULTIFD_NO_WAKE: no */

    uint64_t limit; /* atomic: bytes per second that each channel may send, 0: any */

    unsigned checks; /* atomic: how often the destination has told which are lost */

    GMutex lock;     /* protects all below; sleeping of the writer */
    GCond space;     /* slots were given back while the writer waits */
    bool may_break;  /* the destination knows what to do when channels are lost */
    unsigned losses; /* channels lost so far */
    GError *error;

    unsigned n;
    MultifdSendChannel channels[];
};

#define MULTIFD_NO_WAKE (-1)

/* Is what the writer waits for there? */
typedef bool MultifdReadyFn(MultifdSend *s, unsigned id);
static inline bool multifd_is_lost(const MultifdSend *s, unsigned id)
{
    return __atomic_load_n(&s->channels[id].lost, __ATOMIC_ACQUIRE);
}

/* Some queue has room; queue @id has, or its channel is lost; all are empty and everything has
 * left; the destination has told @id times which are lost. Queues of lost channels count for
 * nothing. */
bool multifd_some_room(MultifdSend *s, unsigned id);
bool multifd_room_in(MultifdSend *s, unsigned id);
bool multifd_all_sent(MultifdSend *s, unsigned id);
bool multifd_checked(MultifdSend *s, unsigned id);
/* Lets go of the big lock meanwhile if the caller holds it. False: *errp, a channel has failed. */
bool multifd_send_wait(MultifdSend *s, MultifdReadyFn *ready, unsigned id, GError **errp);
/* From now on the loss of a channel is no failure while another is left. */
void multifd_send_allow_losses(MultifdSend *s);

#endif
