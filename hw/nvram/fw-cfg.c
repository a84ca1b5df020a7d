/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fw_cfg with DMA (spec 80 section 8, spec 82 section 11): read-only items the guest selects by key
 * and reads as a byte string. Item contents do not travel; the selector, the offset and a
 * half-written DMA address do.
 */
#include "hw/nvram/fw-cfg.h"

enum { SELECTOR_OFF = 0x08, DMA_OFF = 0x10 };
enum { KEY_NONE = 0xFFFF, KEY_LOCAL = 0x8000, KEY_MASK = 0x3FFF };
enum { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 0x10 };

#define FW_CFG_VERSION 3                            /* traditional interface and DMA */
#define DMA_SIGNATURE  UINT64_C(0x51454D5520434647) /* "QEMU CFG" */
#define FILE_NAME_MAX  56
#define NUM_FILES      (FW_CFG_MAX_ENTRY - FW_CFG_FILE_FIRST)

#define TYPE_FW_CFG (fw_cfg_get_type())
G_DECLARE_FINAL_TYPE(FWCfgState, fw_cfg, HW, FW_CFG, DeviceState)

typedef struct {
    char name[FILE_NAME_MAX];
    GBytes *data;
} FWCfgFile;

struct _FWCfgState {
    DeviceState parent;
    MemoryRegion data_mr, ctl_mr, dma_mr;
    hwaddr base;
    GBytes *items[FW_CFG_MAX_ENTRY];
    FWCfgFile files[NUM_FILES];
    unsigned num_files;

    uint16_t cur_entry;
    uint32_t cur_offset;
    uint64_t dma_addr;
};

G_DEFINE_TYPE(FWCfgState, fw_cfg, TYPE_DEVICE)
DEVICE_TYPE_REGISTER("fw_cfg_mem", fw_cfg_get_type)

/* ---- items ---- */

static void set_item(FWCfgState *s, unsigned key, GBytes *data)
{
    g_assert(key < FW_CFG_MAX_ENTRY);
    g_clear_pointer(&s->items[key], g_bytes_unref);
    s->items[key] = data;
}

void fw_cfg_set_bytes(DeviceState *dev, unsigned key, const void *data, size_t len)
{
    set_item(HW_FW_CFG(dev), key, g_bytes_new(data, len));
}

void fw_cfg_set_le16(DeviceState *dev, unsigned key, uint16_t value)
{
    value = GUINT16_TO_LE(value);
    fw_cfg_set_bytes(dev, key, &value, sizeof(value));
}

void fw_cfg_set_le32(DeviceState *dev, unsigned key, uint32_t value)
{
    value = GUINT32_TO_LE(value);
    fw_cfg_set_bytes(dev, key, &value, sizeof(value));
}

void fw_cfg_add_file(DeviceState *dev, const char *name, const void *data, size_t len)
{
    FWCfgState *s = HW_FW_CFG(dev);
    unsigned at = s->num_files;

    g_assert(s->num_files < NUM_FILES && strlen(name) < FILE_NAME_MAX);
    for (; at > 0 && strcmp(s->files[at - 1].name, name) > 0; at--) {
        s->files[at] = s->files[at - 1];
    }
    memset(s->files[at].name, 0, FILE_NAME_MAX);
    g_strlcpy(s->files[at].name, name, FILE_NAME_MAX);
    s->files[at].data = g_bytes_new(data, len);
    s->num_files++;
}

/* be32 count, then {be32 size, be16 key, u16 0, char name[56]} sorted by name. */
static void publish_files(FWCfgState *s)
{
    g_autoptr(GByteArray) dir = g_byte_array_new();
    uint32_t count = GUINT32_TO_BE(s->num_files);

    g_byte_array_append(dir, (const guint8 *)&count, sizeof(count));
    for (unsigned i = 0; i < s->num_files; i++) {
        uint32_t size = GUINT32_TO_BE(g_bytes_get_size(s->files[i].data));
        uint16_t key[2] = {GUINT16_TO_BE(FW_CFG_FILE_FIRST + i), 0};

        g_byte_array_append(dir, (const guint8 *)&size, sizeof(size));
        g_byte_array_append(dir, (const guint8 *)key, sizeof(key));
        g_byte_array_append(dir, (const guint8 *)s->files[i].name, FILE_NAME_MAX);
        set_item(s, FW_CFG_FILE_FIRST + i, g_bytes_ref(s->files[i].data));
    }
    set_item(s, FW_CFG_FILE_DIR, g_byte_array_free_to_bytes(g_steal_pointer(&dir)));
}

/* ---- selector and data ---- */

static void select_key(FWCfgState *s, uint16_t key)
{
    s->cur_entry = (key & KEY_MASK) < FW_CFG_MAX_ENTRY ? key : KEY_NONE;
    s->cur_offset = 0;
}

