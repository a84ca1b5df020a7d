/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Raw images: a file or block device as a sequence of bytes (-blockdev, -drive; drivers file,
 * host_device, raw, null-co). Submission with the big lock held; completion callbacks on the main
 * loop with the big lock held.
 */
#ifndef GODWIT_BACKENDS_BLOCK_H
#define GODWIT_BACKENDS_BLOCK_H

#include <sys/uio.h>
#include <json-glib/json-glib.h>
#include "util/error.h"

typedef struct BlockBackend BlockBackend;
typedef struct BlockList BlockList;
typedef void BlockCompletion(void *opaque, int ret); /* 0 or -errno */

BlockList *block_list_new(void);
void block_list_free(BlockList *list);
/* -blockdev / blockdev-add: nested options as JSON. The image is locked (OFD) unless locking=off,
 * and opened read-only without lock while the VM waits for an incoming migration (@inactive). */
bool block_node_add(BlockList *list, JsonObject *options, bool inactive, GError **errp);
bool block_node_del(BlockList *list, const char *node_name, GError **errp);
/* -drive file=...,if=none,id=...: flat options; returns the back end (found again by id). */
BlockBackend *block_drive_add(BlockList *list, JsonObject *options, bool inactive, GError **errp);
/* By drive id or node name; claim for a device ("in use" otherwise) and release again. */
BlockBackend *block_find(BlockList *list, const char *name);
bool block_claim(BlockBackend *blk, const char *device, bool writable, GError **errp);
void block_release(BlockBackend *blk);

uint64_t block_length(BlockBackend *blk); /* bytes, whole 512-byte sectors */
bool block_is_writable(BlockBackend *blk);
/* The vectors stay valid until completion. */
void block_aio_readv(BlockBackend *blk, uint64_t offset, const struct iovec *iov, unsigned n,
                     BlockCompletion *cb, void *opaque);
void block_aio_writev(BlockBackend *blk, uint64_t offset, const struct iovec *iov, unsigned n,
                      BlockCompletion *cb, void *opaque);
void block_aio_flush(BlockBackend *blk, BlockCompletion *cb, void *opaque);
void block_aio_discard(BlockBackend *blk, uint64_t offset, uint64_t len, bool zero,
                       BlockCompletion *cb, void *opaque);
/* Synchronous, for loaders and pflash. */
bool block_pread(BlockBackend *blk, uint64_t offset, void *buf, size_t len, GError **errp);
bool block_pwrite(BlockBackend *blk, uint64_t offset, const void *buf, size_t len, GError **errp);

/* Wait until no request is in flight (VM stop). */
void block_drain_all(BlockList *list);
/* Migration: flush and give up locks / take them and open writable. */
bool block_inactivate_all(BlockList *list, GError **errp);
bool block_activate_all(BlockList *list, GError **errp);
/* For query-block, query-named-block-nodes. */
void block_foreach(BlockList *list, void (*cb)(BlockBackend *blk, void *opaque), void *opaque);
const char *block_name(BlockBackend *blk);
const char *block_node_name(BlockBackend *blk);
const char *block_filename(BlockBackend *blk);
const char *block_driver(BlockBackend *blk);
/* Who claimed it, or NULL. */
const char *block_device(BlockBackend *blk);
/* The node a raw node stands on, or NULL. */
BlockBackend *block_child(BlockBackend *blk);
bool block_cache_direct(BlockBackend *blk);
bool block_cache_no_flush(BlockBackend *blk);
/* -drive rerror=, werror=: "report", "ignore", "enospc", "stop" or NULL. */
const char *block_error_policy(BlockBackend *blk, bool write);

#endif
