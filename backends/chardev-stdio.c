/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The terminal (or whatever stdin and stdout are). A terminal is raw while in use, and restored. */
#include <fcntl.h>
#include <termios.h>
#include "backends/chardev-internal.h"
#include "io/channel-file.h"
#include "util/keyval.h"

typedef struct {
    bool taken; /* list->stdio_taken is ours */
    bool raw;
} Stdio;

/* Process-wide, as the terminal is: it must be restored however the process comes to exit(). */
static struct termios saved_termios;
static gint termios_saved;

static void restore_terminal(void)
{
    if (g_atomic_int_compare_and_exchange(&termios_saved, 1, 0)) {
        tcsetattr(STDIN_FILENO, TCSANOW, &saved_termios);
    }
}

/* @signals: Ctrl-C and friends keep their meaning. */
static bool make_raw(bool signals, GError **errp)
{
    static gsize registered;
    struct termios t;

    if (tcgetattr(STDIN_FILENO, &saved_termios) < 0) {
        error_setg_errno(errp, errno, "Cannot read the terminal's settings");
        return false;
    }
    if (g_once_init_enter(&registered)) {
        atexit(restore_terminal);
        g_once_init_leave(&registered, 1);
    }
    g_atomic_int_set(&termios_saved, 1);
    t = saved_termios;
    t.c_iflag &= ~(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    t.c_oflag |= OPOST;
    t.c_lflag &= ~(ECHO | ECHONL | ICANON | IEXTEN | (signals ? 0 : ISIG));
    t.c_cflag = (t.c_cflag & ~(CSIZE | PARENB)) | CS8;
    t.c_cc[VMIN] = 1;
    t.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &t);
    return true;
}

/*
 * A descriptor for our use alone. Being non-blocking is a property that stdin, stdout, stderr and
 * our parent share, so pipes and terminals are opened anew; what cannot be is duplicated and shared
 * after all.
 */
static int private_fd(int fd, int mode)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    int own = -1;

    if (lseek(fd, 0, SEEK_CUR) < 0) { /* a file's position must stay shared */
        own = open(path, mode | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    }
    return own >= 0 ? own : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static bool stdio_open(Chardev *chr, JsonObject *options, GError **errp)
{
    Stdio *s = chr->state;
    g_autoptr(QIOChannelFile) in = NULL, out = NULL;
    int in_fd, out_fd;
    bool signals;

    if (!keyval_get_bool(options, "signal", true, &signals, errp)) {
        return false;
    }
    if (chr->list->stdio_taken) {
        error_setg(errp, "cannot use stdio by multiple character devices");
        return false;
    }
    in_fd = private_fd(STDIN_FILENO, O_RDONLY);
    out_fd = private_fd(STDOUT_FILENO, O_WRONLY);
    in = in_fd < 0 ? NULL : io_channel_file_new_fd(in_fd);
    out = out_fd < 0 ? NULL : io_channel_file_new_fd(out_fd);
    if (!in && !out) {
        error_setg(errp, "cannot use stdio: neither stdin nor stdout is open");
        return false;
    }
    if (in && isatty(STDIN_FILENO)) {
        if (!make_raw(signals, errp)) {
            return false;
        }
        s->raw = true;
    }
    s->taken = chr->list->stdio_taken = true;
    chardev_stream_connect(chr, in ? IO_CHANNEL(in) : NULL, out ? IO_CHANNEL(out) : NULL);
    return true;
}

static void stdio_close(Chardev *chr)
{
    Stdio *s = chr->state;

    if (s->raw) {
        restore_terminal();
    }
    if (s->taken) {
        chr->list->stdio_taken = false;
    }
}

static const char *const stdio_options[] = {"signal", NULL};

const ChardevOps chardev_stdio_ops = {
    .name = "stdio",
    .options = stdio_options,
    .state_size = sizeof(Stdio),
    .open = stdio_open,
    .close = stdio_close,
};
