/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "io/channel-tls-private.h"
#include "util/error.h"

/* What io_channel_peek() may ask for. */
#define AHEAD_BYTES 16
/* How far to look for an alert behind other words of a peer that has gone. */
#define EXPLAIN_READS 64
/* What socket buffers may have taken before a peer that never read a byte is noticed to be gone. */
#define EARLY_BYTES (8 * MiB)

struct _QIOChannelTLS {
    QIOChannel parent;
    QIOChannel *base;
    TlsSession *session;
    unsigned shut;   /* IOShutdown bits; atomic */
    bool has_reader; /* atomic: somebody reads, and will find the peer's alert */

    uint8_t ahead[AHEAD_BYTES]; /* peeked at; reader */
    size_t n_ahead;
    uint64_t written; /* plain bytes; writer */
    size_t sealed;    /* plain bytes in the output of a write that would have blocked; writer */
};

G_DEFINE_TYPE(QIOChannelTLS, io_channel_tls, TYPE_IO_CHANNEL)

QIOChannelTLS *io_channel_tls_new(QIOChannel *base, TlsCreds *creds, const char *hostname,
                                  Authz *authz, GError **errp)
{
    QIOChannelTLS *tls;
    TlsSession *session;

    if (!io_channel_has_feature(base, IO_FEATURE_BIDIRECTIONAL)) {
        error_setg(errp, "TLS needs both directions, and channel '%s' has one",
                   io_channel_name(base));
        return NULL;
    }
    session = tls_session_new(creds, hostname, authz, errp);
    if (!session) {
        return NULL;
    }
    tls = g_object_new(TYPE_IO_CHANNEL_TLS, NULL);
    tls->base = g_object_ref(base);
    tls->session = session;
    io_channel_set_name(IO_CHANNEL(tls), io_channel_name(base));
    io_channel_set_feature(IO_CHANNEL(tls), IO_FEATURE_BIDIRECTIONAL);
    io_channel_set_feature(IO_CHANNEL(tls), IO_FEATURE_READ_PEEK);
    return tls;
}

char *io_channel_tls_describe(QIOChannelTLS *tls)
{
    return tls_session_describe(tls->session);
}

QIOChannel *tls_base(QIOChannelTLS *tls)
{
    return tls->base;
}

TlsSession *tls_session_of(QIOChannelTLS *tls)
{
    return tls->session;
}

static bool is_shut(QIOChannelTLS *tls, IOShutdown how)
{
    return __atomic_load_n(&tls->shut, __ATOMIC_ACQUIRE) & how;
}

/* ---- moving records ---- */

ssize_t tls_fill(QIOChannelTLS *tls, GError **errp)
{
    size_t room;
    uint8_t *buf = tls_session_input_room(tls->session, &room);
    ssize_t n;

    if (!buf) {
        return 1;
    }
    n = io_channel_read(tls->base, buf, room, errp);
    if (n >= 0) {
        tls_session_input(tls->session, n);
    }
    return n;
}

ssize_t tls_flush(QIOChannelTLS *tls, GError **errp)
{
    const uint8_t *p;
    size_t len;

    while ((p = tls_session_output(tls->session, &len))) {
        ssize_t n = io_channel_write(tls->base, p, len, errp);

        if (n < 0) {
            return n;
        }
        tls_session_output_sent(tls->session, n);
    }
    return 0;
}

/* ---- reading ---- */

static size_t take_ahead(QIOChannelTLS *tls, const struct iovec *iov, unsigned n)
{
    size_t used = 0;

    for (unsigned i = 0; i < n && used < tls->n_ahead; i++) {
        size_t len = MIN(iov[i].iov_len, tls->n_ahead - used);

        memcpy(iov[i].iov_base, tls->ahead + used, len);
        used += len;
    }
    tls->n_ahead -= used;
    memmove(tls->ahead, tls->ahead + used, tls->n_ahead);
    return used;
}

/* Past what was peeked at. */
static ssize_t read_session(QIOChannelTLS *tls, const struct iovec *iov, unsigned n, GError **errp)
{
    size_t got;
    ssize_t filled;

    for (;;) {
        if (is_shut(tls, IO_SHUTDOWN_READ)) {
            return 0;
        }
        switch (tls_session_open(tls->session, iov, n, &got, errp)) {
        case TLS_OK:
            return got;
        case TLS_FAILED:
            return IO_CHANNEL_ERR;
        case TLS_NEED_INPUT:
            filled = tls_fill(tls, errp);
            if (filled < 0) {
                return filled;
            }
        }
    }
}

