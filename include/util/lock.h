/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The big lock: device models, the monitor and run-state changes are serialised by
 * it.  Process-wide, not recursive.  Hot paths (guest code, page copies, channels) run
 * without it.  Lock order: docs/devel/threads.md.
 */
#ifndef GODWIT_UTIL_LOCK_H
#define GODWIT_UTIL_LOCK_H

#include "util/osdep.h"

void bql_lock(void);
void bql_unlock(void);
/* Does the calling thread hold it? */
bool bql_locked(void);
/* Release while waiting on @cond; @cond must only be used with the big lock. */
void bql_cond_wait(GCond *cond);
/* As above with an absolute g_get_monotonic_time() deadline; false on time-out. */
bool bql_cond_wait_until(GCond *cond, int64_t end_time);

/* BQL_LOCK_GUARD(): hold the big lock until the end of the scope. */
typedef int BqlGuard;
static inline void bql_guard_release(BqlGuard *g)
{
    bql_unlock();
}
#define BQL_LOCK_GUARD() \
    __attribute__((cleanup(bql_guard_release), unused)) BqlGuard bql_guard_ = (bql_lock(), 0)

/*
 * Tell a thread that it is about to wait for the lock, and that it has got it. For threads whom
 * others wait for while holding the lock (a vCPU: see the dirty log's write barrier). Not called
 * when the lock is free, nor by bql_cond_wait(). For the calling thread; @waiter must live as long
 * as the thread.
 */
typedef struct {
    void (*begin)(void *opaque);
    void (*end)(void *opaque);
} BqlWaiter;
void bql_set_waiter(const BqlWaiter *waiter, void *opaque);

/*
 * Make the main loop hold the big lock except while it polls.  Call once in main(),
 * with the big lock held, before the loop runs.
 */
void bql_attach_main_context(GMainContext *ctx);

#endif
