/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The background of push.h: walks through what is left, each by one thread on one channel. They
 * agree about pages by claiming a word of the map, or a huge page, at a time. The main one follows
 * requests; the others start apart from each other and go round.
 */
#include "migration/postcopy/push-state.h"
#include "util/thread.h"

/* Telling zero pages apart in windows (ram/zero.h) pays on long walks: not for the first so many
 * runs after a jump to a page that somebody asked for. */
#define RUNS_AFTER_JUMP 64
/* Where one page was asked for the next will be, for so long. */
#define BUSY_US 2000

struct PostcopyWalk {
    PostcopyPush *push;
    RamSink *sink;
    PushPosition at;
    bool main;
    unsigned after_jump; /* runs to go until windows pay again */
};

PostcopyWalk *walk_new_main(PostcopyPush *p)
{
    PostcopyWalk *w = postcopy_walk_new(p, 0, 1);

    w->main = true;
    return w;
}

PostcopyWalk *postcopy_walk_new(PostcopyPush *p, unsigned part, unsigned parts)
{
    PostcopyWalk *w = g_new0(PostcopyWalk, 1);
    uint64_t total = 0, start;

    for (unsigned i = 0; i < p->dirty->n; i++) {
        total += push_block_pages(&p->dirty->blocks[i]);
    }
    w->push = p;
    w->sink = ram_sink_stream_new();
    start = total / parts * part;
    while (w->at.block + 1 < p->dirty->n &&
           start >= push_block_pages(&p->dirty->blocks[w->at.block])) {
        start -= push_block_pages(&p->dirty->blocks[w->at.block++]);
    }
    w->at.page = start;
    return w;
}

void postcopy_walk_free(PostcopyWalk *w)
{
    w->sink->ops->cleanup(w->sink);
    g_free(w);
}

RamSink *walk_sink(PostcopyWalk *w)
{
    return w->sink;
}

void walk_restart(PostcopyWalk *w)
{
    w->at = (PushPosition){0, 0};
    w->sink->ops->forget_block(w->sink);
}

/* ---- sending ---- */

/* How many pages from the start of the run are all zero, or all not. */
static uint64_t split(PostcopyWalk *w, const DirtyBlock *db, const RamRun *run, bool *zero)
{
    uint64_t n = 1;

    if (w->main && !w->after_jump) {
        return ram_zero_split(w->push->zero, run, run->count, run->count, zero);
    }
    *zero = push_page_is_zero(db, run->first);
    while (n < run->count && push_page_is_zero(db, run->first + n) == *zero) {
        n++;
    }
    return n;
}

static bool send_run(PostcopyWalk *w, QEMUFile *f, DirtyBlock *db, uint64_t first, uint64_t n,
                     GError **errp)
{
    MigrationCounters *counters = w->push->counters;
    const RamSinkOps *ops = w->sink->ops;
    RamRun run = {db->block, first, n};

    while (run.count) {
        bool zero, ok;
        uint64_t part = split(w, db, &run, &zero);

        ok = zero ? ops->send_zero_run(w->sink, f, db->block, run.first, part, errp)
                  : ops->send_run(w->sink, f, db->block, run.first, part, errp);
        if (!ok) {
            return false;
        }
        stat_add(zero ? &counters->zero_pages : &counters->normal_pages, part);
        run.first += part;
        run.count -= part;
    }
    return true;
}

void walk_flush_released(PostcopyWalk *w, QEMUFile *f)
{
    if (qemu_fflush(f)) {
        postcopy_release_noted(w->push->release);
    }
}

/* A run of claimed pages. */
static bool push_run(PostcopyWalk *w, QEMUFile *f, DirtyBlock *db, uint64_t first, uint64_t n,
                     GError **errp)
{
    PostcopyRelease *release = w->push->release;

    if (!send_run(w, f, db, first, n, errp)) {
        return false;
    }
    if (!push_releases(w->push)) {
        return true;
    }
    if (w->main) {
        if (postcopy_release_note(release, db, first, n)) {
            walk_flush_released(w, f);
        }
    } else if (qemu_fflush(f)) {
        postcopy_release_now(release, db, first, n);
    }
    return true;
}

