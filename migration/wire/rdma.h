/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Codec of the RDMA transport, protocol version 1 (spec 50): bytes <-> structs, no I/O, no state.
 *
 *   connect, accept    private data: what each side can do
 *   control message := header payload       one SEND each, at most RDMA_CONTROL_MAX bytes
 *
 * Who says what when:
 *
 *   source                                destination
 *                         <----------     READY                 one permission for one message
 *   QEMU_FILE             ---------->                           bytes of the migration stream
 *   ...HOOK record opens a registration phase, QEMU_FILE rests until it is finished:
 *   RAM_BLOCKS_REQUEST    ---------->
 *                         <----------     RAM_BLOCKS_RESULT     (START section only)
 *   REGISTER_REQUEST      ---------->
 *                         <----------     REGISTER_RESULT
 *   ==== RDMA WRITE ====> guest memory
 *   COMPRESS              ---------->                           a range becomes zero
 *   REGISTER_FINISHED     ---------->                           all WRITEs are complete
 *
 * Answers and ERROR need no READY. On the wire everything is big-endian; we send padding as zeros.
 */
#ifndef GODWIT_MIGRATION_WIRE_RDMA_H
#define GODWIT_MIGRATION_WIRE_RDMA_H

#include "util/osdep.h"

/* ---- private data of connect and accept ---- */

#define RDMA_VERSION 1
/* What QEMU sends; ours is longer, QEMU ignores the rest. */
#define RDMA_HELLO_MIN  8
#define RDMA_HELLO_SIZE 16

enum {
    RDMA_FLAG_PIN_ALL = 1 << 0,
};

/* Between two Godwits only. */
enum {
    /* Several commands in a REGISTER_REQUEST or COMPRESS, several results in the answer. */
    RDMA_FEATURE_BATCH = 1 << 0,
    /* Source: a second connection will follow as return path. Destination: it will be accepted. */
    RDMA_FEATURE_RETURN_PATH = 1 << 1,
};
#define RDMA_FEATURES_KNOWN (RDMA_FEATURE_BATCH | RDMA_FEATURE_RETURN_PATH)

typedef struct {
    uint32_t version;
    uint32_t flags;
    bool godwit;       /* the peer speaks our extension, */
    uint32_t features; /* and these of it; 0 if not */
} RdmaHello;

void rdma_put_hello(uint8_t buf[RDMA_HELLO_SIZE], const RdmaHello *hello);
/* False: too short. The version is for the caller to judge. */
bool rdma_get_hello(const uint8_t *buf, size_t len, RdmaHello *hello);

/* ---- control messages ---- */

#define RDMA_CONTROL_MAX (512 * 1024)
#define RDMA_HEADER_SIZE 16
#define RDMA_PAYLOAD_MAX (RDMA_CONTROL_MAX - RDMA_HEADER_SIZE)
#define RDMA_REPEAT_MAX  4096
#define RDMA_BLOCKS_MAX  (RDMA_PAYLOAD_MAX / RDMA_BLOCK_SIZE)

typedef enum {
    RDMA_MSG_NONE = 0,
    RDMA_MSG_ERROR = 1,
    RDMA_MSG_READY = 2,
    RDMA_MSG_QEMU_FILE = 3,
    RDMA_MSG_RAM_BLOCKS_REQUEST = 4,
    RDMA_MSG_RAM_BLOCKS_RESULT = 5,
    RDMA_MSG_COMPRESS = 6,
    RDMA_MSG_REGISTER_REQUEST = 7,
    RDMA_MSG_REGISTER_RESULT = 8,
    RDMA_MSG_REGISTER_FINISHED = 9,
    RDMA_MSG_UNREGISTER_REQUEST = 10,
    RDMA_MSG_UNREGISTER_FINISHED = 11,
    RDMA_MSG__MAX,
} RdmaMessageType;

typedef struct {
    uint32_t len; /* of the payload */
    uint32_t type;
    uint32_t repeat; /* commands in the payload; means nothing for QEMU_FILE */
} RdmaHeader;

/* For errors and logs; never NULL. */
const char *rdma_message_name(uint32_t type);
void rdma_put_header(uint8_t buf[RDMA_HEADER_SIZE], const RdmaHeader *h);
/*
 * A received message of @bytes bytes. Checks that the length is what arrived and fits the type and
 * the number of commands. NULL if all is well, else what is wrong (a constant text).
 */
const char *rdma_get_header(const uint8_t *buf, size_t bytes, RdmaHeader *h);

/* ---- payloads: arrays of these ---- */

#define RDMA_BLOCK_SIZE           32
#define RDMA_REGISTER_SIZE        24
#define RDMA_REGISTER_RESULT_SIZE 16
#define RDMA_COMPRESS_SIZE        24

/* RAM_BLOCKS_RESULT: blocks in the source's order. */
typedef struct {
    uint64_t host;   /* address in the destination's process */
    uint64_t offset; /* in the destination's ram_addr space: what addresses below are based on */
    uint64_t length;
    uint32_t rkey; /* with PIN_ALL, else 0 */
} RdmaBlockInfo;

/* REGISTER_REQUEST and UNREGISTER_REQUEST. */
typedef struct {
    uint64_t address; /* REGISTER: block's offset + offset in the block; UNREGISTER: chunk number */
    uint32_t block;
    uint64_t more_chunks; /* besides the one that holds @address */
} RdmaRegister;

typedef struct {
    uint32_t rkey;
    uint64_t host; /* of the start of the block */
} RdmaRegisterResult;

typedef struct {
    uint32_t value; /* what the range is filled with: 0 */
    uint32_t block;
    uint64_t address; /* block's offset + offset in the block */
    uint64_t length;
} RdmaCompress;

void rdma_put_block(uint8_t buf[RDMA_BLOCK_SIZE], const RdmaBlockInfo *b);
void rdma_get_block(const uint8_t buf[RDMA_BLOCK_SIZE], RdmaBlockInfo *b);
void rdma_put_register(uint8_t buf[RDMA_REGISTER_SIZE], const RdmaRegister *r);
void rdma_get_register(const uint8_t buf[RDMA_REGISTER_SIZE], RdmaRegister *r);
void rdma_put_register_result(uint8_t buf[RDMA_REGISTER_RESULT_SIZE], const RdmaRegisterResult *r);
void rdma_get_register_result(const uint8_t buf[RDMA_REGISTER_RESULT_SIZE], RdmaRegisterResult *r);
void rdma_put_compress(uint8_t buf[RDMA_COMPRESS_SIZE], const RdmaCompress *c);
void rdma_get_compress(const uint8_t buf[RDMA_COMPRESS_SIZE], RdmaCompress *c);

/* ---- chunks ---- */

/* The unit of registration on the wire, counted from the start of a block. */
#define RDMA_CHUNK_SHIFT 20
#define RDMA_CHUNK_SIZE  (1ULL << RDMA_CHUNK_SHIFT)

/*
 * The bytes [*start, *end) of a block of @length bytes (at @base in ram_addr space) that @r asks to
 * register. NULL if they are inside, else what is wrong (a constant text).
 */
const char *rdma_register_range(const RdmaRegister *r, uint64_t base, uint64_t length,
                                uint64_t *start, uint64_t *end);
/* The same for the bytes that @c clears. */
const char *rdma_compress_range(const RdmaCompress *c, uint64_t base, uint64_t length,
                                uint64_t *start, uint64_t *end);

#endif
