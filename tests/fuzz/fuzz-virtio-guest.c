/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hostile driver in front of each virtio-mmio device. First byte: device and register layout;
 * second byte: bit 0, negotiate properly first (features follow) and set up three rings of eight.
 * Then operations, see operate(). Between inputs the device is reset and memory forgotten.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include "virtio-guest.h"
#include "fuzz.h"

#define MAX_OPERATIONS 2048
#define RINGS          3
#define RING_SIZE      8

static const char *const devices[] = {
    "{\"driver\":\"virtio-blk-device\",\"drive\":\"d\"}",
    "{\"driver\":\"virtio-net-device\",\"netdev\":\"n\"}",
    "{\"driver\":\"virtio-rng-device\"}",
    "{\"driver\":\"virtio-balloon-device\"}",
    "{\"driver\":\"virtio-serial-device\",\"id\":\"vs\"}",
};
enum { BLK, NET, RNG, BALLOON, SERIAL, DEVICES };

typedef struct {
    unsigned device;
    Guest *g;
    VirtIODevice *vdev;
    int peer; /* the host's end of net and serial, or -1 */
    Ring ring[RINGS];
} Target;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    bql_lock();
    bql_attach_main_context(NULL);
    return 0;
}

/* ---- the machine ---- */

static int wire(int *ours)
{
    int sv[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv), ==, 0);
    *ours = sv[0];
    return sv[1];
}

static void add_back_end(Target *t, unsigned device)
{
    Machine *m = t->g->m;
    g_autofree char *text = NULL;
    g_autoptr(JsonObject) o = NULL;

    if (device == BLK) {
        o = guest_options("{\"driver\":\"null-co\",\"node-name\":\"d\",\"size\":1048576}");
        g_assert_true(block_node_add(m->blocks, o, false, NULL));
    } else if (device == NET) {
        text = g_strdup_printf("{\"type\":\"socket\",\"id\":\"n\",\"fd\":\"%d\"}", wire(&t->peer));
        o = guest_options(text);
        g_assert_true(net_backend_add(m->nets, o, NULL));
    } else if (device == SERIAL) {
        text = g_strdup_printf("{\"backend\":\"fd\",\"id\":\"c\",\"fd\":\"%d\"}", wire(&t->peer));
        o = guest_options(text);
        g_assert_nonnull(chardev_new(m->chardevs, o, NULL));
    }
}

static void make(Target *t, unsigned device, bool modern)
{
    t->device = device;
    t->g = guest_new(modern);
    t->g->m->chardevs = chardev_list_new();
    t->peer = -1;
    add_back_end(t, device);
    t->vdev = guest_plug(t->g, devices[device]);
    if (device == SERIAL) {
        g_autoptr(JsonObject) port = guest_options(
            "{\"driver\":\"virtserialport\",\"bus\":\"vs.0\",\"chardev\":\"c\",\"name\":\"a\"}");

        g_assert_nonnull(device_add_from_options(t->g->m, port, false, NULL));
    }
    guest_run(t->g);
}

static Target *find(unsigned device, bool modern)
{
    static Target targets[DEVICES][2];
    Target *t = &targets[device][modern];

    if (!t->g) {
        make(t, device, modern);
    }
    return t;
}

static void let_it_work(Target *t)
{
    uint8_t out[4096];

    for (unsigned i = 0; i < 4; i++) {
        g_main_context_iteration(NULL, FALSE);
    }
    while (t->peer >= 0 && recv(t->peer, out, sizeof(out), MSG_DONTWAIT) > 0) {
    }
}

static void forget(Target *t)
{
    guest_write(t->g, 0x70, 0);
    let_it_work(t);
    guest_stop(t->g);
    g_assert_cmpint(madvise(t->g->ram->host, RAM_SIZE, MADV_DONTNEED), ==, 0);
    guest_run(t->g);
}

/* ---- what the guest does ---- */

/* Mostly somewhere useful; sometimes anywhere. */
static uint64_t take_address(FuzzInput *in)
{
    uint8_t where = fuzz_take(in, 1);

    if (where < 0x80) {
        return DATA_RAM + where * 256;
    }
    if (where < 0xc0) {
        return QUEUE_RAM + (where & 3) * 64 * KiB + fuzz_take(in, 2);
    }
    return where < 0xd0 ? RAM_BASE + RAM_SIZE - fuzz_take(in, 1) : fuzz_take(in, 8);
}

