/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <linux/errqueue.h>
#include "io/zero-copy.h"
#include "util/error.h"

bool zero_copy_enable(int fd)
{
    int domain = 0;
    socklen_t len = sizeof(domain);

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
           (domain == AF_INET || domain == AF_INET6) &&
           setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &(int){1}, sizeof(int)) == 0;
}

static bool is_report(const struct cmsghdr *c)
{
    return c && ((c->cmsg_level == SOL_IP && c->cmsg_type == IP_RECVERR) ||
                 (c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_RECVERR));
}

typedef enum {
    TAKE_OK,
    TAKE_NOTHING, /* the queue is empty */
    TAKE_ERROR,
} TakeResult;

/* One message of the error queue. */
static TakeResult take_report(ZeroCopy *z, int fd, GError **errp)
{
    _Alignas(struct cmsghdr) char control[256];
    struct msghdr msg = {.msg_control = control, .msg_controllen = sizeof(control)};
    struct sock_extended_err e;
    const struct cmsghdr *c;
    int ret;

    do {
        ret = recvmsg(fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT);
    } while (ret < 0 && errno == EINTR);
    if (ret < 0 && errno == EAGAIN) {
        return TAKE_NOTHING;
    }
    if (ret < 0) {
        error_setg_errno(errp, errno, "Unable to read the socket's error queue");
        return TAKE_ERROR;
    }
    c = CMSG_FIRSTHDR(&msg);
    if (!is_report(c) || c->cmsg_len < CMSG_LEN(sizeof(e))) {
        error_setg(errp, "Unexpected message in the socket's error queue");
        return TAKE_ERROR;
    }
    memcpy(&e, CMSG_DATA(c), sizeof(e));
    if (e.ee_origin != SO_EE_ORIGIN_ZEROCOPY || e.ee_errno != 0) {
        error_setg_errno(errp, e.ee_errno, "Error in the socket's queue (origin %u)", e.ee_origin);
        return TAKE_ERROR;
    }
    z->done += e.ee_data - e.ee_info + 1;
    z->avoided |= !(e.ee_code & SO_EE_CODE_ZEROCOPY_COPIED);
    return TAKE_OK;
}

/* Block until the queue may have something. False: it never will. */
static bool wait_report(int fd, GError **errp)
{
    struct pollfd p = {.fd = fd};
    int err = 0;
    socklen_t len = sizeof(err);

    while (poll(&p, 1, -1) < 0) {
        if (errno != EINTR) {
            error_setg_errno(errp, errno, "Unable to wait for the socket");
            return false;
        }
    }
    if (!(p.revents & (POLLHUP | POLLNVAL)) &&
        (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 || err == 0)) {
        return true;
    }
    error_setg_errno(errp, err ? err : EPIPE, "Unable to write to socket");
    return false;
}

/* Wait for at least one report, unless nothing is on its way. */
static bool await_report(ZeroCopy *z, int fd, GError **errp)
{
    for (;;) {
        TakeResult result = take_report(z, fd, errp);

        if (result != TAKE_NOTHING) {
            return result == TAKE_OK;
        }
        if (!wait_report(fd, errp)) {
            /* The connection is gone; what it still held was let go of with it. */
            return false;
        }
    }
}

static void fail_locked_memory(size_t bytes, GError **errp)
{
    struct rlimit limit = {0};
    g_autofree char *now = NULL;

    getrlimit(RLIMIT_MEMLOCK, &limit);
    now = limit.rlim_cur == RLIM_INFINITY
              ? g_strdup("unlimited")
              : g_strdup_printf("%" PRIu64 " KiB", (uint64_t)limit.rlim_cur / KiB);
    error_setg(errp,
               "Process can't lock enough memory for using MSG_ZEROCOPY: sending %zu KiB does not "
               "fit into its limit (RLIMIT_MEMLOCK, now %s). Raise it (ulimit -l, LimitMEMLOCK= of "
               "a service, prlimit --memlock), grant CAP_IPC_LOCK, or turn the capability "
               "'zero-copy-send' off",
               DIV_ROUND_UP(bytes, 1024), now);
}

static size_t message_bytes(const struct msghdr *msg)
{
    size_t bytes = 0;

    for (size_t i = 0; i < msg->msg_iovlen; i++) {
        bytes += msg->msg_iov[i].iov_len;
    }
    return bytes;
}

ssize_t zero_copy_send(ZeroCopy *z, int fd, const struct msghdr *msg, GError **errp)
{
    for (;;) {
        ssize_t done = sendmsg(fd, msg, MSG_NOSIGNAL | MSG_ZEROCOPY);

        if (done >= 0) {
            z->sent += done > 0;
            return done;
        }
        if (errno == EINTR) {
            continue;
        }
        if (errno == EAGAIN) {
            return IO_CHANNEL_WOULD_BLOCK;
        }
        if (errno != ENOBUFS) {
            error_setg_errno(errp, errno, "Unable to write to socket");
            return IO_CHANNEL_ERR;
        }
        if (z->sent == z->done) {
            fail_locked_memory(message_bytes(msg), errp);
            return IO_CHANNEL_ERR;
        }
        if (!await_report(z, fd, errp)) {
            return IO_CHANNEL_ERR;
        }
    }
}

IOFlush zero_copy_flush(ZeroCopy *z, int fd, GError **errp)
{
    bool any = z->sent != z->done, avoided;

    while (z->sent != z->done) {
        if (!await_report(z, fd, errp)) {
            return IO_FLUSH_ERROR;
        }
    }
    avoided = z->avoided;
    z->avoided = false;
    return any && !avoided ? IO_FLUSH_COPIED : IO_FLUSH_DONE;
}
