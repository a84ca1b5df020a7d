/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A PCI function whose registers, DMA and interrupts are the work of the kernel or of another
 * process; pci-kernel.c and pci-user.c are the types that users name.
 *
 * Configuration space: BARs, command, interrupt registers and the MSI-X capability are emulated
 * here; every other byte is the device's own, read afresh. What the guest writes goes to both.
 */
#include "hw/vfio/pci.h"
#include "util/log.h"

#define CAP_MSIX_CONTROL 2
#define CAP_MSIX_TABLE   4
#define CAP_MSIX_PBA     8
#define CAP_MSIX_SIZE    12
#define BIR_MASK         7
#define HEADER_SIZE      0x40
#define MAX_CAPS         48

G_DEFINE_ABSTRACT_TYPE(VFIOPCI, vfio_pci_base, TYPE_PCI_DEVICE)
DEVICE_TYPE_REGISTER("vfio-pci-base", vfio_pci_base_get_type)

#define VFIO_PCI_GET_CLASS(obj) (G_TYPE_INSTANCE_GET_CLASS((obj), TYPE_VFIO_PCI_BASE, VFIOPCIClass))

/* ---- BARs ---- */

static MemTxResult bar_read(void *opaque, hwaddr addr, unsigned size, uint64_t *value)
{
    VFIOBar *bar = opaque;
    VFIODevice *d = bar->s->dev;
    uint64_t v = 0;

    if (vfio_device_failed(d) || !d->ops->region_read(d, bar->nr, addr, &v, size, NULL)) {
        v = UINT64_MAX;
    }
    *value = GUINT64_FROM_LE(v) & (UINT64_MAX >> (64 - 8 * size));
    vfio_pci_intx_eoi(bar->s);
    return MEMTX_OK;
}

static MemTxResult bar_write(void *opaque, hwaddr addr, unsigned size, uint64_t value)
{
    VFIOBar *bar = opaque;
    VFIODevice *d = bar->s->dev;

    value = GUINT64_TO_LE(value);
    if (!vfio_device_failed(d)) {
        d->ops->region_write(d, bar->nr, addr, &value, size, NULL);
    }
    vfio_pci_intx_eoi(bar->s);
    return MEMTX_OK;
}

static const MemoryRegionOps bar_ops = {
    .read = bar_read, .write = bar_write, .sizes = 1 | 2 | 4 | 8};

static bool init_bar(VFIOPCI *s, unsigned n, uint32_t reg, GError **errp)
{
    VFIOBar *bar = &s->bars[n];
    uint8_t type = reg & PCI_BAR_IO ? PCI_BAR_IO : reg & 0xF;
    bool wide = !(type & PCI_BAR_IO) && (type & PCI_BAR_MEM64);
    VFIORegion info;

    if (!s->dev->ops->get_region(s->dev, VFIO_PCI_BAR0_REGION_INDEX + n, &info, errp)) {
        return false;
    }
    if (!info.size) {
        return true;
    }
    if (info.size < 16 || (info.size & (info.size - 1)) ||
        info.size > (wide ? UINT64_C(1) << 40 : UINT64_C(1) << 31) ||
        (wide && n + 1 >= PCI_NUM_BARS)) {
        error_setg(errp,
                   "%s: BAR %u (%s) has %" PRIu64 " bytes; a power of two from 16 to what its type "
                   "can address is possible",
                   s->dev->name, n, wide ? "64 bit" : "32 bit", info.size);
        return false;
    }
    bar->s = s;
    bar->nr = n;
    memory_region_init_io(&bar->mr, "vfio-bar", info.size, &bar_ops, bar);
    pci_register_bar(&s->parent, n, type, info.size);
    pci_bar_add_region(&s->parent, n, 0, &bar->mr);
    return true;
}

/* The upper half of a 64-bit BAR is no BAR of its own. */
static bool init_bars(VFIOPCI *s, const uint8_t *theirs, GError **errp)
{
    for (unsigned n = 0; n < PCI_NUM_BARS; n++) {
        uint32_t reg = pci_get_le32(theirs + PCI_BASE_ADDRESS_0 + 4 * n);

        if (!init_bar(s, n, reg, errp)) {
            return false;
        }
        if (!(reg & PCI_BAR_IO) && (reg & PCI_BAR_MEM64)) {
            n++;
        }
    }
    return true;
}

/* ---- configuration space ---- */

static unsigned find_capability(const uint8_t *config, uint8_t id)
{
    unsigned at = config[PCI_STATUS] & PCI_STATUS_CAP_LIST ? config[PCI_CAPABILITY_LIST] & ~3u : 0;

    for (unsigned i = 0; at >= HEADER_SIZE && at <= PCI_CONFIG_SIZE - 4 && i < MAX_CAPS; i++) {
        if (config[at] == id) {
            return at;
        }
        at = config[at + 1] & ~3u;
    }
    return 0;
}

