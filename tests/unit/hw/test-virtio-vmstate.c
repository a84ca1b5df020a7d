/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sections of virtio devices: byte for byte what stock QEMU 7.2 sends, loaded back unchanged,
 * and hostile variants refused.
 */
#include "util/osdep.h"
#include "virtio-golden.h"
#include "virtio-guest.h"

typedef struct {
    const char *name;
    const char *options;
    unsigned queues;
    uint64_t features; /* what the driver of the capture asked for */
} DeviceUnderTest;

static const DeviceUnderTest devices[] = {
    {"blk", "{\"driver\":\"virtio-blk-device\",\"drive\":\"d\"}", 1, 1 << 9 | 1 << 11 | 1 << 29},
    {"net", "{\"driver\":\"virtio-net-device\",\"netdev\":\"n\",\"mac\":\"52:54:00:12:34:56\"}", 3,
     1 << 5 | 1 << 15 | 1 << 16 | 1 << 17 | 1 << 18 | 1 << 23 | 1 << 2},
    {"rng", "{\"driver\":\"virtio-rng-device\"}", 1, 1 << 29 | 1 << 28},
    {"balloon", "{\"driver\":\"virtio-balloon-device\"}", 3, 1 << 1 | 1 << 4},
    {"console", "{\"driver\":\"virtio-serial-device\"}", 6, 1 << 1},
};

static const DeviceUnderTest *find_device(const char *name)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(devices); i++) {
        if (g_str_equal(devices[i].name, name)) {
            return &devices[i];
        }
    }
    g_assert_not_reached();
}

/* The same device as in the capture: a 64 MiB disk, a user network, one console port. */
static Guest *make(const DeviceUnderTest *d, bool modern, VirtIODevice **vdev)
{
    g_autoptr(GError) err = NULL;
    Guest *g = guest_new(modern);

    if (g_str_equal(d->name, "blk")) {
        g_autoptr(JsonObject) o =
            guest_options("{\"driver\":\"null-co\",\"node-name\":\"d\",\"size\":67108864}");

        g_assert_true(block_node_add(g->m->blocks, o, false, &err));
    } else if (g_str_equal(d->name, "net")) {
        g_autoptr(JsonObject) o = guest_options("{\"type\":\"user\",\"id\":\"n\"}");

        g_assert_true(net_backend_add(g->m->nets, o, &err));
    }
    g_assert_no_error(err);
    *vdev = guest_plug(g, d->options);
    if (g_str_equal(d->name, "console")) {
        g_autoptr(JsonObject) o = guest_options("{\"driver\":\"virtconsole\"}");

        g_assert_nonnull(device_add_from_options(g->m, o, false, &err));
        g_assert_no_error(err);
    }
    guest_run(g);
    return g;
}

static void activate(Guest *g, const DeviceUnderTest *d)
{
    uint64_t v;

    guest_negotiate(g, d->features);
    for (unsigned i = 0; i < d->queues; i++) {
        guest_ring(g, i, 8);
    }
    guest_driver_ok(g);
    address_space_load(g->m->as, g->base + 0x100, 1, &v);
}

static GByteArray *golden_bytes(const Golden *gold)
{
    GByteArray *bytes = g_byte_array_sized_new(gold->size);
    g_auto(GStrv) runs = g_strsplit(gold->runs, " ", -1);

    g_byte_array_set_size(bytes, gold->size);
    memset(bytes->data, 0, gold->size);
    for (char **r = runs; *r && **r; r++) {
        char *hex;
        unsigned at = strtoul(*r, &hex, 16);

        for (hex++; *hex; hex += 2, at++) {
            bytes->data[at] = g_ascii_xdigit_value(hex[0]) << 4 | g_ascii_xdigit_value(hex[1]);
        }
    }
    return bytes;
}

static void compare(GByteArray *ours, GByteArray *stock)
{
    for (unsigned i = 0; i < MIN(ours->len, stock->len); i++) {
        if (ours->data[i] != stock->data[i]) {
            g_test_message("first difference at %#x: %02x instead of %02x", i, ours->data[i],
                           stock->data[i]);
            g_test_fail();
            break;
        }
    }
    g_assert_cmpuint(ours->len, ==, stock->len);
}

static void test_golden(gconstpointer data)
{
    const Golden *gold = data;
    const DeviceUnderTest *d = find_device(gold->device);
    VirtIODevice *vdev;
    Guest *g = make(d, gold->modern, &vdev);
    g_autoptr(GByteArray) stock = golden_bytes(gold);
    g_autoptr(GByteArray) ours = NULL, again = NULL;
    g_autoptr(GError) err = NULL;

    if (gold->active) {
        activate(g, d);
    }
    guest_stop(g);
    ours = guest_save(vdev);
    compare(ours, stock);

    virtio_reset(vdev);
    g_assert_true(guest_load(vdev, stock->data, stock->len, &err));
    g_assert_no_error(err);
    again = guest_save(vdev);
    compare(again, stock);
    guest_free(g);
}

