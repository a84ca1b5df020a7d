/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the destination's channels and its main channel wait for each other, and what becomes of
 * those that break: a marker stands for all that are at their SYNC and all that will never be.
 */
#include "migration/multifd/recv.h"

/* So often within config.patience_ms who waits looks whether anything comes. */
#define PATIENCE_LOOKS 8

/* ---- markers ---- */

bool multifd_recv_await_marker(MultifdRecvChannel *c)
{
    MultifdRecv *r = c->r;
    bool go_on;

    g_mutex_lock(&r->lock);
    c->syncs++;
    g_cond_signal(&r->arrived);
    while (r->markers < c->syncs && !r->cut && !r->retired) {
        g_cond_wait(&r->released, &r->lock);
    }
    go_on = !r->cut;
    g_mutex_unlock(&r->lock);
    return go_on;
}

/* Does the marker concern the channels? With the lock held. */
static bool is_marker(MultifdRecv *r, bool flush, GError **errp)
{
    if (!r->mode_known) {
        /* The first section: a record of its own comes before the section's end. */
        r->mode_known = true;
        r->per_pass = flush;
    }
    if (flush && !r->per_pass) {
        error_setg(errp, "A multifd flush record, although sections have been markers so far");
        return false;
    }
    return flush == r->per_pass;
}

/* With the lock held: is every channel at SYNC @number, or past all hope? */
static bool all_arrived(MultifdRecv *r, uint64_t number, GError **errp)
{
    for (unsigned i = 0; i < r->config.channels; i++) {
        const MultifdRecvChannel *c = r->channels[i];
        bool missing = c && c->syncs < number && c->ended;

        if (missing && r->may_break && r->lost < r->config.channels) {
            continue;
        }
        if (missing) {
            error_setg(errp,
                       "multifd channel %u (%s) ended at offset %" PRIu64
                       " before its SYNC packet %" PRIu64 "%s%s",
                       i, io_channel_name(c->ioc), stat_get(&c->bytes), number,
                       c->error ? ": " : "", c->error ? c->error->message : "");
            return true;
        }
        if (!c || c->syncs < number) {
            return false;
        }
    }
    return true;
}

/* With the lock held: cut the channels that are silent although others wait at SYNC @number. */
static void give_up_silent(MultifdRecv *r, uint64_t number)
{
    int64_t now = g_get_monotonic_time();
    int64_t patience = r->config.patience_ms * G_TIME_SPAN_MILLISECOND;
    bool others_wait = false;

    for (unsigned i = 0; i < r->config.channels; i++) {
        const MultifdRecvChannel *c = r->channels[i];

        others_wait |= c && c->syncs >= number && !c->lost;
    }
    for (unsigned i = 0; i < r->config.channels && others_wait; i++) {
        MultifdRecvChannel *c = r->channels[i];
        uint64_t bytes = c ? stat_get(&c->bytes) : 0;

        if (!c || c->syncs >= number || c->lost) {
            continue;
        }
        if (!c->seen_us || bytes != c->seen_bytes) {
            c->seen_bytes = bytes;
            c->seen_us = now;
        } else if (now - c->seen_us > patience) {
            c->silent = true;
            io_channel_shutdown(c->ioc, IO_SHUTDOWN_BOTH);
        }
    }
}

/* What we came too late to look (a busy machine, one that slept) is nobody's silence. */
static void forgive(MultifdRecv *r, int64_t late_us)
{
    for (unsigned i = 0; i < r->config.channels; i++) {
        MultifdRecvChannel *c = r->channels[i];

        if (c && c->seen_us) {
            c->seen_us += late_us;
        }
    }
}

/* With the lock held: sleep until something is different. */
static void wait_for_channels(MultifdRecv *r, uint64_t number)
{
    int64_t look =
        g_get_monotonic_time() + r->config.patience_ms * G_TIME_SPAN_MILLISECOND / PATIENCE_LOOKS;

    if (!r->may_break) {
        g_cond_wait(&r->arrived, &r->lock);
    } else if (!g_cond_wait_until(&r->arrived, &r->lock, look)) {
        forgive(r, g_get_monotonic_time() - look);
        give_up_silent(r, number);
    }
}

