/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character devices: each kind, the short forms, flow control, descriptors, threads (spec 71
 * section 3). */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include "chardev-front.h"
#include "io/channel-file.h"

/* ---- the list and its errors ---- */

static void test_errors(void)
{
    static const struct {
        const char *options, *error;
    } rows[] = {
        {"id=a", "chardev: no backend specified"},
        {"bogus,id=a", "'bogus' is not a valid char driver name"},
        {"null", "chardev: no id specified"},
        {"null,id=taken", "Duplicate ID 'taken' for chardev"},
        {"null,id=1a", "Parameter 'id' expects an identifier: letters, digits, '-', '.', '_', "
                       "starting with a letter"},
        {"null,id=a,foo=1", "Invalid parameter 'foo'"},
        {"file,id=a", "chardev: file: no path given"},
        {"file,id=a,path=/nonexistent/x",
         "Could not open '/nonexistent/x': No such file or directory"},
        {"pipe,id=a,path=/nonexistent/x",
         "Could not open '/nonexistent/x': No such file or directory"},
        {"null,id=a,logfile=/nonexistent/x",
         "Could not open '/nonexistent/x': No such file or directory"},
        {"ringbuf,id=a,size=1000", "size of ringbuf chardev must be power of two"},
        {"ringbuf,id=a,size=4G", "size of ringbuf chardev must not exceed 1 GiB"},
        {"socket,id=a", "chardev: socket: exactly one of 'path', 'host' and 'fd' is required"},
        {"socket,id=a,path=x,host=h,port=1",
         "chardev: socket: exactly one of 'path', 'host' and 'fd' is required"},
        {"socket,id=a,host=h", "chardev: socket: no port given"},
        {"socket,id=a,path=/nonexistent/x",
         "Failed to connect to '/nonexistent/x': No such file or directory"},
        {"socket,id=a,path=/p,wait=off",
         "'wait' option is incompatible with socket in client connect mode"},
        {"socket,id=a,path=/p,server=on,reconnect=3",
         "'reconnect' option is incompatible with socket in server listen mode"},
        {"socket,id=a,fd=x", "Invalid file descriptor number 'x'"},
        {"socket,id=a,fd=7777,server=on,wait=off", "Invalid file descriptor number '7777'"},
        {"socket,id=a,path=/p,server=perhaps", "Parameter 'server' expects 'on' or 'off'"},
        {"socket,id=a,host=h,port=1,telnet=on",
         "chardev: socket: the telnet protocol is not supported"},
        {"fd,id=a", "chardev: fd: no fd given"},
    };
    static const char *const bad_short[] = {
        "bogus", "bogus:x", "stdio:x", "file", "file:", "unix", "unix:", "tcp:h", "fd", "null:x"};
    ChardevList *list = chardev_list_new();
    g_autoptr(GError) err = NULL;

    must_new(list, "null,id=taken");
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_assert_null(try_new(list, rows[i].options, &err));
        g_assert_cmpstr(err->message, ==, rows[i].error);
        g_clear_error(&err);
        g_assert_null(chardev_find(list, "a"));
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(bad_short); i++) {
        g_assert_null(chardev_new_short(list, "a", bad_short[i], &err));
        g_assert_nonnull(err);
        g_clear_error(&err);
    }
    g_assert_null(chardev_new_short(list, "a", "chardev:nosuch", &err));
    g_assert_cmpstr(err->message, ==, "chardev \"nosuch\" not found");
    g_clear_error(&err);
    g_assert_null(chardev_new_short(list, "a", "none", &err));
    g_assert_no_error(err);
    chardev_list_free(list);
}

static void count_one(Chardev *chr, void *opaque)
{
    ++*(unsigned *)opaque;
}

static void test_list(void)
{
    ChardevList *list = chardev_list_new();
    Chardev *a = must_new(list, "null,id=a");
    g_autoptr(GError) err = NULL;
    unsigned n = 0;
    Front f;

    front_init(&f);
    must_new(list, "null,id=b");
    g_assert_true(new_short(list, "x", "chardev:a") == a);
    chardev_foreach(list, count_one, &n);
    g_assert_cmpuint(n, ==, 2);
    g_assert_cmpstr(chardev_label(a), ==, "a");
    g_assert_true(chardev_attach(a, &f.fe, &f, NULL));
    g_assert_cmpstr(f.log->str, ==, "<");
    g_assert_false(chardev_attach(a, &f.fe, &f, &err));
    g_assert_cmpstr(err->message, ==, "Device 'a' is in use");
    g_clear_error(&err);
    g_assert_false(chardev_remove(list, "a", &err));
    g_assert_cmpstr(err->message, ==, "Chardev 'a' is busy");
    g_clear_error(&err);
    chardev_detach(a);
    g_assert_false(chardev_has_frontend(a));
    g_assert_true(chardev_remove(list, "a", &err));
    g_assert_false(chardev_remove(list, "a", &err));
    g_assert_cmpstr(err->message, ==, "Chardev 'a' not found");
    g_assert_null(chardev_find(list, "a"));
    g_assert_nonnull(chardev_find(list, "b"));
    chardev_list_free(list);
    front_clear(&f);
}

