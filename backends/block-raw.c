/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where bytes really are: regular files, block devices, and the null device.
 *
 * Locking. A process that uses an image holds shared OFD locks on single bytes of it: byte 100 + p
 * says "I do p", byte 200 + p says "nobody else may do p", with p = 0 consistent read and p = 1
 * write. These bytes are what stock QEMU uses, so each of the two keeps the other from writing an
 * image in use.
 */
#include "util/osdep.h"
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include "block-int.h"
#include "util/iov.h"
#include "util/keyval.h"

#define IOV_PER_CALL 1024
#define BOUNCE_ALIGN 4096

enum { PERM_READ, PERM_WRITE, PERM_COUNT };
#define LOCK_DOES(p)   (100 + (p))
#define LOCK_DENIES(p) (200 + (p))
static const char *const perm_names[PERM_COUNT] = {"consistent read", "write"};

typedef struct {
    int fd;
    bool fd_writable;
    bool locking;
    uint32_t align;  /* of offsets, lengths and addresses with O_DIRECT, else 1 */
    GMutex rmw_lock; /* read-modify-write of partial blocks */
} FileState;

/* ---- locks ---- */

static int lock_byte(int fd, off_t byte, short type, int cmd)
{
    struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    if (fcntl(fd, cmd, &fl) < 0) {
        return -errno;
    }
    return cmd == F_OFD_GETLK && fl.l_type != F_UNLCK ? -EAGAIN : 0;
}

static void unlock_all(FileState *s)
{
    for (unsigned p = 0; p < PERM_COUNT; p++) {
        lock_byte(s->fd, LOCK_DOES(p), F_UNLCK, F_OFD_SETLK);
        lock_byte(s->fd, LOCK_DENIES(p), F_UNLCK, F_OFD_SETLK);
    }
}

static bool lock_failed(BlockBackend *blk, const char *shared, unsigned p, GError **errp)
{
    unlock_all(blk->state);
    error_setg(errp, "Failed to get %s\"%s\" lock\nIs another process using the image [%s]?",
               shared, perm_names[p], blk->filename);
    return false;
}

static bool lock_image(BlockBackend *blk, bool write, GError **errp)
{
    FileState *s = blk->state;
    bool does[PERM_COUNT] = {true, write};
    bool denies[PERM_COUNT] = {false, true};

    if (!s->locking) {
        return true;
    }
    for (unsigned p = 0; p < PERM_COUNT; p++) {
        if (lock_byte(s->fd, LOCK_DOES(p), does[p] ? F_RDLCK : F_UNLCK, F_OFD_SETLK)) {
            return lock_failed(blk, "", p, errp);
        }
        if (lock_byte(s->fd, LOCK_DENIES(p), denies[p] ? F_RDLCK : F_UNLCK, F_OFD_SETLK)) {
            return lock_failed(blk, "shared ", p, errp);
        }
    }
    /* Ours are visible; now look at the others'. */
    for (unsigned p = 0; p < PERM_COUNT; p++) {
        if (does[p] && lock_byte(s->fd, LOCK_DENIES(p), F_WRLCK, F_OFD_GETLK)) {
            return lock_failed(blk, "", p, errp);
        }
        if (denies[p] && lock_byte(s->fd, LOCK_DOES(p), F_WRLCK, F_OFD_GETLK)) {
            return lock_failed(blk, "shared ", p, errp);
        }
    }
    return true;
}

/* ---- opening ---- */

static int open_flags(const BlockBackend *blk, bool write)
{
    return (write ? O_RDWR : O_RDONLY) | (blk->cache_direct ? O_DIRECT : 0) | O_CLOEXEC;
}

static bool open_failed(BlockBackend *blk, int err, GError **errp)
{
    if (err == EINVAL && blk->cache_direct) {
        error_setg(errp,
                   "Could not open '%s': the file system does not support O_DIRECT; use "
                   "cache.direct=off",
                   blk->filename);
    } else {
        error_setg(errp, "Could not open '%s': %s", blk->filename, g_strerror(err));
    }
    return false;
}

