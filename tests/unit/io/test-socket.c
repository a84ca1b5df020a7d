/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Socket channels and listeners over loopback: spec 35 sections 1.3, 2.2 to 2.5. */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "channel-test-util.h"
#include "io/net-listener.h"
#include "io/socket-address.h"

static char *tmp_path(const char *name)
{
    return g_strdup_printf("%s/godwit-%s-%d", g_get_tmp_dir(), name, getpid());
}

static void make_pair(QIOChannel **a, QIOChannel **b)
{
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    *a = IO_CHANNEL(io_channel_socket_new_fd(fds[0], NULL));
    *b = IO_CHANNEL(io_channel_socket_new_fd(fds[1], NULL));
    g_assert_nonnull(*a);
    g_assert_nonnull(*b);
}

/* ---- one connection ---- */

static void test_shutdown(void)
{
    unsigned before = count_fds();
    QIOChannel *a, *b;
    BusyThread r, w;

    make_pair(&a, &b);
    busy_thread_start(&r, a, false);
    busy_thread_start(&w, a, true); /* one reader and one writer at the same time */
    io_channel_shutdown(a, IO_SHUTDOWN_READ);
    busy_thread_join(&r);
    g_assert_no_error(r.error);
    io_channel_shutdown(a, IO_SHUTDOWN_BOTH);
    io_channel_shutdown(a, IO_SHUTDOWN_BOTH);
    busy_thread_join(&w);
    g_assert_cmpstr(w.error->message, ==, "Unable to write to socket: Broken pipe");
    g_clear_error(&w.error);
    g_assert_true(io_channel_close(a, NULL));
    g_assert_true(io_channel_close(a, NULL));
    io_channel_shutdown(a, IO_SHUTDOWN_BOTH);
    g_object_unref(a);
    g_object_unref(b);
    g_assert_cmpuint(count_fds(), ==, before);
}

static void test_peek(void)
{
    g_autoptr(GError) err = NULL;
    QIOChannel *a, *b;
    char buf[8] = "";

    make_pair(&a, &b);
    g_assert_true(io_channel_set_blocking(a, false, NULL));
    g_assert_cmpint(io_channel_peek(a, buf, 4, &err), ==, IO_CHANNEL_WOULD_BLOCK);
    g_assert_no_error(err);
    g_assert_true(io_channel_write_all(b, "QEVM", 4, NULL));
    g_assert_cmpint(io_channel_peek(a, buf, 8, NULL), ==, 4);
    g_assert_cmpint(io_channel_peek(a, buf, 2, NULL), ==, 2);
    g_assert_true(io_channel_read_all(a, buf, 4, NULL));
    g_assert_cmpmem(buf, 4, "QEVM", 4);
    io_channel_close(b, NULL);
    g_assert_cmpint(io_channel_peek(a, buf, 4, NULL), ==, 0);
    g_object_unref(a);
    g_object_unref(b);
}

/* What the peer has not read counts, what it has read does not. */
static void test_backlog(void)
{
    QIOChannel *a, *b;
    char buf[100] = {0};

    make_pair(&a, &b);
    g_assert_cmpuint(io_channel_backlog(a), ==, 0);
    g_assert_true(io_channel_write_all(a, buf, sizeof(buf), NULL));
    g_assert_cmpuint(io_channel_backlog(a), >=, sizeof(buf));
    g_assert_cmpuint(io_channel_backlog(b), ==, 0);
    g_assert_true(io_channel_read_all(b, buf, sizeof(buf), NULL));
    g_assert_cmpuint(io_channel_backlog(a), ==, 0);
    g_object_unref(a);
    g_object_unref(b);
}

