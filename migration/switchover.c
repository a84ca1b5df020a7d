/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Switchover: when to stop the guest, the little that has to happen while it is stopped, and who
 * owns it afterwards.
 *
 *     decide     what is left fits into the downtime limit at the bandwidth we see, or nothing is
 *                left
 *     prepare    flush what is queued, so that only the rest travels while the guest is down
 *     -- stop --
 *     rest       dirty pages, device state, EOF: one flush
 *     -- commit: whose guest it is, see below --
 *     describe   the JSON behind EOF, made when the destination may already run
 *
 * Any failure before the commit rolls back: images taken back, guest running again.
 */
#include "migration/outgoing.h"
#include "migration/wire/stream.h"
#include "util/lock.h"

/* ---- when ---- */

/* Bytes that can be sent within the downtime limit. */
uint64_t switchover_budget(MigrationState *s)
{
    const MigrationOptions *o = &s->m->options;
    uint64_t bandwidth = options_param(o, PARAM_AVAIL_SWITCHOVER_BANDWIDTH);

    if (!bandwidth) {
        bandwidth = stats_bandwidth(s);
    }
    return (double)bandwidth * options_param(o, PARAM_DOWNTIME_LIMIT) / 1000;
}

/* Can be sent with the guest running, if it is let run. */
static uint64_t live_bytes(const MigPendingData *p)
{
    return p->precopy + p->postcopy;
}

static bool fits(const MigPendingData *p, uint64_t budget)
{
    uint64_t all = live_bytes(p) + p->stopcopy;

    return !all || all < budget;
}

/*
 * The guest could be stopped now. But as long as what is sent is not written again, each byte of it
 * is off the downtime; and after the first big pass a round costs next to nothing, so those that at
 * least halve what is left are made, too.
 */
#define SETTLED_BYTES     (256 * KiB)
#define MAX_SETTLE_ROUNDS 4

static bool worth_another_round(MigrationState *s, uint64_t pending)
{
    uint64_t max_bandwidth = options_param(&s->m->options, PARAM_MAX_BANDWIDTH);
    uint64_t last = s->last_pending, sent = outgoing_bytes(s) - s->last_bytes;

    s->last_pending = pending;
    s->last_bytes += sent;
    if (pending <= SETTLED_BYTES || (max_bandwidth && pending > max_bandwidth / 10)) {
        return false;
    }
    if (s->settle_rounds && pending < last && last - pending > sent / 2) {
        return true;
    }
    if (s->settle_rounds == MAX_SETTLE_ROUNDS || (s->settle_rounds && pending > last / 2)) {
        return false;
    }
    s->settle_rounds++;
    return true;
}

/*
 * After a big round megabytes may still be on their way, and the destination would read them while
 * the guest is down. So wait for it before the stop; the guest runs on meanwhile. With a return
 * path ask for an answer, without one watch what the channel knows.
 */
#define SETTLE_PATIENCE_US (50 * G_TIME_SPAN_MILLISECOND)
#define SETTLE_LOOK_US     200

static void await_pong(MigrationState *s, int64_t end)
{
    outgoing_ping(s, STREAM_SETTLE + ++s->settle_pings % UINT16_MAX);
    g_mutex_lock(&s->lock);
    while (s->pongs != s->settle_pings % UINT16_MAX && !s->cancelled && !s->error &&
           g_cond_wait_until(&s->wake, &s->lock, end)) {
    }
    g_mutex_unlock(&s->lock);
}

static void await_empty_channel(MigrationState *s, int64_t end)
{
    int64_t now = g_get_monotonic_time();

    qemu_fflush(s->file);
    g_mutex_lock(&s->lock);
    for (; now < end && outgoing_backlog(s); now = g_get_monotonic_time()) {
        if (s->cancelled || s->error) {
            break;
        }
        g_cond_wait_until(&s->wake, &s->lock, now + SETTLE_LOOK_US);
    }
    g_mutex_unlock(&s->lock);
}

