/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The RamSink in front of the channels: runs become packets, packets go where there is room.
 *
 * A packet is filled in its slot of the queue. Long runs are dealt out in pieces that end at
 * multiples of 2 MiB, each to one channel: so the receiving threads fill different huge pages.
 */
#include "migration/multifd/carriers.h"
#include "migration/multifd/send.h"
#include "migration/wire/ram.h"
#include "migration/wire/stream.h"

#define CHUNK_PAGES UINT64_C(512)

typedef struct {
    RamSink base;
    MultifdSend *s;
    RamSink *stream;   /* of the main channel: zero pages, where they do not travel in packets */
    MultifdSlot *open; /* being filled, in the queue of channel @at; NULL: none */
    unsigned at;
    const RAMBlock *chunk_block; /* where the last packet ended: block and chunk */
    uint64_t chunk;
    uint64_t number; /* of the next packet */
    uint64_t queued; /* bytes accounted for the rate limit so far */
    bool new_pass;   /* pages sent before may come again: sync first */
    bool sync_each_section;
    MultifdCarriers *carriers; /* NULL: channels may not break */
    unsigned checks;           /* how often we asked what is lost */
} MultifdSink;

static MultifdSink *sink_of(RamSink *sink)
{
    return container_of(sink, MultifdSink, base);
}

/* ---- packets ---- */

static void publish(MultifdSink *k, QEMUFile *f)
{
    MultifdPacket *p = &k->open->packet;
    uint64_t bytes = MULTIFD_HEADER_SIZE + p->pages * MULTIFD_PAGE_SIZE;

    k->open = NULL;
    k->queued += bytes;
    qemu_file_account(f, bytes);
    multifd_queue_publish(k->s->channels[k->at].queue);
}

static void publish_open(MultifdSink *k, QEMUFile *f)
{
    if (k->open) {
        publish(k, f);
    }
}

/* The channel with the most room, in turn among equals. False: just now the last of those has
 * been lost. */
static bool freest_channel(MultifdSink *k)
{
    unsigned best = k->at, least = MULTIFD_QUEUE_SLOTS;

    for (unsigned i = 1; i <= k->s->n; i++) {
        unsigned id = (k->at + i) % k->s->n;
        unsigned used = multifd_queue_used(k->s->channels[id].queue);

        if (used < least && !multifd_is_lost(k->s, id)) {
            best = id;
            least = used;
        }
    }
    k->at = best;
    return least < MULTIFD_QUEUE_SLOTS;
}

/* Is there room in the queue of channel @at, and somebody who sends it? */
static bool may_stay(const MultifdSink *k)
{
    return !multifd_is_lost(k->s, k->at) &&
           multifd_queue_used(k->s->channels[k->at].queue) < MULTIFD_QUEUE_SLOTS;
}

/* A fresh packet in the queue of channel @at, which has room. */
static void begin_packet(MultifdSink *k, RAMBlock *block, uint32_t flags)
{
    MultifdSlot *slot = multifd_queue_slot(k->s->channels[k->at].queue);
    MultifdPacket *p = &slot->packet;

    slot->block = block;
    p->flags = flags;
    p->number = k->number++;
    p->block = block ? block->idstr : NULL;
    p->payload = 0;
    p->pages = p->zero_pages = p->runs = p->zero_runs = 0;
    k->open = slot;
}

/* The destination may be waiting for a marker that is still with us. */
static bool wait_until(MultifdSink *k, QEMUFile *f, MultifdReadyFn *ready, unsigned id,
                       GError **errp)
{
    if (!ready(k->s, id)) {
        qemu_fflush(f);
    }
    return multifd_send_wait(k->s, ready, id, errp);
}

/* Pages may be coded; a codec that mixes is ours alone. */
static uint32_t codec_flag(const MultifdSink *k)
{
    const MultifdCodec *codec = k->s->codec;

    return codec && (!codec->mixed || k->base.peer & PEER_ADAPTIVE) ? codec->flag : 0;
}

