/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The push as its own files see it: push.c (requests, the map), walk.c (background). */
#ifndef GODWIT_MIGRATION_POSTCOPY_PUSH_STATE_H
#define GODWIT_MIGRATION_POSTCOPY_PUSH_STATE_H

#include "migration/postcopy/push.h"
#include "migration/postcopy/release.h"
#include "util/zero.h"

/* One more than any page can be. */
#define PUSH_NO_HINT UINT64_MAX

typedef struct {
    unsigned block;
    uint64_t page;
} PushPosition;

struct PostcopyPush {
    DirtyMap *dirty;
    RamZero *zero; /* the main walk's */
    MigrationCounters *counters;
    void (*wake)(void *opaque);
    void *opaque;
    uint64_t left;            /* atomic: pages not claimed */
    PostcopyRelease *release; /* NULL: not planned */

    PostcopyWalk *main; /* migration thread */

    /* The thread that reads requests. */
    DirtyBlock *last_block;
    RamSink *urgent_sink;
    GMutex urgent_lock;    /* that thread's, but for the last word on the file */
    QEMUFile *urgent_file; /* set while that thread does not run */
    bool again;            /* likewise */
    bool urgent_over;      /* with urgent_lock: EOS was said */

    /* Atomic: where the background shall go on, block << 40 | page; PUSH_NO_HINT: as it likes. */
    uint64_t hint;

    int64_t asked_us; /* atomic: when somebody asked for a page last; 0: never */

    GMutex lock;   /* protects the queue */
    GArray *queue; /* of PushPosition, host pages asked for */
    bool queued;   /* atomic: it is not empty */
};

static inline uint64_t push_block_pages(const DirtyBlock *db)
{
    return db->length >> TARGET_PAGE_BITS;
}

static inline uint64_t push_host_pages(const DirtyBlock *db)
{
    return db->block->page_size >> TARGET_PAGE_BITS;
}

/* The first set bit at or after @page while others clear bits; push_block_pages() if none. */
uint64_t push_next_left(const DirtyBlock *db, uint64_t page);
/* Clear the bits of @mask in a word; those that were set are the caller's to send. */
unsigned long push_claim_word(PostcopyPush *p, DirtyBlock *db, uint64_t word, unsigned long mask);
/* The whole host page at @page (its first) is the caller's to send if its first bit was set. */
bool push_claim_host_page(PostcopyPush *p, DirtyBlock *db, uint64_t page);
/* @bytes have been put. */
void push_count(PostcopyPush *p, uint64_t bytes);

static inline bool push_releases(const PostcopyPush *p)
{
    return p->release && postcopy_release_begun(p->release);
}

static inline bool push_page_is_zero(const DirtyBlock *db, uint64_t page)
{
    return buffer_is_zero(db->block->host + (page << TARGET_PAGE_BITS), TARGET_PAGE_SIZE);
}

/* ---- walk.c; migration thread ---- */

/* The main walk: sees to zero pages in windows and goes where somebody waits. */
PostcopyWalk *walk_new_main(PostcopyPush *p);
RamSink *walk_sink(PostcopyWalk *w);
/* What has been put is on its way: its memory may go. */
void walk_flush_released(PostcopyWalk *w, QEMUFile *f);
/* From the first page again, names go out again. */
void walk_restart(PostcopyWalk *w);

#endif