/* Size in bytes, rounded up to whole sectors; bytes past the end of the file read as zero. */
static bool measure(BlockBackend *blk, GError **errp)
{
    FileState *s = blk->state;
    struct stat st;
    uint64_t size;

    if (fstat(s->fd, &st) < 0) {
        error_setg_errno(errp, errno, "Could not find out the size of '%s'", blk->filename);
        return false;
    }
    if (S_ISBLK(st.st_mode)) {
        if (ioctl(s->fd, BLKGETSIZE64, &size) < 0) {
            error_setg_errno(errp, errno, "Could not find out the size of '%s'", blk->filename);
            return false;
        }
    } else if (S_ISREG(st.st_mode)) {
        size = st.st_size;
    } else if (S_ISDIR(st.st_mode)) {
        error_setg(errp, "Could not open '%s': Is a directory", blk->filename);
        return false;
    } else {
        size = 0;
    }
    blk->length = ROUND_UP(size, BLOCK_SECTOR);
    return true;
}

static uint32_t probe_align(int fd)
{
    int sector = 0;
    void *buf;
    ssize_t got;

    if (ioctl(fd, BLKSSZGET, &sector) == 0 && sector > 0) {
        return sector;
    }
    buf = aligned_alloc(BOUNCE_ALIGN, BOUNCE_ALIGN);
    got = pread(fd, buf, BLOCK_SECTOR, 0);
    free(buf);
    return got < 0 ? BOUNCE_ALIGN : BLOCK_SECTOR;
}

static void file_close(BlockBackend *blk)
{
    FileState *s = blk->state;

    if (s->fd >= 0) {
        close(s->fd);
    }
    g_mutex_clear(&s->rmw_lock);
    g_free(s);
    blk->state = NULL;
}

static bool file_check_kind(BlockBackend *blk, GError **errp)
{
    FileState *s = blk->state;
    struct stat st;
    bool regular = !fstat(s->fd, &st) && S_ISREG(st.st_mode);

    if (blk->driver == &block_driver_host_device && regular) {
        error_setg(errp,
                   "'host_device' driver requires '%s' to be either a character or block device",
                   blk->filename);
        return false;
    }
    return true;
}

static bool file_open(BlockBackend *blk, JsonObject *options, GError **errp)
{
    const char *name = keyval_get_string(options, "filename");
    const char *locking = keyval_get_string(options, "locking");
    bool write = !blk->read_only && !blk->list->inactive;
    FileState *s;

    if (!name || !*name) {
        error_setg(errp, "The '%s' block driver requires a file name", blk->driver->name);
        return false;
    }
    if (locking && !g_str_equal(locking, "auto") && !g_str_equal(locking, "on") &&
        !g_str_equal(locking, "off")) {
        error_setg(errp, "Parameter 'locking' does not accept value '%s'", locking);
        return false;
    }
    s = blk->state = g_new0(FileState, 1);
    g_mutex_init(&s->rmw_lock);
    blk->filename = g_strdup(g_str_has_prefix(name, "file:") ? name + 5 : name);
    s->locking = !locking || !g_str_equal(locking, "off");
    s->fd = open(blk->filename, open_flags(blk, write));
    if (s->fd < 0 && write && blk->auto_read_only && (errno == EACCES || errno == EROFS)) {
        blk->read_only = true;
        write = false;
        s->fd = open(blk->filename, open_flags(blk, false));
    }
    if (s->fd < 0) {
        open_failed(blk, errno, errp);
        file_close(blk);
        return false;
    }
    s->fd_writable = write;
    s->align = blk->cache_direct ? probe_align(s->fd) : 1;
    if (!file_check_kind(blk, errp) || !measure(blk, errp)) {
        file_close(blk);
        return false;
    }
    return true;
}

/* The destination of a migration opened the image read-only; now the image is ours. */
static bool reopen_writable(BlockBackend *blk, GError **errp)
{
    FileState *s = blk->state;
    int fd;

    if (s->fd_writable) {
        return true;
    }
    fd = open(blk->filename, open_flags(blk, true));
    if (fd < 0) {
        return open_failed(blk, errno, errp);
    }
    close(s->fd);
    s->fd = fd;
    s->fd_writable = true;
    return true;
}

