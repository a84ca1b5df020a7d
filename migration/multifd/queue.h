/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packets on their way from the migration thread to the thread of one channel.
 *
 * A ring with one writer and one reader and no lock: the writer fills a slot in place and publishes
 * it, the reader takes several at a time and gives them back when they have left. A lock is taken
 * by whoever has to sleep, and by the other one to wake him.
 */
#ifndef GODWIT_MIGRATION_MULTIFD_QUEUE_H
#define GODWIT_MIGRATION_MULTIFD_QUEUE_H

#include "memory/ramblock.h"
#include "migration/wire/multifd.h"

/* Full packets are half a MiB: so many are enough to bridge a scheduling delay. */
#define MULTIFD_QUEUE_SLOTS 16

typedef struct {
    RAMBlock *block;
    MultifdPacket packet;
} MultifdSlot;

typedef struct {
    MultifdSlot slots[MULTIFD_QUEUE_SLOTS];
    /* Count up for ever; atomic. Slots from head to below tail are the reader's. */
    uint64_t head __attribute__((aligned(64)));
    uint64_t tail __attribute__((aligned(64)));

    bool reader_sleeps; /* atomic */
    GMutex lock;        /* for sleeping only; protects nothing */
    GCond published;
} MultifdQueue;

MultifdQueue *multifd_queue_new(void);
void multifd_queue_free(MultifdQueue *q);

/* ---- writer ---- */

static inline unsigned multifd_queue_used(MultifdQueue *q)
{
    return q->tail - __atomic_load_n(&q->head, __ATOMIC_SEQ_CST);
}

/* The slot to fill, or NULL: all are in use. */
static inline MultifdSlot *multifd_queue_slot(MultifdQueue *q)
{
    return multifd_queue_used(q) < MULTIFD_QUEUE_SLOTS ? &q->slots[q->tail % MULTIFD_QUEUE_SLOTS]
                                                       : NULL;
}

/* The slot is filled. */
void multifd_queue_publish(MultifdQueue *q);
/* Wake the reader whether there is something or not. Any thread. */
void multifd_queue_kick(MultifdQueue *q);

/* ---- reader ---- */

/* Wait until something is there or *@quit (atomic) is set; how many slots, 0: quit. The first of
 * them is *@first, the others follow, modulo MULTIFD_QUEUE_SLOTS. */
unsigned multifd_queue_wait(MultifdQueue *q, const bool *quit, unsigned *first);
/* The first @n slots are free again; how many are not. */
unsigned multifd_queue_release(MultifdQueue *q, unsigned n);

#endif
