/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/postcopy/push-state.h"
#include "migration/savevm.h"
#include "migration/wire/postcopy.h"
#include "migration/wire/ram.h"
#include "migration/wire/stream.h"

/* A section of the background stream ends after this long, as in precopy. */
#define SLICE_US (50 * 1000)
/* No honest destination has so many threads that wait. */
#define QUEUE_MAX 65536

/* ---- bits ---- */

uint64_t push_next_left(const DirtyBlock *db, uint64_t page)
{
    uint64_t pages = push_block_pages(db);

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

unsigned long push_claim_word(PostcopyPush *p, DirtyBlock *db, uint64_t word, unsigned long mask)
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

bool push_claim_host_page(PostcopyPush *p, DirtyBlock *db, uint64_t page)
{
    uint64_t end = page + push_host_pages(db), word = BIT_WORD(page);

    if (!(push_claim_word(p, db, word, BIT_MASK(page)))) {
        return false;
    }
    for (; word <= BIT_WORD(end - 1); word++) {
        push_claim_word(p, db, word, word_mask(word, page, end));
    }
    return true;
}

/* ---- the last map of precopy ---- */

/* Of a host page all goes or nothing. */
static void fill_host_pages(DirtyMap *d, DirtyBlock *db)
{
    uint64_t step = push_host_pages(db), pages = push_block_pages(db);

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
    p->hint = PUSH_NO_HINT;
    p->main = walk_new_main(p);
    p->urgent_sink = ram_sink_stream_new();
    p->queue = g_array_new(FALSE, FALSE, sizeof(PushPosition));
    g_mutex_init(&p->lock);
    g_mutex_init(&p->urgent_lock);
    return p;
}

void postcopy_push_free(PostcopyPush *p)
{
    if (p) {
        postcopy_walk_free(p->main);
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

void postcopy_push_discards(PostcopyPush *p, QEMUFile *f)
{
    for (unsigned i = 0; i < p->dirty->n; i++) {
        const DirtyBlock *db = &p->dirty->blocks[i];
        uint64_t pages = push_block_pages(db), page = find_next_bit(db->map, pages, 0);
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

void push_count(PostcopyPush *p, uint64_t bytes)
{
    stat_add(&p->counters->ram_bytes, bytes);
    stat_add(&p->counters->postcopy_bytes, bytes);
    stat_set(&p->counters->ram_remaining, postcopy_push_left(p) << TARGET_PAGE_BITS);
}

/* Claimed pages somebody waits for, at once, each on its own merits. */
static bool send_urgent(PostcopyPush *p, RamSink *sink, QEMUFile *f, DirtyBlock *db, uint64_t first,
                        uint64_t n, GError **errp)
{
    uint64_t before = qemu_file_transferred(f);

    for (uint64_t page = first; page < first + n; page++) {
        bool zero = push_page_is_zero(db, page);
        bool ok = zero ? sink->ops->send_zero_run(sink, f, db->block, page, 1, errp)
                       : sink->ops->send_run(sink, f, db->block, page, 1, errp);

        if (!ok) {
            return false;
        }
        stat_add(zero ? &p->counters->zero_pages : &p->counters->normal_pages, 1);
    }
    qemu_fflush(f);
    push_count(p, qemu_file_transferred(f) - before);
    if (!qemu_file_check(f, errp)) {
        return false;
    }
    if (push_releases(p)) {
        postcopy_release_now(p->release, db, first, n);
    }
    return true;
}

static void set_hint(PostcopyPush *p, const DirtyBlock *db, uint64_t page)
{
    uint64_t block = db - p->dirty->blocks;

    __atomic_store_n(&p->hint, block << 40 | page, __ATOMIC_RELAXED);
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
    p->queue = g_array_new(FALSE, FALSE, sizeof(PushPosition));
    __atomic_store_n(&p->queued, false, __ATOMIC_RELEASE);
    g_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < taken->len; i++) {
        PushPosition at = g_array_index(taken, PushPosition, i);
        DirtyBlock *db = &p->dirty->blocks[at.block];

        if (push_claim_host_page(p, db, at.page) &&
            !send_urgent(p, walk_sink(p->main), f, db, at.page, push_host_pages(db), errp)) {
            return false;
        }
    }
    return true;
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
        if (!postcopy_walk_on(p->main, f, all ? BITS_PER_LONG : postcopy_walk_step(f), &sent,
                              errp)) {
            return ITERATE_ERROR;
        }
    }
    qemu_put_be64(f, RAM_FLAG_EOS);
    push_count(p, RAM_WORD_BYTES);
    if (push_releases(p)) {
        walk_flush_released(p->main, f);
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
    return p->again && push_host_pages(db) == 1;
}

static bool send_at_once(PostcopyPush *p, DirtyBlock *db, uint64_t page, GError **errp)
{
    bool ok;

    g_mutex_lock(&p->urgent_lock);
    ok = p->urgent_over ||
         send_urgent(p, p->urgent_sink, p->urgent_file, db, page, push_host_pages(db), errp);
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
    for (uint64_t page = first; page < end; page += push_host_pages(db)) {
        /* What is not left is on its way. */
        if (push_next_left(db, page) == page) {
            PushPosition at = {db - p->dirty->blocks, page};

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
    for (uint64_t page = first; p->urgent_file && page < end; page += push_host_pages(db)) {
        if ((push_claim_host_page(p, db, page) || may_send_again(p, db)) &&
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
        left += bitmap_count(p->dirty->blocks[i].map, 0, push_block_pages(&p->dirty->blocks[i]));
    }
    __atomic_store_n(&p->left, left, __ATOMIC_RELAXED);
    g_array_set_size(p->queue, 0);
    __atomic_store_n(&p->queued, false, __ATOMIC_RELEASE);
    p->last_block = NULL;
    p->hint = PUSH_NO_HINT;
    walk_restart(p->main);
    p->urgent_sink->ops->forget_block(p->urgent_sink);
    stat_set(&p->counters->ram_remaining, left << TARGET_PAGE_BITS);
}

bool postcopy_push_block(const PostcopyPush *p, unsigned i, const char **name, uint64_t *bits)
{
    if (i >= p->dirty->n) {
        return false;
    }
    *name = p->dirty->blocks[i].block->idstr;
    *bits = push_block_pages(&p->dirty->blocks[i]);
    return true;
}

bool postcopy_push_set_received(PostcopyPush *p, const char *block, const unsigned long *received,
                                GError **errp)
{
    DirtyBlock *db = requested_block(p, block, errp);

    if (!db) {
        return false;
    }
    for (uint64_t word = 0; word < BITS_TO_LONGS(push_block_pages(db)); word++) {
        db->map[word] = ~received[word] & word_mask(word, 0, push_block_pages(db));
    }
    return true;
}
