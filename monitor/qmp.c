/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A QMP session: one chardev, one client at a time (spec 70 sections 1-4).
 *
 *   chardev --bytes--> JSON reader --values--> queue --> command, reply      in band: main thread,
 * big lock (monitor I/O thread)          \--> command, reply                out of band: at once,
 * no lock
 *
 * Reading runs in the monitor I/O thread for all sessions; commands run on the main loop, one per
 * turn, sessions taking turns. Without oob one request is read ahead at most.
 */
#include "util/osdep.h"
#include "monitor/commands.h"
#include "qapi/json-stream.h"
#include "util/log.h"

LOG_CATEGORY(qmp)

#define QUEUE_MAX  8
#define READ_CHUNK 4096
#define FDS_MAX    16

typedef struct {
    int fd[FDS_MAX];
    unsigned n;
} FdBatch;

typedef struct {
    JsonNode *json; /* or */
    GError *err;    /* what the reader thought of it */
    FdBatch fds;    /* that came with it */
} QmpRequest;

struct QmpSession {
    MonitorHub *hub;
    Chardev *chr;
    JsonStream *stream; /* I/O thread */
    bool pretty;

    GMutex lock;
    GQueue queue;        /* QmpRequest */
    bool busy;           /* a request is being run */
    bool negotiated;     /* command mode */
    bool oob;            /* enabled by the client */
    unsigned connection; /* counts clients; replies to a former one are dropped */
    FdBatch spare;       /* received, not consumed by the request they came with */

    /* The request being run; main thread. */
    QmpRequest *current;
    bool negotiation_done, negotiation_oob;
};

static void fds_close(FdBatch *fds)
{
    for (unsigned i = 0; i < fds->n; i++) {
        close(fds->fd[i]);
    }
    fds->n = 0;
}

static void request_free(QmpRequest *r)
{
    g_clear_pointer(&r->json, json_node_unref);
    g_clear_error(&r->err);
    fds_close(&r->fds);
    g_free(r);
}

/* One message, in one piece, whatever other threads send. */
static void send_message(QmpSession *s, JsonNode *node)
{
    g_autoptr(GString) text = g_string_new(NULL);

    qapi_json_write(text, node, s->pretty);
    trace(qmp, "%s < %s", chardev_label(s->chr), text->str);
    g_string_append(text, "\r\n");
    chardev_write_all(s->chr, text->str, text->len);
}

void qmp_session_send_event(QmpSession *s, JsonNode *event)
{
    g_mutex_lock(&s->lock);
    bool live = s->negotiated;

    g_mutex_unlock(&s->lock);
    if (live) {
        send_message(s, event);
    }
}

void qmp_session_negotiated(QmpSession *s, bool oob)
{
    s->negotiation_done = true;
    s->negotiation_oob = oob;
}

int qmp_session_take_fd(QmpSession *s)
{
    FdBatch *from = s->current && s->current->fds.n ? &s->current->fds : &s->spare;
    int fd = -1;

    g_mutex_lock(&s->lock);
    if (from->n) {
        fd = from->fd[0];
        from->fd[0] = from->fd[--from->n];
        fds_close(from); /* surplus ones */
    }
    g_mutex_unlock(&s->lock);
    return fd;
}

static unsigned dispatch_flags(QmpSession *s)
{
    return (s->negotiated ? 0 : QMP_NEGOTIATING) | (s->oob ? QMP_OOB_ENABLED : 0);
}

static gboolean resume_reading(void *opaque)
{
    QmpSession *s = opaque;

    chardev_accept_input(s->chr);
    return G_SOURCE_REMOVE;
}

static JsonNode *run_request(QmpSession *s, QmpRequest *r, unsigned flags)
{
    if (r->err) {
        return qmp_error_reply(g_steal_pointer(&r->err), NULL);
    }
    s->current = r;
    JsonNode *reply = qmp_dispatch(s->hub->commands, s, r->json, flags);

    s->current = NULL;
    return reply;
}

