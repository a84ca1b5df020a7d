/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI functions and their bus: configuration space, INTx routing, state (spec 80 section 11, spec
 * 82 section 7). */
#include "hw/pci.h"

#define PCI_WIRE_VERSION 2

typedef struct {
    PCIConfig cfg;
    int devfn; /* negative: choose */
} PCIDevicePrivate;

struct PCIBus {
    Bus *slots;
    Irq irqs[PCI_NUM_PINS];
    PCIDevice *devices[PCI_SLOTS * 8]; /* by devfn */
    /* wire */
    int32_t nirq;
    int32_t irq_count[PCI_NUM_PINS];
};

G_DEFINE_ABSTRACT_TYPE_WITH_PRIVATE(PCIDevice, pci_device, TYPE_DEVICE)

static PCIDevicePrivate *priv(PCIDevice *dev)
{
    return pci_device_get_instance_private(dev);
}

PCIConfig *pci_config(PCIDevice *dev)
{
    return &priv(dev)->cfg;
}

void pci_set_devfn(PCIDevice *dev, int devfn)
{
    priv(dev)->devfn = devfn;
}

int pci_devfn(PCIDevice *dev)
{
    return priv(dev)->devfn;
}

/* ---- INTx ---- */

/* The bus a function sits on: pci_bus_new() left it with the host, under the name of its slots. */
static PCIBus *bus_of(PCIDevice *dev)
{
    Bus *slots = device_bus(HW_DEVICE(dev));

    return slots ? g_object_get_data(G_OBJECT(slots->parent), slots->name) : NULL;
}

static unsigned line_of(PCIDevice *dev, unsigned pin)
{
    return (priv(dev)->devfn / 8 + pin) % PCI_NUM_PINS;
}

/* How many functions assert each line. */
static void count_lines(const PCIBus *bus, int32_t count[PCI_NUM_PINS])
{
    memset(count, 0, PCI_NUM_PINS * sizeof(count[0]));
    for (unsigned i = 0; i < ARRAY_SIZE(bus->devices); i++) {
        for (unsigned pin = 0; bus->devices[i] && pin < PCI_NUM_PINS; pin++) {
            count[line_of(bus->devices[i], pin)] += pci_config(bus->devices[i])->irq_state[pin];
        }
    }
}

static void drive_line(PCIBus *bus, unsigned line)
{
    int32_t count[PCI_NUM_PINS];

    count_lines(bus, count);
    irq_set(&bus->irqs[line], count[line] > 0);
}

void pci_set_irq(PCIDevice *dev, unsigned pin, bool level)
{
    PCIConfig *cfg = pci_config(dev);

    if (cfg->irq_state[pin] != level) {
        cfg->irq_state[pin] = level;
        drive_line(bus_of(dev), line_of(dev, pin));
    }
}

/* ---- configuration space ---- */

uint32_t pci_config_read(PCIDevice *dev, unsigned reg, unsigned size)
{
    uint32_t value = 0;

    if (!dev || reg + size > PCI_CONFIG_SIZE) {
        return UINT32_MAX >> (32 - 8 * size);
    }
    for (unsigned i = 0; i < size; i++) {
        value |= (uint32_t)pci_config(dev)->config[reg + i] << (8 * i);
    }
    return value;
}

void pci_config_write(PCIDevice *dev, unsigned reg, unsigned size, uint32_t value)
{
    if (!dev || reg + size > PCI_CONFIG_SIZE) {
        return;
    }

    PCIConfig *cfg = pci_config(dev);
    PCIDeviceClass *klass = HW_PCI_DEVICE_GET_CLASS(dev);

    for (unsigned i = reg; i < reg + size; i++, value >>= 8) {
        cfg->config[i] = (cfg->config[i] & ~cfg->wmask[i]) | (value & cfg->wmask[i]);
        cfg->config[i] &= ~(value & cfg->w1cmask[i]);
    }
    if (klass->config_changed) {
        klass->config_changed(dev, reg, size);
    }
}

