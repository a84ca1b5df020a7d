/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "io/channel-buffer.h"
#include "migration/incoming-state.h"
#include "migration/rdma/rdma.h"
#include "migration/wire/postcopy.h"
#include "util/lock.h"

/* The largest package that is believed; QEMU's are kilobytes. */
#define PACKAGE_MAX  (256 * MiB)
#define PACKAGE_STEP (1 * MiB)

static PostcopyIncoming *postcopy_of(MigrationIncomingState *mis)
{
    return &mis->postcopy;
}

static bool is_running(PostcopyIncoming *pi)
{
    return pi->dest && postcopy_destination_state(pi->dest) == POSTCOPY_RUNNING;
}

bool postcopy_incoming_is_running(MigrationIncomingState *mis)
{
    return is_running(postcopy_of(mis));
}

/* ---- the package ---- */

/* Memory grows with what has come, not with what was promised. */
static GByteArray *read_package(QEMUFile *f, uint32_t len, GError **errp)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();

    if (len > PACKAGE_MAX) {
        error_setg(errp, "Package of %u bytes is too large, %u are allowed", len,
                   (unsigned)PACKAGE_MAX);
        return NULL;
    }
    while (bytes->len < len) {
        unsigned have = bytes->len, step = MIN(len - have, PACKAGE_STEP);

        g_byte_array_set_size(bytes, have + step);
        if (!qemu_get_buffer(f, bytes->data + have, step)) {
            qemu_file_check(f, errp);
            return NULL;
        }
    }
    return g_steal_pointer(&bytes);
}

static gpointer devices_thread(gpointer opaque)
{
    MigrationIncomingState *mis = opaque;
    PostcopyIncoming *pi = postcopy_of(mis);
    GError *err = NULL;

    if (loadvm_items(&pi->package, &err) && !is_running(pi)) {
        error_setg(&err, "The package ends without the command to run");
    }
    if (err) {
        g_prefix_error(&err, "In the package of device state: ");
        incoming_fail(mis, err);
        /* Only its reading ends: the source shall still hear why. */
        io_channel_shutdown(qemu_file_channel(mis->file), IO_SHUTDOWN_READ);
    } else {
        rdma_channel_release_memory(qemu_file_channel(mis->file));
    }
    g_mutex_lock(&mis->lock);
    pi->devices_done = true;
    g_cond_broadcast(&mis->wake);
    g_mutex_unlock(&mis->lock);
    return NULL;
}

/* The one in front of `run`: from here on the source may have given its guest away. */
static bool ping_in_package(void *opaque, uint32_t cookie, GError **errp)
{
    MigrationIncomingState *mis = opaque;

    g_mutex_lock(&mis->lock);
    postcopy_of(mis)->answered = true;
    g_mutex_unlock(&mis->lock);
    return postcopy_of(mis)->ping(opaque, cookie, errp);
}

/* Up to `listen` here, so that pages may follow the package; the rest beside them. */
static bool load_package(MigrationIncomingState *mis, const LoadContext *c, uint32_t len,
                         GError **errp)
{
    PostcopyIncoming *pi = postcopy_of(mis);
    g_autoptr(QIOChannelBuffer) ioc = io_channel_buffer_new();
    g_autoptr(GByteArray) bytes = NULL;

    if (c->package || pi->package.f) {
        error_setg(errp, "A package %s", c->package ? "inside a package" : "after the package");
        return false;
    }
    bytes = read_package(c->f, len, errp);
    if (!bytes) {
        return false;
    }
    g_byte_array_append(io_channel_buffer_bytes(ioc), bytes->data, bytes->len);
    pi->package = *c;
    pi->package.package = true;
    pi->package.ping = ping_in_package;
    pi->ping = c->ping;
    pi->package.eof = NULL; /* the main channel's: it waits for who reads the package */
    pi->package.f = qemu_file_new_input(IO_CHANNEL(ioc));
    if (!loadvm_items(&pi->package, errp)) {
        return false;
    }
    if (!pi->listening) {
        error_setg(errp, "The package ends without the command to listen");
        return false;
    }
    pi->devices = g_thread_try_new("devices", devices_thread, mis, errp);
    return pi->devices != NULL;
}

/* ---- commands ---- */

static bool close_ram(void *opaque, GError **errp)
{
    MigrationIncomingState *mis = opaque;

    if (mis->multifd && !multifd_recv_retire(mis->multifd, errp)) {
        return false;
    }
    ram_load_close(mis->m->ram);
    return true;
}

