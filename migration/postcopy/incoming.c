/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "io/channel-buffer.h"
#include "migration/incoming-state.h"
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
    }
    return NULL;
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

static void close_ram(void *opaque)
{
    MigrationIncomingState *mis = opaque;

    ram_load_close(mis->m->ram);
}

static bool advise(MigrationIncomingState *mis, const uint8_t *args, uint16_t len, GError **errp)
{
    PostcopyIncoming *pi = postcopy_of(mis);

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
    pi->dest = postcopy_destination_new(mis->host->ops->ram(mis->host), args, len, errp);
    if (pi->dest) {
        ram_load_advise(mis->m->ram);
    }
    return pi->dest != NULL;
}

static bool listen_for_faults(MigrationIncomingState *mis, const LoadContext *c, GError **errp)
{
    PostcopyIncoming *pi = postcopy_of(mis);

    if (!c->package) {
        error_setg(errp, "Command 'postcopy-listen' outside a package");
        return false;
    }
    if (!postcopy_destination_listen(pi->dest, mis->return_path, close_ram, mis, errp)) {
        return false;
    }
    ram_load_divert(mis->m->ram, postcopy_destination_load, pi->dest);
    pi->listening = true;
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
    return true;
}

void postcopy_incoming_complete(MigrationIncomingState *mis)
{
    postcopy_destination_end(postcopy_of(mis)->dest);
    return_path_accept(mis->return_path, NULL); /* the guest has been ours for long */
    incoming_set_status(mis, MIGRATION_STATUS_COMPLETED);
}

void postcopy_incoming_cleanup(MigrationIncomingState *mis)
{
    PostcopyIncoming *pi = postcopy_of(mis);

    if (pi->dest) {
        /* A device that waits for a page which will not come: let it go on and fail. */
        postcopy_destination_end(pi->dest);
        join_devices(pi);
        qemu_fclose(g_steal_pointer(&pi->package.f), NULL);
        g_clear_pointer(&pi->dest, postcopy_destination_free);
        g_clear_error(&pi->pause_reason);
    }
}

/* ---- pause and recovery ---- */

/* Decided once: either the guest runs here and we pause, or this is the end. */
static bool may_pause(MigrationIncomingState *mis, const GError *err)
{
    bool pause;

    g_mutex_lock(&mis->lock);
    pause = is_running(postcopy_of(mis)) && !mis->exiting;
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
    mis->recovers = false;
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
    return true;
}

/* ---- commands ---- */

/* Command recv-bitmap, a block name shorter than 256 bytes: how a recovery begins. */
#define RECOVERY_MAGIC 0x08000a00U

/* The incoming thread is parked: the line is ours to exchange. */
static void recovery_channel(TransportListener *l, QIOChannel *ioc, uint32_t magic, void *opaque)
{
    MigrationIncomingState *mis = opaque;

    bool waits;

    g_mutex_lock(&mis->lock);
    waits = incoming_status(mis) == MIGRATION_STATUS_POSTCOPY_PAUSED && !mis->recovers;
    g_mutex_unlock(&mis->lock);
    if (!waits) {
        transport_listener_reject(l, ioc, "There is a source already");
        return;
    }
    if (magic && magic != RECOVERY_MAGIC) {
        transport_listener_reject(l, ioc, "Not a source that recovers from a broken postcopy");
        return;
    }
    qemu_fclose(g_steal_pointer(&mis->file), NULL);
    io_channel_set_blocking(ioc, true, NULL);
    io_channel_set_delay(ioc, false);
    mis->file = qemu_file_new_input(ioc);
    g_object_unref(ioc);
    g_mutex_lock(&mis->lock);
    g_clear_error(&postcopy_of(mis)->pause_reason);
    mis->recovers = true;
    g_cond_broadcast(&mis->wake);
    g_mutex_unlock(&mis->lock);
}

bool postcopy_incoming_recover(MigrationIncomingState *mis, const MigrationTransport *t,
                               GError **errp)
{
    TransportAcceptor acceptor = {.accept = recovery_channel, .opaque = mis};

    if (!mis || incoming_status(mis) != MIGRATION_STATUS_POSTCOPY_PAUSED) {
        error_setg(errp, "Migrate recover can only be run when postcopy is paused.");
        return false;
    }
    return incoming_replace_listener(mis, t, &acceptor, errp);
}

bool postcopy_incoming_interrupt(MigrationIncomingState *mis)
{
    MigrationStatus now = incoming_status(mis);

    if (now != MIGRATION_STATUS_POSTCOPY_ACTIVE && now != MIGRATION_STATUS_POSTCOPY_RECOVER) {
        return false;
    }
    qemu_file_shutdown(mis->file);
    return true;
}
