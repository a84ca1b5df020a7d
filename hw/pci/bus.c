/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI buses: who is where, what is passed on, whose interrupts share a line. */
#include "hw/pci/pci-internal.h"

#define BRIDGE_SECONDARY   0x19
#define BRIDGE_SUBORDINATE 0x1A
#define BRIDGE_IO_BASE     0x1C
#define BRIDGE_MEM_BASE    0x20
#define BRIDGE_PREF_BASE   0x24
#define BRIDGE_PREF_UPPER  0x28

struct PCIBus {
    Bus *slots;
    PCIDevice *bridge;                 /* NULL: root */
    Irq irqs[PCI_NUM_PINS];            /* root */
    PCIWindows windows;                /* root */
    bool power;                        /* behind a bridge */
    PCIDevice *devices[PCI_DEVFN_MAX]; /* by devfn */
    /* wire */
    int32_t nirq;
    int32_t irq_count[PCI_NUM_PINS];
};

static PCIBus *bus_new_on(Machine *m, const char *name, DeviceState *parent, unsigned capacity)
{
    PCIBus *bus = g_new0(PCIBus, 1);

    bus->slots = bus_new(m, TYPE_PCIE_BUS, name, capacity, parent);
    bus->slots->opaque = bus;
    bus->power = true;
    return bus;
}

PCIBus *pci_root_bus_new(Machine *m, const char *name, DeviceState *host,
                         const Irq irqs[PCI_NUM_PINS], const PCIWindows *windows)
{
    PCIBus *bus = bus_new_on(m, name, host, PCI_DEVFN_MAX);

    bus->nirq = PCI_NUM_PINS;
    memcpy(bus->irqs, irqs, sizeof(bus->irqs));
    bus->windows = *windows;
    return bus;
}

