/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/wire/postcopy.h"

#define DISCARD_VERSION 0
#define RANGE_BYTES     16

uint8_t *postcopy_put_be64(uint8_t *p, uint64_t v)
{
    v = GUINT64_TO_BE(v);
    memcpy(p, &v, sizeof(v));
    return p + sizeof(v);
}

static uint64_t get64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return GUINT64_FROM_BE(v);
}

/* ---- advise ---- */

void postcopy_encode_advise(const PostcopyAdvise *a, uint8_t out[POSTCOPY_ADVISE_BYTES])
{
    postcopy_put_be64(postcopy_put_be64(out, a->page_summary), a->target_page);
}

void postcopy_decode_advise(const uint8_t in[POSTCOPY_ADVISE_BYTES], PostcopyAdvise *a)
{
    a->page_summary = get64(in);
    a->target_page = get64(in + 8);
}

/* ---- names ---- */

size_t postcopy_encode_name(const char *name, uint8_t out[POSTCOPY_NAME_MAX])
{
    size_t n = strlen(name);

    g_assert(n <= UINT8_MAX);
    out[0] = n;
    memcpy(out + 1, name, n);
    return 1 + n;
}

/* A counted string at the front of @in; bytes it takes, or 0. */
static size_t take_name(const uint8_t *in, size_t len, char name[256])
{
    if (len < 1 || len < 1 + (size_t)in[0]) {
        return 0;
    }
    memcpy(name, in + 1, in[0]);
    name[in[0]] = '\0';
    return strlen(name) == in[0] ? 1 + in[0] : 0;
}

bool postcopy_decode_name(const uint8_t *in, size_t len, char name[256], GError **errp)
{
    size_t used = take_name(in, len, name);

    if (!used || used != len) {
        error_setg(errp, "Command 'recv-bitmap' with a bad block name (%zu bytes)", len);
        return false;
    }
    return true;
}

/* ---- discard ---- */

size_t postcopy_encode_discard(const char *name, const PostcopyRange *ranges, unsigned n,
                               uint8_t out[POSTCOPY_DISCARD_MAX])
{
    uint8_t *p = out;

    g_assert(n >= 1 && n <= POSTCOPY_RANGES_MAX);
    *p++ = DISCARD_VERSION;
    p += postcopy_encode_name(name, p);
    *p++ = 0;
    for (unsigned i = 0; i < n; i++) {
        p = postcopy_put_be64(postcopy_put_be64(p, ranges[i].start), ranges[i].length);
    }
    return p - out;
}

bool postcopy_decode_discard(const uint8_t *in, size_t len, PostcopyDiscard *d, GError **errp)
{
    size_t used;

    if (len < 1 || in[0] != DISCARD_VERSION) {
        error_setg(errp, "Command 'postcopy-ram-discard' of version %d, %d is understood",
                   len ? in[0] : -1, DISCARD_VERSION);
        return false;
    }
    used = take_name(in + 1, len - 1, d->name);
    if (!used || len < 1 + used + 1 || in[1 + used] != 0) {
        error_setg(errp, "Command 'postcopy-ram-discard' with a bad block name");
        return false;
    }
    used += 2;
    if (len == used || (len - used) % RANGE_BYTES) {
        error_setg(errp, "Command 'postcopy-ram-discard' with %zu bytes of ranges", len - used);
        return false;
    }
    d->n = (len - used) / RANGE_BYTES;
    d->ranges = in + used;
    return true;
}

PostcopyRange postcopy_discard_range(const PostcopyDiscard *d, unsigned i)
{
    const uint8_t *p = d->ranges + (size_t)i * RANGE_BYTES;

    return (PostcopyRange){get64(p), get64(p + 8)};
}

/* ---- bitmap ---- */

uint64_t postcopy_bitmap_bytes(uint64_t pages)
{
    return ROUND_UP(DIV_ROUND_UP(pages, 8), 8);
}

void postcopy_bitmap_swap(void *dst, const void *src, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i += 8) {
        uint64_t word;

        memcpy(&word, (const uint8_t *)src + i, 8);
        word = GUINT64_TO_LE(word);
        memcpy((uint8_t *)dst + i, &word, 8);
    }
}

/* ---- channels for pushed pages ---- */

#define CHANNEL_VERSION 1

void postcopy_encode_channel(const PostcopyChannel *c, uint8_t out[POSTCOPY_CHANNEL_BYTES])
{
    uint32_t magic = GUINT32_TO_BE(POSTCOPY_CHANNEL_MAGIC);

    memcpy(out, &magic, sizeof(magic));
    out[4] = CHANNEL_VERSION;
    out[5] = c->number;
    out[6] = c->line;
    out[7] = 0;
}

bool postcopy_decode_channel(const uint8_t in[POSTCOPY_CHANNEL_BYTES], PostcopyChannel *c,
                             GError **errp)
{
    uint8_t expected[POSTCOPY_CHANNEL_BYTES];

    *c = (PostcopyChannel){.number = in[5], .line = in[6]};
    postcopy_encode_channel(c, expected);
    if (memcmp(in, expected, sizeof(expected)) != 0) {
        error_setg(errp, "A channel for pushed pages of version %u is not known here", in[4]);
        return false;
    }
    return true;
}
