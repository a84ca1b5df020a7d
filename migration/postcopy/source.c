/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/postcopy/source.h"
#include "io/channel-buffer.h"
#include "migration/outgoing.h"
#include "migration/rdma/rdma.h"
#include "migration/wire/postcopy.h"
#include "util/lock.h"

/* ---- when ---- */

/* QEMU 7.2 takes both capabilities together and aborts when the last page has come: the guest
 * would be lost. The layout says that the destination is so old, unless it is one of us. */
static bool survives_multifd(MigrationState *s, GError **errp)
{
    if (s->multifd && !outgoing_peer_features(s) &&
        options_switch(&s->m->options, SWITCH_MULTIFD_FLUSH_AFTER_EACH_SECTION)) {
        error_setg(errp, "Postcopy after multifd would crash a destination before QEMU 10.1; for "
                         "a later one start the source with "
                         "-global migration.multifd-flush-after-each-section=off");
        return false;
    }
    return true;
}

/* QEMU 7.2 does not come to the end of a postcopy over RDMA, and aborts when the source hangs up:
 * the guest would be lost. */
static bool survives_rdma(MigrationState *s, GError **errp)
{
    if (s->file && io_channel_is_rdma(qemu_file_channel(s->file)) && !outgoing_peer_features(s)) {
        error_setg(errp, "Postcopy over RDMA would crash a destination that is QEMU; precopy goes "
                         "on (or cancel, and use tcp)");
        return false;
    }
    return true;
}

static bool survives(MigrationState *s, GError **errp)
{
    return survives_multifd(s, errp) && survives_rdma(s, errp);
}

bool postcopy_source_start(MigrationState *s, GError **errp)
{
    if (outgoing_status(s) != MIGRATION_STATUS_SETUP && !survives(s, errp)) {
        return false;
    }
    __atomic_store_n(&s->postcopy.wanted, true, __ATOMIC_RELAXED);
    g_mutex_lock(&s->lock);
    g_cond_broadcast(&s->wake);
    g_mutex_unlock(&s->lock);
    return true;
}

bool postcopy_source_due(MigrationState *s)
{
    g_autoptr(GError) err = NULL;
    MigPendingData p;

    postcopy_auto_consider(s);
    if (!__atomic_load_n(&s->postcopy.wanted, __ATOMIC_RELAXED) ||
        !options_cap(&s->m->options, MIGRATION_CAPABILITY_POSTCOPY_RAM)) {
        return false;
    }
    if (!survives(s, &err)) { /* the wish came before the destination was known */
        error_report("%s", err->message);
        recorder_error(s->m->source_record, err->message);
        __atomic_store_n(&s->postcopy.wanted, false, __ATOMIC_RELAXED);
        return false;
    }
    p = savevm_pending(s->m->savevm, false);
    return p.precopy + p.stopcopy <= switchover_budget(s);
}

bool postcopy_source_switched(const MigrationState *s)
{
    return __atomic_load_n(&s->postcopy.push, __ATOMIC_ACQUIRE) != NULL;
}

/* ---- messages ---- */

static void wake(void *opaque)
{
    MigrationState *s = opaque;

    g_mutex_lock(&s->lock);
    g_cond_broadcast(&s->wake);
    g_mutex_unlock(&s->lock);
}

bool postcopy_source_request(void *opaque, const char *block, uint64_t offset, uint64_t length,
                             GError **errp)
{
    MigrationState *s = opaque;

    if (!__atomic_load_n(&s->postcopy.requests_open, __ATOMIC_ACQUIRE)) {
        error_setg(errp, "The destination asks for pages out of turn");
        return false;
    }
    return postcopy_push_request(__atomic_load_n(&s->postcopy.push, __ATOMIC_ACQUIRE), block,
                                 offset, length, errp);
}

void postcopy_source_pong(MigrationState *s, uint32_t cookie)
{
    if (cookie == POSTCOPY_PING_LOADED) {
        g_mutex_lock(&s->lock);
        s->postcopy.loaded = s->offered;
        g_cond_broadcast(&s->wake);
        g_mutex_unlock(&s->lock);
    } else {
        push_channels_pong(s, cookie);
    }
}