static bool file_set_access(BlockBackend *blk, bool active, bool write, GError **errp)
{
    FileState *s = blk->state;

    if (!active) {
        if (s->locking) {
            unlock_all(s);
        }
        return true;
    }
    return (!write || reopen_writable(blk, errp)) && lock_image(blk, write, errp) &&
           measure(blk, errp);
}

/* ---- transfers ---- */

static bool is_aligned(const FileState *s, uint64_t offset, const struct iovec *iov, unsigned n)
{
    uint64_t bits = offset;

    for (unsigned i = 0; i < n; i++) {
        bits |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
    }
    return !(bits & (s->align - 1));
}

/* The whole vector, zeros after the end of the file when reading. @iov is a scratch copy. */
static int transfer(int fd, uint64_t offset, struct iovec *iov, unsigned n, bool write)
{
    while (n) {
        unsigned part = MIN(n, IOV_PER_CALL);
        ssize_t got = write ? pwritev(fd, iov, part, offset) : preadv(fd, iov, part, offset);

        if (got < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -errno;
        }
        if (!got) {
            if (write) {
                return -ENOSPC;
            }
            for (unsigned i = 0; i < n; i++) {
                memset(iov[i].iov_base, 0, iov[i].iov_len);
            }
            return 0;
        }
        offset += got;
        iov_discard_front(&iov, &n, got);
    }
    return 0;
}

static int transfer_copy(int fd, uint64_t offset, const struct iovec *iov, unsigned n, bool write)
{
    struct iovec few[16];
    g_autofree struct iovec *many = n > ARRAY_SIZE(few) ? g_new(struct iovec, n) : NULL;
    struct iovec *copy = many ? many : few;

    memcpy(copy, iov, n * sizeof(*iov));
    return transfer(fd, offset, copy, n, write);
}

static int transfer_flat(int fd, uint64_t offset, void *buf, size_t len, bool write)
{
    struct iovec iov = {buf, len};

    return transfer(fd, offset, &iov, 1, write);
}

static int bounce_read(FileState *s, uint64_t offset, const struct iovec *iov, unsigned n)
{
    size_t len = iov_size(iov, n);
    uint64_t start = ROUND_DOWN(offset, s->align);
    size_t size = ROUND_UP(offset + len, s->align) - start;
    uint8_t *buf = aligned_alloc(BOUNCE_ALIGN, ROUND_UP(size, BOUNCE_ALIGN));
    int ret;

    if (!buf) {
        return -ENOMEM;
    }
    ret = transfer_flat(s->fd, start, buf, size, false);
    if (!ret) {
        iov_from_buf(iov, n, 0, buf + (offset - start), len);
    }
    free(buf);
    return ret;
}

static int bounce_write(FileState *s, uint64_t offset, const struct iovec *iov, unsigned n)
{
    size_t len = iov_size(iov, n);
    uint64_t start = ROUND_DOWN(offset, s->align);
    size_t size = ROUND_UP(offset + len, s->align) - start;
    bool partial = start != offset || size != len;
    uint8_t *buf = aligned_alloc(BOUNCE_ALIGN, ROUND_UP(size, BOUNCE_ALIGN));
    int ret = 0;

    if (!buf) {
        return -ENOMEM;
    }
    if (partial) {
        g_mutex_lock(&s->rmw_lock);
        ret = transfer_flat(s->fd, start, buf, size, false);
    }
    if (!ret) {
        iov_to_buf(iov, n, 0, buf + (offset - start), len);
        ret = transfer_flat(s->fd, start, buf, size, true);
    }
    if (partial) {
        g_mutex_unlock(&s->rmw_lock);
    }
    free(buf);
    return ret;
}

static int file_preadv(BlockBackend *blk, uint64_t offset, const struct iovec *iov, unsigned n)
{
    FileState *s = blk->state;

    if (s->align > 1 && !is_aligned(s, offset, iov, n)) {
        return bounce_read(s, offset, iov, n);
    }
    return transfer_copy(s->fd, offset, iov, n, false);
}

static int file_pwritev(BlockBackend *blk, uint64_t offset, const struct iovec *iov, unsigned n)
{
    FileState *s = blk->state;

    if (s->align > 1 && !is_aligned(s, offset, iov, n)) {
        return bounce_write(s, offset, iov, n);
    }
    return transfer_copy(s->fd, offset, iov, n, true);
}

