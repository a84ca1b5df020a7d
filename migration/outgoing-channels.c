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
    s->opening = channels_open(s->transport, s->host, channels, introduce, extra_opened, s, &err);
    if (!s->opening) {
        outgoing_fail_early(s, err);
        return;
    }
    s->main = g_steal_pointer(&main);
}

bool outgoing_connect(MigrationState *s, GError **errp)
{
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
        .counters = migration_counters(s->m),
        .failed = channel_failed,
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