static void test_fd_pass(void)
{
    unsigned before = count_fds();
    struct iovec iov;
    int send[3], *got;
    QIOChannel *a, *b;
    size_t n;
    char c = 'x';

    make_pair(&a, &b);
    g_assert_true(io_channel_has_feature(a, IO_FEATURE_FD_PASS));
    for (int i = 0; i < 3; i++) {
        send[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    iov = (struct iovec){&c, 1};
    g_assert_cmpint(io_channel_writev_full(a, &iov, 1, send, 3, 0, NULL), ==, 1);
    g_assert_cmpint(io_channel_writev_full(a, &iov, 1, send, 1, 0, NULL), ==, 1);
    g_assert_cmpint(io_channel_write(a, "y", 1, NULL), ==, 1);

    g_assert_cmpint(io_channel_readv_full(b, &iov, 1, &got, &n, NULL), ==, 1);
    g_assert_cmpuint(n, ==, 3);
    for (int i = 0; i < 3; i++) {
        g_assert_cmpint(fcntl(got[i], F_GETFD), ==, FD_CLOEXEC);
        close(got[i]);
        close(send[i]);
    }
    g_free(got);
    /* who does not ask for descriptors does not get any, and none is left behind */
    g_assert_cmpint(io_channel_read(b, &c, 1, NULL), ==, 1);
    g_assert_cmpint(io_channel_readv_full(b, &iov, 1, &got, &n, NULL), ==, 1);
    g_assert_cmpuint(n, ==, 0);
    g_assert_null(got);
    g_object_unref(a);
    g_object_unref(b);
    g_assert_cmpuint(count_fds(), ==, before);
}

static void test_not_a_socket(void)
{
    g_autoptr(GError) err = NULL;
    int fds[2];

    g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
    g_assert_null(io_channel_socket_new_fd(fds[0], &err)); /* closes it */
    g_assert_nonnull(err);
    g_clear_error(&err);
    close(fds[1]);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), ==, 0);
    g_assert_null(io_channel_socket_new_fd(fds[0], &err));
    g_assert_true(g_str_has_suffix(err->message, "not a stream socket"));
    close(fds[1]);
}

/* ---- listening ---- */

typedef struct {
    GPtrArray *channels;
    bool stop_at_first;
    NetListener *l;
} Accepted;

static void on_accept(NetListener *l, QIOChannelSocket *ioc, void *opaque)
{
    Accepted *a = opaque;

    g_ptr_array_add(a->channels, ioc);
    if (a->stop_at_first) {
        net_listener_free(l);
        a->l = NULL;
    }
}

static void accepted_init(Accepted *a, const char *uri)
{
    g_autoptr(SocketAddress) addr = socket_address_parse(uri, NULL);
    GError *err = NULL;

    *a = (Accepted){.channels = g_ptr_array_new_with_free_func(g_object_unref)};
    a->l = net_listener_new(addr, 4, on_accept, a, &err);
    g_assert_no_error(err);
}

static void accepted_clear(Accepted *a)
{
    net_listener_free(a->l);
    g_ptr_array_unref(a->channels);
}

static void wait_accepted(Accepted *a, unsigned n)
{
    while (a->channels->len < n) {
        g_main_context_iteration(NULL, TRUE);
    }
}

/* Addresses as one line: "inet 127.0.0.1 v4; ..." with ports checked and left out. */
static char *describe(NetListener *l)
{
    g_autoptr(GPtrArray) list = net_listener_addresses(l);
    GString *s = g_string_new(NULL);

    for (unsigned i = 0; i < list->len; i++) {
        SocketAddress *addr = g_ptr_array_index(list, i);
        InetSocketAddress *a = addr->u.inet;

        g_string_append(s, i ? "; " : "");
        if (addr->type == SOCKET_ADDRESS_TYPE_INET) {
            g_assert_cmpint(atoi(a->port), >, 0);
            g_string_append_printf(s, "%s%s%s", a->host, a->has_ipv4 && a->ipv4 ? " v4" : "",
                                   a->has_ipv6 && a->ipv6 ? " v6" : "");
            g_assert_true(a->has_ipv4 != a->has_ipv6);
        } else {
            g_autofree char *text = socket_address_to_string(addr);

            g_string_append(s, text);
        }
    }
    return g_string_free(s, FALSE);
}

static bool host_has_ipv6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

