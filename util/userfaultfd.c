/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/userfaultfd.h"
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <linux/userfaultfd.h>

#ifndef USERFAULTFD_IOC_NEW /* Linux 6.1 */
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif
#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM /* Linux 5.19 */
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM (1 << 12)
#endif

static const struct {
    unsigned ours;
    uint64_t kernel;
} feature_bits[] = {
    {UFFD_CAN_HUGETLB, UFFD_FEATURE_MISSING_HUGETLBFS},
    {UFFD_CAN_SHARED, UFFD_FEATURE_MISSING_SHMEM},
    {UFFD_CAN_THREAD_ID, UFFD_FEATURE_THREAD_ID},
    {UFFD_CAN_WRITE_PROTECT, UFFD_FEATURE_PAGEFAULT_FLAG_WP},
    {UFFD_CAN_PROTECT_SHARED, UFFD_FEATURE_WP_HUGETLBFS_SHMEM},
};

/* ---- opening ---- */

/* The device gives what its permissions say; the system call asks for a privilege or a sysctl. */
static int open_raw(GError **errp)
{
    int flags = O_CLOEXEC | O_NONBLOCK;
    int dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    int fd = -1;

    if (dev >= 0) {
        fd = ioctl(dev, USERFAULTFD_IOC_NEW, flags);
        close(dev);
    }
    if (fd < 0) {
        fd = syscall(SYS_userfaultfd, flags);
    }
    if (fd < 0) {
        error_setg_errno(errp, errno,
                         "userfaultfd is not available: give access to /dev/userfaultfd or set "
                         "vm.unprivileged_userfaultfd=1");
    }
    return fd;
}

static bool handshake(int fd, uint64_t features, uint64_t *offered, GError **errp)
{
    const uint64_t needed = 1ULL << _UFFDIO_REGISTER | 1ULL << _UFFDIO_UNREGISTER;
    struct uffdio_api api = {.api = UFFD_API, .features = features};

    if (ioctl(fd, UFFDIO_API, &api) != 0) {
        error_setg_errno(errp, errno, "userfaultfd: the kernel refuses features 0x%" PRIx64,
                         features);
        return false;
    }
    if ((api.ioctls & needed) != needed) {
        error_setg(errp, "userfaultfd: the kernel cannot register ranges");
        return false;
    }
    *offered = api.features;
    return true;
}

bool uffd_probe(unsigned *features, GError **errp)
{
    int fd = open_raw(errp);
    uint64_t offered;
    bool ok;

    if (fd < 0) {
        return false;
    }
    ok = handshake(fd, 0, &offered, errp);
    close(fd);
    *features = 0;
    for (unsigned i = 0; ok && i < ARRAY_SIZE(feature_bits); i++) {
        *features |= offered & feature_bits[i].kernel ? feature_bits[i].ours : 0;
    }
    return ok;
}

