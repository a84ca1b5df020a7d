/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-net between a guest driver and a socket whose other end is the test, and against the user
 * network. */
#include "util/osdep.h"
#include <sys/socket.h>
#include "virtio-guest.h"

#define RX_BUF   DATA_RAM
#define TX_BUF   (DATA_RAM + MiB)
#define CTRL_BUF (DATA_RAM + 2 * MiB)
#define MAC      "\x52\x54\x00\x12\x34\x56"

enum { F_MRG_RXBUF = 15, F_CTRL_VQ = 17, F_CTRL_RX = 18, F_CTRL_VLAN = 19, F_CTRL_MAC = 23 };
#define CTRL_FEATURES \
    (1ULL << F_CTRL_VQ | 1ULL << F_CTRL_RX | 1ULL << F_CTRL_VLAN | 1ULL << F_CTRL_MAC)

typedef struct {
    Guest *g;
    VirtIODevice *vdev;
    Ring rx, tx, ctrl;
    int peer; /* our end of the wire */
    unsigned header;
} Fixture;

static void setup(Fixture *f, gconstpointer modern)
{
    g_autofree char *text = NULL;
    g_autoptr(JsonObject) o = NULL;
    g_autoptr(GError) err = NULL;
    int sv[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), ==, 0);
    f->peer = sv[0];
    f->g = guest_new(GPOINTER_TO_INT(modern));
    text = g_strdup_printf("{\"type\":\"socket\",\"id\":\"n\",\"fd\":\"%d\"}", sv[1]);
    o = guest_options(text);
    g_assert_true(net_backend_add(f->g->m->nets, o, &err));
    g_assert_no_error(err);
    f->vdev = guest_plug(f->g, "{\"driver\":\"virtio-net-device\",\"netdev\":\"n\"}");
    guest_run(f->g);
}

static void teardown(Fixture *f, gconstpointer modern)
{
    guest_free(f->g);
    close(f->peer);
}

static void start(Fixture *f, uint64_t features)
{
    guest_negotiate(f->g, features);
    f->rx = guest_ring(f->g, 0, 8);
    f->tx = guest_ring(f->g, 1, 8);
    f->ctrl = guest_ring(f->g, 2, 8);
    f->header = f->g->modern || features >> F_MRG_RXBUF & 1 ? 12 : 10;
    guest_driver_ok(f->g);
}

static void offer_rx(Fixture *f, unsigned n, uint32_t size)
{
    for (unsigned i = 0; i < n; i++) {
        uint64_t addr = RX_BUF + i * 4096;

        ring_add(&f->rx, &addr, &size, 1, 1);
    }
    ring_kick(&f->rx);
}

static void wire_put(Fixture *f, const void *frame, uint32_t len)
{
    uint32_t be = GUINT32_TO_BE(len);

    g_assert_cmpint(write(f->peer, &be, 4), ==, 4);
    g_assert_cmpint(write(f->peer, frame, len), ==, len);
}

static uint32_t wire_get(Fixture *f, void *buf, size_t size)
{
    uint32_t be;

    while (recv(f->peer, &be, 4, MSG_PEEK | MSG_DONTWAIT) < 4) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_cmpint(read(f->peer, &be, 4), ==, 4);
    be = GUINT32_FROM_BE(be);
    g_assert_cmpuint(be, <=, size);
    g_assert_cmpint(recv(f->peer, buf, be, MSG_WAITALL), ==, be);
    return be;
}

static void make_frame(uint8_t *frame, size_t len, const char *dst)
{
    memset(frame, 0x33, len);
    memcpy(frame, dst, 6);
    memcpy(frame + 6, "\x02\0\0\0\0\x01\x08\x00", 8);
}

static void test_transmit(Fixture *f, gconstpointer modern)
{
    uint8_t frame[1000], got[2000];
    uint64_t addr[] = {TX_BUF, TX_BUF + 4096, TX_BUF + 8192};
    uint32_t len[3];

    start(f, 0);
    make_frame(frame, sizeof(frame), "\x02\0\0\0\0\x02");
    memset(guest_ptr(f->g, TX_BUF), 0, 12);
    memcpy(guest_ptr(f->g, TX_BUF + 4096), frame, 100);
    memcpy(guest_ptr(f->g, TX_BUF + 8192), frame + 100, 900);
    len[0] = f->header;
    len[1] = 100;
    len[2] = 900;
    ring_add(&f->tx, addr, len, 3, 0);
    ring_kick(&f->tx);
    g_assert_cmpuint(ring_wait(&f->tx, NULL), ==, 0);
    g_assert_cmpuint(wire_get(f, got, sizeof(got)), ==, 1000);
    g_assert_cmpmem(got, 1000, frame, 1000);
}

