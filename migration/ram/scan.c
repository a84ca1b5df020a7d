/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/ram/scan.h"

/* The first dirty page from s->page on that is not passed over; behind the block's end: none. */
static uint64_t next_page(RamScan *s, DirtyBlock *db, uint64_t pages)
{
    uint64_t page = find_next_bit(db->map, pages, MIN(s->page, pages));

    while (page < pages && !s->everything && test_bit(BIT_WORD(page), db->hot)) {
        set_bit(BIT_WORD(page), db->passed);
        s->passed_over = true;
        page = find_next_bit(db->map, pages, ROUND_DOWN(page, BITS_PER_LONG) + BITS_PER_LONG);
    }
    return page;
}

/* Where a run from @page on ends: at a clean page, at @end, or at hot memory. */
static uint64_t run_end(const RamScan *s, const DirtyBlock *db, uint64_t page, uint64_t end)
{
    uint64_t stop = find_next_zero_bit(db->map, end, page);

    if (!s->everything) {
        uint64_t hot = find_next_bit(db->hot, BITS_TO_LONGS(stop), BIT_WORD(page) + 1);

        stop = MIN(stop, hot * BITS_PER_LONG);
    }
    return stop;
}

/* The walk begins anew. True: it passed over something that is still to be sent. */
static bool begin_round(RamScan *s)
{
    bool left = s->passed_over;

    s->rounds++;
    s->everything = s->last || !s->everything;
    s->passed_over = false;
    return left && !s->last;
}

bool ram_scan_peek(RamScan *s, uint64_t max, RamRun *run)
{
    DirtyMap *d = s->dirty;

    if (d->dirty_pages == 0) {
        return false;
    }
    s->everything |= s->last;
    /* A round to the end, a whole one, and the start of the next. */
    for (unsigned visits = 0; visits <= 2 * d->n; visits++) {
        DirtyBlock *db = &d->blocks[s->index];
        uint64_t pages = ram_block_pages(db->block);

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
