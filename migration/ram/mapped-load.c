/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mapped-ram placer: everything happens while the block list is read. Runs of pages that have
 * data are read straight into guest memory by several threads, a huge page each; the others become
 * zero, which costs nothing where they were never touched.
 */
#include "migration/ram/mapped.h"
#include "migration/ram/page-io.h"

/* Pieces end at multiples of this many pages: whole huge pages are populated by one thread. */
#define PIECE_PAGES UINT64_C(512)

typedef struct {
    RamPlacer base;
    MappedConfig config;
    RamPlacer *memory; /* the direct placer: knows what is untouched */
    PageIO *io;
    RamLazy *lazy; /* NULL: all at once */
    unsigned blocks;
} MappedPlacer;

bool mapped_read_block(QEMUFile *f, RAMBlock *block, bool ignored, MappedLayout *layout,
                       unsigned long **map, GError **errp)
{
    uint64_t pages = ram_block_pages(block), at;
    uint8_t header[MAPPED_HEADER_BYTES];
    g_autofree unsigned long *bits = NULL;

    if (!qemu_file_position(f, &at, errp)) {
        return false;
    }
    qemu_get_buffer(f, header, sizeof(header));
    if (!qemu_file_check(f, errp) || !mapped_get_header(header, at, pages, layout, errp)) {
        return false;
    }
    if (!layout->pages_offset != ignored) {
        error_setg(errp, "the file has %s memory of this block, but x-ignore-shared says otherwise",
                   ignored ? "the" : "no");
        return false;
    }
    if (ignored) {
        return true;
    }
    bits = bitmap_try_new(pages);
    if (!bits) {
        error_setg(errp, "not enough memory for the bitmap of %" PRIu64 " pages", pages);
        return false;
    }
    qemu_get_buffer(f, bits, mapped_bitmap_bytes(pages));
    mapped_swap_bitmap(bits, pages);
    if (!qemu_file_check(f, errp) || !mapped_check_bitmap(bits, pages, errp)) {
        return false;
    }
    *map = g_steal_pointer(&bits);
    return true;
}

static bool begin(MappedPlacer *p, QEMUFile *f, GError **errp)
{
    g_autoptr(QIOChannel) pages = NULL;

    if (p->io) {
        return true;
    }
    pages = mapped_open_pages(&p->config, f, errp);
    p->io = pages ? page_io_new(pages, PAGE_IO_READ, p->config.threads, errp) : NULL;
    if (p->io && p->config.lazy) {
        p->lazy = p->config.lazy(p->config.opaque, pages, p->blocks, errp);
    }
    return p->io && (p->lazy || !p->config.lazy);
}

/* Nothing of it is read now, so at least its end shall be there. */
static bool check_size(QEMUFile *f, uint64_t end, GError **errp)
{
    QIOChannel *ioc = qemu_file_channel(f);
    off_t at = io_channel_seek(ioc, 0, SEEK_CUR, errp);
    off_t size = at < 0 ? -1 : io_channel_seek(ioc, 0, SEEK_END, errp);

    if (size < 0 || io_channel_seek(ioc, at, SEEK_SET, errp) < 0) {
        return false;
    }
    if ((uint64_t)size < end) {
        error_setg(errp, "the file ends at %jd, its pages reach to %" PRIu64, (intmax_t)size, end);
        return false;
    }
    return true;
}

/* Small blocks are not worth it; the kernel cannot do it for all. */
#define LAZY_MIN_PAGES UINT64_C(1024)

static bool add_lazily(MappedPlacer *p, QEMUFile *f, RAMBlock *block, unsigned long **map,
                       uint64_t pages_offset, GError **errp)
{
    return check_size(f, pages_offset + block->used_length, errp) &&
           ram_lazy_add(p->lazy, block, g_steal_pointer(map), pages_offset, errp);
}