static bool open_packet(MultifdSink *k, QEMUFile *f, RAMBlock *block, uint64_t first, GError **errp)
{
    bool stay = block == k->chunk_block && first / CHUNK_PAGES == k->chunk;

    if (!stay || !may_stay(k)) {
        do {
            if (!wait_until(k, f, multifd_some_room, 0, errp)) {
                return false;
            }
        } while (!freest_channel(k));
    }
    begin_packet(k, block, codec_flag(k));
    return true;
}

static bool add_run(MultifdSink *k, QEMUFile *f, RAMBlock *block, uint64_t first, uint64_t count,
                    bool zero, GError **errp)
{
    while (count) {
        uint64_t edge = CHUNK_PAGES - first % CHUNK_PAGES, n;
        MultifdPacket *p;

        if (k->open && k->open->block != block) {
            publish(k, f);
        }
        if (!k->open && !open_packet(k, f, block, first, errp)) {
            return false;
        }
        p = &k->open->packet;
        n = MIN(MIN(count, edge), MULTIFD_PACKET_PAGES - p->pages - p->zero_pages);
        if (zero) {
            multifd_add_pages(p->zero, &p->zero_runs, first, n);
            p->zero_pages += n;
        } else {
            multifd_add_pages(p->run, &p->runs, first, n);
            p->pages += n;
        }
        if (k->carriers) {
            multifd_carriers_note(k->carriers, block, first, n, k->at);
        }
        k->chunk_block = block;
        k->chunk = first / CHUNK_PAGES;
        first += n;
        count -= n;
        if (p->pages + p->zero_pages == MULTIFD_PACKET_PAGES ||
            (n == edge && count >= MULTIFD_PACKET_PAGES)) {
            publish(k, f);
        }
    }
    return multifd_send_check(k->s, errp);
}

/* ---- syncs ---- */

static void put_lost(QEMUFile *f, unsigned number)
{
    qemu_put_be64(f, (uint64_t)number << TARGET_PAGE_BITS | RAM_FLAG_LOST_CHANNEL);
}

/* Nothing older than the pages that are sent again shall come from them: the next marker sees to
 * it. */
static void tell_lost(MultifdSink *k, QEMUFile *f)
{
    int id;

    while (k->carriers && (id = multifd_carriers_untold(k->carriers)) >= 0) {
        put_lost(f, id);
    }
}

/* A SYNC behind everything queued, on every channel that works. */
static bool sync_channels(MultifdSink *k, QEMUFile *f, GError **errp)
{
    publish_open(k, f);
    k->new_pass = false;
    tell_lost(k, f);
    for (unsigned i = 0; i < k->s->n; i++) {
        if (!wait_until(k, f, multifd_room_in, i, errp)) {
            return false;
        }
        k->at = i;
        if (may_stay(k)) {
            begin_packet(k, NULL, MULTIFD_FLAG_SYNC);
            publish(k, f);
        }
    }
    return true;
}

/* The sync has its own marker, behind all that was before it in the main channel too. */
static bool sync_pass(MultifdSink *k, QEMUFile *f, GError **errp)
{
    if (!k->stream->ops->end_round(k->stream, f, false, errp) || !sync_channels(k, f, errp)) {
        return false;
    }
    qemu_put_be64(f, RAM_FLAG_MULTIFD_FLUSH);
    return true;
}

static bool sync_before_resend(MultifdSink *k, QEMUFile *f, GError **errp)
{
    return !k->new_pass || k->sync_each_section || sync_pass(k, f, errp);
}

/* ---- lost channels ---- */

/* Until the destination has told what was lost on the way to it. */
static bool ask_what_is_lost(MultifdSink *k, QEMUFile *f, GError **errp)
{
    if (!sync_pass(k, f, errp)) {
        return false;
    }
    put_lost(f, RAM_CHANNELS_CHECK);
    return wait_until(k, f, multifd_checked, ++k->checks, errp);
}

