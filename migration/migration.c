/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The outgoing state machine (docs/devel/migration.md has the picture):
 *
 *   none -> setup -> active -> [pre-switchover] -> device -> completed
 *             |         |             |              |
 *             +---------+------+------+--------------+--> failing   -> failed
 *                              +------------------------> cancelling -> cancelled
 *
 * A status changes by compare-and-swap, so of "failed", "cancelled" and "went on" exactly one wins.
 */
#include "migration/outgoing.h"
#include "migration/configuration.h"
#include "migration/wire/postcopy.h"
#include "util/lock.h"
#include "util/log.h"

LOG_CATEGORY(migration)

/* ---- status ---- */

uint64_t outgoing_bytes(const MigrationState *s)
{
    const MigrationCounters *c = &s->m->counters;

    return s->file ? qemu_file_transferred(s->file) + stat_get(&c->multifd_bytes) +
                         stat_get(&c->file_bytes) + stat_get(&s->retired_bytes) +
                         stat_get(&c->rdma_bytes)
                   : stat_get(&c->channel_bytes);
}

uint64_t outgoing_backlog(const MigrationState *s)
{
    return io_channel_backlog(qemu_file_channel(s->file)) +
           (s->multifd ? multifd_send_backlog(s->multifd) : 0);
}

bool outgoing_set_status(MigrationState *s, MigrationStatus from, MigrationStatus to)
{
    int expected = from;

    if (!__atomic_compare_exchange_n(&s->status, &expected, to, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE)) {
        return false;
    }
    trace(migration, "source %s -> %s", MigrationStatus_str(from), MigrationStatus_str(to));
    recorder_phase(s->m->source_record, MigrationStatus_str(to), outgoing_bytes(s));
    migration_emit_status(s->m, to);
    return true;
}

bool outgoing_is_running(const MigrationState *s)
{
    switch (outgoing_status(s)) {
    case MIGRATION_STATUS_SETUP:
    case MIGRATION_STATUS_ACTIVE:
    case MIGRATION_STATUS_PRE_SWITCHOVER:
    case MIGRATION_STATUS_DEVICE:
    case MIGRATION_STATUS_POSTCOPY_DEVICE:
    case MIGRATION_STATUS_POSTCOPY_ACTIVE:
    case MIGRATION_STATUS_POSTCOPY_PAUSED:
    case MIGRATION_STATUS_POSTCOPY_RECOVER_SETUP:
    case MIGRATION_STATUS_POSTCOPY_RECOVER:
    case MIGRATION_STATUS_CANCELLING:
    case MIGRATION_STATUS_FAILING:
        return true;
    default:
        return false;
    }
}

/* From any state that is still at work. False: it had ended, or somebody else was first. */
static bool leave_work(MigrationState *s, MigrationStatus to)
{
    static const MigrationStatus working[] = {
        MIGRATION_STATUS_SETUP,
        MIGRATION_STATUS_ACTIVE,
        MIGRATION_STATUS_PRE_SWITCHOVER,
        MIGRATION_STATUS_DEVICE,
        MIGRATION_STATUS_POSTCOPY_DEVICE,
        /* Only when the process ends. */
        MIGRATION_STATUS_POSTCOPY_ACTIVE,
        MIGRATION_STATUS_POSTCOPY_PAUSED,
        MIGRATION_STATUS_POSTCOPY_RECOVER_SETUP,
        MIGRATION_STATUS_POSTCOPY_RECOVER,
    };

    for (;;) {
        MigrationStatus now = outgoing_status(s);
        bool at_work = false;

        for (unsigned i = 0; i < ARRAY_SIZE(working); i++) {
            at_work |= working[i] == now;
        }
        if (!at_work) {
            return false;
        }
        if (outgoing_set_status(s, now, to)) {
            return true;
        }
    }
}

/* ---- errors and waking ---- */

/* Takes @err. With s->lock held. */
static void fail_locked(MigrationState *s, GError *err)
{
    if (s->error || s->cancelled) {
        g_error_free(err);
    } else {
        recorder_error(s->m->source_record, err->message);
        s->error = err;
    }
    g_cond_broadcast(&s->wake);
}

void migration_fail(MigrationState *s, GError *err)
{
    g_mutex_lock(&s->lock);
    fail_locked(s, err);
    g_mutex_unlock(&s->lock);
}