static void write_memory(Target *t, FuzzInput *in)
{
    uint64_t addr = take_address(in);
    size_t wanted = fuzz_take(in, 1) % 64, len = MIN(wanted, fuzz_left(in));

    address_space_write(t->g->m->as, addr, in->at, len);
    in->at += len;
}

static void describe(Target *t, FuzzInput *in)
{
    unsigned which = fuzz_take(in, 1), i = fuzz_take(in, 1) % (2 * RING_SIZE);
    uint64_t addr = take_address(in);
    uint32_t len = fuzz_take(in, which & 0x80 ? 4 : 1);
    uint8_t flags = fuzz_take(in, 1);
    Ring *r = &t->ring[which % RINGS];
    Desc d = {addr, len, flags & 7, flags >> 3};

    memcpy(guest_ptr(t->g, QUEUE_RAM + (which % RINGS) * 64 * KiB + i * sizeof(d)), &d, sizeof(d));
    if (flags & 0x40 && r->g) {
        ring_offer(r, i);
        ring_kick(r);
    }
}

static void host_sends(Target *t, FuzzInput *in)
{
    uint32_t wanted = fuzz_take(in, 1), len = MIN(wanted, fuzz_left(in));
    uint32_t header = GUINT32_TO_BE(len);

    if (t->peer >= 0) {
        if (t->device == NET) {
            send(t->peer, &header, sizeof(header), MSG_DONTWAIT);
        }
        send(t->peer, in->at, len, MSG_DONTWAIT);
    }
    in->at += len;
}

static void migrate(Target *t, bool damaged, FuzzInput *in)
{
    g_autoptr(GByteArray) state = NULL;
    g_autoptr(GError) err = NULL;
    QEMUFile *f;
    bool ok;

    guest_stop(t->g);
    state = guest_save(t->vdev);
    if (damaged) {
        state->data[fuzz_take(in, 2) % state->len] ^= fuzz_take(in, 1);
    }
    f = fuzz_file(state->data, state->len);
    ok = vmstate_load_state(f, guest_vmsd(t->vdev), t->vdev, guest_vmsd(t->vdev)->version_id, &err);
    fuzz_check_error(ok, err);
    /* What was saved can be loaded, unless the guest has broken its own rings: that is refused. */
    if (!damaged && err && !strstr(err->message, "inconsistent with Host index")) {
        g_assert_no_error(err);
    }
    qemu_fclose(f, NULL);
    if (!ok) {
        guest_write(t->g, 0x70, 0);
    }
    guest_run(t->g);
}

static void operate(Target *t, FuzzInput *in)
{
    uint8_t op = fuzz_take(in, 1);
    unsigned size = 1 << (op >> 4 & 3);
    hwaddr at = t->g->base + fuzz_take(in, 1) * (op & 0x80 ? 1 : 4) % 0x1000;
    uint64_t value;

    switch (op & 15) {
    case 0:
    case 1:
    case 2:
        address_space_store(t->g->m->as, at & ~UINT64_C(3), 4, fuzz_take(in, 4));
        break;
    case 3:
        address_space_store(t->g->m->as, at, size, fuzz_take(in, size));
        break;
    case 4:
        address_space_load(t->g->m->as, at, size, &value);
        break;
    case 5:
        write_memory(t, in);
        break;
    case 6:
        let_it_work(t);
        break;
    case 7:
        host_sends(t, in);
        break;
    case 8:
        migrate(t, op & 0x80, in);
        break;
    case 9:
        guest_write(t->g, 0x50, op >> 4);
        break;
    default:
        describe(t, in);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput in = {data, data + size};
    unsigned choice = fuzz_take(&in, 1);
    Target *t = find(choice / 2 % DEVICES, choice & 1);

    memset(t->ring, 0, sizeof(t->ring));
    if (fuzz_take(&in, 1) & 1) {
        guest_negotiate(t->g, fuzz_take(&in, 8));
        for (unsigned i = 0; i < RINGS; i++) {
            t->ring[i] = guest_ring(t->g, i, RING_SIZE);
        }
        guest_driver_ok(t->g);
    }
    for (unsigned n = 0; n < MAX_OPERATIONS && fuzz_left(&in); n++) {
        operate(t, &in);
    }
    forget(t);
    return 0;
}
