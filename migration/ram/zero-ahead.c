/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/ram/zero-ahead.h"
#include "memory/ramblock.h"
#include "util/bitmap.h"
#include "util/zero.h"

#define MAX_CHUNKS (ZERO_AHEAD_PAGES / ZERO_CHUNK_PAGES)

struct ZeroAhead {
    GThread *helper;
    /* The sender's: all chunks before this one are known to be done. */
    unsigned seen;
    /* Written by whoever took the chunk a word belongs to; read after its done flag. */
    unsigned long zero[ZERO_AHEAD_PAGES / BITS_PER_LONG];

    GMutex lock; /* protects all below */
    GCond work;  /* the helper may have something to do */
    GCond changed;
    bool quit;
    bool reading; /* the helper, one chunk */
    const uint8_t *host;
    uint64_t pages;
    unsigned next, end; /* the next chunk to be taken, and how many there are */
    bool done[MAX_CHUNKS];
};

/* Called and returns with the lock held; without it meanwhile. */
static void read_chunk(ZeroAhead *a)
{
    unsigned chunk = a->next++;
    uint64_t first = chunk * ZERO_CHUNK_PAGES;
    uint64_t n = MIN(a->pages - first, ZERO_CHUNK_PAGES);
    const uint8_t *host = a->host + (first << TARGET_PAGE_BITS);

    g_mutex_unlock(&a->lock);
    bitmap_clear(a->zero, first, ZERO_CHUNK_PAGES);
    for (uint64_t i = 0; i < n; i++) {
        if (buffer_is_zero(host + (i << TARGET_PAGE_BITS), TARGET_PAGE_SIZE)) {
            set_bit(first + i, a->zero);
        }
    }
    g_mutex_lock(&a->lock);
    a->done[chunk] = true;
}

static gpointer helper_thread(gpointer opaque)
{
    ZeroAhead *a = opaque;

    g_mutex_lock(&a->lock);
    while (!a->quit) {
        if (a->next == a->end) {
            g_cond_wait(&a->work, &a->lock);
            continue;
        }
        a->reading = true;
        read_chunk(a);
        a->reading = false;
        g_cond_signal(&a->changed);
    }
    g_mutex_unlock(&a->lock);
    return NULL;
}

ZeroAhead *zero_ahead_new(void)
{
    ZeroAhead *a = g_new0(ZeroAhead, 1);

    g_mutex_init(&a->lock);
    g_cond_init(&a->work);
    g_cond_init(&a->changed);
    a->helper = g_thread_try_new("zero-ahead", helper_thread, a, NULL);
    if (!a->helper) {
        g_clear_pointer(&a, zero_ahead_free);
    }
    return a;
}

void zero_ahead_free(ZeroAhead *a)
{
    if (!a) {
        return;
    }
    if (a->helper) {
        g_mutex_lock(&a->lock);
        a->quit = true;
        g_cond_signal(&a->work);
        g_mutex_unlock(&a->lock);
        g_thread_join(a->helper);
    }
    g_cond_clear(&a->changed);
    g_cond_clear(&a->work);
    g_mutex_clear(&a->lock);
    g_free(a);
}

void zero_ahead_start(ZeroAhead *a, const uint8_t *host, uint64_t pages)
{
    g_assert(pages <= ZERO_AHEAD_PAGES);
    zero_ahead_stop(a);
    g_mutex_lock(&a->lock);
    a->seen = 0;
    a->host = host;
    a->pages = pages;
    a->next = 0;
    a->end = DIV_ROUND_UP(pages, ZERO_CHUNK_PAGES);
    memset(a->done, 0, sizeof(a->done));
    g_cond_signal(&a->work);
    g_mutex_unlock(&a->lock);
}

void zero_ahead_stop(ZeroAhead *a)
{
    g_mutex_lock(&a->lock);
    a->next = a->end = 0;
    while (a->reading) {
        g_cond_wait(&a->changed, &a->lock);
    }
    a->pages = 0;
    g_mutex_unlock(&a->lock);
}

/* All chunks up to @chunk are done when this returns. */
static void reach(ZeroAhead *a, unsigned chunk)
{
    g_mutex_lock(&a->lock);
    while (a->seen <= chunk) {
        if (a->done[a->seen]) {
            a->seen++;
        } else if (a->next < a->end) {
            read_chunk(a);
        } else {
            g_cond_wait(&a->changed, &a->lock);
        }
    }
    g_mutex_unlock(&a->lock);
}

uint64_t zero_ahead_same(ZeroAhead *a, uint64_t page, uint64_t max, bool *is_zero)
{
    unsigned chunk = page / ZERO_CHUNK_PAGES;
    uint64_t end = MIN(page + max, (chunk + UINT64_C(1)) * ZERO_CHUNK_PAGES);

    g_assert(page + max <= a->pages);
    if (a->seen <= chunk) {
        reach(a, chunk);
    }
    *is_zero = test_bit(page, a->zero);
    return (*is_zero ? find_next_zero_bit : find_next_bit)(a->zero, end, page) - page;
}
