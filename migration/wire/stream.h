/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The frame of a migration stream: bytes <-> structures, nothing else (spec 10 sections 1, 8, 9).
 *
 *   source --------------------------------------------------------------> destination
 *     HEADER "QEVM" 3     CONFIGURATION
 *     [COMMAND open-return-path, PING]
 *     START ram ...                    one per live handler
 *     PART ram ...                     again and again while the guest runs
 *     - - guest stops - -
 *     END ram     FULL device ...      FULL globalstate
 *     EOF         - - the destination may run the guest - -
 *     VMDESCRIPTION (JSON)
 *   source <-------------------------------------------------------------- destination
 *     PONG, ...                        only when the return path is open
 *     SHUT 0                           "the guest is mine"
 *
 * Promise: whatever is written here is what QEMU 7.2 writes. Both decoders accept any bytes.
 */
#ifndef GODWIT_MIGRATION_WIRE_STREAM_H
#define GODWIT_MIGRATION_WIRE_STREAM_H

#include "util/error.h"

#define STREAM_MAGIC       0x5145564dU /* "QEVM" */
#define STREAM_VERSION     3
#define STREAM_HEADER_SIZE 8

typedef enum {
    STREAM_EOF = 0x00,
    STREAM_SECTION_START = 0x01,
    STREAM_SECTION_PART = 0x02,
    STREAM_SECTION_END = 0x03,
    STREAM_SECTION_FULL = 0x04,
    STREAM_SUBSECTION = 0x05,
    STREAM_VMDESCRIPTION = 0x06,
    STREAM_CONFIGURATION = 0x07,
    STREAM_COMMAND = 0x08,
    STREAM_SECTION_FOOTER = 0x7e,
} StreamItemType;

typedef enum {
    STREAM_CMD_INVALID,
    STREAM_CMD_OPEN_RETURN_PATH,
    STREAM_CMD_PING,
    STREAM_CMD_POSTCOPY_ADVISE,
    STREAM_CMD_POSTCOPY_LISTEN,
    STREAM_CMD_POSTCOPY_RUN,
    STREAM_CMD_POSTCOPY_RAM_DISCARD,
    STREAM_CMD_PACKAGED,
    STREAM_CMD_ENABLE_COLO,
    STREAM_CMD_POSTCOPY_RESUME,
    STREAM_CMD_RECV_BITMAP,
    STREAM_CMD_SWITCHOVER_START,
    STREAM_CMD__MAX,
} StreamCommand;

/* One item up to where its body begins. */
typedef struct {
    StreamItemType type;
    uint32_t section_id; /* sections */
    char idstr[256];     /* START, FULL */
    uint32_t instance_id;
    uint32_t version_id;
    uint16_t command; /* COMMAND */
    uint16_t command_len;
} StreamItem;

#define STREAM_ITEM_MAX (1 + 4 + 1 + 255 + 4 + 4)

typedef enum {
    DECODE_OK,
    DECODE_MORE,   /* *need bytes are needed, counted from the start */
    DECODE_INVALID /* *errp set */
} DecodeResult;

/* "QEVM", version; errors say whether this is no stream at all or one of another version. */
void stream_encode_header(uint8_t out[STREAM_HEADER_SIZE]);
bool stream_decode_header(const uint8_t in[STREAM_HEADER_SIZE], GError **errp);

/* Bytes written to @out. CONFIGURATION, VMDESCRIPTION and EOF are the type byte alone. */
size_t stream_encode_item(const StreamItem *item, uint8_t out[STREAM_ITEM_MAX]);
/* The item at the front of @in; *need is then its length. Start with @len 1 or more. */
DecodeResult stream_decode_item(const uint8_t *in, size_t len, StreamItem *item, size_t *need,
                                GError **errp);
/* "section start" and the like, for messages; never NULL. */
const char *stream_item_name(StreamItemType type);
const char *stream_command_name(uint16_t command);
/* Is @len allowed for @command? Error for unknown commands too. */
bool stream_command_check(uint16_t command, uint16_t len, GError **errp);

/* ---- return path ---- */

