/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * set-vcpu-dirty-limit: a quota of dirty pages per vCPU. The accelerator obeys it by itself
 * (dirty-meter.h). What is done here is to keep the log on while there is a limit, to read it once
 * a second so that pages count again, and to remember each vCPU's rate.
 */
#include "migration/dirty-rate.h"
#include "memory/dirty-meter.h"
#include "qapi-commands-migration.h"
#include "util/lock.h"

#define PERIOD_MS 1000

typedef struct {
    uint64_t pages; /* at the start of the period */
    uint64_t rate;  /* MiB/s, in the last one */
    /* While a migration limits. */
    uint64_t limit;    /* in pages per second, before it */
    uint64_t slept_us; /* so far, when the pass began; migration thread */
} Seen;

struct DirtyLimits {
    Migration *m;
    GThread *thread; /* runs while there is a limit */
    GMutex lock;
    GCond wake;
    bool quit;          /* under lock */
    uint64_t period_ms; /* atomic */
    bool migrating;     /* atomic: the limits are a migration's */
    uint64_t slept_us;  /* atomic: in the last pass, by whoever slept most */
    GArray *by_cpu;     /* Seen; big lock */
};

static RAMList *ram(const DirtyLimits *l)
{
    return l->m->host->ops->ram(l->m->host);
}

DirtyLimits *dirty_limits_new(Migration *m)
{
    DirtyLimits *l = g_new0(DirtyLimits, 1);

    l->m = m;
    l->period_ms = PERIOD_MS;
    l->by_cpu = g_array_new(FALSE, TRUE, sizeof(Seen));
    g_mutex_init(&l->lock);
    g_cond_init(&l->wake);
    return l;
}

/* ---- once a second ---- */

static void note_rates(DirtyLimits *l, int64_t ms)
{
    for (guint i = 0; i < l->by_cpu->len; i++) {
        const DirtyMeter *meter = dirty_meter_at(ram(l), i);
        Seen *seen = &g_array_index(l->by_cpu, Seen, i);
        uint64_t pages = meter ? dirty_meter_pages(meter) : seen->pages;

        seen->rate = dirty_rate_mib(pages - seen->pages, ms);
        seen->pages = pages;
    }
}

static gpointer limit_thread(gpointer opaque)
{
    DirtyLimits *l = opaque;
    int64_t last = g_get_monotonic_time();

    g_mutex_lock(&l->lock);
    while (!l->quit) {
        int64_t now;

        int64_t period = __atomic_load_n(&l->period_ms, __ATOMIC_RELAXED);

        if (g_cond_wait_until(&l->wake, &l->lock, last + period * 1000)) {
            continue;
        }
        g_mutex_unlock(&l->lock);
        bql_lock();
        now = g_get_monotonic_time();
        note_rates(l, (now - last) / 1000);
        dirty_rate_log_count(l->m);
        last = now;
        bql_unlock();
        g_mutex_lock(&l->lock);
    }
    g_mutex_unlock(&l->lock);
    return NULL;
}

static bool start(DirtyLimits *l, GError **errp)
{
    unsigned n = dirty_meter_count(ram(l));

    if (l->thread) {
        return true;
    }
    if (!dirty_rate_log_start(l->m, "set-vcpu-dirty-limit", errp)) {
        return false;
    }
    g_array_set_size(l->by_cpu, 0);
    g_array_set_size(l->by_cpu, n);
    for (unsigned i = 0; i < n; i++) {
        g_array_index(l->by_cpu, Seen, i).pages = dirty_meter_pages(dirty_meter_at(ram(l), i));
    }
    l->quit = false;
    l->thread = g_thread_try_new("dirty-limit", limit_thread, l, errp);
    if (!l->thread) {
        dirty_rate_log_stop(l->m);
    }
    return l->thread != NULL;
}

static void stop(DirtyLimits *l)
{
    if (!l->thread) {
        return;
    }
    g_mutex_lock(&l->lock);
    l->quit = true;
    g_cond_signal(&l->wake);
    g_mutex_unlock(&l->lock);
    migration_join(g_steal_pointer(&l->thread));
    dirty_rate_log_stop(l->m);
}

/* ---- limits ---- */

static bool any_limit(const DirtyLimits *l)
{
    for (unsigned i = 0; i < dirty_meter_count(ram(l)); i++) {
        if (dirty_meter_limit(dirty_meter_at(ram(l), i))) {
            return true;
        }
    }
    return false;
}

static void set_limits(DirtyLimits *l, bool one, unsigned index, uint64_t pages_per_second)
{
    for (unsigned i = 0; i < dirty_meter_count(ram(l)); i++) {
        if (!one || i == index) {
            dirty_meter_set_limit(dirty_meter_at(ram(l), i), pages_per_second);
        }
    }
}

/* ---- of a migration ---- */

