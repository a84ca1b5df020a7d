/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sending without a copy (spec 35 section 8). On loopback the kernel copies anyway and says so. */
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/capability.h>
#include "channel-test-util.h"
#include "io/channel-socket.h"

typedef struct {
    QIOChannel *writer, *reader;
} Connection;

static Connection tcp_connection(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), server;
    socklen_t len = sizeof(addr);

    g_assert_cmpint(bind(listener, (struct sockaddr *)&addr, len), ==, 0);
    g_assert_cmpint(listen(listener, 1), ==, 0);
    g_assert_cmpint(getsockname(listener, (struct sockaddr *)&addr, &len), ==, 0);
    g_assert_cmpint(connect(client, (struct sockaddr *)&addr, len), ==, 0);
    server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    g_assert_cmpint(server, >=, 0);
    close(listener);
    return (Connection){IO_CHANNEL(io_channel_socket_new_fd(client, NULL)),
                        IO_CHANNEL(io_channel_socket_new_fd(server, NULL))};
}

static void connection_clear(Connection *c)
{
    g_object_unref(c->writer);
    g_object_unref(c->reader);
}

static bool supported(const Connection *c)
{
    if (!io_channel_has_feature(c->writer, IO_FEATURE_WRITE_ZERO_COPY)) {
        g_test_skip("this kernel has no SO_ZEROCOPY");
        return false;
    }
    return true;
}

typedef struct {
    QIOChannel *ioc;
    uint8_t *bytes;
    size_t len;
    GThread *thread;
} ReadAll;

static gpointer read_all(gpointer opaque)
{
    ReadAll *r = opaque;

    return GINT_TO_POINTER(io_channel_read_all(r->ioc, r->bytes, r->len, NULL));
}

static void test_bytes_arrive(void)
{
    Connection c = tcp_connection();
    size_t len = 6 * MiB + 123;
    g_autofree uint8_t *sent = g_malloc(len), *got = g_malloc0(len);
    ReadAll r = {c.reader, got, len, NULL};
    struct iovec iov[] = {{sent, 5}, {sent + 5, 4096}, {sent + 4101, len - 4101}};
    g_autoptr(GError) err = NULL;

    for (size_t i = 0; i < len; i++) {
        sent[i] = i * 7 + i / 4096;
    }
    if (supported(&c)) {
        g_assert_cmpint(io_channel_flush(c.writer, &err), ==, IO_FLUSH_DONE);
        r.thread = g_thread_new("reader", read_all, &r);
        g_assert_true(io_channel_writev_all(c.writer, iov, 1, &err));
        g_assert_true(io_channel_writev_all_flags(c.writer, iov + 1, 2, IO_WRITE_ZERO_COPY, &err));
        g_assert_cmpint(io_channel_flush(c.writer, &err), ==, IO_FLUSH_COPIED);
        g_assert_no_error(err);
        g_assert_true(GPOINTER_TO_INT(g_thread_join(r.thread)));
        g_assert_true(memcmp(sent, got, len) == 0);
        g_assert_cmpint(io_channel_flush(c.writer, &err), ==, IO_FLUSH_DONE);
    }
    connection_clear(&c);
}

static void test_other_kinds(void)
{
    int fds[2];
    g_autoptr(QIOChannelSocket) s = NULL;
    g_autoptr(GError) err = NULL;
    struct iovec iov = {"x", 1};

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    close(fds[1]);
    s = io_channel_socket_new_fd(fds[0], NULL);
    g_assert_false(io_channel_has_feature(IO_CHANNEL(s), IO_FEATURE_WRITE_ZERO_COPY));
    g_assert_false(io_channel_writev_all_flags(IO_CHANNEL(s), &iov, 1, IO_WRITE_ZERO_COPY, &err));
    g_assert_cmpstr(err->message, ==, "Zero copy send feature not detected in host kernel");
    g_assert_cmpint(io_channel_flush(IO_CHANNEL(s), NULL), ==, IO_FLUSH_DONE);
}

/* Write until nothing fits any more, not in a while either, when buffers have grown: some of it is
 * the kernel's to send, and stays so. */
static void fill(QIOChannel *ioc, const uint8_t *bytes, size_t len)
{
    struct iovec iov = {(void *)bytes, len};
    GError *err = NULL;

    io_channel_set_blocking(ioc, false, NULL);
    for (unsigned refused = 0; refused < 10;) {
        if (io_channel_writev_full(ioc, &iov, 1, NULL, 0, IO_WRITE_ZERO_COPY, &err) !=
            IO_CHANNEL_WOULD_BLOCK) {
            g_assert_no_error(err);
            refused = 0;
        } else {
            refused++;
            g_usleep(10000);
        }
    }
}

