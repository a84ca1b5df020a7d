/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Encoding goes in two steps. Comparing is the expensive one: it reads two pages, so it is done
 * with the widest vectors there are, and leaves one bit per byte. Making runs of the bits then
 * costs as much as there are runs: next to nothing for the small changes this is for.
 */
#include "migration/wire/xbzrle.h"
#include "memory/softtlb.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define WORDS (XBZRLE_PAGE / 64)

typedef bool UpdateFn(uint8_t *copy, const uint8_t *live, uint64_t *diff);

/* One bit per byte of @x that is not zero. */
static uint64_t nonzero_bytes(uint64_t x)
{
    uint64_t high = (((x & 0x7f7f7f7f7f7f7f7f) + 0x7f7f7f7f7f7f7f7f) | x) & 0x8080808080808080;

    return (high >> 7) * 0x0102040810204080 >> 56;
}

GUEST_ACCESS static bool update_scalar(uint8_t *copy, const uint8_t *live, uint64_t *diff)
{
    uint64_t any = 0;

    for (unsigned w = 0; w < WORDS; w++) {
        uint64_t bits = 0;

        for (unsigned i = 0; i < 8; i++, copy += 8, live += 8) {
            uint64_t was, is = __atomic_load_n((const uint64_t *)live, __ATOMIC_RELAXED);

            memcpy(&was, copy, 8);
            if (was != is) {
                bits |= nonzero_bytes(GUINT64_TO_LE(was ^ is)) << (8 * i);
                memcpy(copy, &is, 8);
            }
        }
        diff[w] = bits;
        any |= bits;
    }
    return any;
}

#if defined(__x86_64__)
GUEST_ACCESS static bool update_sse2(uint8_t *copy, const uint8_t *live, uint64_t *diff)
{
    uint64_t any = 0;

    for (unsigned w = 0; w < WORDS; w++) {
        uint64_t bits = 0;

        for (unsigned i = 0; i < 4; i++, copy += 16, live += 16) {
            __m128i is = _mm_loadu_si128((const __m128i *)live);
            __m128i same = _mm_cmpeq_epi8(is, _mm_loadu_si128((__m128i *)copy));
            uint64_t changed = (uint16_t)~_mm_movemask_epi8(same);

            if (changed) {
                _mm_storeu_si128((__m128i *)copy, is);
                bits |= changed << (16 * i);
            }
        }
        diff[w] = bits;
        any |= bits;
    }
    return any;
}

__attribute__((target("avx2"))) GUEST_ACCESS static bool update_avx2(uint8_t *copy,
                                                                     const uint8_t *live,
                                                                     uint64_t *diff)
{
    uint64_t any = 0;

    for (unsigned w = 0; w < WORDS; w++, copy += 64, live += 64) {
        __m256i is0 = _mm256_loadu_si256((const __m256i *)live);
        __m256i is1 = _mm256_loadu_si256((const __m256i *)(live + 32));
        __m256i same0 = _mm256_cmpeq_epi8(is0, _mm256_loadu_si256((__m256i *)copy));
        __m256i same1 = _mm256_cmpeq_epi8(is1, _mm256_loadu_si256((__m256i *)(copy + 32)));
        uint64_t bits = (uint32_t)~_mm256_movemask_epi8(same0) |
                        (uint64_t)(uint32_t)~_mm256_movemask_epi8(same1) << 32;

        if (bits) {
            _mm256_storeu_si256((__m256i *)copy, is0);
            _mm256_storeu_si256((__m256i *)(copy + 32), is1);
        }
        diff[w] = bits;
        any |= bits;
    }
    return any;
}

__attribute__((target("avx512bw"))) GUEST_ACCESS static bool update_avx512(uint8_t *copy,
                                                                           const uint8_t *live,
                                                                           uint64_t *diff)
{
    uint64_t any = 0;

    for (unsigned w = 0; w < WORDS; w++, copy += 64, live += 64) {
        __m512i is = _mm512_loadu_si512(live);
        uint64_t bits = _mm512_cmpneq_epi8_mask(is, _mm512_loadu_si512(copy));

        if (bits) {
            _mm512_storeu_si512(copy, is);
        }
        diff[w] = bits;
        any |= bits;
    }
    return any;
}
#endif

