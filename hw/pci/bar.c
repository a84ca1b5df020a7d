/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * BARs: where a function's regions appear. What a BAR says is a bus address; bridges above pass it
 * on if it lies in one of their windows, the host makes it visible in the system's address space.
 */
#include "hw/pci/pci-internal.h"

#define BAR_PRIORITY 1 /* above the host's windows */

void pci_register_bar(PCIDevice *dev, unsigned n, uint8_t type, uint64_t size)
{
    PCIBar *bar = &pci_priv(dev)->bars[n];
    PCIConfig *cfg = pci_config(dev);
    unsigned at = PCI_BASE_ADDRESS_0 + 4 * n;

    g_assert(n < PCI_NUM_BARS && size >= 4 && !(size & (size - 1)));
    bar->size = size;
    bar->type = type;
    bar->address = PCI_UNMAPPED;
    bar->regions = g_array_new(FALSE, FALSE, sizeof(PCIBarRegion));
    pci_put_le32(cfg->config + at, type);
    pci_put_le32(cfg->wmask + at, ~(size - 1));
    pci_put_le32(cfg->cmask + at, UINT32_MAX);
    if (type & PCI_BAR_MEM64) {
        g_assert(n + 1 < PCI_NUM_BARS);
        pci_put_le32(cfg->wmask + at + 4, ~(size - 1) >> 32);
        pci_put_le32(cfg->cmask + at + 4, UINT32_MAX);
    }
}

void pci_bar_add_region(PCIDevice *dev, unsigned n, uint64_t offset, MemoryRegion *mr)
{
    PCIBar *bar = &pci_priv(dev)->bars[n];
    PCIBarRegion r = {offset, mr};

    g_assert(bar->size && offset <= bar->size && mr->size <= bar->size - offset);
    g_assert(bar->address == PCI_UNMAPPED);
    g_array_append_val(bar->regions, r);
}

uint64_t pci_bar_size(PCIDevice *dev, unsigned n)
{
    return pci_priv(dev)->bars[n].size;
}

uint8_t pci_bar_type(PCIDevice *dev, unsigned n)
{
    return pci_priv(dev)->bars[n].type;
}

uint64_t pci_bar_address(PCIDevice *dev, unsigned n)
{
    const PCIBar *bar = &pci_priv(dev)->bars[n];
    const uint8_t *config = pci_config(dev)->config;
    bool io = bar->type & PCI_BAR_IO;
    uint64_t addr;

    if (!bar->size || !(config[PCI_COMMAND] & (io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY))) {
        return PCI_UNMAPPED;
    }
    addr = pci_get_le32(config + PCI_BASE_ADDRESS_0 + 4 * n);
    if (bar->type & PCI_BAR_MEM64) {
        addr |= (uint64_t)pci_get_le32(config + PCI_BASE_ADDRESS_0 + 4 * n + 4) << 32;
    }
    addr &= ~(bar->size - 1);
    /* While the guest sizes a BAR it holds all ones. */
    return addr + (bar->size - 1) == UINT64_MAX ||
                   (!(bar->type & PCI_BAR_MEM64) && addr + (bar->size - 1) == UINT32_MAX)
               ? PCI_UNMAPPED
               : addr;
}

static void unmap(AddressSpace *as, PCIBar *bar)
{
    for (guint i = 0; bar->regions && bar->address != PCI_UNMAPPED && i < bar->regions->len; i++) {
        address_space_del(as, g_array_index(bar->regions, PCIBarRegion, i).mr);
    }
    bar->address = PCI_UNMAPPED;
}

static void update_bar(PCIDevice *dev, unsigned n)
{
    PCIBar *bar = &pci_priv(dev)->bars[n];
    AddressSpace *as = device_machine(HW_DEVICE(dev))->as;
    uint64_t addr = bar->size ? pci_bar_address(dev, n) : PCI_UNMAPPED;

    if (addr != PCI_UNMAPPED) {
        addr = pci_bus_translate(pci_device_bus(dev), addr, bar->size, bar->type & PCI_BAR_IO);
    }
    if (addr == bar->address) {
        return;
    }
    unmap(as, bar);
    bar->address = addr;
    for (guint i = 0; addr != PCI_UNMAPPED && i < bar->regions->len; i++) {
        const PCIBarRegion *r = &g_array_index(bar->regions, PCIBarRegion, i);

        address_space_add(as, r->mr, addr + r->offset, BAR_PRIORITY);
    }
}

void pci_update_mappings(PCIDevice *dev)
{
    for (unsigned n = 0; n < PCI_NUM_BARS; n++) {
        update_bar(dev, n);
    }
}

void pci_bars_release(PCIDevice *dev)
{
    AddressSpace *as = device_machine(HW_DEVICE(dev))->as;

    for (unsigned n = 0; n < PCI_NUM_BARS; n++) {
        PCIBar *bar = &pci_priv(dev)->bars[n];

        unmap(as, bar);
        g_clear_pointer(&bar->regions, g_array_unref);
        bar->size = 0;
    }
}
