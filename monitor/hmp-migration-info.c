/* SPDX-License-Identifier: GPL-2.0-or-later */
/* info migrate: where a migration stands, and with -a how it came there (the flight recorder). */
#include "util/osdep.h"
#include "monitor/hmp.h"
#include "qapi-types-migration.h"

char *hmp_size(uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)bytes;
    unsigned i = 0;

    /* 1000 and not 1024, so that three digits always suffice. */
    while (v >= 1000 && i + 1 < ARRAY_SIZE(units)) {
        v /= 1024;
        i++;
    }
    return g_strdup_printf("%.3g %s", v, units[i]);
}

static void append_size(GString *out, const char *label, uint64_t bytes)
{
    g_autofree char *text = hmp_size(bytes);

    g_string_append_printf(out, "%s%s", label, text);
}

static void print_blockers(GString *out, const MigrationInfo *info)
{
    if (!info->blocked_reasons || !info->blocked_reasons->len) {
        return;
    }
    g_string_append(out, "Outgoing migration blocked:\n");
    for (unsigned i = 0; i < info->blocked_reasons->len; i++) {
        g_string_append_printf(out, "  %s\n", (char *)info->blocked_reasons->pdata[i]);
    }
}

static void print_status(GString *out, const MigrationInfo *info)
{
    bool why = info->error_desc && (info->status == MIGRATION_STATUS_FAILED ||
                                    info->status == MIGRATION_STATUS_POSTCOPY_PAUSED);

    g_string_append_printf(out, "Status: \t\t%s", MigrationStatus_str(info->status));
    if (why) {
        g_string_append_printf(out, " (%s)", info->error_desc);
    }
    g_string_append_c(out, '\n');
}

static void print_times(GString *out, const MigrationInfo *info)
{
    if (!info->has_total_time) {
        return;
    }
    g_string_append_printf(out, "Time (ms): \t\ttotal=%" PRIu64, info->total_time);
    if (info->has_setup_time) {
        g_string_append_printf(out, ", setup=%" PRIu64, info->setup_time);
    }
    if (info->has_expected_downtime) {
        g_string_append_printf(out, ", exp_down=%" PRIu64, info->expected_downtime);
    }
    if (info->has_downtime) {
        g_string_append_printf(out, ", down=%" PRIu64, info->downtime);
    }
    g_string_append_c(out, '\n');
}

static void print_socket(GString *out, const SocketAddress *a)
{
    switch (a->type) {
    case SOCKET_ADDRESS_TYPE_INET:
        g_string_append_printf(out, "\ttcp:%s:%s\n", a->u.inet->host, a->u.inet->port);
        break;
    case SOCKET_ADDRESS_TYPE_UNIX:
        g_string_append_printf(out, "\tunix:%s\n", a->u.q_unix->path);
        break;
    case SOCKET_ADDRESS_TYPE_VSOCK:
        g_string_append_printf(out, "\tvsock:%s:%s\n", a->u.vsock->cid, a->u.vsock->port);
        break;
    default:
        g_string_append_printf(out, "\tfd:%s\n", a->u.fd->str);
    }
}

static void print_sockets(GString *out, const MigrationInfo *info)
{
    if (!info->socket_address || !info->socket_address->len) {
        return;
    }
    g_string_append(out, "Sockets: [\n");
    for (unsigned i = 0; i < info->socket_address->len; i++) {
        print_socket(out, info->socket_address->pdata[i]);
    }
    g_string_append(out, "]\n");
}

