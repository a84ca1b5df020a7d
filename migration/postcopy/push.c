/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/postcopy/push.h"
#include "migration/postcopy/release.h"
#include "migration/savevm.h"
#include "migration/wire/postcopy.h"
#include "migration/wire/ram.h"
#include "migration/wire/stream.h"
#include "util/thread.h"
#include "util/zero.h"

/* A section of the background stream ends after this long, as in precopy. */
#define SLICE_US (50 * 1000)
/* Where one page was asked for the next will be, for so long. */
#define BUSY_US 2000
/* One more than any page can be. */
#define NO_HINT UINT64_MAX
/* Telling zero pages apart in windows (ram/zero.h) pays on long walks: not for the first so many
 * runs after a jump to a page that somebody asked for. */
#define RUNS_AFTER_JUMP 64
/* No honest destination has so many threads that wait. */
#define QUEUE_MAX 65536

typedef struct {
    unsigned block;
    uint64_t page;
} Position;

struct PostcopyPush {
    DirtyMap *dirty;
    RamZero *zero;
    MigrationCounters *counters;
    void (*wake)(void *opaque);
    void *opaque;
    uint64_t left;            /* atomic: pages not claimed */
    PostcopyRelease *release; /* NULL: not planned */

    /* Migration thread. */
    RamSink *sink;
    Position at;
    unsigned after_jump; /* runs to go until windows pay again */

    /* The thread that reads requests. */
    DirtyBlock *last_block;
    RamSink *urgent_sink;
    GMutex urgent_lock;    /* that thread's, but for the last word on the file */
    QEMUFile *urgent_file; /* set while that thread does not run */
    bool again;            /* likewise */
    bool urgent_over;      /* with urgent_lock: EOS was said */

    /* Atomic: where the background shall go on, block << 40 | page; NO_HINT: as it likes. */
    uint64_t hint;

    int64_t asked_us; /* atomic: when somebody asked for a page last; 0: never */

    GMutex lock;   /* protects the queue */
    GArray *queue; /* of Position, host pages asked for */
    bool queued;   /* atomic: it is not empty */
};

/* ---- bits ---- */

static uint64_t block_pages(const DirtyBlock *db)
{
    return db->length >> TARGET_PAGE_BITS;
}

static uint64_t host_pages(const DirtyBlock *db)
{
    return db->block->page_size >> TARGET_PAGE_BITS;
}

/* The first set bit at or after @page while others clear bits; block_pages() if none. */
static uint64_t next_left(const DirtyBlock *db, uint64_t page)
{
    uint64_t pages = block_pages(db);

    while (page < pages) {
        unsigned long word = __atomic_load_n(&db->map[BIT_WORD(page)], __ATOMIC_RELAXED);

        word &= ~0UL << page % BITS_PER_LONG;
        if (word) {
            return MIN(ROUND_DOWN(page, BITS_PER_LONG) + __builtin_ctzl(word), pages);
        }
        page = ROUND_DOWN(page, BITS_PER_LONG) + BITS_PER_LONG;
    }
    return pages;
}

/* Clear the bits of @mask in a word; those that were set are ours. */
static unsigned long claim_word(PostcopyPush *p, DirtyBlock *db, uint64_t word, unsigned long mask)
{
    unsigned long ours = __atomic_fetch_and(&db->map[word], ~mask, __ATOMIC_ACQ_REL) & mask;

    if (ours) {
        __atomic_fetch_sub(&p->left, __builtin_popcountl(ours), __ATOMIC_RELAXED);
    }
    return ours;
}

static unsigned long word_mask(uint64_t word, uint64_t first, uint64_t end)
{
    uint64_t base = word * BITS_PER_LONG;
    unsigned long mask = ~0UL;

    if (first > base) {
        mask &= ~0UL << (first - base);
    }
    if (end < base + BITS_PER_LONG) {
        mask &= ~0UL >> (base + BITS_PER_LONG - end);
    }
    return mask;
}

/* The whole host page at @page (its first) is ours if its first bit was set. */
static bool claim_host_page(PostcopyPush *p, DirtyBlock *db, uint64_t page)
{
    uint64_t end = page + host_pages(db), word = BIT_WORD(page);

    if (!(claim_word(p, db, word, BIT_MASK(page)))) {
        return false;
    }
    for (; word <= BIT_WORD(end - 1); word++) {
        claim_word(p, db, word, word_mask(word, page, end));
    }
    return true;
}

