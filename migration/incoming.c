/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The incoming state machine:
 *
 *   none -> setup (listening) -> active -> completed
 *                    |             |
 *                    +-------------+-----> failed
 *
 * Until EOF was parsed the guest is the source's. A Godwit source wants to hear then that all is
 * loaded, and gives the guest away by its commit. Then, in this order: tell the source (without a
 * commit a failure here still leaves it the guest), take the images, run.
 */
#include "migration/incoming-state.h"
#include "migration/multifd/multifd.h"
#include "migration/wire/ram.h"
#include "qapi-events-migration.h"
#include "util/lock.h"
#include "util/log.h"

LOG_CATEGORY(migration_incoming)

MigrationStatus incoming_status(const MigrationIncomingState *mis)
{
    return __atomic_load_n(&mis->status, __ATOMIC_ACQUIRE);
}

QIOChannel *incoming_channel(const MigrationIncomingState *mis)
{
    return mis->file ? qemu_file_channel(mis->file) : NULL;
}

static uint64_t received(MigrationIncomingState *mis)
{
    return mis->file ? qemu_file_offset(mis->file) : 0;
}

void incoming_set_status(MigrationIncomingState *mis, MigrationStatus status)
{
    __atomic_store_n(&mis->status, status, __ATOMIC_RELEASE);
    trace(migration_incoming, "destination %s", MigrationStatus_str(status));
    recorder_phase(mis->m->destination_record, MigrationStatus_str(status), received(mis));
    if (status == MIGRATION_STATUS_SETUP) {
        /* Management waits for this one whether it asked for events or not. */
        qapi_event_send_migration(&mis->host->events, status);
    } else {
        migration_emit_status(mis->m, status);
    }
}

void incoming_fail(MigrationIncomingState *mis, GError *err)
{
    recorder_error(mis->m->destination_record, err->message);
    g_mutex_lock(&mis->lock);
    if (mis->error) {
        g_error_free(err);
    } else {
        mis->error = err;
    }
    g_mutex_unlock(&mis->lock);
}

bool incoming_may_go_on(MigrationIncomingState *mis, GError **errp)
{
    GError *err;

    g_mutex_lock(&mis->lock);
    err = mis->error ? g_error_copy(mis->error) : NULL;
    g_mutex_unlock(&mis->lock);
    if (err) {
        g_propagate_error(errp, err);
    }
    return !err;
}

/* What failed first, there is something; the caller frees it. */
static char *first_error(MigrationIncomingState *mis)
{
    char *text;

    g_mutex_lock(&mis->lock);
    text = g_strdup(mis->error->message);
    g_mutex_unlock(&mis->lock);
    return text;
}

/* ---- switchover-ack ---- */

/* Legacy: is there a device to wait for? One acknowledgement is owed in any case. */
static bool awaits_acks(MigrationIncomingState *mis)
{
    bool legacy = migration_has_capability(mis->m, MIGRATION_CAPABILITY_SWITCHOVER_ACK) &&
                  migration_has_legacy_acks(mis->m);

    mis->acks_due = legacy ? savevm_acks_needed(mis->m->savevm) : 0;
    return !legacy || mis->acks_due;
}

bool migration_approve_switchover(Migration *m, GError **errp)
{
    MigrationIncomingState *mis = m->incoming;

    if (!mis || !mis->return_path) {
        error_setg(errp, "Nobody can be told that the switchover is allowed: there is no return "
                         "path");
        return false;
    }
    if (!migration_has_legacy_acks(m)) {
        return return_path_switchover_ack(mis->return_path, errp);
    }
    if (!mis->acks_due) {
        error_setg(errp, "The switchover has been allowed already");
        return false;
    }
    return --mis->acks_due || return_path_switchover_ack(mis->return_path, errp);
}

/* ---- commands of the source ---- */

static bool source_opens_return_path(void *opaque, GError **errp)
{
    MigrationIncomingState *mis = opaque;
    QIOChannel *ioc = qemu_file_channel(mis->file);

    if (!io_channel_has_feature(ioc, IO_FEATURE_BIDIRECTIONAL)) {
        error_setg(errp, "The source asks for a return path, but channel '%s' is one-way",
                   io_channel_name(ioc));
        return false;
    }
    if (!mis->return_path) {
        mis->return_path = return_path_writer_new(ioc);
        return awaits_acks(mis) || return_path_switchover_ack(mis->return_path, errp);
    }
    return true;
}

