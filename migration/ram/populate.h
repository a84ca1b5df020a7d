/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory for a stream that fills a block from front to back: a helper gets it from the kernel, a
 * huge page at a time, ahead of the reader. On a fast channel that is half of the destination's
 * work, and it waits for nobody.
 *
 * Populating changes no contents, so running too far costs memory only; the helper is never further
 * ahead than the stream has come in one go. Any thread.
 */
#ifndef GODWIT_MIGRATION_RAM_POPULATE_H
#define GODWIT_MIGRATION_RAM_POPULATE_H

#include "memory/ramblock.h"

#define POPULATE_CHUNK_PAGES UINT64_C(512)

typedef struct RamPopulate RamPopulate;

RamPopulate *ram_populate_new(void);
/* Blocks are left alone from now on. NULL is fine. */
void ram_populate_free(RamPopulate *p);
/*
 * Chunk @chunk of @block is about to be written, and more behind it: returns when it is there.
 * Chunks of which some pages are not set in @fresh have been written already: not touched.
 */
void ram_populate_reach(RamPopulate *p, RAMBlock *block, uint64_t chunk,
                        const unsigned long *fresh);
/* The stream does something else for now: nothing new is begun. */
void ram_populate_pause(RamPopulate *p);

#endif
