/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Children: what they see, that they never hold us up, and that nothing of them stays behind. */
#include <fcntl.h>
#include "channel-test-util.h"
#include "io/channel-command.h"

static QIOChannel *sh(const char *script)
{
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    GError *err = NULL;
    QIOChannelCommand *c = io_channel_command_new_spawn(argv, &err);

    g_assert_no_error(err);
    return IO_CHANNEL(c);
}

static char *read_to_end(QIOChannel *ioc)
{
    GString *s = g_string_new(NULL);
    char buf[512];
    ssize_t n;

    while ((n = io_channel_read(ioc, buf, sizeof(buf), NULL)) > 0) {
        g_string_append_len(s, buf, n);
    }
    g_assert_cmpint(n, ==, 0);
    return g_string_free(s, FALSE);
}

static void test_echo(void)
{
    g_autoptr(QIOChannel) ioc = sh("read line; echo \"got $line\"");
    g_autofree char *text = NULL;

    g_assert_true(io_channel_has_feature(ioc, IO_FEATURE_BIDIRECTIONAL));
    g_assert_true(io_channel_write_all(ioc, "salmon\n", 7, NULL));
    text = read_to_end(ioc);
    g_assert_cmpstr(text, ==, "got salmon\n");
    g_assert_true(io_channel_close(ioc, NULL));
    g_assert_true(io_channel_close(ioc, NULL));
    wait_no_children();
}

/* The child has stdin, stdout, stderr and what the shell itself needs to list them. */
static void test_no_inherited_fds(void)
{
    int leak = fcntl(STDERR_FILENO, F_DUPFD, 100); /* not CLOEXEC: would be inherited */
    g_autoptr(QIOChannel) ioc = sh("for f in /proc/$$/fd/*; do basename $f; done");
    g_autofree char *text = read_to_end(ioc);
    g_auto(GStrv) lines = g_strsplit(g_strchomp(text), "\n", -1);

    g_assert_cmpint(leak, >=, 100);
    for (char **l = lines; *l; l++) {
        g_assert_cmpint(atoi(*l), <=, 2 + 8); /* shells keep a private one at 10 */
    }
    close(leak);
    io_channel_close(ioc, NULL);
    wait_no_children();
}

/* Ignored here, default there: a child in a pipeline must die of a broken pipe as usual. */
static void test_signals(void)
{
    __sighandler_t before = signal(SIGXFSZ, SIG_IGN); /* as the emulator does */
    g_autoptr(QIOChannel) ioc = sh("grep -E 'Sig(Ign|Blk)' /proc/self/status");
    g_autofree char *text = read_to_end(ioc);
    const uint64_t ours = 1 << (SIGPIPE - 1) | 1 << (SIGXFSZ - 1);

    g_assert_nonnull(strstr(text, "SigBlk:\t0000000000000000"));
    g_assert_nonnull(strstr(text, "SigIgn:\t"));
    g_assert_cmphex(strtoull(strstr(text, "SigIgn:\t") + 8, NULL, 16) & ours, ==, 0);
    io_channel_close(ioc, NULL);
    wait_no_children();
    signal(SIGXFSZ, before);
}

static void test_exits_early(void)
{
    g_autoptr(QIOChannel) ioc = sh("exit 3");
    BusyThread w;

    busy_thread_start(&w, ioc, true);
    busy_thread_join(&w);
    g_assert_cmpstr(w.error->message, ==, "Unable to write to command: Broken pipe");
    g_clear_error(&w.error);
    io_channel_close(ioc, NULL);
    wait_no_children();
}

/* The child sleeps until we say so through a file; close comes back before. */
static void test_lingers(void)
{
    g_autofree char *flag = g_strdup_printf("%s/godwit-linger-%d", g_get_tmp_dir(), getpid());
    g_autofree char *script =
        g_strdup_printf("cat >/dev/null; while [ ! -e %s ]; do sleep 0.01; done", flag);
    g_autoptr(QIOChannel) ioc = sh(script);
    siginfo_t info = {0};

    g_assert_true(io_channel_write_all(ioc, "bytes", 5, NULL));
    g_assert_true(io_channel_close(ioc, NULL));
    /* the child is still there: nobody waited for it */
    g_assert_cmpint(waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT), ==, 0);
    g_assert_cmpint(info.si_pid, ==, 0);
    g_assert_true(g_file_set_contents(flag, "", 0, NULL));
    wait_no_children();
    unlink(flag);
}

static void test_never_reads(void)
{
    g_autoptr(QIOChannel) ioc = sh("exec sleep 1000");
    BusyThread w, r;

    busy_thread_start(&w, ioc, true);
    busy_thread_start(&r, ioc, false);
    io_channel_shutdown(ioc, IO_SHUTDOWN_READ); /* wakes the reader only */
    busy_thread_join(&r);
    g_assert_no_error(r.error);
    io_channel_shutdown(ioc, IO_SHUTDOWN_BOTH);
    busy_thread_join(&w);
    g_assert_cmpstr(w.error->message, ==, "Unable to write to command: Broken pipe");
    g_clear_error(&w.error);
    /* dropped without close: the child is ended by us */
    g_clear_object(&ioc);
    wait_no_children();
}

static void test_ignores_sigterm(void)
{
    g_autoptr(QIOChannel) ioc = sh("trap '' TERM; echo ready; while :; do sleep 0.05; done");
    char buf[6];

    g_assert_true(io_channel_read_all(ioc, buf, 6, NULL));
    g_clear_object(&ioc);
    wait_no_children();
}

static void test_cannot_start(void)
{
    const char *const missing[] = {"/nonexistent/prog", "arg", NULL};
    const char *const empty[] = {NULL};
    unsigned before = count_fds();
    g_autoptr(GError) err = NULL;

    g_assert_null(io_channel_command_new_spawn(missing, &err));
    g_assert_cmpstr(err->message, ==,
                    "Failed to execute child process \"/nonexistent/prog\" "
                    "(No such file or directory)");
    g_clear_error(&err);
    g_assert_null(io_channel_command_new_spawn(empty, &err));
    g_assert_nonnull(err);
    wait_no_children();
    g_assert_cmpuint(count_fds(), ==, before);
}

static void test_hundred_rounds(void)
{
    static const char *const scripts[] = {"cat >/dev/null", "exit 1", "exec sleep 1000",
                                          "cat >/dev/null; sleep 0.02"};
    unsigned before = count_fds();

    for (unsigned i = 0; i < 100; i++) {
        g_autoptr(QIOChannel) ioc = sh(scripts[i % G_N_ELEMENTS(scripts)]);

        io_channel_write_all(ioc, "some bytes", 10, NULL);
        if (i % G_N_ELEMENTS(scripts) != 2) {
            io_channel_close(ioc, NULL);
        }
    }
    wait_no_children();
    g_assert_cmpuint(count_fds(), ==, before);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/io/command/echo", test_echo);
    g_test_add_func("/io/command/no-inherited-fds", test_no_inherited_fds);
    g_test_add_func("/io/command/signals", test_signals);
    g_test_add_func("/io/command/exits-early", test_exits_early);
    g_test_add_func("/io/command/lingers", test_lingers);
    g_test_add_func("/io/command/never-reads", test_never_reads);
    g_test_add_func("/io/command/ignores-sigterm", test_ignores_sigterm);
    g_test_add_func("/io/command/cannot-start", test_cannot_start);
    g_test_add_func("/io/command/hundred-rounds", test_hundred_rounds);
    return g_test_run();
}
