/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source's channels: main first, then those of multifd, then the urgent one of postcopy, then
 * the migration begins. QEMU 7.2 tells them apart by nothing but this order. */
#include "migration/outgoing.h"
#include "migration/postcopy/preempt.h"

/* ---- connecting ---- */

static void urgent_opened(MigrationState *s, QIOChannel *ioc, QEMUFile *urgent, GError *err)
{
    g_autoptr(QIOChannel) main = ioc;

    if (err) {
        io_channel_close(main, NULL);
        g_clear_pointer(&s->extra, g_ptr_array_unref);
        outgoing_fail_early(s, err);
        return;
    }
    s->postcopy.urgent = urgent;
    outgoing_run_on(s, main, g_steal_pointer(&s->extra));
}

static void extra_opened(GPtrArray *channels, GError *err, void *opaque)
{
    MigrationState *s = opaque;
    g_autoptr(QIOChannel) main = g_steal_pointer(&s->main);

    s->opening = NULL;
    if (err) {
        io_channel_close(main, NULL);
        outgoing_fail_early(s, err);
        return;
    }
    s->extra = channels;
    preempt_open(s, s->transport, g_steal_pointer(&main), urgent_opened);
}

static MigrationTransport *parse_address(const char *uri, const MigrationOptions *o, GError **errp)
{
    MigrationTransport *t = transport_parse_uri(uri, errp);

    if (t && !(transport_flags(t) & TRANSPORT_MULTI_CHANNEL)) {
        error_setg(errp, "'%s' can have one channel only", uri);
        g_clear_pointer(&t, transport_free);
    }
    if (t) {
        transport_set_options(t, o);
    } else {
        g_prefix_error(errp, "Parameter 'x-multifd-addresses': ");
    }
    return t;
}

/* Where the channels of multifd go, if not where the main one does. */
static bool parse_addresses(MigrationState *s, GError **errp)
{
    const MigrationOptions *o = &s->m->options;
    const char *text = options_text(o, TEXT_X_MULTIFD_ADDRESSES);
    g_auto(GStrv) uris = g_strsplit(text, ",", -1);

    if (*text && !options_multifd_channels(o)) {
        error_setg(errp, "Parameter 'x-multifd-addresses' needs the capability 'multifd': turn "
                         "it on, or set the parameter to \"\"");
        return false;
    }
    for (unsigned i = 0; uris[i]; i++) {
        MigrationTransport *t = parse_address(uris[i], o, errp);

        if (!t) {
            return false;
        }
        if (!s->multifd_to) {
            s->multifd_to = g_ptr_array_new_with_free_func((GDestroyNotify)transport_free);
        }
        g_ptr_array_add(s->multifd_to, t);
    }
    return true;
}

/* Are losses of channels to be survived? Not where pages are pulled, too. */
static bool may_break(const MigrationState *s)
{
    const MigrationOptions *o = &s->m->options;

    return *options_text(o, TEXT_X_MULTIFD_ADDRESSES) &&
           !options_cap(o, MIGRATION_CAPABILITY_POSTCOPY_RAM);
}

static bool introduce(QIOChannel *ioc, unsigned index, void *opaque, GError **errp)
{
    MigrationState *s = opaque;
    uint8_t uuid[MULTIFD_UUID_SIZE] = {0}; /* without one */

    s->host->ops->uuid(s->host, uuid);
    return multifd_introduce(ioc, index, uuid, errp);
}

static void main_opened(QIOChannel *ioc, GError *err, void *opaque)
{
    MigrationState *s = opaque;
    g_autoptr(QIOChannel) main = ioc;
    g_autoptr(GPtrArray) there = g_ptr_array_new(); /* where this one goes */
    unsigned channels = options_multifd_channels(&s->m->options);

    s->connection = NULL;
    if (err) {
        outgoing_fail_early(s, err);
        return;
    }
    if (!channels) {
        preempt_open(s, s->transport, g_steal_pointer(&main), urgent_opened);
        return;
    }
    g_ptr_array_add(there, s->transport);
    s->opening = channels_open(s->multifd_to ? s->multifd_to : there, s->host, channels, introduce,
                               extra_opened, s, &err);
    if (!s->opening) {
        outgoing_fail_early(s, err);
        return;
    }
    s->main = g_steal_pointer(&main);
}