static void wake(void *opaque)
{
    MigrationIncomingState *mis = opaque;

    g_mutex_lock(&mis->lock);
    g_cond_broadcast(&mis->wake);
    g_mutex_unlock(&mis->lock);
}

static int vcpu_of(uint32_t tid, void *opaque)
{
    MigrationIncomingState *mis = opaque;

    return mis->host->ops->vcpu_of_thread(mis->host, tid);
}

static bool advise(MigrationIncomingState *mis, const uint8_t *args, uint16_t len, GError **errp)
{
    PostcopyIncoming *pi = postcopy_of(mis);
    PostcopyDestination *dest;

    if (!options_cap(&mis->m->options, MIGRATION_CAPABILITY_POSTCOPY_RAM)) {
        error_setg(errp,
                   "RAM postcopy is disabled but have %u byte advise; set the capability "
                   "'postcopy-ram' on both sides",
                   len);
        return false;
    }
    if (pi->dest) {
        error_setg(errp, "Command 'postcopy-advise' in wrong postcopy state (advised before)");
        return false;
    }
    dest = postcopy_destination_new(mis->host->ops->ram(mis->host), args, len, errp);
    if (dest && options_cap(&mis->m->options, MIGRATION_CAPABILITY_POSTCOPY_BLOCKTIME) &&
        mis->host->ops->vcpus) {
        postcopy_destination_measure(dest,
                                     blocktime_new(mis->host->ops->vcpus(mis->host), vcpu_of, mis));
    }
    if (dest) {
        postcopy_destination_on_complete(dest, wake, mis);
        ram_load_advise(mis->m->ram);
        g_mutex_lock(&mis->lock);
        pi->dest = dest;
        g_mutex_unlock(&mis->lock);
    }
    return dest != NULL;
}

static const PostcopyReceiversOps receivers_ops;

static gboolean note_turn(gpointer opaque)
{
    MigrationIncomingState *mis = opaque;

    g_mutex_lock(&mis->lock);
    postcopy_of(mis)->turned = true;
    g_cond_broadcast(&mis->wake);
    g_mutex_unlock(&mis->lock);
    return G_SOURCE_REMOVE;
}

/* How long the main loop may take for what it has at hand. */
#define TURN_PATIENCE_US (5 * G_TIME_SPAN_SECOND)

/*
 * The channel for urgent pages is connected before the switch, but silent, so it still waits in the
 * main loop, which soon may have to wait for a page itself. Have it handed over before anything can
 * miss one: that is done when the main loop has nothing else to do.
 */
static void await_urgent(MigrationIncomingState *mis)
{
    PostcopyIncoming *pi = postcopy_of(mis);
    int64_t end = g_get_monotonic_time() + TURN_PATIENCE_US;
    g_autoptr(GSource) turn = g_idle_source_new();

    bql_lock();
    if (mis->listener) {
        transport_listener_set_silent(mis->listener, true);
    }
    bql_unlock();
    g_source_set_callback(turn, note_turn, mis, NULL);
    g_source_attach(turn, NULL);
    g_mutex_lock(&mis->lock);
    while (!pi->turned && !mis->exiting && g_cond_wait_until(&mis->wake, &mis->lock, end)) {
    }
    g_mutex_unlock(&mis->lock);
    g_source_destroy(turn);
}

static bool listen_for_faults(MigrationIncomingState *mis, const LoadContext *c, GError **errp)
{
    bool urgent = options_cap(&mis->m->options, MIGRATION_CAPABILITY_POSTCOPY_PREEMPT);
    PostcopyIncoming *pi = postcopy_of(mis);
    PostcopyReceivers *receivers;

    if (!c->package) {
        error_setg(errp, "Command 'postcopy-listen' outside a package");
        return false;
    }
    if (!postcopy_destination_listen(pi->dest, mis->return_path, close_ram, mis, errp)) {
        return false;
    }
    ram_load_divert(mis->m->ram, postcopy_destination_load, pi->dest);
    pi->listening = true;
    receivers = postcopy_receivers_new(pi->dest, urgent, &receivers_ops, mis);
    g_mutex_lock(&mis->lock);
    pi->receivers = receivers;
    g_mutex_unlock(&mis->lock);
    if (urgent) {
        await_urgent(mis);
    }
    incoming_set_status(mis, MIGRATION_STATUS_POSTCOPY_DEVICE);
    return true;
}

