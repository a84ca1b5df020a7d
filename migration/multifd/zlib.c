/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One deflate stream (RFC 1950) per channel, never finished (spec 30 section 8). */
#include <zlib.h>
#include "migration/multifd/codec.h"
#include "migration/wire/multifd.h"

/* ---- source ---- */

typedef struct {
    MultifdEncoder base;
    z_stream z;
    uint8_t page[MULTIFD_PAGE_SIZE]; /* deflate must not see its input change */
} ZlibEncoder;

static bool deflate_some(ZlibEncoder *e, const uint8_t *in, size_t len, int flush, GError **errp)
{
    int ret;

    e->z.next_in = (Bytef *)in;
    e->z.avail_in = len;
    ret = deflate(&e->z, flush);
    if (ret != Z_OK || e->z.avail_in || !e->z.avail_out) {
        error_setg(errp, "deflate returned %d with %u bytes left", ret, e->z.avail_in);
        return false;
    }
    return true;
}

static bool zlib_encode(MultifdEncoder *base, const struct iovec *in, unsigned n, uint8_t *out,
                        uint32_t *len, GError **errp)
{
    ZlibEncoder *e = container_of(base, ZlibEncoder, base);

    e->z.next_out = out;
    e->z.avail_out = MULTIFD_CODED_MAX;
    for (unsigned i = 0; i < n; i++) {
        const uint8_t *host = in[i].iov_base;

        for (size_t at = 0; at < in[i].iov_len; at += MULTIFD_PAGE_SIZE) {
            memcpy(e->page, host + at, MULTIFD_PAGE_SIZE);
            if (!deflate_some(e, e->page, MULTIFD_PAGE_SIZE, Z_NO_FLUSH, errp)) {
                return false;
            }
        }
    }
    if (!deflate_some(e, NULL, 0, Z_SYNC_FLUSH, errp)) {
        return false;
    }
    *len = MULTIFD_CODED_MAX - e->z.avail_out;
    return true;
}

static void zlib_encoder_free(MultifdEncoder *base)
{
    ZlibEncoder *e = container_of(base, ZlibEncoder, base);

    deflateEnd(&e->z);
    g_free(e);
}

static MultifdEncoder *zlib_encoder(const MultifdCodecOptions *o, GError **errp)
{
    ZlibEncoder *e = g_new0(ZlibEncoder, 1);
    int ret = deflateInit(&e->z, o->zlib_level);

    if (ret != Z_OK) {
        error_setg(errp, "deflateInit returned %d", ret);
        g_free(e);
        return NULL;
    }
    e->base = (MultifdEncoder){.encode = zlib_encode, .free = zlib_encoder_free};
    return &e->base;
}

/* ---- destination ---- */

typedef struct {
    MultifdDecoder base;
    z_stream z;
} ZlibDecoder;

static bool inflate_run(ZlibDecoder *d, const struct iovec *out, GError **errp)
{
    d->z.next_out = out->iov_base;
    d->z.avail_out = out->iov_len;
    while (d->z.avail_out) {
        uLong before = d->z.total_out;
        int ret = inflate(&d->z, Z_SYNC_FLUSH);

        if (ret != Z_OK && ret != Z_BUF_ERROR) {
            error_setg(errp, "inflate returned %d instead of Z_OK: %s", ret,
                       d->z.msg ? d->z.msg : "no reason");
            return false;
        }
        if (d->z.total_out == before) {
            error_setg(errp, "inflate generated too few output: %u bytes of pages are missing",
                       d->z.avail_out);
            return false;
        }
    }
    return true;
}

/* Behind the last page there is nothing but the flush. */
static bool inflate_end(ZlibDecoder *d, GError **errp)
{
    Bytef more;
    int ret;

    d->z.next_out = &more;
    d->z.avail_out = 1;
    ret = d->z.avail_in ? inflate(&d->z, Z_SYNC_FLUSH) : Z_OK;
    if ((ret != Z_OK && ret != Z_BUF_ERROR) || d->z.avail_in || !d->z.avail_out) {
        error_setg(errp, "inflate returned %d with %u bytes more than the pages need", ret,
                   d->z.avail_in);
        return false;
    }
    return true;
}

static bool zlib_decode(MultifdDecoder *base, const uint8_t *in, uint32_t len,
                        const struct iovec *out, unsigned n, GError **errp)
{
    ZlibDecoder *d = container_of(base, ZlibDecoder, base);

    d->z.next_in = (Bytef *)in;
    d->z.avail_in = len;
    for (unsigned i = 0; i < n; i++) {
        if (!inflate_run(d, &out[i], errp)) {
            return false;
        }
    }
    return inflate_end(d, errp);
}

static void zlib_decoder_free(MultifdDecoder *base)
{
    ZlibDecoder *d = container_of(base, ZlibDecoder, base);

    inflateEnd(&d->z);
    g_free(d);
}

static MultifdDecoder *zlib_decoder(GError **errp)
{
    ZlibDecoder *d = g_new0(ZlibDecoder, 1);
    int ret = inflateInit(&d->z);

    if (ret != Z_OK) {
        error_setg(errp, "inflateInit returned %d", ret);
        g_free(d);
        return NULL;
    }
    d->base = (MultifdDecoder){zlib_decode, zlib_decoder_free};
    return &d->base;
}

const MultifdCodec multifd_codec_zlib = {
    .flag = MULTIFD_FLAG_ZLIB,
    .encoder = zlib_encoder,
    .decoder = zlib_decoder,
};
