/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The channel kinds without sockets, and the "all" loops of the base class. */
#include <fcntl.h>
#include <limits.h>
#include "channel-test-util.h"
#include "io/channel-buffer.h"
#include "io/channel-file.h"

static void make_pipe(QIOChannel **reader, QIOChannel **writer)
{
    int fds[2];

    g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
    *reader = IO_CHANNEL(io_channel_file_new_fd(fds[0]));
    *writer = IO_CHANNEL(io_channel_file_new_fd(fds[1]));
}

static void test_buffer(void)
{
    g_autoptr(QIOChannelBuffer) b = io_channel_buffer_new();
    QIOChannel *ioc = IO_CHANNEL(b);
    char buf[16] = "";

    g_assert_cmpint(io_channel_read(ioc, buf, 4, NULL), ==, 0);
    g_assert_true(io_channel_write_all(ioc, "hello world", 11, NULL));
    g_assert_cmpint(io_channel_peek(ioc, buf, 5, NULL), ==, 5);
    g_assert_cmpmem(buf, 5, "hello", 5);
    g_assert_true(io_channel_read_all(ioc, buf, 11, NULL));
    g_assert_cmpmem(buf, 11, "hello world", 11);
    g_assert_cmpint(io_channel_read(ioc, buf, 4, NULL), ==, 0);
    g_assert_cmpuint(io_channel_buffer_bytes(b)->len, ==, 11);
    io_channel_shutdown(ioc, IO_SHUTDOWN_BOTH);
    g_assert_false(io_channel_write_all(ioc, "x", 1, NULL));
}

static void test_eof(void)
{
    g_autoptr(QIOChannelBuffer) b = io_channel_buffer_new();
    QIOChannel *ioc = IO_CHANNEL(b);
    g_autoptr(GError) err = NULL;
    struct iovec iov[3];
    char one[4], two[4];

    iov[0] = (struct iovec){one, 4};
    iov[1] = (struct iovec){NULL, 0};
    iov[2] = (struct iovec){two, 4};

    /* nothing: a clean end for _eof, an error for the others */
    g_assert_cmpint(io_channel_readv_all_eof(ioc, iov, 3, &err), ==, 0);
    g_assert_no_error(err);
    g_assert_false(io_channel_readv_all(ioc, iov, 3, &err));
    g_assert_cmpstr(err->message, ==, "Unexpected end-of-file before all data were read");
    g_clear_error(&err);

    /* five of eight */
    g_assert_true(io_channel_write_all(ioc, "abcde", 5, NULL));
    g_assert_cmpint(io_channel_readv_all_eof(ioc, iov, 3, &err), ==, -1);
    g_assert_cmpstr(err->message, ==, "Unexpected end-of-file before all data were read");
    g_clear_error(&err);

    /* all eight */
    g_assert_true(io_channel_write_all(ioc, "abcdefgh", 8, NULL));
    g_assert_cmpint(io_channel_readv_all_eof(ioc, iov, 3, &err), ==, 1);
    g_assert_cmpmem(one, 4, "abcd", 4);
    g_assert_cmpmem(two, 4, "efgh", 4);

    /* an empty request is no end of stream */
    g_assert_cmpint(io_channel_readv_all_eof(ioc, iov + 1, 1, &err), ==, 1);
}

/* More elements than one system call takes, sizes that never match the pipe's. */
static void *write_many(void *opaque)
{
    enum { COUNT = IOV_MAX * 2 + 7 };
    g_autofree struct iovec *iov = g_new(struct iovec, COUNT);
    g_autofree struct iovec *copy = NULL;
    g_autofree uint8_t *data = g_malloc(COUNT * 997);
    size_t at = 0;

    for (unsigned i = 0; i < COUNT; i++) {
        iov[i].iov_base = data + at;
        iov[i].iov_len = i % 5 ? i % 997 : 0;
        at += iov[i].iov_len;
    }
    for (size_t i = 0; i < at; i++) {
        data[i] = i * 7 + (i >> 8);
    }
    copy = g_memdup2(iov, sizeof(*iov) * COUNT);
    g_assert_true(io_channel_writev_all(opaque, iov, COUNT, NULL));
    g_assert_cmpmem(iov, sizeof(*iov) * COUNT, copy, sizeof(*iov) * COUNT);
    g_assert_true(io_channel_close(opaque, NULL));
    return GSIZE_TO_POINTER(at);
}

