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

void ram_put_zero_records(uint8_t *buf, uint64_t offset, uint64_t count)
{
    uint64_t word = offset | RAM_FLAG_ZERO | RAM_FLAG_CONTINUE;

    for (; count; count--, word += RAM_PAGE_SIZE, buf += RAM_ZERO_RECORD_BYTES) {
        ram_put_word(buf, word);
        buf[RAM_WORD_BYTES] = 0;
    }
}

uint64_t ram_count_zero_records(const uint8_t *buf, size_t len, uint64_t offset, uint64_t max)
{
    uint64_t word = offset | RAM_FLAG_ZERO | RAM_FLAG_CONTINUE;
    uint64_t n = 0;

    max = MIN(max, len / RAM_ZERO_RECORD_BYTES);
    while (n < max && ram_get_word(buf) == word && buf[RAM_WORD_BYTES] == 0) {
        n++;
        word += RAM_PAGE_SIZE;
        buf += RAM_ZERO_RECORD_BYTES;
    }
    return n;
}

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
    switch (out->flags) {
    case RAM_FLAG_ZERO:
    case RAM_FLAG_PAGE:
    case RAM_FLAG_XBZRLE:
    case RAM_FLAG_COMPRESS_PAGE:
        about_page = true;
        break;
    case RAM_FLAG_MEM_SIZE:
    case RAM_FLAG_EOS:
    case RAM_FLAG_HOOK:
    case RAM_FLAG_MULTIFD_FLUSH:
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
    return RAM_DECODE_OK;
}

size_t ram_put_list_entry(uint8_t *buf, const char *name, uint64_t used_length, bool with_gpa,
                          uint64_t gpa)
{
    size_t n = put_name(buf, name);

    ram_put_word(buf + n, used_length);
    n += 8;
    if (with_gpa) {
        ram_put_word(buf + n, gpa);
        n += 8;
    }
    return n;
}
