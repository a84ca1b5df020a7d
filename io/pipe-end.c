/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include "io/pipe-end.h"
#include "util/error.h"

/* As much as an unprivileged process may ask for: 16 times the default means 16 times fewer
 * wake-ups. */
#define PIPE_CAPACITY (1024 * 1024)

void pipe_end_init(PipeEnd *e, const char *what)
{
    *e = (PipeEnd){.what = what, .fd = -1, .wake = -1, .restore_flags = -1, .blocking = true};
}

bool pipe_end_open(PipeEnd *e, int fd, GError **errp)
{
    struct stat st;
    int flags, wake;

    if (fstat(fd, &st) < 0 || (flags = fcntl(fd, F_GETFL)) < 0) {
        error_setg_errno(errp, errno, "Unable to use descriptor %d as %s", fd, e->what);
        return false;
    }
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
        wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (wake < 0) {
            error_setg_errno(errp, errno, "Unable to create an event descriptor");
            return false;
        }
        if (!(flags & O_NONBLOCK)) {
            if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
                error_setg_errno(errp, errno, "Unable to make %s non-blocking", e->what);
                close(wake);
                return false;
            }
            e->restore_flags = flags;
        }
        if (S_ISFIFO(st.st_mode) && fcntl(fd, F_GETPIPE_SZ) < PIPE_CAPACITY) {
            fcntl(fd, F_SETPIPE_SZ, PIPE_CAPACITY); /* refused above a quota: slower, not wrong */
        }
        e->wake = wake;
    }
    e->fd = fd;
    return true;
}

static bool is_shut(const PipeEnd *e)
{
    return __atomic_load_n(&e->shut, __ATOMIC_ACQUIRE);
}

/* After EAGAIN: true = try again. */
static bool may_retry(PipeEnd *e, GIOCondition cond)
{
    return e->blocking && pipe_end_wait(e, cond, -1);
}

ssize_t pipe_end_readv(PipeEnd *e, const struct iovec *iov, unsigned n, GError **errp)
{
    if (e->fd < 0) {
        error_setg_errno(errp, EBADF, "Unable to read from %s", e->what);
        return IO_CHANNEL_ERR;
    }
    while (!is_shut(e)) {
        ssize_t done = readv(e->fd, iov, n);

        if (done >= 0) {
            return done;
        }
        if (errno == EINTR) {
            continue;
        }
        if (errno != EAGAIN) {
            error_setg_errno(errp, errno, "Unable to read from %s", e->what);
            return IO_CHANNEL_ERR;
        }
        if (!may_retry(e, G_IO_IN)) {
            return IO_CHANNEL_WOULD_BLOCK;
        }
    }
    return 0;
}

ssize_t pipe_end_writev(PipeEnd *e, const struct iovec *iov, unsigned n, GError **errp)
{
    int err = EPIPE;

    if (e->fd < 0) {
        err = EBADF;
    }
    while (e->fd >= 0 && !is_shut(e)) {
        ssize_t done = writev(e->fd, iov, n);

        if (done >= 0) {
            return done;
        }
        if (errno == EINTR) {
            continue;
        }
        if (errno != EAGAIN) {
            err = errno;
            break;
        }
        if (!may_retry(e, G_IO_OUT)) {
            return IO_CHANNEL_WOULD_BLOCK;
        }
    }
    error_setg_errno(errp, err, "Unable to write to %s", e->what);
    return IO_CHANNEL_ERR;
}

void pipe_end_watches(const PipeEnd *e, GIOCondition cond, FdWatch out[2])
{
    out[0] = (FdWatch){e->fd, cond};
    out[1] = (FdWatch){e->wake, G_IO_IN};
}

bool pipe_end_wait(PipeEnd *e, GIOCondition cond, int timeout_ms)
{
    FdWatch w[2];

    pipe_end_watches(e, cond, w);
    return io_fd_poll(w, 2, timeout_ms);
}

void pipe_end_shutdown(PipeEnd *e)
{
    __atomic_store_n(&e->shut, true, __ATOMIC_RELEASE);
    if (e->wake >= 0) {
        eventfd_write(e->wake, 1);
    }
}

bool pipe_end_close(PipeEnd *e, GError **errp)
{
    int fd = e->fd;

    if (fd < 0) {
        return true;
    }
    e->fd = -1;
    if (e->restore_flags >= 0) {
        fcntl(fd, F_SETFL, e->restore_flags);
    }
    if (close(fd) < 0 && errno != EINTR) {
        error_setg_errno(errp, errno, "Unable to close %s", e->what);
        return false;
    }
    return true;
}

void pipe_end_destroy(PipeEnd *e)
{
    pipe_end_close(e, NULL);
    if (e->wake >= 0) {
        close(e->wake);
        e->wake = -1;
    }
}
