/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Codec of what travels on a multifd channel (spec 30 sections 2.1 and 3): bytes <-> structs, no
 * I/O, no state.
 *
 *   channel := init packet, once   then packets: header, payload
 *
 * Every byte decoded is the peer's word: decoders check all that can be checked without knowing the
 * guest.
 */
#ifndef GODWIT_MIGRATION_WIRE_MULTIFD_H
#define GODWIT_MIGRATION_WIRE_MULTIFD_H

#include "util/error.h"

#define MULTIFD_MAGIC        UINT32_C(0x11223344)
#define MULTIFD_VERSION      1
#define MULTIFD_CHANNELS_MAX 255

/* ---- init packet: the first 64 bytes of a channel, source to destination ---- */

#define MULTIFD_INIT_SIZE 64
#define MULTIFD_UUID_SIZE 16

typedef struct {
    uint8_t uuid[MULTIFD_UUID_SIZE]; /* of the VM, all zero without */
    uint8_t id;                      /* of the channel, from 0 */
} MultifdInit;

void multifd_encode_init(const MultifdInit *init, uint8_t buf[MULTIFD_INIT_SIZE]);
/* Magic and version are checked; whether uuid and id fit is the caller's business. */
bool multifd_decode_init(const uint8_t buf[MULTIFD_INIT_SIZE], MultifdInit *init, GError **errp);

/* ---- packets ---- */

#define MULTIFD_PAGE_BITS 12
#define MULTIFD_PAGE_SIZE (UINT32_C(1) << MULTIFD_PAGE_BITS)
/* Room for so many pages, always; a packet may have fewer. */
#define MULTIFD_PACKET_PAGES 128
#define MULTIFD_PACKET_BYTES (MULTIFD_PACKET_PAGES * MULTIFD_PAGE_SIZE)
#define MULTIFD_HEADER_SIZE  (320 + 8 * MULTIFD_PACKET_PAGES)
/* More than any codec makes of a full packet. */
#define MULTIFD_PAYLOAD_MAX (2 * MULTIFD_PACKET_BYTES)

enum {
    MULTIFD_FLAG_SYNC = 0x01,
    MULTIFD_FLAG_ZLIB = 0x02,
    MULTIFD_FLAG_ZSTD = 0x04,
    /* How the payload is coded: one of these, or 0 for plain bytes. The bits of the accelerators
     * are known so that they are refused by name. */
    MULTIFD_FLAG_QPL = 0x08,
    MULTIFD_FLAG_UADK = 0x10,
    MULTIFD_FLAG_QATZIP = 0x20,
    MULTIFD_CODEC_MASK = 0x3e,
    MULTIFD_FLAG_DEVICE_STATE = 0x40,
};

/* Pages that follow each other in their block. */
typedef struct {
    uint64_t first, count;
} MultifdRun;

/*
 * What a header says. @zero: pages that are all zero and have no bytes in the payload; sources
 * before 9.0 have none, destinations before 9.0 overlook them.
 */
typedef struct {
    uint32_t flags;
    uint64_t number;
    uint32_t payload;  /* bytes behind the header */
    const char *block; /* NULL without pages; decoded: points into the header */
    unsigned pages, zero_pages;
    unsigned runs, zero_runs;
    MultifdRun run[MULTIFD_PACKET_PAGES], zero[MULTIFD_PACKET_PAGES];
} MultifdPacket;

/* pages + zero_pages <= MULTIFD_PACKET_PAGES, name shorter than 256 bytes. */
void multifd_encode_packet(const MultifdPacket *p, uint8_t buf[MULTIFD_HEADER_SIZE]);
/*
 * Neighbours come out as one run. Offsets are aligned, not more; whether they lie in the block is
 * for the caller to check. A payload is there if and only if there are pages: packets without any
 * may carry a stale size (spec 30 section 3).
 */
bool multifd_decode_packet(const uint8_t buf[MULTIFD_HEADER_SIZE], MultifdPacket *p, GError **errp);

/* One more page, or more of them, behind those in @run. */
static inline void multifd_add_pages(MultifdRun *run, unsigned *runs, uint64_t first,
                                     uint64_t count)
{
    if (*runs && run[*runs - 1].first + run[*runs - 1].count == first) {
        run[*runs - 1].count += count;
    } else {
        run[(*runs)++] = (MultifdRun){first, count};
    }
}

#endif
