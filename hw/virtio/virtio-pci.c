/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PCI function around a virtio device. Its configuration space is laid out as stock QEMU 7.2
 * does it, transitional on the root bus and modern behind a root port, because it travels.
 */
#include "hw/virtio/virtio-pci.h"

#define VENDOR_ID       0x1AF4
#define MODERN_ID_BASE  0x1040
#define MODERN_SUBSYS   0x1100
#define VECTORS_AUTO    UINT32_MAX
#define FIRST_CAP       0x40
#define PM_CAP_SIZE     8
#define VENDOR_CAP_SIZE 0x10
#define MSIX_TABLE_ROOM 0x800

enum { CFG_COMMON = 1, CFG_NOTIFY, CFG_ISR, CFG_DEVICE, CFG_PCI };

static uint64_t pow2_ceil(uint64_t n)
{
    return n > 1 ? UINT64_C(1) << (64 - __builtin_clzll(n - 1)) : 1;
}

/* ---- interrupts ---- */

static void update_pin(VirtIOPCI *s)
{
    if (!pci_msix_enabled(&s->parent)) {
        pci_set_irq(&s->parent, 0, s->vdev && (s->vdev->isr & 1));
    }
}

static void virtio_pci_update_irq(VirtioTransport *t)
{
    update_pin(VIRTIO_PCI(t));
}

static void virtio_pci_notify(VirtioTransport *t, uint16_t vector)
{
    VirtIOPCI *s = VIRTIO_PCI(t);

    if (pci_msix_enabled(&s->parent)) {
        pci_msix_notify(&s->parent, vector); /* drops VIRTIO_NO_VECTOR */
    } else {
        update_pin(s);
    }
}

uint8_t virtio_pci_read_isr(VirtIOPCI *s)
{
    uint8_t isr = s->vdev->isr;

    s->vdev->isr = 0;
    update_pin(s);
    return isr;
}

uint16_t virtio_pci_check_vector(VirtIOPCI *s, uint32_t vector)
{
    return vector < pci_msix_vectors(&s->parent) ? vector : VIRTIO_NO_VECTOR;
}

/* ---- reset ---- */

void virtio_pci_reset_by_driver(VirtIOPCI *s)
{
    for (unsigned i = 0; i < VIRTIO_QUEUE_MAX; i++) {
        s->vqs[i].enabled = false;
        memset(s->vqs[i].desc, 0, sizeof(s->vqs[i].desc));
        memset(s->vqs[i].avail, 0, sizeof(s->vqs[i].avail));
        memset(s->vqs[i].used, 0, sizeof(s->vqs[i].used));
    }
    virtio_reset(s->vdev);
}

static void virtio_pci_reset(PCIDevice *dev)
{
    VirtIOPCI *s = VIRTIO_PCI(dev);

    virtio_pci_reset_by_driver(s);
    s->dfselect = s->gfselect = 0;
    memset(s->guest_features, 0, sizeof(s->guest_features));
    memset(s->vqs, 0, VIRTIO_QUEUE_MAX * sizeof(*s->vqs));
    if (pci_is_express(dev)) {
        pcie_endpoint_reset(dev, FIRST_CAP);
    }
}

/* ---- configuration space ---- */

static bool touches(unsigned addr, unsigned len, unsigned reg, unsigned size)
{
    return addr < reg + size && reg < addr + len;
}

/* The access that the capability describes; 0: it is not one. */
static unsigned cfg_access(VirtIOPCI *s, uint32_t *offset)
{
    const uint8_t *cap = pci_config(&s->parent)->config + s->config_cap;
    uint32_t len = pci_get_le32(cap + 12);

    *offset = pci_get_le32(cap + 8);
    return cap[4] == VIRTIO_PCI_MODERN_BAR && (len == 1 || len == 2 || len == 4) &&
                   *offset % len == 0 && *offset < VIRTIO_PCI_AREAS * VIRTIO_PCI_AREA_SIZE
               ? len
               : 0;
}

static void virtio_pci_config_will_read(PCIDevice *dev, unsigned addr, unsigned len)
{
    VirtIOPCI *s = VIRTIO_PCI(dev);
    unsigned data = s->config_cap + VENDOR_CAP_SIZE, size;
    uint32_t offset;

    if (s->config_cap && touches(addr, len, data, 4)) {
        size = cfg_access(s, &offset);
        if (size) {
            pci_put_le32(pci_config(dev)->config + data, virtio_pci_modern_read(s, offset, size));
        }
    }
}

