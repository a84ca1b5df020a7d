/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QIOChannel: a byte stream, and nothing about what the bytes mean (spec 35 sections 10, 11).
 *
 * Threads: one reader and one writer may use a channel at the same time; close and unref need
 * both gone.  io_channel_shutdown() may be called from any thread at any time and wakes a blocked
 * reader or writer: every kind supports it (kinds without a kernel shutdown wake through an
 * eventfd).
 *
 * Blocking is the default.  A blocked call always returns after io_channel_shutdown().
 */
#ifndef GODWIT_IO_CHANNEL_H
#define GODWIT_IO_CHANNEL_H

#include <sys/uio.h>
#include "util/osdep.h"

#define TYPE_IO_CHANNEL (io_channel_get_type())
G_DECLARE_DERIVABLE_TYPE(QIOChannel, io_channel, IO, CHANNEL, GObject)

typedef enum {
    IO_FEATURE_FD_PASS = 1 << 0,         /* descriptors can travel (unix sockets) */
    IO_FEATURE_SEEKABLE = 1 << 1,        /* preadv/pwritev/seek work */
    IO_FEATURE_WRITE_ZERO_COPY = 1 << 2, /* MSG_ZEROCOPY accepted */
    IO_FEATURE_READ_PEEK = 1 << 3,       /* io_channel_peek() works */
    IO_FEATURE_BIDIRECTIONAL = 1 << 4,   /* the reverse direction exists: return path possible */
    IO_FEATURE_STORED = 1 << 5,          /* what is written stays here; nobody reads it meanwhile */
} IOFeature;

/* Results of the primitive transfers besides a byte count: */
#define IO_CHANNEL_ERR         (-1) /* *errp set */
#define IO_CHANNEL_WOULD_BLOCK (-2) /* non-blocking channel only, *errp not set */

typedef enum {
    IO_SHUTDOWN_READ = 1,
    IO_SHUTDOWN_WRITE = 2,
    IO_SHUTDOWN_BOTH = 3,
} IOShutdown;

/* What has become of the writes with IO_WRITE_ZERO_COPY. */
typedef enum {
    IO_FLUSH_ERROR = -1, /* *errp set */
    IO_FLUSH_DONE = 0,   /* they left without a copy; or there were none */
    IO_FLUSH_COPIED = 1, /* each of them was copied after all: asking for it only costs */
} IOFlush;

struct _QIOChannelClass {
    GObjectClass parent_class;
    /* Each may transfer less than asked. 0 from readv is end of stream. EINTR is retried inside. */
    ssize_t (*readv)(QIOChannel *ioc, const struct iovec *iov, unsigned n, int **fds, size_t *nfds,
                     GError **errp);
    ssize_t (*writev)(QIOChannel *ioc, const struct iovec *iov, unsigned n, const int *fds,
                      size_t nfds, int flags, GError **errp);
    /* SEEKABLE only. */
    ssize_t (*preadv)(QIOChannel *ioc, const struct iovec *iov, unsigned n, off_t off,
                      GError **errp);
    ssize_t (*pwritev)(QIOChannel *ioc, const struct iovec *iov, unsigned n, off_t off,
                       GError **errp);
    off_t (*seek)(QIOChannel *ioc, off_t off, int whence, GError **errp);
    ssize_t (*peek)(QIOChannel *ioc, void *buf, size_t len, GError **errp);
    bool (*set_blocking)(QIOChannel *ioc, bool blocking, GError **errp);
    void (*shutdown)(QIOChannel *ioc, IOShutdown how);
    bool (*close)(QIOChannel *ioc, GError **errp);
    /* Wait until @cond (G_IO_IN/G_IO_OUT) or shutdown; false on timeout (ms, -1 = forever). */
    bool (*wait)(QIOChannel *ioc, GIOCondition cond, int timeout_ms);
    /* A source that fires on @cond; attach it to the caller's context. */
    GSource *(*create_watch)(QIOChannel *ioc, GIOCondition cond);
    /* Turn TCP_NODELAY, cork and the like on or off; no-op where meaningless. */
    void (*set_delay)(QIOChannel *ioc, bool enabled);
    /* See io_channel_say_end(); NULL: the kind has no word for it. */
    bool (*say_end)(QIOChannel *ioc, GError **errp);
    /* See io_channel_flush(); NULL: the kind cannot do without copies. */
    IOFlush (*flush)(QIOChannel *ioc, GError **errp);
    /* See io_channel_publish(); NULL: nothing to do. */
    bool (*publish)(QIOChannel *ioc, GError **errp);
    /* See io_channel_backlog(); NULL: not known. */
    uint64_t (*backlog)(QIOChannel *ioc);
};

/* Flags of io_channel_writev_full() and io_channel_writev_all_flags(): the memory is read later (if
 * it has changed by then, that is what is sent) and must stay until the next io_channel_flush().
 * Needs IO_FEATURE_WRITE_ZERO_COPY. */
