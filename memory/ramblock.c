/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <sys/mman.h>
#include "memory/host-memory.h"
#include "memory/ram-internal.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* Blocks start at multiples of this in the flat space, so that huge pages never straddle two
 * blocks. */
#define FLAT_ALIGN (1 * GiB)

RAMList *ram_list_new(void)
{
    return g_new0(RAMList, 1);
}

void ram_list_free(RAMList *list)
{
    if (list) {
        g_assert(!list->first);
        g_free(list);
    }
}

RAMBlock *ram_list_first(const RAMList *list)
{
    return list->first;
}

unsigned ram_list_version(const RAMList *list)
{
    return __atomic_load_n(&list->version, __ATOMIC_ACQUIRE);
}

static void ram_list_changed(RAMList *list)
{
    __atomic_fetch_add(&list->version, 1, __ATOMIC_RELEASE);
}

RAMBlock *ram_block_by_name(const RAMList *list, const char *idstr)
{
    RAMBLOCK_FOREACH (block, list) {
        if (strcmp(block->idstr, idstr) == 0) {
            return block;
        }
    }
    return NULL;
}

RAMBlock *ram_block_from_host(const RAMList *list, const void *host, ram_addr_t *offset)
{
    RAMBLOCK_FOREACH (block, list) {
        uintptr_t delta = (uintptr_t)host - (uintptr_t)block->host;

        if (delta < block->max_length) {
            *offset = delta;
            return block;
        }
    }
    return NULL;
}

static bool block_args_valid(RAMList *list, const char *idstr, uint64_t size, uint64_t page_size,
                             GError **errp)
{
    size_t len = strlen(idstr);

    if (len == 0 || len > 255) {
        error_setg(errp, "RAM block name '%s' must have 1 to 255 characters", idstr);
        return false;
    }
    if (ram_block_by_name(list, idstr)) {
        error_setg(errp, "RAM block '%s' exists already", idstr);
        return false;
    }
    if (size == 0 || size % page_size) {
        error_setg(errp,
                   "size 0x%" PRIx64 " of RAM block '%s' is not a multiple of 0x%" PRIx64 " bytes",
                   size, idstr, page_size);
        return false;
    }
    return true;
}

/* Before the first smaller block: equal lengths keep creation order. */
static void block_insert(RAMList *list, RAMBlock *block)
{
    RAMBlock **link = &list->first;

    while (*link && (*link)->max_length >= block->max_length) {
        link = &(*link)->next;
    }
    block->next = *link;
    *link = block;
}

RAMBlock *ram_block_new_host(RAMList *list, const char *idstr, void *host, uint64_t size,
                             uint64_t page_size, uint32_t flags, int fd, uint64_t fd_offset,
                             GError **errp)
{
    RAMBlockPriv *priv;
    RAMBlock *block;

    if (!block_args_valid(list, idstr, size, page_size, errp)) {
        return NULL;
    }
    priv = g_new0(RAMBlockPriv, 1);
    block = &priv->block;
    g_strlcpy(block->idstr, idstr, sizeof(block->idstr));
    block->host = host;
    block->used_length = block->max_length = size;
    block->page_size = page_size;
    block->flags = flags;
    block->fd = fd;
    block->fd_offset = fd_offset;
    block->offset = list->next_offset;
    block->list = list;
    if (!dirty_log_block_added(block, errp)) {
        g_free(priv);
        return NULL;
    }
    list->next_offset += ROUND_UP(size, FLAT_ALIGN);
    block_insert(list, block);
    ram_list_changed(list);
    return block;
}

static void free_anon(RAMBlock *block)
{
    host_memory_unmap(block->host, block->max_length);
}

RAMBlock *ram_block_new_anon(RAMList *list, const char *idstr, uint64_t size, uint32_t flags,
                             GError **errp)
{
    HostMemoryRequest req = {
        .size = size,
        .page_size = TARGET_PAGE_SIZE,
        .fd = -1,
        .shared = flags & RAM_SHARED,
        .noreserve = flags & RAM_NORESERVE,
    };
    RAMBlock *block;
    void *host;

    if (!block_args_valid(list, idstr, size, TARGET_PAGE_SIZE, errp)) {
        return NULL;
    }
    host = host_memory_map(&req, errp);
    if (!host) {
        g_prefix_error(errp, "RAM block '%s': ", idstr);
        return NULL;
    }
    block = ram_block_new_host(list, idstr, host, size, TARGET_PAGE_SIZE, flags, -1, 0, errp);
    if (!block) {
        host_memory_unmap(host, size);
        return NULL;
    }
    block->free_host = free_anon;
    return block;
}

