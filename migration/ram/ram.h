/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The "ram" section: guest memory as a live handler (spec 20).
 *
 *   source       dirty.c what is to be sent -> scan.c runs -> zero.c what needs no bytes -> a
 * RamSink destination  load.c records -> a RamPlacer
 *
 * One RamState serves one VM, both directions. It reaches the rest of the subsystem only through
 * RamEnv.
 */
#ifndef GODWIT_MIGRATION_RAM_RAM_H
#define GODWIT_MIGRATION_RAM_RAM_H

#include "migration/ram/hints.h"
#include "migration/postcopy/push.h"
#include "migration/ram-sink.h"
#include "migration/ram/throttle.h"
#include "migration/register.h"
#include "migration/stats.h"

/* What of the options concerns RAM; asked once per migration, in save_setup and load_setup. */
typedef struct {
    bool ignore_shared;  /* x-ignore-shared */
    bool no_zero_detect; /* zero-page-detection=none */
    /* load: how many threads inflate compressed pages; 0: there shall be none (`compress` off) */
    unsigned decompress_threads;
    bool xbzrle;
    bool postcopy; /* postcopy-ram */
    bool release;  /* release-ram */
} RamOptions;

/* Options that may change at any time; asked once per section. */
typedef struct {
    uint64_t xbzrle_cache_size; /* bytes */
    RamThrottleOptions throttle;
    uint64_t dirty_limit; /* dirty-limit: MiB/s for each vCPU once they are too fast; 0: off */
} RamLiveOptions;

/* Which of precopy-bytes, downtime-bytes, postcopy-bytes grows (spec 20 section 16). */
typedef enum {
    RAM_PHASE_PRECOPY,
    RAM_PHASE_DOWNTIME,
    RAM_PHASE_POSTCOPY,
} RamPhase;

/* All callbacks mandatory; threads as noted. */
typedef struct {
    /* Big lock. */
    RAMList *(*list)(void *opaque);
    void (*options)(void *opaque, RamOptions *out);
    /* Counters this migration adds to; zeroed by whoever starts it. Any thread. */
    MigrationCounters *(*counters)(void *opaque);
    /* Is this a background snapshot? Asked in save_setup. */
    bool (*background)(void *opaque);
    /* Migration thread; asked once per section, not per page. */
    RamPhase (*phase)(void *opaque);
    /* Migration thread, once per section; big lock in save_setup. */
    void (*live_options)(void *opaque, RamLiveOptions *out);
    /* The vCPUs shall sleep @percent of the time; 0: off. Any thread. */
    void (*set_throttle)(void *opaque, unsigned percent);
    /* No vCPU shall make more than @mib MiB/s dirty; 0: the migration ends, as before it. False:
     * not possible now. Migration thread, or with the big lock. */
    bool (*limit_vcpus)(void *opaque, uint64_t mib);
    /* A dirty sync is done: count the pass, send MIGRATION_PASS. @dirty_bytes are to be sent now.
     * Migration thread. */
    void (*note_pass)(void *opaque, uint64_t dirty_bytes);
    /* Ask the guest which memory it does not use (big lock; false: there is nobody to ask), and
     * that it does not matter any more (migration thread, or big lock). */
    bool (*free_pages)(void *opaque, bool begin);
    /* How pages leave (asked in save_setup) and how they land (load_setup); the RamState releases
     * it in its cleanup. NULL: *errp says why there is none. Big lock. */
    RamSink *(*sink)(void *opaque, GError **errp);
    RamPlacer *(*placer)(void *opaque, RAMList *list, GError **errp);
    /* The main channel is at the end of a section, or (@flush) at a record MULTIFD_FLUSH: what
     * other channels have brought until then must be in place. Incoming thread. */
    bool (*marker)(void *opaque, bool flush, GError **errp);
    /* The source has lost channel @number, or (RAM_CHANNELS_MAY_BREAK) can do without some.
     * Incoming thread. NULL: there is one channel only. */
    bool (*lost_channel)(void *opaque, uint64_t number, GError **errp);
    /* What the destination understands beyond the plain format (PeerFeatures); 0 until it has
     * said so. Migration thread. */
    uint32_t (*peer_features)(void *opaque);
    void *opaque;
} RamEnv;

typedef struct RamState RamState;

/* For hints of any thread. */
RamHints *ram_state_hints(RamState *rs);
/* @env is copied. */
RamState *ram_state_new(const RamEnv *env);
/* Neither direction may be active. */
void ram_state_free(RamState *rs);
/* The block a page of the stream belongs to, by the peer's word: NULL and *errp if there is none
 * that may be written. Any receiving thread. */
RAMBlock *ram_block_for_load(RAMList *list, const char *name, bool ignore_shared, GError **errp);
/* A background snapshot: memory as it is now is what is sent. Between save_setup and the first
 * iteration; guest stopped, big lock. */
bool ram_background_protect(RamState *rs, GError **errp);
/* Put @rs into the registry as "ram", instance 0, version 4. @rs outlives the entry. */
SaveStateEntry *ram_register(SaveStateList *list, RamState *rs);

/* ---- postcopy, source; migration thread ---- */

/* The next section has no page: behind it all that was sent before is in place over there, on
 * whatever channel it travelled. */
void ram_save_settle(RamState *rs);
/*
 * The guest is stopped and will run at the destination: sync for the last time. From now on
 * iterating and completing push what is left. @wake: see postcopy_push_new(). The RamState owns
 * the result. NULL and *errp on failure.
 */
PostcopyPush *ram_save_start_postcopy(RamState *rs, void (*wake)(void *opaque), void *opaque,
                                      GError **errp);

/* ---- postcopy, destination; incoming thread ---- */

/* The source may switch: its list says page sizes. */
void ram_load_advise(RamState *rs);
/* Nothing touches guest memory any more; sections are refused until ram_load_divert(). */
void ram_load_close(RamState *rs);
/* Bodies of sections go to @load from now on. */
typedef bool RamSectionLoader(QEMUFile *f, void *opaque, GError **errp);
void ram_load_divert(RamState *rs, RamSectionLoader *load, void *opaque);

#endif
