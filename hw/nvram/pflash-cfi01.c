/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CFI command set 1 flash: a 32-bit bank of two interleaved 16-bit devices (spec 80 section 9, spec
 * 82 section 10).
 *
 * In read-array mode the bank reads like ROM straight from its RAM block; every other read and
 * every write comes here. A write is one step of a command: wcycle counts the steps taken, cmd is
 * the command (0: read array).
 */
#include "hw/nvram/pflash-cfi01.h"
#include "memory/dirty-log.h"

enum {
    CMD_READ_ARRAY = 0x00,
    CMD_PROGRAM_ALT = 0x10,
    CMD_ERASE = 0x20,
    CMD_PROGRAM = 0x40,
    CMD_CLEAR_STATUS = 0x50,
    CMD_LOCK = 0x60,
    CMD_READ_STATUS = 0x70,
    CMD_READ_ID = 0x90,
    CMD_QUERY = 0x98,
    CMD_CONFIRM = 0xD0,
    CMD_BUFFER = 0xE8,
    CMD_RESET = 0xFF,
};
enum { STATUS_READY = 0x80, STATUS_PROGRAM_ERROR = 0x10 };

#define SECTOR_SIZE  (256 * KiB)
#define BUFFER_SIZE  4096
#define ID_MAKER     0x0089
#define ID_DEVICE    0x0018
#define NO_BUFFER    UINT32_MAX
#define DRIVE_SECTOR 512

#define TYPE_PFLASH_CFI01 (pflash_cfi01_get_type())
G_DECLARE_FINAL_TYPE(PFlashCFI01, pflash_cfi01, HW, PFLASH_CFI01, DeviceState)

struct _PFlashCFI01 {
    DeviceState parent;
    MemoryRegion mr;
    const char *name;
    hwaddr base;
    RAMBlock *block;
    BlockBackend *blk;
    bool write_back; /* the array came from a stream: the drive does not have it yet */

    uint8_t wcycle;
    uint8_t cmd;
    uint8_t status;
    uint64_t counter; /* data writes still to come, minus one */
    uint8_t blk_bytes[BUFFER_SIZE];
    uint32_t blk_offset;
};

G_DEFINE_TYPE(PFlashCFI01, pflash_cfi01, TYPE_DEVICE)
DEVICE_TYPE_REGISTER("cfi.pflash01", pflash_cfi01_get_type)

/* CFI query answers by word; the rest is 0. */
static const uint8_t cfi_table[] = {
    [0x10] = 'Q',  [0x11] = 'R',  [0x12] = 'Y',  [0x13] = 0x01, /* command set 1 */
    [0x15] = 0x31,                                              /* address of the extended table */
    [0x1B] = 0x45, [0x1C] = 0x55,                               /* supply voltage */
    [0x1F] = 0x07, [0x20] = 0x07, [0x21] = 0x0A,                /* typical times */
    [0x23] = 0x04, [0x24] = 0x04, [0x25] = 0x04,                /* maximum times */
    [0x27] = 0x18,                                              /* device size: 16 MiB */
    [0x28] = 0x02,                                              /* 16 bit */
    [0x2A] = 0x0B,                                              /* write buffer: 2 KiB */
    [0x2C] = 0x01,                                              /* one erase region: */
    [0x2D] = 0x7F, [0x30] = 0x02,                               /* 128 sectors of 128 KiB */
    [0x31] = 'P',  [0x32] = 'R',  [0x33] = 'I',  [0x34] = '1',  [0x35] = '0', [0x3F] = 0x01,
};

/* ---- the array ---- */

static void array_changed(PFlashCFI01 *s, uint64_t offset, uint64_t len)
{
    uint64_t first = ROUND_DOWN(offset, DRIVE_SECTOR), end = ROUND_UP(offset + len, DRIVE_SECTOR);
    g_autoptr(GError) err = NULL;

    dirty_log_mark(s->block, offset, len);
    if (s->blk && !block_pwrite(s->blk, first, s->block->host + first, end - first, &err)) {
        error_report("%s: %s", s->name, err->message);
    }
}