bool migration_interrupted(MigrationState *s, GError **errp)
{
    bool stop;

    g_mutex_lock(&s->lock);
    stop = s->cancelled || s->error;
    if (s->cancelled) {
        error_setg(errp, "Migration was cancelled");
    } else if (s->error) {
        g_propagate_error(errp, g_error_copy(s->error));
    }
    g_mutex_unlock(&s->lock);
    return stop;
}

char *outgoing_error(MigrationState *s)
{
    char *text;

    g_mutex_lock(&s->lock);
    text = s->peer_error && s->error ? g_strdup(s->peer_error->message)
           : s->error                ? g_strdup(s->error->message)
                                     : NULL;
    g_mutex_unlock(&s->lock);
    return text;
}

/* ---- return path ---- */

uint32_t outgoing_peer_features(MigrationState *s)
{
    return __atomic_load_n(&s->peer_features, __ATOMIC_RELAXED);
}

#define HELLO_PATIENCE_US (1 * G_TIME_SPAN_SECOND)

void outgoing_await_hello(MigrationState *s)
{
    int64_t end = g_get_monotonic_time() + HELLO_PATIENCE_US;

    g_mutex_lock(&s->lock);
    while (s->return_path && !s->peer_known && !s->peer_done && !s->cancelled && !s->error &&
           g_cond_wait_until(&s->wake, &s->lock, end)) {
    }
    g_mutex_unlock(&s->lock);
}

static void peer_pong(void *opaque, uint32_t cookie)
{
    MigrationState *s = opaque;

    if (cookie == STREAM_HELLO || (cookie & STREAM_HELLO_ANSWER_MASK) == STREAM_HELLO_ANSWER) {
        g_mutex_lock(&s->lock);
        s->peer_known = true;
        if (cookie != STREAM_HELLO) {
            __atomic_store_n(&s->peer_features, cookie & ~STREAM_HELLO_ANSWER_MASK,
                             __ATOMIC_RELAXED);
        }
        g_cond_broadcast(&s->wake);
        g_mutex_unlock(&s->lock);
        recorder_note(s->m->source_record, cookie == STREAM_HELLO
                                               ? "the destination is not a Godwit"
                                               : "the destination is a Godwit");
    } else if (cookie == STREAM_WAIT_FOR_COMMIT) {
        g_mutex_lock(&s->lock);
        s->peer_waits = true;
        g_cond_broadcast(&s->wake);
        g_mutex_unlock(&s->lock);
    } else if (cookie >= STREAM_SETTLE && cookie - STREAM_SETTLE <= UINT16_MAX) {
        g_mutex_lock(&s->lock);
        s->pongs = cookie - STREAM_SETTLE;
        g_cond_broadcast(&s->wake);
        g_mutex_unlock(&s->lock);
    } else {
        postcopy_source_pong(s, cookie);
    }
}

static void peer_loaded(void *opaque)
{
    MigrationState *s = opaque;

    g_mutex_lock(&s->lock);
    s->peer_loaded = true;
    g_cond_broadcast(&s->wake);
    g_mutex_unlock(&s->lock);
}

static void peer_done(void *opaque, ReturnPathVerdict verdict, GError *err, bool explained)
{
    MigrationState *s = opaque;
    bool accepted;

    g_mutex_lock(&s->lock);
    if (verdict == VERDICT_ACCEPTED && !s->eof_sent) {
        verdict = VERDICT_REFUSED;
        error_setg(&err, "The destination took the guest before it was offered");
    }
    accepted = verdict == VERDICT_ACCEPTED;
    s->peer_verdict = verdict;
    s->peer_done = true;
    if (err && explained && !s->cancelled) {
        s->peer_error = g_error_copy(err);
    }
    if (!accepted) {
        if (!explained) {
            g_prefix_error(&err, "At offset %" PRIu64 ": ", qemu_file_transferred(s->file));
        }
        fail_locked(s, err); /* before anybody hears that the peer is done: this is why */
    }
    g_cond_broadcast(&s->wake);
    g_mutex_unlock(&s->lock);
    if (!accepted) {
        qemu_file_shutdown(s->file); /* the migration thread may be blocked in a write */
    }
}

static const ReturnPathEvents return_path_events = {
    .pong = peer_pong,
    .request = postcopy_source_request,
    .bitmap = postcopy_source_bitmap,
    .resume_ack = postcopy_source_resume_ack,
    .loaded = peer_loaded,
    .switchover_ack = switchover_ack,
    .lost_channel = outgoing_peer_lost_channel,
    .done = peer_done,
};

void outgoing_put_ping(MigrationState *s, uint32_t cookie)
{
    uint32_t be = GUINT32_TO_BE(cookie);

    savevm_put_command(s->file, STREAM_CMD_PING, &be, sizeof(be));
}

