/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/postcopy/blocktime.h"

typedef struct {
    uint32_t tid;
    int vcpu; /* -1: none */
    uintptr_t page;
    int64_t since;
} Waiter;

typedef struct {
    int64_t total;
    uint64_t waits;
} Sum;

struct PostcopyBlocktime {
    unsigned vcpus;
    int (*vcpu_of)(uint32_t tid, void *opaque);
    void *opaque;

    unsigned waiting; /* atomic copy of waiters->len, so that arrivals can look without the lock */
    GMutex lock;      /* protects all below */
    GArray *waiters;  /* of Waiter */
    unsigned vcpus_waiting;
    int64_t all_since, all_blocked;
    Sum *by_vcpu, other;
    uint64_t buckets[BLOCKTIME_BUCKETS];
    int64_t *blocked; /* what blocktime_read() hands out */
    uint64_t *latency;
};

PostcopyBlocktime *blocktime_new(unsigned vcpus, int (*vcpu_of)(uint32_t tid, void *opaque),
                                 void *opaque)
{
    PostcopyBlocktime *b = g_new0(PostcopyBlocktime, 1);

    b->vcpus = vcpus;
    b->vcpu_of = vcpu_of;
    b->opaque = opaque;
    b->waiters = g_array_new(FALSE, FALSE, sizeof(Waiter));
    b->by_vcpu = g_new0(Sum, vcpus);
    b->blocked = g_new0(int64_t, vcpus);
    b->latency = g_new0(uint64_t, vcpus);
    g_mutex_init(&b->lock);
    return b;
}

void blocktime_free(PostcopyBlocktime *b)
{
    if (b) {
        g_array_unref(b->waiters);
        g_free(b->by_vcpu);
        g_free(b->blocked);
        g_free(b->latency);
        g_mutex_clear(&b->lock);
        g_free(b);
    }
}

static void publish(PostcopyBlocktime *b)
{
    __atomic_store_n(&b->waiting, b->waiters->len, __ATOMIC_SEQ_CST);
}

static void count_wait(PostcopyBlocktime *b, const Waiter *w, int64_t now)
{
    Sum *sum = w->vcpu >= 0 ? &b->by_vcpu[w->vcpu] : &b->other;
    int64_t ns = MAX(now - w->since, 0);
    uint64_t us = ns / 1000;
    unsigned bucket = us ? 63 - __builtin_clzll(us) : 0;

    sum->total += ns;
    sum->waits++;
    b->buckets[MIN(bucket, BLOCKTIME_BUCKETS - 1)]++;
    if (w->vcpu >= 0 && b->vcpus_waiting-- == b->vcpus) {
        b->all_blocked += MAX(now - b->all_since, 0);
    }
}

/* The wait of thread @tid, or NULL. */
static Waiter *waiter_of(PostcopyBlocktime *b, uint32_t tid)
{
    for (unsigned i = 0; i < b->waiters->len; i++) {
        Waiter *w = &g_array_index(b->waiters, Waiter, i);

        if (w->tid == tid) {
            return w;
        }
    }
    return NULL;
}

static void add_waiter(PostcopyBlocktime *b, const Waiter *w)
{
    g_array_append_val(b->waiters, *w);
    if (w->vcpu >= 0 && ++b->vcpus_waiting == b->vcpus) {
        b->all_since = w->since;
    }
}

void blocktime_begin(PostcopyBlocktime *b, uint32_t tid, const void *page, int64_t now)
{
    int vcpu = b->vcpu_of(tid, b->opaque);
    Waiter w = {tid, vcpu < (int)b->vcpus ? vcpu : -1, (uintptr_t)page, now};
    Waiter *old;

    g_mutex_lock(&b->lock);
    old = waiter_of(b, tid);
    if (!old) {
        add_waiter(b, &w);
    } else if (old->page != w.page) {
        /* It runs already while whoever has brought its page is about to say so here. */
        count_wait(b, old, now);
        g_array_remove_index_fast(b->waiters, old - (Waiter *)(void *)b->waiters->data);
        add_waiter(b, &w);
    } /* else it sleeps on: the kernel has told us twice */
    publish(b);
    g_mutex_unlock(&b->lock);
}

void blocktime_end(PostcopyBlocktime *b, const void *host, uint64_t len)
{
    int64_t now;

    if (!__atomic_load_n(&b->waiting, __ATOMIC_SEQ_CST)) {
        return;
    }
    now = blocktime_now();
    g_mutex_lock(&b->lock);
    for (unsigned i = 0; i < b->waiters->len;) {
        const Waiter *w = &g_array_index(b->waiters, Waiter, i);

        if (w->page - (uintptr_t)host < len) {
            count_wait(b, w, now);
            g_array_remove_index_fast(b->waiters, i);
        } else {
            i++;
        }
    }
    publish(b);
    g_mutex_unlock(&b->lock);
}

static uint64_t average(const Sum *s)
{
    return s->waits ? s->total / s->waits : 0;
}

void blocktime_read(PostcopyBlocktime *b, BlocktimeFigures *out)
{
    Sum all;

    g_mutex_lock(&b->lock);
    all = b->other;
    for (unsigned i = 0; i < b->vcpus; i++) {
        b->blocked[i] = b->by_vcpu[i].total;
        b->latency[i] = average(&b->by_vcpu[i]);
        all.total += b->by_vcpu[i].total;
        all.waits += b->by_vcpu[i].waits;
    }
    *out = (BlocktimeFigures){
        .all_blocked = b->all_blocked,
        .vcpus = b->vcpus,
        .blocked = b->blocked,
        .latency = b->latency,
        .average = average(&all),
        .other_average = average(&b->other),
    };
    memcpy(out->buckets, b->buckets, sizeof(out->buckets));
    g_mutex_unlock(&b->lock);
}
