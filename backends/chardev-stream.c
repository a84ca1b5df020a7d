/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine of all kinds that have channels: reading at the pace of the front end, writing with a
 * queue, descriptors that came along, and the end of either.
 */
#include "backends/chardev-internal.h"

/* Received and never taken: more than one message may carry is somebody filling our table. */
#define FDS_MAX 16

static void clear_source(GSource **s)
{
    if (*s) {
        g_source_destroy(*s);
        g_clear_pointer(s, g_source_unref);
    }
}

static GSource *watch(Chardev *chr, QIOChannel *ioc, GIOCondition cond, IOChannelWatchCB *cb)
{
    GSource *s = io_channel_create_watch(ioc, cond);

    g_source_set_callback(s, (GSourceFunc)(void (*)(void))cb, chardev_ref(chr), chardev_unref);
    g_source_attach(s, chr->context);
    return s;
}

/* ---- the end of the input ---- */

static gboolean hangup_on_main(void *opaque)
{
    Chardev *chr = opaque;
    bool dead;

    g_mutex_lock(&chr->lock);
    dead = chr->dead;
    g_mutex_unlock(&chr->lock);
    if (!dead) {
        chr->ops->hangup(chr);
    }
    return G_SOURCE_REMOVE;
}

static void input_ended(Chardev *chr)
{
    if (!chr->ops->hangup) {
        g_mutex_lock(&chr->lock);
        clear_source(&chr->in_watch);
        g_clear_object(&chr->in);
        g_mutex_unlock(&chr->lock);
        return;
    }
    chardev_stream_disconnect(chr);
    if (!chr->context) {
        chr->ops->hangup(chr);
    } else {
        /* Not g_main_context_invoke(): it may run the function right here. */
        GSource *idle = g_idle_source_new();

        g_source_set_priority(idle, G_PRIORITY_DEFAULT);
        g_source_set_callback(idle, hangup_on_main, chardev_ref(chr), chardev_unref);
        g_source_attach(idle, NULL);
        g_source_unref(idle);
    }
}

void chardev_stream_disconnect(Chardev *chr)
{
    ChardevFrontend fe;
    bool told, waiting;
    void *opaque;

    g_mutex_lock(&chr->lock);
    told = chr->told_open;
    chr->open = chr->told_open = chr->input_ok = false;
    waiting = chr->want_ready;
    chr->want_ready = false;
    clear_source(&chr->in_watch);
    clear_source(&chr->out_watch);
    g_clear_object(&chr->in);
    g_clear_object(&chr->out);
    g_byte_array_set_size(chr->queue, 0);
    g_mutex_unlock(&chr->lock);
    fe = chardev_frontend(chr, &opaque);
    if (told && fe.event) {
        fe.event(opaque, CHR_EVENT_CLOSED);
    }
    if (waiting) {
        chardev_tell_ready(chr); /* nothing blocks a writer whose bytes are dropped */
    }
}

/* ---- input ---- */

/* Lock held. Descriptors beyond the limit are closed: nobody asked for them. */
static void keep_fds(Chardev *chr, const int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (chr->fds->len < FDS_MAX) {
            g_array_append_val(chr->fds, fds[i]);
        } else {
            close(fds[i]);
        }
    }
}

static ssize_t read_some(Chardev *chr, QIOChannel *ioc, uint8_t *buf, size_t len)
{
    struct iovec iov = {buf, len};
    g_autofree int *fds = NULL;
    size_t nfds = 0;
    ssize_t n;

    if (!io_channel_has_feature(ioc, IO_FEATURE_FD_PASS)) {
        return io_channel_readv(ioc, &iov, 1, NULL);
    }
    n = io_channel_readv_full(ioc, &iov, 1, &fds, &nfds, NULL);
    g_mutex_lock(&chr->lock);
    keep_fds(chr, fds, nfds);
    g_mutex_unlock(&chr->lock);
    return n;
}

static void pause_input(Chardev *chr)
{
    ChardevFrontend fe;
    void *opaque;

    g_mutex_lock(&chr->lock);
    chr->paused = true;
    chardev_stream_rearm(chr);
    g_mutex_unlock(&chr->lock);
    /* Room may have appeared, and accept_input() have come, before we said we are waiting for it.
     */
    if (chardev_front_room(chr, &fe, &opaque)) {
        chardev_accept_input(chr);
    }
}

static gboolean input_ready(QIOChannel *ioc, GIOCondition cond, void *opaque)
{
    Chardev *chr = opaque;
    ChardevFrontend fe;
    void *fe_opaque;
    size_t room = chardev_front_room(chr, &fe, &fe_opaque);
    uint8_t buf[CHARDEV_READ_MAX];
    ssize_t n;

    if (cond == G_IO_HUP) { /* the watch of a paused input */
        input_ended(chr);
        return G_SOURCE_REMOVE;
    }
    if (!room) {
        pause_input(chr);
        return G_SOURCE_REMOVE;
    }
    n = read_some(chr, ioc, buf, room);
    if (n > 0) {
        fe.read(fe_opaque, buf, n);
    } else if (n != IO_CHANNEL_WOULD_BLOCK) {
        input_ended(chr);
        return G_SOURCE_REMOVE;
    }
    return G_SOURCE_CONTINUE;
}

