/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening and accepting channels by URI: spec 35 sections 1 to 5, one process plays both ends. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "io/channel-socket.h"
#include "io/socket-address.h"
#include "migration/transport/transport.h"
#include "util/error.h"

/* ---- a host that knows descriptors and files ---- */

static int fake_take_fd(MigrationHost *h, const char *name, bool allow_number, GError **errp)
{
    int *fd = h->opaque, found = *fd;

    if (allow_number && g_ascii_isdigit(name[0])) {
        return atoi(name);
    }
    if (found < 0 || strcmp(name, "stream") != 0) {
        error_setg(errp, "File descriptor named '%s' has not been found", name);
        return -1;
    }
    *fd = -1;
    return found;
}

static int fake_open_file(MigrationHost *h, const char *path, int flags, int mode, GError **errp)
{
    int fd = open(path, flags | O_CLOEXEC, mode);

    if (fd < 0) {
        error_setg_errno(errp, errno, "Could not open '%s'", path);
    }
    return fd;
}

static const MigrationHostOps fake_ops = {.take_fd = fake_take_fd, .open_file = fake_open_file};

static unsigned count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    while (readdir(dir)) {
        n++;
    }
    closedir(dir);
    return n;
}

static char *tmp_path(const char *name)
{
    return g_strdup_printf("%s/godwit-transport-%s-%d", g_get_tmp_dir(), name, getpid());
}

/* ---- source side ---- */

typedef struct {
    unsigned calls;
    QIOChannel *ioc;
    GError *err;
} Outcome;

static void on_connect(QIOChannel *ioc, GError *err, void *opaque)
{
    Outcome *o = opaque;

    o->calls++;
    o->ioc = ioc;
    o->err = err;
}

static void connect_uri(const char *uri, int fd, Outcome *o)
{
    MigrationHost host = {.ops = &fake_ops, .opaque = &fd};
    g_autoptr(MigrationTransport) t = transport_parse_uri(uri, NULL);

    *o = (Outcome){0};
    g_assert_nonnull(t);
    if (!transport_connect(t, &host, on_connect, o, &o->err)) {
        g_assert_nonnull(o->err);
        return;
    }
    g_assert_cmpuint(o->calls, ==, 0);
    g_clear_pointer(&t, transport_free);
    while (!o->calls) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_true(!o->ioc != !o->err);
}

static void expect_connect_error(const char *uri, const char *text)
{
    Outcome o;

    connect_uri(uri, -1, &o);
    g_assert_null(o.ioc);
    g_assert_cmpstr(o.err->message, ==, text);
    g_error_free(o.err);
}

/* ---- destination side ---- */

typedef struct {
    GPtrArray *channels;
    GArray *magics;
    TransportListener *l;
    int fd;
    MigrationHost host;
    bool free_in_accept;
} Incoming;

static void on_accept(TransportListener *l, QIOChannel *ioc, uint32_t magic, void *opaque)
{
    Incoming *in = opaque;

    g_ptr_array_add(in->channels, ioc);
    g_array_append_val(in->magics, magic);
    if (in->free_in_accept) {
        transport_listener_free(l);
        in->l = NULL;
    }
}

static bool incoming_listen(Incoming *in, const char *uri, int fd, bool silent, GError **errp)
{
    TransportAcceptor acceptor = {.accept = on_accept, .opaque = in, .silent = silent};
    g_autoptr(MigrationTransport) t = transport_parse_uri(uri, errp);

    *in = (Incoming){.fd = fd};
    in->channels = g_ptr_array_new_with_free_func(g_object_unref);
    in->magics = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    in->host = (MigrationHost){.ops = &fake_ops, .opaque = &in->fd};
    g_assert_nonnull(t);
    in->l = transport_listen(t, &in->host, 1, &acceptor, errp);
    g_assert_cmpuint(in->channels->len, ==, 0);
    return in->l;
}

static void incoming_wait(Incoming *in, unsigned n)
{
    while (in->channels->len < n) {
        g_main_context_iteration(NULL, TRUE);
    }
}

static void incoming_clear(Incoming *in)
{
    transport_listener_free(in->l);
    g_ptr_array_unref(in->channels);
    g_array_unref(in->magics);
}

static SocketAddress *bound_address(Incoming *in)
{
    g_autoptr(GPtrArray) list = transport_listener_addresses(in->l);

    g_assert_cmpuint(list->len, ==, 1);
    return qapi_clone_SocketAddress(g_ptr_array_index(list, 0));
}

