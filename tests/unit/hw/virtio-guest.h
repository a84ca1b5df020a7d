/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest driver in a test: a machine with RAM and eight virtio-mmio slots, register access, rings
 * that the test writes into guest memory itself, and the device's section of a stream.
 */
#ifndef GODWIT_TESTS_VIRTIO_GUEST_H
#define GODWIT_TESTS_VIRTIO_GUEST_H

#include "hw/virtio-mmio.h"
#include "hw/virtio.h"
#include "io/channel-buffer.h"
#include "memory/dirty-log.h"
#include "util/lock.h"

#define RAM_BASE  UINT64_C(0x80000000)
#define RAM_SIZE  (16 * MiB)
#define SLOT_BASE UINT64_C(0x10001000)
#define QUEUE_RAM (RAM_BASE + 1 * MiB) /* queue i's rings at + i * 64 KiB */
#define DATA_RAM  (RAM_BASE + 8 * MiB)

typedef struct {
    Machine *m;
    RAMBlock *ram;
    hwaddr base; /* of the slot the device under test sits in: the last */
    bool modern;
    int irq_level[VIRTIO_MMIO_SLOTS];
    unsigned irq_raised;
    unsigned io_errors; /* stop requests */
} Guest;

/* A split ring as the driver sees it. */
typedef struct {
    Guest *g;
    unsigned index;
    uint16_t num;
    uint64_t desc, avail, used;
    uint16_t avail_idx, used_idx;
    uint16_t next_desc;
} Ring;

typedef struct {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
} Desc;
enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };

static inline void guest_irq(void *opaque, int n, int level)
{
    Guest *g = opaque;

    g->irq_level[n] = level;
    g->irq_raised += level;
}

static inline void guest_io_error(void *opaque)
{
    ((Guest *)opaque)->io_errors++;
}

static inline Guest *guest_new(bool modern)
{
    g_autoptr(GError) err = NULL;
    Guest *g = g_new0(Guest, 1);
    Irq irqs[VIRTIO_MMIO_SLOTS];
    MemoryRegion *mr = g_new0(MemoryRegion, 1);

    g->modern = modern;
    g->m = g_new0(Machine, 1);
    g->m->globals = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g->m->devices = g_ptr_array_new();
    g->m->buses = g_ptr_array_new();
    g->m->ram_list = ram_list_new();
    g->m->as = address_space_new(g->m->ram_list);
    g->m->vclock = clock_virtual_new();
    g->m->objects = object_registry_new();
    g->m->blocks = block_list_new();
    g->m->nets = net_list_new(g->m->vclock);
    g->m->ram_size = RAM_SIZE;
    g->m->requests.io_error_request = guest_io_error;
    g->m->requests.opaque = g;
    g->ram = ram_block_new_anon(g->m->ram_list, "ram", RAM_SIZE, RAM_MIGRATABLE, &err);
    g_assert_no_error(err);
    memory_region_init_ram(mr, "ram", g->ram);
    address_space_add(g->m->as, mr, RAM_BASE, 0);
    g_hash_table_insert(g->m->globals, g_strdup("virtio-mmio.force-legacy"),
                        g_strdup(modern ? "false" : "true"));
    for (int i = 0; i < VIRTIO_MMIO_SLOTS; i++) {
        irqs[i] = (Irq){guest_irq, g, i};
    }
    g_assert_true(virtio_mmio_create_slots(g->m, SLOT_BASE, irqs, &err));
    g->base = SLOT_BASE + 7 * VIRTIO_MMIO_STRIDE;
    return g;
}

static inline JsonObject *guest_options(const char *text)
{
    g_autoptr(JsonNode) node = json_from_string(text, NULL);

    g_assert_nonnull(node);
    return json_node_dup_object(node);
}

static inline VirtIODevice *guest_plug(Guest *g, const char *options)
{
    g_autoptr(GError) err = NULL;
    g_autoptr(JsonObject) o = guest_options(options);
    DeviceState *dev = device_add_from_options(g->m, o, false, &err);

    g_assert_no_error(err);
    return G_TYPE_CHECK_INSTANCE_TYPE(dev, TYPE_VIRTIO_DEVICE) ? VIRTIO_DEVICE(dev) : NULL;
}