/* From here on the guest is ours, unless something has failed; decided once for all threads. */
static bool enter_running(MigrationIncomingState *mis, GError **errp)
{
    bool ok;

    g_mutex_lock(&mis->lock);
    ok = !mis->error && postcopy_destination_run(postcopy_of(mis)->dest, errp);
    g_mutex_unlock(&mis->lock);
    return ok || (!*errp && incoming_may_go_on(mis, errp));
}

static bool run_guest(MigrationIncomingState *mis, const LoadContext *c, GError **errp)
{
    RunState state = mis->host->ops->autostart(mis->host) ? RUN_STATE_RUNNING : RUN_STATE_PAUSED;
    int64_t start = g_get_monotonic_time();

    if (!c->package) {
        error_setg(errp, "Command 'postcopy-run' outside a package");
        return false;
    }
    BQL_LOCK_GUARD();
    if (!enter_running(mis, errp)) {
        return false;
    }
    incoming_set_status(mis, MIGRATION_STATUS_POSTCOPY_ACTIVE);
    incoming_start_guest(mis, incoming_activate_images(mis, state));
    recorder_switchover(mis->m->destination_record, "guest taken over", 0,
                        g_get_monotonic_time() - start);
    return true;
}

static bool expect_recovery(MigrationIncomingState *mis, const LoadContext *c, uint16_t command,
                            GError **errp)
{
    if (c->package || incoming_status(mis) != MIGRATION_STATUS_POSTCOPY_RECOVER) {
        error_setg(errp, "Command '%s' outside a recovery", stream_command_name(command));
        return false;
    }
    return true;
}

/* Both sides know what is where. */
static bool resume(MigrationIncomingState *mis, GError **errp)
{
    incoming_set_status(mis, MIGRATION_STATUS_POSTCOPY_ACTIVE);
    if (!return_path_resume_ack(mis->return_path, errp)) {
        return false;
    }
    return_path_writer_open_requests(mis->return_path);
    return postcopy_destination_ask_again(postcopy_of(mis)->dest, errp);
}

bool postcopy_incoming_command(const LoadContext *c, uint16_t command, const uint8_t *args,
                               uint16_t len, bool *leave, void *opaque, GError **errp)
{
    MigrationIncomingState *mis = opaque;
    PostcopyIncoming *pi = postcopy_of(mis);
    uint32_t package_len;

    if (command == STREAM_CMD_POSTCOPY_ADVISE) {
        return advise(mis, args, len, errp);
    }
    if (!pi->dest) {
        error_setg(errp, "Command '%s' in wrong postcopy state (not advised)",
                   stream_command_name(command));
        return false;
    }
    switch (command) {
    case STREAM_CMD_POSTCOPY_RAM_DISCARD:
        return postcopy_destination_discard(pi->dest, args, len, close_ram, mis, errp);
    case STREAM_CMD_PACKAGED:
        memcpy(&package_len, args, sizeof(package_len));
        return load_package(mis, c, GUINT32_FROM_BE(package_len), errp);
    case STREAM_CMD_POSTCOPY_LISTEN:
        *leave = true;
        return listen_for_faults(mis, c, errp);
    case STREAM_CMD_POSTCOPY_RUN:
        *leave = true;
        return run_guest(mis, c, errp);
    case STREAM_CMD_RECV_BITMAP:
        return expect_recovery(mis, c, command, errp) &&
               postcopy_destination_send_bitmap(pi->dest, args, len, mis->return_path, errp);
    case STREAM_CMD_POSTCOPY_RESUME:
        return expect_recovery(mis, c, command, errp) && resume(mis, errp);
    default:
        error_setg(errp, "Command '%s' is not supported here", stream_command_name(command));
        return false;
    }
}

/* ---- more channels ---- */

/* The last act of the thread that reads one: if that broke, so has the line, and both sides pause.
 * Takes @err. */
static void note_end(MigrationIncomingState *mis, GError *err)
{
    wake(mis);
    if (err) {
        recorder_error(mis->m->destination_record, err->message);
        qemu_file_shutdown(mis->file);
        g_error_free(err);
    }
}

static bool push_ready(unsigned number, void *opaque, GError **errp)
{
    MigrationIncomingState *mis = opaque;

    return return_path_pong(mis->return_path, STREAM_PUSH_READY + number, 0, errp);
}

static void pages_ended(GError *err, void *opaque)
{
    note_end(opaque, err);
}

