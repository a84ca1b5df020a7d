/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What every channel kind shares: name, features, and the loops that turn one-shot transfers into
 * "all of it or an error".
 */
#include <limits.h>
#include "io/channel.h"
#include "util/error.h"
#include "util/iov.h"

typedef struct {
    char *name;
    unsigned features;
} QIOChannelPrivate;

G_DEFINE_ABSTRACT_TYPE_WITH_PRIVATE(QIOChannel, io_channel, G_TYPE_OBJECT)

static QIOChannelPrivate *priv(QIOChannel *ioc)
{
    return io_channel_get_instance_private(ioc);
}

const char *io_channel_name(QIOChannel *ioc)
{
    const char *name = priv(ioc)->name;

    return name ? name : "channel";
}

void io_channel_set_name(QIOChannel *ioc, const char *name)
{
    g_free(priv(ioc)->name);
    priv(ioc)->name = g_strdup(name);
}

bool io_channel_has_feature(QIOChannel *ioc, IOFeature f)
{
    return priv(ioc)->features & f;
}

void io_channel_set_feature(QIOChannel *ioc, IOFeature f)
{
    priv(ioc)->features |= f;
}

/* ---- one transfer ---- */

ssize_t io_channel_readv_full(QIOChannel *ioc, const struct iovec *iov, unsigned n, int **fds,
                              size_t *nfds, GError **errp)
{
    if (fds) {
        *fds = NULL;
        *nfds = 0;
        if (!io_channel_has_feature(ioc, IO_FEATURE_FD_PASS)) {
            error_setg(errp, "Channel '%s' cannot carry file descriptors", io_channel_name(ioc));
            return IO_CHANNEL_ERR;
        }
    }
    return IO_CHANNEL_GET_CLASS(ioc)->readv(ioc, iov, MIN(n, IOV_MAX), fds, nfds, errp);
}

ssize_t io_channel_writev_full(QIOChannel *ioc, const struct iovec *iov, unsigned n, const int *fds,
                               size_t nfds, int flags, GError **errp)
{
    if (nfds && !io_channel_has_feature(ioc, IO_FEATURE_FD_PASS)) {
        error_setg(errp, "Channel '%s' cannot carry file descriptors", io_channel_name(ioc));
        return IO_CHANNEL_ERR;
    }
    if ((flags & IO_WRITE_ZERO_COPY) && !io_channel_has_feature(ioc, IO_FEATURE_WRITE_ZERO_COPY)) {
        error_setg(errp, "Zero copy send feature not detected in host kernel");
        return IO_CHANNEL_ERR;
    }
    return IO_CHANNEL_GET_CLASS(ioc)->writev(ioc, iov, MIN(n, IOV_MAX), fds, nfds, flags, errp);
}

ssize_t io_channel_readv(QIOChannel *ioc, const struct iovec *iov, unsigned n, GError **errp)
{
    return IO_CHANNEL_GET_CLASS(ioc)->readv(ioc, iov, MIN(n, IOV_MAX), NULL, NULL, errp);
}

ssize_t io_channel_writev(QIOChannel *ioc, const struct iovec *iov, unsigned n, GError **errp)
{
    return IO_CHANNEL_GET_CLASS(ioc)->writev(ioc, iov, MIN(n, IOV_MAX), NULL, 0, 0, errp);
}

ssize_t io_channel_read(QIOChannel *ioc, void *buf, size_t len, GError **errp)
{
    struct iovec iov = {.iov_base = buf, .iov_len = len};

    return io_channel_readv(ioc, &iov, 1, errp);
}

ssize_t io_channel_write(QIOChannel *ioc, const void *buf, size_t len, GError **errp)
{
    struct iovec iov = {.iov_base = (void *)buf, .iov_len = len};

    return io_channel_writev(ioc, &iov, 1, errp);
}

/* ---- all of it ---- */

/*
 * How far a caller's vector has got. The caller's array stays as it is: the kernel is handed that
 * array while the position is at an element's start, and a copied window of it otherwise.
 */
typedef struct {
    const struct iovec *iov;
    unsigned left;
    size_t offset; /* into iov[0] */
} IovCursor;

