/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/ram/lazy.h"
#include <poll.h>
#include <sys/eventfd.h>
#include "util/userfaultfd.h"

#define CHUNK_PAGES UINT64_C(32)
#define CHUNK_BYTES (CHUNK_PAGES * TARGET_PAGE_SIZE)
/* A prefetcher takes this many neighbours at once. */
#define GROUP_CHUNKS    8
#define MAX_PREFETCHERS 4
#define MAX_STUCK       64
#define RETRY_MS        500

enum { CHUNK_ABSENT, CHUNK_COMING, CHUNK_HERE };

typedef struct {
    RAMBlock *block;
    uint64_t pages, pages_offset;
    unsigned long *map;
    uint8_t *state; /* per chunk, atomic */
    uint64_t chunks;
} LazyBlock;

typedef struct {
    LazyBlock *lb;
    uint64_t chunk;
    uint32_t thread;
} Stuck;

struct RamLazy {
    QIOChannel *pages;
    RamLazyEvents events;
    void *opaque;
    int uffd, wake; /* @wake: an eventfd that ends the fault thread's sleep */
    unsigned max_blocks;
    unsigned n; /* atomic: blocks[0..n) are complete */
    LazyBlock *blocks;
    uint64_t left;       /* atomic: chunks with data that are not here */
    uint64_t bytes_read; /* atomic */
    bool all_added;      /* atomic: no more blocks */
    bool stop;           /* atomic */
    GThread *fault_thread;
    unsigned n_prefetchers;
    GThread *prefetchers[MAX_PREFETCHERS];
    uint64_t cursor; /* atomic: the next group, counted over all blocks */
    uint64_t hint;   /* atomic: group + 1 of the last fault, 0: none */
    GMutex sleep_lock;
    GCond sleep; /* for prefetchers that have nothing to do; with stop */

    /* Fault thread. */
    uint8_t *buffer;
    Stuck stuck[MAX_STUCK];
    unsigned n_stuck;
};

bool ram_lazy_can(const RAMBlock *block)
{
    return block->page_size == TARGET_PAGE_SIZE && block->fd < 0 &&
           !(block->flags & (RAM_SHARED | RAM_READONLY));
}

static uint8_t chunk_state(const LazyBlock *lb, uint64_t chunk)
{
    return __atomic_load_n(&lb->state[chunk], __ATOMIC_ACQUIRE);
}

