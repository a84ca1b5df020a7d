/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/postcopy/destination.h"
#include "migration/wire/postcopy.h"
#include "util/userfaultfd.h"

struct PostcopyDestination {
    RAMList *list;
    int state; /* atomic, PostcopyState */
    unsigned features;
    PostcopyPlace place;
    PostcopyLoader *main;
    PostcopyFaults *faults;
};

static const char *const state_names[] = {
    [POSTCOPY_ADVISED] = "advised",     [POSTCOPY_DISCARDING] = "discarding",
    [POSTCOPY_LISTENING] = "listening", [POSTCOPY_RUNNING] = "running",
    [POSTCOPY_ENDED] = "ended",
};

PostcopyState postcopy_destination_state(const PostcopyDestination *d)
{
    return __atomic_load_n(&d->state, __ATOMIC_ACQUIRE);
}

static void set_state(PostcopyDestination *d, PostcopyState state)
{
    __atomic_store_n(&d->state, state, __ATOMIC_RELEASE);
}

static bool expect_state(PostcopyDestination *d, const char *command, PostcopyState a,
                         PostcopyState b, GError **errp)
{
    PostcopyState now = postcopy_destination_state(d);

    if (now != a && now != b) {
        error_setg(errp, "Command '%s' in wrong postcopy state (%s)", command, state_names[now]);
        return false;
    }
    return true;
}

/* ---- what the host can do ---- */

/* Which features of userfaultfd the blocks need; false: a block that cannot be watched. */
static bool needed_features(RAMList *list, unsigned *needed, GError **errp)
{
    *needed = 0;
    RAMBLOCK_FOREACH_MIGRATABLE (block, list) {
        if (block->page_size != TARGET_PAGE_SIZE) {
            *needed |= UFFD_CAN_HUGETLB;
        } else if (block->flags & RAM_SHARED) {
            *needed |= UFFD_CAN_SHARED;
        }
        if (!ram_block_can_discard(block, errp)) {
            return false;
        }
    }
    return true;
}

static bool check_host(RAMList *list, unsigned *use, GError **errp)
{
    unsigned offered, needed;

    if (!needed_features(list, &needed, errp) || !uffd_probe(&offered, errp)) {
        return false;
    }
    if (needed & ~offered) {
        error_setg(errp, "userfaultfd of this kernel cannot watch %s",
                   needed & ~offered & UFFD_CAN_HUGETLB ? "huge pages" : "shared memory");
        return false;
    }
    *use = needed | (offered & UFFD_CAN_THREAD_ID);
    return true;
}

bool postcopy_host_check(RAMList *list, GError **errp)
{
    unsigned use;

    return check_host(list, &use, errp);
}

/* ---- advise ---- */

static bool same_pages(RAMList *list, const uint8_t *args, size_t len, GError **errp)
{
    PostcopyAdvise theirs, ours = {.target_page = TARGET_PAGE_SIZE};

    if (len != POSTCOPY_ADVISE_BYTES) {
        error_setg(errp,
                   "RAM postcopy is enabled but the source advises %zu bytes; set the "
                   "capability 'postcopy-ram' on both sides",
                   len);
        return false;
    }
    RAMBLOCK_FOREACH_MIGRATABLE (block, list) {
        ours.page_summary |= block->page_size;
    }
    postcopy_decode_advise(args, &theirs);
    if (theirs.page_summary != ours.page_summary) {
        error_setg(errp, "Postcopy needs matching RAM page sizes (s=%" PRIx64 " d=%" PRIx64 ")",
                   theirs.page_summary, ours.page_summary);
        return false;
    }
    if (theirs.target_page != ours.target_page) {
        error_setg(errp, "Postcopy needs matching target page sizes (s=%" PRIu64 " d=%" PRIu64 ")",
                   theirs.target_page, ours.target_page);
        return false;
    }
    return true;
}

PostcopyDestination *postcopy_destination_new(RAMList *list, const uint8_t *args, size_t len,
                                              GError **errp)
{
    PostcopyDestination *d;
    unsigned use;

    if (!same_pages(list, args, len, errp)) {
        return NULL;
    }
    if (!check_host(list, &use, errp)) {
        g_prefix_error(errp, "Postcopy is not supported: ");
        return NULL;
    }
    d = g_new0(PostcopyDestination, 1);
    d->list = list;
    d->features = use;
    d->place.uffd = -1;
    set_state(d, POSTCOPY_ADVISED);
    return d;
}

