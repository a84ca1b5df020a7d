/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "relay.h"
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CHUNK 65536

typedef struct {
    Relay *relay;
    int from, to;
    uint64_t limit;
    bool stall;
    uint64_t passed; /* atomic */
    GThread *thread;
} Direction;

/* Both directions of a connection; descriptors stay open until the relay is freed. */
typedef struct {
    Direction there, back;
} Connection;

struct Relay {
    char *path, *target;
    int fd;
    GThread *thread;
    GMutex lock;
    GCond wake;
    bool over;                                 /* with the lock */
    unsigned n;                                /* atomic */
    Connection connections[RELAY_CONNECTIONS]; /* limits: the test's, before @n counts them */
};

static int unix_socket(const char *path, struct sockaddr_un *sa)
{
    *sa = (struct sockaddr_un){.sun_family = AF_UNIX};
    g_assert_cmpint(g_strlcpy(sa->sun_path, path, sizeof(sa->sun_path)), <, sizeof(sa->sun_path));
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static void end(Direction *d)
{
    shutdown(d->from, SHUT_RDWR);
    shutdown(d->to, SHUT_RDWR);
}

static bool send_all(int fd, const uint8_t *bytes, size_t n)
{
    while (n) {
        ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);

        if (sent <= 0) {
            return false;
        }
        bytes += sent;
        n -= sent;
    }
    return true;
}

static gpointer pump(gpointer opaque)
{
    Direction *d = opaque;
    uint8_t bytes[CHUNK];
    uint64_t passed = 0;

    while (passed < d->limit) {
        ssize_t n = recv(d->from, bytes, MIN(sizeof(bytes), d->limit - passed), 0);

        if (n <= 0 || !send_all(d->to, bytes, n)) {
            break;
        }
        passed += n;
        __atomic_store_n(&d->passed, passed, __ATOMIC_RELEASE);
    }
    g_mutex_lock(&d->relay->lock);
    while (passed == d->limit && d->stall && !d->relay->over) {
        g_cond_wait(&d->relay->wake, &d->relay->lock);
    }
    g_mutex_unlock(&d->relay->lock);
    end(d);
    return NULL;
}

static gpointer accept_all(gpointer opaque)
{
    Relay *r = opaque;
    unsigned n = 0;

    for (;;) {
        Connection *c = &r->connections[n];
        int near = accept4(r->fd, NULL, NULL, SOCK_CLOEXEC), far;
        struct sockaddr_un sa;

        if (near < 0) {
            return NULL; /* the test has ended */
        }
        far = unix_socket(r->target, &sa);
        if (n == RELAY_CONNECTIONS || connect(far, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
            close(near);
            close(far);
            continue;
        }
        c->there.from = c->back.to = near;
        c->there.to = c->back.from = far;
        c->there.thread = g_thread_new("relay", pump, &c->there);
        c->back.thread = g_thread_new("relay", pump, &c->back);
        __atomic_store_n(&r->n, ++n, __ATOMIC_RELEASE);
    }
}

Relay *relay_new(const char *path, const char *target)
{
    Relay *r = g_new0(Relay, 1);
    struct sockaddr_un sa;

    r->path = g_strdup(path);
    r->target = g_strdup(target);
    g_mutex_init(&r->lock);
    g_cond_init(&r->wake);
    for (unsigned i = 0; i < RELAY_CONNECTIONS; i++) {
        r->connections[i].there = r->connections[i].back =
            (Direction){.relay = r, .limit = UINT64_MAX};
    }
    r->fd = unix_socket(path, &sa);
    g_assert_cmpint(bind(r->fd, (struct sockaddr *)&sa, sizeof(sa)), ==, 0);
    g_assert_cmpint(listen(r->fd, RELAY_CONNECTIONS), ==, 0);
    r->thread = g_thread_new("relay", accept_all, r);
    return r;
}

void relay_free(Relay *r)
{
    shutdown(r->fd, SHUT_RDWR);
    g_thread_join(r->thread);
    close(r->fd);
    g_mutex_lock(&r->lock);
    r->over = true;
    g_cond_broadcast(&r->wake);
    g_mutex_unlock(&r->lock);
    for (unsigned i = 0; i < r->n; i++) {
        Connection *c = &r->connections[i];

        end(&c->there);
        g_thread_join(c->there.thread);
        g_thread_join(c->back.thread);
        close(c->there.from);
        close(c->there.to);
    }
    unlink(r->path);
    g_mutex_clear(&r->lock);
    g_cond_clear(&r->wake);
    g_free(r->path);
    g_free(r->target);
    g_free(r);
}

void relay_cut(Relay *r)
{
    for (unsigned i = 0; i < relay_connections(r); i++) {
        end(&r->connections[i].there);
    }
}

void relay_break(Relay *r, unsigned i, uint64_t bytes)
{
    r->connections[i].there.limit = bytes;
}

void relay_stall(Relay *r, unsigned i, uint64_t bytes)
{
    r->connections[i].there.limit = bytes;
    r->connections[i].there.stall = true;
}

unsigned relay_connections(Relay *r)
{
    return __atomic_load_n(&r->n, __ATOMIC_ACQUIRE);
}

uint64_t relay_passed(Relay *r, unsigned i)
{
    return i < relay_connections(r)
               ? __atomic_load_n(&r->connections[i].there.passed, __ATOMIC_ACQUIRE)
               : 0;
}
