/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source's half of push-channels.h. */
#include "migration/channels.h"
#include "migration/outgoing.h"
#include "migration/wire/postcopy.h"
#include "migration/wire/ram.h"
#include "migration/wire/stream.h"

typedef enum {
    PUSH_OVER,    /* no thread begins any more */
    PUSH_ASKED,   /* for the destination's consent */
    PUSH_OPENING, /* main is to connect, or does */
    PUSH_OPEN,
} PushStage;

struct PushChannels {
    MigrationState *s;
    ChannelsOpening *opening; /* main thread */
    GSource *opener;          /* made by whoever schedules it; destroyed on the main thread */
    uint8_t line;
    unsigned n;       /* beside the main channel; neither changes while anything runs */
    unsigned running; /* atomic: threads begun */

    /* Under MigrationState.lock. */
    PushStage stage;
    bool ready[POSTCOPY_CHANNELS_MAX]; /* by number: the destination reads it */
    GPtrArray *senders;                /* of Sender, by number; from PUSH_OPEN on */
    uint64_t window;                   /* of the rate limit: bytes for each; 0: no limit */
};

typedef struct {
    MigrationState *s;
    unsigned number, of;
    QEMUFile *f;
    GThread *thread; /* NULL: not begun */
} Sender;

static unsigned wanted(const Migration *m)
{
    return options_param(&m->options, PARAM_X_POSTCOPY_CHANNELS) - 1;
}

bool push_channels_possible(const Migration *m, const MigrationTransport *t, GError **errp)
{
    if (wanted(m) && options_cap(&m->options, MIGRATION_CAPABILITY_POSTCOPY_RAM) &&
        !(transport_flags(t) & TRANSPORT_MULTI_CHANNEL)) {
        error_setg(errp, "'%s' can have one channel only: set 'x-postcopy-channels' to 1",
                   transport_name(t));
        return false;
    }
    return true;
}

static void sender_free(void *opaque)
{
    Sender *w = opaque;

    qemu_fclose(w->f, NULL);
    g_free(w);
}

/* ---- one channel ---- */

/* The bandwidth is used up: until the migration thread begins another window. */
static void await_window(Sender *w)
{
    MigrationState *s = w->s;

    qemu_fflush(w->f);
    g_mutex_lock(&s->lock);
    while (qemu_file_ok(w->f) && postcopy_push_left(s->postcopy.push) &&
           qemu_file_rate_exceeded(w->f)) {
        g_cond_wait(&s->wake, &s->lock);
    }
    g_mutex_unlock(&s->lock);
}

static bool send_all(Sender *w, PostcopyWalk *walk, GError **errp)
{
    MigrationState *s = w->s;
    bool sent = true;

    while (sent) {
        uint64_t before = qemu_file_transferred(w->f);

        if (qemu_file_rate_exceeded(w->f)) {
            await_window(w);
        }
        if (!qemu_file_check(w->f, errp) ||
            !postcopy_walk_on(walk, w->f, postcopy_walk_step(w->f), &sent, errp)) {
            return false;
        }
        stat_add(&s->retired_bytes, qemu_file_transferred(w->f) - before);
    }
    qemu_put_be64(w->f, RAM_FLAG_EOS);
    qemu_fflush(w->f);
    return qemu_file_check(w->f, errp);
}

static gpointer sender_thread(gpointer opaque)
{
    Sender *w = opaque;
    MigrationState *s = w->s;
    PostcopyWalk *walk = postcopy_walk_new(s->postcopy.push, w->number + 1, w->of + 1);
    GError *err = NULL;

    if (!send_all(w, walk, &err)) {
        g_prefix_error(&err, "Channel %u for pushed pages: ", w->number);
        migration_fail(s, err);
        qemu_file_shutdown(s->file); /* the migration thread may be waiting in it */
    }
    postcopy_walk_free(walk);
    return NULL;
}

/* ---- opening; main thread ---- */