/* What every conventional type 0 function has. */
static void init_config(PCIDevice *dev)
{
    PCIDeviceClass *klass = HW_PCI_DEVICE_GET_CLASS(dev);
    PCIConfig *cfg = pci_config(dev);

    pci_put_le16(cfg->config + PCI_VENDOR_ID, klass->vendor_id);
    pci_put_le16(cfg->config + PCI_DEVICE_ID, klass->device_id);
    pci_put_le16(cfg->config + PCI_CLASS_DEVICE, klass->class_id);
    pci_put_le16(cfg->config + PCI_SUBSYSTEM_VENDOR_ID, klass->subsystem_vendor_id);
    pci_put_le16(cfg->config + PCI_SUBSYSTEM_ID, klass->subsystem_id);
    cfg->config[PCI_REVISION_ID] = klass->revision;

    memset(cfg->cmask + PCI_VENDOR_ID, 0xFF, 4);
    cfg->cmask[PCI_STATUS] = 0x10;
    memset(cfg->cmask + PCI_REVISION_ID, 0xFF, 4);
    cfg->cmask[PCI_HEADER_TYPE] = 0xFF;
    cfg->cmask[PCI_CAPABILITY_LIST] = 0xFF;

    cfg->wmask[PCI_CACHE_LINE_SIZE] = 0xFF;
    cfg->wmask[PCI_INTERRUPT_LINE] = 0xFF;
    pci_put_le16(cfg->wmask + PCI_COMMAND, 0x0507); /* I/O, memory, master, SERR, INTx disable */
    memset(cfg->wmask + 0x40, 0xFF, PCI_CONFIG_SIZE - 0x40);
    pci_put_le16(cfg->w1cmask + PCI_STATUS, 0xF900); /* error bits */
}

static void pci_device_reset(DeviceState *d)
{
    PCIDevice *dev = HW_PCI_DEVICE(d);
    PCIConfig *cfg = pci_config(dev);

    pci_put_le16(cfg->config + PCI_COMMAND, 0);
    cfg->config[PCI_CACHE_LINE_SIZE] = 0;
    cfg->config[PCI_INTERRUPT_LINE] = 0;
    for (unsigned pin = 0; pin < PCI_NUM_PINS; pin++) {
        pci_set_irq(dev, pin, false);
    }
}

/* ---- state ---- */

static bool config_get(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    PCIConfig *cfg = container_of(pv, PCIConfig, config);
    uint8_t wire[PCI_CONFIG_SIZE];

    if (!qemu_get_buffer(f, wire, sizeof(wire))) {
        return qemu_file_check(f, errp);
    }
    for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++) {
        if ((wire[i] ^ cfg->config[i]) & cfg->cmask[i] & ~cfg->wmask[i] & ~cfg->w1cmask[i]) {
            error_setg(errp,
                       "get_pci_config_device: Bad config data: i=0x%x read: %x device: %x "
                       "cmask: %x wmask: %x w1cmask:%x",
                       i, wire[i], cfg->config[i], cfg->cmask[i], cfg->wmask[i], cfg->w1cmask[i]);
            return false;
        }
    }
    memcpy(cfg->config, wire, sizeof(wire));
    return true;
}

static bool config_put(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    qemu_put_buffer(f, pv, PCI_CONFIG_SIZE);
    return true;
}

static const VMStateInfo info_config = {.name = "pci config", .get = config_get, .put = config_put};

/* Before saving and before loading: the newest version we speak. */
static bool pci_set_version(void *opaque, GError **errp)
{
    ((PCIConfig *)opaque)->version_id = PCI_WIRE_VERSION;
    return true;
}

static bool pci_post_load(void *opaque, int version_id, GError **errp)
{
    PCIConfig *cfg = opaque;
    PCIDeviceClass *klass = HW_PCI_DEVICE_GET_CLASS(cfg->dev);

    for (unsigned pin = 0; pin < PCI_NUM_PINS; pin++) {
        if (cfg->irq_state[pin] > 1) {
            error_setg(errp, "PCI interrupt pin %c has level %u, not 0 or 1", 'A' + pin,
                       cfg->irq_state[pin]);
            return false;
        }
    }
    for (unsigned pin = 0; pin < PCI_NUM_PINS; pin++) {
        if (cfg->irq_state[pin]) {
            drive_line(bus_of(cfg->dev), line_of(cfg->dev, pin));
        }
    }
    if (klass->config_changed) {
        klass->config_changed(cfg->dev, 0, PCI_CONFIG_SIZE);
    }
    return true;
}

const VMStateDescription vmstate_pci_config = {
    .name = "PCIDevice",
    .version_id = PCI_WIRE_VERSION,
    .minimum_version_id = 1,
    .pre_save = pci_set_version,
    .pre_load = pci_set_version,
    .post_load = pci_post_load,
    .fields =
        (const VMStateField[]){
            VMSTATE_INT32_LE(version_id, PCIConfig),
            {.name = "config",
             .offset = offsetof(PCIConfig, config),
             .size = PCI_CONFIG_SIZE,
             .info = &info_config},
            VMSTATE_UINT32_ARRAY(irq_state, PCIConfig, PCI_NUM_PINS),
            VMSTATE_END_OF_LIST(),
        },
};

