/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading and writing of return-path messages. */
#include "migration/return-path.h"
#include "migration/qemu-file.h"

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
    default:
        error_setg(errp, "Return-path message of type %u is not expected in this migration",
                   msg.type);
        return false;
    }
}

static gpointer reader_thread(gpointer opaque)
{
    ReturnPathReader *r = opaque;
    GError *err = NULL;
    ReturnPathVerdict verdict = VERDICT_NONE;

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
    QIOChannel *ioc;
    bool peer_is_godwit;
};

ReturnPathWriter *return_path_writer_new(QIOChannel *ioc)
{
    ReturnPathWriter *w = g_new0(ReturnPathWriter, 1);

    w->ioc = g_object_ref(ioc);
    return w;
}

void return_path_writer_free(ReturnPathWriter *w)
{
    if (w) {
        g_object_unref(w->ioc);
        g_free(w);
    }
}

static bool send_message(ReturnPathWriter *w, const ReturnPathMessage *msg, GError **errp)
{
    uint8_t bytes[RP_HEADER_SIZE + RP_PAYLOAD_MAX];

    if (!io_channel_write_all(w->ioc, bytes, rp_encode(msg, bytes), errp)) {
        g_prefix_error(errp, "Answering the source: ");
        return false;
    }
    return true;
}

bool return_path_pong(ReturnPathWriter *w, uint32_t cookie, GError **errp)
{
    ReturnPathMessage msg = {.type = RP_PONG, .value = cookie};

    if (cookie == STREAM_HELLO) {
        w->peer_is_godwit = true;
        msg.value = STREAM_HELLO_ANSWER | PEER_FAILURE_TEXT | PEER_COMMIT | PEER_ZERO_RUN;
    }
    return send_message(w, &msg, errp);
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
