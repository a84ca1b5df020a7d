/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The destination's channels: one thread each reads packets, pages straight into their place.
 *
 * Everything in a packet is the peer's word. A channel that fails takes all others with it and
 * wakes whoever waits at a marker, so a broken peer ends the migration and never hangs it.
 */
#include "migration/multifd/multifd.h"
#include "migration/ram/ram.h"
#include "migration/wire/ram.h"
#include "util/iov.h"
#include "util/log.h"

LOG_CATEGORY(multifd)

/* So often within config.patience_ms who waits looks whether anything comes. */
#define PATIENCE_LOOKS 8

typedef struct {
    MultifdRecv *r;
    unsigned id;
    QIOChannel *ioc;
    GThread *thread;
    MultifdDecoder *decoder; /* NULL: plain bytes */
    uint8_t *coded;          /* MULTIFD_PAYLOAD_MAX, with a decoder */
    RAMBlock *block;         /* of the last packet with pages */
    uint8_t header[MULTIFD_HEADER_SIZE];
    size_t ahead; /* bytes of the next header that came with the last payload */
    MultifdPacket packet;
    struct iovec iov[MULTIFD_PACKET_PAGES + 1];
    uint64_t bytes, packets, pages; /* received so far; atomic, written by the thread */
    bool placing;                   /* atomic: the thread is at a page */
    bool late;                      /* the thread's: there was one although all were retired */
    bool broken;                    /* the thread's: it was the line that failed */

    /* With MultifdRecv.lock. */
    uint64_t syncs; /* SYNC packets that came, all before them is in place */
    bool lost;      /* nothing more comes: closed between two packets, or broken and that is fine */
    GError *error;  /* why it broke */
    bool ended;     /* lost, and the source has been told if it is interested */
    bool given_up;  /* the source has lost it, and sends again what was on it */
    bool silent;    /* we have, because others had to wait for it */
    uint64_t seen_bytes; /* while the loader waits at a marker: where it was, */
    int64_t seen_us;     /* and since when; 0: not looked yet */
} MultifdRecvChannel;

struct MultifdRecv {
    MultifdRecvConfig config;
    const MultifdCodec *codec;
    /* Set before the first marker, used by channels after it. */
    RAMList *list;
    bool ignore_shared;
    RamPlacer *placer;
    bool retired; /* atomic: no more pages */

    GMutex lock;   /* protects all below */
    GCond arrived; /* a channel is at its SYNC, or will never be */
    GCond released;
    uint64_t markers; /* channels may go on behind so many SYNCs */
    bool mode_known, per_pass;
    bool may_break; /* the loss of a channel is no failure while another is left */
    unsigned lost;
    bool cut;
    GError *error;

    MultifdRecvChannel *channels[]; /* by number; NULL: not there yet */
};

/* ---- failure ---- */

/* True: nobody was faster. */
static bool cut_all(MultifdRecv *r, const GError *err)
{
    bool first;

    g_mutex_lock(&r->lock);
    first = !r->cut;
    r->cut = true;
    if (first && err) {
        r->error = g_error_copy(err);
    }
    g_cond_broadcast(&r->arrived);
    g_cond_broadcast(&r->released);
    for (unsigned i = 0; i < r->config.channels; i++) {
        if (r->channels[i]) {
            io_channel_shutdown(r->channels[i]->ioc, IO_SHUTDOWN_BOTH);
        }
    }
    g_mutex_unlock(&r->lock);
    return first;
}

bool multifd_recv_shutdown(MultifdRecv *r)
{
    return cut_all(r, NULL);
}

/* Takes @err. */
static void channel_fail(MultifdRecvChannel *c, GError *err)
{
    MultifdRecv *r = c->r;

    g_prefix_error(&err, "multifd channel %u (%s), packet %" PRIu64 " at offset %" PRIu64 ": ",
                   c->id, io_channel_name(c->ioc), c->packets, c->bytes);
    if (cut_all(r, err)) {
        r->config.failed(err, r->config.opaque);
    } else {
        g_error_free(err);
    }
}

