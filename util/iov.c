/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/iov.h"

size_t iov_size(const struct iovec *iov, unsigned n)
{
    size_t total = 0;

    for (unsigned i = 0; i < n; i++) {
        total += iov[i].iov_len;
    }
    return total;
}

static size_t iov_copy(const struct iovec *iov, unsigned n, size_t offset, char *buf, size_t bytes,
                       bool to_buf)
{
    size_t done = 0;

    for (unsigned i = 0; i < n && done < bytes; i++) {
        size_t len;

        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        len = MIN(iov[i].iov_len - offset, bytes - done);
        if (to_buf) {
            memcpy(buf + done, (char *)iov[i].iov_base + offset, len);
        } else {
            memcpy((char *)iov[i].iov_base + offset, buf + done, len);
        }
        done += len;
        offset = 0;
    }
    return done;
}

size_t iov_to_buf(const struct iovec *iov, unsigned n, size_t offset, void *buf, size_t bytes)
{
    return iov_copy(iov, n, offset, buf, bytes, true);
}

size_t iov_from_buf(const struct iovec *iov, unsigned n, size_t offset, const void *buf,
                    size_t bytes)
{
    return iov_copy(iov, n, offset, (char *)buf, bytes, false);
}

void iov_discard_front(struct iovec **iov, unsigned *n, size_t bytes)
{
    while (*n && bytes >= (*iov)->iov_len) {
        bytes -= (*iov)->iov_len;
        (*iov)++;
        (*n)--;
    }
    if (*n && bytes) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + bytes;
        (*iov)->iov_len -= bytes;
    }
}