static bool source_commits(MigrationIncomingState *mis, GError **errp)
{
    mis->committed = mis->loaded;
    if (!mis->committed) {
        error_setg(errp, "The source gives its guest away before all of it has come");
    }
    return mis->committed;
}

/* What a Godwit may rely on here. */
static uint32_t our_features(const MigrationIncomingState *mis)
{
    bool adaptive = options_param(&mis->m->options, PARAM_MULTIFD_COMPRESSION) ==
                    MULTI_FD_COMPRESSION_X_ADAPTIVE;

    bool connects = mis->transport && transport_flags(mis->transport) & TRANSPORT_MULTI_CHANNEL;

    return PEER_FAILURE_TEXT | PEER_COMMIT | PEER_ZERO_RUN | PEER_PAGE_TWICE | PEER_LOST_CHANNEL |
           (adaptive ? PEER_ADAPTIVE : 0) | (connects ? PEER_PUSH_CHANNELS : 0);
}

static bool source_pings(void *opaque, uint32_t cookie, GError **errp)
{
    MigrationIncomingState *mis = opaque;

    if (!mis->return_path) {
        error_setg(errp, "Ping 0x%x without a return path to answer on", cookie);
        return false;
    }
    if (cookie == STREAM_WAIT_FOR_COMMIT) {
        mis->two_step = true;
    }
    if (cookie == STREAM_COMMIT) {
        return source_commits(mis, errp);
    }
    if (STREAM_IS_PUSH_ANNOUNCE(cookie) &&
        !postcopy_incoming_expect(mis, cookie >> 8 & 0xff, cookie & 0xff, errp)) {
        return false;
    }
    return return_path_pong(mis->return_path, cookie, our_features(mis), errp);
}

static bool source_awaits_answer(void *opaque)
{
    MigrationIncomingState *mis = opaque;

    return mis->two_step;
}

/* ---- the incoming thread ---- */

/* All is loaded. May we have it? */
static bool await_commit(MigrationIncomingState *mis, const LoadContext *c, GError **errp)
{
    if (!mis->two_step) {
        return true;
    }
    mis->loaded = incoming_may_go_on(mis, errp) && return_path_loaded(mis->return_path, errp);
    while (mis->loaded && !mis->committed) {
        if (!loadvm_command(c, errp)) {
            g_prefix_error(errp, "The source kept its guest: ");
            return false;
        }
    }
    return mis->loaded;
}

/* The state the guest shall have here (spec 10 section 14.3). */
static RunState final_runstate(MigrationIncomingState *mis)
{
    const GlobalState *gs = &mis->m->global_state;

    if (gs->received && gs->received_state != RUN_STATE_RUNNING) {
        return gs->received_state;
    }
    return mis->host->ops->autostart(mis->host) ? RUN_STATE_RUNNING : RUN_STATE_PAUSED;
}

RunState incoming_activate_images(MigrationIncomingState *mis, RunState state)
{
    GError *err = NULL;

    if (state != RUN_STATE_RUNNING &&
        options_cap(&mis->m->options, MIGRATION_CAPABILITY_LATE_BLOCK_ACTIVATE)) {
        return state; /* `cont` does it */
    }
    if (!mis->host->ops->block_activate(mis->host, &err)) {
        error_report("The guest stays paused, its disk images cannot be opened: %s", err->message);
        recorder_error(mis->m->destination_record, err->message);
        g_error_free(err);
        return RUN_STATE_PAUSED;
    }
    return state;
}

void incoming_start_guest(MigrationIncomingState *mis, RunState state)
{
    if (state == RUN_STATE_RUNNING) {
        mis->host->ops->vm_start(mis->host);
    } else {
        mis->host->ops->set_runstate(mis->host, state);
    }
    if (mis->host->ops->announce_self) {
        mis->host->ops->announce_self(mis->host);
    }
}