/* False: the drive is read-only. */
static bool array_writable(PFlashCFI01 *s)
{
    if (s->blk && !block_is_writable(s->blk)) {
        s->status |= STATUS_PROGRAM_ERROR;
        return false;
    }
    return true;
}

static void put_le(uint8_t *p, unsigned size, uint64_t value)
{
    for (unsigned i = 0; i < size; i++) {
        p[i] = value >> (8 * i);
    }
}

static void program(PFlashCFI01 *s, hwaddr addr, unsigned size, uint64_t value)
{
    if (array_writable(s)) {
        put_le(s->block->host + addr, size, value);
        array_changed(s, addr, size);
    }
}

static void erase(PFlashCFI01 *s, hwaddr addr)
{
    uint64_t sector = ROUND_DOWN(addr, SECTOR_SIZE);

    if (array_writable(s)) {
        memset(s->block->host + sector, 0xFF, SECTOR_SIZE);
        array_changed(s, sector, SECTOR_SIZE);
    }
}

static void buffer_open(PFlashCFI01 *s, hwaddr addr)
{
    s->blk_offset = ROUND_DOWN(addr, BUFFER_SIZE);
    memcpy(s->blk_bytes, s->block->host + s->blk_offset, BUFFER_SIZE);
}

static void buffer_write(PFlashCFI01 *s, hwaddr addr, unsigned size, uint64_t value)
{
    if (s->blk_offset == NO_BUFFER || addr < s->blk_offset ||
        addr + size > (uint64_t)s->blk_offset + BUFFER_SIZE) {
        s->status |= STATUS_PROGRAM_ERROR;
        s->blk_offset = NO_BUFFER; /* one stray write spoils the whole buffer */
        return;
    }
    put_le(s->blk_bytes + (addr - s->blk_offset), size, value);
}

static void buffer_commit(PFlashCFI01 *s)
{
    if (array_writable(s)) {
        memcpy(s->block->host + s->blk_offset, s->blk_bytes, BUFFER_SIZE);
        array_changed(s, s->blk_offset, BUFFER_SIZE);
    }
    s->blk_offset = NO_BUFFER;
}

/* ---- commands ---- */

static void read_array_mode(PFlashCFI01 *s)
{
    s->cmd = CMD_READ_ARRAY;
    s->wcycle = 0;
    s->blk_offset = NO_BUFFER;
    memory_region_set_romd(&s->mr, true);
}

static void first_cycle(PFlashCFI01 *s, hwaddr addr, uint8_t cmd)
{
    switch (cmd) {
    case CMD_ERASE:
        erase(s, addr);
        s->status |= STATUS_READY;
        s->wcycle = 1;
        break;
    case CMD_BUFFER:
        s->status |= STATUS_READY;
        s->wcycle = 1;
        break;
    case CMD_PROGRAM_ALT:
    case CMD_PROGRAM:
    case CMD_LOCK:
    case CMD_QUERY:
        s->wcycle = 1;
        break;
    case CMD_READ_STATUS:
    case CMD_READ_ID:
        break;
    case CMD_CLEAR_STATUS:
        s->status = 0;
        read_array_mode(s);
        return;
    default:
        read_array_mode(s);
        return;
    }
    s->cmd = cmd;
    memory_region_set_romd(&s->mr, false);
}

static void second_cycle(PFlashCFI01 *s, hwaddr addr, unsigned size, uint64_t value)
{
    uint8_t low = value;

    switch (s->cmd) {
    case CMD_PROGRAM_ALT:
    case CMD_PROGRAM:
        program(s, addr, size, value);
        s->status |= STATUS_READY;
        s->wcycle = 0;
        break;
    case CMD_ERASE:
        if (low == CMD_CONFIRM) {
            s->wcycle = 0;
            s->status |= STATUS_READY;
        } else {
            read_array_mode(s);
        }
        break;
    case CMD_LOCK:
        if (low == CMD_CONFIRM || low == 0x01) {
            s->wcycle = 0;
            s->status |= STATUS_READY;
        } else {
            read_array_mode(s);
        }
        break;
    case CMD_BUFFER:
        s->counter = value & 0xFFFF;
        buffer_open(s, addr);
        s->wcycle = 2;
        break;
    case CMD_QUERY:
        if (low == CMD_RESET) {
            read_array_mode(s);
        }
        break;
    default:
        read_array_mode(s);
        break;
    }
}