static inline void guest_run(Guest *g)
{
    net_list_set_running(g->m->nets, true);
    devices_vm_state(g->m, true);
    clock_virtual_start(g->m->vclock);
}

static inline void guest_stop(Guest *g)
{
    clock_virtual_stop(g->m->vclock);
    devices_vm_state(g->m, false);
    net_list_set_running(g->m->nets, false);
    block_drain_all(g->m->blocks);
}

static inline void guest_free(Guest *g)
{
    Machine *m = g->m;
    RAMList *ram_list = m->ram_list;
    AddressSpace *as = m->as;
    Clock *vclock = m->vclock;
    BlockList *blocks = m->blocks;
    NetList *nets = m->nets;
    ObjectRegistry *objects = m->objects;
    MemoryTranslation t;

    address_space_translate(as, RAM_BASE, &t);
    devices_unrealize_all(m);
    g_hash_table_unref(m->globals);
    g_ptr_array_unref(m->devices);
    g_ptr_array_unref(m->buses);
    g_free(m);
    block_list_free(blocks);
    net_list_free(nets);
    object_registry_free(objects);
    clock_free(vclock);
    address_space_del(as, t.mr);
    address_space_free(as);
    g_free(t.mr);
    ram_block_free(g->ram);
    ram_list_free(ram_list);
    g_free(g);
}

/* ---- registers and memory ---- */

static inline uint32_t guest_read(Guest *g, hwaddr off)
{
    uint64_t v = 0;

    g_assert_cmpint(address_space_load(g->m->as, g->base + off, 4, &v), ==, MEMTX_OK);
    return v;
}

static inline void guest_write(Guest *g, hwaddr off, uint32_t v)
{
    g_assert_cmpint(address_space_store(g->m->as, g->base + off, 4, v), ==, MEMTX_OK);
}

static inline void *guest_ptr(Guest *g, uint64_t addr)
{
    g_assert_cmpuint(addr, >=, RAM_BASE);
    g_assert_cmpuint(addr, <, RAM_BASE + RAM_SIZE);
    return g->ram->host + (addr - RAM_BASE);
}

static inline uint64_t guest_features(Guest *g)
{
    uint64_t lo, hi;

    guest_write(g, 0x14, 1);
    hi = guest_read(g, 0x10);
    guest_write(g, 0x14, 0);
    lo = guest_read(g, 0x10);
    return hi << 32 | lo;
}

/* ---- the driver ---- */

/* Reset, negotiate @features, and stop before DRIVER_OK. */
static inline void guest_negotiate(Guest *g, uint64_t features)
{
    if (!g->modern) {
        guest_write(g, 0x28, 4096); /* before the reset, like Linux */
    }
    guest_write(g, 0x70, 0);
    guest_write(g, 0x70, 1);
    guest_write(g, 0x70, 3);
    if (g->modern) {
        guest_write(g, 0x24, 1);
        guest_write(g, 0x20, (features | 1ULL << VIRTIO_F_VERSION_1) >> 32);
        guest_write(g, 0x24, 0);
        guest_write(g, 0x20, features);
        guest_write(g, 0x70, 0xb);
    } else {
        guest_write(g, 0x20, features);
    }
}

static inline Ring guest_ring(Guest *g, unsigned index, uint16_t num)
{
    Ring r = {.g = g, .index = index, .num = num, .desc = QUEUE_RAM + index * 64 * KiB};

    r.avail = r.desc + 16 * num;
    r.used = ROUND_UP(r.avail + 6 + 2 * num, 4096);
    memset(guest_ptr(g, r.desc), 0, 64 * KiB);
    guest_write(g, 0x30, index);
    guest_write(g, 0x38, num);
    if (g->modern) {
        guest_write(g, 0x80, r.desc);
        guest_write(g, 0x84, r.desc >> 32);
        guest_write(g, 0x90, r.avail);
        guest_write(g, 0x94, r.avail >> 32);
        guest_write(g, 0xa0, r.used);
        guest_write(g, 0xa4, r.used >> 32);
        guest_write(g, 0x44, 1);
    } else {
        guest_write(g, 0x3c, 4096);
        guest_write(g, 0x40, r.desc >> 12);
    }
    return r;
}