/* Every single-byte change of a legacy section either loads or is refused with a message; nothing
 * else happens. */
static void test_mutations(gconstpointer data)
{
    const Golden *gold = data;
    const DeviceUnderTest *d = find_device(gold->device);
    VirtIODevice *vdev;
    Guest *g = make(d, gold->modern, &vdev);
    g_autoptr(GByteArray) bytes = golden_bytes(gold);
    static const uint8_t values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};

    guest_stop(g);
    for (unsigned i = 0; i < bytes->len; i++) {
        uint8_t saved = bytes->data[i];

        for (unsigned v = 0; v < G_N_ELEMENTS(values); v++) {
            g_autoptr(GError) err = NULL;
            g_autoptr(QIOChannelBuffer) ioc = io_channel_buffer_new();
            QEMUFile *f;
            bool ok;

            bytes->data[i] = values[v];
            g_byte_array_append(io_channel_buffer_bytes(ioc), bytes->data, bytes->len);
            f = qemu_file_new_input(IO_CHANNEL(ioc));
            ok = vmstate_load_state(f, guest_vmsd(vdev), vdev, guest_vmsd(vdev)->version_id, &err);
            g_assert_true(ok == !err);
            qemu_fclose(f, NULL);
        }
        bytes->data[i] = saved;
    }
    /* and every truncation is refused */
    for (unsigned len = 0; len < bytes->len - 40; len++) {
        g_autoptr(GError) err = NULL;

        g_assert_false(guest_load(vdev, bytes->data, len, &err));
        g_assert_nonnull(err);
    }
    virtio_reset(vdev);
    guest_free(g);
}

static void expect_refused(VirtIODevice *vdev, const GByteArray *bytes, unsigned at,
                           const char *patch, unsigned len, const char *text)
{
    g_autofree uint8_t *copy = g_memdup2(bytes->data, bytes->len);
    g_autoptr(GError) err = NULL;

    memcpy(copy + at, patch, len);
    g_assert_false(guest_load(vdev, copy, bytes->len, &err));
    if (!strstr(err->message, text)) {
        g_test_message("'%s' does not say '%s'", err->message, text);
        g_test_fail();
    }
}

static void test_refused(void)
{
    const DeviceUnderTest *d = find_device("blk");
    VirtIODevice *vdev;
    Guest *g = make(d, false, &vdev);
    g_autoptr(GByteArray) ours = NULL;
    uint16_t *used;

    activate(g, d);
    guest_stop(g);
    ours = guest_save(vdev);
    expect_refused(vdev, ours, 14, "\x04\x00", 2, "selected queue");
    expect_refused(vdev, ours, 131, "\x80", 1, "unsupported. Allowed features: 0x10031006ed4");
    expect_refused(vdev, ours, 20, "\xff\xff\xff\xff", 4, "configuration");
    expect_refused(vdev, ours, 81, "\x00\x00\x04\x01", 4, "virtqueues");
    expect_refused(vdev, ours, 81, "\x00\x00\x00\x02", 4, "queue 1");
    expect_refused(vdev, ours, 85, "\x00\x00\x04\x01", 4, "size 1025");
    expect_refused(vdev, ours, 89, "\x00\x00\x10\x01", 4, "power of two");
    expect_refused(vdev, ours, 101, "\x12\x34", 2, "inconsistent with Host index");

    used = guest_ptr(g, ROUND_UP(QUEUE_RAM + 16 * 8 + 6 + 16, 4096));
    used[1] = 77;
    expect_refused(vdev, ours, 0, "", 0, "used_idx 0x4d");
    guest_free(g);
}

/* Rings that a stream places outside RAM break the device, not the emulator. */
static void test_rings_elsewhere(void)
{
    const DeviceUnderTest *d = find_device("blk");
    VirtIODevice *vdev;
    Guest *g = make(d, false, &vdev);
    g_autoptr(GByteArray) ours = NULL;

    activate(g, d);
    guest_stop(g);
    ours = guest_save(vdev);
    memset(ours->data + 93, 0x10, 7);
    g_assert_true(guest_load(vdev, ours->data, ours->len, NULL));
    g_assert_true(vdev->broken);
    guest_run(g);
    guest_write(g, 0x50, 0);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    bql_lock();
    for (unsigned i = 0; i < G_N_ELEMENTS(golden); i++) {
        const Golden *gold = &golden[i];
        g_autofree char *name =
            g_strdup_printf("/virtio-vmstate/%s/%s/%s", gold->device,
                            gold->modern ? "modern" : "legacy", gold->active ? "active" : "reset");
        g_autofree char *mutations = g_strconcat(name, "/mutations", NULL);

        g_test_add_data_func(name, gold, test_golden);
        if (!gold->modern && !gold->active) {
            g_test_add_data_func(mutations, gold, test_mutations);
        }
    }
    g_test_add_func("/virtio-vmstate/refused", test_refused);
    g_test_add_func("/virtio-vmstate/rings-elsewhere", test_rings_elsewhere);
    return g_test_run();
}
