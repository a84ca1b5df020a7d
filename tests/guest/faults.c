/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long does a touch of memory take? Fills a working set, waits for `g`, then reads pages at
 * random, checks them and keeps the distribution of touches that took longer than memory does: of
 * the faults of a postcopy migration, as the guest sees them.
 */
#include "guest.h"

#define MEM_BASE  0x80200000ul
#define PAGE_MIX  0x9e3779b97f4a7c15ul
#define LAST_WORD 511

/* Shorter touches are hits. */
#define FAULT_TICKS (5 * TICKS_PER_US)
/* 16 buckets for each power of two. */
#define BUCKETS (64 * 16)

static uint32_t waits[BUCKETS];
static uint64_t n_waits, longest, touches;

static unsigned bucket_of(uint64_t ticks)
{
    unsigned log = 0;

    while (ticks >> log >= 32) {
        log++;
    }
    return log * 16 + (ticks >> log);
}

/* The middle of a bucket. */
static uint64_t ticks_of(unsigned bucket)
{
    unsigned log = bucket < 32 ? 0 : bucket / 16 - 1;

    return ((uint64_t)(bucket - log * 16) << log) + ((1ul << log) >> 1);
}

static uint64_t per_mille(unsigned share)
{
    uint64_t below = 0;

    for (unsigned b = 0; b < BUCKETS; b++) {
        below += waits[b];
        if (n_waits && below * 1000 >= n_waits * share) {
            return ticks_of(b) * 1000 / TICKS_PER_US;
        }
    }
    return 0;
}

static void report(void)
{
    guest_printf("godwit-faults: n=%u p50_ns=%u p99_ns=%u max_ns=%u touches=%u\n", n_waits,
                 per_mille(500), per_mille(990), longest * 1000 / TICKS_PER_US, touches);
}

static volatile uint64_t *page_address(uint64_t page)
{
    return (volatile uint64_t *)(MEM_BASE + (page << 12));
}

static void touch(uint64_t page)
{
    uint64_t before = guest_time(), got = *page_address(page), took = guest_time() - before;

    if (got != (page + 1) * PAGE_MIX || page_address(page)[LAST_WORD] != got) {
        guest_printf("godwit-guest: FAIL page=%u got=%x\n", page, got);
        guest_power_off();
    }
    touches++;
    if (took >= FAULT_TICKS) {
        waits[bucket_of(took)]++;
        n_waits++;
        longest = took > longest ? took : longest;
    }
}

void guest_main(unsigned long hart, const void *fdt)
{
    uint64_t pages, random = 88172645463325252ul;
    bool go = false;

    if (hart) {
        return;
    }
    pages = arg_u64(fdt_bootargs(fdt), "ws", 16ul << 20) >> 12;
    for (uint64_t page = 0; page < pages; page++) {
        page_address(page)[0] = page_address(page)[LAST_WORD] = (page + 1) * PAGE_MIX;
    }
    guest_printf("godwit-faults: ready\n");
    for (unsigned turn = 0;; turn++) {
        if (go) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            touch(random % pages);
        }
        if (turn % 64 == 0) {
            int c = uart_getc();

            go |= c == 'g';
            if (c == 'r') {
                report();
            }
        }
    }
}
