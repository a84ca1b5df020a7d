/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asynchronous requests: a pool of worker threads does the system calls, completions are collected
 * in a list and delivered on the main loop, or by whoever drains.
 */
#include "util/osdep.h"
#include "block-int.h"
#include "util/iov.h"

#define MAX_WORKERS 16

typedef enum { AIO_READ, AIO_WRITE, AIO_FLUSH, AIO_DISCARD, AIO_ZERO } AioOp;

typedef struct BlockRequest {
    BlockBackend *blk;
    AioOp op;
    uint64_t offset, len;
    const struct iovec *iov;
    unsigned n;
    BlockCompletion *cb;
    void *opaque;
    int ret;
    struct BlockRequest *next;
} BlockRequest;

struct BlockAio {
    GThreadPool *pool;
    GSource *source;
    unsigned in_flight; /* submitted, callback not yet run; big lock */
    GMutex lock;
    GCond finished;
    BlockRequest *todo, **todo_tail; /* lock */
    BlockRequest *done, **done_tail; /* lock */
    unsigned busy;                   /* pushed, its worker not yet out of perform(); lock */
};

/* The pool only wakes workers; requests change hands under our lock. */
static BlockRequest *take_todo(BlockAio *aio)
{
    BlockRequest *req;

    g_mutex_lock(&aio->lock);
    req = aio->todo;
    aio->todo = req->next;
    if (!aio->todo) {
        aio->todo_tail = &aio->todo;
    }
    req->next = NULL;
    g_mutex_unlock(&aio->lock);
    return req;
}

static void perform(gpointer data, gpointer opaque)
{
    BlockAio *aio = opaque;
    BlockRequest *req = take_todo(aio);

    switch (req->op) {
    case AIO_READ:
        req->ret = block_do_preadv(req->blk, req->offset, req->iov, req->n);
        break;
    case AIO_WRITE:
        req->ret = block_do_pwritev(req->blk, req->offset, req->iov, req->n);
        break;
    case AIO_FLUSH:
        req->ret = block_do_flush(req->blk);
        break;
    case AIO_DISCARD:
    case AIO_ZERO:
        req->ret = block_do_discard(req->blk, req->offset, req->len, req->op == AIO_ZERO);
        break;
    }
    g_mutex_lock(&aio->lock);
    if (!aio->done) {
        g_source_set_ready_time(aio->source, 0);
    }
    *aio->done_tail = req;
    aio->done_tail = &req->next;
    aio->busy--;
    g_cond_broadcast(&aio->finished);
    g_mutex_unlock(&aio->lock);
}

static BlockRequest *take_done(BlockAio *aio, bool wait)
{
    BlockRequest *list;

    g_mutex_lock(&aio->lock);
    while (wait && !aio->done) {
        g_cond_wait(&aio->finished, &aio->lock);
    }
    list = aio->done;
    aio->done = NULL;
    aio->done_tail = &aio->done;
    g_mutex_unlock(&aio->lock);
    return list;
}

static void deliver(BlockAio *aio, BlockRequest *list)
{
    while (list) {
        g_autofree BlockRequest *req = list;

        list = req->next;
        aio->in_flight--;
        req->cb(req->opaque, req->ret);
    }
}

static gboolean dispatch(GSource *source, GSourceFunc fn, gpointer opaque)
{
    BlockAio *aio = opaque;

    g_source_set_ready_time(source, -1);
    deliver(aio, take_done(aio, false));
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs source_funcs = {.dispatch = dispatch};

BlockAio *block_aio_new(void)
{
    BlockAio *aio = g_new0(BlockAio, 1);

    g_mutex_init(&aio->lock);
    g_cond_init(&aio->finished);
    aio->todo_tail = &aio->todo;
    aio->done_tail = &aio->done;
    aio->pool = g_thread_pool_new(perform, aio, MAX_WORKERS, FALSE, NULL);
    aio->source = g_source_new(&source_funcs, sizeof(GSource));
    g_source_set_name(aio->source, "block completions");
    g_source_set_callback(aio->source, NULL, aio, NULL);
    g_source_attach(aio->source, NULL);
    return aio;
}

void block_aio_drain(BlockAio *aio)
{
    while (aio->in_flight) {
        deliver(aio, take_done(aio, true));
    }
}

void block_aio_free(BlockAio *aio)
{
    block_aio_drain(aio);
    g_mutex_lock(&aio->lock);
    while (aio->busy) {
        g_cond_wait(&aio->finished, &aio->lock);
    }
    g_mutex_unlock(&aio->lock);
    g_thread_pool_free(aio->pool, FALSE, TRUE);
    g_source_destroy(aio->source);
    g_source_unref(aio->source);
    g_mutex_clear(&aio->lock);
    g_cond_clear(&aio->finished);
    g_free(aio);
}

static void submit(BlockBackend *blk, AioOp op, uint64_t offset, uint64_t len,
                   const struct iovec *iov, unsigned n, BlockCompletion *cb, void *opaque)
{
    BlockAio *aio = blk->list->aio;
    BlockRequest *req = g_new(BlockRequest, 1);

    *req = (BlockRequest){
        .blk = blk,
        .op = op,
        .offset = offset,
        .len = len,
        .iov = iov,
        .n = n,
        .cb = cb,
        .opaque = opaque,
    };
    aio->in_flight++;
    g_mutex_lock(&aio->lock);
    *aio->todo_tail = req;
    aio->todo_tail = &req->next;
    aio->busy++;
    g_mutex_unlock(&aio->lock);
    g_thread_pool_push(aio->pool, aio, NULL);
}

void block_aio_readv(BlockBackend *blk, uint64_t offset, const struct iovec *iov, unsigned n,
                     BlockCompletion *cb, void *opaque)
{
    submit(blk, AIO_READ, offset, 0, iov, n, cb, opaque);
}

void block_aio_writev(BlockBackend *blk, uint64_t offset, const struct iovec *iov, unsigned n,
                      BlockCompletion *cb, void *opaque)
{
    submit(blk, AIO_WRITE, offset, 0, iov, n, cb, opaque);
}

void block_aio_flush(BlockBackend *blk, BlockCompletion *cb, void *opaque)
{
    submit(blk, AIO_FLUSH, 0, 0, NULL, 0, cb, opaque);
}

void block_aio_discard(BlockBackend *blk, uint64_t offset, uint64_t len, bool zero,
                       BlockCompletion *cb, void *opaque)
{
    submit(blk, zero ? AIO_ZERO : AIO_DISCARD, offset, len, NULL, 0, cb, opaque);
}
