/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One zstd frame per channel, never ended (spec 30 section 8). */
#include <zstd.h>
#include "migration/multifd/codec.h"
#include "migration/wire/multifd.h"

/* ---- source ---- */

typedef struct {
    MultifdEncoder base;
    ZSTD_CStream *z;
    uint8_t pages[MULTIFD_PACKET_BYTES]; /* the guest may be writing to its own */
} ZstdEncoder;

static bool zstd_encode(MultifdEncoder *base, const struct iovec *in, unsigned n, uint8_t *out,
                        uint32_t *len, GError **errp)
{
    ZstdEncoder *e = container_of(base, ZstdEncoder, base);
    ZSTD_inBuffer src = {e->pages, 0, 0};
    ZSTD_outBuffer dst = {out, MULTIFD_CODED_MAX, 0};
    size_t left;

    for (unsigned i = 0; i < n; i++) {
        memcpy(e->pages + src.size, in[i].iov_base, in[i].iov_len);
        src.size += in[i].iov_len;
    }
    left = ZSTD_compressStream2(e->z, &dst, &src, ZSTD_e_flush);
    if (ZSTD_isError(left) || left || src.pos != src.size) {
        error_setg(errp, "compressStream2 returned %s with %zu of %zu bytes taken",
                   ZSTD_getErrorName(left), src.pos, src.size);
        return false;
    }
    *len = dst.pos;
    return true;
}

static void zstd_encoder_free(MultifdEncoder *base)
{
    ZstdEncoder *e = container_of(base, ZstdEncoder, base);

    ZSTD_freeCStream(e->z);
    g_free(e);
}

static MultifdEncoder *zstd_encoder(const MultifdCodecOptions *o, GError **errp)
{
    ZstdEncoder *e = g_new0(ZstdEncoder, 1);
    size_t ret;

    e->base = (MultifdEncoder){.encode = zstd_encode, .free = zstd_encoder_free};
    e->z = ZSTD_createCStream();
    ret = e->z ? ZSTD_CCtx_setParameter(e->z, ZSTD_c_compressionLevel, o->zstd_level) : 0;
    if (!e->z || ZSTD_isError(ret)) {
        error_setg(errp, "zstd level %u: %s", o->zstd_level,
                   e->z ? ZSTD_getErrorName(ret) : "no memory");
        zstd_encoder_free(&e->base);
        return NULL;
    }
    return &e->base;
}

/* ---- destination ---- */

typedef struct {
    MultifdDecoder base;
    ZSTD_DStream *z;
} ZstdDecoder;

static bool decompress_run(ZstdDecoder *d, ZSTD_inBuffer *src, const struct iovec *out,
                           GError **errp)
{
    ZSTD_outBuffer dst = {out->iov_base, out->iov_len, 0};

    while (dst.pos < dst.size) {
        size_t in_before = src->pos, out_before = dst.pos;
        size_t ret = ZSTD_decompressStream(d->z, &dst, src);

        if (ZSTD_isError(ret)) {
            error_setg(errp, "decompressStream returned %s", ZSTD_getErrorName(ret));
            return false;
        }
        if (src->pos == in_before && dst.pos == out_before) {
            error_setg(errp, "decompressStream buffer too small: %zu bytes of pages are missing",
                       dst.size - dst.pos);
            return false;
        }
    }
    return true;
}

/* Behind the last page there is nothing but the end of a block. */
static bool decompress_end(ZstdDecoder *d, ZSTD_inBuffer *src, GError **errp)
{
    uint8_t more;
    ZSTD_outBuffer dst = {&more, 1, 0};
    size_t ret;

    do {
        size_t before = src->pos;

        ret = ZSTD_decompressStream(d->z, &dst, src);
        if (ZSTD_isError(ret) || dst.pos || (src->pos < src->size && src->pos == before)) {
            error_setg(errp, "decompressStream returned %s with %zu bytes more than the pages need",
                       ZSTD_getErrorName(ret), src->size - src->pos);
            return false;
        }
    } while (src->pos < src->size);
    return true;
}

static bool zstd_decode(MultifdDecoder *base, const uint8_t *in, uint32_t len,
                        const struct iovec *out, unsigned n, GError **errp)
{
    ZstdDecoder *d = container_of(base, ZstdDecoder, base);
    ZSTD_inBuffer src = {in, len, 0};

    for (unsigned i = 0; i < n; i++) {
        if (!decompress_run(d, &src, &out[i], errp)) {
            return false;
        }
    }
    return src.pos == src.size || decompress_end(d, &src, errp);
}

static void zstd_decoder_free(MultifdDecoder *base)
{
    ZstdDecoder *d = container_of(base, ZstdDecoder, base);

    ZSTD_freeDStream(d->z);
    g_free(d);
}

MultifdDecoder *multifd_zstd_decoder(GError **errp)
{
    ZstdDecoder *d = g_new0(ZstdDecoder, 1);

    d->base = (MultifdDecoder){zstd_decode, zstd_decoder_free};
    d->z = ZSTD_createDStream();
    if (!d->z) {
        error_setg(errp, "no memory for a zstd decoder");
        zstd_decoder_free(&d->base);
        return NULL;
    }
    return &d->base;
}

const MultifdCodec multifd_codec_zstd = {
    .flag = MULTIFD_FLAG_ZSTD,
    .encoder = zstd_encoder,
    .decoder = multifd_zstd_decoder,
};