typedef enum {
    RP_INVALID,
    RP_SHUT,
    RP_PONG,
    RP_REQ_PAGES_ID,
    RP_REQ_PAGES,
    RP_RECV_BITMAP,
    RP_RESUME_ACK,
    RP_SWITCHOVER_ACK,
    /* Only to a Godwit source, which has said so by STREAM_HELLO. */
    RP_FAILURE_TEXT = 0x4757, /* why the SHUT that follows is not 0 */
    RP_LOADED = 0x4758,       /* all is loaded, waiting for STREAM_COMMIT */
    /* Only with RAM_CHANNELS_MAY_BREAK: a channel of multifd that is lost, or RP_CHANNELS_CHECKED,
     * the answer to RAM_CHANNELS_CHECK. */
    RP_LOST_CHANNEL = 0x4759,
} ReturnPathType;

#define RP_CHANNELS_CHECKED 256

#define RP_HEADER_SIZE 4
#define RP_PAYLOAD_MAX 512

typedef struct {
    ReturnPathType type;
    uint32_t value;                /* SHUT, PONG, RESUME_ACK, LOST_CHANNEL */
    uint64_t offset;               /* REQ_PAGES* */
    uint32_t length;               /* REQ_PAGES* */
    char name[256];                /* REQ_PAGES_ID, RECV_BITMAP */
    char text[RP_PAYLOAD_MAX + 1]; /* FAILURE_TEXT */
} ReturnPathMessage;

/* Bytes written to @out. Longer text is cut. */
size_t rp_encode(const ReturnPathMessage *msg, uint8_t out[RP_HEADER_SIZE + RP_PAYLOAD_MAX]);
DecodeResult rp_decode(const uint8_t *in, size_t len, ReturnPathMessage *msg, size_t *need,
                       GError **errp);

/* ---- are you a Godwit? ---- */

/*
 * A Godwit source sends PING with this cookie; other implementations echo it, a Godwit destination
 * answers PONG with STREAM_HELLO_ANSWER | features, and may from then on use extras.
 */
#define STREAM_HELLO             0x474f4457U
#define STREAM_HELLO_ANSWER      0x60000000U
#define STREAM_HELLO_ANSWER_MASK 0xf0000000U

/*
 * Who owns the guest, between Godwits (docs/interop/stream.md): PING STREAM_WAIT_FOR_COMMIT, which
 * is answered, asks the destination not to run by itself; PING STREAM_COMMIT, which is not, gives
 * it the guest behind EOF.
 */
#define STREAM_WAIT_FOR_COMMIT 0x47585741U
#define STREAM_COMMIT          0x4758434fU

/*
 * After the switch to postcopy, between Godwits (docs/interop/postcopy.md): this PING announces @n
 * more channels for pushed pages; they come once it is answered, and carry @line, too. PONG
 * STREAM_PUSH_READY + number says that one is being read. @line, @n: 8 bits each.
 */
#define STREAM_PUSH_ANNOUNCE(line, n)   (0x47500000U | (line) << 8 | (n))
#define STREAM_IS_PUSH_ANNOUNCE(cookie) ((cookie) >> 16 == 0x4750U)
#define STREAM_PUSH_READY               0x47520000U

/* PING cookies that ask how far the destination has read; any value but those in use elsewhere. */
#define STREAM_SETTLE 0x47570000U

typedef enum {
    PEER_FAILURE_TEXT = 1 << 0, /* sends RP_FAILURE_TEXT when it fails */
    PEER_COMMIT = 1 << 1,       /* understands STREAM_WAIT_FOR_COMMIT */
    PEER_ZERO_RUN = 1 << 2,     /* understands RAM_FLAG_ZERO_RUN */
    PEER_PAGE_TWICE = 1 << 3,   /* in postcopy a page may come on the main and the urgent channel */
    PEER_ADAPTIVE = 1 << 4,     /* takes plain and zstd packets on its multifd channels */
    PEER_LOST_CHANNEL = 1 << 5, /* RAM_FLAG_LOST_CHANNEL, RP_LOST_CHANNEL */
    PEER_PUSH_CHANNELS = 1 << 6, /* STREAM_PUSH_ANNOUNCE */
} PeerFeatures;

#endif
