/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-mmio: the register window of one virtio device (spec 80 section 10), as version 1
 * ("legacy", the default) or version 2 with -global virtio-mmio.force-legacy=false.
 */
#include "util/osdep.h"
#include "hw/virtio-mmio.h"
#include "hw/virtio.h"

enum {
    REG_MAGIC = 0x000,
    REG_VERSION = 0x004,
    REG_DEVICE_ID = 0x008,
    REG_VENDOR_ID = 0x00c,
    REG_HOST_FEATURES = 0x010,
    REG_HOST_FEATURES_SEL = 0x014,
    REG_GUEST_FEATURES = 0x020,
    REG_GUEST_FEATURES_SEL = 0x024,
    REG_GUEST_PAGE_SIZE = 0x028, /* legacy */
    REG_QUEUE_SEL = 0x030,
    REG_QUEUE_NUM_MAX = 0x034,
    REG_QUEUE_NUM = 0x038,
    REG_QUEUE_ALIGN = 0x03c, /* legacy */
    REG_QUEUE_PFN = 0x040,   /* legacy */
    REG_QUEUE_READY = 0x044,
    REG_QUEUE_NOTIFY = 0x050,
    REG_ISR = 0x060,
    REG_ISR_ACK = 0x064,
    REG_STATUS = 0x070,
    REG_QUEUE_DESC_LOW = 0x080,
    REG_QUEUE_DESC_HIGH = 0x084,
    REG_QUEUE_AVAIL_LOW = 0x090,
    REG_QUEUE_AVAIL_HIGH = 0x094,
    REG_QUEUE_USED_LOW = 0x0a0,
    REG_QUEUE_USED_HIGH = 0x0a4,
    REG_SHM_LEN_LOW = 0x0b0,
    REG_SHM_LEN_HIGH = 0x0b4,
    REG_CONFIG_GENERATION = 0x0fc,
    REG_CONFIG = 0x100,
};

#define MAGIC     0x74726976 /* "virt" */
#define VENDOR_ID 0x554D4551 /* what the stock board says; drivers print it */

/* What a modern driver programs before it sets a queue ready; low half first. */
typedef struct {
    uint16_t num;
    bool enabled;
    uint32_t desc[2], avail[2], used[2];
} MmioQueue;

typedef struct {
    DeviceState parent;
    MemoryRegion region;
    Irq irq;
    hwaddr base;
    Bus *bus;
    VirtIODevice *vdev; /* NULL: empty slot */
    bool legacy;
    uint32_t host_features_sel, guest_features_sel;
    uint32_t guest_page_shift;
    uint32_t guest_features[2];
    MmioQueue *vqs; /* VIRTIO_QUEUE_MAX */
} VirtioMmio;
typedef DeviceStateClass VirtioMmioClass;

#define VIRTIO_MMIO(obj) (G_TYPE_CHECK_INSTANCE_CAST((obj), virtio_mmio_get_type(), VirtioMmio))
GType virtio_mmio_get_type(void);

static uint64_t join(const uint32_t half[2])
{
    return (uint64_t)half[1] << 32 | half[0];
}

/* Power-on state of the transport. */
static void reset_transport(VirtioMmio *s)
{
    s->host_features_sel = s->guest_features_sel = 0;
    s->guest_page_shift = 0;
    memset(s->guest_features, 0, sizeof(s->guest_features));
    memset(s->vqs, 0, VIRTIO_QUEUE_MAX * sizeof(*s->vqs));
}

/* The driver resets the device: what it told the transport stays, above all the legacy page size.
 */
static void reset_by_driver(VirtioMmio *s)
{
    for (unsigned i = 0; i < VIRTIO_QUEUE_MAX; i++) {
        s->vqs[i].enabled = false;
    }
    virtio_reset(s->vdev);
}

/* ---- reading ---- */

static uint32_t read_host_features(VirtioMmio *s)
{
    uint64_t features = s->vdev->host_features;

    if (s->legacy) {
        return s->host_features_sel ? 0 : features;
    }
    features &= ~VIRTIO_DEVICE_GET_CLASS(s->vdev)->legacy_features;
    features &= ~(1ULL << VIRTIO_F_NOTIFY_ON_EMPTY | 1ULL << VIRTIO_F_ANY_LAYOUT);
    return features >> (32 * s->host_features_sel);
}