static bool take_chunk(LazyBlock *lb, uint64_t chunk)
{
    uint8_t absent = CHUNK_ABSENT;

    return __atomic_compare_exchange_n(&lb->state[chunk], &absent, CHUNK_COMING, false,
                                       __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static uint64_t chunk_end(const LazyBlock *lb, uint64_t chunk)
{
    return MIN((chunk + 1) * CHUNK_PAGES, lb->pages);
}

static bool chunk_has_data(const LazyBlock *lb, uint64_t chunk)
{
    uint64_t end = chunk_end(lb, chunk);

    return find_next_bit(lb->map, end, chunk * CHUNK_PAGES) < end;
}

/* ---- placing ---- */

/* [first, end) from the file, or zeros. @buffer holds as much. */
static bool place(RamLazy *l, LazyBlock *lb, uint64_t first, uint64_t end, uint8_t *buffer,
                  GError **errp)
{
    while (first < end) {
        bool data = test_bit(first, lb->map);
        uint64_t until =
            data ? find_next_zero_bit(lb->map, end, first) : find_next_bit(lb->map, end, first);
        uint64_t len = (until - first) << TARGET_PAGE_BITS, at = first << TARGET_PAGE_BITS;
        uint8_t *host = lb->block->host + at;
        struct iovec iov = {buffer, len};

        if (!data) {
            if (!uffd_zero(l->uffd, host, len, TARGET_PAGE_SIZE, errp)) {
                return false;
            }
        } else if (!io_channel_preadv_all(l->pages, &iov, 1, lb->pages_offset + at, errp) ||
                   !uffd_copy(l->uffd, host, buffer, len, TARGET_PAGE_SIZE, errp)) {
            g_prefix_error(errp, "RAM block '%s', page 0x%" PRIx64 " at file offset %" PRIu64 ": ",
                           lb->block->idstr, first, lb->pages_offset + at);
            return false;
        } else {
            __atomic_fetch_add(&l->bytes_read, len, __ATOMIC_RELAXED);
        }
        first = until;
    }
    return true;
}

static void wake_fault_thread(RamLazy *l)
{
    eventfd_write(l->wake, 1);
}

/* A taken chunk, placed or given back. */
static bool fill_chunk(RamLazy *l, LazyBlock *lb, uint64_t chunk, uint8_t *buffer, GError **errp)
{
    bool ok = place(l, lb, chunk * CHUNK_PAGES, chunk_end(lb, chunk), buffer, errp);

    __atomic_store_n(&lb->state[chunk], ok ? CHUNK_HERE : CHUNK_ABSENT, __ATOMIC_RELEASE);
    if (ok && chunk_has_data(lb, chunk) && __atomic_sub_fetch(&l->left, 1, __ATOMIC_ACQ_REL) == 0) {
        wake_fault_thread(l); /* it looks whether that was the last */
    }
    return ok;
}

/* ---- faults ---- */

static LazyBlock *find_address(RamLazy *l, uint64_t address, uint64_t *page)
{
    for (unsigned i = 0; i < __atomic_load_n(&l->n, __ATOMIC_ACQUIRE); i++) {
        LazyBlock *lb = &l->blocks[i];
        uint64_t offset = address - (uintptr_t)lb->block->host;

        if (offset >> TARGET_PAGE_BITS < lb->pages) {
            *page = offset >> TARGET_PAGE_BITS;
            return lb;
        }
    }
    return NULL;
}

static uint64_t first_group(const RamLazy *l, const LazyBlock *lb)
{
    uint64_t group = 0;

    for (const LazyBlock *b = l->blocks; b < lb; b++) {
        group += DIV_ROUND_UP(b->chunks, GROUP_CHUNKS);
    }
    return group;
}

static void note_stuck(RamLazy *l, LazyBlock *lb, uint64_t chunk, uint32_t thread, GError *err)
{
    for (unsigned i = 0; i < l->n_stuck; i++) {
        if (l->stuck[i].thread == thread) {
            g_error_free(err);
            return;
        }
    }
    if (l->n_stuck < MAX_STUCK) {
        l->stuck[l->n_stuck++] = (Stuck){lb, chunk, thread};
    }
    l->events.stuck(l->opaque, thread, err);
}

static void serve(RamLazy *l, const UffdFault *fault)
{
    GError *err = NULL;
    uint64_t page, chunk;
    LazyBlock *lb = find_address(l, fault->address, &page);

    if (!lb) {
        return;
    }
    chunk = page / CHUNK_PAGES;
    if (take_chunk(lb, chunk)) {
        if (!fill_chunk(l, lb, chunk, l->buffer, &err)) {
            note_stuck(l, lb, chunk, fault->thread, err);
        }
        __atomic_store_n(&l->hint, first_group(l, lb) + chunk / GROUP_CHUNKS + 1, __ATOMIC_RELAXED);
    } else if (chunk_state(lb, chunk) == CHUNK_HERE) {
        /* It has come meanwhile, or was given back to the kernel (balloon) since. */
        uffd_zero(l->uffd, lb->block->host + (page << TARGET_PAGE_BITS), TARGET_PAGE_SIZE,
                  TARGET_PAGE_SIZE, NULL);
    }
    /* Coming: whoever places it wakes the sleeper; should that fail, see retry_absent(). */
}

/* Everybody who sleeps on a chunk that is absent again faults anew, and is told of. */
static void wake_all(RamLazy *l)
{
    for (unsigned i = 0; i < __atomic_load_n(&l->n, __ATOMIC_ACQUIRE); i++) {
        RAMBlock *block = l->blocks[i].block;

        uffd_wake(l->uffd, block->host, block->used_length, NULL);
    }
}

/* Without placing anything: a sleeper shall be known as awake before it is. */
static bool readable(RamLazy *l, const Stuck *s, GError **errp)
{
    uint64_t first = s->chunk * CHUNK_PAGES, n = chunk_end(s->lb, s->chunk) - first;
    struct iovec iov = {l->buffer, n << TARGET_PAGE_BITS};

    return io_channel_preadv_all(l->pages, &iov, 1,
                                 s->lb->pages_offset + (first << TARGET_PAGE_BITS), errp);
}

static void retry_stuck(RamLazy *l)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < l->n_stuck; i++) {
        Stuck s = l->stuck[i];
        GError *err = NULL;

        if (readable(l, &s, &err)) {
            l->events.unstuck(l->opaque, s.thread);
        } else {
            l->stuck[kept++] = s;
            l->events.stuck(l->opaque, s.thread, err);
        }
    }
    l->n_stuck = kept;
    wake_all(l);
}