static bool still_on_the_way(MigrationState *s)
{
    int64_t end = g_get_monotonic_time() + SETTLE_PATIENCE_US;

    /* A guest that dirties this much in every round never lets the channel settle. */
    if (s->settle_waits == MAX_SETTLE_ROUNDS ||
        s->host->ops->runstate(s->host) != RUN_STATE_RUNNING ||
        outgoing_bytes(s) - s->settled_bytes <= SETTLED_BYTES) {
        return false;
    }
    if (s->return_path) {
        await_pong(s, end);
    } else {
        await_empty_channel(s, end);
    }
    s->settle_waits++;
    s->settled_bytes = outgoing_bytes(s);
    return true;
}

/* ---- switchover-ack ---- */

static bool wants_acks(const MigrationState *s)
{
    return options_cap(&s->m->options, MIGRATION_CAPABILITY_SWITCHOVER_ACK);
}

bool switchover_ack(void *opaque, GError **errp)
{
    MigrationState *s = opaque;
    bool expected;

    g_mutex_lock(&s->lock);
    s->acks++;
    expected = wants_acks(s) &&
               (migration_has_legacy_acks(s->m) ? s->acks == 1 : s->acks <= s->acks_wanted);
    g_cond_broadcast(&s->wake);
    g_mutex_unlock(&s->lock);
    if (!expected) {
        error_setg(errp, "The destination allows the switchover more often than it was asked to: "
                         "capability 'switchover-ack' and migration.switchover-ack-legacy must be "
                         "the same on both sides");
    }
    return expected;
}

/* A guest that stands still needs nobody's leave. */
static bool acknowledged(MigrationState *s)
{
    bool all;

    if (!wants_acks(s) || s->host->ops->runstate(s->host) != RUN_STATE_RUNNING) {
        return true;
    }
    g_mutex_lock(&s->lock);
    all = migration_has_legacy_acks(s->m) ? s->acks > 0 : s->acks == s->acks_wanted;
    g_mutex_unlock(&s->lock);
    return all;
}

static MigPendingData look_at_pending(MigrationState *s, bool exact)
{
    MigPendingData p = savevm_pending(s->m->savevm, exact);

    g_mutex_lock(&s->lock);
    s->acks_wanted += p.ack_requests;
    g_mutex_unlock(&s->lock);
    return p;
}

/* The guest is stopped; a device may have changed its mind on the way. */
static bool still_acknowledged(MigrationState *s, GError **errp)
{
    if (wants_acks(s) && look_at_pending(s, false).ack_requests) {
        error_setg(errp, "A device asked for another acknowledgement of the destination during "
                         "the switchover");
        return false;
    }
    return true;
}

/* Could the guest be stopped now? *p: what is left. */
static bool may_stop(MigrationState *s, uint64_t budget, MigPendingData *p)
{
    *p = look_at_pending(s, true);
    stat_set(&s->m->counters.stopcopy_bytes, p->stopcopy);
    return fits(p, budget) && acknowledged(s);
}

bool switchover_due(MigrationState *s)
{
    uint64_t budget = switchover_budget(s);
    MigPendingData p = look_at_pending(s, false);

    if (!fits(&p, budget) && live_bytes(&p)) {
        return false;
    }
    if (!may_stop(s, budget, &p)) {
        if (!live_bytes(&p)) {
            /* Nothing to do but to look again later. */
            outgoing_wait_until(s, g_get_monotonic_time() + RATE_WINDOW_US);
        }
        return false;
    }
    if (worth_another_round(s, live_bytes(&p))) {
        return false;
    }
    /* The guest ran on meanwhile. Sending more before looking again would only fill the channel
     * again. */
    return !still_on_the_way(s) ||
           (may_stop(s, budget, &p) && !worth_another_round(s, live_bytes(&p)));
}

/* ---- stop ---- */

bool switchover_stop_guest(MigrationState *s, RunState state, GError **errp)
{
    if (s->host->ops->wakeup && s->host->ops->runstate(s->host) == RUN_STATE_SUSPENDED) {
        s->host->ops->wakeup(s->host);
    }
    s->state_before = s->host->ops->runstate(s->host);
    globalstate_store(&s->m->global_state, s->state_before);
    __atomic_store_n(&s->stop_us, g_get_monotonic_time(), __ATOMIC_RELAXED);
    s->stopped = true; /* even a failed stop may have stopped some of it */
    return s->host->ops->vm_stop(s->host, state, errp);
}

