/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <poll.h>
#include "io/fd-watch.h"

#define MAX_WATCHES 4

typedef struct {
    GSource source;
    QIOChannel *ioc;
    GIOCondition cond;
    void *tags[MAX_WATCHES];
    unsigned n;
} FdWatchSource;

static gboolean fd_watch_dispatch(GSource *source, GSourceFunc callback, gpointer opaque)
{
    FdWatchSource *s = (FdWatchSource *)source;
    IOChannelWatchCB *cb = (IOChannelWatchCB *)(void (*)(void))callback;
    GIOCondition ready = 0;

    for (unsigned i = 0; i < s->n; i++) {
        ready |= g_source_query_unix_fd(source, s->tags[i]);
    }
    /* Hang-up and wake-up both mean: try, the transfer itself will tell. */
    return cb(s->ioc, (ready & s->cond) ? (ready & s->cond) : s->cond, opaque);
}

static void fd_watch_finalize(GSource *source)
{
    g_object_unref(((FdWatchSource *)source)->ioc);
}

static GSourceFuncs fd_watch_funcs = {
    .dispatch = fd_watch_dispatch,
    .finalize = fd_watch_finalize,
};

GSource *io_fd_watch_new(QIOChannel *ioc, GIOCondition cond, const FdWatch *watches, unsigned n)
{
    GSource *source = g_source_new(&fd_watch_funcs, sizeof(FdWatchSource));
    FdWatchSource *s = (FdWatchSource *)source;

    g_assert(n <= MAX_WATCHES);
    s->ioc = g_object_ref(ioc);
    s->cond = cond;
    for (unsigned i = 0; i < n; i++) {
        if (watches[i].fd >= 0) {
            s->tags[s->n++] = g_source_add_unix_fd(source, watches[i].fd, watches[i].cond);
        }
    }
    return source;
}

bool io_fd_poll(const FdWatch *watches, unsigned n, int timeout_ms)
{
    int64_t deadline = timeout_ms < 0 ? -1 : g_get_monotonic_time() + timeout_ms * 1000LL;
    struct pollfd p[MAX_WATCHES];

    g_assert(n <= MAX_WATCHES);
    for (unsigned i = 0; i < n; i++) {
        p[i] = (struct pollfd){.fd = watches[i].fd, .events = watches[i].cond};
    }
    for (;;) {
        int ret = poll(p, n, timeout_ms);

        if (ret >= 0) {
            return ret > 0;
        }
        if (errno != EINTR) {
            return true; /* the transfer that follows reports it */
        }
        if (deadline >= 0) {
            timeout_ms = MAX(0, (deadline - g_get_monotonic_time() + 999) / 1000);
        }
    }
}
