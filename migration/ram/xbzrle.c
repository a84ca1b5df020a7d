/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/ram/xbzrle.h"
#include "memory/softtlb.h"
#include "migration/wire/ram.h"
#include "migration/wire/xbzrle.h"

/* A record around a delta: word, encoding, length. */
#define PAGE_RECORD_BYTES (RAM_WORD_BYTES + RAM_PAGE_SIZE)
/* A page not seen for so many passes may be replaced. */
#define STALE_PASSES 2

typedef struct {
    uint64_t page; /* in the flat space of all blocks, + 1; 0: empty */
    uint64_t age;  /* pass in which it was sent last */
} Slot;

typedef struct {
    uint64_t n; /* slots, a power of two */
    Slot *slots;
    uint8_t *pages;
} Cache;

/* What happened in a pass. */
typedef struct {
    uint64_t handled, hits, misses, hit_bytes;
} PassCounts;

struct RamXbzrle {
    Cache cache;
    uint64_t limit; /* no cache is larger than memory */
    uint64_t pass;
    MigrationCounters *counters;
    PassCounts now, before;
    RamPatch patches[XBZRLE_BATCH];
    /* Among the patches of the last split: deltas, whole pages, and how many of these are hits. */
    unsigned n_deltas, n_pages, n_overflows;
    uint8_t bodies[XBZRLE_BATCH][XBZRLE_PAGE];
};

/* ---- the cache ---- */

static bool cache_init(Cache *c, uint64_t bytes, uint64_t limit, GError **errp)
{
    c->n = 1;
    while (c->n < MIN(bytes, limit) >> TARGET_PAGE_BITS) {
        c->n *= 2;
    }
    c->slots = g_try_new0(Slot, c->n);
    c->pages = g_try_malloc_n(c->n, TARGET_PAGE_SIZE); /* populated as it fills */
    if (!c->slots || !c->pages) {
        error_setg(errp, "Not enough memory for an XBZRLE cache of %" PRIu64 " bytes: lower '%s'",
                   c->n << TARGET_PAGE_BITS, "xbzrle-cache-size");
        g_free(c->slots);
        g_free(c->pages);
        return false;
    }
    return true;
}

static void cache_clear(Cache *c)
{
    g_free(c->slots);
    g_free(c->pages);
}

static uint64_t flat_page(const RAMBlock *block, uint64_t page)
{
    return (block->offset >> TARGET_PAGE_BITS) + page;
}

static Slot *slot_of(const Cache *c, uint64_t flat)
{
    return &c->slots[flat & (c->n - 1)];
}

static uint8_t *slot_bytes(const Cache *c, const Slot *slot)
{
    return c->pages + ((uint64_t)(slot - c->slots) << TARGET_PAGE_BITS);
}

static bool slot_holds(const Slot *slot, uint64_t flat)
{
    return slot->page == flat + 1;
}

RamXbzrle *ram_xbzrle_new(uint64_t bytes, uint64_t ram_bytes, MigrationCounters *counters,
                          GError **errp)
{
    RamXbzrle *x = g_new0(RamXbzrle, 1);

    x->limit = ram_bytes;
    x->counters = counters;
    if (!cache_init(&x->cache, bytes, x->limit, errp)) {
        g_clear_pointer(&x, g_free);
    }
    return x;
}

void ram_xbzrle_free(RamXbzrle *x)
{
    if (x) {
        cache_clear(&x->cache);
        g_free(x);
    }
}

void ram_xbzrle_resize(RamXbzrle *x, uint64_t bytes)
{
    Cache old = x->cache, new;

    if (!cache_init(&new, bytes, x->limit, NULL)) {
        return;
    }
    for (uint64_t i = 0; i < old.n; i++) {
        Slot *from = &old.slots[i], *to;

        if (!from->page) {
            continue;
        }
        to = slot_of(&new, from->page - 1);
        if (!to->page || to->age < from->age) {
            *to = *from;
            memcpy(slot_bytes(&new, to), slot_bytes(&old, from), TARGET_PAGE_SIZE);
        }
    }
    cache_clear(&old);
    x->cache = new;
}

/* ---- a pass, and what it tells ---- */

void ram_xbzrle_new_pass(RamXbzrle *x)
{
    const PassCounts *p = &x->now;
    MigrationCounters *c = x->counters;

    x->pass++;
    if (!p->handled) {
        return;
    }
    stat_set(&c->xbzrle_miss_rate_ppm, p->misses * 1000000 / p->handled);
    stat_set(&c->xbzrle_encoding_rate_milli,
             p->hit_bytes ? (p->hits << TARGET_PAGE_BITS) * 1000 / p->hit_bytes : 0);
    x->before = *p;
    x->now = (PassCounts){0};
}