/* ---- reading ---- */

static void count_bytes(MultifdRecvChannel *c, uint64_t bytes)
{
    stat_set(&c->bytes, c->bytes + bytes);
}

/*
 * Fill c->iov[0..n). What has already come behind that is the start of the next header, read along
 * with the same call.
 */
static bool read_payload(MultifdRecvChannel *c, unsigned n, GError **errp)
{
    struct iovec *iov = c->iov;
    size_t left = iov_size(iov, n);

    iov[n++] = (struct iovec){c->header, MULTIFD_HEADER_SIZE};
    for (;;) {
        ssize_t got = io_channel_readv(c->ioc, iov, n, errp);

        if (got <= 0) {
            if (got == 0) {
                error_setg(errp, "Unexpected end of stream inside a packet");
            }
            c->broken = true;
            return false;
        }
        count_bytes(c, MIN((size_t)got, left));
        if ((size_t)got >= left) {
            c->ahead = got - left;
            return true;
        }
        left -= got;
        iov_discard_front(&iov, &n, got);
    }
}

/* 1, or 0 at an end of the stream between two packets, or -1. */
static int read_header(MultifdRecvChannel *c, GError **errp)
{
    struct iovec iov = {c->header + c->ahead, MULTIFD_HEADER_SIZE - c->ahead};
    int got = 1;

    if (iov.iov_len) {
        got = io_channel_readv_all_eof(c->ioc, &iov, 1, errp);
        if (got == 0 && c->ahead) {
            error_setg(errp, "Unexpected end of stream inside a header");
            got = -1;
        }
    }
    c->ahead = 0;
    c->broken = got < 0;
    if (got == 1) {
        count_bytes(c, MULTIFD_HEADER_SIZE);
    }
    return got;
}

/* ---- placing ---- */

static bool find_block(MultifdRecvChannel *c, GError **errp)
{
    const char *name = c->packet.block;

    if (!c->block || strcmp(c->block->idstr, name) != 0) {
        c->block = ram_block_for_load(c->r->list, name, c->r->ignore_shared, errp);
    }
    return c->block;
}

static bool check_runs(const RAMBlock *block, const MultifdRun *run, unsigned runs, GError **errp)
{
    uint64_t pages = ram_block_pages(block);

    for (unsigned i = 0; i < runs; i++) {
        if (run[i].first >= pages || run[i].count > pages - run[i].first) {
            error_setg(errp,
                       "multifd: pages 0x%" PRIx64 " to 0x%" PRIx64
                       " are not inside ramblock \"%s\" of 0x%" PRIx64 " pages",
                       run[i].first, run[i].first + run[i].count - 1, block->idstr, pages);
            return false;
        }
    }
    return true;
}

static bool check_codec(MultifdRecvChannel *c, GError **errp)
{
    uint32_t expected = c->r->codec ? c->r->codec->flag : 0;
    uint32_t flags = c->packet.flags & MULTIFD_CODEC_MASK;

    if (flags != expected && !(flags == 0 && c->r->codec->mixed)) {
        error_setg(errp,
                   "multifd %u: flags received %x flags expected %x: is 'multifd-compression' the "
                   "same on both sides?",
                   c->id, flags, expected);
        return false;
    }
    if (flags && c->packet.payload > MULTIFD_PAYLOAD_MAX) {
        error_setg(errp, "multifd: %u bytes of compressed pages, but no packet has more than %u",
                   c->packet.payload, (unsigned)MULTIFD_PAYLOAD_MAX);
        return false;
    }
    return true;
}

static bool place_zero_runs(MultifdRecvChannel *c, GError **errp)
{
    RamPlacer *placer = c->r->placer;

    for (unsigned i = 0; i < c->packet.zero_runs; i++) {
        const MultifdRun *run = &c->packet.zero[i];

        if (!placer->ops->place_fill(placer, c->block, run->first, run->count, 0, errp)) {
            return false;
        }
    }
    return true;
}

