/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/postcopy/release.h"
#include "util/error.h"

/* So much may wait for its flush. */
#define NOTED_PAGES_MAX (8 * MiB / TARGET_PAGE_SIZE)

typedef struct {
    const DirtyBlock *db;
    uint64_t first, count;
} Range;

struct PostcopyRelease {
    const DirtyMap *dirty;
    unsigned long **left; /* by block, while not begun: what was dirty at the switch */
    bool begun;           /* atomic */
    bool *possible;       /* by block, from the beginning on; atomic: until one has failed */
    GArray *noted;        /* of Range */
    uint64_t noted_pages;
};

static uint64_t block_pages(const DirtyBlock *db)
{
    return db->length >> TARGET_PAGE_BITS;
}

static void drop_left(PostcopyRelease *r)
{
    for (unsigned i = 0; r->left && i < r->dirty->n; i++) {
        g_free(r->left[i]);
    }
    g_clear_pointer(&r->left, g_free);
}

PostcopyRelease *postcopy_release_new(const DirtyMap *dirty)
{
    PostcopyRelease *r = g_new0(PostcopyRelease, 1);

    r->dirty = dirty;
    r->left = g_new0(unsigned long *, dirty->n);
    r->possible = g_new0(bool, dirty->n);
    r->noted = g_array_new(FALSE, FALSE, sizeof(Range));
    for (unsigned i = 0; i < dirty->n; i++) {
        const DirtyBlock *db = &dirty->blocks[i];

        r->left[i] = g_memdup2(db->map, BITS_TO_LONGS(block_pages(db)) * sizeof(unsigned long));
    }
    return r;
}

void postcopy_release_free(PostcopyRelease *r)
{
    if (r) {
        drop_left(r);
        g_array_unref(r->noted);
        g_free(r->possible);
        g_free(r);
    }
}

bool postcopy_release_begun(const PostcopyRelease *r)
{
    return __atomic_load_n(&r->begun, __ATOMIC_ACQUIRE);
}

void postcopy_release_now(PostcopyRelease *r, const DirtyBlock *db, uint64_t first, uint64_t count)
{
    g_autoptr(GError) err = NULL;

    bool *possible = &r->possible[db - r->dirty->blocks];

    if (__atomic_load_n(possible, __ATOMIC_RELAXED) &&
        !ram_block_discard(db->block, first << TARGET_PAGE_BITS, count << TARGET_PAGE_BITS, &err)) {
        error_report("release-ram: %s", err->message); /* it costs memory, nothing else */
        __atomic_store_n(possible, false, __ATOMIC_RELAXED);
    }
}

/* Not what others may have mapped privately too: punching holes would take it from them. */
static bool may_discard(const RAMBlock *block)
{
    return ram_block_can_discard(block, NULL) && (block->fd < 0 || (block->flags & RAM_SHARED));
}

void postcopy_release_begin(PostcopyRelease *r)
{
    for (unsigned i = 0; i < r->dirty->n; i++) {
        const DirtyBlock *db = &r->dirty->blocks[i];
        uint64_t pages = block_pages(db), first = find_next_zero_bit(r->left[i], pages, 0);

        r->possible[i] = may_discard(db->block);
        while (first < pages) {
            uint64_t end = find_next_bit(r->left[i], pages, first);

            postcopy_release_now(r, db, first, end - first);
            first = find_next_zero_bit(r->left[i], pages, end);
        }
    }
    drop_left(r);
    __atomic_store_n(&r->begun, true, __ATOMIC_RELEASE);
}

bool postcopy_release_note(PostcopyRelease *r, const DirtyBlock *db, uint64_t first, uint64_t count)
{
    Range range = {db, first, count};
    Range *last = r->noted->len ? &g_array_index(r->noted, Range, r->noted->len - 1) : NULL;

    if (last && last->db == db && last->first + last->count == first) {
        last->count += count;
    } else {
        g_array_append_val(r->noted, range);
    }
    r->noted_pages += count;
    return r->noted_pages >= NOTED_PAGES_MAX;
}

void postcopy_release_noted(PostcopyRelease *r)
{
    for (unsigned i = 0; i < r->noted->len; i++) {
        const Range *range = &g_array_index(r->noted, Range, i);

        postcopy_release_now(r, range->db, range->first, range->count);
    }
    g_array_set_size(r->noted, 0);
    r->noted_pages = 0;
}
