/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The source's channels: one thread each takes packets from its queue and sends them, several with
 * one system call, headers from a buffer and pages from where they are.
 *
 * Channels share nothing while they work. The one lock is taken when the migration thread waits for
 * them and one has sent half of its queue, and to fail.
 */
#include "migration/multifd/send.h"
#include "migration/wire/stream.h"
#include "util/lock.h"

/* So many packets leave with one system call: 1 MiB of pages. */
#define BATCH_PACKETS 2
/* So often within config.patience_ms who waits looks whether anything moves. */
#define PATIENCE_LOOKS 8
/* Headers and runs of a batch. */
#define BATCH_IOV (BATCH_PACKETS * (1 + MULTIFD_PACKET_PAGES))

typedef struct MultifdBatch {
    struct iovec iov[BATCH_IOV];
    uint8_t headers[BATCH_PACKETS][MULTIFD_HEADER_SIZE];
    uint8_t *coded; /* BATCH_PACKETS * MULTIFD_CODED_MAX, with an encoder */
} MultifdBatch;

/* ---- failure ---- */

static void cut_channels(MultifdSend *s)
{
    __atomic_store_n(&s->quit, true, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < s->n; i++) {
        io_channel_shutdown(s->channels[i].ioc, IO_SHUTDOWN_BOTH);
        multifd_queue_kick(s->channels[i].queue);
    }
}

/* Takes @err, NULL: not an error. True: nobody was faster. */
static bool begin_cut(MultifdSend *s, const GError *err)
{
    bool first;

    g_mutex_lock(&s->lock);
    first = !s->cut;
    if (first && err) {
        s->error = g_error_copy(err);
    }
    __atomic_store_n(&s->cut, true, __ATOMIC_RELEASE);
    g_cond_broadcast(&s->space);
    g_mutex_unlock(&s->lock);
    return first;
}

/* Do others go on without @c? *news: it was not lost before. */
static bool is_expendable(MultifdSendChannel *c, bool *news)
{
    MultifdSend *s = c->s;
    bool fine;

    g_mutex_lock(&s->lock);
    *news = !c->lost;
    fine = c->lost || (s->may_break && !s->cut && s->losses + 1 < s->n);
    if (fine && *news) {
        s->losses++;
        __atomic_store_n(&c->lost, true, __ATOMIC_RELEASE);
        g_cond_broadcast(&s->space);
    }
    g_mutex_unlock(&s->lock);
    return fine;
}

/* Takes @err. Any thread. */
static void channel_fail(MultifdSendChannel *c, GError *err)
{
    MultifdSend *s = c->s;
    bool news;

    g_prefix_error(&err, "multifd channel %u (%s): ", c->id, io_channel_name(c->ioc));
    if (is_expendable(c, &news)) {
        io_channel_shutdown(c->ioc, IO_SHUTDOWN_BOTH);
        if (news) {
            s->config.lost(c->id, err, s->config.opaque);
        }
        g_error_free(err);
    } else if (begin_cut(s, err)) {
        cut_channels(s);
        s->config.failed(err, s->config.opaque);
    } else {
        g_error_free(err);
    }
}

void multifd_send_shutdown(MultifdSend *s)
{
    begin_cut(s, NULL);
    cut_channels(s);
}

bool multifd_send_check(MultifdSend *s, GError **errp)
{
    if (!__atomic_load_n(&s->cut, __ATOMIC_ACQUIRE)) {
        return true;
    }
    g_mutex_lock(&s->lock);
    if (s->error) {
        g_propagate_error(errp, g_error_copy(s->error));
    } else {
        error_setg(errp, "The multifd channels were shut down");
    }
    g_mutex_unlock(&s->lock);
    return false;
}

/* ---- the writer waits ---- */

bool multifd_room_in(MultifdSend *s, unsigned id)
{
    return multifd_is_lost(s, id) ||
           multifd_queue_used(s->channels[id].queue) < MULTIFD_QUEUE_SLOTS;
}

