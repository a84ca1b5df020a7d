/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files of the block layer: what a node is, and what a driver does. */
#ifndef GODWIT_BACKENDS_BLOCK_INT_H
#define GODWIT_BACKENDS_BLOCK_INT_H

#include "backends/block.h"

#define BLOCK_SECTOR 512

typedef struct BlockAio BlockAio; /* block-aio.c: the worker pool of a list */

/*
 * A kind of node. open, close and set_access run with the big lock held; the I/O functions run in
 * worker threads, several at a time, and return 0 or -errno. Offsets and lengths are inside the
 * node.
 */
typedef struct {
    const char *name;
    /* Keys this driver understands besides the common ones; NULL-terminated. */
    const char *const *keys;
    bool (*open)(BlockBackend *blk, JsonObject *options, GError **errp);
    void (*close)(BlockBackend *blk);
    /* Become readable (writable) and locked, or release everything; optional. */
    bool (*set_access)(BlockBackend *blk, bool active, bool write, GError **errp);
    int (*preadv)(BlockBackend *blk, uint64_t offset, const struct iovec *iov, unsigned n);
    int (*pwritev)(BlockBackend *blk, uint64_t offset, const struct iovec *iov, unsigned n);
    int (*flush)(BlockBackend *blk);
    int (*discard)(BlockBackend *blk, uint64_t offset, uint64_t len);
    int (*zero)(BlockBackend *blk, uint64_t offset, uint64_t len);
} BlockDriver;

extern const BlockDriver block_driver_file, block_driver_host_device, block_driver_null_co;

/* A node. The raw format has no code of its own: a raw node is a window of its child. */
struct BlockBackend {
    BlockList *list;
    const BlockDriver *driver; /* NULL: raw, see child */
    BlockBackend *child;
    uint64_t child_offset;
    char *node_name;
    char *drive_id; /* "" for -blockdev */
    char *filename;
    bool auto_named;
    bool read_only, auto_read_only;
    bool cache_direct, cache_no_flush;
    bool discard_unmap;
    uint64_t length;
    char *rerror, *werror;
    unsigned parents; /* nodes using this one */
    char *device;     /* who claimed it, or NULL */
    bool device_writes;
    void *state; /* the driver's */
};

struct BlockList {
    GPtrArray *nodes; /* BlockBackend, in creation order */
    BlockAio *aio;
    bool inactive;
    unsigned next_name;
};

BlockAio *block_aio_new(void);
void block_aio_free(BlockAio *aio);
void block_aio_drain(BlockAio *aio);

/* Run an operation here and now, through the chain; 0 or -errno. Any thread. */
int block_do_preadv(BlockBackend *blk, uint64_t off, const struct iovec *iov, unsigned n);
int block_do_pwritev(BlockBackend *blk, uint64_t off, const struct iovec *iov, unsigned n);
int block_do_flush(BlockBackend *blk);
int block_do_discard(BlockBackend *blk, uint64_t off, uint64_t len, bool zero);

#endif
