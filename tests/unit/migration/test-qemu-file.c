/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The buffered stream: order of bytes, segmentation, errors that stick, the rate limit. */
#include <sys/socket.h>
#include "fault-channel.h"
#include "io/channel-buffer.h"
#include "io/channel-socket.h"
#include "migration/qemu-file.h"

static QEMUFile *reader_of(const void *bytes, size_t len, size_t segment, QIOChannelBuffer **base)
{
    FaultPlan plan = FAULT_PLAN_NONE;
    g_autoptr(QIOChannel) ioc = NULL;

    *base = io_channel_buffer_new();
    plan.segment = segment;
    g_assert_true(!len || io_channel_write_all(IO_CHANNEL(*base), bytes, len, NULL));
    ioc = fault_channel_new(IO_CHANNEL(*base), &plan, NULL);
    return qemu_file_new_input(ioc);
}

/* Small values, copies, references and big blocks leave in the order they were put. */
static void test_order(void)
{
    g_autoptr(QIOChannelBuffer) ioc = io_channel_buffer_new();
    g_autoptr(GByteArray) expected = g_byte_array_new();
    QEMUFile *f = qemu_file_new_output(IO_CHANNEL(ioc));
    static uint8_t page[4096], big[200000], made[500];

    memset(page, 0xaa, sizeof(page));
    for (size_t i = 0; i < sizeof(big); i++) {
        big[i] = i * 7;
    }
    for (unsigned round = 0; round < 600; round++) {
        qemu_put_byte(f, round);
        qemu_put_be16(f, 0x0102);
        qemu_put_be32(f, 0x03040506);
        qemu_put_be64(f, UINT64_C(0x0708090a0b0c0d0e));
        qemu_put_counted_string(f, "abc");
        memset(qemu_put_reserve(f, QEMU_FILE_RESERVE_MAX), round, 500);
        qemu_put_reserved(f, 500); /* the rest of the room stays free */
        qemu_put_buffer_ref(f, page, sizeof(page));
        qemu_put_buffer(f, big, round % 100 == 0 ? sizeof(big) : round);
        g_byte_array_append(expected, (uint8_t[]){round}, 1);
        g_byte_array_append(expected, (const uint8_t *)"\1\2\3\4\5\6\7\x8\x9\xa\xb\xc\xd\xe\3abc",
                            18);
        memset(made, round, sizeof(made));
        g_byte_array_append(expected, made, sizeof(made));
        g_byte_array_append(expected, page, sizeof(page));
        g_byte_array_append(expected, big, round % 100 == 0 ? sizeof(big) : round);
        g_assert_cmpuint(qemu_file_transferred(f), ==, expected->len);
    }
    g_assert_true(qemu_fflush(f));
    g_assert_cmpmem(io_channel_buffer_bytes(ioc)->data, io_channel_buffer_bytes(ioc)->len,
                    expected->data, expected->len);
    g_assert_true(qemu_fclose(f, NULL));
}

static void test_reading(gconstpointer opaque)
{
    static const uint8_t bytes[] = "\1\2\3\4\5\6\7\x8\x9\xa\xb\xc\xd\xe\xf\3abcPAYLOAD!end";
    g_autoptr(QIOChannelBuffer) base = NULL;
    QEMUFile *f = reader_of(bytes, sizeof(bytes) - 1, GPOINTER_TO_SIZE(opaque), &base);
    const uint8_t *ahead;
    char name[256], payload[8];

    g_assert_cmpuint(qemu_get_byte(f), ==, 1);
    g_assert_cmpuint(qemu_get_be16(f), ==, 0x0203);
    g_assert_cmpuint(qemu_get_be32(f), ==, 0x04050607);
    g_assert_cmpuint(qemu_get_be64(f), ==, UINT64_C(0x08090a0b0c0d0e0f));
    g_assert_true(qemu_get_counted_string(f, name));
    g_assert_cmpstr(name, ==, "abc");
    g_assert_cmpuint(qemu_file_offset(f), ==, 19);
    g_assert_cmpuint(qemu_peek_buffer(f, &ahead, 4), ==, 4);
    g_assert_cmpmem(ahead, 4, "PAYL", 4);
    g_assert_true(qemu_get_buffer_into(f, payload, 8));
    g_assert_cmpmem(payload, 8, "PAYLOAD!", 8);
    qemu_file_skip(f, 1);
    g_assert_cmpuint(qemu_peek_buffer(f, &ahead, 100), ==, 2); /* short at the end, no error */
    g_assert_true(qemu_file_ok(f));
    g_assert_cmpuint(qemu_get_be16(f), ==, 'n' << 8 | 'd');
    qemu_fclose(f, NULL);
}

static void test_end_of_stream_sticks(void)
{
    g_autoptr(QIOChannelBuffer) base = NULL;
    QEMUFile *f = reader_of("\1\2\3", 3, 0, &base);
    g_autoptr(GError) err = NULL;
    uint8_t buf[4] = {9, 9, 9, 9};

    g_assert_cmpuint(qemu_get_be64(f), ==, 0);
    g_assert_false(qemu_file_check(f, &err));
    g_assert_cmpstr(err->message, ==, "Unexpected end of stream at offset 3");
    g_assert_cmpuint(qemu_get_byte(f), ==, 0); /* although there is one */
    g_assert_false(qemu_get_buffer(f, buf, 4));
    g_assert_cmpuint(buf[3], ==, 0);
    g_clear_error(&err);
    g_assert_false(qemu_fclose(f, &err));
    g_assert_nonnull(err);
}

