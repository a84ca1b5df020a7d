/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How fast the guest makes memory dirty, for humans: measuring it, and limiting it. */
#include "util/osdep.h"
#include "monitor/hmp.h"
#include "qapi-types-migration.h"

void hmp_calc_dirty_rate(HmpContext *c)
{
    JsonObject *args = json_object_new();
    bool ring = hmp_flag(c, 'r'), bitmap = hmp_flag(c, 'b');

    json_object_set_int_member(args, "calc-time", c->number[0]);
    if (c->arg[1]) {
        json_object_set_int_member(args, "sample-pages", c->number[1]);
    }
    json_object_set_string_member(args, "mode",
                                  ring     ? "dirty-ring"
                                  : bitmap ? "dirty-bitmap"
                                           : "page-sampling");
    if (ring && bitmap) {
        json_object_unref(args);
        g_string_append(c->out, "Error: either -r or -b\n");
    } else if (hmp_do(c, "calc-dirty-rate", args)) {
        g_string_append(c->out, "Measuring; see \"info dirty_rate\"\n");
    }
}

void hmp_info_dirty_rate(HmpContext *c)
{
    g_autoptr(JsonNode) node = hmp_call(c, "query-dirty-rate", NULL);
    g_autoptr(DirtyRateInfo) info = node ? qapi_DirtyRateInfo_from_json(node, "info", NULL) : NULL;

    if (!info) {
        return;
    }
    g_string_append_printf(c->out, "Status: %s\n", DirtyRateStatus_str(info->status));
    if (info->status == DIRTY_RATE_STATUS_UNSTARTED) {
        return;
    }
    g_string_append_printf(c->out, "Start Time: %" PRId64 " (s since 1970)\n", info->start_time);
    if (info->sample_pages) {
        g_string_append_printf(c->out, "Sample Pages: %" PRIu64 " (per GB)\n", info->sample_pages);
    }
    g_string_append_printf(c->out, "Period: %" PRId64 " (sec)\nMode: %s\n", info->calc_time,
                           DirtyRateMeasureMode_str(info->mode));
    if (info->has_dirty_rate) {
        g_string_append_printf(c->out, "Dirty rate: %" PRId64 " (MB/s)\n", info->dirty_rate);
    }
    for (unsigned i = 0; info->vcpu_dirty_rate && i < info->vcpu_dirty_rate->len; i++) {
        const DirtyRateVcpu *v = g_ptr_array_index(info->vcpu_dirty_rate, i);

        g_string_append_printf(c->out, "vcpu[%" PRId64 "], Dirty rate: %" PRId64 " (MB/s)\n", v->id,
                               v->dirty_rate);
    }
}

void hmp_set_vcpu_dirty_limit(HmpContext *c)
{
    JsonObject *args = json_object_new();

    json_object_set_int_member(args, "dirty-rate", c->number[0]);
    if (c->arg[1]) {
        json_object_set_int_member(args, "cpu-index", c->number[1]);
    }
    hmp_do(c, "set-vcpu-dirty-limit", args);
}

void hmp_cancel_vcpu_dirty_limit(HmpContext *c)
{
    JsonObject *args = json_object_new();

    if (c->arg[0]) {
        json_object_set_int_member(args, "cpu-index", c->number[0]);
    }
    hmp_do(c, "cancel-vcpu-dirty-limit", args);
}

static void print_limit(HmpContext *c, JsonObject *o)
{
    g_string_append_printf(
        c->out,
        "vcpu[%" PRId64 "], limit rate %" PRId64 " (MB/s), current rate %" PRId64 " (MB/s)\n",
        json_object_get_int_member(o, "cpu-index"), json_object_get_int_member(o, "limit-rate"),
        json_object_get_int_member(o, "current-rate"));
}

void hmp_info_vcpu_dirty_limit(HmpContext *c)
{
    g_autoptr(JsonNode) list = hmp_call(c, "query-vcpu-dirty-limit", NULL);

    if (list && !json_array_get_length(json_node_get_array(list))) {
        g_string_append(c->out, "Dirty page limit not enabled!\n");
        return;
    }
    hmp_foreach(list, print_limit, c);
}
