/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character devices on sockets: clients that come and go, waiting, reconnecting, descriptors (spec
 * 71 section 3). */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "chardev-front.h"
#include "io/channel-file.h"

static void test_server(void)
{
    g_autofree char *path = tmp_path("server"), *uri = g_strconcat("unix:", path, NULL);
    g_autofree char *short_form = g_strconcat("unix:", path, ",server,nowait", NULL);
    g_autofree char *open_name = g_strconcat("unix:", path, ",server=on", NULL);
    g_autofree char *closed_name = g_strconcat("disconnected:", open_name, NULL);
    ChardevList *list = chardev_list_new();
    Chardev *chr = new_short(list, "s", short_form);
    QIOChannel *first, *second;
    char buf[4];
    Front f;

    front_init(&f);
    g_assert_true(chardev_attach(chr, &f.fe, &f, NULL));
    g_assert_false(chardev_is_open(chr));
    expect_filename(chr, closed_name);
    g_assert_cmpuint(chardev_write(chr, "lost", 4), ==, 4); /* nobody there: dropped, not blocked */

    first = client(uri);
    expect(&f, "<");
    expect_filename(chr, open_name);
    second = client(uri); /* waits in the backlog */
    g_assert_true(io_channel_write_all(second, "two", 3, NULL));
    g_assert_true(io_channel_write_all(first, "one", 3, NULL));
    expect(&f, "one");
    chardev_write_all(chr, "text", 4);
    g_assert_true(io_channel_read_all(first, buf, 4, NULL));
    g_assert_cmpmem(buf, 4, "text", 4);
    g_object_unref(first);
    expect(&f, "><two");
    g_object_unref(second);
    expect(&f, ">");
    chardev_list_free(list);
    unlink(path);
    front_clear(&f);
}

/* A writer that waits for a client which leaves instead is told to go on. */
static void test_leave_while_blocked(void)
{
    g_autofree char *path = tmp_path("blocked"), *uri = g_strconcat("unix:", path, NULL);
    ChardevList *list = chardev_list_new();
    Chardev *chr = must_new(list, "socket,id=s,path=%s,server=on,wait=off", path);
    static const char block[65536];
    QIOChannel *c;
    Front f;

    front_init(&f);
    g_assert_true(chardev_attach(chr, &f.fe, &f, NULL));
    c = client(uri);
    expect(&f, "<");
    while (chardev_write(chr, block, sizeof(block))) {
    }
    g_object_unref(c);
    expect(&f, ">!");
    g_assert_cmpuint(chardev_write(chr, block, sizeof(block)), ==, sizeof(block));
    chardev_list_free(list);
    unlink(path);
    front_clear(&f);
}

/* The client leaves while the front end has no room: noticed, and the next one is served. */
static void test_leave_while_paused(void)
{
    g_autofree char *path = tmp_path("paused"), *uri = g_strconcat("unix:", path, NULL);
    ChardevList *list = chardev_list_new();
    Chardev *chr = must_new(list, "socket,id=s,path=%s,server=on,wait=off", path);
    QIOChannel *c;
    Front f;

    front_init(&f);
    g_assert_true(chardev_attach(chr, &f.fe, &f, NULL));
    f.room = 0;
    c = client(uri);
    g_assert_true(io_channel_write_all(c, "unread", 6, NULL));
    expect(&f, "<");
    settle();
    g_object_unref(c);
    expect(&f, ">");
    f.room = SIZE_MAX;
    c = client(uri);
    g_assert_true(io_channel_write_all(c, "new", 3, NULL));
    expect(&f, "<new");
    g_object_unref(c);
    expect(&f, ">");
    chardev_list_free(list);
    unlink(path);
    front_clear(&f);
}

static void test_tcp(void)
{
    ChardevList *list = chardev_list_new();
    Chardev *server = new_short(list, "s", "tcp:127.0.0.1:0,server=on,wait=off");
    g_autofree char *name = chardev_filename(server), *port = NULL, *short_form = NULL;
    g_autofree char *name2 = NULL;
    Chardev *c;
    Front f, g;

    front_init(&f);
    front_init(&g);
    g_assert_true(g_str_has_prefix(name, "disconnected:tcp:127.0.0.1:"));
    g_assert_true(g_str_has_suffix(name, ",server=on"));
    port = g_strndup(strrchr(name, ':') + 1, strcspn(strrchr(name, ':') + 1, ","));
    g_assert_cmpint(atoi(port), >, 0);
    short_form = g_strdup_printf("tcp:127.0.0.1:%s", port);
    c = new_short(list, "c", short_form);
    g_assert_true(chardev_is_open(c));
    g_assert_true(chardev_attach(server, &f.fe, &f, NULL));
    g_assert_true(chardev_attach(c, &g.fe, &g, NULL));
    expect(&f, "<");
    expect(&g, "<");
    name2 = chardev_filename(server);
    g_assert_nonnull(strstr(name2, ",server=on <-> 127.0.0.1:"));
    chardev_write_all(c, "there", 5);
    expect(&f, "there");
    chardev_write_all(server, "back", 4);
    expect(&g, "back");
    chardev_detach(c);
    g_assert_true(chardev_remove(list, "c", NULL));
    expect(&f, ">");
    chardev_list_free(list);
    front_clear(&f);
    front_clear(&g);
}

static void *connect_thread(void *opaque)
{
    g_autoptr(SocketAddress) addr = socket_address_parse(opaque, NULL);
    QIOChannelSocket *s;

    while (!(s = io_channel_socket_connect_sync(addr, NULL))) {
        g_usleep(1000);
    }
    return s;
}