PCIBus *pci_port_bus_new(Machine *m, const char *name, PCIDevice *bridge)
{
    PCIBus *bus = bus_new_on(m, name, HW_DEVICE(bridge), 8);

    bus->bridge = bridge;
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

bool pci_bus_is_root(const PCIBus *bus)
{
    return !bus->bridge;
}

PCIBus *pci_bridge_bus(PCIDevice *bridge)
{
    GPtrArray *buses = machine_buses(device_machine(HW_DEVICE(bridge)));

    if (HW_PCI_DEVICE_GET_CLASS(bridge)->header_type != PCI_HEADER_BRIDGE) {
        return NULL;
    }
    for (guint i = 0; i < buses->len; i++) {
        Bus *slots = buses->pdata[i];

        if (slots->parent == HW_DEVICE(bridge)) {
            return slots->opaque;
        }
    }
    return NULL;
}

PCIBus *pci_machine_root(Machine *m)
{
    for (guint i = 0; i < machine_buses(m)->len; i++) {
        Bus *slots = machine_buses(m)->pdata[i];

        if (strcmp(slots->type, TYPE_PCIE_BUS) == 0 && pci_bus_is_root(slots->opaque)) {
            return slots->opaque;
        }
    }
    return NULL;
}

void pci_bus_attach(PCIBus *bus, PCIDevice *dev)
{
    bus->devices[pci_devfn(dev)] = dev;
}

void pci_bus_detach(PCIBus *bus, PCIDevice *dev)
{
    bus->devices[pci_devfn(dev)] = NULL;
}

PCIDevice *pci_bus_function(PCIBus *bus, unsigned devfn)
{
    return devfn < PCI_DEVFN_MAX ? bus->devices[devfn] : NULL;
}

/* ---- configuration cycles ---- */

/* A bridge takes cycles for the buses the guest gave it, the secondary one is its own. */
static PCIBus *find_bus(PCIBus *bus, unsigned nr)
{
    for (unsigned i = 0; i < PCI_DEVFN_MAX; i++) {
        PCIBus *below = bus->devices[i] ? pci_bridge_bus(bus->devices[i]) : NULL;
        const uint8_t *config = below ? pci_config(bus->devices[i])->config : NULL;

        if (!below || !below->power || nr < config[BRIDGE_SECONDARY] ||
            nr > config[BRIDGE_SUBORDINATE]) {
            continue;
        }
        return nr == config[BRIDGE_SECONDARY] ? below : find_bus(below, nr);
    }
    return NULL;
}

PCIDevice *pci_bus_find(PCIBus *root, unsigned bus_nr, unsigned devfn)
{
    PCIBus *bus = bus_nr ? find_bus(root, bus_nr) : root;

    return bus ? pci_bus_function(bus, devfn) : NULL;
}

/* ---- memory and I/O cycles ---- */

bool pci_bridge_window(PCIDevice *bridge, bool io, bool prefetch, uint64_t *base, uint64_t *limit)
{
    const uint8_t *c = pci_config(bridge)->config;
    unsigned at = prefetch ? BRIDGE_PREF_BASE : BRIDGE_MEM_BASE;

    if (io) {
        *base = (uint64_t)(c[BRIDGE_IO_BASE] & 0xF0) << 8;
        *limit = (uint64_t)(c[BRIDGE_IO_BASE + 1] & 0xF0) << 8 | 0xFFF;
    } else {
        *base = (uint64_t)(pci_get_le16(c + at) & 0xFFF0) << 16;
        *limit = (uint64_t)(pci_get_le16(c + at + 2) & 0xFFF0) << 16 | 0xFFFFF;
    }
    if (prefetch) {
        *base |= (uint64_t)pci_get_le32(c + BRIDGE_PREF_UPPER) << 32;
        *limit |= (uint64_t)pci_get_le32(c + BRIDGE_PREF_UPPER + 4) << 32;
    }
    return *base <= *limit;
}

static bool window_passes(PCIDevice *bridge, bool io, bool prefetch, uint64_t first, uint64_t last)
{
    uint64_t base, limit;

    return pci_bridge_window(bridge, io, prefetch, &base, &limit) && first >= base && last <= limit;
}

static bool bridge_passes(PCIBus *bus, uint64_t first, uint64_t last, bool io)
{
    uint8_t command = pci_config(bus->bridge)->config[PCI_COMMAND];

    if (!bus->power || !(command & (io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY))) {
        return false;
    }
    return window_passes(bus->bridge, io, false, first, last) ||
           (!io && window_passes(bus->bridge, io, true, first, last));
}

static bool inside(uint64_t first, uint64_t last, hwaddr base, hwaddr size)
{
    return size && first >= base && last <= base + (size - 1);
}

uint64_t pci_bus_translate(PCIBus *bus, uint64_t addr, uint64_t size, bool io)
{
    uint64_t last = addr + (size - 1);

    for (; bus->bridge; bus = pci_device_bus(bus->bridge)) {
        if (!bridge_passes(bus, addr, last, io)) {
            return PCI_UNMAPPED;
        }
    }
    if (io) {
        return inside(addr, last, 0, bus->windows.pio_size) ? bus->windows.pio_base + addr
                                                            : PCI_UNMAPPED;
    }
    return inside(addr, last, bus->windows.mmio32_base, bus->windows.mmio32_size) ||
                   inside(addr, last, bus->windows.mmio64_base, bus->windows.mmio64_size)
               ? addr
               : PCI_UNMAPPED;
}

void pci_bus_update_mappings(PCIBus *bus)
{
    for (unsigned i = 0; i < PCI_DEVFN_MAX; i++) {
        if (bus->devices[i]) {
            pci_update_mappings(bus->devices[i]);
            if (pci_bridge_bus(bus->devices[i])) {
                pci_bus_update_mappings(pci_bridge_bus(bus->devices[i]));
            }
        }
    }
}

void pci_bus_set_power(PCIBus *bus, bool on)
{
    if (bus->power != on) {
        bus->power = on;
        pci_bus_update_mappings(bus);
    }
}

bool pci_bus_powered(const PCIBus *bus)
{
    return bus->power;
}

/* ---- interrupts ---- */

/* The root line that @pin of @dev ends at: each bridge turns the pins by its slot. */
static unsigned root_line(PCIDevice *dev, unsigned pin)
{
    for (;;) {
        pin = (pin + pci_devfn(dev) / 8) % PCI_NUM_PINS;
        if (pci_bus_is_root(pci_device_bus(dev))) {
            return pin;
        }
        dev = pci_device_bus(dev)->bridge;
    }
}

static PCIBus *root_of(PCIBus *bus)
{
    while (bus->bridge) {
        bus = pci_device_bus(bus->bridge);
    }
    return bus;
}

/* How many functions on and below @bus assert each line. */
static void count_lines(PCIBus *bus, int32_t count[PCI_NUM_PINS])
{
    for (unsigned i = 0; i < PCI_DEVFN_MAX; i++) {
        PCIDevice *dev = bus->devices[i];

        for (unsigned pin = 0; dev && pin < PCI_NUM_PINS; pin++) {
            count[root_line(dev, pin)] += pci_pin_level(dev, pin);
        }
        if (dev && pci_bridge_bus(dev)) {
            count_lines(pci_bridge_bus(dev), count);
        }
    }
}

void pci_bus_pin_changed(PCIDevice *dev, unsigned pin)
{
    PCIBus *root = root_of(pci_device_bus(dev));
    int32_t count[PCI_NUM_PINS] = {0};
    unsigned line = root_line(dev, pin);

    count_lines(root, count);
    irq_set(&root->irqs[line], count[line] > 0);
}

/* ---- state ---- */

static bool pci_bus_pre_save(void *opaque, GError **errp)
{
    PCIBus *bus = opaque;

    memset(bus->irq_count, 0, sizeof(bus->irq_count));
    if (!bus->bridge) {
        count_lines(bus, bus->irq_count);
    }
    return true;
}

/* The counts follow from the functions' own irq_state, so they are only checked. */
static bool pci_bus_post_load(void *opaque, int version_id, GError **errp)
{
    const PCIBus *bus = opaque;

    for (unsigned line = 0; line < PCI_NUM_PINS; line++) {
        if (bus->irq_count[line] < 0 || bus->irq_count[line] > PCI_DEVFN_MAX * PCI_NUM_PINS) {
            error_setg(errp, "PCIBUS: %d functions assert interrupt line %u", bus->irq_count[line],
                       line);
            return false;
        }
    }
    return true;
}

static bool has_lines(void *opaque, int version_id)
{
    return ((const PCIBus *)opaque)->nirq != 0;
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
            VMSTATE_ARRAY_FULL(irq_count, PCIBus, int32_t, PCI_NUM_PINS, vmstate_info_int32, 0,
                               has_lines),
            VMSTATE_END_OF_LIST(),
        },
};
