/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory to and from its places in a file, by a few threads at once: pieces are gathered into
 * batches of up to 4 MiB, and each batch is one thread's.
 *
 * One producer thread; it waits while all threads are busy and the queue is full. It lets go of the
 * big lock for that if it holds it. Pieces of one drain interval must not overlap: their order is
 * not kept.
 */
#ifndef GODWIT_MIGRATION_RAM_PAGE_IO_H
#define GODWIT_MIGRATION_RAM_PAGE_IO_H

#include "io/channel.h"

#define PAGE_IO_MAX_THREADS 32

typedef struct PageIO PageIO;

typedef enum {
    PAGE_IO_READ,
    PAGE_IO_WRITE,
} PageIODirection;

/* @threads is clamped to 1..PAGE_IO_MAX_THREADS. Takes a reference of @ioc (seekable). NULL: there
 * can be no thread at all. */
PageIO *page_io_new(QIOChannel *ioc, PageIODirection direction, unsigned threads, GError **errp);
/* @len bytes at @host and at @offset of the file; @host stays valid until page_io_drain(). False:
 * something has failed before. */
bool page_io_queue(PageIO *io, uint8_t *host, size_t len, uint64_t offset, GError **errp);
/* Everything queued is done. */
bool page_io_drain(PageIO *io, GError **errp);
/* Drop what is queued, wait for what is being done. NULL is fine. Any thread, producer gone. */
void page_io_free(PageIO *io);

#endif