/* ---- the switch ---- */

/* What the destination runs the guest from: listen, devices, run. NULL: *errp. */
static QIOChannelBuffer *make_package(MigrationState *s, GError **errp)
{
    g_autoptr(QIOChannelBuffer) ioc = io_channel_buffer_new();
    QEMUFile *f = qemu_file_new_output(IO_CHANNEL(ioc));
    SaveContext c = migration_save_context(s->m, f);
    uint32_t ping = GUINT32_TO_BE(POSTCOPY_PING_LOADED);
    bool ok;

    savevm_put_command(f, STREAM_CMD_POSTCOPY_LISTEN, NULL, 0);
    ok = savevm_complete_devices(&c, NULL, errp);
    savevm_put_command(f, STREAM_CMD_PING, &ping, sizeof(ping));
    savevm_put_command(f, STREAM_CMD_POSTCOPY_RUN, NULL, 0);
    ok = qemu_fflush(f) && ok;
    qemu_fclose(f, NULL);
    return ok ? g_steal_pointer(&ioc) : NULL;
}

static bool send_package(MigrationState *s, QIOChannelBuffer *package, GError **errp)
{
    const GByteArray *bytes = io_channel_buffer_bytes(package);
    uint32_t len = GUINT32_TO_BE(bytes->len);

    savevm_put_command(s->file, STREAM_CMD_PACKAGED, &len, sizeof(len));
    qemu_put_buffer(s->file, bytes->data, bytes->len);
    return switchover_flush_rest(s, "the package of device state", errp);
}

/* Pages that are still under way on multifd channels must not come behind a discard of the same. */
static bool settle_channels(MigrationState *s, GError **errp)
{
    SaveContext c = migration_save_context(s->m, s->file);

    if (!s->multifd) {
        return true;
    }
    c.phase = SAVE_POSTCOPY;
    ram_save_settle(s->m->ram);
    return savevm_iterate(&c, errp) != ITERATE_ERROR;
}

/* Guest stopped, big lock held. True: the destination has all it needs to run. */
static bool send_switch(MigrationState *s, GError **errp)
{
    SaveContext c = migration_save_context(s->m, s->file);
    g_autoptr(QIOChannelBuffer) package = NULL;
    PostcopyPush *push;

    c.phase = SAVE_SWITCH;
    qemu_file_set_rate_limit(s->file, 0);
    if (!savevm_complete_live(&c, errp) || !settle_channels(s, errp)) {
        return false;
    }
    push = ram_save_start_postcopy(s->m->ram, wake, s, errp);
    if (!push) {
        return false;
    }
    postcopy_push_discards(push, s->file);
    outgoing_ping(s, 2);
    package = make_package(s, errp);
    if (!package || !switchover_release_images(s, errp) ||
        !switchover_pass_point(s, &s->offered, errp)) {
        return false;
    }
    postcopy_push_set_urgent_file(push, s->postcopy.urgent,
                                  outgoing_peer_features(s) & PEER_PAGE_TWICE);
    __atomic_store_n(&s->postcopy.push, push, __ATOMIC_RELEASE);
    __atomic_store_n(&s->postcopy.requests_open, true, __ATOMIC_RELEASE);
    /* A cancel, which takes the big lock too, has come before the last check or is refused now. */
    outgoing_set_status(s, MIGRATION_STATUS_DEVICE, MIGRATION_STATUS_POSTCOPY_DEVICE);
    return send_package(s, package, errp);
}

/* One PART section with what is asked for and, if there is room, what is not. */
static bool push_some(MigrationState *s, GError **errp)
{
    SaveContext c = migration_save_context(s->m, s->file);

    c.phase = SAVE_POSTCOPY;
    return savevm_iterate(&c, errp) != ITERATE_ERROR;
}

/*
 * The destination loads its devices, which may need pages. Its last word decides: without the
 * answer to our ping and with an orderly end of the line it never got as far as running.
 */