static bool await_channels(MultifdRecv *r, GError **errp)
{
    GError *err = NULL;
    uint64_t number = r->markers + 1;

    for (unsigned i = 0; i < r->config.channels; i++) {
        if (r->channels[i]) {
            r->channels[i]->seen_us = 0;
        }
    }
    while (!r->cut && !all_arrived(r, number, &err)) {
        wait_for_channels(r, number);
    }
    if (!err && r->error) {
        err = g_error_copy(r->error);
    } else if (!err && r->cut) {
        error_setg(&err, "The multifd channels were shut down");
    }
    if (err) {
        g_propagate_error(errp, err);
        return false;
    }
    r->markers = number;
    g_cond_broadcast(&r->released);
    return true;
}

bool multifd_recv_marker(MultifdRecv *r, bool flush, GError **errp)
{
    GError *err = NULL;
    bool ok;

    g_mutex_lock(&r->lock);
    ok = is_marker(r, flush, &err) ? await_channels(r, &err) : !err;
    g_mutex_unlock(&r->lock);
    if (err) {
        g_propagate_error(errp, err);
    }
    return ok;
}

/* ---- lost channels ---- */

static void tell_lost(MultifdRecvChannel *c)
{
    MultifdRecv *r = c->r;
    GError *err = c->error ? g_error_copy(c->error) : NULL;

    if (!err) {
        error_setg(&err, "The other side closed it");
    }
    g_prefix_error(&err, "multifd channel %u (%s) at offset %" PRIu64 ": %s", c->id,
                   io_channel_name(c->ioc), stat_get(&c->bytes),
                   c->silent ? "Others had to wait too long for it ('x-multifd-patience'): " : "");
    r->config.lost(c->id, err, r->config.opaque);
    g_error_free(err);
}

void multifd_recv_may_break(MultifdRecv *r)
{
    g_autoptr(GPtrArray) lost = g_ptr_array_new();

    g_mutex_lock(&r->lock);
    r->may_break = true;
    for (unsigned i = 0; i < r->config.channels; i++) {
        if (r->channels[i] && r->channels[i]->lost) {
            g_ptr_array_add(lost, r->channels[i]);
        }
    }
    g_mutex_unlock(&r->lock);
    g_ptr_array_foreach(lost, (GFunc)(void (*)(void))tell_lost, NULL);
}

bool multifd_recv_given_up(MultifdRecv *r, uint64_t number, GError **errp)
{
    bool ok = false;

    g_mutex_lock(&r->lock);
    if (r->may_break && number < r->config.channels && r->channels[number]) {
        r->channels[number]->given_up = ok = true;
        io_channel_shutdown(r->channels[number]->ioc, IO_SHUTDOWN_BOTH);
    }
    g_mutex_unlock(&r->lock);
    if (!ok) {
        error_setg(errp, "The source has lost multifd channel %" PRIu64 ", which is none of %u",
                   number, r->config.channels);
    }
    return ok;
}

bool multifd_recv_lose(MultifdRecvChannel *c, GError *err)
{
    MultifdRecv *r = c->r;
    bool fine, tell;

    g_mutex_lock(&r->lock);
    /* Whether channels may break is known with the first marker. */
    fine =
        !r->cut && (!err || !r->mode_known || (r->may_break && r->lost + 1 < r->config.channels));
    tell = fine && r->may_break && !c->given_up;
    if (fine) {
        c->error = err;
        c->lost = true;
        r->lost++;
        c->ended = !tell;
    }
    g_cond_signal(&r->arrived);
    g_mutex_unlock(&r->lock);
    if (tell) {
        tell_lost(c);
        g_mutex_lock(&r->lock);
        c->ended = true;
        g_cond_signal(&r->arrived);
        g_mutex_unlock(&r->lock);
    }
    return fine || !err;
}
