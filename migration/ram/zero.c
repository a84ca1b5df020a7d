/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/ram/zero.h"
#include "util/zero.h"

/* Reading fewer pages than this is cheaper than asking about them. */
#define ASK_PAGES 256

void ram_zero_forget(RamZero *z)
{
    z->block = NULL;
}

/* The window around the start of @run, asked for if that pays; NULL: read the pages. */
static const unsigned long *window(RamZero *z, const RamRun *run)
{
    uint64_t first = ROUND_DOWN(run->first, ZERO_WINDOW_PAGES);

    if (z->block == run->block && z->first == first) {
        return z->untouched;
    }
    if (run->count < ASK_PAGES) {
        return NULL;
    }
    ram_block_find_untouched(run->block, first,
                             MIN(ZERO_WINDOW_PAGES, ram_block_pages(run->block) - first),
                             z->untouched);
    z->block = run->block;
    z->first = first;
    return z->untouched;
}

uint64_t ram_zero_split(RamZero *z, const RamRun *run, uint64_t max_zero, uint64_t max_data,
                        bool *is_zero)
{
    const uint8_t *host = run->block->host + (run->first << TARGET_PAGE_BITS);
    const unsigned long *untouched;
    uint64_t base, limit, n = 0;

    *is_zero = false;
    if (z->off) {
        return MIN(run->count, max_data);
    }
    untouched = window(z, run);
    base = run->first % ZERO_WINDOW_PAGES;
    limit = untouched ? MIN(run->count, ZERO_WINDOW_PAGES - base) : run->count;
    while (n < limit) {
        uint64_t known =
            untouched ? find_next_zero_bit(untouched, base + limit, base + n) - (base + n) : 0;
        bool zero = known || buffer_is_zero(host + (n << TARGET_PAGE_BITS), TARGET_PAGE_SIZE);

        if (n == 0) {
            *is_zero = zero;
            limit = MIN(limit, zero ? max_zero : max_data);
        } else if (zero != *is_zero) {
            break;
        }
        n += MAX(known, 1);
    }
    return MIN(n, limit);
}
