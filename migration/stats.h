/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counters of one outgoing migration and what query-migrate makes of them (spec 20 section 16).
 *
 * Counters are relaxed atomics: written once per run of pages, never per page; read by any thread.
 */
#ifndef GODWIT_MIGRATION_STATS_H
#define GODWIT_MIGRATION_STATS_H

#include "migration/migration.h"

typedef struct MigrationCounters {
    /* Written by RAM senders. */
    uint64_t ram_bytes;    /* record headers, names and payload of the ram section */
    uint64_t normal_pages; /* sent as data */
    uint64_t zero_pages;   /* sent as "all zero" */
    uint64_t multifd_bytes;
    uint64_t file_bytes;     /* written at their places in a mapped-ram file */
    uint64_t rdma_bytes;     /* written into the destination's memory */
    uint64_t precopy_bytes;  /* ram_bytes while the VM ran, */
    uint64_t downtime_bytes; /* while it was stopped, */
    uint64_t postcopy_bytes; /* after the switch */
    uint64_t postcopy_requests;
    uint64_t zero_copy_missed;
    uint64_t unchanged_pages; /* written, but what was sent before: not sent again */
    /* XBZRLE: pages that were in the cache, what they took, pages that were not, deltas that would
     * not have fitted into a page. Rates: of the last pass. */
    uint64_t xbzrle_pages, xbzrle_bytes, xbzrle_cache_miss, xbzrle_overflow;
    uint64_t xbzrle_miss_rate_ppm, xbzrle_encoding_rate_milli;
    /* `compress`: pages sent compressed (among normal_pages too), what they took, pages that found
     * no thread free. */
    uint64_t compress_pages, compress_bytes, compress_busy;
    uint64_t spared_pages;     /* hot, put off and written again meanwhile: sent once less */
    uint64_t throttle_percent; /* of time the guest sleeps by auto-converge */
    /* Written at a dirty sync. */
    uint64_t ram_total;     /* bytes of all blocks that travel */
    uint64_t ram_remaining; /* bytes not sent yet */
    uint64_t dirty_sync_count;
    uint64_t dirty_rate_known;   /* a period is over */
    uint64_t dirty_pages_rate;   /* pages per second in the last period */
    uint64_t written_pages_rate; /* the same, with those that were dirty already */
    uint64_t hot_pages;          /* in memory that is written again and again */
    uint64_t hinted_pages;       /* not sent because the guest does not use them */
    uint64_t cold_pages_rate;    /* as written_pages_rate, outside that */
    uint64_t untouched_pages;    /* when the first pass began */
    uint64_t dirty_sync_bytes;   /* dirty bytes found by the last sync, */
    uint64_t pending_bytes;      /* and what they will take on the wire */
    uint64_t stopcopy_bytes;     /* devices' state that can only be sent with the guest stopped */
    /* Written by the migration thread at each window end. */
    uint64_t channel_bytes; /* everything put into the main channel */
    uint64_t mbps_milli;    /* 10^3 bit/s, so that it stays an integer */
    uint64_t pages_per_second;
    uint64_t bandwidth;    /* bytes per second used for decisions */
    uint64_t busy_percent; /* of the last window: the migration thread computed, did not wait */
} MigrationCounters;

static inline void stat_add(uint64_t *counter, uint64_t n)
{
    __atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

static inline void stat_set(uint64_t *counter, uint64_t v)
{
    __atomic_store_n(counter, v, __ATOMIC_RELAXED);
}

static inline uint64_t stat_get(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* Counters of the outgoing migration (the last one, zeroed at `migrate`); lives as long as @m. */
MigrationCounters *migration_counters(Migration *m);

/*
 * A dirty sync has finished, by whoever did it (ram/): counts the pass, emits MIGRATION_PASS if
 * events are on, and notes it in the flight recorder. @dirty_bytes: what is to be sent now.
 * Migration thread.
 */
void migration_note_pass(Migration *m, uint64_t dirty_bytes);

/* ---- pace of the outgoing side; migration thread ---- */

/* A window of all rates shown (spec 10 section 15). */
typedef struct {
    int64_t start_us;
    uint64_t start_bytes, start_pages;
    int64_t start_cpu_us; /* of the migration thread */
} RateWindow;

#define RATE_WINDOW_US 100000
/* A window of the rate limit. Shorter: a tenth of a second's bytes in one go would fill the queues
 * on their way, and in the first one nothing is known yet of what better waits. */
#define PACE_WINDOW_US 10000

/* What may be sent per second, 0: any. */
void stats_set_rate_limit(MigrationState *s, uint64_t bandwidth);
/* Begin the first window. */
void stats_start(MigrationState *s);
/* Call every loop turn: when the window is over, take its figures and begin the next. */
void stats_update(MigrationState *s);
/* Bytes per second the channel is worth right now; measured from the first byte on, 0: nothing
 * known yet. */
uint64_t stats_bandwidth(MigrationState *s);
/* Forget the window and freeze the totals; any outcome. */
void stats_finish(MigrationState *s);

/* What will become of it; NULL: nothing can be said yet. Any thread. */
MigrationForecast *stats_forecast(MigrationState *s);
/* What query-migrate says about @s, by its status. Big lock. */
void stats_fill_info(MigrationState *s, MigrationInfo *info);

#endif
