/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/lock.h"

static GMutex bql;
static __thread bool held;
static __thread const BqlWaiter *waiter;
static __thread void *waiter_opaque;

void bql_lock(void)
{
    if (!waiter) {
        g_mutex_lock(&bql);
    } else if (!g_mutex_trylock(&bql)) {
        waiter->begin(waiter_opaque);
        g_mutex_lock(&bql);
        waiter->end(waiter_opaque);
    }
    held = true;
}

void bql_set_waiter(const BqlWaiter *w, void *opaque)
{
    waiter = w;
    waiter_opaque = opaque;
}

void bql_unlock(void)
{
    held = false;
    g_mutex_unlock(&bql);
}

bool bql_locked(void)
{
    return held;
}

void bql_cond_wait(GCond *cond)
{
    held = false;
    g_cond_wait(cond, &bql);
    held = true;
}

bool bql_cond_wait_until(GCond *cond, int64_t end_time)
{
    bool signalled;

    held = false;
    signalled = g_cond_wait_until(cond, &bql, end_time);
    held = true;
    return signalled;
}

static gint poll_unlocked(GPollFD *fds, guint n, gint timeout)
{
    gint ret;
    int saved;

    bql_unlock();
    ret = g_poll(fds, n, timeout);
    saved = errno;
    bql_lock();
    errno = saved;
    return ret;
}

void bql_attach_main_context(GMainContext *ctx)
{
    g_main_context_set_poll_func(ctx, poll_unlocked);
}
