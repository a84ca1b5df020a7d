/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Several connections of one migration: opened all or none, told apart in any order. */
#include <sys/socket.h>
#include "io/channel-socket.h"
#include "io/socket-address.h"
#include "migration/channels.h"
#include "migration/wire/stream.h"

/* How long a destination waits for the rest: for ever as far as a test is concerned, or not long
 * where it is to give up. */
#define PATIENT_MS 600000
#define HASTY_MS   1000

static const uint8_t our_uuid[MULTIFD_UUID_SIZE] = "0123456789abcde";

typedef struct {
    TransportListener *l;
    IncomingChannels *ic;
    SocketAddress *addr;
    QIOChannel *main, *multifd[4], *extra;
    unsigned count;
    GError *err;
} Side;

/* ---- the destination ---- */

static void on_main(QIOChannel *ioc, void *opaque)
{
    Side *s = opaque;

    g_assert_null(s->main);
    s->main = ioc;
}

static void on_multifd(unsigned id, QIOChannel *ioc, void *opaque)
{
    Side *s = opaque;

    g_assert_nonnull(s->main);
    g_assert_cmpuint(id, <, ARRAY_SIZE(s->multifd));
    g_assert_null(s->multifd[id]);
    s->multifd[id] = ioc;
    s->count++;
}

static void on_extra(QIOChannel *ioc, uint32_t magic, void *opaque)
{
    Side *s = opaque;

    g_assert_null(s->extra);
    s->extra = ioc;
}

static void on_failed(GError *err, void *opaque)
{
    Side *s = opaque;

    g_assert_null(s->err);
    s->err = err;
}

static const IncomingChannelsOps ops = {on_main, on_multifd, on_extra, on_failed};

static void on_accept(TransportListener *l, QIOChannel *ioc, uint32_t magic, void *opaque)
{
    Side *s = opaque;

    incoming_channels_accept(s->ic, l, ioc, magic);
}

static void side_start_within(Side *s, unsigned multifd, unsigned timeout_ms)
{
    IncomingChannelsConfig config = {.multifd = multifd, .timeout_ms = timeout_ms};
    TransportAcceptor acceptor = {.accept = on_accept, .opaque = s};
    g_autoptr(MigrationTransport) t = transport_parse_uri("tcp:127.0.0.1:0", NULL);
    g_autoptr(GPtrArray) bound = NULL;

    *s = (Side){0};
    memcpy(config.uuid, our_uuid, sizeof(our_uuid));
    s->ic = incoming_channels_new(&config, &ops, s);
    s->l = transport_listen(t, NULL, 1 + multifd, &acceptor, NULL);
    g_assert_nonnull(s->l);
    bound = transport_listener_addresses(s->l);
    s->addr = qapi_clone_SocketAddress(g_ptr_array_index(bound, 0));
}

static void side_start(Side *s, unsigned multifd)
{
    side_start_within(s, multifd, PATIENT_MS);
}

static void side_end(Side *s)
{
    incoming_channels_free(s->ic);
    transport_listener_free(s->l);
    qapi_free_SocketAddress(s->addr);
    g_clear_object(&s->main);
    g_clear_object(&s->extra);
    for (unsigned i = 0; i < ARRAY_SIZE(s->multifd); i++) {
        g_clear_object(&s->multifd[i]);
    }
    g_clear_error(&s->err);
}

/* Run the main loop while nothing is there that makes @cond true. */
#define run_until(cond)                            \
    do {                                           \
        while (!(cond)) {                          \
            g_main_context_iteration(NULL, FALSE); \
            g_usleep(100);                         \
        }                                          \
    } while (0)

static void run_for_ms(unsigned ms)
{
    int64_t end = g_get_monotonic_time() + ms * 1000;

    run_until(g_get_monotonic_time() >= end);
}