/* ---- the last map of precopy ---- */

/* Of a host page all goes or nothing. */
static void fill_host_pages(DirtyMap *d, DirtyBlock *db)
{
    uint64_t step = host_pages(db), pages = block_pages(db);

    for (uint64_t page = 0; step > 1 && page < pages; page += step) {
        uint64_t set = bitmap_count(db->map, page, step);

        if (set && set < step) {
            bitmap_set(db->map, page, step);
            d->dirty_pages += step - set;
        }
    }
}

PostcopyPush *postcopy_push_new(DirtyMap *dirty, RamZero *zero, MigrationCounters *counters,
                                void (*wake)(void *opaque), void *opaque)
{
    PostcopyPush *p = g_new0(PostcopyPush, 1);

    for (unsigned i = 0; i < dirty->n; i++) {
        fill_host_pages(dirty, &dirty->blocks[i]);
    }
    p->dirty = dirty;
    p->zero = zero;
    p->counters = counters;
    p->wake = wake;
    p->opaque = opaque;
    p->left = dirty->dirty_pages;
    p->hint = NO_HINT;
    p->sink = ram_sink_stream_new();
    p->urgent_sink = ram_sink_stream_new();
    p->queue = g_array_new(FALSE, FALSE, sizeof(Position));
    g_mutex_init(&p->lock);
    g_mutex_init(&p->urgent_lock);
    return p;
}

void postcopy_push_free(PostcopyPush *p)
{
    if (p) {
        p->sink->ops->cleanup(p->sink);
        p->urgent_sink->ops->cleanup(p->urgent_sink);
        g_array_unref(p->queue);
        postcopy_release_free(p->release);
        g_mutex_clear(&p->lock);
        g_mutex_clear(&p->urgent_lock);
        g_free(p);
    }
}

void postcopy_push_plan_release(PostcopyPush *p)
{
    p->release = postcopy_release_new(p->dirty);
}

void postcopy_push_begin_release(PostcopyPush *p)
{
    if (p->release) {
        postcopy_release_begin(p->release);
    }
}

static bool releases(const PostcopyPush *p)
{
    return p->release && postcopy_release_begun(p->release);
}

void postcopy_push_discards(PostcopyPush *p, QEMUFile *f)
{
    for (unsigned i = 0; i < p->dirty->n; i++) {
        const DirtyBlock *db = &p->dirty->blocks[i];
        uint64_t pages = block_pages(db), page = find_next_bit(db->map, pages, 0);
        uint8_t args[POSTCOPY_DISCARD_MAX];
        PostcopyRange ranges[POSTCOPY_RANGES_MAX];
        unsigned n = 0;

        while (page < pages) {
            uint64_t end = find_next_zero_bit(db->map, pages, page);

            ranges[n++] =
                (PostcopyRange){page << TARGET_PAGE_BITS, (end - page) << TARGET_PAGE_BITS};
            page = find_next_bit(db->map, pages, end);
            if (n == POSTCOPY_RANGES_MAX || page >= pages) {
                savevm_put_command(f, STREAM_CMD_POSTCOPY_RAM_DISCARD, args,
                                   postcopy_encode_discard(db->block->idstr, ranges, n, args));
                n = 0;
            }
        }
    }
}

uint64_t postcopy_push_left(const PostcopyPush *p)
{
    return __atomic_load_n(&p->left, __ATOMIC_RELAXED);
}

/* ---- sending ---- */

static void count(PostcopyPush *p, uint64_t bytes)
{
    stat_add(&p->counters->ram_bytes, bytes);
    stat_add(&p->counters->postcopy_bytes, bytes);
    stat_set(&p->counters->ram_remaining, postcopy_push_left(p) << TARGET_PAGE_BITS);
}

static bool page_is_zero(const DirtyBlock *db, uint64_t page)
{
    return buffer_is_zero(db->block->host + (page << TARGET_PAGE_BITS), TARGET_PAGE_SIZE);
}

/* How many pages from the start of the run are all zero, or all not. */
static uint64_t split(PostcopyPush *p, const DirtyBlock *db, const RamRun *run, bool *zero)
{
    uint64_t n = 1;

    if (!p->after_jump) {
        return ram_zero_split(p->zero, run, run->count, run->count, zero);
    }
    *zero = page_is_zero(db, run->first);
    while (n < run->count && page_is_zero(db, run->first + n) == *zero) {
        n++;
    }
    return n;
}

