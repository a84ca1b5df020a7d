/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Deltas: the codec against a byte-by-byte model, and the cache in front of the sinks. */
#include "migration/ram/xbzrle.h"
#include "migration/wire/xbzrle.h"

/* ---- the codec ---- */

/* The encoding as the specification tells it; -1: does not fit. */
static int model_encode(const uint8_t *old, const uint8_t *new, uint8_t *out)
{
    int n = 0, at = 0;

    for (;;) {
        int equal = at, changed;
        int lengths[2];

        while (equal < XBZRLE_PAGE && old[equal] == new[equal]) {
            equal++;
        }
        if (equal == XBZRLE_PAGE) {
            return n;
        }
        changed = equal;
        while (changed < XBZRLE_PAGE && old[changed] != new[changed]) {
            changed++;
        }
        lengths[0] = equal - at;
        lengths[1] = changed - equal;
        for (int i = 0; i < 2; i++) {
            if (XBZRLE_PAGE - n < 2) {
                return -1;
            }
            if (lengths[i] < 0x80) {
                out[n++] = lengths[i];
            } else {
                out[n++] = lengths[i] % 128 + 128;
                out[n++] = lengths[i] / 128;
            }
        }
        if (XBZRLE_PAGE - n < lengths[1]) {
            return -1;
        }
        memcpy(out + n, new + equal, lengths[1]);
        n += lengths[1];
        at = changed;
    }
}

/* Change some bytes of @page, more or fewer, alone or in runs. */
static void mutate(uint8_t *page, GRand *rng)
{
    int runs = g_rand_int_range(rng, 0, g_rand_boolean(rng) ? 8 : 3000);
    int longest = g_rand_boolean(rng) ? 2 : 600;

    for (int r = 0; r < runs; r++) {
        int at = g_rand_int_range(rng, 0, XBZRLE_PAGE), len = g_rand_int_range(rng, 1, longest);

        for (; len-- && at < XBZRLE_PAGE; at++) {
            page[at] = g_rand_int(rng);
        }
    }
}

static void test_codec_model(void)
{
    GRand *rng = g_rand_new_with_seed(21);
    g_autofree uint8_t *old = g_malloc0(XBZRLE_PAGE), *new = g_malloc0(XBZRLE_PAGE);
    g_autofree uint8_t *copy = g_malloc(XBZRLE_PAGE), *back = g_malloc(XBZRLE_PAGE);
    unsigned overflows = 0, fits = 0;

    for (int round = 0; round < 2000; round++) {
        uint8_t want[XBZRLE_PAGE + 4], got[XBZRLE_PAGE];
        int want_len, got_len;
        XbzrleDiff diff;

        memcpy(new, old, XBZRLE_PAGE);
        mutate(new, rng);
        want_len = model_encode(old, new, want);
        for (unsigned i = 0; xbzrle_update_name(i); i++) {
            memcpy(copy, old, XBZRLE_PAGE);
            memset(&diff, 0xEE, sizeof(diff));
            g_assert_true(xbzrle_update_with(i, copy, new, &diff) == (want_len != 0));
            g_assert_true(memcmp(copy, new, XBZRLE_PAGE) == 0);
            if (want_len == 0) {
                continue;
            }
            got_len = xbzrle_encode(copy, &diff, got);
            g_assert_cmpint(got_len, ==, want_len);
            if (got_len > 0) {
                g_assert_true(memcmp(got, want, got_len) == 0);
                memcpy(back, old, XBZRLE_PAGE);
                g_assert_true(xbzrle_decode(back, got, got_len));
                g_assert_true(memcmp(back, new, XBZRLE_PAGE) == 0);
            }
        }
        overflows += want_len < 0;
        fits += want_len > 0;
        memcpy(old, new, XBZRLE_PAGE);
    }
    g_assert_cmpuint(overflows, >, 100);
    g_assert_cmpuint(fits, >, 100);
    g_rand_free(rng);
}

/* The example of spec 20 section 8, and the longest bodies there can be. */
static void test_codec_golden(void)
{
    uint8_t old[XBZRLE_PAGE] = {0}, new[XBZRLE_PAGE] = {0}, out[XBZRLE_PAGE];
    XbzrleDiff diff;

    new[200] = 0x55;
    g_assert_true(xbzrle_update(old, new, &diff));
    g_assert_cmpint(xbzrle_encode(old, &diff, out), ==, 4);
    g_assert_true(memcmp(out, "\xC8\x01\x01\x55", 4) == 0);
    g_assert_false(xbzrle_update(old, new, &diff));

    memset(new, 1, sizeof(new)); /* one run of everything: 3 bytes of lengths too many */
    memset(old, 0, sizeof(old));
    g_assert_true(xbzrle_update(old, new, &diff));
    g_assert_cmpint(xbzrle_encode(old, &diff, out), ==, -1);
    memset(old, 0, sizeof(old));
    old[0] = old[1] = old[2] = old[3] = 1; /* lengths take 1 + 2 bytes */
    g_assert_true(xbzrle_update(old, new, &diff));
    g_assert_cmpint(xbzrle_encode(old, &diff, out), ==, 4092 + 3);
}