static bool await_loaded(MigrationState *s, GError **errp)
{
    bool loaded, failed;

    do {
        if (postcopy_push_urgent(s->postcopy.push) && !push_some(s, errp)) {
            return false;
        }
        g_mutex_lock(&s->lock);
        while (!s->postcopy.loaded && !s->peer_done && !s->error && !s->cancelled &&
               !postcopy_push_urgent(s->postcopy.push)) {
            g_cond_wait(&s->wake, &s->lock);
        }
        loaded = s->postcopy.loaded;
        failed = s->peer_done || s->error || s->cancelled;
        g_mutex_unlock(&s->lock);
    } while (!loaded && !failed);
    return loaded || !migration_interrupted(s, errp);
}

static bool switch_over(MigrationState *s, GError **errp)
{
    bool sent;

    qemu_fflush(s->file);
    bql_lock();
    sent = switchover_stop_guest(s, RUN_STATE_FINISH_MIGRATE, errp) &&
           switchover_enter_device(s, errp) && send_switch(s, errp);
    bql_unlock();
    if (!sent || !await_loaded(s, errp)) {
        return false;
    }
    switchover_commit(s);
    outgoing_set_status(s, MIGRATION_STATUS_POSTCOPY_DEVICE, MIGRATION_STATUS_POSTCOPY_ACTIVE);
    outgoing_ping(s, 4);
    postcopy_push_begin_release(s->postcopy.push);
    rdma_channel_release_memory(qemu_file_channel(s->file));
    return true;
}

/* ---- the rest ---- */

static bool push_on(MigrationState *s, GError **errp)
{
    qemu_file_set_bite(s->file, POSTCOPY_BITE_BYTES);
    while (postcopy_push_left(s->postcopy.push)) {
        if (migration_interrupted(s, errp)) {
            return false;
        }
        if (qemu_file_rate_exceeded(s->file) && !postcopy_push_urgent(s->postcopy.push)) {
            if (!qemu_file_check(s->file, errp)) {
                return false;
            }
            outgoing_wait_until(s, s->pace_us + PACE_WINDOW_US);
        } else if (!push_some(s, errp)) {
            return false;
        }
        stats_update(s);
    }
    return true;
}

static bool push_rest(MigrationState *s, GError **errp)
{
    GError *err = NULL;
    bool ok;

    stats_start(s); /* from the first byte on, of any channel, at the rate of this phase */
    if (postcopy_push_left(s->postcopy.push)) {
        push_channels_begin(s);
    }
    ok = push_on(s, &err);
    if (!ok) {
        migration_fail(s, g_error_copy(err)); /* before what cutting the others looks like */
    }
    ok = push_channels_end(s, !ok, &err) && ok;
    if (err) {
        g_propagate_error(errp, err);
    }
    return ok;
}

static bool finish_stream(MigrationState *s, GError **errp)
{
    SaveContext c = migration_save_context(s->m, s->file);

    c.phase = SAVE_POSTCOPY;
    if (!savevm_complete_live(&c, errp)) {
        return false;
    }
    g_mutex_lock(&s->lock);
    s->eof_sent = true;
    g_mutex_unlock(&s->lock);
    qemu_put_byte(s->file, STREAM_EOF);
    if (!switchover_flush_rest(s, "the end of the stream", errp)) {
        return false;
    }
    postcopy_push_end_urgent(s->postcopy.push);
    g_mutex_lock(&s->lock);
    while (!s->peer_done && !s->error && !s->cancelled) {
        g_cond_wait(&s->wake, &s->lock);
    }
    s->postcopy.all_sent = s->peer_done && s->peer_verdict == VERDICT_ACCEPTED;
    g_mutex_unlock(&s->lock);
    return s->postcopy.all_sent || !migration_interrupted(s, errp);
}

bool postcopy_source_run(MigrationState *s, GError **errp)
{
    if (!switch_over(s, errp)) {
        return false;
    }
    for (;;) {
        GError *err = NULL;

        if (push_rest(s, &err) && finish_stream(s, &err)) {
            return true;
        }
        if (!postcopy_source_pause(s, err)) {
            return !migration_interrupted(s, errp);
        }
    }
}
