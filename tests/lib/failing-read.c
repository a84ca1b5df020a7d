/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk that cannot be read, for LD_PRELOAD: positioned reads of 64 KiB and more fail as long as
 * the file named by FAILING_READ exists.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define LONG_READ (64 * 1024)

ssize_t preadv64(int fd, const struct iovec *iov, int n, off64_t offset)
{
    const char *flag = getenv("FAILING_READ");
    size_t len = 0;

    for (int i = 0; i < n; i++) {
        len += iov[i].iov_len;
    }
    if (flag && len >= LONG_READ && access(flag, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_preadv, fd, iov, n, offset, 0);
}