/* ---- memory and files ---- */

static void test_ringbuf(void)
{
    ChardevList *list = chardev_list_new();
    Chardev *r = must_new(list, "ringbuf,id=r,size=8"), *n = must_new(list, "null,id=n");
    char buf[16];

    g_assert_cmpuint(chardev_write(r, "abc", 3), ==, 3);
    g_assert_cmpuint(chardev_ringbuf_read(r, buf, 2), ==, 2);
    g_assert_cmpmem(buf, 2, "ab", 2);
    chardev_write_all(r, "0123456789", 10); /* only the last eight are kept */
    g_assert_cmpuint(chardev_ringbuf_read(r, buf, 16), ==, 8);
    g_assert_cmpmem(buf, 8, "23456789", 8);
    g_assert_cmpuint(chardev_ringbuf_read(r, buf, 16), ==, 0);
    g_assert_cmpuint(chardev_ringbuf_read(n, buf, 16), ==, 0);
    g_assert_cmpuint(chardev_write(n, "abc", 3), ==, 3);
    g_assert_true(chardev_is_open(n));
    expect_filename(r, "ringbuf");
    chardev_list_free(list);
}

static void expect_content(const char *path, const char *want)
{
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, want);
}

static void test_file(void)
{
    g_autofree char *path = tmp_path("file"), *in = tmp_path("in"), *log = tmp_path("log");
    g_autofree char *short_form = g_strconcat("file:", path, NULL);
    ChardevList *list = chardev_list_new();
    Chardev *chr;
    Front f;

    front_init(&f);
    g_assert_true(g_file_set_contents(path, "old", -1, NULL));
    chr = new_short(list, "serial0", short_form);
    expect_content(path, ""); /* emptied at creation, before any output */
    g_assert_cmpuint(chardev_write(chr, "one", 3), ==, 3);
    expect_content(path, "one");
    expect_filename(chr, "file");
    g_assert_true(chardev_remove(list, "serial0", NULL));

    g_assert_true(g_file_set_contents(in, "input", -1, NULL));
    chr = must_new(list, "file,id=f,path=%s,append=on,input-path=%s,logfile=%s", path, in, log);
    g_assert_true(chardev_attach(chr, &f.fe, &f, NULL));
    chardev_write_all(chr, "two", 3);
    expect_content(path, "onetwo");
    expect_content(log, "two");
    expect(&f, "<input");
    settle();
    g_assert_cmpuint(f.log->len, ==, 0); /* the end of the input is not the end of the device */
    g_assert_true(chardev_is_open(chr));
    chardev_write_all(chr, "!", 1);
    expect_content(path, "onetwo!");
    chardev_list_free(list);
    list = chardev_list_new();
    chr = must_new(list, "null,id=n,logfile=%s,logappend=on", log);
    chardev_write_all(chr, "+", 1);
    expect_content(log, "two!+");
    chardev_list_free(list);
    unlink(path);
    unlink(in);
    unlink(log);
    front_clear(&f);
}

/* A full disk costs the output, not the process, and the writer is not held up. */
static void test_full(void)
{
    ChardevList *list = chardev_list_new();
    Chardev *chr = must_new(list, "file,id=f,path=/dev/full");

    g_assert_cmpuint(chardev_write(chr, "abc", 3), ==, 3);
    g_assert_cmpuint(chardev_write(chr, "abc", 3), ==, 3);
    chardev_list_free(list);
}

static int open_fdset(void *opaque, const char *path, int flags, int mode, GError **errp)
{
    g_assert_cmpstr(path, ==, "/dev/fdset/0");
    g_assert_cmpint(flags & (O_WRONLY | O_APPEND), ==, O_WRONLY | O_APPEND);
    return dup(*(int *)opaque);
}

static void test_open_hook(void)
{
    g_autofree char *path = tmp_path("hook");
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    ChardevList *list = chardev_list_new();
    Chardev *chr;

    chardev_list_set_open_file(list, open_fdset, &fd);
    chr = must_new(list, "file,id=f,path=/dev/fdset/0,append=on");
    chardev_write_all(chr, "set", 3);
    expect_content(path, "set");
    chardev_list_free(list);
    close(fd);
    unlink(path);
}

