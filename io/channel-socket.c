/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <linux/sockios.h>
#include "io/channel-socket.h"
#include "io/fd-watch.h"
#include "io/resolver.h"
#include "io/socket-address.h"
#include "io/zero-copy.h"
#include "util/error.h"

/* The kernel's limit of descriptors in one message. */
#define SCM_MAX_FDS 253

struct _QIOChannelSocket {
    QIOChannel parent;
    int fd;
    bool blocking;
    ZeroCopy zero_copy; /* writer */
    unsigned shut;      /* IOShutdown bits; atomic */
    GMutex lock; /* close against shutdown: the descriptor number must not be somebody else's */
};

G_DEFINE_TYPE(QIOChannelSocket, io_channel_socket, TYPE_IO_CHANNEL)

/* ---- addresses ---- */

typedef int (*NameFn)(int fd, struct sockaddr *sa, socklen_t *len);

static SocketAddress *name_of(int fd, NameFn fn, const char *which, GError **errp)
{
    struct sockaddr_storage sa = {0};
    socklen_t len = sizeof(sa);

    if (fn(fd, (struct sockaddr *)&sa, &len) < 0) {
        error_setg_errno(errp, errno, "Unable to query %s socket address", which);
        return NULL;
    }
    return socket_address_from_sockaddr(&sa, MIN(len, sizeof(sa)), errp);
}

static int call_getsockname(int fd, struct sockaddr *sa, socklen_t *len)
{
    return getsockname(fd, sa, len);
}

static int call_getpeername(int fd, struct sockaddr *sa, socklen_t *len)
{
    return getpeername(fd, sa, len);
}

SocketAddress *io_channel_socket_local_address(QIOChannelSocket *s, GError **errp)
{
    return name_of(s->fd, call_getsockname, "local", errp);
}

SocketAddress *io_channel_socket_remote_address(QIOChannelSocket *s, GError **errp)
{
    return name_of(s->fd, call_getpeername, "remote", errp);
}

int io_channel_socket_fd(QIOChannelSocket *s)
{
    return s->fd;
}

/* ---- creation ---- */

/*
 * The kernel lets the buffers of a connection grow to megabytes, for long lines. Between two
 * programs of one host there is no line: what is on its way then only falls out of the processor's
 * cache before it is read. These still hold several of the biggest segments.
 */
#define LOCAL_SEND_BUFFER    (512 * KiB)
#define LOCAL_RECEIVE_BUFFER (1 * MiB)

static bool same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    if (a->ss_family != b->ss_family) {
        return false;
    }
    switch (a->ss_family) {
    case AF_INET:
        return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)b)->sin_addr.s_addr;
    case AF_INET6:
        return IN6_ARE_ADDR_EQUAL(&((const struct sockaddr_in6 *)a)->sin6_addr,
                                  &((const struct sockaddr_in6 *)b)->sin6_addr);
    default:
        return false;
    }
}

/* Both are advice: a kernel that does not take it is slower, nothing else. */
static void fit_buffers(int fd)
{
    struct sockaddr_storage here = {0}, peer = {0};
    socklen_t here_len = sizeof(here), peer_len = sizeof(peer);

    if (getsockname(fd, (struct sockaddr *)&here, &here_len) == 0 &&
        getpeername(fd, (struct sockaddr *)&peer, &peer_len) == 0 && same_host(&here, &peer)) {
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){LOCAL_SEND_BUFFER}, sizeof(int));
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){LOCAL_RECEIVE_BUFFER}, sizeof(int));
    }
}

QIOChannelSocket *io_channel_socket_new_fd(int fd, GError **errp)
{
    QIOChannelSocket *s;
    g_autoptr(SocketAddress) peer = NULL;
    g_autofree char *name = NULL;
    int type = 0, domain = 0, flags;
    socklen_t len = sizeof(type);

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || (flags = fcntl(fd, F_GETFL)) < 0) {
        error_setg_errno(errp, errno, "Unable to use descriptor %d as socket", fd);
        close(fd);
        return NULL;
    }
    if (type != SOCK_STREAM) {
        error_setg(errp, "Unable to use descriptor %d: not a stream socket", fd);
        close(fd);
        return NULL;
    }
    s = g_object_new(TYPE_IO_CHANNEL_SOCKET, NULL);
    s->fd = fd;
    io_channel_set_feature(IO_CHANNEL(s), IO_FEATURE_BIDIRECTIONAL);
    io_channel_set_feature(IO_CHANNEL(s), IO_FEATURE_READ_PEEK);
    len = sizeof(domain);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX) {
        io_channel_set_feature(IO_CHANNEL(s), IO_FEATURE_FD_PASS);
    }
    if (zero_copy_enable(fd)) {
        io_channel_set_feature(IO_CHANNEL(s), IO_FEATURE_WRITE_ZERO_COPY);
    }
    fit_buffers(fd);
    peer = io_channel_socket_remote_address(s, NULL);
    name = peer ? socket_address_to_string(peer) : g_strdup_printf("socket descriptor %d", fd);
    io_channel_set_name(IO_CHANNEL(s), name);
    if (flags & O_NONBLOCK) {
        fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
    }
    return s;
}