/* pause-before-switchover: wait for migrate-continue, the big lock released. */
static bool pause_here(MigrationState *s, GError **errp)
{
    if (!outgoing_set_status(s, MIGRATION_STATUS_ACTIVE, MIGRATION_STATUS_PRE_SWITCHOVER)) {
        return !migration_interrupted(s, errp);
    }
    bql_unlock();
    g_mutex_lock(&s->lock);
    while (!s->continued && !s->cancelled && !s->error) {
        g_cond_wait(&s->wake, &s->lock);
    }
    g_mutex_unlock(&s->lock);
    bql_lock();
    return !migration_interrupted(s, errp);
}

bool switchover_enter_device(MigrationState *s, GError **errp)
{
    MigrationStatus from = MIGRATION_STATUS_ACTIVE;

    if (options_cap(&s->m->options, MIGRATION_CAPABILITY_PAUSE_BEFORE_SWITCHOVER)) {
        if (!pause_here(s, errp)) {
            return false;
        }
        from = MIGRATION_STATUS_PRE_SWITCHOVER;
    }
    outgoing_set_status(s, from, MIGRATION_STATUS_DEVICE);
    return !migration_interrupted(s, errp);
}

/* ---- the rest ---- */

static void note_step(MigrationState *s, const char *step, int64_t *since)
{
    int64_t now = g_get_monotonic_time();

    recorder_switchover(s->m->source_record, step, qemu_file_transferred(s->file), now - *since);
    *since = now;
}

bool switchover_release_images(MigrationState *s, GError **errp)
{
    if (s->snapshot) {
        return true;
    }
    if (!s->host->ops->block_inactivate(s->host, errp)) {
        g_prefix_error(errp, "Releasing the disk images: ");
        return false;
    }
    s->images_released = true;
    return true;
}

/* Set one of the two unless it is too late; under one lock with note_cancel(). */
bool switchover_pass_point(MigrationState *s, bool *point, GError **errp)
{
    bool passed;

    g_mutex_lock(&s->lock);
    passed = *point = !s->cancelled && !s->error;
    g_mutex_unlock(&s->lock);
    return passed || !migration_interrupted(s, errp);
}

bool switchover_flush_rest(MigrationState *s, const char *what, GError **errp)
{
    if (qemu_fflush(s->file)) {
        return true;
    }
    qemu_file_check(s->file, errp);
    g_prefix_error(errp, "Sending %s (offset %" PRIu64 "): ", what, qemu_file_transferred(s->file));
    return false;
}

/* In two steps the offer is made later, by hand_over(). */
static bool send_end(MigrationState *s, GError **errp)
{
    if (!switchover_pass_point(s, &s->eof_sent, errp) ||
        (!s->two_step && !switchover_pass_point(s, &s->offered, errp))) {
        return false;
    }
    qemu_put_byte(s->file, STREAM_EOF);
    return switchover_flush_rest(s, "the end of the stream", errp);
}

bool switchover_send_rest(MigrationState *s, VMDescWriter *desc, GError **errp)
{
    SaveContext c = migration_save_context(s->m, s->file);
    int64_t since = g_get_monotonic_time();

    stats_set_rate_limit(s, 0);
    if (!savevm_complete_live(&c, errp)) {
        return false;
    }
    note_step(s, "live sections", &since);
    if (!savevm_complete_devices(&c, desc, errp) || !switchover_release_images(s, errp)) {
        return false;
    }
    note_step(s, "devices", &since);
    if (!send_end(s, errp)) {
        return false;
    }
    note_step(s, "flush", &since);
    return true;
}

static void put_description(QEMUFile *f, const VMDescWriter *desc)
{
    g_autoptr(GString) json = desc ? vmdesc_render(desc, TARGET_PAGE_SIZE) : NULL;

    if (json) {
        qemu_put_byte(f, STREAM_VMDESCRIPTION);
        qemu_put_be32(f, json->len);
        qemu_put_buffer(f, json->str, json->len);
    }
}

