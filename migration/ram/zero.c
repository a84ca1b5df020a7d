/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/ram/zero.h"
#include "util/zero.h"

/* Reading fewer pages than this is cheaper than asking about them. */
#define ASK_PAGES 256

void ram_zero_forget(RamZero *z)
{
    z->block = NULL;
    if (z->ahead_block) {
        zero_ahead_stop(z->ahead);
        z->ahead_block = NULL;
    }
}

void ram_zero_clear(RamZero *z)
{
    ram_zero_forget(z);
    g_clear_pointer(&z->ahead, zero_ahead_free);
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

/* A second thread pays for stretches of this length, after as many zero pages in a row or so. */
#define AHEAD_PAGES 2048

static bool is_ahead(const RamZero *z, const RAMBlock *block, uint64_t page)
{
    return z->ahead_block == block && page - z->ahead_first < z->ahead_count;
}

/* Read ahead from the start of @run if that seems to pay. Untouched pages stay unread. */
static bool go_ahead(RamZero *z, const RamRun *run, const unsigned long *untouched)
{
    uint64_t base = run->first % ZERO_WINDOW_PAGES, count;

    if (z->streak < AHEAD_PAGES || run->count < AHEAD_PAGES || !untouched) {
        return false;
    }
    count = find_next_bit(untouched, base + run->count, base) - base;
    if (count < AHEAD_PAGES || (!z->ahead && !(z->ahead = zero_ahead_new()))) {
        return false;
    }
    z->ahead_block = run->block;
    z->ahead_first = run->first;
    z->ahead_count = count;
    zero_ahead_start(z->ahead, run->block->host + (run->first << TARGET_PAGE_BITS), count);
    return true;
}

/* How many pages from the start of @run on have to be read and all are zero, or all are not. At
 * least 1; may be fewer than there are. */
static uint64_t read_same(RamZero *z, const RamRun *run, const unsigned long *untouched, bool *zero)
{
    uint64_t n = 1;

    if (is_ahead(z, run->block, run->first) || go_ahead(z, run, untouched)) {
        uint64_t index = run->first - z->ahead_first;

        n = zero_ahead_same(z->ahead, index, MIN(run->count, z->ahead_count - index), zero);
    } else {
        *zero =
            buffer_is_zero(run->block->host + (run->first << TARGET_PAGE_BITS), TARGET_PAGE_SIZE);
    }
    z->streak = *zero ? MIN(z->streak + n, 2 * AHEAD_PAGES) : z->streak - MIN(z->streak, n);
    return n;
}

uint64_t ram_zero_split(RamZero *z, const RamRun *run, uint64_t max_zero, uint64_t max_data,
                        bool *is_zero)
{
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
        uint64_t same =
            untouched ? find_next_zero_bit(untouched, base + limit, base + n) - (base + n) : 0;
        bool zero = true;

        if (same == 0) {
            RamRun rest = {run->block, run->first + n, limit - n};

            same = read_same(z, &rest, untouched, &zero);
        }
        if (n == 0) {
            *is_zero = zero;
            limit = MIN(limit, zero ? max_zero : max_data);
        } else if (zero != *is_zero) {
            break;
        }
        n += same;
    }
    return MIN(n, limit);
}
