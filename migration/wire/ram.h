/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Codec of the records of the "ram" section (spec 20 sections 3 and 4): bytes <-> structs, no I/O,
 * no state.
 *
 *   record := be64 (offset | flags)  [str8 block name]  rest
 *
 * The name is there unless RAM_FLAG_CONTINUE says "same block as before". Decoders never read past
 * @len.
 */
#ifndef GODWIT_MIGRATION_WIRE_RAM_H
#define GODWIT_MIGRATION_WIRE_RAM_H

#include "util/osdep.h"

#define RAM_SECTION_VERSION 4
#define RAM_PAGE_SIZE       4096
#define RAM_FLAGS_MASK      (RAM_PAGE_SIZE - 1)

enum {
    RAM_FLAG_ZERO = 0x002,
    RAM_FLAG_MEM_SIZE = 0x004,
    RAM_FLAG_PAGE = 0x008,
    RAM_FLAG_EOS = 0x010,
    RAM_FLAG_CONTINUE = 0x020,
    RAM_FLAG_XBZRLE = 0x040,
    RAM_FLAG_HOOK = 0x080,
    RAM_FLAG_COMPRESS_PAGE = 0x100,
    RAM_FLAG_MULTIFD_FLUSH = 0x200,
    /* Godwit only, to a peer that announced PEER_ZERO_RUN: name as with ZERO, be64 count; pages
     * [offset, offset + 4096 * count) are zero. */
    RAM_FLAG_ZERO_RUN = 0x400,
    /* Godwit only, to a peer that announced PEER_LOST_CHANNEL; no page: offset / RAM_PAGE_SIZE is
     * the number of a multifd channel that broke, whose pages come again, or one of
     * RAM_CHANNELS_* (docs/interop/multifd.md). */
    RAM_FLAG_LOST_CHANNEL = 0x600,
};

/* Before the first marker: from now on channels may break. */
#define RAM_CHANNELS_MAY_BREAK 256
/* Behind a marker: say which are lost, and then RP_CHANNELS_CHECKED. */
#define RAM_CHANNELS_CHECK 257

#define RAM_WORD_BYTES 8
/* A ZERO record that continues its block: word and fill byte. */
#define RAM_ZERO_RECORD_BYTES 9
/* First byte of an XBZRLE payload; then be16 length and so many bytes (wire/xbzrle.h). */
#define RAM_XBZRLE_ENCODING 1
/* COMPRESS_PAGE: head, be32 length (1 to RAM_COMPRESSED_MAX), a zlib stream of the page. */
#define RAM_COMPRESSED_MAX 4110
/* The longest head: word, name, count of a ZERO_RUN. */
#define RAM_HEAD_MAX (RAM_WORD_BYTES + 256 + 8)

static inline void ram_put_word(uint8_t *p, uint64_t word)
{
    word = GUINT64_TO_BE(word);
    memcpy(p, &word, sizeof(word));
}

static inline uint64_t ram_get_word(const uint8_t *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
    return GUINT64_FROM_BE(word);
}

/* Word and, with @name (<= 255 bytes), the name; NULL: RAM_FLAG_CONTINUE. Returns bytes written (<=
 * RAM_HEAD_MAX). */
size_t ram_put_head(uint8_t *buf, uint64_t offset, unsigned flags, const char *name);
/* @count records "page at @offset, @offset + 4096, ... is zero", same block; RAM_ZERO_RECORD_BYTES
 * each. */
void ram_put_zero_records(uint8_t *buf, uint64_t offset, uint64_t count);

/* A record without the bytes of a page. */
typedef struct {
    unsigned flags;  /* one flag, CONTINUE removed */
    uint64_t offset; /* in the block; MEM_SIZE: total bytes of the list */
    bool named;
    uint8_t fill;   /* ZERO */
    uint64_t count; /* ZERO_RUN: pages; any value */
    char name[256];
} RamRecord;

typedef enum {
    RAM_DECODE_OK,
    RAM_DECODE_SHORT,     /* *used is how many bytes the decoder must see */
    RAM_DECODE_BAD_FLAGS, /* out->flags: a combination nobody defined */
    RAM_DECODE_BAD_NAME,  /* with a NUL inside */
} RamDecodeResult;

/* Decode the head of a record, for ZERO with its fill byte, for ZERO_RUN with its count; the
 * payload of other kinds starts at buf + *used. */
RamDecodeResult ram_decode_record(const uint8_t *buf, size_t len, RamRecord *out, size_t *used);
/* How many ZERO records with fill 0 that continue at @offset are at @buf, at most @max. */
uint64_t ram_count_zero_records(const uint8_t *buf, size_t len, uint64_t offset, uint64_t max);

/* One entry of the list behind MEM_SIZE; @page_size only if not 0, the address only with_gpa.
 * Returns bytes written. */
#define RAM_LIST_ENTRY_MAX (256 + 3 * 8)
size_t ram_put_list_entry(uint8_t *buf, const char *name, uint64_t used_length, uint64_t page_size,
                          bool with_gpa, uint64_t gpa);

#endif
