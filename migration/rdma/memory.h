/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which guest memory is registered, on either side (spec 50 sections 6, 7 and 10).
 *
 * Source: a block is cut into spans of equal size; a span is registered here once, and at the
 * destination with one request. Destination: a request is answered from a region that covers it, or
 * with a new one, rounded outwards to spans.
 */
#ifndef GODWIT_MIGRATION_RDMA_MEMORY_H
#define GODWIT_MIGRATION_RDMA_MEMORY_H

#include "memory/ramblock.h"
#include "migration/rdma/connection.h"

typedef enum {
    SPAN_UNKNOWN,
    SPAN_REQUESTED, /* or will be with the next request */
    SPAN_READY,     /* rkey is valid */
} RdmaSpanState;

typedef struct {
    RdmaRegion local;
    uint32_t rkey;
    RdmaSpanState state;
} RdmaSpan;

typedef struct {
    uint64_t start, end; /* bytes of the block */
    RdmaRegion region;
} RdmaRange;

typedef struct {
    RAMBlock *block;
    uint64_t length;
    RdmaRegion whole; /* pin-all */

    /* Source: */
    RdmaBlockInfo peer;
    RdmaSpan *spans;

    /* Destination: */
    GArray *ranges;     /* RdmaRange */
    uint32_t *by_chunk; /* index + 1 in ranges of the last one that covers a chunk */
} RdmaBlock;

typedef struct RdmaMemory {
    RdmaConnection *c;
    bool source, pin_all;
    uint64_t span; /* bytes, a power of two >= RDMA_CHUNK_SIZE */
    unsigned n;
    RdmaBlock blocks[];
} RdmaMemory;

/* The blocks of @list that travel, in its order. */
RdmaMemory *rdma_memory_new(RdmaConnection *c, bool source, RAMList *list, bool ignore_shared,
                            uint64_t span);
/* Unregister everything and free; NULL is fine. */
void rdma_memory_free(RdmaMemory *m, RdmaConnection *c);
/* The index of @block, or -1. */
int rdma_memory_index(const RdmaMemory *m, const RAMBlock *block);
/* Register all blocks whole. */
bool rdma_memory_pin(RdmaMemory *m, GError **errp);

/* ---- source ---- */

/* Check the destination's blocks against ours and remember them. */
bool rdma_memory_set_peer(RdmaMemory *m, const RdmaMessage *result, GError **errp);
static inline uint64_t rdma_span_start(const RdmaMemory *m, uint64_t offset)
{
    return offset & ~(m->span - 1);
}
static inline RdmaSpan *rdma_span_at(const RdmaMemory *m, const RdmaBlock *b, uint64_t offset)
{
    return &b->spans[offset / m->span];
}
/* The bytes of the span at @offset that exist. */
uint64_t rdma_span_length(const RdmaMemory *m, const RdmaBlock *b, uint64_t offset);
/* The local key of the span at @offset, registered now if it is not. */
bool rdma_span_register(RdmaMemory *m, RdmaBlock *b, uint64_t offset, GError **errp);

/* ---- destination ---- */

/* Nothing of the block is registered yet, and its length may have changed. */
void rdma_memory_resized(RdmaBlock *b);
/* A region that covers [start, end) of the block; *fresh: it was made for this. */
const RdmaRange *rdma_memory_cover(RdmaMemory *m, RdmaBlock *b, uint64_t start, uint64_t end,
                                   bool *fresh, GError **errp);
/* Unregister the region that covers chunk @chunk. False: there is none, or no such chunk. */
bool rdma_memory_uncover(RdmaMemory *m, RdmaBlock *b, uint64_t chunk);

#endif