bool multifd_some_room(MultifdSend *s, unsigned id)
{
    for (unsigned i = 0; i < s->n; i++) {
        if (!multifd_is_lost(s, i) && multifd_room_in(s, i)) {
            return true;
        }
    }
    return false;
}

bool multifd_all_sent(MultifdSend *s, unsigned id)
{
    for (unsigned i = 0; i < s->n; i++) {
        if (!multifd_is_lost(s, i) && multifd_queue_used(s->channels[i].queue)) {
            return false;
        }
    }
    return true;
}

bool multifd_checked(MultifdSend *s, unsigned id)
{
    return __atomic_load_n(&s->checks, __ATOMIC_SEQ_CST) == id;
}

/*
 * The channel that has something to send and does not get on with it while another has nothing to
 * do. NULL: none, or nobody moves: then it is not the line of one of them. It may also be held up
 * by its receiver, which waits at a SYNC for another channel. The destination knows that better:
 * it has twice the time.
 */
static MultifdSendChannel *find_stuck(MultifdSend *s)
{
    int64_t now = g_get_monotonic_time();
    int64_t patience = 2 * s->config.patience_ms * G_TIME_SPAN_MILLISECOND;
    MultifdSendChannel *stuck = NULL;
    bool others_move = false;

    for (unsigned i = 0; i < s->n; i++) {
        MultifdSendChannel *c = &s->channels[i];
        uint64_t head = __atomic_load_n(&c->queue->head, __ATOMIC_RELAXED);

        if (c->lost) {
            continue;
        }
        if (!multifd_queue_used(c->queue) || !c->seen_us || head != c->seen_head) {
            others_move |= c->seen_us != 0;
            c->seen_head = head;
            c->seen_us = now;
        } else if (now - c->seen_us > patience) {
            stuck = c;
        }
    }
    return others_move ? stuck : NULL;
}

/* With the lock held, which is released meanwhile. */
static void give_up_stuck(MultifdSend *s)
{
    MultifdSendChannel *c = find_stuck(s);
    GError *err = NULL;

    if (c) {
        error_setg(&err, "Nothing could be sent for twice %u ms ('x-multifd-patience')",
                   s->config.patience_ms);
        g_mutex_unlock(&s->lock);
        channel_fail(c, err);
        g_mutex_lock(&s->lock);
    }
}

/* What we came too late to look (a busy machine, one that slept) is nobody's silence. */
static void forgive(MultifdSend *s, int64_t late_us)
{
    for (unsigned i = 0; i < s->n; i++) {
        MultifdSendChannel *c = &s->channels[i];

        c->seen_us += c->seen_us ? late_us : 0;
    }
}

/* With the lock held: sleep until something is different. */
static void wait_for_channels(MultifdSend *s)
{
    int64_t look =
        g_get_monotonic_time() + s->config.patience_ms * G_TIME_SPAN_MILLISECOND / PATIENCE_LOOKS;

    if (!s->may_break) {
        g_cond_wait(&s->space, &s->lock);
    } else if (!g_cond_wait_until(&s->space, &s->lock, look)) {
        forgive(s, g_get_monotonic_time() - look);
        give_up_stuck(s);
    }
}

bool multifd_send_wait(MultifdSend *s, MultifdReadyFn *ready, unsigned id, GError **errp)
{
    if (!ready(s, id)) {
        bool locked = bql_locked();
        /* Half a queue is soon sent: who is woken earlier is woken for every packet. */
        int wake_at = ready == multifd_all_sent ? 0 : MULTIFD_QUEUE_SLOTS / 2;

        if (locked) {
            bql_unlock(); /* how long it takes is up to the peer */
        }
        g_mutex_lock(&s->lock);
        __atomic_store_n(&s->wake_at, wake_at, __ATOMIC_SEQ_CST);
        for (unsigned i = 0; i < s->n; i++) {
            s->channels[i].seen_us = 0;
        }
        while (!ready(s, id) && !s->cut) {
            wait_for_channels(s);
        }
        __atomic_store_n(&s->wake_at, MULTIFD_NO_WAKE, __ATOMIC_RELAXED);
        g_mutex_unlock(&s->lock);
        if (locked) {
            bql_lock();
        }
    }
    return multifd_send_check(s, errp);
}

