/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A bounded list of records that thins itself out. */
#include "migration/recorder.h"

#define MAX_RECORDS 512

struct Recorder {
    GMutex lock; /* protects all below */
    MigrationSide side;
    int64_t start_us;
    GPtrArray *records; /* MigrationRecord */
    uint64_t dropped;
    uint64_t dropped_time_us; /* of the first one */
};

Recorder *recorder_new(MigrationSide side)
{
    Recorder *r = g_new0(Recorder, 1);

    g_mutex_init(&r->lock);
    r->side = side;
    r->start_us = g_get_monotonic_time();
    r->records = qapi_list_new_MigrationRecord();
    return r;
}

void recorder_free(Recorder *r)
{
    if (r) {
        g_ptr_array_unref(r->records);
        g_mutex_clear(&r->lock);
        g_free(r);
    }
}

void recorder_restart(Recorder *r)
{
    g_mutex_lock(&r->lock);
    g_ptr_array_set_size(r->records, 0);
    r->start_us = g_get_monotonic_time();
    r->dropped = 0;
    g_mutex_unlock(&r->lock);
}

static bool is_periodic(const MigrationRecord *rec)
{
    return rec->kind == MIGRATION_RECORD_KIND_SAMPLE || rec->kind == MIGRATION_RECORD_KIND_ROUND ||
           rec->kind == MIGRATION_RECORD_KIND_STALL;
}

static void drop(Recorder *r, unsigned index)
{
    MigrationRecord *rec = g_ptr_array_index(r->records, index);

    if (!r->dropped++) {
        r->dropped_time_us = rec->time_us;
    }
    g_ptr_array_remove_index(r->records, index);
}

static void thin_out(Recorder *r)
{
    bool keep = true;

    for (unsigned i = 0; i < r->records->len;) {
        if (is_periodic(g_ptr_array_index(r->records, i)) && !(keep = !keep)) {
            drop(r, i);
        } else {
            i++;
        }
    }
    if (r->records->len == MAX_RECORDS) {
        drop(r, 0);
    }
}

/* Takes @rec's strings. */
static void add(Recorder *r, MigrationRecord rec)
{
    g_mutex_lock(&r->lock);
    if (r->records->len == MAX_RECORDS) {
        thin_out(r);
    }
    rec.side = r->side;
    rec.time_us = g_get_monotonic_time() - r->start_us;
    g_ptr_array_add(r->records, g_memdup2(&rec, sizeof(rec)));
    g_mutex_unlock(&r->lock);
}

void recorder_phase(Recorder *r, const char *name, uint64_t bytes)
{
    add(r, (MigrationRecord){.kind = MIGRATION_RECORD_KIND_PHASE,
                             .name = g_strdup(name),
                             .has_bytes = true,
                             .bytes = bytes});
}

void recorder_round(Recorder *r, uint64_t round, uint64_t bytes, uint64_t remaining)
{
    add(r, (MigrationRecord){.kind = MIGRATION_RECORD_KIND_ROUND,
                             .has_round = true,
                             .round = round,
                             .has_bytes = true,
                             .bytes = bytes,
                             .has_remaining = true,
                             .remaining = remaining});
}

void recorder_sample(Recorder *r, uint64_t bytes, uint64_t remaining, double mbps)
{
    add(r, (MigrationRecord){.kind = MIGRATION_RECORD_KIND_SAMPLE,
                             .has_bytes = true,
                             .bytes = bytes,
                             .has_remaining = remaining != RECORDER_UNKNOWN,
                             .remaining = remaining,
                             .has_mbps = true,
                             .mbps = mbps});
}

void recorder_stall(Recorder *r, uint64_t bytes, uint64_t duration_us)
{
    add(r, (MigrationRecord){.kind = MIGRATION_RECORD_KIND_STALL,
                             .has_bytes = true,
                             .bytes = bytes,
                             .has_duration_us = true,
                             .duration_us = duration_us});
}

void recorder_switchover(Recorder *r, const char *step, uint64_t bytes, uint64_t duration_us)
{
    add(r, (MigrationRecord){.kind = MIGRATION_RECORD_KIND_SWITCHOVER,
                             .name = g_strdup(step),
                             .has_bytes = true,
                             .bytes = bytes,
                             .has_duration_us = true,
                             .duration_us = duration_us});
}

void recorder_error(Recorder *r, const char *text)
{
    add(r, (MigrationRecord){.kind = MIGRATION_RECORD_KIND_ERROR, .text = g_strdup(text)});
}

void recorder_note(Recorder *r, const char *text)
{
    add(r, (MigrationRecord){.kind = MIGRATION_RECORD_KIND_NOTE, .text = g_strdup(text)});
}

void recorder_read(Recorder *r, GPtrArray *list)
{
    g_mutex_lock(&r->lock);
    if (r->dropped) {
        MigrationRecord gap = {.kind = MIGRATION_RECORD_KIND_GAP,
                               .side = r->side,
                               .time_us = r->dropped_time_us,
                               .has_count = true,
                               .count = r->dropped};

        g_ptr_array_add(list, g_memdup2(&gap, sizeof(gap)));
    }
    for (unsigned i = 0; i < r->records->len; i++) {
        g_ptr_array_add(list, qapi_clone_MigrationRecord(g_ptr_array_index(r->records, i)));
    }
    g_mutex_unlock(&r->lock);
}