static void finish(RamLazy *l)
{
    for (unsigned i = 0; i < l->n; i++) {
        uffd_unregister(l->uffd, l->blocks[i].block->host, l->blocks[i].block->used_length);
    }
    l->events.complete(l->opaque, __atomic_load_n(&l->bytes_read, __ATOMIC_RELAXED));
}

static gpointer fault_thread(gpointer opaque)
{
    RamLazy *l = opaque;
    struct pollfd fds[2] = {{.fd = l->uffd, .events = POLLIN}, {.fd = l->wake, .events = POLLIN}};
    UffdFault faults[16];

    while (!__atomic_load_n(&l->stop, __ATOMIC_ACQUIRE)) {
        GError *err = NULL;
        int n;

        poll(fds, ARRAY_SIZE(fds), l->n_stuck ? RETRY_MS : -1);
        if (fds[1].revents) {
            eventfd_t value;

            eventfd_read(l->wake, &value);
        }
        while ((n = uffd_read(l->uffd, faults, ARRAY_SIZE(faults), &err)) > 0) {
            for (int i = 0; i < n; i++) {
                serve(l, &faults[i]);
            }
        }
        g_clear_error(&err);
        if (l->n_stuck && l->events.retry(l->opaque)) {
            retry_stuck(l);
        }
        if (__atomic_load_n(&l->all_added, __ATOMIC_ACQUIRE) &&
            !__atomic_load_n(&l->left, __ATOMIC_ACQUIRE) && !l->n_stuck) {
            finish(l);
            break;
        }
    }
    return NULL;
}

/* ---- reading ahead ---- */

static LazyBlock *group_at(RamLazy *l, uint64_t group, uint64_t *first_chunk)
{
    for (unsigned i = 0; i < l->n; i++) {
        uint64_t groups = DIV_ROUND_UP(l->blocks[i].chunks, GROUP_CHUNKS);

        if (group < groups) {
            *first_chunk = group * GROUP_CHUNKS;
            return &l->blocks[i];
        }
        group -= groups;
    }
    return NULL;
}

/* Chunks with data among [chunk, end) that could be taken, from @chunk on. */
static uint64_t take_run(LazyBlock *lb, uint64_t chunk, uint64_t end)
{
    while (chunk < end && chunk_has_data(lb, chunk) && take_chunk(lb, chunk)) {
        chunk++;
    }
    return chunk;
}

static bool fetch_group(RamLazy *l, LazyBlock *lb, uint64_t chunk, uint8_t *buffer)
{
    uint64_t end = MIN(chunk + GROUP_CHUNKS, lb->chunks);
    bool ok = true;

    while (chunk < end && !__atomic_load_n(&l->stop, __ATOMIC_RELAXED)) {
        uint64_t until = take_run(lb, chunk, end);
        bool placed = until > chunk &&
                      place(l, lb, chunk * CHUNK_PAGES, chunk_end(lb, until - 1), buffer, NULL);

        ok &= placed || until == chunk;
        for (uint64_t c = chunk; c < until; c++) {
            __atomic_store_n(&lb->state[c], placed ? CHUNK_HERE : CHUNK_ABSENT, __ATOMIC_RELEASE);
        }
        if (placed && __atomic_sub_fetch(&l->left, until - chunk, __ATOMIC_ACQ_REL) == 0) {
            wake_fault_thread(l);
        } else if (until > chunk && !placed) {
            wake_all(l);
        }
        chunk = MAX(until, chunk + 1);
    }
    return ok;
}

/* What could not be read may be readable later. */
static void rest(RamLazy *l)
{
    int64_t end = g_get_monotonic_time() + G_USEC_PER_SEC;

    g_mutex_lock(&l->sleep_lock);
    while (!l->stop && g_cond_wait_until(&l->sleep, &l->sleep_lock, end)) {
    }
    g_mutex_unlock(&l->sleep_lock);
}

static gpointer prefetch_thread(gpointer opaque)
{
    RamLazy *l = opaque;
    uint8_t *buffer = g_aligned_alloc(GROUP_CHUNKS, CHUNK_BYTES, TARGET_PAGE_SIZE);

    while (!__atomic_load_n(&l->stop, __ATOMIC_ACQUIRE) &&
           __atomic_load_n(&l->left, __ATOMIC_ACQUIRE)) {
        /* Next to the last fault first: what is beside it will be wanted. */
        uint64_t hint = __atomic_exchange_n(&l->hint, 0, __ATOMIC_RELAXED);
        uint64_t group = hint ? hint - 1 : __atomic_fetch_add(&l->cursor, 1, __ATOMIC_RELAXED);
        uint64_t chunk;
        LazyBlock *lb = group_at(l, group, &chunk);

        if (lb) {
            fetch_group(l, lb, chunk, buffer);
        } else {
            rest(l); /* the others are at the last groups, or some could not be read */
            __atomic_store_n(&l->cursor, 0, __ATOMIC_RELAXED);
        }
    }
    g_aligned_free(buffer);
    return NULL;
}