static const PostcopyReceiversOps receivers_ops = {
    .ready = push_ready,
    .ended = pages_ended,
};

bool postcopy_incoming_expect(MigrationIncomingState *mis, uint8_t line, unsigned n, GError **errp)
{
    if (!postcopy_of(mis)->listening) { /* `run` may still wait for its turn in the package */
        error_setg(errp, "The source announces channels for pushed pages before the switch");
        return false;
    }
    return postcopy_receivers_expect(postcopy_of(mis)->receivers, line, n, errp);
}

void postcopy_incoming_extra(MigrationIncomingState *mis, QIOChannel *ioc)
{
    PostcopyIncoming *pi = postcopy_of(mis);
    GError *err = NULL;
    bool added;

    g_mutex_lock(&mis->lock);
    added = pi->receivers && postcopy_receivers_add(pi->receivers, ioc, &err);
    g_cond_broadcast(&mis->wake);
    g_mutex_unlock(&mis->lock);
    if (!added) {
        warn_report("Extra incoming migration connection; ignoring%s%s", err ? ": " : "",
                    err ? err->message : "");
        g_clear_error(&err);
        io_channel_close(ioc, NULL);
    }
    g_object_unref(ioc);
}

static void stop_channels(MigrationIncomingState *mis)
{
    if (postcopy_of(mis)->receivers) {
        postcopy_receivers_stop(postcopy_of(mis)->receivers);
    }
}

/* How long a channel may take to come up at the very end. */
#define CHANNEL_PATIENCE_US (10 * G_TIME_SPAN_SECOND)

/* The main channel has said its last word; pages may still be under way on others. */
static bool await_missing(MigrationIncomingState *mis, GError **errp)
{
    PostcopyIncoming *pi = postcopy_of(mis);
    int64_t end = g_get_monotonic_time() + CHANNEL_PATIENCE_US;
    uint64_t missing;
    bool absent;

    g_mutex_lock(&mis->lock);
    while (postcopy_destination_missing(pi->dest) &&
           postcopy_receivers_pending(pi->receivers, &absent)) {
        if (!absent) {
            g_cond_wait(&mis->wake, &mis->lock);
        } else if (!g_cond_wait_until(&mis->wake, &mis->lock, end)) {
            break;
        }
    }
    g_mutex_unlock(&mis->lock);
    missing = postcopy_destination_missing(pi->dest);
    if (missing) {
        error_setg(errp, "The stream has ended, but %" PRIu64 " pages have not come", missing);
    }
    return !missing;
}

/* ---- the end ---- */

static void join_devices(PostcopyIncoming *pi)
{
    if (pi->devices) {
        g_thread_join(g_steal_pointer(&pi->devices));
    }
}

bool postcopy_incoming_eof(void *opaque, GError **errp)
{
    MigrationIncomingState *mis = opaque;
    PostcopyIncoming *pi = postcopy_of(mis);

    if (!pi->dest || postcopy_destination_state(pi->dest) == POSTCOPY_ADVISED) {
        return true;
    }
    join_devices(pi);
    if (!incoming_may_go_on(mis, errp)) {
        return false;
    }
    if (!is_running(pi)) {
        error_setg(errp, "The stream ends in the middle of the switch to postcopy");
        return false;
    }
    return await_missing(mis, errp);
}

void postcopy_incoming_complete(MigrationIncomingState *mis)
{
    stop_channels(mis);
    postcopy_destination_end(postcopy_of(mis)->dest);
    postcopy_of(mis)->measured = postcopy_destination_take_measured(postcopy_of(mis)->dest);
    return_path_accept(mis->return_path, NULL); /* the guest has been ours for long */
    incoming_set_status(mis, MIGRATION_STATUS_COMPLETED);
}

void postcopy_incoming_cleanup(MigrationIncomingState *mis)
{
    PostcopyIncoming *pi = postcopy_of(mis);
    PostcopyDestination *dest;
    PostcopyReceivers *receivers;

    stop_channels(mis);
    if (pi->dest) {
        /* A device that waits for a page which will not come: let it go on and fail. */
        postcopy_destination_end(pi->dest);
        join_devices(pi);
        qemu_fclose(g_steal_pointer(&pi->package.f), NULL);
        g_mutex_lock(&mis->lock);
        dest = g_steal_pointer(&pi->dest);
        receivers = g_steal_pointer(&pi->receivers);
        g_mutex_unlock(&mis->lock);
        if (receivers) {
            postcopy_receivers_stop(receivers); /* one that came at the last moment */
        }
        postcopy_receivers_free(receivers);
        postcopy_destination_free(dest);
        g_clear_error(&pi->pause_reason);
    }
}