/* What is left of the selected item. cur_entry and cur_offset may come from a stream. */
static const uint8_t *current_bytes(const FWCfgState *s, size_t *len)
{
    unsigned key = s->cur_entry & KEY_MASK;
    const uint8_t *data;

    *len = 0;
    if (key >= FW_CFG_MAX_ENTRY || (s->cur_entry & KEY_LOCAL) || !s->items[key]) {
        return NULL;
    }
    data = g_bytes_get_data(s->items[key], len);
    if (s->cur_offset >= *len) {
        *len = 0;
        return NULL;
    }
    *len -= s->cur_offset;
    return data + s->cur_offset;
}

/* The next @size bytes in memory order, zero past the end. */
static MemTxResult data_read(void *opaque, hwaddr addr, unsigned size, uint64_t *value)
{
    FWCfgState *s = opaque;
    size_t len;
    const uint8_t *p = current_bytes(s, &len);

    if (addr != 0) {
        return MEMTX_DECODE_ERROR;
    }
    len = MIN(len, size);
    *value = 0;
    for (size_t i = 0; i < len; i++) {
        *value |= (uint64_t)p[i] << (8 * i);
    }
    s->cur_offset += len;
    return MEMTX_OK;
}

static MemTxResult data_write(void *opaque, hwaddr addr, unsigned size, uint64_t value)
{
    return addr == 0 ? MEMTX_OK : MEMTX_DECODE_ERROR;
}

static MemTxResult selector_read(void *opaque, hwaddr addr, unsigned size, uint64_t *value)
{
    return MEMTX_DECODE_ERROR;
}

static MemTxResult selector_write(void *opaque, hwaddr addr, unsigned size, uint64_t value)
{
    select_key(opaque, value);
    return MEMTX_OK;
}

/* ---- DMA ---- */

/*
 * Copy between guest RAM and @buf; NULL @buf writes zeroes. Only RAM is reachable: a transfer into
 * a device could start another transfer.
 */
static bool dma_ram(FWCfgState *s, hwaddr addr, void *buf, uint64_t len, bool to_guest)
{
    AddressSpace *as = device_machine(HW_DEVICE(s))->as;

    while (len > 0) {
        uint64_t n = len;
        uint8_t *host = address_space_map(as, addr, &n, to_guest);

        if (!host) {
            return false;
        }
        if (!to_guest) {
            memcpy(buf, host, n);
        } else if (buf) {
            memcpy(host, buf, n);
        } else {
            memset(host, 0, n);
        }
        address_space_unmap(as, host, n, to_guest);
        if (buf) {
            buf = (uint8_t *)buf + n;
        }
        addr += n;
        len -= n;
    }
    return true;
}

static bool dma_read_item(FWCfgState *s, hwaddr addr, uint64_t len)
{
    size_t have;
    const uint8_t *p = current_bytes(s, &have);

    have = MIN(have, len);
    if (!dma_ram(s, addr, (void *)p, have, true)) {
        return false;
    }
    s->cur_offset += have;
    return dma_ram(s, addr + have, NULL, len - have, true);
}

static void dma_skip(FWCfgState *s, uint64_t len)
{
    size_t have;

    current_bytes(s, &have);
    s->cur_offset += MIN(have, len);
}

static void dma_run(FWCfgState *s)
{
    struct {
        uint32_t control, length;
        uint64_t address;
    } desc;
    hwaddr addr = s->dma_addr;
    uint32_t result = 0;

    s->dma_addr = 0;
    if (!dma_ram(s, addr, &desc, sizeof(desc), false)) {
        return; /* there is nowhere to report to */
    }

    uint32_t control = GUINT32_FROM_BE(desc.control);
    uint32_t length = GUINT32_FROM_BE(desc.length);
    hwaddr target = GUINT64_FROM_BE(desc.address);

    if (control & DMA_SELECT) {
        select_key(s, control >> 16);
    }
    if (control & DMA_READ) {
        result = dma_read_item(s, target, length) ? 0 : DMA_ERROR;
    } else if (control & DMA_WRITE) {
        result = DMA_ERROR; /* no item is writable */
    } else if (control & DMA_SKIP) {
        dma_skip(s, length);
    }
    result = GUINT32_TO_BE(result);
    dma_ram(s, addr, &result, sizeof(result), true);
}

static MemTxResult dma_read(void *opaque, hwaddr addr, unsigned size, uint64_t *value)
{
    uint64_t shifted = DMA_SIGNATURE >> (8 * (8 - addr - size));

    *value = size == 8 ? shifted : shifted & ((UINT64_C(1) << (8 * size)) - 1);
    return MEMTX_OK;
}

static MemTxResult dma_write(void *opaque, hwaddr addr, unsigned size, uint64_t value)
{
    FWCfgState *s = opaque;

    if (size == 8) {
        s->dma_addr = value;
        dma_run(s);
    } else if (size == 4 && addr == 0) {
        s->dma_addr = value << 32;
    } else if (size == 4) {
        s->dma_addr |= (uint32_t)value;
        dma_run(s);
    } else {
        return MEMTX_DECODE_ERROR;
    }
    return MEMTX_OK;
}

static const MemoryRegionOps data_ops = {
    .read = data_read, .write = data_write, .sizes = 1 | 2 | 4 | 8};
