/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ram section from a hostile peer, against the reference loader: same verdict, same memory,
 * however the channel cuts the bytes. First input byte: how it cuts (bits 0-2), whether part of
 * memory was in use before (bit 3). The rest is the stream, where three bytes are shorthand for
 * what no fuzzer would find by itself:
 *
 *     F0 page count x   PAGE records for consecutive pages filled with x^i; x & 1: named; x & 0x80:
 * the last is cut F1 page count     ZERO records for consecutive pages F2                EOS
 *     F4 page count        one ZERO_RUN record; count may be 0 or too many
 *     F3 page count len x  XBZRLE records for consecutive pages: one run of len bytes x
 */
#include "fault-channel.h"
#include "ram-reference.h"
#include "ram-side.h"

#define BLOCK_PAGES 64
#define BLOCK_SIZE  (BLOCK_PAGES * UINT64_C(4096))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void append_pages(GByteArray *out, unsigned first, unsigned count, uint8_t x)
{
    for (unsigned i = 0; i < count; i++) {
        uint8_t head[RAM_HEAD_MAX], page[4096];
        bool cut = (x & 0x80) && i == count - 1;

        memset(page, x ^ i, sizeof(page));
        g_byte_array_append(out, head,
                            ram_put_head(head, (uint64_t)(first + i) << 12, RAM_FLAG_PAGE,
                                         (x & 1) && i == 0 ? "ram" : NULL));
        g_byte_array_append(out, page, cut ? 4096 - 64 * count : 4096);
    }
}

static void append_deltas(GByteArray *out, unsigned first, unsigned count, uint8_t len, uint8_t x)
{
    for (unsigned i = 0; i < count; i++) {
        uint8_t head[RAM_HEAD_MAX],
            body[3 + 3 + 128] = {
                RAM_XBZRLE_ENCODING, 0, 3 + len % 128, 0x80 | x, i % 40, len % 128};

        memset(body + 6, x, len % 128);
        g_byte_array_append(out, head,
                            ram_put_head(head, (uint64_t)(first + i) << 12, RAM_FLAG_XBZRLE,
                                         (x & 1) && i == 0 ? "ram" : NULL));
        g_byte_array_append(out, body, 6 + len % 128);
    }
}

static GByteArray *expand(const uint8_t *in, size_t n)
{
    GByteArray *out = g_byte_array_new();
    uint8_t records[40 * RAM_ZERO_RECORD_BYTES];

    for (size_t i = 0; i < n;) {
        /* Pages and runs may end behind the block: that is refused, and is to be tried. */
        unsigned page = i + 1 < n ? in[i + 1] % (BLOCK_PAGES + 6) : 0;
        unsigned count = i + 2 < n ? in[i + 2] % 40 + 1 : 1;

        if (in[i] == 0xF0 && i + 3 < n) {
            append_pages(out, page, count, in[i + 3]);
            i += 4;
        } else if (in[i] == 0xF1 && i + 2 < n) {
            ram_put_zero_records(records, (uint64_t)page << 12, count);
            g_byte_array_append(out, records, count * RAM_ZERO_RECORD_BYTES);
            i += 3;
        } else if (in[i] == 0xF2) {
            ram_put_word(records, RAM_FLAG_EOS);
            g_byte_array_append(out, records, RAM_WORD_BYTES);
            i++;
        } else if (in[i] == 0xF4 && i + 2 < n) {
            size_t len = ram_put_head(records, (uint64_t)page << 12, RAM_FLAG_ZERO_RUN, "ram");

            ram_put_word(records + len, in[i + 2] % (BLOCK_PAGES + 6));
            g_byte_array_append(out, records, len + 8);
            i += 3;
        } else if (in[i] == 0xF3 && i + 4 < n) {
            append_deltas(out, page, count, in[i + 3], in[i + 4]);
            i += 5;
        } else {
            g_byte_array_append(out, &in[i++], 1);
        }
    }
    return out;
}

static bool load(RamSide *side, const GByteArray *stream, size_t segment)
{
    g_autoptr(QIOChannelBuffer) buffer = io_channel_buffer_new();
    FaultPlan plan = FAULT_PLAN_NONE;
    g_autoptr(QIOChannel) ioc = NULL;
    g_autoptr(GError) err = NULL;
    const uint8_t *p;
    QEMUFile *f;
    bool ok;

    if (stream->len) {
        io_channel_write_all(IO_CHANNEL(buffer), stream->data, stream->len, NULL);
    }
    plan.segment = segment;
    ioc = fault_channel_new(IO_CHANNEL(buffer), &plan, NULL);
    f = qemu_file_new_input(ioc);
    ok = ram_load_setup(f, side->rs, &err);
    while (ok && qemu_peek_buffer(f, &p, 1)) {
        ok = ram_load_state(f, side->rs, RAM_SECTION_VERSION, &err);
    }
    g_assert_true(ok == !err);
    qemu_fclose(f, NULL);
    return ok;
}

/* What was in use before. */
#define USED_FIRST 10
#define USED_PAGES 9
#define USED_BYTE  0xEE

/* A page for which nothing has come holds what it did before, or zeros in its place: a read that
 * guessed wrong leaves those, and nobody runs a guest of which a page is missing. */
static void allow_zeros(uint8_t *model, const uint8_t *host)
{
    for (unsigned page = USED_FIRST; page < USED_FIRST + USED_PAGES; page++) {
        uint8_t *m = model + page * 4096;
        const uint8_t *h = host + page * 4096;

        if (m[0] == USED_BYTE && memcmp(m, m + 1, 4095) == 0) {
            for (unsigned i = 0; i < 4096; i++) {
                m[i] = h[i] ? m[i] : 0;
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t segments[] = {0, 1, 9, 100, 1026, 4104, 5000, 20000};
    g_autoptr(GByteArray) stream = NULL;
    g_autofree uint8_t *model = g_malloc0(BLOCK_SIZE);
    RamSide side;
    RAMBlock *block;
    uint64_t cut;
    bool good;

    if (size < 1) {
        return 0;
    }
    stream = expand(data + 1, size - 1);
    side_init(&side);
    block = side_add(&side, "ram", BLOCK_SIZE, RAM_MIGRATABLE);
    if (data[0] & 8) {
        memset(block->host + USED_FIRST * 4096, USED_BYTE, USED_PAGES * 4096);
        memset(model + USED_FIRST * 4096, USED_BYTE, USED_PAGES * 4096);
    }
    good = reference_load((Bytes){stream->data, stream->len}, model, BLOCK_SIZE, &cut);
    g_assert_true(load(&side, stream, segments[data[0] & 7]) == good);
    if (cut != UINT64_MAX) {
        memcpy(model + cut, block->host + cut, 4096);
    }
    if (data[0] & 8) {
        allow_zeros(model, block->host);
    }
    g_assert_true(memcmp(model, block->host, BLOCK_SIZE) == 0);
    side_clear(&side);
    return 0;
}
