/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/multifd/carriers.h"

/* What is known of a page: 0, or the number of its channel and one. */
typedef struct {
    RAMBlock *block;
    uint64_t pages;
    uint8_t carrier[];
} BlockCarriers;

typedef enum {
    CHANNEL_WORKS,
    CHANNEL_LOST, /* and the destination has not been told */
    CHANNEL_TOLD,
} ChannelState;

struct MultifdCarriers {
    GPtrArray *blocks;   /* of BlockCarriers */
    BlockCarriers *last; /* used last; NULL: none */
    unsigned channels;
    uint8_t state[]; /* ChannelState of each */
};

MultifdCarriers *multifd_carriers_new(unsigned channels)
{
    MultifdCarriers *c = g_malloc0(sizeof(*c) + channels);

    c->channels = channels;
    c->blocks = g_ptr_array_new_with_free_func(g_free);
    return c;
}

void multifd_carriers_free(MultifdCarriers *c)
{
    if (c) {
        g_ptr_array_unref(c->blocks);
        g_free(c);
    }
}

static BlockCarriers *find(MultifdCarriers *c, RAMBlock *block)
{
    BlockCarriers *b;

    if (c->last && c->last->block == block) {
        return c->last;
    }
    for (unsigned i = 0; i < c->blocks->len; i++) {
        b = g_ptr_array_index(c->blocks, i);
        if (b->block == block) {
            return c->last = b;
        }
    }
    b = g_malloc0(sizeof(*b) + ram_block_pages(block));
    b->block = block;
    b->pages = ram_block_pages(block);
    g_ptr_array_add(c->blocks, b);
    return c->last = b;
}

void multifd_carriers_note(MultifdCarriers *c, RAMBlock *block, uint64_t first, uint64_t count,
                           unsigned id)
{
    memset(find(c, block)->carrier + first, id + 1, count);
}

void multifd_carriers_forget(MultifdCarriers *c, RAMBlock *block, uint64_t first, uint64_t count)
{
    memset(find(c, block)->carrier + first, 0, count);
}

static void take_from(BlockCarriers *b, uint8_t carrier, RamAgain *again, void *opaque)
{
    for (uint64_t first = 0, end; first < b->pages; first = end) {
        end = first + 1;
        if (b->carrier[first] != carrier) {
            continue;
        }
        while (end < b->pages && b->carrier[end] == carrier) {
            end++;
        }
        memset(b->carrier + first, 0, end - first);
        again(b->block, first, end - first, opaque);
    }
}

bool multifd_carriers_lose(MultifdCarriers *c, unsigned id, RamAgain *again, void *opaque)
{
    if (c->state[id] != CHANNEL_WORKS) {
        return false;
    }
    c->state[id] = CHANNEL_LOST;
    for (unsigned i = 0; i < c->blocks->len; i++) {
        take_from(g_ptr_array_index(c->blocks, i), id + 1, again, opaque);
    }
    return true;
}

int multifd_carriers_untold(MultifdCarriers *c)
{
    for (unsigned i = 0; i < c->channels; i++) {
        if (c->state[i] == CHANNEL_LOST) {
            c->state[i] = CHANNEL_TOLD;
            return i;
        }
    }
    return -1;
}
