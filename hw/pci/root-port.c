/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pcie-root-port: a bridge from the root bus to one slot that takes devices while the guest runs.
 * The layout of its configuration space is stock QEMU 7.2's, so that its section crosses.
 */
#include "hw/pcie.h"

#define BRIDGE_PRIMARY   0x18
#define BRIDGE_IO_BASE   0x1C
#define BRIDGE_STATUS    0x1E
#define BRIDGE_MEM_BASE  0x20
#define BRIDGE_PREF_BASE 0x24
#define BRIDGE_CONTROL   0x3E
#define CAP_SSVID        0x40
#define CAP_MSIX         0x48
#define CAP_EXP          0x54
#define EXT_AER          0x100
#define EXT_ACS          0x148

#define AER_LOG_MAX 8

#define TYPE_ROOT_PORT (root_port_get_type())
G_DECLARE_FINAL_TYPE(RootPort, root_port, HW, ROOT_PORT, PCIDevice)

struct _RootPort {
    PCIDevice parent;
    PCIConfig *config;
    PCIBus *bus;
    PCIESlot slot;
    uint8_t chassis;
    uint16_t number;
    bool hotplug;
    uint16_t aer_log_num, aer_log_max; /* no error is ever logged */
};

G_DEFINE_TYPE(RootPort, root_port, TYPE_PCI_DEVICE)
DEVICE_TYPE_REGISTER("pcie-root-port", root_port_get_type)

/* ---- configuration space ---- */

static void init_bridge(PCIConfig *cfg)
{
    cfg->config[PCI_INTERRUPT_PIN] = 1;
    memset(cfg->wmask + BRIDGE_PRIMARY, 0xFF, 4);
    pci_put_le16(cfg->wmask + BRIDGE_IO_BASE, 0xF0F0);
    pci_put_le16(cfg->cmask + BRIDGE_IO_BASE, 0x0F0F);
    pci_put_le16(cfg->w1cmask + BRIDGE_STATUS, 0xF900);
    pci_put_le32(cfg->wmask + BRIDGE_MEM_BASE, 0xFFF0FFF0);
    pci_put_le32(cfg->wmask + BRIDGE_PREF_BASE, 0xFFF0FFF0);
    pci_put_le32(cfg->cmask + BRIDGE_PREF_BASE, 0x000F000F);
    memset(cfg->wmask + BRIDGE_PREF_BASE + 4, 0xFF, 8);
    pci_put_le16(cfg->wmask + BRIDGE_CONTROL, 0x005F);
}

/* Closed windows: the base above the limit. */
static void reset_bridge(PCIConfig *cfg)
{
    pci_put_le32(cfg->config + BRIDGE_PRIMARY, 0);
    pci_put_le32(cfg->config + BRIDGE_IO_BASE, 0x000000F0);
    pci_put_le32(cfg->config + BRIDGE_MEM_BASE, 0x0000FFF0);
    pci_put_le32(cfg->config + BRIDGE_PREF_BASE, 0x0001FFF1);
    memset(cfg->config + BRIDGE_PREF_BASE + 4, 0, 8);
    pci_put_le16(cfg->config + BRIDGE_CONTROL, 0);
}

static void reset_ext_caps(PCIConfig *cfg)
{
    uint8_t *aer = cfg->config + EXT_AER;

    pci_put_le32(aer + 0x04, 0);          /* uncorrectable status */
    pci_put_le32(aer + 0x0C, 0x00462030); /* severity */
    pci_put_le32(aer + 0x10, 0);          /* correctable status */
    pci_put_le32(aer + 0x14, 0x0000E000); /* correctable mask */
    pci_put_le32(aer + 0x18, 0x000002A0); /* control */
    pci_put_le32(aer + 0x2C, 0);          /* root command */
    pci_put_le32(aer + 0x30, 0);          /* root status */
    pci_put_le16(cfg->config + EXT_ACS + 6, 0);
}

