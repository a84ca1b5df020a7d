/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The arguments of postcopy commands. First byte: 0 discard, 1 a block name, 2 advise. */
#include "fuzz.h"
#include "migration/wire/postcopy.h"

static void discard(const uint8_t *in, size_t len)
{
    g_autoptr(GError) err = NULL;
    PostcopyDiscard d;
    bool ok = postcopy_decode_discard(in, len, &d, &err);

    fuzz_check_error(ok, err);
    if (ok && d.n <= POSTCOPY_RANGES_MAX) {
        PostcopyRange ranges[POSTCOPY_RANGES_MAX];
        uint8_t again[POSTCOPY_DISCARD_MAX];

        for (unsigned i = 0; i < d.n; i++) {
            ranges[i] = postcopy_discard_range(&d, i);
        }
        g_assert_cmpuint(postcopy_encode_discard(d.name, ranges, d.n, again), ==, len);
        g_assert_cmpint(memcmp(again, in, len), ==, 0);
    }
}

static void name(const uint8_t *in, size_t len)
{
    g_autoptr(GError) err = NULL;
    uint8_t again[POSTCOPY_NAME_MAX];
    char text[256];
    bool ok = postcopy_decode_name(in, len, text, &err);

    fuzz_check_error(ok, err);
    if (ok) {
        g_assert_cmpuint(postcopy_encode_name(text, again), ==, len);
        g_assert_cmpint(memcmp(again, in, len), ==, 0);
    }
}

static void advise(const uint8_t *in, size_t len)
{
    uint8_t again[POSTCOPY_ADVISE_BYTES];
    PostcopyAdvise a;

    if (len == sizeof(again)) {
        postcopy_decode_advise(in, &a);
        postcopy_encode_advise(&a, again);
        g_assert_cmpint(memcmp(again, in, len), ==, 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree uint8_t *exact = NULL;

    if (size < 1) {
        return 0;
    }
    exact = g_memdup2(data + 1, size - 1);
    (data[0] == 0 ? discard : data[0] == 1 ? name : advise)(exact, size - 1);
    return 0;
}