/* The golden lists of spec 35 section 1.3. */
static void test_address_lists(void)
{
    bool v6 = host_has_ipv6();
    const struct {
        const char *uri, *list;
    } rows[] = {
        {"tcp:127.0.0.1:0", "127.0.0.1 v4"},
        {"tcp:0:0", "0.0.0.0 v4"},
        {"tcp::0", v6 ? ":: v6; 0.0.0.0 v4" : "0.0.0.0 v4"},
        {"tcp::0,ipv4=on", "0.0.0.0 v4"},
        {"tcp::0,ipv6=off", "0.0.0.0 v4"},
        {"tcp::0,ipv4=on,ipv6=off", "0.0.0.0 v4"},
        {"tcp:[::]:0", ":: v6"},
        {"tcp::0,ipv6=on,ipv4=off", ":: v6"},
        {"tcp::0,ipv6=on,ipv4=on", ":: v6"},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows) - (v6 ? 0 : 3); i++) {
        g_autofree char *list = NULL;
        Accepted a;

        accepted_init(&a, rows[i].uri);
        list = describe(a.l);
        g_assert_cmpstr(list, ==, rows[i].list);
        accepted_clear(&a);
    }
}

static uint16_t port_of(NetListener *l)
{
    g_autoptr(GPtrArray) list = net_listener_addresses(l);
    SocketAddress *addr = g_ptr_array_index(list, 0);

    return atoi(addr->u.inet->port);
}

static void test_connect(const char *listen_uri, const char *connect_fmt)
{
    g_autoptr(SocketAddress) addr = NULL;
    g_autofree char *uri = NULL;
    QIOChannel *client, *server;
    GError *err = NULL;
    Accepted a;
    char buf[5];

    accepted_init(&a, listen_uri);
    uri = g_strdup_printf(connect_fmt, port_of(a.l));
    addr = socket_address_parse(uri, NULL);
    client = IO_CHANNEL(io_channel_socket_connect_sync(addr, &err));
    g_assert_no_error(err);
    g_assert_cmpstr(io_channel_name(client), ==, uri);
    wait_accepted(&a, 1);
    server = g_ptr_array_index(a.channels, 0);
    g_assert_cmpint(fcntl(io_channel_socket_fd(IO_CHANNEL_SOCKET(server)), F_GETFD), ==,
                    FD_CLOEXEC);
    g_assert_false(fcntl(io_channel_socket_fd(IO_CHANNEL_SOCKET(client)), F_GETFL) & O_NONBLOCK);
    io_channel_set_delay(client, false);
    g_assert_true(io_channel_write_all(client, "hello", 5, NULL));
    g_assert_true(io_channel_read_all(server, buf, 5, NULL));
    g_assert_cmpmem(buf, 5, "hello", 5);
    g_object_unref(client);
    accepted_clear(&a);
}

static int buffer_of(int fd, int option)
{
    int value = 0;
    socklen_t len = sizeof(value);

    g_assert_cmpint(getsockopt(fd, SOL_SOCKET, option, &value, &len), ==, 0);
    return value;
}

/* What the kernel makes of a wish for @bytes. */
static int granted(int option, int bytes)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), value;

    g_assert_cmpint(setsockopt(fd, SOL_SOCKET, option, &bytes, sizeof(bytes)), ==, 0);
    value = buffer_of(fd, option);
    close(fd);
    return value;
}

/* Both ends on this host: the buffers stay within the processor's cache. */
static void test_local_buffers(void)
{
    Accepted a;
    g_autofree char *uri = NULL;
    g_autoptr(SocketAddress) addr = NULL;
    QIOChannelSocket *client;

    accepted_init(&a, "tcp:127.0.0.1:0");
    uri = g_strdup_printf("tcp:127.0.0.1:%d", port_of(a.l));
    addr = socket_address_parse(uri, NULL);
    client = io_channel_socket_connect_sync(addr, NULL);
    g_assert_nonnull(client);
    g_assert_cmpint(buffer_of(io_channel_socket_fd(client), SO_SNDBUF), ==,
                    granted(SO_SNDBUF, 512 * KiB));
    g_assert_cmpint(buffer_of(io_channel_socket_fd(client), SO_RCVBUF), ==,
                    granted(SO_RCVBUF, 1 * MiB));
    g_object_unref(client);
    accepted_clear(&a);
}

