/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Work requests, completions and waiting.
 *
 * Requests of the send queue finish in order. So a request's id is its place in the queue, one
 * completion retires everything before it, and only every SIGNAL_EVERY-th WRITE needs one.
 */
#include "migration/rdma/connection.h"
#include <sys/mman.h>
#include <sys/resource.h>
#include "util/lock.h"

#define SIGNAL_EVERY 32
#define POLL_BATCH   32
/* How long a quiet connection may be dead before we notice. */
#define PROBE_MS 5000
/* How long the peer's adapter may take to confirm our last words. */
#define GOODBYE_US (1 * G_TIME_SPAN_SECOND)
#define ERROR_US   (200 * G_TIME_SPAN_MILLISECOND)
/* How long a peer may take to hang up when it has all it wanted. */
#define HANG_UP_US (2 * G_TIME_SPAN_SECOND)
/* The peer has asked or was answered; its last confirmation is a matter of one round trip. */
#define ESTABLISH_US (10 * G_TIME_SPAN_SECOND)

#define SLOTS      (RDMA_RECV_SLOTS + RDMA_SEND_SLOTS)
#define SLOT_BYTES ((size_t)RDMA_CONTROL_MAX)

uint8_t *rdma_recv_slot(RdmaConnection *c, unsigned i)
{
    return c->memory + i * SLOT_BYTES;
}

uint8_t *rdma_send_slot(RdmaConnection *c, unsigned i)
{
    return rdma_recv_slot(c, RDMA_RECV_SLOTS + i);
}

/* ---- errors ---- */

bool rdma_connection_check(RdmaConnection *c, GError **errp)
{
    bool ok;

    g_mutex_lock(&c->lock);
    ok = !c->error;
    if (!ok) {
        g_propagate_error(errp, g_error_copy(c->error));
    }
    g_mutex_unlock(&c->lock);
    return ok;
}

bool rdma_connection_fail(RdmaConnection *c, GError *err, GError **errp)
{
    g_mutex_lock(&c->lock);
    if (c->error) {
        g_error_free(err);
    } else {
        c->error = err;
    }
    g_propagate_error(errp, g_error_copy(c->error));
    g_mutex_unlock(&c->lock);
    return false;
}

bool rdma_peer_error(RdmaConnection *c, GError **errp, const char *fmt, ...)
{
    g_autofree char *text = NULL;
    GError *err = NULL;
    va_list args;

    va_start(args, fmt);
    text = g_strdup_vprintf(fmt, args);
    va_end(args);
    error_setg(&err, "RDMA peer %s: %s", c->name, text);
    return rdma_connection_fail(c, err, errp);
}

bool rdma_connection_closed(RdmaConnection *c, GError **errp)
{
    return rdma_peer_error(c, errp, "%s", c->end ? c->end->message : "the connection was closed");
}

void rdma_connection_shutdown(RdmaConnection *c)
{
    __atomic_store_n(&c->shut, true, __ATOMIC_RELEASE);
    c->ep->ops->wake(c->ep);
}

static bool check_shut(RdmaConnection *c, GError **errp)
{
    GError *err = NULL;

    if (!__atomic_load_n(&c->shut, __ATOMIC_ACQUIRE)) {
        return true;
    }
    error_setg(&err, "The RDMA connection to %s was shut down", c->name);
    return rdma_connection_fail(c, err, errp);
}

/* ---- completions ---- */

static bool finish_one(RdmaConnection *c, const RdmaCompletion *w, GError **errp)
{
    if (w->flushed) {
        c->over = true; /* what came before it still counts */
        return true;
    }
    if (w->error) {
        c->over = true;
        return rdma_peer_error(c, errp, "a transfer failed: %s", w->error);
    }
    if (w->received) {
        return rdma_message_arrived(c, w->id, w->bytes, errp);
    }
    c->retired = MAX(c->retired, w->id);
    return true;
}

/* *any: there were some. */
static bool poll_queue(RdmaConnection *c, bool *any, GError **errp)
{
    RdmaCompletion done[POLL_BATCH];
    GError *err = NULL;
    int n = c->ep->ops->poll(c->ep, done, POLL_BATCH, &err);
    bool ok = true;

    *any = n > 0;
    if (n < 0) {
        return rdma_connection_fail(c, err, errp);
    }
    for (int i = 0; i < n; i++) {
        /* All of them: behind a bad one there may be the proof that something did arrive. */
        ok = finish_one(c, &done[i], ok ? errp : NULL) && ok;
    }
    return ok;
}

/*
 * A peer whose machine is gone sends no goodbye, and a wait for its message sends nothing that
 * could fail. A WRITE of no bytes needs no memory and no receive there, only a live adapter.
 */
static bool probe(RdmaConnection *c, GError **errp)
{
    return c->wait_established || c->posted != c->retired ||
           rdma_post_write(c, NULL, 0, 0, 0, 0, errp);
}