static void init_ext_caps(PCIDevice *dev)
{
    PCIConfig *cfg = pci_config(dev);

    pcie_add_ext_capability(dev, PCI_EXT_CAP_ID_AER, 2, EXT_AER, 0x48);
    pci_put_le32(cfg->w1cmask + EXT_AER + 0x04, 0x03FFF030);
    pci_put_le32(cfg->wmask + EXT_AER + 0x0C, 0x03FFF030);
    pci_put_le32(cfg->w1cmask + EXT_AER + 0x10, 0x0000F1C1);
    pci_put_le32(cfg->wmask + EXT_AER + 0x14, 0x0000F1C1);
    pci_put_le32(cfg->wmask + EXT_AER + 0x18, 0x00000540);
    pci_put_le32(cfg->wmask + EXT_AER + 0x2C, 0x00000007);
    pci_put_le32(cfg->w1cmask + EXT_AER + 0x30, 0x0000007F);
    cfg->cmask[EXT_AER + 0x33] = 0x07; /* which message the guest hears about errors with */
    pcie_add_ext_capability(dev, PCI_EXT_CAP_ID_ACS, 1, EXT_ACS, 8);
    pci_put_le16(cfg->config + EXT_ACS + 4, 0x005F);
    pci_put_le16(cfg->wmask + EXT_ACS + 6, 0x005F);
    reset_ext_caps(cfg);
}

static void root_port_config_changed(PCIDevice *dev, unsigned addr, unsigned len)
{
    if (len < PCIE_CONFIG_SIZE) { /* not a load */
        pcie_slot_config_changed(&HW_ROOT_PORT(dev)->slot, addr, len);
    }
}

static void root_port_reset(PCIDevice *dev)
{
    RootPort *s = HW_ROOT_PORT(dev);

    reset_bridge(pci_config(dev));
    reset_ext_caps(pci_config(dev));
    pcie_slot_reset(&s->slot);
    pci_bus_update_mappings(s->bus);
}

/* ---- life cycle ---- */

/* A chassis has one slot of each number. */
static bool check_chassis(RootPort *s, GError **errp)
{
    GPtrArray *devices = device_machine(HW_DEVICE(s))->devices;

    for (guint i = 0; i < devices->len; i++) {
        RootPort *other = HW_IS_ROOT_PORT(devices->pdata[i]) ? devices->pdata[i] : NULL;

        if (other && other->chassis == s->chassis && other->number == s->number) {
            error_setg(errp,
                       "Can't add chassis slot: chassis %u has a slot %u already; give each "
                       "pcie-root-port its own chassis= or slot=",
                       s->chassis, s->number);
            return false;
        }
    }
    if (s->number > 0x1FFF) {
        error_setg(errp, "Property 'pcie-root-port.slot' is at most 8191");
        return false;
    }
    return true;
}

static gboolean root_port_realize(PCIDevice *dev, GError **errp)
{
    RootPort *s = HW_ROOT_PORT(dev);
    DeviceState *d = HW_DEVICE(dev);
    PCIConfig *cfg = pci_config(dev);
    g_autofree char *name =
        device_id(d) ? g_strdup(device_id(d)) : g_strdup_printf("pcie.%x", pci_devfn(dev));
    uint8_t *ssvid;

    if (!check_chassis(s, errp)) {
        return FALSE;
    }
    init_bridge(cfg);
    reset_bridge(cfg);
    pci_register_bar(dev, 0, 0, 0x1000);
    ssvid = pci_add_capability(dev, PCI_CAP_ID_SSVID, CAP_SSVID, 8);
    pci_put_le16(ssvid + 4, 0x1B36);
    pci_msix_init(dev, CAP_MSIX, 0, 1, 0, 0x800);
    pcie_slot_init(&s->slot, dev, CAP_EXP, s->number, s->hotplug);
    init_ext_caps(dev);
    s->bus = pci_port_bus_new(device_machine(d), name, dev);
    s->slot.bus = s->bus;
    pci_bus_slots(s->bus)->hotplug = s->hotplug;
    pcie_slot_reset(&s->slot);
    if (!device_register_vmstate_as(d, NULL, &vmstate_pci_bus, s->bus, errp)) {
        g_clear_pointer(&s->bus, pci_bus_free);
        return FALSE;
    }
    return TRUE;
}

