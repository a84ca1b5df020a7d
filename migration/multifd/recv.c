/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The destination's channels: one thread each reads packets, pages straight into their place.
 *
 * Everything in a packet is the peer's word. A channel that fails takes all others with it and
 * wakes whoever waits at a marker, so a broken peer ends the migration and never hangs it.
 */
#include "migration/multifd/recv.h"
#include "migration/ram/ram.h"
#include "util/iov.h"
#include "util/log.h"

LOG_CATEGORY(multifd)

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

/* The order in which stock receivers apply them: zero pages, then data. */
static bool place_packet(MultifdRecvChannel *c, GError **errp)
{
    MultifdPacket *p = &c->packet;
    unsigned pages = p->pages;

    if (multifd_recv_is_retired(c->r)) {
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
        if ((p->flags & MULTIFD_FLAG_SYNC) && !multifd_recv_await_marker(c)) {
            return true;
        }
    }
    if (got == 0) {
        multifd_recv_lose(c, NULL);
    }
    return got == 0;
}

static gpointer recv_thread(gpointer opaque)
{
    MultifdRecvChannel *c = opaque;
    GError *err = NULL;

    if (!receive(c, &err)) {
        if (multifd_recv_is_retired(c->r) && !c->late) {
            trace(multifd, "retired channel %u: %s", c->id, err->message);
            g_error_free(err);
        } else if (!c->broken || !multifd_recv_lose(c, err)) {
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
