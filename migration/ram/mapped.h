/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mapped-ram (spec 20 section 12): every page has its place in the file, so a page that is written
 * again replaces itself, zero pages are holes, and both ends read and write with several threads.
 */
#ifndef GODWIT_MIGRATION_RAM_MAPPED_H
#define GODWIT_MIGRATION_RAM_MAPPED_H

#include "migration/ram-sink.h"
#include "migration/ram/lazy.h"
#include "migration/stats.h"
#include "migration/wire/mapped.h"

typedef struct {
    unsigned threads; /* that move pages */
    /* For direct-io: another descriptor of the file behind @main, past the page cache. NULL: use
     * @main. Called once; big lock as in list_block. */
    QIOChannel *(*open_direct)(void *opaque, QIOChannel *main, GError **errp);
    /* For a lazy restore: memory of up to @blocks blocks that comes from @pages when it is touched;
     * somebody else frees it. NULL: everything is read at once. Incoming thread. */
    RamLazy *(*lazy)(void *opaque, QIOChannel *pages, unsigned blocks, GError **errp);
    void *opaque;
} MappedConfig;

/* @counters: file_bytes grow. */
RamSink *ram_sink_mapped_new(const MappedConfig *config, MigrationCounters *counters);
RamPlacer *ram_placer_mapped_new(const MappedConfig *config, RAMList *list);

/*
 * The header and the bitmap of @block (spec 20 section 12), checked; @f stands behind the bitmap.
 * @map gets the bits (the caller frees it), NULL when the memory is not in the file.
 */
bool mapped_read_block(QEMUFile *f, RAMBlock *block, bool ignored, MappedLayout *layout,
                       unsigned long **map, GError **errp);
/* The channel that moves pages: @f's own, or another. Takes a reference. NULL: *errp. */
QIOChannel *mapped_open_pages(const MappedConfig *config, QEMUFile *f, GError **errp);

#endif
