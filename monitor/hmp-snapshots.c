/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Snapshots for humans. */
#include "util/osdep.h"
#include "monitor/hmp.h"
#include "qapi-types-snapshot.h"

static JsonObject *tag_args(const char *tag)
{
    JsonObject *args = json_object_new();

    if (tag) {
        json_object_set_string_member(args, "tag", tag);
    }
    return args;
}

void hmp_savevm(HmpContext *c)
{
    hmp_do(c, "x-savevm", tag_args(c->arg[0]));
}

void hmp_loadvm(HmpContext *c)
{
    hmp_do(c, "x-loadvm", tag_args(c->arg[0]));
}

void hmp_delvm(HmpContext *c)
{
    hmp_do(c, "x-delvm", tag_args(c->arg[0]));
}

static void print_row(HmpContext *c, const SnapshotManifest *s)
{
    g_autoptr(GDateTime) date = g_date_time_new_from_unix_local(s->date);
    g_autofree char *day = date ? g_date_time_format(date, "%Y-%m-%d %H:%M:%S") : g_strdup("?");
    g_autofree char *size = hmp_size(s->vm_state_size);
    int64_t ms = s->vm_clock / 1000000;
    g_autofree char *clock =
        g_strdup_printf("%02" PRId64 ":%02d:%02d.%03d", ms / 3600000, (int)(ms / 60000 % 60),
                        (int)(ms / 1000 % 60), (int)(ms % 1000));

    g_string_append_printf(c->out, "%-9s %-16s %8s %19s %12s %10s\n", "--", s->tag, size, day,
                           clock, "");
}

void hmp_info_snapshots(HmpContext *c)
{
    g_autoptr(JsonNode) list = hmp_call(c, "x-query-snapshots", NULL);
    JsonArray *array = list ? json_node_get_array(list) : NULL;
    unsigned n = array ? json_array_get_length(array) : 0;

    if (list && !n) {
        g_string_append(c->out, "There is no snapshot available.\n");
    }
    for (unsigned i = 0; i < n; i++) {
        g_autoptr(SnapshotManifest) s =
            qapi_SnapshotManifest_from_json(json_array_get_element(array, i), "snapshot", NULL);

        if (i == 0) {
            g_string_append(c->out, "List of snapshots present on all disks:\n");
            g_string_append_printf(c->out, "%-9s %-16s %8s %19s %12s %10s\n", "ID", "TAG",
                                   "VM SIZE", "DATE", "VM CLOCK", "ICOUNT");
        }
        if (s) {
            print_row(c, s);
        }
    }
}
