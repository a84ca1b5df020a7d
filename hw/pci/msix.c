/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MSI-X: the capability, the table and the pending bits of a function, and sending messages. The
 * table is kept as the guest sees it, which is also how it travels.
 */
#include "hw/pci/pci-internal.h"

#define CAP_SIZE        12
#define CONTROL         2 /* in the capability */
#define CONTROL_ENABLE  0x8000
#define CONTROL_MASKALL 0x4000
#define ENTRY_SIZE      16
#define ENTRY_DATA      8
#define ENTRY_CONTROL   12
#define ENTRY_MASKED    1

struct PCIMsix {
    PCIDevice *dev;
    unsigned cap, vectors;
    bool was_enabled, was_masked; /* all: as the control word said last */
    uint8_t *table;               /* vectors * ENTRY_SIZE */
    uint8_t *pba;                 /* whole 64-bit words */
    MemoryRegion table_region, pba_region;
    PCIMsixChanged *changed;
};

PCIMsix *pci_msix(PCIDevice *dev)
{
    return pci_priv(dev)->msix;
}

unsigned pci_msix_vectors(PCIDevice *dev)
{
    return pci_msix(dev) ? pci_msix(dev)->vectors : 0;
}

static uint16_t control(const PCIMsix *x)
{
    return pci_get_le16(pci_config(x->dev)->config + x->cap + CONTROL);
}

bool pci_msix_enabled(PCIDevice *dev)
{
    return pci_msix(dev) && (control(pci_msix(dev)) & CONTROL_ENABLE);
}

static bool entry_masked(const PCIMsix *x, unsigned vector)
{
    return x->table[vector * ENTRY_SIZE + ENTRY_CONTROL] & ENTRY_MASKED;
}

bool pci_msix_masked(PCIDevice *dev, unsigned vector)
{
    const PCIMsix *x = pci_msix(dev);

    return (control(x) & CONTROL_MASKALL) || entry_masked(x, vector);
}

bool pci_msix_is_pending(PCIDevice *dev, unsigned vector)
{
    return pci_msix(dev)->pba[vector / 8] & (1 << vector % 8);
}

void pci_msix_notify(PCIDevice *dev, unsigned vector)
{
    PCIMsix *x = pci_msix(dev);

    if (!x || vector >= x->vectors || !pci_msix_enabled(dev)) {
        return;
    }
    if (pci_msix_masked(dev, vector)) {
        x->pba[vector / 8] |= 1 << vector % 8;
        return;
    }

    const uint8_t *entry = x->table + vector * ENTRY_SIZE;

    pci_send_msi(dev, pci_get_le32(entry) | (uint64_t)pci_get_le32(entry + 4) << 32,
                 pci_get_le32(entry + ENTRY_DATA));
}

static void send_if_pending(PCIMsix *x, unsigned vector)
{
    if (pci_msix_enabled(x->dev) && !pci_msix_masked(x->dev, vector) &&
        pci_msix_is_pending(x->dev, vector)) {
        x->pba[vector / 8] &= ~(1 << vector % 8);
        pci_msix_notify(x->dev, vector);
    }
}

/* ---- what the guest sees ---- */

static MemTxResult bytes_read(const uint8_t *from, hwaddr addr, unsigned size, uint64_t *value)
{
    *value = 0;
    for (unsigned i = 0; i < size; i++) {
        *value |= (uint64_t)from[addr + i] << (8 * i);
    }
    return MEMTX_OK;
}

static MemTxResult table_read(void *opaque, hwaddr addr, unsigned size, uint64_t *value)
{
    return bytes_read(((PCIMsix *)opaque)->table, addr, size, value);
}

static MemTxResult table_write(void *opaque, hwaddr addr, unsigned size, uint64_t value)
{
    PCIMsix *x = opaque;
    unsigned vector = addr / ENTRY_SIZE;
    bool was_masked = entry_masked(x, vector);

    for (unsigned i = 0; i < size; i++) {
        x->table[addr + i] = value >> (8 * i);
    }
    if (was_masked != entry_masked(x, vector)) {
        send_if_pending(x, vector);
        if (x->changed) {
            x->changed(x->dev, vector);
        }
    }
    return MEMTX_OK;
}

static MemTxResult pba_read(void *opaque, hwaddr addr, unsigned size, uint64_t *value)
{
    return bytes_read(((PCIMsix *)opaque)->pba, addr, size, value);
}

static MemTxResult pba_write(void *opaque, hwaddr addr, unsigned size, uint64_t value)
{
    return MEMTX_OK; /* read-only */
}

static const MemoryRegionOps table_ops = {.read = table_read, .write = table_write, .sizes = 4 | 8};
static const MemoryRegionOps pba_ops = {.read = pba_read, .write = pba_write, .sizes = 4 | 8};