/* Odd sizes, none of which matches the writer's or the pipe's. */
static size_t read_many(QIOChannel *r)
{
    uint8_t buf[3 * 1021];
    struct iovec iov[3] = {{buf, 1}, {buf + 1, 1021}, {buf + 1022, sizeof(buf) - 1022}};
    size_t total = 0;

    while (total + sizeof(buf) <= 600000) {
        g_assert_true(io_channel_readv_all(r, iov, 3, NULL));
        for (size_t i = 0; i < sizeof(buf); i++, total++) {
            g_assert_cmpuint(buf[i], ==, (uint8_t)(total * 7 + (total >> 8)));
        }
    }
    while (io_channel_read_all(r, buf, 1, NULL)) {
        g_assert_cmpuint(buf[0], ==, (uint8_t)(total * 7 + (total >> 8)));
        total++;
    }
    return total;
}

static void test_many_segments(void)
{
    GThread *t;
    QIOChannel *r, *w;
    size_t total;
    int fds[2], small;

    g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
    small = dup(fds[1]);
    r = IO_CHANNEL(io_channel_file_new_fd(fds[0]));
    w = IO_CHANNEL(io_channel_file_new_fd(fds[1]));
    g_assert_cmpint(fcntl(small, F_SETPIPE_SZ, 4096), ==, 4096); /* transfers end anywhere */
    close(small);
    g_assert_true(io_channel_set_blocking(w, false, NULL)); /* "all" waits by itself */
    t = g_thread_new("writer", write_many, w);
    total = read_many(r);
    g_assert_cmpuint(total, ==, GPOINTER_TO_SIZE(g_thread_join(t)));
    g_assert_cmpuint(total, >, 600000);
    g_object_unref(r);
    g_object_unref(w);
}

static void test_pipe_shutdown(void)
{
    unsigned before = count_fds();
    QIOChannel *r, *w;
    BusyThread reader, writer;
    GError *err = NULL;
    char c;

    make_pipe(&r, &w);
    busy_thread_start(&reader, r, false);
    io_channel_shutdown(r, IO_SHUTDOWN_BOTH);
    busy_thread_join(&reader);
    g_assert_no_error(reader.error);
    g_assert_cmpint(io_channel_read(r, &c, 1, NULL), ==, 0);

    busy_thread_start(&writer, w, true);
    io_channel_shutdown(w, IO_SHUTDOWN_BOTH);
    io_channel_shutdown(w, IO_SHUTDOWN_BOTH);
    busy_thread_join(&writer);
    g_assert_cmpstr(writer.error->message, ==, "Unable to write to file: Broken pipe");
    g_clear_error(&writer.error);
    g_assert_true(io_channel_wait(w, G_IO_OUT, 1000));
    g_assert_false(io_channel_write_all(w, "x", 1, &err));
    g_clear_error(&err);

    g_assert_true(io_channel_close(r, NULL));
    g_assert_true(io_channel_close(r, NULL));
    io_channel_shutdown(r, IO_SHUTDOWN_BOTH); /* also fine after close */
    g_object_unref(r);
    g_object_unref(w);
    g_assert_cmpuint(count_fds(), ==, before);
}

static void test_pipe_broken(void)
{
    g_autoptr(GError) err = NULL;
    QIOChannel *r, *w;

    make_pipe(&r, &w);
    g_object_unref(r);
    g_assert_false(io_channel_write_all(w, "x", 1, &err));
    g_assert_cmpstr(err->message, ==, "Unable to write to file: Broken pipe");
    g_object_unref(w);
}

