/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fake-fabric.h"
#include <gio/gio.h>
#include <sys/eventfd.h>

typedef struct FakeEndpoint FakeEndpoint;

/* A SEND on its way, or one that waits for a receive. */
typedef struct {
    uint8_t *bytes;
    uint32_t len;
} Packet;

typedef struct {
    uint8_t *addr;
    uint64_t len;
    uint32_t key;
    bool remote;
} FakeMR;

struct FakeEndpoint {
    RdmaEndpoint base;
    FakeFabric *f;
    bool source;
    FakeEndpoint *peer; /* NULL: none, or gone */
    RdmaPrivate hello, answer;
    bool answered, refused; /* the request */
    bool established, over, dead, device_failed, woken, armed;
    GCond changed;
    GQueue recvs;   /* RdmaWork * */
    GQueue packets; /* Packet *: no receive yet */
    GQueue done;    /* RdmaCompletion * */
    Packet *held;   /* FAKE_SWAP: waits for the next */
    GPtrArray *mrs; /* FakeMR */
    uint64_t pinned;
    unsigned released; /* late: how many of done may be seen */
};

typedef struct {
    RdmaListening base;
    FakeFabric *f;
    GQueue requests; /* FakeEndpoint *, the source's */
    char *port;
    int fd;
    unsigned accepted;
} FakeListening;

static FakeEndpoint *fe(RdmaEndpoint *ep)
{
    return container_of(ep, FakeEndpoint, base);
}

static FakeFabric *fabric_of(RdmaFabric *fabric)
{
    return container_of(fabric, FakeFabric, base);
}

/* ---- events; with the lock ---- */

static void notify(FakeEndpoint *e)
{
    g_cond_broadcast(&e->changed);
}

static void complete(FakeEndpoint *e, RdmaCompletion done)
{
    g_queue_push_tail(&e->done, g_memdup2(&done, sizeof(done)));
    notify(e);
}

/* What is posted ends, as an adapter flushes it. */
static void end(FakeEndpoint *e)
{
    if (!e->over) {
        RdmaWork *w;

        e->over = true;
        while ((w = g_queue_pop_head(&e->recvs))) {
            complete(e, (RdmaCompletion){w->id, true, true, 0, "flushed"});
            g_free(w);
        }
        notify(e);
    }
}

static void cut(FakeEndpoint *e)
{
    if (e->peer && !e->peer->dead) {
        end(e->peer);
    }
    end(e);
}

/* ---- carrying ---- */

static Packet *packet_new(const void *bytes, uint32_t len)
{
    Packet *p = g_new(Packet, 1);

    *p = (Packet){g_memdup2(bytes, len), len};
    return p;
}

static void packet_free(Packet *p)
{
    g_free(p->bytes);
    g_free(p);
}

static void match(FakeEndpoint *e)
{
    while (e->recvs.length && e->packets.length) {
        RdmaWork *w = g_queue_pop_head(&e->recvs);
        Packet *p = g_queue_pop_head(&e->packets);

        g_assert_cmpuint(p->len, <=, w->len);
        if (p->len) {
            memcpy(w->addr, p->bytes, p->len);
        }
        complete(e, (RdmaCompletion){w->id, true, false, p->len, NULL});
        packet_free(p);
        g_free(w);
    }
}

static void arrive(FakeEndpoint *e, Packet *p)
{
    if (!e || e->over || e->dead) {
        packet_free(p);
        return;
    }
    e->f->not_ready += e->recvs.length == 0;
    g_queue_push_tail(&e->packets, p);
    match(e);
}

static const FakeMR *mr_of(FakeEndpoint *e, uint32_t key, const uint8_t *addr, uint64_t len)
{
    for (unsigned i = 0; i < e->mrs->len; i++) {
        const FakeMR *mr = g_ptr_array_index(e->mrs, i);

        if (mr->key == key && addr >= mr->addr && addr + len <= mr->addr + mr->len) {
            return mr;
        }
    }
    return NULL;
}

/* A bulk copy that, like an adapter's, is no access of this process's threads. */
__attribute__((noinline, no_sanitize("thread"))) static void dma(uint8_t *to, const uint8_t *from,
                                                                 uint32_t len)
{
    for (uint32_t i = 0; i + 8 <= len; i += 8) {
        *(volatile uint64_t *)(to + i) = *(const volatile uint64_t *)(from + i);
    }
    for (uint32_t i = len & ~7u; i < len; i++) {
        ((volatile uint8_t *)to)[i] = from[i];
    }
}

