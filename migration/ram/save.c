/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The source side: block list, rounds of dirty pages, the rest after the stop (spec 20 sections 3,
 * 5, 6).
 *
 * A bit is cleared before its page is looked at. A store that comes later marks the page in the
 * dirty log, so the next sync sends it again; nothing that is sent is older than its bit.
 */
#include "migration/ram/scan.h"
#include "migration/ram/state.h"
#include "migration/ram/zero.h"
#include "migration/wire/ram.h"

/* One iteration ends after this long even if the rate limit has not. */
#define SLICE_US (50 * 1000)
/* The longest run of data handed to a sink at once. */
#define MAX_DATA_PAGES 512

struct RamSave {
    RAMList *list;
    RamOptions options;
    MigrationCounters *counters;
    DirtyMap dirty;
    RamScan scan;
    RamZero zero;
    RamSink *sink;
};

static void put_block_list(RamSave *s, QEMUFile *f)
{
    uint8_t buf[RAM_LIST_ENTRY_MAX];
    uint64_t total = 0;

    RAMBLOCK_FOREACH_MIGRATABLE (block, s->list) {
        total += block->used_length;
    }
    qemu_put_be64(f, total | RAM_FLAG_MEM_SIZE);
    RAMBLOCK_FOREACH_MIGRATABLE (block, s->list) {
        qemu_put_buffer(f, buf,
                        ram_put_list_entry(buf, block->idstr, block->used_length,
                                           s->options.ignore_shared, block->gpa));
    }
}

static void sync_pass(RamState *rs)
{
    RamSave *s = rs->save;

    dirty_map_sync(&s->dirty);
    ram_zero_forget(&s->zero);
    stat_set(&s->counters->dirty_pages_rate, s->dirty.pages_per_second);
    stat_set(&s->counters->ram_remaining, s->dirty.dirty_pages << TARGET_PAGE_BITS);
    rs->env.note_pass(rs->env.opaque, s->dirty.dirty_pages << TARGET_PAGE_BITS);
}

bool ram_save_setup(QEMUFile *f, void *opaque, GError **errp)
{
    RamState *rs = opaque;
    RamSave *s = rs->save = g_new0(RamSave, 1);

    s->list = rs->env.list(rs->env.opaque);
    s->counters = rs->env.counters(rs->env.opaque);
    rs->env.options(rs->env.opaque, &s->options);
    s->zero.off = s->options.no_zero_detect;
    s->scan.dirty = &s->dirty;
    s->sink = rs->env.sink(rs->env.opaque, errp);
    if (!s->sink || !dirty_map_start(&s->dirty, s->list, s->options.ignore_shared, errp)) {
        return false;
    }
    stat_set(&s->counters->ram_total, s->dirty.total_bytes);
    sync_pass(rs);
    put_block_list(s, f);
    if (!s->sink->ops->setup(s->sink, f, errp)) {
        return false;
    }
    qemu_put_be64(f, RAM_FLAG_EOS);
    return qemu_file_check(f, errp);
}

static void count_bytes(RamState *rs, RamPhase phase, uint64_t bytes)
{
    MigrationCounters *c = rs->save->counters;
    uint64_t *by_phase[] = {&c->precopy_bytes, &c->downtime_bytes, &c->postcopy_bytes};

    stat_add(&c->ram_bytes, bytes);
    stat_add(by_phase[phase], bytes);
}

/* Send the next part of a run that is all zero or all data, within @budget bytes (and a page).
 * False: error. */
static bool send_part(RamState *rs, QEMUFile *f, uint64_t budget, RamPhase phase, bool *sent,
                      GError **errp)
{
    RamSave *s = rs->save;
    const RamSinkOps *ops = s->sink->ops;
    uint64_t max_zero = MIN(budget / RAM_ZERO_RECORD_BYTES + 1, ZERO_WINDOW_PAGES);
    uint64_t max_data = MIN(budget / RAM_PAGE_SIZE + 1, MAX_DATA_PAGES);
    uint64_t before = qemu_file_transferred(f), count;
    RamRun run;
    bool zero, ok;

    *sent = ram_scan_peek(&s->scan, ZERO_WINDOW_PAGES, &run);
    if (!*sent) {
        return true;
    }
    count = ram_zero_split(&s->zero, &run, max_zero, max_data, &zero);
    ram_scan_take(&s->scan, count);
    ok = zero ? ops->send_zero_run(s->sink, f, run.block, run.first, count, errp)
              : ops->send_run(s->sink, f, run.block, run.first, count, errp);
    stat_add(zero ? &s->counters->zero_pages : &s->counters->normal_pages, count);
    stat_set(&s->counters->ram_remaining, s->dirty.dirty_pages << TARGET_PAGE_BITS);
    count_bytes(rs, phase, qemu_file_transferred(f) - before);
    return ok;
}

IterateResult ram_save_iterate(QEMUFile *f, void *opaque, GError **errp)
{
    RamState *rs = opaque;
    RamSave *s = rs->save;
    RamPhase phase = rs->env.phase(rs->env.opaque);
    int64_t deadline = g_get_monotonic_time() + SLICE_US;
    bool sent = true;

    if (!dirty_map_check_sizes(&s->dirty, errp)) {
        return ITERATE_ERROR;
    }
    while (sent && !qemu_file_rate_exceeded(f) && g_get_monotonic_time() < deadline) {
        if (!send_part(rs, f, qemu_file_rate_left(f), phase, &sent, errp)) {
            return ITERATE_ERROR;
        }
    }
    if (!s->sink->ops->end_round(s->sink, f, false, errp)) {
        return ITERATE_ERROR;
    }
    qemu_put_be64(f, RAM_FLAG_EOS);
    count_bytes(rs, phase, RAM_WORD_BYTES);
    if (!qemu_file_check(f, errp)) {
        return ITERATE_ERROR;
    }
    return sent ? ITERATE_MORE : ITERATE_DONE;
}

void ram_save_query_pending(void *opaque, MigPendingData *pending, bool exact)
{
    RamState *rs = opaque;

    if (exact) {
        sync_pass(rs);
    }
    pending->precopy += rs->save->dirty.dirty_pages << TARGET_PAGE_BITS;
}

bool ram_save_complete(QEMUFile *f, void *opaque, GError **errp)
{
    RamState *rs = opaque;
    RamSave *s = rs->save;
    RamPhase phase = rs->env.phase(rs->env.opaque);
    bool sent = true;

    if (!dirty_map_check_sizes(&s->dirty, errp)) {
        return false;
    }
    sync_pass(rs);
    while (sent) {
        if (!send_part(rs, f, UINT64_MAX, phase, &sent, errp)) {
            return false;
        }
    }
    if (!s->sink->ops->end_round(s->sink, f, true, errp)) {
        return false;
    }
    qemu_put_be64(f, RAM_FLAG_EOS);
    return qemu_file_check(f, errp);
}

void ram_save_cleanup(void *opaque)
{
    RamState *rs = opaque;
    RamSave *s = rs->save;

    if (s) {
        ram_zero_clear(&s->zero);
        dirty_map_stop(&s->dirty);
        if (s->sink) {
            s->sink->ops->cleanup(s->sink);
        }
        g_clear_pointer(&rs->save, g_free);
    }
}
