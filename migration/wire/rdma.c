/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/wire/rdma.h"

/* "GDWT": what follows QEMU's eight bytes is ours. */
#define HELLO_MAGIC 0x47445754

static void put32(uint8_t *p, uint32_t v)
{
    v = GUINT32_TO_BE(v);
    memcpy(p, &v, sizeof(v));
}

static void put64(uint8_t *p, uint64_t v)
{
    v = GUINT64_TO_BE(v);
    memcpy(p, &v, sizeof(v));
}

static uint32_t get32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return GUINT32_FROM_BE(v);
}

static uint64_t get64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return GUINT64_FROM_BE(v);
}

/* ---- private data ---- */

void rdma_put_hello(uint8_t buf[RDMA_HELLO_SIZE], const RdmaHello *hello)
{
    memset(buf, 0, RDMA_HELLO_SIZE);
    put32(buf, hello->version);
    put32(buf + 4, hello->flags);
    if (hello->godwit) {
        put32(buf + 8, HELLO_MAGIC);
        put32(buf + 12, hello->features);
    }
}

bool rdma_get_hello(const uint8_t *buf, size_t len, RdmaHello *hello)
{
    *hello = (RdmaHello){0};
    if (len < RDMA_HELLO_MIN) {
        return false;
    }
    hello->version = get32(buf);
    hello->flags = get32(buf + 4);
    if (len >= RDMA_HELLO_SIZE && get32(buf + 8) == HELLO_MAGIC) {
        hello->godwit = true;
        hello->features = get32(buf + 12);
    }
    return true;
}

/* ---- control messages ---- */

/* Of each type: its name, and the size of the commands in its payload (0: none). */
static const struct {
    const char *name;
    uint32_t unit;
} messages[RDMA_MSG__MAX] = {
    [RDMA_MSG_NONE] = {"NONE", 0},
    [RDMA_MSG_ERROR] = {"ERROR", 0},
    [RDMA_MSG_READY] = {"READY", 0},
    [RDMA_MSG_QEMU_FILE] = {"QEMU FILE", 1},
    [RDMA_MSG_RAM_BLOCKS_REQUEST] = {"RAM BLOCKS REQUEST", 0},
    [RDMA_MSG_RAM_BLOCKS_RESULT] = {"RAM BLOCKS RESULT", RDMA_BLOCK_SIZE},
    [RDMA_MSG_COMPRESS] = {"COMPRESS", RDMA_COMPRESS_SIZE},
    [RDMA_MSG_REGISTER_REQUEST] = {"REGISTER REQUEST", RDMA_REGISTER_SIZE},
    [RDMA_MSG_REGISTER_RESULT] = {"REGISTER RESULT", RDMA_REGISTER_RESULT_SIZE},
    [RDMA_MSG_REGISTER_FINISHED] = {"REGISTER FINISHED", 0},
    [RDMA_MSG_UNREGISTER_REQUEST] = {"UNREGISTER REQUEST", RDMA_REGISTER_SIZE},
    [RDMA_MSG_UNREGISTER_FINISHED] = {"UNREGISTER FINISHED", 0},
};

const char *rdma_message_name(uint32_t type)
{
    return type < RDMA_MSG__MAX ? messages[type].name : "unknown message";
}

void rdma_put_header(uint8_t buf[RDMA_HEADER_SIZE], const RdmaHeader *h)
{
    put32(buf, h->len);
    put32(buf + 4, h->type);
    put32(buf + 8, h->repeat);
    put32(buf + 12, 0);
}

