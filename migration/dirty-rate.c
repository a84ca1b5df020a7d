/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <xxhash.h>
#include "migration/dirty-rate.h"
#include "memory/dirty-meter.h"
#include "qapi-commands-migration.h"
#include "util/lock.h"

/* Blocks smaller than this are not sampled. */
#define MIN_SAMPLED_BYTES (128 * KiB)
#define DEFAULT_SAMPLES   512 /* per GiB */

typedef struct {
    RAMBlock *block;
    uint8_t *host; /* as it was; a block that moved or changed its size says nothing */
    uint64_t length;
    unsigned n;
    uint64_t *pages, *hashes;
} Sampled;

struct DirtyRate {
    Migration *m;
    GThread *thread; /* of the current measurement, or the last */
    GMutex lock;     /* protects what follows */
    GCond wake;
    bool quit;
    DirtyRateStatus status;
    DirtyRateMeasureMode mode;
    uint64_t samples; /* per GiB */
    int64_t start_s, wanted_ms, took_ms;
    uint64_t rate;  /* MiB/s */
    GArray *by_cpu; /* of uint64_t, MiB/s; dirty-ring */
};

DirtyRate *dirty_rate_new(Migration *m)
{
    DirtyRate *r = g_new0(DirtyRate, 1);

    r->m = m;
    r->by_cpu = g_array_new(FALSE, TRUE, sizeof(uint64_t));
    g_mutex_init(&r->lock);
    g_cond_init(&r->wake);
    return r;
}

static void join(DirtyRate *r)
{
    if (r->thread) {
        migration_join(g_steal_pointer(&r->thread));
    }
}

void dirty_rate_stop(DirtyRate *r)
{
    g_mutex_lock(&r->lock);
    r->quit = true;
    g_cond_signal(&r->wake);
    g_mutex_unlock(&r->lock);
    join(r);
}

void dirty_rate_free(DirtyRate *r)
{
    if (r) {
        dirty_rate_stop(r);
        g_array_unref(r->by_cpu);
        g_mutex_clear(&r->lock);
        g_cond_clear(&r->wake);
        g_free(r);
    }
}

/* ---- the log ---- */

bool dirty_rate_log_start(Migration *m, const char *user, GError **errp)
{
    if (m->dirty_log_user) {
        error_setg(errp, "The dirty log is in use by %s; only one can read it", m->dirty_log_user);
        return false;
    }
    if (!dirty_log_start(m->host->ops->ram(m->host), DIRTY_CLIENT_RATE, errp)) {
        return false;
    }
    m->dirty_log_user = user;
    return true;
}

void dirty_rate_log_stop(Migration *m)
{
    dirty_log_stop(m->host->ops->ram(m->host), DIRTY_CLIENT_RATE);
    m->dirty_log_user = NULL;
}

uint64_t dirty_rate_log_count(Migration *m)
{
    RAMList *list = m->host->ops->ram(m->host);
    uint64_t pages = 0;

    RAMBLOCK_FOREACH (block, list) {
        g_autofree unsigned long *map = bitmap_try_new(block->max_length >> TARGET_PAGE_BITS);

        if (map) {
            pages += dirty_log_sync_block(block, DIRTY_CLIENT_RATE, map);
        }
    }
    dirty_log_barrier(list);
    return pages;
}

/* ---- waiting ---- */

/* Until @end (monotonic us), or the process ends: false. */
static bool wait_until(DirtyRate *r, int64_t end)
{
    bool go_on;

    g_mutex_lock(&r->lock);
    while (!r->quit && g_cond_wait_until(&r->wake, &r->lock, end)) {
    }
    go_on = !r->quit;
    g_mutex_unlock(&r->lock);
    return go_on;
}

static void publish(DirtyRate *r, int64_t took_ms, uint64_t rate)
{
    g_mutex_lock(&r->lock);
    r->took_ms = took_ms;
    r->rate = rate;
    r->status = DIRTY_RATE_STATUS_MEASURED;
    g_mutex_unlock(&r->lock);
}

/* ---- by samples ---- */

static uint64_t hash_page(const Sampled *s, unsigned i)
{
    return XXH3_64bits(s->host + (s->pages[i] << TARGET_PAGE_BITS), TARGET_PAGE_SIZE);
}

static void sampled_clear(gpointer opaque)
{
    Sampled *s = opaque;

    g_free(s->pages);
    g_free(s->hashes);
}

