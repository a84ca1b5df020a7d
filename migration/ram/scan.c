/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/ram/scan.h"

/* The first sweep keeps a quarter of the memory away from what is written, each one after it a
 * quarter of that. */
#define MARGIN_SHIFT 2
/* More than all margins, the rest of a round, a whole one and the start of the next take. */
#define MAX_SWEEPS (64 / MARGIN_SHIFT + 4)

static bool first_pass(const RamScan *s)
{
    return s->rounds == 0;
}

static const unsigned long *avoided(const RamScan *s, const DirtyBlock *db)
{
    return first_pass(s) ? db->written : db->hot;
}

/* Word @w is too near to what is written: go on behind it, at the word returned; else 0. */
static uint64_t detour(const RamScan *s, const DirtyBlock *db, uint64_t words, uint64_t w)
{
    const unsigned long *avoid = avoided(s, db);
    uint64_t margin = s->margin, end = MIN(words, w + margin + 1);
    uint64_t near = find_next_bit(avoid, end, w);

    if (near >= end) {
        end = w;
        near = find_next_bit(avoid, end, w - MIN(w, margin));
    }
    return near < end ? near + margin + 1 : 0;
}

/* The first dirty page from s->page on that is not passed over; behind the block's end: none. */
static uint64_t next_page(RamScan *s, DirtyBlock *db, uint64_t pages)
{
    uint64_t words = BITS_TO_LONGS(pages), page = find_next_bit(db->map, pages, s->page), behind;

    while (page < pages && !s->everything && (behind = detour(s, db, words, BIT_WORD(page)))) {
        behind = MIN(behind, words);
        bitmap_set(db->passed, BIT_WORD(page), behind - BIT_WORD(page));
        s->passed_over = true;
        page = find_next_bit(db->map, pages, MIN(behind * BITS_PER_LONG, pages));
    }
    return page;
}

/* Where a run from @page on ends: at a clean page, at @end, or before what is passed over. */
static uint64_t run_end(const RamScan *s, const DirtyBlock *db, uint64_t page, uint64_t end)
{
    uint64_t stop = find_next_zero_bit(db->map, end, page);

    if (!s->everything) {
        uint64_t words =
            MIN(BITS_TO_LONGS(stop) + s->margin, BITS_TO_LONGS(ram_block_pages(db->block)));
        uint64_t near = find_next_bit(avoided(s, db), words, BIT_WORD(page) + 1);

        stop = near < words ? MIN(stop, (near - s->margin) * BITS_PER_LONG) : stop;
    }
    return stop;
}

/* The walk begins anew. True: it passed over something that is still to be sent. */
static bool begin_round(RamScan *s)
{
    bool left = s->passed_over;

    s->passed_over = false;
    if (left && s->margin && !s->last) {
        s->margin >>= MARGIN_SHIFT;
        return false;
    }
    s->margin = 0;
    s->rounds++;
    s->everything = s->last || !s->everything;
    return left && !s->last;
}

void ram_scan_start(RamScan *s, DirtyMap *dirty)
{
    uint64_t longest = 0;

    *s = (RamScan){.dirty = dirty};
    for (unsigned i = 0; i < dirty->n; i++) {
        longest = MAX(longest, ram_block_pages(dirty->blocks[i].block));
    }
    s->margin = BITS_TO_LONGS(longest) >> MARGIN_SHIFT;
}

bool ram_scan_peek(RamScan *s, uint64_t max, RamRun *run)
{
    DirtyMap *d = s->dirty;

    if (d->dirty_pages == 0) {
        return false;
    }
    s->everything |= s->last;
    for (unsigned visits = 0; visits < MAX_SWEEPS * d->n; visits++) {
        DirtyBlock *db = &d->blocks[s->index];
        uint64_t pages = ram_block_pages(db->block);

        s->page = MIN(s->page, pages);
        s->page = next_page(s, db, pages);
        if (s->page < pages) {
            uint64_t end = s->page + MIN(max, pages - s->page);

            run->block = db->block;
            run->first = s->page;
            run->count = run_end(s, db, s->page, end) - s->page;
            return true;
        }
        s->page = 0;
        s->index = (s->index + 1) % d->n;
        if (s->index == 0 && begin_round(s)) {
            return false;
        }
    }
    return false;
}

void ram_scan_take(RamScan *s, uint64_t count)
{
    bitmap_clear(s->dirty->blocks[s->index].map, s->page, count);
    s->dirty->dirty_pages -= count;
    s->page += count;
}
