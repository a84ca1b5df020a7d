/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI functions and the buses they sit on (spec 80 section 11, spec 82 section 7).
 *
 * A device derives from PCIDevice and says in realize_function() what it is made of: BARs,
 * capabilities, interrupt pin. It plugs into a bus of type "PCIE": the root bus "pcie.0", where
 * functions are conventional (256 bytes of configuration space), or a root port's bus, where they
 * are PCI Express ones (4096 bytes) if the class wants that.
 *
 * Configuration space is three byte maps besides the bytes: wmask (the guest may write), w1cmask
 * (writing 1 clears) and cmask (a stream must agree, except where the other two allow a
 * difference). Everything here: big lock held.
 */
#ifndef GODWIT_HW_PCI_H
#define GODWIT_HW_PCI_H

#include "hw/device.h"

#define PCI_CONFIG_SIZE  256
#define PCIE_CONFIG_SIZE 4096
#define PCI_NUM_PINS     4
#define PCI_NUM_BARS     6
#define PCI_SLOTS        32
#define PCI_DEVFN_MAX    (PCI_SLOTS * 8)
#define PCI_UNMAPPED     UINT64_MAX
#define TYPE_PCIE_BUS    "PCIE"

enum {
    PCI_VENDOR_ID = 0x00,
    PCI_DEVICE_ID = 0x02,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_REVISION_ID = 0x08,
    PCI_CLASS_PROG = 0x09,
    PCI_CLASS_DEVICE = 0x0A,
    PCI_CACHE_LINE_SIZE = 0x0C,
    PCI_HEADER_TYPE = 0x0E,
    PCI_BASE_ADDRESS_0 = 0x10,
    PCI_SUBSYSTEM_VENDOR_ID = 0x2C,
    PCI_SUBSYSTEM_ID = 0x2E,
    PCI_CAPABILITY_LIST = 0x34,
    PCI_INTERRUPT_LINE = 0x3C,
    PCI_INTERRUPT_PIN = 0x3D,

    PCI_COMMAND_IO = 1 << 0,
    PCI_COMMAND_MEMORY = 1 << 1,
    PCI_COMMAND_MASTER = 1 << 2,
    PCI_COMMAND_INTX_DISABLE = 1 << 10,
    PCI_STATUS_INTERRUPT = 1 << 3,
    PCI_STATUS_CAP_LIST = 1 << 4,
    PCI_HEADER_BRIDGE = 1,
    PCI_HEADER_MULTIFUNCTION = 0x80,

    /* low bits of a BAR */
    PCI_BAR_IO = 1,
    PCI_BAR_MEM64 = 4,
    PCI_BAR_PREFETCH = 8,

    PCI_CAP_ID_PM = 0x01,
    PCI_CAP_ID_MSI = 0x05,
    PCI_CAP_ID_VENDOR = 0x09,
    PCI_CAP_ID_SSVID = 0x0D,
    PCI_CAP_ID_EXP = 0x10,
    PCI_CAP_ID_MSIX = 0x11,
    PCI_EXT_CAP_ID_AER = 0x01,
    PCI_EXT_CAP_ID_ACS = 0x0D,
};

typedef struct PCIBus PCIBus;
typedef struct PCIMsix PCIMsix;

#define TYPE_PCI_DEVICE (pci_device_get_type())
G_DECLARE_DERIVABLE_TYPE(PCIDevice, pci_device, HW, PCI_DEVICE, DeviceState)

typedef enum {
    PCI_CONVENTIONAL,       /* on every bus */
    PCI_EXPRESS_BELOW_PORT, /* conventional on the root bus, like a root-complex function */
    PCI_EXPRESS,
} PCIKind;

struct _PCIDeviceClass {
    DeviceStateClass parent_class;
    uint16_t vendor_id, device_id, class_id, subsystem_vendor_id, subsystem_id;
    uint8_t revision;
    uint8_t header_type;
    PCIKind kind;
    /* The function has its slot, its identity and an empty capability list. Optional, as are all
     * below. */
    gboolean (*realize_function)(PCIDevice *dev, GError **errp);
    void (*unrealize_function)(PCIDevice *dev);
    /* System reset or the reset of a slot; command, BARs and pins are back to zero already. */
    void (*reset_function)(PCIDevice *dev);
    /* The guest is about to read bytes that the function keeps elsewhere: bring config up to date.
     */
    void (*config_will_read)(PCIDevice *dev, unsigned addr, unsigned len);
    /* After bytes of config changed, by the guest or by loading. BARs are mapped anew already. */
    void (*config_changed)(PCIDevice *dev, unsigned addr, unsigned len);
};