static GArray *take_samples(DirtyRate *r)
{
    GArray *all = g_array_new(FALSE, TRUE, sizeof(Sampled));

    g_array_set_clear_func(all, sampled_clear);
    RAMBLOCK_FOREACH_MIGRATABLE (block, r->m->host->ops->ram(r->m->host)) {
        Sampled s = {block, block->host, block->used_length,
                     block->used_length / MiB * r->samples / 1024};

        if (block->used_length < MIN_SAMPLED_BYTES || !s.n) {
            continue;
        }
        s.pages = g_new(uint64_t, s.n);
        s.hashes = g_new(uint64_t, s.n);
        for (unsigned i = 0; i < s.n; i++) {
            /* All but the last page of the block. */
            s.pages[i] = (uint64_t)(g_random_double() * (double)(ram_block_pages(block) - 1));
            s.hashes[i] = hash_page(&s, i);
        }
        g_array_append_val(all, s);
    }
    return all;
}

static uint64_t compare_samples(const GArray *all, int64_t ms)
{
    uint64_t changed = 0, samples = 0, bytes = 0;

    for (guint i = 0; i < all->len; i++) {
        const Sampled *s = &g_array_index(all, Sampled, i);

        if (s->block->host != s->host || s->block->used_length != s->length) {
            continue;
        }
        for (unsigned k = 0; k < s->n; k++) {
            changed += hash_page(s, k) != s->hashes[k];
        }
        samples += s->n;
        bytes += s->length;
    }
    return samples ? (double)changed * ((double)bytes / MiB) * 1000 / ((double)samples * MAX(ms, 1))
                   : 0;
}

static gpointer sampling_thread(gpointer opaque)
{
    DirtyRate *r = opaque;
    g_autoptr(GArray) samples = NULL;
    int64_t begin, ms;

    bql_lock();
    samples = take_samples(r);
    bql_unlock();
    begin = g_get_monotonic_time();
    if (wait_until(r, begin + r->wanted_ms * 1000)) {
        BQL_LOCK_GUARD();
        ms = (g_get_monotonic_time() - begin) / 1000;
        publish(r, ms, compare_samples(samples, ms));
    }
    return NULL;
}

/* ---- by the log ---- */

static uint64_t meter_pages(DirtyRate *r, unsigned cpu)
{
    DirtyMeter *meter = dirty_meter_at(r->m->host->ops->ram(r->m->host), cpu);

    return meter ? dirty_meter_pages(meter) : 0;
}

/* What the meters say since note_meters(): by vCPU into r->by_cpu, and all together. */
static uint64_t rates_of_meters(DirtyRate *r, int64_t ms)
{
    uint64_t sum = 0;

    for (guint i = 0; i < r->by_cpu->len; i++) {
        uint64_t *value = &g_array_index(r->by_cpu, uint64_t, i);

        *value = dirty_rate_mib(meter_pages(r, i) - *value, ms);
        sum += *value;
    }
    return sum;
}

/* dirty-ring counts a page again when it is written again after a second, as a ring would; devices
 * have none. */
static gpointer logging_thread(gpointer opaque)
{
    DirtyRate *r = opaque;
    bool by_cpu = r->mode == DIRTY_RATE_MEASURE_MODE_DIRTY_RING, go_on = true;
    int64_t begin = g_get_monotonic_time(), end = begin + r->wanted_ms * 1000, now = begin, ms = 0;
    uint64_t pages = 0, rate = 0;

    while (go_on && now < end) {
        go_on = wait_until(r, by_cpu ? MIN(now + G_USEC_PER_SEC, end) : end);
        BQL_LOCK_GUARD();
        now = g_get_monotonic_time(); /* the lock may have taken its time */
        ms = MAX((now - begin) / 1000, 1);
        pages += dirty_rate_log_count(r->m);
        if (now >= end) {
            rate = by_cpu ? rates_of_meters(r, ms) : dirty_rate_mib(pages, ms);
        }
    }
    BQL_LOCK_GUARD();
    dirty_rate_log_stop(r->m);
    publish(r, ms, rate);
    return NULL;
}

/* ---- commands ---- */

static bool check_args(const QmpArgs_calc_dirty_rate *args, DirtyRateMeasureMode mode, int64_t *ms,
                       GError **errp)
{
    bool in_ms = args->has_calc_time_unit && args->calc_time_unit == TIME_UNIT_MILLISECOND;

    *ms = in_ms ? args->calc_time : args->calc_time > 60000 ? INT64_MAX : args->calc_time * 1000;
    if (*ms < 50 || *ms > 60000) {
        error_setg(errp, "Calculation time is out of range [50ms, 60000ms].");
        return false;
    }
    if (!args->has_sample_pages) {
        return true;
    }
    if (mode != DIRTY_RATE_MEASURE_MODE_PAGE_SAMPLING) {
        error_setg(errp, "sample-pages is used only in page-sampling mode");
        return false;
    }
    if (args->sample_pages < 128 || args->sample_pages > 16384) {
        error_setg(errp, "sample-pages is out of range[128, 16384].");
        return false;
    }
    return true;
}

