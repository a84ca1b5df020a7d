/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The smaller virtio devices: serial ports on a socket, entropy, the balloon; and the registers of
 * empty slots. */
#include "util/osdep.h"
#include <fcntl.h>
#include <sys/socket.h>
#include "hw/virtio-balloon.h"
#include "virtio-guest.h"

#define CTRL_IN  (DATA_RAM + 64 * KiB)
#define CTRL_OUT (DATA_RAM + 128 * KiB)

typedef struct {
    uint32_t id;
    uint16_t event, value;
} Control;

typedef struct {
    Guest *g;
    VirtIODevice *vdev;
    Ring in, out, ctrl_in, ctrl_out; /* in, out: of port 1 */
    int peer;
} Fixture;

static void setup(Fixture *f, gconstpointer modern)
{
    g_autofree char *text = NULL;
    g_autoptr(JsonObject) chr = NULL;
    g_autoptr(JsonObject) port = NULL;
    g_autoptr(GError) err = NULL;
    int sv[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), ==, 0);
    f->peer = sv[0];
    fcntl(f->peer, F_SETFL, O_NONBLOCK);
    f->g = guest_new(GPOINTER_TO_INT(modern));
    f->g->m->chardevs = chardev_list_new();
    text = g_strdup_printf("{\"backend\":\"fd\",\"id\":\"c\",\"fd\":\"%d\"}", sv[1]);
    chr = guest_options(text);
    g_assert_nonnull(chardev_new(f->g->m->chardevs, chr, &err));
    g_assert_no_error(err);
    f->vdev = guest_plug(f->g, "{\"driver\":\"virtio-serial-device\",\"id\":\"vs\"}");
    port = guest_options("{\"driver\":\"virtserialport\",\"bus\":\"vs.0\",\"chardev\":\"c\","
                         "\"name\":\"org.test.0\",\"id\":\"p\"}");
    g_assert_nonnull(device_add_from_options(f->g->m, port, false, &err));
    g_assert_no_error(err);
    guest_run(f->g);
}

static void teardown(Fixture *f, gconstpointer modern)
{
    ChardevList *chardevs = f->g->m->chardevs;

    guest_free(f->g);
    chardev_list_free(chardevs);
    close(f->peer);
}

static void send_control(Fixture *f, uint32_t id, uint16_t event, uint16_t value)
{
    Control c = {id, event, value};
    uint64_t addr = CTRL_OUT;
    uint32_t len = sizeof(c);

    memcpy(guest_ptr(f->g, CTRL_OUT), &c, sizeof(c));
    ring_add(&f->ctrl_out, &addr, &len, 1, 0);
    ring_kick(&f->ctrl_out);
    ring_wait(&f->ctrl_out, NULL);
}

static uint32_t expect_control(Fixture *f, uint32_t id, uint16_t event, uint16_t value)
{
    uint32_t desc, len = ring_wait(&f->ctrl_in, &desc);
    Control *c = guest_ptr(f->g, CTRL_IN + desc * 256);

    g_assert_cmpuint(c->id, ==, id);
    g_assert_cmpuint(c->event, ==, event);
    g_assert_cmpuint(c->value, ==, value);
    return len;
}

static void start(Fixture *f)
{
    guest_negotiate(f->g, 1 << 1);
    guest_ring(f->g, 0, 8);
    guest_ring(f->g, 1, 8);
    f->ctrl_in = guest_ring(f->g, 2, 32);
    f->ctrl_out = guest_ring(f->g, 3, 8);
    f->in = guest_ring(f->g, 4, 8);
    f->out = guest_ring(f->g, 5, 8);
    guest_driver_ok(f->g);
    for (unsigned i = 0; i < 16; i++) {
        ring_add(&f->ctrl_in, (uint64_t[]){CTRL_IN + i * 256}, (uint32_t[]){256}, 1, 1);
    }
    send_control(f, UINT32_MAX, 0, 1); /* device ready */
    expect_control(f, 1, 1, 1);        /* port add */
    send_control(f, 1, 3, 1);          /* port ready */
    g_assert_cmpuint(expect_control(f, 1, 7, 1), ==, 8 + 11);
    g_assert_cmpstr(guest_ptr(f->g, CTRL_IN + 256 + 8), ==, "org.test.0");
    expect_control(f, 1, 6, 1); /* the host is connected */
    send_control(f, 1, 6, 1);   /* so is the guest */
}

static void test_port(Fixture *f, gconstpointer modern)
{
    char buf[64] = {0};

    start(f);
    memcpy(guest_ptr(f->g, DATA_RAM), "hello", 5);
    ring_add(&f->out, (uint64_t[]){DATA_RAM, DATA_RAM + 2}, (uint32_t[]){2, 3}, 2, 0);
    ring_kick(&f->out);
    ring_wait(&f->out, NULL);
    g_assert_cmpint(read(f->peer, buf, sizeof(buf)), ==, 5);
    g_assert_cmpstr(buf, ==, "hello");

    g_assert_cmpint(write(f->peer, "world", 5), ==, 5);
    ring_add(&f->in, (uint64_t[]){DATA_RAM + 4096}, (uint32_t[]){64}, 1, 1);
    ring_kick(&f->in);
    g_assert_cmpuint(ring_wait(&f->in, NULL), ==, 5);
    g_assert_cmpstr(guest_ptr(f->g, DATA_RAM + 4096), ==, "world");
}

