/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The destination side: records of the ram section (spec 20 sections 3 and 4).
 *
 * Everything in a record is the peer's word. Names, lengths and offsets are checked before anything
 * is written.
 */
#include "migration/ram/decompress.h"
#include "migration/ram/dirty.h"
#include "migration/ram/records.h"
#include "migration/ram/state.h"
#include "migration/ram/stream-reader.h"
#include "migration/wire/ram.h"
#include "migration/wire/xbzrle.h"

struct RamLoad {
    RAMList *list;
    RamOptions options;
    RamPlacer *placer;
    RAMBlock *current; /* of the last record with a name; survives sections */
    RamReader reader;
    RamDecompress *decompress;  /* NULL: no page may come compressed */
    bool postcopy;              /* the source has advised it */
    RamSectionLoader *diverted; /* who loads sections instead */
    void *diverted_to;
};

bool ram_load_setup(QEMUFile *f, void *opaque, GError **errp)
{
    RamState *rs = opaque;
    RamLoad *l = rs->load = g_new0(RamLoad, 1);

    l->list = rs->env.list(rs->env.opaque);
    rs->env.options(rs->env.opaque, &l->options);
    l->placer = rs->env.placer(rs->env.opaque, l->list, errp);
    ram_reader_init(&l->reader);
    if (l->placer && l->options.decompress_threads) {
        l->decompress = ram_decompress_new(l->options.decompress_threads, errp);
        return l->decompress != NULL;
    }
    return l->placer != NULL;
}

void ram_load_cleanup(void *opaque)
{
    RamState *rs = opaque;

    RamLoad *l = rs->load;

    if (l) {
        ram_decompress_free(l->decompress); /* before the memory it writes to may go */
        if (l->placer) {
            l->placer->ops->cleanup(l->placer);
        }
        g_clear_pointer(&rs->load, g_free);
    }
}

static bool load_list_entry(RamLoad *l, QEMUFile *f, uint64_t *left, GError **errp)
{
    char name[256];
    uint64_t length;
    RAMBlock *block;

    qemu_get_counted_string(f, name);
    length = qemu_get_be64(f);
    if (!qemu_file_check(f, errp)) {
        return false;
    }
    block = ram_block_by_name(l->list, name);
    if (!block) {
        error_setg(errp, "Unknown ramblock \"%s\", cannot accept migration", name);
        return false;
    }
    if (!(block->flags & RAM_MIGRATABLE)) {
        error_setg(errp, "ramblock \"%s\" does not migrate here, but the source sends it", name);
        return false;
    }
    if (length > *left) {
        error_setg(errp,
                   "ramblock \"%s\": 0x%" PRIx64 " bytes exceed the announced total by 0x%" PRIx64,
                   name, length, length - *left);
        return false;
    }
    *left -= length;
    if (!ram_block_resize(block, length, errp)) {
        return false;
    }
    if (l->postcopy && block->page_size != TARGET_PAGE_SIZE) {
        uint64_t page_size = qemu_get_be64(f);

        if (qemu_file_ok(f) && page_size != block->page_size) {
            error_setg(errp, "Mismatched RAM page size %s (local) %" PRIu64 " != %" PRIu64, name,
                       block->page_size, page_size);
            return false;
        }
    }
    if (l->options.ignore_shared) {
        hwaddr gpa = qemu_get_be64(f);

        if (qemu_file_ok(f) && ram_block_ignored(block, true) && gpa != block->gpa) {
            error_setg(errp, "Mismatched GPAs for block %s: 0x%" PRIx64 " != 0x%" PRIx64, name, gpa,
                       block->gpa);
            return false;
        }
    }
    return qemu_file_check(f, errp) &&
           (!l->placer->ops->list_block ||
            l->placer->ops->list_block(l->placer, f, block,
                                       ram_block_ignored(block, l->options.ignore_shared), errp));
}

