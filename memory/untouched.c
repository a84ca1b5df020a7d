/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which pages were never touched: asked of the kernel, never by reading guest memory.
 *
 * A page of a private anonymous mapping reads as zero while it is neither present nor swapped, or
 * while it is the shared zero page. A page of a shared tmpfs or memfd file reads as zero while it
 * lies in a hole of the file, whoever mapped it. A private mapping of such a file needs both.
 * Everything else stays undecided.
 *
 * Whole transparent huge pages count as touched: the answer is per 4 KiB page and only ever errs
 * towards "touched".
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include "memory/untouched.h"

/* PAGEMAP_SCAN (Linux 6.7), for build hosts whose headers are older. */
struct pm_region {
    uint64_t start;
    uint64_t end;
    uint64_t categories;
};

struct pm_scan {
    uint64_t size;
    uint64_t flags;
    uint64_t start;
    uint64_t end;
    uint64_t walk_end;
    uint64_t vec;
    uint64_t vec_len;
    uint64_t max_pages;
    uint64_t category_inverted;
    uint64_t category_mask;
    uint64_t category_anyof_mask;
    uint64_t return_mask;
};

#define PM_SCAN_IOCTL   _IOWR('f', 16, struct pm_scan)
#define PM_PAGE_PRESENT (1u << 3)
#define PM_PAGE_SWAPPED (1u << 4)
#define PM_PAGE_PFNZERO (1u << 5)

#define PAGEMAP_ENTRY_PRESENT (UINT64_C(1) << 63)
#define PAGEMAP_ENTRY_SWAPPED (UINT64_C(1) << 62)

bool untouched_by_scan(int pagemap, const uint8_t *host, uint64_t n, unsigned long *untouched)
{
    struct pm_region touched[256];
    uint64_t base = (uintptr_t)host;
    struct pm_scan scan = {
        .size = sizeof(scan),
        .start = base,
        .end = base + (n << TARGET_PAGE_BITS),
        .vec = (uintptr_t)touched,
        .vec_len = ARRAY_SIZE(touched),
        .category_inverted = PM_PAGE_PFNZERO,
        .category_mask = PM_PAGE_PFNZERO,
        .category_anyof_mask = PM_PAGE_PRESENT | PM_PAGE_SWAPPED,
    };

    bitmap_set(untouched, 0, n);
    while (scan.start < scan.end) {
        int found = ioctl(pagemap, PM_SCAN_IOCTL, &scan);

        if (found < 0 || scan.walk_end <= scan.start) {
            bitmap_clear(untouched, 0, n);
            return false;
        }
        for (int i = 0; i < found; i++) {
            bitmap_clear(untouched, (touched[i].start - base) >> TARGET_PAGE_BITS,
                         (touched[i].end - touched[i].start) >> TARGET_PAGE_BITS);
        }
        scan.start = scan.walk_end;
    }
    return true;
}

bool untouched_by_pagemap(int pagemap, const uint8_t *host, uint64_t n, unsigned long *untouched)
{
    uint64_t entries[1024];
    uint64_t page = (uintptr_t)host >> TARGET_PAGE_BITS;

    for (uint64_t done = 0; done < n;) {
        uint64_t want = MIN(n - done, ARRAY_SIZE(entries));
        ssize_t got =
            pread(pagemap, entries, want * sizeof(entries[0]), (page + done) * sizeof(entries[0]));

        if (got < (ssize_t)sizeof(entries[0])) {
            bitmap_clear(untouched, 0, n);
            return false;
        }
        for (uint64_t i = 0; i < got / sizeof(entries[0]); i++, done++) {
            if (!(entries[i] & (PAGEMAP_ENTRY_PRESENT | PAGEMAP_ENTRY_SWAPPED))) {
                set_bit(done, untouched);
            }
        }
    }
    return true;
}

bool untouched_by_holes(int fd, uint64_t offset, uint64_t n, unsigned long *untouched)
{
    uint64_t end = offset + (n << TARGET_PAGE_BITS);
    struct statfs fs;

    /* Elsewhere a hole in the file may have dirty pages the file system does not know yet. */
    if (fstatfs(fd, &fs) != 0 || fs.f_type != TMPFS_MAGIC) {
        return false;
    }
    for (uint64_t pos = offset; pos < end;) {
        off_t data = lseek(fd, pos, SEEK_DATA);
        uint64_t stop, hole;

        if (data < 0 && errno != ENXIO) {
            bitmap_clear(untouched, 0, n);
            return false;
        }
        stop = data < 0 ? end : MIN((uint64_t)data, end);
        bitmap_set(untouched, DIV_ROUND_UP(pos - offset, TARGET_PAGE_SIZE),
                   (stop - pos) >> TARGET_PAGE_BITS);
        if (stop == end) {
            break;
        }
        hole = lseek(fd, stop, SEEK_HOLE);
        if ((off_t)hole < 0 || hole <= stop) {
            break;
        }
        pos = hole;
    }
    return true;
}

/* By the page tables of this process: right for what no other mapping can write. */
static bool untouched_here(const uint8_t *host, uint64_t n, unsigned long *untouched)
{
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    bool ok;

    if (pagemap < 0) {
        return false;
    }
    ok = untouched_by_scan(pagemap, host, n, untouched) ||
         untouched_by_pagemap(pagemap, host, n, untouched);
    close(pagemap);
    return ok;
}

void ram_block_find_untouched(RAMBlock *block, uint64_t first, uint64_t n, unsigned long *untouched)
{
    uint64_t offset = first << TARGET_PAGE_BITS;
    const uint8_t *host = block->host + offset;

    bitmap_clear(untouched, 0, n);
    if (n == 0 || sysconf(_SC_PAGESIZE) != (long)TARGET_PAGE_SIZE) {
        return;
    }
    if (block->fd < 0) {
        if (!(block->flags & RAM_SHARED)) {
            untouched_here(host, n, untouched);
        }
        return;
    }
    if (!untouched_by_holes(block->fd, block->fd_offset + offset, n, untouched)) {
        return;
    }
    if (!(block->flags & RAM_SHARED)) {
        g_autofree unsigned long *here = bitmap_try_new(n);

        if (!here || !untouched_here(host, n, here)) {
            bitmap_clear(untouched, 0, n);
            return;
        }
        for (uint64_t i = 0; i < BITS_TO_LONGS(n); i++) {
            untouched[i] &= here[i];
        }
    }
}