static void check_stream(QIOChannel *out, QIOChannel *in)
{
    char buf[10];

    g_assert_true(io_channel_write_all(out, "QEVMstream", 10, NULL));
    g_assert_true(io_channel_close(out, NULL));
    g_assert_true(io_channel_read_all(in, buf, 10, NULL));
    g_assert_cmpmem(buf, 10, "QEVMstream", 10);
    g_assert_cmpint(io_channel_read(in, buf, 1, NULL), ==, 0);
}

/* ---- addresses ---- */

static void test_uris(void)
{
    static const struct {
        const char *uri;
        unsigned flags;
        const char *json, *hostname;
    } rows[] = {
        {"tcp:[::1]:7", TRANSPORT_RETURN_PATH | TRANSPORT_MULTI_CHANNEL | TRANSPORT_PUBLIC,
         "{\"transport\":\"socket\",\"type\":\"inet\",\"host\":\"::1\",\"port\":\"7\"}", "::1"},
        {"unix:/a,b=c", TRANSPORT_RETURN_PATH | TRANSPORT_MULTI_CHANNEL | TRANSPORT_PUBLIC,
         "{\"transport\":\"socket\",\"type\":\"unix\",\"path\":\"/a,b=c\"}", NULL},
        {"vsock:1:2", TRANSPORT_RETURN_PATH | TRANSPORT_MULTI_CHANNEL | TRANSPORT_PUBLIC,
         "{\"transport\":\"socket\",\"type\":\"vsock\",\"cid\":\"1\",\"port\":\"2\"}", NULL},
        {"fd:stream", TRANSPORT_RETURN_PATH,
         "{\"transport\":\"socket\",\"type\":\"fd\",\"str\":\"stream\"}", NULL},
        {"exec:cat >f", TRANSPORT_RETURN_PATH,
         "{\"transport\":\"exec\",\"args\":[\"/bin/sh\",\"-c\",\"cat >f\"]}", NULL},
        {"file:/f", TRANSPORT_SEEKABLE, "{\"transport\":\"file\",\"filename\":\"/f\",\"offset\":0}",
         NULL},
        {"rdma:10.0.0.1:7", TRANSPORT_RETURN_PATH,
         "{\"transport\":\"rdma\",\"host\":\"10.0.0.1\",\"port\":\"7\"}", NULL},
        {"rdma:[fd00::1]:7", TRANSPORT_RETURN_PATH,
         "{\"transport\":\"rdma\",\"host\":\"fd00::1\",\"port\":\"7\"}", NULL},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) err = NULL;
        g_autoptr(MigrationTransport) t = transport_parse_uri(rows[i].uri, &err), t2 = NULL;
        g_autoptr(JsonNode) node = NULL;
        g_autofree char *json = NULL;

        g_assert_no_error(err);
        g_assert_cmpuint(transport_flags(t), ==, rows[i].flags);
        g_assert_cmpstr(transport_name(t), ==, rows[i].uri);
        g_assert_cmpstr(transport_hostname(t), ==, rows[i].hostname);
        node = qapi_MigrationAddress_to_json(transport_address(t));
        json = json_to_string(node, FALSE);
        g_assert_cmpstr(json, ==, rows[i].json);
        t2 = transport_new_from_address(transport_address(t), &err);
        g_assert_no_error(err);
        g_assert_cmpstr(transport_name(t2), ==, rows[i].uri);
    }
}

static void test_file_offsets(void)
{
    static const struct {
        const char *uri, *path;
        uint64_t offset;
    } rows[] = {
        {"file:/f,offset=4096", "/f", 4096},
        {"file:/f,offset=0x1000", "/f", 4096},
        {"file:/f,offset=4k", "/f", 4096},
        {"file:/f,offset=20M", "/f", 20 * MiB},
        {"file:/f,g", "/f,g", 0},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(MigrationTransport) t = transport_parse_uri(rows[i].uri, NULL);
        const MigrationAddress *a = transport_address(t);

        g_assert_cmpstr(a->u.file->filename, ==, rows[i].path);
        g_assert_cmpuint(a->u.file->offset, ==, rows[i].offset);
    }
}

