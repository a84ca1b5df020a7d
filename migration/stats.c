/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rates of the outgoing side, and its part of query-migrate (spec 20 section 16). */
#include "migration/dirty-rate.h"
#include "migration/forecast.h"
#include "migration/outgoing.h"
#include "qapi-events-migration.h"

/* A window that moved less says little about what the channel can take. */
#define MEANINGFUL_BYTES (1 * MiB)
/* A loop turn that took longer was blocked by the channel. */
#define STALL_US 500000

MigrationCounters *migration_counters(Migration *m)
{
    return &m->counters;
}

void migration_note_pass(Migration *m, uint64_t dirty_bytes)
{
    MigrationCounters *c = &m->counters;

    stat_add(&c->dirty_sync_count, 1);
    stat_set(&c->dirty_sync_bytes, dirty_bytes);
    recorder_round(m->source_record, stat_get(&c->dirty_sync_count), outgoing_bytes(m->outgoing),
                   dirty_bytes);
    if (options_cap(&m->options, MIGRATION_CAPABILITY_EVENTS)) {
        qapi_event_send_migration_pass(&m->host->events, stat_get(&c->dirty_sync_count));
    }
}

/* ---- pace ---- */

static uint64_t pages_now(MigrationState *s)
{
    const MigrationCounters *c = &s->m->counters;

    return stat_get(&c->normal_pages) + stat_get(&c->zero_pages) + stat_get(&c->xbzrle_pages);
}

/* What this thread has computed so far. */
static int64_t thread_cpu_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return ts.tv_sec * G_USEC_PER_SEC + ts.tv_nsec / 1000;
}

static void begin_window(MigrationState *s, int64_t now)
{
    s->window = (RateWindow){now, outgoing_bytes(s), pages_now(s), thread_cpu_us()};
}

static void begin_pace_window(MigrationState *s, int64_t now, double windows)
{
    qemu_file_rate_next(s->file, windows);
    push_channels_begin_window(s, qemu_file_rate_limit(s->file), windows);
    s->pace_us = now;
}

static void pace(MigrationState *s, int64_t now)
{
    double windows = (double)(now - s->pace_us) / PACE_WINDOW_US;

    if (windows >= 1) {
        begin_pace_window(s, now, windows);
    }
}

void stats_set_rate_limit(MigrationState *s, uint64_t bandwidth)
{
    qemu_file_set_rate_limit(s->file,
                             bandwidth ? MAX(bandwidth / (G_USEC_PER_SEC / PACE_WINDOW_US), 1) : 0);
    if (s->multifd) {
        multifd_send_set_limit(s->multifd, bandwidth);
    }
}

static void apply_rate_limit(MigrationState *s)
{
    uint64_t bandwidth =
        options_param(&s->m->options, postcopy_source_switched(s) ? PARAM_MAX_POSTCOPY_BANDWIDTH
                                                                  : PARAM_MAX_BANDWIDTH);

    if (s->background) {
        bandwidth = 0; /* what the guest waits for shall not be slow */
    }
    /* What pushes beside the main channel has as much as it. */
    stats_set_rate_limit(s, bandwidth ? MAX(bandwidth / (1 + push_channels_running(s)), 1) : 0);
}

void stats_start(MigrationState *s)
{
    int64_t now = g_get_monotonic_time();

    apply_rate_limit(s);
    begin_window(s, now);
    begin_pace_window(s, now, 1);
}

