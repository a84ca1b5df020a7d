/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/ram/hints.h"

/* A guest can have no more than that waiting: the rest of its memory is sent. */
#define MAX_PENDING 65536
/* In the middle of the first pass the log is not read meanwhile: nothing is known of how busy the
 * guest is before that. */
#define PATIENCE_US (10 * G_USEC_PER_SEC)

typedef struct {
    RAMBlock *block;
    uint64_t first, count; /* pages */
} Hint;

struct RamHints {
    GMutex lock;
    GArray *pending; /* Hint; under lock */
    bool any;        /* atomic: it is not empty */
    bool open;       /* under lock */
    bool expected;   /* atomic: open, and the guest has not finished */
    int64_t until_us;
};

RamHints *ram_hints_new(void)
{
    RamHints *h = g_new0(RamHints, 1);

    g_mutex_init(&h->lock);
    h->pending = g_array_new(false, false, sizeof(Hint));
    return h;
}

void ram_hints_free(RamHints *h)
{
    g_array_unref(h->pending);
    g_mutex_clear(&h->lock);
    g_free(h);
}

void ram_hints_open(RamHints *h)
{
    g_mutex_lock(&h->lock);
    h->open = true;
    h->until_us = g_get_monotonic_time() + PATIENCE_US;
    __atomic_store_n(&h->expected, true, __ATOMIC_RELEASE);
    g_mutex_unlock(&h->lock);
}

bool ram_hints_add(RamHints *h, RAMBlock *block, uint64_t first, uint64_t count)
{
    Hint hint = {block, first, count};
    bool ok;

    g_mutex_lock(&h->lock);
    ok = h->open && h->pending->len < MAX_PENDING;
    if (ok) {
        g_array_append_val(h->pending, hint);
        __atomic_store_n(&h->any, true, __ATOMIC_RELAXED);
    }
    g_mutex_unlock(&h->lock);
    return ok;
}

void ram_hints_finish(RamHints *h)
{
    __atomic_store_n(&h->expected, false, __ATOMIC_RELEASE);
}

bool ram_hints_expected(RamHints *h)
{
    return __atomic_load_n(&h->expected, __ATOMIC_ACQUIRE) && g_get_monotonic_time() < h->until_us;
}

bool ram_hints_pending(const RamHints *h)
{
    return __atomic_load_n(&h->any, __ATOMIC_RELAXED);
}

uint64_t ram_hints_apply(RamHints *h, DirtyMap *d)
{
    g_autoptr(GArray) hints = g_array_new(false, false, sizeof(Hint));
    GArray *taken;
    uint64_t saved = 0;

    g_mutex_lock(&h->lock);
    taken = h->pending;
    h->pending = g_steal_pointer(&hints);
    __atomic_store_n(&h->any, false, __ATOMIC_RELAXED);
    g_mutex_unlock(&h->lock);
    for (guint i = 0; i < taken->len; i++) {
        const Hint *hint = &g_array_index(taken, Hint, i);

        saved += dirty_map_forget(d, hint->block, hint->first, hint->count);
    }
    g_array_unref(taken);
    return saved;
}

bool ram_hints_close(RamHints *h)
{
    bool was_open;

    g_mutex_lock(&h->lock);
    was_open = h->open;
    h->open = false;
    __atomic_store_n(&h->expected, false, __ATOMIC_RELEASE);
    g_mutex_unlock(&h->lock);
    return was_open;
}