static void test_receive(Fixture *f, gconstpointer modern)
{
    uint8_t frame[1000];

    start(f, 0);
    make_frame(frame, sizeof(frame), MAC);
    wire_put(f, frame, sizeof(frame)); /* waits until there are buffers */
    wire_put(f, frame, 500);
    for (unsigned i = 0; i < 5; i++) {
        g_main_context_iteration(NULL, FALSE);
    }
    g_assert_cmpuint(ring_used_idx(&f->rx), ==, 0);
    offer_rx(f, 4, 2048);
    g_assert_cmpuint(ring_wait(&f->rx, NULL), ==, f->header + 1000);
    g_assert_cmpmem(guest_ptr(f->g, RX_BUF + f->header), 1000, frame, 1000);
    g_assert_cmpuint(ring_wait(&f->rx, NULL), ==, f->header + 500);
    if (f->header == 12) {
        g_assert_cmpuint(*(uint8_t *)guest_ptr(f->g, RX_BUF + 10), ==, 1);
    }
}

static void test_merged(Fixture *f, gconstpointer modern)
{
    uint8_t frame[1000];

    start(f, 1ULL << F_MRG_RXBUF);
    make_frame(frame, sizeof(frame), MAC);
    for (unsigned i = 0; i < sizeof(frame); i++) {
        frame[i] = i < 14 ? frame[i] : i * 7;
    }
    wire_put(f, frame, sizeof(frame));
    offer_rx(f, 2, 400); /* not enough: nothing may be used up */
    for (unsigned i = 0; i < 5; i++) {
        g_main_context_iteration(NULL, FALSE);
    }
    g_assert_cmpuint(ring_used_idx(&f->rx), ==, 0);
    ring_add(&f->rx, (uint64_t[]){RX_BUF + 2 * 4096}, (uint32_t[]){400}, 1, 1);
    ring_kick(&f->rx);
    g_assert_cmpuint(ring_wait(&f->rx, NULL), ==, 400);
    g_assert_cmpuint(ring_wait(&f->rx, NULL), ==, 400);
    g_assert_cmpuint(ring_wait(&f->rx, NULL), ==, 212);
    g_assert_cmpuint(*(uint16_t *)guest_ptr(f->g, RX_BUF + 10), ==, 3);
    g_assert_cmpmem(guest_ptr(f->g, RX_BUF + 12), 388, frame, 388);
    g_assert_cmpmem(guest_ptr(f->g, RX_BUF + 4096), 400, frame + 388, 400);
    g_assert_cmpmem(guest_ptr(f->g, RX_BUF + 8192), 212, frame + 788, 212);
}

/* A frame that does not fit into the driver's only buffer is dropped; the buffer stays for the
 * next. */
static void test_too_long(Fixture *f, gconstpointer modern)
{
    uint8_t frame[1000];

    start(f, 0);
    make_frame(frame, sizeof(frame), MAC);
    offer_rx(f, 1, 300);
    wire_put(f, frame, 1000);
    wire_put(f, frame, 200);
    g_assert_cmpuint(ring_wait(&f->rx, NULL), ==, f->header + 200);
}

static uint8_t command(Fixture *f, uint8_t class, uint8_t cmd, const void *data, uint32_t len)
{
    uint64_t addr[] = {CTRL_BUF, CTRL_BUF + 16, CTRL_BUF + 4096};
    uint32_t lens[] = {2, len, 1};
    uint8_t *head = guest_ptr(f->g, CTRL_BUF), *ack = guest_ptr(f->g, CTRL_BUF + 4096);

    head[0] = class;
    head[1] = cmd;
    *ack = 0xee;
    memcpy(guest_ptr(f->g, CTRL_BUF + 16), data, len);
    ring_add(&f->ctrl, addr, lens, 3, 4);
    ring_kick(&f->ctrl);
    g_assert_cmpuint(ring_wait(&f->ctrl, NULL), ==, 1);
    return *ack;
}

