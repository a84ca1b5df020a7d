/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The plain sink: PAGE and ZERO records on the main channel. Heads are built in the file's staging
 * buffer, pages are referenced where they lie; the file sends both in vectors of a MiB or IOV_MAX
 * pieces.
 */
#include "migration/ram-sink.h"
#include "migration/wire/ram.h"
#include "migration/wire/stream.h"

/* As many ZERO records as can be made in place at once; a round number, see wire/ram.c. */
#define ZERO_BATCH 3584

G_STATIC_ASSERT(QEMU_FILE_RESERVE_MAX >= ZERO_BATCH * RAM_ZERO_RECORD_BYTES);

typedef struct {
    RamSink base;
    const RAMBlock *last; /* block of the record before */
    /* A run of zero pages not written yet: the next may continue it. NULL: none. */
    const RAMBlock *zero_block;
    uint64_t zero_first, zero_count;
} StreamSink;

/* The head of a record; the name only where the block changes. */
static void put_head(StreamSink *s, QEMUFile *f, const RAMBlock *block, uint64_t page,
                     unsigned flags)
{
    uint8_t head[RAM_HEAD_MAX];

    qemu_put_buffer(f, head,
                    ram_put_head(head, page << TARGET_PAGE_BITS, flags,
                                 block == s->last ? NULL : block->idstr));
    s->last = block;
}

/* Write down the run of zero pages that is waiting. */
static void put_zero_run(StreamSink *s, QEMUFile *f)
{
    if (s->zero_block) {
        put_head(s, f, s->zero_block, s->zero_first, RAM_FLAG_ZERO_RUN);
        qemu_put_be64(f, s->zero_count);
        s->zero_block = NULL;
    }
}

static void add_zero_run(StreamSink *s, QEMUFile *f, const RAMBlock *block, uint64_t first,
                         uint64_t count)
{
    if (s->zero_block == block && s->zero_first + s->zero_count == first) {
        s->zero_count += count;
        return;
    }
    put_zero_run(s, f);
    s->zero_block = block;
    s->zero_first = first;
    s->zero_count = count;
}

static bool stream_setup(RamSink *sink, QEMUFile *f, GError **errp)
{
    return true;
}

static bool stream_send_bytes(RamSink *sink, QEMUFile *f, RAMBlock *block, uint64_t first,
                              uint64_t count, const uint8_t *host, GError **errp)
{
    StreamSink *s = container_of(sink, StreamSink, base);
    uint64_t word = (first << TARGET_PAGE_BITS) | RAM_FLAG_PAGE | RAM_FLAG_CONTINUE;

    put_zero_run(s, f);
    if (block != s->last) {
        put_head(s, f, block, first, RAM_FLAG_PAGE);
    } else {
        qemu_put_be64(f, word);
    }
    qemu_put_buffer_ref(f, host, TARGET_PAGE_SIZE);
    for (uint64_t i = 1; i < count; i++) {
        qemu_put_be64(f, word + (i << TARGET_PAGE_BITS));
        qemu_put_buffer_ref(f, host + (i << TARGET_PAGE_BITS), TARGET_PAGE_SIZE);
    }
    return qemu_file_check(f, errp);
}

static bool stream_send_run(RamSink *sink, QEMUFile *f, RAMBlock *block, uint64_t first,
                            uint64_t count, GError **errp)
{
    return stream_send_bytes(sink, f, block, first, count,
                             block->host + (first << TARGET_PAGE_BITS), errp);
}

static bool stream_send_zero_run(RamSink *sink, QEMUFile *f, RAMBlock *block, uint64_t first,
                                 uint64_t count, GError **errp)
{
    StreamSink *s = container_of(sink, StreamSink, base);

    if (sink->peer & PEER_ZERO_RUN) {
        add_zero_run(s, f, block, first, count);
        return qemu_file_check(f, errp);
    }
    if (block != s->last) {
        put_head(s, f, block, first, RAM_FLAG_ZERO);
        qemu_put_byte(f, 0);
        first++;
        count--;
    }
    while (count) {
        uint64_t n = MIN(count, ZERO_BATCH - first % ZERO_BATCH);
        size_t len = n * RAM_ZERO_RECORD_BYTES;

        ram_put_zero_records(qemu_put_reserve(f, len), first << TARGET_PAGE_BITS, n);
        qemu_put_reserved(f, len);
        first += n;
        count -= n;
    }
    return qemu_file_check(f, errp);
}

static bool stream_send_patches(RamSink *sink, QEMUFile *f, RAMBlock *block,
                                const RamPatch *patches, unsigned n, GError **errp)
{
    StreamSink *s = container_of(sink, StreamSink, base);

    put_zero_run(s, f);
    for (const RamPatch *p = patches; p < patches + n; p++) {
        put_head(s, f, block, p->page, p->delta ? RAM_FLAG_XBZRLE : RAM_FLAG_PAGE);
        if (p->delta) {
            qemu_put_byte(f, RAM_XBZRLE_ENCODING);
            qemu_put_be16(f, p->len);
        }
        qemu_put_buffer(f, p->bytes, p->delta ? p->len : TARGET_PAGE_SIZE);
    }
    return qemu_file_check(f, errp);
}

static bool stream_end_round(RamSink *sink, QEMUFile *f, bool last, GError **errp)
{
    put_zero_run(container_of(sink, StreamSink, base), f);
    return true;
}

static void stream_cleanup(RamSink *sink)
{
    g_free(container_of(sink, StreamSink, base));
}

static void stream_forget_block(RamSink *sink)
{
    container_of(sink, StreamSink, base)->last = NULL;
}

static const RamSinkOps stream_ops = {
    .name = "stream",
    .setup = stream_setup,
    .send_run = stream_send_run,
    .send_bytes = stream_send_bytes,
    .send_zero_run = stream_send_zero_run,
    .send_patches = stream_send_patches,
    .end_round = stream_end_round,
    .cleanup = stream_cleanup,
    .forget_block = stream_forget_block,
};

RamSink *ram_sink_stream_new(void)
{
    StreamSink *s = g_new0(StreamSink, 1);

    s->base.ops = &stream_ops;
    return &s->base;
}
