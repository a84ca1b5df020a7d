/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A loader of ram sections too simple to be wrong: the model the real one is held against. */
#ifndef GODWIT_TESTS_RAM_REFERENCE_H
#define GODWIT_TESTS_RAM_REFERENCE_H

#include "migration/wire/ram.h"

typedef struct {
    const uint8_t *p;
    size_t left;
} Bytes;

static inline bool take(Bytes *b, void *to, size_t n)
{
    if (b->left < n) {
        return false;
    }
    memcpy(to, b->p, n);
    b->p += n;
    b->left -= n;
    return true;
}

static inline bool take_be64(Bytes *b, uint64_t *v)
{
    uint8_t raw[8];

    if (!take(b, raw, 8)) {
        return false;
    }
    *v = ram_get_word(raw);
    return true;
}

static inline bool take_name(Bytes *b, char name[256])
{
    uint8_t len;

    memset(name, 0, 256);
    return take(b, &len, 1) && take(b, name, len) && strlen(name) == len;
}

/* A body of XBZRLE (spec 20 section 8), applied byte by byte. */
static inline bool reference_delta(uint8_t *page, const uint8_t *p, size_t n)
{
    size_t i = 0, at = 0;

    while (i < n) {
        unsigned len[2];

        for (int k = 0; k < 2; k++) {
            if (n - i < 2) {
                return false;
            }
            len[k] = p[i++];
            if (len[k] >= 128) {
                len[k] = len[k] - 128 + 128u * p[i];
                if (p[i++] >= 128) {
                    return false;
                }
            }
            if (k == 0 && len[0] == 0 && at > 0) {
                return false;
            }
            at += k == 0 ? len[0] : 0;
            if (at > 4096) {
                return false;
            }
        }
        if (len[1] == 0 || len[1] > 4096 - at || len[1] > n - i) {
            return false;
        }
        for (unsigned j = 0; j < len[1]; j++) {
            page[at++] = p[i++];
        }
    }
    return true;
}

/*
 * Load @b into @model, the image of the one block "ram" of @size bytes. True: a good stream. *cut:
 * page of which only a part came.
 */
static inline bool reference_load(Bytes b, uint8_t *model, uint64_t size, uint64_t *cut)
{
    bool at_section_end = true, known = false;
    char name[256];
    uint64_t word;

    *cut = UINT64_MAX;
    while (b.left || !at_section_end) {
        unsigned flags;
        uint64_t offset, count = 0;
        uint8_t fill = 0;

        at_section_end = false;
        if (!take_be64(&b, &word)) {
            return false;
        }
        flags = word & RAM_FLAGS_MASK & ~RAM_FLAG_CONTINUE;
        offset = word & ~(uint64_t)RAM_FLAGS_MASK;
        if (flags == RAM_FLAG_EOS) {
            at_section_end = true;
        } else if (flags == RAM_FLAG_MEM_SIZE) {
            while (offset) {
                uint64_t length;

                if (!take_name(&b, name) || strcmp(name, "ram") || !take_be64(&b, &length) ||
                    length != size || length > offset) {
                    return false;
                }
                offset -= length;
            }
        } else if (flags == RAM_FLAG_ZERO || flags == RAM_FLAG_PAGE || flags == RAM_FLAG_XBZRLE ||
                   flags == RAM_FLAG_ZERO_RUN) {
            if (!(word & RAM_FLAG_CONTINUE)) {
                if (!take_name(&b, name) || (flags == RAM_FLAG_ZERO && b.left < 1) ||
                    (flags == RAM_FLAG_ZERO_RUN && b.left < 8) || strcmp(name, "ram")) {
                    return false;
                }
                known = true;
            }
            if ((flags == RAM_FLAG_ZERO && !take(&b, &fill, 1)) ||
                (flags == RAM_FLAG_ZERO_RUN && !take_be64(&b, &count)) || !known ||
                offset >= size) {
                return false;
            }
            if (flags == RAM_FLAG_XBZRLE) {
                uint8_t head[3], body[4096];
                unsigned n;

                if (!take(&b, head, 3) || head[0] != 1) {
                    return false;
                }
                n = head[1] * 256u + head[2];
                if (n > sizeof(body) || !take(&b, body, n)) {
                    return false;
                }
                if (!reference_delta(model + offset, body, n)) {
                    *cut = offset;
                    return false;
                }
            } else if (flags == RAM_FLAG_ZERO_RUN) {
                if (count == 0 || count > (size - offset) / 4096) {
                    return false;
                }
                memset(model + offset, 0, count * 4096);
            } else if (flags == RAM_FLAG_ZERO) {
                memset(model + offset, fill, 4096);
            } else if (!take(&b, model + offset, 4096)) {
                *cut = offset;
                return false;
            }
        } else {
            return false;
        }
    }
    return true;
}

#endif