/* Nothing waits for a time any more. */
static void assert_no_timer(void)
{
    GMainContext *context = g_main_context_default();
    int priority, timeout;
    GPollFD fds[16];

    while (g_main_context_iteration(NULL, FALSE)) {
    }
    g_assert_true(g_main_context_acquire(context));
    g_main_context_prepare(context, &priority);
    g_main_context_query(context, G_MAXINT, &timeout, fds, G_N_ELEMENTS(fds));
    g_main_context_release(context);
    g_assert_cmpint(timeout, ==, -1);
}

/* ---- the source ---- */

static QIOChannel *dial(Side *s)
{
    QIOChannelSocket *ioc = io_channel_socket_connect_sync(s->addr, NULL);

    g_assert_nonnull(ioc);
    return IO_CHANNEL(ioc);
}

static QIOChannel *dial_main(Side *s)
{
    QIOChannel *ioc = dial(s);
    uint8_t header[STREAM_HEADER_SIZE];

    stream_encode_header(header);
    g_assert_true(io_channel_write_all(ioc, header, sizeof(header), NULL));
    return ioc;
}

static void send_init(QIOChannel *ioc, const uint8_t *uuid, uint8_t id)
{
    MultifdInit init = {.id = id};
    uint8_t buf[MULTIFD_INIT_SIZE];

    memcpy(init.uuid, uuid, sizeof(init.uuid));
    multifd_encode_init(&init, buf);
    g_assert_true(io_channel_write_all(ioc, buf, sizeof(buf), NULL));
}

static QIOChannel *dial_multifd(Side *s, uint8_t id)
{
    QIOChannel *ioc = dial(s);

    send_init(ioc, our_uuid, id);
    return ioc;
}

/* The destination has closed @ioc. */
static void assert_closed(QIOChannel *ioc)
{
    uint8_t byte;

    io_channel_set_blocking(ioc, false, NULL);
    for (ssize_t n = IO_CHANNEL_WOULD_BLOCK; n == IO_CHANNEL_WOULD_BLOCK;) {
        g_main_context_iteration(NULL, FALSE);
        n = io_channel_read(ioc, &byte, 1, NULL);
        g_assert_cmpint(n, <=, 0);
    }
}

/* ---- order ---- */

static void test_any_order(gconstpointer opaque)
{
    const char *order = opaque;
    QIOChannel *iocs[8];
    Side s;

    side_start(&s, 3);
    for (unsigned i = 0; order[i]; i++) {
        iocs[i] = order[i] == 'm' ? dial_main(&s) : dial_multifd(&s, order[i] - '0');
        run_for_ms(5);
    }
    run_until(incoming_channels_complete(s.ic));
    g_assert_nonnull(s.main);
    g_assert_cmpuint(s.count, ==, 3);
    for (unsigned i = 0; order[i]; i++) {
        uint8_t c = order[i], got;
        QIOChannel *there = c == 'm' ? s.main : s.multifd[c - '0'];
        uint8_t skip[STREAM_HEADER_SIZE];

        if (c == 'm') {
            g_assert_true(io_channel_read_all(there, skip, sizeof(skip), NULL));
        }
        g_assert_true(io_channel_write_all(iocs[i], &c, 1, NULL));
        g_assert_true(io_channel_read_all(there, &got, 1, NULL));
        g_assert_cmpuint(got, ==, c);
        g_object_unref(iocs[i]);
    }
    assert_no_timer();
    g_assert_no_error(s.err);
    side_end(&s);
}

static void test_extra(void)
{
    Side s;

    side_start(&s, 1);
    {
        g_autoptr(QIOChannel) a = dial_main(&s), b = dial_multifd(&s, 0), c = NULL;

        run_until(incoming_channels_complete(s.ic));
        transport_listener_set_silent(s.l, true);
        c = dial(&s);
        run_until(s.extra);
    }
    side_end(&s);
}

/* ---- strangers ---- */

