/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Generic PCIe host (spec 80 section 11): ECAM over the bus, address windows in which BARs appear
 * (the rest of them reads as ones), and the host bridge function 00:00.0.
 */
#include "hw/pci.h"

/* ---- 00:00.0 ---- */

#define TYPE_GPEX_ROOT (gpex_root_get_type())
G_DECLARE_FINAL_TYPE(GpexRoot, gpex_root, HW, GPEX_ROOT, PCIDevice)

struct _GpexRoot {
    PCIDevice parent;
    PCIConfig *parent_obj;
};

G_DEFINE_TYPE(GpexRoot, gpex_root, TYPE_PCI_DEVICE)
DEVICE_TYPE_REGISTER("gpex-root", gpex_root_get_type)

static const VMStateDescription vmstate_gpex_root = {
    .name = "gpex_root",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields =
        (const VMStateField[]){
            VMSTATE_PCI_CONFIG(parent_obj, GpexRoot),
            VMSTATE_END_OF_LIST(),
        },
};

static void gpex_root_class_init(GpexRootClass *klass)
{
    DeviceStateClass *dc = HW_DEVICE_CLASS(klass);
    PCIDeviceClass *pc = HW_PCI_DEVICE_CLASS(klass);

    dc->desc = "PCIe host bridge";
    dc->hotpluggable = false;
    dc->vmsd = &vmstate_gpex_root;
    pc->vendor_id = 0x1B36;
    pc->device_id = 0x0008;
    pc->class_id = 0x0600;
    pc->subsystem_vendor_id = 0x1AF4;
    pc->subsystem_id = 0x1100;
}

static void gpex_root_init(GpexRoot *root)
{
    root->parent_obj = pci_config(HW_PCI_DEVICE(root));
}

/* ---- the host ---- */

#define TYPE_GPEX_HOST (gpex_host_get_type())
G_DECLARE_FINAL_TYPE(GpexHost, gpex_host, HW, GPEX_HOST, DeviceState)

struct _GpexHost {
    DeviceState parent;
    GpexConfig cfg;
    PCIBus *bus;
    MemoryRegion ecam, pio, mmio32, mmio64;
    uint32_t config_reg; /* no CF8 register on this board; always 0 */
};

G_DEFINE_TYPE(GpexHost, gpex_host, TYPE_DEVICE)
DEVICE_TYPE_REGISTER("gpex-pcihost", gpex_host_get_type)

static PCIDevice *ecam_function(GpexHost *s, hwaddr addr)
{
    return pci_bus_find(s->bus, addr >> 20 & 0xFF, addr >> 12 & 0xFF);
}

static MemTxResult ecam_read(void *opaque, hwaddr addr, unsigned size, uint64_t *value)
{
    *value = pci_config_read(ecam_function(opaque, addr), addr & 0xFFF, size);
    return MEMTX_OK;
}

static MemTxResult ecam_write(void *opaque, hwaddr addr, unsigned size, uint64_t value)
{
    pci_config_write(ecam_function(opaque, addr), addr & 0xFFF, size, value);
    return MEMTX_OK;
}

static MemTxResult window_read(void *opaque, hwaddr addr, unsigned size, uint64_t *value)
{
    *value = UINT64_MAX >> (64 - 8 * size);
    return MEMTX_OK;
}

static MemTxResult window_write(void *opaque, hwaddr addr, unsigned size, uint64_t value)
{
    return MEMTX_OK;
}

static const MemoryRegionOps ecam_ops = {
    .read = ecam_read, .write = ecam_write, .sizes = 1 | 2 | 4};
static const MemoryRegionOps window_ops = {
    .read = window_read, .write = window_write, .sizes = 1 | 2 | 4 | 8, .unaligned_ok = true};

static const VMStateDescription vmstate_pci_host = {
    .name = "PCIHost",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields =
        (const VMStateField[]){
            VMSTATE_UINT32(config_reg, GpexHost),
            VMSTATE_END_OF_LIST(),
        },
};

static bool create_root(GpexHost *s, GError **errp)
{
    DeviceState *root = device_new(device_machine(HW_DEVICE(s)), "gpex-root", NULL, errp);

    return root && device_realize(root, pci_bus_slots(s->bus), errp);
}

static gboolean gpex_host_realize(DeviceState *dev, GError **errp)
{
    GpexHost *s = HW_GPEX_HOST(dev);
    AddressSpace *as = device_machine(dev)->as;
    const PCIWindows *w = &s->cfg.windows;

    s->bus = pci_root_bus_new(device_machine(dev), "pcie.0", dev, s->cfg.irqs, &s->cfg.windows);
    if (!create_root(s, errp)) {
        g_clear_pointer(&s->bus, pci_bus_free);
        return false;
    }
    if (!device_register_vmstate(dev, &vmstate_pci_host, s, errp) ||
        !device_register_vmstate(dev, &vmstate_pci_bus, s->bus, errp)) {
        device_unplug(HW_DEVICE(pci_bus_find(s->bus, 0, 0)));
        g_clear_pointer(&s->bus, pci_bus_free);
        return false;
    }
    memory_region_init_io(&s->ecam, "pcie-mmcfg-mmio", s->cfg.ecam_size, &ecam_ops, s);
    memory_region_init_io(&s->pio, "gpex_ioport_window", w->pio_size, &window_ops, s);
    memory_region_init_io(&s->mmio32, "gpex_mmio_window", w->mmio32_size, &window_ops, s);
    memory_region_init_io(&s->mmio64, "gpex_mmio_window_high", w->mmio64_size, &window_ops, s);
    address_space_add(as, &s->ecam, s->cfg.ecam_base, 0);
    address_space_add(as, &s->pio, w->pio_base, 0);
    address_space_add(as, &s->mmio32, w->mmio32_base, 0);
    address_space_add(as, &s->mmio64, w->mmio64_base, 0);
    return true;
}

/* The host was added after its bridge, so it goes first: the bus is emptied here. */
static void gpex_host_unrealize(DeviceState *dev)
{
    GpexHost *s = HW_GPEX_HOST(dev);
    AddressSpace *as = device_machine(dev)->as;
    Bus *slots = pci_bus_slots(s->bus);

    address_space_del(as, &s->ecam);
    address_space_del(as, &s->pio);
    address_space_del(as, &s->mmio32);
    address_space_del(as, &s->mmio64);
    while (slots->children->len > 0) {
        device_unplug(slots->children->pdata[slots->children->len - 1]);
    }
    g_clear_pointer(&s->bus, pci_bus_free);
}

static void gpex_host_class_init(GpexHostClass *klass)
{
    DeviceStateClass *dc = HW_DEVICE_CLASS(klass);

    dc->desc = "generic PCIe host";
    dc->realize = gpex_host_realize;
    dc->unrealize = gpex_host_unrealize;
}

static void gpex_host_init(GpexHost *s)
{
}

DeviceState *gpex_create(Machine *m, const GpexConfig *cfg, GError **errp)
{
    DeviceState *dev = device_new(m, "gpex-pcihost", NULL, errp);

    if (!dev) {
        return NULL;
    }
    HW_GPEX_HOST(dev)->cfg = *cfg;
    return device_realize(dev, NULL, errp) ? dev : NULL;
}