static bool take_guest(MigrationIncomingState *mis, GError **errp)
{
    int64_t start = g_get_monotonic_time();

    BQL_LOCK_GUARD();
    if (mis->multifd) {
        multifd_recv_shutdown(mis->multifd); /* all pages are in place */
    }
    if (!incoming_may_go_on(mis, errp)) {
        return false;
    }
    /* Once the source has let go nobody else would run it, whether it hears us or not. */
    if (mis->return_path && !return_path_accept(mis->return_path, mis->committed ? NULL : errp) &&
        !mis->committed) {
        return false;
    }
    incoming_start_guest(mis, incoming_activate_images(mis, final_runstate(mis)));
    recorder_switchover(mis->m->destination_record, "guest taken over", received(mis),
                        g_get_monotonic_time() - start);
    incoming_set_status(mis, MIGRATION_STATUS_COMPLETED);
    return true;
}

static gboolean finish_in_main_loop(gpointer opaque);

/* The last act of the incoming thread, or of whoever failed before there was one. */
static void schedule_finish(MigrationIncomingState *mis)
{
    g_source_set_priority(mis->finish, G_PRIORITY_HIGH);
    g_source_set_callback(mis->finish, finish_in_main_loop, mis, NULL);
    g_source_attach(mis->finish, NULL);
}

/* Everything was read; in postcopy the guest has been ours for long. */
static bool take_over(MigrationIncomingState *mis, const LoadContext *c, GError **errp)
{
    bool suppressed = mis->host->ops->suppress_vmdesc && mis->host->ops->suppress_vmdesc(mis->host);

    if (postcopy_incoming_is_running(mis)) {
        postcopy_incoming_complete(mis);
        return true;
    }
    if (!await_commit(mis, c, errp) || !take_guest(mis, errp)) {
        return false;
    }
    if (!suppressed) {
        loadvm_trailer(c);
    }
    return true;
}

/* To the end of the stream, over as many channels as that takes. */
static bool load_items(MigrationIncomingState *mis, LoadContext *c, GError **errp)
{
    GError *err = NULL;

    while (!loadvm_items(c, &err)) {
        if (!postcopy_incoming_pause(mis, err)) {
            g_propagate_error(errp, err);
            return false;
        }
        err = NULL;
        c->f = mis->file;
    }
    return true;
}

static gpointer incoming_thread(gpointer opaque)
{
    MigrationIncomingState *mis = opaque;
    LoadContext c = {
        .m = mis->m,
        .f = mis->file,
        .open_return_path = source_opens_return_path,
        .ping = source_pings,
        .awaits_answer = source_awaits_answer,
        .postcopy = postcopy_incoming_command,
        .eof = postcopy_incoming_eof,
        .opaque = mis,
    };
    GError *err = NULL;

    if (!loadvm_begin(&c, &err) || !load_items(mis, &c, &err) || !take_over(mis, &c, &err)) {
        g_autofree char *reason = NULL;

        incoming_fail(mis, err);
        reason = first_error(mis);
        if (mis->return_path) {
            return_path_refuse(mis->return_path, reason);
        }
    }
    postcopy_incoming_cleanup(mis);
    schedule_finish(mis);
    return NULL;
}

/* ---- the end: one way out ---- */

static void set_addresses(MigrationIncomingState *mis, GPtrArray *addresses)
{
    g_mutex_lock(&mis->lock);
    g_clear_pointer(&mis->addresses, g_ptr_array_unref);
    mis->addresses = addresses;
    g_mutex_unlock(&mis->lock);
}

void incoming_stop_listening(MigrationIncomingState *mis)
{
    incoming_channels_free(g_steal_pointer(&mis->channels));
    transport_listener_free(g_steal_pointer(&mis->listener));
    set_addresses(mis, NULL);
}

static void end_multifd(MigrationIncomingState *mis)
{
    if (!mis->multifd) {
        return;
    }
    multifd_recv_stop(mis->multifd);
    for (unsigned i = 0; i < multifd_recv_channels(mis->multifd); i++) {
        g_autofree char *line = multifd_recv_describe(mis->multifd, i);

        recorder_note(mis->m->destination_record, line);
    }
    multifd_recv_free(g_steal_pointer(&mis->multifd));
}

