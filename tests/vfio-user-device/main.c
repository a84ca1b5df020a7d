/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vfio-user-device --socket=PATH: one client after the other, until it is killed. */
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "server.h"

/* 64K, 16M, 1G, or bytes. */
static bool parse_size(const char *text, uint64_t *size)
{
    static const char units[] = "KMG";
    char *end;
    const char *unit;
    unsigned shift;

    *size = g_ascii_strtoull(text, &end, 10);
    unit = *end ? strchr(units, *end) : NULL;
    shift = unit ? 10 * (unit - units + 1) : 0;
    if (end == text || (*end && (!unit || end[1])) || *size > UINT64_MAX >> shift) {
        fprintf(stderr, "'%s' is no size\n", text);
        return false;
    }
    *size <<= shift;
    return true;
}

static bool parse(Options *o, int argc, char **argv)
{
    g_autofree char *state = NULL, *rate = NULL;
    gint64 seed = 1;
    gboolean no_migration = FALSE, no_precopy = FALSE, no_p2p = FALSE;
    const GOptionEntry entries[] = {
        {"socket", 0, 0, G_OPTION_ARG_FILENAME, &o->socket, "where to listen", "PATH"},
        {"state", 0, 0, G_OPTION_ARG_STRING, &state, "how much state it has (1M)", "SIZE"},
        {"dirty-rate", 0, 0, G_OPTION_ARG_STRING, &rate, "state that changes in a second", "SIZE"},
        {"seed", 0, 0, G_OPTION_ARG_INT64, &seed, "of its content; 0: zeroes", "N"},
        {"no-migration", 0, 0, G_OPTION_ARG_NONE, &no_migration, "it stays where it is", NULL},
        {"no-precopy", 0, 0, G_OPTION_ARG_NONE, &no_precopy, "all state comes when stopped", NULL},
        {"no-p2p", 0, 0, G_OPTION_ARG_NONE, &no_p2p, "it stops in one step", NULL},
        {"no-log", 0, G_OPTION_FLAG_REVERSE, G_OPTION_ARG_NONE, &o->logs,
         "it does not log what it writes", NULL},
        {"no-sizes", 0, G_OPTION_FLAG_REVERSE, G_OPTION_ARG_NONE, &o->tells_sizes,
         "it does not say how much state there is", NULL},
        {"no-check", 0, G_OPTION_FLAG_REVERSE, G_OPTION_ARG_NONE, &o->checks,
         "its state is not checked", NULL},
        {0},
    };
    g_autoptr(GOptionContext) context = g_option_context_new("- a vfio-user device for tests");
    g_autoptr(GError) err = NULL;

    *o = (Options){.logs = TRUE, .tells_sizes = TRUE, .checks = TRUE};
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &err)) {
        fprintf(stderr, "%s\n", err->message);
        return false;
    }
    if (!o->socket || argc != 1 || !parse_size(state ? state : "1M", &o->state_size) ||
        !parse_size(rate ? rate : "0", &o->dirty_rate)) {
        fprintf(stderr, "a --socket is needed; see --help\n");
        return false;
    }
    o->state_size = MAX((o->state_size + BLOCK - 1) / BLOCK, 1) * BLOCK;
    o->seed = seed;
    o->flags = no_migration
                   ? 0
                   : VFIO_MIGRATION_STOP_COPY | (no_precopy ? 0 : VFIO_MIGRATION_PRE_COPY) |
                         (no_p2p ? 0 : VFIO_MIGRATION_P2P);
    return true;
}

static int listen_at(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (strlen(path) >= sizeof(addr.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(addr.sun_path, path);
    return fd >= 0 && bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 && listen(fd, 1) == 0
               ? fd
               : -1;
}

int main(int argc, char **argv)
{
    Options opt;
    Device d;
    int listener, client;

    if (!parse(&opt, argc, argv)) {
        return 2;
    }
    device_init(&d, &opt);
    listener = listen_at(opt.socket);
    if (listener < 0) {
        fprintf(stderr, "cannot listen at '%s': %s\n", opt.socket, g_strerror(errno));
        return 1;
    }
    g_thread_new("device", device_work, &d);
    puts("ready");
    fflush(stdout);
    while ((client = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        serve_client(&d, client);
    }
    fprintf(stderr, "accept: %s\n", g_strerror(errno));
    return 1;
}