static void test_tcp(void)
{
    test_connect("tcp:127.0.0.1:0", "tcp:127.0.0.1:%d");
    test_connect("tcp:0:0", "tcp:localhost:%d");
    if (host_has_ipv6()) {
        test_connect("tcp:[::]:0", "tcp:127.0.0.1:%d"); /* dual stack */
        test_connect("tcp:[::]:0", "tcp:[::1]:%d");
        test_connect("tcp:[::1]:0", "tcp:[::1]:%d");
    }
}

/* "tcp::P": both families on the same port. */
static void test_both_families(void)
{
    g_autofree char *uri = NULL, *list = NULL;
    Accepted probe, a;

    accepted_init(&probe, "tcp:0:0");
    uri = g_strdup_printf("tcp::%d", port_of(probe.l));
    accepted_clear(&probe);
    accepted_init(&a, uri);
    list = describe(a.l);
    g_assert_cmpstr(list, ==, host_has_ipv6() ? ":: v6; 0.0.0.0 v4" : "0.0.0.0 v4");
    accepted_clear(&a);
}

static void test_port_range(void)
{
    g_autofree char *range = NULL, *same = NULL;
    g_autoptr(SocketAddress) busy = NULL;
    g_autoptr(GError) err = NULL;
    Accepted first, second;
    unsigned port;

    accepted_init(&first, "tcp:127.0.0.1:0");
    port = MIN(port_of(first.l), 65535 - 200);
    range = g_strdup_printf("tcp:127.0.0.1:%u,to=%u", port, port + 200);
    accepted_init(&second, range);
    g_assert_cmpuint(port_of(second.l), !=, port_of(first.l));
    g_assert_cmpuint(port_of(second.l), >=, port);
    g_assert_cmpuint(port_of(second.l), <=, port + 200);

    same = g_strdup_printf("tcp:127.0.0.1:%u", port_of(first.l));
    busy = socket_address_parse(same, NULL);
    g_assert_null(net_listener_new(busy, 1, on_accept, NULL, &err));
    g_assert_cmpstr(err->message, ==, "Failed to find an available port: Address already in use");
    accepted_clear(&first);
    accepted_clear(&second);
}

static void expect_listen_error(const char *uri, const char *text)
{
    g_autoptr(SocketAddress) addr = socket_address_parse(uri, NULL);
    g_autoptr(GError) err = NULL;

    g_assert_null(net_listener_new(addr, 1, on_accept, NULL, &err));
    g_assert_cmpstr(err->message, ==, text);
}

static void expect_connect_error(const char *uri, const char *text)
{
    g_autoptr(SocketAddress) addr = socket_address_parse(uri, NULL);
    g_autoptr(GError) err = NULL;

    g_assert_null(io_channel_socket_connect_sync(addr, &err));
    g_assert_cmpstr(err->message, ==, text);
}

static void test_failures(void)
{
    unsigned before = count_fds();

    expect_listen_error("tcp:192.0.2.1:5555",
                        "Failed to bind socket: Cannot assign requested address");
    expect_listen_error("unix:/nonexistent/s",
                        "Failed to bind socket to /nonexistent/s: No such file or directory");
    expect_listen_error("tcp:127.0.0.1:http7", "address resolution failed for 127.0.0.1:http7: "
                                               "Servname not supported for ai_socktype");
    expect_connect_error("tcp:127.0.0.1:1",
                         "Failed to connect to '127.0.0.1:1': Connection refused");
    expect_connect_error("unix:/nonexistent/s",
                         "Failed to connect to '/nonexistent/s': No such file or directory");
    expect_connect_error("tcp:not-a-number:1,numeric",
                         "address resolution failed for not-a-number:1: "
                         "Name or service not known");
    g_assert_cmpuint(count_fds(), ==, before);
}

