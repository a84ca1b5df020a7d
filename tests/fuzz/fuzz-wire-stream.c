/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The frame of the stream and the messages of the return path. First byte: 0 items, 1 return path,
 * 2 the reader of the return path with its thread.
 */
#include "fuzz.h"
#include "migration/return-path.h"

static void check_need(DecodeResult result, size_t len, size_t need, const GError *err)
{
    g_assert_true((result == DECODE_INVALID) == (err != NULL));
    g_assert_true(result != DECODE_OK || (need > 0 && need <= len));
    g_assert_true(result != DECODE_MORE || need > len);
}

static void items(const uint8_t *data, size_t size)
{
    size_t at = 0;

    if (size >= STREAM_HEADER_SIZE) {
        g_autoptr(GError) err = NULL;
        bool ok = stream_decode_header(data, &err);

        fuzz_check_error(ok, err);
    }
    while (at < size) {
        g_autofree uint8_t *bytes = g_memdup2(data + at, size - at);
        g_autoptr(GError) err = NULL, ignored = NULL;
        uint8_t again[STREAM_ITEM_MAX];
        size_t need = 1;
        StreamItem item;
        DecodeResult result = stream_decode_item(bytes, size - at, &item, &need, &err);

        check_need(result, size - at, need, err);
        if (result == DECODE_MORE) {
            return;
        }
        if (result == DECODE_OK) {
            g_assert_cmpuint(stream_encode_item(&item, again), ==, need);
            g_assert_cmpint(memcmp(again, bytes, need), ==, 0);
            g_assert_true(stream_item_name(item.type)[0]);
            stream_command_check(item.command, item.command_len, &ignored);
        }
        at += result == DECODE_OK ? need : 1;
    }
}

static void messages(const uint8_t *data, size_t size)
{
    size_t at = 0;

    while (at < size) {
        g_autofree uint8_t *bytes = g_memdup2(data + at, size - at);
        g_autoptr(GError) err = NULL;
        uint8_t again[RP_HEADER_SIZE + RP_PAYLOAD_MAX];
        size_t need = RP_HEADER_SIZE;
        ReturnPathMessage msg, msg2;
        DecodeResult result = rp_decode(bytes, size - at, &msg, &need, &err);

        check_need(result, size - at, need, err);
        if (result == DECODE_MORE) {
            return;
        }
        if (result == DECODE_OK) {
            size_t n = rp_encode(&msg, again), need2 = 0;

            g_assert_cmpuint(n, <=, sizeof(again));
            g_assert_cmpint(rp_decode(again, n, &msg2, &need2, NULL), ==, DECODE_OK);
            g_assert_true(msg.type == msg2.type && need2 == n);
        }
        at += result == DECODE_OK ? need : 1;
    }
}

/* ---- the reader ---- */

static void on_pong(void *opaque, uint32_t cookie)
{
}

static void on_loaded(void *opaque)
{
}

static void on_done(void *opaque, ReturnPathVerdict verdict, GError *err, bool explained)
{
    fuzz_check_error(verdict == VERDICT_ACCEPTED, err);
    g_clear_error(&err);
    ++*(unsigned *)opaque;
}

static bool on_request(void *opaque, const char *block, uint64_t offset, uint64_t length,
                       GError **errp)
{
    g_assert_true(!block || strlen(block) < 256);
    return true;
}

static bool on_bitmap(void *opaque, const char *block, QEMUFile *f, GError **errp)
{
    qemu_file_skip(f, qemu_get_be64(f) % 64);
    return qemu_file_check(f, errp);
}

static bool on_resume_ack(void *opaque, uint32_t value, GError **errp)
{
    return true;
}

static void reader(const uint8_t *data, size_t size)
{
    static const ReturnPathEvents events = {
        .pong = on_pong,
        .request = on_request,
        .bitmap = on_bitmap,
        .resume_ack = on_resume_ack,
        .loaded = on_loaded,
        .done = on_done,
    };
    g_autoptr(QIOChannelBuffer) ioc = io_channel_buffer_new();
    unsigned done = 0;

    g_byte_array_append(io_channel_buffer_bytes(ioc), data, size);
    return_path_reader_join(return_path_reader_start(IO_CHANNEL(ioc), &events, &done, NULL));
    g_assert_cmpuint(done, ==, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    if (data[0] == 0) {
        items(data + 1, size - 1);
    } else if (data[0] == 1) {
        messages(data + 1, size - 1);
    } else {
        reader(data + 1, size - 1);
    }
    return 0;
}