static void test_strangers(void)
{
    g_autoptr(QIOChannel) silent = NULL, http = NULL, slow = NULL, half = NULL, gone = NULL;
    g_autoptr(QIOChannel) main = NULL, zero = NULL, one = NULL;
    uint8_t init[MULTIFD_INIT_SIZE];
    Side s;

    side_start_within(&s, 2, HASTY_MS);
    multifd_encode_init(&(MultifdInit){.id = 1}, init);
    silent = dial(&s);
    http = dial(&s);
    g_assert_true(io_channel_write_all(http, "GET / HTTP/1.0\r\n\r\n", 18, NULL));
    slow = dial(&s);
    g_assert_true(io_channel_write_all(slow, init, 5, NULL));
    half = dial(&s);
    g_assert_true(io_channel_write_all(half, init, 40, NULL));
    g_clear_object(&half);
    init[7] = 2; /* version */
    gone = dial(&s);
    g_assert_true(io_channel_write_all(gone, init, sizeof(init), NULL));
    assert_closed(http);
    assert_closed(gone);

    main = dial_main(&s);
    zero = dial_multifd(&s, 0);
    one = dial_multifd(&s, 1);
    run_until(incoming_channels_complete(s.ic));
    assert_closed(slow);
    g_assert_no_error(s.err);
    side_end(&s);
}

static void test_many_slow_ones(void)
{
    enum { N = 200 };
    g_autoptr(QIOChannel) main = NULL, zero = NULL;
    QIOChannel *slow[N];
    uint8_t init[MULTIFD_INIT_SIZE];
    Side s;

    side_start(&s, 1);
    multifd_encode_init(&(MultifdInit){0}, init);
    for (unsigned i = 0; i < N; i++) {
        slow[i] = dial(&s);
        g_assert_true(io_channel_write_all(slow[i], init, 4, NULL));
        g_main_context_iteration(NULL, FALSE);
    }
    main = dial_main(&s);
    zero = dial_multifd(&s, 0);
    run_until(incoming_channels_complete(s.ic));
    for (unsigned i = 0; i < N; i++) {
        g_object_unref(slow[i]);
    }
    side_end(&s);
}

/* ---- sources that do not fit ---- */

static void expect_failure(Side *s, const char *text)
{
    run_until(s->err);
    if (!strstr(s->err->message, text)) {
        g_test_message("'%s' instead of '...%s...'", s->err->message, text);
        g_test_fail();
    }
}

static void test_does_not_fit(void)
{
    static const struct {
        const char *uuid;
        uint8_t id;
        bool first; /* before main */
        const char *text;
    } rows[] = {
        {"someone else   ", 0, false, "uuid"},          {"someone else   ", 0, true, "uuid"},
        {"0123456789abcde", 2, false, "id 2"},          {"0123456789abcde", 255, true, "id 255"},
        {"0123456789abcde", 1, false, "already setup"},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autoptr(QIOChannel) main = NULL, one = NULL, bad = NULL;
        Side s;

        side_start(&s, 2);
        if (!rows[i].first) {
            main = dial_main(&s);
            one = dial_multifd(&s, 1);
            run_until(s.count == 1);
        }
        bad = dial(&s);
        send_init(bad, (const uint8_t *)rows[i].uuid, rows[i].id);
        assert_closed(bad);
        if (rows[i].first) {
            g_assert_no_error(s.err);
            main = dial_main(&s);
        }
        expect_failure(&s, rows[i].text);
        side_end(&s);
    }
}

static void test_multifd_unexpected(void)
{
    g_autoptr(QIOChannel) main = NULL, zero = NULL;
    Side s;

    side_start(&s, 0);
    main = dial_main(&s);
    run_until(s.main);
    zero = dial_multifd(&s, 0);
    expect_failure(&s, "turn the capability 'multifd' on");
    side_end(&s);
}

static void test_too_few(void)
{
    g_autoptr(QIOChannel) main = NULL, zero = NULL;
    Side s;

    side_start_within(&s, 2, HASTY_MS);
    zero = dial_multifd(&s, 0);
    main = dial_main(&s);
    expect_failure(&s, "Only 1 of 2 multifd channels");
    side_end(&s);
}

