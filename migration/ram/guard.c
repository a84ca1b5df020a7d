/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/ram/guard.h"
#include <poll.h>
#include <sys/eventfd.h>
#include "migration/ram/dirty.h"
#include "util/userfaultfd.h"

#define CHUNK_BYTES (GUARD_CHUNK_PAGES * TARGET_PAGE_SIZE)
#define MAX_COPIES  512

enum { GUARD_ON, GUARD_CLAIMED, GUARD_COPYING, GUARD_FREE };

typedef struct {
    RAMBlock *block;
    uint64_t pages;
    bool guarded;   /* else a ROM: does not change */
    uint8_t *state; /* per chunk, atomic */
    unsigned long *untouched;
} GuardBlock;

typedef struct {
    GuardBlock *gb;
    uint64_t chunk;
    uint8_t *bytes;
} Copy;

typedef struct {
    GuardBlock *gb;
    uint64_t first, count; /* pages */
} Claim;

struct RamGuard {
    int uffd, wake;
    unsigned n;
    GuardBlock *blocks;
    GThread *thread;

    GMutex lock;        /* protects all down to error */
    GCond room;         /* for the fault thread: a buffer is free, or stop */
    GQueue waiting;     /* Copy, oldest first */
    GPtrArray *buffers; /* free ones */
    unsigned n_buffers; /* all */
    unsigned copying;
    GuardBlock *ahead_block; /* where a writer will get to next; NULL: nobody knows */
    uint64_t ahead_chunk;
    bool stop;
    GError *error;

    /* Sender. */
    GArray *seen;   /* Copy, handed out */
    GArray *claims; /* Claim */
};

static GuardBlock *find_block(const RamGuard *g, const RAMBlock *block)
{
    for (unsigned i = 0; i < g->n; i++) {
        if (g->blocks[i].block == block) {
            return &g->blocks[i];
        }
    }
    g_assert_not_reached();
}

static uint64_t chunk_pages(const GuardBlock *gb, uint64_t chunk)
{
    return MIN(GUARD_CHUNK_PAGES, gb->pages - chunk * GUARD_CHUNK_PAGES);
}

static uint8_t *page_host(const GuardBlock *gb, uint64_t page)
{
    return gb->block->host + (page << TARGET_PAGE_BITS);
}