int uffd_open(unsigned features, GError **errp)
{
    uint64_t wanted = 0, offered;
    int fd = open_raw(errp);

    for (unsigned i = 0; i < ARRAY_SIZE(feature_bits); i++) {
        wanted |= features & feature_bits[i].ours ? feature_bits[i].kernel : 0;
    }
    if (fd >= 0 && !handshake(fd, wanted, &offered, errp)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* ---- ranges ---- */

static struct uffdio_range range_of(void *host, uint64_t len)
{
    return (struct uffdio_range){.start = (uintptr_t)host, .len = len};
}

static bool do_register(int fd, void *host, uint64_t len, unsigned modes, uint64_t *ioctls,
                        GError **errp)
{
    struct uffdio_register reg = {
        .range = range_of(host, len),
        .mode = (modes & UFFD_MISSING ? UFFDIO_REGISTER_MODE_MISSING : 0) |
                (modes & UFFD_WRITE_PROTECT ? UFFDIO_REGISTER_MODE_WP : 0),
    };

    if (ioctl(fd, UFFDIO_REGISTER, &reg) != 0) {
        error_setg_errno(errp, errno, "userfaultfd cannot watch 0x%" PRIx64 " bytes of memory",
                         len);
        return false;
    }
    *ioctls = reg.ioctls;
    return true;
}

bool uffd_register(int fd, void *host, uint64_t len, unsigned modes, GError **errp)
{
    uint64_t needed = 1ULL << _UFFDIO_WAKE, offered;

    needed |= modes & UFFD_MISSING ? 1ULL << _UFFDIO_COPY : 0;
    needed |= modes & UFFD_WRITE_PROTECT ? 1ULL << _UFFDIO_WRITEPROTECT : 0;
    if (!do_register(fd, host, len, modes, &offered, errp)) {
        return false;
    }
    if ((offered & needed) != needed) {
        uffd_unregister(fd, host, len);
        error_setg(errp, "userfaultfd can watch this memory, but not fill or protect it");
        return false;
    }
    return true;
}

bool uffd_range_has_zero(int fd, void *host, uint64_t len)
{
    uint64_t offered;

    /* Registering again changes nothing and tells what the range can do. */
    return do_register(fd, host, len, UFFD_MISSING, &offered, NULL) &&
           offered & 1ULL << _UFFDIO_ZEROPAGE;
}

void uffd_unregister(int fd, void *host, uint64_t len)
{
    struct uffdio_range range = range_of(host, len);

    ioctl(fd, UFFDIO_UNREGISTER, &range);
}

bool uffd_wake(int fd, void *host, uint64_t len, GError **errp)
{
    struct uffdio_range range = range_of(host, len);

    if (ioctl(fd, UFFDIO_WAKE, &range) != 0) {
        error_setg_errno(errp, errno, "userfaultfd cannot wake who waits for a page");
        return false;
    }
    return true;
}

bool uffd_protect(int fd, void *host, uint64_t len, bool on, GError **errp)
{
    struct uffdio_writeprotect wp = {
        .range = range_of(host, len),
        .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
    };

    while (ioctl(fd, UFFDIO_WRITEPROTECT, &wp) != 0) {
        if (errno != EAGAIN && errno != EINTR) {
            error_setg_errno(errp, errno, "userfaultfd cannot %s 0x%" PRIx64 " bytes of memory",
                             on ? "protect" : "release", len);
            return false;
        }
    }
    return true;
}

/* ---- faults ---- */

#define READ_BATCH 64

int uffd_read(int fd, UffdFault *faults, unsigned max, GError **errp)
{
    struct uffd_msg msgs[READ_BATCH];
    ssize_t got;
    int n = 0;

    do {
        got = read(fd, msgs, MIN(max, READ_BATCH) * sizeof(msgs[0]));
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        if (errno == EAGAIN) {
            return 0;
        }
        error_setg_errno(errp, errno, "Reading page faults from userfaultfd");
        return -1;
    }
    for (size_t i = 0; i < got / sizeof(msgs[0]); i++) {
        const struct uffd_msg *m = &msgs[i];

        if (m->event == UFFD_EVENT_PAGEFAULT) {
            faults[n++] = (UffdFault){
                .address = m->arg.pagefault.address,
                .write = m->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WRITE,
                .protected = m->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP,
                .thread = m->arg.pagefault.feat.ptid,
            };
        }
    }
    return n;
}

/* ---- filling ---- */

/* One call of the kernel: bytes done, or -errno. */
static int64_t fill_once(int fd, uint64_t dst, const uint8_t *src, uint64_t len)
{
    if (src) {
        struct uffdio_copy copy = {.dst = dst, .src = (uintptr_t)src, .len = len};

        return ioctl(fd, UFFDIO_COPY, &copy) == 0 ? (int64_t)len : copy.copy ? copy.copy : -errno;
    } else {
        struct uffdio_zeropage zero = {.range = {.start = dst, .len = len}};

        return ioctl(fd, UFFDIO_ZEROPAGE, &zero) == 0 ? (int64_t)len
               : zero.zeropage                        ? zero.zeropage
                                                      : -errno;
    }
}

static bool fill(int fd, uint8_t *dst, const uint8_t *src, uint64_t len, uint64_t page_size,
                 GError **errp)
{
    uint64_t done = 0;

    while (done < len) {
        int64_t n = fill_once(fd, (uintptr_t)dst + done, src ? src + done : NULL, len - done);

        if (n == -EEXIST) {
            /* Somebody was faster. Who waited for the page may have missed the moment. */
            if (!uffd_wake(fd, dst + done, page_size, errp)) {
                return false;
            }
            n = page_size;
        } else if (n == -EAGAIN || n == -EINTR) {
            n = 0; /* the address space changed meanwhile */
        } else if (n < 0) {
            error_setg_errno(errp, -n, "userfaultfd cannot fill 0x%" PRIx64 " bytes of memory",
                             len);
            return false;
        }
        done += n;
    }
    return true;
}

bool uffd_copy(int fd, void *dst, const void *src, uint64_t len, uint64_t page_size, GError **errp)
{
    return fill(fd, dst, src, len, page_size, errp);
}

bool uffd_zero(int fd, void *dst, uint64_t len, uint64_t page_size, GError **errp)
{
    return fill(fd, dst, NULL, len, page_size, errp);
}