/* A source that broke off before its main channel came does not spoil the next one. */
static void test_second_attempt(void)
{
    g_autoptr(QIOChannel) zero = NULL, main = NULL, again = NULL, one = NULL;
    Side s;

    side_start(&s, 2);
    zero = dial_multifd(&s, 0);
    run_for_ms(20);
    g_clear_object(&zero);
    again = dial_multifd(&s, 0);
    one = dial_multifd(&s, 1);
    main = dial_main(&s);
    run_until(incoming_channels_complete(s.ic));
    g_assert_no_error(s.err);
    side_end(&s);

    side_start_within(&s, 1, HASTY_MS);
    {
        g_autoptr(QIOChannel) a = dial_multifd(&s, 0), b = NULL, c = NULL;

        assert_closed(a);
        b = dial_multifd(&s, 0);
        c = dial_main(&s);
        run_until(incoming_channels_complete(s.ic));
    }
    side_end(&s);
}

/* ---- opening ---- */

typedef struct {
    unsigned calls, greeted;
    GPtrArray *channels;
    GError *err;
} Opened;

static void on_opened(GPtrArray *channels, GError *err, void *opaque)
{
    Opened *o = opaque;

    o->calls++;
    o->channels = channels;
    o->err = err;
}

static bool greet(QIOChannel *ioc, unsigned index, void *opaque, GError **errp)
{
    Opened *o = opaque;

    o->greeted |= 1u << index;
    return io_channel_write_all(ioc, "hello", 5, errp);
}

static void test_open(void)
{
    g_autofree char *uri = NULL;
    g_autoptr(MigrationTransport) t = NULL;
    g_autoptr(GPtrArray) to = g_ptr_array_new();
    Opened o = {0};
    Side s;

    side_start(&s, 1);
    uri = socket_address_to_string(s.addr);
    t = transport_parse_uri(uri, NULL);
    g_ptr_array_add(to, t);
    g_assert_nonnull(channels_open(to, NULL, 8, greet, on_opened, &o, NULL));
    g_assert_cmpuint(o.calls, ==, 0);
    run_until(o.calls);
    g_assert_no_error(o.err);
    g_assert_cmpuint(o.channels->len, ==, 8);
    g_assert_cmphex(o.greeted, ==, 0xff);
    g_ptr_array_unref(o.channels);

    channels_open_cancel(channels_open(to, NULL, 8, greet, on_opened, &o, NULL));
    run_for_ms(100);
    g_assert_cmpuint(o.calls, ==, 1);
    side_end(&s);

    /* Nobody listens there any more. */
    g_assert_nonnull(channels_open(to, NULL, 3, greet, on_opened, &o, NULL));
    run_until(o.calls == 2);
    g_assert_null(o.channels);
    g_assert_nonnull(strstr(o.err->message, "of 3 beside the main one: Failed to connect"));
    g_clear_error(&o.err);
    run_for_ms(50);
    g_assert_cmpuint(o.calls, ==, 2);
}

int main(int argc, char **argv)
{
    static const char *const orders[] = {"m012", "012m", "2m10", "1m20"};

    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(orders); i++) {
        g_autofree char *path = g_strdup_printf("/channels/order/%s", orders[i]);

        g_test_add_data_func(path, orders[i], test_any_order);
    }
    g_test_add_func("/channels/extra", test_extra);
    g_test_add_func("/channels/strangers", test_strangers);
    g_test_add_func("/channels/many-slow-ones", test_many_slow_ones);
    g_test_add_func("/channels/does-not-fit", test_does_not_fit);
    g_test_add_func("/channels/multifd-unexpected", test_multifd_unexpected);
    g_test_add_func("/channels/too-few", test_too_few);
    g_test_add_func("/channels/second-attempt", test_second_attempt);
    g_test_add_func("/channels/open", test_open);
    return g_test_run();
}
