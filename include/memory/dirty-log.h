/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The dirty log: which pages were written since a client last asked.
 *
 * Writers (vCPUs through the software TLB, device DMA) call dirty_log_mark() *after* writing, or
 * cache the permission to write a page they have marked. A client's sync moves the bits out and
 * then runs the write barrier, which makes every vCPU drop its cached permissions; only after the
 * barrier may the client read page contents. So a page is either seen with the new bytes, or marked
 * again.
 */
#ifndef GODWIT_MEMORY_DIRTY_LOG_H
#define GODWIT_MEMORY_DIRTY_LOG_H

#include "memory/ramblock.h"

/* Called by sync and start, any thread: return only when no vCPU can write a page without marking
 * it. */
typedef void DirtyWriteBarrier(void *opaque);
void dirty_log_set_write_barrier(RAMList *list, DirtyWriteBarrier *fn, void *opaque);

/* Switch a client's log on (all clean; allocates bitmaps, runs the barrier) or off. Big lock held.
 * start fails when memory is short. Nested use of one client is an error. */
bool dirty_log_start(RAMList *list, DirtyClient client, GError **errp);
void dirty_log_stop(RAMList *list, DirtyClient client);
/* Is any client's log on? */
bool dirty_log_active(const RAMList *list);

/*
 * Move the block's bits into @dest (OR), clearing the log; returns the number of bits newly set in
 * @dest. Call for all blocks, then dirty_log_barrier() once, then read pages. Any one thread per
 * client.
 */
uint64_t dirty_log_sync_block(RAMBlock *block, DirtyClient client, unsigned long *dest);
void dirty_log_barrier(RAMList *list);

/*
 * Writers that log by themselves (a device in another process). While any client's log is on the
 * source is started; collect() marks what was written since it was last called, or everything if it
 * cannot tell. start and stop with the big lock, collect in the thread that syncs.
 */
typedef struct DirtySource DirtySource;
struct DirtySource {
    bool (*start)(DirtySource *s, GError **errp);
    void (*stop)(DirtySource *s);
    void (*collect)(DirtySource *s);
    DirtySource *next;
};
/* Big lock, no log on. */
void dirty_log_add_source(RAMList *list, DirtySource *s);
void dirty_log_remove_source(RAMList *list, DirtySource *s);
/* Before dirty_log_sync_block() of the first block. */
void dirty_log_collect(RAMList *list);

/* Mark pages covering [offset, offset + len) for every active client. Any thread, lock-free. */
void dirty_log_mark(RAMBlock *block, ram_addr_t offset, uint64_t len);
/* True if @page is marked for every active client (or no log is on): a writer may cache the
 * permission. */
bool dirty_log_page_is_dirty(const RAMBlock *block, uint64_t page);

#endif