static void test_bad_uris(void)
{
    static const struct {
        const char *uri, *error;
    } rows[] = {
        {"bogus:x", "unknown migration protocol: bogus:x"},
        {"bogus", "unknown migration protocol: bogus"},
        {"", "unknown migration protocol: "},
        {"TCP:h:1", "unknown migration protocol: TCP:h:1"},
        {"tcp:127.0.0.1", "error parsing address '127.0.0.1'"},
        {"unix:", "invalid Unix socket address"},
        {"vsock:1", "error parsing address '1'"},
        {"rdma:10.0.0.1", "error parsing address '10.0.0.1'"},
        {"rdma::7", "rdma: needs the address of an RDMA interface"},
        {"exec:", "exec: needs a command"},
        {"exec:  ", "exec: needs a command"},
        {"fd:", "fd: needs the name of a descriptor"},
        {"file:", "file: needs a path"},
        {"file:,offset=1", "file: needs a path"},
        {"file:/f,offset=0x20M", "file URI has bad offset 0x20M"},
        {"file:/f,offset=", "file URI has bad offset "},
        {"file:/f,offset=1,offset=2", "file URI has bad offset 1,offset=2"},
        {"file:/f,offset=0xffffffffffffffff", "file URI has bad offset 18446744073709551615"},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) err = NULL;

        g_assert_null(transport_parse_option(rows[i].uri, &err));
        g_assert_cmpstr(err->message, ==, rows[i].error);
    }
}

static void test_args(void)
{
    g_autoptr(GPtrArray) list = qapi_list_new_MigrationChannel();
    g_autoptr(MigrationTransport) model = transport_parse_uri("exec:true", NULL), t = NULL;
    g_autoptr(GError) err = NULL;

    g_assert_null(transport_parse_args(NULL, NULL, &err));
    g_assert_cmpstr(err->message, ==, "need either 'uri' or 'channels' argument");
    g_clear_error(&err);
    g_assert_null(transport_parse_args("exec:true", list, &err));
    g_assert_cmpstr(err->message, ==, "need either 'uri' or 'channels' argument");
    g_clear_error(&err);
    g_assert_null(transport_parse_args(NULL, list, &err));
    g_assert_cmpstr(err->message, ==, "Channel list has no main entry");
    g_clear_error(&err);
    for (int i = 0; i < 2; i++) {
        MigrationChannel *c = g_new0(MigrationChannel, 1);

        c->channel_type = MIGRATION_CHANNEL_TYPE_MAIN;
        c->addr = qapi_clone_MigrationAddress(transport_address(model));
        g_ptr_array_add(list, c);
        g_clear_pointer(&t, transport_free);
        t = transport_parse_args(NULL, list, i ? &err : NULL);
        g_assert_true((t == NULL) == (i == 1));
    }
    g_assert_cmpstr(err->message, ==, "Channel list has more than one main entry");
}

static void test_option(void)
{
    static const struct {
        const char *text, *name;
        uint64_t offset;
    } rows[] = {
        {"tcp:h:1", "tcp:h:1"},
        {"exec:echo a=b", "exec:echo a=b"},
        {"{\"channel-type\":\"main\",\"addr\":{\"transport\":\"file\",\"filename\":\"/f\","
         "\"offset\":4096}}",
         "file:/f", 4096},
        {"main,addr.transport=file,addr.filename=/f,addr.offset=4k", "file:/f", 4096},
        {"main,addr.transport=socket,addr.type=unix,addr.path=/p", "unix:/p"},
        {"channel-type=main,addr.transport=socket,addr.type=inet,addr.host=h,addr.port=1,"
         "addr.ipv4=on,addr.to=9",
         "tcp:h:1"},
        {"main,addr.transport=exec,addr.args.0=/bin/sh,addr.args.1=-c,addr.args.2=cat f",
         "exec:cat f"},
    };
    static const char *const bad[] = {
        "{\"addr\":{}}",
        "{\"channel-type\":\"main\",\"addr\":{\"transport\":\"file\",\"filename\":\"/f\"}}",
        "main,addr.transport=socket,addr.type=inet,addr.host=h,addr.port=1,addr.ipv4=maybe",
        "main,addr=x",
        "main,addr.transport=exec",
        "{\"channel-type\":\"main\",\"addr\":{\"transport\":\"exec\",\"args\":[]}}",
        "{",
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) err = NULL;
        g_autoptr(MigrationTransport) t = transport_parse_option(rows[i].text, &err);

        g_assert_no_error(err);
        g_assert_cmpstr(transport_name(t), ==, rows[i].name);
        if (rows[i].offset) {
            g_assert_cmpuint(transport_address(t)->u.file->offset, ==, rows[i].offset);
        }
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) err = NULL;

        g_assert_null(transport_parse_option(bad[i], &err));
        g_assert_nonnull(err);
    }
}