void switchover_put_end(QEMUFile *f, const VMDescWriter *desc)
{
    qemu_put_byte(f, STREAM_EOF);
    put_description(f, desc);
}

bool switchover_send_description(MigrationState *s, const VMDescWriter *desc)
{
    put_description(s->file, desc);
    return qemu_fflush(s->file);
}

bool switchover_store(MigrationState *s, const VMDescWriter *desc, GError **errp)
{
    if (!switchover_send_description(s, desc)) {
        return qemu_file_check(s->file, errp);
    }
    return io_channel_publish(qemu_file_channel(s->file), errp);
}

/* ---- whose guest ---- */

/*
 * The last message of any protocol may get lost. What that costs:
 *
 *   no return path        committed when the channel has taken EOF
 *   return path           ... when SHUT 0 has arrived; lost, the guest runs on both sides
 *   return path, Godwit   in two steps: nothing happens before LOADED has arrived; then PING COMMIT
 *                         is the last word. If neither an answer comes nor the write has failed,
 * the guest stays stopped here, and a person decides: never on both sides.
 */

/* How long a cancelled source still listens for the answer to its offer. */
#define CANCEL_PATIENCE_US (1 * G_TIME_SPAN_SECOND)
/* The destination may have to read what is still on its way before it confirms: megabytes in the
 * buffers of a slow line. The guest runs meanwhile. */
#define CONFIRM_PATIENCE_US (30 * G_TIME_SPAN_SECOND)

/* It may also be waiting for a channel to move, until it gives that up. */
static int64_t confirm_patience_us(const MigrationState *s)
{
    uint64_t patience_ms =
        s->multifd_to ? options_param(&s->m->options, PARAM_X_MULTIFD_PATIENCE) : 0;

    return CONFIRM_PATIENCE_US + 2 * patience_ms * G_TIME_SPAN_MILLISECOND;
}

/*
 * One step or two? Agreed on while the guest still runs. The destination confirms that it waits:
 * one that had not understood would take the guest at EOF, and a cancel must not be fooled.
 */
static bool choose_steps(MigrationState *s, GError **errp)
{
    int64_t end;

    outgoing_await_hello(s);
    if (!s->return_path || !(outgoing_peer_features(s) & PEER_COMMIT)) {
        return true;
    }
    outgoing_ping(s, STREAM_WAIT_FOR_COMMIT);
    end = g_get_monotonic_time() + confirm_patience_us(s);
    g_mutex_lock(&s->lock);
    while (!s->peer_waits && !s->peer_done && !s->cancelled && !s->error &&
           g_cond_wait_until(&s->wake, &s->lock, end)) {
    }
    s->two_step = s->peer_waits;
    g_mutex_unlock(&s->lock);
    if (!s->two_step && !migration_interrupted(s, errp)) {
        error_setg(
            errp,
            "At offset %" PRIu64
            ": The destination did not confirm that it waits for the guest to be given to it",
            qemu_file_transferred(s->file));
    }
    return s->two_step;
}

static bool await_loaded(MigrationState *s, GError **errp)
{
    g_mutex_lock(&s->lock);
    while (!s->peer_loaded && !s->peer_done && !s->cancelled && !s->error) {
        g_cond_wait(&s->wake, &s->lock);
    }
    g_mutex_unlock(&s->lock);
    return !migration_interrupted(s, errp);
}

/* NONE if a cancelled source has waited long enough. */
static ReturnPathVerdict await_verdict(MigrationState *s)
{
    ReturnPathVerdict verdict;
    int64_t end = 0;

    g_mutex_lock(&s->lock);
    while (!s->peer_done) {
        if (!s->cancelled) {
            g_cond_wait(&s->wake, &s->lock);
            continue;
        }
        end = end ? end : g_get_monotonic_time() + CANCEL_PATIENCE_US;
        if (!g_cond_wait_until(&s->wake, &s->lock, end)) {
            break;
        }
    }
    verdict = s->peer_verdict;
    g_mutex_unlock(&s->lock);
    return verdict;
}

