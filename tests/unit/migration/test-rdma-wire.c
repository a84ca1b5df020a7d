/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes of the RDMA transport against the layouts of the protocol, and what must be refused. */
#include "migration/wire/rdma.h"

static void test_hello(void)
{
    static const uint8_t qemu[RDMA_HELLO_MIN] = {0, 0, 0, 1, 0, 0, 0, 1};
    static const uint8_t ours[RDMA_HELLO_SIZE] = {0,   0,   0,   1,   0, 0, 0, 1,
                                                  'G', 'D', 'W', 'T', 0, 0, 0, 3};
    /* The connection manager pads what QEMU sent with zeros. */
    uint8_t buf[56] = {0};
    RdmaHello h = {.version = 1, .flags = RDMA_FLAG_PIN_ALL, .godwit = true, .features = 3}, h2;

    rdma_put_hello(buf, &h);
    g_assert_cmpmem(buf, RDMA_HELLO_SIZE, ours, sizeof(ours));
    g_assert_true(rdma_get_hello(buf, sizeof(buf), &h2));
    g_assert_true(h2.godwit && h2.features == 3 && h2.flags == 1 && h2.version == 1);

    memset(buf, 0, sizeof(buf));
    memcpy(buf, qemu, sizeof(qemu));
    g_assert_true(rdma_get_hello(buf, sizeof(buf), &h2));
    g_assert_true(!h2.godwit && !h2.features && h2.flags == 1);
    g_assert_true(rdma_get_hello(qemu, sizeof(qemu), &h2));
    g_assert_false(h2.godwit);
    g_assert_false(rdma_get_hello(qemu, sizeof(qemu) - 1, &h2));
    /* Cut inside our extension: QEMU's part counts. */
    g_assert_true(rdma_get_hello(ours, sizeof(ours) - 1, &h2));
    g_assert_true(!h2.godwit && h2.flags == 1);
}

static void test_header(void)
{
    static const uint8_t ready[RDMA_HEADER_SIZE] = {0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0};
    uint8_t buf[RDMA_HEADER_SIZE];
    RdmaHeader h = {.len = 0, .type = RDMA_MSG_READY, .repeat = 1};

    memset(buf, 0xff, sizeof(buf));
    rdma_put_header(buf, &h);
    g_assert_cmpmem(buf, sizeof(buf), ready, sizeof(ready));
    g_assert_null(rdma_get_header(buf, sizeof(buf), &h));
    g_assert_cmpuint(h.type, ==, RDMA_MSG_READY);
    for (unsigned n = 0; n < sizeof(buf); n++) {
        g_assert_nonnull(rdma_get_header(buf, n, &h));
    }
    g_assert_nonnull(rdma_get_header(buf, sizeof(buf) + 1, &h));
}

static const char *judge(uint32_t type, uint32_t repeat, uint32_t len, RdmaHeader *out)
{
    uint8_t buf[RDMA_HEADER_SIZE];
    RdmaHeader h = {.len = len, .type = type, .repeat = repeat};

    rdma_put_header(buf, &h);
    return rdma_get_header(buf, RDMA_HEADER_SIZE + (size_t)len, out);
}

static void test_header_limits(void)
{
    RdmaHeader h;

    g_assert_null(judge(RDMA_MSG_QEMU_FILE, 0xdeadbeef, RDMA_PAYLOAD_MAX, &h));
    g_assert_cmpuint(h.repeat, ==, 1);
    g_assert_nonnull(judge(RDMA_MSG_QEMU_FILE, 1, RDMA_PAYLOAD_MAX + 1, &h));
    g_assert_nonnull(judge(RDMA_MSG_QEMU_FILE, 1, UINT32_MAX, &h));
    g_assert_nonnull(judge(RDMA_MSG_QEMU_FILE, 1, 0, &h));
    g_assert_nonnull(judge(RDMA_MSG_NONE, 1, 0, &h));
    g_assert_nonnull(judge(RDMA_MSG__MAX, 1, 0, &h));
    g_assert_nonnull(judge(RDMA_MSG_READY, 1, 1, &h));
    g_assert_null(judge(RDMA_MSG_REGISTER_REQUEST, 3, 3 * RDMA_REGISTER_SIZE, &h));
    g_assert_nonnull(judge(RDMA_MSG_REGISTER_REQUEST, 3, 2 * RDMA_REGISTER_SIZE, &h));
    g_assert_nonnull(judge(RDMA_MSG_REGISTER_REQUEST, 0, 0, &h));
    g_assert_null(judge(RDMA_MSG_REGISTER_REQUEST, 4096, 4096 * RDMA_REGISTER_SIZE, &h));
    g_assert_nonnull(judge(RDMA_MSG_REGISTER_REQUEST, 4097, 4097 * RDMA_REGISTER_SIZE, &h));
    /* repeat x size overflows 32 bits to the right length. */
    g_assert_nonnull(judge(RDMA_MSG_REGISTER_RESULT, 1u << 28, 0, &h));
    g_assert_null(judge(RDMA_MSG_RAM_BLOCKS_RESULT, 1, 4 * RDMA_BLOCK_SIZE, &h));
    g_assert_cmpuint(h.repeat, ==, 4);
    g_assert_nonnull(judge(RDMA_MSG_RAM_BLOCKS_RESULT, 1, RDMA_BLOCK_SIZE + 1, &h));
    g_assert_null(judge(RDMA_MSG_COMPRESS, 0, RDMA_COMPRESS_SIZE, &h));
    g_assert_cmpuint(h.repeat, ==, 1);
}