static size_t drain_peer(Fixture *f)
{
    g_autofree char *buf = g_malloc(MiB);
    ssize_t got = read(f->peer, buf, MiB);

    return MAX(got, 0);
}

/* A host end that does not read: the buffer waits, is moved half written, and no byte is lost or
 * doubled. */
static void test_stuck(Fixture *f, gconstpointer modern)
{
    g_autoptr(GByteArray) stream = NULL;
    g_autoptr(GError) err = NULL;
    uint32_t big = 4 * MiB;
    size_t total = 0;

    start(f);
    ring_add(&f->out, (uint64_t[]){DATA_RAM, DATA_RAM + 1}, (uint32_t[]){1, big}, 2, 0);
    ring_kick(&f->out);
    g_assert_cmpuint(ring_used_idx(&f->out), ==, 0);
    guest_stop(f->g);
    stream = guest_save(f->vdev);
    g_assert_cmpuint(stream->len, >, 49168);
    g_assert_true(guest_load(f->vdev, stream->data, stream->len, &err));
    g_assert_no_error(err);
    guest_run(f->g);
    while (total < 1 + (size_t)big) {
        total += drain_peer(f);
        g_main_context_iteration(NULL, FALSE);
    }
    ring_wait(&f->out, NULL);
    g_assert_cmpuint(drain_peer(f), ==, 0);
}

static void test_control_rubbish(Fixture *f, gconstpointer modern)
{
    start(f);
    send_control(f, 31, 3, 1);
    send_control(f, UINT32_MAX, 6, 1);
    send_control(f, 0, 6, 1);
    send_control(f, 1, 999, 1);
    ring_add(&f->ctrl_out, (uint64_t[]){CTRL_OUT}, (uint32_t[]){3}, 1, 0);
    ring_kick(&f->ctrl_out);
    ring_wait(&f->ctrl_out, NULL);
    g_assert_false(f->vdev->broken);
    guest_write(f->g, 0x108, 'x'); /* emergency write without a console */
}

static void test_ports(Fixture *f, gconstpointer modern)
{
    static const char *const bad[][2] = {
        {"{\"driver\":\"virtserialport\",\"nr\":1}", "already exists at id 1"},
        {"{\"driver\":\"virtserialport\",\"nr\":0}", "reserved for virtconsole"},
        {"{\"driver\":\"virtserialport\",\"nr\":31}", "max. allowed: 30"},
        {"{\"driver\":\"virtserialport\",\"chardev\":\"x\"}", "can't find value 'x'"},
        {"{\"driver\":\"virtserialport\",\"chardev\":\"c\"}", ""},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(JsonObject) o = guest_options(bad[i][0]);
        g_autoptr(GError) err = NULL;

        g_assert_null(device_add_from_options(f->g->m, o, false, &err));
        g_assert_nonnull(strstr(err->message, bad[i][1]));
    }
    start(f); /* and the one port still works */
}

static void test_rng(void)
{
    Guest *g = guest_new(false);
    uint8_t *buf = guest_ptr(g, DATA_RAM), sum = 0;
    Ring r;

    guest_plug(g, "{\"driver\":\"virtio-rng-device\"}");
    guest_run(g);
    guest_negotiate(g, 0);
    r = guest_ring(g, 0, 8);
    guest_driver_ok(g);
    ring_add(&r, (uint64_t[]){DATA_RAM}, (uint32_t[]){64}, 1, 1);
    ring_kick(&r);
    g_assert_cmpuint(ring_wait(&r, NULL), ==, 64);
    for (unsigned i = 0; i < 64; i++) {
        sum |= buf[i];
    }
    g_assert_cmpuint(sum, !=, 0);
    /* a reset with a request on its way */
    ring_add(&r, (uint64_t[]){DATA_RAM}, (uint32_t[]){64}, 1, 1);
    ring_kick(&r);
    guest_write(g, 0x70, 0);
    for (unsigned i = 0; i < 5; i++) {
        g_main_context_iteration(NULL, FALSE);
    }
    guest_free(g);
}

