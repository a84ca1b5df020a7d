/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The source side of a background snapshot: every page once, as it was when the guest stood still
 * for a moment (spec 20 section 11). What the guest is about to change goes first (guard.h), the
 * rest in order.
 */
#include "migration/ram/dirty.h"
#include "migration/ram/guard.h"
#include "migration/ram/state.h"
#include "migration/wire/ram.h"
#include "util/zero.h"

#define SLICE_US (50 * 1000)
/* Pages that stand still at once: their writers wait for the channel. */
#define CLAIM_PAGES (8 * GUARD_CHUNK_PAGES)
#define COPY_BATCH  32
/* How long to wait for a copy that is being made when nothing else is left. */
#define LAST_COPY_US 100

struct RamBackground {
    RamOptions options;
    MigrationCounters *counters;
    RamSink *sink;
    RamGuard *guard;
    RAMBlock *block; /* the walk stands here; NULL: at the end */
    uint64_t page;
    RAMBlock *ahead_block; /* and ahead of a writer; NULL: there is none to be ahead of */
    uint64_t ahead_page;
    uint64_t pages_left;
};

static RAMBlock *next_block(const RamBackground *b, RAMBlock *block)
{
    while (block && ram_block_ignored(block, b->options.ignore_shared)) {
        block = block->next;
    }
    return block;
}

bool ram_background_setup(QEMUFile *f, RamState *rs, GError **errp)
{
    RamBackground *b = rs->background = g_new0(RamBackground, 1);
    RAMList *list = rs->env.list(rs->env.opaque);

    rs->env.options(rs->env.opaque, &b->options);
    b->counters = rs->env.counters(rs->env.opaque);
    b->sink = rs->env.sink(rs->env.opaque, errp);
    if (b->sink && !b->sink->ops->send_bytes) {
        error_setg(errp, "a background snapshot cannot travel over '%s'", b->sink->ops->name);
        return false;
    }
    b->guard = b->sink ? ram_guard_new(list, b->options.ignore_shared, errp) : NULL;
    if (!b->guard || !ram_put_block_list(f, list, b->sink, b->options.ignore_shared, false, errp) ||
        !b->sink->ops->setup(b->sink, f, errp)) {
        return false;
    }
    RAMBLOCK_FOREACH (block, list) {
        b->pages_left +=
            ram_block_ignored(block, b->options.ignore_shared) ? 0 : ram_block_pages(block);
    }
    b->block = next_block(b, ram_list_first(list));
    stat_set(&b->counters->ram_total, b->pages_left << TARGET_PAGE_BITS);
    stat_set(&b->counters->ram_remaining, b->pages_left << TARGET_PAGE_BITS);
    qemu_put_be64(f, RAM_FLAG_EOS);
    return qemu_file_check(f, errp);
}

bool ram_background_protect(RamState *rs, GError **errp)
{
    return ram_guard_protect(rs->background->guard, errp);
}

/* ---- pages ---- */

/* How many pages at @bytes, at most @max, are all zero or all not. */
static uint64_t same_zero(const uint8_t *bytes, uint64_t max, bool *zero)
{
    uint64_t n = 1;

    *zero = buffer_is_zero(bytes, TARGET_PAGE_SIZE);
    while (n < max && buffer_is_zero(bytes + n * TARGET_PAGE_SIZE, TARGET_PAGE_SIZE) == *zero) {
        n++;
    }
    return n;
}

/* @count pages from @first on, whose contents are at @bytes; false: error. */
static bool send_pages(RamBackground *b, QEMUFile *f, RAMBlock *block, uint64_t first,
                       uint64_t count, const uint8_t *bytes, GError **errp)
{
    const RamSinkOps *ops = b->sink->ops;

    for (uint64_t done = 0; done < count;) {
        const uint8_t *at = bytes + (done << TARGET_PAGE_BITS);
        bool untouched, zero = true, ok;
        uint64_t n = ram_guard_same(b->guard, block, first + done, count - done, &untouched);

        if (!untouched && b->options.no_zero_detect) {
            zero = false;
        } else if (!untouched) {
            n = same_zero(at, n, &zero);
        }
        ok = zero ? ops->send_zero_run(b->sink, f, block, first + done, n, errp)
                  : ops->send_bytes(b->sink, f, block, first + done, n, at, errp);
        if (!ok) {
            return false;
        }
        stat_add(zero ? &b->counters->zero_pages : &b->counters->normal_pages, n);
        done += n;
    }
    b->pages_left -= count;
    stat_set(&b->counters->ram_remaining, b->pages_left << TARGET_PAGE_BITS);
    return true;
}

