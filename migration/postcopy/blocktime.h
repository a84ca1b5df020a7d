/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long did threads sleep for missing pages (capability postcopy-blocktime)?
 *
 * A thread waits for one page at a time. The fault thread notes who waits since when, receiving
 * threads note what has come; they look for waiters only when there are some. Times in ns of the
 * monotonic clock. Any thread.
 */
#ifndef GODWIT_MIGRATION_POSTCOPY_BLOCKTIME_H
#define GODWIT_MIGRATION_POSTCOPY_BLOCKTIME_H

#include "util/osdep.h"

/* Bucket k counts waits of [2^k, 2^(k+1)) us; the first also shorter, the last longer ones. */
#define BLOCKTIME_BUCKETS 24

typedef struct PostcopyBlocktime PostcopyBlocktime;

/* @vcpu_of: which of @vcpus is host thread @tid, or -1. */
PostcopyBlocktime *blocktime_new(unsigned vcpus, int (*vcpu_of)(uint32_t tid, void *opaque),
                                 void *opaque);
void blocktime_free(PostcopyBlocktime *b);
/* @tid waits for host page @page since @now. */
void blocktime_begin(PostcopyBlocktime *b, uint32_t tid, const void *page, int64_t now);
/* [@host, @host + @len) is there. */
void blocktime_end(PostcopyBlocktime *b, const void *host, uint64_t len);

typedef struct {
    int64_t all_blocked; /* time in which every vCPU waited */
    unsigned vcpus;
    int64_t *blocked;       /* per vCPU: time it waited */
    uint64_t *latency;      /* per vCPU: average wait */
    uint64_t average;       /* of all waits, */
    uint64_t other_average; /* of threads that are no vCPU */
    uint64_t buckets[BLOCKTIME_BUCKETS];
} BlocktimeFigures;

/* Pointers are owned by @b and valid as long as nobody waits any more. */
void blocktime_read(PostcopyBlocktime *b, BlocktimeFigures *out);

static inline int64_t blocktime_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

#endif
