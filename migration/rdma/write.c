/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * RamSink over RDMA: runs of pages become WRITEs (spec 50 sections 5 to 8).
 *
 *   run in a span whose key is known   joined with its neighbours, written
 *   run in another span                put aside; when BATCH_SPANS spans are wanted, one request
 *                                      registers them all (QEMU: one each), then they are written
 *   zero run                           a range to clear, many in one message (QEMU: one each);
 *                                      short ones in known spans are cheaper as data
 *
 * A page may leave any time until the round ends, so putting it aside is free. WRITEs of one span
 * are under way while the next is being registered. They need not be waited for: the adapter
 * delivers them before the REGISTER_FINISHED behind them.
 */
#include "migration/rdma/channel.h"
#include "migration/wire/ram.h"

/* Spans per request to a peer that answers several at once. */
#define BATCH_SPANS 16
/* Put aside at most, whatever spans they are in. */
#define MAX_ASIDE 4096
#define MAX_ZEROS 1024
/* A longer zero run costs less as a message than as data. */
#define ZERO_AS_DATA (128 * KiB)
/* Runs are joined up to this; beyond it a WRITE gains nothing, and the adapter could be at work. */
#define MAX_WRITE (4 * MiB)

typedef struct {
    unsigned block;
    uint64_t offset, len;
} Piece;

typedef struct {
    RamSink base;
    RdmaChannel *ch;
    RdmaConnection *c;
    RdmaMemory *memory;
    MigrationCounters *counters;
    uint64_t max_write;
    unsigned batch_spans, batch_zeros;

    bool open; /* a registration phase */
    RAMBlock *last;
    unsigned last_index;
    Piece joined;    /* to be written next; len 0: nothing */
    GArray *aside;   /* Piece, in spans not registered yet */
    unsigned wanted; /* how many spans that are */
    GArray *zeros;   /* Piece, to be cleared */
    GArray *cleared; /* Piece, of the COMPRESS that the peer may still be working on */
} RdmaSink;

static RdmaSink *sink_of(RamSink *s)
{
    return container_of(s, RdmaSink, base);
}

/* ---- phases ---- */

/* Stream bytes rest until close_phase(). */
static bool open_phase(RdmaSink *s, QEMUFile *f, GError **errp)
{
    if (s->open) {
        return true;
    }
    qemu_put_be64(f, RAM_FLAG_HOOK);
    s->open = qemu_fflush(f);
    return s->open || qemu_file_check(f, errp);
}

static bool send_command(RdmaSink *s, RdmaMessageType type, GError **errp)
{
    return rdma_take_credit(s->c, errp) && rdma_send_empty(s->c, type, errp);
}

/* ---- data ---- */

/* The peer clears ranges when it reads the message: no WRITE may overtake that. */
static bool settle_cleared(RdmaSink *s, const Piece *p, GError **errp)
{
    for (unsigned i = 0; i < s->cleared->len; i++) {
        const Piece *z = &g_array_index(s->cleared, Piece, i);

        if (z->block == p->block && z->offset < p->offset + p->len &&
            p->offset < z->offset + z->len) {
            while (!s->c->credits) {
                if (!rdma_pump(s->c, true, errp)) {
                    return false;
                }
            }
            g_array_set_size(s->cleared, 0);
        }
    }
    return true;
}

static bool write_piece(RdmaSink *s, const Piece *p, GError **errp)
{
    RdmaMemory *m = s->memory;
    RdmaBlock *b = &m->blocks[p->block];
    RdmaSpan *span = rdma_span_at(m, b, p->offset);
    uint32_t lkey = m->pin_all ? b->whole.lkey : span->local.lkey;
    uint32_t rkey = m->pin_all ? b->peer.rkey : span->rkey;

    if (!settle_cleared(s, p, errp)) {
        return false;
    }
    stat_add(&s->counters->rdma_bytes, p->len);
    return rdma_post_write(s->c, b->block->host + p->offset, p->len, lkey, b->peer.host + p->offset,
                           rkey, errp);
}

static bool flush_joined(RdmaSink *s, GError **errp)
{
    Piece p = s->joined;

    s->joined.len = 0;
    return !p.len || write_piece(s, &p, errp);
}