/* Sleep until something may have happened; @timeout_ms <= PROBE_MS. */
static bool sleep_once(RdmaConnection *c, int timeout_ms, GError **errp)
{
    int64_t begin = g_get_monotonic_time();
    bool locked = bql_locked(), alive;
    GError *err = NULL;

    if (locked) {
        bql_unlock();
    }
    alive = c->ep->ops->sleep(c->ep, timeout_ms, &err);
    if (locked) {
        bql_lock();
    }
    if (!alive) {
        /* The news of the end may overtake messages that are already here. */
        c->over = true;
        g_clear_error(&c->end);
        c->end = err;
        return true;
    }
    return g_get_monotonic_time() - begin < PROBE_MS * 1000 || probe(c, errp);
}

bool rdma_pump_until(RdmaConnection *c, int64_t deadline, bool *late, GError **errp)
{
    GError *err = NULL;
    int64_t left;
    bool any;

    *late = false;
    if (!rdma_connection_check(c, errp) || !check_shut(c, errp) || !poll_queue(c, &any, errp)) {
        return false;
    }
    if (any) {
        return true;
    }
    if (c->over) {
        return rdma_connection_closed(c, errp);
    }
    if (!c->ep->ops->arm(c->ep, &err)) {
        return rdma_connection_fail(c, err, errp);
    }
    if (!poll_queue(c, &any, errp)) {
        return false;
    }
    left = (deadline - g_get_monotonic_time()) / 1000;
    if (any) {
        return true;
    }
    if (left <= 0) {
        *late = true;
        return true;
    }
    return sleep_once(c, MIN(left, PROBE_MS), errp);
}

bool rdma_pump(RdmaConnection *c, bool block, GError **errp)
{
    bool late, any;

    if (block) {
        return rdma_pump_until(c, INT64_MAX, &late, errp);
    }
    return rdma_connection_check(c, errp) && check_shut(c, errp) && poll_queue(c, &any, errp);
}

/* ---- posting ---- */

/* The destination may not send before the source has confirmed the connection. */
static bool await_established(RdmaConnection *c, GError **errp)
{
    int64_t end = g_get_monotonic_time() + ESTABLISH_US;
    bool late = false;

    while (c->wait_established && !c->ep->ops->established(c->ep)) {
        if (!rdma_pump_until(c, end, &late, errp)) {
            return false;
        }
        if (late) {
            return rdma_peer_error(c, errp, "it does not confirm the connection");
        }
    }
    c->wait_established = false;
    return true;
}

static bool room_to_post(RdmaConnection *c, GError **errp)
{
    if (!rdma_connection_check(c, errp) || !check_shut(c, errp) || !await_established(c, errp)) {
        return false;
    }
    /* One place stays free for the ERROR of the end. */
    while (c->over || c->posted - c->retired >= RDMA_SEND_DEPTH - 1) {
        if (!rdma_pump(c, true, errp)) {
            return false;
        }
    }
    return true;
}

bool rdma_post_write(RdmaConnection *c, void *addr, uint32_t len, uint32_t lkey, uint64_t remote,
                     uint32_t rkey, GError **errp)
{
    RdmaWork work = {
        .addr = addr,
        .len = len,
        .lkey = lkey,
        .remote_addr = remote,
        .rkey = rkey,
    };
    GError *err = NULL;

    if (!room_to_post(c, errp)) {
        return false;
    }
    work.id = c->posted + 1;
    work.signalled = !len || work.id - c->signalled >= SIGNAL_EVERY;
    if (!c->ep->ops->post_write(c->ep, &work, &err)) {
        return rdma_connection_fail(c, err, errp);
    }
    c->posted = work.id;
    if (work.signalled) {
        c->signalled = work.id;
    }
    return true;
}

bool rdma_post_slot(RdmaConnection *c, unsigned slot, uint32_t len, uint64_t *id, GError **errp)
{
    RdmaWork work = {
        .addr = rdma_send_slot(c, slot),
        .len = len,
        .lkey = c->region.lkey,
        .signalled = true,
    };
    GError *err = NULL;

    if (!room_to_post(c, errp)) {
        return false;
    }
    work.id = c->posted + 1;
    if (!c->ep->ops->post_send(c->ep, &work, &err)) {
        return rdma_connection_fail(c, err, errp);
    }
    c->posted = c->signalled = c->slot_busy[slot] = *id = work.id;
    return true;
}

bool rdma_wait_retired(RdmaConnection *c, uint64_t id, GError **errp)
{
    while (c->retired < id) {
        if (!rdma_pump(c, true, errp)) {
            return false;
        }
    }
    return true;
}

/* ---- memory ---- */