void postcopy_destination_free(PostcopyDestination *d)
{
    if (d) {
        postcopy_destination_end(d);
        postcopy_pages_clear(&d->place.pages);
        blocktime_free(d->place.blocktime);
        g_free(d);
    }
}

/* ---- discard ---- */

/*
 * From here to listening nothing may come into memory by itself: no helper that populates, no huge
 * page that covers small ones, or a stale page would look as if it had been received.
 */
static bool begin_discard(PostcopyDestination *d, PostcopyPrepare *prepare, void *opaque,
                          GError **errp)
{
    if (postcopy_destination_state(d) == POSTCOPY_DISCARDING) {
        return true;
    }
    if (!prepare(opaque, errp)) {
        return false;
    }
    RAMBLOCK_FOREACH_MIGRATABLE (block, d->list) {
        ram_block_allow_huge_pages(block, false);
        d->place.largest_page = MAX(d->place.largest_page, block->page_size);
    }
    set_state(d, POSTCOPY_DISCARDING);
    return postcopy_pages_init(&d->place.pages, d->list, errp);
}

static bool discard_range(PostcopyDestination *d, PostcopyBlock *pb, PostcopyRange r, GError **errp)
{
    if (!r.length || r.start >= pb->length || r.length > pb->length - r.start ||
        (r.start | r.length) % pb->block->page_size) {
        error_setg(errp,
                   "Bad range to discard: 0x%" PRIx64 " bytes at 0x%" PRIx64
                   " of RAM block '%s', which has 0x%" PRIx64 " in pages of 0x%" PRIx64,
                   r.length, r.start, pb->block->idstr, pb->length, pb->block->page_size);
        return false;
    }
    postcopy_pages_drop(&d->place.pages, pb, r.start >> TARGET_PAGE_BITS,
                        r.length >> TARGET_PAGE_BITS);
    return ram_block_discard(pb->block, r.start, r.length, errp);
}

bool postcopy_destination_discard(PostcopyDestination *d, const uint8_t *args, size_t len,
                                  PostcopyPrepare *prepare, void *opaque, GError **errp)
{
    PostcopyDiscard cmd;
    PostcopyBlock *pb;

    if (!expect_state(d, "postcopy-ram-discard", POSTCOPY_ADVISED, POSTCOPY_DISCARDING, errp) ||
        !postcopy_decode_discard(args, len, &cmd, errp) ||
        !begin_discard(d, prepare, opaque, errp)) {
        return false;
    }
    pb = postcopy_block_by_name(&d->place.pages, cmd.name);
    if (!pb) {
        error_setg(errp, "RAM block '%s' to discard from is not known here", cmd.name);
        return false;
    }
    for (unsigned i = 0; i < cmd.n; i++) {
        if (!discard_range(d, pb, postcopy_discard_range(&cmd, i), errp)) {
            return false;
        }
    }
    return true;
}

/* ---- listen ---- */

static bool watch_memory(PostcopyDestination *d, GError **errp)
{
    PostcopyPlace *p = &d->place;

    p->uffd = uffd_open(d->features, errp);
    if (p->uffd < 0) {
        return false;
    }
    for (unsigned i = 0; i < p->pages.n; i++) {
        PostcopyBlock *pb = &p->pages.blocks[i];

        if (!uffd_register(p->uffd, pb->block->host, pb->length, UFFD_MISSING, errp)) {
            g_prefix_error(errp, "RAM block '%s': ", pb->block->idstr);
            return false;
        }
        pb->has_zero = uffd_range_has_zero(p->uffd, pb->block->host, pb->length);
        if (!pb->has_zero && !p->zeroes) {
            p->zeroes = g_try_malloc0(p->largest_page);
            if (!p->zeroes) {
                error_setg(errp, "not enough memory for a page of zeroes");
                return false;
            }
        }
    }
    return true;
}