static uint32_t read_register(VirtioMmio *s, hwaddr addr)
{
    VirtIODevice *vdev = s->vdev;
    VirtQueue *vq = &vdev->vq[vdev->queue_sel];

    switch (addr) {
    case REG_DEVICE_ID:
        return VIRTIO_DEVICE_GET_CLASS(vdev)->device_id;
    case REG_HOST_FEATURES:
        return read_host_features(s);
    case REG_QUEUE_NUM_MAX:
        return vq->num ? VIRTQUEUE_MAX_SIZE : 0;
    case REG_QUEUE_PFN:
        return s->legacy ? vq->desc >> s->guest_page_shift : 0;
    case REG_QUEUE_READY:
        return s->legacy ? 0 : s->vqs[vdev->queue_sel].enabled;
    case REG_ISR:
        return vdev->isr;
    case REG_STATUS:
        return vdev->status;
    case REG_SHM_LEN_LOW:
    case REG_SHM_LEN_HIGH:
        return UINT32_MAX; /* no shared memory regions */
    case REG_CONFIG_GENERATION:
        return s->legacy ? 0 : vdev->generation;
    default:
        return 0;
    }
}

static MemTxResult mmio_read(void *opaque, hwaddr addr, unsigned size, uint64_t *value)
{
    VirtioMmio *s = opaque;

    *value = 0;
    if (addr >= REG_CONFIG) {
        if (s->vdev) {
            *value = virtio_config_read(s->vdev, addr - REG_CONFIG, size);
            *value &= UINT64_MAX >> (64 - 8 * size);
        }
        return MEMTX_OK;
    }
    if (size != 4) {
        return MEMTX_OK;
    }
    switch (addr) {
    case REG_MAGIC:
        *value = MAGIC;
        break;
    case REG_VERSION:
        *value = s->legacy ? 1 : 2;
        break;
    case REG_VENDOR_ID:
        *value = VENDOR_ID;
        break;
    default:
        *value = s->vdev ? read_register(s, addr) : 0;
        break;
    }
    return MEMTX_OK;
}

/* ---- writing ---- */

static void write_queue_num(VirtioMmio *s, uint32_t value)
{
    unsigned sel = s->vdev->queue_sel;

    virtio_queue_set_num(s->vdev, sel, value);
    if (s->legacy) {
        virtio_queue_set_addr(s->vdev, sel, s->vdev->vq[sel].desc);
    } else {
        s->vqs[sel].num = value;
    }
}

static void write_queue_pfn(VirtioMmio *s, uint32_t pfn)
{
    if (!pfn) {
        reset_by_driver(s);
    } else {
        virtio_queue_set_addr(s->vdev, s->vdev->queue_sel, (uint64_t)pfn << s->guest_page_shift);
    }
}

static void write_queue_ready(VirtioMmio *s, uint32_t value)
{
    unsigned sel = s->vdev->queue_sel;
    MmioQueue *q = &s->vqs[sel];

    q->enabled = value != 0;
    if (q->enabled) {
        virtio_queue_set_num(s->vdev, sel, q->num);
        virtio_queue_set_rings(s->vdev, sel, join(q->desc), join(q->avail), join(q->used));
    }
}

static void write_status(VirtioMmio *s, uint8_t status)
{
    if (!s->legacy && (status & VIRTIO_STATUS_FEATURES_OK)) {
        virtio_set_features(s->vdev, join(s->guest_features));
    }
    virtio_set_status(s->vdev, status);
    if (!status) {
        reset_by_driver(s);
    }
}

static void write_legacy_register(VirtioMmio *s, hwaddr addr, uint32_t value)
{
    VirtIODevice *vdev = s->vdev;

    switch (addr) {
    case REG_GUEST_FEATURES:
        if (!s->guest_features_sel) {
            virtio_set_features(vdev, value);
        }
        break;
    case REG_GUEST_PAGE_SIZE:
        s->guest_page_shift = value ? __builtin_ctz(value) : 0;
        break;
    case REG_QUEUE_ALIGN:
        virtio_queue_set_align(vdev, vdev->queue_sel, value);
        break;
    case REG_QUEUE_PFN:
        write_queue_pfn(s, value);
        break;
    default:
        break;
    }
}

static void write_modern_register(VirtioMmio *s, hwaddr addr, uint32_t value)
{
    MmioQueue *q = &s->vqs[s->vdev->queue_sel];

    switch (addr) {
    case REG_GUEST_FEATURES:
        s->guest_features[s->guest_features_sel] = value;
        break;
    case REG_QUEUE_READY:
        write_queue_ready(s, value);
        break;
    case REG_QUEUE_DESC_LOW:
    case REG_QUEUE_DESC_HIGH:
        q->desc[addr != REG_QUEUE_DESC_LOW] = value;
        break;
    case REG_QUEUE_AVAIL_LOW:
    case REG_QUEUE_AVAIL_HIGH:
        q->avail[addr != REG_QUEUE_AVAIL_LOW] = value;
        break;
    case REG_QUEUE_USED_LOW:
    case REG_QUEUE_USED_HIGH:
        q->used[addr != REG_QUEUE_USED_LOW] = value;
        break;
    default:
        break;
    }
}

