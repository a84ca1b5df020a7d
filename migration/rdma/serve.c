/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The destination's half of a registration phase: do what the source asks until it has finished
 * (spec 50 sections 5 to 8). The pages themselves arrive in memory without anybody here taking
 * part.
 *
 * All that a message says is checked against our own blocks; a source cannot reach memory outside
 * of them, since the adapter only lets it into what was registered here.
 */
#include "migration/rdma/channel.h"
#include "migration/wire/ram.h"

typedef struct {
    RamPlacer base;
    RdmaChannel *ch;
    RdmaConnection *c;
    RdmaMemory *memory;
    RamPlacer *direct;
    RdmaBlock **order; /* by the source's index */
    unsigned listed;
    bool exchanged;
} RdmaPlacer;

static RdmaPlacer *placer_of(RamPlacer *p)
{
    return container_of(p, RdmaPlacer, base);
}

/* ---- commands ---- */

static RdmaBlock *block_of(RdmaPlacer *p, const RdmaMessage *m, uint32_t index, GError **errp)
{
    if (!p->exchanged || index >= p->listed) {
        rdma_peer_error(p->c, errp, "%s for RAM block %u of %u", rdma_message_name(m->header.type),
                        index, p->exchanged ? p->listed : 0);
        return NULL;
    }
    return p->order[index];
}

static bool bad_range(RdmaPlacer *p, const RdmaMessage *m, const RdmaBlock *b, const char *problem,
                      GError **errp)
{
    return rdma_peer_error(p->c, errp, "%s for RAM block '%s': %s",
                           rdma_message_name(m->header.type), b->block->idstr, problem);
}

static bool answer_blocks(RdmaPlacer *p, GError **errp)
{
    unsigned slot;
    uint8_t *out;

    if (p->exchanged || p->listed != p->memory->n || p->listed > RDMA_BLOCKS_MAX) {
        return rdma_peer_error(
            p->c, errp, "it %s, with %u RAM blocks in its list and %u blocks here",
            p->exchanged ? "asks for the RAM blocks twice" : "has other RAM blocks", p->listed,
            p->memory->n);
    }
    if ((p->memory->pin_all && !rdma_memory_pin(p->memory, errp)) ||
        !rdma_take_slot(p->c, &slot, errp)) {
        return false;
    }
    out = rdma_slot_payload(p->c, slot);
    for (unsigned i = 0; i < p->listed; i++, out += RDMA_BLOCK_SIZE) {
        RdmaBlock *b = p->order[i];
        RdmaBlockInfo info = {
            .host = (uintptr_t)b->block->host,
            .offset = b->block->offset,
            .length = b->length,
            .rkey = b->whole.rkey,
        };

        if (p->memory->pin_all) {
            p->direct->ops->direct(p->direct, b->block, 0, ram_block_pages(b->block));
        }
        rdma_put_block(out, &info);
    }
    p->exchanged = true;
    return rdma_send_slot_now(p->c, slot, RDMA_MSG_RAM_BLOCKS_RESULT, 1,
                              p->listed * RDMA_BLOCK_SIZE, NULL, errp);
}

static bool register_one(RdmaPlacer *p, const RdmaMessage *m, const RdmaRegister *r,
                         RdmaRegisterResult *result, GError **errp)
{
    RdmaBlock *b = block_of(p, m, r->block, errp);
    const RdmaRange *range;
    const char *problem;
    uint64_t start, end;
    bool fresh;

    if (!b) {
        return false;
    }
    problem = rdma_register_range(r, b->block->offset, b->length, &start, &end);
    if (!problem && (b->block->flags & RAM_READONLY) && (b->block->flags & RAM_SHARED)) {
        problem = "it is mapped read-only here";
    }
    if (problem) {
        return bad_range(p, m, b, problem, errp);
    }
    result->host = (uintptr_t)b->block->host;
    if (p->memory->pin_all) {
        result->rkey = b->whole.rkey;
        return true;
    }
    range = rdma_memory_cover(p->memory, b, start, end, &fresh, errp);
    if (!range) {
        return false;
    }
    if (fresh) {
        p->direct->ops->direct(p->direct, b->block, range->start >> TARGET_PAGE_BITS,
                               (range->end - range->start) >> TARGET_PAGE_BITS);
    }
    result->rkey = range->region.rkey;
    return true;
}

static bool answer_register(RdmaPlacer *p, const RdmaMessage *m, GError **errp)
{
    uint8_t *out;
    unsigned slot;

    if (!rdma_take_slot(p->c, &slot, errp)) {
        return false;
    }
    out = rdma_slot_payload(p->c, slot);
    for (uint32_t i = 0; i < m->header.repeat; i++) {
        RdmaRegisterResult result;
        RdmaRegister r;

        rdma_get_register(m->payload + i * RDMA_REGISTER_SIZE, &r);
        if (!register_one(p, m, &r, &result, errp)) {
            return false;
        }
        rdma_put_register_result(out + i * RDMA_REGISTER_RESULT_SIZE, &result);
    }
    return rdma_send_slot_now(p->c, slot, RDMA_MSG_REGISTER_RESULT, m->header.repeat,
                              m->header.repeat * RDMA_REGISTER_RESULT_SIZE, NULL, errp);
}

