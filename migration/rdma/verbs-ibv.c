/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The adapters of this host, by librdmacm and libibverbs (spec 50 sections 2, 10 and 14).
 *
 * Every connection has an event channel of its own, also on the destination: events of one never
 * wait behind those of another. All descriptors are non-blocking, and every wait looks at the
 * waker.
 */
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <rdma/rdma_cma.h>
#include <sys/eventfd.h>
#include "migration/rdma/verbs.h"
#include "util/log.h"

LOG_CATEGORY(rdma_cm)

/* Finding an address or a route. */
#define RESOLVE_MS 10000
#define BACKLOG    5
/* Also for a peer's receives: RNR is retried for ever (7), a lost packet seven times. */
#define RETRIES 7

typedef struct {
    RdmaEndpoint base;
    struct rdma_cm_id *id;
    struct rdma_event_channel *events;
    struct ibv_pd *pd;
    struct ibv_comp_channel *comp;
    struct ibv_cq *cq;
    unsigned unacked; /* completion events taken, not acknowledged */
    uint64_t max_write;
    char *name;
    int waker;
    bool established, connected;
    GError *lost; /* the connection or the device is */
} IbvEndpoint;

typedef struct {
    RdmaListening base;
    struct rdma_cm_id *id;
    struct rdma_event_channel *events;
} IbvListening;

static IbvEndpoint *adapter_of(RdmaEndpoint *ep)
{
    return container_of(ep, IbvEndpoint, base);
}

static bool set_nonblock(int fd, GError **errp)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        error_setg_errno(errp, errno, "RDMA: cannot make a descriptor non-blocking");
        return false;
    }
    return true;
}

static struct rdma_event_channel *event_channel_new(GError **errp)
{
    struct rdma_event_channel *events = rdma_create_event_channel();

    if (!events) {
        error_setg_errno(errp, errno,
                         "RDMA: no connection manager (/dev/infiniband/rdma_cm): is there an RDMA "
                         "device, and is the module rdma_ucm loaded?");
        return NULL;
    }
    if (!set_nonblock(events->fd, errp)) {
        rdma_destroy_event_channel(events);
        return NULL;
    }
    return events;
}

