/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/ram/page-io.h"
#include "memory/host-memory.h"
#include "util/error.h"
#include "util/lock.h"

#define BATCH_PIECES 64
#define BATCH_BYTES  (4 * MiB)
/* Enough that no thread waits for the producer, little enough that a cancel is quick. */
#define QUEUE_BATCHES 8

typedef struct {
    uint8_t *host;
    size_t len;
    uint64_t offset;
} Piece;

typedef struct {
    unsigned n;
    size_t bytes;
    Piece pieces[BATCH_PIECES];
} Batch;

struct PageIO {
    QIOChannel *ioc;
    PageIODirection direction;
    Batch open; /* being filled by the producer */

    GMutex lock; /* protects all below */
    GCond work;  /* for the threads: a batch is queued, or stop */
    GCond done;  /* for the producer: a batch was taken or finished */
    Batch queue[QUEUE_BATCHES];
    unsigned head, queued;
    unsigned busy;
    GError *error; /* the first */
    bool stop;

    unsigned n_threads;
    GThread *threads[PAGE_IO_MAX_THREADS];
};

static bool transfer(PageIO *io, const Piece *p, GError **errp)
{
    struct iovec iov = {p->host, p->len};

    if (io->direction == PAGE_IO_WRITE) {
        return io_channel_pwritev_all(io->ioc, &iov, 1, p->offset, errp);
    }
    host_memory_populate(p->host, p->len, 1, NULL); /* in huge pages, ahead of the copy */
    return io_channel_preadv_all(io->ioc, &iov, 1, p->offset, errp);
}

static GError *run_batch(PageIO *io, const Batch *b)
{
    GError *err = NULL;

    for (unsigned i = 0; i < b->n; i++) {
        if (!transfer(io, &b->pieces[i], &err)) {
            g_prefix_error(&err, "Guest memory at file offset %" PRIu64 ": ", b->pieces[i].offset);
            return err;
        }
    }
    return NULL;
}

static gpointer worker(gpointer opaque)
{
    PageIO *io = opaque;
    Batch mine;

    g_mutex_lock(&io->lock);
    while (!io->stop) {
        GError *err;

        if (!io->queued) {
            g_cond_wait(&io->work, &io->lock);
            continue;
        }
        mine = io->queue[io->head];
        io->head = (io->head + 1) % QUEUE_BATCHES;
        io->queued--;
        io->busy++;
        g_cond_signal(&io->done);
        g_mutex_unlock(&io->lock);
        err = run_batch(io, &mine);
        g_mutex_lock(&io->lock);
        io->busy--;
        if (err && !io->error) {
            io->error = err;
        } else {
            g_clear_error(&err);
        }
        g_cond_signal(&io->done);
    }
    g_mutex_unlock(&io->lock);
    return NULL;
}

PageIO *page_io_new(QIOChannel *ioc, PageIODirection direction, unsigned threads, GError **errp)
{
    PageIO *io = g_new0(PageIO, 1);
    GError *err = NULL;

    io->ioc = g_object_ref(ioc);
    io->direction = direction;
    g_mutex_init(&io->lock);
    g_cond_init(&io->work);
    g_cond_init(&io->done);
    threads = CLAMP(threads, 1, PAGE_IO_MAX_THREADS);
    while (io->n_threads < threads && !err) {
        GThread *t = g_thread_try_new("page-io", worker, io, &err);

        if (t) {
            io->threads[io->n_threads++] = t;
        }
    }
    if (err && !io->n_threads) {
        g_propagate_error(errp, err);
        g_clear_pointer(&io, page_io_free);
    } else {
        g_clear_error(&err); /* fewer are slower, not wrong */
    }
    return io;
}

/* Wait on done, the big lock released. */
static void wait_done(PageIO *io)
{
    bool locked = bql_locked();

    if (locked) {
        bql_unlock();
    }
    g_cond_wait(&io->done, &io->lock);
    if (locked) {
        g_mutex_unlock(&io->lock); /* the big lock is the outer one */
        bql_lock();
        g_mutex_lock(&io->lock);
    }
}

static bool failed_locked(PageIO *io, GError **errp)
{
    if (io->error) {
        g_propagate_error(errp, g_error_copy(io->error));
    }
    return io->error != NULL;
}

static bool submit(PageIO *io, GError **errp)
{
    bool ok = true;

    if (!io->open.n) {
        return true;
    }
    g_mutex_lock(&io->lock);
    while (!io->error && io->queued == QUEUE_BATCHES) {
        wait_done(io);
    }
    if (failed_locked(io, errp)) {
        ok = false;
    } else {
        io->queue[(io->head + io->queued++) % QUEUE_BATCHES] = io->open;
        g_cond_signal(&io->work);
    }
    g_mutex_unlock(&io->lock);
    io->open.n = 0;
    io->open.bytes = 0;
    return ok;
}

bool page_io_queue(PageIO *io, uint8_t *host, size_t len, uint64_t offset, GError **errp)
{
    Batch *b = &io->open;
    Piece *last = b->n ? &b->pieces[b->n - 1] : NULL;

    if (last && last->host + last->len == host && last->offset + last->len == offset) {
        last->len += len;
    } else {
        b->pieces[b->n++] = (Piece){host, len, offset};
    }
    b->bytes += len;
    return (b->n < BATCH_PIECES && b->bytes < BATCH_BYTES) || submit(io, errp);
}

bool page_io_drain(PageIO *io, GError **errp)
{
    bool ok = submit(io, errp);

    g_mutex_lock(&io->lock);
    while (!io->error && (io->queued || io->busy)) {
        wait_done(io);
    }
    while (io->busy) {
        wait_done(io); /* also after a failure: nobody touches the memory any more */
    }
    ok = ok && !failed_locked(io, errp);
    g_mutex_unlock(&io->lock);
    return ok;
}

void page_io_free(PageIO *io)
{
    if (!io) {
        return;
    }
    g_mutex_lock(&io->lock);
    io->stop = true;
    g_cond_broadcast(&io->work);
    g_mutex_unlock(&io->lock);
    for (unsigned i = 0; i < io->n_threads; i++) {
        g_thread_join(io->threads[i]);
    }
    g_clear_error(&io->error);
    g_cond_clear(&io->work);
    g_cond_clear(&io->done);
    g_mutex_clear(&io->lock);
    g_object_unref(io->ioc);
    g_free(io);
}
