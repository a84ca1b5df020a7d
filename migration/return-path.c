/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading and writing of return-path messages. */
#include "migration/return-path.h"
#include "migration/wire/postcopy.h"
#include "util/thread.h"

/* ---- source ---- */

struct ReturnPathReader {
    QEMUFile *f;
    ReturnPathEvents events;
    void *opaque;
    GThread *thread;
    char *reason; /* the destination's, if it gave one */
};

static bool read_message(ReturnPathReader *r, ReturnPathMessage *msg, GError **errp)
{
    size_t need = RP_HEADER_SIZE;

    for (;;) {
        const uint8_t *bytes;
        size_t got = qemu_peek_buffer(r->f, &bytes, need);
        DecodeResult result;

        if (got < need) {
            if (qemu_file_check(r->f, errp)) {
                error_setg(errp, "The destination closed the return path before it took the guest");
            }
            return false;
        }
        result = rp_decode(bytes, got, msg, &need, errp);
        if (result == DECODE_OK) {
            qemu_file_skip(r->f, need);
            return true;
        }
        if (result == DECODE_INVALID) {
            return false;
        }
    }
}

/* One message; true while more may come. */
static bool handle_message(ReturnPathReader *r, ReturnPathVerdict *verdict, GError **errp)
{
    ReturnPathMessage msg;

    if (!read_message(r, &msg, errp)) {
        return false;
    }
    switch (msg.type) {
    case RP_PONG:
        r->events.pong(r->opaque, msg.value);
        return true;
    case RP_LOADED:
        r->events.loaded(r->opaque);
        return true;
    case RP_FAILURE_TEXT:
        g_free(r->reason);
        r->reason = g_strdup(msg.text);
        return true;
    case RP_SHUT:
        *verdict = msg.value ? VERDICT_REFUSED : VERDICT_ACCEPTED;
        if (msg.value) {
            error_setg(errp, "The destination reports failure (code %u)", msg.value);
        }
        return false;
    case RP_REQ_PAGES_ID:
    case RP_REQ_PAGES:
        if (r->events.request) {
            return r->events.request(r->opaque, msg.type == RP_REQ_PAGES ? NULL : msg.name,
                                     msg.offset, msg.length, errp);
        }
        break;
    case RP_RECV_BITMAP:
        if (r->events.bitmap) {
            return r->events.bitmap(r->opaque, msg.name, r->f, errp);
        }
        break;
    case RP_RESUME_ACK:
        if (r->events.resume_ack) {
            return r->events.resume_ack(r->opaque, msg.value, errp);
        }
        break;
    case RP_LOST_CHANNEL:
        if (r->events.lost_channel) {
            return r->events.lost_channel(r->opaque, msg.value, errp);
        }
        break;
    case RP_SWITCHOVER_ACK:
        if (r->events.switchover_ack) {
            return r->events.switchover_ack(r->opaque, errp);
        }
        break;
    default:
        break;
    }
    error_setg(errp, "Return-path message of type %u is not expected in this migration", msg.type);
    return false;
}

static gpointer reader_thread(gpointer opaque)
{
    ReturnPathReader *r = opaque;
    GError *err = NULL;
    ReturnPathVerdict verdict = VERDICT_NONE;

    thread_prompt(); /* requests of postcopy */
    while (handle_message(r, &verdict, &err)) {
    }
    if (r->reason && err) {
        g_clear_error(&err);
        error_setg(&err, "Destination: %s", r->reason);
        verdict = VERDICT_REFUSED;
    }
    r->events.done(r->opaque, verdict, err, r->reason != NULL);
    return NULL;
}

static void reader_free(ReturnPathReader *r)
{
    qemu_fclose(r->f, NULL);
    g_free(r->reason);
    g_free(r);
}

ReturnPathReader *return_path_reader_start(QIOChannel *ioc, const ReturnPathEvents *events,
                                           void *opaque, GError **errp)
{
    ReturnPathReader *r = g_new0(ReturnPathReader, 1);

    r->f = qemu_file_new_input(ioc);
    r->events = *events;
    r->opaque = opaque;
    r->thread = g_thread_try_new("return-path", reader_thread, r, errp);
    if (!r->thread) {
        reader_free(r);
        return NULL;
    }
    return r;
}

void return_path_reader_join(ReturnPathReader *r)
{
    if (r) {
        g_thread_join(r->thread);
        reader_free(r);
    }
}

/* ---- destination ---- */

struct ReturnPathWriter {
    GMutex lock;     /* protects all below; held while a message is written */
    QIOChannel *ioc; /* NULL: the channel broke, another may come */
    bool peer_is_godwit;
    bool requests_open;
    char last_block[256]; /* of the last page request on this channel; "": none */
};

ReturnPathWriter *return_path_writer_new(QIOChannel *ioc)
{
    ReturnPathWriter *w = g_new0(ReturnPathWriter, 1);

    g_mutex_init(&w->lock);
    w->ioc = g_object_ref(ioc);
    w->requests_open = true;
    return w;
}

void return_path_writer_free(ReturnPathWriter *w)
{
    if (w) {
        g_clear_object(&w->ioc);
        g_mutex_clear(&w->lock);
        g_free(w);
    }
}

void return_path_writer_detach(ReturnPathWriter *w)
{
    g_mutex_lock(&w->lock);
    g_clear_object(&w->ioc);
    g_mutex_unlock(&w->lock);
}

