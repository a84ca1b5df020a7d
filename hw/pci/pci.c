/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A PCI function: its life, its configuration space, its interrupt pins. */
#include "hw/pci.h"
#include "hw/pci/pci-internal.h"

G_DEFINE_ABSTRACT_TYPE_WITH_PRIVATE(PCIDevice, pci_device, TYPE_DEVICE)

PCIDevicePrivate *pci_priv(PCIDevice *dev)
{
    return pci_device_get_instance_private(dev);
}

PCIConfig *pci_config(PCIDevice *dev)
{
    return &pci_priv(dev)->cfg;
}

void pci_set_devfn(PCIDevice *dev, int devfn)
{
    pci_priv(dev)->devfn = devfn;
}

int pci_devfn(PCIDevice *dev)
{
    return pci_priv(dev)->devfn;
}

PCIBus *pci_device_bus(PCIDevice *dev)
{
    return pci_priv(dev)->bus;
}

bool pci_is_express(PCIDevice *dev)
{
    return pci_config(dev)->config_size == PCIE_CONFIG_SIZE;
}

/* ---- interrupts ---- */

bool pci_pin_level(PCIDevice *dev, unsigned pin)
{
    const PCIConfig *cfg = pci_config(dev);

    return cfg->irq_state[pin] &&
           !(pci_get_le16(cfg->config + PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE);
}

void pci_set_irq(PCIDevice *dev, unsigned pin, bool level)
{
    PCIConfig *cfg = pci_config(dev);

    if (cfg->irq_state[pin] != level) {
        cfg->irq_state[pin] = level;
        if (!(pci_get_le16(cfg->config + PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE)) {
            pci_bus_pin_changed(dev, pin);
        }
    }
}

void pci_send_msi(PCIDevice *dev, uint64_t addr, uint32_t data)
{
    if (pci_get_le16(pci_config(dev)->config + PCI_COMMAND) & PCI_COMMAND_MASTER) {
        address_space_store(device_machine(HW_DEVICE(dev))->as, addr, 4, data);
    }
}

/* ---- configuration space ---- */

uint32_t pci_config_read(PCIDevice *dev, unsigned reg, unsigned size)
{
    uint32_t value = 0;

    if (!dev || reg + size > pci_config(dev)->config_size) {
        return UINT32_MAX >> (32 - 8 * size);
    }

    const PCIConfig *cfg = pci_config(dev);
    PCIDeviceClass *klass = HW_PCI_DEVICE_GET_CLASS(dev);

    if (klass->config_will_read) {
        klass->config_will_read(dev, reg, size);
    }
    for (unsigned i = 0; i < size; i++) {
        uint8_t byte = cfg->config[reg + i];

        if (reg + i == PCI_STATUS &&
            memcmp(cfg->irq_state, (uint32_t[PCI_NUM_PINS]){0}, sizeof(cfg->irq_state)) != 0) {
            byte |= PCI_STATUS_INTERRUPT;
        }
        value |= (uint32_t)byte << (8 * i);
    }
    return value;
}

static bool touches(unsigned addr, unsigned len, unsigned reg, unsigned size)
{
    return addr < reg + size && reg < addr + len;
}

/* What follows from configuration bytes: mappings, pins, the MSI-X state; then the device's own. */
static void config_changed(PCIDevice *dev, unsigned addr, unsigned len)
{
    PCIDeviceClass *klass = HW_PCI_DEVICE_GET_CLASS(dev);

    if (touches(addr, len, PCI_COMMAND, 1) || touches(addr, len, PCI_BASE_ADDRESS_0, 24)) {
        pci_update_mappings(dev);
    }
    if (pci_bridge_bus(dev) &&
        (touches(addr, len, PCI_COMMAND, 1) || touches(addr, len, 0x18, 0x18))) {
        pci_bus_update_mappings(pci_bridge_bus(dev));
    }
    pci_msix_config_changed(dev, addr, len);
    if (klass->config_changed) {
        klass->config_changed(dev, addr, len);
    }
}

void pci_config_write(PCIDevice *dev, unsigned reg, unsigned size, uint32_t value)
{
    if (!dev || reg + size > pci_config(dev)->config_size) {
        return;
    }

    PCIConfig *cfg = pci_config(dev);
    uint16_t command = pci_get_le16(cfg->config + PCI_COMMAND);

    for (unsigned i = reg; i < reg + size; i++, value >>= 8) {
        cfg->config[i] = (cfg->config[i] & ~cfg->wmask[i]) | (value & cfg->wmask[i]);
        cfg->config[i] &= ~(value & cfg->w1cmask[i]);
    }
    if ((command ^ pci_get_le16(cfg->config + PCI_COMMAND)) & PCI_COMMAND_INTX_DISABLE) {
        for (unsigned pin = 0; pin < PCI_NUM_PINS; pin++) {
            if (cfg->irq_state[pin]) {
                pci_bus_pin_changed(dev, pin);
            }
        }
    }
    config_changed(dev, reg, size);
}

/* What every function has. */
static void init_config(PCIDevice *dev)
{
    PCIDeviceClass *klass = HW_PCI_DEVICE_GET_CLASS(dev);
    PCIConfig *cfg = pci_config(dev);

    pci_put_le16(cfg->config + PCI_VENDOR_ID, klass->vendor_id);
    pci_put_le16(cfg->config + PCI_DEVICE_ID, klass->device_id);
    pci_put_le16(cfg->config + PCI_CLASS_DEVICE, klass->class_id);
    cfg->config[PCI_REVISION_ID] = klass->revision;
    cfg->config[PCI_HEADER_TYPE] =
        klass->header_type | (pci_priv(dev)->multifunction ? PCI_HEADER_MULTIFUNCTION : 0);

    memset(cfg->cmask + PCI_VENDOR_ID, 0xFF, 4);
    cfg->cmask[PCI_STATUS] = PCI_STATUS_CAP_LIST;
    memset(cfg->cmask + PCI_REVISION_ID, 0xFF, 4);
    cfg->cmask[PCI_HEADER_TYPE] = 0xFF;
    cfg->cmask[PCI_CAPABILITY_LIST] = 0xFF;

    cfg->wmask[PCI_CACHE_LINE_SIZE] = 0xFF;
    cfg->wmask[PCI_INTERRUPT_LINE] = 0xFF;
    pci_put_le16(cfg->wmask + PCI_COMMAND, 0x0507); /* I/O, memory, master, SERR, INTx disable */
    memset(cfg->wmask + 0x40, 0xFF, cfg->config_size - 0x40);
    if (pci_is_express(dev)) {
        pci_put_le32(cfg->wmask + PCI_CONFIG_SIZE, 0); /* "no extended capabilities" */
    }
    pci_put_le16(cfg->w1cmask + PCI_STATUS, 0xF900); /* error bits */
    if (klass->header_type != PCI_HEADER_BRIDGE) {
        pci_put_le16(cfg->config + PCI_SUBSYSTEM_VENDOR_ID, klass->subsystem_vendor_id);
        pci_put_le16(cfg->config + PCI_SUBSYSTEM_ID, klass->subsystem_id);
    }
}

uint8_t *pci_add_capability(PCIDevice *dev, uint8_t id, unsigned at, unsigned size)
{
    PCIConfig *cfg = pci_config(dev);

    g_assert(at >= 0x40 && at % 4 == 0 && at + size <= PCI_CONFIG_SIZE);
    memset(cfg->config + at, 0, size);
    memset(cfg->wmask + at, 0, size);
    memset(cfg->cmask + at, 0xFF, size);
    cfg->config[at] = id;
    cfg->config[at + 1] = cfg->config[PCI_CAPABILITY_LIST];
    cfg->config[PCI_CAPABILITY_LIST] = at;
    cfg->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
    return cfg->config + at;
}

void pcie_add_ext_capability(PCIDevice *dev, uint16_t id, uint8_t version, unsigned at,
                             unsigned size)
{
    PCIConfig *cfg = pci_config(dev);
    unsigned last = PCI_CONFIG_SIZE;

    g_assert(pci_is_express(dev) && at % 4 == 0 && at + size <= PCIE_CONFIG_SIZE);
    memset(cfg->wmask + at, 0, size);
    memset(cfg->cmask + at, 0xFF, size);
    pci_put_le32(cfg->config + at, id | (uint32_t)version << 16);
    if (at != PCI_CONFIG_SIZE) {
        while (pci_get_le32(cfg->config + last) >> 20) {
            last = pci_get_le32(cfg->config + last) >> 20;
        }
        pci_put_le32(cfg->config + last, pci_get_le32(cfg->config + last) | (uint32_t)at << 20);
    }
}

static void pci_device_reset(DeviceState *d)
{
    PCIDevice *dev = HW_PCI_DEVICE(d);
    PCIDeviceClass *klass = HW_PCI_DEVICE_GET_CLASS(dev);
    PCIConfig *cfg = pci_config(dev);

    for (unsigned pin = 0; pin < PCI_NUM_PINS; pin++) {
        pci_set_irq(dev, pin, false);
    }
    pci_put_le16(cfg->config + PCI_COMMAND, 0);
    pci_put_le16(cfg->config + PCI_STATUS,
                 pci_get_le16(cfg->config + PCI_STATUS) & PCI_STATUS_CAP_LIST);
    cfg->config[PCI_CACHE_LINE_SIZE] = 0;
    cfg->config[PCI_INTERRUPT_LINE] = 0;
    for (unsigned n = 0; n < PCI_NUM_BARS; n++) {
        const PCIBar *bar = &pci_priv(dev)->bars[n];

        if (bar->size) {
            pci_put_le32(cfg->config + PCI_BASE_ADDRESS_0 + 4 * n, bar->type);
            if (bar->type & PCI_BAR_MEM64) {
                pci_put_le32(cfg->config + PCI_BASE_ADDRESS_0 + 4 * n + 4, 0);
            }
        }
    }
    pci_msix_reset(dev);
    pci_update_mappings(dev);
    if (klass->reset_function) {
        klass->reset_function(dev);
    }
}

/* ---- state ---- */

static bool config_get(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    PCIConfig *cfg = pv;
    g_autofree uint8_t *wire = g_malloc(cfg->config_size);

    if (!qemu_get_buffer(f, wire, cfg->config_size)) {
        return qemu_file_check(f, errp);
    }
    for (unsigned i = 0; i < cfg->config_size; i++) {
        if ((wire[i] ^ cfg->config[i]) & cfg->cmask[i] & ~cfg->wmask[i] & ~cfg->w1cmask[i]) {
            error_setg(errp,
                       "get_pci_config_device: Bad config data: i=0x%x read: %x device: %x "
                       "cmask: %x wmask: %x w1cmask:%x; give the device the same properties, bus "
                       "and address on both sides",
                       i, wire[i], cfg->config[i], cfg->cmask[i], cfg->wmask[i], cfg->w1cmask[i]);
            return false;
        }
    }
    memcpy(cfg->config, wire, cfg->config_size);
    cfg->config[PCI_STATUS] &= ~PCI_STATUS_INTERRUPT; /* follows from irq_state */
    return true;
}

static bool config_put(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    const PCIConfig *cfg = pv;

    qemu_put_buffer(f, cfg->config, cfg->config_size);
    return true;
}

static const VMStateInfo info_config = {.name = "pci config", .get = config_get, .put = config_put};

static bool is_conventional(void *opaque, int version_id)
{
    return ((const PCIConfig *)opaque)->config_size == PCI_CONFIG_SIZE;
}

static bool is_express(void *opaque, int version_id)
{
    return !is_conventional(opaque, version_id);
}

/* Before saving and before loading: the newest version we speak. */
static bool pci_set_version(void *opaque, GError **errp)
{
    ((PCIConfig *)opaque)->version_id = vmstate_pci_config.version_id;
    return true;
}

/* The pins that were up go down first: what they are now counts anew. */
static bool pci_post_load(void *opaque, int version_id, GError **errp)
{
    PCIConfig *cfg = opaque;

    for (unsigned pin = 0; pin < PCI_NUM_PINS; pin++) {
        if (cfg->irq_state[pin] > 1) {
            error_setg(errp, "PCI interrupt pin %c has level %u, not 0 or 1", 'A' + pin,
                       cfg->irq_state[pin]);
            return false;
        }
    }
    for (unsigned pin = 0; pin < PCI_NUM_PINS; pin++) {
        if (pci_pin_level(cfg->dev, pin)) {
            pci_bus_pin_changed(cfg->dev, pin);
        }
    }
    config_changed(cfg->dev, 0, cfg->config_size);
    return true;
}

const VMStateDescription vmstate_pci_config = {
    .name = "PCIDevice",
    .version_id = 2,
    .minimum_version_id = 1,
    .pre_save = pci_set_version,
    .pre_load = pci_set_version,
    .post_load = pci_post_load,
    .fields =
        (const VMStateField[]){
            VMSTATE_INT32_LE(version_id, PCIConfig),
            {.name = "config[0]",
             .size = PCI_CONFIG_SIZE,
             .info = &info_config,
             .exists = is_conventional},
            {.name = "config[1]",
             .size = PCIE_CONFIG_SIZE,
             .info = &info_config,
             .exists = is_express},
            VMSTATE_UINT32_ARRAY(irq_state, PCIConfig, PCI_NUM_PINS),
            VMSTATE_END_OF_LIST(),
        },
};

char *pci_path(PCIDevice *dev)
{
    PCIBus *bus = pci_device_bus(dev);
    g_autofree char *parent = pci_bus_is_root(bus)
                                  ? g_strdup("0000:00")
                                  : pci_path(HW_PCI_DEVICE(pci_bus_slots(bus)->parent));
    int devfn = pci_devfn(dev);

    return g_strdup_printf("%s:%02x.%x", parent, devfn / 8, devfn % 8);
}

static char *pci_device_path(DeviceState *d)
{
    return pci_path(HW_PCI_DEVICE(d));
}

/* ---- life cycle ---- */

/* A hexadecimal number up to @max, with or without 0x. */
static bool parse_hex(const char *text, unsigned max, unsigned *out)
{
    guint64 value;

    if (!g_ascii_string_to_unsigned(g_str_has_prefix(text, "0x") ? text + 2 : text, 16, 0, max,
                                    &value, NULL)) {
        return false;
    }
    *out = value;
    return true;
}

/* addr=SLOT[.FUNCTION], hexadecimal as a QEMU user writes it. */
static bool parse_address(PCIDevice *dev, GError **errp)
{
    PCIDevicePrivate *p = pci_priv(dev);
    g_auto(GStrv) parts = p->addr ? g_strsplit(p->addr, ".", 2) : NULL;
    unsigned slot, function = 0;

    if (!parts || p->devfn >= 0) {
        return true;
    }
    if (!parts[0] || !parse_hex(parts[0], PCI_SLOTS - 1, &slot) ||
        (parts[1] && !parse_hex(parts[1], 7, &function))) {
        error_setg(errp,
                   "Property '%s.addr' doesn't take value '%s'; it is slot[.function] in "
                   "hexadecimal, up to 1f.7",
                   object_type_name(G_OBJECT(dev)), p->addr);
        return false;
    }
    p->devfn = slot * 8 + function;
    return true;
}

/* The lowest free slot unless one is asked for. */
static bool choose_slot(PCIDevice *dev, PCIBus *bus, GError **errp)
{
    PCIDevicePrivate *p = pci_priv(dev);
    const char *type = object_type_name(G_OBJECT(dev));
    unsigned slots = pci_bus_is_root(bus) ? PCI_SLOTS : 1;
    PCIDevice *other;

    if (!parse_address(dev, errp)) {
        return false;
    }
    for (unsigned slot = 0; p->devfn < 0 && slot < slots; slot++) {
        p->devfn = pci_bus_function(bus, slot * 8) ? -1 : (int)slot * 8;
    }
    if (p->devfn < 0) {
        error_setg(errp, "PCI: no slot/function available for %s on bus '%s', all in use", type,
                   pci_bus_slots(bus)->name);
        return false;
    }
    if ((unsigned)p->devfn / 8 >= slots) {
        error_setg(errp,
                   "PCI: slot %d is not valid for %s, parent device only allows plugging into slot "
                   "0.",
                   p->devfn / 8, type);
        return false;
    }
    other = pci_bus_function(bus, p->devfn);
    if (other) {
        const char *id = device_id(HW_DEVICE(other));

        error_setg(errp, "PCI: slot %d function %d not available for %s, in use by %s,id=%s",
                   p->devfn / 8, p->devfn % 8, type, object_type_name(G_OBJECT(other)),
                   id ? id : "(null)");
        return false;
    }
    return true;
}

/* Function 0 says whether there are others. */
static bool check_multifunction(PCIDevice *dev, PCIBus *bus, GError **errp)
{
    int devfn = pci_devfn(dev);
    PCIDevice *first = pci_bus_function(bus, devfn & ~7);

    if (devfn % 8 && first && !pci_priv(first)->multifunction) {
        error_setg(
            errp,
            "PCI: single function device can't be populated in function %x.%x; give function "
            "0 multifunction=on",
            devfn / 8, devfn % 8);
        return false;
    }
    for (int fn = 1; devfn % 8 == 0 && !pci_priv(dev)->multifunction && fn < 8; fn++) {
        if (pci_bus_function(bus, devfn + fn)) {
            error_setg(errp,
                       "PCI: %x.0 indicates single function, but %x.%x is already populated; give "
                       "it multifunction=on",
                       devfn / 8, devfn / 8, fn);
            return false;
        }
    }
    return true;
}

static void alloc_config(PCIConfig *cfg, unsigned size)
{
    uint8_t **maps[] = {&cfg->config, &cfg->cmask, &cfg->wmask, &cfg->w1cmask};

    for (unsigned i = 0; i < ARRAY_SIZE(maps); i++) {
        g_free(*maps[i]);
        *maps[i] = g_malloc0(size);
    }
    cfg->config_size = size;
}

static void withdraw(PCIDevice *dev)
{
    PCIDevicePrivate *p = pci_priv(dev);

    for (unsigned pin = 0; pin < PCI_NUM_PINS; pin++) {
        pci_set_irq(dev, pin, false);
    }
    pci_bars_release(dev);
    pci_msix_free(dev);
    pci_bus_detach(p->bus, dev);
    p->bus = NULL;
}

static gboolean pci_device_realize(DeviceState *d, GError **errp)
{
    PCIDevice *dev = HW_PCI_DEVICE(d);
    PCIDevicePrivate *p = pci_priv(dev);
    PCIDeviceClass *klass = HW_PCI_DEVICE_GET_CLASS(dev);
    Bus *slots = device_bus(d);
    PCIBus *bus = slots ? slots->opaque : NULL;
    bool express;

    if (!bus) {
        error_setg(errp, "PCI device '%s' needs a PCI bus", object_type_name(G_OBJECT(d)));
        return false;
    }
    if (p->romfile && p->romfile[0]) {
        error_setg(errp,
                   "Property '%s.romfile': option ROMs are not available on this board, use "
                   "romfile=",
                   object_type_name(G_OBJECT(d)));
        return false;
    }
    if (!choose_slot(dev, bus, errp) || !check_multifunction(dev, bus, errp)) {
        return false;
    }
    express = klass->kind == PCI_EXPRESS ||
              (klass->kind == PCI_EXPRESS_BELOW_PORT && !pci_bus_is_root(bus));
    alloc_config(&p->cfg, express ? PCIE_CONFIG_SIZE : PCI_CONFIG_SIZE);
    p->bus = bus;
    pci_bus_attach(bus, dev);
    init_config(dev);
    if (klass->realize_function && !klass->realize_function(dev, errp)) {
        withdraw(dev);
        return false;
    }
    return true;
}

static void pci_device_unrealize(DeviceState *d)
{
    PCIDevice *dev = HW_PCI_DEVICE(d);
    PCIDeviceClass *klass = HW_PCI_DEVICE_GET_CLASS(dev);

    if (klass->unrealize_function) {
        klass->unrealize_function(dev);
    }
    withdraw(dev);
}

static void pci_device_finalize(GObject *obj)
{
    PCIDevicePrivate *p = pci_priv(HW_PCI_DEVICE(obj));

    g_free(p->cfg.config);
    g_free(p->cfg.cmask);
    g_free(p->cfg.wmask);
    g_free(p->cfg.w1cmask);
    g_free(p->addr);
    g_free(p->romfile);
    G_OBJECT_CLASS(pci_device_parent_class)->finalize(obj);
}

/* ---- properties of every function ---- */

enum { PROP_ADDR = 1, PROP_ROMFILE, PROP_MULTIFUNCTION };

static void pci_set_property(GObject *obj, guint id, const GValue *value, GParamSpec *pspec)
{
    PCIDevicePrivate *p = pci_priv(HW_PCI_DEVICE(obj));

    switch (id) {
    case PROP_ADDR:
        g_free(p->addr);
        p->addr = g_value_dup_string(value);
        break;
    case PROP_ROMFILE:
        g_free(p->romfile);
        p->romfile = g_value_dup_string(value);
        break;
    case PROP_MULTIFUNCTION:
        p->multifunction = g_value_get_boolean(value);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(obj, id, pspec);
        break;
    }
}

static void pci_get_property(GObject *obj, guint id, GValue *value, GParamSpec *pspec)
{
    PCIDevicePrivate *p = pci_priv(HW_PCI_DEVICE(obj));

    switch (id) {
    case PROP_ADDR:
        if (p->bus) {
            g_value_take_string(value, g_strdup_printf("%02x.%x", p->devfn / 8, p->devfn % 8));
        } else {
            g_value_set_string(value, p->addr);
        }
        break;
    case PROP_ROMFILE:
        g_value_set_string(value, p->romfile);
        break;
    case PROP_MULTIFUNCTION:
        g_value_set_boolean(value, p->multifunction);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(obj, id, pspec);
        break;
    }
}

static void pci_device_class_init(PCIDeviceClass *klass)
{
    DeviceStateClass *dc = HW_DEVICE_CLASS(klass);
    GObjectClass *oc = G_OBJECT_CLASS(klass);
    const GParamFlags flags = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS;

    oc->finalize = pci_device_finalize;
    oc->set_property = pci_set_property;
    oc->get_property = pci_get_property;
    g_object_class_install_property(
        oc, PROP_ADDR,
        g_param_spec_string("addr", NULL, "slot[.function], hexadecimal", NULL, flags));
    g_object_class_install_property(
        oc, PROP_ROMFILE,
        g_param_spec_string("romfile", NULL, "option ROM; only empty", NULL, flags));
    g_object_class_install_property(oc, PROP_MULTIFUNCTION,
                                    g_param_spec_boolean("multifunction", NULL,
                                                         "other functions of the slot may be used",
                                                         FALSE, flags));
    dc->bus_type = TYPE_PCIE_BUS;
    dc->hotpluggable = true;
    dc->realize = pci_device_realize;
    dc->unrealize = pci_device_unrealize;
    dc->reset = pci_device_reset;
    dc->path = pci_device_path;
}

static void pci_device_init(PCIDevice *dev)
{
    PCIDevicePrivate *p = pci_priv(dev);

    p->devfn = -1;
    p->cfg.dev = dev;
    for (unsigned n = 0; n < PCI_NUM_BARS; n++) {
        p->bars[n].address = PCI_UNMAPPED;
    }
}
