/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <glib-unix.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "io/net-listener.h"
#include "io/resolver.h"
#include "util/error.h"
#include "util/log.h"

LOG_CATEGORY(io)

/* Out of descriptors or memory: accepting again at once would only spin. */
#define RETRY_MS 100

typedef struct {
    NetListener *owner;
    int fd;
    GSource *source; /* accept, or the pause after running out of resources */
} ListeningSocket;

struct NetListener {
    unsigned refs; /* the owner's, and one during a callback */
    NetListenerCB *cb;
    void *opaque;
    GPtrArray *sockets; /* ListeningSocket, in bind order */
};

static void watch_socket(ListeningSocket *ls);

static void clear_source(ListeningSocket *ls)
{
    if (ls->source) {
        g_source_destroy(ls->source);
        g_clear_pointer(&ls->source, g_source_unref);
    }
}

static void listening_socket_stop(ListeningSocket *ls)
{
    clear_source(ls);
    if (ls->fd >= 0) {
        close(ls->fd);
        ls->fd = -1;
    }
}

static void listening_socket_free(void *opaque)
{
    listening_socket_stop(opaque);
    g_free(opaque);
}

static void listener_unref(NetListener *l)
{
    if (--l->refs == 0) {
        g_ptr_array_unref(l->sockets);
        g_free(l);
    }
}

static void set_source(ListeningSocket *ls, GSource *source, GSourceFunc fn)
{
    clear_source(ls);
    ls->source = source;
    g_source_set_callback(source, fn, ls, NULL);
    g_source_attach(source, g_main_context_get_thread_default());
}

static gboolean resume_accepting(void *opaque)
{
    watch_socket(opaque);
    return G_SOURCE_REMOVE;
}

static gboolean accept_ready(int listen_fd, GIOCondition cond, void *opaque)
{
    ListeningSocket *ls = opaque;
    NetListener *l = ls->owner;
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
    QIOChannelSocket *s;

    if (fd < 0) {
        trace(io, "accept: %s", g_strerror(errno));
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            set_source(ls, g_timeout_source_new(RETRY_MS), resume_accepting);
        }
        return G_SOURCE_CONTINUE; /* all others: this one peer has gone */
    }
    s = io_channel_socket_new_fd(fd, NULL);
    if (s) {
        l->refs++;
        l->cb(l, s, l->opaque); /* may free the listener, and with it this source */
        listener_unref(l);
    }
    return G_SOURCE_CONTINUE;
}

static void watch_socket(ListeningSocket *ls)
{
    set_source(ls, g_unix_fd_source_new(ls->fd, G_IO_IN),
               (GSourceFunc)(void (*)(void))accept_ready);
}

static void add_socket(NetListener *l, int fd)
{
    ListeningSocket *ls = g_new0(ListeningSocket, 1);

    ls->owner = l;
    ls->fd = fd;
    g_ptr_array_add(l->sockets, ls);
    watch_socket(ls);
}

static NetListener *listener_alloc(NetListenerCB *cb, void *opaque)
{
    NetListener *l = g_new0(NetListener, 1);

    l->refs = 1;
    l->cb = cb;
    l->opaque = opaque;
    l->sockets = g_ptr_array_new_with_free_func(listening_socket_free);
    return l;
}

/* ---- bind ---- */

/* Make room for a socket file; what is not a socket is not ours to remove. */
static bool remove_stale_socket(const char *path, GError **errp)
{
    struct stat st;

    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) && unlink(path) < 0 && errno != ENOENT) {
        error_setg_errno(errp, errno, "Failed to unlink socket %s", path);
        return false;
    }
    return true;
}

static bool bind_fd(int fd, const ResolvedAddress *r, bool dual)
{
    if (r->family == AF_INET6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){!dual}, sizeof(int));
    }
    if (bind(fd, (const struct sockaddr *)&r->sa, r->len) == 0) {
        return true;
    }
    if (errno != EADDRINUSE || r->family != AF_INET6 || !dual) {
        return false;
    }
    /* The IPv4 half is taken, most likely by our own socket of the same name. */
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){1}, sizeof(int));
    return bind(fd, (const struct sockaddr *)&r->sa, r->len) == 0;
}

static void bind_error(const SocketAddress *addr, int err, const char *what, GError **errp)
{
    if (addr->type == SOCKET_ADDRESS_TYPE_UNIX) {
        error_setg_errno(errp, err, "Failed to %s socket %s%s", what,
                         strcmp(what, "bind") == 0 ? "to " : "", addr->u.q_unix->path);
    } else if (err == EADDRINUSE) {
        error_setg_errno(errp, err, "Failed to find an available port");
    } else {
        error_setg_errno(errp, err, "Failed to %s socket", what);
    }
}

/* One attempt at one port; -1 with errno, *step says what failed. */
static int try_listen(const ResolvedAddress *r, bool dual, bool keep_alive, int backlog,
                      const char **step)
{
    int fd = socket(r->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, r->protocol);
    int err;

    *step = "create a";
    if (fd < 0) {
        return -1;
    }
    if (r->family != AF_UNIX) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    }
    if (keep_alive) {
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &(int){1}, sizeof(int));
    }
    *step = "bind";
    if (bind_fd(fd, r, dual)) {
        *step = "listen on";
        if (listen(fd, backlog) == 0) {
            return fd;
        }
    }
    err = errno;
    close(fd);
    errno = err;
    return -1;
}

