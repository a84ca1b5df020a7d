/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <signal.h>
#include "config-host.h"
#include "io/channel-file.h"
#include "system/vm.h"
#include "util/keyval.h"
#include "util/lock.h"
#include "util/log.h"

/* -d, -D, -trace, -msg: diagnostics first, so that everything after can use them. */
static bool setup_logging(const VMConfig *cfg, GError **errp)
{
    g_auto(GStrv) items = cfg->log_items ? g_strsplit(cfg->log_items, ",", -1) : NULL;
    bool stamps = false;

    if (cfg->msg && !keyval_get_bool(cfg->msg, "timestamp", false, &stamps, errp)) {
        g_prefix_error(errp, "-msg: ");
        return false;
    }
    error_set_timestamps(stamps);
    if (cfg->log_file && !log_set_file(cfg->log_file, errp)) {
        g_prefix_error(errp, "-D: ");
        return false;
    }
    for (char **item = items; item && *item; item++) {
        if (!log_enable(*item)) {
            warn_report("-d %s: no such log category", *item);
        }
    }
    for (guint i = 0; i < cfg->traces->len; i++) {
        const char *text = g_ptr_array_index(cfg->traces, i);
        g_autoptr(JsonObject) opts = keyval_parse(text, "enable", errp);
        const char *pattern = opts ? keyval_get_string(opts, "enable") : NULL;
        const char *file = opts ? keyval_get_string(opts, "file") : NULL;

        if (!opts || (file && !log_set_file(file, errp))) {
            g_prefix_error(errp, "-trace %s: ", text);
            return false;
        }
        if (pattern && !log_enable(pattern)) {
            warn_report("-trace %s: nothing matches", pattern);
        }
    }
    return true;
}

/* What must happen before any thread exists. */
static bool setup_process(const VMConfig *cfg, GError **errp)
{
    bool with_parent = false;

    if (cfg->run_with &&
        !keyval_get_bool(cfg->run_with, "exit-with-parent", false, &with_parent, errp)) {
        g_prefix_error(errp, "-run-with: ");
        return false;
    }
    if (cfg->daemonize && cfg->nographic && !cfg->nodefaults) {
        error_setg(errp, "-daemonize: the serial port on stdio (-nographic) needs a terminal");
        return false;
    }
    return (!cfg->daemonize || process_daemonize(errp)) &&
           (!with_parent || process_exit_with_parent(errp)) &&
           (!cfg->pidfile || process_write_pidfile(cfg->pidfile, errp));
}

int main(int argc, char **argv)
{
    g_autoptr(GError) err = NULL;
    g_autoptr(VMConfig) cfg = NULL;
    int exit_code;
    VM *vm;

    g_set_prgname(argv[0]);
    cfg = vm_config_parse(argc, argv, &err);
    if (!cfg) {
        error_report("%s", err->message);
        return 1;
    }
    if (cfg->help) {
        vm_config_print_help(argv[0]);
        return 0;
    }
    if (cfg->version) {
        printf("QEMU emulator version 7.2.22 compatible (godwit-%s)\n"
               "License GPL-2.0-or-later\n",
               GODWIT_VERSION);
        return 0;
    }
    if (!setup_logging(cfg, &err) || !setup_process(cfg, &err)) {
        error_report("%s", err->message);
        return 1;
    }
    bql_lock();
    vm = vm_new(cfg, &err);
    if (vm) {
        bql_attach_main_context(g_main_context_default());
        process_setup_signals(vm);
    }
    if (!vm || !vm_launch(vm, &err) || !process_daemon_ready(&err)) {
        error_report("%s", err->message);
        process_remove_pidfile();
        vm_free(vm);
        return 1;
    }
    if (!vm->quitting) {
        g_main_loop_run(vm->loop);
    }
    exit_code = vm->exit_code;
    vm_free(vm);
    process_remove_pidfile();
    bql_unlock();
    return exit_code;
}