static bool fits(VFIOPCI *s, unsigned bar, uint64_t offset, uint64_t len)
{
    uint64_t size = bar < PCI_NUM_BARS ? pci_bar_size(&s->parent, bar) : 0;

    return offset <= size && len <= size - offset;
}

static bool init_msix(VFIOPCI *s, const uint8_t *theirs, GError **errp)
{
    unsigned cap = find_capability(theirs, PCI_CAP_ID_MSIX);
    unsigned vectors, count;
    uint32_t table, pba;

    if (!cap || cap > PCI_CONFIG_SIZE - CAP_MSIX_SIZE) {
        return true;
    }
    vectors = (pci_get_le16(theirs + cap + CAP_MSIX_CONTROL) & 0x7FF) + 1;
    table = pci_get_le32(theirs + cap + CAP_MSIX_TABLE);
    pba = pci_get_le32(theirs + cap + CAP_MSIX_PBA);
    if (!s->dev->ops->get_irq_count(s->dev, VFIO_PCI_MSIX_IRQ_INDEX, &count, errp)) {
        return false;
    }
    if (count != vectors || (table & BIR_MASK) != (pba & BIR_MASK) ||
        !fits(s, table & BIR_MASK, table & ~BIR_MASK, vectors * 16) ||
        !fits(s, pba & BIR_MASK, pba & ~BIR_MASK, DIV_ROUND_UP(vectors, 64) * 8)) {
        error_setg(errp,
                   "%s: MSI-X table of %u vectors (0x%x, pending bits 0x%x) does not match %u "
                   "interrupts and its BAR",
                   s->dev->name, vectors, table, pba, count);
        return false;
    }
    pci_msix_attach(&s->parent, cap, table & BIR_MASK, vectors, table & ~BIR_MASK, pba & ~BIR_MASK);
    memset(s->emulated + cap, 0xFF, CAP_MSIX_SIZE);
    return true;
}

/* Ours now: what the guest's view of addresses and interrupts hangs on. */
static void init_config(VFIOPCI *s, const uint8_t *theirs)
{
    PCIConfig *cfg = pci_config(&s->parent);

    memcpy(cfg->config, theirs, PCI_CONFIG_SIZE);
    cfg->config[PCI_HEADER_TYPE] &= PCI_HEADER_MULTIFUNCTION;
    cfg->config[PCI_STATUS] &= ~PCI_STATUS_INTERRUPT;
    pci_put_le16(cfg->config + PCI_COMMAND, 0);
    memset(cfg->config + PCI_BASE_ADDRESS_0, 0, 4 * PCI_NUM_BARS);
    memset(cfg->config + 0x30, 0, 4); /* no option ROM */
    memset(s->emulated, 0, sizeof(s->emulated));
    memset(s->emulated, 0xFF, HEADER_SIZE);
    memset(s->emulated + PCI_STATUS, 0, 2);
    s->emulated[PCI_STATUS] = PCI_STATUS_INTERRUPT | PCI_STATUS_CAP_LIST;
}

static bool setup_config(VFIOPCI *s, GError **errp)
{
    uint8_t theirs[PCI_CONFIG_SIZE];
    VFIORegion info;

    if (!s->dev->ops->get_region(s->dev, VFIO_PCI_CONFIG_REGION_INDEX, &info, errp)) {
        return false;
    }
    if (info.size < sizeof(theirs)) {
        error_setg(errp, "%s: configuration space of %" PRIu64 " bytes; 256 are the least",
                   s->dev->name, info.size);
        return false;
    }
    if (!s->dev->ops->region_read(s->dev, VFIO_PCI_CONFIG_REGION_INDEX, 0, theirs, sizeof(theirs),
                                  errp)) {
        return false;
    }
    if ((theirs[PCI_HEADER_TYPE] & ~PCI_HEADER_MULTIFUNCTION) != 0) {
        error_setg(errp, "%s: header type %u; only ordinary functions (0) can be used",
                   s->dev->name, theirs[PCI_HEADER_TYPE]);
        return false;
    }
    init_config(s, theirs);
    return init_bars(s, theirs, errp) && init_msix(s, theirs, errp);
}

static void vfio_pci_config_will_read(PCIDevice *dev, unsigned addr, unsigned len)
{
    VFIOPCI *s = VFIO_PCI(dev);
    uint8_t *config = pci_config(dev)->config;
    uint8_t theirs[4] = {0xFF, 0xFF, 0xFF, 0xFF};

    if (vfio_device_failed(s->dev) || len > sizeof(theirs) ||
        !s->dev->ops->region_read(s->dev, VFIO_PCI_CONFIG_REGION_INDEX, addr, theirs, len, NULL)) {
        return;
    }
    for (unsigned i = 0; i < len; i++) {
        uint8_t ours = s->emulated[addr + i];

        config[addr + i] = (config[addr + i] & ours) | (theirs[i] & ~ours);
    }
}

