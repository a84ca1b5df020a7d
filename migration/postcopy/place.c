/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/postcopy/place.h"
#include "migration/ram/records.h"
#include "util/thread.h"
#include "util/userfaultfd.h"

/* The longest run of small pages placed at once. */
#define RUN_PAGES 64

bool postcopy_place(PostcopyPlace *p, PostcopyBlock *pb, uint64_t first, uint64_t count,
                    const uint8_t *src, GError **errp)
{
    uint64_t len = count << TARGET_PAGE_BITS, page_size = pb->block->page_size;
    uint8_t *dst = pb->block->host + (first << TARGET_PAGE_BITS);
    bool ok, complete;

    if (!src && pb->has_zero) {
        ok = uffd_zero(p->uffd, dst, len, page_size, errp);
    } else if (src) {
        ok = uffd_copy(p->uffd, dst, src, len, page_size, errp);
    } else {
        ok = true;
        for (uint64_t at = 0; ok && at < len; at += page_size) {
            ok = uffd_copy(p->uffd, dst + at, p->zeroes, page_size, page_size, errp);
        }
    }
    if (!ok) {
        g_prefix_error(errp, "Page 0x%" PRIx64 " of RAM block '%s': ", first << TARGET_PAGE_BITS,
                       pb->block->idstr);
        return false;
    }
    complete = postcopy_pages_arrived(&p->pages, pb, first, count);
    if (p->blocktime) {
        /* Behind the mark: who notes a wait looks at the mark afterwards, so one of us sees it. */
        blocktime_end(p->blocktime, dst, len);
    }
    if (complete && p->complete) {
        p->complete(p->opaque);
    }
    return true;
}

/* ---- one channel ---- */

struct PostcopyLoader {
    PostcopyPlace *place;
    bool background;
    PostcopyBlock *current; /* of the last record with a name */
    /* A huge page being collected: its first target page, how many have come, were all zero? */
    PostcopyBlock *partial;
    uint64_t partial_first, partial_count;
    bool partial_zero;
    uint8_t *stage;
};

PostcopyLoader *postcopy_loader_new(PostcopyPlace *p, bool background, GError **errp)
{
    PostcopyLoader *l = g_new0(PostcopyLoader, 1);

    l->place = p;
    l->background = background;
    l->stage = g_try_malloc(MAX(p->largest_page, RUN_PAGES * TARGET_PAGE_SIZE));
    if (!l->stage) {
        error_setg(errp, "not enough memory to collect a page of 0x%" PRIx64 " bytes",
                   p->largest_page);
        g_clear_pointer(&l, g_free);
    }
    return l;
}

void postcopy_loader_free(PostcopyLoader *l)
{
    if (l) {
        g_free(l->stage);
        g_free(l);
    }
}

void postcopy_loader_reset(PostcopyLoader *l)
{
    l->current = l->partial = NULL;
}

/* Everything that is placed lies inside the block. */
static bool resolve(PostcopyLoader *l, const RamRecord *rec, uint64_t *page, GError **errp)
{
    if (rec->named) {
        l->current = postcopy_block_by_name(&l->place->pages, rec->name);
        if (!l->current) {
            error_setg(errp, "Page of ramblock \"%s\", which is unknown here", rec->name);
            return false;
        }
    }
    if (!l->current) {
        error_setg(errp, "RAM record continues a block, but none was named before");
        return false;
    }
    if (rec->offset >= l->current->length) {
        error_setg(errp, "Illegal RAM offset %" PRIx64 " in ramblock \"%s\" of 0x%" PRIx64 " bytes",
                   rec->offset, l->current->block->idstr, l->current->length);
        return false;
    }
    *page = rec->offset >> TARGET_PAGE_BITS;
    return true;
}

static uint64_t pages_from(const PostcopyBlock *pb, uint64_t page)
{
    return (pb->length >> TARGET_PAGE_BITS) - page;
}

/* ---- small pages ---- */

