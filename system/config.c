/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "system/config.h"
#include "util/error.h"
#include "util/keyval.h"

typedef enum {
    OPT_FLAG,   /* bool */
    OPT_STRING, /* char *, the last one wins */
    OPT_STRINGS,
    OPT_MERGE,   /* JsonObject *, later keys override */
    OPT_OBJECTS, /* GPtrArray of JsonObject */
    OPT_IGNORED, /* accepted: nothing here that it could change */
    OPT_IGNORED_ARG,
} OptKind;

typedef struct {
    const char *name;
    OptKind kind;
    size_t offset;
    const char *implied; /* key of a first item without '=' */
    const char *arg;     /* shown by --help; NULL hides the row */
    const char *help;
} OptDef;

#define AT(member) offsetof(VMConfig, member)

static const OptDef opt_defs[] = {
    {"machine", OPT_MERGE, AT(machine), "type", "[type=]NAME[,prop=val...]",
     "select the board: virt, none"},
    {"M", OPT_MERGE, AT(machine), "type", NULL, NULL},
    {"accel", OPT_OBJECTS, AT(accels), "accel", "NAME",
     "run guest code with NAME: tcg (interp), qtest"},
    {"cpu", OPT_STRING, AT(cpu), NULL, "MODEL[,prop=val...]", "CPU model and its features"},
    {"smp", OPT_MERGE, AT(smp), "cpus", "[cpus=]N", "number of harts"},
    {"m", OPT_MERGE, AT(memory), "size", "[size=]N", "RAM size, MiB unless a suffix is given"},
    {"name", OPT_MERGE, AT(name), "guest", "[guest=]NAME", "name of the guest"},
    {"uuid", OPT_STRING, AT(uuid), NULL, "UUID", "identity of the guest"},
    {"bios", OPT_STRING, AT(bios), NULL, "default|none|FILE", "firmware"},
    {"kernel", OPT_STRING, AT(kernel), NULL, "FILE", "kernel to boot"},
    {"initrd", OPT_STRING, AT(initrd), NULL, "FILE", "initial RAM disk"},
    {"append", OPT_STRING, AT(append), NULL, "TEXT", "kernel command line"},
    {"dtb", OPT_STRING, AT(dtb), NULL, "FILE", "device tree instead of the generated one"},
    {"L", OPT_STRINGS, AT(firmware_dirs), NULL, "DIR", "look for firmware in DIR first"},
    {"object", OPT_OBJECTS, AT(objects), "qom-type", "TYPE,id=ID[,prop=val...]",
     "create an object"},
    {"device", OPT_OBJECTS, AT(devices), "driver", "DRIVER[,prop=val...]", "plug a device"},
    {"global", OPT_STRINGS, AT(globals), NULL, "DRIVER.PROP=VAL", "default of a device property"},
    {"blockdev", OPT_OBJECTS, AT(blockdevs), "driver", "DRIVER,node-name=N,...", "open an image"},
    {"drive", OPT_OBJECTS, AT(drives), NULL, "file=F,if=none|pflash,id=ID,...", "open an image"},
    {"pflash", OPT_STRINGS, AT(pflashes), NULL, "FILE", "image of the next flash bank"},
    {"netdev", OPT_OBJECTS, AT(netdevs), "type", "TYPE,id=ID,...",
     "network back end: user, tap, socket, stream"},
    {"nic", OPT_OBJECTS, AT(nics), "type", "none", "no default network"},
    {"net", OPT_OBJECTS, AT(nics), "type", NULL, NULL},
    {"chardev", OPT_OBJECTS, AT(chardevs), "backend", "BACKEND,id=ID,...", "character device"},
    {"serial", OPT_STRINGS, AT(serials), NULL, "DEV",
     "where the serial port goes: stdio, file:P, unix:P,server=on, none ..."},
    {"monitor", OPT_STRINGS, AT(monitors), NULL, "DEV", "human monitor"},
    {"qmp", OPT_STRINGS, AT(qmps), NULL, "DEV", "QMP monitor"},
    {"qmp-pretty", OPT_STRINGS, AT(qmps_pretty), NULL, "DEV", "QMP monitor with indented output"},
    {"mon", OPT_OBJECTS, AT(mons), "chardev", "[chardev=]ID[,mode=control|readline]",
     "monitor on a chardev"},
    {"incoming", OPT_STRINGS, AT(incomings), NULL, "URI|defer|CHANNEL", "wait for a migration"},
    {"loadvm", OPT_STRING, AT(loadvm), NULL, "FILE|TAG", "start from a saved state"},
    {"only-migratable", OPT_FLAG, AT(only_migratable), NULL, "", "refuse what cannot migrate"},
    {"S", OPT_FLAG, AT(start_stopped), NULL, "", "do not start the guest"},
    {"no-shutdown", OPT_FLAG, AT(no_shutdown), NULL, "",
     "stop instead of exiting when the guest powers off"},
    {"no-reboot", OPT_FLAG, AT(no_reboot), NULL, "", "exit instead of rebooting"},
    {"action", OPT_MERGE, AT(action), NULL,
     "reboot=|shutdown=|panic=", "what to do on these events"},
    {"rtc", OPT_MERGE, AT(rtc), NULL, "base=utc|localtime|DATE", "date of the real-time clock"},
    {"add-fd", OPT_OBJECTS, AT(add_fds), NULL, "fd=N,set=S[,opaque=TEXT]",
     "adopt a descriptor into a set"},
    {"nodefaults", OPT_FLAG, AT(nodefaults), NULL, "", "no default devices"},
    {"nographic", OPT_FLAG, AT(nographic), NULL, "", "serial port on stdio"},
    {"display", OPT_STRING, AT(display), NULL, "none", "no display exists"},
    {"pidfile", OPT_STRING, AT(pidfile), NULL, "FILE", "write the process id"},
    {"daemonize", OPT_FLAG, AT(daemonize), NULL, "", "go to the background once initialised"},
    {"run-with", OPT_MERGE, AT(run_with), NULL, "exit-with-parent=on",
     "die with the parent process"},
    {"msg", OPT_MERGE, AT(msg), NULL, "timestamp=on", "format of diagnostics"},
    {"trace", OPT_STRINGS, AT(traces), NULL, "[enable=]PATTERN[,file=F]", "print trace points"},
    {"d", OPT_STRING, AT(log_items), NULL, "ITEM,...", "log categories"},
    {"D", OPT_STRING, AT(log_file), NULL, "FILE", "log to FILE"},
    {"qtest", OPT_STRING, AT(qtest), NULL, "DEV", "serve the qtest protocol"},
    {"qtest-log", OPT_STRING, AT(qtest_log), NULL, "FILE|none", "log of the qtest protocol"},
    {"boot", OPT_MERGE, AT(boot), "order", NULL, NULL},
    {"overcommit", OPT_MERGE, AT(overcommit), NULL, "mem-lock=on", "lock guest memory"},
    {"help", OPT_FLAG, AT(help), NULL, "", "this text"},
    {"h", OPT_FLAG, AT(help), NULL, NULL, NULL},
    {"version", OPT_FLAG, AT(version), NULL, "", "print the version"},
    {"no-user-config", OPT_IGNORED, 0, NULL, NULL, NULL},
    {"audio", OPT_IGNORED_ARG, 0, NULL, NULL, NULL},
    {"audiodev", OPT_IGNORED_ARG, 0, NULL, NULL, NULL},
    {"vga", OPT_IGNORED_ARG, 0, NULL, NULL, NULL},
    {"parallel", OPT_IGNORED_ARG, 0, NULL, NULL, NULL},
    {"sandbox", OPT_MERGE, AT(sandbox), "enable", NULL, NULL},
};

