/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The plain sink with data compressed: COMPRESS_PAGE records, made by threads, each page a zlib
 * stream of its own (spec 20 section 9). For QEMU up to 9.0; multifd does it better.
 *
 *   migration thread   runs -> jobs of a few pages -> ring of slots -> finished slots, in order
 *   threads                                             -> copy, deflate -^
 *
 * A record made by a thread has no name, so it may only be written while the block of the last
 * record on the channel is the right one. The first page of a block goes out plainly, with the
 * name, and before anything else is said about another block the ring is emptied.
 *
 * A page is copied before it is deflated: the guest may be writing it.
 */
#include <zlib.h>
#include "migration/ram-sink.h"
#include "migration/stats.h"
#include "migration/wire/ram.h"

#define JOB_PAGES        16
#define SLOTS_PER_THREAD 2
#define RECORD_MAX       (RAM_WORD_BYTES + 4 + RAM_COMPRESSED_MAX)

typedef enum {
    SLOT_FREE,
    SLOT_QUEUED,
    SLOT_TAKEN,
    SLOT_DONE,
} SlotState;

typedef struct {
    SlotState state; /* under the lock */
    /* The migration thread's while free or done, a worker's while taken. */
    const uint8_t *host;
    uint64_t first, pages;
    bool ok;
    size_t len;
    uint8_t records[JOB_PAGES * RECORD_MAX];
} Slot;

typedef struct {
    RamSink base;
    RamSink *plain;
    RamCompressConfig config;
    GPtrArray *threads;
    const RAMBlock *block; /* of the last record; NULL: nobody knows */
    bool off;              /* deltas have begun: they win */
    Slot *slots;
    unsigned n_slots;
    unsigned oldest, used; /* of the ring; migration thread */

    GMutex lock; /* protects the states of slots and all below */
    GCond work;
    GCond done;
    unsigned next;   /* the slot to be taken next, */
    unsigned queued; /* of so many */
    bool quit;
} CompressSink;

/* ---- threads ---- */

static bool deflate_page(z_stream *z, const uint8_t *page, uint8_t *out, uint32_t *len)
{
    z->next_in = (uint8_t *)page;
    z->avail_in = RAM_PAGE_SIZE;
    z->next_out = out;
    z->avail_out = RAM_COMPRESSED_MAX;
    if (deflateReset(z) != Z_OK || deflate(z, Z_FINISH) != Z_STREAM_END) {
        return false;
    }
    *len = RAM_COMPRESSED_MAX - z->avail_out;
    return true;
}

static void do_job(z_stream *z, Slot *slot)
{
    uint8_t copy[RAM_PAGE_SIZE];
    uint8_t *p = slot->records;

    slot->ok = true;
    for (uint64_t i = 0; i < slot->pages && slot->ok; i++) {
        uint32_t len = 0;

        memcpy(copy, slot->host + i * RAM_PAGE_SIZE, RAM_PAGE_SIZE);
        p += ram_put_head(p, (slot->first + i) * RAM_PAGE_SIZE, RAM_FLAG_COMPRESS_PAGE, NULL);
        slot->ok = deflate_page(z, copy, p + 4, &len);
        len = GUINT32_TO_BE(len);
        memcpy(p, &len, 4);
        p += 4 + GUINT32_FROM_BE(len);
    }
    slot->len = p - slot->records;
}

static gpointer worker(gpointer opaque)
{
    CompressSink *s = opaque;
    z_stream z = {0};
    bool usable = deflateInit(&z, s->config.level) == Z_OK;

    g_mutex_lock(&s->lock);
    while (!s->quit) {
        Slot *slot;

        if (!s->queued) {
            g_cond_wait(&s->work, &s->lock);
            continue;
        }
        slot = &s->slots[s->next];
        s->next = (s->next + 1) % s->n_slots;
        s->queued--;
        slot->state = SLOT_TAKEN;
        g_mutex_unlock(&s->lock);
        if (usable) {
            do_job(&z, slot);
        } else {
            slot->ok = false;
        }
        g_mutex_lock(&s->lock);
        slot->state = SLOT_DONE;
        g_cond_signal(&s->done);
    }
    g_mutex_unlock(&s->lock);
    deflateEnd(&z);
    return NULL;
}

/* ---- the ring ---- */

/* Is the oldest slot done? With @wait: when it is. */
static bool oldest_done(CompressSink *s, bool wait)
{
    Slot *slot = &s->slots[s->oldest];
    bool done;

    g_mutex_lock(&s->lock);
    while (wait && slot->state != SLOT_DONE) {
        g_cond_wait(&s->done, &s->lock);
    }
    done = slot->state == SLOT_DONE;
    g_mutex_unlock(&s->lock);
    return done;
}

/* Write the oldest slot, which is done. */
static bool write_oldest(CompressSink *s, QEMUFile *f, GError **errp)
{
    MigrationCounters *c = s->config.counters;
    Slot *slot = &s->slots[s->oldest];

    if (!slot->ok) {
        error_setg(errp, "zlib failed to compress page 0x%" PRIx64 " of RAM block '%s'",
                   slot->first * RAM_PAGE_SIZE, s->block->idstr);
        return false;
    }
    qemu_put_buffer(f, slot->records, slot->len);
    stat_add(&c->compress_pages, slot->pages);
    stat_add(&c->compress_bytes, slot->len - slot->pages * RAM_WORD_BYTES);
    slot->state = SLOT_FREE; /* nobody else looks at it */
    s->oldest = (s->oldest + 1) % s->n_slots;
    s->used--;
    return true;
}