/* Where the data pages go. */
static bool target_pages(MultifdRecvChannel *c, struct iovec *iov, GError **errp)
{
    RamPlacer *placer = c->r->placer;

    for (unsigned i = 0; i < c->packet.runs; i++) {
        const MultifdRun *run = &c->packet.run[i];
        void *host = placer->ops->direct(placer, c->block, run->first, run->count);

        if (!host) {
            error_setg(errp, "multifd: pages on a channel, but memory is filled otherwise now");
            return false;
        }
        iov[i] = (struct iovec){host, run->count << TARGET_PAGE_BITS};
    }
    return true;
}

static bool read_coded(MultifdRecvChannel *c, GError **errp)
{
    struct iovec pages[MULTIFD_PACKET_PAGES];

    c->iov[0] = (struct iovec){c->coded, c->packet.payload};
    return read_payload(c, 1, errp) && target_pages(c, pages, errp) &&
           c->decoder->decode(c->decoder, c->coded, c->packet.payload, pages, c->packet.runs, errp);
}

static bool is_retired(MultifdRecv *r)
{
    return __atomic_load_n(&r->retired, __ATOMIC_SEQ_CST);
}

/* The order in which stock receivers apply them: zero pages, then data. */
static bool place_packet(MultifdRecvChannel *c, GError **errp)
{
    MultifdPacket *p = &c->packet;
    unsigned pages = p->pages;

    if (is_retired(c->r)) {
        c->late = true;
        error_setg(errp, "multifd: pages after the switch to postcopy");
        return false;
    }
    if (!c->syncs || !c->r->placer) {
        error_setg(errp, "multifd: pages before the list of RAM blocks");
        return false;
    }
    if (!find_block(c, errp) || !check_runs(c->block, p->run, p->runs, errp) ||
        !check_runs(c->block, p->zero, p->zero_runs, errp) || !check_codec(c, errp) ||
        !place_zero_runs(c, errp)) {
        return false;
    }
    if (pages && !(p->flags & MULTIFD_CODEC_MASK
                       ? read_coded(c, errp)
                       : target_pages(c, c->iov, errp) && read_payload(c, p->runs, errp))) {
        return false;
    }
    stat_set(&c->pages, c->pages + pages);
    return true;
}

/* Either we see that the channels are retired, or who retires them sees us. */
static bool place_in_time(MultifdRecvChannel *c, GError **errp)
{
    bool ok;

    __atomic_store_n(&c->placing, true, __ATOMIC_SEQ_CST);
    ok = place_packet(c, errp);
    __atomic_store_n(&c->placing, false, __ATOMIC_SEQ_CST);
    return ok;
}

/* ---- syncs ---- */

/* All before this SYNC is in place: wait for the marker. False: it will not come. */
static bool wait_for_marker(MultifdRecvChannel *c)
{
    MultifdRecv *r = c->r;
    bool go_on;

    g_mutex_lock(&r->lock);
    c->syncs++;
    g_cond_signal(&r->arrived);
    while (r->markers < c->syncs && !r->cut && !r->retired) {
        g_cond_wait(&r->released, &r->lock);
    }
    go_on = !r->cut;
    g_mutex_unlock(&r->lock);
    return go_on;
}

/* Does the marker concern the channels? With the lock held. */
static bool is_marker(MultifdRecv *r, bool flush, GError **errp)
{
    if (!r->mode_known) {
        /* The first section: a record of its own comes before the section's end. */
        r->mode_known = true;
        r->per_pass = flush;
    }
    if (flush && !r->per_pass) {
        error_setg(errp, "A multifd flush record, although sections have been markers so far");
        return false;
    }
    return flush == r->per_pass;
}