uint64_t ram_xbzrle_cost(const RamXbzrle *x, const DirtyMap *dirty)
{
    /* Both passes count, so that a short one says little. */
    uint64_t hits = x->now.hits + x->before.hits;
    uint64_t bytes = x->now.hit_bytes + x->before.hit_bytes;
    uint64_t cached = 0;

    if (!hits) {
        return dirty->dirty_pages << TARGET_PAGE_BITS;
    }
    for (unsigned i = 0; i < dirty->n; i++) {
        const DirtyBlock *db = &dirty->blocks[i];
        uint64_t pages = ram_block_pages(db->block);

        for (uint64_t p = 0; (p = find_next_bit(db->map, pages, p)) < pages; p++) {
            uint64_t flat = flat_page(db->block, p);

            cached += slot_holds(slot_of(&x->cache, flat), flat);
        }
    }
    return (uint64_t)((double)cached * (double)bytes / (double)hits) +
           ((dirty->dirty_pages - cached) << TARGET_PAGE_BITS);
}

/* ---- pages ---- */

static void add_patch(RamXbzrle *x, unsigned *n, uint64_t page, const uint8_t *bytes, int delta)
{
    x->patches[(*n)++] = (RamPatch){page, bytes, MAX(delta, 0), delta >= 0};
    *(delta >= 0 ? &x->n_deltas : &x->n_pages) += 1;
}

/* The page is cached: make a patch of what changed. */
static void patch_hit(RamXbzrle *x, Slot *slot, const uint8_t *live, uint64_t page, unsigned *n)
{
    uint8_t *copy = slot_bytes(&x->cache, slot);
    XbzrleDiff diff;
    int len;

    x->now.hits++;
    slot->age = x->pass;
    stat_add(&x->counters->xbzrle_pages, 1);
    if (!xbzrle_update(copy, live, &diff)) {
        return;
    }
    len = xbzrle_encode(copy, &diff, x->bodies[*n]);
    if (len < 0) {
        stat_add(&x->counters->xbzrle_overflow, 1);
        x->n_overflows++;
        add_patch(x, n, page, copy, -1);
    } else {
        add_patch(x, n, page, x->bodies[*n], len);
    }
}

/* May @slot take another page? */
static bool slot_free(const RamXbzrle *x, const Slot *slot)
{
    return !slot->page || slot->age + STALE_PASSES <= x->pass;
}

GUEST_ACCESS static void patch_miss(RamXbzrle *x, Slot *slot, uint64_t flat, const uint8_t *live,
                                    uint64_t page, unsigned *n)
{
    uint8_t *copy = slot_bytes(&x->cache, slot);

    *slot = (Slot){flat + 1, x->pass};
    memcpy(copy, live, TARGET_PAGE_SIZE);
    add_patch(x, n, page, copy, -1);
}

uint64_t ram_xbzrle_split(RamXbzrle *x, const RamRun *run, uint64_t max, bool last,
                          XbzrleKind *kind, const RamPatch **patches, unsigned *n)
{
    /* Neighbours never share a slot as long as a batch is no longer than the cache. */
    uint64_t batch = MIN(x->cache.n, XBZRLE_BATCH), i, missed = 0;

    max = MIN(max, run->count);
    *n = x->n_deltas = x->n_pages = x->n_overflows = 0;
    *patches = x->patches;
    for (i = 0; i < max; i++) {
        uint64_t page = run->first + i, flat = flat_page(run->block, page);
        const uint8_t *live = run->block->host + (page << TARGET_PAGE_BITS);
        Slot *slot = slot_of(&x->cache, flat);
        bool hit = slot_holds(slot, flat);
        XbzrleKind this = hit || (!last && slot_free(x, slot)) ? XBZRLE_DELTAS : XBZRLE_PLAIN;

        if (i == 0) {
            *kind = this;
        } else if (this != *kind || (this == XBZRLE_DELTAS && i == batch)) {
            break;
        }
        missed += !hit;
        if (hit) {
            patch_hit(x, slot, live, page, n);
        } else if (this == XBZRLE_DELTAS) {
            patch_miss(x, slot, flat, live, page, n);
        }
    }
    x->now.handled += i;
    x->now.misses += missed;
    stat_add(&x->counters->xbzrle_cache_miss, missed);
    return i;
}

void ram_xbzrle_sent(RamXbzrle *x, uint64_t bytes)
{
    uint64_t whole = MIN(bytes, x->n_pages * (uint64_t)PAGE_RECORD_BYTES);
    uint64_t deltas = bytes - whole;

    stat_add(&x->counters->xbzrle_bytes, deltas - MIN(deltas, x->n_deltas * RAM_WORD_BYTES) +
                                             x->n_overflows * TARGET_PAGE_SIZE);
    stat_add(&x->counters->normal_pages, x->n_pages);
    x->now.hit_bytes += deltas + x->n_overflows * (uint64_t)PAGE_RECORD_BYTES;
}

void ram_xbzrle_zeroed(RamXbzrle *x, const RAMBlock *block, uint64_t first, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t flat = flat_page(block, first + i);
        Slot *slot = slot_of(&x->cache, flat);

        if (slot_holds(slot, flat)) {
            memset(slot_bytes(&x->cache, slot), 0, TARGET_PAGE_SIZE);
            slot->age = x->pass;
        }
    }
}