static void incoming_finish(MigrationIncomingState *mis)
{
    QEMUFile *file;

    if (mis->finished) {
        return;
    }
    mis->finished = true;
    if (mis->thread) {
        migration_join(g_steal_pointer(&mis->thread));
    }
    g_source_destroy(mis->finish);
    incoming_stop_listening(mis);
    postcopy_incoming_stop_listening(mis);
    end_multifd(mis);
    g_source_destroy(mis->cut);
    return_path_writer_free(g_steal_pointer(&mis->return_path));
    if (mis->error) {
        incoming_set_status(mis, MIGRATION_STATUS_FAILED);
    }
    g_mutex_lock(&mis->m->line);
    file = g_steal_pointer(&mis->file);
    g_mutex_unlock(&mis->m->line);
    qemu_fclose(file, NULL);
    loadvm_cleanup(mis->m);
    if (mis->error && !mis->exiting) {
        error_report("load of migration failed: %s", mis->error->message);
        if (mis->exit_on_error) {
            mis->host->ops->exit_failed(mis->host);
        }
    }
}

static gboolean finish_in_main_loop(gpointer opaque)
{
    incoming_finish(opaque);
    return G_SOURCE_REMOVE;
}

void incoming_shutdown(MigrationIncomingState *mis)
{
    g_mutex_lock(&mis->lock);
    mis->exiting = true;
    g_cond_broadcast(&mis->wake);
    g_mutex_unlock(&mis->lock);
    incoming_stop_listening(mis);
    postcopy_incoming_stop_listening(mis);
    if (mis->thread) {
        if (mis->multifd) {
            multifd_recv_shutdown(mis->multifd); /* it may be waiting for one that has not come */
        }
        qemu_file_shutdown(mis->file);
        incoming_finish(mis);
    }
    end_multifd(mis); /* its channels may have come before the main one */
}

/* ---- memory on other channels ---- */

void incoming_bind_placer(MigrationIncomingState *mis, RAMList *list, RamPlacer *placer)
{
    if (mis->multifd) {
        multifd_recv_bind(mis->multifd, list,
                          options_cap(&mis->m->options, MIGRATION_CAPABILITY_X_IGNORE_SHARED),
                          placer);
    }
}

bool incoming_marker(MigrationIncomingState *mis, bool flush, GError **errp)
{
    if (!mis->multifd && flush) {
        error_setg(errp, "The source uses multifd: turn the capability 'multifd' on here too");
        return false;
    }
    return !mis->multifd || multifd_recv_marker(mis->multifd, flush, errp);
}

bool incoming_lost_channel(MigrationIncomingState *mis, uint64_t number, GError **errp)
{
    if (!mis->multifd || !mis->return_path) {
        error_setg(errp, "The source speaks of lost channels (%" PRIu64 ") without %s", number,
                   mis->multifd ? "a return path" : "multifd");
        return false;
    }
    if (number == RAM_CHANNELS_CHECK) {
        return return_path_lost_channel(mis->return_path, RP_CHANNELS_CHECKED, errp);
    }
    if (number == RAM_CHANNELS_MAY_BREAK) {
        multifd_recv_may_break(mis->multifd);
        return true;
    }
    return multifd_recv_given_up(mis->multifd, number, errp);
}

/* Any thread. A source that cannot be told notices at the latest when it asks. */
static void channel_lost(unsigned id, const GError *err, void *opaque)
{
    MigrationIncomingState *mis = opaque;

    recorder_note(mis->m->destination_record, err->message);
    return_path_lost_channel(mis->return_path, id, NULL);
}

/* ---- listening ---- */

/* How long the loader may take to come to a marker. */
#define CUT_PATIENCE_MS 1000
/* How long the next connection of a set may take, and what it has to say first. */
#define CHANNEL_TIMEOUT_MS 15000

static void accepted(TransportListener *l, QIOChannel *ioc, uint32_t magic, void *opaque)
{
    MigrationIncomingState *mis = opaque;

    incoming_channels_accept(mis->channels, l, ioc, magic);
}