typedef struct {
    QIOChannel *ioc;
    GError *error;
} Flush;

static gpointer run_flush(gpointer opaque)
{
    Flush *f = opaque;

    return GINT_TO_POINTER(io_channel_flush(f->ioc, &f->error));
}

/* The peer does not read, or goes away: the flush waits, and ends with an error. */
static void test_stalled_peer(gconstpointer opaque)
{
    bool peer_closes = GPOINTER_TO_INT(opaque);
    Connection c = tcp_connection();
    g_autofree uint8_t *bytes = g_malloc0(256 * KiB);
    Flush f = {c.writer, NULL};

    if (supported(&c)) {
        GThread *thread;

        fill(c.writer, bytes, 256 * KiB);
        thread = g_thread_new("flush", run_flush, &f);
        g_usleep(20000); /* most likely it waits by now; if not the result is the same */
        if (peer_closes) {
            io_channel_close(c.reader, NULL); /* with bytes unread: a reset */
            g_thread_join(thread);
        } else {
            io_channel_shutdown(c.writer, IO_SHUTDOWN_BOTH);
            g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(thread)), ==, IO_FLUSH_ERROR);
            g_assert_nonnull(strstr(f.error->message, "Unable to write to socket"));
        }
    }
    g_clear_error(&f.error);
    connection_clear(&c);
}

/* ---- the limit of locked memory, in a process of its own ---- */

#define SMALL_LIMIT (256 * KiB)

static void limit_locked_memory(void)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    struct rlimit limit = {SMALL_LIMIT, SMALL_LIMIT};

    g_assert_cmpint(syscall(SYS_capget, &head, data), ==, 0);
    data[0].effective &= ~(1u << CAP_IPC_LOCK);
    g_assert_cmpint(syscall(SYS_capset, &head, data), ==, 0);
    g_assert_cmpint(setrlimit(RLIMIT_MEMLOCK, &limit), ==, 0);
}

static void run_in_subprocess(void)
{
    g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
    g_test_trap_assert_passed();
}

static void test_too_big(void)
{
    if (g_test_subprocess()) {
        Connection c = tcp_connection();
        g_autofree uint8_t *bytes = g_malloc0(2 * MiB);
        struct iovec iov = {bytes, 2 * MiB};
        g_autoptr(GError) err = NULL;

        if (!supported(&c)) {
            return;
        }
        limit_locked_memory();
        g_assert_false(io_channel_writev_all_flags(c.writer, &iov, 1, IO_WRITE_ZERO_COPY, &err));
        g_assert_true(g_str_has_prefix(
            err->message, "Process can't lock enough memory for using MSG_ZEROCOPY: sending 2048 "
                          "KiB does not fit into its limit (RLIMIT_MEMLOCK, now 256 KiB)."));
        connection_clear(&c);
        return;
    }
    run_in_subprocess();
}

/* What fits one after the other is waited for, not refused. */
static void test_tight(void)
{
    if (g_test_subprocess()) {
        Connection c = tcp_connection();
        size_t chunk = 128 * KiB, total = 200 * chunk;
        g_autofree uint8_t *bytes = g_malloc0(chunk), *got = g_malloc(total);
        ReadAll r = {c.reader, got, total, NULL};
        struct iovec iov = {bytes, chunk};
        g_autoptr(GError) err = NULL;

        if (!supported(&c)) {
            return;
        }
        limit_locked_memory();
        r.thread = g_thread_new("reader", read_all, &r);
        for (size_t i = 0; i < total; i += chunk) {
            io_channel_writev_all_flags(c.writer, &iov, 1, IO_WRITE_ZERO_COPY, &err);
            g_assert_no_error(err);
        }
        g_assert_cmpint(io_channel_flush(c.writer, &err), ==, IO_FLUSH_COPIED);
        g_assert_true(GPOINTER_TO_INT(g_thread_join(r.thread)));
        connection_clear(&c);
        return;
    }
    run_in_subprocess();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/zero-copy/bytes-arrive", test_bytes_arrive);
    g_test_add_func("/zero-copy/other-kinds", test_other_kinds);
    g_test_add_data_func("/zero-copy/shutdown", GINT_TO_POINTER(false), test_stalled_peer);
    g_test_add_data_func("/zero-copy/reset", GINT_TO_POINTER(true), test_stalled_peer);
    g_test_add_func("/zero-copy/limit/too-big", test_too_big);
    g_test_add_func("/zero-copy/limit/tight", test_tight);
    return g_test_run();
}