static inline void guest_driver_ok(Guest *g)
{
    guest_write(g, 0x70, g->modern ? 0xf : 7);
}

static inline void ring_set_desc(Ring *r, unsigned i, uint64_t addr, uint32_t len, uint16_t flags,
                                 uint16_t next)
{
    Desc d = {addr, len, flags, next};

    memcpy(guest_ptr(r->g, r->desc + i * sizeof(d)), &d, sizeof(d));
}

/* Make @head available. */
static inline void ring_offer(Ring *r, uint16_t head)
{
    uint16_t *avail = guest_ptr(r->g, r->avail);

    avail[2 + r->avail_idx % r->num] = head;
    __atomic_store_n(&avail[1], ++r->avail_idx, __ATOMIC_RELEASE);
}

static inline void ring_kick(Ring *r)
{
    guest_write(r->g, 0x50, r->index);
}

/* A chain of @n buffers, those of @in_mask written by the device; returns its head. */
static inline uint16_t ring_add(Ring *r, const uint64_t *addr, const uint32_t *len, unsigned n,
                                uint32_t in_mask)
{
    uint16_t head = r->next_desc;

    for (unsigned i = 0; i < n; i++) {
        uint16_t d = r->next_desc;

        r->next_desc = (r->next_desc + 1) % r->num;
        ring_set_desc(r, d, addr[i], len[i],
                      (in_mask >> i & 1 ? DESC_WRITE : 0) | (i + 1 < n ? DESC_NEXT : 0),
                      r->next_desc);
    }
    ring_offer(r, head);
    return head;
}

static inline uint16_t ring_used_idx(Ring *r)
{
    return __atomic_load_n((uint16_t *)guest_ptr(r->g, r->used) + 1, __ATOMIC_ACQUIRE);
}

/* Wait for the next used entry; returns its length. */
static inline uint32_t ring_wait(Ring *r, uint32_t *id)
{
    uint32_t *entry;

    while (ring_used_idx(r) == r->used_idx) {
        g_main_context_iteration(NULL, TRUE);
    }
    entry = guest_ptr(r->g, r->used + 4 + 8 * (r->used_idx++ % r->num));
    if (id) {
        *id = entry[0];
    }
    return entry[1];
}

/* ---- the stream ---- */

static inline const VMStateDescription *guest_vmsd(VirtIODevice *vdev)
{
    return HW_DEVICE_GET_CLASS(vdev)->vmsd;
}

static inline GByteArray *guest_save(VirtIODevice *vdev)
{
    g_autoptr(GError) err = NULL;
    g_autoptr(QIOChannelBuffer) ioc = io_channel_buffer_new();
    QEMUFile *f = qemu_file_new_output(IO_CHANNEL(ioc));
    GByteArray *bytes;

    g_assert_true(vmstate_save_state(f, guest_vmsd(vdev), vdev, NULL, &err));
    g_assert_no_error(err);
    g_assert_true(qemu_fflush(f));
    bytes = g_byte_array_ref(io_channel_buffer_bytes(ioc));
    qemu_fclose(f, NULL);
    return bytes;
}

static inline bool guest_load(VirtIODevice *vdev, const void *data, size_t len, GError **errp)
{
    g_autoptr(QIOChannelBuffer) ioc = io_channel_buffer_new();
    QEMUFile *f;
    bool ok;

    g_byte_array_append(io_channel_buffer_bytes(ioc), data, len);
    f = qemu_file_new_input(IO_CHANNEL(ioc));
    ok = vmstate_load_state(f, guest_vmsd(vdev), vdev, guest_vmsd(vdev)->version_id, errp);
    if (ok) {
        g_assert_cmpuint(qemu_file_offset(f), ==, len);
    }
    qemu_fclose(f, NULL);
    return ok;
}

#endif