/* With the lock held: is every channel at SYNC @number, or past all hope? */
static bool all_arrived(MultifdRecv *r, uint64_t number, GError **errp)
{
    for (unsigned i = 0; i < r->config.channels; i++) {
        const MultifdRecvChannel *c = r->channels[i];
        bool missing = c && c->syncs < number && c->ended;

        if (missing && r->may_break && r->lost < r->config.channels) {
            continue;
        }
        if (missing) {
            error_setg(errp,
                       "multifd channel %u (%s) ended at offset %" PRIu64
                       " before its SYNC packet %" PRIu64 "%s%s",
                       i, io_channel_name(c->ioc), stat_get(&c->bytes), number,
                       c->error ? ": " : "", c->error ? c->error->message : "");
            return true;
        }
        if (!c || c->syncs < number) {
            return false;
        }
    }
    return true;
}

/* With the lock held: cut the channels that are silent although others wait at SYNC @number. */
static void give_up_silent(MultifdRecv *r, uint64_t number)
{
    int64_t now = g_get_monotonic_time();
    int64_t patience = r->config.patience_ms * G_TIME_SPAN_MILLISECOND;
    bool others_wait = false;

    for (unsigned i = 0; i < r->config.channels; i++) {
        const MultifdRecvChannel *c = r->channels[i];

        others_wait |= c && c->syncs >= number && !c->lost;
    }
    for (unsigned i = 0; i < r->config.channels && others_wait; i++) {
        MultifdRecvChannel *c = r->channels[i];
        uint64_t bytes = c ? stat_get(&c->bytes) : 0;

        if (!c || c->syncs >= number || c->lost) {
            continue;
        }
        if (!c->seen_us || bytes != c->seen_bytes) {
            c->seen_bytes = bytes;
            c->seen_us = now;
        } else if (now - c->seen_us > patience) {
            c->silent = true;
            io_channel_shutdown(c->ioc, IO_SHUTDOWN_BOTH);
        }
    }
}

/* With the lock held: sleep until something is different. */
static void wait_for_channels(MultifdRecv *r, uint64_t number)
{
    int64_t look =
        g_get_monotonic_time() + r->config.patience_ms * G_TIME_SPAN_MILLISECOND / PATIENCE_LOOKS;

    if (!r->may_break) {
        g_cond_wait(&r->arrived, &r->lock);
    } else if (!g_cond_wait_until(&r->arrived, &r->lock, look)) {
        give_up_silent(r, number);
    }
}

static bool await_channels(MultifdRecv *r, GError **errp)
{
    GError *err = NULL;
    uint64_t number = r->markers + 1;

    for (unsigned i = 0; i < r->config.channels; i++) {
        if (r->channels[i]) {
            r->channels[i]->seen_us = 0;
        }
    }
    while (!r->cut && !all_arrived(r, number, &err)) {
        wait_for_channels(r, number);
    }
    if (!err && r->error) {
        err = g_error_copy(r->error);
    } else if (!err && r->cut) {
        error_setg(&err, "The multifd channels were shut down");
    }
    if (err) {
        g_propagate_error(errp, err);
        return false;
    }
    r->markers = number;
    g_cond_broadcast(&r->released);
    return true;
}

bool multifd_recv_marker(MultifdRecv *r, bool flush, GError **errp)
{
    GError *err = NULL;
    bool ok;

    g_mutex_lock(&r->lock);
    ok = is_marker(r, flush, &err) ? await_channels(r, &err) : !err;
    g_mutex_unlock(&r->lock);
    if (err) {
        g_propagate_error(errp, err);
    }
    return ok;
}

/* ---- lost channels ---- */

static void tell_lost(MultifdRecvChannel *c)
{
    MultifdRecv *r = c->r;
    GError *err = c->error ? g_error_copy(c->error) : NULL;

    if (!err) {
        error_setg(&err, "The other side closed it");
    }
    g_prefix_error(&err, "multifd channel %u (%s) at offset %" PRIu64 ": %s", c->id,
                   io_channel_name(c->ioc), stat_get(&c->bytes),
                   c->silent ? "Others had to wait too long for it ('x-multifd-patience'): " : "");
    r->config.lost(c->id, err, r->config.opaque);
    g_error_free(err);
}