static void write_register(VirtioMmio *s, hwaddr addr, uint32_t value)
{
    VirtIODevice *vdev = s->vdev;

    switch (addr) {
    case REG_HOST_FEATURES_SEL:
        s->host_features_sel = value != 0;
        break;
    case REG_GUEST_FEATURES_SEL:
        s->guest_features_sel = value != 0;
        break;
    case REG_QUEUE_SEL:
        if (value < VIRTIO_QUEUE_MAX) {
            vdev->queue_sel = value;
        }
        break;
    case REG_QUEUE_NUM:
        write_queue_num(s, value);
        break;
    case REG_QUEUE_NOTIFY:
        virtio_queue_notify(vdev, value);
        break;
    case REG_ISR_ACK:
        vdev->isr &= ~value;
        irq_set(&s->irq, vdev->isr != 0);
        break;
    case REG_STATUS:
        write_status(s, value);
        break;
    default:
        if (s->legacy) {
            write_legacy_register(s, addr, value);
        } else {
            write_modern_register(s, addr, value);
        }
        break;
    }
}

static MemTxResult mmio_write(void *opaque, hwaddr addr, unsigned size, uint64_t value)
{
    VirtioMmio *s = opaque;

    if (!s->vdev) {
        return MEMTX_OK;
    }
    if (addr >= REG_CONFIG) {
        virtio_config_write(s->vdev, addr - REG_CONFIG, size, value);
    } else if (size == 4) {
        write_register(s, addr, value);
    }
    return MEMTX_OK;
}

static const MemoryRegionOps mmio_ops = {
    .read = mmio_read,
    .write = mmio_write,
    .sizes = 1 | 2 | 4,
    .split = true,
};

/* ---- the stream ---- */

static bool mmio_save_config(VirtioTransport *t, QEMUFile *f, GError **errp)
{
    VirtioMmio *s = VIRTIO_MMIO(t);

    qemu_put_be32(f, s->host_features_sel);
    qemu_put_be32(f, s->guest_features_sel);
    qemu_put_be32(f, s->guest_page_shift);
    return true;
}

static bool mmio_load_config(VirtioTransport *t, QEMUFile *f, GError **errp)
{
    VirtioMmio *s = VIRTIO_MMIO(t);
    uint32_t host_sel = qemu_get_be32(f);
    uint32_t guest_sel = qemu_get_be32(f);
    uint32_t shift = qemu_get_be32(f);

    if (!qemu_file_check(f, errp)) {
        return false;
    }
    if (host_sel > 1 || guest_sel > 1 || shift > 31) {
        error_setg(errp,
                   "virtio-mmio: feature selectors %u, %u or page shift %u out of range; the "
                   "stream is corrupt",
                   host_sel, guest_sel, shift);
        return false;
    }
    reset_transport(s);
    s->host_features_sel = host_sel;
    s->guest_features_sel = guest_sel;
    s->guest_page_shift = shift;
    return true;
}

static bool put_queues(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    VirtioMmio *s = pv;

    for (unsigned i = 0; i < VIRTIO_QUEUE_MAX; i++) {
        const MmioQueue *q = &s->vqs[i];

        qemu_put_be16(f, q->num);
        qemu_put_byte(f, q->enabled);
        for (unsigned h = 0; h < 2; h++) {
            qemu_put_be32(f, q->desc[h]);
        }
        for (unsigned h = 0; h < 2; h++) {
            qemu_put_be32(f, q->avail[h]);
        }
        for (unsigned h = 0; h < 2; h++) {
            qemu_put_be32(f, q->used[h]);
        }
    }
    return true;
}

static bool get_queues(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    VirtioMmio *s = pv;

    for (unsigned i = 0; i < VIRTIO_QUEUE_MAX; i++) {
        MmioQueue *q = &s->vqs[i];

        q->num = qemu_get_be16(f);
        q->enabled = qemu_get_byte(f) != 0;
        for (unsigned h = 0; h < 2; h++) {
            q->desc[h] = qemu_get_be32(f);
        }
        for (unsigned h = 0; h < 2; h++) {
            q->avail[h] = qemu_get_be32(f);
        }
        for (unsigned h = 0; h < 2; h++) {
            q->used[h] = qemu_get_be32(f);
        }
    }
    return qemu_file_check(f, errp);
}

static bool state_needed(void *opaque)
{
    return true;
}

static const VMStateInfo info_queues = {"virtio_mmio/queue_state", get_queues, put_queues};

