/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One direction of a descriptor that has no shutdown(2): pipe, character device, regular file.
 * What can block is non-blocking inside, and whoever waits polls an eventfd as well.
 */
#ifndef GODWIT_IO_PIPE_END_H
#define GODWIT_IO_PIPE_END_H

#include "io/fd-watch.h"

typedef struct {
    const char *what;  /* "file" or "command", for errors */
    int fd;            /* -1: this direction does not exist or is closed */
    int wake;          /* readable once shut; -1: the descriptor never blocks */
    int restore_flags; /* status flags to put back at close (others share them); -1: untouched */
    bool blocking;
    bool shut; /* atomic */
} PipeEnd;

/* No descriptor. */
void pipe_end_init(PipeEnd *e, const char *what);
/* Adopt @fd; on failure it still belongs to the caller. */
bool pipe_end_open(PipeEnd *e, int fd, GError **errp);
/* Results as in QIOChannelClass. */
ssize_t pipe_end_readv(PipeEnd *e, const struct iovec *iov, unsigned n, GError **errp);
ssize_t pipe_end_writev(PipeEnd *e, const struct iovec *iov, unsigned n, GError **errp);
bool pipe_end_wait(PipeEnd *e, GIOCondition cond, int timeout_ms);
/* Fill in two watches for a GSource. */
void pipe_end_watches(const PipeEnd *e, GIOCondition cond, FdWatch out[2]);
/* Any thread, also while others read or write. */
void pipe_end_shutdown(PipeEnd *e);
/* Give the descriptor up; idempotent. */
bool pipe_end_close(PipeEnd *e, GError **errp);
/* After close: shutdown works up to here. */
void pipe_end_destroy(PipeEnd *e);

#endif