/* ---- where to ---- */

static void follow_hint(PostcopyWalk *w)
{
    PostcopyPush *p = w->push;
    uint64_t hint = PUSH_NO_HINT;

    if (__atomic_load_n(&p->hint, __ATOMIC_RELAXED) != PUSH_NO_HINT) {
        hint = __atomic_exchange_n(&p->hint, PUSH_NO_HINT, __ATOMIC_RELAXED);
    }
    if (hint != PUSH_NO_HINT) {
        w->at = (PushPosition){hint >> 40, hint & ((UINT64_C(1) << 40) - 1)};
        w->after_jump = RUNS_AFTER_JUMP;
    } else if (w->after_jump) {
        w->after_jump--;
    }
}

/* Where the next page lies that is left; false: nothing is. */
static bool find_left(PostcopyWalk *w)
{
    PostcopyPush *p = w->push;

    if (!postcopy_push_left(p)) {
        return false;
    }
    /* One visit more than there are blocks: the first may have something before its start. */
    for (unsigned visits = 0; visits <= p->dirty->n; visits++) {
        const DirtyBlock *db = &p->dirty->blocks[w->at.block];

        w->at.page = push_next_left(db, w->at.page);
        if (w->at.page < push_block_pages(db)) {
            return true;
        }
        w->at = (PushPosition){(w->at.block + 1) % p->dirty->n, 0};
    }
    return false;
}

/* Who serves a request may be waiting for this CPU, and would until our time slice ends. */
static void make_way(const PostcopyPush *p)
{
    int64_t asked = __atomic_load_n(&p->asked_us, __ATOMIC_RELAXED);

    if (asked && g_get_monotonic_time() - asked < BUSY_US) {
        thread_yield();
    }
}

unsigned postcopy_walk_step(QEMUFile *f)
{
    return MIN(MAX(qemu_file_rate_left(f) >> TARGET_PAGE_BITS, 1), BITS_PER_LONG);
}

/* The bits of a word from number @first on, @n at most. */
static unsigned long some_bits(unsigned first, unsigned n)
{
    return (n < BITS_PER_LONG ? (1UL << n) - 1 : ~0UL) << first;
}

bool postcopy_walk_on(PostcopyWalk *w, QEMUFile *f, unsigned most, bool *sent, GError **errp)
{
    PostcopyPush *p = w->push;
    uint64_t before = qemu_file_transferred(f), word, base;
    unsigned long ours;
    DirtyBlock *db;
    bool ok = true;

    if (w->main) {
        follow_hint(w);
    }
    *sent = find_left(w);
    if (!*sent) {
        return true;
    }
    db = &p->dirty->blocks[w->at.block];
    if (push_host_pages(db) > 1) {
        uint64_t page = ROUND_DOWN(w->at.page, push_host_pages(db));

        w->at.page = page + push_host_pages(db);
        ok = !push_claim_host_page(p, db, page) ||
             push_run(w, f, db, page, push_host_pages(db), errp);
    } else {
        word = BIT_WORD(w->at.page);
        base = word * BITS_PER_LONG;
        ours = push_claim_word(p, db, word, some_bits(w->at.page - base, most));
        w->at.page = MIN(w->at.page + most, base + BITS_PER_LONG);
        while (ok && ours) {
            unsigned first = __builtin_ctzl(ours);
            unsigned long rest = ~(ours >> first);
            unsigned n = rest ? (unsigned)__builtin_ctzl(rest) : BITS_PER_LONG;

            ok = push_run(w, f, db, base + first, n, errp);
            ours &= n == BITS_PER_LONG ? 0 : ~(((1UL << n) - 1) << first);
        }
    }
    push_count(p, qemu_file_transferred(f) - before);
    make_way(p);
    return ok;
}