static FakeFault next_fault(FakeEndpoint *e, bool message)
{
    const FakePlan *plan = &e->f->plan[!e->source];
    unsigned n = e->f->posted[!e->source]++;

    if (plan->messages) {
        n = message ? e->f->sends[!e->source] : UINT_MAX;
    }
    return plan->fault && plan->at == n ? plan->fault : FAKE_FINE;
}

/* What becomes of a request before it is looked at. True: nothing more to do. */
static bool struck(FakeEndpoint *e, const RdmaWork *work, FakeFault fault)
{
    RdmaCompletion c = {.id = work->id};

    switch (fault) {
    case FAKE_DISCONNECT:
        cut(e);
        return true;
    case FAKE_DIE:
        e->dead = true;
        return true;
    case FAKE_DEVICE:
        e->device_failed = true;
        notify(e);
        return true;
    case FAKE_FAIL:
        c.error = "the fabric is unkind";
        complete(e, c);
        cut(e);
        return true;
    case FAKE_SWALLOW:
        if (work->signalled) {
            complete(e, c);
        }
        return true;
    default:
        break;
    }
    if (e->dead || e->over) {
        return true;
    }
    if (!e->peer || e->peer->dead || e->peer->over) {
        c.error = "transport retry counter exceeded";
        complete(e, c);
        end(e);
        return true;
    }
    return false;
}

static bool fake_post_send(RdmaEndpoint *ep, const RdmaWork *work, GError **errp)
{
    FakeEndpoint *e = fe(ep);
    FakeFault fault;
    Packet *p;

    g_mutex_lock(&e->f->lock);
    g_assert_nonnull(mr_of(e, work->lkey, work->addr, work->len));
    fault = next_fault(e, true);
    e->f->sends[!e->source]++;
    if (!struck(e, work, fault)) {
        p = packet_new(work->addr, fault == FAKE_TRUNCATE ? work->len / 2 : work->len);
        if (fault == FAKE_CORRUPT) {
            unsigned bit = e->f->plan[!e->source].bit % (12 * 8);

            p->bytes[bit / 8] ^= 1 << (bit % 8);
        }
        if (fault == FAKE_SWAP) {
            e->held = p;
        } else {
            if (fault == FAKE_DUPLICATE) {
                arrive(e->peer, packet_new(p->bytes, p->len));
            }
            arrive(e->peer, p);
            if (e->held) {
                arrive(e->peer, g_steal_pointer(&e->held));
            }
        }
        if (fault != FAKE_LOSE) {
            complete(e, (RdmaCompletion){.id = work->id});
        }
    }
    g_mutex_unlock(&e->f->lock);
    return true;
}

static bool fake_post_write(RdmaEndpoint *ep, const RdmaWork *work, GError **errp)
{
    FakeEndpoint *e = fe(ep);
    uint64_t remote = work->remote_addr;
    FakeFault fault;

    g_mutex_lock(&e->f->lock);
    fault = next_fault(e, false);
    if (!work->len) {
        e->f->posted[!e->source]--; /* probes depend on time: faults must not */
        fault = FAKE_FINE;
    } else {
        g_assert_nonnull(mr_of(e, work->lkey, work->addr, work->len));
        e->f->writes[!e->source]++;
    }
    if (fault == FAKE_CORRUPT) {
        remote ^= UINT64_C(1) << 40;
    }
    if (!struck(e, work, fault)) {
        const FakeMR *mr =
            work->len ? mr_of(e->peer, work->rkey, (uint8_t *)remote, work->len) : NULL;

        if (work->len && (!mr || !mr->remote)) {
            complete(e, (RdmaCompletion){.id = work->id, .error = "remote access error"});
            cut(e);
        } else {
            if (work->len) {
                dma((uint8_t *)remote, work->addr, work->len);
            }
            if (work->signalled && fault != FAKE_LOSE) {
                complete(e, (RdmaCompletion){.id = work->id});
            }
        }
    }
    g_mutex_unlock(&e->f->lock);
    return true;
}