/* @p lies in one span, whose key is known. */
static bool join(RdmaSink *s, const Piece *p, GError **errp)
{
    Piece *j = &s->joined;
    Piece rest = *p;

    if (j->len && j->block == p->block && j->offset + j->len == p->offset &&
        rdma_span_start(s->memory, j->offset) == rdma_span_start(s->memory, p->offset) &&
        j->len + p->len <= s->max_write) {
        j->len += p->len;
        return true;
    }
    if (!flush_joined(s, errp)) {
        return false;
    }
    while (rest.len > s->max_write) {
        Piece part = rest;

        part.len = s->max_write;
        if (!write_piece(s, &part, errp)) {
            return false;
        }
        rest.offset += part.len;
        rest.len -= part.len;
    }
    *j = rest;
    return true;
}

/* ---- registration ---- */

/* Ask for the @n spans of which @pieces has the first piece each. */
static bool request_spans(RdmaSink *s, const Piece *pieces, unsigned n, GError **errp)
{
    RdmaMemory *m = s->memory;
    RdmaMessage answer;
    unsigned slot;

    if (!rdma_take_credit(s->c, errp) || !rdma_take_slot(s->c, &slot, errp)) {
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        RdmaBlock *b = &m->blocks[pieces[i].block];
        uint64_t start = rdma_span_start(m, pieces[i].offset);
        uint64_t length = rdma_span_length(m, b, pieces[i].offset);
        RdmaRegister r = {
            .address = b->peer.offset + start,
            .block = pieces[i].block,
            .more_chunks = DIV_ROUND_UP(length, RDMA_CHUNK_SIZE) - 1,
        };

        rdma_put_register(rdma_slot_payload(s->c, slot) + i * RDMA_REGISTER_SIZE, &r);
    }
    if (!rdma_send_slot_now(s->c, slot, RDMA_MSG_REGISTER_REQUEST, n, n * RDMA_REGISTER_SIZE, NULL,
                            errp)) {
        return false;
    }
    /* Both ends register at the same time. */
    for (unsigned i = 0; i < n; i++) {
        if (!rdma_span_register(m, &m->blocks[pieces[i].block], pieces[i].offset, errp)) {
            return false;
        }
    }
    if (!rdma_expect(s->c, RDMA_MSG_REGISTER_RESULT, &answer, errp)) {
        return false;
    }
    if (answer.header.repeat != n) {
        return rdma_peer_error(s->c, errp, "%u answers to %u registrations", answer.header.repeat,
                               n);
    }
    for (unsigned i = 0; i < n; i++) {
        RdmaBlock *b = &m->blocks[pieces[i].block];
        RdmaSpan *span = rdma_span_at(m, b, pieces[i].offset);
        RdmaRegisterResult r;

        rdma_get_register_result(answer.payload + i * RDMA_REGISTER_RESULT_SIZE, &r);
        b->peer.host = r.host;
        span->rkey = r.rkey;
        span->ready = true;
        span->wanted = false;
    }
    return rdma_release(s->c, &answer, errp);
}

static bool request_wanted(RdmaSink *s, GError **errp)
{
    Piece batch[BATCH_SPANS];
    unsigned n = 0;

    for (unsigned i = 0; i < s->aside->len; i++) {
        const Piece *p = &g_array_index(s->aside, Piece, i);
        RdmaSpan *span = rdma_span_at(s->memory, &s->memory->blocks[p->block], p->offset);

        if (!span->wanted) {
            continue;
        }
        span->wanted = false; /* the first piece stands for all of the span */
        batch[n++] = *p;
        if (n == s->batch_spans) {
            if (!request_spans(s, batch, n, errp)) {
                return false;
            }
            n = 0;
        }
    }
    s->wanted = 0;
    return !n || request_spans(s, batch, n, errp);
}

/* Register what is missing and write what had to wait for it. */
static bool flush_aside(RdmaSink *s, GError **errp)
{
    bool ok = flush_joined(s, errp) && request_wanted(s, errp);

    for (unsigned i = 0; ok && i < s->aside->len; i++) {
        ok = join(s, &g_array_index(s->aside, Piece, i), errp);
    }
    g_array_set_size(s->aside, 0);
    return ok && flush_joined(s, errp);
}

