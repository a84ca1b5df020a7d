/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <sys/mman.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include "memory/host-memory.h"
#include "util/error.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* Transparent huge pages need both ends of a chunk of this size inside the mapping. */
#define THP_SIZE (2 * MiB)

static uint64_t system_page_size(void)
{
    return sysconf(_SC_PAGESIZE);
}

uint64_t host_memory_fd_page_size(int fd)
{
    struct statfs fs;

    if (fd >= 0 && fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC) {
        return fs.f_bsize;
    }
    return system_page_size();
}

bool host_memory_fd_is_memory(int fd)
{
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && (fs.f_type == HUGETLBFS_MAGIC || fs.f_type == TMPFS_MAGIC);
}

void *host_memory_map(const HostMemoryRequest *req, GError **errp)
{
    uint64_t guard = system_page_size();
    uint64_t align = MAX(MAX(req->page_size, req->align), req->size >= THP_SIZE ? THP_SIZE : guard);
    int flags = MAP_FIXED | (req->shared ? MAP_SHARED : MAP_PRIVATE) |
                (req->fd < 0 ? MAP_ANONYMOUS : 0) | (req->noreserve ? MAP_NORESERVE : 0);
    /* A private mapping of a read-only file is still ours to fill (firmware, incoming migration).
     */
    int prot = PROT_READ | (req->readonly && req->shared ? 0 : PROT_WRITE);
    uint64_t span;
    uint8_t *area, *host;

    if (__builtin_add_overflow(req->size, align + guard, &span) || span > SIZE_MAX / 2) {
        error_setg(errp, "cannot map 0x%" PRIx64 " bytes of guest memory: too large", req->size);
        return NULL;
    }
    area = mmap(NULL, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED) {
        error_setg_errno(errp, errno, "cannot map 0x%" PRIx64 " bytes of guest memory", req->size);
        return NULL;
    }
    host = (uint8_t *)ROUND_UP((uintptr_t)area, align);
    if (mmap(host, req->size, prot, flags, req->fd, req->fd_offset) == MAP_FAILED) {
        error_setg_errno(errp, errno, "cannot map 0x%" PRIx64 " bytes of guest memory", req->size);
        munmap(area, span);
        return NULL;
    }
    if (host > area) {
        munmap(area, host - area);
    }
    if (area + span > host + req->size + guard) {
        munmap(host + req->size + guard, area + span - (host + req->size + guard));
    }
    /* Advice: a kernel without it is slower, not wrong. Children of exec: transports need no guest
     * RAM. */
    madvise(host, req->size, MADV_DONTFORK);
    if (req->size >= THP_SIZE && req->page_size < THP_SIZE) {
        madvise(host, req->size, MADV_HUGEPAGE);
    }
    return host;
}

void host_memory_unmap(void *host, uint64_t size)
{
    munmap(host, size + system_page_size());
}

typedef struct {
    uint8_t *host;
    uint64_t len;
    int result; /* errno */
} PopulateJob;

static gpointer populate_thread(gpointer data)
{
    PopulateJob *job = data;

    if (job->len && madvise(job->host, job->len, MADV_POPULATE_WRITE) != 0) {
        job->result = errno;
    }
    return NULL;
}

bool host_memory_populate(void *host, uint64_t len, unsigned threads, GError **errp)
{
    unsigned n = CLAMP(threads, 1, 64);
    uint64_t share = ROUND_UP(DIV_ROUND_UP(len, n), THP_SIZE);
    g_autofree PopulateJob *jobs = g_new0(PopulateJob, n);
    g_autofree GThread **ids = g_new0(GThread *, n);
    int failed = 0;

    for (unsigned i = 0; i < n; i++) {
        uint64_t start = MIN(i * share, len);

        jobs[i] = (PopulateJob){(uint8_t *)host + start, MIN(share, len - start), 0};
        if (i > 0) {
            ids[i] = g_thread_try_new("populate", populate_thread, &jobs[i], NULL);
        }
        if (!ids[i]) {
            populate_thread(&jobs[i]);
        }
    }
    for (unsigned i = 0; i < n; i++) {
        if (ids[i]) {
            g_thread_join(ids[i]);
        }
        failed = failed ? failed : jobs[i].result;
    }
    if (failed) {
        error_setg_errno(errp, failed, "cannot populate 0x%" PRIx64 " bytes of guest memory", len);
        return false;
    }
    return true;
}