bool dirty_limits_begin_migration(DirtyLimits *l, uint64_t mib, uint64_t period_ms, GError **errp)
{
    uint64_t pages = mib * (MiB / TARGET_PAGE_SIZE);

    if (!start(l, errp)) {
        return false;
    }
    for (guint i = 0; i < l->by_cpu->len; i++) {
        DirtyMeter *meter = dirty_meter_at(ram(l), i);
        Seen *seen = &g_array_index(l->by_cpu, Seen, i);

        if (!l->migrating) {
            seen->limit = dirty_meter_limit(meter);
            seen->slept_us = dirty_meter_slept_us(meter);
        }
        dirty_meter_set_limit(meter, seen->limit ? MIN(seen->limit, pages) : pages);
    }
    __atomic_store_n(&l->period_ms, period_ms, __ATOMIC_RELAXED);
    __atomic_store_n(&l->migrating, true, __ATOMIC_RELEASE);
    return true;
}

void dirty_limits_end_migration(DirtyLimits *l)
{
    if (!l->migrating) {
        return;
    }
    for (guint i = 0; i < l->by_cpu->len; i++) {
        dirty_meter_set_limit(dirty_meter_at(ram(l), i), g_array_index(l->by_cpu, Seen, i).limit);
    }
    __atomic_store_n(&l->migrating, false, __ATOMIC_RELEASE);
    __atomic_store_n(&l->period_ms, PERIOD_MS, __ATOMIC_RELAXED);
    __atomic_store_n(&l->slept_us, 0, __ATOMIC_RELAXED);
    if (!any_limit(l)) {
        stop(l);
    }
}

void dirty_limits_note_pass(DirtyLimits *l)
{
    uint64_t most = 0;

    if (!__atomic_load_n(&l->migrating, __ATOMIC_ACQUIRE)) {
        return;
    }
    for (guint i = 0; i < l->by_cpu->len; i++) {
        Seen *seen = &g_array_index(l->by_cpu, Seen, i);
        uint64_t now = dirty_meter_slept_us(dirty_meter_at(ram(l), i));

        most = MAX(most, now - seen->slept_us);
        seen->slept_us = now;
    }
    __atomic_store_n(&l->slept_us, most, __ATOMIC_RELAXED);
}

uint64_t dirty_limits_slept_us(const DirtyLimits *l)
{
    return __atomic_load_n(&l->slept_us, __ATOMIC_RELAXED);
}

/* ---- the end ---- */

void dirty_limits_stop(DirtyLimits *l)
{
    if (l->thread) {
        set_limits(l, false, 0, 0);
        stop(l);
    }
}

void dirty_limits_free(DirtyLimits *l)
{
    if (l) {
        dirty_limits_stop(l);
        g_array_unref(l->by_cpu);
        g_mutex_clear(&l->lock);
        g_cond_clear(&l->wake);
        g_free(l);
    }
}

/* ---- commands ---- */

static bool check_cpu(const DirtyLimits *l, bool has_index, int64_t index, GError **errp)
{
    if (l->migrating) {
        error_setg(errp, "The capability 'dirty-limit' sets the limits while a migration runs");
        return false;
    }
    if (has_index && (index < 0 || index >= dirty_meter_count(ram(l)))) {
        error_setg(errp, "incorrect cpu index specified");
        return false;
    }
    return true;
}

void qmp_cancel_vcpu_dirty_limit(QmpCall *call, const QmpArgs_cancel_vcpu_dirty_limit *args,
                                 GError **errp)
{
    DirtyLimits *l = ((Migration *)call->opaque)->dirty_limits;

    if (!l->thread || !check_cpu(l, args->has_cpu_index, args->cpu_index, errp)) {
        return;
    }
    set_limits(l, args->has_cpu_index, (unsigned)args->cpu_index, 0);
    if (!any_limit(l)) {
        stop(l);
    }
}

void qmp_set_vcpu_dirty_limit(QmpCall *call, const QmpArgs_set_vcpu_dirty_limit *args,
                              GError **errp)
{
    DirtyLimits *l = ((Migration *)call->opaque)->dirty_limits;
    uint64_t limit = MIN(args->dirty_rate, UINT64_C(1) << 30) * (MiB / TARGET_PAGE_SIZE);

    if (!limit) {
        QmpArgs_cancel_vcpu_dirty_limit cancel = {args->has_cpu_index, args->cpu_index};

        qmp_cancel_vcpu_dirty_limit(call, &cancel, errp);
        return;
    }
    if (!dirty_meter_count(ram(l))) {
        error_setg(errp, "No vCPU runs guest code here, so there is nothing to limit");
        return;
    }
    if (!check_cpu(l, args->has_cpu_index, args->cpu_index, errp) || !start(l, errp)) {
        return;
    }
    set_limits(l, args->has_cpu_index, (unsigned)args->cpu_index, limit);
}

GPtrArray *qmp_query_vcpu_dirty_limit(QmpCall *call, GError **errp)
{
    DirtyLimits *l = ((Migration *)call->opaque)->dirty_limits;
    GPtrArray *list = qapi_list_new_DirtyLimitInfo();

    for (unsigned i = 0; l->thread && i < l->by_cpu->len; i++) {
        uint64_t limit = dirty_meter_limit(dirty_meter_at(ram(l), i));
        DirtyLimitInfo *info;

        if (!limit) {
            continue;
        }
        info = g_new0(DirtyLimitInfo, 1);
        info->cpu_index = i;
        info->limit_rate = limit / (MiB / TARGET_PAGE_SIZE);
        info->current_rate = g_array_index(l->by_cpu, Seen, i).rate;
        g_ptr_array_add(list, info);
    }
    return list;
}