static MemTxResult pflash_write(void *opaque, hwaddr addr, unsigned size, uint64_t value)
{
    PFlashCFI01 *s = opaque;

    switch (s->wcycle) {
    case 0:
        first_cycle(s, addr, value);
        break;
    case 1:
        second_cycle(s, addr, size, value);
        break;
    case 2: /* buffer data */
        buffer_write(s, addr, size, value);
        s->status |= STATUS_READY;
        if (s->counter == 0) {
            s->wcycle = 3;
        }
        s->counter--;
        break;
    default: /* buffer confirmation */
        if ((uint8_t)value == CMD_CONFIRM && s->blk_offset != NO_BUFFER) {
            buffer_commit(s);
            s->wcycle = 0;
            s->status |= STATUS_READY;
        } else {
            read_array_mode(s);
        }
        break;
    }
    return MEMTX_OK;
}

/* Both interleaved devices answer the same. */
static uint32_t both(uint16_t value)
{
    return (uint32_t)value << 16 | value;
}

static uint32_t read_word(const PFlashCFI01 *s, hwaddr addr)
{
    uint64_t word = addr / 4;

    switch (s->cmd) {
    case CMD_READ_ID:
        return word % 256 == 0 ? both(ID_MAKER) : word % 256 == 1 ? both(ID_DEVICE) : 0;
    case CMD_QUERY:
        return word < ARRAY_SIZE(cfi_table) ? both(cfi_table[word]) : 0;
    default:
        return both(s->status);
    }
}

static MemTxResult pflash_read(void *opaque, hwaddr addr, unsigned size, uint64_t *value)
{
    const PFlashCFI01 *s = opaque;

    *value = 0;
    if (s->cmd == CMD_READ_ARRAY) { /* a stream may hold an array read inside a command */
        for (unsigned i = 0; i < size; i++) {
            *value |= (uint64_t)s->block->host[addr + i] << (8 * i);
        }
    } else {
        *value = read_word(s, addr) & (size == 4 ? UINT32_MAX : (1u << (8 * size)) - 1);
    }
    return MEMTX_OK;
}

static const MemoryRegionOps pflash_ops = {
    .read = pflash_read, .write = pflash_write, .sizes = 1 | 2 | 4, .split = true};

/* ---- migration ---- */

static bool pflash_post_load(void *opaque, int version_id, GError **errp)
{
    PFlashCFI01 *s = opaque;

    if (s->wcycle > 3) {
        error_setg(errp, "pflash_cfi01: write cycle %u of %s is above 3", s->wcycle, s->name);
        return false;
    }
    if (s->blk_offset != NO_BUFFER &&
        (s->blk_offset % BUFFER_SIZE || s->blk_offset >= s->block->used_length)) {
        error_setg(errp, "pflash_cfi01: write buffer of %s at 0x%x is outside the bank", s->name,
                   s->blk_offset);
        return false;
    }
    memory_region_set_romd(&s->mr, s->cmd == CMD_READ_ARRAY && s->wcycle == 0);
    s->write_back = s->blk != NULL;
    return true;
}

static bool pflash_pre_load(void *opaque, GError **errp)
{
    ((PFlashCFI01 *)opaque)->blk_offset = NO_BUFFER;
    return true;
}

static bool blk_write_needed(void *opaque)
{
    return ((const PFlashCFI01 *)opaque)->blk_offset != NO_BUFFER;
}

static const VMStateDescription vmstate_blk_write = {
    .name = "pflash_cfi01_blk_write",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = blk_write_needed,
    .fields =
        (const VMStateField[]){
            VMSTATE_UINT8_ARRAY(blk_bytes, PFlashCFI01, BUFFER_SIZE),
            VMSTATE_UINT32(blk_offset, PFlashCFI01),
            VMSTATE_END_OF_LIST(),
        },
};