/* ---- connect ---- */

#define CANCEL_POLL_MS 20

/*
 * Waits until @fd is connected, or @cancel is set; 0 or an errno. The flag is looked at now and
 * then (nobody waits for this thread): a descriptor to poll would be one more that may be missing,
 * and GLib aborts then.
 */
static int wait_connected(int fd, GCancellable *cancel)
{
    const FdWatch w = {fd, G_IO_OUT};
    int err = 0;
    socklen_t len = sizeof(err);

    while (!g_cancellable_is_cancelled(cancel)) {
        if (io_fd_poll(&w, 1, cancel ? CANCEL_POLL_MS : -1)) {
            return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 ? errno : err;
        }
    }
    return ECANCELED;
}

/* Connect without blocking in the kernel, so that cancel is heard; 0 or an errno. */
static int connect_fd(int fd, const ResolvedAddress *r, GCancellable *cancel)
{
    while (connect(fd, (const struct sockaddr *)&r->sa, r->len) < 0) {
        switch (errno) {
        case EISCONN:
            return 0;
        case EINTR:
            continue;
        case EINPROGRESS:
        case EALREADY:
            return wait_connected(fd, cancel);
        case EAGAIN: /* a unix listener with a full backlog: nothing to poll for */
            if (r->family != AF_UNIX || g_cancellable_is_cancelled(cancel)) {
                return r->family != AF_UNIX ? EAGAIN : ECANCELED;
            }
            g_usleep(5000);
            continue;
        default:
            return errno;
        }
    }
    return 0;
}

static int connect_one(const ResolvedAddress *r, GCancellable *cancel, int *fd)
{
    int err;

    *fd = socket(r->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, r->protocol);
    if (*fd < 0) {
        return errno;
    }
    err = connect_fd(*fd, r, cancel);
    if (err) {
        close(*fd);
        *fd = -1;
    }
    return err;
}

static QIOChannelSocket *connect_cancellable(const SocketAddress *addr, GCancellable *cancel,
                                             GError **errp)
{
    g_autoptr(GArray) list = resolve_socket_address(addr, false, errp);
    g_autofree char *peer = NULL;
    QIOChannelSocket *s;
    int fd = -1, err = 0;

    if (!list) {
        return NULL;
    }
    for (unsigned i = 0; i < list->len && fd < 0 && err != ECANCELED; i++) {
        err = connect_one(&g_array_index(list, ResolvedAddress, i), cancel, &fd);
    }
    if (fd < 0) {
        peer = socket_address_to_peer_string(addr);
        error_setg_errno(errp, err, "Failed to connect to '%s'", peer);
        return NULL;
    }
    if (addr->type == SOCKET_ADDRESS_TYPE_INET && addr->u.inet->has_keep_alive &&
        addr->u.inet->keep_alive &&
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &(int){1}, sizeof(int)) < 0) {
        error_setg_errno(errp, errno, "Unable to set KEEPALIVE");
        close(fd);
        return NULL;
    }
    s = io_channel_socket_new_fd(fd, errp);
    if (s) {
        /* The address we were given says more than the peer's number. */
        g_autofree char *name = socket_address_to_string(addr);

        io_channel_set_name(IO_CHANNEL(s), name);
    }
    return s;
}

QIOChannelSocket *io_channel_socket_connect_sync(const SocketAddress *addr, GError **errp)
{
    return connect_cancellable(addr, NULL, errp);
}

typedef struct {
    SocketAddress *addr;
    IOConnectCB *cb;
    void *opaque;
} ConnectCall;

static void connect_call_free(void *opaque)
{
    ConnectCall *call = opaque;

    qapi_free_SocketAddress(call->addr);
    g_free(call);
}