bool qmp_session_run_one(QmpSession *s)
{
    g_mutex_lock(&s->lock);
    QmpRequest *r = g_queue_pop_head(&s->queue);
    unsigned connection = s->connection;
    unsigned flags = dispatch_flags(s);

    s->busy = r != NULL;
    g_mutex_unlock(&s->lock);
    if (!r) {
        return false;
    }
    s->negotiation_done = false;
    g_autoptr(JsonNode) reply = run_request(s, r, flags);

    g_mutex_lock(&s->lock);
    bool same_client = s->connection == connection;

    if (r->fds.n && !s->spare.n && same_client) {
        s->spare = r->fds;
        r->fds.n = 0;
    }
    g_mutex_unlock(&s->lock);
    if (same_client) {
        send_message(s, reply);
    }
    request_free(r);

    g_mutex_lock(&s->lock);
    if (s->negotiation_done && s->connection == connection) {
        s->negotiated = true;
        s->oob = s->negotiation_oob;
    }
    s->busy = false;
    g_mutex_unlock(&s->lock);
    g_main_context_invoke(s->hub->io_context, resume_reading, s);
    return true;
}

/* ---- I/O thread ---- */

static void receive_fds(QmpSession *s)
{
    FdBatch fds = {.n = 0};

    fds.n = chardev_take_fds(s->chr, fds.fd, FDS_MAX);
    if (!fds.n) {
        return;
    }
    g_mutex_lock(&s->lock);
    fds_close(&s->spare);
    s->spare = fds;
    g_mutex_unlock(&s->lock);
}

/* The reader has a value or an error. */
static void take_value(void *opaque, JsonNode *value, GError *err)
{
    QmpSession *s = opaque;

    g_mutex_lock(&s->lock);
    unsigned flags = dispatch_flags(s);

    if (value && s->oob && qmp_request_is_oob(value)) {
        g_mutex_unlock(&s->lock);
        g_autoptr(JsonNode) reply = qmp_dispatch(s->hub->commands, s, value, flags);

        send_message(s, reply);
        json_node_unref(value);
        return;
    }
    QmpRequest *r = g_new0(QmpRequest, 1);

    r->json = value;
    r->err = err;
    r->fds = s->spare;
    s->spare.n = 0;
    g_queue_push_tail(&s->queue, r);
    g_mutex_unlock(&s->lock);
    monitor_hub_wake(s->hub);
}

static size_t session_can_read(void *opaque)
{
    QmpSession *s = opaque;

    g_mutex_lock(&s->lock);
    unsigned waiting = s->queue.length;
    bool full = s->oob ? waiting >= QUEUE_MAX : waiting + s->busy > 0;

    g_mutex_unlock(&s->lock);
    return full ? 0 : READ_CHUNK;
}

static void session_read(void *opaque, const uint8_t *buf, size_t len)
{
    QmpSession *s = opaque;

    trace(qmp, "%s > %.*s", chardev_label(s->chr), (int)len, (const char *)buf);
    receive_fds(s);
    json_stream_feed(s->stream, buf, len);
}

static void session_reset(QmpSession *s)
{
    g_mutex_lock(&s->lock);
    QmpRequest *r;

    while ((r = g_queue_pop_head(&s->queue))) {
        request_free(r);
    }
    fds_close(&s->spare);
    s->negotiated = s->oob = false;
    s->connection++;
    g_mutex_unlock(&s->lock);
    json_stream_reset(s->stream);
}

static void session_event(void *opaque, ChrEvent event)
{
    QmpSession *s = opaque;

    if (event == CHR_EVENT_OPENED) {
        g_autoptr(JsonNode) hello = qmp_greeting();

        session_reset(s);
        send_message(s, hello);
    } else if (event == CHR_EVENT_CLOSED) {
        session_reset(s);
    }
}

static const ChardevFrontend session_frontend = {
    .can_read = session_can_read,
    .read = session_read,
    .event = session_event,
};

QmpSession *qmp_session_new(MonitorHub *hub, Chardev *chr, bool pretty, GError **errp)
{
    QmpSession *s = g_new0(QmpSession, 1);

    s->hub = hub;
    s->chr = chr;
    s->pretty = pretty;
    s->stream = json_stream_new(take_value, s);
    g_mutex_init(&s->lock);
    g_queue_init(&s->queue);
    chardev_set_context(chr, hub->io_context);
    if (!chardev_attach(chr, &session_frontend, s, errp)) {
        qmp_session_free(s);
        return NULL;
    }
    return s;
}

void qmp_session_free(QmpSession *s)
{
    QmpRequest *r;

    while ((r = g_queue_pop_head(&s->queue))) {
        request_free(r);
    }
    fds_close(&s->spare);
    json_stream_free(s->stream);
    g_mutex_clear(&s->lock);
    g_free(s);
}

void qmp_session_detach(QmpSession *s)
{
    chardev_detach(s->chr);
    chardev_set_context(s->chr, NULL);
}
