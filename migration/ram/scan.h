/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From bits to runs: walks the dirty map in list order, round and round, and never finishes a round
 * early. A caller looks at the next run, takes as much of it as it can send now, and finds the rest
 * next time.
 *
 * What is written again and again goes last: every other round passes over memory that is hot
 * (dirty.h). If what is then left fits into the downtime, it is sent once, with the guest stopped;
 * else the next round sends everything. So nothing waits for longer than a round.
 *
 * In the first pass nothing is known of the guest at first, but to send something later costs
 * nothing. So it begins far from wherever the guest has written by then, and comes nearer in
 * sweeps; memory that was written since the start it passes over.
 */
#ifndef GODWIT_MIGRATION_RAM_SCAN_H
#define GODWIT_MIGRATION_RAM_SCAN_H

#include "migration/ram/dirty.h"

typedef struct {
    DirtyMap *dirty;
    unsigned index; /* block and page where the walk stands */
    uint64_t page;
    uint64_t rounds;  /* how often the walk began anew; 0: the first pass, */
    uint64_t margin;  /* which stays away so many words of the map from what is written */
    bool everything;  /* this round passes over nothing */
    bool passed_over; /* something was, in this round */
    bool last;        /* every round sends everything from now on */
} RamScan;

typedef struct {
    RAMBlock *block;
    uint64_t first, count; /* pages */
} RamRun;

/* Before the first page; @dirty has been started. */
void ram_scan_start(RamScan *s, DirtyMap *dirty);
/* The next run of at most @max dirty pages; false when nothing is dirty, and once at the end of
 * a round that passed over something: time to see if what is left is little enough. */
bool ram_scan_peek(RamScan *s, uint64_t max, RamRun *run);
/* The first @count pages of the run just seen are about to be read and sent: clear their bits. */
void ram_scan_take(RamScan *s, uint64_t count);

#endif
