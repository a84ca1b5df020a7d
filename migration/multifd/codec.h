/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How the payload of packets is coded: memory to memory, one coder per channel and direction, used
 * by its thread alone.
 *
 * zlib and zstd are one continuous stream per channel for the whole migration; each packet ends
 * with a flush (spec 30 section 8). x-adaptive, between Godwits, is either plain bytes or one frame
 * of zstd per packet.
 */
#ifndef GODWIT_MIGRATION_MULTIFD_CODEC_H
#define GODWIT_MIGRATION_MULTIFD_CODEC_H

#include <sys/uio.h>
#include "qapi-types-migration.h"
#include "util/error.h"

/* A packet's pages, and room for what any codec makes of them. */
#define MULTIFD_CODED_MAX (MULTIFD_PACKET_BYTES + 64 * KiB)

typedef struct {
    MultiFDCompression method;
    unsigned zlib_level, zstd_level; /* source */
} MultifdCodecOptions;

typedef struct MultifdEncoder MultifdEncoder;
typedef struct MultifdDecoder MultifdDecoder;

/* All that is known of a method. */
typedef struct {
    uint32_t flag; /* in the header of packets with coded pages */
    bool mixed;    /* packets may also have plain pages, and no flag */
    MultifdEncoder *(*encoder)(const MultifdCodecOptions *o, GError **errp);
    MultifdDecoder *(*decoder)(GError **errp);
} MultifdCodec;

struct MultifdEncoder {
    /* Code a packet's bytes @in, which others may be changing, to at most MULTIFD_CODED_MAX bytes
     * at @out. *len 0 (mixed codecs only): better send them as they are. */
    bool (*encode)(MultifdEncoder *e, const struct iovec *in, unsigned n, uint8_t *out,
                   uint32_t *len, GError **errp);
    /* The last packets, @pages bytes of pages and @bytes in all, were written in @us; @limit: bytes
     * per second that this channel may send, 0: any. NULL: no interest. */
    void (*sent)(MultifdEncoder *e, uint64_t pages, uint64_t bytes, uint64_t us, uint64_t limit);
    /* What was done, for the flight recorder; NULL: nothing to tell. The thread has ended. */
    char *(*describe)(const MultifdEncoder *e);
    void (*free)(MultifdEncoder *e);
};

struct MultifdDecoder {
    /* @len bytes at @in must give exactly what @out has room for. They are the peer's word. */
    bool (*decode)(MultifdDecoder *d, const uint8_t *in, uint32_t len, const struct iovec *out,
                   unsigned n, GError **errp);
    void (*free)(MultifdDecoder *d);
};

/* NULL: plain bytes, no coder. */
const MultifdCodec *multifd_codec(MultiFDCompression method);

extern const MultifdCodec multifd_codec_zlib, multifd_codec_zstd, multifd_codec_adaptive;

/* Frames of zstd one after the other, wherever they begin and end. */
MultifdDecoder *multifd_zstd_decoder(GError **errp);

#endif