/* @p continues the piece that was put aside last, in the same span. */
static bool continues(RdmaSink *s, const Piece *p)
{
    const Piece *last = s->aside->len ? &g_array_index(s->aside, Piece, s->aside->len - 1) : NULL;

    return last && last->block == p->block && last->offset + last->len == p->offset &&
           rdma_span_start(s->memory, last->offset) == rdma_span_start(s->memory, p->offset);
}

/* @p lies in @span, whose key is not known. */
static bool put_aside(RdmaSink *s, RdmaSpan *span, const Piece *p, GError **errp)
{
    bool full = s->aside->len == MAX_ASIDE || (!span->wanted && s->wanted == s->batch_spans);

    if (full && !flush_aside(s, errp)) {
        return false;
    }
    if (span->ready) {
        return join(s, p, errp);
    }
    s->wanted += !span->wanted;
    span->wanted = true;
    if (continues(s, p)) {
        g_array_index(s->aside, Piece, s->aside->len - 1).len += p->len;
    } else {
        g_array_append_val(s->aside, *p);
    }
    return true;
}

/* ---- zeros ---- */

static bool flush_zeros(RdmaSink *s, GError **errp)
{
    unsigned slot, n = s->zeros->len;

    if (!n) {
        return true;
    }
    if (!rdma_take_credit(s->c, errp) || !rdma_take_slot(s->c, &slot, errp)) {
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        const Piece *p = &g_array_index(s->zeros, Piece, i);
        RdmaCompress z = {
            .block = p->block,
            .address = s->memory->blocks[p->block].peer.offset + p->offset,
            .length = p->len,
        };

        rdma_put_compress(rdma_slot_payload(s->c, slot) + i * RDMA_COMPRESS_SIZE, &z);
    }
    /* The credit for this one says that the last one is done. */
    g_array_set_size(s->cleared, 0);
    g_array_append_vals(s->cleared, s->zeros->data, n);
    g_array_set_size(s->zeros, 0);
    return rdma_send_slot_now(s->c, slot, RDMA_MSG_COMPRESS, n, n * RDMA_COMPRESS_SIZE, NULL, errp);
}

static bool add_zero(RdmaSink *s, const Piece *p, GError **errp)
{
    Piece *last = s->zeros->len ? &g_array_index(s->zeros, Piece, s->zeros->len - 1) : NULL;

    if (last && last->block == p->block && last->offset + last->len == p->offset) {
        last->len += p->len;
        return true;
    }
    if (s->zeros->len == s->batch_zeros && !flush_zeros(s, errp)) {
        return false;
    }
    g_array_append_val(s->zeros, *p);
    return true;
}

/* ---- RamSink ---- */

static bool piece_of(RdmaSink *s, RAMBlock *block, uint64_t first, uint64_t count, Piece *out,
                     GError **errp)
{
    if (block != s->last) {
        int index = rdma_memory_index(s->memory, block);

        if (index < 0) {
            error_setg(errp, "RAM block '%s' came after the migration began", block->idstr);
            return false;
        }
        s->last = block;
        s->last_index = index;
    }
    *out = (Piece){s->last_index, first << TARGET_PAGE_BITS, count << TARGET_PAGE_BITS};
    return true;
}

/* Is everything of @p in spans whose key is known? */
static bool is_known(RdmaSink *s, const Piece *p)
{
    RdmaMemory *m = s->memory;
    bool known = true;

    for (uint64_t o = p->offset; known && !m->pin_all && o < p->offset + p->len;
         o = rdma_span_start(m, o) + m->span) {
        known = rdma_span_at(m, &m->blocks[p->block], o)->ready;
    }
    return known;
}

static bool send_data(RdmaSink *s, Piece p, GError **errp)
{
    RdmaMemory *m = s->memory;

    while (p.len) {
        RdmaSpan *span = rdma_span_at(m, &m->blocks[p.block], p.offset);
        Piece part = p;

        part.len = MIN(p.len, rdma_span_start(m, p.offset) + m->span - p.offset);
        if (!(m->pin_all || span->ready ? join(s, &part, errp) : put_aside(s, span, &part, errp))) {
            return false;
        }
        p.offset += part.len;
        p.len -= part.len;
    }
    return true;
}