/* With the log on, if the mode needs it: what each vCPU has dirtied so far. */
static void note_meters(DirtyRate *r)
{
    unsigned n = dirty_meter_count(r->m->host->ops->ram(r->m->host));

    g_array_set_size(r->by_cpu, 0);
    for (unsigned i = 0; i < n && r->mode == DIRTY_RATE_MEASURE_MODE_DIRTY_RING; i++) {
        uint64_t pages = meter_pages(r, i);

        g_array_append_val(r->by_cpu, pages);
    }
}

void qmp_calc_dirty_rate(QmpCall *call, const QmpArgs_calc_dirty_rate *args, GError **errp)
{
    Migration *m = call->opaque;
    DirtyRate *r = m->dirty_rate;
    DirtyRateMeasureMode mode = args->has_mode ? args->mode : DIRTY_RATE_MEASURE_MODE_PAGE_SAMPLING;
    bool sampling = mode == DIRTY_RATE_MEASURE_MODE_PAGE_SAMPLING;
    bool measuring;
    int64_t ms;

    g_mutex_lock(&r->lock);
    measuring = r->status == DIRTY_RATE_STATUS_MEASURING;
    g_mutex_unlock(&r->lock);
    if (measuring) {
        error_setg(errp, "the dirty rate is already being measured.");
        return;
    }
    if (!check_args(args, mode, &ms, errp)) {
        return;
    }
    join(r);
    if (!sampling && !dirty_rate_log_start(m, "calc-dirty-rate", errp)) {
        return;
    }
    r->mode = mode;
    r->wanted_ms = ms;
    r->samples = !sampling                ? 0
                 : args->has_sample_pages ? (uint64_t)args->sample_pages
                                          : DEFAULT_SAMPLES;
    r->start_s = g_get_real_time() / G_USEC_PER_SEC;
    r->took_ms = 0;
    r->status = DIRTY_RATE_STATUS_MEASURING;
    note_meters(r);
    r->thread =
        g_thread_try_new("dirty-rate", sampling ? sampling_thread : logging_thread, r, errp);
    if (!r->thread) {
        r->status = DIRTY_RATE_STATUS_UNSTARTED;
        if (!sampling) {
            dirty_rate_log_stop(m);
        }
    }
}

static GPtrArray *rates_by_cpu(const DirtyRate *r)
{
    GPtrArray *list = qapi_list_new_DirtyRateVcpu();

    for (guint i = 0; i < r->by_cpu->len; i++) {
        DirtyRateVcpu *v = g_new0(DirtyRateVcpu, 1);

        v->id = i;
        v->dirty_rate = (int64_t)g_array_index(r->by_cpu, uint64_t, i);
        g_ptr_array_add(list, v);
    }
    return list;
}

DirtyRateInfo *qmp_query_dirty_rate(QmpCall *call, const QmpArgs_query_dirty_rate *args,
                                    GError **errp)
{
    Migration *m = call->opaque;
    DirtyRate *r = m->dirty_rate;
    DirtyRateInfo *info = g_new0(DirtyRateInfo, 1);
    int64_t ms;

    g_mutex_lock(&r->lock);
    ms = r->status == DIRTY_RATE_STATUS_MEASURED ? r->took_ms : r->wanted_ms;
    info->status = r->status;
    info->start_time = r->start_s;
    info->calc_time_unit = args->has_calc_time_unit ? args->calc_time_unit : TIME_UNIT_SECOND;
    info->calc_time = info->calc_time_unit == TIME_UNIT_SECOND ? ms / 1000 : ms;
    info->sample_pages = r->samples;
    info->mode = r->mode;
    if (r->status == DIRTY_RATE_STATUS_MEASURED) {
        info->has_dirty_rate = true;
        info->dirty_rate = (int64_t)r->rate;
        if (r->mode == DIRTY_RATE_MEASURE_MODE_DIRTY_RING) {
            info->vcpu_dirty_rate = rates_by_cpu(r);
        }
    }
    g_mutex_unlock(&r->lock);
    return info;
}