static void give_back(MultifdSendChannel *c, unsigned slots)
{
    MultifdSend *s = c->s;
    int left = multifd_queue_release(c->queue, slots);

    if (left <= __atomic_load_n(&s->wake_at, __ATOMIC_SEQ_CST)) {
        g_mutex_lock(&s->lock);
        g_cond_signal(&s->space);
        g_mutex_unlock(&s->lock);
    }
}

/* ---- a channel's thread ---- */

static unsigned put_runs(struct iovec *iov, const RAMBlock *block, const MultifdPacket *p)
{
    for (unsigned i = 0; i < p->runs; i++) {
        iov[i] = (struct iovec){block->host + (p->run[i].first << TARGET_PAGE_BITS),
                                p->run[i].count << TARGET_PAGE_BITS};
    }
    return p->runs;
}

/* Payload of packet @index of the batch: appended to *iov. */
static bool put_payload(MultifdSendChannel *c, MultifdSlot *slot, unsigned index,
                        struct iovec **iov, GError **errp)
{
    MultifdPacket *p = &slot->packet;
    unsigned n = put_runs(*iov, slot->block, p);
    uint8_t *out = c->batch->coded + index * MULTIFD_CODED_MAX;

    p->payload = 0;
    if (n && p->flags & MULTIFD_CODEC_MASK) {
        if (!c->encoder->encode(c->encoder, *iov, n, out, &p->payload, errp)) {
            return false;
        }
        if (p->payload) {
            **iov = (struct iovec){out, p->payload};
            n = 1;
        } else {
            p->flags &= ~MULTIFD_CODEC_MASK;
        }
    }
    if (!p->payload) {
        p->payload = p->pages * MULTIFD_PAGE_SIZE;
    }
    *iov += n;
    return true;
}

static void count(MultifdSendChannel *c, uint64_t bytes, uint64_t packets, uint64_t pages)
{
    stat_add(&c->s->config.counters->multifd_bytes, bytes);
    stat_set(&c->bytes, c->bytes + bytes);
    stat_set(&c->packets, c->packets + packets);
    stat_set(&c->pages, c->pages + pages);
}

/* The kernel reads the pages when it likes; whoever sends them again waits for the SYNC. */
static bool write_zero_copy(MultifdSendChannel *c, const struct iovec *iov, const MultifdSlot *slot,
                            GError **errp)
{
    unsigned runs = slot->packet.runs;

    if (!io_channel_writev_all(c->ioc, iov, 1, errp) ||
        (runs && !io_channel_writev_all_flags(c->ioc, iov + 1, runs, IO_WRITE_ZERO_COPY, errp))) {
        return false;
    }
    if (slot->packet.flags & MULTIFD_FLAG_SYNC) {
        IOFlush result = io_channel_flush(c->ioc, errp);

        if (result == IO_FLUSH_COPIED) {
            stat_add(&c->s->config.counters->zero_copy_missed, 1);
            c->zero_copy = false;
        }
        return result != IO_FLUSH_ERROR;
    }
    return true;
}

static bool write_batch(MultifdSendChannel *c, unsigned first, unsigned n, unsigned niov,
                        GError **errp)
{
    const struct iovec *iov = c->batch->iov;

    if (!c->zero_copy) {
        return io_channel_writev_all(c->ioc, iov, niov, errp);
    }
    for (unsigned i = 0; i < n; i++) {
        const MultifdSlot *slot = &c->queue->slots[(first + i) % MULTIFD_QUEUE_SLOTS];

        if (!write_zero_copy(c, iov, slot, errp)) {
            return false;
        }
        iov += 1 + slot->packet.runs;
    }
    return true;
}