static void print_ram(GString *out, const MigrationStats *ram)
{
    g_string_append_printf(out, "RAM info:\n  Throughput (Mbps): \t%.2f\n", ram->mbps);
    append_size(out, "  Sizes: \t\tpagesize=", ram->page_size);
    append_size(out, ", total=", ram->total);
    append_size(out, "\n  Transfers: \t\ttransferred=", ram->transferred);
    append_size(out, ", remain=", ram->remaining);
    append_size(out, "\n    Channels: \t\tprecopy=", ram->precopy_bytes);
    append_size(out, ", multifd=", ram->multifd_bytes);
    append_size(out, ", postcopy=", ram->postcopy_bytes);
    g_string_append_printf(out, "\n    Page Types: \tnormal=%" PRIu64 ", zero=%" PRIu64 "\n",
                           ram->normal, ram->duplicate);
    g_string_append_printf(out, "  Page Rates (pps): \ttransfer=%" PRIu64, ram->pages_per_second);
    if (ram->dirty_pages_rate) {
        g_string_append_printf(out, ", dirty=%" PRIu64, ram->dirty_pages_rate);
    }
    g_string_append_printf(out, "\n  Others: \t\tdirty_syncs=%" PRIu64, ram->dirty_sync_count);
    if (ram->postcopy_requests) {
        g_string_append_printf(out, ", postcopy_req=%" PRIu64, ram->postcopy_requests);
    }
    if (ram->downtime_bytes) {
        g_string_append_printf(out, ", downtime_bytes=%" PRIu64, ram->downtime_bytes);
    }
    if (ram->dirty_sync_missed_zero_copy) {
        g_string_append_printf(out, ", zerocopy_fallbacks=%" PRIu64,
                               ram->dirty_sync_missed_zero_copy);
    }
    g_string_append_c(out, '\n');
}

static void print_xbzrle(GString *out, const XBZRLECacheStats *x)
{
    append_size(out, "XBZRLE: \t\tcache=", x->cache_size);
    append_size(out, ", bytes=", x->bytes);
    g_string_append_printf(out,
                           "\n  pages=%" PRIu64 ", misses=%" PRIu64 " (%.2f), overflows=%" PRIu64
                           ", encoding_rate=%.2f\n",
                           x->pages, x->cache_miss, x->cache_miss_rate, x->overflow,
                           x->encoding_rate);
}

static void print_compression(GString *out, const CompressionStats *x)
{
    g_string_append_printf(out, "Compression: \t\tpages=%" PRIu64 ", busy=%" PRIu64 " (%.2f), ",
                           x->pages, x->busy, x->busy_rate);
    append_size(out, "size=", x->compressed_size);
    g_string_append_printf(out, ", rate=%.2f\n", x->compression_rate);
}

static void print_forecast(GString *out, const MigrationForecast *f)
{
    g_string_append_printf(out, "Forecast: \t\t%s", MigrationVerdict_str(f->verdict));
    if (f->has_time_left_max) {
        g_string_append_printf(out, ", %.1f to %.1f s left, downtime %" PRIu64 " ms",
                               (double)f->time_left_min / 1e3, (double)f->time_left_max / 1e3,
                               f->downtime);
    }
    for (unsigned i = 0; i < f->remedies->len; i++) {
        const MigrationAdvice *a = g_ptr_array_index(f->remedies, i);

        g_string_append(out, i ? " or " : "\n  would help: \t\t");
        switch (a->remedy) {
        case MIGRATION_REMEDY_MAX_BANDWIDTH:
            append_size(out, "max-bandwidth ", a->value);
            g_string_append(out, "/s");
            break;
        case MIGRATION_REMEDY_DOWNTIME_LIMIT:
            g_string_append_printf(out, "downtime-limit %" PRIu64 " ms", a->value);
            break;
        case MIGRATION_REMEDY_AUTO_CONVERGE:
            g_string_append_printf(out, "auto-converge (%" PRIu64 " %%)", a->value);
            break;
        case MIGRATION_REMEDY_DIRTY_LIMIT:
            g_string_append_printf(out, "dirty-limit (vcpu-dirty-limit %" PRIu64 " MB/s)",
                                   a->value);
            break;
        case MIGRATION_REMEDY_MULTIFD:
            g_string_append_printf(out, "multifd with %" PRIu64 " channels", a->value);
            break;
        case MIGRATION_REMEDY_POSTCOPY:
            g_string_append_printf(out, "postcopy (all there in %.1f s)", (double)a->value / 1e3);
            break;
        default:
            g_string_append_printf(out, "xbzrle (if deltas are %" PRIu64 " times smaller)",
                                   a->value);
        }
    }
    g_string_append_c(out, '\n');
}