static bool sink_take_back(RamSink *sink, QEMUFile *f, RamAgain *again, void *opaque, GError **errp)
{
    MultifdSink *k = sink_of(sink);

    if (!k->carriers) {
        return true;
    }
    if (f && !ask_what_is_lost(k, f, errp)) {
        return false;
    }
    for (unsigned i = 0; i < k->s->n; i++) {
        if (multifd_is_lost(k->s, i) && multifd_carriers_lose(k->carriers, i, again, opaque)) {
            k->new_pass = true;
        }
    }
    return true;
}

/* ---- RamSink ---- */

static bool sink_setup(RamSink *sink, QEMUFile *f, GError **errp)
{
    MultifdSink *k = sink_of(sink);

    if (!k->stream->ops->setup(k->stream, f, errp)) {
        return false;
    }
    if (k->s->config.may_break && sink->peer & PEER_LOST_CHANNEL) {
        put_lost(f, RAM_CHANNELS_MAY_BREAK);
        k->carriers = multifd_carriers_new(k->s->n);
        multifd_send_allow_losses(k->s);
    }
    k->sync_each_section = k->s->config.sync_each_section && !k->carriers;
    /* Receivers may not touch memory before the list of blocks: hold them here until it is read. */
    return k->sync_each_section ? sync_channels(k, f, errp) : sync_pass(k, f, errp);
}

static bool sink_send_run(RamSink *sink, QEMUFile *f, RAMBlock *block, uint64_t first,
                          uint64_t count, GError **errp)
{
    MultifdSink *k = sink_of(sink);

    return sync_before_resend(k, f, errp) && add_run(k, f, block, first, count, false, errp);
}

static bool sink_send_zero_run(RamSink *sink, QEMUFile *f, RAMBlock *block, uint64_t first,
                               uint64_t count, GError **errp)
{
    MultifdSink *k = sink_of(sink);

    if (!sync_before_resend(k, f, errp)) {
        return false;
    }
    k->stream->peer = sink->peer;
    if (k->carriers) {
        multifd_carriers_forget(k->carriers, block, first, count);
    }
    return k->s->config.zero_in_packets && !(sink->peer & PEER_ZERO_RUN)
               ? add_run(k, f, block, first, count, true, errp)
               : k->stream->ops->send_zero_run(k->stream, f, block, first, count, errp);
}

static void sink_new_pass(RamSink *sink)
{
    sink_of(sink)->new_pass = true;
}

static bool sink_end_round(RamSink *sink, QEMUFile *f, bool last, GError **errp)
{
    MultifdSink *k = sink_of(sink);
    uint64_t sent;

    if (!k->stream->ops->end_round(k->stream, f, last, errp)) {
        return false;
    }
    publish_open(k, f);
    if ((k->sync_each_section && !sync_channels(k, f, errp)) ||
        (!k->sync_each_section && last && !sync_pass(k, f, errp)) ||
        !wait_until(k, f, multifd_all_sent, 0, errp)) {
        return false;
    }
    /* What a codec has saved may be used in this window after all. */
    sent = stat_get(&k->s->config.counters->multifd_bytes);
    qemu_file_account(f, sent - k->queued);
    k->queued = sent;
    return true;
}

static void sink_cleanup(RamSink *sink)
{
    MultifdSink *k = sink_of(sink);

    k->stream->ops->cleanup(k->stream);
    multifd_carriers_free(k->carriers);
    g_free(k);
}

static void sink_forget_block(RamSink *sink)
{
    MultifdSink *k = sink_of(sink);

    k->stream->ops->forget_block(k->stream);
}

static const RamSinkOps sink_ops = {
    .name = "multifd",
    .setup = sink_setup,
    .send_run = sink_send_run,
    .send_zero_run = sink_send_zero_run,
    .new_pass = sink_new_pass,
    .take_back = sink_take_back,
    .end_round = sink_end_round,
    .cleanup = sink_cleanup,
    .forget_block = sink_forget_block,
};

RamSink *multifd_sink_new(MultifdSend *s)
{
    MultifdSink *k = g_new0(MultifdSink, 1);

    k->base.ops = &sink_ops;
    k->s = s;
    k->stream = ram_sink_stream_new();
    return &k->base;
}