static void test_pipe_nonblocking(void)
{
    QIOChannel *r, *w;
    char buf[8];
    int fds[2];

    make_pipe(&r, &w);
    g_assert_true(io_channel_set_blocking(r, false, NULL));
    g_assert_cmpint(io_channel_read(r, buf, 8, NULL), ==, IO_CHANNEL_WOULD_BLOCK);
    g_assert_false(io_channel_wait(r, G_IO_IN, 0));
    g_assert_true(io_channel_write_all(w, "abc", 3, NULL));
    g_assert_true(io_channel_wait(r, G_IO_IN, -1));
    g_assert_cmpint(io_channel_read(r, buf, 8, NULL), ==, 3);
    g_object_unref(r);
    g_object_unref(w);

    /* what we share with others is given back as it was */
    g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
    r = IO_CHANNEL(io_channel_file_new_fd(dup(fds[0])));
    g_assert_true(fcntl(fds[0], F_GETFL) & O_NONBLOCK);
    g_object_unref(r);
    g_assert_false(fcntl(fds[0], F_GETFL) & O_NONBLOCK);
    close(fds[0]);
    close(fds[1]);
}

static gboolean watch_cb(QIOChannel *ioc, GIOCondition cond, void *opaque)
{
    *(GIOCondition *)opaque = cond;
    return G_SOURCE_REMOVE;
}

static GIOCondition fire_watch(QIOChannel *ioc, GIOCondition cond, bool *fired)
{
    g_autoptr(GMainContext) ctx = g_main_context_new();
    GSource *s = io_channel_create_watch(ioc, cond);
    GIOCondition got = 0;

    g_source_set_callback(s, (GSourceFunc)(void (*)(void))watch_cb, &got, NULL);
    g_source_attach(s, ctx);
    *fired = g_main_context_iteration(ctx, FALSE);
    g_source_destroy(s);
    g_source_unref(s);
    return got;
}

static void test_watch(void)
{
    g_autoptr(QIOChannelBuffer) b = io_channel_buffer_new();
    QIOChannel *r, *w;
    bool fired;

    make_pipe(&r, &w);
    fire_watch(r, G_IO_IN, &fired);
    g_assert_false(fired);
    g_assert_cmpint(fire_watch(w, G_IO_OUT, &fired), ==, G_IO_OUT);
    g_assert_true(io_channel_write_all(w, "abc", 3, NULL));
    g_assert_cmpint(fire_watch(r, G_IO_IN, &fired), ==, G_IO_IN);
    g_assert_cmpint(io_channel_read(r, (char[8]){0}, 8, NULL), ==, 3);
    io_channel_shutdown(r, IO_SHUTDOWN_BOTH);
    g_assert_cmpint(fire_watch(r, G_IO_IN, &fired), ==, G_IO_IN);
    fire_watch(IO_CHANNEL(b), G_IO_IN, &fired);
    g_assert_true(fired);
    g_object_unref(r);
    g_object_unref(w);
}