void multifd_recv_may_break(MultifdRecv *r)
{
    g_autoptr(GPtrArray) lost = g_ptr_array_new();

    g_mutex_lock(&r->lock);
    r->may_break = true;
    for (unsigned i = 0; i < r->config.channels; i++) {
        if (r->channels[i] && r->channels[i]->lost) {
            g_ptr_array_add(lost, r->channels[i]);
        }
    }
    g_mutex_unlock(&r->lock);
    g_ptr_array_foreach(lost, (GFunc)(void (*)(void))tell_lost, NULL);
}

bool multifd_recv_given_up(MultifdRecv *r, uint64_t number, GError **errp)
{
    bool ok = false;

    g_mutex_lock(&r->lock);
    if (r->may_break && number < r->config.channels && r->channels[number]) {
        r->channels[number]->given_up = ok = true;
        io_channel_shutdown(r->channels[number]->ioc, IO_SHUTDOWN_BOTH);
    }
    g_mutex_unlock(&r->lock);
    if (!ok) {
        error_setg(errp, "The source has lost multifd channel %" PRIu64 ", which is none of %u",
                   number, r->config.channels);
    }
    return ok;
}

/*
 * The line is gone: closed between two packets (@err NULL), or broken. False: that ends the
 * migration now. Otherwise @err is taken; who waits for a SYNC on it hears that none will come,
 * and if that is fine, the source hears it first.
 */
static bool lose_channel(MultifdRecvChannel *c, GError *err)
{
    MultifdRecv *r = c->r;
    bool fine, tell;

    g_mutex_lock(&r->lock);
    /* Whether channels may break is known with the first marker. */
    fine =
        !r->cut && (!err || !r->mode_known || (r->may_break && r->lost + 1 < r->config.channels));
    tell = fine && r->may_break && !c->given_up;
    if (fine) {
        c->error = err;
        c->lost = true;
        r->lost++;
        c->ended = !tell;
    }
    g_cond_signal(&r->arrived);
    g_mutex_unlock(&r->lock);
    if (tell) {
        tell_lost(c);
        g_mutex_lock(&r->lock);
        c->ended = true;
        g_cond_signal(&r->arrived);
        g_mutex_unlock(&r->lock);
    }
    return fine || !err;
}

/* ---- a channel's thread ---- */

/* False: *errp. */
static bool receive(MultifdRecvChannel *c, GError **errp)
{
    int got;

    while ((got = read_header(c, errp)) > 0) {
        MultifdPacket *p = &c->packet;

        if (!multifd_decode_packet(c->header, p, errp) ||
            ((p->pages || p->zero_pages) && !place_in_time(c, errp))) {
            return false;
        }
        stat_set(&c->packets, c->packets + 1);
        if ((p->flags & MULTIFD_FLAG_SYNC) && !wait_for_marker(c)) {
            return true;
        }
    }
    if (got == 0) {
        lose_channel(c, NULL);
    }
    return got == 0;
}

static gpointer recv_thread(gpointer opaque)
{
    MultifdRecvChannel *c = opaque;
    GError *err = NULL;

    if (!receive(c, &err)) {
        if (is_retired(c->r) && !c->late) {
            trace(multifd, "retired channel %u: %s", c->id, err->message);
            g_error_free(err);
        } else if (!c->broken || !lose_channel(c, err)) {
            channel_fail(c, err);
        }
    }
    return NULL;
}

/* ---- life ---- */

MultifdRecv *multifd_recv_new(const MultifdRecvConfig *config)
{
    MultifdRecv *r = g_malloc0(sizeof(*r) + config->channels * sizeof(MultifdRecvChannel *));

    r->config = *config;
    r->codec = multifd_codec(config->codec.method);
    g_mutex_init(&r->lock);
    g_cond_init(&r->arrived);
    g_cond_init(&r->released);
    return r;
}