static bool load_data_run(PostcopyLoader *l, QEMUFile *f, uint64_t first, GError **errp)
{
    uint64_t max = MIN(RUN_PAGES, pages_from(l->current, first)), n = 0;
    const uint8_t *p;

    for (;;) {
        uint64_t next = (first + n + 1) << TARGET_PAGE_BITS;

        if (!qemu_get_buffer_into(f, l->stage + n * TARGET_PAGE_SIZE, TARGET_PAGE_SIZE)) {
            return qemu_file_check(f, errp);
        }
        if (++n == max ||
            qemu_peek_available(f, &p, 0) < RAM_WORD_BYTES + (size_t)TARGET_PAGE_SIZE ||
            ram_get_word(p) != (next | RAM_FLAG_PAGE | RAM_FLAG_CONTINUE)) {
            break;
        }
        qemu_file_skip(f, RAM_WORD_BYTES);
    }
    return postcopy_place(l->place, l->current, first, n, l->stage, errp);
}

static bool load_fill(PostcopyLoader *l, QEMUFile *f, uint64_t first, uint8_t fill, GError **errp)
{
    if (fill) {
        memset(l->stage, fill, TARGET_PAGE_SIZE);
        return postcopy_place(l->place, l->current, first, 1, l->stage, errp);
    }
    return postcopy_place(l->place, l->current, first,
                          ram_zero_records(f, first, pages_from(l->current, first)), NULL, errp);
}

/* ---- huge pages ---- */

/* @page is the next piece of the huge page being collected, or the first of one. */
static bool expect_piece(PostcopyLoader *l, uint64_t page, GError **errp)
{
    if (!l->partial && page % postcopy_host_pages(l->current) == 0) {
        l->partial = l->current;
        l->partial_first = page;
        l->partial_count = 0;
        l->partial_zero = true;
    }
    if (l->partial != l->current || page != l->partial_first + l->partial_count) {
        error_setg(errp, "Page 0x%" PRIx64 " of RAM block '%s' comes in the middle of a huge page",
                   page << TARGET_PAGE_BITS, l->current->block->idstr);
        return false;
    }
    return true;
}

static bool load_piece(PostcopyLoader *l, QEMUFile *f, const RamRecord *rec, uint64_t page,
                       GError **errp)
{
    uint64_t whole = postcopy_host_pages(l->current);
    uint8_t *stage;

    if (!expect_piece(l, page, errp)) {
        return false;
    }
    stage = l->stage + l->partial_count * TARGET_PAGE_SIZE;
    if (rec->flags == RAM_FLAG_ZERO) {
        memset(stage, rec->fill, TARGET_PAGE_SIZE);
    } else if (!qemu_get_buffer_into(f, stage, TARGET_PAGE_SIZE)) {
        return qemu_file_check(f, errp);
    }
    l->partial_zero &= rec->flags == RAM_FLAG_ZERO && rec->fill == 0;
    if (++l->partial_count < whole) {
        return true;
    }
    l->partial = NULL;
    return postcopy_place(l->place, l->current, l->partial_first, whole,
                          l->partial_zero ? NULL : l->stage, errp);
}

/* ---- records ---- */

bool postcopy_loader_run(PostcopyLoader *l, QEMUFile *f, GError **errp)
{
    for (;;) {
        RamRecord rec;
        uint64_t page;
        bool ok;

        if (!ram_next_record(f, &rec, errp)) {
            return false;
        }
        if (rec.flags == RAM_FLAG_EOS) {
            return true;
        }
        if (rec.flags != RAM_FLAG_PAGE && rec.flags != RAM_FLAG_ZERO) {
            error_setg(errp,
                       "RAM record with flags 0x%x is not allowed after the switch "
                       "(postcopy mode)",
                       rec.flags);
            return false;
        }
        if (!resolve(l, &rec, &page, errp)) {
            return false;
        }
        if (postcopy_host_pages(l->current) > 1) {
            ok = load_piece(l, f, &rec, page, errp);
        } else if (rec.flags == RAM_FLAG_PAGE) {
            ok = load_data_run(l, f, page, errp);
        } else {
            ok = load_fill(l, f, page, rec.fill, errp);
        }
        if (!ok) {
            return false;
        }
        if (l->background && postcopy_pages_wanted(&l->place->pages)) {
            thread_yield();
        }
    }
}