static const OptDef *opt_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(opt_defs); i++) {
        if (g_str_equal(opt_defs[i].name, name)) {
            return &opt_defs[i];
        }
    }
    return NULL;
}

static void merge_member(JsonObject *obj, const char *name, JsonNode *node, gpointer into)
{
    json_object_set_member(into, name, json_node_copy(node));
}

static bool opt_apply(VMConfig *cfg, const OptDef *def, const char *arg, GError **errp)
{
    void *field = (char *)cfg + def->offset;
    g_autoptr(JsonObject) obj = NULL;

    switch (def->kind) {
    case OPT_FLAG:
        *(bool *)field = true;
        break;
    case OPT_STRING:
        g_free(*(char **)field);
        *(char **)field = g_strdup(arg);
        break;
    case OPT_STRINGS:
        g_ptr_array_add(*(GPtrArray **)field, g_strdup(arg));
        break;
    case OPT_MERGE:
    case OPT_OBJECTS:
        obj = keyval_parse(arg, def->implied, errp);
        if (!obj) {
            g_prefix_error(errp, "-%s %s: ", def->name, arg);
            return false;
        }
        if (def->kind == OPT_OBJECTS) {
            g_ptr_array_add(*(GPtrArray **)field, g_steal_pointer(&obj));
        } else if (!*(JsonObject **)field) {
            *(JsonObject **)field = g_steal_pointer(&obj);
        } else {
            json_object_foreach_member(obj, merge_member, *(JsonObject **)field);
        }
        break;
    case OPT_IGNORED:
    case OPT_IGNORED_ARG:
        break;
    }
    return true;
}

