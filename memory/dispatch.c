/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Accesses by physical address: RAM by pointer, devices by callback under the big lock. */
#include "memory/address-space.h"
#include "memory/dirty-log.h"
#include "util/lock.h"

static uint64_t host_load(const uint8_t *p, unsigned size)
{
    uint64_t v = 0;

    if (((uintptr_t)p & (size - 1)) != 0) {
        memcpy(&v, p, size);
        return GUINT64_FROM_LE(v);
    }
    /* Naturally aligned guest accesses are single-copy atomic. */
    switch (size) {
    case 1:
        return __atomic_load_n(p, __ATOMIC_RELAXED);
    case 2:
        return GUINT16_FROM_LE(__atomic_load_n((const uint16_t *)p, __ATOMIC_RELAXED));
    case 4:
        return GUINT32_FROM_LE(__atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED));
    default:
        return GUINT64_FROM_LE(__atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED));
    }
}

static void host_store(uint8_t *p, unsigned size, uint64_t v)
{
    if (((uintptr_t)p & (size - 1)) != 0) {
        v = GUINT64_TO_LE(v);
        memcpy(p, &v, size);
        return;
    }
    switch (size) {
    case 1:
        __atomic_store_n(p, (uint8_t)v, __ATOMIC_RELAXED);
        break;
    case 2:
        __atomic_store_n((uint16_t *)p, GUINT16_TO_LE((uint16_t)v), __ATOMIC_RELAXED);
        break;
    case 4:
        __atomic_store_n((uint32_t *)p, GUINT32_TO_LE((uint32_t)v), __ATOMIC_RELAXED);
        break;
    default:
        __atomic_store_n((uint64_t *)p, GUINT64_TO_LE(v), __ATOMIC_RELAXED);
        break;
    }
}

static uint64_t swap_value(uint64_t v, unsigned size)
{
    return GUINT64_SWAP_LE_BE(v) >> (64 - 8 * size);
}

static MemTxResult device_read(const MemoryRegion *mr, hwaddr offset, unsigned size,
                               uint64_t *value)
{
    const MemoryRegionOps *ops = mr->ops;
    MemTxResult r;

    if (!ops || !ops->read || (offset % size && !ops->unaligned_ok)) {
        return MEMTX_DECODE_ERROR;
    }
    if (!(ops->sizes & size)) {
        uint64_t lo, hi;

        if (size != 8 || !ops->split) {
            return MEMTX_DECODE_ERROR;
        }
        r = device_read(mr, offset, 4, &lo);
        if (r == MEMTX_OK) {
            r = device_read(mr, offset + 4, 4, &hi);
        }
        if (r == MEMTX_OK) {
            *value = lo | hi << 32;
        }
        return r;
    }
    *value = 0;
    r = ops->read(mr->opaque, offset, size, value);
    if (ops->big_endian) {
        *value = swap_value(*value, size);
    }
    return r;
}

static MemTxResult device_write(const MemoryRegion *mr, hwaddr offset, unsigned size,
                                uint64_t value)
{
    const MemoryRegionOps *ops = mr->ops;

    if (!ops || !ops->write || (offset % size && !ops->unaligned_ok)) {
        return MEMTX_DECODE_ERROR;
    }
    if (!(ops->sizes & size)) {
        MemTxResult r;

        if (size != 8 || !ops->split) {
            return MEMTX_DECODE_ERROR;
        }
        r = device_write(mr, offset, 4, (uint32_t)value);
        return r == MEMTX_OK ? device_write(mr, offset + 4, 4, value >> 32) : r;
    }
    if (size < 8) {
        value &= (UINT64_C(1) << (8 * size)) - 1;
    }
    return ops->write(mr->opaque, offset, size, ops->big_endian ? swap_value(value, size) : value);
}

/* One device access. The map may have changed before the lock was ours, so look again under it. */
static MemTxResult device_access(AddressSpace *as, hwaddr addr, unsigned size, uint64_t *value,
                                 bool is_write)
{
    bool take = !bql_locked();
    MemoryTranslation t;
    MemTxResult r;

    if (take) {
        bql_lock();
    }
    address_space_translate(as, addr, &t);
    if (t.len < size) {
        r = MEMTX_DECODE_ERROR;
    } else if (is_write && t.host) {
        /* RAM, or ROM that swallows the store. */
        if (t.writable) {
            host_store(t.host, size, *value);
            dirty_log_mark(t.mr->block, t.mr->block_offset + t.offset, size);
            r = MEMTX_OK;
        } else {
            r = t.mr->kind == REGION_ROMD ? device_write(t.mr, t.offset, size, *value) : MEMTX_OK;
        }
    } else if (t.host) {
        *value = host_load(t.host, size);
        r = MEMTX_OK;
    } else if (!t.mr) {
        r = MEMTX_DECODE_ERROR;
    } else {
        r = is_write ? device_write(t.mr, t.offset, size, *value)
                     : device_read(t.mr, t.offset, size, value);
    }
    if (take) {
        bql_unlock();
    }
    return r;
}