static void cursor_advance(IovCursor *c, size_t bytes)
{
    bytes += c->offset;
    while (c->left && bytes >= c->iov[0].iov_len) {
        bytes -= c->iov[0].iov_len;
        c->iov++;
        c->left--;
    }
    c->offset = c->left ? bytes : 0;
}

/* The next transfer's vector: @window has room for IOV_MAX elements. */
static const struct iovec *cursor_window(const IovCursor *c, struct iovec *window, unsigned *n)
{
    *n = MIN(c->left, IOV_MAX);
    if (!c->offset) {
        return c->iov;
    }
    memcpy(window, c->iov, *n * sizeof(*window));
    window[0].iov_base = (char *)window[0].iov_base + c->offset;
    window[0].iov_len -= c->offset;
    return window;
}

static IovCursor cursor_start(const struct iovec *iov, unsigned n)
{
    IovCursor c = {.iov = iov, .left = n};

    cursor_advance(&c, 0); /* empty elements in front must not look like end of stream */
    return c;
}

bool io_channel_writev_all(QIOChannel *ioc, const struct iovec *iov, unsigned n, GError **errp)
{
    return io_channel_writev_all_flags(ioc, iov, n, 0, errp);
}

bool io_channel_writev_all_flags(QIOChannel *ioc, const struct iovec *iov, unsigned n, int flags,
                                 GError **errp)
{
    IovCursor c = cursor_start(iov, n);
    struct iovec window[IOV_MAX];

    while (c.left) {
        unsigned count;
        const struct iovec *v = cursor_window(&c, window, &count);
        ssize_t done = io_channel_writev_full(ioc, v, count, NULL, 0, flags, errp);

        if (done == IO_CHANNEL_ERR) {
            return false;
        }
        if (done == IO_CHANNEL_WOULD_BLOCK) {
            io_channel_wait(ioc, G_IO_OUT, -1);
            continue;
        }
        cursor_advance(&c, done);
    }
    return true;
}

bool io_channel_write_all(QIOChannel *ioc, const void *buf, size_t len, GError **errp)
{
    struct iovec iov = {.iov_base = (void *)buf, .iov_len = len};

    return io_channel_writev_all(ioc, &iov, 1, errp);
}

int io_channel_readv_all_eof(QIOChannel *ioc, const struct iovec *iov, unsigned n, GError **errp)
{
    IovCursor c = cursor_start(iov, n);
    struct iovec window[IOV_MAX];
    bool started = false;

    while (c.left) {
        unsigned count;
        const struct iovec *v = cursor_window(&c, window, &count);
        ssize_t done = io_channel_readv(ioc, v, count, errp);

        if (done == IO_CHANNEL_ERR) {
            return -1;
        }
        if (done == IO_CHANNEL_WOULD_BLOCK) {
            io_channel_wait(ioc, G_IO_IN, -1);
            continue;
        }
        if (done == 0) {
            if (!started) {
                return 0;
            }
            error_setg(errp, "Unexpected end-of-file before all data were read");
            return -1;
        }
        started = true;
        cursor_advance(&c, done);
    }
    return 1;
}

bool io_channel_readv_all(QIOChannel *ioc, const struct iovec *iov, unsigned n, GError **errp)
{
    int ret = io_channel_readv_all_eof(ioc, iov, n, errp);

    if (ret == 0) {
        error_setg(errp, "Unexpected end-of-file before all data were read");
    }
    return ret == 1;
}

bool io_channel_read_all(QIOChannel *ioc, void *buf, size_t len, GError **errp)
{
    struct iovec iov = {.iov_base = buf, .iov_len = len};

    return io_channel_readv_all(ioc, &iov, 1, errp);
}

/* ---- positions ---- */

static bool check_seekable(QIOChannel *ioc, GError **errp)
{
    if (!io_channel_has_feature(ioc, IO_FEATURE_SEEKABLE)) {
        error_setg(errp, "Channel '%s' is not seekable", io_channel_name(ioc));
        return false;
    }
    return true;
}

