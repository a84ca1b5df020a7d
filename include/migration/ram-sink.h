/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * RamSink: where runs of pages go on the source. RamPlacer: where they land on the destination.
 *
 * The unit is a run (block, first page, count), never a page. ram/scan.c makes runs; what is zero,
 * never touched or a delta is decided once, in front of the sink (ram/save.c); the sink decides how
 * bytes travel.
 */
#ifndef GODWIT_MIGRATION_RAM_SINK_H
#define GODWIT_MIGRATION_RAM_SINK_H

#include "memory/ramblock.h"
#include "migration/qemu-file.h"

typedef struct MigrationCounters MigrationCounters;

/* A page that travels as something else than its bytes in guest memory. */
typedef struct {
    uint64_t page;
    const uint8_t *bytes; /* the whole page, or the body of a delta (wire/xbzrle.h) */
    uint16_t len;         /* of a delta */
    bool delta;
} RamPatch;

typedef struct RamSink RamSink;
/* Pages that have to be sent again. */
typedef void RamAgain(RAMBlock *block, uint64_t first, uint64_t count, void *opaque);
/* Migration thread only. The big lock is held in setup and finish, not elsewhere. False: *errp set,
 * migration fails. */
typedef struct RamSinkOps {
    const char *name; /* "stream", "multifd", "mapped-ram", "rdma" */
    /* After the block list was written to the START section, before its EOS. */
    bool (*setup)(RamSink *sink, QEMUFile *f, GError **errp);
    /*
     * The entry of @block in the block list has been put: whatever else belongs there. @ignored:
     * its memory does not travel. NULL callback: nothing. Before setup; big lock held.
     */
    bool (*list_block)(RamSink *sink, QEMUFile *f, RAMBlock *block, bool ignored, GError **errp);
    /* @count pages of data from page @first; contents are taken now or any time until end_round
     * (they may be newer, then they are dirty again). */
    bool (*send_run)(RamSink *sink, QEMUFile *f, RAMBlock *block, uint64_t first, uint64_t count,
                     GError **errp);
    /* The same for contents that are not (or no longer) in guest memory: @bytes stay as they are
     * until end_round and a flush. NULL: no background snapshots this way. */
    bool (*send_bytes)(RamSink *sink, QEMUFile *f, RAMBlock *block, uint64_t first, uint64_t count,
                       const uint8_t *bytes, GError **errp);
    /* @count pages that are all zero. */
    bool (*send_zero_run)(RamSink *sink, QEMUFile *f, RAMBlock *block, uint64_t first,
                          uint64_t count, GError **errp);
    /* @n patches (> 0) of @block, taken now. NULL: this sink knows no deltas (spec 20 section 8).
     */
    bool (*send_patches)(RamSink *sink, QEMUFile *f, RAMBlock *block, const RamPatch *patches,
                         unsigned n, GError **errp);
    /* A dirty sync was done: from now on pages that were sent may be sent again. Between two of
     * these no page comes twice. Optional. Outside of sections too. */
    void (*new_pass)(RamSink *sink);
    /* Pages that were sent may be lost on the way: @again is called for those, and they may come as
     * after new_pass(). With @f: first ask the destination about all sent so far. Optional. Outside
     * of sections too, without @f. */
    bool (*take_back)(RamSink *sink, QEMUFile *f, RamAgain *again, void *opaque, GError **errp);
    /* Everything queued leaves before the section's EOS (or its next barrier); @last: VM is
     * stopped, final section. */
    bool (*end_round)(RamSink *sink, QEMUFile *f, bool last, GError **errp);
    /* Release everything; also after failure. Main thread. */
    void (*cleanup)(RamSink *sink);
    /* Drop any "same block as before" state: next record carries its name. */
    void (*forget_block)(RamSink *sink);
} RamSinkOps;

struct RamSink {
    const RamSinkOps *ops;
    /* What the destination has said it understands (PeerFeatures); kept up to date by
     * ram/save.c. */
    uint32_t peer;
    /* Set by the sink: the section had better go on, its end would have to wait for something that
     * is under way. */
    bool midway;
    /* Set by the sink: pages travel coded, which patches would not. */
    bool codes_pages;
};

typedef struct RamPlacer RamPlacer;
/* Any receiving thread; calls for different pages may be concurrent. */
typedef struct RamPlacerOps {
    const char *name; /* "direct", "postcopy", "colo" */
    /* The counterpart of RamSinkOps.list_block: @f stands behind the entry of @block, whose length
     * and address have been checked. May be NULL. */
    bool (*list_block)(RamPlacer *p, QEMUFile *f, RAMBlock *block, bool ignored, GError **errp);
    /* Read @count pages of payload from @f (or @ioc when @f is NULL) into their place. */
    bool (*place_run)(RamPlacer *p, QEMUFile *f, RAMBlock *block, uint64_t first, uint64_t count,
                      GError **errp);
    /* The pages become @fill bytes. With fill 0 untouched memory stays untouched. */
    bool (*place_fill)(RamPlacer *p, RAMBlock *block, uint64_t first, uint64_t count, uint8_t fill,
                       GError **errp);
    /*
     * Host address where @count pages may be read to directly by a receiver that knows they come,
     * or NULL: use place_run. The pages count as received. May take a while for long runs: memory
     * is populated.
     */
    void *(*direct)(RamPlacer *p, RAMBlock *block, uint64_t first, uint64_t count);
    /*
     * For a receiver that guesses what comes next: pages from @first for which nothing but zeros
     * was received, so that bytes which turn out to be something else do no harm. Returns how many
     * (<= @max, 0: none) and *host. NULL callback: never. Afterwards accept() those that got their
     * content and retract() the rest as far as it was written (@bytes from the start of page
     * @first, 0 too): it is zero again, and the stream has turned to something else.
     */
    uint64_t (*offer)(RamPlacer *p, RAMBlock *block, uint64_t first, uint64_t max, uint8_t **host);
    void (*accept)(RamPlacer *p, RAMBlock *block, uint64_t first, uint64_t count);
    void (*retract)(RamPlacer *p, RAMBlock *block, uint64_t first, uint64_t bytes);
    /* The source opens a registration phase (record HOOK): serve it until it ends. Incoming thread.
     * NULL callback: there is no such phase on this channel. */
    bool (*hook)(RamPlacer *p, QEMUFile *f, GError **errp);
    /* Release everything; also after failure. Main thread, no receiver is left. */
    void (*cleanup)(RamPlacer *p);
} RamPlacerOps;

struct RamPlacer {
    const RamPlacerOps *ops;
};

/* The plain sink: PAGE and ZERO records on the main channel (spec 20 section 4). */
RamSink *ram_sink_stream_new(void);
typedef struct {
    unsigned threads; /* 1 to 255 */
    unsigned level;   /* of zlib, 0 to 9 */
    bool wait;        /* for a free thread; else a page goes uncompressed when there is none */
    MigrationCounters *counters;
} RamCompressConfig;
/* The same, data compressed page by page (`compress` of QEMU 7.2); NULL: no threads to be had. */
RamSink *ram_sink_compress_new(const RamCompressConfig *config, GError **errp);
/* Straight into guest memory, populated in batches. */
RamPlacer *ram_placer_direct_new(RAMList *list);

#endif