static bool fake_post_recv(RdmaEndpoint *ep, const RdmaWork *work, GError **errp)
{
    FakeEndpoint *e = fe(ep);

    g_mutex_lock(&e->f->lock);
    g_assert_nonnull(mr_of(e, work->lkey, work->addr, work->len));
    g_assert_cmpuint(e->recvs.length, <, RDMA_RECV_DEPTH);
    if (e->over) {
        complete(e, (RdmaCompletion){work->id, true, true, 0, "flushed"});
    } else {
        g_queue_push_tail(&e->recvs, g_memdup2(work, sizeof(*work)));
        match(e);
    }
    g_mutex_unlock(&e->f->lock);
    return true;
}

/* ---- waiting ---- */

static int fake_poll(RdmaEndpoint *ep, RdmaCompletion *out, int max, GError **errp)
{
    FakeEndpoint *e = fe(ep);
    int n = 0;

    g_mutex_lock(&e->f->lock);
    while (n < max && e->done.length && (!e->f->late || e->released)) {
        RdmaCompletion *c = g_queue_pop_head(&e->done);

        e->released -= e->f->late;
        out[n++] = *c;
        g_free(c);
    }
    g_mutex_unlock(&e->f->lock);
    return n;
}

static bool fake_arm(RdmaEndpoint *ep, GError **errp)
{
    FakeEndpoint *e = fe(ep);

    g_mutex_lock(&e->f->lock);
    e->armed = true;
    g_mutex_unlock(&e->f->lock);
    return true;
}

static bool fake_sleep(RdmaEndpoint *ep, int timeout_ms, GError **errp)
{
    FakeEndpoint *e = fe(ep);
    int64_t limit = g_get_monotonic_time() + timeout_ms * G_TIME_SPAN_MILLISECOND;
    bool ok = true;

    g_mutex_lock(&e->f->lock);
    g_assert_true(e->armed);
    e->armed = false;
    while (!e->done.length && !e->over && !e->device_failed && !e->woken &&
           g_cond_wait_until(&e->changed, &e->f->lock, limit)) {
    }
    e->woken = false;
    e->released = MIN(e->released + 1, e->done.length);
    if (!e->done.length && e->over) {
        error_setg(errp, "RDMA: disconnected");
        ok = false;
    } else if (e->device_failed) {
        error_setg(errp, "RDMA: the device failed");
        ok = false;
    }
    g_mutex_unlock(&e->f->lock);
    return ok;
}

static void fake_wake(RdmaEndpoint *ep)
{
    FakeEndpoint *e = fe(ep);

    g_mutex_lock(&e->f->lock);
    e->woken = true;
    notify(e);
    g_mutex_unlock(&e->f->lock);
}

static bool fake_established(RdmaEndpoint *ep)
{
    FakeEndpoint *e = fe(ep);
    bool established;

    g_mutex_lock(&e->f->lock);
    established = e->established;
    g_mutex_unlock(&e->f->lock);
    return established;
}

/* ---- memory ---- */

static bool fake_reg(RdmaEndpoint *ep, void *addr, uint64_t len, bool remote, RdmaRegion *out,
                     GError **errp)
{
    FakeEndpoint *e = fe(ep);
    FakeMR *mr = g_new(FakeMR, 1);
    bool ok;

    g_mutex_lock(&e->f->lock);
    ok = !e->f->pin_limit || e->pinned + len <= e->f->pin_limit;
    if (ok) {
        *mr = (FakeMR){addr, len, ++e->f->next_key, remote};
        g_ptr_array_add(e->mrs, mr);
        *out = (RdmaRegion){mr, mr->key, mr->key};
        e->pinned += len;
        e->f->pinned_peak = MAX(e->f->pinned_peak, e->pinned);
        e->f->regions++;
    } else {
        g_free(mr);
        error_setg_errno(errp, ENOMEM, "ibv_reg_mr");
    }
    g_mutex_unlock(&e->f->lock);
    return ok;
}

static void fake_unreg(RdmaEndpoint *ep, RdmaRegion *region)
{
    FakeEndpoint *e = fe(ep);
    FakeMR *mr = region->handle;

    g_mutex_lock(&e->f->lock);
    e->pinned -= mr->len;
    e->f->regions--;
    g_assert_true(g_ptr_array_remove(e->mrs, mr));
    g_mutex_unlock(&e->f->lock);
    *region = (RdmaRegion){NULL};
}

