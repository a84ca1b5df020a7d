/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the device that knows what the guest does not use and the RAM section, which does not
 * send it then. */
#include "migration/free-pages.h"
#include "migration/incoming.h"
#include "migration/outgoing.h"
#include "util/lock.h"

void migration_set_free_page_ops(Migration *m, const FreePageOps *ops, void *opaque)
{
    m->free_pages.ops = ops;
    m->free_pages.opaque = opaque;
}

bool migration_free_pages(Migration *m, void *host, uint64_t bytes)
{
    uint64_t skip = ROUND_UP((uintptr_t)host, TARGET_PAGE_SIZE) - (uintptr_t)host;
    ram_addr_t offset;
    RAMBlock *block = ram_block_from_host(m->host->ops->ram(m->host), host, &offset);

    if (!block || bytes < skip + TARGET_PAGE_SIZE) {
        return true; /* no whole page */
    }
    return ram_hints_add(ram_state_hints(m->ram), block, (offset + skip) >> TARGET_PAGE_BITS,
                         (bytes - skip) >> TARGET_PAGE_BITS);
}

void migration_free_pages_done(Migration *m)
{
    ram_hints_finish(ram_state_hints(m->ram));
}

static void tell_end(Migration *m)
{
    if (m->free_pages.asked && m->free_pages.ops) {
        m->free_pages.ops->end(m->free_pages.opaque);
    }
    m->free_pages.asked = false;
}

static gboolean end_in_main_loop(gpointer opaque)
{
    tell_end(opaque);
    return G_SOURCE_REMOVE;
}

bool free_pages_begin(Migration *m)
{
    m->free_pages.asked = m->free_pages.ops && m->free_pages.ops->begin(m->free_pages.opaque);
    return m->free_pages.asked;
}

void free_pages_end(Migration *m)
{
    GSource *end;

    if (bql_locked()) {
        tell_end(m);
        return;
    }
    end = g_idle_source_new();
    g_source_set_callback(end, end_in_main_loop, m, NULL);
    g_source_attach(end, NULL);
    g_mutex_lock(&m->line);
    free_pages_forget_end(m);
    m->free_pages.end = end;
    g_mutex_unlock(&m->line);
}

void free_pages_forget_end(Migration *m)
{
    if (m->free_pages.end) {
        g_source_destroy(m->free_pages.end);
        g_source_unref(m->free_pages.end);
        m->free_pages.end = NULL;
    }
}

/* Is memory still coming in behind a guest that runs here? */
static bool is_arriving(const Migration *m)
{
    switch (m->incoming ? incoming_status(m->incoming) : MIGRATION_STATUS_NONE) {
    case MIGRATION_STATUS_NONE:
    case MIGRATION_STATUS_SETUP:
    case MIGRATION_STATUS_COMPLETED:
    case MIGRATION_STATUS_FAILED:
        return __atomic_load_n(&m->lazy, __ATOMIC_ACQUIRE) != NULL;
    default:
        return true;
    }
}

bool migration_may_discard(Migration *m)
{
    bool saving_a_moment =
        m->outgoing && m->outgoing->background && outgoing_is_running(m->outgoing);

    return !saving_a_moment && !is_arriving(m);
}
