/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/multifd/queue.h"

MultifdQueue *multifd_queue_new(void)
{
    MultifdQueue *q = g_aligned_alloc0(1, sizeof(*q), _Alignof(MultifdQueue));

    g_mutex_init(&q->lock);
    g_cond_init(&q->published);
    return q;
}

void multifd_queue_free(MultifdQueue *q)
{
    g_cond_clear(&q->published);
    g_mutex_clear(&q->lock);
    g_aligned_free(q);
}

/*
 * Sleeping and waking: the reader says that it sleeps and then looks once more, the writer
 * publishes and then looks whether somebody sleeps. Sequentially consistent, so one of the two
 * sees the other. Who wakes the reader takes that back, so that he does it once.
 */

void multifd_queue_kick(MultifdQueue *q)
{
    g_mutex_lock(&q->lock);
    g_cond_signal(&q->published);
    g_mutex_unlock(&q->lock);
}

void multifd_queue_publish(MultifdQueue *q)
{
    __atomic_store_n(&q->tail, q->tail + 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&q->reader_sleeps, __ATOMIC_SEQ_CST)) {
        __atomic_store_n(&q->reader_sleeps, false, __ATOMIC_RELAXED);
        multifd_queue_kick(q);
    }
}

static unsigned filled(MultifdQueue *q)
{
    return __atomic_load_n(&q->tail, __ATOMIC_SEQ_CST) - q->head;
}

unsigned multifd_queue_wait(MultifdQueue *q, const bool *quit, unsigned *first)
{
    unsigned n = filled(q);

    if (!n) {
        g_mutex_lock(&q->lock);
        for (;;) {
            __atomic_store_n(&q->reader_sleeps, true, __ATOMIC_SEQ_CST);
            n = filled(q);
            if (n || __atomic_load_n(quit, __ATOMIC_SEQ_CST)) {
                break;
            }
            g_cond_wait(&q->published, &q->lock);
        }
        __atomic_store_n(&q->reader_sleeps, false, __ATOMIC_RELAXED);
        g_mutex_unlock(&q->lock);
    }
    *first = q->head % MULTIFD_QUEUE_SLOTS;
    return n;
}

unsigned multifd_queue_release(MultifdQueue *q, unsigned n)
{
    __atomic_store_n(&q->head, q->head + n, __ATOMIC_SEQ_CST);
    return filled(q);
}
