/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/ram/scan.h"

bool ram_scan_peek(RamScan *s, uint64_t max, RamRun *run)
{
    const DirtyMap *d = s->dirty;

    if (d->dirty_pages == 0) {
        return false;
    }
    /* One visit more than there are blocks: the part of the first before the cursor comes last. */
    for (unsigned visits = 0; visits <= d->n; visits++) {
        const DirtyBlock *db = &d->blocks[s->index];
        uint64_t pages = ram_block_pages(db->block);

        s->page = find_next_bit(db->map, pages, MIN(s->page, pages));
        if (s->page < pages) {
            uint64_t end = s->page + MIN(max, pages - s->page);

            run->block = db->block;
            run->first = s->page;
            run->count = find_next_zero_bit(db->map, end, s->page) - s->page;
            return true;
        }
        s->page = 0;
        s->index = (s->index + 1) % d->n;
        s->rounds += s->index == 0;
    }
    return false;
}

void ram_scan_take(RamScan *s, uint64_t count)
{
    bitmap_clear(s->dirty->blocks[s->index].map, s->page, count);
    s->dirty->dirty_pages -= count;
    s->page += count;
}