static void test_unix(void)
{
    g_autofree char *path = tmp_path("unix");
    g_autofree char *uri = g_strconcat("unix:", path, NULL);
    g_autoptr(SocketAddress) addr = socket_address_parse(uri, NULL);
    g_autofree char *list = NULL;
    QIOChannelSocket *c;
    struct stat st;
    Accepted a;

    accepted_init(&a, uri);
    list = describe(a.l);
    g_assert_cmpstr(list, ==, uri);
    accepted_clear(&a);
    g_assert_cmpint(stat(path, &st), ==, 0); /* stays, and is replaced */
    accepted_init(&a, uri);
    c = io_channel_socket_connect_sync(addr, NULL);
    g_assert_nonnull(c);
    wait_accepted(&a, 1);
    g_object_unref(c);
    accepted_clear(&a);
    unlink(path);

    /* somebody's file is not removed */
    g_assert_true(g_file_set_contents(path, "precious", -1, NULL));
    g_assert_null(net_listener_new(addr, 1, on_accept, NULL, NULL));
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 8);
    unlink(path);
}

static void test_abstract(void)
{
    g_autofree char *name = g_strdup_printf("godwit-abstract-%d", getpid());

    for (int tight = 0; tight < 2; tight++) {
        UnixSocketAddress un = {.path = name,
                                .has_abstract = true,
                                .abstract = true,
                                .has_tight = true,
                                .tight = tight};
        SocketAddress addr = {.type = SOCKET_ADDRESS_TYPE_UNIX, .u.q_unix = &un};
        Accepted a = {.channels = g_ptr_array_new_with_free_func(g_object_unref)};
        g_autoptr(GPtrArray) list = NULL;
        SocketAddress *bound;
        QIOChannelSocket *c;

        a.l = net_listener_new(&addr, 1, on_accept, &a, NULL);
        g_assert_nonnull(a.l);
        list = net_listener_addresses(a.l);
        bound = g_ptr_array_index(list, 0);
        g_assert_cmpstr(bound->u.q_unix->path, ==, name);
        g_assert_true(bound->u.q_unix->has_abstract && bound->u.q_unix->abstract);
        g_assert_cmpint(bound->u.q_unix->tight, ==, tight);
        c = io_channel_socket_connect_sync(&addr, NULL);
        g_assert_nonnull(c);
        wait_accepted(&a, 1);
        g_object_unref(c);
        accepted_clear(&a);
    }
}

static void test_free_in_callback(void)
{
    g_autoptr(SocketAddress) addr = NULL;
    g_autofree char *uri = NULL;
    QIOChannelSocket *c;
    Accepted a;

    accepted_init(&a, "tcp:127.0.0.1:0");
    a.stop_at_first = true;
    uri = g_strdup_printf("tcp:127.0.0.1:%d", port_of(a.l));
    addr = socket_address_parse(uri, NULL);
    c = io_channel_socket_connect_sync(addr, NULL);
    wait_accepted(&a, 1);
    g_object_unref(c);
    g_assert_null(io_channel_socket_connect_sync(addr, NULL)); /* nobody listens any more */
    accepted_clear(&a);
}

static void test_inherited(void)
{
    g_autoptr(SocketAddress) addr = NULL;
    g_autoptr(GError) err = NULL;
    g_autofree char *uri = NULL;
    int fd = socket(AF_INET, SOCK_STREAM, 0), other = dup(fd);
    Accepted a = {.channels = g_ptr_array_new_with_free_func(g_object_unref)};
    QIOChannelSocket *c;

    g_assert_null(net_listener_new_fd(fd, on_accept, &a, &err));
    g_assert_true(g_str_has_suffix(err->message, "not a listening socket"));
    g_assert_cmpint(listen(fd, 1), ==, 0);
    a.l = net_listener_new_fd(fd, on_accept, &a, NULL);
    g_assert_nonnull(a.l);
    uri = g_strdup_printf("tcp:127.0.0.1:%d", port_of(a.l));
    addr = socket_address_parse(uri, NULL);
    c = io_channel_socket_connect_sync(addr, NULL);
    g_assert_nonnull(c);
    wait_accepted(&a, 1);
    g_object_unref(c);
    accepted_clear(&a);
    close(other);
}

