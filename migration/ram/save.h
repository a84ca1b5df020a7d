/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source side of the ram section, as save.c (sending) and sync.c (what is to be sent) see it.
 */
#ifndef GODWIT_MIGRATION_RAM_SAVE_H
#define GODWIT_MIGRATION_RAM_SAVE_H

#include "migration/ram/scan.h"
#include "migration/ram/state.h"
#include "migration/ram/unchanged.h"
#include "migration/ram/xbzrle.h"
#include "migration/ram/zero.h"

struct RamSave {
    RAMList *list;
    RamOptions options;
    RamLiveOptions live;
    MigrationCounters *counters;
    DirtyMap dirty;
    RamScan scan;
    RamZero zero;
    RamXbzrle *xbzrle;       /* from the end of the first round, if wanted */
    RamUnchanged *unchanged; /* without deltas, if the sink takes patches */
    RamThrottle throttle;
    uint64_t limited;  /* to so many MiB/s per vCPU; 0: not yet */
    int64_t synced_us; /* when the dirty log was read last, */
    int64_t look_us;   /* how long until the next time, */
    int64_t passed_us; /* and when a pass began */
    uint64_t rounds_seen;
    bool counted_untouched; /* for the forecast, without the big lock */
    /* What the dirty pages will take, as of the last pass. */
    uint64_t pending_bytes, pending_pages;
    RamSink *sink;
    RamPhase phase;     /* of this section */
    bool last;          /* this section is END */
    bool settle;        /* the next section carries nothing new */
    PostcopyPush *push; /* after the switch to postcopy */
};

/* ---- sync.c; migration thread ---- */

/* Read the dirty log: a new pass begins. */
void ram_sync_pass(RamState *rs);
/* Take what the guest does not use out of what is to be sent; not while a part is being sent. */
void ram_take_hints(RamState *rs);
/* Look into the dirty log in the middle of a pass, if that was a while ago; at the end of a round
 * of the scanner a new pass begins. */
void ram_sync_look(RamState *rs);
/* Bytes that the dirty pages will take: deltas are judged by what they took lately. */
uint64_t ram_pending_bytes(const RamSave *s);

#endif
