/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MSG_ZEROCOPY: the network card reads the caller's pages, and the kernel says later, through the
 * socket's error queue, that it is done with them (spec 35 section 8).
 *
 * Each successful send has a sequence number; each message in the error queue covers a range of
 * them and says whether the kernel had to copy after all (it does on loopback). One thread.
 */
#ifndef GODWIT_IO_ZERO_COPY_H
#define GODWIT_IO_ZERO_COPY_H

#include <sys/socket.h>
#include "io/channel.h"

typedef struct {
    uint32_t sent, done; /* sends so far, and those the kernel has finished; they wrap */
    bool avoided;        /* one of those finished since the last flush was really not copied */
} ZeroCopy;

/* Ask the kernel for it; false where it or the kind of socket does not know it. */
bool zero_copy_enable(int fd);
/*
 * sendmsg(2) without copying; same result, errno EAGAIN included. When the kernel has no room to
 * keep track of more it waits for earlier sends to finish; when there are none, the limit on locked
 * memory is too low, and *errp (IO_CHANNEL_ERR) says so.
 */
ssize_t zero_copy_send(ZeroCopy *z, int fd, const struct msghdr *msg, GError **errp);
/* See io_channel_flush(). */
IOFlush zero_copy_flush(ZeroCopy *z, int fd, GError **errp);

#endif