static void test_payloads(void)
{
    static const uint8_t block[RDMA_BLOCK_SIZE] = {
        0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0, 0, 0, 0, 4, 4, 0, 0,
        0,    0,    0,    0,    2,    0,    0,    0,    0, 0, 0, 7, 0, 0, 0, 0};
    static const uint8_t request[RDMA_REGISTER_SIZE] = {0, 0, 0, 0, 4, 4, 0, 0, 0, 0, 0, 2,
                                                        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 15};
    static const uint8_t result[RDMA_REGISTER_RESULT_SIZE] = {0, 0, 0, 9,    0, 0,    0, 0,
                                                              0, 0, 1, 0x22, 0, 0x10, 0, 0};
    static const uint8_t zero[RDMA_COMPRESS_SIZE] = {0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0,    0,
                                                     0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0};
    uint8_t buf[RDMA_BLOCK_SIZE];
    RdmaBlockInfo b;
    RdmaRegister r;
    RdmaRegisterResult a;
    RdmaCompress c;

    rdma_get_block(block, &b);
    g_assert_true(b.host == 0x1122334455667788 && b.offset == 0x4040000 && b.length == 0x2000000 &&
                  b.rkey == 7);
    rdma_put_block(buf, &b);
    g_assert_cmpmem(buf, RDMA_BLOCK_SIZE, block, sizeof(block));

    rdma_get_register(request, &r);
    g_assert_true(r.address == 0x4040000 && r.block == 2 && r.more_chunks == 15);
    rdma_put_register(buf, &r);
    g_assert_cmpmem(buf, RDMA_REGISTER_SIZE, request, sizeof(request));

    rdma_get_register_result(result, &a);
    g_assert_true(a.rkey == 9 && a.host == 0x12200100000);
    rdma_put_register_result(buf, &a);
    g_assert_cmpmem(buf, RDMA_REGISTER_RESULT_SIZE, result, sizeof(result));

    rdma_get_compress(zero, &c);
    g_assert_true(c.value == 0 && c.block == 1 && c.address == 0 && c.length == 4096);
    rdma_put_compress(buf, &c);
    g_assert_cmpmem(buf, RDMA_COMPRESS_SIZE, zero, sizeof(zero));
}

static void test_ranges(void)
{
    const uint64_t base = 0x4040000, length = 5 * RDMA_CHUNK_SIZE + 0xF000;
    uint64_t start, end;
    RdmaRegister r = {.address = base + 0x123000};
    RdmaCompress c = {.address = base + length - 0x1000, .length = 0x1000};

    g_assert_null(rdma_register_range(&r, base, length, &start, &end));
    g_assert_true(start == RDMA_CHUNK_SIZE && end == 2 * RDMA_CHUNK_SIZE);
    r.more_chunks = 4; /* the last one is cut at the end of the block */
    g_assert_null(rdma_register_range(&r, base, length, &start, &end));
    g_assert_true(start == RDMA_CHUNK_SIZE && end == length);
    r.more_chunks = 5;
    g_assert_nonnull(rdma_register_range(&r, base, length, &start, &end));
    r.more_chunks = UINT64_MAX;
    g_assert_nonnull(rdma_register_range(&r, base, length, &start, &end));
    r = (RdmaRegister){.address = base - 1};
    g_assert_nonnull(rdma_register_range(&r, base, length, &start, &end));
    r.address = base + length;
    g_assert_nonnull(rdma_register_range(&r, base, length, &start, &end));
    r.address = base + length - 1;
    g_assert_null(rdma_register_range(&r, base, length, &start, &end));
    g_assert_true(start == 5 * RDMA_CHUNK_SIZE && end == length);

    g_assert_null(rdma_compress_range(&c, base, length, &start, &end));
    g_assert_true(start == length - 0x1000 && end == length);
    c.length = 0x1001;
    g_assert_nonnull(rdma_compress_range(&c, base, length, &start, &end));
    c.length = UINT64_MAX;
    g_assert_nonnull(rdma_compress_range(&c, base, length, &start, &end));
    c = (RdmaCompress){.address = base - 0x1000, .length = 0x1000};
    g_assert_nonnull(rdma_compress_range(&c, base, length, &start, &end));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rdma-wire/hello", test_hello);
    g_test_add_func("/rdma-wire/header", test_header);
    g_test_add_func("/rdma-wire/header-limits", test_header_limits);
    g_test_add_func("/rdma-wire/payloads", test_payloads);
    g_test_add_func("/rdma-wire/ranges", test_ranges);
    return g_test_run();
}