static bool start_channel(MultifdRecvChannel *c, GError **errp)
{
    g_autofree char *name = g_strdup_printf("mig/recv/%u", c->id);

    if (c->r->codec) {
        c->decoder = c->r->codec->decoder(errp);
        if (!c->decoder) {
            return false;
        }
        c->coded = g_malloc(MULTIFD_PAYLOAD_MAX);
    }
    c->thread = g_thread_try_new(name, recv_thread, c, errp);
    return c->thread != NULL;
}

void multifd_recv_add(MultifdRecv *r, unsigned id, QIOChannel *ioc)
{
    MultifdRecvChannel *c = g_new0(MultifdRecvChannel, 1);
    GError *err = NULL;
    bool cut;

    c->r = r;
    c->id = id;
    c->ioc = ioc;
    g_mutex_lock(&r->lock);
    g_assert(!r->channels[id]);
    r->channels[id] = c;
    cut = r->cut;
    g_mutex_unlock(&r->lock);
    if (!cut && !start_channel(c, &err)) {
        channel_fail(c, err);
    }
}

void multifd_recv_bind(MultifdRecv *r, RAMList *list, bool ignore_shared, RamPlacer *placer)
{
    g_mutex_lock(&r->lock);
    r->list = list;
    r->ignore_shared = ignore_shared;
    r->placer = placer;
    g_mutex_unlock(&r->lock);
}

static void free_channel(MultifdRecvChannel *c)
{
    if (!c) {
        return;
    }
    io_channel_close(c->ioc, NULL);
    g_object_unref(c->ioc);
    if (c->decoder) {
        c->decoder->free(c->decoder);
    }
    g_clear_error(&c->error);
    g_free(c->coded);
    g_free(c);
}

bool multifd_recv_retire(MultifdRecv *r, GError **errp)
{
    bool placing = false;

    g_mutex_lock(&r->lock);
    __atomic_store_n(&r->retired, true, __ATOMIC_SEQ_CST);
    g_cond_broadcast(&r->released);
    for (unsigned i = 0; i < r->config.channels; i++) {
        const MultifdRecvChannel *c = r->channels[i];

        placing |= c && __atomic_load_n(&c->placing, __ATOMIC_SEQ_CST);
    }
    g_mutex_unlock(&r->lock);
    if (placing) {
        multifd_recv_stop(r);
        error_setg(errp, "multifd: pages in the middle of the switch to postcopy");
    }
    return !placing;
}

unsigned multifd_recv_channels(const MultifdRecv *r)
{
    return r->config.channels;
}

void multifd_recv_stop(MultifdRecv *r)
{
    multifd_recv_shutdown(r);
    for (unsigned i = 0; i < r->config.channels; i++) {
        if (r->channels[i] && r->channels[i]->thread) {
            g_thread_join(g_steal_pointer(&r->channels[i]->thread));
        }
    }
}

void multifd_recv_free(MultifdRecv *r)
{
    if (!r) {
        return;
    }
    multifd_recv_stop(r);
    for (unsigned i = 0; i < r->config.channels; i++) {
        free_channel(r->channels[i]);
    }
    g_clear_error(&r->error);
    g_cond_clear(&r->released);
    g_cond_clear(&r->arrived);
    g_mutex_clear(&r->lock);
    g_free(r);
}

char *multifd_recv_describe(MultifdRecv *r, unsigned id)
{
    const MultifdRecvChannel *c = r->channels[id];

    return c ? g_strdup_printf("multifd channel %u (%s): %" PRIu64 " bytes, %" PRIu64
                               " packets, %" PRIu64 " pages",
                               id, io_channel_name(c->ioc), stat_get(&c->bytes),
                               stat_get(&c->packets), stat_get(&c->pages))
             : g_strdup_printf("multifd channel %u never came", id);
}
