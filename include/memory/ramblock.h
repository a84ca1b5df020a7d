/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * RAMBlock: a named piece of guest RAM or ROM, the unit migration moves (spec 20 section 2).
 *
 * A RAMList belongs to one VM. Blocks are added and removed with the big lock held; their order is
 * descending max_length, creation order within equals, and is what goes on the wire. Readers
 * without the big lock hold a reference from ram_list_ref()... or run while no block can change
 * (migration: hot unplug of RAM is refused while one runs).
 */
#ifndef GODWIT_MEMORY_RAMBLOCK_H
#define GODWIT_MEMORY_RAMBLOCK_H

#include "util/bitmap.h"
#include "util/error.h"

#define TARGET_PAGE_BITS 12
#define TARGET_PAGE_SIZE (UINT64_C(1) << TARGET_PAGE_BITS)
#define TARGET_PAGE_MASK (~(TARGET_PAGE_SIZE - 1))

/* Who wants to know about dirty pages; each has its own bitmap. */
typedef enum {
    DIRTY_CLIENT_MIGRATION,
    DIRTY_CLIENT_RATE, /* calc-dirty-rate */
    DIRTY_CLIENT__MAX,
} DirtyClient;

typedef enum {
    RAM_SHARED = 1 << 0,     /* visible to other processes (share=on) */
    RAM_MIGRATABLE = 1 << 1, /* travels in the ram section */
    RAM_READONLY = 1 << 2,   /* the guest cannot write it (mask ROM) */
    RAM_RESIZEABLE = 1 << 3,
    RAM_NORESERVE = 1 << 4,
} RamFlags;

typedef struct RAMBlock RAMBlock;
typedef struct RAMList RAMList;

struct RAMBlock {
    char idstr[256];
    uint8_t *host;        /* where it is mapped; page_size aligned */
    uint64_t used_length; /* bytes, multiple of page_size */
    uint64_t max_length;
    uint64_t page_size; /* of the backing: 4096 or the huge page size */
    uint32_t flags;     /* RamFlags */
    int fd;             /* backing descriptor or -1 */
    uint64_t fd_offset;
    hwaddr gpa;        /* where the machine mapped it (x-ignore-shared record) */
    ram_addr_t offset; /* unique address in a flat space of all blocks (XBZRLE slots, postcopy) */
    RAMList *list;
    /* Dirty bitmap per client, max_length pages, bits set atomically; NULL while the log is off. */
    unsigned long *dirty[DIRTY_CLIENT__MAX];
    void *owner; /* who frees host: see ram_block_new_*() */
    void (*free_host)(RAMBlock *block);
    RAMBlock *next; /* list order */
};

RAMList *ram_list_new(void);
/* All blocks must be gone. */
void ram_list_free(RAMList *list);
RAMBlock *ram_list_first(const RAMList *list);
RAMBlock *ram_block_by_name(const RAMList *list, const char *idstr);
/* Block and offset of a host address inside guest RAM, or NULL. */
RAMBlock *ram_block_from_host(const RAMList *list, const void *host, ram_addr_t *offset);
/* Changes at every add, remove and resize. */
unsigned ram_list_version(const RAMList *list);

#define RAMBLOCK_FOREACH(block, list) \
    for (RAMBlock *block = ram_list_first(list); block; block = block->next)
#define RAMBLOCK_FOREACH_MIGRATABLE(block, list) \
    RAMBLOCK_FOREACH (block, list)               \
        if (!(block->flags & RAM_MIGRATABLE)) {  \
        } else

/* Anonymous memory, populated on demand, MADV_HUGEPAGE advised. @flags: RamFlags. */
RAMBlock *ram_block_new_anon(RAMList *list, const char *idstr, uint64_t size, uint32_t flags,
                             GError **errp);
/* Memory somebody else mapped (a memory backend, a test); the block does not free it. */
RAMBlock *ram_block_new_host(RAMList *list, const char *idstr, void *host, uint64_t size,
                             uint64_t page_size, uint32_t flags, int fd, uint64_t fd_offset,
                             GError **errp);
/* Remove from the list and free; the address space must not use it any more. */
void ram_block_free(RAMBlock *block);
/* Change used_length of a RESIZEABLE block; "Size mismatch: ..." otherwise (spec 20 section 3). */
bool ram_block_resize(RAMBlock *block, uint64_t new_length, GError **errp);

static inline uint64_t ram_block_pages(const RAMBlock *block)
{
    return block->used_length >> TARGET_PAGE_BITS;
}

/*
 * Which pages of [first, first + n) were never touched, so that they are known to read as zero?
 * Sets their bits in @untouched (bit 0 = page @first) without reading or faulting them; pages it
 * cannot decide stay clear. PAGEMAP_SCAN where the kernel has it, else /proc/self/pagemap; private
 * anonymous and memfd backings only. Costs one system call per call: ask for big ranges.
 */
void ram_block_find_untouched(RAMBlock *block, uint64_t first, uint64_t n,
                              unsigned long *untouched);

/* Populate [offset, offset + len) for writing in one go (MADV_POPULATE_WRITE); best effort. */
void ram_block_populate(RAMBlock *block, ram_addr_t offset, uint64_t len);
/* Give memory back, whole pages of the backing; it reads as zero afterwards. A private mapping of
 * memory that is a file (hugetlbfs, tmpfs) loses the file's contents too. */
bool ram_block_discard(RAMBlock *block, ram_addr_t offset, uint64_t len, GError **errp);
/* Would ram_block_discard() work? Not for mappings of a file on disk. */
bool ram_block_can_discard(const RAMBlock *block, GError **errp);
/* May the kernel cover small pages by huge ones on its own (transparent huge pages)? Advice; no
 * effect on small blocks and on huge page backings. */
void ram_block_allow_huge_pages(RAMBlock *block, bool allow);

#endif