static bool answer_unregister(RdmaPlacer *p, const RdmaMessage *m, GError **errp)
{
    for (uint32_t i = 0; i < m->header.repeat; i++) {
        RdmaRegister r;
        RdmaBlock *b;

        rdma_get_register(m->payload + i * RDMA_REGISTER_SIZE, &r);
        b = block_of(p, m, r.block, errp);
        if (!b) {
            return false;
        }
        if (!rdma_memory_uncover(p->memory, b, r.address)) {
            return bad_range(p, m, b, "the chunk is not registered", errp);
        }
    }
    return rdma_send_empty(p->c, RDMA_MSG_UNREGISTER_FINISHED, errp);
}

static bool clear_ranges(RdmaPlacer *p, const RdmaMessage *m, GError **errp)
{
    for (uint32_t i = 0; i < m->header.repeat; i++) {
        uint64_t start = 0, end = 0;
        const char *problem;
        RdmaCompress z;
        RdmaBlock *b;

        rdma_get_compress(m->payload + i * RDMA_COMPRESS_SIZE, &z);
        b = block_of(p, m, z.block, errp);
        if (!b) {
            return false;
        }
        problem = rdma_compress_range(&z, b->block->offset, b->length, &start, &end);
        if (!problem && ((start | end) & ~TARGET_PAGE_MASK)) {
            problem = "its range is not whole pages";
        }
        if (!problem && (b->block->flags & RAM_READONLY) && (b->block->flags & RAM_SHARED)) {
            problem = "it is mapped read-only here";
        }
        if (problem) {
            return bad_range(p, m, b, problem, errp);
        }
        if (start < end &&
            !p->direct->ops->place_fill(p->direct, b->block, start >> TARGET_PAGE_BITS,
                                        (end - start) >> TARGET_PAGE_BITS, z.value, errp)) {
            return false;
        }
    }
    return true;
}

static bool serve_one(RdmaPlacer *p, const RdmaMessage *m, GError **errp)
{
    switch (m->header.type) {
    case RDMA_MSG_RAM_BLOCKS_REQUEST:
        return answer_blocks(p, errp);
    case RDMA_MSG_REGISTER_REQUEST:
        return answer_register(p, m, errp);
    case RDMA_MSG_UNREGISTER_REQUEST:
        return answer_unregister(p, m, errp);
    case RDMA_MSG_COMPRESS:
        return clear_ranges(p, m, errp);
    case RDMA_MSG_REGISTER_FINISHED:
        return true;
    default:
        return rdma_peer_error(p->c, errp, "%s inside a registration phase",
                               rdma_message_name(m->header.type));
    }
}

/* ---- RamPlacer ---- */

static bool rdma_hook(RamPlacer *base, QEMUFile *f, GError **errp)
{
    RdmaPlacer *p = placer_of(base);
    RdmaMessage m;

    do {
        if (!rdma_await(p->c, &m, errp) || !serve_one(p, &m, errp) ||
            !rdma_release(p->c, &m, errp)) {
            return false;
        }
    } while (m.header.type != RDMA_MSG_REGISTER_FINISHED);
    return true;
}

static bool rdma_list_block(RamPlacer *base, QEMUFile *f, RAMBlock *block, bool ignored,
                            GError **errp)
{
    RdmaPlacer *p = placer_of(base);
    int index = rdma_memory_index(p->memory, block);

    if (ignored || index < 0) {
        return true; /* shared memory that both sides have already */
    }
    for (unsigned i = 0; i < p->listed; i++) {
        if (p->order[i]->block == block) {
            error_setg(errp, "ramblock \"%s\" is listed twice", block->idstr);
            return false;
        }
    }
    rdma_memory_resized(&p->memory->blocks[index]);
    p->order[p->listed++] = &p->memory->blocks[index];
    return true;
}

static bool rdma_place_run(RamPlacer *base, QEMUFile *f, RAMBlock *block, uint64_t first,
                           uint64_t count, GError **errp)
{
    RamPlacer *d = placer_of(base)->direct;

    return d->ops->place_run(d, f, block, first, count, errp);
}

static bool rdma_place_fill(RamPlacer *base, RAMBlock *block, uint64_t first, uint64_t count,
                            uint8_t fill, GError **errp)
{
    RamPlacer *d = placer_of(base)->direct;

    return d->ops->place_fill(d, block, first, count, fill, errp);
}

static void *rdma_direct(RamPlacer *base, RAMBlock *block, uint64_t first, uint64_t count)
{
    RamPlacer *d = placer_of(base)->direct;

    return d->ops->direct(d, block, first, count);
}

static void rdma_placer_cleanup(RamPlacer *base)
{
    RdmaPlacer *p = placer_of(base);

    p->direct->ops->cleanup(p->direct);
    g_object_unref(p->ch);
    g_free(p->order);
    g_free(p);
}

static const RamPlacerOps rdma_placer_ops = {
    .name = "rdma",
    .place_run = rdma_place_run,
    .place_fill = rdma_place_fill,
    .direct = rdma_direct,
    .list_block = rdma_list_block,
    .hook = rdma_hook,
    .cleanup = rdma_placer_cleanup,
};

RamPlacer *ram_placer_rdma_new(QIOChannel *ioc, RAMList *list, bool ignore_shared, uint64_t chunk)
{
    RdmaPlacer *p = g_new0(RdmaPlacer, 1);

    p->base.ops = &rdma_placer_ops;
    p->ch = g_object_ref(RDMA_CHANNEL(ioc));
    p->c = p->ch->main;
    p->memory = p->ch->memory = rdma_memory_new(p->c, false, list, ignore_shared, chunk);
    p->direct = ram_placer_direct_new(list);
    p->order = g_new0(RdmaBlock *, p->memory->n);
    return &p->base;
}
