/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/bitmap.h"

#define NBITS 517

/* Every function against a byte-per-bit model, with random contents. */
static void naive_fill(uint8_t *model, unsigned long *map, GRand *rand)
{
    for (int i = 0; i < NBITS; i++) {
        model[i] = g_rand_boolean(rand);
        if (model[i]) {
            set_bit(i, map);
        } else {
            clear_bit(i, map);
        }
    }
}

static void test_ranges(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    g_autofree unsigned long *map = bitmap_new(NBITS);
    uint8_t model[NBITS];

    for (int round = 0; round < 500; round++) {
        uint64_t start = g_rand_int_range(rand, 0, NBITS);
        uint64_t n = g_rand_int_range(rand, 0, NBITS - start + 1);
        uint64_t count = 0;

        naive_fill(model, map, rand);
        if (round % 3 == 0) {
            bitmap_set(map, start, n);
        } else if (round % 3 == 1) {
            bitmap_clear(map, start, n);
        } else {
            bitmap_set_atomic(map, start, n);
        }
        memset(model + start, round % 3 != 1, n);
        for (int i = 0; i < NBITS; i++) {
            g_assert_cmpint(test_bit(i, map), ==, model[i]);
        }
        for (uint64_t i = start; i < start + n; i++) {
            count += model[i];
        }
        g_assert_cmpuint(bitmap_count(map, start, n), ==, count);
    }
}

static void test_find(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(2);
    g_autofree unsigned long *map = bitmap_new(NBITS);
    uint8_t model[NBITS];

    naive_fill(model, map, rand);
    bitmap_set(map, 100, 150);
    memset(model + 100, 1, 150);
    bitmap_clear(map, 300, 217);
    memset(model + 300, 0, 217);
    for (int start = 0; start <= NBITS; start++) {
        int one = start, zero = start;

        while (one < NBITS && !model[one]) {
            one++;
        }
        while (zero < NBITS && model[zero]) {
            zero++;
        }
        g_assert_cmpuint(find_next_bit(map, NBITS, start), ==, one);
        g_assert_cmpuint(find_next_zero_bit(map, NBITS, start), ==, zero);
    }
}

static void test_merge(void)
{
    g_autofree unsigned long *a = bitmap_new(NBITS);
    g_autofree unsigned long *b = bitmap_new(NBITS);

    bitmap_set(a, 10, 100);
    bitmap_set(b, 60, 100);
    g_assert_cmpuint(bitmap_or_count(a, b, NBITS), ==, 50);
    bitmap_clear(a, 0, NBITS);
    g_assert_cmpuint(bitmap_fetch_clear_or(a, b, NBITS), ==, 100);
    g_assert_cmpuint(bitmap_count(b, 0, NBITS), ==, 0);
    g_assert_true(set_bit_atomic(5, b));
    g_assert_false(set_bit_atomic(5, b));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/util/bitmap/ranges", test_ranges);
    g_test_add_func("/util/bitmap/find", test_find);
    g_test_add_func("/util/bitmap/merge", test_merge);
    return g_test_run();
}
