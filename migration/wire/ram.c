/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/wire/ram.h"

static size_t put_name(uint8_t *p, const char *name)
{
    size_t len = strlen(name);

    g_assert(len <= UINT8_MAX);
    *p = len;
    memcpy(p + 1, name, len);
    return 1 + len;
}

size_t ram_put_head(uint8_t *buf, uint64_t offset, unsigned flags, const char *name)
{
    ram_put_word(buf, offset | flags | (name ? 0 : RAM_FLAG_CONTINUE));
    return RAM_WORD_BYTES + (name ? put_name(buf + RAM_WORD_BYTES, name) : 0);
}

/* ---- runs of ZERO records ---- */

/*
 * Millions of these describe a big idle guest, so they are made and recognised a group at a time.
 * In a stretch of 16 MiB the groups differ in one byte of each record, the one with bits 16 to 23
 * of the offset, which is a multiple of the group's number. The loops over a group's bytes are
 * written so that compilers make vectors of them.
 */
#define GROUP_RECORDS 16
#define GROUP_BYTES   (GROUP_RECORDS * RAM_ZERO_RECORD_BYTES)
#define STRETCH_PAGES 4096
#define VARYING_BYTE  5

typedef struct {
    uint8_t base[GROUP_BYTES]; /* the stretch's first group */
    uint8_t mask[GROUP_BYTES]; /* 0xff where groups differ */
} ZeroStretch;

static void put_zero_record(uint8_t *buf, uint64_t page)
{
    ram_put_word(buf, (page * RAM_PAGE_SIZE) | RAM_FLAG_ZERO | RAM_FLAG_CONTINUE);
    buf[RAM_WORD_BYTES] = 0;
}

static bool is_zero_record(const uint8_t *buf, uint64_t page)
{
    uint8_t expected[RAM_ZERO_RECORD_BYTES];

    put_zero_record(expected, page);
    return memcmp(buf, expected, sizeof(expected)) == 0;
}

static void stretch_init(ZeroStretch *s, uint64_t page)
{
    page -= page % STRETCH_PAGES;
    memset(s->mask, 0, sizeof(s->mask));
    for (unsigned i = 0; i < GROUP_RECORDS; i++) {
        put_zero_record(s->base + i * RAM_ZERO_RECORD_BYTES, page + i);
        s->mask[i * RAM_ZERO_RECORD_BYTES + VARYING_BYTE] = 0xff;
    }
}

static void put_group(const ZeroStretch *s, uint8_t number, uint8_t *restrict buf)
{
    for (unsigned i = 0; i < GROUP_BYTES; i++) {
        buf[i] = s->base[i] | (s->mask[i] & number);
    }
}

static bool is_group(const ZeroStretch *s, uint8_t number, const uint8_t *buf)
{
    uint8_t wrong = 0;

    for (unsigned i = 0; i < GROUP_BYTES; i++) {
        wrong |= buf[i] ^ (s->base[i] | (s->mask[i] & number));
    }
    return !wrong;
}

/* How many whole groups of one stretch a run of @count records from @page begins with. */
static uint64_t groups_at(uint64_t page, uint64_t count)
{
    return page % GROUP_RECORDS ? 0
                                : MIN(count, STRETCH_PAGES - page % STRETCH_PAGES) / GROUP_RECORDS;
}

void ram_put_zero_records(uint8_t *buf, uint64_t offset, uint64_t count)
{
    uint64_t page = offset / RAM_PAGE_SIZE, end = page + count;

    while (page < end) {
        uint64_t groups = groups_at(page, end - page);
        ZeroStretch s;

        if (groups == 0) {
            put_zero_record(buf, page++);
            buf += RAM_ZERO_RECORD_BYTES;
            continue;
        }
        stretch_init(&s, page);
        for (; groups; groups--, page += GROUP_RECORDS, buf += GROUP_BYTES) {
            put_group(&s, page / GROUP_RECORDS, buf);
        }
    }
}

