/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The words of postcopy: bytes <-> structures, nothing else (spec 40).
 *
 *   source --------------------------------------------------------------> destination
 *     COMMAND advise (page sizes)
 *     START ram, PART ram ...          as in precopy
 *     - - guest stops - -
 *     COMMAND discard ...              what memory is stale or was never sent
 *     COMMAND packaged { listen, FULL device ..., PING, run }
 *     - - guest runs there - -
 *     PART ram ...                     what was asked for first
 *     END ram, EOF
 *   source <-------------------------------------------------------------- destination
 *     REQ_PAGES_ID, REQ_PAGES ...      a vCPU waits for this page
 *     SHUT 0                           everything is here
 *
 *   after a broken line, on new channels, without header:
 *     source: COMMAND recv-bitmap per block     destination: RECV_BITMAP + bitmap each
 *     source: COMMAND resume                    destination: RESUME_ACK, requests again
 *     PART ram ... as before
 *
 * Promise: what is written here is what QEMU 7.2 writes, except where only Godwits are addressed.
 * Decoders accept any bytes.
 */
#ifndef GODWIT_MIGRATION_WIRE_POSTCOPY_H
#define GODWIT_MIGRATION_WIRE_POSTCOPY_H

#include "util/error.h"

/* ---- advise ---- */

#define POSTCOPY_ADVISE_BYTES 16

typedef struct {
    uint64_t page_summary; /* the page sizes of all blocks, ORed */
    uint64_t target_page;
} PostcopyAdvise;

void postcopy_encode_advise(const PostcopyAdvise *a, uint8_t out[POSTCOPY_ADVISE_BYTES]);
void postcopy_decode_advise(const uint8_t in[POSTCOPY_ADVISE_BYTES], PostcopyAdvise *a);

/* ---- discard ---- */

#define POSTCOPY_RANGES_MAX  12 /* that a source puts into one command */
#define POSTCOPY_DISCARD_MAX (3 + 255 + 16 * POSTCOPY_RANGES_MAX)

typedef struct {
    uint64_t start, length; /* bytes, inside the block */
} PostcopyRange;

typedef struct {
    char name[256];
    unsigned n;
    const uint8_t *ranges; /* in the bytes given to the decoder */
} PostcopyDiscard;

/* Bytes written; 1 <= @n <= POSTCOPY_RANGES_MAX. */
size_t postcopy_encode_discard(const char *name, const PostcopyRange *ranges, unsigned n,
                               uint8_t out[POSTCOPY_DISCARD_MAX]);
bool postcopy_decode_discard(const uint8_t *in, size_t len, PostcopyDiscard *d, GError **errp);
PostcopyRange postcopy_discard_range(const PostcopyDiscard *d, unsigned i);

/* ---- recv-bitmap: the command's argument, and what follows the answer ---- */

#define POSTCOPY_NAME_MAX 256
/* Behind the bitmap's bytes. */
#define POSTCOPY_BITMAP_MARK UINT64_C(0x0123456789abcdef)

/* A counted string that fills the argument; bytes written. */
size_t postcopy_encode_name(const char *name, uint8_t out[POSTCOPY_NAME_MAX]);
bool postcopy_decode_name(const uint8_t *in, size_t len, char name[256], GError **errp);
/* A big-endian number at @p; returns where the next goes. */
uint8_t *postcopy_put_be64(uint8_t *p, uint64_t v);
/* Size of a bitmap of @pages bits on the wire. */
uint64_t postcopy_bitmap_bytes(uint64_t pages);
/* Between words of the host and little-endian bytes; @bytes of both, a multiple of 8. In place is
 * fine. */
void postcopy_bitmap_swap(void *dst, const void *src, uint64_t bytes);

/* ---- how one more channel for pushed pages begins; Godwits only ---- */

/* be32 magic, u8 version, u8 number, u8 line, u8 0; pages follow, as on the channel of
 * postcopy-preempt. */
#define POSTCOPY_CHANNEL_MAGIC 0x474f5043U
#define POSTCOPY_CHANNEL_BYTES 8

typedef struct {
    uint8_t number;
    uint8_t line; /* which was announced, modulo 256: one of a line that broke has no business */
} PostcopyChannel;

void postcopy_encode_channel(const PostcopyChannel *c, uint8_t out[POSTCOPY_CHANNEL_BYTES]);
bool postcopy_decode_channel(const uint8_t in[POSTCOPY_CHANNEL_BYTES], PostcopyChannel *c,
                             GError **errp);

#endif
