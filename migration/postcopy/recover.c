/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * After a broken line, on the source: pause, wait for another channel, agree on what has arrived,
 * go on. As often as it takes.
 *
 *   migration thread   parked in postcopy-paused      recv-bitmap ... resume, wait for answers
 *   main thread        migrate resume=true: connect, exchange MigrationState.file while it is
 * parked return-path thread                                bitmaps, acknowledgement
 */
#include "migration/outgoing.h"
#include "migration/postcopy/source.h"
#include "migration/rdma/rdma.h"
#include "migration/wire/postcopy.h"

/* ---- messages ---- */

/* The answers come in the order of our commands. */
static bool read_bitmap(MigrationState *s, const char *name, uint64_t bits, QEMUFile *f,
                        GError **errp)
{
    uint64_t bytes = postcopy_bitmap_bytes(bits);
    g_autofree unsigned long *map = bitmap_try_new(bytes * 8);
    uint64_t size = qemu_get_be64(f), mark;

    if (!qemu_file_check(f, errp)) {
        return false;
    }
    if (size != bytes || !map) {
        error_setg(errp,
                   "The received bitmap of RAM block '%s' has %" PRIu64 " bytes, %" PRIu64
                   " are expected: is that the destination of this migration?",
                   name, size, bytes);
        return false;
    }
    qemu_get_buffer(f, map, bytes);
    mark = qemu_get_be64(f);
    if (!qemu_file_check(f, errp)) {
        return false;
    }
    if (mark != POSTCOPY_BITMAP_MARK) {
        error_setg(errp, "The received bitmap of RAM block '%s' ends with mark 0x%" PRIx64, name,
                   mark);
        return false;
    }
    postcopy_bitmap_swap(map, map, bytes);
    return postcopy_push_set_received(s->postcopy.push, name, map, errp);
}

bool postcopy_source_bitmap(void *opaque, const char *block, QEMUFile *f, GError **errp)
{
    MigrationState *s = opaque;
    const char *name;
    uint64_t bits;

    if (outgoing_status(s) != MIGRATION_STATUS_POSTCOPY_RECOVER ||
        __atomic_load_n(&s->postcopy.requests_open, __ATOMIC_ACQUIRE) ||
        !postcopy_push_block(s->postcopy.push, s->postcopy.bitmaps, &name, &bits) ||
        !g_str_equal(name, block)) {
        error_setg(errp, "The destination sends a received bitmap of '%s' out of turn", block);
        return false;
    }
    if (!read_bitmap(s, name, bits, f, errp)) {
        return false;
    }
    g_mutex_lock(&s->lock);
    s->postcopy.bitmaps++;
    g_cond_broadcast(&s->wake);
    g_mutex_unlock(&s->lock);
    return true;
}

bool postcopy_source_resume_ack(void *opaque, uint32_t value, GError **errp)
{
    MigrationState *s = opaque;

    if (value != 1 || outgoing_status(s) != MIGRATION_STATUS_POSTCOPY_RECOVER) {
        error_setg(errp, "The destination acknowledges a resume with %u in status %s", value,
                   MigrationStatus_str(outgoing_status(s)));
        return false;
    }
    g_mutex_lock(&s->lock);
    s->postcopy.resume_acked = true;
    g_cond_broadcast(&s->wake);
    g_mutex_unlock(&s->lock);
    return true;
}

/* ---- the handshake ---- */

static bool wait_for(MigrationState *s, const unsigned *bitmaps, unsigned n, GError **errp)
{
    g_mutex_lock(&s->lock);
    while ((bitmaps ? *bitmaps < n : !s->postcopy.resume_acked) && !s->peer_done && !s->error &&
           !s->cancelled) {
        g_cond_wait(&s->wake, &s->lock);
    }
    g_mutex_unlock(&s->lock);
    return !migration_interrupted(s, errp);
}

static bool handshake(MigrationState *s, GError **errp)
{
    uint8_t args[POSTCOPY_NAME_MAX];
    const char *name;
    uint64_t bits;
    unsigned n;

    if (!outgoing_read_answers(s, errp)) {
        return false;
    }
    for (n = 0; postcopy_push_block(s->postcopy.push, n, &name, &bits); n++) {
        savevm_put_command(s->file, STREAM_CMD_RECV_BITMAP, args, postcopy_encode_name(name, args));
    }
    qemu_fflush(s->file);
    if (!wait_for(s, &s->postcopy.bitmaps, n, errp)) {
        return false;
    }
    postcopy_push_restart(s->postcopy.push);
    postcopy_push_set_urgent_file(s->postcopy.push, s->postcopy.urgent,
                                  outgoing_peer_features(s) & PEER_PAGE_TWICE);
    __atomic_store_n(&s->postcopy.requests_open, true, __ATOMIC_RELEASE);
    savevm_put_command(s->file, STREAM_CMD_POSTCOPY_RESUME, NULL, 0);
    qemu_fflush(s->file);
    return wait_for(s, NULL, 0, errp);
}

/* ---- pausing ---- */

void postcopy_source_cut(MigrationState *s)
{
    if (s->postcopy.urgent) {
        qemu_file_shutdown(s->postcopy.urgent);
    }
    push_channels_cut(s);
    qemu_file_shutdown(s->file);
}

/* Cut the line, wait until nobody uses it any more. Takes @err. */
static void park(MigrationState *s, GError *err)
{
    MigrationStatus now = outgoing_status(s);

    migration_fail(s, err);
    postcopy_source_cut(s);
    g_mutex_lock(&s->lock);
    while (s->return_path && !s->peer_done) {
        g_cond_wait(&s->wake, &s->lock);
    }
    g_mutex_unlock(&s->lock);
    __atomic_store_n(&s->postcopy.requests_open, false, __ATOMIC_RELEASE);
    rdma_channel_hang_up(qemu_file_channel(s->file));
    error_report("Detected IO failure for postcopy. Migration paused.");
    outgoing_set_status(s, now, MIGRATION_STATUS_POSTCOPY_PAUSED);
}

