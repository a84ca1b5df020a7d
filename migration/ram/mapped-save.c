/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mapped-ram sink: runs of pages go straight to their places; the bitmaps, kept in memory, are
 * written once at the end.
 *
 * A page may only be queued again after a drain. The dirty log gives a page again only after a
 * sync, and between two syncs there is an end of a round.
 */
#include "migration/ram/mapped.h"
#include "migration/ram/page-io.h"

typedef struct {
    RAMBlock *block;
    MappedLayout layout;
    unsigned long *map; /* pages that have data in the file */
} SavedBlock;

typedef struct {
    RamSink base;
    MappedConfig config;
    MigrationCounters *counters;
    PageIO *io;
    GArray *blocks; /* SavedBlock, in list order */
} MappedSink;

QIOChannel *mapped_open_pages(const MappedConfig *config, QEMUFile *f, GError **errp)
{
    QIOChannel *main = qemu_file_channel(f);

    if (!io_channel_has_feature(main, IO_FEATURE_SEEKABLE)) {
        error_setg(errp, "Channel '%s' has no positions: mapped-ram needs a regular file",
                   io_channel_name(main));
        return NULL;
    }
    return config->open_direct ? config->open_direct(config->opaque, main, errp)
                               : g_object_ref(main);
}

static bool begin(MappedSink *s, QEMUFile *f, GError **errp)
{
    g_autoptr(QIOChannel) pages = NULL;

    if (s->io) {
        return true;
    }
    pages = mapped_open_pages(&s->config, f, errp);
    s->io = pages ? page_io_new(pages, PAGE_IO_WRITE, s->config.threads, errp) : NULL;
    return s->io != NULL;
}

static bool mapped_list_block(RamSink *sink, QEMUFile *f, RAMBlock *block, bool ignored,
                              GError **errp)
{
    MappedSink *s = container_of(sink, MappedSink, base);
    uint64_t pages = ram_block_pages(block), at;
    uint8_t header[MAPPED_HEADER_BYTES];
    SavedBlock sb = {.block = block};

    if (!begin(s, f, errp) || !qemu_file_position(f, &at, errp)) {
        return false;
    }
    if (!ignored) {
        sb.layout = mapped_layout(at, pages);
        sb.map = bitmap_try_new(pages);
        if (!sb.map) {
            error_setg(errp, "not enough memory for the bitmap of RAM block '%s'", block->idstr);
            return false;
        }
        g_array_append_val(s->blocks, sb);
    }
    mapped_put_header(header, &sb.layout);
    qemu_put_buffer(f, header, sizeof(header));
    return ignored || qemu_file_seek(f, sb.layout.pages_offset + block->used_length, errp);
}

static bool mapped_setup(RamSink *sink, QEMUFile *f, GError **errp)
{
    return true;
}

static SavedBlock *saved_block(MappedSink *s, const RAMBlock *block)
{
    for (unsigned i = 0; i < s->blocks->len; i++) {
        SavedBlock *sb = &g_array_index(s->blocks, SavedBlock, i);

        if (sb->block == block) {
            return sb;
        }
    }
    g_assert_not_reached(); /* every block that is sent was listed */
}

static bool mapped_send_bytes(RamSink *sink, QEMUFile *f, RAMBlock *block, uint64_t first,
                              uint64_t count, const uint8_t *host, GError **errp)
{
    MappedSink *s = container_of(sink, MappedSink, base);
    SavedBlock *sb = saved_block(s, block);
    uint64_t offset = first << TARGET_PAGE_BITS, bytes = count << TARGET_PAGE_BITS;

    bitmap_set(sb->map, first, count);
    qemu_file_account(f, bytes);
    stat_add(&s->counters->file_bytes, bytes);
    return page_io_queue(s->io, (uint8_t *)host, bytes, sb->layout.pages_offset + offset, errp);
}

static bool mapped_send_run(RamSink *sink, QEMUFile *f, RAMBlock *block, uint64_t first,
                            uint64_t count, GError **errp)
{
    return mapped_send_bytes(sink, f, block, first, count,
                             block->host + (first << TARGET_PAGE_BITS), errp);
}

static bool mapped_send_zero_run(RamSink *sink, QEMUFile *f, RAMBlock *block, uint64_t first,
                                 uint64_t count, GError **errp)
{
    bitmap_clear(saved_block(container_of(sink, MappedSink, base), block)->map, first, count);
    return true;
}

static bool write_bitmap(QEMUFile *f, const SavedBlock *sb, GError **errp)
{
    uint64_t pages = ram_block_pages(sb->block);
    struct iovec iov = {sb->map, mapped_bitmap_bytes(pages)};
    bool ok;

    mapped_swap_bitmap(sb->map, pages);
    ok = io_channel_pwritev_all(qemu_file_channel(f), &iov, 1, sb->layout.bitmap_offset, errp);
    mapped_swap_bitmap(sb->map, pages);
    return ok;
}

static bool mapped_end_round(RamSink *sink, QEMUFile *f, bool last, GError **errp)
{
    MappedSink *s = container_of(sink, MappedSink, base);

    if (!page_io_drain(s->io, errp)) {
        return false;
    }
    for (unsigned i = 0; last && i < s->blocks->len; i++) {
        if (!write_bitmap(f, &g_array_index(s->blocks, SavedBlock, i), errp)) {
            return false;
        }
    }
    return true;
}

static void mapped_cleanup(RamSink *sink)
{
    MappedSink *s = container_of(sink, MappedSink, base);

    page_io_free(s->io);
    for (unsigned i = 0; i < s->blocks->len; i++) {
        g_free(g_array_index(s->blocks, SavedBlock, i).map);
    }
    g_array_unref(s->blocks);
    g_free(s);
}

static void mapped_forget_block(RamSink *sink)
{
}

static const RamSinkOps mapped_ops = {
    .name = "mapped-ram",
    .list_block = mapped_list_block,
    .setup = mapped_setup,
    .send_run = mapped_send_run,
    .send_bytes = mapped_send_bytes,
    .send_zero_run = mapped_send_zero_run,
    .end_round = mapped_end_round,
    .cleanup = mapped_cleanup,
    .forget_block = mapped_forget_block,
};

RamSink *ram_sink_mapped_new(const MappedConfig *config, MigrationCounters *counters)
{
    MappedSink *s = g_new0(MappedSink, 1);

    s->base.ops = &mapped_ops;
    s->config = *config;
    s->counters = counters;
    s->blocks = g_array_new(false, false, sizeof(SavedBlock));
    return &s->base;
}