static bool rdma_sink_send_run(RamSink *base, QEMUFile *f, RAMBlock *block, uint64_t first,
                               uint64_t count, GError **errp)
{
    RdmaSink *s = sink_of(base);
    Piece p;

    qemu_file_account(f, count << TARGET_PAGE_BITS);
    return piece_of(s, block, first, count, &p, errp) && open_phase(s, f, errp) &&
           send_data(s, p, errp);
}

static bool rdma_sink_send_zero_run(RamSink *base, QEMUFile *f, RAMBlock *block, uint64_t first,
                                    uint64_t count, GError **errp)
{
    RdmaSink *s = sink_of(base);
    Piece p;

    if (!piece_of(s, block, first, count, &p, errp) || !open_phase(s, f, errp)) {
        return false;
    }
    return p.len < ZERO_AS_DATA && is_known(s, &p) ? send_data(s, p, errp) : add_zero(s, &p, errp);
}

static bool rdma_sink_end_round(RamSink *base, QEMUFile *f, bool last, GError **errp)
{
    RdmaSink *s = sink_of(base);

    if (!s->open) {
        return true; /* nothing was dirty */
    }
    s->open = false;
    return flush_aside(s, errp) && flush_zeros(s, errp) &&
           send_command(s, RDMA_MSG_REGISTER_FINISHED, errp);
}

static bool rdma_sink_setup(RamSink *base, QEMUFile *f, GError **errp)
{
    RdmaSink *s = sink_of(base);
    RdmaMessage answer;

    if (!open_phase(s, f, errp) || !send_command(s, RDMA_MSG_RAM_BLOCKS_REQUEST, errp) ||
        (s->memory->pin_all && !rdma_memory_pin(s->memory, errp)) ||
        !rdma_expect(s->c, RDMA_MSG_RAM_BLOCKS_RESULT, &answer, errp) ||
        !rdma_memory_set_peer(s->memory, &answer, errp) || !rdma_release(s->c, &answer, errp)) {
        return false;
    }
    return rdma_sink_end_round(base, f, false, errp);
}

static void rdma_sink_forget_block(RamSink *base)
{
}

static void rdma_sink_cleanup(RamSink *base)
{
    RdmaSink *s = sink_of(base);

    g_array_unref(s->aside);
    g_array_unref(s->zeros);
    g_array_unref(s->cleared);
    g_object_unref(s->ch);
    g_free(s);
}

static const RamSinkOps rdma_sink_ops = {
    .name = "rdma",
    .setup = rdma_sink_setup,
    .send_run = rdma_sink_send_run,
    .send_zero_run = rdma_sink_send_zero_run,
    .end_round = rdma_sink_end_round,
    .cleanup = rdma_sink_cleanup,
    .forget_block = rdma_sink_forget_block,
};

RamSink *ram_sink_rdma_new(QIOChannel *ioc, RAMList *list, bool ignore_shared, uint64_t chunk,
                           MigrationCounters *counters)
{
    RdmaSink *s = g_new0(RdmaSink, 1);
    bool batch;

    s->base.ops = &rdma_sink_ops;
    s->ch = g_object_ref(RDMA_CHANNEL(ioc));
    s->c = s->ch->main;
    s->counters = counters;
    s->max_write = MIN(MAX_WRITE, s->c->ep->ops->max_write(s->c->ep));
    batch = s->c->agreed.features & RDMA_FEATURE_BATCH;
    s->batch_spans = batch ? BATCH_SPANS : 1;
    s->batch_zeros = batch ? MAX_ZEROS : 1;
    s->memory = s->ch->memory = rdma_memory_new(s->c, true, list, ignore_shared, chunk);
    s->aside = g_array_new(FALSE, FALSE, sizeof(Piece));
    s->zeros = g_array_new(FALSE, FALSE, sizeof(Piece));
    s->cleared = g_array_new(FALSE, FALSE, sizeof(Piece));
    return &s->base;
}
