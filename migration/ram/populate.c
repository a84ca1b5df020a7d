/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/ram/populate.h"
#include "util/bitmap.h"

/* How far ahead at most, in chunks. */
#define MAX_AHEAD 16

struct RamPopulate {
    GMutex lock; /* protects all below */
    GCond work;  /* the helper may have something to do */
    GCond changed;
    GThread *helper; /* started when a stream has shown that it is one */
    bool quit;

    /* Of @block: chunks from @first to below @next are taken, those from there to below @end are to
     * be. */
    RAMBlock *block;
    uint64_t first, next, end;
    uint64_t came; /* chunks the stream went through without a jump */
    bool busy;     /* the helper, with chunk @helper_at of @helper_block */
    RAMBlock *helper_block;
    uint64_t helper_at;
};

/* Called and returns with the lock held; without it meanwhile. */
static void populate_next(RamPopulate *p)
{
    RAMBlock *block = p->block;
    uint64_t first = p->next++ * POPULATE_CHUNK_PAGES;
    uint64_t n = MIN(POPULATE_CHUNK_PAGES, ram_block_pages(block) - first);

    g_mutex_unlock(&p->lock);
    ram_block_populate(block, first << TARGET_PAGE_BITS, n << TARGET_PAGE_BITS);
    g_mutex_lock(&p->lock);
}

static gpointer helper_thread(gpointer opaque)
{
    RamPopulate *p = opaque;

    g_mutex_lock(&p->lock);
    while (!p->quit) {
        if (p->next == p->end) {
            g_cond_wait(&p->work, &p->lock);
            continue;
        }
        p->busy = true;
        p->helper_block = p->block;
        p->helper_at = p->next;
        populate_next(p);
        p->busy = false;
        g_cond_broadcast(&p->changed);
    }
    g_mutex_unlock(&p->lock);
    return NULL;
}

RamPopulate *ram_populate_new(void)
{
    RamPopulate *p = g_new0(RamPopulate, 1);

    g_mutex_init(&p->lock);
    g_cond_init(&p->work);
    g_cond_init(&p->changed);
    return p;
}

void ram_populate_free(RamPopulate *p)
{
    if (!p) {
        return;
    }
    if (p->helper) {
        g_mutex_lock(&p->lock);
        p->quit = true;
        g_cond_signal(&p->work);
        g_mutex_unlock(&p->lock);
        g_thread_join(p->helper);
    }
    g_cond_clear(&p->changed);
    g_cond_clear(&p->work);
    g_mutex_clear(&p->lock);
    g_free(p);
}

static bool all_fresh(const RAMBlock *block, uint64_t chunk, const unsigned long *fresh)
{
    uint64_t first = chunk * POPULATE_CHUNK_PAGES;
    uint64_t end = MIN(first + POPULATE_CHUNK_PAGES, ram_block_pages(block));

    return first < end && find_next_zero_bit(fresh, end, first) == end;
}

/* The stream has come to @chunk: what is worth populating now? */
static void plan(RamPopulate *p, RAMBlock *block, uint64_t chunk, const unsigned long *fresh)
{
    uint64_t goal;

    if (p->block != block || chunk < p->first || chunk > p->next) {
        p->block = block;
        p->first = p->next = p->end = chunk;
        p->came = 0;
    }
    goal = chunk + 1 + MIN(p->came, MAX_AHEAD);
    p->came++;
    while (p->end < goal && all_fresh(block, p->end, fresh)) {
        p->end++;
    }
    if (p->end > chunk + 1) {
        if (!p->helper) {
            p->helper = g_thread_try_new("populate", helper_thread, p, NULL);
        }
        g_cond_signal(&p->work);
    }
}

void ram_populate_reach(RamPopulate *p, RAMBlock *block, uint64_t chunk, const unsigned long *fresh)
{
    g_mutex_lock(&p->lock);
    plan(p, block, chunk, fresh);
    for (;;) {
        bool coming = p->busy && p->helper_block == block && p->helper_at == chunk;

        if (p->next < p->end && (coming || p->next <= chunk)) {
            populate_next(p);
        } else if (coming) {
            g_cond_wait(&p->changed, &p->lock);
        } else {
            break;
        }
    }
    g_mutex_unlock(&p->lock);
}

void ram_populate_pause(RamPopulate *p)
{
    g_mutex_lock(&p->lock);
    p->end = p->next;
    g_mutex_unlock(&p->lock);
}