static bool send_run(PostcopyPush *p, QEMUFile *f, DirtyBlock *db, uint64_t first, uint64_t n,
                     GError **errp)
{
    const RamSinkOps *ops = p->sink->ops;
    RamRun run = {db->block, first, n};

    while (run.count) {
        bool zero, ok;
        uint64_t part = split(p, db, &run, &zero);

        ok = zero ? ops->send_zero_run(p->sink, f, db->block, run.first, part, errp)
                  : ops->send_run(p->sink, f, db->block, run.first, part, errp);
        if (!ok) {
            return false;
        }
        stat_add(zero ? &p->counters->zero_pages : &p->counters->normal_pages, part);
        run.first += part;
        run.count -= part;
    }
    return true;
}

/* What has been queued leaves, and its memory with it. */
static void flush_released(PostcopyPush *p, QEMUFile *f)
{
    if (qemu_fflush(f)) {
        postcopy_release_noted(p->release);
    }
}

/* A run of claimed pages of the background. */
static bool push_run(PostcopyPush *p, QEMUFile *f, DirtyBlock *db, uint64_t first, uint64_t n,
                     GError **errp)
{
    if (!send_run(p, f, db, first, n, errp)) {
        return false;
    }
    if (releases(p) && postcopy_release_note(p->release, db, first, n)) {
        flush_released(p, f);
    }
    return true;
}

/* Claimed pages somebody waits for, at once, each on its own merits. */
static bool send_urgent(PostcopyPush *p, RamSink *sink, QEMUFile *f, DirtyBlock *db, uint64_t first,
                        uint64_t n, GError **errp)
{
    uint64_t before = qemu_file_transferred(f);

    for (uint64_t page = first; page < first + n; page++) {
        bool zero = page_is_zero(db, page);
        bool ok = zero ? sink->ops->send_zero_run(sink, f, db->block, page, 1, errp)
                       : sink->ops->send_run(sink, f, db->block, page, 1, errp);

        if (!ok) {
            return false;
        }
        stat_add(zero ? &p->counters->zero_pages : &p->counters->normal_pages, 1);
    }
    qemu_fflush(f);
    count(p, qemu_file_transferred(f) - before);
    if (!qemu_file_check(f, errp)) {
        return false;
    }
    if (releases(p)) {
        postcopy_release_now(p->release, db, first, n);
    }
    return true;
}

static void set_hint(PostcopyPush *p, const DirtyBlock *db, uint64_t page)
{
    uint64_t block = db - p->dirty->blocks;

    __atomic_store_n(&p->hint, block << 40 | page, __ATOMIC_RELAXED);
}

/* ---- background ---- */

static void follow_hint(PostcopyPush *p)
{
    uint64_t hint = NO_HINT;

    if (__atomic_load_n(&p->hint, __ATOMIC_RELAXED) != NO_HINT) {
        hint = __atomic_exchange_n(&p->hint, NO_HINT, __ATOMIC_RELAXED);
    }
    if (hint != NO_HINT) {
        p->at = (Position){hint >> 40, hint & ((UINT64_C(1) << 40) - 1)};
        p->after_jump = RUNS_AFTER_JUMP;
    } else if (p->after_jump) {
        p->after_jump--;
    }
}

/* Where the next page lies that is left; false: nothing is. */
static bool find_left(PostcopyPush *p)
{
    if (!postcopy_push_left(p)) {
        return false;
    }
    /* One visit more than there are blocks: the first may have something before its start. */
    for (unsigned visits = 0; visits <= p->dirty->n; visits++) {
        const DirtyBlock *db = &p->dirty->blocks[p->at.block];

        p->at.page = next_left(db, p->at.page);
        if (p->at.page < block_pages(db)) {
            return true;
        }
        p->at = (Position){(p->at.block + 1) % p->dirty->n, 0};
    }
    return false;
}