/* ---- sockets ---- */

static void test_socket(void)
{
    g_autofree char *path = tmp_path("s");
    g_autofree char *uri = g_strconcat("unix:", path, NULL);
    QIOChannel *server;
    Incoming in;
    Outcome o;
    char four[4];

    g_assert_true(incoming_listen(&in, uri, -1, false, NULL));
    connect_uri(uri, -1, &o);
    g_assert_no_error(o.err);
    g_assert_cmpstr(io_channel_name(o.ioc), ==, uri);
    g_assert_true(io_channel_write_all(o.ioc, "QE", 2, NULL)); /* the magic in two pieces */
    while (g_main_context_iteration(NULL, FALSE)) {
    }
    g_assert_cmpuint(in.channels->len, ==, 0);
    g_assert_true(io_channel_write_all(o.ioc, "VM", 2, NULL));
    incoming_wait(&in, 1);
    g_assert_cmphex(g_array_index(in.magics, uint32_t, 0), ==, 0x5145564d);
    /* not consumed */
    server = g_ptr_array_index(in.channels, 0);
    g_assert_true(io_channel_read_all(server, four, 4, NULL));
    g_assert_cmpmem(four, 4, "QEVM", 4);
    check_stream(o.ioc, server);
    g_object_unref(o.ioc);
    incoming_clear(&in);
    unlink(path);
}

static void test_socket_errors(void)
{
    g_autoptr(GError) err = NULL;
    Incoming in;

    expect_connect_error("tcp:127.0.0.1:1",
                         "Failed to connect to '127.0.0.1:1': Connection refused");
    expect_connect_error("unix:/nonexistent/s",
                         "Failed to connect to '/nonexistent/s': No such file or directory");
    g_assert_false(incoming_listen(&in, "unix:/nonexistent/s", -1, false, &err));
    g_assert_cmpstr(err->message, ==,
                    "Failed to bind socket to /nonexistent/s: No such file or directory");
    incoming_clear(&in);
}

/* Scanners come and go; the real peer is still served, and a rejected one does not end the
 * listener. */
static void test_strangers(void)
{
    g_autoptr(SocketAddress) addr = NULL;
    QIOChannelSocket *scan, *idle, *wrong, *real;
    unsigned before = count_fds();
    Incoming in;

    g_assert_true(incoming_listen(&in, "tcp:127.0.0.1:0", -1, false, NULL));
    addr = bound_address(&in);
    scan = io_channel_socket_connect_sync(addr, NULL);
    io_channel_close(IO_CHANNEL(scan), NULL);
    g_object_unref(scan);
    idle = io_channel_socket_connect_sync(addr, NULL); /* never says anything */
    wrong = io_channel_socket_connect_sync(addr, NULL);
    g_assert_true(io_channel_write_all(IO_CHANNEL(wrong), "GET / HTTP/1.0\r\n", 16, NULL));
    incoming_wait(&in, 1);
    g_assert_cmphex(g_array_index(in.magics, uint32_t, 0), ==, 0x47455420);
    g_assert_true(transport_listener_reject(in.l, g_object_ref(g_ptr_array_index(in.channels, 0)),
                                            "bad magic"));
    g_assert_cmpint(io_channel_read(IO_CHANNEL(wrong), (char[1]){0}, 1, NULL), <=, 0);

    real = io_channel_socket_connect_sync(addr, NULL);
    g_assert_nonnull(real);
    g_assert_true(io_channel_write_all(IO_CHANNEL(real), "QEVM", 4, NULL));
    incoming_wait(&in, 2);
    g_assert_cmphex(g_array_index(in.magics, uint32_t, 1), ==, 0x5145564d);
    g_object_unref(idle);
    g_object_unref(wrong);
    g_object_unref(real);
    incoming_clear(&in);
    g_assert_cmpuint(count_fds(), ==, before);
}