void ram_lazy_prefetch(RamLazy *l, unsigned threads)
{
    unsigned n = CLAMP(threads, 1, MAX_PREFETCHERS);

    for (unsigned i = 0; i < n; i++) {
        GThread *t = g_thread_try_new("prefetch", prefetch_thread, l, NULL);

        if (t) {
            l->prefetchers[l->n_prefetchers++] = t;
        }
    }
    __atomic_store_n(&l->all_added, true, __ATOMIC_RELEASE);
    wake_fault_thread(l); /* there may be nothing to read */
}

/* ---- start and end ---- */

bool ram_lazy_add(RamLazy *l, RAMBlock *block, unsigned long *map, uint64_t pages_offset,
                  GError **errp)
{
    LazyBlock *lb = &l->blocks[l->n];
    bool twice = l->n == l->max_blocks;

    for (unsigned i = 0; i < l->n; i++) {
        twice |= l->blocks[i].block == block;
    }
    if (twice) {
        g_free(map);
        error_setg(errp, "the block is listed twice");
        return false;
    }
    *lb = (LazyBlock){
        .block = block,
        .pages = ram_block_pages(block),
        .pages_offset = pages_offset,
        .map = map,
        .chunks = DIV_ROUND_UP(ram_block_pages(block), CHUNK_PAGES),
    };
    lb->state = g_malloc0(lb->chunks);
    for (uint64_t c = 0; c < lb->chunks; c++) {
        __atomic_fetch_add(&l->left, chunk_has_data(lb, c), __ATOMIC_RELAXED);
    }
    __atomic_store_n(&l->n, l->n + 1, __ATOMIC_RELEASE); /* before the first fault */
    return ram_block_discard(block, 0, block->used_length, errp) &&
           uffd_register(l->uffd, block->host, block->used_length, UFFD_MISSING, errp);
}

RamLazy *ram_lazy_new(QIOChannel *pages, unsigned max_blocks, const RamLazyEvents *events,
                      void *opaque, GError **errp)
{
    RamLazy *l = g_new0(RamLazy, 1);
    unsigned features = 0;

    l->uffd = l->wake = -1;
    l->pages = g_object_ref(pages);
    l->events = *events;
    l->opaque = opaque;
    l->max_blocks = max_blocks;
    l->blocks = g_new0(LazyBlock, max_blocks);
    l->buffer = g_aligned_alloc(1, CHUNK_BYTES, TARGET_PAGE_SIZE);
    g_mutex_init(&l->sleep_lock);
    g_cond_init(&l->sleep);
    l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->wake < 0) {
        error_setg_errno(errp, errno, "Unable to create an event descriptor");
    } else if (uffd_probe(&features, errp)) {
        l->uffd = uffd_open(features & UFFD_CAN_THREAD_ID, errp);
    }
    if (l->uffd >= 0) {
        l->fault_thread = g_thread_try_new("lazy-faults", fault_thread, l, errp);
    }
    if (!l->fault_thread) {
        g_clear_pointer(&l, ram_lazy_free);
    }
    return l;
}

void ram_lazy_free(RamLazy *l)
{
    if (!l) {
        return;
    }
    g_mutex_lock(&l->sleep_lock);
    __atomic_store_n(&l->stop, true, __ATOMIC_RELEASE);
    g_cond_broadcast(&l->sleep);
    g_mutex_unlock(&l->sleep_lock);
    if (l->fault_thread) {
        wake_fault_thread(l);
        g_thread_join(l->fault_thread);
    }
    for (unsigned i = 0; i < l->n_prefetchers; i++) {
        g_thread_join(l->prefetchers[i]);
    }
    if (l->uffd >= 0) {
        close(l->uffd); /* unregisters, wakes */
    }
    if (l->wake >= 0) {
        close(l->wake);
    }
    for (unsigned i = 0; i < l->n; i++) {
        g_free(l->blocks[i].map);
        g_free(l->blocks[i].state);
    }
    g_cond_clear(&l->sleep);
    g_mutex_clear(&l->sleep_lock);
    g_aligned_free(l->buffer);
    g_object_unref(l->pages);
    g_free(l->blocks);
    g_free(l);
}