void ram_block_free(RAMBlock *block)
{
    RAMBlock **link = &block->list->first;

    while (*link != block) {
        link = &(*link)->next;
    }
    *link = block->next;
    ram_list_changed(block->list);
    if (block->free_host) {
        block->free_host(block);
    }
    for (int c = 0; c < DIRTY_CLIENT__MAX; c++) {
        g_free(ram_block_priv(block)->dirty_store[c]);
    }
    g_free(ram_block_priv(block));
}

bool ram_block_resize(RAMBlock *block, uint64_t new_length, GError **errp)
{
    uint64_t length = ROUND_UP(new_length, block->page_size);
    uint64_t old = block->used_length;

    if (new_length == old) {
        return true;
    }
    if (!(block->flags & RAM_RESIZEABLE) || new_length > block->max_length || length == 0) {
        error_setg(errp, "Size mismatch: %s: 0x%" PRIx64 " != 0x%" PRIx64, block->idstr, new_length,
                   old);
        return false;
    }
    /* What is cut off must read as zero should the block grow again. */
    if (length < old && !ram_block_discard(block, length, old - length, errp)) {
        return false;
    }
    block->used_length = length;
    if (length > old) {
        dirty_log_mark(block, old, length - old);
    }
    ram_list_changed(block->list);
    return true;
}

void ram_block_populate(RAMBlock *block, ram_addr_t offset, uint64_t len)
{
    if (offset < block->max_length && len) {
        madvise(block->host + offset, MIN(len, block->max_length - offset), MADV_POPULATE_WRITE);
    }
}

bool ram_block_can_discard(const RAMBlock *block, GError **errp)
{
    if (block->fd >= 0 && !host_memory_fd_is_memory(block->fd)) {
        error_setg(errp,
                   "RAM block '%s' is a file on disk: Host backend files need to be TMPFS or "
                   "HUGETLBFS only",
                   block->idstr);
        return false;
    }
    return true;
}

/* Holes in the file behind the block. */
static int punch_hole(RAMBlock *block, ram_addr_t offset, uint64_t len)
{
    return fallocate(block->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                     block->fd_offset + offset, len);
}

bool ram_block_discard(RAMBlock *block, ram_addr_t offset, uint64_t len, GError **errp)
{
    int rc;

    if (offset > block->max_length || len > block->max_length - offset ||
        (offset | len) % block->page_size) {
        error_setg(errp, "cannot discard 0x%" PRIx64 " bytes at 0x%" PRIx64 " of RAM block '%s'",
                   len, offset, block->idstr);
        return false;
    }
    if (len == 0) {
        return true;
    }
    if (block->fd >= 0 && !(block->flags & RAM_SHARED)) {
        if (!host_memory_fd_is_memory(block->fd)) {
            error_setg(errp,
                       "RAM block '%s' is a private mapping of a file: it cannot be discarded",
                       block->idstr);
            return false;
        }
        /* Our own copies first, or the kernel has to look for them. */
        rc = madvise(block->host + offset, len, MADV_DONTNEED);
        rc = rc ? rc : punch_hole(block, offset, len);
    } else if (block->fd >= 0) {
        rc = punch_hole(block, offset, len);
    } else {
        rc = madvise(block->host + offset, len,
                     block->flags & RAM_SHARED ? MADV_REMOVE : MADV_DONTNEED);
    }
    if (rc != 0) {
        error_setg_errno(errp, errno, "cannot discard memory of RAM block '%s'", block->idstr);
        return false;
    }
    return true;
}

void ram_block_allow_huge_pages(RAMBlock *block, bool allow)
{
    if (block->page_size == TARGET_PAGE_SIZE && block->max_length >= 2 * MiB) {
        madvise(block->host, block->max_length, allow ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    }
}
