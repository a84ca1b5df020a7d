/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A child process as a byte stream.  The child is told by end of file (its stdin closes) and
 * collected in the background, so neither a child that lingers nor one that never reads holds
 * anybody up.  One that lingers after our output was shut down before its end is ended.
 */
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include "io/channel-command.h"
#include "io/pipe-end.h"
#include "util/error.h"

extern char **environ;

/* Between SIGTERM and SIGKILL for a child that is not wanted any more. */
#define KILL_GRACE_MS 10
/* Before SIGTERM for a child whose channel was shut down: it may end by itself, its input has. */
#define ABORT_GRACE_MS 1000

struct _QIOChannelCommand {
    QIOChannel parent;
    PipeEnd to_child;
    PipeEnd from_child;
    pid_t pid; /* 0: handed to the reaper */
};

G_DEFINE_TYPE(QIOChannelCommand, io_channel_command, TYPE_IO_CHANNEL)

/* ---- start ---- */

/* A pipe whose ends are CLOEXEC and clear of 0..2, which the child's table will redefine. */
static bool make_pipe(int fds[2], GError **errp)
{
    if (pipe2(fds, O_CLOEXEC) < 0) {
        error_setg_errno(errp, errno, "Unable to create a pipe");
        return false;
    }
    for (int i = 0; i < 2; i++) {
        int moved;

        if (fds[i] > STDERR_FILENO) {
            continue;
        }
        moved = fcntl(fds[i], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        if (moved < 0) {
            error_setg_errno(errp, errno, "Unable to create a pipe");
            close(fds[0]);
            close(fds[1]);
            fds[0] = fds[1] = -1;
            return false;
        }
        close(fds[i]);
        fds[i] = moved;
    }
    return true;
}

static pid_t spawn(const char *const *argv, int child_in, int child_out, GError **errp)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, dflt;
    pid_t pid = 0;
    int err;

    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, child_in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, child_out, STDOUT_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);

    /* Our ignored and blocked signals are not the child's business. */
    sigemptyset(&none);
    sigemptyset(&dflt);
    sigaddset(&dflt, SIGPIPE);
    sigaddset(&dflt, SIGXFSZ);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &dflt);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

    err = posix_spawnp(&pid, argv[0], &files, &attr, (char *const *)argv, environ);
    if (err) {
        error_setg(errp, "Failed to execute child process \"%s\" (%s)", argv[0], g_strerror(err));
        pid = -1;
    }
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    return pid;
}

QIOChannelCommand *io_channel_command_new_spawn(const char *const *argv, GError **errp)
{
    g_autoptr(QIOChannelCommand) c = NULL;
    int in[2] = {-1, -1}, out[2] = {-1, -1};
    pid_t pid = -1;

    if (!argv[0]) {
        error_setg(errp, "Cannot execute an empty command");
        return NULL;
    }
    c = g_object_new(TYPE_IO_CHANNEL_COMMAND, NULL);
    if (!make_pipe(in, errp) || !make_pipe(out, errp)) {
        goto out;
    }
    /* A pipe's two ends have separate status flags: only ours become non-blocking. */
    if (!pipe_end_open(&c->to_child, in[1], errp)) {
        goto out;
    }
    in[1] = -1;
    if (!pipe_end_open(&c->from_child, out[0], errp)) {
        goto out;
    }
    out[0] = -1;
    pid = spawn(argv, in[0], out[1], errp);
    c->pid = MAX(pid, 0);

out:
    for (int i = 0; i < 2; i++) {
        if (in[i] >= 0) {
            close(in[i]);
        }
        if (out[i] >= 0) {
            close(out[i]);
        }
    }
    return pid > 0 ? g_steal_pointer(&c) : NULL;
}

/* ---- end ---- */

static bool try_reap(pid_t pid)
{
    pid_t ret;

    do {
        ret = waitpid(pid, NULL, WNOHANG);
    } while (ret < 0 && errno == EINTR);
    return ret != 0; /* collected, or not ours to collect */
}

static void *reaper_wait(void *opaque)
{
    pid_t pid = GPOINTER_TO_INT(opaque);

    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
    return NULL;
}

static bool reap_within(pid_t pid, int ms)
{
    for (int i = 0; i < ms; i++) {
        if (try_reap(pid)) {
            return true;
        }
        g_usleep(1000);
    }
    return false;
}

static void *reaper_kill(void *opaque)
{
    pid_t pid = GPOINTER_TO_INT(opaque);

    kill(pid, SIGTERM);
    if (!reap_within(pid, KILL_GRACE_MS)) {
        kill(pid, SIGKILL);
        reaper_wait(opaque);
    }
    return NULL;
}

