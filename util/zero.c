/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/zero.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

typedef bool ZeroFn(const uint8_t *buf, size_t len);

static uint64_t load64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static bool short_is_zero(const uint8_t *p, size_t len)
{
    uint8_t any = 0;

    while (len--) {
        any |= *p++;
    }
    return !any;
}

/* All bulk implementations take len >= 256; the last vector overlaps instead of a scalar tail. */
static bool zero_scalar(const uint8_t *p, size_t len)
{
    const uint8_t *end = p + len - 64;
    uint64_t any;

    for (; p < end; p += 64) {
        any = load64(p) | load64(p + 8) | load64(p + 16) | load64(p + 24) | load64(p + 32) |
              load64(p + 40) | load64(p + 48) | load64(p + 56);
        if (any) {
            return false;
        }
    }
    any = 0;
    for (int i = 0; i < 64; i += 8) {
        any |= load64(end + i);
    }
    return !any;
}

#if defined(__x86_64__)
static bool zero_sse2(const uint8_t *p, size_t len)
{
    const uint8_t *end = p + len - 64;
    const __m128i zero = _mm_setzero_si128();

    for (;; p += 64) {
        const __m128i *v;
        __m128i any;

        p = MIN(p, end);
        v = (const __m128i *)p;
        any = _mm_or_si128(_mm_or_si128(_mm_loadu_si128(v), _mm_loadu_si128(v + 1)),
                           _mm_or_si128(_mm_loadu_si128(v + 2), _mm_loadu_si128(v + 3)));
        if (_mm_movemask_epi8(_mm_cmpeq_epi8(any, zero)) != 0xFFFF) {
            return false;
        }
        if (p == end) {
            return true;
        }
    }
}

__attribute__((target("avx2"))) static bool zero_avx2(const uint8_t *p, size_t len)
{
    const uint8_t *end = p + len - 128;

    for (;; p += 128) {
        const __m256i *v;
        __m256i any;

        p = MIN(p, end);
        v = (const __m256i *)p;
        any =
            _mm256_or_si256(_mm256_or_si256(_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)),
                            _mm256_or_si256(_mm256_loadu_si256(v + 2), _mm256_loadu_si256(v + 3)));
        if (!_mm256_testz_si256(any, any)) {
            return false;
        }
        if (p == end) {
            return true;
        }
    }
}

__attribute__((target("avx512f"))) static bool zero_avx512(const uint8_t *p, size_t len)
{
    const uint8_t *end = p + len - 256;

    for (;; p += 256) {
        __m512i any;

        p = MIN(p, end);
        any = _mm512_or_si512(
            _mm512_or_si512(_mm512_loadu_si512(p), _mm512_loadu_si512(p + 64)),
            _mm512_or_si512(_mm512_loadu_si512(p + 128), _mm512_loadu_si512(p + 192)));
        if (_mm512_test_epi64_mask(any, any)) {
            return false;
        }
        if (p == end) {
            return true;
        }
    }
}
#endif

static const struct ZeroImpl {
    const char *name;
    ZeroFn *fn;
} impls[] = {
#if defined(__x86_64__)
    {"avx512", zero_avx512},
    {"avx2", zero_avx2},
    {"sse2", zero_sse2},
#endif
    {"scalar", zero_scalar},
};

static bool impl_usable(const struct ZeroImpl *impl)
{
#if defined(__x86_64__)
    if (impl->fn == zero_avx512) {
        return __builtin_cpu_supports("avx512f");
    }
    if (impl->fn == zero_avx2) {
        return __builtin_cpu_supports("avx2");
    }
#endif
    return true;
}

static const struct ZeroImpl *impl_pick(void)
{
    static const struct ZeroImpl *chosen;
    const struct ZeroImpl *impl = __atomic_load_n(&chosen, __ATOMIC_RELAXED);

    if (unlikely(!impl)) {
        impl = impls;
        while (!impl_usable(impl)) {
            impl++;
        }
        __atomic_store_n(&chosen, impl, __ATOMIC_RELAXED);
    }
    return impl;
}

bool buffer_is_zero(const void *buf, size_t len)
{
    const uint8_t *p = buf;

    if (unlikely(len < 256)) {
        return short_is_zero(p, len);
    }
    /* Data pages nearly always show it in one of these three words. */
    if (load64(p) | load64(p + (len / 2 & ~(size_t)7)) | load64(p + len - 8)) {
        return false;
    }
    return impl_pick()->fn(p, len);
}

const char *buffer_is_zero_impl(void)
{
    return impl_pick()->name;
}

bool buffer_is_zero_test_impl(unsigned i, const void *buf, size_t len, bool *result)
{
    for (const struct ZeroImpl *impl = impls; impl < impls + ARRAY_SIZE(impls); impl++) {
        if (impl_usable(impl) && i-- == 0) {
            *result = len < 256 ? short_is_zero(buf, len) : impl->fn(buf, len);
            return true;
        }
    }
    return false;
}