/* The next few pages: a huge page, or what is left within a word of the map. */
static bool send_next(PostcopyPush *p, QEMUFile *f, bool *sent, GError **errp)
{
    uint64_t before = qemu_file_transferred(f), word, base;
    unsigned long ours;
    DirtyBlock *db;
    bool ok = true;

    follow_hint(p);
    *sent = find_left(p);
    if (!*sent) {
        return true;
    }
    db = &p->dirty->blocks[p->at.block];
    if (host_pages(db) > 1) {
        uint64_t page = ROUND_DOWN(p->at.page, host_pages(db));

        p->at.page = page + host_pages(db);
        ok = !claim_host_page(p, db, page) || push_run(p, f, db, page, host_pages(db), errp);
    } else {
        word = BIT_WORD(p->at.page);
        base = word * BITS_PER_LONG;
        ours = claim_word(p, db, word, ~0UL << (p->at.page - base));
        p->at.page = base + BITS_PER_LONG;
        while (ok && ours) {
            unsigned first = __builtin_ctzl(ours);
            unsigned long rest = ~(ours >> first);
            unsigned n = rest ? (unsigned)__builtin_ctzl(rest) : BITS_PER_LONG;

            ok = push_run(p, f, db, base + first, n, errp);
            ours &= n == BITS_PER_LONG ? 0 : ~(((1UL << n) - 1) << first);
        }
    }
    count(p, qemu_file_transferred(f) - before);
    return ok;
}

/* ---- requests that wait for the migration thread ---- */

bool postcopy_push_urgent(const PostcopyPush *p)
{
    return __atomic_load_n(&p->queued, __ATOMIC_ACQUIRE);
}

static bool serve_queue(PostcopyPush *p, QEMUFile *f, GError **errp)
{
    g_autoptr(GArray) taken = NULL;

    g_mutex_lock(&p->lock);
    taken = p->queue;
    p->queue = g_array_new(FALSE, FALSE, sizeof(Position));
    __atomic_store_n(&p->queued, false, __ATOMIC_RELEASE);
    g_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < taken->len; i++) {
        Position at = g_array_index(taken, Position, i);
        DirtyBlock *db = &p->dirty->blocks[at.block];

        if (claim_host_page(p, db, at.page) &&
            !send_urgent(p, p->sink, f, db, at.page, host_pages(db), errp)) {
            return false;
        }
    }
    return true;
}

/* Who serves a request may be waiting for this CPU, and would until our time slice ends. */
static void make_way(const PostcopyPush *p)
{
    int64_t asked = __atomic_load_n(&p->asked_us, __ATOMIC_RELAXED);

    if (asked && g_get_monotonic_time() - asked < BUSY_US) {
        thread_yield();
    }
}

IterateResult postcopy_push_section(PostcopyPush *p, QEMUFile *f, bool all, GError **errp)
{
    int64_t deadline = g_get_monotonic_time() + SLICE_US;
    bool sent = true;

    while (sent) {
        if (postcopy_push_urgent(p) && !serve_queue(p, f, errp)) {
            return ITERATE_ERROR;
        }
        if (!all && (qemu_file_rate_exceeded(f) || g_get_monotonic_time() >= deadline)) {
            break;
        }
        if (!send_next(p, f, &sent, errp)) {
            return ITERATE_ERROR;
        }
        make_way(p);
    }
    qemu_put_be64(f, RAM_FLAG_EOS);
    count(p, RAM_WORD_BYTES);
    if (releases(p)) {
        flush_released(p, f);
    }
    if (!qemu_file_check(f, errp)) {
        return ITERATE_ERROR;
    }
    return sent ? ITERATE_MORE : ITERATE_DONE;
}

/* ---- the thread that reads requests ---- */

void postcopy_push_set_urgent_file(PostcopyPush *p, QEMUFile *f, bool again)
{
    p->urgent_file = f;
    p->again = again && !p->release;
    p->urgent_over = false;
}

void postcopy_push_end_urgent(PostcopyPush *p)
{
    g_mutex_lock(&p->urgent_lock);
    if (p->urgent_file) {
        qemu_put_be64(p->urgent_file, RAM_FLAG_EOS);
        qemu_fflush(p->urgent_file);
        p->urgent_over = true;
    }
    g_mutex_unlock(&p->urgent_lock);
}

/* A huge page would take longer than what is in front of it. */
static bool may_send_again(const PostcopyPush *p, const DirtyBlock *db)
{
    return p->again && host_pages(db) == 1;
}

static bool send_at_once(PostcopyPush *p, DirtyBlock *db, uint64_t page, GError **errp)
{
    bool ok;

    g_mutex_lock(&p->urgent_lock);
    ok = p->urgent_over ||
         send_urgent(p, p->urgent_sink, p->urgent_file, db, page, host_pages(db), errp);
    g_mutex_unlock(&p->urgent_lock);
    return ok;
}

