/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The source side: block list, rounds of dirty pages, the rest after the stop (spec 20 sections 3,
 * 5, 6).
 *
 * A bit is cleared before its page is looked at. A store that comes later marks the page in the
 * dirty log, so the next sync sends it again; nothing that is sent is older than its bit.
 */
#include "migration/ram/save.h"
#include "migration/wire/ram.h"
#include "migration/wire/stream.h"

/* One iteration ends after this long even if the rate limit has not. */
#define SLICE_US (50 * 1000)
/* And a sink that is midway gets so much more. */
#define MIDWAY_US (1000 * 1000)
/* The longest run of data handed to a sink at once. */
#define MAX_DATA_PAGES 512

bool ram_put_block_list(QEMUFile *f, RAMList *list, RamSink *sink, bool ignore_shared,
                        bool postcopy, GError **errp)
{
    const RamSinkOps *ops = sink->ops;
    uint8_t buf[RAM_LIST_ENTRY_MAX];
    uint64_t total = 0;

    RAMBLOCK_FOREACH_MIGRATABLE (block, list) {
        total += block->used_length;
    }
    qemu_put_be64(f, total | RAM_FLAG_MEM_SIZE);
    RAMBLOCK_FOREACH_MIGRATABLE (block, list) {
        bool say_size = postcopy && block->page_size != TARGET_PAGE_SIZE;

        qemu_put_buffer(f, buf,
                        ram_put_list_entry(buf, block->idstr, block->used_length,
                                           say_size ? block->page_size : 0, ignore_shared,
                                           block->gpa));
        if (ops->list_block &&
            !ops->list_block(sink, f, block, ram_block_ignored(block, ignore_shared), errp)) {
            g_prefix_error(errp, "RAM block '%s': ", block->idstr);
            return false;
        }
    }
    return true;
}

/* Before anything is sent, ask the guest what it does not use. In postcopy the destination could
 * not tell such a page from one that is still to come. */
static void ask_for_hints(RamState *rs)
{
    if (rs->save->options.postcopy || rs->env.phase(rs->env.opaque) != RAM_PHASE_PRECOPY) {
        return;
    }
    ram_hints_open(rs->hints);
    if (!rs->env.free_pages(rs->env.opaque, true)) {
        ram_hints_close(rs->hints);
    }
}

bool ram_save_setup(QEMUFile *f, void *opaque, GError **errp)
{
    RamState *rs = opaque;
    RamSave *s = rs->save = g_new0(RamSave, 1);

    s->list = rs->env.list(rs->env.opaque);
    s->counters = rs->env.counters(rs->env.opaque);
    rs->env.options(rs->env.opaque, &s->options);
    s->zero.off = s->options.no_zero_detect;
    s->sink = rs->env.sink(rs->env.opaque, errp);
    if (!s->sink || !dirty_map_start(&s->dirty, s->list, s->options.ignore_shared, errp)) {
        return false;
    }
    ram_scan_start(&s->scan, &s->dirty);
    rs->env.live_options(rs->env.opaque, &s->live);
    if (s->options.xbzrle) {
        s->xbzrle =
            ram_xbzrle_new(s->live.xbzrle_cache_size, s->dirty.total_bytes, s->counters, errp);
        if (!s->xbzrle) {
            return false;
        }
    } else if (s->sink->ops->send_patches && !s->sink->codes_pages) {
        s->unchanged = ram_unchanged_new(&s->dirty);
    }
    stat_set(&s->counters->ram_total, s->dirty.total_bytes);
    ram_sync_pass(rs);
    ram_throttle_start(&s->throttle, s->synced_us, 0);
    ask_for_hints(rs);
    s->sink->peer = rs->env.peer_features(rs->env.opaque);
    if (!ram_put_block_list(f, s->list, s->sink, s->options.ignore_shared, s->options.postcopy,
                            errp) ||
        !s->sink->ops->setup(s->sink, f, errp)) {
        return false;
    }
    qemu_put_be64(f, RAM_FLAG_EOS);
    return qemu_file_check(f, errp);
}

static void count_bytes(RamSave *s, uint64_t bytes)
{
    MigrationCounters *c = s->counters;
    uint64_t *by_phase[] = {&c->precopy_bytes, &c->downtime_bytes, &c->postcopy_bytes};

    stat_add(&c->ram_bytes, bytes);
    stat_add(by_phase[s->phase], bytes);
}

/* All that has left so far, in the stream or beside it. */
static uint64_t bytes_out(const RamSave *s, QEMUFile *f)
{
    return qemu_file_transferred(f) + stat_get(&s->counters->file_bytes) +
           stat_get(&s->counters->rdma_bytes);
}

/* In the first round nothing is known of what the destination has. */
static bool sent_before(const RamSave *s)
{
    return s->scan.rounds > 0;
}

