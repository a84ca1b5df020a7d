/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The migration subsystem of one VM, as its own files see it.
 */
#ifndef GODWIT_MIGRATION_CORE_H
#define GODWIT_MIGRATION_CORE_H

#include "migration/free-pages.h"
#include "migration/globalstate.h"
#include "migration/options.h"
#include "migration/ram/ram.h"
#include "migration/recorder.h"
#include "migration/savevm.h"
#include "migration/stats.h"
#include "migration/transport/transport.h"

typedef struct LazyRestore LazyRestore;

typedef struct DirtyRate DirtyRate;
typedef struct DirtyLimits DirtyLimits;

struct Migration {
    MigrationHost *host;
    SaveStateList *savevm;
    MigrationOptions options;
    GPtrArray *blockers; /* MigrationBlocker */
    GlobalState global_state;
    RamState *ram;
    DirtyRate *dirty_rate;
    DirtyLimits *dirty_limits;
    const char *dirty_log_user; /* of DIRTY_CLIENT_RATE (dirty-rate.h); NULL: free */
    MigrationCounters counters;
    Recorder *source_record, *destination_record;
    /* Main thread; changes hold @line, for commands out of band. The same goes for the files inside
     * of both. */
    MigrationState *outgoing;         /* the current one, or the last; NULL: never */
    MigrationIncomingState *incoming; /* NULL: -incoming was not given */
    GMutex line;                      /* never held while anything is waited for */
    /* While a saved state is loaded; its thread. */
    bool loading_file; /* atomic */
    bool file_is_mapped;
    struct {
        const FreePageOps *ops; /* NULL: nobody knows */
        void *opaque;
        bool asked;
        GSource *end;  /* scheduled; @line */
    } free_pages;      /* big lock */
    LazyRestore *lazy; /* atomic: memory is still being read; else NULL */
};

struct MigrationBlocker {
    char *reason;
};

/* Emit MIGRATION if the events capability is on. Any thread. */
void migration_emit_status(Migration *m, MigrationStatus status);
/* Why this VM cannot migrate; GPtrArray of strings, NULL if it can. Big lock. */
GPtrArray *migration_blocked_reasons(Migration *m);
/* The -global switches decide. */
SaveContext migration_save_context(Migration *m, QEMUFile *f);

/* Can @t do what the options want of it? Both directions. */
bool migration_check_transport(const Migration *m, const MigrationTransport *t, GError **errp);

/* The "ram" section, registered. */
RamState *migration_ram_new(Migration *m);

/* ---- free-pages.c: ask the guest for hints (big lock; false: nobody to ask), and no more (any
 * thread; without the big lock it hears it later, from the main loop). ---- */
bool free_pages_begin(Migration *m);
void free_pages_end(Migration *m);
/* Drop what was scheduled; Migration.line, or at the very end. */
void free_pages_forget_end(Migration *m);

/* Join @thread, which may be waiting for the big lock that the caller holds. */
void migration_join(GThread *thread);

#endif
