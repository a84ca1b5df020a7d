/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/postcopy/pages.h"

static uint64_t length_pages(const PostcopyBlock *pb)
{
    return pb->length >> TARGET_PAGE_BITS;
}

bool postcopy_pages_init(PostcopyPages *p, RAMList *list, GError **errp)
{
    unsigned n = 0;

    RAMBLOCK_FOREACH_MIGRATABLE (block, list) {
        n++;
    }
    *p = (PostcopyPages){.blocks = g_new0(PostcopyBlock, n)};
    RAMBLOCK_FOREACH_MIGRATABLE (block, list) {
        PostcopyBlock *pb = &p->blocks[p->n++];

        pb->block = block;
        pb->length = block->used_length;
        pb->received = bitmap_try_new(length_pages(pb));
        pb->requested = bitmap_try_new(length_pages(pb));
        if (!pb->received || !pb->requested) {
            error_setg(errp, "not enough memory for the received bitmap of RAM block '%s'",
                       block->idstr);
            postcopy_pages_clear(p);
            return false;
        }
        bitmap_set(pb->received, 0, length_pages(pb));
    }
    return true;
}

void postcopy_pages_clear(PostcopyPages *p)
{
    for (unsigned i = 0; i < p->n; i++) {
        g_free(p->blocks[i].received);
        g_free(p->blocks[i].requested);
    }
    g_free(p->blocks);
    *p = (PostcopyPages){0};
}

/* ---- finding ---- */

PostcopyBlock *postcopy_block_by_name(const PostcopyPages *p, const char *name)
{
    for (unsigned i = 0; i < p->n; i++) {
        if (strcmp(p->blocks[i].block->idstr, name) == 0) {
            return &p->blocks[i];
        }
    }
    return NULL;
}

PostcopyBlock *postcopy_block_of(const PostcopyPages *p, const RAMBlock *block)
{
    for (unsigned i = 0; i < p->n; i++) {
        if (p->blocks[i].block == block) {
            return &p->blocks[i];
        }
    }
    return NULL;
}

PostcopyBlock *postcopy_block_by_address(const PostcopyPages *p, uint64_t address, uint64_t *page)
{
    for (unsigned i = 0; i < p->n; i++) {
        PostcopyBlock *pb = &p->blocks[i];
        uint64_t offset = address - (uintptr_t)pb->block->host;

        if (offset < pb->length) {
            *page = ROUND_DOWN(offset, pb->block->page_size) >> TARGET_PAGE_BITS;
            return pb;
        }
    }
    return NULL;
}

/* ---- what becomes of a page ---- */

static bool test_bit_acquire(uint64_t nr, const unsigned long *map)
{
    return (__atomic_load_n(&map[BIT_WORD(nr)], __ATOMIC_SEQ_CST) >> (nr % BITS_PER_LONG)) & 1;
}

/* It is not requested any more, if it was. */
static void end_request(PostcopyPages *p, PostcopyBlock *pb, uint64_t page)
{
    if (test_bit_acquire(page, pb->requested) &&
        __atomic_fetch_and(&pb->requested[BIT_WORD(page)], ~BIT_MASK(page), __ATOMIC_SEQ_CST) &
            BIT_MASK(page)) {
        __atomic_fetch_sub(&p->wanted, 1, __ATOMIC_RELAXED);
    }
}

bool postcopy_page_received(const PostcopyBlock *pb, uint64_t page)
{
    return test_bit_acquire(page, pb->received);
}

bool postcopy_page_request(PostcopyPages *p, PostcopyBlock *pb, uint64_t page)
{
    if (postcopy_page_received(pb, page) || !set_bit_atomic(page, pb->requested)) {
        return false;
    }
    __atomic_fetch_add(&p->wanted, 1, __ATOMIC_RELAXED);
    if (postcopy_page_received(pb, page)) {
        end_request(p, pb, page); /* it came between the two looks */
        return false;
    }
    return true;
}

/* Set the bits; how many of them were clear. */
static uint64_t set_received(PostcopyBlock *pb, uint64_t first, uint64_t count)
{
    uint64_t end = first + count, fresh = 0;

    while (first < end) {
        uint64_t n = MIN(end - first, BITS_PER_LONG - first % BITS_PER_LONG);
        unsigned long mask = (n == BITS_PER_LONG ? ~0UL : (1UL << n) - 1) << first % BITS_PER_LONG;
        unsigned long old =
            __atomic_fetch_or(&pb->received[BIT_WORD(first)], mask, __ATOMIC_SEQ_CST);

        fresh += __builtin_popcountl(mask & ~old);
        first += n;
    }
    return fresh;
}

bool postcopy_pages_arrived(PostcopyPages *p, PostcopyBlock *pb, uint64_t first, uint64_t count)
{
    uint64_t step = postcopy_host_pages(pb);
    uint64_t fresh = set_received(pb, first, count);

    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (uint64_t page = first; page < first + count; page += step) {
        end_request(p, pb, page);
    }
    return fresh && __atomic_sub_fetch(&p->missing, fresh, __ATOMIC_SEQ_CST) == 0;
}

void postcopy_pages_drop(PostcopyPages *p, PostcopyBlock *pb, uint64_t first, uint64_t count)
{
    p->missing += bitmap_count(pb->received, first, count);
    bitmap_clear(pb->received, first, count);
}

uint64_t postcopy_pages_missing(const PostcopyPages *p)
{
    return __atomic_load_n(&p->missing, __ATOMIC_SEQ_CST);
}

bool postcopy_pages_wanted(const PostcopyPages *p)
{
    return __atomic_load_n(&p->wanted, __ATOMIC_RELAXED) != 0;
}

void postcopy_pages_copy_received(const PostcopyBlock *pb, unsigned long *out)
{
    for (uint64_t word = 0; word < BITS_TO_LONGS(length_pages(pb)); word++) {
        out[word] = __atomic_load_n(&pb->received[word], __ATOMIC_SEQ_CST);
    }
}

uint64_t postcopy_next_requested(const PostcopyBlock *pb, uint64_t page)
{
    uint64_t pages = length_pages(pb);

    for (; page < pages; page++) {
        unsigned long word = __atomic_load_n(&pb->requested[BIT_WORD(page)], __ATOMIC_SEQ_CST);

        word &= ~0UL << page % BITS_PER_LONG;
        if (word) {
            return ROUND_DOWN(page, BITS_PER_LONG) + __builtin_ctzl(word);
        }
        page |= BITS_PER_LONG - 1;
    }
    return UINT64_MAX;
}