/* How many of the @groups that start with @page are at @buf, from the first on. */
static uint64_t count_zero_groups(const uint8_t *buf, uint64_t page, uint64_t groups)
{
    uint64_t n = 0;
    ZeroStretch s;

    stretch_init(&s, page);
    while (n < groups && is_group(&s, page / GROUP_RECORDS + n, buf + n * GROUP_BYTES)) {
        n++;
    }
    return n;
}

uint64_t ram_count_zero_records(const uint8_t *buf, size_t len, uint64_t offset, uint64_t max)
{
    uint64_t first = offset / RAM_PAGE_SIZE, n = 0;

    max = MIN(max, len / RAM_ZERO_RECORD_BYTES);
    while (n < max && is_zero_record(buf + n * RAM_ZERO_RECORD_BYTES, first + n)) {
        uint64_t groups = groups_at(first + n, max - n);

        if (groups) {
            groups = count_zero_groups(buf + n * RAM_ZERO_RECORD_BYTES, first + n, groups);
        }
        n += groups ? groups * GROUP_RECORDS : 1;
    }
    return n;
}

/* ---- heads ---- */

static RamDecodeResult decode_name(const uint8_t *buf, size_t len, char name[256], size_t *used)
{
    size_t n;

    *used = 1;
    if (len < 1) {
        return RAM_DECODE_SHORT;
    }
    n = buf[0];
    *used = 1 + n;
    if (len < 1 + n) {
        return RAM_DECODE_SHORT;
    }
    memcpy(name, buf + 1, n);
    name[n] = '\0';
    return memchr(name, '\0', n) ? RAM_DECODE_BAD_NAME : RAM_DECODE_OK;
}

RamDecodeResult ram_decode_record(const uint8_t *buf, size_t len, RamRecord *out, size_t *used)
{
    uint64_t word;
    bool about_page;

    *used = RAM_WORD_BYTES;
    if (len < RAM_WORD_BYTES) {
        return RAM_DECODE_SHORT;
    }
    word = ram_get_word(buf);
    out->flags = word & RAM_FLAGS_MASK & ~RAM_FLAG_CONTINUE;
    out->offset = word & ~(uint64_t)RAM_FLAGS_MASK;
    out->named = false;
    out->fill = 0;
    out->count = 0;
    switch (out->flags) {
    case RAM_FLAG_ZERO:
    case RAM_FLAG_PAGE:
    case RAM_FLAG_XBZRLE:
    case RAM_FLAG_COMPRESS_PAGE:
    case RAM_FLAG_ZERO_RUN:
        about_page = true;
        break;
    case RAM_FLAG_MEM_SIZE:
    case RAM_FLAG_EOS:
    case RAM_FLAG_HOOK:
    case RAM_FLAG_MULTIFD_FLUSH:
    case RAM_FLAG_LOST_CHANNEL:
        about_page = false;
        break;
    default:
        out->flags = word & RAM_FLAGS_MASK;
        return RAM_DECODE_BAD_FLAGS;
    }
    if (about_page && !(word & RAM_FLAG_CONTINUE)) {
        size_t name_bytes;
        RamDecodeResult r = decode_name(buf + *used, len - *used, out->name, &name_bytes);

        *used += name_bytes;
        if (r != RAM_DECODE_OK) {
            return r;
        }
        out->named = true;
    }
    if (out->flags == RAM_FLAG_ZERO) {
        *used += 1;
        if (len < *used) {
            return RAM_DECODE_SHORT;
        }
        out->fill = buf[*used - 1];
    }
    if (out->flags == RAM_FLAG_ZERO_RUN) {
        *used += 8;
        if (len < *used) {
            return RAM_DECODE_SHORT;
        }
        out->count = ram_get_word(buf + *used - 8);
    }
    return RAM_DECODE_OK;
}

size_t ram_put_list_entry(uint8_t *buf, const char *name, uint64_t used_length, uint64_t page_size,
                          bool with_gpa, uint64_t gpa)
{
    size_t n = put_name(buf, name);

    ram_put_word(buf + n, used_length);
    n += 8;
    if (page_size) {
        ram_put_word(buf + n, page_size);
        n += 8;
    }
    if (with_gpa) {
        ram_put_word(buf + n, gpa);
        n += 8;
    }
    return n;
}
