/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The vfio-user client against a server that does what each test says: calls under way at once. */
#include <linux/vfio.h>
#include <sys/socket.h>
#include "backends/vfio-user.h"

typedef struct Server Server;
struct Server {
    int fd;
    GThread *thread;
    const char *capabilities;
    /* After the version; on its own thread. */
    void (*script)(Server *s);
    unsigned writes; /* MIG_DATA_WRITE that came */
    GByteArray *written;
};

/* ---- server ---- */

/* False: the client has left. */
static bool get_all(Server *s, void *buf, size_t len)
{
    return !len || recv(s->fd, buf, len, MSG_WAITALL) == (ssize_t)len;
}

static void put_all(Server *s, const void *buf, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = send(s->fd, (const char *)buf + done, len - done, MSG_NOSIGNAL);

        if (n <= 0) {
            return; /* it has had enough */
        }
        done += n;
    }
}

static bool get_header(Server *s, VfioUserHeader *h)
{
    return get_all(s, h, sizeof(*h));
}

static void get_request(Server *s, VfioUserHeader *h, VfioUserMigData *arg)
{
    g_assert_true(get_header(s, h));
    g_assert_cmpuint(h->command, ==, VFIO_USER_MIG_DATA_READ);
    g_assert_cmpuint(h->size, ==, sizeof(*h) + sizeof(*arg));
    g_assert_true(get_all(s, arg, sizeof(*arg)));
}

static void put_header(Server *s, const VfioUserHeader *request, size_t payload, int error)
{
    VfioUserHeader h = {.id = request->id,
                        .command = request->command,
                        .size = sizeof(h) + payload,
                        .flags = VFIO_USER_REPLY | (error ? VFIO_USER_ERROR : 0),
                        .error = error};

    put_all(s, &h, sizeof(h));
}

/* @size bytes of @value, @padding bytes of something else. */
static void put_state(Server *s, const VfioUserHeader *request, uint32_t size, uint8_t value,
                      uint32_t padding)
{
    VfioUserMigData arg = {sizeof(arg) + size, size};
    g_autofree uint8_t *data = g_malloc(size + padding + 1);

    memset(data, value, size);
    memset(data + size, 0xEE, padding);
    put_header(s, request, sizeof(arg) + size + padding, 0);
    put_all(s, &arg, sizeof(arg));
    put_all(s, data, size + padding);
}

static gpointer server_main(gpointer opaque)
{
    Server *s = opaque;
    VfioUserVersion version = {0, 0};
    char caps[4096];
    VfioUserHeader h;

    g_assert_true(get_header(s, &h));
    g_assert_true(get_all(s, caps, h.size - sizeof(h)));
    put_header(s, &h, sizeof(version) + strlen(s->capabilities) + 1, 0);
    put_all(s, &version, sizeof(version));
    put_all(s, s->capabilities, strlen(s->capabilities) + 1);
    s->script(s);
    return NULL;
}

#define PLAIN "{\"capabilities\":{\"max_data_xfer_size\":65536}}"
#define LARGE "{\"capabilities\":{\"x_vmtd\":{\"large_writes\":true}}}"

static VfioUserClient *connect_to(Server *s, const char *capabilities, void (*script)(Server *))
{
    static const VfioUserCallbacks callbacks = {0};
    VfioUserClient *c;
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    *s = (Server){.fd = fds[0],
                  .capabilities = capabilities,
                  .script = script,
                  .written = g_byte_array_new()};
    s->thread = g_thread_new("server", server_main, s);
    c = vfio_user_client_new(fds[1], &callbacks, NULL, NULL);
    g_assert_nonnull(c);
    vfio_user_set_timeout(c, 60000); /* a busy machine is no broken server */
    return c;
}

static void end(Server *s, VfioUserClient *c)
{
    vfio_user_free(c);
    g_thread_join(s->thread);
    close(s->fd);
    g_byte_array_unref(s->written);
}

/* ---- reading ---- */

#define MESSAGE 65536u

