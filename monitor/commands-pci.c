/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qapi/pci.json: the PCI functions of the machine. */
#include "util/osdep.h"
#include "hw/pci.h"
#include "monitor/commands.h"
#include "qapi-commands-pci.h"

#define BRIDGE_SECONDARY   0x19
#define BRIDGE_SUBORDINATE 0x1A

static const char *class_name(unsigned class_id)
{
    static const struct {
        unsigned id;
        const char *name;
    } names[] = {
        {0x0100, "SCSI controller"}, {0x0200, "Ethernet controller"}, {0x0600, "Host bridge"},
        {0x0604, "PCI bridge"},      {0x0300, "VGA controller"},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        if (names[i].id == class_id) {
            return names[i].name;
        }
    }
    return NULL;
}

static GPtrArray *region_list(PCIDevice *dev)
{
    GPtrArray *list = qapi_list_new_PciMemoryRegion();

    for (unsigned n = 0; n < PCI_NUM_BARS; n++) {
        uint8_t type = pci_bar_type(dev, n);
        PciMemoryRegion *r;

        if (!pci_bar_size(dev, n)) {
            continue;
        }
        r = g_new0(PciMemoryRegion, 1);
        r->bar = n;
        r->type = g_strdup(type & PCI_BAR_IO ? "io" : "memory");
        r->address = pci_bar_address(dev, n);
        r->size = pci_bar_size(dev, n);
        r->has_prefetch = r->has_mem_type_64 = !(type & PCI_BAR_IO);
        r->prefetch = type & PCI_BAR_PREFETCH;
        r->mem_type_64 = type & PCI_BAR_MEM64;
        g_ptr_array_add(list, r);
    }
    return list;
}

static PciMemoryRange *window(PCIDevice *dev, bool io, bool prefetch)
{
    PciMemoryRange *range = g_new0(PciMemoryRange, 1);
    uint64_t base, limit;

    pci_bridge_window(dev, io, prefetch, &base, &limit);
    range->base = base;
    range->limit = limit;
    return range;
}

static GPtrArray *device_list(PCIBus *bus, unsigned nr);

static PciBridgeInfo *bridge_info(PCIDevice *dev, unsigned nr)
{
    const uint8_t *config = pci_config(dev)->config;
    PciBridgeInfo *info = g_new0(PciBridgeInfo, 1);

    info->bus = g_new0(PciBusInfo, 1);
    info->bus->number = nr;
    info->bus->secondary = config[BRIDGE_SECONDARY];
    info->bus->subordinate = config[BRIDGE_SUBORDINATE];
    info->bus->io_range = window(dev, true, false);
    info->bus->memory_range = window(dev, false, false);
    info->bus->prefetchable_range = window(dev, false, true);
    /* Before the guest has given the bus a number nobody can reach what is on it. */
    if (config[BRIDGE_SECONDARY]) {
        info->devices = device_list(pci_bridge_bus(dev), config[BRIDGE_SECONDARY]);
    }
    return info;
}

static PciDeviceInfo *device_info(PCIDevice *dev, unsigned nr)
{
    const uint8_t *config = pci_config(dev)->config;
    PciDeviceInfo *info = g_new0(PciDeviceInfo, 1);
    const char *id = device_id(HW_DEVICE(dev));
    const char *name = class_name(pci_get_le16(config + PCI_CLASS_DEVICE));

    info->bus = nr;
    info->slot = pci_devfn(dev) / 8;
    info->function = pci_devfn(dev) % 8;
    info->class_info = g_new0(PciDeviceClass, 1);
    info->class_info->class = pci_get_le16(config + PCI_CLASS_DEVICE);
    info->class_info->desc = g_strdup(name);
    info->id = g_new0(PciDeviceId, 1);
    info->id->vendor = pci_get_le16(config + PCI_VENDOR_ID);
    info->id->device = pci_get_le16(config + PCI_DEVICE_ID);
    if (pci_bridge_bus(dev)) {
        info->pci_bridge = bridge_info(dev, nr);
    } else {
        info->id->has_subsystem = info->id->has_subsystem_vendor = true;
        info->id->subsystem = pci_get_le16(config + PCI_SUBSYSTEM_ID);
        info->id->subsystem_vendor = pci_get_le16(config + PCI_SUBSYSTEM_VENDOR_ID);
    }
    info->irq_pin = config[PCI_INTERRUPT_PIN];
    info->has_irq = info->irq_pin != 0;
    info->irq = config[PCI_INTERRUPT_LINE];
    info->qdev_id = g_strdup(id ? id : "");
    info->regions = region_list(dev);
    return info;
}