static void test_names(void)
{
    g_autoptr(QIOChannelBuffer) base = NULL, out = io_channel_buffer_new();
    QEMUFile *f = reader_of("\4a\0bc", 5, 0, &base);
    g_autofree char *too_long = g_strnfill(256, 'x');
    char name[256];

    g_assert_false(qemu_get_counted_string(f, name));
    g_assert_cmpstr(name, ==, "");
    qemu_fclose(f, NULL);
    f = qemu_file_new_output(IO_CHANNEL(out));
    qemu_put_counted_string(f, too_long);
    g_assert_false(qemu_file_ok(f));
    qemu_fclose(f, NULL);
}

/* The first error is the one that stays; after it nothing is written. */
static void test_first_error_wins(void)
{
    g_autoptr(QIOChannelBuffer) ioc = io_channel_buffer_new();
    QEMUFile *f = qemu_file_new_output(IO_CHANNEL(ioc));
    g_autoptr(GError) err = NULL;

    qemu_file_set_error(f, g_error_new_literal(GODWIT_ERROR, 0, "one"));
    qemu_file_set_error(f, g_error_new_literal(GODWIT_ERROR, 0, "two"));
    qemu_put_be32(f, 1);
    g_assert_false(qemu_fflush(f));
    g_assert_cmpuint(io_channel_buffer_bytes(ioc)->len, ==, 0);
    g_assert_false(qemu_fclose(f, &err));
    g_assert_cmpstr(err->message, ==, "one");
}

/* What left before a shutdown has left: the commit of a migration depends on it. */
static void test_shutdown_does_not_undo_a_flush(void)
{
    g_autoptr(QIOChannelSocket) a = NULL, b = NULL;
    QEMUFile *f;
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    a = io_channel_socket_new_fd(fds[0], NULL);
    b = io_channel_socket_new_fd(fds[1], NULL);
    f = qemu_file_new_output(IO_CHANNEL(a));
    qemu_put_byte(f, 1);
    g_assert_true(qemu_fflush(f));
    qemu_file_shutdown(f);
    g_assert_true(qemu_fflush(f));
    g_assert_false(qemu_file_ok(f));
    qemu_put_byte(f, 2);
    g_assert_false(qemu_fflush(f));
    qemu_fclose(f, NULL);
}

static void test_bite(void)
{
    g_autoptr(QIOChannelBuffer) ioc = io_channel_buffer_new();
    QEMUFile *f = qemu_file_new_output(IO_CHANNEL(ioc));
    static uint8_t page[4096];

    qemu_file_set_bite(f, sizeof(page) + 8);
    qemu_put_buffer_ref(f, page, sizeof(page));
    g_assert_cmpuint(io_channel_buffer_bytes(ioc)->len, ==, 0);
    qemu_put_be64(f, 0);
    g_assert_cmpuint(io_channel_buffer_bytes(ioc)->len, ==, sizeof(page) + 8);
    g_assert_true(qemu_fclose(f, NULL));
}

static void test_rate_limit(void)
{
    g_autoptr(QIOChannelBuffer) ioc = io_channel_buffer_new();
    QEMUFile *f = qemu_file_new_output(IO_CHANNEL(ioc));

    g_assert_false(qemu_file_rate_exceeded(f));
    qemu_file_set_rate_limit(f, 10);
    qemu_put_be64(f, 0);
    qemu_put_be16(f, 0);
    g_assert_false(qemu_file_rate_exceeded(f)); /* used > limit, not >= */
    qemu_file_account(f, 1);
    g_assert_true(qemu_file_rate_exceeded(f));
    qemu_file_rate_next(f, 1);
    g_assert_false(qemu_file_rate_exceeded(f));
    g_assert_cmpuint(qemu_file_rate_left(f), ==, 9); /* the byte too many is taken off */
    qemu_file_account(f, 8);
    qemu_file_rate_next(f, 1.5); /* late; what was not used is lost */
    g_assert_cmpuint(qemu_file_rate_left(f), ==, 15);
    qemu_file_account(f, 1000);
    qemu_file_rate_next(f, 3);    /* ten windows' worth are owed, three of it are paid, */
    for (int i = 0; i < 7; i++) { /* and the rest */
        g_assert_true(qemu_file_rate_exceeded(f));
        g_assert_cmpuint(qemu_file_rate_left(f), ==, 0);
        qemu_file_rate_next(f, 1);
    }
    g_assert_false(qemu_file_rate_exceeded(f));
    qemu_file_set_rate_limit(f, 30); /* 20 more, at once */
    g_assert_cmpuint(qemu_file_rate_left(f), ==, 20);
    qemu_file_set_rate_limit(f, 0);
    g_assert_cmpuint(qemu_file_rate_left(f), ==, UINT64_MAX);
    qemu_file_account(f, 1000);
    qemu_file_set_rate_limit(f, 5); /* a window begins */
    g_assert_cmpuint(qemu_file_rate_left(f), ==, 5);
    qemu_file_shutdown(f);
    g_assert_true(qemu_file_rate_exceeded(f)); /* loops must end */
    qemu_fclose(f, NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qemu-file/order", test_order);
    g_test_add_data_func("/qemu-file/reading/whole", GSIZE_TO_POINTER(0), test_reading);
    g_test_add_data_func("/qemu-file/reading/by-1", GSIZE_TO_POINTER(1), test_reading);
    g_test_add_data_func("/qemu-file/reading/by-3", GSIZE_TO_POINTER(3), test_reading);
    g_test_add_func("/qemu-file/end-of-stream-sticks", test_end_of_stream_sticks);
    g_test_add_func("/qemu-file/names", test_names);
    g_test_add_func("/qemu-file/first-error-wins", test_first_error_wins);
    g_test_add_func("/qemu-file/shutdown-does-not-undo-a-flush",
                    test_shutdown_does_not_undo_a_flush);
    g_test_add_func("/qemu-file/bite", test_bite);
    g_test_add_func("/qemu-file/rate-limit", test_rate_limit);
    return g_test_run();
}