static const VMStateDescription vmstate_mmio_state = {
    .name = "virtio_mmio/state",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = state_needed,
    .fields = (const VMStateField[]){VMSTATE_UINT32_ARRAY(guest_features, VirtioMmio, 2),
                                     {.name = "vqs", .info = &info_queues, .flags = VMS_SINGLE},
                                     VMSTATE_END_OF_LIST()},
};

static const VMStateDescription vmstate_mmio = {
    .name = "virtio_mmio",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]){VMSTATE_END_OF_LIST()},
    .subsections = (const VMStateDescription *const[]){&vmstate_mmio_state, NULL},
};

/* ---- as a transport and a device ---- */

static void mmio_plugged(VirtioTransport *t, VirtIODevice *vdev)
{
    VIRTIO_MMIO(t)->vdev = vdev;
}

static void mmio_unplugged(VirtioTransport *t)
{
    VIRTIO_MMIO(t)->vdev = NULL;
}

static void mmio_update_irq(VirtioTransport *t)
{
    VirtioMmio *s = VIRTIO_MMIO(t);

    if (s->vdev) {
        irq_set(&s->irq, s->vdev->isr != 0);
    }
}

static bool mmio_modern(VirtioTransport *t)
{
    return !VIRTIO_MMIO(t)->legacy;
}

static char *mmio_path(VirtioTransport *t)
{
    return g_strdup_printf("virtio-mmio@%016" PRIx64, VIRTIO_MMIO(t)->base);
}

static void virtio_mmio_transport_init(VirtioTransportInterface *iface)
{
    iface->plugged = mmio_plugged;
    iface->unplugged = mmio_unplugged;
    iface->update_irq = mmio_update_irq;
    iface->modern = mmio_modern;
    iface->path = mmio_path;
    iface->save_config = mmio_save_config;
    iface->load_config = mmio_load_config;
    iface->has_align = true;
    iface->extra_state = &vmstate_mmio;
}

G_DEFINE_TYPE_WITH_CODE(VirtioMmio, virtio_mmio, TYPE_DEVICE,
                        G_IMPLEMENT_INTERFACE(TYPE_VIRTIO_TRANSPORT, virtio_mmio_transport_init))
DEVICE_TYPE_REGISTER("virtio-mmio", virtio_mmio_get_type)

static gboolean mmio_realize(DeviceState *dev, GError **errp)
{
    VirtioMmio *s = VIRTIO_MMIO(dev);

    s->vqs = g_new0(MmioQueue, VIRTIO_QUEUE_MAX);
    memory_region_init_io(&s->region, "virtio-mmio", VIRTIO_MMIO_REGION_SZ, &mmio_ops, s);
    address_space_add(device_machine(dev)->as, &s->region, s->base, 0);
    return TRUE;
}

static void mmio_unrealize(DeviceState *dev)
{
    VirtioMmio *s = VIRTIO_MMIO(dev);

    address_space_del(device_machine(dev)->as, &s->region);
    g_clear_pointer(&s->bus, bus_free);
    g_clear_pointer(&s->vqs, g_free);
}

static void mmio_reset(DeviceState *dev)
{
    reset_transport(VIRTIO_MMIO(dev));
}

static const DeviceProperty mmio_props[] = {
    DEVICE_PROP_BOOL("force-legacy", VirtioMmio, legacy, true, "speak virtio-mmio version 1"),
    {},
};

static void virtio_mmio_init(VirtioMmio *s)
{
}

static void virtio_mmio_class_init(VirtioMmioClass *dc)
{
    device_class_set_props(dc, mmio_props);
    dc->desc = "virtio-mmio transport";
    dc->realize = mmio_realize;
    dc->unrealize = mmio_unrealize;
    dc->reset = mmio_reset;
}

bool virtio_mmio_create_slots(Machine *m, hwaddr base, const Irq irqs[VIRTIO_MMIO_SLOTS],
                              GError **errp)
{
    for (unsigned i = 0; i < VIRTIO_MMIO_SLOTS; i++) {
        g_autofree char *name = g_strdup_printf("virtio-mmio-bus.%u", i);
        DeviceState *dev = device_new(m, "virtio-mmio", NULL, errp);

        if (!dev) {
            return false;
        }
        VIRTIO_MMIO(dev)->base = base + (hwaddr)i * VIRTIO_MMIO_STRIDE;
        VIRTIO_MMIO(dev)->irq = irqs[i];
        if (!device_realize(dev, NULL, errp)) {
            return false;
        }
        VIRTIO_MMIO(dev)->bus = bus_new(m, "virtio-bus", name, 1, dev);
    }
    return true;
}
