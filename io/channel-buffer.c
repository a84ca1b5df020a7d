/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "io/channel-buffer.h"
#include "util/error.h"
#include "util/iov.h"

struct _QIOChannelBuffer {
    QIOChannel parent;
    GByteArray *bytes;
    size_t read; /* consumed from the front */
    bool shut;
};

G_DEFINE_TYPE(QIOChannelBuffer, io_channel_buffer, TYPE_IO_CHANNEL)

QIOChannelBuffer *io_channel_buffer_new(void)
{
    return g_object_new(TYPE_IO_CHANNEL_BUFFER, NULL);
}

GByteArray *io_channel_buffer_bytes(QIOChannelBuffer *b)
{
    return b->bytes;
}

static ssize_t buffer_peek(QIOChannel *ioc, void *buf, size_t len, GError **errp)
{
    QIOChannelBuffer *b = IO_CHANNEL_BUFFER(ioc);

    len = b->shut ? 0 : MIN(len, b->bytes->len - b->read);
    memcpy(buf, b->bytes->data + b->read, len);
    return len;
}

static ssize_t buffer_readv(QIOChannel *ioc, const struct iovec *iov, unsigned n, int **fds,
                            size_t *nfds, GError **errp)
{
    QIOChannelBuffer *b = IO_CHANNEL_BUFFER(ioc);
    size_t done = 0;

    if (!b->shut) {
        done = iov_from_buf(iov, n, 0, b->bytes->data + b->read, b->bytes->len - b->read);
        b->read += done;
    }
    return done;
}

static ssize_t buffer_writev(QIOChannel *ioc, const struct iovec *iov, unsigned n, const int *fds,
                             size_t nfds, int flags, GError **errp)
{
    QIOChannelBuffer *b = IO_CHANNEL_BUFFER(ioc);

    if (b->shut) {
        error_setg_errno(errp, EPIPE, "Unable to write to buffer");
        return IO_CHANNEL_ERR;
    }
    for (unsigned i = 0; i < n; i++) {
        if (iov[i].iov_len > G_MAXUINT - b->bytes->len) {
            error_setg_errno(errp, EFBIG, "Unable to write to buffer");
            return IO_CHANNEL_ERR;
        }
        g_byte_array_append(b->bytes, iov[i].iov_base, iov[i].iov_len);
    }
    return iov_size(iov, n);
}

static bool buffer_set_blocking(QIOChannel *ioc, bool blocking, GError **errp)
{
    return true; /* nothing ever blocks */
}

static void buffer_shutdown(QIOChannel *ioc, IOShutdown how)
{
    IO_CHANNEL_BUFFER(ioc)->shut = true;
}

static bool buffer_close(QIOChannel *ioc, GError **errp)
{
    return true; /* the bytes stay until the last reference goes */
}

static bool buffer_wait(QIOChannel *ioc, GIOCondition cond, int timeout_ms)
{
    return true;
}

static gboolean buffer_watch_dispatch(GSource *source, GSourceFunc callback, gpointer opaque)
{
    QIOChannel *ioc = *(QIOChannel **)(source + 1);
    IOChannelWatchCB *cb = (IOChannelWatchCB *)(void (*)(void))callback;

    return cb(ioc, G_IO_IN | G_IO_OUT, opaque);
}

static void buffer_watch_finalize(GSource *source)
{
    g_object_unref(*(QIOChannel **)(source + 1));
}

static GSourceFuncs buffer_watch_funcs = {
    .dispatch = buffer_watch_dispatch,
    .finalize = buffer_watch_finalize,
};

static GSource *buffer_create_watch(QIOChannel *ioc, GIOCondition cond)
{
    GSource *source = g_source_new(&buffer_watch_funcs, sizeof(GSource) + sizeof(QIOChannel *));

    *(QIOChannel **)(source + 1) = g_object_ref(ioc);
    g_source_set_ready_time(source, 0); /* always ready */
    return source;
}

static void io_channel_buffer_finalize(GObject *obj)
{
    g_byte_array_unref(IO_CHANNEL_BUFFER(obj)->bytes);
    G_OBJECT_CLASS(io_channel_buffer_parent_class)->finalize(obj);
}

static void io_channel_buffer_class_init(QIOChannelBufferClass *klass)
{
    QIOChannelClass *k = IO_CHANNEL_CLASS(klass);

    G_OBJECT_CLASS(klass)->finalize = io_channel_buffer_finalize;
    k->readv = buffer_readv;
    k->writev = buffer_writev;
    k->peek = buffer_peek;
    k->set_blocking = buffer_set_blocking;
    k->shutdown = buffer_shutdown;
    k->close = buffer_close;
    k->wait = buffer_wait;
    k->create_watch = buffer_create_watch;
}

static void io_channel_buffer_init(QIOChannelBuffer *b)
{
    b->bytes = g_byte_array_sized_new(4096); /* never a NULL data pointer */
    io_channel_set_name(IO_CHANNEL(b), "buffer");
    io_channel_set_feature(IO_CHANNEL(b), IO_FEATURE_READ_PEEK);
}
