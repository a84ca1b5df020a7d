/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The codec of ram records: never reads past the end, and what it decodes it encodes again. */
#include "fuzz.h"
#include "migration/wire/ram.h"

static size_t encode(const RamRecord *r, uint8_t out[RAM_HEAD_MAX])
{
    size_t n = ram_put_head(out, r->offset, r->flags, r->named ? r->name : NULL);

    if (r->flags == RAM_FLAG_ZERO) {
        out[n++] = r->fill;
    }
    if (r->flags == RAM_FLAG_ZERO_RUN) {
        ram_put_word(out + n, r->count);
        n += 8;
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t at = 0;

    while (at < size) {
        /* An own copy of exactly that size: the sanitizer sees a read behind it. */
        g_autofree uint8_t *bytes = g_memdup2(data + at, size - at);
        uint8_t again[RAM_HEAD_MAX];
        RamRecord r, r2;
        size_t used = 0, used2 = 0, n;

        ram_count_zero_records(bytes, size - at, at << 12, 1000);
        switch (ram_decode_record(bytes, size - at, &r, &used)) {
        case RAM_DECODE_OK:
            g_assert_cmpuint(used, >, 0);
            g_assert_cmpuint(used, <=, size - at);
            if (r.flags == RAM_FLAG_ZERO || r.flags == RAM_FLAG_PAGE ||
                r.flags == RAM_FLAG_ZERO_RUN) {
                n = encode(&r, again);
                g_assert_cmpint(ram_decode_record(again, n, &r2, &used2), ==, RAM_DECODE_OK);
                g_assert_cmpuint(used2, ==, n);
                g_assert_true(r2.offset == r.offset && r2.flags == r.flags && r2.fill == r.fill &&
                              r2.count == r.count);
                g_assert_true(r2.named == r.named && (!r.named || !strcmp(r.name, r2.name)));
            }
            at += used;
            break;
        case RAM_DECODE_SHORT:
            g_assert_cmpuint(used, >, size - at);
            return 0;
        default:
            at++;
            break;
        }
    }
    return 0;
}