static void *reaper_abort(void *opaque)
{
    return reap_within(GPOINTER_TO_INT(opaque), ABORT_GRACE_MS) ? NULL : reaper_kill(opaque);
}

/* Most children are gone when their input ends: only the others get a thread. */
static void hand_over(QIOChannelCommand *c, GThreadFunc reaper)
{
    if (c->pid && !try_reap(c->pid)) {
        g_thread_unref(g_thread_new("reaper", reaper, GINT_TO_POINTER(c->pid)));
    }
    c->pid = 0;
}

/* ---- QIOChannel ---- */

static ssize_t command_readv(QIOChannel *ioc, const struct iovec *iov, unsigned n, int **fds,
                             size_t *nfds, GError **errp)
{
    return pipe_end_readv(&IO_CHANNEL_COMMAND(ioc)->from_child, iov, n, errp);
}

static ssize_t command_writev(QIOChannel *ioc, const struct iovec *iov, unsigned n, const int *fds,
                              size_t nfds, int flags, GError **errp)
{
    return pipe_end_writev(&IO_CHANNEL_COMMAND(ioc)->to_child, iov, n, errp);
}

static bool command_set_blocking(QIOChannel *ioc, bool blocking, GError **errp)
{
    IO_CHANNEL_COMMAND(ioc)->to_child.blocking = blocking;
    IO_CHANNEL_COMMAND(ioc)->from_child.blocking = blocking;
    return true;
}

static void command_shutdown(QIOChannel *ioc, IOShutdown how)
{
    if (how & IO_SHUTDOWN_WRITE) {
        pipe_end_shutdown(&IO_CHANNEL_COMMAND(ioc)->to_child);
    }
    if (how & IO_SHUTDOWN_READ) {
        pipe_end_shutdown(&IO_CHANNEL_COMMAND(ioc)->from_child);
    }
}

static bool command_close(QIOChannel *ioc, GError **errp)
{
    QIOChannelCommand *c = IO_CHANNEL_COMMAND(ioc);
    bool aborted = __atomic_load_n(&c->to_child.shut, __ATOMIC_RELAXED);
    bool ok = pipe_end_close(&c->to_child, errp);

    ok &= pipe_end_close(&c->from_child, ok ? errp : NULL);
    hand_over(c, aborted ? reaper_abort : reaper_wait);
    return ok;
}

static unsigned command_watches(QIOChannelCommand *c, GIOCondition cond, FdWatch w[4])
{
    unsigned n = 0;

    if (cond & G_IO_IN) {
        pipe_end_watches(&c->from_child, G_IO_IN, w + n);
        n += 2;
    }
    if (cond & G_IO_OUT) {
        pipe_end_watches(&c->to_child, G_IO_OUT, w + n);
        n += 2;
    }
    return n;
}

static bool command_wait(QIOChannel *ioc, GIOCondition cond, int timeout_ms)
{
    FdWatch w[4];

    return io_fd_poll(w, command_watches(IO_CHANNEL_COMMAND(ioc), cond, w), timeout_ms);
}

static GSource *command_create_watch(QIOChannel *ioc, GIOCondition cond)
{
    FdWatch w[4];

    return io_fd_watch_new(ioc, cond, w, command_watches(IO_CHANNEL_COMMAND(ioc), cond, w));
}

static void io_channel_command_finalize(GObject *obj)
{
    QIOChannelCommand *c = IO_CHANNEL_COMMAND(obj);

    hand_over(c, reaper_kill);
    pipe_end_destroy(&c->to_child);
    pipe_end_destroy(&c->from_child);
    G_OBJECT_CLASS(io_channel_command_parent_class)->finalize(obj);
}

static void io_channel_command_class_init(QIOChannelCommandClass *klass)
{
    QIOChannelClass *k = IO_CHANNEL_CLASS(klass);

    G_OBJECT_CLASS(klass)->finalize = io_channel_command_finalize;
    k->readv = command_readv;
    k->writev = command_writev;
    k->set_blocking = command_set_blocking;
    k->shutdown = command_shutdown;
    k->close = command_close;
    k->wait = command_wait;
    k->create_watch = command_create_watch;
    signal(SIGPIPE, SIG_IGN); /* see channel-file.c */
}

static void io_channel_command_init(QIOChannelCommand *c)
{
    pipe_end_init(&c->to_child, "command");
    pipe_end_init(&c->from_child, "command");
    io_channel_set_name(IO_CHANNEL(c), "exec");
    io_channel_set_feature(IO_CHANNEL(c), IO_FEATURE_BIDIRECTIONAL);
}
