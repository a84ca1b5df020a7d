/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the command line asked for, before anything is created (spec 71 section 3).
 */
#ifndef GODWIT_SYSTEM_CONFIG_H
#define GODWIT_SYSTEM_CONFIG_H

#include <json-glib/json-glib.h>
#include "util/osdep.h"

typedef struct VMConfig {
    /* Key=value options; merged over their occurrences, NULL when never given. */
    JsonObject *machine, *smp, *memory, *name, *rtc, *boot, *overcommit, *msg, *action, *run_with,
        *sandbox;
    /* Options that accumulate: JsonObjects. */
    GPtrArray *accels, *objects, *devices, *blockdevs, *drives, *netdevs, *nics, *chardevs, *mons,
        *add_fds;
    /* Options that accumulate: strings. */
    GPtrArray *serials, *monitors, *qmps, *qmps_pretty, *pflashes, *incomings, *firmware_dirs,
        *globals, *traces;
    char *cpu, *bios, *kernel, *initrd, *append, *dtb, *uuid, *loadvm, *pidfile, *qtest, *qtest_log,
        *log_items, *log_file, *display;
    bool start_stopped, nodefaults, nographic, no_shutdown, no_reboot, only_migratable, daemonize,
        help, version;
} VMConfig;

/* Parse argv. NULL and an error of the form "-opt value: reason" or "-nosuch: invalid option". */
VMConfig *vm_config_parse(int argc, char **argv, GError **errp);
void vm_config_free(VMConfig *cfg);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VMConfig, vm_config_free)

/* The text of --help. */
void vm_config_print_help(const char *prog);

#endif