/* Does a frame for @dst get through, after VLAN tag @vid unless negative? */
static bool passes(Fixture *f, const char *dst, int vid)
{
    uint8_t frame[100], last[100];
    uint16_t before = f->rx.used_idx;

    make_frame(frame, sizeof(frame), dst);
    if (vid >= 0) {
        frame[12] = 0x81;
        frame[13] = 0;
        frame[14] = vid >> 8;
        frame[15] = vid;
    }
    make_frame(last, sizeof(last), MAC); /* always passes: marks the end */
    wire_put(f, frame, sizeof(frame));
    wire_put(f, last, sizeof(last));
    offer_rx(f, 2, 2048);
    for (;;) {
        uint32_t id;
        const Desc *d;

        ring_wait(&f->rx, &id);
        d = guest_ptr(f->g, f->rx.desc + id * sizeof(*d));
        if (!memcmp((uint8_t *)guest_ptr(f->g, d->addr) + f->header, MAC, 6)) {
            break;
        }
    }
    return (uint16_t)(f->rx.used_idx - before) == 2;
}

static void test_filter(Fixture *f, gconstpointer modern)
{
    static const uint8_t one = 1, zero = 0;
    uint8_t table[4 + 6 + 4 + 6] = {1, 0, 0, 0, 2, 2, 2, 2, 2, 2, 1, 0, 0, 0, 1, 2, 3, 4, 5, 6};
    uint16_t vid = 77;

    start(f, CTRL_FEATURES);
    g_assert_true(passes(f, "\x02\x02\x02\x02\x02\x02", -1)); /* promiscuous after reset */
    g_assert_cmpuint(command(f, 0, 0, &zero, 1), ==, 0);
    g_assert_false(passes(f, "\x02\x02\x02\x02\x02\x02", -1));
    g_assert_true(passes(f, "\xff\xff\xff\xff\xff\xff", -1));
    g_assert_false(passes(f, "\x01\x02\x03\x04\x05\x06", -1));
    g_assert_cmpuint(command(f, 1, 0, table, sizeof(table)), ==, 0);
    g_assert_true(passes(f, "\x02\x02\x02\x02\x02\x02", -1));
    g_assert_true(passes(f, "\x01\x02\x03\x04\x05\x06", -1));
    g_assert_false(passes(f, "\x01\x02\x03\x04\x05\x07", -1));
    g_assert_cmpuint(command(f, 0, 1, &one, 1), ==, 0);
    g_assert_true(passes(f, "\x01\x02\x03\x04\x05\x07", -1));
    g_assert_false(passes(f, "\x02\x02\x02\x02\x02\x02", 77));
    g_assert_cmpuint(command(f, 2, 0, &vid, 2), ==, 0);
    g_assert_true(passes(f, "\x02\x02\x02\x02\x02\x02", 77));

    /* and what makes no sense */
    table[0] = 0xff;
    g_assert_cmpuint(command(f, 1, 0, table, sizeof(table)), ==, 1);
    table[3] = 0xff;
    g_assert_cmpuint(command(f, 1, 0, table, sizeof(table)), ==, 1);
    g_assert_cmpuint(command(f, 1, 1, table, 5), ==, 1);
    vid = 4096;
    g_assert_cmpuint(command(f, 2, 0, &vid, 2), ==, 1);
    g_assert_cmpuint(command(f, 0, 6, &one, 1), ==, 1);
    g_assert_cmpuint(command(f, 9, 0, &one, 1), ==, 1);
    g_assert_cmpuint(command(f, 1, 1, "\x02\x07\x07\x07\x07\x07", 6), ==, 0);
    g_assert_cmpuint(guest_read(f->g, 0x100), ==, 0x07070702);
}

