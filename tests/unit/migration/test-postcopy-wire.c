/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/wire/postcopy.h"

static void test_advise(void)
{
    /* As QEMU 7.2 sends it for a board without huge pages. */
    static const uint8_t golden[] = {0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0x10, 0};
    PostcopyAdvise a = {4096, 4096}, b;
    uint8_t out[POSTCOPY_ADVISE_BYTES];

    postcopy_encode_advise(&a, out);
    g_assert_cmpmem(out, sizeof(out), golden, sizeof(golden));
    a = (PostcopyAdvise){2 * MiB | 4096, 1 << 14};
    postcopy_encode_advise(&a, out);
    postcopy_decode_advise(out, &b);
    g_assert_true(a.page_summary == b.page_summary && a.target_page == b.target_page);
}

static void test_discard(void)
{
    /* All of the first flash bank. */
    static const uint8_t golden[] = {0x00, 0x0b, 'v', 'i', 'r', 't', '.', 'f', 'l', 'a',
                                     's',  'h',  '0', 0,   0,   0,   0,   0,   0,   0,
                                     0,    0,    0,   0,   0,   0,   2,   0,   0,   0};
    PostcopyRange whole = {0, 32 * MiB}, ranges[POSTCOPY_RANGES_MAX];
    g_autofree char *longest = g_strnfill(255, 'n');
    uint8_t out[POSTCOPY_DISCARD_MAX];
    PostcopyDiscard d;
    size_t n = postcopy_encode_discard("virt.flash0", &whole, 1, out);

    g_assert_cmpmem(out, n, golden, sizeof(golden));
    for (unsigned i = 0; i < POSTCOPY_RANGES_MAX; i++) {
        ranges[i] = (PostcopyRange){i * 3 * 4096, 4096 * (i + 1)};
    }
    n = postcopy_encode_discard(longest, ranges, POSTCOPY_RANGES_MAX, out);
    g_assert_cmpuint(n, ==, POSTCOPY_DISCARD_MAX);
    g_assert_true(postcopy_decode_discard(out, n, &d, NULL));
    g_assert_cmpstr(d.name, ==, longest);
    g_assert_cmpuint(d.n, ==, POSTCOPY_RANGES_MAX);
    for (unsigned i = 0; i < d.n; i++) {
        PostcopyRange r = postcopy_discard_range(&d, i);

        g_assert_true(r.start == ranges[i].start && r.length == ranges[i].length);
    }
}

static void refuse_discard(const uint8_t *bytes, size_t len)
{
    g_autofree uint8_t *exact = g_memdup2(bytes, len); /* ASan sees any overrun */
    g_autoptr(GError) err = NULL;
    PostcopyDiscard d;

    g_assert_false(postcopy_decode_discard(exact, len, &d, &err));
    g_assert_nonnull(err);
}

static void test_discard_hostile(void)
{
    PostcopyRange r = {4096, 8192};
    uint8_t out[POSTCOPY_DISCARD_MAX], bad[POSTCOPY_DISCARD_MAX];
    size_t n = postcopy_encode_discard("m0", &r, 1, out);

    for (size_t len = 0; len < n; len++) {
        refuse_discard(out, len);
    }
    for (unsigned at = 0; at < 5; at++) { /* version, length, name, terminator */
        memcpy(bad, out, n);
        bad[at] = at == 1 ? 200 : at == 2 || at == 3 ? 0 : 1;
        refuse_discard(bad, n);
    }
}

static void test_name(void)
{
    static const uint8_t golden[] = {2, 'm', '0'};
    uint8_t out[POSTCOPY_NAME_MAX];
    g_autoptr(GError) err = NULL;
    char name[256];

    g_assert_cmpmem(out, postcopy_encode_name("m0", out), golden, sizeof(golden));
    g_assert_true(postcopy_decode_name(out, 3, name, NULL));
    g_assert_cmpstr(name, ==, "m0");
    g_assert_false(postcopy_decode_name(out, 2, name, NULL));
    g_assert_false(postcopy_decode_name(out, 4, name, NULL));
    g_assert_false(postcopy_decode_name(out, 0, name, &err));
    g_assert_nonnull(err);
}

static void test_bitmap(void)
{
    uint64_t words[2] = {1 | UINT64_C(1) << 9, UINT64_C(1) << 63};
    uint8_t bytes[16];

    g_assert_cmpuint(postcopy_bitmap_bytes(8192), ==, 1024);
    g_assert_cmpuint(postcopy_bitmap_bytes(15), ==, 8); /* the mask ROM of virt */
    g_assert_cmpuint(postcopy_bitmap_bytes(64), ==, 8);
    g_assert_cmpuint(postcopy_bitmap_bytes(65), ==, 16);
    postcopy_bitmap_swap(bytes, words, sizeof(bytes));
    g_assert_cmphex(bytes[0], ==, 1);
    g_assert_cmphex(bytes[1], ==, 2);
    g_assert_cmphex(bytes[15], ==, 0x80);
    postcopy_bitmap_swap(bytes, bytes, sizeof(bytes));
    g_assert_cmpmem(bytes, sizeof(bytes), words, sizeof(words));
}

static void test_channel(void)
{
    static const uint8_t golden[] = {'G', 'O', 'P', 'C', 1, 7, 3, 0};
    uint8_t out[POSTCOPY_CHANNEL_BYTES];
    PostcopyChannel c = {.number = 7, .line = 3}, back;

    postcopy_encode_channel(&c, out);
    g_assert_cmpmem(out, sizeof(out), golden, sizeof(golden));
    g_assert_true(postcopy_decode_channel(out, &back, NULL));
    g_assert_cmpuint(back.number, ==, 7);
    g_assert_cmpuint(back.line, ==, 3);
    for (unsigned i = 0; i < sizeof(out); i++) {
        g_autoptr(GError) err = NULL;

        if (i == 5 || i == 6) {
            continue; /* any number, any line will do here */
        }
        out[i] ^= 0x80;
        g_assert_false(postcopy_decode_channel(out, &back, &err));
        g_assert_nonnull(err);
        out[i] ^= 0x80;
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/postcopy-wire/advise", test_advise);
    g_test_add_func("/postcopy-wire/discard", test_discard);
    g_test_add_func("/postcopy-wire/discard-hostile", test_discard_hostile);
    g_test_add_func("/postcopy-wire/name", test_name);
    g_test_add_func("/postcopy-wire/bitmap", test_bitmap);
    g_test_add_func("/postcopy-wire/channel", test_channel);
    return g_test_run();
}