VMConfig *vm_config_parse(int argc, char **argv, GError **errp)
{
    g_autoptr(VMConfig) cfg = g_new0(VMConfig, 1);

    for (size_t i = 0; i < ARRAY_SIZE(opt_defs); i++) {
        GPtrArray **list = (GPtrArray **)((char *)cfg + opt_defs[i].offset);

        if (opt_defs[i].kind == OPT_STRINGS && !*list) {
            *list = g_ptr_array_new_with_free_func(g_free);
        } else if (opt_defs[i].kind == OPT_OBJECTS && !*list) {
            *list = g_ptr_array_new_with_free_func((GDestroyNotify)json_object_unref);
        }
    }
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        const OptDef *def;
        const char *arg = NULL;

        if (name[0] != '-' || !name[1]) {
            error_setg(errp, "%s: not an option; images are named with -drive or -blockdev", name);
            return NULL;
        }
        def = opt_find(name + (name[1] == '-' ? 2 : 1));
        if (!def) {
            error_setg(errp, "%s: invalid option", name);
            return NULL;
        }
        if (def->kind != OPT_FLAG && def->kind != OPT_IGNORED) {
            if (i + 1 == argc) {
                error_setg(errp, "%s: requires an argument", name);
                return NULL;
            }
            arg = argv[++i];
        }
        if (!opt_apply(cfg, def, arg, errp)) {
            return NULL;
        }
    }
    return g_steal_pointer(&cfg);
}

void vm_config_free(VMConfig *cfg)
{
    if (!cfg) {
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(opt_defs); i++) {
        void *field = (char *)cfg + opt_defs[i].offset;

        switch (opt_defs[i].kind) {
        case OPT_STRING:
            g_clear_pointer((char **)field, g_free);
            break;
        case OPT_STRINGS:
        case OPT_OBJECTS:
            g_clear_pointer((GPtrArray **)field, g_ptr_array_unref);
            break;
        case OPT_MERGE:
            g_clear_pointer((JsonObject **)field, json_object_unref);
            break;
        default:
            break;
        }
    }
    g_free(cfg);
}

void vm_config_print_help(const char *prog)
{
    printf("usage: %s [option]...\n\n", prog);
    for (size_t i = 0; i < ARRAY_SIZE(opt_defs); i++) {
        if (opt_defs[i].arg) {
            g_autofree char *left = g_strdup_printf("-%s %s", opt_defs[i].name, opt_defs[i].arg);

            printf("%-44s%s%s\n", left,
                   strlen(left) > 43 ? "\n                                            " : "",
                   opt_defs[i].help);
        }
    }
}