void stats_update(MigrationState *s)
{
    MigrationCounters *c = &s->m->counters;
    int64_t now = g_get_monotonic_time(), elapsed = now - s->window.start_us;
    uint64_t bytes, rate;

    apply_rate_limit(s); /* max-bandwidth may change at any time */
    pace(s, now);
    if (elapsed < RATE_WINDOW_US) {
        return;
    }
    bytes = outgoing_bytes(s) - s->window.start_bytes;
    rate = bytes * G_USEC_PER_SEC / elapsed;
    if (bytes >= MEANINGFUL_BYTES || rate > stat_get(&c->bandwidth)) {
        stat_set(&c->bandwidth, rate);
    }
    stat_set(&c->mbps_milli, rate * 8 / 1000);
    stat_set(&c->pages_per_second,
             (pages_now(s) - s->window.start_pages) * G_USEC_PER_SEC / elapsed);
    stat_set(&c->busy_percent, (thread_cpu_us() - s->window.start_cpu_us) * 100 / elapsed);
    stat_set(&c->channel_bytes, outgoing_bytes(s));
    if (elapsed >= STALL_US) {
        recorder_stall(s->m->source_record, outgoing_bytes(s), elapsed);
    }
    recorder_sample(s->m->source_record, outgoing_bytes(s), stat_get(&c->ram_remaining),
                    rate * 8 / 1e6);
    begin_window(s, now);
}

uint64_t stats_bandwidth(MigrationState *s)
{
    uint64_t limit = options_param(&s->m->options, PARAM_MAX_BANDWIDTH);
    uint64_t rate = stat_get(&s->m->counters.bandwidth);

    if (!rate) {
        /* No window is over yet: what this one shows so far is better than nothing. */
        int64_t elapsed = MAX(g_get_monotonic_time() - s->window.start_us, 1);

        rate = (outgoing_bytes(s) - s->window.start_bytes) * G_USEC_PER_SEC / elapsed;
    }
    return limit ? MIN(rate, limit) : rate;
}

void stats_finish(MigrationState *s)
{
    MigrationCounters *c = &s->m->counters;
    int64_t end = g_get_monotonic_time();

    __atomic_store_n(&s->end_us, end, __ATOMIC_RELAXED);
    if (!s->file) {
        return;
    }
    stat_set(&c->channel_bytes, outgoing_bytes(s));
    if (s->committed && s->active_us) {
        stat_set(&c->mbps_milli,
                 outgoing_bytes(s) * 8 * 1000 / (uint64_t)MAX(end - s->active_us, 1));
    }
}

/* ---- query-migrate ---- */

static uint64_t expected_downtime_ms(MigrationState *s)
{
    const MigrationCounters *c = &s->m->counters;
    uint64_t bandwidth = stat_get(&c->bandwidth);

    if (stat_get(&c->dirty_sync_count) < 2 || !bandwidth) {
        return options_param(&s->m->options, PARAM_DOWNTIME_LIMIT);
    }
    return (stat_get(&c->pending_bytes) + stat_get(&c->stopcopy_bytes)) * 1000 / bandwidth;
}

static void fill_ram(MigrationState *s, MigrationInfo *info, bool completed)
{
    const MigrationCounters *c = &s->m->counters;
    MigrationStats *ram = info->ram = g_new0(MigrationStats, 1);

    ram->transferred = stat_get(&c->channel_bytes);
    ram->total = stat_get(&c->ram_total);
    ram->duplicate = stat_get(&c->zero_pages);
    ram->normal = stat_get(&c->normal_pages) - stat_get(&c->compress_pages);
    ram->normal_bytes = ram->normal * TARGET_PAGE_SIZE;
    ram->mbps = stat_get(&c->mbps_milli) / 1000.0;
    ram->dirty_sync_count = stat_get(&c->dirty_sync_count);
    ram->postcopy_requests = stat_get(&c->postcopy_requests);
    ram->page_size = TARGET_PAGE_SIZE;
    ram->multifd_bytes = stat_get(&c->multifd_bytes);
    ram->pages_per_second = stat_get(&c->pages_per_second);
    ram->precopy_bytes = stat_get(&c->precopy_bytes);
    ram->downtime_bytes = stat_get(&c->downtime_bytes);
    ram->postcopy_bytes = stat_get(&c->postcopy_bytes);
    ram->dirty_sync_missed_zero_copy = stat_get(&c->zero_copy_missed);
    if (!completed) {
        ram->remaining = stat_get(&c->ram_remaining);
        ram->dirty_pages_rate = stat_get(&c->dirty_pages_rate);
        info->has_remaining = true;
        info->remaining = ram->remaining;
    }
}