/* ---- connecting ---- */

static const char *fake_peer_name(RdmaEndpoint *ep)
{
    return fe(ep)->source ? "fake-destination" : "fake-source";
}

static uint64_t fake_max_write(RdmaEndpoint *ep)
{
    return 256 * 1024;
}

static FakeEndpoint *endpoint_new(FakeFabric *f, bool source)
{
    FakeEndpoint *e = g_new0(FakeEndpoint, 1);

    e->base.ops = f->base.ops;
    e->f = f;
    e->source = source;
    e->mrs = g_ptr_array_new_with_free_func(g_free);
    g_cond_init(&e->changed);
    f->endpoints++;
    return e;
}

static RdmaEndpoint *fake_resolve(RdmaFabric *fabric, const char *host, const char *port,
                                  GCancellable *cancel, GError **errp)
{
    FakeFabric *f = fabric_of(fabric);
    FakeEndpoint *e;

    if (!g_str_equal(host, "fake")) {
        error_setg(errp, "RDMA: no way to '%s'", host);
        return NULL;
    }
    g_mutex_lock(&f->lock);
    e = endpoint_new(f, true);
    g_mutex_unlock(&f->lock);
    return &e->base;
}

static FakeListening *listening_at(FakeFabric *f)
{
    return f->listening->len ? g_ptr_array_index(f->listening, 0) : NULL;
}

static bool fake_connect(RdmaEndpoint *ep, const RdmaPrivate *hello, int timeout_ms,
                         GCancellable *cancel, RdmaPrivate *answer, GError **errp)
{
    FakeEndpoint *e = fe(ep);
    FakeFabric *f = e->f;
    int64_t limit = g_get_monotonic_time() + timeout_ms * G_TIME_SPAN_MILLISECOND;
    uint64_t one = 1;
    FakeListening *l;
    bool ok;

    g_mutex_lock(&f->lock);
    l = listening_at(f);
    e->hello = *hello;
    e->hello.len = f->qemu ? 8 : hello->len;
    if (l && !(f->no_second && l->accepted)) {
        g_queue_push_tail(&l->requests, e);
        g_assert_cmpint(write(l->fd, &one, sizeof(one)), ==, sizeof(one));
    }
    while (l && !e->answered && !g_cancellable_is_cancelled(cancel) &&
           (timeout_ms < 0 || g_get_monotonic_time() < limit)) {
        g_cond_wait_until(&e->changed, &f->lock, g_get_monotonic_time() + 10000);
    }
    ok = e->answered && !e->refused;
    if (ok) {
        *answer = e->answer;
        e->established = true;
        if (e->peer) {
            e->peer->established = e->peer->woken = true;
            notify(e->peer);
        }
    } else {
        error_setg(errp, "RDMA: connection %s", e->refused ? "refused" : "timed out");
        if (l) {
            g_queue_remove(&l->requests, e);
        }
    }
    g_mutex_unlock(&f->lock);
    return ok;
}

static RdmaListening *fake_listen(RdmaFabric *fabric, const char *host, const char *port,
                                  GError **errp)
{
    FakeListening *l = g_new0(FakeListening, 1);

    l->base.ops = fabric->ops;
    l->f = fabric_of(fabric);
    l->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
    g_ptr_array_add(l->f->listening, l);
    return &l->base;
}

static int fake_listening_fd(RdmaListening *l)
{
    return container_of(l, FakeListening, base)->fd;
}

static RdmaEndpoint *fake_next_request(RdmaListening *base, RdmaPrivate *hello)
{
    FakeListening *l = container_of(base, FakeListening, base);
    FakeEndpoint *source, *e = NULL;
    uint64_t n;

    g_assert_cmpint(read(l->fd, &n, sizeof(n)), ==, sizeof(n));
    g_mutex_lock(&l->f->lock);
    source = g_queue_pop_head(&l->requests);
    if (source) {
        e = endpoint_new(l->f, false);
        e->peer = source;
        source->peer = e;
        *hello = source->hello;
        l->accepted++;
    }
    g_mutex_unlock(&l->f->lock);
    return e ? &e->base : NULL;
}

static void answer(FakeEndpoint *e, bool refused)
{
    e->peer->answered = true;
    e->peer->refused = refused;
    notify(e->peer);
}

