/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process around the VM: signals, daemon, pid file, life tied to the parent. */
#include <fcntl.h>
#include <glib-unix.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include "system/vm.h"

static char *pidfile_path; /* removed at exit, only by the process that wrote it */
static int daemon_pipe = -1;

/* GLib's signal sources do not tell the sender: our own handler writes it to the main loop. */
static int signal_pipe[2] = {-1, -1};

typedef struct {
    int signal;
    pid_t sender; /* 0: the kernel, or of another PID namespace */
} SignalNote;

static void on_fatal_signal(int sig, siginfo_t *info, void *context)
{
    SignalNote note = {sig, info->si_pid};
    int saved = errno;

    (void)!write(signal_pipe[1], &note, sizeof(note));
    errno = saved;
}

static gboolean on_signal_pipe(gint fd, GIOCondition cond, gpointer data)
{
    SignalNote note;
    char comm[64] = "";
    g_autofree char *path = NULL;
    g_autofree char *text = NULL;

    if (read(fd, &note, sizeof(note)) != sizeof(note)) {
        return G_SOURCE_CONTINUE;
    }
    path = g_strdup_printf("/proc/%d/comm", (int)note.sender);
    if (note.sender && g_file_get_contents(path, &text, NULL, NULL)) {
        g_strlcpy(comm, g_strchomp(text), sizeof(comm));
    }
    error_report("terminating on signal %d from pid %d (%s)", note.signal, (int)note.sender,
                 comm[0] ? comm : "<unknown process>");
    vm_quit(data, SHUTDOWN_CAUSE_HOST_SIGNAL, 0);
    return G_SOURCE_CONTINUE;
}

void process_setup_signals(VM *vm)
{
    struct sigaction act = {.sa_sigaction = on_fatal_signal, .sa_flags = SA_SIGINFO | SA_RESTART};

    /* A write that cannot be done is an error of that write, not the end of the guest. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    /* GLib makes the descriptor of its worker thread when GTask is first used, and aborts without.
     */
    g_type_class_unref(g_type_class_ref(G_TYPE_TASK));
    if (g_unix_open_pipe(signal_pipe, FD_CLOEXEC, NULL)) {
        g_unix_set_fd_nonblocking(signal_pipe[1], TRUE, NULL);
        g_unix_fd_add(signal_pipe[0], G_IO_IN, on_signal_pipe, vm);
        sigaction(SIGTERM, &act, NULL);
        sigaction(SIGINT, &act, NULL);
        sigaction(SIGHUP, &act, NULL);
    }
}

bool process_exit_with_parent(GError **errp)
{
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0) {
        error_setg_errno(errp, errno, "-run-with exit-with-parent=on");
        return false;
    }
    return true;
}

bool process_daemonize(GError **errp)
{
    int fds[2];
    pid_t pid;

    if (!g_unix_open_pipe(fds, FD_CLOEXEC, errp)) {
        return false;
    }
    pid = fork();
    if (pid < 0) {
        error_setg_errno(errp, errno, "-daemonize: cannot fork");
        return false;
    }
    if (pid > 0) {
        char verdict = 1;

        close(fds[1]);
        /* End of file without a byte: the child died on its way, its message is on stderr. */
        _exit(read(fds[0], &verdict, 1) == 1 ? verdict : 1);
    }
    close(fds[0]);
    daemon_pipe = fds[1];
    setsid();
    return true;
}

bool process_daemon_ready(GError **errp)
{
    char ok = 0;
    int null;

    if (daemon_pipe < 0) {
        return true;
    }
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || chdir("/") < 0) {
        error_setg_errno(errp, errno, "-daemonize: cannot leave the terminal");
        return false;
    }
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    close(null);
    (void)!write(daemon_pipe, &ok, 1);
    close(daemon_pipe);
    daemon_pipe = -1;
    return true;
}

bool process_write_pidfile(const char *path, GError **errp)
{
    g_autofree char *text = g_strdup_printf("%d\n", (int)getpid());
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    if (fd < 0) {
        error_setg_errno(errp, errno, "Cannot create pid file '%s'", path);
        return false;
    }
    if (fcntl(fd, F_SETLK, &lock) < 0) {
        error_setg(errp, "Pid file '%s' is locked by another process", path);
        close(fd);
        return false;
    }
    if (ftruncate(fd, 0) < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
        error_setg_errno(errp, errno, "Cannot write pid file '%s'", path);
        close(fd);
        return false;
    }
    /* The descriptor stays open: it carries the lock. */
    pidfile_path = g_canonicalize_filename(path, NULL);
    return true;
}

void process_remove_pidfile(void)
{
    if (pidfile_path) {
        unlink(pidfile_path);
        g_clear_pointer(&pidfile_path, g_free);
    }
}