/* More silent peers than the lobby holds: descriptors stay bounded and the real one gets in. */
static void test_crowd(void)
{
    g_autoptr(GPtrArray) crowd = g_ptr_array_new_with_free_func(g_object_unref);
    g_autoptr(SocketAddress) addr = NULL;
    QIOChannelSocket *real;
    unsigned before;
    Incoming in;

    g_assert_true(incoming_listen(&in, "tcp:127.0.0.1:0", -1, false, NULL));
    addr = bound_address(&in);
    before = count_fds();
    for (int i = 0; i < 100; i++) {
        g_ptr_array_add(crowd, io_channel_socket_connect_sync(addr, NULL));
        while (g_main_context_iteration(NULL, FALSE)) {
        }
    }
    real = io_channel_socket_connect_sync(addr, NULL);
    g_assert_true(io_channel_write_all(IO_CHANNEL(real), "QEVM", 4, NULL));
    incoming_wait(&in, 1);
    g_assert_cmpuint(count_fds(), <=, before + 101 + 65);
    g_object_unref(real);
    incoming_clear(&in);
}

static void test_silent(void)
{
    g_autoptr(SocketAddress) addr = NULL;
    QIOChannelSocket *a, *b;
    Incoming in;

    g_assert_true(incoming_listen(&in, "tcp:127.0.0.1:0", -1, false, NULL));
    addr = bound_address(&in);
    a = io_channel_socket_connect_sync(addr, NULL);
    for (int i = 0; i < 10; i++) {
        g_main_context_iteration(NULL, FALSE);
    }
    g_assert_cmpuint(in.channels->len, ==, 0);
    transport_listener_set_silent(in.l, true);
    g_assert_cmpuint(in.channels->len, ==, 0);
    incoming_wait(&in, 1); /* who was waiting already */
    b = io_channel_socket_connect_sync(addr, NULL);
    incoming_wait(&in, 2); /* and who comes later */
    g_assert_cmphex(g_array_index(in.magics, uint32_t, 1), ==, 0);
    g_object_unref(a);
    g_object_unref(b);
    incoming_clear(&in);
}

static void test_free_in_accept(void)
{
    g_autoptr(SocketAddress) addr = NULL;
    QIOChannelSocket *a, *b;
    Incoming in;

    g_assert_true(incoming_listen(&in, "tcp:127.0.0.1:0", -1, false, NULL));
    in.free_in_accept = true;
    addr = bound_address(&in);
    a = io_channel_socket_connect_sync(addr, NULL);
    b = io_channel_socket_connect_sync(addr, NULL);
    g_assert_true(io_channel_write_all(IO_CHANNEL(b), "QEVM", 4, NULL));
    incoming_wait(&in, 1);
    g_assert_null(in.l);
    g_object_unref(a);
    g_object_unref(b);
    incoming_clear(&in);
}

static void test_cancel(void)
{
    static const char *const uris[] = {"tcp:127.0.0.1:1", "exec:cat >/dev/null"};
    int none = -1;
    MigrationHost host = {.ops = &fake_ops, .opaque = &none};
    unsigned before = count_fds();
    Outcome o = {0};

    transport_connection_cancel(NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(uris); i++) {
        g_autoptr(MigrationTransport) t = transport_parse_uri(uris[i], NULL);
        TransportConnection *c = transport_connect(t, &host, on_connect, &o, NULL);

        g_assert_nonnull(c);
        transport_connection_cancel(c);
    }
    while (count_fds() > before || g_main_context_iteration(NULL, FALSE)) {
        g_usleep(1000);
    }
    g_assert_cmpuint(o.calls, ==, 0);
}

/* ---- fd ---- */

static void test_fd_kinds(void)
{
    for (int kind = 0; kind < 2; kind++) {
        int fds[2];
        Incoming in;
        Outcome o;

        if (kind == 0) {
            g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
        } else {
            g_assert_cmpint(pipe(fds), ==, 0);
        }
        g_assert_true(incoming_listen(&in, "fd:stream", fds[0], false, NULL));
        g_assert_null(transport_listener_addresses(in.l));
        connect_uri("fd:stream", fds[1], &o);
        g_assert_no_error(o.err);
        g_assert_cmpint(io_channel_has_feature(o.ioc, IO_FEATURE_BIDIRECTIONAL), ==, kind == 0);
        incoming_wait(&in, 1);
        check_stream(o.ioc, g_ptr_array_index(in.channels, 0));
        g_assert_false(transport_listener_reject(
            in.l, g_object_ref(g_ptr_array_index(in.channels, 0)), "test"));
        g_object_unref(o.ioc);
        incoming_clear(&in);
    }
}