bool postcopy_destination_listen(PostcopyDestination *d, ReturnPathWriter *rp,
                                 PostcopyPrepare *prepare, void *opaque, GError **errp)
{
    if (!expect_state(d, "postcopy-listen", POSTCOPY_ADVISED, POSTCOPY_DISCARDING, errp)) {
        return false;
    }
    if (!rp) {
        error_setg(errp, "Postcopy without a return path to ask for pages on");
        return false;
    }
    if (!begin_discard(d, prepare, opaque, errp) || !watch_memory(d, errp)) {
        return false;
    }
    d->main = postcopy_loader_new(&d->place, true, errp);
    d->faults = d->main ? postcopy_faults_start(&d->place, rp, errp) : NULL;
    if (!d->faults) {
        return false;
    }
    set_state(d, POSTCOPY_LISTENING);
    return true;
}

bool postcopy_destination_run(PostcopyDestination *d, GError **errp)
{
    if (!expect_state(d, "postcopy-run", POSTCOPY_LISTENING, POSTCOPY_LISTENING, errp)) {
        return false;
    }
    set_state(d, POSTCOPY_RUNNING);
    return true;
}

PostcopyLoader *postcopy_destination_new_loader(PostcopyDestination *d, bool background,
                                                GError **errp)
{
    return postcopy_loader_new(&d->place, background, errp);
}

void postcopy_destination_measure(PostcopyDestination *d, PostcopyBlocktime *b)
{
    d->place.blocktime = b;
}

PostcopyBlocktime *postcopy_destination_take_measured(PostcopyDestination *d)
{
    return g_steal_pointer(&d->place.blocktime);
}

bool postcopy_destination_has_offset(const PostcopyDestination *d, uint64_t offset)
{
    for (unsigned i = 0; i < d->place.pages.n; i++) {
        if (offset < d->place.pages.blocks[i].length) {
            return true;
        }
    }
    return false;
}

uint64_t postcopy_destination_missing(const PostcopyDestination *d)
{
    return postcopy_pages_missing(&d->place.pages);
}

void postcopy_destination_on_complete(PostcopyDestination *d, void (*complete)(void *opaque),
                                      void *opaque)
{
    d->place.complete = complete;
    d->place.opaque = opaque;
}

/* ---- recovery ---- */

void postcopy_destination_reset(PostcopyDestination *d)
{
    postcopy_loader_reset(d->main);
}

bool postcopy_destination_send_bitmap(PostcopyDestination *d, const uint8_t *args, size_t len,
                                      ReturnPathWriter *rp, GError **errp)
{
    g_autofree unsigned long *copy = NULL;
    const PostcopyBlock *pb;
    uint64_t bytes;
    char name[256];

    if (!postcopy_decode_name(args, len, name, errp)) {
        return false;
    }
    pb = postcopy_block_by_name(&d->place.pages, name);
    if (!pb) {
        error_setg(errp, "The source asks what has arrived of RAM block '%s', which is not known",
                   name);
        return false;
    }
    bytes = postcopy_bitmap_bytes(pb->length >> TARGET_PAGE_BITS);
    copy = bitmap_try_new(bytes * 8);
    if (!copy) {
        error_setg(errp, "not enough memory for a copy of the received bitmap");
        return false;
    }
    postcopy_pages_copy_received(pb, copy);
    postcopy_bitmap_swap(copy, copy, bytes);
    return return_path_send_bitmap(rp, name, copy, bytes, errp);
}

bool postcopy_destination_ask_again(PostcopyDestination *d, GError **errp)
{
    return postcopy_faults_repeat(d->faults, errp);
}

/* ---- the end ---- */

void postcopy_destination_end(PostcopyDestination *d)
{
    PostcopyPlace *p = &d->place;

    if (p->uffd >= 0) {
        for (unsigned i = 0; i < p->pages.n; i++) {
            uffd_unregister(p->uffd, p->pages.blocks[i].block->host, p->pages.blocks[i].length);
        }
    }
    postcopy_faults_stop(g_steal_pointer(&d->faults));
    if (p->uffd >= 0) {
        close(p->uffd);
        p->uffd = -1;
    }
    postcopy_loader_free(g_steal_pointer(&d->main));
    g_clear_pointer(&p->zeroes, g_free);
    if (postcopy_destination_state(d) >= POSTCOPY_DISCARDING) {
        RAMBLOCK_FOREACH_MIGRATABLE (block, d->list) {
            ram_block_allow_huge_pages(block, true);
        }
    }
    set_state(d, POSTCOPY_ENDED);
}

bool postcopy_destination_load(QEMUFile *f, void *opaque, GError **errp)
{
    PostcopyDestination *d = opaque;

    return postcopy_loader_run(d->main, f, errp);
}