static char *pci_device_path(DeviceState *d)
{
    int devfn = priv(HW_PCI_DEVICE(d))->devfn;

    return g_strdup_printf("0000:00:%02x.%x", devfn / 8, devfn % 8);
}

/* ---- bus ---- */

PCIBus *pci_bus_new(Machine *m, const char *name, DeviceState *host, const Irq irqs[PCI_NUM_PINS])
{
    PCIBus *bus = g_new0(PCIBus, 1);

    bus->slots = bus_new(m, TYPE_PCIE_BUS, name, PCI_SLOTS * 8, host);
    bus->nirq = PCI_NUM_PINS;
    memcpy(bus->irqs, irqs, sizeof(bus->irqs));
    g_object_set_data(G_OBJECT(host), bus->slots->name, bus);
    return bus;
}

void pci_bus_free(PCIBus *bus)
{
    if (bus) {
        bus_free(bus->slots);
        g_free(bus);
    }
}

Bus *pci_bus_slots(PCIBus *bus)
{
    return bus->slots;
}

PCIDevice *pci_bus_find(PCIBus *bus, unsigned bus_nr, unsigned devfn)
{
    return bus_nr == 0 && devfn < ARRAY_SIZE(bus->devices) ? bus->devices[devfn] : NULL;
}

static bool pci_bus_pre_save(void *opaque, GError **errp)
{
    PCIBus *bus = opaque;

    count_lines(bus, bus->irq_count);
    return true;
}

/* The counts follow from the functions' own irq_state, so they are only checked. */
static bool pci_bus_post_load(void *opaque, int version_id, GError **errp)
{
    const PCIBus *bus = opaque;

    for (unsigned line = 0; line < PCI_NUM_PINS; line++) {
        if (bus->irq_count[line] < 0 || bus->irq_count[line] > PCI_SLOTS * 8 * PCI_NUM_PINS) {
            error_setg(errp, "PCIBUS: %d functions assert interrupt line %u", bus->irq_count[line],
                       line);
            return false;
        }
    }
    return true;
}

const VMStateDescription vmstate_pci_bus = {
    .name = "PCIBUS",
    .version_id = 1,
    .minimum_version_id = 1,
    .pre_save = pci_bus_pre_save,
    .post_load = pci_bus_post_load,
    .fields =
        (const VMStateField[]){
            VMSTATE_INT32_EQUAL(nirq, PCIBus),
            VMSTATE_INT32_ARRAY(irq_count, PCIBus, PCI_NUM_PINS),
            VMSTATE_END_OF_LIST(),
        },
};

/* ---- life cycle ---- */

static gboolean pci_device_realize(DeviceState *d, GError **errp)
{
    PCIDevice *dev = HW_PCI_DEVICE(d);
    PCIBus *bus = bus_of(dev);
    int devfn = priv(dev)->devfn;

    if (!bus) {
        error_setg(errp, "PCI device '%s' needs a PCI bus", object_type_name(G_OBJECT(d)));
        return false;
    }
    for (int slot = 0; devfn < 0 && slot < PCI_SLOTS; slot++) {
        devfn = bus->devices[slot * 8] ? -1 : slot * 8;
    }
    if (devfn < 0 || devfn >= (int)ARRAY_SIZE(bus->devices) || bus->devices[devfn]) {
        error_setg(errp, "PCI: no free slot for '%s' on bus '%s'", object_type_name(G_OBJECT(d)),
                   bus->slots->name);
        return false;
    }
    priv(dev)->devfn = devfn;
    bus->devices[devfn] = dev;
    init_config(dev);
    return true;
}

static void pci_device_unrealize(DeviceState *d)
{
    PCIDevice *dev = HW_PCI_DEVICE(d);

    for (unsigned pin = 0; pin < PCI_NUM_PINS; pin++) {
        pci_set_irq(dev, pin, false);
    }
    bus_of(dev)->devices[priv(dev)->devfn] = NULL;
}

static void pci_device_class_init(PCIDeviceClass *klass)
{
    DeviceStateClass *dc = HW_DEVICE_CLASS(klass);

    dc->bus_type = TYPE_PCIE_BUS;
    dc->realize = pci_device_realize;
    dc->unrealize = pci_device_unrealize;
    dc->reset = pci_device_reset;
    dc->path = pci_device_path;
}

static void pci_device_init(PCIDevice *dev)
{
    priv(dev)->devfn = -1;
    priv(dev)->cfg.version_id = PCI_WIRE_VERSION;
    priv(dev)->cfg.dev = dev;
}
