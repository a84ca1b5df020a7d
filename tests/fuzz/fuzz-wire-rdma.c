/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The codec of RDMA control messages and private data: never reads past the end, ranges stay inside
 * their block, and what is decoded is encoded again. */
#include "fuzz.h"
#include "migration/wire/rdma.h"

#define BASE   0x4040000
#define LENGTH (7 * RDMA_CHUNK_SIZE + 0xF000)

static void check_range(const char *problem, uint64_t start, uint64_t end)
{
    g_assert_true(problem || (start <= end && end <= LENGTH));
}

static void decode_commands(const RdmaHeader *h, const uint8_t *p)
{
    uint8_t again[RDMA_BLOCK_SIZE];
    uint64_t start = 0, end = 0;

    for (uint32_t i = 0; i < h->repeat; i++) {
        switch (h->type) {
        case RDMA_MSG_RAM_BLOCKS_RESULT: {
            RdmaBlockInfo b;

            rdma_get_block(p + i * RDMA_BLOCK_SIZE, &b);
            rdma_put_block(again, &b);
            g_assert_cmpmem(again, 28, p + i * RDMA_BLOCK_SIZE, 28);
            break;
        }
        case RDMA_MSG_REGISTER_REQUEST:
        case RDMA_MSG_UNREGISTER_REQUEST: {
            RdmaRegister r;

            rdma_get_register(p + i * RDMA_REGISTER_SIZE, &r);
            check_range(rdma_register_range(&r, BASE, LENGTH, &start, &end), start, end);
            break;
        }
        case RDMA_MSG_REGISTER_RESULT: {
            RdmaRegisterResult r;

            rdma_get_register_result(p + i * RDMA_REGISTER_RESULT_SIZE, &r);
            break;
        }
        case RDMA_MSG_COMPRESS: {
            RdmaCompress c;

            rdma_get_compress(p + i * RDMA_COMPRESS_SIZE, &c);
            check_range(rdma_compress_range(&c, BASE, LENGTH, &start, &end), start, end);
            break;
        }
        default:
            return;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* An own copy of exactly that size: the sanitizer sees a read behind it. */
    g_autofree uint8_t *bytes = g_memdup2(data, size);
    RdmaHello hello;
    RdmaHeader h;

    if (rdma_get_hello(bytes, size, &hello)) {
        uint8_t again[RDMA_HELLO_SIZE];

        rdma_put_hello(again, &hello);
        g_assert_cmpmem(again, RDMA_HELLO_MIN, bytes, RDMA_HELLO_MIN);
    }
    if (!rdma_get_header(bytes, size, &h)) {
        decode_commands(&h, bytes + RDMA_HEADER_SIZE);
    }
    return 0;
}
