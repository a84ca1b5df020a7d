/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the channel tests share: a thread blocked in a transfer, descriptor and child counts. */
#ifndef GODWIT_TESTS_CHANNEL_TEST_UTIL_H
#define GODWIT_TESTS_CHANNEL_TEST_UTIL_H

#include <dirent.h>
#include <sys/wait.h>
#include "io/channel.h"
#include "util/error.h"

/* Reads or writes until the channel ends; ->error is how a writer ended. */
typedef struct {
    QIOChannel *ioc;
    bool writing;
    gint started;
    GError *error;
    uint64_t bytes;
    GThread *thread;
} BusyThread;

static inline void *busy_thread_run(void *opaque)
{
    BusyThread *b = opaque;
    static const char junk[65536];
    char buf[4096];
    ssize_t n;

    g_atomic_int_set(&b->started, 1);
    do {
        n = b->writing ? io_channel_write(b->ioc, junk, sizeof(junk), &b->error)
                       : io_channel_read(b->ioc, buf, sizeof(buf), &b->error);
        if (n > 0) {
            b->bytes += n;
        }
        g_assert_cmpint(n, !=, IO_CHANNEL_WOULD_BLOCK);
    } while (n > 0);
    return NULL;
}

static inline void busy_thread_start(BusyThread *b, QIOChannel *ioc, bool writing)
{
    *b = (BusyThread){.ioc = ioc, .writing = writing};
    b->thread = g_thread_new("busy", busy_thread_run, b);
    while (!g_atomic_int_get(&b->started)) {
        g_usleep(100);
    }
    g_usleep(20000); /* most likely it blocks by now; if not the result is the same */
}

static inline void busy_thread_join(BusyThread *b)
{
    g_thread_join(b->thread);
}

static inline unsigned count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    g_assert_nonnull(dir);
    while (readdir(dir)) {
        n++;
    }
    closedir(dir);
    return n - 3; /* ".", ".." and the directory itself */
}

/* Wait until this process has no child at all, dead or alive; nothing is collected here. */
static inline void wait_no_children(void)
{
    siginfo_t info;

    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0) {
        g_usleep(1000);
    }
    g_assert_cmpint(errno, ==, ECHILD);
}

#endif
