/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flight recorder: what happened on one side of a migration, in order, kept until the next one
 * begins and therefore also after a failure. Bounded: when it is full, every other periodic record
 * is dropped, so the whole journey stays visible at half the resolution; phases, switchover steps
 * and errors stay.
 *
 * Any thread.
 */
#ifndef GODWIT_MIGRATION_RECORDER_H
#define GODWIT_MIGRATION_RECORDER_H

#include "qapi-types-migration.h"

typedef struct Recorder Recorder;

Recorder *recorder_new(MigrationSide side);
void recorder_free(Recorder *r);
/* Forget everything; time starts at 0 again. */
void recorder_restart(Recorder *r);

/* @bytes: sent or received so far. */
void recorder_phase(Recorder *r, const char *name, uint64_t bytes);
void recorder_round(Recorder *r, uint64_t round, uint64_t bytes, uint64_t remaining);
/* @remaining: RECORDER_UNKNOWN on the destination. */
#define RECORDER_UNKNOWN UINT64_MAX
void recorder_sample(Recorder *r, uint64_t bytes, uint64_t remaining, double mbps);
void recorder_stall(Recorder *r, uint64_t bytes, uint64_t duration_us);
/* A step of the downtime window that took @duration_us. */
void recorder_switchover(Recorder *r, const char *step, uint64_t bytes, uint64_t duration_us);
void recorder_error(Recorder *r, const char *text);
void recorder_note(Recorder *r, const char *text);

/* Append copies of all records to @list (of MigrationRecord). */
void recorder_read(Recorder *r, GPtrArray *list);

#endif