/* A regular file: from the current position on, what is before stays (spec 35 section 3). */
static void test_fd_file(void)
{
    g_autofree char *path = tmp_path("fdfile"), *text = NULL;
    Incoming in;
    Outcome o;
    int fd;

    g_assert_true(g_file_set_contents(path, "headTAIL", 8, NULL));
    fd = open(path, O_RDWR);
    lseek(fd, 4, SEEK_SET);
    connect_uri("fd:stream", fd, &o);
    g_assert_no_error(o.err);
    g_assert_true(io_channel_write_all(o.ioc, "QEVMstream", 10, NULL));
    g_object_unref(o.ioc);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "headQEVMstream");

    fd = open(path, O_RDONLY);
    lseek(fd, 4, SEEK_SET);
    g_assert_true(incoming_listen(&in, "fd:stream", fd, false, NULL));
    incoming_wait(&in, 1);
    g_assert_cmpint(io_channel_read(g_ptr_array_index(in.channels, 0), (char[16]){0}, 16, NULL), ==,
                    10);
    incoming_clear(&in);
    unlink(path);
}

static void test_fd_errors(void)
{
    g_autoptr(GError) err = NULL;
    unsigned before = count_fds();
    Incoming in;
    Outcome o;
    int fd;

    expect_connect_error("fd:nosuch", "File descriptor named 'nosuch' has not been found");
    expect_connect_error("fd:0", "File descriptor named '0' has not been found");
    connect_uri("fd:stream", open("/dev/null", O_RDONLY), &o);
    g_assert_cmpstr(o.err->message, ==, "File descriptor 'stream' is not open for writing");
    g_error_free(o.err);
    fd = open("/dev/null", O_WRONLY);
    g_assert_false(incoming_listen(&in, "fd:stream", fd, false, &err));
    g_assert_cmpstr(err->message, ==, "File descriptor 'stream' is not open for reading");
    g_clear_error(&err);
    incoming_clear(&in);
    g_assert_false(incoming_listen(&in, "fd:9999", -1, false, &err));
    g_assert_cmpstr(err->message, ==, "Invalid file descriptor number '9999'");
    g_clear_error(&err);
    incoming_clear(&in);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    g_assert_cmpint(bind(fd, &(struct sockaddr){.sa_family = AF_UNIX}, sizeof(sa_family_t)), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    g_assert_false(incoming_listen(&in, "fd:stream", fd, false, &err));
    g_assert_nonnull(strstr(err->message, "is a listening socket"));
    incoming_clear(&in);
    g_assert_cmpuint(count_fds(), ==, before);
}

/* ---- exec and file ---- */

static void wait_no_children(void)
{
    siginfo_t info;

    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0) {
        g_usleep(1000);
    }
}

static void test_exec(void)
{
    g_autofree char *path = tmp_path("exec");
    g_autofree char *out = g_strdup_printf("exec:cat >%s", path);
    g_autofree char *back = g_strdup_printf("exec:cat %s", path);
    unsigned before = count_fds();
    Incoming in;
    Outcome o;
    char buf[10];

    connect_uri(out, -1, &o);
    g_assert_no_error(o.err);
    g_assert_true(io_channel_write_all(o.ioc, "QEVMstream", 10, NULL));
    io_channel_close(o.ioc, NULL);
    g_object_unref(o.ioc);
    wait_no_children();
    g_assert_true(incoming_listen(&in, back, -1, false, NULL));
    incoming_wait(&in, 1);
    g_assert_true(io_channel_read_all(g_ptr_array_index(in.channels, 0), buf, 10, NULL));
    g_assert_cmpmem(buf, 10, "QEVMstream", 10);
    incoming_clear(&in);
    wait_no_children();
    g_assert_cmpuint(count_fds(), ==, before);
    unlink(path);
}