void outgoing_ping(MigrationState *s, uint32_t cookie)
{
    outgoing_put_ping(s, cookie);
    qemu_fflush(s->file);
}

bool outgoing_read_answers(MigrationState *s, GError **errp)
{
    QIOChannel *ioc = qemu_file_channel(s->file);

    if (!io_channel_has_feature(ioc, IO_FEATURE_BIDIRECTIONAL)) {
        error_setg(errp,
                   "Channel '%s' has no reverse direction: use a socket or turn the capabilities "
                   "'return-path' and 'postcopy-ram' off",
                   io_channel_name(ioc));
        return false;
    }
    s->return_path = return_path_reader_start(ioc, &return_path_events, s, errp);
    return s->return_path != NULL;
}

static bool open_return_path(MigrationState *s, GError **errp)
{
    if (!outgoing_read_answers(s, errp)) {
        return false;
    }
    savevm_put_command(s->file, STREAM_CMD_OPEN_RETURN_PATH, NULL, 0);
    outgoing_ping(s, 1);
    outgoing_ping(s, STREAM_HELLO);
    return true;
}

/* Tell the destination how memory would be sent. */
static void advise_postcopy(MigrationState *s)
{
    PostcopyAdvise a = {.target_page = TARGET_PAGE_SIZE};
    uint8_t args[POSTCOPY_ADVISE_BYTES];

    RAMBLOCK_FOREACH_MIGRATABLE (block, s->host->ops->ram(s->host)) {
        a.page_summary |= block->page_size;
    }
    postcopy_encode_advise(&a, args);
    savevm_put_command(s->file, STREAM_CMD_POSTCOPY_ADVISE, args, sizeof(args));
}

/* ---- the migration thread ---- */

bool outgoing_begin_stream(MigrationState *s, GError **errp)
{
    Migration *m = s->m;
    SaveContext c = migration_save_context(m, s->file);
    bool postcopy = !s->snapshot && options_cap(&m->options, MIGRATION_CAPABILITY_POSTCOPY_RAM);
    uint8_t header[STREAM_HEADER_SIZE];

    stream_encode_header(header);
    qemu_put_buffer(s->file, header, sizeof(header));
    if (options_switch(&m->options, SWITCH_SEND_CONFIGURATION) &&
        !configuration_save(s->file, m, errp)) {
        return false;
    }
    if (!s->snapshot && (postcopy || options_cap(&m->options, MIGRATION_CAPABILITY_RETURN_PATH)) &&
        !open_return_path(s, errp)) {
        return false;
    }
    if (postcopy) {
        advise_postcopy(s);
    }
    outgoing_await_hello(s); /* what it understands decides how memory is sent */
    BQL_LOCK_GUARD();
    return savevm_setup(&c, errp);
}

/* Does the destination wait for a page? */
static bool urgent(const MigrationState *s)
{
    return s->postcopy.push && postcopy_push_urgent(s->postcopy.push);
}

void outgoing_wait_until(MigrationState *s, int64_t end)
{
    qemu_fflush(s->file); /* what is queued must not wait for the next MiB */
    g_mutex_lock(&s->lock);
    while (!s->cancelled && !s->error && !urgent(s) && g_cond_wait_until(&s->wake, &s->lock, end)) {
    }
    g_mutex_unlock(&s->lock);
}

/* Until the rest may be sent with the guest stopped, or its memory behind it. */
static bool iterate(MigrationState *s, bool *to_postcopy, GError **errp)
{
    SaveContext c = migration_save_context(s->m, s->file);

    for (;;) {
        if (migration_interrupted(s, errp)) {
            return false;
        }
        if (!qemu_file_rate_exceeded(s->file)) {
            if (switchover_due(s)) {
                return true;
            }
            if (postcopy_source_due(s)) {
                *to_postcopy = true;
                return true;
            }
            if (savevm_iterate(&c, errp) == ITERATE_ERROR) {
                return false;
            }
        } else if (!qemu_file_check(s->file, errp)) {
            g_prefix_error(errp, "Between two rounds, at offset %" PRIu64 ": ",
                           qemu_file_transferred(s->file));
            return false;
        } else {
            outgoing_wait_until(s, s->pace_us + PACE_WINDOW_US);
        }
        stats_update(s);
    }
}