static const struct UpdateImpl {
    const char *name;
    UpdateFn *fn;
} impls[] = {
#if defined(__x86_64__)
    {"avx512", update_avx512},
    {"avx2", update_avx2},
    {"sse2", update_sse2},
#endif
    {"scalar", update_scalar},
};

static bool impl_usable(const struct UpdateImpl *impl)
{
#if defined(__x86_64__)
    if (impl->fn == update_avx512) {
        return __builtin_cpu_supports("avx512bw");
    }
    if (impl->fn == update_avx2) {
        return __builtin_cpu_supports("avx2");
    }
#endif
    return true;
}

/* The @i-th usable one. */
static const struct UpdateImpl *impl_usable_at(unsigned i)
{
    for (const struct UpdateImpl *impl = impls; impl < impls + ARRAY_SIZE(impls); impl++) {
        if (impl_usable(impl) && i-- == 0) {
            return impl;
        }
    }
    return NULL;
}

bool xbzrle_update(uint8_t copy[XBZRLE_PAGE], const uint8_t live[XBZRLE_PAGE], XbzrleDiff *diff)
{
    static const struct UpdateImpl *chosen;
    const struct UpdateImpl *impl = __atomic_load_n(&chosen, __ATOMIC_RELAXED);

    if (unlikely(!impl)) {
        impl = impl_usable_at(0);
        __atomic_store_n(&chosen, impl, __ATOMIC_RELAXED);
    }
    return impl->fn(copy, live, (uint64_t *)diff->bits);
}

const char *xbzrle_update_name(unsigned i)
{
    const struct UpdateImpl *impl = impl_usable_at(i);

    return impl ? impl->name : NULL;
}

bool xbzrle_update_with(unsigned i, uint8_t copy[XBZRLE_PAGE], const uint8_t live[XBZRLE_PAGE],
                        XbzrleDiff *diff)
{
    return impl_usable_at(i)->fn(copy, live, (uint64_t *)diff->bits);
}

/* ---- runs ---- */

static size_t put_length(uint8_t *out, unsigned len)
{
    if (len < 0x80) {
        out[0] = len;
        return 1;
    }
    out[0] = (len & 0x7f) | 0x80;
    out[1] = len >> 7;
    return 2;
}

int xbzrle_encode(const uint8_t page[XBZRLE_PAGE], const XbzrleDiff *diff, uint8_t out[XBZRLE_PAGE])
{
    unsigned at = 0, end = 0;
    size_t n = 0;

    while ((at = find_next_bit(diff->bits, XBZRLE_PAGE, end)) < XBZRLE_PAGE) {
        unsigned equal = at - end;

        end = find_next_zero_bit(diff->bits, XBZRLE_PAGE, at);
        if (n + 2 > XBZRLE_PAGE) {
            return -1;
        }
        n += put_length(out + n, equal);
        if (n + 2 > XBZRLE_PAGE) {
            return -1;
        }
        n += put_length(out + n, end - at);
        if (end - at > XBZRLE_PAGE - n) {
            return -1;
        }
        memcpy(out + n, page + at, end - at);
        n += end - at;
    }
    return (int)n;
}

/* A length at *@p; 0 bytes used: none there. */
static bool get_length(const uint8_t **p, const uint8_t *end, unsigned *len)
{
    if (end - *p < 2) { /* one byte of length, and at least one that follows */
        return false;
    }
    *len = *(*p)++;
    if (*len & 0x80) {
        uint8_t high = *(*p)++;

        *len = (*len & 0x7f) | (unsigned)high << 7;
        return high < 0x80;
    }
    return true;
}

bool xbzrle_decode(uint8_t page[XBZRLE_PAGE], const uint8_t *body, size_t len)
{
    const uint8_t *p = body, *end = body + len;
    unsigned at = 0;

    while (p < end) {
        unsigned equal, changed;

        if (!get_length(&p, end, &equal) || (!equal && at) || equal > XBZRLE_PAGE - at) {
            return false;
        }
        at += equal;
        if (!get_length(&p, end, &changed) || !changed || changed > XBZRLE_PAGE - at ||
            changed > (size_t)(end - p)) {
            return false;
        }
        memcpy(page + at, p, changed);
        p += changed;
        at += changed;
    }
    return true;
}