static void connect_thread(GTask *task, void *source, void *opaque, GCancellable *cancel)
{
    ConnectCall *call = opaque;
    GError *err = NULL;
    QIOChannelSocket *s = connect_cancellable(call->addr, cancel, &err);

    if (s) {
        g_task_return_pointer(task, s, g_object_unref);
    } else {
        g_task_return_error(task, err);
    }
}

static void connect_done(GObject *source, GAsyncResult *res, void *opaque)
{
    ConnectCall *call = g_task_get_task_data(G_TASK(res));
    GError *err = NULL;
    QIOChannelSocket *s = g_task_propagate_pointer(G_TASK(res), &err);

    call->cb(s, err, call->opaque);
}

void io_channel_socket_connect_async(const SocketAddress *addr, GCancellable *cancel,
                                     IOConnectCB *cb, void *opaque)
{
    GTask *task = g_task_new(NULL, cancel, connect_done, NULL);
    ConnectCall *call = g_new(ConnectCall, 1);

    *call = (ConnectCall){qapi_clone_SocketAddress(addr), cb, opaque};
    g_task_set_task_data(task, call, connect_call_free);
    /* Name resolution cannot be interrupted: the caller hears at once, the thread ends when it can.
     */
    g_task_set_return_on_cancel(task, TRUE);
    g_task_run_in_thread(task, connect_thread);
    g_object_unref(task);
}

/* ---- QIOChannel ---- */

static bool is_shut(QIOChannelSocket *s, IOShutdown how)
{
    return __atomic_load_n(&s->shut, __ATOMIC_ACQUIRE) & how;
}

/* Move the descriptors of a received message into a fresh array. */
static void take_fds(struct msghdr *msg, int **fds, size_t *nfds)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        size_t n;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        *fds = g_renew(int, *fds, *nfds + n);
        memcpy(*fds + *nfds, CMSG_DATA(c), n * sizeof(int));
        *nfds += n;
    }
}

static ssize_t socket_readv(QIOChannel *ioc, const struct iovec *iov, unsigned n, int **fds,
                            size_t *nfds, GError **errp)
{
    QIOChannelSocket *s = IO_CHANNEL_SOCKET(ioc);
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * SCM_MAX_FDS)];
    struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = n};
    ssize_t done;

    do {
        if (is_shut(s, IO_SHUTDOWN_READ)) {
            return 0; /* even if the peer goes on sending */
        }
        if (fds) {
            msg.msg_control = control;
            msg.msg_controllen = sizeof(control);
        }
        done = recvmsg(s->fd, &msg, MSG_CMSG_CLOEXEC);
    } while (done < 0 && errno == EINTR);
    if (done < 0) {
        if (errno == EAGAIN) {
            return IO_CHANNEL_WOULD_BLOCK;
        }
        error_setg_errno(errp, errno, "Unable to read from socket");
        return IO_CHANNEL_ERR;
    }
    if (fds) {
        take_fds(&msg, fds, nfds);
    }
    return done;
}

static ssize_t socket_writev(QIOChannel *ioc, const struct iovec *iov, unsigned n, const int *fds,
                             size_t nfds, int flags, GError **errp)
{
    QIOChannelSocket *s = IO_CHANNEL_SOCKET(ioc);
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * SCM_MAX_FDS)];
    struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = n};
    ssize_t done;

    if (flags & IO_WRITE_ZERO_COPY) {
        return zero_copy_send(&s->zero_copy, s->fd, &msg, errp);
    }
    if (nfds) {
        struct cmsghdr *c;

        if (nfds > SCM_MAX_FDS) {
            error_setg(errp, "Only %d file descriptors fit into one message", SCM_MAX_FDS);
            return IO_CHANNEL_ERR;
        }
        memset(control, 0, sizeof(control));
        msg.msg_control = control;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
    }
    do {
        done = sendmsg(s->fd, &msg, MSG_NOSIGNAL);
    } while (done < 0 && errno == EINTR);
    if (done < 0) {
        if (errno == EAGAIN) {
            return IO_CHANNEL_WOULD_BLOCK;
        }
        error_setg_errno(errp, errno, "Unable to write to socket");
        return IO_CHANNEL_ERR;
    }
    return done;
}

static IOFlush socket_flush(QIOChannel *ioc, GError **errp)
{
    QIOChannelSocket *s = IO_CHANNEL_SOCKET(ioc);

    return zero_copy_flush(&s->zero_copy, s->fd, errp);
}