static const VMStateDescription vmstate_pflash = {
    .name = "pflash_cfi01",
    .version_id = 1,
    .minimum_version_id = 1,
    .pre_load = pflash_pre_load,
    .post_load = pflash_post_load,
    .fields =
        (const VMStateField[]){
            VMSTATE_UINT8(wcycle, PFlashCFI01),
            VMSTATE_UINT8(cmd, PFlashCFI01),
            VMSTATE_UINT8(status, PFlashCFI01),
            VMSTATE_UINT64(counter, PFlashCFI01),
            VMSTATE_END_OF_LIST(),
        },
    .subsections = (const VMStateDescription *const[]){&vmstate_blk_write, NULL},
};

/* ---- life cycle ---- */

static void pflash_reset(DeviceState *dev)
{
    PFlashCFI01 *s = HW_PFLASH_CFI01(dev);

    s->status = STATUS_READY;
    s->counter = 0;
    read_array_mode(s);
}

/* By now the destination owns the drive. */
static void pflash_vm_state(DeviceState *dev, gboolean running)
{
    PFlashCFI01 *s = HW_PFLASH_CFI01(dev);

    if (running && s->write_back) {
        s->write_back = false;
        if (block_is_writable(s->blk)) {
            array_changed(s, 0, s->block->used_length);
        }
    }
}

/* An array that is about to arrive in a stream is not read. */
static bool attach_drive(PFlashCFI01 *s, bool incoming, GError **errp)
{
    uint64_t len = block_length(s->blk);

    if (len != PFLASH_BANK_SIZE) {
        error_setg(errp,
                   "device requires %" PRIu64 " bytes, block backend provides %" PRIu64 " bytes",
                   PFLASH_BANK_SIZE, len);
        return false;
    }
    if (!block_claim(s->blk, s->name, block_is_writable(s->blk), errp)) {
        return false;
    }
    if (!incoming && !block_pread(s->blk, 0, s->block->host, len, errp)) {
        block_release(s->blk);
        return false;
    }
    return true;
}

static gboolean pflash_realize(DeviceState *dev, GError **errp)
{
    PFlashCFI01 *s = HW_PFLASH_CFI01(dev);
    Machine *m = device_machine(dev);

    s->block = ram_block_new_anon(m->ram_list, s->name, PFLASH_BANK_SIZE, RAM_MIGRATABLE, errp);
    if (!s->block) {
        return false;
    }
    if (s->blk && !attach_drive(s, m->incoming, errp)) {
        g_clear_pointer(&s->block, ram_block_free);
        return false;
    }
    memory_region_init_romd(&s->mr, s->name, s->block, &pflash_ops, s);
    address_space_add(m->as, &s->mr, s->base, 0);
    read_array_mode(s);
    return true;
}

static void pflash_unrealize(DeviceState *dev)
{
    PFlashCFI01 *s = HW_PFLASH_CFI01(dev);

    address_space_del(device_machine(dev)->as, &s->mr);
    g_clear_pointer(&s->block, ram_block_free);
    if (s->blk) {
        block_release(s->blk);
    }
}

static void pflash_cfi01_class_init(PFlashCFI01Class *klass)
{
    DeviceStateClass *dc = HW_DEVICE_CLASS(klass);

    dc->desc = "CFI parallel flash";
    dc->realize = pflash_realize;
    dc->unrealize = pflash_unrealize;
    dc->reset = pflash_reset;
    dc->vm_state = pflash_vm_state;
    dc->vmsd = &vmstate_pflash;
}

static void pflash_cfi01_init(PFlashCFI01 *s)
{
    s->blk_offset = NO_BUFFER;
}

DeviceState *pflash_cfi01_create(Machine *m, const char *name, hwaddr base, BlockBackend *blk,
                                 GError **errp)
{
    DeviceState *dev = device_new(m, "cfi.pflash01", NULL, errp);

    if (!dev) {
        return NULL;
    }
    HW_PFLASH_CFI01(dev)->name = name;
    HW_PFLASH_CFI01(dev)->base = base;
    HW_PFLASH_CFI01(dev)->blk = blk;
    return device_realize(dev, NULL, errp) ? dev : NULL;
}