static bool send_slots(MultifdSendChannel *c, unsigned first, unsigned n, GError **errp)
{
    MultifdBatch *b = c->batch;
    struct iovec *iov = b->iov;
    uint64_t bytes = 0, pages = 0;
    int64_t begin;

    for (unsigned i = 0; i < n; i++) {
        MultifdSlot *slot = &c->queue->slots[(first + i) % MULTIFD_QUEUE_SLOTS];

        *iov++ = (struct iovec){b->headers[i], MULTIFD_HEADER_SIZE};
        if (!put_payload(c, slot, i, &iov, errp)) {
            return false;
        }
        multifd_encode_packet(&slot->packet, b->headers[i]);
        bytes += MULTIFD_HEADER_SIZE + slot->packet.payload;
        pages += slot->packet.pages;
    }
    begin = g_get_monotonic_time();
    if (!write_batch(c, first, n, iov - b->iov, errp)) {
        return false;
    }
    if (pages && c->encoder && c->encoder->sent) {
        c->encoder->sent(c->encoder, pages << MULTIFD_PAGE_BITS, bytes,
                         g_get_monotonic_time() - begin,
                         __atomic_load_n(&c->s->limit, __ATOMIC_RELAXED));
    }
    count(c, bytes, n, pages);
    return true;
}

static bool send_queue(MultifdSendChannel *c, GError **errp)
{
    unsigned first, n;

    while ((n = multifd_queue_wait(c->queue, &c->s->quit, &first))) {
        n = MIN(n, BATCH_PACKETS);
        if (!send_slots(c, first, n, errp)) {
            return false;
        }
        give_back(c, n);
    }
    return true;
}

static gpointer send_thread(gpointer opaque)
{
    MultifdSendChannel *c = opaque;
    GError *err = NULL;

    if (!send_queue(c, &err)) {
        channel_fail(c, err);
    }
    return NULL;
}

/* ---- life ---- */

bool multifd_introduce(QIOChannel *ioc, unsigned id, const uint8_t uuid[MULTIFD_UUID_SIZE],
                       GError **errp)
{
    MultifdInit init = {.id = id};
    uint8_t buf[MULTIFD_INIT_SIZE];

    memcpy(init.uuid, uuid, sizeof(init.uuid));
    multifd_encode_init(&init, buf);
    return io_channel_write_all(ioc, buf, sizeof(buf), errp);
}

static bool start_channel(MultifdSendChannel *c, GError **errp)
{
    g_autofree char *name = g_strdup_printf("mig/send/%u", c->id);

    c->batch = g_new(MultifdBatch, 1);
    c->batch->coded = NULL;
    if (c->s->codec) {
        c->encoder = c->s->codec->encoder(&c->s->config.codec, errp);
        if (!c->encoder) {
            return false;
        }
        c->batch->coded = g_malloc(BATCH_PACKETS * MULTIFD_CODED_MAX);
    }
    c->thread = g_thread_try_new(name, send_thread, c, errp);
    return c->thread != NULL;
}

MultifdSend *multifd_send_new(const MultifdSendConfig *config, GPtrArray *channels, GError **errp)
{
    MultifdSend *s = g_malloc0(sizeof(*s) + channels->len * sizeof(MultifdSendChannel));

    s->config = *config;
    s->codec = multifd_codec(config->codec.method);
    s->wake_at = MULTIFD_NO_WAKE;
    g_mutex_init(&s->lock);
    g_cond_init(&s->space);
    s->n = channels->len;
    for (unsigned i = 0; i < s->n; i++) {
        MultifdSendChannel *c = &s->channels[i];

        c->s = s;
        c->id = i;
        c->ioc = g_object_ref(g_ptr_array_index(channels, i));
        c->queue = multifd_queue_new();
        c->zero_copy = config->zero_copy;
        count(c, MULTIFD_INIT_SIZE, 0, 0);
    }
    g_ptr_array_unref(channels);
    for (unsigned i = 0; i < s->n; i++) {
        if (!start_channel(&s->channels[i], errp)) {
            g_prefix_error(errp, "multifd channel %u: ", i);
            multifd_send_shutdown(s);
            multifd_send_free(s);
            return NULL;
        }
    }
    return s;
}

