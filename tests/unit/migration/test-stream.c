/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The codecs of the frame, against an excerpt of what QEMU 7.2 sent, and against anything else. */
#include "migration/wire/stream.h"
#include "vmstate-helper.h"

/* `-M virt -m 16M -nodefaults -S`: begin; the timer section; the global state and what follows,
 * shortened. */
#define HEAD_HEX   "51 45 56 4d 00 00 00 03"
#define RAM_HEX    "01 00 00 00 02 03 72 61 6d 00 00 00 00 00 00 00 04"
#define TIMER_HEX  "04 00 00 00 00 05 74 69 6d 65 72 00 00 00 00 00 00 00 02"
#define FOOTER_HEX "7e 00 00 00 10"

static void assert_item(const char *hex, const StreamItem *expected)
{
    g_autoptr(GByteArray) bytes = bytes_from_hex(hex);
    uint8_t again[STREAM_ITEM_MAX];
    StreamItem item = {0};
    size_t need = 1;
    DecodeResult result;

    /* Byte by byte: never more is asked for than there is. */
    for (size_t len = 1; len <= bytes->len; len++) {
        result = stream_decode_item(bytes->data, len, &item, &need, NULL);
        g_assert_cmpuint(need, <=, bytes->len);
        g_assert_cmpint(result, ==, len == bytes->len ? DECODE_OK : DECODE_MORE);
    }
    g_assert_cmpint(item.type, ==, expected->type);
    g_assert_cmpuint(item.section_id, ==, expected->section_id);
    g_assert_cmpstr(item.idstr, ==, expected->idstr);
    g_assert_cmpuint(item.instance_id, ==, expected->instance_id);
    g_assert_cmpuint(item.version_id, ==, expected->version_id);
    g_assert_cmpuint(item.command, ==, expected->command);
    g_assert_cmpuint(item.command_len, ==, expected->command_len);
    g_assert_cmpmem(again, stream_encode_item(&item, again), bytes->data, bytes->len);
}

static void test_items(void)
{
    assert_item(RAM_HEX, &(StreamItem){.type = STREAM_SECTION_START,
                                       .section_id = 2,
                                       .idstr = "ram",
                                       .version_id = 4});
    assert_item(TIMER_HEX,
                &(StreamItem){.type = STREAM_SECTION_FULL, .idstr = "timer", .version_id = 2});
    assert_item(FOOTER_HEX, &(StreamItem){.type = STREAM_SECTION_FOOTER, .section_id = 16});
    assert_item("02 00 00 00 02", &(StreamItem){.type = STREAM_SECTION_PART, .section_id = 2});
    assert_item("03 ff ff ff ff",
                &(StreamItem){.type = STREAM_SECTION_END, .section_id = UINT32_MAX});
    assert_item(
        "08 00 02 00 04",
        &(StreamItem){.type = STREAM_COMMAND, .command = STREAM_CMD_PING, .command_len = 4});
    assert_item("00", &(StreamItem){.type = STREAM_EOF});
    assert_item("06", &(StreamItem){.type = STREAM_VMDESCRIPTION});
    assert_item("07", &(StreamItem){.type = STREAM_CONFIGURATION});
}

static void assert_bad_item(const char *hex, const char *text)
{
    g_autoptr(GByteArray) bytes = bytes_from_hex(hex);
    g_autoptr(GError) err = NULL;
    StreamItem item;
    size_t need;

    g_assert_cmpint(stream_decode_item(bytes->data, bytes->len, &item, &need, &err), ==,
                    DECODE_INVALID);
    g_assert_nonnull(strstr(err->message, text));
}

static void test_bad_items(void)
{
    assert_bad_item("09", "Unknown item type 0x09");
    assert_bad_item("05", "Unknown item type 0x05"); /* only inside a body */
    assert_bad_item("ff 00 00 00", "Unknown item type 0xff");
    assert_bad_item("01 00 00 00 02 03 72 00 6d 00 00 00 00 00 00 00 04", "NUL byte");
}

static void test_header(void)
{
    static const struct {
        const char *hex, *error;
    } rows[] = {
        {HEAD_HEX, NULL},
        {"51 45 56 4d 00 00 00 02", "version 2 is obsolete"},
        {"51 45 56 4d 00 00 00 04", "version 4 is not supported"},
        {"47 45 54 20 2f 20 48 54", "Not a migration stream"},
    };
    uint8_t out[STREAM_HEADER_SIZE];
    g_autoptr(GByteArray) expected = bytes_from_hex(HEAD_HEX);

    stream_encode_header(out);
    g_assert_cmpmem(out, sizeof(out), expected->data, expected->len);
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autoptr(GByteArray) bytes = bytes_from_hex(rows[i].hex);
        g_autoptr(GError) err = NULL;

        g_assert_cmpint(stream_decode_header(bytes->data, &err), ==, !rows[i].error);
        g_assert_true(!rows[i].error || strstr(err->message, rows[i].error));
    }
}