static void root_port_unrealize(PCIDevice *dev)
{
    RootPort *s = HW_ROOT_PORT(dev);
    GPtrArray *children = pci_bus_slots(s->bus)->children;

    while (children->len) {
        device_unplug(children->pdata[children->len - 1]);
    }
    g_clear_pointer(&s->bus, pci_bus_free);
}

static void root_port_child_plugged(DeviceState *d, DeviceState *child)
{
    pcie_slot_plugged(&HW_ROOT_PORT(d)->slot, device_is_hotplugged(child));
}

static gboolean root_port_unplug_request(DeviceState *d, DeviceState *child, GError **errp)
{
    return pcie_slot_unplug_request(&HW_ROOT_PORT(d)->slot, HW_PCI_DEVICE(child), errp);
}

/* ---- state ---- */

static bool root_port_post_load(void *opaque, int version_id, GError **errp)
{
    pcie_slot_loaded(&((RootPort *)opaque)->slot);
    return true;
}

static bool log_is_empty(void *opaque, int version_id)
{
    return ((RootPort *)opaque)->aer_log_num == 0;
}

static const VMStateDescription vmstate_aer_log = {
    .name = "PCIE_AER_ERROR_LOG",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields =
        (const VMStateField[]){
            VMSTATE_UINT16(aer_log_num, RootPort),
            VMSTATE_UINT16_EQUAL(aer_log_max, RootPort),
            VMSTATE_VALIDATE("an empty log of errors", log_is_empty),
            VMSTATE_END_OF_LIST(),
        },
};

#define WHOLE_PORT(name_, vmsd_)                                                                 \
    {                                                                                            \
        .name = name_, .offset = 0, .size = sizeof(RootPort), .vmsd = &(vmsd_), .version_id = 0, \
        .flags = VMS_STRUCT                                                                      \
    }

static const VMStateDescription vmstate_root_port = {
    .name = "pcie-root-port",
    .version_id = 1,
    .minimum_version_id = 1,
    .priority = MIG_PRI_PCI_BUS,
    .post_load = root_port_post_load,
    .fields =
        (const VMStateField[]){
            VMSTATE_PCI_CONFIG(config, RootPort),
            WHOLE_PORT("exp.aer_log", vmstate_aer_log),
            WHOLE_PORT("msix", vmstate_pci_msix),
            VMSTATE_END_OF_LIST(),
        },
};

static const DeviceProperty root_port_props[] = {
    DEVICE_PROP_UINT8("chassis", RootPort, chassis, 0, "number of the chassis"),
    DEVICE_PROP_UINT16("slot", RootPort, number, 0, "number of the slot in its chassis"),
    DEVICE_PROP_BOOL("hotplug", RootPort, hotplug, true, "takes devices while the guest runs"),
    {},
};

static void root_port_class_init(RootPortClass *klass)
{
    DeviceStateClass *dc = HW_DEVICE_CLASS(klass);
    PCIDeviceClass *pc = HW_PCI_DEVICE_CLASS(klass);

    device_class_set_props(dc, root_port_props);
    dc->desc = "PCI Express root port";
    dc->user_creatable = true;
    dc->hotpluggable = false;
    dc->vmsd = &vmstate_root_port;
    dc->child_plugged = root_port_child_plugged;
    dc->child_unplug_request = root_port_unplug_request;
    pc->vendor_id = 0x1B36;
    pc->device_id = 0x000C;
    pc->class_id = 0x0604;
    pc->header_type = PCI_HEADER_BRIDGE;
    pc->kind = PCI_EXPRESS;
    pc->realize_function = root_port_realize;
    pc->unrealize_function = root_port_unrealize;
    pc->reset_function = root_port_reset;
    pc->config_changed = root_port_config_changed;
}

static void root_port_init(RootPort *s)
{
    s->config = pci_config(HW_PCI_DEVICE(s));
    s->aer_log_max = AER_LOG_MAX;
}