static bool read_run(MappedPlacer *p, RAMBlock *block, uint64_t first, uint64_t end,
                     uint64_t pages_offset, GError **errp)
{
    while (first < end) {
        uint64_t n = MIN(end, ROUND_UP(first + 1, PIECE_PAGES)) - first;
        uint8_t *host = p->memory->ops->direct(p->memory, block, first, n);

        if (!page_io_queue(p->io, host, n << TARGET_PAGE_BITS,
                           pages_offset + (first << TARGET_PAGE_BITS), errp)) {
            return false;
        }
        first += n;
    }
    return true;
}

static bool read_pages(MappedPlacer *p, RAMBlock *block, const unsigned long *map,
                       uint64_t pages_offset, GError **errp)
{
    uint64_t pages = ram_block_pages(block), page = 0;

    if ((block->flags & RAM_READONLY) && (block->flags & RAM_SHARED)) {
        error_setg(errp, "the memory is mapped read-only here");
        return false;
    }
    while (page < pages) {
        uint64_t data = find_next_bit(map, pages, page), end;

        if (data > page &&
            !p->memory->ops->place_fill(p->memory, block, page, data - page, 0, errp)) {
            return false;
        }
        end = find_next_zero_bit(map, pages, data);
        if (!read_run(p, block, data, end, pages_offset, errp)) {
            return false;
        }
        page = end;
    }
    return page_io_drain(p->io, errp);
}

/* Now, or when they are touched. May take *@map. */
static bool get_pages(MappedPlacer *p, QEMUFile *f, RAMBlock *block, unsigned long **map,
                      uint64_t pages_offset, GError **errp)
{
    if (p->lazy && ram_lazy_can(block) && ram_block_pages(block) >= LAZY_MIN_PAGES) {
        return add_lazily(p, f, block, map, pages_offset, errp);
    }
    return read_pages(p, block, *map, pages_offset, errp);
}

static bool mapped_list_block(RamPlacer *placer, QEMUFile *f, RAMBlock *block, bool ignored,
                              GError **errp)
{
    MappedPlacer *p = container_of(placer, MappedPlacer, base);
    g_autofree unsigned long *map = NULL;
    MappedLayout layout;

    if (!begin(p, f, errp)) {
        return false;
    }
    if (!mapped_read_block(f, block, ignored, &layout, &map, errp) ||
        (map && (!get_pages(p, f, block, &map, layout.pages_offset, errp) ||
                 !qemu_file_seek(f, layout.pages_offset + block->used_length, errp)))) {
        g_prefix_error(errp, "RAM block '%s': ", block->idstr);
        return false;
    }
    return true;
}

static bool no_pages(GError **errp)
{
    error_setg(errp, "a page among the records of a mapped-ram file");
    return false;
}

static bool mapped_place_run(RamPlacer *p, QEMUFile *f, RAMBlock *block, uint64_t first,
                             uint64_t count, GError **errp)
{
    return no_pages(errp);
}

static bool mapped_place_fill(RamPlacer *p, RAMBlock *block, uint64_t first, uint64_t count,
                              uint8_t fill, GError **errp)
{
    return no_pages(errp);
}

static void *mapped_direct(RamPlacer *p, RAMBlock *block, uint64_t first, uint64_t count)
{
    return NULL;
}

static void mapped_cleanup(RamPlacer *placer)
{
    MappedPlacer *p = container_of(placer, MappedPlacer, base);

    page_io_free(p->io);
    if (p->lazy) {
        ram_lazy_prefetch(p->lazy, p->config.threads);
    }
    p->memory->ops->cleanup(p->memory);
    g_free(p);
}

static const RamPlacerOps mapped_ops = {
    .name = "mapped-ram",
    .list_block = mapped_list_block,
    .place_run = mapped_place_run,
    .place_fill = mapped_place_fill,
    .direct = mapped_direct,
    .cleanup = mapped_cleanup,
};

RamPlacer *ram_placer_mapped_new(const MappedConfig *config, RAMList *list)
{
    MappedPlacer *p = g_new0(MappedPlacer, 1);

    p->base.ops = &mapped_ops;
    p->config = *config;
    p->memory = ram_placer_direct_new(list);
    RAMBLOCK_FOREACH_MIGRATABLE (block, list) {
        p->blocks++;
    }
    return &p->base;
}