static bool change_state(GuardBlock *gb, uint64_t chunk, uint8_t from, uint8_t to)
{
    return __atomic_compare_exchange_n(&gb->state[chunk], &from, to, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
}

/* ---- writers ---- */

/* NULL: the guard ends. */
static uint8_t *get_buffer(RamGuard *g)
{
    uint8_t *buffer = NULL;

    g_mutex_lock(&g->lock);
    while (!g->stop && !g->buffers->len && g->n_buffers == MAX_COPIES) {
        g_cond_wait(&g->room, &g->lock);
    }
    if (!g->stop) {
        if (g->buffers->len) {
            buffer = g_ptr_array_steal_index_fast(g->buffers, g->buffers->len - 1);
        } else {
            g->n_buffers++;
            buffer = g_aligned_alloc(1, CHUNK_BYTES, TARGET_PAGE_SIZE);
        }
    }
    g_mutex_unlock(&g->lock);
    return buffer;
}

/* Reading an untouched page would populate it. */
static void copy_touched(const GuardBlock *gb, uint64_t chunk, uint8_t *buffer)
{
    uint64_t first = chunk * GUARD_CHUNK_PAGES, end = first + chunk_pages(gb, chunk);
    uint64_t page = find_next_zero_bit(gb->untouched, end, first);

    while (page < end) {
        uint64_t until = find_next_bit(gb->untouched, end, page);

        memcpy(buffer + ((page - first) << TARGET_PAGE_BITS), page_host(gb, page),
               (until - page) << TARGET_PAGE_BITS);
        page = find_next_zero_bit(gb->untouched, end, until);
    }
}

static void note_error(RamGuard *g, GError *err)
{
    g_mutex_lock(&g->lock);
    if (g->error) {
        g_error_free(err);
    } else {
        g->error = err;
    }
    g_mutex_unlock(&g->lock);
}

static void let_write(RamGuard *g, const GuardBlock *gb, uint64_t first, uint64_t count)
{
    GError *err = NULL;

    if (!uffd_protect(g->uffd, page_host(gb, first), count << TARGET_PAGE_BITS, false, &err)) {
        note_error(g, err);
    }
}

static void copy_chunk(RamGuard *g, GuardBlock *gb, uint64_t chunk)
{
    uint8_t *buffer = get_buffer(g);
    Copy *copy;

    if (!buffer) {
        return;
    }
    copy_touched(gb, chunk, buffer);
    copy = g_new(Copy, 1);
    *copy = (Copy){gb, chunk, buffer};
    g_mutex_lock(&g->lock);
    g_queue_push_tail(&g->waiting, copy);
    g->copying--;
    g_mutex_unlock(&g->lock);
    __atomic_store_n(&gb->state[chunk], GUARD_FREE, __ATOMIC_RELEASE);
    let_write(g, gb, chunk * GUARD_CHUNK_PAGES, chunk_pages(gb, chunk));
}

/* A chunk was written, the one before it was no longer guarded: somebody goes through memory in
 * order, most likely. */
static void look_ahead(RamGuard *g, GuardBlock *gb, uint64_t chunk)
{
    if (chunk > 0 && __atomic_load_n(&gb->state[chunk - 1], __ATOMIC_RELAXED) != GUARD_ON) {
        g->ahead_block = gb;
        g->ahead_chunk = chunk + 1;
    }
}

/* copying goes up before the chunk is taken: ram_guard_quiet() must not miss it. */
static bool take_to_copy(RamGuard *g, GuardBlock *gb, uint64_t chunk)
{
    bool taken;

    g_mutex_lock(&g->lock);
    taken = change_state(gb, chunk, GUARD_ON, GUARD_COPYING);
    if (taken) {
        g->copying++;
        look_ahead(g, gb, chunk);
    }
    g_mutex_unlock(&g->lock);
    return taken;
}

static void serve(RamGuard *g, uint64_t address)
{
    for (unsigned i = 0; i < g->n; i++) {
        GuardBlock *gb = &g->blocks[i];
        uint64_t page = (address - (uintptr_t)gb->block->host) >> TARGET_PAGE_BITS;
        uint64_t chunk = page / GUARD_CHUNK_PAGES;

        if (page >= gb->pages) {
            continue;
        }
        if (take_to_copy(g, gb, chunk)) {
            copy_chunk(g, gb, chunk);
        } else if (__atomic_load_n(&gb->state[chunk], __ATOMIC_ACQUIRE) == GUARD_FREE) {
            let_write(g, gb, page, 1); /* freed while the fault was on its way */
        }
        /* Claimed: the release wakes. */
        return;
    }
}

static gpointer guard_thread(gpointer opaque)
{
    RamGuard *g = opaque;
    struct pollfd fds[2] = {{.fd = g->uffd, .events = POLLIN}, {.fd = g->wake, .events = POLLIN}};
    UffdFault faults[16];
    GError *err = NULL;
    int n = 0;

    while (n >= 0) {
        poll(fds, ARRAY_SIZE(fds), -1);
        if (fds[1].revents) {
            break;
        }
        n = uffd_read(g->uffd, faults, ARRAY_SIZE(faults), &err);
        for (int i = 0; i < n; i++) {
            serve(g, faults[i].address);
        }
    }
    if (err) {
        note_error(g, err);
    }
    return NULL;
}

/* ---- the moment ---- */

bool ram_guard_possible(GError **errp)
{
    unsigned features;

    if (!uffd_probe(&features, errp)) {
        return false;
    }
    if (!(features & UFFD_CAN_WRITE_PROTECT)) {
        error_setg(errp, "the kernel cannot protect memory against writing (userfaultfd)");
        return false;
    }
    return true;
}

static bool add_block(RamGuard *g, RAMBlock *block, GError **errp)
{
    GuardBlock *gb = &g->blocks[g->n++];

    gb->block = block;
    gb->pages = ram_block_pages(block);
    gb->guarded = !(block->flags & RAM_READONLY);
    gb->state = g_malloc0(DIV_ROUND_UP(gb->pages, GUARD_CHUNK_PAGES));
    gb->untouched = bitmap_try_new(gb->pages);
    if (!gb->untouched) {
        error_setg(errp, "not enough memory for the bitmap of RAM block '%s'", block->idstr);
        return false;
    }
    if (gb->guarded && block->page_size != TARGET_PAGE_SIZE) {
        error_setg(errp, "RAM block '%s' has huge pages, which cannot be guarded", block->idstr);
        return false;
    }
    if (gb->guarded &&
        !uffd_register(g->uffd, block->host, block->used_length, UFFD_WRITE_PROTECT, errp)) {
        g_prefix_error(errp, "RAM block '%s': ", block->idstr);
        return false;
    }
    return true;
}

static bool open_guard(RamGuard *g, RAMList *list, bool ignore_shared, GError **errp)
{
    unsigned features, n = 0;

    if (!uffd_probe(&features, errp)) {
        return false;
    }
    g->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (g->wake < 0) {
        error_setg_errno(errp, errno, "Unable to create an event descriptor");
        return false;
    }
    g->uffd = uffd_open(features & (UFFD_CAN_WRITE_PROTECT | UFFD_CAN_PROTECT_SHARED), errp);
    if (g->uffd < 0) {
        return false;
    }
    RAMBLOCK_FOREACH (block, list) {
        n++;
    }
    g->blocks = g_new0(GuardBlock, n);
    RAMBLOCK_FOREACH (block, list) {
        if (!ram_block_ignored(block, ignore_shared) && !add_block(g, block, errp)) {
            return false;
        }
    }
    return true;
}

RamGuard *ram_guard_new(RAMList *list, bool ignore_shared, GError **errp)
{
    RamGuard *g = g_new0(RamGuard, 1);

    g->uffd = g->wake = -1;
    g_mutex_init(&g->lock);
    g_cond_init(&g->room);
    g_queue_init(&g->waiting);
    g->buffers = g_ptr_array_new_with_free_func(g_aligned_free);
    g->seen = g_array_new(false, false, sizeof(Copy));
    g->claims = g_array_new(false, false, sizeof(Claim));
    if (open_guard(g, list, ignore_shared, errp)) {
        g->thread = g_thread_try_new("ram-guard", guard_thread, g, errp);
    }
    if (!g->thread) {
        g_clear_pointer(&g, ram_guard_free);
    }
    return g;
}

bool ram_guard_protect(RamGuard *g, GError **errp)
{
    for (unsigned i = 0; i < g->n; i++) {
        GuardBlock *gb = &g->blocks[i];

        g_mutex_lock(&g->lock); /* which serve() takes before it looks */
        ram_block_find_untouched(gb->block, 0, gb->pages, gb->untouched);
        g_mutex_unlock(&g->lock);
        if (gb->guarded &&
            !uffd_protect(g->uffd, gb->block->host, gb->block->used_length, true, errp)) {
            return false; /* the caller gives up; closing takes the others off */
        }
    }
    return true;
}

/* ---- the sender ---- */

bool ram_guard_next_copy(RamGuard *g, GuardCopy *out)
{
    Copy *copy;

    g_mutex_lock(&g->lock);
    copy = g_queue_pop_head(&g->waiting);
    g_mutex_unlock(&g->lock);
    if (!copy) {
        return false;
    }
    *out = (GuardCopy){copy->gb->block, copy->chunk * GUARD_CHUNK_PAGES,
                       chunk_pages(copy->gb, copy->chunk), copy->bytes};
    g_array_append_val(g->seen, *copy);
    g_free(copy);
    return true;
}

void ram_guard_copies_left(RamGuard *g)
{
    g_mutex_lock(&g->lock);
    for (unsigned i = 0; i < g->seen->len; i++) {
        g_ptr_array_add(g->buffers, g_array_index(g->seen, Copy, i).bytes);
    }
    g_array_set_size(g->seen, 0);
    g_cond_broadcast(&g->room);
    g_mutex_unlock(&g->lock);
}

RAMBlock *ram_guard_ahead(RamGuard *g, uint64_t *first)
{
    GuardBlock *gb;

    g_mutex_lock(&g->lock);
    gb = g_steal_pointer(&g->ahead_block);
    *first = g->ahead_chunk * GUARD_CHUNK_PAGES;
    g_mutex_unlock(&g->lock);
    return gb && *first < gb->pages ? gb->block : NULL;
}

uint64_t ram_guard_claim(RamGuard *g, RAMBlock *block, uint64_t first, uint64_t max)
{
    GuardBlock *gb = find_block(g, block);
    uint64_t page = first, end = first + max;

    g_assert(first % GUARD_CHUNK_PAGES == 0 && end <= gb->pages);
    while (page < end && change_state(gb, page / GUARD_CHUNK_PAGES, GUARD_ON, GUARD_CLAIMED)) {
        page += chunk_pages(gb, page / GUARD_CHUNK_PAGES);
    }
    if (page > first) {
        Claim claim = {gb, first, page - first};

        g_array_append_val(g->claims, claim);
    }
    return page - first;
}

bool ram_guard_release(RamGuard *g, GError **errp)
{
    for (unsigned i = 0; i < g->claims->len; i++) {
        const Claim *c = &g_array_index(g->claims, Claim, i);

        for (uint64_t page = c->first; page < c->first + c->count; page += GUARD_CHUNK_PAGES) {
            __atomic_store_n(&c->gb->state[page / GUARD_CHUNK_PAGES], GUARD_FREE, __ATOMIC_RELEASE);
        }
        if (c->gb->guarded) {
            let_write(g, c->gb, c->first, c->count);
        }
    }
    g_array_set_size(g->claims, 0);
    return ram_guard_check(g, errp);
}

uint64_t ram_guard_same(const RamGuard *g, const RAMBlock *block, uint64_t first, uint64_t max,
                        bool *untouched)
{
    const unsigned long *map = find_block(g, block)->untouched;

    *untouched = test_bit(first, map);
    return (*untouched ? find_next_zero_bit(map, first + max, first)
                       : find_next_bit(map, first + max, first)) -
           first;
}

bool ram_guard_quiet(RamGuard *g)
{
    bool quiet;

    g_mutex_lock(&g->lock);
    quiet = !g->copying && g_queue_is_empty(&g->waiting);
    g_mutex_unlock(&g->lock);
    return quiet;
}

bool ram_guard_check(RamGuard *g, GError **errp)
{
    bool ok;

    g_mutex_lock(&g->lock);
    ok = !g->error;
    if (!ok) {
        g_propagate_error(errp, g_error_copy(g->error));
    }
    g_mutex_unlock(&g->lock);
    return ok;
}

/* ---- the end ---- */

static void free_copy(void *opaque)
{
    Copy *copy = opaque;

    g_aligned_free(copy->bytes);
    g_free(copy);
}

void ram_guard_free(RamGuard *g)
{
    if (!g) {
        return;
    }
    g_mutex_lock(&g->lock);
    g->stop = true;
    g_cond_broadcast(&g->room);
    g_mutex_unlock(&g->lock);
    if (g->thread) {
        eventfd_write(g->wake, 1);
        g_thread_join(g->thread);
    }
    if (g->uffd >= 0) {
        close(g->uffd); /* takes the protection off, wakes the writers */
    }
    if (g->wake >= 0) {
        close(g->wake);
    }
    ram_guard_copies_left(g);
    g_queue_clear_full(&g->waiting, free_copy);
    for (unsigned i = 0; i < g->n; i++) {
        g_free(g->blocks[i].state);
        g_free(g->blocks[i].untouched);
    }
    g_free(g->blocks);
    g_ptr_array_unref(g->buffers);
    g_array_unref(g->seen);
    g_array_unref(g->claims);
    g_clear_error(&g->error);
    g_cond_clear(&g->room);
    g_mutex_clear(&g->lock);
    g_free(g);
}