/* ---- pause and recovery ---- */

/* How long the guest may take to run once its devices are loaded, if it does not wait for a page.
 */
#define RUN_PATIENCE_US (30 * G_TIME_SPAN_SECOND)

/* Decided once: either the guest runs here and we pause, or this is the end. If it is about to run,
 * and the source knows that, it does so first. */
static bool may_pause(MigrationIncomingState *mis, const GError *err)
{
    int64_t end = g_get_monotonic_time() + RUN_PATIENCE_US;
    PostcopyIncoming *pi = postcopy_of(mis);
    bool pause;

    g_mutex_lock(&mis->lock);
    while (pi->answered && !pi->devices_done && !mis->exiting &&
           g_cond_wait_until(&mis->wake, &mis->lock, end)) {
    }
    pause = is_running(pi) && !mis->exiting;
    if (!pause && !mis->error) {
        mis->error = g_error_copy(err);
    }
    g_mutex_unlock(&mis->lock);
    return pause;
}

/* Takes @err. */
static void park(MigrationIncomingState *mis, GError *err)
{
    PostcopyIncoming *pi = postcopy_of(mis);

    join_devices(pi); /* it is about to start the guest */
    recorder_error(mis->m->destination_record, err->message);
    error_report("Detected IO failure for postcopy. Migration paused: %s", err->message);
    return_path_writer_detach(mis->return_path);
    qemu_file_shutdown(mis->file);
    rdma_channel_hang_up(qemu_file_channel(mis->file));
    stop_channels(mis);
    postcopy_destination_reset(pi->dest);
    g_mutex_lock(&mis->lock);
    g_clear_error(&pi->pause_reason);
    pi->pause_reason = err;
    g_mutex_unlock(&mis->lock);
    incoming_set_status(mis, MIGRATION_STATUS_POSTCOPY_PAUSED);
}

static bool wait_for_channel(MigrationIncomingState *mis)
{
    bool recovers;

    g_mutex_lock(&mis->lock);
    while (!mis->recovers && !mis->exiting) {
        g_cond_wait(&mis->wake, &mis->lock);
    }
    recovers = mis->recovers && !mis->exiting;
    g_mutex_unlock(&mis->lock);
    return recovers;
}

bool postcopy_incoming_pause(MigrationIncomingState *mis, GError *err)
{
    if (!may_pause(mis, err)) {
        return false;
    }
    park(mis, g_error_copy(err));
    if (!wait_for_channel(mis)) {
        return false;
    }
    g_error_free(err);
    return_path_writer_attach(mis->return_path, qemu_file_channel(mis->file));
    incoming_set_status(mis, MIGRATION_STATUS_POSTCOPY_RECOVER);
    g_mutex_lock(&mis->lock);
    mis->recovers = false; /* not earlier: who connects next is not the main channel */
    g_mutex_unlock(&mis->lock);
    return true;
}

/* ---- figures ---- */

void postcopy_incoming_fill_info(MigrationIncomingState *mis, MigrationInfo *info)
{
    BlocktimeFigures f;

    if (incoming_status(mis) != MIGRATION_STATUS_COMPLETED || !postcopy_of(mis)->measured) {
        return;
    }
    blocktime_read(postcopy_of(mis)->measured, &f);
    info->has_postcopy_blocktime = info->has_postcopy_latency = true;
    info->has_postcopy_non_vcpu_latency = true;
    info->postcopy_blocktime = f.all_blocked / 1000000;
    info->postcopy_latency = f.average;
    info->postcopy_non_vcpu_latency = f.other_average;
    info->postcopy_vcpu_blocktime = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    info->postcopy_vcpu_latency = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    info->postcopy_latency_dist = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    for (unsigned i = 0; i < f.vcpus; i++) {
        uint32_t ms = f.blocked[i] / 1000000;

        g_array_append_val(info->postcopy_vcpu_blocktime, ms);
        g_array_append_val(info->postcopy_vcpu_latency, f.latency[i]);
    }
    g_array_append_vals(info->postcopy_latency_dist, f.buckets, BLOCKTIME_BUCKETS);
}

/* ---- commands ---- */

/* Command recv-bitmap, a block name shorter than 256 bytes: how a recovery begins. */
#define RECOVERY_MAGIC 0x08000a00U