static void vfio_pci_config_changed(PCIDevice *dev, unsigned addr, unsigned len)
{
    VFIOPCI *s = VFIO_PCI(dev);
    g_autoptr(GError) err = NULL;

    if (s->container && !vfio_device_failed(s->dev) && len <= 4 &&
        !s->dev->ops->region_write(s->dev, VFIO_PCI_CONFIG_REGION_INDEX, addr,
                                   pci_config(dev)->config + addr, len, &err) &&
        !vfio_device_failed(s->dev)) {
        error_report("%s: configuration register 0x%x: %s", s->dev->name, addr, err->message);
    }
}

/* ---- life cycle ---- */

void vfio_pci_forward_command(VFIOPCI *s)
{
    vfio_pci_config_changed(&s->parent, PCI_COMMAND, 2);
}

static void vfio_pci_reset(PCIDevice *dev)
{
    VFIOPCI *s = VFIO_PCI(dev);
    g_autoptr(GError) err = NULL;

    if (vfio_device_failed(s->dev)) {
        return;
    }
    vfio_pci_forward_command(s);
    if (s->migration) {
        vfio_migration_reset(s->migration);
    } else if (!s->dev->ops->reset(s->dev, &err) && !vfio_device_failed(s->dev)) {
        error_report("%s: reset failed: %s", s->dev->name, err->message);
    }
    vfio_pci_irq_reset(s);
}

VFIOPCI *vfio_pci_from(gpointer device)
{
    return G_TYPE_CHECK_INSTANCE_TYPE(device, TYPE_VFIO_PCI_BASE) ? VFIO_PCI(device) : NULL;
}

static void release(VFIOPCI *s)
{
    vfio_pci_migration_cleanup(s);
    g_clear_pointer(&s->dirty, vfio_dirty_free);
    vfio_pci_irq_cleanup(s);
    g_clear_pointer(&s->container, vfio_container_free);
    g_clear_pointer(&s->dev, vfio_device_free);
}

static gboolean vfio_pci_realize(PCIDevice *dev, GError **errp)
{
    VFIOPCI *s = VFIO_PCI(dev);
    const char *id = device_id(HW_DEVICE(dev));
    g_autofree char *where = pci_path(dev);
    g_autofree char *name =
        g_strdup_printf("%s %s", object_type_name(G_OBJECT(dev)), id ? id : where);

    s->intx.fd = -1;
    s->dev = VFIO_PCI_GET_CLASS(s)->open(s, name, errp);
    if (!s->dev) {
        g_prefix_error(errp, "%s: ", name);
        return FALSE;
    }
    if (!setup_config(s, errp) || !vfio_pci_irq_init(s, errp) ||
        !vfio_pci_migration_init(s, errp)) {
        release(s);
        return FALSE;
    }
    s->container = vfio_container_new(s->dev, errp);
    if (!s->container) {
        release(s);
        return FALSE;
    }
    s->dirty = vfio_dirty_new(s->dev, s->container);
    return TRUE;
}

static void vfio_pci_vm_state(DeviceState *dev, gboolean running)
{
    if (VFIO_PCI(dev)->migration) {
        vfio_migration_vm_state(VFIO_PCI(dev)->migration, running);
    }
}

static void vfio_pci_vm_prepare(DeviceState *dev, gboolean running)
{
    if (VFIO_PCI(dev)->migration) {
        vfio_migration_vm_prepare(VFIO_PCI(dev)->migration, running);
    }
}

static void vfio_pci_unrealize(PCIDevice *dev)
{
    release(VFIO_PCI(dev));
}

static const DeviceProperty vfio_pci_props[] = {
    DEVICE_PROP_BOOL("enable-migration", VFIOPCI, enable_migration, true,
                     "the device's state may travel"),
    DEVICE_PROP_BOOL("migration-events", VFIOPCI, migration_events, false,
                     "tell each change of its state by VFIO_MIGRATION"),
    {},
};

static void vfio_pci_base_init(VFIOPCI *s)
{
}

static void vfio_pci_base_class_init(VFIOPCIClass *klass)
{
    PCIDeviceClass *pc = &klass->parent_class;
    DeviceStateClass *dc = &pc->parent_class;

    device_class_set_props(dc, vfio_pci_props);
    dc->vm_state = vfio_pci_vm_state;
    dc->vm_state_prepare = vfio_pci_vm_prepare;
    pc->kind = PCI_CONVENTIONAL;
    pc->realize_function = vfio_pci_realize;
    pc->unrealize_function = vfio_pci_unrealize;
    pc->reset_function = vfio_pci_reset;
    pc->config_will_read = vfio_pci_config_will_read;
    pc->config_changed = vfio_pci_config_changed;
}