static int file_flush(BlockBackend *blk)
{
    FileState *s = blk->state;

    return blk->cache_no_flush || fdatasync(s->fd) == 0 ? 0 : -errno;
}

static bool unsupported(int err)
{
    return err == EOPNOTSUPP || err == ENOSYS || err == ENOTTY || err == EINVAL;
}

/* A hint: an image that cannot forget ranges keeps them. */
static int file_discard(BlockBackend *blk, uint64_t offset, uint64_t len)
{
    FileState *s = blk->state;

    if (!blk->discard_unmap ||
        !fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len)) {
        return 0;
    }
    return unsupported(errno) ? 0 : -errno;
}

static int write_zeros(BlockBackend *blk, uint64_t offset, uint64_t len)
{
    size_t chunk = MIN(len, 1 * MiB);
    uint8_t *buf = aligned_alloc(BOUNCE_ALIGN, ROUND_UP(chunk, BOUNCE_ALIGN));
    int ret = buf ? 0 : -ENOMEM;

    if (buf) {
        memset(buf, 0, chunk);
    }
    while (!ret && len) {
        struct iovec iov = {buf, MIN(len, chunk)};

        ret = file_pwritev(blk, offset, &iov, 1);
        offset += iov.iov_len;
        len -= iov.iov_len;
    }
    free(buf);
    return ret;
}

static int file_zero(BlockBackend *blk, uint64_t offset, uint64_t len)
{
    FileState *s = blk->state;
    int mode = blk->discard_unmap ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
                                  : FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;

    if (!fallocate(s->fd, mode, offset, len)) {
        return 0;
    }
    return unsupported(errno) ? write_zeros(blk, offset, len) : -errno;
}

static const char *const file_keys[] = {"filename", "locking", "aio", NULL};

const BlockDriver block_driver_file = {
    .name = "file",
    .keys = file_keys,
    .open = file_open,
    .close = file_close,
    .set_access = file_set_access,
    .preadv = file_preadv,
    .pwritev = file_pwritev,
    .flush = file_flush,
    .discard = file_discard,
    .zero = file_zero,
};

const BlockDriver block_driver_host_device = {
    .name = "host_device",
    .keys = file_keys,
    .open = file_open,
    .close = file_close,
    .set_access = file_set_access,
    .preadv = file_preadv,
    .pwritev = file_pwritev,
    .flush = file_flush,
    .discard = file_discard,
    .zero = file_zero,
};

/* ---- null-co: reads zeros (or nothing), forgets writes ---- */

static bool null_open(BlockBackend *blk, JsonObject *options, GError **errp)
{
    bool read_zeroes;

    if (!keyval_get_bool(options, "read-zeroes", false, &read_zeroes, errp) ||
        !keyval_get_size(options, "size", 1, GiB, &blk->length, errp)) {
        return false;
    }
    blk->filename = g_strdup("null-co://");
    blk->state = GINT_TO_POINTER(read_zeroes);
    return true;
}

static void null_close(BlockBackend *blk)
{
}

static int null_preadv(BlockBackend *blk, uint64_t offset, const struct iovec *iov, unsigned n)
{
    for (unsigned i = 0; blk->state && i < n; i++) {
        memset(iov[i].iov_base, 0, iov[i].iov_len);
    }
    return 0;
}

static int null_pwritev(BlockBackend *blk, uint64_t offset, const struct iovec *iov, unsigned n)
{
    return 0;
}

static int null_flush(BlockBackend *blk)
{
    return 0;
}

static int null_range(BlockBackend *blk, uint64_t offset, uint64_t len)
{
    return 0;
}

static const char *const null_keys[] = {"size", "read-zeroes", "latency-ns", NULL};

const BlockDriver block_driver_null_co = {
    .name = "null-co",
    .keys = null_keys,
    .open = null_open,
    .close = null_close,
    .preadv = null_preadv,
    .pwritev = null_pwritev,
    .flush = null_flush,
    .discard = null_range,
    .zero = null_range,
};
