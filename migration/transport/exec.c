/* SPDX-License-Identifier: GPL-2.0-or-later */
/* exec: through the standard input (source) or output (destination) of a child (spec 35 section 4).
 */
#include "io/channel-command.h"
#include "migration/transport/kinds.h"
#include "util/error.h"

#define SHELL "/bin/sh"

MigrationExecCommand *transport_exec_parse(const char *text)
{
    MigrationExecCommand *cmd = g_new0(MigrationExecCommand, 1);

    cmd->args = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(cmd->args, g_strdup(SHELL));
    g_ptr_array_add(cmd->args, g_strdup("-c"));
    g_ptr_array_add(cmd->args, g_strdup(text));
    return cmd;
}

/* The command text when @args is what transport_exec_parse() makes. */
static const char *shell_command(const GPtrArray *args)
{
    if (args->len == 3 && strcmp(g_ptr_array_index(args, 0), SHELL) == 0 &&
        strcmp(g_ptr_array_index(args, 1), "-c") == 0) {
        return g_ptr_array_index(args, 2);
    }
    return NULL;
}

static bool exec_check(const MigrationAddress *addr, GError **errp)
{
    const GPtrArray *args = addr->u.exec->args;
    const char *command = args->len ? shell_command(args) : "";

    if (command && !command[strspn(command, " \t")]) {
        error_setg(errp, "exec: needs a command");
        return false;
    }
    return true;
}

static char **argv_of(const GPtrArray *args)
{
    char **argv = g_new0(char *, args->len + 1);

    for (unsigned i = 0; i < args->len; i++) {
        argv[i] = g_strdup(g_ptr_array_index(args, i));
    }
    return argv;
}

static char *exec_name(const MigrationAddress *addr)
{
    const char *command = shell_command(addr->u.exec->args);
    g_auto(GStrv) argv = argv_of(addr->u.exec->args);
    g_autofree char *joined = command ? g_strdup(command) : g_strjoinv(" ", argv);

    return g_strconcat("exec:", joined, NULL);
}

static QIOChannel *exec_open(const MigrationAddress *addr, MigrationHost *host, bool incoming,
                             GError **errp)
{
    g_auto(GStrv) argv = argv_of(addr->u.exec->args);
    QIOChannelCommand *c = io_channel_command_new_spawn((const char *const *)argv, errp);

    return c ? IO_CHANNEL(c) : NULL;
}

const TransportOps transport_exec_ops = {
    .flags = TRANSPORT_RETURN_PATH,
    .check = exec_check,
    .name = exec_name,
    .open = exec_open,
};
