/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tests' own tool has to be right too. */
#include <fcntl.h>
#include "channel-test-util.h"
#include "fault-channel.h"
#include "io/channel-buffer.h"
#include "io/channel-file.h"

static void test_segment(void)
{
    static const size_t sizes[] = {1, 7, 4095, 32769};

    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autoptr(QIOChannelBuffer) b = io_channel_buffer_new();
        FaultPlan p = FAULT_PLAN_NONE;
        g_autoptr(QIOChannel) ioc = NULL;
        g_autofree uint8_t *data = g_malloc(100000), *back = g_malloc(100000);

        for (unsigned j = 0; j < 100000; j++) {
            data[j] = j * 13;
        }
        p.segment = sizes[i];
        ioc = fault_channel_new(IO_CHANNEL(b), &p, &p);
        g_assert_cmpint(io_channel_write(ioc, data, 100000, NULL), ==, sizes[i]);
        g_assert_true(io_channel_write_all(ioc, data + sizes[i], 100000 - sizes[i], NULL));
        g_assert_cmpuint(fault_channel_write_position(ioc), ==, 100000);
        g_assert_true(io_channel_read_all(ioc, back, 100000, NULL));
        g_assert_cmpmem(data, 100000, back, 100000);
    }
}

static void test_corrupt(void)
{
    for (int writing = 0; writing < 2; writing++) {
        g_autoptr(QIOChannelBuffer) b = io_channel_buffer_new();
        FaultPlan p = FAULT_PLAN_NONE;
        g_autoptr(QIOChannel) ioc = NULL;
        char data[] = "0123456789", back[10];

        p.corrupt_at = 4;
        p.corrupt_xor = 1;
        ioc = fault_channel_new(IO_CHANNEL(b), writing ? NULL : &p, writing ? &p : NULL);
        g_assert_true(io_channel_write_all(ioc, data, 3, NULL));
        g_assert_true(io_channel_write_all(ioc, data + 3, 7, NULL));
        g_assert_cmpstr(data, ==, "0123456789");
        g_assert_true(io_channel_read_all(ioc, back, 10, NULL));
        g_assert_cmpmem(back, 10, "0123556789", 10);
    }
}

static void test_cut(void)
{
    g_autoptr(QIOChannelBuffer) b = io_channel_buffer_new();
    FaultPlan p = FAULT_PLAN_NONE;
    g_autoptr(QIOChannel) ioc = NULL;
    g_autoptr(GError) err = NULL;

    p.cut_at = 4;
    ioc = fault_channel_new(IO_CHANNEL(b), NULL, &p);
    g_assert_false(io_channel_write_all(ioc, "0123456789", 10, &err));
    g_assert_nonnull(err);
    fault_channel_wait_fault(ioc);
    g_assert_cmpuint(io_channel_buffer_bytes(b)->len, ==, 4);
    g_assert_cmpint(io_channel_read(ioc, (char[4]){0}, 4, NULL), ==, 0);
}

static void test_stall(void)
{
    FaultPlan p = FAULT_PLAN_NONE;
    QIOChannel *r, *w, *ioc;
    BusyThread t;
    int fds[2];

    g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
    r = IO_CHANNEL(io_channel_file_new_fd(fds[0]));
    w = IO_CHANNEL(io_channel_file_new_fd(fds[1]));
    p.stall_at = 100000;
    ioc = fault_channel_new(w, NULL, &p);
    g_assert_true(io_channel_write_all(ioc, "abc", 3, NULL));
    busy_thread_start(&t, ioc, true);
    fault_channel_wait_fault(ioc);
    g_assert_cmpuint(fault_channel_write_position(ioc), ==, 100000);
    io_channel_shutdown(ioc, IO_SHUTDOWN_BOTH);
    busy_thread_join(&t);
    g_assert_nonnull(t.error);
    g_clear_error(&t.error);
    g_object_unref(ioc);
    g_object_unref(w);

    p.stall_at = 2;
    ioc = fault_channel_new(r, &p, NULL);
    busy_thread_start(&t, ioc, false);
    fault_channel_wait_fault(ioc);
    g_assert_cmpuint(fault_channel_read_position(ioc), ==, 2);
    fault_channel_resume(ioc);
    busy_thread_join(&t);
    g_assert_cmpuint(t.bytes, ==, 100000);
    g_object_unref(ioc);
    g_object_unref(r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fault-channel/segment", test_segment);
    g_test_add_func("/fault-channel/corrupt", test_corrupt);
    g_test_add_func("/fault-channel/cut", test_cut);
    g_test_add_func("/fault-channel/stall", test_stall);
    return g_test_run();
}