void return_path_writer_attach(ReturnPathWriter *w, QIOChannel *ioc)
{
    g_mutex_lock(&w->lock);
    g_clear_object(&w->ioc);
    w->ioc = g_object_ref(ioc);
    w->requests_open = false;
    w->last_block[0] = '\0';
    g_mutex_unlock(&w->lock);
}

void return_path_writer_open_requests(ReturnPathWriter *w)
{
    g_mutex_lock(&w->lock);
    w->requests_open = true;
    g_mutex_unlock(&w->lock);
}

/* Whole messages, with w->lock held. */
static bool send_bytes(ReturnPathWriter *w, const void *bytes, size_t len, GError **errp)
{
    if (!w->ioc) {
        error_setg(errp, "Answering the source: the channel is broken");
        return false;
    }
    if (!io_channel_write_all(w->ioc, bytes, len, errp)) {
        g_prefix_error(errp, "Answering the source: ");
        io_channel_shutdown(w->ioc, IO_SHUTDOWN_BOTH);
        return false;
    }
    return true;
}

static bool send_message(ReturnPathWriter *w, const ReturnPathMessage *msg, GError **errp)
{
    uint8_t bytes[RP_HEADER_SIZE + RP_PAYLOAD_MAX];
    bool ok;

    g_mutex_lock(&w->lock);
    ok = send_bytes(w, bytes, rp_encode(msg, bytes), errp);
    g_mutex_unlock(&w->lock);
    return ok;
}

/* With w->lock held. */
static size_t encode_request(ReturnPathWriter *w, const ReturnPathRequest *r, uint8_t *out)
{
    ReturnPathMessage msg = {.type = RP_REQ_PAGES, .offset = r->offset, .length = r->length};

    if (!g_str_equal(w->last_block, r->block)) {
        msg.type = RP_REQ_PAGES_ID;
        g_strlcpy(msg.name, r->block, sizeof(msg.name));
        g_strlcpy(w->last_block, r->block, sizeof(w->last_block));
    }
    return rp_encode(&msg, out);
}

bool return_path_request_pages(ReturnPathWriter *w, const ReturnPathRequest *requests, unsigned n,
                               GError **errp)
{
    uint8_t bytes[RETURN_PATH_BATCH * (RP_HEADER_SIZE + 12 + 256) + RP_PAYLOAD_MAX];
    size_t len = 0;
    bool ok = true;

    g_assert(n <= RETURN_PATH_BATCH);
    g_mutex_lock(&w->lock);
    if (w->ioc && w->requests_open) {
        for (unsigned i = 0; i < n; i++) {
            len += encode_request(w, &requests[i], bytes + len);
        }
        ok = send_bytes(w, bytes, len, errp);
    }
    g_mutex_unlock(&w->lock);
    return ok;
}

bool return_path_send_bitmap(ReturnPathWriter *w, const char *block, const void *bitmap,
                             uint64_t bytes, GError **errp)
{
    ReturnPathMessage msg = {.type = RP_RECV_BITMAP};
    uint8_t head[RP_HEADER_SIZE + RP_PAYLOAD_MAX + 8], mark[8];
    size_t len;
    bool ok;

    g_strlcpy(msg.name, block, sizeof(msg.name));
    len = rp_encode(&msg, head);
    len = postcopy_put_be64(head + len, bytes) - head;
    postcopy_put_be64(mark, POSTCOPY_BITMAP_MARK);
    g_mutex_lock(&w->lock);
    ok = send_bytes(w, head, len, errp) && send_bytes(w, bitmap, bytes, errp) &&
         send_bytes(w, mark, sizeof(mark), errp);
    g_mutex_unlock(&w->lock);
    return ok;
}

bool return_path_resume_ack(ReturnPathWriter *w, GError **errp)
{
    return send_message(w, &(ReturnPathMessage){.type = RP_RESUME_ACK, .value = 1}, errp);
}

bool return_path_pong(ReturnPathWriter *w, uint32_t cookie, uint32_t features, GError **errp)
{
    ReturnPathMessage msg = {.type = RP_PONG, .value = cookie};

    if (cookie == STREAM_HELLO) {
        w->peer_is_godwit = true;
        msg.value = STREAM_HELLO_ANSWER | features;
    }
    return send_message(w, &msg, errp);
}

bool return_path_lost_channel(ReturnPathWriter *w, uint32_t number, GError **errp)
{
    return send_message(w, &(ReturnPathMessage){.type = RP_LOST_CHANNEL, .value = number}, errp);
}

bool return_path_switchover_ack(ReturnPathWriter *w, GError **errp)
{
    return send_message(w, &(ReturnPathMessage){.type = RP_SWITCHOVER_ACK}, errp);
}

bool return_path_loaded(ReturnPathWriter *w, GError **errp)
{
    return send_message(w, &(ReturnPathMessage){.type = RP_LOADED}, errp);
}

bool return_path_accept(ReturnPathWriter *w, GError **errp)
{
    return send_message(w, &(ReturnPathMessage){.type = RP_SHUT, .value = 0}, errp);
}

void return_path_refuse(ReturnPathWriter *w, const char *reason)
{
    if (w->peer_is_godwit) {
        ReturnPathMessage msg = {.type = RP_FAILURE_TEXT};

        const char *end;

        g_strlcpy(msg.text, reason, sizeof(msg.text));
        g_utf8_validate(msg.text, -1, &end);
        msg.text[end - msg.text] = '\0'; /* the cut may have hit the middle of a character */
        send_message(w, &msg, NULL);
    }
    send_message(w, &(ReturnPathMessage){.type = RP_SHUT, .value = 1}, NULL);
}
