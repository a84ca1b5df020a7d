/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <xxhash.h>
#include "migration/ram/unchanged.h"
#include "memory/softtlb.h"

/* Patches are made and sent in batches of so many pages. */
#define BATCH 64
/* One group in SAMPLE_GROUPS is always watched; a group is GROUP_PAGES neighbours. */
#define GROUP_PAGES   16
#define SAMPLE_GROUPS 16
/* It pays when of the last CHECKS comparisons one in PAYS found nothing new. */
#define CHECKS 256
#define PAYS   6

struct RamUnchanged {
    const DirtyMap *dirty;
    uint64_t **hashes; /* per block and page, of what was sent last; 0: unknown */
    uint64_t seed;     /* nobody can prepare two pages with one hash */
    bool all;          /* it pays: watch every page */
    unsigned checks, hits;
    RamPatch patches[BATCH];
    uint64_t copies[BATCH][TARGET_PAGE_SIZE / sizeof(uint64_t)];
};

RamUnchanged *ram_unchanged_new(const DirtyMap *dirty)
{
    RamUnchanged *u = g_new0(RamUnchanged, 1);

    u->dirty = dirty;
    u->seed = (uint64_t)g_random_int() << 32 | g_random_int();
    u->hashes = g_new0(uint64_t *, dirty->n);
    for (unsigned i = 0; i < dirty->n; i++) {
        /* Populated as pages are watched. */
        u->hashes[i] = g_try_new0(uint64_t, ram_block_pages(dirty->blocks[i].block));
        if (!u->hashes[i]) {
            ram_unchanged_free(u);
            return NULL;
        }
    }
    return u;
}

void ram_unchanged_free(RamUnchanged *u)
{
    if (u) {
        for (unsigned i = 0; i < u->dirty->n; i++) {
            g_free(u->hashes[i]);
        }
        g_free(u->hashes);
        g_free(u);
    }
}

static uint64_t *hashes_of(RamUnchanged *u, const RAMBlock *block)
{
    for (unsigned i = 0; i < u->dirty->n; i++) {
        if (u->dirty->blocks[i].block == block) {
            return u->hashes[i];
        }
    }
    g_assert_not_reached();
}

/* Most are unknown, and their memory shall stay untouched. */
static void forget(uint64_t *hash)
{
    if (*hash) {
        *hash = 0;
    }
}

static bool is_watched(const RamUnchanged *u, uint64_t page)
{
    return u->all || page / GROUP_PAGES * UINT64_C(0x9e3779b97f4a7c15) >> 60 == 0;
}

/* The guest may be writing: each word is read once. */
GUEST_ACCESS static void copy_page(uint64_t *copy, const uint8_t *live)
{
    const uint64_t *from = (const uint64_t *)live;

    for (unsigned i = 0; i < TARGET_PAGE_SIZE / sizeof(uint64_t); i++) {
        copy[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
    }
}

static void note_check(RamUnchanged *u, bool hit)
{
    u->checks++;
    u->hits += hit;
    if (u->checks == CHECKS) {
        u->all = u->hits * PAYS >= CHECKS;
        u->checks = u->hits = 0;
    }
}

/* True: the page differs from what was sent; copy and hash are of what is sent now. */
static bool page_changed(RamUnchanged *u, uint64_t *hash, uint64_t *copy, const uint8_t *live)
{
    uint64_t now, before = *hash;

    copy_page(copy, live);
    now = XXH3_64bits_withSeed(copy, TARGET_PAGE_SIZE, u->seed);
    *hash = now ? now : 1;
    if (before) {
        note_check(u, *hash == before);
    }
    return *hash != before;
}

uint64_t ram_unchanged_split(RamUnchanged *u, const RamRun *run, uint64_t max, bool *watched,
                             const RamPatch **patches, unsigned *n)
{
    uint64_t *hashes = hashes_of(u, run->block), i;

    max = MIN(max, run->count);
    *watched = is_watched(u, run->first);
    *patches = u->patches;
    *n = 0;
    if (*watched) {
        max = MIN(max, BATCH);
    }
    for (i = 0; i < max && is_watched(u, run->first + i) == *watched; i++) {
        uint64_t page = run->first + i;

        if (!*watched) {
            forget(&hashes[page]);
        } else if (page_changed(u, &hashes[page], u->copies[*n],
                                run->block->host + (page << TARGET_PAGE_BITS))) {
            u->patches[*n] = (RamPatch){page, (const uint8_t *)u->copies[*n], 0, false};
            (*n)++;
        }
    }
    return i;
}

void ram_unchanged_forget(RamUnchanged *u, const RamRun *part)
{
    uint64_t *hashes = hashes_of(u, part->block);

    for (uint64_t i = 0; i < part->count; i++) {
        forget(&hashes[part->first + i]);
    }
}
