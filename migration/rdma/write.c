/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * RamSink over RDMA: runs of pages become WRITEs (spec 50 sections 5 to 8).
 *
 *   run in a span whose key is known   joined with its neighbours, written
 *   run in another span                put aside until the answer to a request for its key is here;
 *                                      what is wanted meanwhile goes into the next request, several
 *                                      spans in one (QEMU: one each)
 *   zero run                           a range to clear, many in one message (QEMU: one each);
 *                                      short ones in known spans are cheaper as data
 *
 * A page may leave any time until the round ends, so putting it aside is free. Registering costs
 * both ends about as much time as writing does, so the two overlap: a request leaves before the
 * WRITEs that the last answer allows, since messages do not overtake WRITEs, and in dense memory
 * the next span is asked for before its first page comes. WRITEs need not be waited for: the
 * adapter delivers them before the REGISTER_FINISHED behind them.
 */
#include "migration/rdma/channel.h"
#include "migration/wire/ram.h"
#include "util/log.h"

LOG_CATEGORY(rdma_write)

/* Spans per request to a peer that answers several at once, */
#define BATCH_SPANS 16
/* but no more than so much data waits for: then the adapter is better put to work. */
#define BATCH_BYTES (32 * MiB)
/* So much data in a span, by this divisor, and the next span will be wanted, too. */
#define DENSE_PART 8
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

/* A span, by any of its bytes, and how much data waits for its key. */
typedef struct {
    unsigned block;
    uint64_t offset, waiting;
} SpanAt;

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
    Piece joined;  /* to be written next; len 0: nothing */
    GArray *aside; /* Piece, in spans whose key is not known yet */
    SpanAt wanted[BATCH_SPANS], asked[BATCH_SPANS];
    unsigned n_wanted, n_asked; /* n_asked: of the one request that is under way */
    RdmaSpan *dense;            /* where the last data went, */
    uint64_t dense_bytes;       /* and how much in a row */
    GArray *zeros;              /* Piece, to be cleared */
    GArray *cleared;            /* Piece, of the COMPRESS that the peer may still be working on */
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

/* The peer waits for a command, so it has done the one before. */
static bool await_turn(RdmaSink *s, GError **errp)
{
    if (!rdma_take_credit(s->c, errp)) {
        return false;
    }
    g_array_set_size(s->cleared, 0);
    return true;
}