static ssize_t tls_readv(QIOChannel *ioc, const struct iovec *iov, unsigned n, int **fds,
                         size_t *nfds, GError **errp)
{
    QIOChannelTLS *tls = IO_CHANNEL_TLS(ioc);

    __atomic_store_n(&tls->has_reader, true, __ATOMIC_RELAXED);
    return tls->n_ahead ? (ssize_t)take_ahead(tls, iov, n) : read_session(tls, iov, n, errp);
}

static ssize_t tls_peek(QIOChannel *ioc, void *buf, size_t len, GError **errp)
{
    QIOChannelTLS *tls = IO_CHANNEL_TLS(ioc);

    len = MIN(len, sizeof(tls->ahead));
    while (tls->n_ahead < len) {
        struct iovec iov = {tls->ahead + tls->n_ahead, sizeof(tls->ahead) - tls->n_ahead};
        ssize_t n;

        if (tls->n_ahead && !io_channel_wait(ioc, G_IO_IN, 0)) {
            break; /* some is enough, nobody waits for more */
        }
        n = read_session(tls, &iov, 1, errp);
        if (n <= 0 && !(tls->n_ahead && n == IO_CHANNEL_WOULD_BLOCK)) {
            return n;
        }
        if (n < 0) {
            break;
        }
        tls->n_ahead += n;
    }
    len = MIN(len, tls->n_ahead);
    memcpy(buf, tls->ahead, len);
    return len;
}

/* ---- writing ---- */

/*
 * A peer that refuses us late (TLS 1.3: it judges our certificate after we have finished) sends an
 * alert and closes; all that the write noticed is a broken pipe. Whoever has a reader learns the
 * reason there; for the others look what has arrived.
 */
static void explain_broken_write(QIOChannelTLS *tls, GError **errp)
{
    GError *why = NULL;
    char junk[256];
    struct iovec iov = {junk, sizeof(junk)};
    size_t got = 1;

    if (__atomic_load_n(&tls->has_reader, __ATOMIC_RELAXED) || !errp) {
        return;
    }
    for (unsigned i = 0; i < EXPLAIN_READS && got && !why; i++) {
        TlsResult result = tls_session_open(tls->session, &iov, 1, &got, &why);

        if (result == TLS_NEED_INPUT &&
            (!io_channel_wait(tls->base, G_IO_IN, 0) || tls_fill(tls, NULL) < 0)) {
            break;
        }
        got |= result == TLS_NEED_INPUT;
    }
    if (why) {
        g_clear_error(errp);
        g_propagate_error(errp, why);
    } else if (tls->written < EARLY_BYTES) {
        g_prefix_error(errp,
                       "So early, the peer may have refused our credentials (it knows why): ");
    }
}

static ssize_t tls_writev(QIOChannel *ioc, const struct iovec *iov, unsigned n, const int *fds,
                          size_t nfds, int flags, GError **errp)
{
    QIOChannelTLS *tls = IO_CHANNEL_TLS(ioc);
    ssize_t ret;

    if (!tls->sealed && !tls_session_seal(tls->session, iov, n, &tls->sealed, errp)) {
        return IO_CHANNEL_ERR;
    }
    ret = tls_flush(tls, errp);
    if (ret == IO_CHANNEL_ERR) {
        explain_broken_write(tls, errp);
    }
    if (ret < 0) {
        return ret;
    }
    ret = tls->sealed;
    tls->sealed = 0;
    tls->written += ret;
    return ret;
}

static bool tls_say_end(QIOChannel *ioc, GError **errp)
{
    QIOChannelTLS *tls = IO_CHANNEL_TLS(ioc);
    ssize_t ret;

    tls_session_say_end(tls->session);
    while ((ret = tls_flush(tls, errp)) == IO_CHANNEL_WOULD_BLOCK) {
        io_channel_wait(tls->base, G_IO_OUT, -1);
    }
    return ret == 0;
}

/* ---- control ---- */

static bool tls_set_blocking(QIOChannel *ioc, bool blocking, GError **errp)
{
    return io_channel_set_blocking(IO_CHANNEL_TLS(ioc)->base, blocking, errp);
}