static void must_read(VfioUserClient *c, void *buf, uint32_t *len)
{
    g_autoptr(GError) err = NULL;
    bool ok = vfio_user_mig_read(c, buf, len, &err);

    g_assert_no_error(err);
    g_assert_true(ok);
}

/* All four are asked for before the first is answered; not each fills its room. */
static void four_answers(Server *s)
{
    VfioUserHeader h[VFIO_USER_MIG_READS];
    VfioUserMigData arg;

    for (unsigned i = 0; i < VFIO_USER_MIG_READS; i++) {
        get_request(s, &h[i], &arg);
        g_assert_cmpuint(arg.size, ==, i < 3 ? MESSAGE : 1000);
    }
    put_state(s, &h[0], MESSAGE, 1, 0);
    put_state(s, &h[1], 17, 2, 0);
    put_state(s, &h[2], 100, 3, MESSAGE - 100);
    put_state(s, &h[3], 0, 0, 0);
}

static void test_reads(void)
{
    g_autofree uint8_t *buf = g_malloc0(4 * MESSAGE);
    uint32_t len = 3 * MESSAGE + 1000;
    Server s;
    VfioUserClient *c = connect_to(&s, PLAIN, four_answers);

    must_read(c, buf, &len);
    g_assert_cmpuint(len, ==, MESSAGE + 17 + 100);
    g_assert_cmpuint(buf[0], ==, 1);
    g_assert_cmpuint(buf[MESSAGE - 1], ==, 1);
    g_assert_cmpuint(buf[MESSAGE], ==, 2);
    g_assert_cmpuint(buf[MESSAGE + 16], ==, 2);
    g_assert_cmpuint(buf[MESSAGE + 17], ==, 3);
    g_assert_cmpuint(buf[MESSAGE + 116], ==, 3);
    end(&s, c);
}

/* The second is refused, with what was asked repeated behind the header; the connection goes on. */
static void second_refused(Server *s)
{
    VfioUserHeader h[2];
    VfioUserMigData arg;

    get_request(s, &h[0], &arg);
    get_request(s, &h[1], &arg);
    put_state(s, &h[0], 10, 1, 0);
    put_header(s, &h[1], sizeof(arg), EBUSY);
    put_all(s, &arg, sizeof(arg));
    get_request(s, &h[0], &arg);
    put_state(s, &h[0], 5, 7, 0);
}

static void test_refusal(void)
{
    g_autofree uint8_t *buf = g_malloc0(2 * MESSAGE);
    g_autoptr(GError) err = NULL;
    uint32_t len = 2 * MESSAGE;
    Server s;
    VfioUserClient *c = connect_to(&s, PLAIN, second_refused);

    g_assert_false(vfio_user_mig_read(c, buf, &len, &err));
    g_assert_nonnull(strstr(err->message, "refuses command 17"));
    len = 100;
    must_read(c, buf, &len);
    g_assert_cmpuint(len, ==, 5);
    g_assert_cmpuint(buf[0], ==, 7);
    end(&s, c);
}

/* More than there is room for; less than it says; less than its fixed part. */
static void wrong_sizes(Server *s)
{
    VfioUserMigData arg, lie = {sizeof(lie) + 50, 50};
    VfioUserHeader h;

    get_request(s, &h, &arg);
    put_state(s, &h, 101, 0xEE, 0);
    get_request(s, &h, &arg);
    put_header(s, &h, sizeof(lie), 0);
    put_all(s, &lie, sizeof(lie));
    get_request(s, &h, &arg);
    put_header(s, &h, 3, 0);
    put_all(s, "abc", 3);
}

static void test_sizes(void)
{
    static const char *const words[] = {"answer of 109 bytes", "0 bytes of device state, 50",
                                        "answer of 3 bytes"};
    uint8_t buf[101];
    Server s;
    VfioUserClient *c = connect_to(&s, PLAIN, wrong_sizes);

    buf[100] = 0x55;
    for (unsigned i = 0; i < G_N_ELEMENTS(words); i++) {
        g_autoptr(GError) err = NULL;
        uint32_t len = 100;

        g_assert_false(vfio_user_mig_read(c, buf, &len, &err));
        g_assert_nonnull(strstr(err->message, words[i]));
    }
    g_assert_cmpuint(buf[100], ==, 0x55);
    end(&s, c);
}