static bool migrate_guest(MigrationState *s, GError **errp)
{
    bool to_postcopy = false;

    if (!outgoing_begin_stream(s, errp)) {
        return false;
    }
    if (!outgoing_set_status(s, MIGRATION_STATUS_SETUP, MIGRATION_STATUS_ACTIVE)) {
        return !migration_interrupted(s, errp);
    }
    __atomic_store_n(&s->active_us, g_get_monotonic_time(), __ATOMIC_RELAXED);
    stats_start(s);
    if (s->background) {
        return background_run(s, errp);
    }
    if (!iterate(s, &to_postcopy, errp)) {
        return false;
    }
    return to_postcopy ? postcopy_source_run(s, errp) : switchover_run(s, errp);
}

/* How long a destination may take to tell why it has closed a channel. It may itself have waited
 * for a second before it gave up reading. */
#define CUT_PATIENCE_MS 4000

/* If the channel broke, the destination may just be saying why: its word is worth more than our
 * broken pipe. */
static void hear_destination(MigrationState *s)
{
    int64_t end = g_get_monotonic_time() + CUT_PATIENCE_MS * G_TIME_SPAN_MILLISECOND;

    if (!s->return_path ||
        (qemu_file_ok(s->file) && (!s->multifd || multifd_send_check(s->multifd, NULL)))) {
        return;
    }
    g_mutex_lock(&s->lock);
    while (!s->cancelled && !s->peer_done && g_cond_wait_until(&s->wake, &s->lock, end)) {
    }
    g_mutex_unlock(&s->lock);
}

static gboolean finish_in_main_loop(gpointer opaque)
{
    outgoing_finish(opaque);
    return G_SOURCE_REMOVE;
}

/* The last act of the migration thread, or of whoever failed before there was one. */
static void schedule_finish(MigrationState *s)
{
    g_source_set_priority(s->finish, G_PRIORITY_HIGH);
    g_source_set_callback(s->finish, finish_in_main_loop, s, NULL);
    g_source_attach(s->finish, NULL);
}

/* A cancel that came after the offer has not touched the status yet. */
static bool is_cancelled(MigrationState *s)
{
    bool cancelled;

    g_mutex_lock(&s->lock);
    cancelled = s->cancelled;
    g_mutex_unlock(&s->lock);
    return cancelled;
}

static gpointer migration_thread(gpointer opaque)
{
    MigrationState *s = opaque;
    GError *err = NULL;

    if (!migrate_guest(s, &err)) {
        migration_fail(s, err);
        leave_work(s, is_cancelled(s) ? MIGRATION_STATUS_CANCELLING : MIGRATION_STATUS_FAILING);
    }
    switchover_settle_guest(s);
    stats_finish(s);
    hear_destination(s);
    schedule_finish(s);
    return NULL;
}

/* ---- the end: one way out ---- */

static void set_final_status(MigrationState *s)
{
    g_autofree char *text = outgoing_error(s);

    if (s->committed && (!postcopy_source_switched(s) || s->postcopy.all_sent)) {
        /* From device; or from cancelling, if that came too late: the destination has the guest. */
        outgoing_set_status(s, outgoing_status(s), MIGRATION_STATUS_COMPLETED);
    } else if (!outgoing_set_status(s, MIGRATION_STATUS_CANCELLING, MIGRATION_STATUS_CANCELLED)) {
        error_report("Migration failed: %s", text ? text : "unknown reason");
        outgoing_set_status(s, MIGRATION_STATUS_FAILING, MIGRATION_STATUS_FAILED);
    }
}

/* Out of reach of commands out of band; the caller closes it. */
static QEMUFile *take_file(MigrationState *s, QEMUFile **file)
{
    QEMUFile *f;

    g_mutex_lock(&s->m->line);
    f = g_steal_pointer(file);
    g_mutex_unlock(&s->m->line);
    return f;
}

static void close_file(MigrationState *s)
{
    GError *err = NULL;

    if (!qemu_fclose(take_file(s, &s->file), &err)) {
        if (s->snapshot && s->committed) {
            /* Nobody else has the state: what the file did not take is a failure. */
            s->committed = false;
            migration_fail(s, err);
            leave_work(s, MIGRATION_STATUS_FAILING);
        } else {
            g_error_free(err);
        }
    }
}

void outgoing_finish(MigrationState *s)
{
    if (s->thread) {
        migration_join(g_steal_pointer(&s->thread));
    }
    g_source_destroy(s->finish);
    if (s->return_path) {
        io_channel_shutdown(qemu_file_channel(s->file), IO_SHUTDOWN_READ);
        return_path_reader_join(g_steal_pointer(&s->return_path));
    }
    push_channels_close(s);
    outgoing_end_multifd(s);
    if (s->file) {
        close_file(s);
    }
    qemu_fclose(take_file(s, &s->postcopy.urgent), NULL);
    savevm_cleanup(s->m->savevm);
    set_final_status(s);
}