/* ---- asynchronous connect ---- */

typedef struct {
    unsigned calls;
    QIOChannelSocket *ioc;
    GError *err;
} Connected;

static void on_connect(QIOChannelSocket *ioc, GError *err, void *opaque)
{
    Connected *c = opaque;

    c->calls++;
    c->ioc = ioc;
    c->err = err;
}

static void wait_connected(Connected *c)
{
    g_assert_cmpuint(c->calls, ==, 0); /* never before connect_async() returns */
    while (!c->calls) {
        g_main_context_iteration(NULL, TRUE);
    }
}

static void test_async(void)
{
    g_autoptr(SocketAddress) refused = socket_address_parse("tcp:127.0.0.1:1", NULL);
    g_autoptr(SocketAddress) addr = NULL;
    g_autofree char *uri = NULL;
    Connected ok = {0}, bad = {0};
    Accepted a;

    accepted_init(&a, "tcp:127.0.0.1:0");
    uri = g_strdup_printf("tcp:127.0.0.1:%d", port_of(a.l));
    addr = socket_address_parse(uri, NULL);
    io_channel_socket_connect_async(addr, NULL, on_connect, &ok);
    io_channel_socket_connect_async(refused, NULL, on_connect, &bad);
    wait_connected(&ok);
    g_assert_no_error(ok.err);
    g_object_unref(ok.ioc);
    while (!bad.calls) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_cmpstr(bad.err->message, ==, "Failed to connect to '127.0.0.1:1': Connection refused");
    g_error_free(bad.err);
    accepted_clear(&a);
}

/* A listener whose backlog is full keeps the next client waiting; cancel ends that. */
static void test_async_cancel(void)
{
    g_autofree char *path = tmp_path("full");
    g_autofree char *uri = g_strconcat("unix:", path, NULL);
    g_autoptr(SocketAddress) addr = socket_address_parse(uri, NULL);
    g_autoptr(GCancellable) cancel = g_cancellable_new();
    QIOChannelSocket *first;
    Connected c = {0};
    Accepted a = {.channels = g_ptr_array_new_with_free_func(g_object_unref)};

    a.l = net_listener_new(addr, 0, on_accept, &a, NULL);
    first =
        io_channel_socket_connect_sync(addr, NULL); /* the main loop does not run: not accepted */
    g_assert_nonnull(first);
    io_channel_socket_connect_async(addr, cancel, on_connect, &c);
    g_cancellable_cancel(cancel);
    wait_connected(&c);
    g_assert_null(c.ioc);
    g_assert_nonnull(c.err);
    g_error_free(c.err);
    for (int i = 0; i < 20; i++) {
        g_main_context_iteration(NULL, FALSE);
    }
    g_assert_cmpuint(c.calls, ==, 1);
    g_object_unref(first);
    accepted_clear(&a);
    unlink(path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/socket/shutdown", test_shutdown);
    g_test_add_func("/socket/peek", test_peek);
    g_test_add_func("/socket/backlog", test_backlog);
    g_test_add_func("/socket/fd-pass", test_fd_pass);
    g_test_add_func("/socket/not-a-socket", test_not_a_socket);
    g_test_add_func("/socket/listen/address-lists", test_address_lists);
    g_test_add_func("/socket/listen/both-families", test_both_families);
    g_test_add_func("/socket/listen/port-range", test_port_range);
    g_test_add_func("/socket/listen/free-in-callback", test_free_in_callback);
    g_test_add_func("/socket/listen/inherited", test_inherited);
    g_test_add_func("/socket/tcp", test_tcp);
    g_test_add_func("/socket/local-buffers", test_local_buffers);
    g_test_add_func("/socket/unix", test_unix);
    g_test_add_func("/socket/abstract", test_abstract);
    g_test_add_func("/socket/failures", test_failures);
    g_test_add_func("/socket/async", test_async);
    g_test_add_func("/socket/async-cancel", test_async_cancel);
    return g_test_run();
}