/* Only the reading: the source shall still hear why. */
static gboolean stop_reading(gpointer opaque)
{
    MigrationIncomingState *mis = opaque;

    io_channel_shutdown(qemu_file_channel(mis->file), IO_SHUTDOWN_READ);
    return G_SOURCE_REMOVE;
}

/*
 * A channel beside the main one has failed. The loader fails at its next marker; by then it has
 * read the opening of the return path, and can tell the source. If it does not get there it ends
 * anyway. Any thread, once per kind of failure.
 */
static void end_loading(MigrationIncomingState *mis)
{
    g_source_set_callback(mis->cut, stop_reading, mis, NULL);
    g_source_attach(mis->cut, NULL);
}

static void channels_failed(GError *err, void *opaque)
{
    MigrationIncomingState *mis = opaque;

    if (incoming_status(mis) == MIGRATION_STATUS_COMPLETED) {
        g_error_free(err); /* too late to matter */
        return;
    }
    incoming_fail(mis, err);
    if (mis->multifd && !multifd_recv_shutdown(mis->multifd)) {
        return; /* has failed already */
    }
    if (mis->thread) {
        end_loading(mis);
    } else {
        schedule_finish(mis);
    }
}

/* A peer that did not get as far: what was wrong with it stays visible. */
static void refused(TransportListener *l, GError *err, bool last, void *opaque)
{
    MigrationIncomingState *mis = opaque;

    if (last) {
        channels_failed(err, mis);
    } else {
        recorder_error(mis->m->destination_record, err->message);
        g_error_free(err);
    }
}

static void main_channel(QIOChannel *ioc, void *opaque)
{
    incoming_run_on(opaque, ioc);
    g_object_unref(ioc);
}

static void multifd_channel(unsigned id, QIOChannel *ioc, void *opaque)
{
    MigrationIncomingState *mis = opaque;

    multifd_recv_add(mis->multifd, id, ioc);
}

static void extra_channel(QIOChannel *ioc, uint32_t magic, void *opaque)
{
    postcopy_incoming_extra(opaque, ioc);
}

static const IncomingChannelsOps channels_ops = {
    .main = main_channel,
    .multifd = multifd_channel,
    .extra = extra_channel,
    .failed = channels_failed,
};

/* Any thread; main is there. */
static void multifd_failed(GError *err, void *opaque)
{
    MigrationIncomingState *mis = opaque;
    bool running;

    g_mutex_lock(&mis->lock);
    running = postcopy_incoming_is_running(mis);
    g_mutex_unlock(&mis->lock);
    if (running) {
        /* The guest is here and has seen its memory without that: too late to undo anything. */
        error_report("Postcopy: %s; a page of the guest may be stale", err->message);
        recorder_error(mis->m->destination_record, err->message);
        g_error_free(err);
        return;
    }
    incoming_fail(mis, err);
    end_loading(mis);
}

static MultifdRecv *expect_multifd(MigrationIncomingState *mis)
{
    const MigrationOptions *o = &mis->m->options;
    MultifdRecvConfig config = {
        .channels = options_multifd_channels(o),
        .codec = options_multifd_codec(o),
        .patience_ms = options_param(o, PARAM_X_MULTIFD_PATIENCE),
        .failed = multifd_failed,
        .lost = channel_lost,
        .opaque = mis,
    };

    return config.channels ? multifd_recv_new(&config) : NULL;
}

static IncomingChannels *expect_channels(MigrationIncomingState *mis)
{
    IncomingChannelsConfig config = {
        .multifd = mis->multifd ? multifd_recv_channels(mis->multifd) : 0,
        .timeout_ms = CHANNEL_TIMEOUT_MS,
    };

    mis->host->ops->uuid(mis->host, config.uuid);
    return incoming_channels_new(&config, &channels_ops, mis);
}

void incoming_run_on(MigrationIncomingState *mis, QIOChannel *ioc)
{
    GError *err = NULL;

    io_channel_set_blocking(ioc, true, NULL);
    io_channel_set_delay(ioc, false);
    mis->file = qemu_file_new_input(ioc);
    incoming_set_status(mis, MIGRATION_STATUS_ACTIVE);
    mis->thread = g_thread_try_new("incoming", incoming_thread, mis, &err);
    if (!mis->thread) {
        incoming_fail(mis, err);
        schedule_finish(mis);
    }
}