static void virtio_pci_config_changed(PCIDevice *dev, unsigned addr, unsigned len)
{
    VirtIOPCI *s = VIRTIO_PCI(dev);
    const PCIConfig *cfg = pci_config(dev);
    unsigned data = s->config_cap + VENDOR_CAP_SIZE, size;
    uint32_t offset;

    if (!s->vdev || len >= PCI_CONFIG_SIZE) {
        return; /* a load */
    }
    if (pci_is_express(dev)) {
        pcie_endpoint_config_changed(dev, FIRST_CAP, addr, len);
    }
    /* Without bus mastering the device can reach no ring. */
    if (touches(addr, len, PCI_COMMAND, 1) && !(cfg->config[PCI_COMMAND] & PCI_COMMAND_MASTER)) {
        virtio_set_status(s->vdev, s->vdev->status & ~VIRTIO_STATUS_DRIVER_OK);
    }
    if (s->config_cap && touches(addr, len, data, 4)) {
        size = cfg_access(s, &offset);
        if (size) {
            virtio_pci_modern_write(s, offset, size, pci_get_le32(cfg->config + data));
        }
    }
}

/* A vendor capability that says: structure @type is at @offset of BAR 4. */
static unsigned add_vendor_cap(VirtIOPCI *s, unsigned at, unsigned extra, uint8_t type,
                               uint32_t offset)
{
    uint8_t *cap = pci_add_capability(&s->parent, PCI_CAP_ID_VENDOR, at, VENDOR_CAP_SIZE + extra);

    cap[2] = VENDOR_CAP_SIZE + extra;
    cap[3] = type;
    if (type != CFG_PCI) {
        cap[4] = VIRTIO_PCI_MODERN_BAR;
        pci_put_le32(cap + 8, offset);
        pci_put_le32(cap + 12, VIRTIO_PCI_AREA_SIZE);
    }
    return at + VENDOR_CAP_SIZE + extra;
}

static unsigned add_modern_caps(VirtIOPCI *s, unsigned at)
{
    PCIConfig *cfg = pci_config(&s->parent);

    at = add_vendor_cap(s, at, 0, CFG_COMMON, VIRTIO_PCI_COMMON * VIRTIO_PCI_AREA_SIZE);
    at = add_vendor_cap(s, at, 0, CFG_ISR, VIRTIO_PCI_ISR * VIRTIO_PCI_AREA_SIZE);
    at = add_vendor_cap(s, at, 0, CFG_DEVICE, VIRTIO_PCI_DEVICE * VIRTIO_PCI_AREA_SIZE);
    at = add_vendor_cap(s, at, 4, CFG_NOTIFY, VIRTIO_PCI_NOTIFY * VIRTIO_PCI_AREA_SIZE);
    pci_put_le32(cfg->config + at - 4, VIRTIO_PCI_NOTIFY_STRIDE);
    s->config_cap = at;
    at = add_vendor_cap(s, at, 4, CFG_PCI, 0);
    cfg->wmask[s->config_cap + 4] = 0xFF;
    memset(cfg->wmask + s->config_cap + 8, 0xFF, 12);
    return at;
}

static unsigned add_express_caps(PCIDevice *dev)
{
    unsigned at = FIRST_CAP;
    uint8_t *pm;

    pcie_endpoint_init(dev, at);
    at += PCIE_CAP_SIZE;
    pm = pci_add_capability(dev, PCI_CAP_ID_PM, at, PM_CAP_SIZE);
    pci_put_le16(pm + 2, 0x0003);
    pci_put_le16(pci_config(dev)->wmask + at + 4, 0x0003); /* power state */
    return at + PM_CAP_SIZE;
}

static void add_msix(VirtIOPCI *s, unsigned at, unsigned vectors)
{
    uint64_t pba = MAX(MSIX_TABLE_ROOM, vectors * 16);
    uint64_t size = MAX(0x1000, pba + DIV_ROUND_UP(vectors, 64) * 8);

    pci_register_bar(&s->parent, VIRTIO_PCI_MSIX_BAR, 0, pow2_ceil(size));
    pci_msix_init(&s->parent, at, VIRTIO_PCI_MSIX_BAR, vectors, 0, pba);
}