/* Everything handed to the sink has left the process. */
static bool let_leave(RamBackground *b, QEMUFile *f, GError **errp)
{
    if (!b->sink->ops->end_round(b->sink, f, false, errp)) {
        return false;
    }
    return qemu_fflush(f) || qemu_file_check(f, errp);
}

static bool send_copies(RamBackground *b, QEMUFile *f, bool *any, GError **errp)
{
    GuardCopy copy;
    unsigned n = 0;

    while (n < COPY_BATCH && ram_guard_next_copy(b->guard, &copy)) {
        if (!send_pages(b, f, copy.block, copy.first, copy.count, copy.bytes, errp)) {
            return false;
        }
        n++;
    }
    *any = n > 0;
    if (n && !let_leave(b, f, errp)) {
        return false;
    }
    ram_guard_copies_left(b->guard);
    return true;
}

/* What of a few pages from @first on is still guarded; *n says how many. False: error. */
static bool send_guarded(RamBackground *b, QEMUFile *f, RAMBlock *block, uint64_t first,
                         uint64_t *n, GError **errp)
{
    uint64_t max = MIN(CLAIM_PAGES, ram_block_pages(block) - first);
    const uint8_t *host = block->host + (first << TARGET_PAGE_BITS);

    *n = ram_guard_claim(b->guard, block, first, max);
    return !*n || (send_pages(b, f, block, first, *n, host, errp) && let_leave(b, f, errp) &&
                   ram_guard_release(b->guard, errp));
}

/* Sending is faster than writing: who is overtaken once meets no guard any more. */
static bool send_ahead(RamBackground *b, QEMUFile *f, bool *any, GError **errp)
{
    uint64_t first, n = 0;
    RAMBlock *block = ram_guard_ahead(b->guard, &first);

    if (block) {
        b->ahead_block = block;
        b->ahead_page = first;
    }
    if (b->ahead_block && !send_guarded(b, f, b->ahead_block, b->ahead_page, &n, errp)) {
        return false;
    }
    b->ahead_page += n;
    if (!n || b->ahead_page >= ram_block_pages(b->ahead_block)) {
        b->ahead_block = NULL;
    }
    *any = n > 0;
    return true;
}

static bool send_next(RamBackground *b, QEMUFile *f, GError **errp)
{
    uint64_t n;

    if (!send_guarded(b, f, b->block, b->page, &n, errp)) {
        return false;
    }
    b->page += n ? n : GUARD_CHUNK_PAGES; /* copied ones come as copies */
    if (b->page >= ram_block_pages(b->block)) {
        b->block = next_block(b, b->block->next);
        b->page = 0;
    }
    return true;
}

/* False: error. */
static bool step(RamBackground *b, QEMUFile *f, bool *done, GError **errp)
{
    bool any;

    if (!ram_guard_check(b->guard, errp) || !send_copies(b, f, &any, errp)) {
        return false;
    }
    if (!any && !send_ahead(b, f, &any, errp)) {
        return false;
    }
    if (any) {
        return true;
    }
    if (b->block) {
        return send_next(b, f, errp);
    }
    *done = ram_guard_quiet(b->guard);
    if (!*done) {
        g_usleep(LAST_COPY_US);
    }
    return true;
}

static uint64_t bytes_out(const RamBackground *b, QEMUFile *f)
{
    return qemu_file_transferred(f) + stat_get(&b->counters->file_bytes);
}

IterateResult ram_background_iterate(QEMUFile *f, RamState *rs, GError **errp)
{
    RamBackground *b = rs->background;
    int64_t deadline = g_get_monotonic_time() + SLICE_US;
    uint64_t before = bytes_out(b, f);
    bool done = false;

    while (!done && !qemu_file_rate_exceeded(f) && g_get_monotonic_time() < deadline) {
        if (!step(b, f, &done, errp)) {
            return ITERATE_ERROR;
        }
    }
    if (done && !b->sink->ops->end_round(b->sink, f, true, errp)) {
        return ITERATE_ERROR;
    }
    qemu_put_be64(f, RAM_FLAG_EOS);
    stat_add(&b->counters->ram_bytes, bytes_out(b, f) - before);
    stat_add(&b->counters->precopy_bytes, bytes_out(b, f) - before);
    if (!qemu_file_check(f, errp)) {
        return ITERATE_ERROR;
    }
    return done ? ITERATE_DONE : ITERATE_MORE;
}

void ram_background_cleanup(RamState *rs)
{
    RamBackground *b = g_steal_pointer(&rs->background);

    if (b) {
        if (b->sink) {
            b->sink->ops->cleanup(b->sink); /* its threads read what the guard holds */
        }
        ram_guard_free(b->guard);
        g_free(b);
    }
}