/* It stops in the middle of an answer: what waits for that must not wait for ever, and what comes
 * late must not land anywhere. */
static void half_an_answer(Server *s)
{
    VfioUserMigData arg;
    VfioUserHeader h;
    uint8_t byte;

    get_request(s, &h, &arg);
    put_header(s, &h, sizeof(arg) + 100, 0);
    put_all(s, &arg, sizeof(arg));
    put_all(s, "x", 1);
    g_assert_false(get_all(s, &byte, 1)); /* the client hangs up */
    put_all(s, "y", 1);
}

static void test_half(void)
{
    uint8_t buf[100] = {0};
    g_autoptr(GError) err = NULL, again = NULL;
    uint32_t len = sizeof(buf);
    Server s;
    VfioUserClient *c = connect_to(&s, PLAIN, half_an_answer);

    vfio_user_set_timeout(c, 50);
    g_assert_false(vfio_user_mig_read(c, buf, &len, &err));
    g_assert_nonnull(strstr(err->message, "no answer to command 17 in time"));
    len = sizeof(buf);
    g_assert_false(vfio_user_mig_read(c, buf, &len, &again));
    g_assert_cmpstr(again->message, ==, err->message);
    end(&s, c);
}

static void answer_to_nobody(Server *s)
{
    VfioUserMigData arg;
    VfioUserHeader h;

    get_request(s, &h, &arg);
    h.id++;
    put_state(s, &h, 10, 1, 0);
}

static void test_nobody(void)
{
    uint8_t buf[100];
    g_autoptr(GError) err = NULL;
    uint32_t len = sizeof(buf);
    Server s;
    VfioUserClient *c = connect_to(&s, PLAIN, answer_to_nobody);

    g_assert_false(vfio_user_mig_read(c, buf, &len, &err));
    g_assert_nonnull(strstr(err->message, "which nobody asked for"));
    end(&s, c);
}

/* ---- writing ---- */

static void collect(Server *s)
{
    VfioUserMigData arg;
    VfioUserHeader h;

    while (get_header(s, &h)) {
        guint at = s->written->len;

        g_assert_cmpuint(h.command, ==, VFIO_USER_MIG_DATA_WRITE);
        g_assert_true(get_all(s, &arg, sizeof(arg)));
        g_assert_cmpuint(arg.size, ==, h.size - sizeof(h) - sizeof(arg));
        g_byte_array_set_size(s->written, at + arg.size);
        g_assert_true(get_all(s, s->written->data + at, arg.size));
        s->writes++;
        put_header(s, &h, 0, 0);
    }
}

static void check_writes(const char *capabilities, size_t len, unsigned messages)
{
    g_autofree uint8_t *buf = g_malloc(len);
    g_autoptr(GByteArray) written = NULL;
    g_autoptr(GError) err = NULL;
    Server s;
    VfioUserClient *c = connect_to(&s, capabilities, collect);

    for (size_t i = 0; i < len; i++) {
        buf[i] = i * 7 + i / 256;
    }
    g_assert_true(vfio_user_mig_write(c, buf, len, &err));
    g_assert_no_error(err);
    written = g_byte_array_ref(s.written);
    end(&s, c);
    g_assert_cmpuint(s.writes, ==, messages);
    g_assert_cmpmem(written->data, written->len, buf, len);
}

static void test_writes(void)
{
    check_writes(PLAIN, 200000, 4);
    check_writes(LARGE, 200000, 1);
    check_writes(LARGE, (1 << 20) + 1, 2);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vfio-user/reads", test_reads);
    g_test_add_func("/vfio-user/refusal", test_refusal);
    g_test_add_func("/vfio-user/sizes", test_sizes);
    g_test_add_func("/vfio-user/half", test_half);
    g_test_add_func("/vfio-user/nobody", test_nobody);
    g_test_add_func("/vfio-user/writes", test_writes);
    return g_test_run();
}