static DirtyBlock *requested_block(PostcopyPush *p, const char *name, GError **errp)
{
    for (unsigned i = 0; name && i < p->dirty->n; i++) {
        if (strcmp(p->dirty->blocks[i].block->idstr, name) == 0) {
            return &p->dirty->blocks[i];
        }
    }
    if (name) {
        error_setg(errp, "The destination asks for pages of RAM block '%s', which is not sent",
                   name);
    } else if (!p->last_block) {
        error_setg(errp, "The destination asks for pages without naming a RAM block first");
    }
    return name ? NULL : p->last_block;
}

static bool enqueue(PostcopyPush *p, const DirtyBlock *db, uint64_t first, uint64_t end,
                    GError **errp)
{
    bool ok;

    g_mutex_lock(&p->lock);
    for (uint64_t page = first; page < end; page += host_pages(db)) {
        /* What is not left is on its way. */
        if (next_left(db, page) == page) {
            Position at = {db - p->dirty->blocks, page};

            g_array_append_val(p->queue, at);
        }
    }
    __atomic_store_n(&p->queued, p->queue->len > 0, __ATOMIC_RELEASE);
    ok = p->queue->len <= QUEUE_MAX;
    g_mutex_unlock(&p->lock);
    if (!ok) {
        error_setg(errp, "The destination asks for pages without end");
    }
    p->wake(p->opaque);
    return ok;
}

bool postcopy_push_request(PostcopyPush *p, const char *block, uint64_t offset, uint64_t length,
                           GError **errp)
{
    DirtyBlock *db = requested_block(p, block, errp);
    uint64_t first, end;

    if (!db) {
        return false;
    }
    p->last_block = db;
    if (!length || offset >= db->length || length > db->length - offset ||
        (offset | length) % db->block->page_size) {
        error_setg(errp,
                   "The destination asks for 0x%" PRIx64 " bytes at 0x%" PRIx64
                   " of RAM block '%s', which has 0x%" PRIx64 " in pages of 0x%" PRIx64,
                   length, offset, db->block->idstr, db->length, db->block->page_size);
        return false;
    }
    stat_add(&p->counters->postcopy_requests, 1);
    __atomic_store_n(&p->asked_us, g_get_monotonic_time(), __ATOMIC_RELAXED);
    first = offset >> TARGET_PAGE_BITS;
    end = (offset + length) >> TARGET_PAGE_BITS;
    if (!p->urgent_file && !enqueue(p, db, first, end, errp)) {
        return false;
    }
    for (uint64_t page = first; p->urgent_file && page < end; page += host_pages(db)) {
        if ((claim_host_page(p, db, page) || may_send_again(p, db)) &&
            !send_at_once(p, db, page, errp)) {
            return false;
        }
    }
    set_hint(p, db, end);
    return true;
}

/* ---- recovery ---- */

void postcopy_push_restart(PostcopyPush *p)
{
    uint64_t left = 0;

    for (unsigned i = 0; i < p->dirty->n; i++) {
        left += bitmap_count(p->dirty->blocks[i].map, 0, block_pages(&p->dirty->blocks[i]));
    }
    __atomic_store_n(&p->left, left, __ATOMIC_RELAXED);
    g_array_set_size(p->queue, 0);
    __atomic_store_n(&p->queued, false, __ATOMIC_RELEASE);
    p->last_block = NULL;
    p->at = (Position){0, 0};
    p->hint = NO_HINT;
    p->sink->ops->forget_block(p->sink);
    p->urgent_sink->ops->forget_block(p->urgent_sink);
    stat_set(&p->counters->ram_remaining, left << TARGET_PAGE_BITS);
}

bool postcopy_push_block(const PostcopyPush *p, unsigned i, const char **name, uint64_t *bits)
{
    if (i >= p->dirty->n) {
        return false;
    }
    *name = p->dirty->blocks[i].block->idstr;
    *bits = block_pages(&p->dirty->blocks[i]);
    return true;
}

bool postcopy_push_set_received(PostcopyPush *p, const char *block, const unsigned long *received,
                                GError **errp)
{
    DirtyBlock *db = requested_block(p, block, errp);

    if (!db) {
        return false;
    }
    for (uint64_t word = 0; word < BITS_TO_LONGS(block_pages(db)); word++) {
        db->map[word] = ~received[word] & word_mask(word, 0, block_pages(db));
    }
    return true;
}
