/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x-adaptive: each packet is plain, or one frame of zstd at the level that is the fastest on this
 * line now (choice.h). Frames of their own can be thrown away when they turn out not to be worth
 * it, and each may have another level.
 */
#include <zstd.h>
#include "migration/multifd/choice.h"
#include "migration/multifd/codec.h"
#include "migration/wire/multifd.h"
#include "util/iov.h"

/* A frame has to save a sixteenth of its pages. */
#define WORTHLESS(in, out) ((out) > (in) - (in) / 16)
/* Behind a packet that did not compress, so much of the next is tried first: pieces from all over
 * it, at the fastest level. */
#define SAMPLE_PIECES 4
#define SAMPLE_PIECE  ((size_t)MULTIFD_PAGE_SIZE)
#define SAMPLE_BYTES  (SAMPLE_PIECES * SAMPLE_PIECE)

typedef struct {
    MultifdEncoder base;
    CodecChoice choice;
    ZSTD_CCtx *z;
    bool doubtful;           /* the last packet did not compress */
    uint64_t plain, skipped; /* packets left as they are: by choice, because they do not compress */
    uint64_t packets[CODEC_STEPS];       /* coded */
    uint8_t pages[MULTIFD_PACKET_BYTES]; /* the guest may be writing to its own */
} AdaptiveEncoder;

static bool compress(AdaptiveEncoder *e, int level, const uint8_t *in, size_t len, uint8_t *out,
                     size_t *done, GError **errp)
{
    *done = ZSTD_compressCCtx(e->z, out, MULTIFD_CODED_MAX, in, len, level);
    if (ZSTD_isError(*done)) {
        error_setg(errp, "compressCCtx at level %d returned %s", level, ZSTD_getErrorName(*done));
        return false;
    }
    return true;
}

/* Does what is in e->pages look worth the trouble? */
static bool sample(AdaptiveEncoder *e, size_t len, uint8_t *out, bool *worth, GError **errp)
{
    uint8_t some[SAMPLE_BYTES];
    size_t done;

    for (unsigned i = 0; i < SAMPLE_PIECES; i++) {
        size_t at = len / SAMPLE_PIECES * i / SAMPLE_PIECE * SAMPLE_PIECE;

        memcpy(some + i * SAMPLE_PIECE, e->pages + at, SAMPLE_PIECE);
    }
    if (!compress(e, codec_step_level[1], some, sizeof(some), out, &done, errp)) {
        return false;
    }
    *worth = !WORTHLESS(sizeof(some), done);
    return true;
}

/* e->pages at @step; *done is 0 if that is no use. */
static bool code(AdaptiveEncoder *e, unsigned step, size_t len, uint8_t *out, size_t *done,
                 GError **errp)
{
    int64_t begin = g_get_monotonic_time();
    bool worth = true;

    if (e->doubtful && len > 2 * SAMPLE_BYTES && !sample(e, len, out, &worth, errp)) {
        return false;
    }
    if (worth && !compress(e, codec_step_level[step], e->pages, len, out, done, errp)) {
        return false;
    }
    e->doubtful = !worth || WORTHLESS(len, *done);
    if (e->doubtful) {
        *done = 0;
        e->skipped++;
        return true;
    }
    e->packets[step]++;
    codec_choice_coded(&e->choice, step, len, *done, g_get_monotonic_time() - begin);
    return true;
}

static bool adaptive_encode(MultifdEncoder *base, const struct iovec *in, unsigned n, uint8_t *out,
                            uint32_t *len, GError **errp)
{
    AdaptiveEncoder *e = container_of(base, AdaptiveEncoder, base);
    unsigned step = codec_choice_next(&e->choice);
    size_t size = 0, done = 0;

    if (step == 0) {
        e->plain++;
    } else {
        for (unsigned i = 0; i < n; i++) {
            memcpy(e->pages + size, in[i].iov_base, in[i].iov_len);
            size += in[i].iov_len;
        }
        if (!code(e, step, size, out, &done, errp)) {
            return false;
        }
    }
    *len = done;
    return true;
}

static void adaptive_sent(MultifdEncoder *base, uint64_t pages, uint64_t bytes, uint64_t us,
                          uint64_t limit)
{
    codec_choice_sent(&container_of(base, AdaptiveEncoder, base)->choice, pages, bytes, us, limit);
}

static char *adaptive_describe(const MultifdEncoder *base)
{
    const AdaptiveEncoder *e = container_of(base, AdaptiveEncoder, base);
    GString *s = g_string_new(NULL);

    g_string_printf(s, "packets plain: %" PRIu64, e->plain);
    for (unsigned i = 1; i < CODEC_STEPS; i++) {
        g_string_append_printf(s, ", zstd %d: %" PRIu64, codec_step_level[i], e->packets[i]);
    }
    g_string_append_printf(s, ", incompressible: %" PRIu64 "; line %.0f MB/s", e->skipped,
                           e->choice.line);
    return g_string_free(s, FALSE);
}

static void adaptive_free(MultifdEncoder *base)
{
    AdaptiveEncoder *e = container_of(base, AdaptiveEncoder, base);

    ZSTD_freeCCtx(e->z);
    g_free(e);
}

static MultifdEncoder *adaptive_encoder(const MultifdCodecOptions *o, GError **errp)
{
    AdaptiveEncoder *e = g_new0(AdaptiveEncoder, 1);

    e->base = (MultifdEncoder){adaptive_encode, adaptive_sent, adaptive_describe, adaptive_free};
    codec_choice_init(&e->choice);
    e->z = ZSTD_createCCtx();
    if (!e->z) {
        error_setg(errp, "no memory for a zstd encoder");
        adaptive_free(&e->base);
        return NULL;
    }
    return &e->base;
}

const MultifdCodec multifd_codec_adaptive = {
    .flag = MULTIFD_FLAG_ZSTD,
    .mixed = true,
    .encoder = adaptive_encoder,
    .decoder = multifd_zstd_decoder,
};