static void test_wait(void)
{
    g_autofree char *path = tmp_path("wait"), *uri = g_strconcat("unix:", path, NULL);
    ChardevList *list = chardev_list_new();
    GThread *t = g_thread_new("client", connect_thread, uri);
    Chardev *chr = must_new(list, "socket,id=s,path=%s,server=on", path); /* wait=on */
    g_autoptr(GError) err = NULL;
    g_autoptr(QIOChannel) c = g_thread_join(t);

    g_assert_true(chardev_is_open(chr));
    g_assert_true(chardev_wait_connected(chr, NULL));
    g_assert_nonnull(c);
    chardev_list_free(list);
    unlink(path);
}

static void test_reconnect(void)
{
    g_autofree char *path = tmp_path("reconnect");
    ChardevList *list = chardev_list_new(), *servers = chardev_list_new();
    Chardev *chr = must_new(list, "socket,id=c,path=%s,reconnect=1", path), *server;
    Front f, g;

    front_init(&f);
    front_init(&g);
    g_assert_true(chardev_attach(chr, &f.fe, &f, NULL));
    g_assert_false(chardev_is_open(chr));
    server = must_new(servers, "socket,id=s,path=%s,server=on,wait=off", path);
    g_assert_true(chardev_attach(server, &g.fe, &g, NULL));
    expect(&f, "<");
    expect(&g, "<");
    chardev_list_free(servers);
    expect(&f, ">");
    servers = chardev_list_new();
    server = must_new(servers, "socket,id=s,path=%s,server=on,wait=off", path);
    expect(&f, "<");
    chardev_list_free(servers);
    expect(&f, ">");
    chardev_list_free(list); /* with the timer armed */
    settle();
    unlink(path);
    front_clear(&f);
    front_clear(&g);
}

static void test_inherited_listener(void)
{
    g_autofree char *path = tmp_path("inherited"), *uri = g_strconcat("unix:", path, NULL);
    struct sockaddr_un_like {
        sa_family_t family;
        char path[108];
    } un = {.family = AF_UNIX};
    ChardevList *list = chardev_list_new();
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    QIOChannel *c;
    Chardev *chr;
    Front f;

    front_init(&f);
    g_strlcpy(un.path, path, sizeof(un.path));
    g_assert_cmpint(bind(fd, (struct sockaddr *)&un, sizeof(un)), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    c = client(uri); /* before the device exists, as libvirt does */
    chr = must_new(list, "socket,id=charmonitor,fd=%d,server=on,wait=off", fd);
    g_assert_true(chardev_attach(chr, &f.fe, &f, NULL));
    expect(&f, "<");
    g_object_unref(c);
    expect(&f, ">");
    chardev_list_free(list);
    unlink(path);
    front_clear(&f);
}

static unsigned count_open(void)
{
    unsigned n = 0;

    for (int fd = 0; fd < 256; fd++) {
        n += fcntl(fd, F_GETFD) >= 0;
    }
    return n;
}

static void test_fds(void)
{
    unsigned before = count_open();
    ChardevList *list = chardev_list_new();
    int pair[2], send[4], got[16];
    struct iovec iov = {"x", 1};
    QIOChannel *peer;
    Chardev *chr;
    Front f;

    front_init(&f);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    peer = IO_CHANNEL(io_channel_socket_new_fd(pair[0], NULL));
    chr = must_new(list, "socket,id=q,fd=%d", pair[1]);
    g_assert_true(chardev_attach(chr, &f.fe, &f, NULL));
    for (int i = 0; i < 4; i++) {
        send[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    g_assert_cmpint(io_channel_writev_full(peer, &iov, 1, send, 2, 0, NULL), ==, 1);
    expect(&f, "<x");
    g_assert_cmpuint(chardev_take_fds(chr, got, 1), ==, 1);
    close(got[0]);
    g_assert_cmpuint(chardev_take_fds(chr, got, 16), ==, 1);
    close(got[0]);
    g_assert_cmpuint(chardev_take_fds(chr, got, 16), ==, 0);

    /* a peer that sends and sends: we keep sixteen */
    for (int i = 0; i < 8; i++) {
        g_assert_cmpint(io_channel_writev_full(peer, &iov, 1, send, 4, 0, NULL), ==, 1);
    }
    while (f.log->len < 8) {
        settle();
    }
    g_assert_cmpuint(chardev_take_fds(chr, got, 3), ==, 3);
    for (int i = 0; i < 3; i++) {
        close(got[i]);
    }
    chardev_list_free(list); /* closes the other thirteen */
    g_object_unref(peer);
    for (int i = 0; i < 4; i++) {
        close(send[i]);
    }
    g_assert_cmpuint(count_open(), ==, before);
    front_clear(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/chardev-socket/server", test_server);
    g_test_add_func("/chardev-socket/leave-while-paused", test_leave_while_paused);
    g_test_add_func("/chardev-socket/leave-while-blocked", test_leave_while_blocked);
    g_test_add_func("/chardev-socket/tcp", test_tcp);
    g_test_add_func("/chardev-socket/wait", test_wait);
    g_test_add_func("/chardev-socket/reconnect", test_reconnect);
    g_test_add_func("/chardev-socket/inherited", test_inherited_listener);
    g_test_add_func("/chardev-socket/fds", test_fds);
    return g_test_run();
}
