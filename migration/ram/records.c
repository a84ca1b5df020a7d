/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/ram/records.h"
#include "memory/ramblock.h"

static bool fail_short(QEMUFile *f, GError **errp)
{
    if (qemu_file_check(f, errp)) {
        error_setg(errp, "Unexpected end of stream at offset %" PRIu64 " inside the ram section",
                   qemu_file_offset(f));
    }
    return false;
}

bool ram_next_record(QEMUFile *f, RamRecord *rec, GError **errp)
{
    size_t used = RAM_WORD_BYTES, len;
    RamDecodeResult result;
    const uint8_t *p;

    do {
        len = qemu_peek_available(f, &p, used);
        if (len < used) {
            return fail_short(f, errp);
        }
        result = ram_decode_record(p, len, rec, &used);
    } while (result == RAM_DECODE_SHORT);
    if (result == RAM_DECODE_BAD_FLAGS) {
        error_setg(errp, "Unknown combination of migration flags: 0x%x", rec->flags);
        return false;
    }
    if (result == RAM_DECODE_BAD_NAME) {
        error_setg(errp, "RAM block name with a NUL byte at stream offset %" PRIu64,
                   qemu_file_offset(f));
        return false;
    }
    qemu_file_skip(f, used);
    return true;
}

uint64_t ram_zero_records(QEMUFile *f, uint64_t page, uint64_t max)
{
    uint64_t count = 1, more;
    const uint8_t *p;

    do {
        size_t len = qemu_peek_available(f, &p, 0);

        more = ram_count_zero_records(p, len, (page + count) << TARGET_PAGE_BITS, max - count);
        qemu_file_skip(f, more * RAM_ZERO_RECORD_BYTES);
        count += more;
    } while (more && qemu_peek_available(f, &p, RAM_WORD_BYTES) >= RAM_WORD_BYTES);
    return count;
}

bool ram_delta_body(QEMUFile *f, const uint8_t **body, size_t *len, GError **errp)
{
    uint8_t encoding = qemu_get_byte(f);

    *len = qemu_get_be16(f);
    if (!qemu_file_check(f, errp)) {
        return false;
    }
    if (encoding != RAM_XBZRLE_ENCODING || *len > RAM_PAGE_SIZE) {
        error_setg(errp, "encoding %u with %zu bytes, only encoding 1 with up to 4096 is known",
                   encoding, *len);
        return false;
    }
    return qemu_peek_buffer(f, body, *len) == *len || fail_short(f, errp);
}