static bool send_zeros(RamState *rs, QEMUFile *f, const RamRun *part, GError **errp)
{
    RamSave *s = rs->save;

    if (s->xbzrle && sent_before(s)) {
        ram_xbzrle_zeroed(s->xbzrle, part->block, part->first, part->count);
    } else if (s->unchanged && sent_before(s)) {
        ram_unchanged_forget(s->unchanged, part);
    }
    stat_add(&s->counters->zero_pages, part->count);
    return s->sink->ops->send_zero_run(s->sink, f, part->block, part->first, part->count, errp);
}

static bool send_plain(RamSave *s, QEMUFile *f, const RamRun *part, GError **errp)
{
    stat_add(&s->counters->normal_pages, part->count);
    return s->sink->ops->send_run(s->sink, f, part->block, part->first, part->count, errp);
}

/* How do the first pages of @part, which is data, travel? It becomes as long as that is the same.
 * True: as *patches. */
static bool make_patches(RamSave *s, RamRun *part, uint64_t max, const RamPatch **patches,
                         unsigned *n)
{
    XbzrleKind kind = XBZRLE_PLAIN;
    bool watched = false;

    if (!sent_before(s)) {
        return false;
    }
    if (s->xbzrle) {
        part->count = ram_xbzrle_split(s->xbzrle, part, max, s->last, &kind, patches, n);
    } else if (s->unchanged) {
        part->count = ram_unchanged_split(s->unchanged, part, max, &watched, patches, n);
    }
    return watched || kind == XBZRLE_DELTAS;
}

static bool send_patches(RamSave *s, QEMUFile *f, const RamRun *part, const RamPatch *patches,
                         unsigned n, GError **errp)
{
    uint64_t before = qemu_file_transferred(f);
    bool ok = !n || s->sink->ops->send_patches(s->sink, f, part->block, patches, n, errp);

    if (s->xbzrle) {
        ram_xbzrle_sent(s->xbzrle, qemu_file_transferred(f) - before);
    } else {
        stat_add(&s->counters->normal_pages, n);
        stat_add(&s->counters->unchanged_pages, part->count - n);
    }
    return ok;
}

/* Send the next part of a run that is all zero, all data or all deltas, within @budget bytes (and
 * a page). False: error. */
static bool send_part(RamState *rs, QEMUFile *f, uint64_t budget, bool *sent, GError **errp)
{
    RamSave *s = rs->save;
    uint64_t max_zero = MIN(budget / RAM_ZERO_RECORD_BYTES + 1, ZERO_WINDOW_PAGES);
    uint64_t max_data = MIN(budget / RAM_PAGE_SIZE + 1, MAX_DATA_PAGES);
    uint64_t before = bytes_out(s, f);
    const RamPatch *patches;
    unsigned n_patches;
    RamRun part;
    bool zero, patched, ok;

    ram_take_hints(rs);
    *sent = ram_scan_peek(&s->scan, ZERO_WINDOW_PAGES, &part);
    if (!*sent) {
        return true;
    }
    part.count = ram_zero_split(&s->zero, &part, max_zero, max_data, &zero);
    patched = !zero && make_patches(s, &part, max_data, &patches, &n_patches);
    ram_scan_take(&s->scan, part.count);
    ok = zero      ? send_zeros(rs, f, &part, errp)
         : patched ? send_patches(s, f, &part, patches, n_patches, errp)
                   : send_plain(s, f, &part, errp);
    stat_set(&s->counters->ram_remaining, s->dirty.dirty_pages << TARGET_PAGE_BITS);
    count_bytes(s, bytes_out(s, f) - before);
    return ok;
}

/* What the sink still holds leaves. */
static bool end_round(RamSave *s, QEMUFile *f, bool last, GError **errp)
{
    uint64_t before = qemu_file_transferred(f);
    bool ok = s->sink->ops->end_round(s->sink, f, last, errp);

    count_bytes(s, qemu_file_transferred(f) - before);
    return ok;
}

static void send_again(RAMBlock *block, uint64_t first, uint64_t count, void *opaque)
{
    RamSave *s = opaque;

    dirty_map_add(&s->dirty, block, first, count);
}

static bool take_back(RamSave *s, QEMUFile *f, GError **errp)
{
    const RamSinkOps *ops = s->sink->ops;

    return !ops->take_back || ops->take_back(s->sink, f, send_again, s, errp);
}

/* The options that may change at any time, and what to count bytes as. */
static void begin_section(RamState *rs, bool last)
{
    RamSave *s = rs->save;
    uint64_t cache_size = s->live.xbzrle_cache_size;

    s->phase = rs->env.phase(rs->env.opaque);
    s->last = s->scan.last = last;
    s->sink->peer = rs->env.peer_features(rs->env.opaque);
    rs->env.live_options(rs->env.opaque, &s->live);
    if (s->xbzrle && s->live.xbzrle_cache_size != cache_size) {
        ram_xbzrle_resize(s->xbzrle, s->live.xbzrle_cache_size);
    }
}