/* First member of the section of every function: VMSTATE_PCI_CONFIG(). */
typedef struct {
    int32_t version_id;
    uint8_t *config;
    uint32_t irq_state[PCI_NUM_PINS]; /* INTA..INTD asserted, 0 or 1 */
    /* Not in the stream. */
    uint8_t *cmask, *wmask, *w1cmask;
    unsigned config_size;
    PCIDevice *dev;
} PCIConfig;

PCIConfig *pci_config(PCIDevice *dev);
/* Slot * 8 + function; -1 before realize, unless addr= says it. */
int pci_devfn(PCIDevice *dev);
void pci_set_devfn(PCIDevice *dev, int devfn);
PCIBus *pci_device_bus(PCIDevice *dev);
bool pci_is_express(PCIDevice *dev);
/* "0000:00:02.0", behind a root port "0000:00:02.0:00.0"; free with g_free(). */
char *pci_path(PCIDevice *dev);

/* Drive pin 0..3 (INTA..INTD). */
void pci_set_irq(PCIDevice *dev, unsigned pin, bool level);
/* Store a message at @addr, as MSI and MSI-X do. */
void pci_send_msi(PCIDevice *dev, uint64_t addr, uint32_t data);

/* ---- little-endian words ---- */
static inline uint16_t pci_get_le16(const uint8_t *p)
{
    return p[0] | p[1] << 8;
}

static inline uint32_t pci_get_le32(const uint8_t *p)
{
    return pci_get_le16(p) | (uint32_t)pci_get_le16(p + 2) << 16;
}

static inline void pci_put_le16(uint8_t *p, uint16_t v)
{
    p[0] = v;
    p[1] = v >> 8;
}

static inline void pci_put_le32(uint8_t *p, uint32_t v)
{
    pci_put_le16(p, v);
    pci_put_le16(p + 2, v >> 16);
}

/* ---- capabilities (realize_function) ---- */

/* A capability of @size bytes at @at, zero but for its header, read-only and compared on load; the
 * newest is first in the list. */
uint8_t *pci_add_capability(PCIDevice *dev, uint8_t id, unsigned at, unsigned size);
/* The same in extended space; the list is kept in ascending order by the caller. */
void pcie_add_ext_capability(PCIDevice *dev, uint16_t id, uint8_t version, unsigned at,
                             unsigned size);

/* ---- BARs (hw/pci/bar.c) ---- */

/* @type: PCI_BAR_*; @size a power of two. A 64-bit BAR takes @n and @n + 1. */
void pci_register_bar(PCIDevice *dev, unsigned n, uint8_t type, uint64_t size);
/* @mr answers from @offset on inside BAR @n; it stays the caller's. The rest reads as ones. */
void pci_bar_add_region(PCIDevice *dev, unsigned n, uint64_t offset, MemoryRegion *mr);
/* Address on the bus, PCI_UNMAPPED while the function does not decode it. */
uint64_t pci_bar_address(PCIDevice *dev, unsigned n);
uint64_t pci_bar_size(PCIDevice *dev, unsigned n);
uint8_t pci_bar_type(PCIDevice *dev, unsigned n);
/* Map or unmap after a change of command, BARs, a bridge's windows or a slot's power. */
void pci_update_mappings(PCIDevice *dev);
/* Before the regions go away. */
void pci_bars_release(PCIDevice *dev);

/* ---- MSI-X (hw/pci/msix.c) ---- */

/*
 * A capability at @cap, @vectors <= 2048 entries at @table and pending bits at @pba of memory BAR
 * @bar, which the caller has registered. Owned by the function.
 */
PCIMsix *pci_msix_init(PCIDevice *dev, unsigned cap, unsigned bar, unsigned vectors, uint64_t table,
                       uint64_t pba);
/* The same for a capability that is in config already. */
PCIMsix *pci_msix_attach(PCIDevice *dev, unsigned cap, unsigned bar, unsigned vectors,
                         uint64_t table, uint64_t pba);
