/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scatter/gather helpers over struct iovec. Pure, any thread. */
#ifndef GODWIT_UTIL_IOV_H
#define GODWIT_UTIL_IOV_H

#include <sys/uio.h>
#include "util/osdep.h"

size_t iov_size(const struct iovec *iov, unsigned n);
/* Copy out of / into the vector at byte @offset; returns bytes copied (short when the vector ends).
 */
size_t iov_to_buf(const struct iovec *iov, unsigned n, size_t offset, void *buf, size_t bytes);
size_t iov_from_buf(const struct iovec *iov, unsigned n, size_t offset, const void *buf,
                    size_t bytes);
/* Drop @bytes from the front, editing *iov and *n in place. */
void iov_discard_front(struct iovec **iov, unsigned *n, size_t bytes);

#endif