void ram_save_settle(RamState *rs)
{
    rs->save->settle = true;
}

static bool slice_over(const RamSave *s, QEMUFile *f, int64_t start)
{
    int64_t limit = MIN(SLICE_US, s->look_us) + (s->sink->midway ? MIDWAY_US : 0);

    return qemu_file_rate_exceeded(f) || g_get_monotonic_time() - start >= limit;
}

IterateResult ram_save_iterate(QEMUFile *f, void *opaque, GError **errp)
{
    RamState *rs = opaque;
    RamSave *s = rs->save;
    int64_t start = g_get_monotonic_time();
    bool sent = true, settle = s->settle;

    if (!dirty_map_check_sizes(&s->dirty, errp)) {
        return ITERATE_ERROR;
    }
    if (s->push) {
        return postcopy_push_section(s->push, f, false, errp);
    }
    s->settle = false;
    begin_section(rs, false);
    if (!settle) {
        ram_sync_look(rs);
        if (!take_back(s, NULL, errp)) {
            return ITERATE_ERROR;
        }
    }
    while (!settle && sent && !slice_over(s, f, start)) {
        if (!send_part(rs, f, qemu_file_rate_left(f), &sent, errp)) {
            return ITERATE_ERROR;
        }
    }
    if (!end_round(s, f, settle, errp)) {
        return ITERATE_ERROR;
    }
    qemu_put_be64(f, RAM_FLAG_EOS);
    count_bytes(s, RAM_WORD_BYTES);
    if (!qemu_file_check(f, errp)) {
        return ITERATE_ERROR;
    }
    return sent ? ITERATE_MORE : ITERATE_DONE;
}

void ram_save_query_pending(void *opaque, MigPendingData *pending, bool exact)
{
    RamState *rs = opaque;
    RamSave *s = rs->save;

    if (s->push) {
        pending->postcopy += postcopy_push_left(s->push) << TARGET_PAGE_BITS;
        return;
    }
    if (exact) {
        ram_sync_pass(rs);
        take_back(s, NULL, NULL); /* an error shows when the next section is sent */
    }
    *(s->options.postcopy ? &pending->postcopy : &pending->precopy) += ram_pending_bytes(s);
}

bool ram_save_complete(QEMUFile *f, void *opaque, GError **errp)
{
    RamState *rs = opaque;
    RamSave *s = rs->save;
    bool sent = true;

    if (!dirty_map_check_sizes(&s->dirty, errp)) {
        return false;
    }
    if (s->push) {
        return postcopy_push_section(s->push, f, true, errp) != ITERATE_ERROR;
    }
    begin_section(rs, true);
    ram_sync_pass(rs);
    do {
        sent = true;
        while (sent) {
            if (!send_part(rs, f, UINT64_MAX, &sent, errp)) {
                return false;
            }
        }
        if (!take_back(s, f, errp)) {
            return false;
        }
    } while (s->dirty.dirty_pages);
    if (!end_round(s, f, true, errp)) {
        return false;
    }
    qemu_put_be64(f, RAM_FLAG_EOS);
    return qemu_file_check(f, errp);
}

bool ram_save_has_postcopy(void *opaque)
{
    RamState *rs = opaque;

    return rs->save && rs->save->options.postcopy;
}

PostcopyPush *ram_save_start_postcopy(RamState *rs, void (*wake)(void *opaque), void *opaque,
                                      GError **errp)
{
    RamSave *s = rs->save;

    if (!dirty_map_check_sizes(&s->dirty, errp)) {
        return NULL;
    }
    ram_sync_pass(rs);
    s->push = postcopy_push_new(&s->dirty, &s->zero, s->counters, wake, opaque);
    if (s->options.release) {
        postcopy_push_plan_release(s->push);
    }
    return s->push;
}

void ram_save_cleanup(void *opaque)
{
    RamState *rs = opaque;
    RamSave *s = rs->save;

    if (s) {
        if (ram_hints_close(rs->hints)) {
            rs->env.free_pages(rs->env.opaque, false);
        }
        ram_take_hints(rs); /* leaves none for the next migration */
        if (s->throttle.percent) {
            rs->env.set_throttle(rs->env.opaque, 0);
            stat_set(&s->counters->throttle_percent, 0);
        }
        if (s->limited) {
            rs->env.limit_vcpus(rs->env.opaque, 0);
        }
        postcopy_push_free(s->push);
        ram_zero_clear(&s->zero);
        ram_xbzrle_free(s->xbzrle);
        ram_unchanged_free(s->unchanged);
        dirty_map_stop(&s->dirty);
        if (s->sink) {
            s->sink->ops->cleanup(s->sink);
        }
        g_clear_pointer(&rs->save, g_free);
    }
}