static void set_identity(VirtIOPCI *s)
{
    PCIConfig *cfg = pci_config(&s->parent);
    uint16_t id = VIRTIO_DEVICE_GET_CLASS(s->vdev)->device_id;

    if (s->legacy) {
        pci_put_le16(cfg->config + PCI_DEVICE_ID, VIRTIO_PCI_GET_CLASS(s)->transitional_id);
        pci_put_le16(cfg->config + PCI_SUBSYSTEM_VENDOR_ID, VENDOR_ID);
        pci_put_le16(cfg->config + PCI_SUBSYSTEM_ID, id);
    } else {
        pci_put_le16(cfg->config + PCI_DEVICE_ID, MODERN_ID_BASE + id);
        pci_put_le16(cfg->config + PCI_SUBSYSTEM_VENDOR_ID, VENDOR_ID);
        pci_put_le16(cfg->config + PCI_SUBSYSTEM_ID, MODERN_SUBSYS);
        cfg->config[PCI_REVISION_ID] = 1;
    }
    cfg->config[PCI_INTERRUPT_PIN] = 1;
}

/* The device model is there: what the guest sees of it. */
static void init_function(VirtIOPCI *s, unsigned vectors)
{
    unsigned at = pci_is_express(&s->parent) ? add_express_caps(&s->parent) : FIRST_CAP;

    set_identity(s);
    if (s->modern) {
        pci_register_bar(&s->parent, VIRTIO_PCI_MODERN_BAR, PCI_BAR_MEM64 | PCI_BAR_PREFETCH,
                         VIRTIO_PCI_AREAS * VIRTIO_PCI_AREA_SIZE);
        virtio_pci_modern_init(s);
        at = add_modern_caps(s, at);
    }
    if (vectors) {
        add_msix(s, at, vectors);
    }
    if (s->legacy) {
        uint64_t size =
            pow2_ceil(VIRTIO_PCI_LEGACY_HEADER - (vectors ? 0 : 4) + s->vdev->config_len);

        pci_register_bar(&s->parent, VIRTIO_PCI_LEGACY_BAR, PCI_BAR_IO, size);
        virtio_pci_legacy_init(s, size);
    }
}

/* ---- life cycle ---- */

/* Legacy registers are I/O, which a PCI Express function should not need: off behind a port. */
static bool choose_mode(VirtIOPCI *s, GError **errp)
{
    const char *text = s->disable_legacy ? s->disable_legacy : "auto";

    if (g_str_equal(text, "auto")) {
        s->legacy = pci_bus_is_root(pci_device_bus(&s->parent));
    } else if (g_str_equal(text, "on") || g_str_equal(text, "off")) {
        s->legacy = g_str_equal(text, "off");
    } else {
        error_setg(errp, "Property '%s.disable-legacy' doesn't take value '%s': on, off or auto",
                   object_type_name(G_OBJECT(s)), text);
        return false;
    }
    s->modern = !s->disable_modern;
    if (!s->legacy && !s->modern) {
        error_setg(errp, "device cannot work as neither modern nor legacy mode is enabled; set "
                         "either disable-modern or disable-legacy to 'off'");
        return false;
    }
    return true;
}

static gboolean virtio_pci_realize(PCIDevice *dev, GError **errp)
{
    VirtIOPCI *s = VIRTIO_PCI(dev);
    VirtIOPCIClass *k = VIRTIO_PCI_GET_CLASS(s);
    uint32_t vectors = s->vectors == VECTORS_AUTO ? k->default_vectors(s) : s->vectors;

    if (vectors > 2048) {
        error_setg(errp, "Property '%s.vectors' is at most 2048", object_type_name(G_OBJECT(s)));
        return FALSE;
    }
    if (!choose_mode(s, errp)) {
        return FALSE;
    }
    s->vqs = g_new0(VirtIOPCIQueue, VIRTIO_QUEUE_MAX);
    s->bus = bus_new(device_machine(HW_DEVICE(s)), "virtio-bus", "virtio-bus", 1, HW_DEVICE(s));

    /* Realizing takes our reference over, also when it fails. */
    DeviceState *part = g_steal_pointer(&s->part);

    if (!device_realize(part, s->bus, errp)) {
        g_clear_pointer(&s->bus, bus_free);
        g_clear_pointer(&s->vqs, g_free);
        return FALSE;
    }
    s->part = part;
    init_function(s, vectors);
    return TRUE;
}