static GPtrArray *device_list(PCIBus *bus, unsigned nr)
{
    GPtrArray *list = qapi_list_new_PciDeviceInfo();

    for (unsigned devfn = 0; devfn < PCI_DEVFN_MAX; devfn++) {
        if (pci_bus_function(bus, devfn)) {
            g_ptr_array_add(list, device_info(pci_bus_function(bus, devfn), nr));
        }
    }
    return list;
}

GPtrArray *qmp_query_pci(QmpCall *call, GError **errp)
{
    Machine *m = monitor_hub_machine(call->opaque, errp);
    GPtrArray *list = m ? qapi_list_new_PciInfo() : NULL;
    PCIBus *root = m ? pci_machine_root(m) : NULL;

    if (root) {
        PciInfo *info = g_new0(PciInfo, 1);

        info->devices = device_list(root, 0);
        g_ptr_array_add(list, info);
    }
    return list;
}

/* ---- info pci ---- */

static void print_region(GString *out, const PciMemoryRegion *r)
{
    uint64_t last = (uint64_t)r->address + (r->size - 1);

    g_string_append_printf(out, "      BAR%" PRId64 ": ", r->bar);
    if (strcmp(r->type, "io") == 0) {
        g_string_append_printf(out, "I/O at 0x%04" PRIx64 " [0x%04" PRIx64 "].\n",
                               (uint64_t)r->address, last);
    } else {
        g_string_append_printf(out, "%d bit%s memory at 0x%08" PRIx64 " [0x%08" PRIx64 "].\n",
                               r->mem_type_64 ? 64 : 32, r->prefetch ? " prefetchable" : "",
                               (uint64_t)r->address, last);
    }
}

static void print_window(GString *out, const char *name, const PciMemoryRange *r, int width)
{
    g_string_append_printf(out, "      %s range [0x%0*" PRIx64 ", 0x%0*" PRIx64 "]\n", name, width,
                           (uint64_t)r->base, width, (uint64_t)r->limit);
}

static void print_bridge(GString *out, const PciBusInfo *bus)
{
    g_string_append_printf(out,
                           "      BUS %" PRId64 ".\n      secondary bus %" PRId64
                           ".\n      subordinate bus %" PRId64 ".\n",
                           bus->number, bus->secondary, bus->subordinate);
    print_window(out, "IO", bus->io_range, 4);
    print_window(out, "memory", bus->memory_range, 8);
    print_window(out, "prefetchable memory", bus->prefetchable_range, 8);
}

static void print_devices(GString *out, const GPtrArray *devices)
{
    for (unsigned i = 0; i < devices->len; i++) {
        const PciDeviceInfo *d = devices->pdata[i];

        g_string_append_printf(
            out, "  Bus %2" PRId64 ", device %3" PRId64 ", function %" PRId64 ":\n    ", d->bus,
            d->slot, d->function);
        if (d->class_info->desc) {
            g_string_append(out, d->class_info->desc);
        } else {
            g_string_append_printf(out, "Class %04" PRId64, d->class_info->class);
        }
        g_string_append_printf(out, ": PCI device %04" PRIx64 ":%04" PRIx64 "\n",
                               (uint64_t)d->id->vendor, (uint64_t)d->id->device);
        if (d->id->has_subsystem) {
            g_string_append_printf(out, "      PCI subsystem %04" PRIx64 ":%04" PRIx64 "\n",
                                   (uint64_t)d->id->subsystem_vendor, (uint64_t)d->id->subsystem);
        }
        if (d->has_irq) {
            g_string_append_printf(out, "      IRQ %" PRId64 ", pin %c\n", d->irq,
                                   (char)('A' + d->irq_pin - 1));
        }
        if (d->pci_bridge) {
            print_bridge(out, d->pci_bridge->bus);
        }
        for (unsigned n = 0; n < d->regions->len; n++) {
            print_region(out, d->regions->pdata[n]);
        }
        g_string_append_printf(out, "      id \"%s\"\n", d->qdev_id);
        if (d->pci_bridge && d->pci_bridge->devices) {
            print_devices(out, d->pci_bridge->devices);
        }
    }
}

void hmp_print_pci(GString *out, Machine *m)
{
    PCIBus *root = pci_machine_root(m);

    if (root) {
        g_autoptr(GPtrArray) devices = device_list(root, 0);

        print_devices(out, devices);
    } else {
        g_string_append(out, "PCI devices not supported\n");
    }
}