static void fill_savings(MigrationState *s, MigrationInfo *info)
{
    const MigrationCounters *c = &s->m->counters;
    MigrationSavings *x = info->x_savings = g_new0(MigrationSavings, 1);

    x->order_bytes = stat_get(&c->spared_pages) * TARGET_PAGE_SIZE;
    x->free_bytes = stat_get(&c->hinted_pages) * TARGET_PAGE_SIZE;
    x->unchanged_bytes = stat_get(&c->unchanged_pages) * TARGET_PAGE_SIZE;
}

/* Bytes of the first pass that take next to nothing to send: memory that was never touched. */
static double free_of_charge(const MigrationCounters *c)
{
    uint64_t untouched = stat_get(&c->untouched_pages), sent = stat_get(&c->zero_pages);

    return stat_get(&c->dirty_sync_count) < 2 && untouched > sent
               ? (double)(untouched - sent) * TARGET_PAGE_SIZE
               : 0;
}

/* NULL: while the dirty rate is not known yet there is nothing to say. */
MigrationForecast *stats_forecast(MigrationState *s)
{
    const MigrationCounters *c = &s->m->counters;
    const MigrationOptions *o = &s->m->options;
    uint64_t limit = options_param(o, PARAM_MAX_BANDWIDTH), bandwidth = stat_get(&c->bandwidth);
    double total = stat_get(&c->ram_total), left = stat_get(&c->ram_remaining);
    double synced = stat_get(&c->dirty_sync_bytes);
    /* What a dirty byte takes on the wire. */
    double cost = synced > 0 ? stat_get(&c->pending_bytes) / synced : 1;
    ForecastInput in = {
        .pending = MAX(left - free_of_charge(c), 0) * cost,
        .total = total * cost,
        .stopped = stat_get(&c->stopcopy_bytes),
        .hot = stat_get(&c->hot_pages) * TARGET_PAGE_SIZE * cost,
        .bandwidth = limit ? MIN(bandwidth, limit) : bandwidth,
        .dirty = stat_get(&c->written_pages_rate) * TARGET_PAGE_SIZE * cost,
        .cold = stat_get(&c->cold_pages_rate) * TARGET_PAGE_SIZE * cost,
        .max_bandwidth = limit,
        .downtime_limit_ms = options_param(o, PARAM_DOWNTIME_LIMIT),
        .xbzrle = options_cap(o, MIGRATION_CAPABILITY_XBZRLE),
        .auto_converge = options_cap(o, MIGRATION_CAPABILITY_AUTO_CONVERGE),
        .dirty_limit = options_cap(o, MIGRATION_CAPABILITY_DIRTY_LIMIT),
        .postcopy = options_cap(o, MIGRATION_CAPABILITY_POSTCOPY_RAM),
        .multifd = options_cap(o, MIGRATION_CAPABILITY_MULTIFD),
        .busy_percent = stat_get(&c->busy_percent),
        .host_cpus = g_get_num_processors(),
        .vcpus = s->host->ops->vcpus ? s->host->ops->vcpus(s->host) : 0,
    };

    return stat_get(&c->dirty_rate_known) ? migration_forecast(&in) : NULL;
}

static void fill_xbzrle(MigrationState *s, MigrationInfo *info)
{
    const MigrationCounters *c = &s->m->counters;
    XBZRLECacheStats *x = info->xbzrle_cache = g_new0(XBZRLECacheStats, 1);

    x->cache_size = options_param(&s->m->options, PARAM_XBZRLE_CACHE_SIZE);
    x->bytes = stat_get(&c->xbzrle_bytes);
    x->pages = stat_get(&c->xbzrle_pages);
    x->cache_miss = stat_get(&c->xbzrle_cache_miss);
    x->cache_miss_rate = stat_get(&c->xbzrle_miss_rate_ppm) / 1e6;
    x->encoding_rate = stat_get(&c->xbzrle_encoding_rate_milli) / 1e3;
    x->overflow = stat_get(&c->xbzrle_overflow);
}