/* ---- output ---- */

/* Lock held. Nobody is there to be told in this thread: a socket's reader notices by itself. */
static void output_failed(Chardev *chr, GError *err)
{
    g_byte_array_set_size(chr->queue, 0);
    if (io_channel_has_feature(chr->out, IO_FEATURE_BIDIRECTIONAL)) {
        io_channel_shutdown(chr->out, IO_SHUTDOWN_BOTH);
    } else if (!chr->ops->hangup) {
        warn_report("chardev '%s': output is lost from here on: %s", chr->label, err->message);
        clear_source(&chr->out_watch);
        g_clear_object(&chr->out);
    }
    g_error_free(err);
}

/* Lock held. Bytes the channel took; all of them when it is broken. */
static size_t write_some(Chardev *chr, const uint8_t *buf, size_t len)
{
    size_t done = 0;

    while (done < len && chr->out) {
        GError *err = NULL;
        ssize_t n = io_channel_write(chr->out, buf + done, len - done, &err);

        if (n == IO_CHANNEL_WOULD_BLOCK) {
            return done;
        }
        if (n < 0) {
            output_failed(chr, err);
            return len;
        }
        done += n;
    }
    return len;
}

/* Lock held. */
static void flush_queue(Chardev *chr)
{
    size_t done = write_some(chr, chr->queue->data, chr->queue->len);

    if (chr->queue->len) {
        g_byte_array_remove_range(chr->queue, 0, done);
    }
}

static gboolean output_ready(QIOChannel *ioc, GIOCondition cond, void *opaque)
{
    Chardev *chr = opaque;
    bool tell = false;

    g_mutex_lock(&chr->lock);
    flush_queue(chr);
    if (!chr->queue->len) {
        clear_source(&chr->out_watch);
        tell = chr->want_ready;
        chr->want_ready = false;
    }
    g_mutex_unlock(&chr->lock);
    if (tell) {
        chardev_tell_ready(chr);
    }
    return G_SOURCE_CONTINUE; /* or destroyed above */
}

size_t chardev_stream_write(Chardev *chr, const uint8_t *buf, size_t len, bool queue_rest)
{
    size_t done = 0;

    if (chr->queue->len) {
        flush_queue(chr);
    }
    if (!chr->queue->len) {
        done = write_some(chr, buf, len);
    }
    if (done < len) {
        if (queue_rest) {
            g_byte_array_append(chr->queue, buf + done, len - done);
            done = len;
        } else {
            chr->want_ready = true;
        }
        if (!chr->out_watch) {
            chr->out_watch = watch(chr, chr->out, G_IO_OUT, output_ready);
        }
    }
    return done;
}

/* ---- start ---- */

void chardev_stream_rearm(Chardev *chr)
{
    clear_source(&chr->in_watch);
    if (chr->in && !chr->paused) {
        chr->in_watch = watch(chr, chr->in, G_IO_IN, input_ready);
    } else if (chr->in && io_channel_has_feature(chr->in, IO_FEATURE_BIDIRECTIONAL)) {
        /* A socket's client may leave while the front end is not reading: make way for the next. */
        chr->in_watch = watch(chr, chr->in, G_IO_HUP, input_ready);
    }
    if (chr->out_watch) {
        clear_source(&chr->out_watch);
        chr->out_watch = watch(chr, chr->out, G_IO_OUT, output_ready);
    }
}

static gboolean start(void *opaque)
{
    Chardev *chr = opaque;

    g_mutex_lock(&chr->lock);
    if (chr->in || chr->out) {
        chr->open = true;
        chr->paused = true; /* until the front end has heard of it */
        chardev_stream_rearm(chr);
    }
    g_mutex_unlock(&chr->lock);
    chardev_report_open(chr);
    return G_SOURCE_REMOVE;
}

void chardev_stream_connect(Chardev *chr, QIOChannel *in, QIOChannel *out)
{
    GMainContext *ctx;

    if (in) {
        io_channel_set_blocking(in, false, NULL);
    }
    if (out) {
        io_channel_set_blocking(out, false, NULL);
    }
    g_mutex_lock(&chr->lock);
    chr->in = in ? g_object_ref(in) : NULL;
    chr->out = out ? g_object_ref(out) : NULL;
    ctx = chr->context;
    g_mutex_unlock(&chr->lock);
    if (ctx) {
        /* OPENED and input belong to the same thread, in that order. */
        g_main_context_invoke_full(ctx, G_PRIORITY_DEFAULT, start, chardev_ref(chr), chardev_unref);
    } else {
        start(chr);
    }
}