/* The state a running driver leaves goes through the stream. */
static void test_move(Fixture *f, gconstpointer modern)
{
    static const uint8_t zero = 0;
    uint16_t vid = 5;
    g_autoptr(GByteArray) stream = NULL, again = NULL;
    g_autoptr(GError) err = NULL;
    uint8_t frame[100];

    start(f, CTRL_FEATURES);
    g_assert_cmpuint(command(f, 0, 0, &zero, 1), ==, 0);
    g_assert_cmpuint(command(f, 2, 0, &vid, 2), ==, 0);
    guest_stop(f->g);
    make_frame(frame, sizeof(frame), MAC);
    wire_put(f, frame, sizeof(frame)); /* stays outside while the VM is stopped */
    for (unsigned i = 0; i < 5; i++) {
        g_main_context_iteration(NULL, FALSE);
    }
    stream = guest_save(f->vdev);
    virtio_reset(f->vdev);
    g_assert_true(guest_load(f->vdev, stream->data, stream->len, &err));
    g_assert_no_error(err);
    again = guest_save(f->vdev);
    g_assert_cmpmem(again->data, again->len, stream->data, stream->len);
    guest_run(f->g);
    offer_rx(f, 1, 2048);
    g_assert_cmpuint(ring_wait(&f->rx, NULL), ==, f->header + 100);
    g_assert_true(passes(f, "\xff\xff\xff\xff\xff\xff", 5));
    g_assert_false(passes(f, "\xff\xff\xff\xff\xff\xff", 6));
}

static void test_hostile(Fixture *f, gconstpointer modern)
{
    uint64_t addr = TX_BUF;
    uint32_t len = 4;
    uint8_t frame[100];

    start(f, 0);
    ring_add(&f->tx, &addr, &len, 1, 0); /* shorter than the header */
    ring_kick(&f->tx);
    g_assert_true(f->vdev->broken);

    start(f, 0);
    ring_add(&f->tx, &addr, &len, 1, 1); /* nothing to send, something to write */
    ring_kick(&f->tx);
    g_assert_true(f->vdev->broken);

    start(f, CTRL_FEATURES);
    ring_add(&f->ctrl, &addr, &len, 1, 0); /* nowhere to answer */
    ring_kick(&f->ctrl);
    g_assert_true(f->vdev->broken);

    start(f, 0);
    len = 2000;
    ring_add(&f->rx, &addr, &len, 1, 0); /* a receive buffer we may not write */
    ring_kick(&f->rx);
    make_frame(frame, sizeof(frame), MAC);
    wire_put(f, frame, sizeof(frame));
    while (!f->vdev->broken) {
        g_main_context_iteration(NULL, TRUE);
    }
    start(f, 0);
    g_assert_false(f->vdev->broken);
}

static void test_announce(Fixture *f, gconstpointer modern)
{
    uint8_t got[100];

    start(f, CTRL_FEATURES | 1ULL << 21);
    net_list_announce(f->g->m->nets);
    g_assert_cmpuint(wire_get(f, got, sizeof(got)), ==, 60);
    g_assert_cmpmem(got + 6, 6, MAC, 6);
    g_assert_cmpmem(got + 12, 2, "\x80\x35", 2);
    g_assert_cmpuint(guest_read(f->g, 0x60) & 2, ==, 2);
    g_assert_cmpuint(guest_read(f->g, 0x104) >> 16, ==, 3);
    g_assert_cmpuint(command(f, 3, 0, "", 1), ==, 0);
    g_assert_cmpuint(guest_read(f->g, 0x104) >> 16, ==, 1);
}

static void test_link(Fixture *f, gconstpointer modern)
{
    start(f, 0);
    net_backend_set_link(net_backend_find(f->g->m->nets, "n"), false);
    g_assert_cmpuint(guest_read(f->g, 0x104) >> 16, ==, 0);
    g_assert_cmpuint(guest_read(f->g, 0x60) & 2, ==, 2);
    net_backend_set_link(net_backend_find(f->g->m->nets, "n"), true);
    g_assert_cmpuint(guest_read(f->g, 0x104) >> 16, ==, 1);
}