/* Neither a cancel nor a broken line explains why the guest stands still now: this does. */
static void leave_in_doubt(MigrationState *s, GError **errp)
{
    s->in_doubt = true;
    g_mutex_lock(&s->lock);
    s->cancelled = false;
    g_clear_error(&s->error);
    g_mutex_unlock(&s->lock);
    error_setg(errp,
               "At offset %" PRIu64
               ": The line broke after the guest was given to the destination and before that was "
               "confirmed. It may run there, so it stays stopped here; 'cont' takes it back once "
               "you know that it does not",
               qemu_file_transferred(s->file));
}

void switchover_commit(MigrationState *s)
{
    int64_t now = g_get_monotonic_time();

    s->committed = true;
    stat_set(&s->downtime_us, now - s->stop_us);
    recorder_switchover(s->m->source_record, "guest handed over", qemu_file_transferred(s->file),
                        now - s->stop_us);
}

/* The stream is sent, up to EOF. True: the guest is the destination's. */
static bool hand_over(MigrationState *s, const VMDescWriter *desc, GError **errp)
{
    ReturnPathVerdict verdict;

    if (s->two_step) {
        if (!await_loaded(s, errp) || !switchover_pass_point(s, &s->offered, errp)) {
            return false;
        }
        outgoing_put_ping(s, STREAM_COMMIT);
        if (!switchover_flush_rest(s, "the commit", errp)) {
            return false; /* and so it did not arrive whole */
        }
    }
    switchover_send_description(s, desc);
    verdict = await_verdict(s);
    if (verdict == VERDICT_ACCEPTED) {
        switchover_commit(s);
        return true;
    }
    qemu_file_shutdown(s->file); /* an answer that comes now is too late */
    if (s->two_step && verdict == VERDICT_NONE) {
        leave_in_doubt(s, errp);
    } else if (!migration_interrupted(s, errp)) {
        error_setg(errp, "The destination did not take the guest");
    }
    return false;
}

bool switchover_run(MigrationState *s, GError **errp)
{
    bool suppressed = s->host->ops->suppress_vmdesc && s->host->ops->suppress_vmdesc(s->host);
    g_autoptr(VMDescWriter) desc = suppressed ? NULL : vmdesc_new();
    bool sent;

    qemu_fflush(s->file);
    if (!choose_steps(s, errp)) {
        return false;
    }
    bql_lock();
    sent = switchover_stop_guest(s, RUN_STATE_FINISH_MIGRATE, errp) &&
           still_acknowledged(s, errp) && switchover_enter_device(s, errp) &&
           switchover_send_rest(s, desc, errp);
    bql_unlock();
    if (!sent) {
        return false;
    }
    if (s->return_path) {
        return hand_over(s, desc, errp);
    }
    if (io_channel_has_feature(qemu_file_channel(s->file), IO_FEATURE_STORED)) {
        if (!switchover_store(s, desc, errp)) {
            return false;
        }
        switchover_commit(s);
        return true;
    }
    switchover_commit(s);
    switchover_send_description(s, desc);
    return true;
}

static void roll_back(MigrationState *s)
{
    GError *err = NULL;

    if (s->in_doubt) {
        s->host->ops->set_runstate(s->host, RUN_STATE_PAUSED); /* `cont` takes the images back */
    } else if (s->images_released && !s->host->ops->block_activate(s->host, &err)) {
        error_report("The guest stays paused, its disk images cannot be taken back: %s",
                     err->message);
        g_error_free(err);
        s->host->ops->set_runstate(s->host, RUN_STATE_PAUSED);
    } else if (s->state_before == RUN_STATE_RUNNING && !s->exiting) {
        s->host->ops->vm_start(s->host);
    } else {
        s->host->ops->set_runstate(s->host, s->state_before == RUN_STATE_RUNNING ? RUN_STATE_PAUSED
                                                                                 : s->state_before);
    }
}

void switchover_settle_guest(MigrationState *s)
{
    BQL_LOCK_GUARD();
    if (s->committed && s->background) {
        return; /* it has never left */
    }
    if (s->committed) {
        s->host->ops->set_runstate(s->host, RUN_STATE_POSTMIGRATE);
    } else if (s->stopped) {
        roll_back(s);
    }
}