void pci_msix_config_changed(PCIDevice *dev, unsigned addr, unsigned len)
{
    PCIMsix *x = pci_msix(dev);
    bool enabled, masked;

    if (!x || addr >= x->cap + CONTROL + 2 || addr + len <= x->cap + CONTROL) {
        return;
    }
    enabled = control(x) & CONTROL_ENABLE;
    masked = control(x) & CONTROL_MASKALL;
    if (enabled == x->was_enabled && masked == x->was_masked) {
        return;
    }
    x->was_enabled = enabled;
    x->was_masked = masked;
    for (unsigned pin = 0; enabled && pin < PCI_NUM_PINS; pin++) {
        pci_set_irq(dev, pin, false);
    }
    for (unsigned v = 0; v < x->vectors; v++) {
        send_if_pending(x, v);
    }
    if (x->changed) {
        x->changed(dev, UINT_MAX);
    }
}

void pci_msix_set_changed(PCIDevice *dev, PCIMsixChanged *fn)
{
    pci_msix(dev)->changed = fn;
}

/* ---- life cycle ---- */

static size_t pba_wire_size(const PCIMsix *x)
{
    return DIV_ROUND_UP(x->vectors, 8);
}

static size_t pba_size(const PCIMsix *x)
{
    return DIV_ROUND_UP(x->vectors, 64) * 8;
}

PCIMsix *pci_msix_attach(PCIDevice *dev, unsigned cap, unsigned bar, unsigned vectors,
                         uint64_t table, uint64_t pba)
{
    PCIMsix *x = g_new0(PCIMsix, 1);
    PCIConfig *cfg = pci_config(dev);

    g_assert(vectors && vectors <= 2048);
    x->dev = dev;
    x->cap = cap;
    x->vectors = vectors;
    x->table = g_malloc0(vectors * ENTRY_SIZE);
    x->pba = g_malloc0(pba_size(x));
    memset(cfg->wmask + cap, 0, CAP_SIZE);
    memset(cfg->cmask + cap, 0xFF, CAP_SIZE);
    cfg->wmask[cap + CONTROL + 1] = (CONTROL_ENABLE | CONTROL_MASKALL) >> 8;
    memory_region_init_io(&x->table_region, "msix-table", vectors * ENTRY_SIZE, &table_ops, x);
    memory_region_init_io(&x->pba_region, "msix-pba", pba_size(x), &pba_ops, x);
    pci_bar_add_region(dev, bar, table, &x->table_region);
    pci_bar_add_region(dev, bar, pba, &x->pba_region);
    pci_priv(dev)->msix = x;
    pci_msix_reset(dev);
    return x;
}

PCIMsix *pci_msix_init(PCIDevice *dev, unsigned cap, unsigned bar, unsigned vectors, uint64_t table,
                       uint64_t pba)
{
    uint8_t *config = pci_add_capability(dev, PCI_CAP_ID_MSIX, cap, CAP_SIZE);

    pci_put_le16(config + CONTROL, vectors - 1);
    pci_put_le32(config + 4, table | bar);
    pci_put_le32(config + 8, pba | bar);
    return pci_msix_attach(dev, cap, bar, vectors, table, pba);
}

void pci_msix_free(PCIDevice *dev)
{
    PCIMsix *x = pci_msix(dev);

    if (x) {
        g_free(x->table);
        g_free(x->pba);
        g_free(x);
        pci_priv(dev)->msix = NULL;
    }
}

void pci_msix_reset(PCIDevice *dev)
{
    PCIMsix *x = pci_msix(dev);

    if (!x) {
        return;
    }
    memset(x->table, 0, x->vectors * ENTRY_SIZE);
    memset(x->pba, 0, pba_size(x));
    for (unsigned v = 0; v < x->vectors; v++) {
        x->table[v * ENTRY_SIZE + ENTRY_CONTROL] = ENTRY_MASKED;
    }
    pci_config(dev)->config[x->cap + CONTROL + 1] &= ~((CONTROL_ENABLE | CONTROL_MASKALL) >> 8);
    pci_msix_config_changed(dev, x->cap, CAP_SIZE);
}

/* ---- state ---- */

void pci_msix_save(PCIDevice *dev, QEMUFile *f)
{
    const PCIMsix *x = pci_msix(dev);

    if (x) {
        qemu_put_buffer(f, x->table, x->vectors * ENTRY_SIZE);
        qemu_put_buffer(f, x->pba, pba_wire_size(x));
    }
}

bool pci_msix_load(PCIDevice *dev, QEMUFile *f, GError **errp)
{
    PCIMsix *x = pci_msix(dev);

    if (x) {
        memset(x->pba, 0, pba_size(x));
        qemu_get_buffer(f, x->table, x->vectors * ENTRY_SIZE);
        qemu_get_buffer(f, x->pba, pba_wire_size(x));
        if (!qemu_file_check(f, errp)) {
            return false;
        }
        for (unsigned v = 0; x->changed && v < x->vectors; v++) {
            x->changed(dev, v);
        }
    }
    return true;
}

static bool get_msix(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    return pci_msix_load(pv, f, errp);
}

static bool put_msix(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    pci_msix_save(pv, f);
    return true;
}

static const VMStateInfo info_msix = {"msix state", get_msix, put_msix};

const VMStateDescription vmstate_pci_msix = {
    .name = "msix",
    .version_id = 0,
    .minimum_version_id = 0,
    .fields = (const VMStateField[]){{.name = "msix", .info = &info_msix, .flags = VMS_SINGLE},
                                     VMSTATE_END_OF_LIST()},
};