static void print_record(GString *out, const MigrationRecord *r)
{
    g_string_append_printf(out, "  %10.6f  %-11s %-10s", (double)r->time_us / 1e6,
                           MigrationSide_str(r->side), MigrationRecordKind_str(r->kind));
    if (r->name) {
        g_string_append_printf(out, " %s", r->name);
    }
    if (r->has_round) {
        g_string_append_printf(out, " #%" PRIu64, r->round);
    }
    if (r->has_bytes) {
        append_size(out, "  moved=", r->bytes);
    }
    if (r->has_remaining) {
        append_size(out, "  remain=", r->remaining);
    }
    if (r->has_dirty) {
        append_size(out, "  dirtied=", r->dirty);
    }
    if (r->has_mbps) {
        g_string_append_printf(out, "  %.2f Mbps", r->mbps);
    }
    if (r->has_duration_us) {
        g_string_append_printf(out, "  %.3f ms", (double)r->duration_us / 1e3);
    }
    if (r->has_count) {
        g_string_append_printf(out, "  %" PRIu64 " older records dropped", r->count);
    }
    if (r->text) {
        g_string_append_printf(out, "  %s", r->text);
    }
    g_string_append_c(out, '\n');
}

static void print_timeline(HmpContext *c)
{
    g_autoptr(JsonNode) node = hmp_call(c, "x-query-migration-record", NULL);
    JsonArray *list = node ? json_node_get_array(node) : NULL;

    if (!list || !json_array_get_length(list)) {
        return;
    }
    g_string_append(c->out, "Timeline (seconds since this side began):\n");
    for (unsigned i = 0; i < json_array_get_length(list); i++) {
        g_autoptr(MigrationRecord) r =
            qapi_MigrationRecord_from_json(json_array_get_element(list, i), "record", NULL);

        if (r) {
            print_record(c->out, r);
        }
    }
}

void hmp_info_migrate(HmpContext *c)
{
    g_autoptr(JsonNode) node = hmp_call(c, "query-migrate", NULL);
    g_autoptr(MigrationInfo) info = node ? qapi_MigrationInfo_from_json(node, "info", NULL) : NULL;

    if (!info) {
        return;
    }
    print_blockers(c->out, info);
    if (info->has_status) {
        print_status(c->out, info);
        print_times(c->out, info);
        if (info->has_remaining) {
            append_size(c->out, "Remaining: \t\t", info->remaining);
            g_string_append_c(c->out, '\n');
        }
        print_sockets(c->out, info);
        if (info->ram) {
            print_ram(c->out, info->ram);
        }
        if (info->x_forecast) {
            print_forecast(c->out, info->x_forecast);
        }
        if (info->x_savings && (info->x_savings->order_bytes || info->x_savings->unchanged_bytes ||
                                info->x_savings->free_bytes)) {
            append_size(c->out, "Saved: \t\t\torder=", info->x_savings->order_bytes);
            append_size(c->out, ", unchanged=", info->x_savings->unchanged_bytes);
            append_size(c->out, ", free=", info->x_savings->free_bytes);
            g_string_append_c(c->out, '\n');
        }
        if (info->has_cpu_throttle_percentage) {
            g_string_append_printf(c->out, "CPU Throttle (%%): \t%" PRId64 "\n",
                                   info->cpu_throttle_percentage);
        }
        if (info->vfio) {
            append_size(c->out, "VFIO: \t\t\ttransferred=", (uint64_t)info->vfio->transferred);
            g_string_append_c(c->out, '\n');
        }
        if (info->xbzrle_cache) {
            print_xbzrle(c->out, info->xbzrle_cache);
        }
        if (info->compression) {
            print_compression(c->out, info->compression);
        }
    }
    if (hmp_flag(c, 'a')) {
        print_timeline(c);
    }
}