PCIMsix *pci_msix(PCIDevice *dev); /* NULL: none */
unsigned pci_msix_vectors(PCIDevice *dev);
/* Enabled by the guest: pins are out of use. */
bool pci_msix_enabled(PCIDevice *dev);
/* Send, or remember as pending while masked. */
void pci_msix_notify(PCIDevice *dev, unsigned vector);
bool pci_msix_is_pending(PCIDevice *dev, unsigned vector);
/* All vectors masked, nothing pending, disabled. */
void pci_msix_reset(PCIDevice *dev);
/* Of one entry of the table. */
bool pci_msix_masked(PCIDevice *dev, unsigned vector);
/* Called when the guest masks or unmasks @vector, or enables or disables all (UINT_MAX). */
typedef void PCIMsixChanged(PCIDevice *dev, unsigned vector);
void pci_msix_set_changed(PCIDevice *dev, PCIMsixChanged *fn);
/* Table and pending bits as they travel; loading looks at the control word, so config comes first.
 */
void pci_msix_save(PCIDevice *dev, QEMUFile *f);
bool pci_msix_load(PCIDevice *dev, QEMUFile *f, GError **errp);
/* For a section whose opaque is the function. */
extern const VMStateDescription vmstate_pci_msix;

/* ---- state ---- */

extern const VMStateDescription vmstate_pci_config;
/* For a section whose opaque is the device: @f is a PCIConfig pointer member, set to pci_config()
 * in instance init. */
#define VMSTATE_PCI_CONFIG(f, s) VMSTATE_STRUCT_POINTER(f, s, vmstate_pci_config, PCIConfig)

/* ---- the bus; host bridges and ports use these (hw/pci/bus.c) ---- */

/* Where the host makes bus addresses visible: the I/O window is relocated, memory is 1:1. */
typedef struct {
    hwaddr pio_base, pio_size;
    hwaddr mmio32_base, mmio32_size;
    hwaddr mmio64_base, mmio64_size;
} PCIWindows;

/* Root bus. Pin p of device d drives irqs[(d + p) % 4]. */
PCIBus *pci_root_bus_new(Machine *m, const char *name, DeviceState *host,
                         const Irq irqs[PCI_NUM_PINS], const PCIWindows *windows);
/* Behind @bridge; it has one slot, 0. */
PCIBus *pci_port_bus_new(Machine *m, const char *name, PCIDevice *bridge);
/* It must be empty. */
void pci_bus_free(PCIBus *bus);
/* For -device and device_realize(). */
Bus *pci_bus_slots(PCIBus *bus);
bool pci_bus_is_root(const PCIBus *bus);
/* The bus behind @bridge, NULL for other functions. */
PCIBus *pci_bridge_bus(PCIDevice *bridge);
/* A slot without power: its functions answer to nothing. On by default. */
void pci_bus_set_power(PCIBus *bus, bool on);
bool pci_bus_powered(const PCIBus *bus);
/* The function with that number as the guest numbered the buses; @root is bus 0. */
PCIDevice *pci_bus_find(PCIBus *root, unsigned bus_nr, unsigned devfn);
PCIDevice *pci_bus_function(PCIBus *bus, unsigned devfn);
/* All functions of all buses below changed place: map anew. */
void pci_bus_update_mappings(PCIBus *bus);
/* Where [addr, addr + size) of the bus' address space is seen, PCI_UNMAPPED if it is not. */
uint64_t pci_bus_translate(PCIBus *bus, uint64_t addr, uint64_t size, bool io);
/* Windows of a bridge as the guest set them; false: closed. */
bool pci_bridge_window(PCIDevice *bridge, bool io, bool prefetch, uint64_t *base, uint64_t *limit);
/* "pcie.0" of the machine, NULL without one. */
PCIBus *pci_machine_root(Machine *m);

/* Configuration accesses: absent functions and registers read as ones. Size 1, 2 or 4, naturally
 * aligned. */
uint32_t pci_config_read(PCIDevice *dev, unsigned reg, unsigned size);
void pci_config_write(PCIDevice *dev, unsigned reg, unsigned size, uint32_t value);
/* The "PCIBUS" section; its opaque is the bus. */
extern const VMStateDescription vmstate_pci_bus;

/*
 * The generic PCIe host: ECAM, windows, host bridge 00:00.0 and bus "pcie.0". Sections in stream
 * order: 0000:00:00.0/gpex_root, PCIHost, PCIBUS.
 */
typedef struct {
    hwaddr ecam_base, ecam_size;
    PCIWindows windows;
    Irq irqs[PCI_NUM_PINS];
} GpexConfig;
DeviceState *gpex_create(Machine *m, const GpexConfig *cfg, GError **errp);

#endif