static void fake_listening_close(RdmaListening *base)
{
    FakeListening *l = container_of(base, FakeListening, base);
    FakeEndpoint *e;

    g_mutex_lock(&l->f->lock);
    while ((e = g_queue_pop_head(&l->requests))) {
        e->answered = e->refused = true;
        notify(e);
    }
    g_ptr_array_remove(l->f->listening, l);
    g_mutex_unlock(&l->f->lock);
    close(l->fd);
    g_free(l);
}

static bool fake_accept(RdmaEndpoint *ep, const RdmaPrivate *reply, GError **errp)
{
    FakeEndpoint *e = fe(ep);

    g_mutex_lock(&e->f->lock);
    if (e->peer) {
        e->peer->answer = *reply;
        e->peer->answer.len = e->f->cut_answers ? 3 : e->f->qemu ? 8 : reply->len;
        e->f->cut_answers -= e->f->cut_answers != 0;
        answer(e, false);
    }
    g_mutex_unlock(&e->f->lock);
    return true;
}

static void fake_reject(RdmaEndpoint *ep)
{
    FakeEndpoint *e = fe(ep);

    g_mutex_lock(&e->f->lock);
    if (e->peer) {
        answer(e, true);
    }
    g_mutex_unlock(&e->f->lock);
}

static void fake_disconnect(RdmaEndpoint *ep)
{
    FakeEndpoint *e = fe(ep);

    g_mutex_lock(&e->f->lock);
    if (!e->dead) {
        cut(e);
    }
    g_mutex_unlock(&e->f->lock);
}

static void fake_close(RdmaEndpoint *ep)
{
    FakeEndpoint *e = fe(ep);
    FakeFabric *f = e->f;

    g_mutex_lock(&f->lock);
    if (e->peer) {
        e->peer->peer = NULL;
    }
    f->endpoints--;
    g_assert_cmpuint(e->mrs->len, ==, 0);
    g_mutex_unlock(&f->lock);
    g_queue_clear_full(&e->recvs, g_free);
    g_queue_clear_full(&e->done, g_free);
    g_queue_clear_full(&e->packets, (GDestroyNotify)packet_free);
    g_clear_pointer(&e->held, packet_free);
    g_ptr_array_unref(e->mrs);
    g_cond_clear(&e->changed);
    g_free(e);
}

static const RdmaFabricOps fake_ops = {
    .resolve = fake_resolve,
    .connect = fake_connect,
    .listen = fake_listen,
    .listening_fd = fake_listening_fd,
    .next_request = fake_next_request,
    .listening_close = fake_listening_close,
    .accept = fake_accept,
    .reject = fake_reject,
    .peer_name = fake_peer_name,
    .max_write = fake_max_write,
    .reg = fake_reg,
    .unreg = fake_unreg,
    .post_recv = fake_post_recv,
    .post_send = fake_post_send,
    .post_write = fake_post_write,
    .poll = fake_poll,
    .arm = fake_arm,
    .sleep = fake_sleep,
    .wake = fake_wake,
    .established = fake_established,
    .disconnect = fake_disconnect,
    .close = fake_close,
};

FakeFabric *fake_fabric_new(void)
{
    FakeFabric *f = g_new0(FakeFabric, 1);

    f->base.ops = &fake_ops;
    g_mutex_init(&f->lock);
    f->listening = g_ptr_array_new();
    return f;
}

void fake_fabric_join(FakeFabric *f, RdmaEndpoint *ends[2])
{
    FakeEndpoint *source = endpoint_new(f, true), *destination = endpoint_new(f, false);

    source->peer = destination;
    destination->peer = source;
    source->established = destination->established = true;
    ends[0] = &source->base;
    ends[1] = &destination->base;
}

unsigned fake_fabric_regions(FakeFabric *f)
{
    unsigned n;

    g_mutex_lock(&f->lock);
    n = f->regions;
    g_mutex_unlock(&f->lock);
    return n;
}

void fake_fabric_free(FakeFabric *f)
{
    g_assert_cmpuint(f->endpoints, ==, 0);
    g_assert_cmpuint(f->regions, ==, 0);
    g_assert_cmpuint(f->listening->len, ==, 0);
    g_ptr_array_unref(f->listening);
    g_mutex_clear(&f->lock);
    g_free(f);
}
