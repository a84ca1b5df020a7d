/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/lazy-restore.h"

struct LazyRestore {
    Migration *m;
    RamLazy *lazy;
    GSource *done;
    int64_t start_us;
};

static void stuck(void *opaque, uint32_t thread, GError *err)
{
    LazyRestore *r = opaque;
    MigrationHost *host = r->m->host;

    recorder_error(r->m->destination_record, err->message);
    if (host->ops->memory_stuck) {
        host->ops->memory_stuck(host, thread, err->message);
    }
    g_error_free(err);
}

static bool retry(void *opaque)
{
    LazyRestore *r = opaque;

    return r->m->host->ops->runstate(r->m->host) == RUN_STATE_RUNNING;
}

static void unstuck(void *opaque, uint32_t thread)
{
    LazyRestore *r = opaque;
    MigrationHost *host = r->m->host;

    if (host->ops->memory_unstuck) {
        host->ops->memory_unstuck(host, thread);
    }
}

static gboolean end_in_main_loop(gpointer opaque)
{
    LazyRestore *r = opaque;

    lazy_restore_end(r->m);
    return G_SOURCE_REMOVE;
}

static void complete(void *opaque, uint64_t bytes_read)
{
    LazyRestore *r = opaque;
    g_autofree char *text =
        g_strdup_printf("all memory is here: %" PRIu64 " KiB read in %" PRId64 " ms",
                        bytes_read / KiB, (g_get_monotonic_time() - r->start_us) / 1000);

    recorder_note(r->m->destination_record, text);
    g_source_attach(r->done, NULL);
}

static const RamLazyEvents events = {
    .stuck = stuck,
    .retry = retry,
    .unstuck = unstuck,
    .complete = complete,
};

RamLazy *lazy_restore_begin(Migration *m, QIOChannel *pages, unsigned blocks, GError **errp)
{
    LazyRestore *r = g_new0(LazyRestore, 1);

    r->m = m;
    r->start_us = g_get_monotonic_time();
    r->done = g_idle_source_new();
    g_source_set_priority(r->done, G_PRIORITY_DEFAULT);
    g_source_set_callback(r->done, end_in_main_loop, r, NULL);
    __atomic_store_n(&m->lazy, r, __ATOMIC_RELEASE);
    r->lazy = ram_lazy_new(pages, blocks, &events, r, errp);
    return r->lazy;
}

void lazy_restore_end(Migration *m)
{
    LazyRestore *r = g_steal_pointer(&m->lazy);

    if (r) {
        ram_lazy_free(r->lazy);
        g_source_destroy(r->done);
        g_source_unref(r->done);
        g_free(r);
    }
}
