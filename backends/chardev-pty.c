/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A pseudo terminal. The kernel says whether anybody has the other end open only by hang-up, and
 * only when asked, so while nobody has, a timer asks.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <termios.h>
#include "backends/chardev-internal.h"
#include "io/channel-file.h"
#include "util/keyval.h"

#define POLL_MS 200

typedef struct {
    int fd; /* owned by @master */
    QIOChannelFile *master;
    char *name; /* /dev/pts/N */
    char *link; /* path=: a symbolic link to it */
    GSource *timer;
} Pty;

static bool other_end_open(const Pty *p)
{
    struct pollfd pfd = {.fd = p->fd, .events = POLLIN};

    return poll(&pfd, 1, 0) >= 0 && !(pfd.revents & POLLHUP);
}

static gboolean pty_poll(void *opaque)
{
    Chardev *chr = opaque;
    Pty *p = chr->state;

    if (!other_end_open(p)) {
        return G_SOURCE_CONTINUE;
    }
    g_clear_pointer(&p->timer, g_source_unref);
    chardev_stream_connect(chr, IO_CHANNEL(p->master), IO_CHANNEL(p->master));
    return G_SOURCE_REMOVE;
}

static void pty_hangup(Chardev *chr)
{
    Pty *p = chr->state;

    p->timer = g_timeout_source_new(POLL_MS);
    g_source_set_callback(p->timer, pty_poll, chr, NULL);
    g_source_attach(p->timer, NULL);
}

/* Raw mode lives with the slave; opening and closing it also starts the hang-up state. */
static bool prepare_slave(const char *name, GError **errp)
{
    int fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios t;

    if (fd < 0 || tcgetattr(fd, &t) < 0) {
        error_setg_errno(errp, errno, "Failed to set up PTY %s", name);
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    cfmakeraw(&t);
    tcsetattr(fd, TCSAFLUSH, &t);
    close(fd);
    return true;
}

static bool pty_open(Chardev *chr, JsonObject *options, GError **errp)
{
    const char *link = keyval_get_string(options, "path");
    Pty *p = chr->state;
    char name[64];

    p->fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (p->fd < 0) {
        error_setg_errno(errp, errno, "Failed to create PTY");
        return false;
    }
    p->master = io_channel_file_new_fd(p->fd);
    if (grantpt(p->fd) < 0 || unlockpt(p->fd) < 0 || ptsname_r(p->fd, name, sizeof(name)) != 0) {
        error_setg_errno(errp, errno, "Failed to create PTY");
        return false;
    }
    p->name = g_strdup(name);
    if (!prepare_slave(name, errp)) {
        return false;
    }
    if (link) {
        if (symlink(name, link) < 0) {
            error_setg_errno(errp, errno, "Failed to create PTY symlink %s", link);
            return false;
        }
        p->link = g_strdup(link);
    }
    fprintf(stderr, "char device redirected to %s (label %s)\n", name, chr->label);
    pty_hangup(chr);
    return true;
}

static void pty_close(Chardev *chr)
{
    Pty *p = chr->state;

    if (p->timer) {
        g_source_destroy(p->timer);
        g_clear_pointer(&p->timer, g_source_unref);
    }
    if (p->link) {
        unlink(p->link);
    }
    g_clear_pointer(&p->link, g_free);
    g_clear_pointer(&p->name, g_free);
    g_clear_object(&p->master);
}

static char *pty_filename(Chardev *chr)
{
    return g_strconcat("pty:", ((Pty *)chr->state)->name, NULL);
}

static const char *const pty_options[] = {"path", NULL};

const ChardevOps chardev_pty_ops = {
    .name = "pty",
    .options = pty_options,
    .state_size = sizeof(Pty),
    .open = pty_open,
    .close = pty_close,
    .filename = pty_filename,
    .hangup = pty_hangup,
};