static void test_file(void)
{
    g_autofree char *path = g_strdup_printf("%s/godwit-file-%d", g_get_tmp_dir(), getpid());
    g_autoptr(GError) err = NULL;
    g_autoptr(QIOChannelFile) f = NULL;
    struct iovec iov[2] = {{"WXYZ", 4}, {"1234", 4}};
    char buf[8];
    QIOChannel *ioc;

    f = io_channel_file_new_path(path, O_RDWR | O_CREAT | O_EXCL, 0600, &err);
    g_assert_no_error(err);
    ioc = IO_CHANNEL(f);
    g_assert_cmpstr(io_channel_name(ioc), ==, path);
    g_assert_true(io_channel_has_feature(ioc, IO_FEATURE_SEEKABLE));
    g_assert_false(io_channel_has_feature(ioc, IO_FEATURE_BIDIRECTIONAL));
    g_assert_true(io_channel_write_all(ioc, "0123456789", 10, &err));
    g_assert_true(io_channel_pwritev_all(ioc, iov, 2, 5, &err));
    g_assert_cmpint(io_channel_seek(ioc, 4, SEEK_SET, &err), ==, 4);
    g_assert_true(io_channel_read_all(ioc, buf, 8, &err));
    g_assert_cmpmem(buf, 8, "4WXYZ123", 8);
    iov[0] = (struct iovec){buf, 3};
    iov[1] = (struct iovec){buf + 3, 5};
    g_assert_true(io_channel_preadv_all(ioc, iov, 2, 1, &err));
    g_assert_cmpmem(buf, 8, "1234WXYZ", 8);
    g_assert_false(io_channel_preadv_all(ioc, iov, 2, 6, &err));
    g_assert_cmpstr(err->message, ==, "Unexpected end-of-file before all data were read");
    g_clear_error(&err);
    io_channel_shutdown(ioc, IO_SHUTDOWN_BOTH);
    g_assert_false(io_channel_pwritev_all(ioc, iov, 2, 0, &err));
    g_clear_error(&err);
    g_assert_cmpint(io_channel_read(ioc, buf, 1, &err), ==, 0);
    unlink(path);

    g_assert_null(io_channel_file_new_path("/nonexistent/x", O_RDONLY, 0, &err));
    g_assert_cmpstr(err->message, ==, "Unable to open /nonexistent/x: No such file or directory");
}

static void test_full_disk(void)
{
    g_autoptr(GError) err = NULL;
    g_autoptr(QIOChannelFile) f = io_channel_file_new_path("/dev/full", O_WRONLY, 0, &err);

    g_assert_nonnull(f);
    g_assert_false(io_channel_write_all(IO_CHANNEL(f), "x", 1, &err));
    g_assert_cmpstr(err->message, ==, "Unable to write to file: No space left on device");
}

static void test_refused(void)
{
    g_autoptr(QIOChannelBuffer) b = io_channel_buffer_new();
    QIOChannel *ioc = IO_CHANNEL(b);
    struct iovec iov = {"x", 1};
    g_autoptr(GError) err = NULL;
    int fd = 0, *fds;
    size_t nfds;

    g_assert_cmpint(io_channel_writev_full(ioc, &iov, 1, &fd, 1, 0, &err), ==, IO_CHANNEL_ERR);
    g_assert_cmpstr(err->message, ==, "Channel 'buffer' cannot carry file descriptors");
    g_clear_error(&err);
    g_assert_cmpint(io_channel_readv_full(ioc, &iov, 1, &fds, &nfds, &err), ==, IO_CHANNEL_ERR);
    g_clear_error(&err);
    g_assert_cmpint(io_channel_writev_full(ioc, &iov, 1, NULL, 0, IO_WRITE_ZERO_COPY, &err), ==,
                    IO_CHANNEL_ERR);
    g_clear_error(&err);
    g_assert_cmpint(io_channel_seek(ioc, 0, SEEK_SET, &err), ==, -1);
    g_clear_error(&err);
    g_assert_false(io_channel_preadv_all(ioc, &iov, 1, 0, &err));
    g_clear_error(&err);
}

static void test_bad_fd(void)
{
    g_autoptr(QIOChannelFile) f = io_channel_file_new_fd(99999);
    g_autoptr(GError) err = NULL;

    g_assert_false(io_channel_write_all(IO_CHANNEL(f), "x", 1, &err));
    g_assert_cmpstr(err->message, ==,
                    "Unable to use descriptor 99999 as file: Bad file descriptor");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/io/buffer", test_buffer);
    g_test_add_func("/io/eof", test_eof);
    g_test_add_func("/io/many-segments", test_many_segments);
    g_test_add_func("/io/pipe/shutdown", test_pipe_shutdown);
    g_test_add_func("/io/pipe/broken", test_pipe_broken);
    g_test_add_func("/io/pipe/nonblocking", test_pipe_nonblocking);
    g_test_add_func("/io/watch", test_watch);
    g_test_add_func("/io/file", test_file);
    g_test_add_func("/io/file/full-disk", test_full_disk);
    g_test_add_func("/io/refused", test_refused);
    g_test_add_func("/io/bad-fd", test_bad_fd);
    return g_test_run();
}
