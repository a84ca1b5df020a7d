/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <zlib.h>
#include "migration/ram/decompress.h"
#include "migration/wire/ram.h"

/* Pages handed over at once. */
#define BATCH_PAGES 16

typedef struct Batch Batch;
struct Batch {
    Batch *next;
    unsigned pages;
    struct {
        uint8_t *host;
        uint32_t len;
        uint8_t bytes[RAM_COMPRESSED_MAX];
    } page[BATCH_PAGES];
};

struct RamDecompress {
    Batch *filling; /* the reader's; NULL: take a free one */
    GPtrArray *threads;

    GMutex lock; /* protects all below */
    GCond work;
    GCond done;
    Batch *free, *queued; /* queued in no particular order */
    unsigned busy;        /* batches queued or being worked on */
    bool damaged;         /* some page could not be inflated */
    bool quit;
};

/* Exactly one page comes out, and nothing is left. */
static bool inflate_page(z_stream *z, const uint8_t *bytes, uint32_t len, uint8_t *host)
{
    z->next_in = (uint8_t *)bytes;
    z->avail_in = len;
    z->next_out = host;
    z->avail_out = RAM_PAGE_SIZE;
    return inflateReset(z) == Z_OK && inflate(z, Z_FINISH) == Z_STREAM_END && !z->avail_in &&
           !z->avail_out;
}

static bool inflate_batch(z_stream *z, const Batch *b)
{
    bool ok = true;

    for (unsigned i = 0; i < b->pages; i++) {
        ok &= inflate_page(z, b->page[i].bytes, b->page[i].len, b->page[i].host);
    }
    return ok;
}

static gpointer worker(gpointer opaque)
{
    RamDecompress *d = opaque;
    z_stream z = {0};
    bool usable = inflateInit(&z) == Z_OK;

    g_mutex_lock(&d->lock);
    for (;;) {
        Batch *b = d->queued;
        bool ok;

        if (!b) {
            if (d->quit) {
                break;
            }
            g_cond_wait(&d->work, &d->lock);
            continue;
        }
        d->queued = b->next;
        g_mutex_unlock(&d->lock);
        ok = usable && inflate_batch(&z, b);
        g_mutex_lock(&d->lock);
        d->damaged |= !ok;
        b->next = d->free;
        d->free = b;
        d->busy--;
        g_cond_signal(&d->done);
    }
    g_mutex_unlock(&d->lock);
    inflateEnd(&z);
    return NULL;
}

RamDecompress *ram_decompress_new(unsigned threads, GError **errp)
{
    RamDecompress *d = g_new0(RamDecompress, 1);

    g_mutex_init(&d->lock);
    g_cond_init(&d->work);
    g_cond_init(&d->done);
    d->threads = g_ptr_array_new();
    for (unsigned i = 0; i < threads; i++) {
        GThread *t = g_thread_try_new("decompress", worker, d, errp);
        Batch *b;

        if (!t) {
            ram_decompress_free(d);
            return NULL;
        }
        g_ptr_array_add(d->threads, t);
        for (unsigned k = 0; k < 2; k++) { /* one to work on, one waiting */
            b = g_new(Batch, 1);
            b->next = d->free;
            d->free = b;
        }
    }
    return d;
}

static void free_batches(Batch *b)
{
    while (b) {
        Batch *next = b->next;

        g_free(b);
        b = next;
    }
}

void ram_decompress_free(RamDecompress *d)
{
    if (!d) {
        return;
    }
    g_mutex_lock(&d->lock);
    d->quit = true;
    g_cond_broadcast(&d->work);
    g_mutex_unlock(&d->lock);
    for (unsigned i = 0; i < d->threads->len; i++) {
        g_thread_join(d->threads->pdata[i]);
    }
    g_ptr_array_unref(d->threads);
    g_free(d->filling);
    free_batches(d->free);
    free_batches(d->queued);
    g_cond_clear(&d->done);
    g_cond_clear(&d->work);
    g_mutex_clear(&d->lock);
    g_free(d);
}

static void start_batch(RamDecompress *d)
{
    g_mutex_lock(&d->lock);
    while (!d->free) {
        g_cond_wait(&d->done, &d->lock);
    }
    d->filling = d->free;
    d->free = d->filling->next;
    g_mutex_unlock(&d->lock);
    d->filling->pages = 0;
}

static void hand_over(RamDecompress *d)
{
    Batch *b = g_steal_pointer(&d->filling);

    g_mutex_lock(&d->lock);
    b->next = d->queued;
    d->queued = b;
    d->busy++;
    g_cond_signal(&d->work);
    g_mutex_unlock(&d->lock);
}

bool ram_decompress_page(RamDecompress *d, QEMUFile *f, uint8_t *host, GError **errp)
{
    uint32_t len = qemu_get_be32(f);
    unsigned i;

    if (!qemu_file_check(f, errp)) {
        return false;
    }
    if (len < 1 || len > RAM_COMPRESSED_MAX) {
        error_setg(errp, "its length %u is not between 1 and %d", len, RAM_COMPRESSED_MAX);
        return false;
    }
    if (!d->filling) {
        start_batch(d);
    }
    i = d->filling->pages;
    if (!qemu_get_buffer(f, d->filling->page[i].bytes, len)) {
        return qemu_file_check(f, errp);
    }
    d->filling->page[i].host = host;
    d->filling->page[i].len = len;
    if (++d->filling->pages == BATCH_PAGES) {
        hand_over(d);
    }
    return true;
}

bool ram_decompress_drain(RamDecompress *d, GError **errp)
{
    bool damaged;

    if (!d) {
        return true;
    }
    if (d->filling && d->filling->pages) {
        hand_over(d);
    }
    g_mutex_lock(&d->lock);
    while (d->busy) {
        g_cond_wait(&d->done, &d->lock);
    }
    damaged = d->damaged;
    g_mutex_unlock(&d->lock);
    if (damaged) {
        error_setg(errp,
                   "A compressed page of this section is damaged: it does not inflate to %d "
                   "bytes",
                   RAM_PAGE_SIZE);
    }
    return !damaged;
}