static char *address_name(const struct sockaddr *sa)
{
    char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "?";
    socklen_t len =
        sa->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);

    getnameinfo(sa, len, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
    return g_strdup_printf(sa->sa_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

/* ---- events of the connection manager ---- */

static bool lose(IbvEndpoint *e, const char *text)
{
    if (!e->lost) {
        error_setg(&e->lost, "%s", text);
    }
    return false;
}

/* What the event means to a connection that is used. */
static void note_event(IbvEndpoint *e, const struct rdma_cm_event *event)
{
    switch (event->event) {
    case RDMA_CM_EVENT_ESTABLISHED:
        e->established = true;
        break;
    case RDMA_CM_EVENT_DISCONNECTED:
        lose(e, "the connection was closed");
        break;
    case RDMA_CM_EVENT_DEVICE_REMOVAL:
        lose(e, "the RDMA device was removed");
        break;
    case RDMA_CM_EVENT_TIMEWAIT_EXIT:
    case RDMA_CM_EVENT_ADDR_CHANGE:
        break;
    default:
        lose(e, rdma_event_str(event->event));
        break;
    }
}

static void take_events(IbvEndpoint *e)
{
    struct rdma_cm_event *event;

    while (rdma_get_cm_event(e->events, &event) == 0) {
        note_event(e, event);
        rdma_ack_cm_event(event);
    }
}

/* Errors of the queue pair or the device; others than ours belong to whom they name. */
static void take_async(IbvEndpoint *e)
{
    struct ibv_async_event event;

    while (e->id->verbs && ibv_get_async_event(e->id->verbs, &event) == 0) {
        IbvEndpoint *whose = e;

        switch (event.event_type) {
        case IBV_EVENT_QP_FATAL:
        case IBV_EVENT_QP_REQ_ERR:
        case IBV_EVENT_QP_ACCESS_ERR:
        case IBV_EVENT_PATH_MIG_ERR:
        case IBV_EVENT_CQ_ERR:
            whose = event.event_type == IBV_EVENT_CQ_ERR ? event.element.cq->cq_context
                                                         : event.element.qp->qp_context;
            /* fall through */
        case IBV_EVENT_DEVICE_FATAL:
            if (whose == e) {
                lose(e, ibv_event_type_str(event.event_type));
            } else {
                /* Its own thread finds its work flushed; only this one may touch our state. */
                whose->base.ops->wake(&whose->base);
            }
            break;
        default:
            break; /* port and path changes: the transport retries, and says if it gives up */
        }
        ibv_ack_async_event(&event);
    }
}

/* Wait for an event while the connection is being made. NULL: cancelled, late, or not @wanted. */
static bool await_event(IbvEndpoint *e, enum rdma_cm_event_type wanted, int timeout_ms,
                        GCancellable *cancel, const char *what, RdmaPrivate *private, GError **errp)
{
    struct pollfd fds[2] = {{e->events->fd, POLLIN, 0}};
    struct rdma_cm_event *event;
    bool cancellable = cancel && (fds[1].fd = g_cancellable_get_fd(cancel)) >= 0;
    bool ok;
    int n;

    fds[1].events = POLLIN;
    do {
        n = poll(fds, cancellable ? 2 : 1, timeout_ms);
    } while (n < 0 && errno == EINTR);
    if (cancellable) {
        g_cancellable_release_fd(cancel);
    }
    if (g_cancellable_set_error_if_cancelled(cancel, errp)) {
        return false;
    }
    if (n <= 0 || rdma_get_cm_event(e->events, &event) < 0) {
        error_setg(errp, "RDMA: %s: no answer from %s within %d ms", what, e->name, timeout_ms);
        return false;
    }
    trace(rdma_cm, "%s: %s: %s", e->name, what, rdma_event_str(event->event));
    ok = event->event == wanted;
    if (ok && private) {
        private->len = MIN(event->param.conn.private_data_len, sizeof(private->bytes));
        if (private->len) {
            memcpy(private->bytes, event->param.conn.private_data, private->len);
        }
    } else if (event->event == RDMA_CM_EVENT_REJECTED) {
        error_setg(errp, "RDMA: %s: %s refuses the connection: does a destination listen there?",
                   what, e->name);
    } else if (!ok) {
        error_setg(errp, "RDMA: %s: %s for %s%s%s", what, rdma_event_str(event->event), e->name,
                   event->status < 0 ? ": " : "",
                   event->status < 0 ? strerror(-event->status) : "");
    }
    rdma_ack_cm_event(event);
    return ok;
}

/* ---- life of an endpoint ---- */

static void adapter_close(RdmaEndpoint *ep)
{
    IbvEndpoint *e = adapter_of(ep);

    if (e->unacked) {
        ibv_ack_cq_events(e->cq, e->unacked);
    }
    if (e->id && e->id->qp) {
        rdma_destroy_qp(e->id);
    }
    g_clear_pointer(&e->cq, ibv_destroy_cq);
    g_clear_pointer(&e->comp, ibv_destroy_comp_channel);
    g_clear_pointer(&e->pd, ibv_dealloc_pd);
    if (e->id) {
        rdma_destroy_id(e->id);
    }
    g_clear_pointer(&e->events, rdma_destroy_event_channel);
    if (e->waker >= 0) {
        close(e->waker);
    }
    g_clear_error(&e->lost);
    g_free(e->name);
    g_free(e);
}

static const RdmaFabricOps adapter_ops;

static IbvEndpoint *endpoint_new(GError **errp)
{
    IbvEndpoint *e = g_new0(IbvEndpoint, 1);

    e->base.ops = &adapter_ops;
    e->waker = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    e->events = event_channel_new(errp);
    if (!e->events) {
        adapter_close(&e->base);
        return NULL;
    }
    return e;
}

/* Queues of an endpoint whose device is known. */
static bool make_queues(IbvEndpoint *e, GError **errp)
{
    struct ibv_qp_init_attr attr = {
        .qp_context = e,
        .qp_type = IBV_QPT_RC,
        .cap = {.max_send_wr = RDMA_SEND_DEPTH,
                .max_recv_wr = RDMA_RECV_DEPTH,
                .max_send_sge = 1,
                .max_recv_sge = 1},
    };
    struct ibv_port_attr port;
    const char *what = "protection domain";

    e->pd = ibv_alloc_pd(e->id->verbs);
    if (e->pd) {
        what = "completion channel";
        e->comp = ibv_create_comp_channel(e->id->verbs);
    }
    if (e->comp && set_nonblock(e->comp->fd, errp) && set_nonblock(e->id->verbs->async_fd, errp)) {
        what = "completion queue";
        e->cq = ibv_create_cq(e->id->verbs, RDMA_SEND_DEPTH + RDMA_RECV_DEPTH, e, e->comp, 0);
    }
    if (e->cq) {
        what = "queue pair";
        attr.send_cq = attr.recv_cq = e->cq;
        if (rdma_create_qp(e->id, e->pd, &attr) == 0) {
            e->max_write = ibv_query_port(e->id->verbs, e->id->port_num, &port) == 0
                               ? port.max_msg_sz
                               : 1 * MiB;
            return true;
        }
    }
    if (errp && !*errp) {
        error_setg_errno(errp, errno, "RDMA: the device '%s' gives no %s",
                         ibv_get_device_name(e->id->verbs->device), what);
    }
    return false;
}

/* ---- source ---- */

static bool resolve_at(IbvEndpoint *e, struct rdma_addrinfo *ai, GCancellable *cancel,
                       GError **errp)
{
    g_free(e->name);
    e->name = address_name(ai->ai_dst_addr);
    if (rdma_create_id(e->events, &e->id, e, RDMA_PS_TCP) < 0) {
        error_setg_errno(errp, errno, "RDMA: cannot make a connection");
        return false;
    }
    if (rdma_resolve_addr(e->id, NULL, ai->ai_dst_addr, RESOLVE_MS) < 0) {
        error_setg_errno(errp, errno, "RDMA: cannot resolve %s", e->name);
        return false;
    }
    if (!await_event(e, RDMA_CM_EVENT_ADDR_RESOLVED, RESOLVE_MS + 1000, cancel,
                     "looking for the RDMA device", NULL, errp)) {
        return false;
    }
    if (rdma_resolve_route(e->id, RESOLVE_MS) < 0) {
        error_setg_errno(errp, errno, "RDMA: cannot resolve the route to %s", e->name);
        return false;
    }
    return await_event(e, RDMA_CM_EVENT_ROUTE_RESOLVED, RESOLVE_MS + 1000, cancel,
                       "looking for a route", NULL, errp) &&
           make_queues(e, errp);
}

static struct rdma_addrinfo *lookup(const char *host, const char *port, bool passive, GError **errp)
{
    struct rdma_addrinfo hints = {.ai_flags = passive ? RAI_PASSIVE : 0,
                                  .ai_port_space = RDMA_PS_TCP};
    struct rdma_addrinfo *list = NULL;
    int rc = rdma_getaddrinfo(host, port, &hints, &list);

    if (rc || !list) {
        error_setg(errp, "RDMA: address resolution failed for %s:%s: %s", host, port,
                   rc < 0 ? g_strerror(errno) : gai_strerror(rc));
        return NULL;
    }
    return list;
}

static RdmaEndpoint *adapter_resolve(RdmaFabric *fabric, const char *host, const char *port,
                                     GCancellable *cancel, GError **errp)
{
    struct rdma_addrinfo *list = lookup(host, port, false, errp);
    IbvEndpoint *e = NULL;

    GError *err = NULL;

    trace(rdma_cm, "%s:%s looked up", host, port);
    for (struct rdma_addrinfo *ai = list; ai && !e; ai = ai->ai_next) {
        g_clear_error(&err);
        e = endpoint_new(&err);
        if (e && !resolve_at(e, ai, cancel, &err)) {
            adapter_close(&e->base);
            e = NULL;
        }
    }
    if (list) {
        rdma_freeaddrinfo(list);
    }
    if (!e && err) {
        g_propagate_error(errp, err);
    }
    return e ? &e->base : NULL;
}

static bool adapter_connect(RdmaEndpoint *ep, const RdmaPrivate *hello, int timeout_ms,
                            GCancellable *cancel, RdmaPrivate *answer, GError **errp)
{
    IbvEndpoint *e = adapter_of(ep);
    struct rdma_conn_param param = {
        .private_data = hello->bytes,
        .private_data_len = hello->len,
        .initiator_depth = 2,
        .retry_count = RETRIES,
        .rnr_retry_count = RETRIES,
    };

    if (rdma_connect(e->id, &param) < 0) {
        error_setg_errno(errp, errno, "RDMA: cannot connect to %s", e->name);
        return false;
    }
    e->connected = e->established =
        await_event(e, RDMA_CM_EVENT_ESTABLISHED, timeout_ms, cancel, "connecting", answer, errp);
    return e->connected;
}

/* ---- destination ---- */

static bool listen_at(IbvListening *l, struct rdma_addrinfo *ai, GError **errp)
{
    g_autofree char *name = address_name(ai->ai_src_addr);
    int on = 1;

    if (rdma_create_id(l->events, &l->id, NULL, RDMA_PS_TCP) < 0) {
        error_setg_errno(errp, errno, "RDMA: cannot make a listener");
        return false;
    }
    rdma_set_option(l->id, RDMA_OPTION_ID, RDMA_OPTION_ID_REUSEADDR, &on, sizeof(on));
    if (rdma_bind_addr(l->id, ai->ai_src_addr) < 0 || rdma_listen(l->id, BACKLOG) < 0) {
        error_setg_errno(errp, errno, "RDMA: cannot listen on %s", name);
        rdma_destroy_id(g_steal_pointer(&l->id));
        return false;
    }
    return true;
}

static void adapter_listening_close(RdmaListening *base)
{
    IbvListening *l = container_of(base, IbvListening, base);

    if (l->id) {
        rdma_destroy_id(l->id);
    }
    g_clear_pointer(&l->events, rdma_destroy_event_channel);
    g_free(l);
}

static RdmaListening *adapter_listen(RdmaFabric *fabric, const char *host, const char *port,
                                     GError **errp)
{
    IbvListening *l = g_new0(IbvListening, 1);
    struct rdma_addrinfo *list = NULL;
    GError *err = NULL;

    l->base.ops = &adapter_ops;
    l->events = event_channel_new(errp);
    if (l->events) {
        list = lookup(host, port, true, errp);
    }
    for (struct rdma_addrinfo *ai = list; ai && !l->id; ai = ai->ai_next) {
        g_clear_error(&err);
        listen_at(l, ai, &err);
    }
    if (list) {
        rdma_freeaddrinfo(list);
    }
    if (!l->id) {
        if (err) {
            g_propagate_error(errp, err);
        }
        adapter_listening_close(&l->base);
        return NULL;
    }
    g_clear_error(&err);
    return &l->base;
}

static int adapter_listening_fd(RdmaListening *l)
{
    return container_of(l, IbvListening, base)->events->fd;
}

/* Takes @id. */
static RdmaEndpoint *endpoint_of_request(struct rdma_cm_id *id)
{
    g_autoptr(GError) err = NULL;
    IbvEndpoint *e = endpoint_new(&err);

    if (!e) {
        warn_report("%s", err->message);
        rdma_reject(id, NULL, 0);
        rdma_destroy_id(id);
        return NULL;
    }
    e->id = id;
    id->context = e;
    e->name = address_name(rdma_get_peer_addr(id));
    if (rdma_migrate_id(id, e->events) < 0) {
        error_setg_errno(&err, errno, "RDMA: cannot take the connection from %s", e->name);
    } else if (make_queues(e, &err)) {
        return &e->base;
    }
    warn_report("%s", err->message);
    rdma_reject(id, NULL, 0);
    adapter_close(&e->base);
    return NULL;
}

static RdmaEndpoint *adapter_next_request(RdmaListening *base, RdmaPrivate *hello)
{
    IbvListening *l = container_of(base, IbvListening, base);
    struct rdma_cm_event *event;
    struct rdma_cm_id *id = NULL;

    if (rdma_get_cm_event(l->events, &event) < 0) {
        return NULL;
    }
    if (event->event == RDMA_CM_EVENT_CONNECT_REQUEST) {
        id = event->id;
        hello->len = MIN(event->param.conn.private_data_len, sizeof(hello->bytes));
        if (hello->len) {
            memcpy(hello->bytes, event->param.conn.private_data, hello->len);
        }
    }
    rdma_ack_cm_event(event);
    return id ? endpoint_of_request(id) : NULL;
}

static bool adapter_accept(RdmaEndpoint *ep, const RdmaPrivate *answer, GError **errp)
{
    IbvEndpoint *e = adapter_of(ep);
    struct rdma_conn_param param = {
        .private_data = answer->bytes,
        .private_data_len = answer->len,
        .responder_resources = 2,
        .rnr_retry_count = RETRIES,
    };

    if (rdma_accept(e->id, &param) < 0) {
        error_setg_errno(errp, errno, "RDMA: cannot accept the connection from %s", e->name);
        return false;
    }
    e->connected = true;
    return true;
}

static void adapter_reject(RdmaEndpoint *ep)
{
    rdma_reject(adapter_of(ep)->id, NULL, 0);
}

static bool adapter_established(RdmaEndpoint *ep)
{
    take_events(adapter_of(ep));
    return adapter_of(ep)->established;
}

static const char *adapter_peer_name(RdmaEndpoint *ep)
{
    return adapter_of(ep)->name;
}

static uint64_t adapter_max_write(RdmaEndpoint *ep)
{
    return adapter_of(ep)->max_write;
}

/* ---- memory ---- */

static bool adapter_reg(RdmaEndpoint *ep, void *addr, uint64_t len, bool remote, RdmaRegion *out,
                        GError **errp)
{
    IbvEndpoint *e = adapter_of(ep);
    int access = IBV_ACCESS_LOCAL_WRITE | (remote ? IBV_ACCESS_REMOTE_WRITE : 0);
    struct ibv_mr *mr = ibv_reg_mr(e->pd, addr, len, access);

    if (!mr && errno == ENOTSUP) {
        /* Memory that cannot be pinned (file-backed DAX), on a device that can fault. */
        mr = ibv_reg_mr(e->pd, addr, len, access | IBV_ACCESS_ON_DEMAND);
    }
    if (!mr) {
        error_setg_errno(errp, errno, "ibv_reg_mr");
        return false;
    }
    *out = (RdmaRegion){mr, mr->lkey, mr->rkey};
    return true;
}

static void adapter_unreg(RdmaEndpoint *ep, RdmaRegion *region)
{
    ibv_dereg_mr(region->handle);
    *region = (RdmaRegion){NULL};
}

/* ---- work ---- */

static struct ibv_sge sge_of(const RdmaWork *work)
{
    return (struct ibv_sge){(uintptr_t)work->addr, work->len, work->lkey};
}

static bool adapter_post_receive(RdmaEndpoint *ep, const RdmaWork *work, GError **errp)
{
    struct ibv_sge sge = sge_of(work);
    struct ibv_recv_wr wr = {.wr_id = work->id, .sg_list = &sge, .num_sge = 1}, *bad;
    int rc = ibv_post_recv(adapter_of(ep)->id->qp, &wr, &bad);

    if (rc) {
        error_setg_errno(errp, rc, "RDMA: posting a receive");
    }
    return !rc;
}

static bool post(RdmaEndpoint *ep, const RdmaWork *work, enum ibv_wr_opcode opcode, GError **errp)
{
    struct ibv_sge sge = sge_of(work);
    struct ibv_send_wr wr = {
        .wr_id = work->id,
        .sg_list = &sge,
        .num_sge = work->len ? 1 : 0,
        .opcode = opcode,
        .send_flags = work->signalled ? IBV_SEND_SIGNALED : 0,
        .wr.rdma = {.remote_addr = work->remote_addr, .rkey = work->rkey},
    };
    struct ibv_send_wr *bad;
    int rc = ibv_post_send(adapter_of(ep)->id->qp, &wr, &bad);

    if (rc) {
        error_setg_errno(errp, rc, "RDMA: posting %" PRIu32 " bytes", work->len);
    }
    return !rc;
}

static bool adapter_post_message(RdmaEndpoint *ep, const RdmaWork *work, GError **errp)
{
    return post(ep, work, IBV_WR_SEND, errp);
}

static bool adapter_post_write(RdmaEndpoint *ep, const RdmaWork *work, GError **errp)
{
    return post(ep, work, IBV_WR_RDMA_WRITE, errp);
}

static int adapter_poll(RdmaEndpoint *ep, RdmaCompletion *out, int max, GError **errp)
{
    struct ibv_wc wc[32];
    int n = ibv_poll_cq(adapter_of(ep)->cq, MIN(max, (int)ARRAY_SIZE(wc)), wc);

    if (n < 0) {
        error_setg(errp, "RDMA: reading completions failed");
        return -1;
    }
    for (int i = 0; i < n; i++) {
        out[i] = (RdmaCompletion){
            .id = wc[i].wr_id,
            /* Of a failed one only the id and the status are defined. */
            .received = wc[i].status == IBV_WC_SUCCESS && (wc[i].opcode & IBV_WC_RECV),
            .flushed = wc[i].status == IBV_WC_WR_FLUSH_ERR,
            .bytes = wc[i].byte_len,
            .error = wc[i].status == IBV_WC_SUCCESS ? NULL : ibv_wc_status_str(wc[i].status),
        };
    }
    return n;
}

/* ---- waiting ---- */

static bool adapter_arm(RdmaEndpoint *ep, GError **errp)
{
    int rc = ibv_req_notify_cq(adapter_of(ep)->cq, 0);

    if (rc) {
        error_setg_errno(errp, rc, "RDMA: asking for completions");
    }
    return !rc;
}

static void drain_completion_events(IbvEndpoint *e)
{
    struct ibv_cq *cq;
    void *context;

    while (ibv_get_cq_event(e->comp, &cq, &context) == 0) {
        /* Acknowledging takes a lock: do it now and then. */
        if (++e->unacked == 64) {
            ibv_ack_cq_events(e->cq, e->unacked);
            e->unacked = 0;
        }
    }
}

static bool adapter_sleep(RdmaEndpoint *ep, int timeout_ms, GError **errp)
{
    IbvEndpoint *e = adapter_of(ep);
    struct pollfd fds[] = {
        {e->comp->fd, POLLIN, 0},
        {e->events->fd, POLLIN, 0},
        {e->waker, POLLIN, 0},
        {e->id->verbs->async_fd, POLLIN, 0},
    };
    uint64_t n;

    if (!e->lost && poll(fds, ARRAY_SIZE(fds), timeout_ms) > 0) {
        drain_completion_events(e);
        take_events(e);
        take_async(e);
        if (fds[2].revents) {
            (void)!read(e->waker, &n, sizeof(n));
        }
    }
    if (e->lost) {
        g_propagate_error(errp, g_error_copy(e->lost));
        return false;
    }
    return true;
}

static void adapter_wake(RdmaEndpoint *ep)
{
    uint64_t one = 1;

    (void)!write(adapter_of(ep)->waker, &one, sizeof(one)); /* refused: it is awake already */
}

static void adapter_disconnect(RdmaEndpoint *ep)
{
    IbvEndpoint *e = adapter_of(ep);

    if (e->connected) {
        rdma_disconnect(e->id);
        e->connected = false;
    }
}

static const RdmaFabricOps adapter_ops = {
    .resolve = adapter_resolve,
    .connect = adapter_connect,
    .listen = adapter_listen,
    .listening_fd = adapter_listening_fd,
    .next_request = adapter_next_request,
    .listening_close = adapter_listening_close,
    .accept = adapter_accept,
    .reject = adapter_reject,
    .peer_name = adapter_peer_name,
    .max_write = adapter_max_write,
    .reg = adapter_reg,
    .unreg = adapter_unreg,
    .post_recv = adapter_post_receive,
    .post_send = adapter_post_message,
    .post_write = adapter_post_write,
    .poll = adapter_poll,
    .arm = adapter_arm,
    .sleep = adapter_sleep,
    .wake = adapter_wake,
    .established = adapter_established,
    .disconnect = adapter_disconnect,
    .close = adapter_close,
};

RdmaFabric *rdma_fabric_host(void)
{
    static const RdmaFabric host = {&adapter_ops};

    return (RdmaFabric *)&host; /* back ends with state of their own are not const */
}