static bool wait_for_channel(MigrationState *s)
{
    bool recovers;

    g_mutex_lock(&s->lock);
    while (!s->postcopy.recovers && !s->cancelled) {
        g_cond_wait(&s->wake, &s->lock);
    }
    recovers = s->postcopy.recovers && !s->cancelled;
    s->postcopy.recovers = false;
    g_mutex_unlock(&s->lock);
    return recovers;
}

bool postcopy_source_pause(MigrationState *s, GError *err)
{
    for (;;) {
        park(s, err);
        if (!wait_for_channel(s)) {
            return false;
        }
        outgoing_set_status(s, MIGRATION_STATUS_POSTCOPY_RECOVER_SETUP,
                            MIGRATION_STATUS_POSTCOPY_RECOVER);
        err = NULL;
        if (handshake(s, &err)) {
            outgoing_set_status(s, MIGRATION_STATUS_POSTCOPY_RECOVER,
                                MIGRATION_STATUS_POSTCOPY_ACTIVE);
            stats_start(s);
            return true;
        }
    }
}

/* ---- commands ---- */

/* The migration thread is parked: the line is ours to exchange. */
static void exchange_channel(MigrationState *s, QIOChannel *ioc, QEMUFile *urgent)
{
    QEMUFile *old = s->file, *old_urgent = s->postcopy.urgent;

    return_path_reader_join(g_steal_pointer(&s->return_path));
    io_channel_set_blocking(ioc, true, NULL);
    io_channel_set_delay(ioc, false);
    g_mutex_lock(&s->m->line);
    s->file = qemu_file_new_output(ioc);
    s->postcopy.urgent = urgent;
    g_mutex_unlock(&s->m->line);
    stat_add(&s->retired_bytes, qemu_file_transferred(old));
    qemu_fclose(old, NULL);
    if (old_urgent) {
        stat_add(&s->retired_bytes, qemu_file_transferred(old_urgent));
        qemu_fclose(old_urgent, NULL);
    }
    g_mutex_lock(&s->lock);
    g_clear_error(&s->error);
    g_clear_error(&s->peer_error);
    s->peer_done = s->eof_sent = false;
    s->peer_verdict = VERDICT_NONE;
    s->postcopy.bitmaps = 0;
    s->postcopy.resume_acked = false;
    s->postcopy.recovers = true;
    g_cond_broadcast(&s->wake);
    g_mutex_unlock(&s->lock);
}

static void stay_paused(MigrationState *s, GError *err)
{
    error_report("Postcopy recovery: %s", err->message);
    g_mutex_lock(&s->lock);
    g_clear_error(&s->error);
    g_mutex_unlock(&s->lock);
    migration_fail(s, err);
    outgoing_set_status(s, MIGRATION_STATUS_POSTCOPY_RECOVER_SETUP,
                        MIGRATION_STATUS_POSTCOPY_PAUSED);
}

/* Both channels are there, or one is not. */
static void line_opened(MigrationState *s, QIOChannel *ioc, QEMUFile *urgent, GError *err)
{
    if (err) {
        io_channel_close(ioc, NULL);
        stay_paused(s, err);
    } else {
        exchange_channel(s, ioc, urgent);
    }
    g_object_unref(ioc);
}

static void reconnected(QIOChannel *ioc, GError *err, void *opaque)
{
    MigrationState *s = opaque;

    s->connection = NULL;
    if (!err && !io_channel_has_feature(ioc, IO_FEATURE_BIDIRECTIONAL)) {
        error_setg(&err, "Channel '%s' has no reverse direction: postcopy needs a socket",
                   io_channel_name(ioc));
    }
    if (err) {
        g_clear_object(&ioc);
        stay_paused(s, err);
        return;
    }
    preempt_open(s, s->transport, ioc, line_opened);
}

bool postcopy_source_resume(MigrationState *s, const MigrationTransport *t, GError **errp)
{
    GError *err = NULL;

    if (s && outgoing_status(s) == MIGRATION_STATUS_POSTCOPY_PAUSED &&
        options_cap(&s->m->options, MIGRATION_CAPABILITY_RELEASE_RAM)) {
        error_setg(errp, "Postcopy recovery cannot work when release-ram capability is set");
        return false;
    }
    if (!s || !outgoing_set_status(s, MIGRATION_STATUS_POSTCOPY_PAUSED,
                                   MIGRATION_STATUS_POSTCOPY_RECOVER_SETUP)) {
        error_setg(errp, "Cannot resume if there is no paused migration");
        return false;
    }
    recorder_note(s->m->source_record, transport_name(t));
    push_channels_close(s); /* what is still being opened is for the line that broke */
    transport_free(s->transport);
    s->transport = transport_copy(t);
    s->connection = transport_connect(t, s->host, reconnected, s, &err);
    if (!s->connection) {
        g_propagate_error(errp, g_error_copy(err));
        stay_paused(s, err);
        return false;
    }
    return true;
}

bool postcopy_source_interrupt(MigrationState *s)
{
    MigrationStatus now = outgoing_status(s);
    GError *err = NULL;

    if (!s->file ||
        (now != MIGRATION_STATUS_POSTCOPY_ACTIVE && now != MIGRATION_STATUS_POSTCOPY_RECOVER)) {
        return false;
    }
    error_setg(&err, "Postcopy migration is paused by the user");
    migration_fail(s, err);
    postcopy_source_cut(s);
    return true;
}
