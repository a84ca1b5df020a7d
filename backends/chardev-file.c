/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kinds over descriptors without a peer that comes and goes: file, pipe, fd. */
#include <fcntl.h>
#include <sys/socket.h>
#include "backends/chardev-internal.h"
#include "io/channel-file.h"
#include "io/channel-socket.h"
#include "util/keyval.h"

static int open_path(Chardev *chr, const char *path, int flags, GError **errp)
{
    return chr->list->open_file(chr->list->open_opaque, path, flags, 0666, errp);
}

/* Takes the descriptors; @in may be -1. */
static void connect_fds(Chardev *chr, int in, int out)
{
    g_autoptr(QIOChannelFile) i = in >= 0 ? io_channel_file_new_fd(in) : NULL;
    g_autoptr(QIOChannelFile) o = io_channel_file_new_fd(out);

    chardev_stream_connect(chr, i ? IO_CHANNEL(i) : NULL, IO_CHANNEL(o));
}

/* ---- file ---- */

static bool file_open(Chardev *chr, JsonObject *options, GError **errp)
{
    const char *path = chardev_need_option(options, "file", "path", errp);
    const char *input = keyval_get_string(options, "input-path");
    int in = -1, out;
    bool append;

    if (!path || !keyval_get_bool(options, "append", false, &append, errp)) {
        return false;
    }
    out = open_path(chr, path, O_WRONLY | O_CREAT | (append ? O_APPEND : O_TRUNC), errp);
    if (out < 0) {
        return false;
    }
    if (input) {
        in = open_path(chr, input, O_RDONLY, errp);
        if (in < 0) {
            close(out);
            return false;
        }
    }
    connect_fds(chr, in, out);
    return true;
}

static const char *const file_options[] = {"path", "append", "input-path", NULL};

const ChardevOps chardev_file_ops = {
    .name = "file",
    .options = file_options,
    .open = file_open,
};

/* ---- pipe: PATH.in and PATH.out, or one read-write PATH ---- */

static bool pipe_open(Chardev *chr, JsonObject *options, GError **errp)
{
    const char *path = chardev_need_option(options, "pipe", "path", errp);
    g_autofree char *path_in = g_strconcat(path ? path : "", ".in", NULL);
    g_autofree char *path_out = g_strconcat(path ? path : "", ".out", NULL);
    int in, out;

    if (!path) {
        return false;
    }
    /* Read-write, so that neither open nor the first read depends on the other end being there. */
    in = open_path(chr, path_in, O_RDWR, NULL);
    out = in < 0 ? -1 : open_path(chr, path_out, O_RDWR, NULL);
    if (out < 0) {
        if (in >= 0) {
            close(in);
        }
        in = open_path(chr, path, O_RDWR, errp);
        if (in < 0) {
            return false;
        }
        out = fcntl(in, F_DUPFD_CLOEXEC, 0);
        if (out < 0) {
            error_setg_errno(errp, errno, "Could not duplicate '%s'", path);
            close(in);
            return false;
        }
    }
    connect_fds(chr, in, out);
    return true;
}

static const char *const pipe_options[] = {"path", NULL};

const ChardevOps chardev_pipe_ops = {
    .name = "pipe",
    .options = pipe_options,
    .open = pipe_open,
};

/* ---- fd: inherited, of any kind ---- */

static bool fd_open(Chardev *chr, JsonObject *options, GError **errp)
{
    const char *text = chardev_need_option(options, "fd", "fd", errp);
    int fd = text ? chardev_inherited_fd(text, errp) : -1;
    g_autoptr(QIOChannel) ioc = NULL;
    int type, mode;
    socklen_t len = sizeof(type);

    if (fd < 0) {
        return false;
    }
    mode = fcntl(fd, F_GETFL) & O_ACCMODE;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0) {
        QIOChannelSocket *s = io_channel_socket_new_fd(fd, errp);

        if (!s) {
            return false;
        }
        ioc = IO_CHANNEL(s);
    } else {
        ioc = IO_CHANNEL(io_channel_file_new_fd(fd));
    }
    chardev_stream_connect(chr, mode == O_WRONLY ? NULL : ioc, mode == O_RDONLY ? NULL : ioc);
    return true;
}

static const char *const fd_options[] = {"fd", NULL};

const ChardevOps chardev_fd_ops = {
    .name = "fd",
    .options = fd_options,
    .open = fd_open,
};
