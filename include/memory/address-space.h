/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A flat guest physical address space: RAM, ROM and MMIO regions with priorities.
 *
 * Regions are added, removed and changed with the big lock held. Lookups and accesses run in any
 * thread; MMIO callbacks run with the big lock held (taken here when the caller does not hold it).
 */
#ifndef GODWIT_MEMORY_ADDRESS_SPACE_H
#define GODWIT_MEMORY_ADDRESS_SPACE_H

#include "memory/ramblock.h"

typedef enum {
    MEMTX_OK,
    MEMTX_ERROR,        /* the device refused: access fault */
    MEMTX_DECODE_ERROR, /* nothing there, or a width/alignment the device lacks: access fault */
} MemTxResult;

typedef struct {
    MemTxResult (*read)(void *opaque, hwaddr addr, unsigned size, uint64_t *value);
    MemTxResult (*write)(void *opaque, hwaddr addr, unsigned size, uint64_t value);
    /* Bit mask of legal access sizes (1|2|4|8); others: see split. Accesses must be naturally
     * aligned. */
    uint8_t sizes;
    bool unaligned_ok;
    /* 8-byte accesses become two of 4 when 8 is not in sizes. */
    bool split;
    bool big_endian; /* values are byte-swapped for a little-endian guest */
} MemoryRegionOps;

typedef enum {
    REGION_RAM,  /* read, write, execute straight from the block */
    REGION_ROM,  /* stores silently ignored */
    REGION_ROMD, /* reads from the block while romd_mode, writes (and other reads) through ops */
    REGION_IO,
} MemoryRegionKind;

typedef struct AddressSpace AddressSpace;
typedef struct MemoryRegion {
    const char *name; /* for info mtree; static or owned by the device */
    MemoryRegionKind kind;
    hwaddr addr; /* set by address_space_add() */
    uint64_t size;
    int priority;    /* higher wins where regions overlap */
    RAMBlock *block; /* RAM, ROM, ROMD */
    ram_addr_t block_offset;
    const MemoryRegionOps *ops; /* IO, ROMD; called with addr relative to the region */
    void *opaque;
    bool romd_mode;
    AddressSpace *as; /* set while added */
} MemoryRegion;

AddressSpace *address_space_new(RAMList *ram);
void address_space_free(AddressSpace *as);
RAMList *address_space_ram(AddressSpace *as);

/* Fill in a region; the caller (a device) owns the structure. */
void memory_region_init_io(MemoryRegion *mr, const char *name, uint64_t size,
                           const MemoryRegionOps *ops, void *opaque);
void memory_region_init_ram(MemoryRegion *mr, const char *name, RAMBlock *block);
void memory_region_init_rom(MemoryRegion *mr, const char *name, RAMBlock *block);
void memory_region_init_romd(MemoryRegion *mr, const char *name, RAMBlock *block,
                             const MemoryRegionOps *ops, void *opaque);
/* Map at @addr. Overlaps are resolved by priority, then by later addition. Sets block->gpa. */
void address_space_add(AddressSpace *as, MemoryRegion *mr, hwaddr addr, int priority);
void address_space_del(AddressSpace *as, MemoryRegion *mr);
void memory_region_set_romd(MemoryRegion *mr, bool romd_mode);

/* What lies at @addr. RAM-like: *host points at it, valid for *len bytes (<= the rest of the
 * region). */
typedef struct {
    MemoryRegion *mr; /* NULL: nothing */
    hwaddr offset;    /* inside the region */
    uint64_t len;     /* bytes from @addr to the end of this flat range */
    uint8_t *host;    /* non-NULL: readable directly */
    bool writable;    /* host may be written (then dirty_log_mark()) */
} MemoryTranslation;
void address_space_translate(AddressSpace *as, hwaddr addr, MemoryTranslation *out);

/* One guest access of 1, 2, 4 or 8 bytes, guest byte order (little). */
MemTxResult address_space_load(AddressSpace *as, hwaddr addr, unsigned size, uint64_t *value);
MemTxResult address_space_store(AddressSpace *as, hwaddr addr, unsigned size, uint64_t value);
/* Any length, crossing regions (DMA, loaders, qtest, memsave). Marks dirty pages. */
MemTxResult address_space_read(AddressSpace *as, hwaddr addr, void *buf, uint64_t len);
MemTxResult address_space_write(AddressSpace *as, hwaddr addr, const void *buf, uint64_t len);
/* Like write, but also into ROM and without device side effects (firmware loader). */
MemTxResult address_space_write_rom(AddressSpace *as, hwaddr addr, const void *buf, uint64_t len);
/*
 * Direct access to guest RAM for DMA: a host pointer for up to *len bytes (shortened at a range
 * end), or NULL if it is not RAM. Unmap marks @access_len bytes dirty when @is_write. Both any
 * thread.
 */
void *address_space_map(AddressSpace *as, hwaddr addr, uint64_t *len, bool is_write);
void address_space_unmap(AddressSpace *as, void *host, uint64_t access_len, bool is_write);

/* Told about every change of the flat view, big lock held. begin/commit bracket a batch. */
typedef struct MemoryListener MemoryListener;
struct MemoryListener {
    void (*region_add)(MemoryListener *l, MemoryRegion *mr, hwaddr addr, uint64_t len,
                       hwaddr offset);
    void (*region_del)(MemoryListener *l, MemoryRegion *mr, hwaddr addr, uint64_t len,
                       hwaddr offset);
    void (*commit)(MemoryListener *l);
    MemoryListener *next;
};
void memory_listener_register(AddressSpace *as, MemoryListener *l);
void memory_listener_unregister(AddressSpace *as, MemoryListener *l);
/* Call @cb for each range of the flat view, ascending (info mtree -f). */
void address_space_foreach(AddressSpace *as,
                           void (*cb)(MemoryRegion *mr, hwaddr addr, uint64_t len, void *opaque),
                           void *opaque);

#endif