static void test_decode_refuses(void)
{
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"\x05", 1},                     /* no second length */
        {"\x05\x02", 2},                 /* no literals */
        {"\x05\x02\x41", 3},             /* too few of them */
        {"\x05\x00\x41", 3},             /* nothing changed */
        {"\x00\x01\x41\x00\x01\x42", 6}, /* two changed runs that touch */
        {"\x85\x80\x01\x41", 4},         /* a length of three bytes */
        {"\xFF\x1F\x02\x41\x42", 5},     /* 4095 equal, then 2 */
        {"\xFF\x7F\x01\x41", 4},         /* 16383 equal */
        {"\x00\xFF\x7F\x41", 4},         /* 16383 changed */
        {"\x00\x01\x41\x05", 4},         /* ends in a length */
        {"\x80\x20\x01\x41", 4},         /* 4096 equal, then more */
    };

    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        g_autofree uint8_t *page = g_malloc0(XBZRLE_PAGE); /* exact, for the sanitizer */
        g_autofree uint8_t *body = g_memdup2(bad[i].bytes, bad[i].len);

        g_assert_false(xbzrle_decode(page, body, bad[i].len));
    }
}

/* ---- the cache ---- */

#define PAGES 200u

typedef struct {
    RAMList *list;
    RAMBlock *block;
    MigrationCounters counters;
    RamXbzrle *x;
    uint8_t *dest; /* what a destination has */
} Cache;

static void set_up(Cache *c, gconstpointer slots)
{
    c->list = ram_list_new();
    c->block = ram_block_new_anon(c->list, "b", PAGES * 4096, RAM_MIGRATABLE, NULL);
    c->x = ram_xbzrle_new(GPOINTER_TO_UINT(slots) * 4096, PAGES * 4096, &c->counters, NULL);
    c->dest = g_malloc0(PAGES * 4096);
}

static void tear_down(Cache *c, gconstpointer slots)
{
    ram_xbzrle_free(c->x);
    g_free(c->dest);
    ram_block_free(c->block);
    ram_list_free(c->list);
}

/* Send pages as they would be; returns how many went plain. */
static unsigned send(Cache *c, uint64_t first, uint64_t count, bool last)
{
    unsigned plain = 0;

    while (count) {
        RamRun run = {c->block, first, count};
        const RamPatch *patches;
        XbzrleKind kind;
        uint64_t n, bytes = 0;
        unsigned n_patches;

        n = ram_xbzrle_split(c->x, &run, 50, last, &kind, &patches, &n_patches);
        g_assert_true(n >= 1 && n <= MIN(count, 50));
        if (kind == XBZRLE_PLAIN) {
            memcpy(c->dest + first * 4096, c->block->host + first * 4096, n * 4096);
            plain += n;
        } else {
            for (unsigned i = 0; i < n_patches; i++) {
                uint8_t *page = c->dest + patches[i].page * 4096;

                if (patches[i].delta) {
                    g_assert_true(xbzrle_decode(page, patches[i].bytes, patches[i].len));
                    bytes += 8 + 3 + patches[i].len;
                } else {
                    memcpy(page, patches[i].bytes, 4096);
                    bytes += 8 + 4096;
                }
            }
            ram_xbzrle_sent(c->x, bytes);
        }
        first += n;
        count -= n;
    }
    return plain;
}

static void assert_arrived(Cache *c)
{
    g_assert_true(memcmp(c->dest, c->block->host, PAGES * 4096) == 0);
}

static void test_cache_counts(Cache *c, gconstpointer slots)
{
    MigrationCounters *n = &c->counters;

    memset(c->block->host, 7, 10 * 4096);
    g_assert_cmpuint(send(c, 0, 10, false), ==, 0);
    g_assert_cmpuint(n->xbzrle_cache_miss, ==, 10);
    g_assert_cmpuint(n->normal_pages, ==, 10);
    g_assert_cmpuint(n->xbzrle_bytes, ==, 0);
    ram_xbzrle_new_pass(c->x);
    g_assert_cmpuint(n->xbzrle_miss_rate_ppm, ==, 1000000);
    c->block->host[200] = 1;                /* 4 bytes of body */
    memset(c->block->host + 4096, 8, 4096); /* does not fit */
    send(c, 0, 10, false);                  /* and eight are as they were */
    assert_arrived(c);
    g_assert_cmpuint(n->xbzrle_pages, ==, 10);
    g_assert_cmpuint(n->xbzrle_overflow, ==, 1);
    g_assert_cmpuint(n->xbzrle_bytes, ==, 4 + 3 + 4096);
    g_assert_cmpuint(n->normal_pages, ==, 11);
    ram_xbzrle_new_pass(c->x);
    g_assert_cmpuint(n->xbzrle_miss_rate_ppm, ==, 0);
    g_assert_cmpuint(n->xbzrle_encoding_rate_milli, ==, 10 * 4096 * 1000 / (15 + 4104));
}