void outgoing_fail_early(MigrationState *s, GError *err)
{
    migration_fail(s, err);
    leave_work(s, MIGRATION_STATUS_FAILING);
    stats_finish(s);
    outgoing_finish(s);
}

/* ---- commands ---- */

void outgoing_run_on(MigrationState *s, QIOChannel *ioc, GPtrArray *extra)
{
    GError *err = NULL;

    io_channel_set_blocking(ioc, true, NULL);
    io_channel_set_delay(ioc, false);
    s->file = qemu_file_new_output(ioc);
    if (!extra || outgoing_start_multifd(s, extra, &err)) {
        s->thread = g_thread_try_new("migration", migration_thread, s, &err);
    }
    if (!s->thread) {
        outgoing_fail_early(s, err);
    }
}

bool outgoing_start(MigrationState *s, const MigrationTransport *t, GError **errp)
{
    GError *err = NULL;

    recorder_note(s->m->source_record, transport_name(t));
    s->background = options_cap(&s->m->options, MIGRATION_CAPABILITY_BACKGROUND_SNAPSHOT);
    outgoing_set_status(s, MIGRATION_STATUS_NONE, MIGRATION_STATUS_SETUP);
    s->transport = transport_copy(t);
    if (!outgoing_connect(s, &err)) {
        g_propagate_error(errp, g_error_copy(err));
        outgoing_fail_early(s, err);
        return false;
    }
    return true;
}

/*
 * Note the wish. True if the guest is offered: the destination may be taking it right now, and
 * cutting the line would lose its answer and leave both with the guest. switchover.c looks at the
 * wish and makes the offer under the same lock, so exactly one of the two comes first.
 */
static bool note_cancel(MigrationState *s)
{
    bool offered;

    g_mutex_lock(&s->lock);
    s->cancelled = true;
    offered = s->offered && s->return_path;
    g_cond_broadcast(&s->wake);
    g_mutex_unlock(&s->lock);
    return offered;
}

void outgoing_cancel(MigrationState *s)
{
    if (!outgoing_is_running(s)) {
        return;
    }
    if (note_cancel(s)) {
        /* Only our direction ends; switchover.c goes on listening for the verdict, for a bounded
         * time. */
        io_channel_shutdown(qemu_file_channel(s->file), IO_SHUTDOWN_WRITE);
        return;
    }
    if (!leave_work(s, MIGRATION_STATUS_CANCELLING)) {
        return;
    }
    if (outgoing_connect_cancel(s)) {
        stats_finish(s);
        outgoing_finish(s);
        return;
    }
    if (s->multifd) {
        multifd_send_shutdown(s->multifd);
    }
    push_channels_cut(s);
    qemu_file_shutdown(s->file);
}

void outgoing_continue(MigrationState *s)
{
    g_mutex_lock(&s->lock);
    s->continued = true;
    g_cond_broadcast(&s->wake);
    g_mutex_unlock(&s->lock);
}

void outgoing_shutdown(MigrationState *s)
{
    s->exiting = true;
    outgoing_cancel(s);
    if (outgoing_is_running(s)) {
        outgoing_finish(s);
    }
}

MigrationState *outgoing_new(Migration *m)
{
    MigrationState *s = g_new0(MigrationState, 1);

    g_mutex_lock(&m->line);
    outgoing_free(m->outgoing);
    m->outgoing = s;
    g_mutex_unlock(&m->line);
    s->m = m;
    s->host = m->host;
    s->status = MIGRATION_STATUS_NONE;
    s->finish = g_idle_source_new();
    s->cut = g_timeout_source_new(CUT_PATIENCE_MS);
    g_mutex_init(&s->lock);
    g_cond_init(&s->wake);
    s->begin_us = g_get_monotonic_time();
    memset(&m->counters, 0, sizeof(m->counters));
    recorder_restart(m->source_record);
    return s;
}

void outgoing_free(MigrationState *s)
{
    if (s) {
        g_source_unref(s->finish);
        g_source_unref(s->cut);
        transport_free(s->transport);
        g_clear_pointer(&s->multifd_to, g_ptr_array_unref);
        g_clear_error(&s->error);
        g_clear_error(&s->peer_error);
        g_cond_clear(&s->wake);
        g_mutex_clear(&s->lock);
        g_free(s);
    }
}