static void virtio_pci_unrealize(PCIDevice *dev)
{
    VirtIOPCI *s = VIRTIO_PCI(dev);

    device_unplug(g_steal_pointer(&s->part));
    g_clear_pointer(&s->bus, bus_free);
    g_clear_pointer(&s->vqs, g_free);
}

static gboolean virtio_pci_create_parts(DeviceState *dev, GError **errp)
{
    VirtIOPCI *s = VIRTIO_PCI(dev);

    s->part = device_new(device_machine(dev), VIRTIO_PCI_GET_CLASS(s)->part_type, NULL, errp);
    return s->part != NULL;
}

static DeviceState *virtio_pci_part(DeviceState *dev)
{
    return VIRTIO_PCI(dev)->part;
}

/* ---- as a transport ---- */

static void virtio_pci_plugged(VirtioTransport *t, VirtIODevice *vdev)
{
    VIRTIO_PCI(t)->vdev = vdev;
}

static void virtio_pci_unplugged(VirtioTransport *t)
{
    VirtIOPCI *s = VIRTIO_PCI(t);

    s->vdev = NULL;
    update_pin(s);
}

static bool virtio_pci_modern(VirtioTransport *t)
{
    return VIRTIO_PCI(t)->modern;
}

static char *virtio_pci_path(VirtioTransport *t)
{
    return pci_path(HW_PCI_DEVICE(t));
}

static void virtio_pci_transport_init(VirtioTransportInterface *iface)
{
    iface->plugged = virtio_pci_plugged;
    iface->unplugged = virtio_pci_unplugged;
    iface->update_irq = virtio_pci_update_irq;
    iface->notify = virtio_pci_notify;
    iface->modern = virtio_pci_modern;
    iface->path = virtio_pci_path;
    iface->save_config = virtio_pci_save_config;
    iface->load_config = virtio_pci_load_config;
    iface->save_queue = virtio_pci_save_queue;
    iface->load_queue = virtio_pci_load_queue;
    iface->extra_state = &vmstate_virtio_pci;
    iface->extra_always = true;
}

G_DEFINE_ABSTRACT_TYPE_WITH_CODE(VirtIOPCI, virtio_pci, TYPE_PCI_DEVICE,
                                 G_IMPLEMENT_INTERFACE(TYPE_VIRTIO_TRANSPORT,
                                                       virtio_pci_transport_init))
DEVICE_TYPE_REGISTER("virtio-pci", virtio_pci_get_type)

static const DeviceProperty virtio_pci_props[] = {
    DEVICE_PROP_STRING("disable-legacy", VirtIOPCI, disable_legacy,
                       "no registers of virtio 0.9: on, off, auto (behind a root port)"),
    DEVICE_PROP_BOOL("disable-modern", VirtIOPCI, disable_modern, false,
                     "no registers of virtio 1"),
    DEVICE_PROP_UINT32("vectors", VirtIOPCI, vectors, VECTORS_AUTO, "MSI-X vectors, 0: no MSI-X"),
    {},
};

static void virtio_pci_finalize(GObject *obj)
{
    g_clear_object(&VIRTIO_PCI(obj)->part);
    G_OBJECT_CLASS(virtio_pci_parent_class)->finalize(obj);
}

static void virtio_pci_init(VirtIOPCI *s)
{
}

static void virtio_pci_class_init(VirtIOPCIClass *k)
{
    PCIDeviceClass *pc = &k->parent_class;
    DeviceStateClass *dc = &pc->parent_class;

    device_class_set_props(dc, virtio_pci_props);
    G_OBJECT_CLASS(k)->finalize = virtio_pci_finalize;
    dc->create_parts = virtio_pci_create_parts;
    dc->part = virtio_pci_part;
    pc->vendor_id = VENDOR_ID;
    pc->kind = PCI_EXPRESS_BELOW_PORT;
    pc->realize_function = virtio_pci_realize;
    pc->unrealize_function = virtio_pci_unrealize;
    pc->reset_function = virtio_pci_reset;
    pc->config_will_read = virtio_pci_config_will_read;
    pc->config_changed = virtio_pci_config_changed;
}