static ssize_t socket_peek(QIOChannel *ioc, void *buf, size_t len, GError **errp)
{
    QIOChannelSocket *s = IO_CHANNEL_SOCKET(ioc);
    ssize_t done;

    do {
        done = is_shut(s, IO_SHUTDOWN_READ) ? 0 : recv(s->fd, buf, len, MSG_PEEK);
    } while (done < 0 && errno == EINTR);
    if (done < 0) {
        if (errno == EAGAIN) {
            return IO_CHANNEL_WOULD_BLOCK;
        }
        error_setg_errno(errp, errno, "Unable to peek at socket");
        return IO_CHANNEL_ERR;
    }
    return done;
}

static bool socket_set_blocking(QIOChannel *ioc, bool blocking, GError **errp)
{
    QIOChannelSocket *s = IO_CHANNEL_SOCKET(ioc);
    int flags;

    if (blocking == s->blocking) {
        return true;
    }
    flags = fcntl(s->fd, F_GETFL);
    if (flags < 0 ||
        fcntl(s->fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK) < 0) {
        error_setg_errno(errp, errno, "Unable to make socket %s",
                         blocking ? "blocking" : "non-blocking");
        return false;
    }
    s->blocking = blocking;
    return true;
}

static void socket_set_delay(QIOChannel *ioc, bool enabled)
{
    /* Fails on anything but TCP, where it means nothing. */
    setsockopt(IO_CHANNEL_SOCKET(ioc)->fd, IPPROTO_TCP, TCP_NODELAY, &(int){!enabled}, sizeof(int));
}

static uint64_t socket_backlog(QIOChannel *ioc)
{
    int bytes;

    return ioctl(IO_CHANNEL_SOCKET(ioc)->fd, SIOCOUTQ, &bytes) == 0 ? MAX(bytes, 0) : 0;
}

static void socket_shutdown(QIOChannel *ioc, IOShutdown how)
{
    static const int to_kernel[] = {
        [IO_SHUTDOWN_READ] = SHUT_RD,
        [IO_SHUTDOWN_WRITE] = SHUT_WR,
        [IO_SHUTDOWN_BOTH] = SHUT_RDWR,
    };
    QIOChannelSocket *s = IO_CHANNEL_SOCKET(ioc);

    __atomic_fetch_or(&s->shut, how, __ATOMIC_ACQ_REL);
    g_mutex_lock(&s->lock);
    if (s->fd >= 0) {
        shutdown(s->fd, to_kernel[how & IO_SHUTDOWN_BOTH]);
    }
    g_mutex_unlock(&s->lock);
}

static bool socket_close(QIOChannel *ioc, GError **errp)
{
    QIOChannelSocket *s = IO_CHANNEL_SOCKET(ioc);
    int fd;

    g_mutex_lock(&s->lock);
    fd = s->fd;
    s->fd = -1;
    g_mutex_unlock(&s->lock);
    if (fd >= 0 && close(fd) < 0 && errno != EINTR) {
        error_setg_errno(errp, errno, "Unable to close socket");
        return false;
    }
    return true;
}

static bool socket_wait(QIOChannel *ioc, GIOCondition cond, int timeout_ms)
{
    FdWatch w = {IO_CHANNEL_SOCKET(ioc)->fd, cond};

    return io_fd_poll(&w, 1, timeout_ms);
}

static GSource *socket_create_watch(QIOChannel *ioc, GIOCondition cond)
{
    FdWatch w = {IO_CHANNEL_SOCKET(ioc)->fd, cond};

    return io_fd_watch_new(ioc, cond, &w, 1);
}

static void io_channel_socket_finalize(GObject *obj)
{
    QIOChannelSocket *s = IO_CHANNEL_SOCKET(obj);

    socket_close(IO_CHANNEL(s), NULL);
    g_mutex_clear(&s->lock);
    G_OBJECT_CLASS(io_channel_socket_parent_class)->finalize(obj);
}

static void io_channel_socket_class_init(QIOChannelSocketClass *klass)
{
    QIOChannelClass *k = IO_CHANNEL_CLASS(klass);

    G_OBJECT_CLASS(klass)->finalize = io_channel_socket_finalize;
    k->readv = socket_readv;
    k->writev = socket_writev;
    k->flush = socket_flush;
    k->peek = socket_peek;
    k->set_blocking = socket_set_blocking;
    k->set_delay = socket_set_delay;
    k->backlog = socket_backlog;
    k->shutdown = socket_shutdown;
    k->close = socket_close;
    k->wait = socket_wait;
    k->create_watch = socket_create_watch;
}

static void io_channel_socket_init(QIOChannelSocket *s)
{
    s->fd = -1;
    s->blocking = true;
    g_mutex_init(&s->lock);
}