static bool send_command(RdmaSink *s, RdmaMessageType type, GError **errp)
{
    return await_turn(s, errp) && rdma_send_empty(s->c, type, errp);
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

static RdmaSpan *span_of(RdmaSink *s, unsigned block, uint64_t offset)
{
    return rdma_span_at(s->memory, &s->memory->blocks[block], offset);
}

static void put_request(RdmaSink *s, const SpanAt *at, uint8_t *out)
{
    RdmaMemory *m = s->memory;
    RdmaBlock *b = &m->blocks[at->block];
    RdmaRegister r = {
        .address = b->peer.offset + rdma_span_start(m, at->offset),
        .block = at->block,
        .more_chunks = DIV_ROUND_UP(rdma_span_length(m, b, at->offset), RDMA_CHUNK_SIZE) - 1,
    };

    rdma_put_register(out, &r);
}

/* How many of the wanted spans go into the next request. */
static unsigned next_batch(const RdmaSink *s)
{
    uint64_t bytes = 0;
    unsigned n = 0;

    while (n < MIN(s->n_wanted, s->batch_spans) && (!n || bytes < BATCH_BYTES)) {
        bytes += s->wanted[n++].waiting;
    }
    return n;
}

/* Request the keys of wanted spans. None is under way. */
static bool ask(RdmaSink *s, GError **errp)
{
    unsigned slot, n = next_batch(s);

    if (!n) {
        return true;
    }
    if (!await_turn(s, errp) || !rdma_take_slot(s->c, &slot, errp)) {
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        s->asked[i] = s->wanted[i];
        put_request(s, &s->asked[i], rdma_slot_payload(s->c, slot) + i * RDMA_REGISTER_SIZE);
    }
    trace(rdma_write, "asks for %u spans, the first in RAM block %u at 0x%" PRIx64, n,
          s->asked[0].block, s->asked[0].offset);
    s->n_asked = n;
    s->base.midway = true;
    s->n_wanted -= n;
    memmove(s->wanted, s->wanted + n, s->n_wanted * sizeof(s->wanted[0]));
    if (!rdma_send_slot_now(s->c, slot, RDMA_MSG_REGISTER_REQUEST, n, n * RDMA_REGISTER_SIZE, NULL,
                            errp)) {
        return false;
    }
    /* Both ends register at the same time. */
    for (unsigned i = 0; i < n; i++) {
        if (!rdma_span_register(s->memory, &s->memory->blocks[s->asked[i].block],
                                s->asked[i].offset, errp)) {
            return false;
        }
    }
    return true;
}

/* Wait for the answer. */
static bool learn(RdmaSink *s, GError **errp)
{
    RdmaMessage answer;
    unsigned n = s->n_asked;

    if (!rdma_expect(s->c, RDMA_MSG_REGISTER_RESULT, &answer, errp)) {
        return false;
    }
    if (answer.header.repeat != n) {
        return rdma_peer_error(s->c, errp, "%u answers to %u registrations", answer.header.repeat,
                               n);
    }
    for (unsigned i = 0; i < n; i++) {
        RdmaSpan *span = span_of(s, s->asked[i].block, s->asked[i].offset);
        RdmaRegisterResult r;

        rdma_get_register_result(answer.payload + i * RDMA_REGISTER_RESULT_SIZE, &r);
        s->memory->blocks[s->asked[i].block].peer.host = r.host;
        span->rkey = r.rkey;
        span->state = SPAN_READY;
    }
    trace(rdma_write, "has the keys of %u spans, %u pieces aside", n, s->aside->len);
    s->n_asked = 0;
    s->base.midway = false;
    return rdma_release(s->c, &answer, errp);
}

/* Write what waits for keys that are here; the rest stays aside. */
static bool write_ready(RdmaSink *s, GError **errp)
{
    unsigned left = 0;

    for (unsigned i = 0; i < s->aside->len; i++) {
        Piece p = g_array_index(s->aside, Piece, i);

        if (span_of(s, p.block, p.offset)->state != SPAN_READY) {
            g_array_index(s->aside, Piece, left++) = p;
        } else if (!join(s, &p, errp)) {
            return false;
        }
    }
    g_array_set_size(s->aside, left);
    return true;
}

/* If there is an answer, or with @wait when there is one: the next request, then WRITEs. */
static bool proceed(RdmaSink *s, bool wait, GError **errp)
{
    if (!s->n_asked) {
        return ask(s, errp);
    }
    if (!wait) {
        if (!rdma_pump(s->c, false, errp)) {
            return false;
        }
        if (!s->c->inbox_len) {
            return true;
        }
    }
    return learn(s, errp) && ask(s, errp) && write_ready(s, errp);
}

/* Nothing is aside any more, everything is with the adapter. */
static bool flush_aside(RdmaSink *s, GError **errp)
{
    while (s->n_asked || s->n_wanted) {
        if (!proceed(s, true, errp)) {
            return false;
        }
    }
    return flush_joined(s, errp);
}

static void want(RdmaSink *s, unsigned block, uint64_t offset)
{
    span_of(s, block, offset)->state = SPAN_REQUESTED;
    s->wanted[s->n_wanted++] = (SpanAt){block, offset, 0};
}

/* @p continues the piece that was put aside last, in the same span. */
static bool continues(RdmaSink *s, const Piece *p)
{
    const Piece *last = s->aside->len ? &g_array_index(s->aside, Piece, s->aside->len - 1) : NULL;

    return last && last->block == p->block && last->offset + last->len == p->offset &&
           rdma_span_start(s->memory, last->offset) == rdma_span_start(s->memory, p->offset);
}

static void count_waiting(RdmaSink *s, const Piece *p)
{
    for (unsigned i = s->n_wanted; i-- > 0;) {
        SpanAt *w = &s->wanted[i];

        if (w->block == p->block &&
            rdma_span_start(s->memory, w->offset) == rdma_span_start(s->memory, p->offset)) {
            w->waiting += p->len;
            return;
        }
    }
}

/* @p lies in @span, whose key is not known. */
static bool put_aside(RdmaSink *s, RdmaSpan *span, const Piece *p, GError **errp)
{
    while (s->aside->len == MAX_ASIDE || s->n_wanted == BATCH_SPANS) {
        if (!proceed(s, true, errp)) {
            return false;
        }
    }
    if (span->state == SPAN_READY) {
        return join(s, p, errp);
    }
    if (span->state == SPAN_UNKNOWN) {
        want(s, p->block, p->offset);
    }
    count_waiting(s, p);
    if (continues(s, p)) {
        g_array_index(s->aside, Piece, s->aside->len - 1).len += p->len;
    } else {
        g_array_append_val(s->aside, *p);
    }
    return proceed(s, false, errp);
}

/* @p is data in @span: the one behind it may be wanted soon. */
static void look_ahead(RdmaSink *s, RdmaSpan *span, const Piece *p)
{
    uint64_t next = rdma_span_start(s->memory, p->offset) + s->memory->span;

    s->dense_bytes = span == s->dense ? s->dense_bytes + p->len : p->len;
    s->dense = span;
    if (s->dense_bytes >= s->memory->span / DENSE_PART && s->n_wanted < BATCH_SPANS &&
        next < s->memory->blocks[p->block].length &&
        span_of(s, p->block, next)->state == SPAN_UNKNOWN) {
        want(s, p->block, next);
    }
}

/* @p lies in one span. */
static bool send_piece(RdmaSink *s, const Piece *p, GError **errp)
{
    RdmaSpan *span = span_of(s, p->block, p->offset);

    if (s->memory->pin_all) {
        return join(s, p, errp);
    }
    look_ahead(s, span, p);
    if ((s->n_asked || s->n_wanted) && !proceed(s, false, errp)) {
        return false;
    }
    return span->state == SPAN_READY ? join(s, p, errp) : put_aside(s, span, p, errp);
}

/* ---- zeros ---- */

static bool flush_zeros(RdmaSink *s, GError **errp)
{
    unsigned slot, n = s->zeros->len;

    if (!n) {
        return true;
    }
    if (!await_turn(s, errp) || !rdma_take_slot(s->c, &slot, errp)) {
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
        known = rdma_span_at(m, &m->blocks[p->block], o)->state == SPAN_READY;
    }
    return known;
}

static bool send_data(RdmaSink *s, Piece p, GError **errp)
{
    RdmaMemory *m = s->memory;

    while (p.len) {
        Piece part = p;

        part.len = MIN(p.len, rdma_span_start(m, p.offset) + m->span - p.offset);
        if (!send_piece(s, &part, errp)) {
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
    trace(rdma_write, "round ends, %" PRIu64 " bytes written", stat_get(&s->counters->rdma_bytes));
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