static void test_pipe(void)
{
    g_autofree char *path = tmp_path("pipe");
    g_autofree char *in = g_strconcat(path, ".in", NULL), *out = g_strconcat(path, ".out", NULL);
    g_autofree char *short_form = g_strconcat("pipe:", path, NULL);
    ChardevList *list = chardev_list_new();
    int to, from;
    Chardev *chr;
    char buf[4];
    Front f;

    front_init(&f);
    g_assert_cmpint(mkfifo(in, 0600), ==, 0);
    g_assert_cmpint(mkfifo(out, 0600), ==, 0);
    chr = new_short(list, "p", short_form);
    g_assert_true(chardev_attach(chr, &f.fe, &f, NULL));
    to = open(in, O_WRONLY);
    from = open(out, O_RDONLY);
    g_assert_cmpint(write(to, "ping", 4), ==, 4);
    expect(&f, "<ping");
    chardev_write_all(chr, "pong", 4);
    g_assert_cmpint(read(from, buf, 4), ==, 4);
    g_assert_cmpmem(buf, 4, "pong", 4);
    close(to);
    close(from);
    chardev_list_free(list);
    unlink(in);
    unlink(out);
    front_clear(&f);
}

static void test_fd(void)
{
    ChardevList *list = chardev_list_new();
    int fds[2];
    char buf[2];
    Chardev *chr;

    g_assert_cmpint(pipe(fds), ==, 0);
    chr = must_new(list, "fd,id=f,fd=%d", fds[1]);
    chardev_write_all(chr, "hi", 2);
    g_assert_cmpint(read(fds[0], buf, 2), ==, 2);
    g_assert_cmpint(fcntl(fds[1], F_GETFD), ==, FD_CLOEXEC);
    chardev_list_free(list);
    g_assert_cmpint(read(fds[0], buf, 1), ==, 0); /* it was ours to close */
    close(fds[0]);
}

/* ---- flow control ---- */

static void test_backpressure(void)
{
    ChardevList *list = chardev_list_new();
    g_autofree char *block = g_strnfill(65536, 'x'), *sink = g_malloc(65536);
    size_t sent = 0, got = 0, n;
    QIOChannel *peer;
    Chardev *chr;
    int fds[2];
    Front f;

    front_init(&f);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    peer = IO_CHANNEL(io_channel_socket_new_fd(fds[0], NULL));
    chr = must_new(list, "fd,id=s,fd=%d", fds[1]);
    g_assert_true(chardev_attach(chr, &f.fe, &f, NULL));
    expect(&f, "<");

    /* input: not more than there is room for, the rest when asked */
    f.room = 3;
    g_assert_true(io_channel_write_all(peer, "abcdefg", 7, NULL));
    expect(&f, "abc");
    settle();
    g_assert_cmpuint(f.log->len, ==, 0);
    f.room = 2;
    chardev_accept_input(chr);
    expect(&f, "de");
    f.room = SIZE_MAX;
    chardev_accept_input(chr);
    expect(&f, "fg");

    /* output: short when full, told when not */
    do {
        n = chardev_write(chr, block, 65536);
        sent += n;
    } while (n == 65536);
    g_assert_cmpuint(chardev_write(chr, block, 10), ==, 0);
    settle();
    g_assert_cmpuint(f.log->len, ==, 0);
    chardev_write_all(chr, block, 65536); /* never short */
    chardev_write_all(chr, "end", 3);
    sent += 65536 + 3;
    while (got < sent) {
        ssize_t r = io_channel_read(peer, sink, MIN(65536, sent - got), NULL);

        g_assert_cmpint(r, >, 0);
        got += r;
        settle();
    }
    expect(&f, "!");
    chardev_list_free(list);
    g_object_unref(peer);
    front_clear(&f);
}

/* ---- another context ---- */

typedef struct {
    GMainContext *ctx;
    GMainLoop *loop;
} Io;

static void *io_thread(void *opaque)
{
    Io *io = opaque;

    g_main_context_push_thread_default(io->ctx);
    g_main_loop_run(io->loop);
    g_main_context_pop_thread_default(io->ctx);
    return NULL;
}

static gboolean quit_loop(void *opaque)
{
    g_main_loop_quit(opaque);
    return G_SOURCE_REMOVE;
}