static const MemoryRegionOps selector_ops = {
    .read = selector_read, .write = selector_write, .sizes = 2, .big_endian = true};
static const MemoryRegionOps dma_ops = {
    .read = dma_read, .write = dma_write, .sizes = 1 | 2 | 4 | 8, .big_endian = true};

/* ---- migration ---- */

static const VMStateDescription vmstate_fw_cfg_dma = {
    .name = "fw_cfg/dma",
    .version_id = 0,
    .minimum_version_id = 0,
    .fields =
        (const VMStateField[]){
            VMSTATE_UINT64(dma_addr, FWCfgState),
            VMSTATE_END_OF_LIST(),
        },
};

static const VMStateDescription vmstate_fw_cfg = {
    .name = "fw_cfg",
    .version_id = 2,
    .minimum_version_id = 2,
    .fields =
        (const VMStateField[]){
            VMSTATE_UINT16(cur_entry, FWCfgState),
            VMSTATE_UINT32(cur_offset, FWCfgState),
            VMSTATE_END_OF_LIST(),
        },
    .subsections = (const VMStateDescription *const[]){&vmstate_fw_cfg_dma, NULL},
};

/* ---- life cycle ---- */

static void fw_cfg_reset(DeviceState *dev)
{
    select_key(HW_FW_CFG(dev), FW_CFG_SIGNATURE);
}

static gboolean fw_cfg_realize(DeviceState *dev, GError **errp)
{
    FWCfgState *s = HW_FW_CFG(dev);
    AddressSpace *as = device_machine(dev)->as;

    publish_files(s);
    memory_region_init_io(&s->data_mr, "fwcfg.data", 8, &data_ops, s);
    memory_region_init_io(&s->ctl_mr, "fwcfg.ctl", 2, &selector_ops, s);
    memory_region_init_io(&s->dma_mr, "fwcfg.dma", 8, &dma_ops, s);
    address_space_add(as, &s->data_mr, s->base, 0);
    address_space_add(as, &s->ctl_mr, s->base + SELECTOR_OFF, 0);
    address_space_add(as, &s->dma_mr, s->base + DMA_OFF, 0);
    return true;
}

static void fw_cfg_unrealize(DeviceState *dev)
{
    FWCfgState *s = HW_FW_CFG(dev);
    AddressSpace *as = device_machine(dev)->as;

    address_space_del(as, &s->data_mr);
    address_space_del(as, &s->ctl_mr);
    address_space_del(as, &s->dma_mr);
}

static void fw_cfg_finalize(GObject *obj)
{
    FWCfgState *s = HW_FW_CFG(obj);

    for (unsigned i = 0; i < FW_CFG_MAX_ENTRY; i++) {
        g_clear_pointer(&s->items[i], g_bytes_unref);
    }
    for (unsigned i = 0; i < s->num_files; i++) {
        g_bytes_unref(s->files[i].data);
    }
    G_OBJECT_CLASS(fw_cfg_parent_class)->finalize(obj);
}

static void fw_cfg_class_init(FWCfgStateClass *klass)
{
    DeviceStateClass *dc = HW_DEVICE_CLASS(klass);

    G_OBJECT_CLASS(klass)->finalize = fw_cfg_finalize;
    dc->desc = "firmware configuration";
    dc->realize = fw_cfg_realize;
    dc->unrealize = fw_cfg_unrealize;
    dc->reset = fw_cfg_reset;
    dc->vmsd = &vmstate_fw_cfg;
}

static void fw_cfg_init(FWCfgState *s)
{
}

DeviceState *fw_cfg_new(Machine *m, GError **errp)
{
    static const uint8_t boot_fail_wait[] = {0xFF, 0xFF, 0xFF, 0xFF}; /* forever */
    DeviceState *dev = device_new(m, "fw_cfg_mem", NULL, errp);

    if (!dev) {
        return NULL;
    }
    fw_cfg_set_bytes(dev, FW_CFG_SIGNATURE, "QEMU", 4);
    fw_cfg_set_le32(dev, FW_CFG_ID, FW_CFG_VERSION);
    fw_cfg_set_bytes(dev, FW_CFG_UUID, m->uuid, sizeof(m->uuid));
    fw_cfg_set_le16(dev, FW_CFG_NOGRAPHIC, m->nographic);
    fw_cfg_set_le16(dev, FW_CFG_NB_CPUS, m->smp_cpus);
    fw_cfg_set_le16(dev, FW_CFG_BOOT_MENU, 0);
    fw_cfg_add_file(dev, "bios-geometry", "", 0);
    fw_cfg_add_file(dev, "bootorder", "", 0);
    fw_cfg_add_file(dev, "etc/boot-fail-wait", boot_fail_wait, sizeof(boot_fail_wait));
    return dev;
}

bool fw_cfg_map(DeviceState *dev, hwaddr base, GError **errp)
{
    HW_FW_CFG(dev)->base = base;
    return device_realize(dev, NULL, errp);
}
