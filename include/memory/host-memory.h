/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mappings that carry guest RAM: aligned for huge pages, followed by an inaccessible guard page so
 * that a run past the end faults instead of reaching a neighbour. Any thread.
 */
#ifndef GODWIT_MEMORY_HOST_MEMORY_H
#define GODWIT_MEMORY_HOST_MEMORY_H

#include "util/osdep.h"

typedef struct {
    uint64_t size;      /* bytes, multiple of page_size */
    uint64_t page_size; /* of the backing */
    uint64_t align;     /* wanted alignment, power of two; 0: what huge pages need */
    int fd;             /* -1: anonymous */
    uint64_t fd_offset;
    bool shared;
    bool readonly;
    bool noreserve; /* no swap or huge page reservation */
} HostMemoryRequest;

/* Map; NULL and *errp when the host refuses. */
void *host_memory_map(const HostMemoryRequest *req, GError **errp);
void host_memory_unmap(void *host, uint64_t size);
/* Page size of what @fd refers to: the huge page size on hugetlbfs, else the host's. */
uint64_t host_memory_fd_page_size(int fd);
/* Is what @fd refers to memory (hugetlbfs, tmpfs, memfd), not a file on disk? */
bool host_memory_fd_is_memory(int fd);
/*
 * Fault @len bytes in for writing with @threads threads (0 or 1: here); contents stay. False and
 * *errp when the host has not that much memory.
 */
bool host_memory_populate(void *host, uint64_t len, unsigned threads, GError **errp);

#endif