RAMBlock *ram_block_for_load(RAMList *list, const char *name, bool ignore_shared, GError **errp)
{
    RAMBlock *block = ram_block_by_name(list, name);

    if (!block || ram_block_ignored(block, ignore_shared)) {
        error_setg(errp, "Page of ramblock \"%s\", which is %s here", name,
                   block ? "not migrated" : "unknown");
        return NULL;
    }
    if ((block->flags & RAM_READONLY) && (block->flags & RAM_SHARED)) {
        error_setg(errp, "Page of ramblock \"%s\", which is mapped read-only here", name);
        return NULL;
    }
    return block;
}

/* The current block and the page that @rec is about; everything that is written lies inside it. */
static bool resolve(RamLoad *l, const RamRecord *rec, uint64_t *page, GError **errp)
{
    if (rec->named) {
        RAMBlock *block = ram_block_for_load(l->list, rec->name, l->options.ignore_shared, errp);

        if (!block) {
            return false;
        }
        l->current = block;
    }
    if (!l->current) {
        error_setg(errp, "RAM record continues a block, but none was named before");
        return false;
    }
    if (rec->offset >= l->current->used_length) {
        error_setg(errp, "Illegal RAM offset %" PRIx64 " in ramblock \"%s\" of 0x%" PRIx64 " bytes",
                   rec->offset, l->current->idstr, l->current->used_length);
        return false;
    }
    *page = rec->offset >> TARGET_PAGE_BITS;
    return true;
}

/* Page @first is zero, and so are those of the records right behind that say so: one call for all.
 */
static bool load_zero_run(RamLoad *l, QEMUFile *f, uint64_t first, GError **errp)
{
    uint64_t count = ram_zero_records(f, first, ram_block_pages(l->current) - first);

    return l->placer->ops->place_fill(l->placer, l->current, first, count, 0, errp);
}

/* A long run of memory in use takes its time: every so often look whether it is still wanted. */
#define FILL_PAGES UINT64_C(32768)

static bool load_long_zero_run(RamLoad *l, QEMUFile *f, uint64_t first, uint64_t count,
                               GError **errp)
{
    uint64_t pages = ram_block_pages(l->current);

    if (count == 0 || count > pages - first) {
        error_setg(errp,
                   "Illegal run of %" PRIu64 " zero pages from page 0x%" PRIx64
                   " in ramblock \"%s\" of %" PRIu64 " pages",
                   count, first, l->current->idstr, pages);
        return false;
    }
    while (count && qemu_file_check(f, errp)) {
        uint64_t n = MIN(count, FILL_PAGES);

        if (!l->placer->ops->place_fill(l->placer, l->current, first, n, 0, errp)) {
            return false;
        }
        first += n;
        count -= n;
    }
    return count == 0;
}

/* A delta is applied where its page lies. */
static bool load_delta(RamLoad *l, QEMUFile *f, uint64_t page, GError **errp)
{
    uint8_t *host = l->placer->ops->direct(l->placer, l->current, page, 1);
    const uint8_t *body;
    size_t len;
    bool ok = false;

    if (!host) {
        error_setg(errp, "its content cannot be changed in place now");
    } else if (ram_delta_body(f, &body, &len, errp)) {
        ok = xbzrle_decode(host, body, len);
        if (!ok) {
            error_setg(errp, "it is damaged");
        }
        qemu_file_skip(f, len);
    }
    if (!ok) {
        g_prefix_error(errp, "XBZRLE record of page 0x%" PRIx64 " in ramblock \"%s\": ",
                       page << TARGET_PAGE_BITS, l->current->idstr);
    }
    return ok;
}

static bool load_compressed(RamLoad *l, QEMUFile *f, uint64_t page, GError **errp)
{
    uint8_t *host;
    bool ok = false;

    if (!l->decompress) {
        error_setg(errp, "Compressed page (flags 0x%x), but the capability 'compress' is off here",
                   RAM_FLAG_COMPRESS_PAGE);
        return false;
    }
    host = l->placer->ops->direct(l->placer, l->current, page, 1);
    if (host) {
        ok = ram_decompress_page(l->decompress, f, host, errp);
    } else {
        error_setg(errp, "its content cannot be changed in place now");
    }
    if (!ok) {
        g_prefix_error(errp, "Compressed page 0x%" PRIx64 " in ramblock \"%s\": ",
                       page << TARGET_PAGE_BITS, l->current->idstr);
    }
    return ok;
}

