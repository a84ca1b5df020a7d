/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading the dirty log, and what is concluded from it: which memory is hot (dirty.c), how much is
 * left, and whether the guest has to be slowed down.
 */
#include "migration/ram/save.h"

/* In the middle of a long pass the log is read so often. At the start, when every look tells much,
 * it is read as soon as that, and then after twice the time; but it shall not take more than a
 * small part of the time. */
#define LOOK_US       100000
#define FIRST_LOOK_US 2000
#define LOOK_SHARE    20

uint64_t ram_pending_bytes(const RamSave *s)
{
    uint64_t pages = s->dirty.dirty_pages;

    if (!s->xbzrle || !s->pending_pages) {
        return pages << TARGET_PAGE_BITS;
    }
    return DIV_ROUND_UP((double)pages * s->pending_bytes, s->pending_pages);
}

static uint64_t bytes_sent(const RamSave *s)
{
    return stat_get(&s->counters->ram_bytes) + stat_get(&s->counters->multifd_bytes);
}

void ram_take_hints(RamState *rs)
{
    RamSave *s = rs->save;

    if (ram_hints_pending(rs->hints)) {
        stat_add(&s->counters->hinted_pages, ram_hints_apply(rs->hints, &s->dirty));
        stat_set(&s->counters->ram_remaining, s->dirty.dirty_pages << TARGET_PAGE_BITS);
    }
}

/* The guest's word holds until its writes are read from the log. */
static void end_hints(RamState *rs)
{
    if (ram_hints_close(rs->hints)) {
        rs->env.free_pages(rs->env.opaque, false);
    }
    ram_take_hints(rs);
}

static void read_log(RamState *rs)
{
    RamSave *s = rs->save;
    int64_t start = g_get_monotonic_time();
    uint64_t pending;

    end_hints(rs);
    pending = ram_pending_bytes(s);

    dirty_map_sync(&s->dirty);
    ram_zero_forget(&s->zero);
    if (s->sink->ops->new_pass) {
        s->sink->ops->new_pass(s->sink);
    }
    s->synced_us = g_get_monotonic_time();
    s->look_us = s->look_us ? MIN(2 * s->look_us, LOOK_US) : FIRST_LOOK_US;
    s->look_us = MAX(s->look_us, (s->synced_us - start) * LOOK_SHARE);
    stat_set(&s->counters->dirty_pages_rate, s->dirty.pages_per_second);
    stat_set(&s->counters->written_pages_rate, s->dirty.written_per_second);
    stat_set(&s->counters->cold_pages_rate, s->dirty.cold_per_second);
    stat_set(&s->counters->dirty_rate_known, s->dirty.rate_known);
    stat_set(&s->counters->hot_pages, s->dirty.hot_words * BITS_PER_LONG);
    stat_set(&s->counters->spared_pages, s->dirty.spared_pages);
    stat_set(&s->counters->ram_remaining, s->dirty.dirty_pages << TARGET_PAGE_BITS);
    ram_throttle_dirtied(&s->throttle, ram_pending_bytes(s) - pending);
}

/* Who was too fast once keeps the limit; it may change. */
static void judge_by_limit(RamState *rs)
{
    RamSave *s = rs->save;
    uint64_t limit = s->live.dirty_limit;

    if ((s->limited ? s->limited != limit
                    : ram_throttle_too_fast(&s->throttle, &s->live.throttle, s->synced_us,
                                            bytes_sent(s))) &&
        rs->env.limit_vcpus(rs->env.opaque, limit)) {
        s->limited = limit;
    }
}

/* The first pass judges nothing before its end: nothing can be known about the guest yet. */
static void judge(RamState *rs)
{
    RamSave *s = rs->save;

    if (s->last) {
        return;
    }
    if (s->live.dirty_limit) {
        judge_by_limit(rs);
    } else if (s->live.throttle.on &&
               ram_throttle_judge(&s->throttle, &s->live.throttle, s->synced_us, bytes_sent(s))) {
        rs->env.set_throttle(rs->env.opaque, s->throttle.percent);
        stat_set(&s->counters->throttle_percent, s->throttle.percent);
    }
}

void ram_sync_pass(RamState *rs)
{
    RamSave *s = rs->save;

    read_log(rs);
    s->passed_us = s->synced_us;
    if (s->xbzrle) {
        ram_xbzrle_new_pass(s->xbzrle);
        s->pending_pages = s->dirty.dirty_pages;
        s->pending_bytes = ram_xbzrle_cost(s->xbzrle, &s->dirty);
    }
    judge(rs);
    stat_set(&s->counters->pending_bytes, ram_pending_bytes(s));
    rs->env.note_pass(rs->env.opaque, s->dirty.dirty_pages << TARGET_PAGE_BITS);
}

void ram_sync_look(RamState *rs)
{
    RamSave *s = rs->save;

    int64_t now = g_get_monotonic_time();
    bool round_over = s->scan.rounds != s->rounds_seen;

    s->rounds_seen = s->scan.rounds;
    /* With a busy guest there is never nothing left, but all has been sent once more. Rounds that
     * take no time say nothing. */
    if (round_over && now - s->passed_us >= LOOK_US) {
        ram_sync_pass(rs);
    } else if (now - s->synced_us >= s->look_us && !ram_hints_expected(rs->hints)) {
        if (!s->counted_untouched) {
            stat_set(&s->counters->untouched_pages, dirty_map_count_untouched(&s->dirty));
            s->counted_untouched = true;
        }
        read_log(rs);
        if (s->scan.rounds) {
            judge(rs);
        }
    }
}
