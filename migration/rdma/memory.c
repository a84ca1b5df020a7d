/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/rdma/memory.h"
#include "migration/ram/dirty.h"

static uint64_t chunks_of(const RdmaBlock *b)
{
    return DIV_ROUND_UP(b->length, RDMA_CHUNK_SIZE);
}

/* ---- life ---- */

static void add_block(RdmaMemory *m, RAMBlock *block)
{
    RdmaBlock *b = &m->blocks[m->n++];

    b->block = block;
    b->length = block->used_length;
    if (m->source) {
        b->spans = g_new0(RdmaSpan, DIV_ROUND_UP(b->length, m->span));
    } else {
        b->ranges = g_array_new(FALSE, FALSE, sizeof(RdmaRange));
        b->by_chunk = g_new0(uint32_t, chunks_of(b));
    }
}

RdmaMemory *rdma_memory_new(RdmaConnection *c, bool source, RAMList *list, bool ignore_shared,
                            uint64_t span)
{
    RdmaMemory *m;
    unsigned n = 0;

    RAMBLOCK_FOREACH (block, list) {
        n += !ram_block_ignored(block, ignore_shared);
    }
    m = g_malloc0(sizeof(*m) + n * sizeof(RdmaBlock));
    m->c = c;
    m->source = source;
    m->pin_all = c->agreed.flags & RDMA_FLAG_PIN_ALL;
    m->span = span;
    RAMBLOCK_FOREACH (block, list) {
        if (!ram_block_ignored(block, ignore_shared)) {
            add_block(m, block);
        }
    }
    return m;
}

static void clear_block(RdmaMemory *m, RdmaBlock *b, RdmaConnection *c)
{
    uint64_t n = b->spans ? DIV_ROUND_UP(b->length, m->span) : 0;

    rdma_unregister(c, &b->whole);
    for (uint64_t i = 0; i < n; i++) {
        rdma_unregister(c, &b->spans[i].local);
    }
    for (unsigned i = 0; b->ranges && i < b->ranges->len; i++) {
        rdma_unregister(c, &g_array_index(b->ranges, RdmaRange, i).region);
    }
    g_clear_pointer(&b->ranges, g_array_unref);
    g_free(b->spans);
    g_free(b->by_chunk);
}

void rdma_memory_free(RdmaMemory *m, RdmaConnection *c)
{
    if (m) {
        for (unsigned i = 0; i < m->n; i++) {
            clear_block(m, &m->blocks[i], c);
        }
        g_free(m);
    }
}

int rdma_memory_index(const RdmaMemory *m, const RAMBlock *block)
{
    for (unsigned i = 0; i < m->n; i++) {
        if (m->blocks[i].block == block) {
            return i;
        }
    }
    return -1;
}

static bool register_part(RdmaMemory *m, RdmaBlock *b, uint64_t start, uint64_t end,
                          RdmaRegion *out, GError **errp)
{
    g_autofree char *what = g_strdup_printf("RAM block '%s'", b->block->idstr);

    return rdma_register(m->c, b->block->host + start, end - start, !m->source, what, out, errp);
}

bool rdma_memory_pin(RdmaMemory *m, GError **errp)
{
    for (unsigned i = 0; i < m->n; i++) {
        RdmaBlock *b = &m->blocks[i];

        if (!m->source) {
            ram_block_populate(b->block, 0, b->length);
        }
        if (!b->whole.handle && !register_part(m, b, 0, b->length, &b->whole, errp)) {
            return false;
        }
    }
    return true;
}

/* ---- source ---- */

bool rdma_memory_set_peer(RdmaMemory *m, const RdmaMessage *result, GError **errp)
{
    if (result->header.repeat != m->n) {
        return rdma_peer_error(m->c, errp,
                               "it has %u RAM blocks, the source %u: is its machine "
                               "configured the same way?",
                               result->header.repeat, m->n);
    }
    for (unsigned i = 0; i < m->n; i++) {
        RdmaBlock *b = &m->blocks[i];

        rdma_get_block(result->payload + i * RDMA_BLOCK_SIZE, &b->peer);
        if (b->peer.length != b->length) {
            return rdma_peer_error(m->c, errp,
                                   "RAM block '%s' has %" PRIu64 " bytes there, %" PRIu64 " here",
                                   b->block->idstr, b->peer.length, b->length);
        }
    }
    return true;
}

uint64_t rdma_span_length(const RdmaMemory *m, const RdmaBlock *b, uint64_t offset)
{
    return MIN(m->span, b->length - rdma_span_start(m, offset));
}

bool rdma_span_register(RdmaMemory *m, RdmaBlock *b, uint64_t offset, GError **errp)
{
    uint64_t start = rdma_span_start(m, offset);
    RdmaSpan *s = rdma_span_at(m, b, offset);

    return s->local.handle ||
           register_part(m, b, start, start + rdma_span_length(m, b, offset), &s->local, errp);
}

/* ---- destination ---- */

void rdma_memory_resized(RdmaBlock *b)
{
    if (b->length != b->block->used_length) {
        b->length = b->block->used_length;
        g_free(b->by_chunk);
        b->by_chunk = g_new0(uint32_t, chunks_of(b));
    }
}

const RdmaRange *rdma_memory_cover(RdmaMemory *m, RdmaBlock *b, uint64_t start, uint64_t end,
                                   bool *fresh, GError **errp)
{
    uint32_t known = b->by_chunk[start / RDMA_CHUNK_SIZE];
    RdmaRange r = {.start = start & ~(m->span - 1)};
    uint64_t last;

    *fresh = false;
    if (known && g_array_index(b->ranges, RdmaRange, known - 1).end >= end) {
        return &g_array_index(b->ranges, RdmaRange, known - 1);
    }
    if (b->ranges->len >= 2 * chunks_of(b)) {
        rdma_peer_error(m->c, errp, "it registers RAM block '%s' again and again", b->block->idstr);
        return NULL;
    }
    r.end = MIN((end + m->span - 1) & ~(m->span - 1), b->length);
    /* In one go here; the adapter's driver would fault in page after page. */
    ram_block_populate(b->block, r.start, r.end - r.start);
    if (!register_part(m, b, r.start, r.end, &r.region, errp)) {
        return NULL;
    }
    g_array_append_val(b->ranges, r);
    last = DIV_ROUND_UP(r.end, RDMA_CHUNK_SIZE);
    for (uint64_t chunk = r.start / RDMA_CHUNK_SIZE; chunk < last; chunk++) {
        b->by_chunk[chunk] = b->ranges->len;
    }
    *fresh = true;
    return &g_array_index(b->ranges, RdmaRange, b->ranges->len - 1);
}

bool rdma_memory_uncover(RdmaMemory *m, RdmaBlock *b, uint64_t chunk)
{
    uint32_t known = chunk < chunks_of(b) ? b->by_chunk[chunk] : 0;

    if (!known) {
        return false;
    }
    rdma_unregister(m->c, &g_array_index(b->ranges, RdmaRange, known - 1).region);
    for (uint64_t i = 0; i < chunks_of(b); i++) {
        if (b->by_chunk[i] == known) {
            b->by_chunk[i] = 0;
        }
    }
    return true;
}
