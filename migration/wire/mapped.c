/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/wire/mapped.h"

#define PAGE_SIZE UINT64_C(4096)

G_STATIC_ASSERT(BITS_PER_LONG == 64); /* the file has 64-bit words */

MappedLayout mapped_layout(uint64_t at, uint64_t pages)
{
    MappedLayout l = {.bitmap_offset = at + MAPPED_HEADER_BYTES};

    l.pages_offset = ROUND_UP(l.bitmap_offset + mapped_bitmap_bytes(pages), MAPPED_PAGES_ALIGN);
    return l;
}

static uint64_t get_be(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < bytes; i++) {
        v = v << 8 | p[i];
    }
    return v;
}

static void put_be(uint8_t *p, unsigned bytes, uint64_t v)
{
    for (unsigned i = bytes; i-- > 0; v >>= 8) {
        p[i] = v;
    }
}

void mapped_put_header(uint8_t buf[MAPPED_HEADER_BYTES], const MappedLayout *l)
{
    put_be(buf, 4, MAPPED_VERSION);
    put_be(buf + 4, 8, PAGE_SIZE);
    put_be(buf + 12, 8, l->bitmap_offset);
    put_be(buf + 20, 8, l->pages_offset);
}

bool mapped_get_header(const uint8_t buf[MAPPED_HEADER_BYTES], uint64_t at, uint64_t pages,
                       MappedLayout *l, GError **errp)
{
    uint32_t version = get_be(buf, 4);
    uint64_t page_size = get_be(buf + 4, 8);
    uint64_t bitmap_end = at + MAPPED_HEADER_BYTES + mapped_bitmap_bytes(pages);

    l->bitmap_offset = get_be(buf + 12, 8);
    l->pages_offset = get_be(buf + 20, 8);
    if (version != MAPPED_VERSION) {
        error_setg(errp, "mapped-ram header at offset %" PRIu64 " has version %u, not %u", at,
                   version, MAPPED_VERSION);
        return false;
    }
    if (page_size != PAGE_SIZE) {
        error_setg(errp,
                   "mapped-ram header at offset %" PRIu64 " has pages of %" PRIu64
                   " bytes, not %" PRIu64,
                   at, page_size, PAGE_SIZE);
        return false;
    }
    if (!l->bitmap_offset && !l->pages_offset) {
        return true;
    }
    if (l->bitmap_offset != at + MAPPED_HEADER_BYTES) {
        error_setg(errp,
                   "mapped-ram header at offset %" PRIu64 " has its bitmap at %" PRIu64
                   " instead of right behind it",
                   at, l->bitmap_offset);
        return false;
    }
    if (l->pages_offset % PAGE_SIZE || l->pages_offset < bitmap_end ||
        l->pages_offset > INT64_MAX - pages * PAGE_SIZE) {
        error_setg(errp,
                   "mapped-ram header at offset %" PRIu64 " has its pages at %" PRIu64
                   ", which is not aligned, inside the bitmap or beyond any file",
                   at, l->pages_offset);
        return false;
    }
    return true;
}

void mapped_swap_bitmap(unsigned long *map, uint64_t pages)
{
    for (uint64_t i = 0; i < DIV_ROUND_UP(pages, 64); i++) {
        map[i] = GUINT64_FROM_LE(map[i]);
    }
}

bool mapped_check_bitmap(const unsigned long *map, uint64_t pages, GError **errp)
{
    if (pages % 64 && map[pages / 64] >> pages % 64) {
        error_setg(errp, "the bitmap has bits behind its %" PRIu64 " pages", pages);
        return false;
    }
    return true;
}