static bool drain(CompressSink *s, QEMUFile *f, GError **errp)
{
    while (s->used) {
        oldest_done(s, true);
        if (!write_oldest(s, f, errp)) {
            return false;
        }
    }
    return true;
}

/* Room for a job: *room, unless all are busy and nobody wants to wait. */
static bool make_room(CompressSink *s, QEMUFile *f, bool *room, GError **errp)
{
    while (s->used && oldest_done(s, s->config.wait && s->used == s->n_slots)) {
        if (!write_oldest(s, f, errp)) {
            return false;
        }
    }
    *room = s->used < s->n_slots;
    return true;
}

static void queue_job(CompressSink *s, const RAMBlock *block, uint64_t first, uint64_t pages)
{
    Slot *slot = &s->slots[(s->oldest + s->used) % s->n_slots];

    slot->host = block->host + (first << TARGET_PAGE_BITS);
    slot->first = first;
    slot->pages = pages;
    s->used++;
    g_mutex_lock(&s->lock);
    slot->state = SLOT_QUEUED;
    s->queued++;
    g_cond_signal(&s->work);
    g_mutex_unlock(&s->lock);
}

/* ---- the sink ---- */

static bool compress_setup(RamSink *sink, QEMUFile *f, GError **errp)
{
    CompressSink *s = container_of(sink, CompressSink, base);

    return s->plain->ops->setup(s->plain, f, errp);
}

static bool compress_send_run(RamSink *sink, QEMUFile *f, RAMBlock *block, uint64_t first,
                              uint64_t count, GError **errp)
{
    CompressSink *s = container_of(sink, CompressSink, base);

    if (s->off) {
        return s->plain->ops->send_run(s->plain, f, block, first, count, errp);
    }
    if (block != s->block) {
        if (!drain(s, f, errp) || !s->plain->ops->send_run(s->plain, f, block, first, 1, errp)) {
            return false;
        }
        s->block = block;
        first++;
        count--;
    }
    while (count) {
        uint64_t n = MIN(count, JOB_PAGES);
        bool room;

        if (!make_room(s, f, &room, errp)) {
            return false;
        }
        if (room) {
            queue_job(s, block, first, n);
        } else {
            stat_add(&s->config.counters->compress_busy, n);
            if (!s->plain->ops->send_run(s->plain, f, block, first, n, errp)) {
                return false;
            }
        }
        first += n;
        count -= n;
    }
    return qemu_file_check(f, errp);
}

static bool compress_send_zero_run(RamSink *sink, QEMUFile *f, RAMBlock *block, uint64_t first,
                                   uint64_t count, GError **errp)
{
    CompressSink *s = container_of(sink, CompressSink, base);

    if (block != s->block && !drain(s, f, errp)) {
        return false;
    }
    s->block = block;
    return s->plain->ops->send_zero_run(s->plain, f, block, first, count, errp);
}

static bool compress_send_patches(RamSink *sink, QEMUFile *f, RAMBlock *block,
                                  const RamPatch *patches, unsigned n, GError **errp)
{
    CompressSink *s = container_of(sink, CompressSink, base);

    s->off = true;
    return drain(s, f, errp) && s->plain->ops->send_patches(s->plain, f, block, patches, n, errp);
}

static bool compress_end_round(RamSink *sink, QEMUFile *f, bool last, GError **errp)
{
    CompressSink *s = container_of(sink, CompressSink, base);

    return drain(s, f, errp) && s->plain->ops->end_round(s->plain, f, last, errp);
}

static void compress_cleanup(RamSink *sink)
{
    CompressSink *s = container_of(sink, CompressSink, base);

    g_mutex_lock(&s->lock);
    s->quit = true;
    g_cond_broadcast(&s->work);
    g_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < s->threads->len; i++) {
        g_thread_join(s->threads->pdata[i]);
    }
    g_ptr_array_unref(s->threads);
    s->plain->ops->cleanup(s->plain);
    g_cond_clear(&s->done);
    g_cond_clear(&s->work);
    g_mutex_clear(&s->lock);
    g_free(s->slots);
    g_free(s);
}

static void compress_forget_block(RamSink *sink)
{
    CompressSink *s = container_of(sink, CompressSink, base);

    s->block = NULL;
    s->plain->ops->forget_block(s->plain);
}

static const RamSinkOps compress_ops = {
    .name = "compress",
    .setup = compress_setup,
    .send_run = compress_send_run,
    .send_zero_run = compress_send_zero_run,
    .send_patches = compress_send_patches,
    .end_round = compress_end_round,
    .cleanup = compress_cleanup,
    .forget_block = compress_forget_block,
};

RamSink *ram_sink_compress_new(const RamCompressConfig *config, GError **errp)
{
    CompressSink *s = g_new0(CompressSink, 1);

    s->base.ops = &compress_ops;
    s->base.codes_pages = true;
    s->plain = ram_sink_stream_new();
    s->config = *config;
    s->n_slots = config->threads * SLOTS_PER_THREAD;
    s->slots = g_new0(Slot, s->n_slots);
    s->threads = g_ptr_array_new();
    g_mutex_init(&s->lock);
    g_cond_init(&s->work);
    g_cond_init(&s->done);
    for (unsigned i = 0; i < config->threads; i++) {
        GThread *t = g_thread_try_new("compress", worker, s, errp);

        if (!t) {
            compress_cleanup(&s->base);
            return NULL;
        }
        g_ptr_array_add(s->threads, t);
    }
    return &s->base;
}