MemTxResult address_space_load(AddressSpace *as, hwaddr addr, unsigned size, uint64_t *value)
{
    MemoryTranslation t;

    address_space_translate(as, addr, &t);
    if (likely(t.host && t.len >= size)) {
        *value = host_load(t.host, size);
        return MEMTX_OK;
    }
    *value = 0;
    if (t.host) {
        uint64_t v = 0;
        MemTxResult r = address_space_read(as, addr, &v, size);

        *value = GUINT64_FROM_LE(v);
        return r;
    }
    return t.mr ? device_access(as, addr, size, value, false) : MEMTX_DECODE_ERROR;
}

MemTxResult address_space_store(AddressSpace *as, hwaddr addr, unsigned size, uint64_t value)
{
    MemoryTranslation t;

    address_space_translate(as, addr, &t);
    if (likely(t.writable && t.len >= size)) {
        host_store(t.host, size, value);
        dirty_log_mark(t.mr->block, t.mr->block_offset + t.offset, size);
        return MEMTX_OK;
    }
    if (t.writable) {
        uint64_t v = GUINT64_TO_LE(value);

        return address_space_write(as, addr, &v, size);
    }
    return t.mr ? device_access(as, addr, size, &value, true) : MEMTX_DECODE_ERROR;
}

/* The widest naturally aligned access at @addr that fits in @len bytes and that the device takes.
 */
static unsigned device_width(const MemoryTranslation *t, hwaddr addr, uint64_t len)
{
    unsigned sizes = t->mr->ops ? t->mr->ops->sizes : 0;
    unsigned width = 8;

    while (width > 1 && (width > len || addr % width || !(sizes & width))) {
        width /= 2;
    }
    return width;
}

MemTxResult address_space_read(AddressSpace *as, hwaddr addr, void *buf, uint64_t len)
{
    MemTxResult result = MEMTX_OK;
    uint8_t *p = buf;

    while (len) {
        MemoryTranslation t;
        uint64_t n;

        address_space_translate(as, addr, &t);
        n = MIN(len, t.len);
        if (t.host) {
            memcpy(p, t.host, n);
        } else if (t.mr) {
            uint64_t v = 0;
            MemTxResult r;

            n = device_width(&t, t.offset, n);
            r = device_access(as, addr, n, &v, false);
            result = result == MEMTX_OK ? r : result;
            v = GUINT64_TO_LE(v);
            memcpy(p, &v, n);
        } else {
            memset(p, 0, n);
            result = MEMTX_DECODE_ERROR;
        }
        p += n;
        addr += n;
        len -= n;
    }
    return result;
}

static MemTxResult write_bytes(AddressSpace *as, hwaddr addr, const void *buf, uint64_t len,
                               bool into_rom)
{
    MemTxResult result = MEMTX_OK;
    const uint8_t *p = buf;

    while (len) {
        MemoryTranslation t;
        uint64_t n;

        address_space_translate(as, addr, &t);
        n = MIN(len, t.len);
        if (t.writable || (into_rom && t.mr && t.mr->block)) {
            uint64_t offset = t.mr->block_offset + t.offset;

            memcpy(t.mr->block->host + offset, p, n);
            dirty_log_mark(t.mr->block, offset, n);
        } else if (t.mr && (t.mr->kind == REGION_IO || t.mr->kind == REGION_ROMD) && !into_rom) {
            uint64_t v = 0;
            MemTxResult r;

            n = device_width(&t, t.offset, n);
            memcpy(&v, p, n);
            v = GUINT64_FROM_LE(v);
            r = device_access(as, addr, n, &v, true);
            result = result == MEMTX_OK ? r : result;
        } else if (!t.mr) {
            result = MEMTX_DECODE_ERROR;
        }
        p += n;
        addr += n;
        len -= n;
    }
    return result;
}

MemTxResult address_space_write(AddressSpace *as, hwaddr addr, const void *buf, uint64_t len)
{
    return write_bytes(as, addr, buf, len, false);
}

MemTxResult address_space_write_rom(AddressSpace *as, hwaddr addr, const void *buf, uint64_t len)
{
    return write_bytes(as, addr, buf, len, true);
}

void *address_space_map(AddressSpace *as, hwaddr addr, uint64_t *len, bool is_write)
{
    MemoryTranslation t;

    address_space_translate(as, addr, &t);
    if (!t.host || (is_write && !t.writable)) {
        return NULL;
    }
    *len = MIN(*len, t.len);
    return t.host;
}

void address_space_unmap(AddressSpace *as, void *host, uint64_t access_len, bool is_write)
{
    ram_addr_t offset;
    RAMBlock *block;

    if (!is_write || access_len == 0) {
        return;
    }
    block = ram_block_from_host(address_space_ram(as), host, &offset);
    if (block) {
        dirty_log_mark(block, offset, access_len);
    }
}