static bool load_list(RamLoad *l, QEMUFile *f, uint64_t total, GError **errp)
{
    while (total) {
        if (!load_list_entry(l, f, &total, errp)) {
            return false;
        }
    }
    return true;
}

/* The source writes memory by itself (RDMA), and talks about it meanwhile. */
static bool serve_hook(RamLoad *l, QEMUFile *f, GError **errp)
{
    if (!l->placer->ops->hook) {
        error_setg(errp, "RAM record HOOK on channel '%s', which is not RDMA",
                   io_channel_name(qemu_file_channel(f)));
        return false;
    }
    return l->placer->ops->hook(l->placer, f, errp);
}

static bool lost_channel(RamState *rs, uint64_t number, GError **errp)
{
    if (!rs->env.lost_channel) {
        error_setg(errp, "The source speaks of a lost channel, but there is only this one");
        return false;
    }
    return rs->env.lost_channel(rs->env.opaque, number, errp);
}

bool ram_load_state(QEMUFile *f, void *opaque, int version_id, GError **errp)
{
    RamState *rs = opaque;
    RamLoad *l = rs->load;

    if (version_id != RAM_SECTION_VERSION) {
        error_setg(errp, "ram section has version %d, only %d is understood", version_id,
                   RAM_SECTION_VERSION);
        return false;
    }
    if (l->diverted) {
        return l->diverted(f, l->diverted_to, errp);
    }
    if (!l->placer) {
        error_setg(errp, "Pages between the discarding of stale memory and listening for faults");
        return false;
    }
    for (;;) {
        RamRecord rec;
        uint64_t page;
        bool ok;

        if (!ram_next_record(f, &rec, errp)) {
            return false;
        }
        switch (rec.flags) {
        case RAM_FLAG_EOS:
            return ram_decompress_drain(l->decompress, errp) &&
                   rs->env.marker(rs->env.opaque, false, errp);
        case RAM_FLAG_MULTIFD_FLUSH:
            ok = rs->env.marker(rs->env.opaque, true, errp);
            break;
        case RAM_FLAG_LOST_CHANNEL:
            ok = lost_channel(rs, rec.offset / RAM_PAGE_SIZE, errp);
            break;
        case RAM_FLAG_MEM_SIZE:
            ok = load_list(l, f, rec.offset, errp);
            break;
        case RAM_FLAG_PAGE:
            ok = resolve(l, &rec, &page, errp) &&
                 ram_reader_run(&l->reader, f, l->placer, l->current, page, errp);
            break;
        case RAM_FLAG_ZERO:
            ok = resolve(l, &rec, &page, errp) &&
                 (rec.fill
                      ? l->placer->ops->place_fill(l->placer, l->current, page, 1, rec.fill, errp)
                      : load_zero_run(l, f, page, errp));
            break;
        case RAM_FLAG_COMPRESS_PAGE:
            ok = resolve(l, &rec, &page, errp) && load_compressed(l, f, page, errp);
            break;
        case RAM_FLAG_ZERO_RUN:
            ok = resolve(l, &rec, &page, errp) && load_long_zero_run(l, f, page, rec.count, errp);
            break;
        case RAM_FLAG_XBZRLE:
            ok = resolve(l, &rec, &page, errp) && load_delta(l, f, page, errp);
            break;
        case RAM_FLAG_HOOK:
            ok = serve_hook(l, f, errp);
            break;
        default:
            error_setg(errp, "RAM record with flags 0x%x needs a capability that is off here",
                       rec.flags);
            ok = false;
            break;
        }
        if (!ok) {
            return false;
        }
    }
}

/* ---- postcopy ---- */

void ram_load_advise(RamState *rs)
{
    rs->load->postcopy = true;
}

void ram_load_close(RamState *rs)
{
    RamPlacer *placer = g_steal_pointer(&rs->load->placer);

    if (placer) {
        placer->ops->cleanup(placer);
    }
}

void ram_load_divert(RamState *rs, RamSectionLoader *load, void *opaque)
{
    rs->load->diverted = load;
    rs->load->diverted_to = opaque;
}