bool incoming_listen(MigrationIncomingState *mis, const MigrationTransport *t, bool exit_on_error,
                     GError **errp)
{
    TransportAcceptor acceptor = {.accept = accepted, .refused = refused, .opaque = mis};
    unsigned expected = 1 + options_multifd_channels(&mis->m->options);

    if (!options_check(&mis->m->options, errp) || /* -global sets them one by one */
        !migration_check_transport(mis->m, t, errp)) {
        return false;
    }
    recorder_restart(mis->m->destination_record);
    mis->listener = transport_listen(t, mis->host, expected, &acceptor, errp);
    if (!mis->listener) {
        return false;
    }
    mis->transport = transport_copy(t);
    mis->multifd = expect_multifd(mis);
    mis->exit_on_error = exit_on_error;
    mis->channels = expect_channels(mis);
    set_addresses(mis, transport_listener_addresses(mis->listener));
    recorder_note(mis->m->destination_record, transport_name(t));
    incoming_set_status(mis, MIGRATION_STATUS_SETUP);
    return true;
}

bool incoming_replace_listener(MigrationIncomingState *mis, const MigrationTransport *t,
                               const TransportAcceptor *acceptor, GError **errp)
{
    incoming_stop_listening(mis); /* first: the address may be the same */
    mis->listener = transport_listen(t, mis->host, 1, acceptor, errp);
    if (!mis->listener) {
        return false;
    }
    incoming_announce_listener(mis, transport_listener_addresses(mis->listener), t);
    return true;
}

void incoming_announce_listener(MigrationIncomingState *mis, GPtrArray *addresses,
                                const MigrationTransport *t)
{
    set_addresses(mis, addresses);
    recorder_note(mis->m->destination_record, transport_name(t));
    /* Management waits for this one, although the status stays. */
    qapi_event_send_migration(&mis->host->events, MIGRATION_STATUS_SETUP);
}

const MigrationTransport *incoming_transport(const MigrationIncomingState *mis)
{
    return mis->transport;
}

bool incoming_has_started(const MigrationIncomingState *mis)
{
    return incoming_status(mis) != MIGRATION_STATUS_NONE;
}

void incoming_fill_info(MigrationIncomingState *mis, MigrationInfo *info)
{
    MigrationStatus status = incoming_status(mis);

    if (status == MIGRATION_STATUS_NONE) {
        return;
    }
    info->has_status = true;
    info->status = status;
    postcopy_incoming_fill_info(mis, info);
    g_mutex_lock(&mis->lock);
    if (mis->addresses) {
        info->socket_address = qapi_list_new_SocketAddress();
        for (unsigned i = 0; i < mis->addresses->len; i++) {
            g_ptr_array_add(info->socket_address,
                            qapi_clone_SocketAddress(g_ptr_array_index(mis->addresses, i)));
        }
    }
    if (mis->error || mis->postcopy.pause_reason) {
        info->error_desc = g_strdup((mis->error ?: mis->postcopy.pause_reason)->message);
    }
    g_mutex_unlock(&mis->lock);
}

MigrationIncomingState *incoming_new(Migration *m)
{
    MigrationIncomingState *mis = g_new0(MigrationIncomingState, 1);

    mis->m = m;
    mis->host = m->host;
    mis->status = MIGRATION_STATUS_NONE;
    mis->finish = g_idle_source_new();
    mis->cut = g_timeout_source_new(CUT_PATIENCE_MS);
    g_mutex_init(&mis->lock);
    g_cond_init(&mis->wake);
    g_mutex_init(&mis->postcopy.recovering);
    return mis;
}

void incoming_free(MigrationIncomingState *mis)
{
    if (mis) {
        g_source_destroy(mis->finish);
        g_source_unref(mis->finish);
        g_source_destroy(mis->cut);
        g_source_unref(mis->cut);
        transport_free(mis->transport);
        g_clear_error(&mis->error);
        blocktime_free(mis->postcopy.measured);
        g_cond_clear(&mis->wake);
        g_mutex_clear(&mis->lock);
        g_mutex_clear(&mis->postcopy.recovering);
        g_free(mis);
    }
}