#define IO_WRITE_ZERO_COPY 1

/* A short name for errors and the flight recorder: "tcp:10.0.0.2:4444", "exec", "main". Never NULL.
 */
const char *io_channel_name(QIOChannel *ioc);
void io_channel_set_name(QIOChannel *ioc, const char *name);
bool io_channel_has_feature(QIOChannel *ioc, IOFeature f);
void io_channel_set_feature(QIOChannel *ioc, IOFeature f);

/* One transfer; returns bytes (>0), 0 at end of stream (read), IO_CHANNEL_ERR or _WOULD_BLOCK. */
ssize_t io_channel_readv(QIOChannel *ioc, const struct iovec *iov, unsigned n, GError **errp);
ssize_t io_channel_writev(QIOChannel *ioc, const struct iovec *iov, unsigned n, GError **errp);
ssize_t io_channel_read(QIOChannel *ioc, void *buf, size_t len, GError **errp);
ssize_t io_channel_write(QIOChannel *ioc, const void *buf, size_t len, GError **errp);
/* With descriptors. Received ones are CLOEXEC, *fds is g_free()d by the caller who owns them. */
ssize_t io_channel_readv_full(QIOChannel *ioc, const struct iovec *iov, unsigned n, int **fds,
                              size_t *nfds, GError **errp);
ssize_t io_channel_writev_full(QIOChannel *ioc, const struct iovec *iov, unsigned n, const int *fds,
                               size_t nfds, int flags, GError **errp);

/* Everything or an error; waits on non-blocking channels. *iov is not modified. */
bool io_channel_writev_all(QIOChannel *ioc, const struct iovec *iov, unsigned n, GError **errp);
bool io_channel_writev_all_flags(QIOChannel *ioc, const struct iovec *iov, unsigned n, int flags,
                                 GError **errp);
bool io_channel_write_all(QIOChannel *ioc, const void *buf, size_t len, GError **errp);
/*
 * Wait until nobody reads memory any more that was written with IO_WRITE_ZERO_COPY since the last
 * call. The writer's thread. How long is up to the peer; io_channel_shutdown() (both directions)
 * ends it with an error.
 */
IOFlush io_channel_flush(QIOChannel *ioc, GError **errp);
/* Everything, or 0 at a clean end of stream before the first byte, or -1; 1 on success.
 * End of stream later: "Unexpected end-of-file before all data were read". */
int io_channel_readv_all_eof(QIOChannel *ioc, const struct iovec *iov, unsigned n, GError **errp);
/* As above, but a clean end of stream is an error too. */
bool io_channel_readv_all(QIOChannel *ioc, const struct iovec *iov, unsigned n, GError **errp);
bool io_channel_read_all(QIOChannel *ioc, void *buf, size_t len, GError **errp);

/* Positioned I/O, whole length; SEEKABLE channels only. */
bool io_channel_pwritev_all(QIOChannel *ioc, const struct iovec *iov, unsigned n, off_t off,
                            GError **errp);
bool io_channel_preadv_all(QIOChannel *ioc, const struct iovec *iov, unsigned n, off_t off,
                           GError **errp);
off_t io_channel_seek(QIOChannel *ioc, off_t off, int whence, GError **errp);

/* Look at up to @len bytes without consuming them (READ_PEEK). */
ssize_t io_channel_peek(QIOChannel *ioc, void *buf, size_t len, GError **errp);

bool io_channel_set_blocking(QIOChannel *ioc, bool blocking, GError **errp);
void io_channel_set_delay(QIOChannel *ioc, bool enabled);
/*
 * Bytes written that the other end is not known to have read; 0 also where that is not known. An
 * answer for timing, not for correctness: TCP tells what is not acknowledged, and a Linux peer
 * acknowledges the short end of a burst when its reader has caught up, or after 40 ms.
 */
uint64_t io_channel_backlog(QIOChannel *ioc);
/*
 * Tell the peer that nothing more will be written, where that differs from the end of the
 * connection (TLS: close_notify). The writer, after its last write. The channel stays open.
 */
bool io_channel_say_end(QIOChannel *ioc, GError **errp);
/* Wake all users and make further transfers fail (read: end of stream or error). Idempotent. */
void io_channel_shutdown(QIOChannel *ioc, IOShutdown how);
/* Everything has been written: a file that had no name until now gets it. False: the output is
 * worthless. */
bool io_channel_publish(QIOChannel *ioc, GError **errp);
/* Release the transport; pending output has left the process. Idempotent. */
bool io_channel_close(QIOChannel *ioc, GError **errp);
bool io_channel_wait(QIOChannel *ioc, GIOCondition cond, int timeout_ms);
/* The callback of the source is an IOChannelWatchCB (cast it for g_source_set_callback()). */
typedef gboolean IOChannelWatchCB(QIOChannel *ioc, GIOCondition cond, void *opaque);
GSource *io_channel_create_watch(QIOChannel *ioc, GIOCondition cond);

#endif
