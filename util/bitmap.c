/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/bitmap.h"

unsigned long *bitmap_try_new(uint64_t nbits)
{
    uint64_t words = BITS_TO_LONGS(nbits);

    if (words > SIZE_MAX / sizeof(unsigned long)) {
        return NULL;
    }
    return g_try_malloc0_n(MAX(words, 1), sizeof(unsigned long));
}

unsigned long *bitmap_new(uint64_t nbits)
{
    return g_malloc0_n(MAX(BITS_TO_LONGS(nbits), 1), sizeof(unsigned long));
}

/* Bits of word @word that lie inside [start, end). */
static unsigned long range_mask(uint64_t word, uint64_t start, uint64_t end)
{
    uint64_t first = word * BITS_PER_LONG;
    unsigned long mask = ~0UL;

    if (start > first) {
        mask &= ~0UL << (start - first);
    }
    if (end < first + BITS_PER_LONG) {
        mask &= ~0UL >> (first + BITS_PER_LONG - end);
    }
    return mask;
}

void bitmap_set(unsigned long *map, uint64_t start, uint64_t n)
{
    if (n) {
        for (uint64_t w = BIT_WORD(start); w <= BIT_WORD(start + n - 1); w++) {
            map[w] |= range_mask(w, start, start + n);
        }
    }
}

void bitmap_clear(unsigned long *map, uint64_t start, uint64_t n)
{
    if (n) {
        for (uint64_t w = BIT_WORD(start); w <= BIT_WORD(start + n - 1); w++) {
            map[w] &= ~range_mask(w, start, start + n);
        }
    }
}

void bitmap_set_atomic(unsigned long *map, uint64_t start, uint64_t n)
{
    if (n) {
        for (uint64_t w = BIT_WORD(start); w <= BIT_WORD(start + n - 1); w++) {
            __atomic_fetch_or(&map[w], range_mask(w, start, start + n), __ATOMIC_SEQ_CST);
        }
    }
}

/* First bit at or after @start whose value differs from the bits of @invert. */
static uint64_t find_next(const unsigned long *map, uint64_t nbits, uint64_t start,
                          unsigned long invert)
{
    uint64_t words = BITS_TO_LONGS(nbits);
    uint64_t w = BIT_WORD(start);
    unsigned long v;

    if (start >= nbits) {
        return nbits;
    }
    v = (__atomic_load_n(&map[w], __ATOMIC_RELAXED) ^ invert) & (~0UL << (start % BITS_PER_LONG));
    while (!v) {
        if (++w == words) {
            return nbits;
        }
        v = __atomic_load_n(&map[w], __ATOMIC_RELAXED) ^ invert;
    }
    return MIN(w * BITS_PER_LONG + __builtin_ctzl(v), nbits);
}

uint64_t find_next_bit(const unsigned long *map, uint64_t nbits, uint64_t start)
{
    return find_next(map, nbits, start, 0);
}

uint64_t find_next_zero_bit(const unsigned long *map, uint64_t nbits, uint64_t start)
{
    return find_next(map, nbits, start, ~0UL);
}

uint64_t bitmap_count(const unsigned long *map, uint64_t start, uint64_t n)
{
    uint64_t count = 0;

    if (n) {
        for (uint64_t w = BIT_WORD(start); w <= BIT_WORD(start + n - 1); w++) {
            count += __builtin_popcountl(map[w] & range_mask(w, start, start + n));
        }
    }
    return count;
}

uint64_t bitmap_or_count(unsigned long *dst, const unsigned long *src, uint64_t nbits)
{
    uint64_t fresh = 0;

    for (uint64_t w = 0; w < BITS_TO_LONGS(nbits); w++) {
        unsigned long add = src[w] & range_mask(w, 0, nbits) & ~dst[w];

        fresh += __builtin_popcountl(add);
        dst[w] |= add;
    }
    return fresh;
}

uint64_t bitmap_fetch_clear_or(unsigned long *dst, unsigned long *src, uint64_t nbits)
{
    uint64_t fresh = 0;

    for (uint64_t w = 0; w < BITS_TO_LONGS(nbits); w++) {
        unsigned long add;

        /* Most words are zero: a plain load keeps the cache line shared. */
        if (!__atomic_load_n(&src[w], __ATOMIC_RELAXED)) {
            continue;
        }
        add = __atomic_exchange_n(&src[w], 0, __ATOMIC_SEQ_CST) & ~dst[w];
        fresh += __builtin_popcountl(add);
        dst[w] |= add;
    }
    return fresh;
}