/* The gateway of the user network answers an ARP request. */
static void test_user(void)
{
    static const uint8_t arp[42] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0x12, 0x34,
                                    0x56, 8,    6,    0,    1,    8,    0,    6,    4, 0,    1,
                                    0x52, 0x54, 0,    0x12, 0x34, 0x56, 10,   0,    2, 15,   0,
                                    0,    0,    0,    0,    0,    10,   0,    2,    2};
    Guest *g = guest_new(true);
    Fixture f = {.g = g};
    g_autoptr(JsonObject) o = guest_options("{\"type\":\"user\",\"id\":\"n\",\"restrict\":\"on\"}");
    uint64_t addr[] = {TX_BUF, TX_BUF + 12};
    uint32_t len[] = {12, 42};
    uint8_t *reply = guest_ptr(g, RX_BUF + 12);

    g_assert_true(net_backend_add(g->m->nets, o, NULL));
    f.vdev = guest_plug(g, "{\"driver\":\"virtio-net-device\",\"netdev\":\"n\"}");
    guest_run(g);
    start(&f, 0);
    offer_rx(&f, 4, 2048);
    memset(guest_ptr(g, TX_BUF), 0, 12);
    memcpy(guest_ptr(g, TX_BUF + 12), arp, sizeof(arp));
    ring_add(&f.tx, addr, len, 2, 0);
    ring_kick(&f.tx);
    ring_wait(&f.rx, NULL);
    g_assert_cmpmem(reply, 6, MAC, 6);
    g_assert_cmpuint(reply[21], ==, 2); /* ARP reply */
    g_assert_cmpmem(reply + 28, 4, "\x0a\0\x02\x02", 4);
    guest_free(g);
}

static void test_options(void)
{
    static const char *const bad[][2] = {
        {"{\"type\":\"user\"}", "id"},
        {"{\"type\":\"hub\",\"id\":\"n\"}", "hub"},
        {"{\"type\":\"user\",\"id\":\"n\",\"bogus\":1}", "bogus"},
        {"{\"type\":\"user\",\"id\":\"n\",\"net\":\"10.0.0.0/99\"}", "10.0.0.0/99"},
        {"{\"type\":\"user\",\"id\":\"n\",\"host\":\"1.2.3.4\"}", "host"},
        {"{\"type\":\"user\",\"id\":\"n\",\"hostfwd\":\"tcp::99999-:22\"}", "99999"},
        {"{\"type\":\"user\",\"id\":\"n\",\"hostfwd\":\"nonsense\"}", "nonsense"},
        {"{\"type\":\"tap\",\"id\":\"n\"}", "ifname"},
        {"{\"type\":\"tap\",\"id\":\"n\",\"fd\":\"0\"}", "tap"},
        {"{\"type\":\"tap\",\"id\":\"n\",\"ifname\":\"t\",\"vhost\":\"on\"}", "vhost"},
        {"{\"type\":\"socket\",\"id\":\"n\"}", "listen"},
        {"{\"type\":\"stream\",\"id\":\"n\"}", "addr"},
    };
    Clock *clock = clock_virtual_new();
    NetList *list = net_list_new(clock);

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(JsonObject) o = guest_options(bad[i][0]);
        g_autoptr(GError) err = NULL;

        g_assert_false(net_backend_add(list, o, &err));
        if (!strstr(err->message, bad[i][1])) {
            g_test_message("%s: '%s' does not say '%s'", bad[i][0], err->message, bad[i][1]);
            g_test_fail();
        }
    }
    g_assert_cmpuint(net_list_user_count(list), ==, 0);
    net_list_free(list);
    clock_free(clock);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*fn)(Fixture *, gconstpointer);
    } tests[] = {
        {"transmit", test_transmit}, {"receive", test_receive},   {"merged", test_merged},
        {"too-long", test_too_long}, {"filter", test_filter},     {"move", test_move},
        {"hostile", test_hostile},   {"announce", test_announce}, {"link", test_link},
    };

    g_test_init(&argc, &argv, NULL);
    bql_lock();
    for (unsigned i = 0; i < G_N_ELEMENTS(tests); i++) {
        for (int modern = 0; modern < 2; modern++) {
            g_autofree char *path =
                g_strdup_printf("/virtio-net/%s/%s", modern ? "modern" : "legacy", tests[i].name);

            g_test_add(path, Fixture, GINT_TO_POINTER(modern), setup, tests[i].fn, teardown);
        }
    }
    g_test_add_func("/virtio-net/user", test_user);
    g_test_add_func("/virtio-net/options", test_options);
    return g_test_run();
}