/* Does the incoming thread wait for a channel that nobody brings yet? Then the caller does. */
static bool may_exchange(MigrationIncomingState *mis, uint32_t magic)
{
    PostcopyIncoming *pi = postcopy_of(mis);
    bool waits;

    g_mutex_lock(&mis->lock);
    waits = incoming_status(mis) == MIGRATION_STATUS_POSTCOPY_PAUSED && !mis->recovers &&
            !pi->exchanging;
    pi->exchanging |= waits && (!magic || magic == RECOVERY_MAGIC);
    g_mutex_unlock(&mis->lock);
    return waits;
}

/* The incoming thread is parked. Main thread, or that of a RecoveryListener. */
static void exchange_channel(MigrationIncomingState *mis, QIOChannel *ioc)
{
    QEMUFile *old = mis->file;

    io_channel_set_blocking(ioc, true, NULL);
    io_channel_set_delay(ioc, false);
    g_mutex_lock(&mis->m->line);
    mis->file = qemu_file_new_input(ioc);
    g_mutex_unlock(&mis->m->line);
    qemu_fclose(old, NULL);
    g_object_unref(ioc);
    g_mutex_lock(&mis->lock);
    g_clear_error(&postcopy_of(mis)->pause_reason);
    postcopy_of(mis)->exchanging = false;
    mis->recovers = true;
    g_cond_broadcast(&mis->wake);
    g_mutex_unlock(&mis->lock);
}

static void recovery_channel(TransportListener *l, QIOChannel *ioc, uint32_t magic, void *opaque)
{
    MigrationIncomingState *mis = opaque;
    bool waits = may_exchange(mis, magic);

    if (!waits && (magic == POSTCOPY_CHANNEL_MAGIC ||
                   options_cap(&mis->m->options, MIGRATION_CAPABILITY_POSTCOPY_PREEMPT))) {
        postcopy_incoming_extra(mis, ioc);
        return;
    }
    if (!waits) {
        transport_listener_reject(l, ioc, "There is a source already");
        return;
    }
    if (magic && magic != RECOVERY_MAGIC) {
        transport_listener_reject(l, ioc, "Not a source that recovers from a broken postcopy");
        return;
    }
    exchange_channel(mis, ioc);
}

/* @pi->recovering is held. */
static bool listen_again(MigrationIncomingState *mis, const MigrationTransport *t, GError **errp)
{
    PostcopyIncoming *pi = postcopy_of(mis);
    TransportAcceptor acceptor = {.accept = recovery_channel, .opaque = mis};

    g_clear_pointer(&pi->recovery, recovery_listener_free); /* the address may be the same */
    if (bql_locked() && !recovery_listener_possible(t, NULL)) {
        return incoming_replace_listener(mis, t, &acceptor, errp);
    }
    if (bql_locked()) {
        incoming_stop_listening(mis); /* likewise */
    }
    pi->recovery = recovery_listener_new(t, mis->host, &acceptor, errp);
    if (pi->recovery) {
        incoming_announce_listener(mis, recovery_listener_addresses(pi->recovery), t);
    }
    return pi->recovery != NULL;
}

void postcopy_incoming_stop_listening(MigrationIncomingState *mis)
{
    PostcopyIncoming *pi = postcopy_of(mis);

    g_mutex_lock(&pi->recovering);
    g_clear_pointer(&pi->recovery, recovery_listener_free);
    g_mutex_unlock(&pi->recovering);
}

bool postcopy_incoming_recover(MigrationIncomingState *mis, const MigrationTransport *t,
                               GError **errp)
{
    bool ok;

    if (!mis || incoming_status(mis) != MIGRATION_STATUS_POSTCOPY_PAUSED) {
        error_setg(errp, "Migrate recover can only be run when postcopy is paused.");
        return false;
    }
    g_mutex_lock(&postcopy_of(mis)->recovering);
    ok = listen_again(mis, t, errp);
    g_mutex_unlock(&postcopy_of(mis)->recovering);
    return ok;
}

bool postcopy_incoming_interrupt(MigrationIncomingState *mis)
{
    MigrationStatus now = incoming_status(mis);

    if (!mis->file ||
        (now != MIGRATION_STATUS_POSTCOPY_ACTIVE && now != MIGRATION_STATUS_POSTCOPY_RECOVER)) {
        return false;
    }
    qemu_file_shutdown(mis->file);
    return true;
}
