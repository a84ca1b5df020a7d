/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bitmaps of unsigned long words, bit 0 = LSB of word 0.  Scanning is by word.
 * Functions without "atomic" need external locking.
 */
#ifndef GODWIT_UTIL_BITMAP_H
#define GODWIT_UTIL_BITMAP_H

#include "util/osdep.h"

#define BITS_PER_LONG    (sizeof(unsigned long) * 8)
#define BITS_TO_LONGS(n) DIV_ROUND_UP(n, BITS_PER_LONG)
#define BIT_MASK(n)      (1UL << ((n) % BITS_PER_LONG))
#define BIT_WORD(n)      ((n) / BITS_PER_LONG)

/* A zeroed bitmap of @nbits; free with g_free().  NULL if @nbits is absurd or memory is short. */
unsigned long *bitmap_try_new(uint64_t nbits);
/* As above for trusted sizes; aborts like g_malloc(). */
unsigned long *bitmap_new(uint64_t nbits);

static inline bool test_bit(uint64_t nr, const unsigned long *map)
{
    return (map[BIT_WORD(nr)] >> (nr % BITS_PER_LONG)) & 1;
}

static inline void set_bit(uint64_t nr, unsigned long *map)
{
    map[BIT_WORD(nr)] |= BIT_MASK(nr);
}

static inline void clear_bit(uint64_t nr, unsigned long *map)
{
    map[BIT_WORD(nr)] &= ~BIT_MASK(nr);
}

/* Set bit @nr; true if it was clear before.  Release ordering: earlier stores are visible first. */
static inline bool set_bit_atomic(uint64_t nr, unsigned long *map)
{
    unsigned long mask = BIT_MASK(nr);
    unsigned long *word = &map[BIT_WORD(nr)];

    if (__atomic_load_n(word, __ATOMIC_RELAXED) & mask) {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (__atomic_load_n(word, __ATOMIC_RELAXED) & mask) {
            return false;
        }
    }
    return !(__atomic_fetch_or(word, mask, __ATOMIC_SEQ_CST) & mask);
}

void bitmap_set(unsigned long *map, uint64_t start, uint64_t n);
void bitmap_clear(unsigned long *map, uint64_t start, uint64_t n);
void bitmap_set_atomic(unsigned long *map, uint64_t start, uint64_t n);

/* First set/clear bit at or after @start, or @nbits if none. Others may change bits atomically. */
uint64_t find_next_bit(const unsigned long *map, uint64_t nbits, uint64_t start);
uint64_t find_next_zero_bit(const unsigned long *map, uint64_t nbits, uint64_t start);

/* Number of set bits in [start, start + n). */
uint64_t bitmap_count(const unsigned long *map, uint64_t start, uint64_t n);

/* dst |= src for @nbits; returns how many bits were newly set. */
uint64_t bitmap_or_count(unsigned long *dst, const unsigned long *src, uint64_t nbits);

/* Atomically move all bits of [0, nbits) from @src into @dst; returns newly set bits of @dst.
 * @dst is owned by the caller, @src may be set concurrently. */
uint64_t bitmap_fetch_clear_or(unsigned long *dst, unsigned long *src, uint64_t nbits);

#endif
