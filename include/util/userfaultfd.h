/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * userfaultfd: another thread decides what a page holds that somebody has just touched.
 *
 *   missing        the page is not there yet; whoever touched it sleeps until uffd_copy() or
 *                  uffd_zero() has put something in place (postcopy)
 *   write-protect  the page may be read; who writes it sleeps until uffd_protect(off) (snapshots)
 *
 * A descriptor serves one address space and any number of ranges. Every call below may be made by
 * any thread at any time; the kernel does the locking.
 */
#ifndef GODWIT_UTIL_USERFAULTFD_H
#define GODWIT_UTIL_USERFAULTFD_H

#include "util/error.h"

typedef enum {
    UFFD_CAN_HUGETLB = 1 << 0,        /* missing faults in hugetlbfs mappings */
    UFFD_CAN_SHARED = 1 << 1,         /* missing faults in shared memory */
    UFFD_CAN_THREAD_ID = 1 << 2,      /* a fault says which thread sleeps */
    UFFD_CAN_WRITE_PROTECT = 1 << 3,  /* of anonymous memory */
    UFFD_CAN_PROTECT_SHARED = 1 << 4, /* of hugetlbfs and shared memory */
} UffdFeatures;

typedef enum {
    UFFD_MISSING = 1 << 0,
    UFFD_WRITE_PROTECT = 1 << 1,
} UffdModes;

typedef struct {
    uint64_t address;      /* host address that was touched; may be anywhere in its page */
    bool write, protected; /* @protected: a write-protect fault */
    uint32_t thread;       /* TID of the sleeper, 0: not known */
} UffdFault;

/*
 * Which features does this kernel offer to this process? False and *errp, with what to do, if it
 * offers none. Faults taken inside the kernel (a read(2) into guest memory) must be served too, so
 * this needs /dev/userfaultfd, CAP_SYS_PTRACE or vm.unprivileged_userfaultfd=1.
 */
bool uffd_probe(unsigned *features, GError **errp);
/* A descriptor with exactly @features (UFFD_CAN_*) switched on; non-blocking, close-on-exec. -1 and
 * *errp; the caller closes it, which lets all sleepers go on with what is there. */
int uffd_open(unsigned features, GError **errp);
/* Watch [@host, @host + @len), whole pages of its backing. */
bool uffd_register(int fd, void *host, uint64_t len, unsigned modes, GError **errp);
/* Stop watching; sleepers in there go on. Best effort. */
void uffd_unregister(int fd, void *host, uint64_t len);
/* Can the range get zero pages without bytes being copied (not hugetlbfs)? After uffd_register() of
 * a missing range. */
bool uffd_range_has_zero(int fd, void *host, uint64_t len);

/* Up to @max faults that wait to be read; 0: none at the moment; -1 and *errp. */
int uffd_read(int fd, UffdFault *faults, unsigned max, GError **errp);
/*
 * Put pages in place and wake who waits for them. @dst and @len: whole pages of the backing; @src
 * anywhere. Pages that are there already stay as they are. False and *errp on failure.
 */
bool uffd_copy(int fd, void *dst, const void *src, uint64_t len, uint64_t page_size, GError **errp);
bool uffd_zero(int fd, void *dst, uint64_t len, uint64_t page_size, GError **errp);
/* Let sleepers in the range look again. */
bool uffd_wake(int fd, void *host, uint64_t len, GError **errp);
/* Protect against writing, or allow it again and wake the writers. */
bool uffd_protect(int fd, void *host, uint64_t len, bool on, GError **errp);

#endif
