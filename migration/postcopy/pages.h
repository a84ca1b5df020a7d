/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The destination's memory during postcopy: which pages are here, which were asked for.
 *
 *   missing --fault, first one--> requested --bytes arrive--> received
 *
 * At the switch everything counts as received except what the source discards: that covers every
 * page it has not sent, or not in its last version. Both maps have a bit per target page; all bits
 * of a host page (the unit of a fault, huge for huge page backings) change together.
 *
 * Lock-free: the fault thread marks requests, receiving threads mark arrivals. A page is marked
 * received after its bytes are in place and before its request is forgotten; a requester looks at
 * "received" again after it has marked the request. So a request never outlives its page.
 */
#ifndef GODWIT_MIGRATION_POSTCOPY_PAGES_H
#define GODWIT_MIGRATION_POSTCOPY_PAGES_H

#include "memory/ramblock.h"

typedef struct {
    RAMBlock *block;
    uint64_t length;          /* bytes that take part: used_length at the switch */
    unsigned long *received;  /* bits are changed atomically */
    unsigned long *requested; /* one bit per target page, only the first of a host page is used */
    bool has_zero;            /* the kernel places zero pages without a copy */
} PostcopyBlock;

typedef struct {
    unsigned n;
    PostcopyBlock *blocks; /* in list order */
    uint64_t missing;      /* atomic: target pages that are not received */
    uint64_t wanted;       /* atomic: host pages that are requested */
} PostcopyPages;

/* All received, nothing requested. Big lock. False: no memory. */
bool postcopy_pages_init(PostcopyPages *p, RAMList *list, GError **errp);
void postcopy_pages_clear(PostcopyPages *p);

PostcopyBlock *postcopy_block_by_name(const PostcopyPages *p, const char *name);
PostcopyBlock *postcopy_block_of(const PostcopyPages *p, const RAMBlock *block);
/* The block and the host page (its first target page) that @address lies in, or NULL. */
PostcopyBlock *postcopy_block_by_address(const PostcopyPages *p, uint64_t address, uint64_t *page);

/* Target pages of a host page. */
static inline uint64_t postcopy_host_pages(const PostcopyBlock *pb)
{
    return pb->block->page_size >> TARGET_PAGE_BITS;
}

bool postcopy_page_received(const PostcopyBlock *pb, uint64_t page);
/* Not here and not asked for: true once per host page, then ask. */
bool postcopy_page_request(PostcopyPages *p, PostcopyBlock *pb, uint64_t page);
/* The bytes of [first, first + count) are in place, whole host pages. True: now all is here. */
bool postcopy_pages_arrived(PostcopyPages *p, PostcopyBlock *pb, uint64_t first, uint64_t count);
/* They are stale: not received. Before the guest runs. */
void postcopy_pages_drop(PostcopyPages *p, PostcopyBlock *pb, uint64_t first, uint64_t count);
uint64_t postcopy_pages_missing(const PostcopyPages *p);
/* Does somebody wait for a page? */
bool postcopy_pages_wanted(const PostcopyPages *p);
/* The map of what is here, as of now. */
void postcopy_pages_copy_received(const PostcopyBlock *pb, unsigned long *out);
/* The first requested host page at or after @page, UINT64_MAX if none. */
uint64_t postcopy_next_requested(const PostcopyBlock *pb, uint64_t page);

#endif