static void test_file(void)
{
    g_autofree char *path = tmp_path("file"), *text = NULL;
    g_autofree char *uri = g_strdup_printf("file:%s,offset=8", path);
    g_autofree char *fresh = g_strdup_printf("file:%s", path);
    struct stat st;
    char buf[10];
    Incoming in;
    Outcome o;
    gsize len;

    /* the first 8 bytes are management's, what follows is dropped */
    g_assert_true(g_file_set_contents(path, "headhead and a lot of old text", -1, NULL));
    connect_uri(uri, -1, &o);
    g_assert_no_error(o.err);
    g_assert_true(io_channel_has_feature(o.ioc, IO_FEATURE_SEEKABLE));
    g_assert_true(io_channel_write_all(o.ioc, "QEVMstream", 10, NULL));
    g_object_unref(o.ioc);
    g_assert_true(g_file_get_contents(path, &text, &len, NULL));
    g_assert_cmpmem(text, len, "headheadQEVMstream", 18);

    g_assert_true(incoming_listen(&in, uri, -1, false, NULL));
    incoming_wait(&in, 1);
    g_assert_true(io_channel_read_all(g_ptr_array_index(in.channels, 0), buf, 10, NULL));
    g_assert_cmpmem(buf, 10, "QEVMstream", 10);
    incoming_clear(&in);

    /* a new file is private, and there when it is whole */
    unlink(path);
    connect_uri(fresh, -1, &o);
    g_assert_no_error(o.err);
    g_assert_cmpint(stat(path, &st), <, 0);
    g_assert_true(io_channel_publish(o.ioc, NULL));
    g_object_unref(o.ioc);
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmphex(st.st_mode & 0777, ==, 0600);
    unlink(path);
}

/* A save that ends early leaves what was there; a whole one takes its place, mode and all. */
static void test_file_replaced(void)
{
    g_autofree char *dir = g_dir_make_tmp("godwit-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "state", NULL);
    g_autofree char *link = g_build_filename(dir, "link", NULL);
    g_autofree char *uri = g_strdup_printf("file:%s", link);
    struct stat st;
    Outcome o;

    g_assert_true(g_file_set_contents(path, "old", -1, NULL));
    g_assert_cmpint(chmod(path, 0640), ==, 0);
    g_assert_cmpint(symlink("state", link), ==, 0);
    for (int whole = 0; whole < 2; whole++) {
        g_autofree char *text = NULL;

        connect_uri(uri, -1, &o);
        g_assert_no_error(o.err);
        g_assert_true(io_channel_write_all(o.ioc, "QEVMstream", 10, NULL));
        if (whole) {
            g_assert_true(io_channel_publish(o.ioc, NULL));
        }
        io_channel_close(o.ioc, NULL);
        g_object_unref(o.ioc);
        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        g_assert_cmpstr(text, ==, whole ? "QEVMstream" : "old");
    }
    g_assert_cmpint(lstat(link, &st), ==, 0);
    g_assert_true(S_ISLNK(st.st_mode));
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmphex(st.st_mode & 0777, ==, 0640);
    unlink(link);
    unlink(path);
    g_assert_cmpint(rmdir(dir), ==, 0); /* nothing is left behind */
}

static void test_file_errors(void)
{
    unsigned before = count_fds();
    g_autoptr(GError) err = NULL;
    Incoming in;

    for (int i = 0; i < 5; i++) {
        expect_connect_error("file:/dev/full",
                             "failed to truncate migration file to offset 0: Invalid argument");
    }
    expect_connect_error("file:/nonexistent/f",
                         "Could not open '/nonexistent/f': No such file or directory");
    g_assert_false(incoming_listen(&in, "file:/nonexistent/f", -1, false, &err));
    incoming_clear(&in);
    g_assert_cmpuint(count_fds(), ==, before);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/transport/uris", test_uris);
    g_test_add_func("/transport/uris/file-offsets", test_file_offsets);
    g_test_add_func("/transport/uris/bad", test_bad_uris);
    g_test_add_func("/transport/args", test_args);
    g_test_add_func("/transport/option", test_option);
    g_test_add_func("/transport/socket", test_socket);
    g_test_add_func("/transport/socket/errors", test_socket_errors);
    g_test_add_func("/transport/socket/strangers", test_strangers);
    g_test_add_func("/transport/socket/crowd", test_crowd);
    g_test_add_func("/transport/socket/silent", test_silent);
    g_test_add_func("/transport/socket/free-in-accept", test_free_in_accept);
    g_test_add_func("/transport/cancel", test_cancel);
    g_test_add_func("/transport/fd/kinds", test_fd_kinds);
    g_test_add_func("/transport/fd/file", test_fd_file);
    g_test_add_func("/transport/fd/errors", test_fd_errors);
    g_test_add_func("/transport/exec", test_exec);
    g_test_add_func("/transport/file", test_file);
    g_test_add_func("/transport/file/replaced", test_file_replaced);
    g_test_add_func("/transport/file/errors", test_file_errors);
    return g_test_run();
}