static void free_channel(MultifdSendChannel *c)
{
    io_channel_close(c->ioc, NULL);
    g_object_unref(c->ioc);
    multifd_queue_free(c->queue);
    if (c->encoder) {
        c->encoder->free(c->encoder);
    }
    if (c->batch) {
        g_free(c->batch->coded);
        g_free(c->batch);
    }
}

void multifd_send_stop(MultifdSend *s)
{
    __atomic_store_n(&s->quit, true, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < s->n; i++) {
        multifd_queue_kick(s->channels[i].queue);
    }
    for (unsigned i = 0; i < s->n; i++) {
        if (s->channels[i].thread) {
            g_thread_join(g_steal_pointer(&s->channels[i].thread));
        }
    }
}

void multifd_send_free(MultifdSend *s)
{
    if (!s) {
        return;
    }
    multifd_send_stop(s);
    for (unsigned i = 0; i < s->n; i++) {
        free_channel(&s->channels[i]);
    }
    g_clear_error(&s->error);
    g_cond_clear(&s->space);
    g_mutex_clear(&s->lock);
    g_free(s);
}

uint64_t multifd_send_backlog(MultifdSend *s)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; i < s->n; i++) {
        bytes += io_channel_backlog(s->channels[i].ioc);
    }
    return bytes;
}

unsigned multifd_send_channels(const MultifdSend *s)
{
    return s->n;
}

void multifd_send_allow_losses(MultifdSend *s)
{
    g_mutex_lock(&s->lock);
    s->may_break = true;
    g_mutex_unlock(&s->lock);
}

bool multifd_send_peer_lost(MultifdSend *s, uint32_t value, GError **errp)
{
    GError *err = NULL;
    bool expected;

    g_mutex_lock(&s->lock);
    expected = s->may_break && (value < s->n || value == RP_CHANNELS_CHECKED);
    if (expected && value == RP_CHANNELS_CHECKED) {
        __atomic_store_n(&s->checks, s->checks + 1, __ATOMIC_SEQ_CST);
        g_cond_broadcast(&s->space);
    }
    g_mutex_unlock(&s->lock);
    if (!expected) {
        error_setg(errp, "The destination has lost multifd channel %u, which is none of %u", value,
                   s->n);
    } else if (value != RP_CHANNELS_CHECKED) {
        error_setg(&err, "The destination has lost it");
        channel_fail(&s->channels[value], err);
    }
    return expected;
}

void multifd_send_set_limit(MultifdSend *s, uint64_t bytes_per_second)
{
    /* Less than one each is not none. */
    uint64_t each = bytes_per_second ? MAX(bytes_per_second / s->n, 1) : 0;

    __atomic_store_n(&s->limit, each, __ATOMIC_RELAXED);
}

char *multifd_send_describe(MultifdSend *s, unsigned id)
{
    const MultifdSendChannel *c = &s->channels[id];

    g_autofree char *coding =
        c->encoder && c->encoder->describe ? c->encoder->describe(c->encoder) : NULL;

    return g_strdup_printf("multifd channel %u (%s): %" PRIu64 " bytes, %" PRIu64
                           " packets, %" PRIu64 " pages%s%s",
                           id, io_channel_name(c->ioc), stat_get(&c->bytes), stat_get(&c->packets),
                           stat_get(&c->pages), coding ? "; " : "", coding ? coding : "");
}