static void test_balloon(void)
{
    Guest *g = guest_new(false);
    VirtIODevice *vdev = guest_plug(g, "{\"driver\":\"virtio-balloon-device\"}");
    uint32_t *pfns = guest_ptr(g, DATA_RAM);
    uint8_t *page = guest_ptr(g, DATA_RAM + MiB), *other = guest_ptr(g, DATA_RAM + MiB + 4096);
    g_autoptr(GByteArray) stream = NULL;
    g_autoptr(GError) err = NULL;
    uint64_t actual;
    Ring inflate, stats;

    guest_run(g);
    guest_negotiate(g, 1 << 1);
    inflate = guest_ring(g, 0, 8);
    guest_ring(g, 1, 8);
    stats = guest_ring(g, 2, 8);
    guest_driver_ok(g);
    *page = *other = 0x55;
    pfns[0] = (DATA_RAM + MiB) >> 12;
    pfns[1] = 0x10008000 >> 12; /* a device */
    pfns[2] = UINT32_MAX;       /* nothing */
    ring_add(&inflate, (uint64_t[]){DATA_RAM}, (uint32_t[]){13}, 1, 0);
    ring_kick(&inflate);
    ring_wait(&inflate, NULL);
    g_assert_cmpuint(*page, ==, 0);
    g_assert_cmpuint(*other, ==, 0x55);

    g_assert_true(virtio_balloon_set_target(g->m, RAM_SIZE - 4 * MiB, NULL));
    g_assert_cmpuint(guest_read(g, 0x100), ==, 1024);
    guest_write(g, 0x104, 512);
    g_assert_true(virtio_balloon_get_actual(g->m, &actual, NULL));
    g_assert_cmpuint(actual, ==, RAM_SIZE - 2 * MiB);
    guest_write(g, 0x104, UINT32_MAX);
    g_assert_true(virtio_balloon_get_actual(g->m, &actual, NULL));
    g_assert_cmpuint(actual, ==, 0);

    /* the statistics buffer is kept while running, and back in its ring in the stream */
    ring_add(&stats, (uint64_t[]){DATA_RAM}, (uint32_t[]){80}, 1, 0);
    ring_kick(&stats);
    g_assert_cmpuint(vdev->vq[2].inuse, ==, 1);
    guest_stop(g);
    g_assert_cmpuint(vdev->vq[2].inuse, ==, 0);
    stream = guest_save(vdev);
    g_assert_true(guest_load(vdev, stream->data, stream->len, &err));
    /* stock leaves it popped: last_avail_idx of queue 2 is one ahead */
    stream->data[12 + 8 + 4 + 16 + 4 + 2 * 18 + 17] += 1;
    g_assert_true(guest_load(vdev, stream->data, stream->len, &err));
    g_assert_no_error(err);
    g_assert_cmpuint(vdev->vq[2].inuse, ==, 0);
    guest_run(g);
    g_assert_cmpuint(vdev->vq[2].inuse, ==, 1);
    guest_free(g);
}

/* What an empty slot and an untouched device answer. */
static void test_registers(void)
{
    for (int modern = 0; modern < 2; modern++) {
        Guest *g = guest_new(modern);
        uint64_t v;

        g_assert_cmphex(guest_read(g, 0x00), ==, 0x74726976);
        g_assert_cmphex(guest_read(g, 0x04), ==, modern ? 2 : 1);
        g_assert_cmphex(guest_read(g, 0x0c), ==, 0x554d4551);
        for (unsigned off = 0x10; off < 0x200; off += 4) {
            g_assert_cmphex(guest_read(g, off), ==, 0);
            guest_write(g, off, UINT32_MAX);
        }
        guest_plug(g, "{\"driver\":\"virtio-rng-device\"}");
        g_assert_cmphex(guest_read(g, 0x08), ==, VIRTIO_ID_RNG);
        g_assert_cmphex(guest_features(g), ==, modern ? 0x10130000000 : 0x39000000);
        g_assert_cmphex(guest_read(g, 0x34), ==, 1024);
        guest_write(g, 0x30, 1);
        g_assert_cmphex(guest_read(g, 0x34), ==, 0);
        g_assert_cmphex(guest_read(g, 0xb0), ==, UINT32_MAX);
        g_assert_cmphex(guest_read(g, 0x100), ==, UINT32_MAX);
        g_assert_cmpint(address_space_load(g->m->as, g->base, 1, &v), ==, MEMTX_OK);
        g_assert_cmphex(v, ==, 0);
        guest_free(g);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*fn)(Fixture *, gconstpointer);
    } tests[] = {
        {"port", test_port},
        {"stuck", test_stuck},
        {"control-rubbish", test_control_rubbish},
        {"ports", test_ports},
    };

    g_test_init(&argc, &argv, NULL);
    bql_lock();
    for (unsigned i = 0; i < G_N_ELEMENTS(tests); i++) {
        for (int modern = 0; modern < 2; modern++) {
            g_autofree char *path = g_strdup_printf("/virtio-serial/%s/%s",
                                                    modern ? "modern" : "legacy", tests[i].name);

            g_test_add(path, Fixture, GINT_TO_POINTER(modern), setup, tests[i].fn, teardown);
        }
    }
    g_test_add_func("/virtio-rng/fill", test_rng);
    g_test_add_func("/virtio-balloon/pages", test_balloon);
    g_test_add_func("/virtio-mmio/registers", test_registers);
    return g_test_run();
}
