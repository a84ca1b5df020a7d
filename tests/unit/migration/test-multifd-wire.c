/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The packets of multifd, byte by byte (spec 30 sections 2.1 and 3). */
#include "migration/wire/multifd.h"

static uint32_t be32_at(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

static void set_be32(uint8_t *p, uint32_t v)
{
    v = GUINT32_TO_BE(v);
    memcpy(p, &v, 4);
}

static void test_init(void)
{
    static const uint8_t head[] = {0x11, 0x22, 0x33, 0x44, 0, 0, 0, 1};
    MultifdInit in = {.id = 7}, out;
    uint8_t buf[MULTIFD_INIT_SIZE];
    g_autoptr(GError) err = NULL;

    memcpy(in.uuid, "abcdefghijklmnop", 16);
    multifd_encode_init(&in, buf);
    g_assert_cmpmem(buf, 8, head, 8);
    g_assert_cmpmem(buf + 8, 16, in.uuid, 16);
    g_assert_cmpuint(buf[24], ==, 7);
    for (unsigned i = 25; i < 64; i++) {
        g_assert_cmpuint(buf[i], ==, 0);
    }
    g_assert_true(multifd_decode_init(buf, &out, NULL));
    g_assert_cmpmem(&out, sizeof(out), &in, sizeof(in));
    buf[7] = 2;
    g_assert_false(multifd_decode_init(buf, &out, &err));
    g_assert_cmpstr(err->message, ==, "multifd: received packet version 2 expected 1");
    g_clear_error(&err);
    memcpy(buf, "QEVM", 4);
    g_assert_false(multifd_decode_init(buf, &out, &err));
    g_assert_cmpstr(err->message, ==, "multifd: received packet magic 5145564d expected 11223344");
}

/* Two runs of data and one of zeros, in the layout of 9.0. */
static void make_packet(uint8_t buf[MULTIFD_HEADER_SIZE])
{
    MultifdPacket p = {
        .flags = MULTIFD_FLAG_ZSTD, .number = 0x123456789, .payload = 4711, .block = "mem"};

    multifd_add_pages(p.run, &p.runs, 5, 2);
    multifd_add_pages(p.run, &p.runs, 7, 1);
    multifd_add_pages(p.run, &p.runs, 1, 1);
    multifd_add_pages(p.zero, &p.zero_runs, 0x100000, 2);
    p.pages = 4;
    p.zero_pages = 2;
    g_assert_cmpuint(p.runs, ==, 2);
    multifd_encode_packet(&p, buf);
}

static void test_layout(void)
{
    static const uint64_t offsets[] = {0x5000, 0x6000, 0x7000, 0x1000, 0x100000000, 0x100001000};
    uint8_t buf[MULTIFD_HEADER_SIZE];

    make_packet(buf);
    g_assert_cmphex(be32_at(buf), ==, 0x11223344);
    g_assert_cmpuint(be32_at(buf + 4), ==, 1);
    g_assert_cmphex(be32_at(buf + 8), ==, 4);
    g_assert_cmpuint(be32_at(buf + 12), ==, 128);
    g_assert_cmpuint(be32_at(buf + 16), ==, 4);
    g_assert_cmpuint(be32_at(buf + 20), ==, 4711);
    g_assert_cmphex(be32_at(buf + 24), ==, 1);
    g_assert_cmphex(be32_at(buf + 28), ==, 0x23456789);
    g_assert_cmpuint(be32_at(buf + 32), ==, 2);
    for (unsigned i = 36; i < 64; i++) {
        g_assert_cmpuint(buf[i], ==, 0);
    }
    g_assert_cmpstr((char *)buf + 64, ==, "mem");
    for (unsigned i = 0; i < 128; i++) {
        uint64_t offset = (uint64_t)be32_at(buf + 320 + 8 * i) << 32 | be32_at(buf + 324 + 8 * i);

        g_assert_cmphex(offset, ==, i < ARRAY_SIZE(offsets) ? offsets[i] : 0);
    }
}

static void test_round_trip(void)
{
    uint8_t buf[MULTIFD_HEADER_SIZE], again[MULTIFD_HEADER_SIZE];
    MultifdPacket p;

    make_packet(buf);
    g_assert_true(multifd_decode_packet(buf, &p, NULL));
    g_assert_cmpuint(p.runs, ==, 2);
    g_assert_cmpuint(p.run[0].first, ==, 5);
    g_assert_cmpuint(p.run[0].count, ==, 3);
    g_assert_cmpuint(p.zero_runs, ==, 1);
    g_assert_cmpstr(p.block, ==, "mem");
    multifd_encode_packet(&p, again);
    g_assert_cmpmem(buf, sizeof(buf), again, sizeof(again));
}

/* What 7.2 really sends between its packets: stale sizes, names and offsets (spec 30 6.1). */
static void test_stale(void)
{
    uint8_t buf[MULTIFD_HEADER_SIZE];
    MultifdPacket p;

    make_packet(buf);
    set_be32(buf + 8, MULTIFD_FLAG_SYNC);
    set_be32(buf + 16, 0);
    set_be32(buf + 32, 0);
    memset(buf + 64, 'x', 256);
    memset(buf + 320, 0x11, 1024);
    g_assert_true(multifd_decode_packet(buf, &p, NULL));
    g_assert_cmpuint(p.payload, ==, 0);
    g_assert_null(p.block);
    set_be32(buf + 12, 0); /* 9.2 */
    g_assert_true(multifd_decode_packet(buf, &p, NULL));
    set_be32(buf + 8, 0xffffff00 & ~MULTIFD_FLAG_DEVICE_STATE);
    g_assert_true(multifd_decode_packet(buf, &p, NULL));
}

static void test_refused(void)
{
    static const struct {
        unsigned at;
        uint32_t value;
        const char *text;
    } rows[] = {
        {0, 0x5145564d, "packet magic 5145564d and expected magic 11223344"},
        {4, 2, "packet version 2 and expected version 1"},
        {8, 0x40, "device state"},
        {12, 129, "packet with size 129 and expected a size of 128"},
        {12, 3, "packet with 4 pages and expected maximum pages are 3"},
        {16, UINT32_MAX, "packet with 4294967295 pages"},
        {32, 125, "125 zero pages besides 4"},
        {32, UINT32_MAX, "4294967295 zero pages"},
        {324, 0x5001, "offset 0x5001 is not that of a page"},
        {320 + 8 * 5 + 4, 1, "offset 0x100000001 is not that"},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autofree uint8_t *buf = g_malloc(MULTIFD_HEADER_SIZE);
        g_autoptr(GError) err = NULL;
        MultifdPacket p;

        make_packet(buf);
        set_be32(buf + rows[i].at, rows[i].value);
        g_assert_false(multifd_decode_packet(buf, &p, &err));
        if (!strstr(err->message, rows[i].text)) {
            g_test_message("'%s' instead of '...%s...'", err->message, rows[i].text);
            g_test_fail();
        }
    }
}

static void test_endless_name(void)
{
    g_autofree uint8_t *buf = g_malloc(MULTIFD_HEADER_SIZE);
    MultifdPacket p;

    make_packet(buf);
    memset(buf + 64, 'x', 256);
    g_assert_false(multifd_decode_packet(buf, &p, NULL));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/multifd-wire/init", test_init);
    g_test_add_func("/multifd-wire/layout", test_layout);
    g_test_add_func("/multifd-wire/round-trip", test_round_trip);
    g_test_add_func("/multifd-wire/stale", test_stale);
    g_test_add_func("/multifd-wire/refused", test_refused);
    g_test_add_func("/multifd-wire/endless-name", test_endless_name);
    return g_test_run();
}