static void tls_set_delay(QIOChannel *ioc, bool enabled)
{
    io_channel_set_delay(IO_CHANNEL_TLS(ioc)->base, enabled);
}

static uint64_t tls_backlog(QIOChannel *ioc)
{
    return io_channel_backlog(IO_CHANNEL_TLS(ioc)->base);
}

static void tls_shutdown(QIOChannel *ioc, IOShutdown how)
{
    QIOChannelTLS *tls = IO_CHANNEL_TLS(ioc);

    __atomic_fetch_or(&tls->shut, how, __ATOMIC_ACQ_REL);
    io_channel_shutdown(tls->base, how);
}

static bool tls_close(QIOChannel *ioc, GError **errp)
{
    return io_channel_close(IO_CHANNEL_TLS(ioc)->base, errp);
}

static bool has_input(QIOChannelTLS *tls)
{
    return tls->n_ahead || tls_session_has_input(tls->session);
}

static bool tls_wait(QIOChannel *ioc, GIOCondition cond, int timeout_ms)
{
    QIOChannelTLS *tls = IO_CHANNEL_TLS(ioc);

    return ((cond & G_IO_IN) && has_input(tls)) || io_channel_wait(tls->base, cond, timeout_ms);
}

/* ---- a source that also sees what was received already ---- */

typedef struct {
    GSource source;
    QIOChannelTLS *tls;
    GIOCondition cond;
} TlsWatch;

static gboolean watch_is_ready(GSource *source)
{
    TlsWatch *w = (TlsWatch *)source;

    return (w->cond & G_IO_IN) && has_input(w->tls);
}

static gboolean watch_prepare(GSource *source, gint *timeout)
{
    *timeout = -1;
    return watch_is_ready(source);
}

static gboolean watch_dispatch(GSource *source, GSourceFunc callback, gpointer opaque)
{
    TlsWatch *w = (TlsWatch *)source;
    IOChannelWatchCB *cb = (IOChannelWatchCB *)(void (*)(void))callback;

    return cb(IO_CHANNEL(w->tls), w->cond, opaque);
}

static void watch_finalize(GSource *source)
{
    g_object_unref(((TlsWatch *)source)->tls);
}

static GSourceFuncs watch_funcs = {
    .prepare = watch_prepare,
    .check = watch_is_ready,
    .dispatch = watch_dispatch,
    .finalize = watch_finalize,
};

static gboolean base_ready(QIOChannel *ioc, GIOCondition cond, void *opaque)
{
    return G_SOURCE_CONTINUE; /* its parent is dispatched too */
}

static GSource *tls_create_watch(QIOChannel *ioc, GIOCondition cond)
{
    QIOChannelTLS *tls = IO_CHANNEL_TLS(ioc);
    GSource *source = g_source_new(&watch_funcs, sizeof(TlsWatch));
    g_autoptr(GSource) child = io_channel_create_watch(tls->base, cond);
    TlsWatch *w = (TlsWatch *)source;

    w->tls = g_object_ref(tls);
    w->cond = cond;
    g_source_set_callback(child, (GSourceFunc)(void (*)(void))base_ready, NULL, NULL);
    g_source_add_child_source(source, child);
    return source;
}

/* ---- class ---- */

static void io_channel_tls_finalize(GObject *obj)
{
    QIOChannelTLS *tls = IO_CHANNEL_TLS(obj);

    tls_session_free(tls->session);
    g_clear_object(&tls->base);
    G_OBJECT_CLASS(io_channel_tls_parent_class)->finalize(obj);
}

static void io_channel_tls_class_init(QIOChannelTLSClass *klass)
{
    QIOChannelClass *k = IO_CHANNEL_CLASS(klass);

    G_OBJECT_CLASS(klass)->finalize = io_channel_tls_finalize;
    k->readv = tls_readv;
    k->writev = tls_writev;
    k->peek = tls_peek;
    k->say_end = tls_say_end;
    k->set_blocking = tls_set_blocking;
    k->set_delay = tls_set_delay;
    k->backlog = tls_backlog;
    k->shutdown = tls_shutdown;
    k->close = tls_close;
    k->wait = tls_wait;
    k->create_watch = tls_create_watch;
}

static void io_channel_tls_init(QIOChannelTLS *tls)
{
}
