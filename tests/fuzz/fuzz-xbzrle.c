/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Deltas: hostile bodies stay inside the page; what is encoded decodes to the same page, and is
 * what decoding accepted. */
#include "fuzz.h"
#include "migration/wire/xbzrle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree uint8_t *before = g_malloc(XBZRLE_PAGE), *after = g_malloc(XBZRLE_PAGE);
    g_autofree uint8_t *copy = g_malloc(XBZRLE_PAGE), *body = g_memdup2(data, size);
    uint8_t out[XBZRLE_PAGE];
    XbzrleDiff diff;
    int len;

    if (!size || size > XBZRLE_PAGE) {
        return 0;
    }
    memset(before, 0x5A, XBZRLE_PAGE);
    memcpy(after, before, XBZRLE_PAGE);
    xbzrle_decode(after, body, size);
    memcpy(copy, before, XBZRLE_PAGE);
    if (!xbzrle_update(copy, after, &diff)) {
        return 0;
    }
    g_assert_true(memcmp(copy, after, XBZRLE_PAGE) == 0);
    len = xbzrle_encode(copy, &diff, out);
    if (len >= 0) {
        g_assert_true(xbzrle_decode(before, out, len));
        g_assert_true(memcmp(before, after, XBZRLE_PAGE) == 0);
    }
    return 0;
}
