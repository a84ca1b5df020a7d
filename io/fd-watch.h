/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A GSource over the descriptors of a channel; the callback is an IOChannelWatchCB. */
#ifndef GODWIT_IO_FD_WATCH_H
#define GODWIT_IO_FD_WATCH_H

#include "io/channel.h"

/* One descriptor to look at; -1 is skipped. */
typedef struct {
    int fd;
    GIOCondition cond;
} FdWatch;

/* Fires when one of @watches is ready, hung up or in error. Keeps a reference of @ioc. */
GSource *io_fd_watch_new(QIOChannel *ioc, GIOCondition cond, const FdWatch *watches, unsigned n);

/* poll(2) on them, EINTR retried with the time that is left; false on timeout (ms, -1 = none). */
bool io_fd_poll(const FdWatch *watches, unsigned n, int timeout_ms);

#endif
