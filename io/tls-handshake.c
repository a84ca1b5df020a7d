/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A handshake as a guest of the main loop: each step does what it can without waiting, and leaves a
 * watch for the rest. A clock covers all of it, so a peer that dawdles costs a timer and no more.
 */
#include "io/channel-tls-private.h"
#include "util/error.h"
#include "util/log.h"

LOG_CATEGORY(tls)

struct TlsHandshake {
    QIOChannelTLS *tls;
    TlsHandshakeCB *cb;
    void *opaque;
    GSource *watch; /* or the first step */
    GSource *timeout;
    unsigned timeout_ms;
};

static void clear_source(GSource **s)
{
    if (*s) {
        g_source_destroy(*s);
        g_clear_pointer(s, g_source_unref);
    }
}

static void handshake_free(TlsHandshake *h)
{
    clear_source(&h->watch);
    clear_source(&h->timeout);
    g_object_unref(h->tls);
    g_free(h);
}

/* Takes @err. */
static void finish(TlsHandshake *h, GError *err)
{
    TlsHandshakeCB *cb = h->cb;
    void *opaque = h->opaque;

    if (err) {
        trace(tls, "%s: %s", io_channel_name(IO_CHANNEL(h->tls)), err->message);
        io_channel_shutdown(tls_base(h->tls), IO_SHUTDOWN_BOTH);
    } else {
        g_autofree char *how = io_channel_tls_describe(h->tls);
        const char *who = tls_session_identity(tls_session_of(h->tls));

        trace(tls, "%s: %s, peer %s", io_channel_name(IO_CHANNEL(h->tls)), how,
              who ? who : "unnamed");
    }
    handshake_free(h);
    cb(err, opaque);
}

static void step(TlsHandshake *h);

static gboolean base_ready(QIOChannel *ioc, GIOCondition cond, void *opaque)
{
    step(opaque);
    return G_SOURCE_REMOVE;
}

static void wait_for(TlsHandshake *h, GIOCondition cond)
{
    clear_source(&h->watch);
    h->watch = io_channel_create_watch(tls_base(h->tls), cond);
    g_source_set_callback(h->watch, (GSourceFunc)(void (*)(void))base_ready, h, NULL);
    g_source_attach(h->watch, NULL);
}

/* A write or read of the base that did not work: a watch, or the end. */
static void pause_or_fail(TlsHandshake *h, ssize_t ret, GIOCondition cond, GError *err)
{
    if (ret == IO_CHANNEL_WOULD_BLOCK) {
        wait_for(h, cond);
    } else {
        g_prefix_error(&err, "TLS handshake failed: ");
        finish(h, err);
    }
}

/* Do what can be done now; @h may be gone afterwards. */
static void step(TlsHandshake *h)
{
    TlsSession *s = tls_session_of(h->tls);

    for (;;) {
        GError *err = NULL;
        TlsResult result = tls_session_handshake(s, &err);
        ssize_t ret = tls_flush(h->tls, result == TLS_FAILED ? NULL : &err);

        if (result == TLS_FAILED) {
            finish(h, err); /* the alert is sent, or cannot be */
            return;
        }
        if (ret < 0) {
            pause_or_fail(h, ret, G_IO_OUT, err);
            return;
        }
        if (result == TLS_OK) {
            finish(h, NULL);
            return;
        }
        if (tls_session_handshake_stuck(s)) {
            continue; /* a long chain of certificates; there is room again */
        }
        ret = tls_fill(h->tls, &err);
        if (ret < 0) {
            pause_or_fail(h, ret, G_IO_IN, err);
            return;
        }
    }
}

static gboolean first_step(void *opaque)
{
    TlsHandshake *h = opaque;
    GError *err = NULL;

    if (io_channel_set_blocking(tls_base(h->tls), false, &err)) {
        step(h);
    } else {
        finish(h, err);
    }
    return G_SOURCE_REMOVE;
}

static gboolean too_late(void *opaque)
{
    TlsHandshake *h = opaque;
    GError *err = NULL;

    error_setg(&err, "TLS handshake failed: the peer did not finish it within %u s",
               DIV_ROUND_UP(h->timeout_ms, 1000));
    finish(h, err);
    return G_SOURCE_REMOVE;
}

static GSource *run_later(GSource *source, GSourceFunc fn, TlsHandshake *h)
{
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, fn, h, NULL);
    g_source_attach(source, NULL);
    return source;
}

TlsHandshake *io_channel_tls_handshake(QIOChannelTLS *tls, unsigned timeout_ms, TlsHandshakeCB *cb,
                                       void *opaque)
{
    TlsHandshake *h = g_new0(TlsHandshake, 1);

    h->tls = g_object_ref(tls);
    h->cb = cb;
    h->opaque = opaque;
    h->timeout_ms = timeout_ms;
    h->watch = run_later(g_idle_source_new(), first_step, h);
    h->timeout = run_later(g_timeout_source_new(timeout_ms), too_late, h);
    return h;
}

void tls_handshake_cancel(TlsHandshake *h)
{
    if (h) {
        handshake_free(h);
    }
}