static void wait_log(Front *f, const char *text)
{
    while (!front_has(f, text)) {
        g_main_context_iteration(NULL, FALSE);
        g_usleep(200);
    }
    g_mutex_lock(&f->lock);
    g_assert_true(f->thread != g_thread_self());
    g_string_truncate(f->log, 0);
    g_mutex_unlock(&f->lock);
}

static void test_context(void)
{
    g_autofree char *path = tmp_path("ctx"), *uri = g_strconcat("unix:", path, NULL);
    ChardevList *list = chardev_list_new();
    Chardev *chr = must_new(list, "socket,id=s,path=%s,server=on,wait=off", path);
    Io io = {.ctx = g_main_context_new()};
    GThread *t;
    Front f;

    front_init(&f);
    io.loop = g_main_loop_new(io.ctx, FALSE);
    g_assert_true(chardev_attach(chr, &f.fe, &f, NULL));
    chardev_set_context(chr, io.ctx);
    t = g_thread_new("io", io_thread, &io);
    for (int round = 0; round < 3; round++) {
        QIOChannel *c = client(uri);

        wait_log(&f, "<");
        g_assert_true(io_channel_write_all(c, "oob", 3, NULL));
        wait_log(&f, "oob");
        chardev_write_all(chr, "reply", 5); /* from the main thread meanwhile */
        g_assert_true(io_channel_read_all(c, (char[5]){0}, 5, NULL));
        g_object_unref(c);
        wait_log(&f, ">");
    }
    g_main_context_invoke(io.ctx, quit_loop, io.loop);
    g_thread_join(t);
    chardev_set_context(chr, NULL);
    chardev_list_free(list);
    g_main_loop_unref(io.loop);
    g_main_context_unref(io.ctx);
    unlink(path);
    front_clear(&f);
}

/* ---- terminals ---- */

static void test_pty(void)
{
    g_autofree char *link = tmp_path("pty"), *name = NULL;
    ChardevList *list = chardev_list_new();
    Chardev *chr = must_new(list, "pty,id=p,path=%s", link);
    struct termios t;
    char buf[4];
    Front f;
    int fd;

    front_init(&f);
    name = chardev_filename(chr);
    g_assert_true(g_str_has_prefix(name, "pty:/dev/pts/"));
    g_assert_true(chardev_attach(chr, &f.fe, &f, NULL));
    g_assert_false(chardev_is_open(chr));
    chardev_write_all(chr, "lost", 4);
    for (int round = 0; round < 2; round++) {
        fd = open(round ? link : name + 4, O_RDWR | O_NOCTTY);
        g_assert_cmpint(fd, >=, 0);
        expect(&f, "<");
        g_assert_cmpint(tcgetattr(fd, &t), ==, 0);
        g_assert_false(t.c_lflag & (ICANON | ECHO)); /* raw */
        g_assert_cmpint(write(fd, "\x03in", 3), ==, 3);
        expect(&f, "\x03in");
        chardev_write_all(chr, "out\n", 4);
        if (round == 0) {
            tcflush(fd, TCIFLUSH);
            chardev_write_all(chr, "out\n", 4);
        }
        g_assert_cmpint(read(fd, buf, 4), ==, 4);
        g_assert_cmpmem(buf, 4, "out\n", 4);
        close(fd);
        expect(&f, ">");
    }
    chardev_list_free(list);
    g_assert_cmpint(access(link, F_OK), <, 0);
    front_clear(&f);
}

/* stdin and stdout of this test, exchanged for pipes while it runs. */
static void test_stdio(void)
{
    int old_in = dup(STDIN_FILENO), old_out = dup(STDOUT_FILENO), in[2], out[2];
    ChardevList *list = chardev_list_new();
    g_autoptr(GError) err = NULL;
    Chardev *chr;
    char buf[5];
    Front f;

    front_init(&f);
    g_assert_cmpint(pipe(in), ==, 0);
    g_assert_cmpint(pipe(out), ==, 0);
    fflush(stdout);
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    chr = new_short(list, "s", "stdio");
    g_assert_null(chardev_new_short(list, "t", "stdio", &err));
    /* who shares our stdin and stdout does not find them non-blocking */
    g_assert_false(fcntl(STDIN_FILENO, F_GETFL) & O_NONBLOCK);
    g_assert_false(fcntl(STDOUT_FILENO, F_GETFL) & O_NONBLOCK);
    g_assert_true(chardev_attach(chr, &f.fe, &f, NULL));
    g_assert_cmpint(write(in[1], "hello", 5), ==, 5);
    expect(&f, "<hello");
    close(in[1]);
    settle();
    chardev_write_all(chr, "world", 5); /* also after the end of stdin */
    g_assert_cmpint(read(out[0], buf, 5), ==, 5);
    g_assert_cmpmem(buf, 5, "world", 5);
    chardev_detach(chr);
    g_assert_true(chardev_remove(list, "s", NULL));
    new_short(list, "t", "stdio"); /* free again */
    chardev_list_free(list);
    dup2(old_in, STDIN_FILENO);
    dup2(old_out, STDOUT_FILENO);
    close(old_in);
    close(old_out);
    close(in[0]);
    close(out[0]);
    close(out[1]);
    g_assert_cmpstr(err->message, ==, "cannot use stdio by multiple character devices");
    front_clear(&f);
}