static bool positioned_all(QIOChannel *ioc, const struct iovec *iov, unsigned n, off_t off,
                           bool writing, GError **errp)
{
    QIOChannelClass *k = IO_CHANNEL_GET_CLASS(ioc);
    IovCursor c = cursor_start(iov, n);
    struct iovec window[IOV_MAX];

    if (!check_seekable(ioc, errp)) {
        return false;
    }
    while (c.left) {
        unsigned count;
        const struct iovec *v = cursor_window(&c, window, &count);
        ssize_t done = (writing ? k->pwritev : k->preadv)(ioc, v, count, off, errp);

        if (done < 0) {
            return false;
        }
        if (done == 0) {
            error_setg(errp, "Unexpected end-of-file before all data were read");
            return false;
        }
        off += done;
        cursor_advance(&c, done);
    }
    return true;
}

bool io_channel_pwritev_all(QIOChannel *ioc, const struct iovec *iov, unsigned n, off_t off,
                            GError **errp)
{
    return positioned_all(ioc, iov, n, off, true, errp);
}

bool io_channel_preadv_all(QIOChannel *ioc, const struct iovec *iov, unsigned n, off_t off,
                           GError **errp)
{
    return positioned_all(ioc, iov, n, off, false, errp);
}

off_t io_channel_seek(QIOChannel *ioc, off_t off, int whence, GError **errp)
{
    if (!check_seekable(ioc, errp)) {
        return -1;
    }
    return IO_CHANNEL_GET_CLASS(ioc)->seek(ioc, off, whence, errp);
}

ssize_t io_channel_peek(QIOChannel *ioc, void *buf, size_t len, GError **errp)
{
    if (!io_channel_has_feature(ioc, IO_FEATURE_READ_PEEK)) {
        error_setg(errp, "Channel '%s' cannot look ahead", io_channel_name(ioc));
        return IO_CHANNEL_ERR;
    }
    return IO_CHANNEL_GET_CLASS(ioc)->peek(ioc, buf, len, errp);
}

/* ---- control ---- */

bool io_channel_set_blocking(QIOChannel *ioc, bool blocking, GError **errp)
{
    return IO_CHANNEL_GET_CLASS(ioc)->set_blocking(ioc, blocking, errp);
}

void io_channel_set_delay(QIOChannel *ioc, bool enabled)
{
    if (IO_CHANNEL_GET_CLASS(ioc)->set_delay) {
        IO_CHANNEL_GET_CLASS(ioc)->set_delay(ioc, enabled);
    }
}

bool io_channel_publish(QIOChannel *ioc, GError **errp)
{
    QIOChannelClass *k = IO_CHANNEL_GET_CLASS(ioc);

    return !k->publish || k->publish(ioc, errp);
}

uint64_t io_channel_backlog(QIOChannel *ioc)
{
    QIOChannelClass *k = IO_CHANNEL_GET_CLASS(ioc);

    return k->backlog ? k->backlog(ioc) : 0;
}

IOFlush io_channel_flush(QIOChannel *ioc, GError **errp)
{
    QIOChannelClass *k = IO_CHANNEL_GET_CLASS(ioc);

    return k->flush ? k->flush(ioc, errp) : IO_FLUSH_DONE;
}

bool io_channel_say_end(QIOChannel *ioc, GError **errp)
{
    QIOChannelClass *k = IO_CHANNEL_GET_CLASS(ioc);

    return !k->say_end || k->say_end(ioc, errp);
}

void io_channel_shutdown(QIOChannel *ioc, IOShutdown how)
{
    IO_CHANNEL_GET_CLASS(ioc)->shutdown(ioc, how);
}

bool io_channel_close(QIOChannel *ioc, GError **errp)
{
    return IO_CHANNEL_GET_CLASS(ioc)->close(ioc, errp);
}

bool io_channel_wait(QIOChannel *ioc, GIOCondition cond, int timeout_ms)
{
    return IO_CHANNEL_GET_CLASS(ioc)->wait(ioc, cond, timeout_ms);
}

GSource *io_channel_create_watch(QIOChannel *ioc, GIOCondition cond)
{
    return IO_CHANNEL_GET_CLASS(ioc)->create_watch(ioc, cond);
}

static void io_channel_finalize(GObject *obj)
{
    g_free(priv(IO_CHANNEL(obj))->name);
    G_OBJECT_CLASS(io_channel_parent_class)->finalize(obj);
}

static void io_channel_class_init(QIOChannelClass *klass)
{
    G_OBJECT_CLASS(klass)->finalize = io_channel_finalize;
}

static void io_channel_init(QIOChannel *ioc)
{
}
