/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How fast the guest makes memory dirty, measured on request without a migration
 * (calc-dirty-rate, spec 20 section 15), and limits to it per vCPU.
 *
 * Both read the log through the same client, so only one of them does at a time. Commands run on
 * the main thread with the big lock; a thread each waits and counts.
 */
#ifndef GODWIT_MIGRATION_DIRTY_RATE_H
#define GODWIT_MIGRATION_DIRTY_RATE_H

#include "migration/core.h"

DirtyRate *dirty_rate_new(Migration *m);
/* For good: ends the measurement, if there is one. Big lock (released while waiting). */
void dirty_rate_stop(DirtyRate *r);
void dirty_rate_free(DirtyRate *r);

DirtyLimits *dirty_limits_new(Migration *m);
/* Lifts all limits. Big lock (released while waiting). */
void dirty_limits_stop(DirtyLimits *l);
void dirty_limits_free(DirtyLimits *l);

/*
 * The capability dirty-limit: for a migration each vCPU gets @mib per second, unless it has less
 * already, read every @period_ms; may be called again. Commands for limits are refused meanwhile.
 * End: what was set before holds again. Big lock (end: released while waiting).
 */
bool dirty_limits_begin_migration(DirtyLimits *l, uint64_t mib, uint64_t period_ms, GError **errp);
void dirty_limits_end_migration(DirtyLimits *l);
/* A pass of the migration begins. Migration thread. */
void dirty_limits_note_pass(DirtyLimits *l);
/* How long (us) the vCPU that slept most did so in the pass before; 0: no limit of a migration. Any
 * thread. */
uint64_t dirty_limits_slept_us(const DirtyLimits *l);

/* ---- the dirty log of DIRTY_CLIENT_RATE, for one user at a time; big lock ---- */

/* @user says who, for the error that others get. */
bool dirty_rate_log_start(Migration *m, const char *user, GError **errp);
void dirty_rate_log_stop(Migration *m);
/* Pages that became dirty since the last call, or the start; they are clean again afterwards. */
uint64_t dirty_rate_log_count(Migration *m);

/* @pages in MiB per second, over @ms. */
static inline uint64_t dirty_rate_mib(uint64_t pages, int64_t ms)
{
    return (double)pages * TARGET_PAGE_SIZE / MiB * 1000 / MAX(ms, 1);
}

#endif