static bool say_who(QIOChannel *ioc, unsigned index, void *opaque, GError **errp)
{
    const PushChannels *pc = opaque;
    PostcopyChannel who = {.number = index, .line = pc->line};
    uint8_t bytes[POSTCOPY_CHANNEL_BYTES];

    postcopy_encode_channel(&who, bytes);
    return io_channel_write_all(ioc, bytes, sizeof(bytes), errp);
}

static void add_sender(PushChannels *pc, QIOChannel *ioc, unsigned number)
{
    Sender *w = g_new0(Sender, 1);

    w->s = pc->s;
    w->number = number;
    w->of = pc->n;
    w->f = qemu_file_new_output(ioc);
    qemu_file_set_bite(w->f, POSTCOPY_BITE_BYTES);
    /* The rest of the window is the main channel's alone so far. */
    qemu_file_set_rate_limit(w->f, pc->window ? MAX(pc->window / (1 + pc->n), 1) : 0);
    g_ptr_array_add(pc->senders, w);
}

/* Begin on number @number if it is open, here and over there. Under MigrationState.lock. */
static void start_sender(PushChannels *pc, unsigned number)
{
    g_autoptr(GError) err = NULL;
    Sender *w;

    if (pc->stage != PUSH_OPEN || !pc->ready[number]) {
        return;
    }
    w = g_ptr_array_index(pc->senders, number);
    if (w->thread) {
        return; /* the destination repeats itself */
    }
    w->thread = g_thread_try_new("push", sender_thread, w, &err);
    if (w->thread) {
        __atomic_fetch_add(&pc->running, 1, __ATOMIC_RELAXED);
    } else {
        /* One less is no failure: others do its work. */
        warn_report("Channel %u for pushed pages: %s", number, err->message);
    }
}

/* Takes @err. What fails because the line has ended is no news. */
static void go_without(PushChannels *pc, GError *err)
{
    bool news;

    g_mutex_lock(&pc->s->lock);
    news = pc->stage == PUSH_OPENING;
    g_mutex_unlock(&pc->s->lock);
    if (!news) {
        g_error_free(err);
        return;
    }
    g_prefix_error(&err, "No more channels for pushed pages: ");
    warn_report("%s", err->message);
    recorder_error(pc->s->m->source_record, err->message);
    g_error_free(err);
}

static void opened(GPtrArray *channels, GError *err, void *opaque)
{
    PushChannels *pc = opaque;
    MigrationState *s = pc->s;

    pc->opening = NULL;
    if (err) {
        go_without(pc, err);
        return;
    }
    g_mutex_lock(&s->lock);
    if (pc->stage == PUSH_OPENING) { /* the line has not ended meanwhile */
        for (unsigned i = 0; i < channels->len; i++) {
            add_sender(pc, g_ptr_array_index(channels, i), i);
        }
        pc->stage = PUSH_OPEN;
        for (unsigned i = 0; i < channels->len; i++) {
            start_sender(pc, i);
        }
    }
    g_mutex_unlock(&s->lock);
    g_ptr_array_unref(channels);
}

static gboolean open_now(gpointer opaque)
{
    MigrationState *s = opaque;
    g_autoptr(GPtrArray) to = g_ptr_array_new();
    GError *err = NULL;
    PushChannels *pc;
    bool late;

    g_mutex_lock(&s->lock);
    pc = s->postcopy.channels; /* made by the migration thread, closed here */
    late = pc->stage != PUSH_OPENING;
    g_mutex_unlock(&s->lock);
    if (late) {
        return G_SOURCE_REMOVE;
    }
    g_ptr_array_add(to, s->transport);
    pc->opening = channels_open(to, s->host, pc->n, say_who, opened, pc, &err);
    if (!pc->opening) {
        go_without(pc, err);
    }
    return G_SOURCE_REMOVE;
}

/* Under MigrationState.lock. */
static void schedule_opening(PushChannels *pc)
{
    pc->stage = PUSH_OPENING;
    pc->opener = g_idle_source_new();
    g_source_set_priority(pc->opener, G_PRIORITY_DEFAULT);
    g_source_set_callback(pc->opener, open_now, pc->s, NULL);
    g_source_attach(pc->opener, NULL);
}

