/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -netdev tap: an existing tap device by name, or an open descriptor of one; no virtio-net header.
 */
#include "util/osdep.h"
#include <fcntl.h>
#include <sys/ioctl.h>
#include <net/if.h>
#include <linux/if_tun.h>
#include <glib-unix.h>
#include "net-int.h"
#include "util/keyval.h"

#define FRAMES_PER_TURN 64

typedef struct {
    int fd;
    guint watch; /* 0 while the guest has no room */
    uint8_t buf[NET_MAX_FRAME];
} TapState;

static gboolean tap_readable(gint fd, GIOCondition cond, gpointer opaque)
{
    NetBackend *nb = opaque;
    TapState *s = nb->state;

    for (unsigned i = 0; i < FRAMES_PER_TURN; i++) {
        ssize_t got;

        if (!net_can_deliver(nb)) {
            s->watch = 0;
            return G_SOURCE_REMOVE;
        }
        got = read(fd, s->buf, sizeof(s->buf));
        if (got <= 0) {
            if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
                return G_SOURCE_CONTINUE;
            }
            warn_report("netdev '%s': the tap device is gone: %s", nb->id, g_strerror(errno));
            s->watch = 0;
            return G_SOURCE_REMOVE;
        }
        net_deliver(nb, &(struct iovec){s->buf, got}, 1);
    }
    return G_SOURCE_CONTINUE;
}

static void tap_resume(NetBackend *nb)
{
    TapState *s = nb->state;

    if (!s->watch) {
        s->watch = g_unix_fd_add(s->fd, G_IO_IN, tap_readable, nb);
    }
}

static void tap_send(NetBackend *nb, const struct iovec *iov, unsigned n)
{
    TapState *s = nb->state;
    ssize_t r;

    do {
        r = writev(s->fd, iov, n);
    } while (r < 0 && errno == EINTR);
}

static int open_tun(const char *ifname, GError **errp)
{
    struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    int fd;

    if (strlen(ifname) >= IFNAMSIZ) {
        error_setg(errp, "ifname '%s' is too long", ifname);
        return -1;
    }
    fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        error_setg_errno(errp, errno, "could not open /dev/net/tun");
        return -1;
    }
    g_strlcpy(ifr.ifr_name, ifname, IFNAMSIZ);
    if (ioctl(fd, TUNSETIFF, &ifr) < 0) {
        error_setg_errno(errp, errno, "could not configure /dev/net/tun (%s)", ifname);
        close(fd);
        return -1;
    }
    return fd;
}

/* A descriptor somebody else opened: it must be a tap without packet information. */
static int adopt_fd(const char *text, GError **errp)
{
    struct ifreq ifr = {0};
    uint64_t fd;

    if (!g_ascii_string_to_unsigned(text, 10, 0, INT32_MAX, &fd, NULL) || fcntl(fd, F_GETFD) < 0) {
        error_setg(errp, "fd=%s is not an open descriptor", text);
        return -1;
    }
    if (ioctl(fd, TUNGETIFF, &ifr) < 0) {
        error_setg_errno(errp, errno, "fd=%s is not a tap device", text);
        return -1;
    }
    if (ifr.ifr_flags & IFF_VNET_HDR) {
        int off = 0;

        ifr.ifr_flags &= ~IFF_VNET_HDR;
        if (ioctl(fd, TUNSETIFF, &ifr) < 0 && ioctl(fd, TUNSETVNETHDRSZ, &off) < 0) {
            error_setg(errp, "fd=%s was opened with IFF_VNET_HDR, which is not supported", text);
            return -1;
        }
    }
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
}

static bool refuse_value(JsonObject *options, const char *key, const char *only, GError **errp)
{
    const char *v = keyval_get_string(options, key);

    if (!v || g_str_equal(v, only)) {
        return true;
    }
    error_setg(errp, "netdev tap: %s=%s is not supported, only %s=%s", key, v, key, only);
    return false;
}

static bool refuse_on(JsonObject *options, const char *key, GError **errp)
{
    bool on;

    if (!keyval_get_bool(options, key, false, &on, errp)) {
        return false;
    }
    if (on) {
        error_setg(errp, "netdev tap: %s=on is not supported", key);
    }
    return !on;
}

static bool tap_open(NetBackend *nb, JsonObject *options, GError **errp)
{
    const char *ifname = keyval_get_string(options, "ifname");
    const char *fd_text = keyval_get_string(options, "fd");
    TapState *s;
    int fd;

    if (!refuse_value(options, "script", "no", errp) ||
        !refuse_value(options, "downscript", "no", errp) || !refuse_on(options, "vhost", errp) ||
        !refuse_on(options, "vnet_hdr", errp)) {
        return false;
    }
    if (!ifname == !fd_text) {
        error_setg(errp, "netdev tap needs either ifname= or fd=");
        return false;
    }
    fd = ifname ? open_tun(ifname, errp) : adopt_fd(fd_text, errp);
    if (fd < 0) {
        return false;
    }
    g_unix_set_fd_nonblocking(fd, TRUE, NULL);
    s = nb->state = g_new0(TapState, 1);
    s->fd = fd;
    nb->info = ifname ? g_strdup_printf("ifname=%s", ifname) : g_strdup_printf("fd=%d", fd);
    tap_resume(nb);
    return true;
}

static void tap_close(NetBackend *nb)
{
    TapState *s = nb->state;

    if (s->watch) {
        g_source_remove(s->watch);
    }
    close(s->fd);
    g_free(s);
    nb->state = NULL;
}

static const char *const tap_keys[] = {"ifname", "fd",       "script", "downscript",
                                       "vhost",  "vnet_hdr", NULL};

const NetKind net_kind_tap = {
    .type = "tap",
    .keys = tap_keys,
    .open = tap_open,
    .close = tap_close,
    .send = tap_send,
    .resume = tap_resume,
};