bool outgoing_connect(MigrationState *s, GError **errp)
{
    if (!parse_addresses(s, errp) || !push_channels_possible(s->m, s->transport, errp)) {
        return false;
    }
    s->connection = transport_connect(s->transport, s->host, main_opened, s, errp);
    return s->connection != NULL;
}

bool outgoing_connect_cancel(MigrationState *s)
{
    bool connecting = preempt_open_cancel(s) || s->connection || s->opening;

    transport_connection_cancel(g_steal_pointer(&s->connection));
    channels_open_cancel(g_steal_pointer(&s->opening));
    g_clear_object(&s->main);
    g_clear_pointer(&s->extra, g_ptr_array_unref);
    return connecting;
}

/* ---- multifd ---- */

/* The migration thread may be blocked in the main channel; but if the destination is the one that
 * failed, the reason is still on its way to us, for as long as CUT_PATIENCE_MS. */
static gboolean cut_main_channel(gpointer opaque)
{
    MigrationState *s = opaque;

    qemu_file_shutdown(s->file);
    return G_SOURCE_REMOVE;
}

static void channel_failed(GError *err, void *opaque)
{
    MigrationState *s = opaque;

    if (postcopy_source_switched(s)) {
        recorder_error(s->m->source_record, err->message); /* its work was done */
        g_error_free(err);
        return;
    }
    migration_fail(s, err);
    g_source_set_callback(s->cut, cut_main_channel, s, NULL);
    g_source_attach(s->cut, NULL);
}

static void channel_lost(unsigned id, const GError *err, void *opaque)
{
    MigrationState *s = opaque;
    g_autofree char *text = g_strdup_printf("lost, the others go on: %s", err->message);

    recorder_note(s->m->source_record, text);
}

bool outgoing_peer_lost_channel(void *opaque, uint32_t value, GError **errp)
{
    MigrationState *s = opaque;

    if (!s->multifd) {
        error_setg(errp, "The destination has lost multifd channel %u, but there are none", value);
        return false;
    }
    return multifd_send_peer_lost(s->multifd, value, errp);
}

static bool can_zero_copy(const GPtrArray *channels, GError **errp)
{
    for (unsigned i = 0; i < channels->len; i++) {
        if (!io_channel_has_feature(channels->pdata[i], IO_FEATURE_WRITE_ZERO_COPY)) {
            error_setg(errp,
                       "Zero copy send feature not detected in host kernel: channel '%s' has to be "
                       "a TCP socket, and the kernel newer than 4.14",
                       io_channel_name(channels->pdata[i]));
            return false;
        }
    }
    return true;
}

bool outgoing_start_multifd(MigrationState *s, GPtrArray *extra, GError **errp)
{
    const MigrationOptions *o = &s->m->options;
    MultifdSendConfig config = {
        .codec = options_multifd_codec(o),
        .zero_in_packets =
            options_param(o, PARAM_ZERO_PAGE_DETECTION) == ZERO_PAGE_DETECTION_MULTIFD,
        .sync_each_section = options_switch(o, SWITCH_MULTIFD_FLUSH_AFTER_EACH_SECTION),
        .zero_copy = options_cap(o, MIGRATION_CAPABILITY_ZERO_COPY_SEND),
        .may_break = may_break(s),
        .patience_ms = options_param(o, PARAM_X_MULTIFD_PATIENCE),
        .counters = migration_counters(s->m),
        .failed = channel_failed,
        .lost = channel_lost,
        .opaque = s,
    };

    if (config.zero_copy && !can_zero_copy(extra, errp)) {
        g_ptr_array_unref(extra);
        return false;
    }
    s->multifd = multifd_send_new(&config, extra, errp);
    return s->multifd != NULL;
}

void outgoing_end_multifd(MigrationState *s)
{
    if (!s->multifd) {
        return;
    }
    if (!s->committed || postcopy_source_switched(s)) {
        multifd_send_shutdown(s->multifd);
    }
    multifd_send_stop(s->multifd);
    for (unsigned i = 0; i < multifd_send_channels(s->multifd); i++) {
        g_autofree char *line = multifd_send_describe(s->multifd, i);

        recorder_note(s->m->source_record, line);
    }
    multifd_send_free(g_steal_pointer(&s->multifd));
    g_source_destroy(s->cut);
}