void push_channels_pong(MigrationState *s, uint32_t cookie)
{
    PushChannels *pc;

    g_mutex_lock(&s->lock);
    pc = s->postcopy.channels;
    if (pc && pc->stage == PUSH_ASKED && cookie == STREAM_PUSH_ANNOUNCE(pc->line, pc->n)) {
        schedule_opening(pc);
    } else if (pc && cookie - STREAM_PUSH_READY < pc->n) {
        pc->ready[cookie - STREAM_PUSH_READY] = true;
        start_sender(pc, cookie - STREAM_PUSH_READY);
    }
    g_mutex_unlock(&s->lock);
}

/* ---- a line; migration thread ---- */

void push_channels_begin(MigrationState *s)
{
    PushChannels *pc;
    unsigned n = wanted(s->m);

    if (!n || !(outgoing_peer_features(s) & PEER_PUSH_CHANNELS) || !s->transport ||
        !(transport_flags(s->transport) & TRANSPORT_MULTI_CHANNEL)) {
        return;
    }
    pc = g_new0(PushChannels, 1);
    pc->s = s;
    pc->n = n;
    pc->line = s->postcopy.lines++;
    pc->stage = PUSH_ASKED;
    pc->window = qemu_file_rate_limit(s->file);
    pc->senders = g_ptr_array_new_with_free_func(sender_free);
    g_mutex_lock(&s->lock);
    s->postcopy.channels = pc; /* that of the last line was closed */
    g_mutex_unlock(&s->lock);
    outgoing_ping(s, STREAM_PUSH_ANNOUNCE(pc->line, n));
}

unsigned push_channels_running(const MigrationState *s)
{
    const PushChannels *pc = s->postcopy.channels;

    return pc ? __atomic_load_n(&pc->running, __ATOMIC_RELAXED) : 0;
}

void push_channels_begin_window(MigrationState *s, uint64_t bytes, double windows)
{
    PushChannels *pc = s->postcopy.channels;

    if (!pc) {
        return;
    }
    g_mutex_lock(&s->lock);
    pc->window = bytes;
    for (unsigned i = 0; i < pc->senders->len; i++) {
        Sender *w = g_ptr_array_index(pc->senders, i);

        qemu_file_set_rate_limit(w->f, bytes);
        qemu_file_rate_next(w->f, windows);
    }
    g_cond_broadcast(&s->wake);
    g_mutex_unlock(&s->lock);
}

bool push_channels_end(MigrationState *s, bool cut, GError **errp)
{
    PushChannels *pc = s->postcopy.channels;

    if (!pc) {
        return true;
    }
    g_mutex_lock(&s->lock);
    pc->stage = PUSH_OVER; /* what has not begun never will */
    g_cond_broadcast(&s->wake);
    g_mutex_unlock(&s->lock);
    if (cut) {
        push_channels_cut(s);
    }
    for (unsigned i = 0; i < pc->senders->len; i++) {
        Sender *w = g_ptr_array_index(pc->senders, i);

        if (w->thread) {
            g_thread_join(g_steal_pointer(&w->thread));
        }
    }
    return cut || !migration_interrupted(s, errp);
}

void push_channels_cut(MigrationState *s)
{
    PushChannels *pc;

    g_mutex_lock(&s->lock);
    pc = s->postcopy.channels;
    for (unsigned i = 0; pc && i < pc->senders->len; i++) {
        qemu_file_shutdown(((Sender *)g_ptr_array_index(pc->senders, i))->f);
    }
    g_cond_broadcast(&s->wake);
    g_mutex_unlock(&s->lock);
}

void push_channels_close(MigrationState *s)
{
    PushChannels *pc;

    g_mutex_lock(&s->lock);
    pc = g_steal_pointer(&s->postcopy.channels);
    g_mutex_unlock(&s->lock);
    if (pc) {
        if (pc->opener) {
            g_source_destroy(pc->opener);
            g_source_unref(pc->opener);
        }
        channels_open_cancel(pc->opening);
        g_ptr_array_unref(pc->senders);
        g_free(pc);
    }
}