static void test_command_lengths(void)
{
    g_assert_true(stream_command_check(STREAM_CMD_OPEN_RETURN_PATH, 0, NULL));
    g_assert_false(stream_command_check(STREAM_CMD_OPEN_RETURN_PATH, 1, NULL));
    g_assert_true(stream_command_check(STREAM_CMD_PING, 4, NULL));
    g_assert_false(stream_command_check(STREAM_CMD_PING, 0, NULL));
    g_assert_true(stream_command_check(STREAM_CMD_POSTCOPY_ADVISE, 16, NULL));
    g_assert_true(stream_command_check(STREAM_CMD_POSTCOPY_ADVISE, 0, NULL));
    g_assert_false(stream_command_check(STREAM_CMD_POSTCOPY_ADVISE, 8, NULL));
    g_assert_false(stream_command_check(STREAM_CMD_INVALID, 0, NULL));
    g_assert_false(stream_command_check(12, 0, NULL));
    g_assert_false(stream_command_check(UINT16_MAX, 0, NULL));
}

/* ---- return path ---- */

static void assert_message(const char *hex, const ReturnPathMessage *expected)
{
    g_autoptr(GByteArray) bytes = bytes_from_hex(hex);
    uint8_t again[RP_HEADER_SIZE + RP_PAYLOAD_MAX];
    ReturnPathMessage msg;
    size_t need;

    for (size_t len = 0; len < bytes->len; len++) {
        g_assert_cmpint(rp_decode(bytes->data, len, &msg, &need, NULL), ==, DECODE_MORE);
        g_assert_cmpuint(need, <=, bytes->len);
    }
    g_assert_cmpint(rp_decode(bytes->data, bytes->len, &msg, &need, NULL), ==, DECODE_OK);
    g_assert_cmpint(msg.type, ==, expected->type);
    g_assert_cmpuint(msg.value, ==, expected->value);
    g_assert_cmpuint(msg.offset, ==, expected->offset);
    g_assert_cmpuint(msg.length, ==, expected->length);
    g_assert_cmpstr(msg.name, ==, expected->name);
    g_assert_cmpstr(msg.text, ==, expected->text);
    g_assert_cmpmem(again, rp_encode(&msg, again), bytes->data, bytes->len);
}

static void test_messages(void)
{
    assert_message("00 01 00 04 00 00 00 00", &(ReturnPathMessage){.type = RP_SHUT});
    assert_message("00 02 00 04 47 4f 44 57",
                   &(ReturnPathMessage){.type = RP_PONG, .value = STREAM_HELLO});
    assert_message("00 03 00 10 00 00 00 00 00 00 10 00 00 00 20 00 03 72 61 6d",
                   &(ReturnPathMessage){
                       .type = RP_REQ_PAGES_ID, .offset = 0x1000, .length = 0x2000, .name = "ram"});
    assert_message("00 04 00 0c 00 00 00 00 00 00 10 00 00 00 20 00",
                   &(ReturnPathMessage){.type = RP_REQ_PAGES, .offset = 0x1000, .length = 0x2000});
    assert_message("00 07 00 00", &(ReturnPathMessage){.type = RP_SWITCHOVER_ACK});
    assert_message("47 57 00 02 6e 6f",
                   &(ReturnPathMessage){.type = RP_FAILURE_TEXT, .text = "no"});
}

static void test_bad_messages(void)
{
    static const char *const rows[] = {
        "00 00 00 00",             /* type 0 */
        "00 09 00 00",             /* unknown type */
        "00 02 00 05 00 00 00 00", /* length of PONG: only the head is looked at before the rest */
        "00 01 ff ff",             /* longer than any message */
        "00 03 00 0d 00 00 00 00 00 00 10 00 00 00 20 00 05",
        "47 57 00 01 ff",
    };

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autoptr(GByteArray) bytes = bytes_from_hex(rows[i]);
        g_autoptr(GError) err = NULL;
        ReturnPathMessage msg;
        size_t need;
        uint8_t zero = 0;

        if (rp_decode(bytes->data, bytes->len, &msg, &need, &err) == DECODE_MORE) {
            g_byte_array_append(bytes, &zero, 1);
            g_assert_cmpint(rp_decode(bytes->data, bytes->len, &msg, &need, &err), ==,
                            DECODE_INVALID);
        }
        g_assert_nonnull(err);
    }
}

static void test_random_bytes_are_survived(void)
{
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t bytes[600];
        size_t len = g_test_rand_int_range(1, sizeof(bytes)), need = 0;
        ReturnPathMessage msg;
        StreamItem item;

        for (size_t k = 0; k < len; k++) {
            bytes[k] = g_test_rand_int();
        }
        bytes[0] &= 0x0f;
        if (stream_decode_item(bytes, len, &item, &need, NULL) == DECODE_OK) {
            g_assert_cmpuint(need, <=, len);
        }
        if (rp_decode(bytes, len, &msg, &need, NULL) == DECODE_OK) {
            g_assert_cmpuint(need, <=, len);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/stream/items", test_items);
    g_test_add_func("/stream/bad-items", test_bad_items);
    g_test_add_func("/stream/header", test_header);
    g_test_add_func("/stream/command-lengths", test_command_lengths);
    g_test_add_func("/stream/messages", test_messages);
    g_test_add_func("/stream/bad-messages", test_bad_messages);
    g_test_add_func("/stream/random-bytes-are-survived", test_random_bytes_are_survived);
    return g_test_run();
}