static void fill_compression(MigrationState *s, MigrationInfo *info)
{
    const MigrationCounters *c = &s->m->counters;
    CompressionStats *x = info->compression = g_new0(CompressionStats, 1);
    uint64_t offered;

    x->pages = stat_get(&c->compress_pages);
    x->busy = stat_get(&c->compress_busy);
    x->compressed_size = stat_get(&c->compress_bytes);
    offered = x->pages + x->busy;
    x->busy_rate = offered ? (double)x->busy / offered : 0;
    x->compression_rate =
        x->compressed_size ? (double)x->pages * TARGET_PAGE_SIZE / x->compressed_size : 0;
}

static void fill_vfio(MigrationState *s, MigrationInfo *info)
{
    uint64_t bytes;

    if (s->host->ops->device_bytes && s->host->ops->device_bytes(s->host, &bytes)) {
        info->vfio = g_new0(VfioStats, 1);
        info->vfio->transferred = (int64_t)bytes;
    }
}

static void fill_times(MigrationState *s, MigrationInfo *info, bool completed)
{
    int64_t active = __atomic_load_n(&s->active_us, __ATOMIC_RELAXED);
    int64_t end = __atomic_load_n(&s->end_us, __ATOMIC_RELAXED);

    end = end ? end : g_get_monotonic_time();
    info->has_total_time = true;
    info->total_time = (end - s->begin_us) / 1000;
    info->has_setup_time = true;
    info->setup_time = active ? (active - s->begin_us) / 1000 : 0;
    if (completed) {
        info->has_downtime = true;
        info->downtime = DIV_ROUND_UP(stat_get(&s->downtime_us), 1000);
    } else {
        info->has_expected_downtime = true;
        info->expected_downtime = expected_downtime_ms(s);
    }
}

void stats_fill_info(MigrationState *s, MigrationInfo *info)
{
    MigrationStatus status = outgoing_status(s);

    info->has_status = true;
    info->status = status;
    g_free(info->error_desc); /* the incoming side's, if it had one */
    info->error_desc = outgoing_error(s);
    switch (status) {
    case MIGRATION_STATUS_ACTIVE:
    case MIGRATION_STATUS_CANCELLING:
    case MIGRATION_STATUS_PRE_SWITCHOVER:
    case MIGRATION_STATUS_DEVICE:
    case MIGRATION_STATUS_POSTCOPY_DEVICE:
    case MIGRATION_STATUS_POSTCOPY_ACTIVE:
    case MIGRATION_STATUS_POSTCOPY_PAUSED:
    case MIGRATION_STATUS_POSTCOPY_RECOVER_SETUP:
    case MIGRATION_STATUS_POSTCOPY_RECOVER:
    case MIGRATION_STATUS_FAILING:
    case MIGRATION_STATUS_COMPLETED:
        fill_ram(s, info, status == MIGRATION_STATUS_COMPLETED);
        fill_savings(s, info);
        fill_vfio(s, info);
        if (status == MIGRATION_STATUS_ACTIVE) {
            info->x_forecast = stats_forecast(s);
        }
        if (options_cap(&s->m->options, MIGRATION_CAPABILITY_XBZRLE)) {
            fill_xbzrle(s, info);
        }
        if (options_cap(&s->m->options, MIGRATION_CAPABILITY_COMPRESS)) {
            fill_compression(s, info);
        }
        info->cpu_throttle_percentage = (int64_t)stat_get(&s->m->counters.throttle_percent);
        info->has_cpu_throttle_percentage = info->cpu_throttle_percentage > 0;
        info->dirty_limit_throttle_time_per_round = dirty_limits_slept_us(s->m->dirty_limits);
        info->has_dirty_limit_throttle_time_per_round =
            info->dirty_limit_throttle_time_per_round > 0;
        fill_times(s, info, status == MIGRATION_STATUS_COMPLETED);
        break;
    default:
        break;
    }
}