const char *rdma_get_header(const uint8_t *buf, size_t bytes, RdmaHeader *h)
{
    uint32_t unit;

    if (bytes < RDMA_HEADER_SIZE) {
        return "shorter than its header";
    }
    h->len = get32(buf);
    h->type = get32(buf + 4);
    h->repeat = get32(buf + 8);
    if (h->len > RDMA_PAYLOAD_MAX || RDMA_HEADER_SIZE + h->len != bytes) {
        return "its length is not what arrived";
    }
    if (h->type >= RDMA_MSG__MAX || h->type == RDMA_MSG_NONE) {
        return "unknown type";
    }
    unit = messages[h->type].unit;
    if (h->type == RDMA_MSG_QEMU_FILE) {
        h->repeat = 1; /* QEMU before 8.2 sends what happened to be there */
        return h->len ? NULL : "no bytes of the stream in it";
    }
    if (h->repeat > RDMA_REPEAT_MAX && h->type != RDMA_MSG_RAM_BLOCKS_RESULT) {
        return "too many commands in it";
    }
    if (h->type == RDMA_MSG_RAM_BLOCKS_RESULT) {
        h->repeat = h->len / unit; /* QEMU's says 1 */
        return h->len % unit ? "its length is not a number of blocks" : NULL;
    }
    if (h->type == RDMA_MSG_COMPRESS && h->len == unit) {
        h->repeat = 1; /* QEMU does not look at it here */
    }
    if (!unit && h->len) {
        return "it has a payload";
    }
    if (unit && (!h->repeat || h->len != (uint64_t)h->repeat * unit)) {
        return "its length does not fit its commands";
    }
    return NULL;
}

/* ---- payloads ---- */

void rdma_put_block(uint8_t buf[RDMA_BLOCK_SIZE], const RdmaBlockInfo *b)
{
    put64(buf, b->host);
    put64(buf + 8, b->offset);
    put64(buf + 16, b->length);
    put32(buf + 24, b->rkey);
    put32(buf + 28, 0);
}

void rdma_get_block(const uint8_t buf[RDMA_BLOCK_SIZE], RdmaBlockInfo *b)
{
    b->host = get64(buf);
    b->offset = get64(buf + 8);
    b->length = get64(buf + 16);
    b->rkey = get32(buf + 24);
}

void rdma_put_register(uint8_t buf[RDMA_REGISTER_SIZE], const RdmaRegister *r)
{
    put64(buf, r->address);
    put32(buf + 8, r->block);
    put32(buf + 12, 0);
    put64(buf + 16, r->more_chunks);
}

void rdma_get_register(const uint8_t buf[RDMA_REGISTER_SIZE], RdmaRegister *r)
{
    r->address = get64(buf);
    r->block = get32(buf + 8);
    r->more_chunks = get64(buf + 16);
}

void rdma_put_register_result(uint8_t buf[RDMA_REGISTER_RESULT_SIZE], const RdmaRegisterResult *r)
{
    put32(buf, r->rkey);
    put32(buf + 4, 0);
    put64(buf + 8, r->host);
}

void rdma_get_register_result(const uint8_t buf[RDMA_REGISTER_RESULT_SIZE], RdmaRegisterResult *r)
{
    r->rkey = get32(buf);
    r->host = get64(buf + 8);
}

void rdma_put_compress(uint8_t buf[RDMA_COMPRESS_SIZE], const RdmaCompress *c)
{
    put32(buf, c->value);
    put32(buf + 4, c->block);
    put64(buf + 8, c->address);
    put64(buf + 16, c->length);
}

void rdma_get_compress(const uint8_t buf[RDMA_COMPRESS_SIZE], RdmaCompress *c)
{
    c->value = get32(buf);
    c->block = get32(buf + 4);
    c->address = get64(buf + 8);
    c->length = get64(buf + 16);
}

/* ---- ranges ---- */

const char *rdma_register_range(const RdmaRegister *r, uint64_t base, uint64_t length,
                                uint64_t *start, uint64_t *end)
{
    uint64_t offset = r->address - base, first = offset >> RDMA_CHUNK_SHIFT;
    uint64_t last = (length - 1) >> RDMA_CHUNK_SHIFT;

    if (r->address < base || offset >= length) {
        return "its address is outside the block";
    }
    if (r->more_chunks > last - first) {
        return "it goes beyond the end of the block";
    }
    *start = first << RDMA_CHUNK_SHIFT;
    *end = MIN((first + r->more_chunks + 1) << RDMA_CHUNK_SHIFT, length);
    return NULL;
}

const char *rdma_compress_range(const RdmaCompress *c, uint64_t base, uint64_t length,
                                uint64_t *start, uint64_t *end)
{
    uint64_t offset = c->address - base;

    if (c->address < base || offset > length || c->length > length - offset) {
        return "its range is outside the block";
    }
    *start = offset;
    *end = offset + c->length;
    return NULL;
}