/* ---- mux ---- */

static void count_quit(void *opaque)
{
    ++*(unsigned *)opaque;
}

static void test_mux(void)
{
    g_autofree char *path = tmp_path("mux"), *uri = g_strconcat("unix:", path, NULL);
    g_autofree char *text = g_strconcat("mon:unix:", path, ",server=on,wait=off", NULL);
    ChardevList *list = chardev_list_new();
    Chardev *serial = new_short(list, "serial0", text), *monitor;
    unsigned quits = 0;
    char buf[8], *help;
    QIOChannel *c;
    Front s, m;

    front_init(&s);
    front_init(&m);
    monitor = chardev_mux_monitor(serial);
    g_assert_true(monitor == chardev_find(list, "serial0-monitor"));
    g_assert_null(chardev_mux_monitor(must_new(list, "null,id=n")));
    g_assert_null(chardev_new_short(list, "serial0", text, NULL));
    g_assert_null(chardev_new_short(list, "x", "mon:bogus", NULL));
    chardev_list_set_quit(list, count_quit, &quits);
    g_assert_true(chardev_attach(serial, &s.fe, &s, NULL));
    g_assert_false(chardev_remove(list, "serial0-base", NULL));
    c = client(uri);
    expect(&s, "<");
    g_assert_true(chardev_attach(monitor, &m.fe, &m, NULL)); /* late: told at once */
    expect(&m, "<");

    g_assert_true(io_channel_write_all(c, "login\x01", 6, NULL));
    expect(&s, "login");
    g_assert_true(io_channel_write_all(c,
                                       "cinfo\x01\x01!\x01"
                                       "croot",
                                       14, NULL));
    expect(&m, "info\x01!");
    expect(&s, "root");
    chardev_write_all(serial, "abc", 3);
    chardev_write_all(monitor, "def", 3);
    g_assert_true(io_channel_read_all(c, buf, 6, NULL));
    g_assert_cmpmem(buf, 6, "abcdef", 6);
    g_assert_true(io_channel_write_all(c, "\x01x", 2, NULL));
    while (!quits) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_true(io_channel_write_all(c, "\x01?", 2, NULL));
    settle();
    help = g_malloc0(512);
    g_assert_cmpint(io_channel_read(c, help, 511, NULL), >, 0);
    g_assert_nonnull(strstr(help, "Ctrl-A c"));
    g_free(help);

    /* a guest that does not read does not block the way to the monitor */
    s.room = 2;
    for (int i = 0; i < 100; i++) {
        g_assert_true(io_channel_write_all(c, "0123456789", 10, NULL));
    }
    g_assert_true(io_channel_write_all(c,
                                       "\x01"
                                       "cquit",
                                       6, NULL));
    expect(&m, "quit");
    expect(&s, "01");
    s.room = 3;
    chardev_accept_input(serial);
    expect(&s, "234");
    g_object_unref(c);
    expect(&m, ">");
    expect(&s, ">");
    chardev_detach(monitor);
    g_assert_true(chardev_remove(list, "serial0-monitor", NULL));
    chardev_list_free(list);
    unlink(path);
    front_clear(&s);
    front_clear(&m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/chardev/errors", test_errors);
    g_test_add_func("/chardev/list", test_list);
    g_test_add_func("/chardev/ringbuf", test_ringbuf);
    g_test_add_func("/chardev/file", test_file);
    g_test_add_func("/chardev/full", test_full);
    g_test_add_func("/chardev/open-hook", test_open_hook);
    g_test_add_func("/chardev/pipe", test_pipe);
    g_test_add_func("/chardev/fd", test_fd);
    g_test_add_func("/chardev/backpressure", test_backpressure);
    g_test_add_func("/chardev/context", test_context);
    g_test_add_func("/chardev/mux", test_mux);
    g_test_add_func("/chardev/pty", test_pty);
    g_test_add_func("/chardev/stdio", test_stdio);
    return g_test_run();
}