/* Any mix of stores, zeros, passes and sizes: what arrives is what is there. */
static void test_cache_model(Cache *c, gconstpointer slots)
{
    GRand *rng = g_rand_new_with_seed(4);

    for (int round = 0; round < 600; round++) {
        for (int i = 0; i < 20; i++) {
            uint64_t first = g_rand_int_range(rng, 0, PAGES);
            uint64_t count = g_rand_int_range(rng, 1, PAGES - first + 1);
            uint8_t *host = c->block->host + first * 4096;

            switch (g_rand_int_range(rng, 0, 10)) {
            case 0:
                memset(host, 0, count * 4096);
                memset(c->dest + first * 4096, 0, count * 4096);
                ram_xbzrle_zeroed(c->x, c->block, first, count);
                continue;
            case 1:
                memset(host, g_rand_int(rng), count * 4096);
                break;
            default:
                for (uint64_t p = 0; p < count; p++) {
                    host[p * 4096 + g_rand_int_range(rng, 0, 4096)] = g_rand_int(rng);
                }
                break;
            }
            send(c, first, count, false);
        }
        assert_arrived(c);
        if (g_rand_boolean(rng)) {
            ram_xbzrle_new_pass(c->x);
        }
        if (g_rand_int_range(rng, 0, 20) == 0) {
            ram_xbzrle_resize(c->x, UINT64_C(4096) << g_rand_int_range(rng, 0, 50));
        }
    }
    g_assert_cmpuint(c->counters.xbzrle_pages, >, 1000);
    g_rand_free(rng);
}

/* A full cache keeps what is fresh, gives up what is not, and remembers nothing at the end. */
static void test_cache_age(Cache *c, gconstpointer slots)
{
    memset(c->block->host, 3, PAGES * 4096);
    g_assert_cmpuint(send(c, 0, 32, false), ==, 0);
    g_assert_cmpuint(send(c, 16, 32, false), ==,
                     16); /* half are hits, half find their slot taken */
    ram_xbzrle_new_pass(c->x);
    g_assert_cmpuint(send(c, 32, 32, false), ==, 32);
    ram_xbzrle_new_pass(c->x);
    g_assert_cmpuint(send(c, 32, 32, false), ==, 0);
    g_assert_cmpuint(send(c, 0, 32, false), ==, 32);
    ram_xbzrle_new_pass(c->x);
    ram_xbzrle_new_pass(c->x);
    g_assert_cmpuint(send(c, 0, 32, true), ==, 32);
    g_assert_cmpuint(send(c, 32, 32, true), ==, 0);
}

/* What can be kept survives another size. */
static void test_cache_resize(Cache *c, gconstpointer slots)
{
    memset(c->block->host, 3, 100 * 4096);
    send(c, 0, 32, false);
    ram_xbzrle_resize(c->x, 128 * 4096);
    g_assert_cmpuint(send(c, 0, 100, false), ==, 0);
    g_assert_cmpuint(c->counters.xbzrle_pages, ==, 32);
    ram_xbzrle_resize(c->x, 16 * 4096);
    c->counters.xbzrle_pages = 0;
    send(c, 0, 100, false);
    g_assert_cmpuint(c->counters.xbzrle_pages, ==, 16);
    assert_arrived(c);
}

/* Pending bytes follow what deltas took, for pages that are cached. */
static void test_cache_cost(Cache *c, gconstpointer slots)
{
    DirtyMap d = {0};

    g_assert_true(dirty_map_start(&d, c->list, false, NULL));
    g_assert_cmpuint(ram_xbzrle_cost(c->x, &d), ==, PAGES * 4096);
    memset(c->block->host, 3, PAGES * 4096);
    send(c, 0, 100, false);
    ram_xbzrle_new_pass(c->x);
    for (unsigned p = 0; p < 100; p++) {
        c->block->host[p * 4096 + 9] = 1; /* 3 bytes of body, 14 of record */
    }
    send(c, 0, 100, false);
    g_assert_cmpuint(ram_xbzrle_cost(c->x, &d), ==, 100 * 14 + 100 * 4096);
    ram_xbzrle_new_pass(c->x);
    g_assert_cmpuint(ram_xbzrle_cost(c->x, &d), ==, 100 * 14 + 100 * 4096);
    dirty_map_stop(&d);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/xbzrle/codec-model", test_codec_model);
    g_test_add_func("/xbzrle/codec-golden", test_codec_golden);
    g_test_add_func("/xbzrle/decode-refuses", test_decode_refuses);
    g_test_add("/xbzrle/counts", Cache, GUINT_TO_POINTER(64), set_up, test_cache_counts, tear_down);
    g_test_add("/xbzrle/model-large", Cache, GUINT_TO_POINTER(256), set_up, test_cache_model,
               tear_down);
    g_test_add("/xbzrle/model-small", Cache, GUINT_TO_POINTER(8), set_up, test_cache_model,
               tear_down);
    g_test_add("/xbzrle/age", Cache, GUINT_TO_POINTER(32), set_up, test_cache_age, tear_down);
    g_test_add("/xbzrle/resize", Cache, GUINT_TO_POINTER(32), set_up, test_cache_resize, tear_down);
    g_test_add("/xbzrle/cost", Cache, GUINT_TO_POINTER(256), set_up, test_cache_cost, tear_down);
    return g_test_run();
}