static int listen_on(const SocketAddress *addr, ResolvedAddress r, int backlog, GError **errp)
{
    const InetSocketAddress *inet = addr->type == SOCKET_ADDRESS_TYPE_INET ? addr->u.inet : NULL;
    bool dual =
        inet && inet->has_ipv4 == inet->has_ipv6 && (!inet->has_ipv4 || inet->ipv4 == inet->ipv6);
    bool keep_alive = inet && inet->has_keep_alive && inet->keep_alive;
    unsigned port = inet ? sockaddr_port(&r.sa) : 0;
    unsigned last = inet && inet->has_to ? inet->to : port;
    const char *step;
    int fd;

    for (;;) {
        fd = try_listen(&r, dual, keep_alive, backlog, &step);
        if (fd >= 0 || errno != EADDRINUSE || port >= last) {
            break;
        }
        sockaddr_set_port(&r.sa, ++port);
    }
    if (fd < 0) {
        bind_error(addr, errno, step, errp);
    }
    return fd;
}

NetListener *net_listener_new(const SocketAddress *addr, int backlog, NetListenerCB *cb,
                              void *opaque, GError **errp)
{
    g_autoptr(GArray) list = resolve_socket_address(addr, true, errp);
    g_autoptr(GError) first = NULL;
    NetListener *l;

    if (!list) {
        return NULL;
    }
    if (addr->type == SOCKET_ADDRESS_TYPE_UNIX &&
        !(addr->u.q_unix->has_abstract && addr->u.q_unix->abstract) &&
        !remove_stale_socket(addr->u.q_unix->path, errp)) {
        return NULL;
    }
    l = listener_alloc(cb, opaque);
    for (unsigned i = 0; i < list->len; i++) {
        int fd = listen_on(addr, g_array_index(list, ResolvedAddress, i), backlog,
                           first ? NULL : &first);

        if (fd >= 0) {
            add_socket(l, fd);
        }
    }
    if (!l->sockets->len) {
        g_propagate_error(errp, g_steal_pointer(&first));
        net_listener_free(l);
        return NULL;
    }
    return l;
}

NetListener *net_listener_new_fd(int fd, NetListenerCB *cb, void *opaque, GError **errp)
{
    int listening = 0, flags;
    socklen_t len = sizeof(listening);
    NetListener *l;

    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0 ||
        (flags = fcntl(fd, F_GETFL)) < 0) {
        error_setg_errno(errp, errno, "Unable to use descriptor %d as listening socket", fd);
        return NULL;
    }
    if (!listening) {
        error_setg(errp, "Unable to use descriptor %d: not a listening socket", fd);
        return NULL;
    }
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    l = listener_alloc(cb, opaque);
    add_socket(l, fd);
    return l;
}

void net_listener_set_accepting(NetListener *l, bool accepting)
{
    for (unsigned i = 0; i < l->sockets->len; i++) {
        ListeningSocket *ls = g_ptr_array_index(l->sockets, i);

        if (accepting) {
            watch_socket(ls);
        } else {
            clear_source(ls);
        }
    }
}

QIOChannelSocket *net_listener_wait(NetListener *l, GError **errp)
{
    g_autofree struct pollfd *p = g_new0(struct pollfd, l->sockets->len);

    for (unsigned i = 0; i < l->sockets->len; i++) {
        p[i].fd = ((ListeningSocket *)g_ptr_array_index(l->sockets, i))->fd;
        p[i].events = POLLIN;
    }
    for (;;) {
        if (poll(p, l->sockets->len, -1) < 0 && errno != EINTR) {
            error_setg_errno(errp, errno, "Unable to wait for a connection");
            return NULL;
        }
        for (unsigned i = 0; i < l->sockets->len; i++) {
            int fd = accept4(p[i].fd, NULL, NULL, SOCK_CLOEXEC);

            if (fd >= 0) {
                return io_channel_socket_new_fd(fd, errp);
            }
            if (errno == EMFILE || errno == ENFILE) {
                error_setg_errno(errp, errno, "Unable to accept a connection");
                return NULL;
            }
        }
    }
}

void net_listener_free(NetListener *l)
{
    if (l) {
        for (unsigned i = 0; i < l->sockets->len; i++) {
            listening_socket_stop(g_ptr_array_index(l->sockets, i));
        }
        listener_unref(l);
    }
}

GPtrArray *net_listener_addresses(NetListener *l)
{
    GPtrArray *out = qapi_list_new_SocketAddress();

    for (unsigned i = l->sockets->len; i-- > 0;) {
        ListeningSocket *ls = g_ptr_array_index(l->sockets, i);
        struct sockaddr_storage sa = {0};
        socklen_t len = sizeof(sa);
        SocketAddress *addr;

        if (getsockname(ls->fd, (struct sockaddr *)&sa, &len) == 0) {
            addr = socket_address_from_sockaddr(&sa, MIN(len, sizeof(sa)), NULL);
            if (addr) {
                g_ptr_array_add(out, addr);
            }
        }
    }
    return out;
}