bool rdma_register(RdmaConnection *c, void *addr, uint64_t len, bool remote, const char *what,
                   RdmaRegion *out, GError **errp)
{
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    GError *err = NULL;

    if (c->ep->ops->reg(c->ep, addr, len, remote, out, &err)) {
        return true;
    }
    g_prefix_error(&err, "Cannot register %" PRIu64 " KiB of %s with the RDMA device: ", len / KiB,
                   what);
    getrlimit(RLIMIT_MEMLOCK, &limit);
    if (limit.rlim_cur != RLIM_INFINITY) {
        g_autofree char *text =
            g_strdup_printf("%s. Registered memory is locked, and this process may lock %" PRIu64
                            " KiB; raise the limit (ulimit -l, LimitMEMLOCK=) above the guest's "
                            "memory, or grant CAP_IPC_LOCK",
                            err->message, (uint64_t)limit.rlim_cur / KiB);

        g_clear_error(&err);
        error_setg(&err, "%s", text);
    }
    return rdma_connection_fail(c, err, errp);
}

void rdma_unregister(RdmaConnection *c, RdmaRegion *region)
{
    if (region->handle) {
        c->ep->ops->unreg(c->ep, region);
    }
}

/* ---- life ---- */

RdmaConnection *rdma_connection_new(RdmaEndpoint *ep, GError **errp)
{
    RdmaConnection *c = g_new0(RdmaConnection, 1);
    GError *err = NULL;
    bool ok;

    c->ep = ep;
    c->name = g_strdup(ep->ops->peer_name(ep));
    g_mutex_init(&c->lock);
    c->memory =
        mmap(NULL, SLOTS * SLOT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ok = c->memory != MAP_FAILED;
    if (ok) {
        ok = rdma_register(c, c->memory, SLOTS * SLOT_BYTES, false, "message buffers", &c->region,
                           errp);
    } else {
        c->memory = NULL;
        error_setg_errno(&err, errno, "No memory for the buffers of the RDMA connection to %s",
                         c->name);
        rdma_connection_fail(c, err, errp);
    }
    for (unsigned i = 0; ok && i < RDMA_RECV_SLOTS; i++) {
        ok = rdma_post_receive(c, i, errp);
    }
    if (!ok) {
        c->over = true; /* never was one */
        rdma_connection_free(c);
        return NULL;
    }
    return c;
}

/* Everything of the send queue is with the peer, or time is up. Errors do not matter any more. */
static void await_sent(RdmaConnection *c, int64_t patience_us)
{
    int64_t end = g_get_monotonic_time() + patience_us;
    bool any;

    while (c->retired < c->signalled && g_get_monotonic_time() < end) {
        poll_queue(c, &any, NULL);
        if (any || !c->ep->ops->arm(c->ep, NULL)) {
            continue;
        }
        poll_queue(c, &any, NULL);
        if (!any && (c->over || !c->ep->ops->sleep(c->ep, 10, NULL))) {
            c->over = true;
            return;
        }
    }
}

bool rdma_has_arrived(RdmaConnection *c, uint64_t id)
{
    await_sent(c, GOODBYE_US);
    return c->retired >= id;
}

/* The peer shall not wait for what will never come. */
static void send_error(RdmaConnection *c)
{
    RdmaHeader h = {.type = RDMA_MSG_ERROR, .repeat = 1};
    RdmaWork work = {
        .id = c->posted + 1,
        .addr = rdma_send_slot(c, c->next_slot),
        .len = RDMA_HEADER_SIZE,
        .lkey = c->region.lkey,
        .signalled = true,
    };

    rdma_put_header(work.addr, &h);
    if (c->ep->ops->post_send(c->ep, &work, NULL)) {
        c->posted = c->signalled = work.id;
        await_sent(c, ERROR_US);
    }
}

void rdma_await_hang_up(RdmaConnection *c)
{
    int64_t end = g_get_monotonic_time() + HANG_UP_US;
    bool any;

    while (!c->over && g_get_monotonic_time() < end && c->ep->ops->arm(c->ep, NULL)) {
        poll_queue(c, &any, NULL);
        c->over = c->over || (!any && !c->ep->ops->sleep(c->ep, 10, NULL));
    }
}

static void say_goodbye(RdmaConnection *c)
{
    bool failed = !rdma_connection_check(c, NULL) || __atomic_load_n(&c->shut, __ATOMIC_ACQUIRE);

    if (c->over || c->wait_established) {
        return;
    }
    if (!failed) {
        await_sent(c, GOODBYE_US);
    } else if (!c->peer_error) {
        send_error(c);
    }
}

void rdma_connection_hang_up(RdmaConnection *c)
{
    bool locked = bql_locked();

    if (locked) {
        bql_unlock();
    }
    say_goodbye(c);
    c->ep->ops->disconnect(c->ep);
    c->over = true;
    if (locked) {
        bql_lock();
    }
}

void rdma_connection_free(RdmaConnection *c)
{
    if (!c) {
        return;
    }
    rdma_connection_hang_up(c);
    rdma_unregister(c, &c->region);
    c->ep->ops->close(c->ep);
    if (c->memory) {
        munmap(c->memory, SLOTS * SLOT_BYTES);
    }
    g_clear_error(&c->end);
    g_clear_error(&c->error);
    g_mutex_clear(&c->lock);
    g_free(c->name);
    g_free(c);
}
