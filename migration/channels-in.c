/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The destination's half of channels.h.
 *
 * Channels that come before main are kept until it is there. A source whose channel was refused
 * learns the reason when its main channel arrives, so the reason is remembered for that long; a
 * stranger's is not, it never speaks our protocol.
 */
#include "migration/channels.h"
#include "migration/wire/stream.h"
#include "util/log.h"

LOG_CATEGORY(channels)

/* More peers in vetting than this beside those that belong: the oldest has to go. */
#define VETTING_SPARE 64

/* A connection that claims to be a multifd channel and has not shown it yet. */
typedef struct {
    IncomingChannels *ic;
    TransportListener *listener;
    QIOChannel *ioc;
    GSource *readable, *timer;
    unsigned got;
    uint8_t init[MULTIFD_INIT_SIZE];
} Candidate;

struct IncomingChannels {
    IncomingChannelsConfig config;
    const IncomingChannelsOps *ops;
    void *opaque;
    GPtrArray *vetting; /* Candidate, oldest first */
    QIOChannel **early; /* by number: came before main */
    bool *there;        /* by number */
    unsigned missing;   /* how many are not there */
    bool main_there;
    bool failed;
    GSource *timer;  /* until the set is complete */
    GError *refusal; /* why a channel of a source not seen yet was turned away */
};

static void clear_source(GSource **s)
{
    if (*s) {
        g_source_destroy(*s);
        g_clear_pointer(s, g_source_unref);
    }
}

static void start_timer(GSource **timer, unsigned ms, GSourceFunc fn, void *opaque)
{
    clear_source(timer);
    *timer = g_timeout_source_new(ms);
    g_source_set_callback(*timer, fn, opaque, NULL);
    g_source_attach(*timer, NULL);
}

static void close_channel(QIOChannel *ioc)
{
    io_channel_shutdown(ioc, IO_SHUTDOWN_BOTH);
    io_channel_close(ioc, NULL);
    g_object_unref(ioc);
}

static void candidate_free(void *opaque)
{
    Candidate *c = opaque;

    clear_source(&c->readable);
    clear_source(&c->timer);
    if (c->ioc) {
        close_channel(c->ioc);
    }
    g_free(c);
}

bool incoming_channels_complete(const IncomingChannels *ic)
{
    return ic->main_there && ic->missing == 0;
}

/* ---- failure ---- */

static void drop_early(IncomingChannels *ic)
{
    for (unsigned i = 0; i < ic->config.multifd; i++) {
        if (ic->early[i]) {
            close_channel(g_steal_pointer(&ic->early[i]));
            ic->there[i] = false;
            ic->missing++;
        }
    }
}

/* Takes @err. */
static void fail(IncomingChannels *ic, GError *err)
{
    ic->failed = true;
    clear_source(&ic->timer);
    ic->ops->failed(err, ic->opaque);
}

static gboolean set_timed_out(void *opaque)
{
    IncomingChannels *ic = opaque;
    unsigned n = ic->config.multifd;
    GError *err = NULL;

    clear_source(&ic->timer);
    if (ic->main_there) {
        error_setg(&err,
                   "Only %u of %u multifd channels connected, and no other within %u ms: does the "
                   "source have 'multifd' on and 'multifd-channels' at %u?",
                   n - ic->missing, n, ic->config.timeout_ms, n);
        fail(ic, err);
    } else {
        /* A source that broke off, or its refused rest. The next one starts afresh. */
        trace(channels, "no main channel in time: forgetting %u channels", n - ic->missing);
        drop_early(ic);
        g_clear_error(&ic->refusal);
    }
    return G_SOURCE_REMOVE;
}

/* Something of the set has arrived: how long may the rest take? */
static void progress(IncomingChannels *ic)
{
    if (incoming_channels_complete(ic) || ic->failed) {
        clear_source(&ic->timer);
    } else {
        start_timer(&ic->timer, ic->config.timeout_ms, set_timed_out, ic);
    }
}

/* A peer that speaks multifd, but not ours. Takes @err and @ioc. */
static void refuse(IncomingChannels *ic, TransportListener *l, QIOChannel *ioc, GError *err)
{
    g_autofree char *reason = g_strdup(err->message);

    /* First the failure, then the closing: what the source makes of that must not come first. */
    if (ic->main_there) {
        fail(ic, err);
    } else {
        g_clear_error(&ic->refusal);
        ic->refusal = err;
        progress(ic);
    }
    transport_listener_reject(l, ioc, reason);
}

/* ---- multifd ---- */

static bool has_left(QIOChannel *ioc)
{
    uint8_t byte;
    bool left = false;

    if (io_channel_set_blocking(ioc, false, NULL)) {
        ssize_t n = io_channel_peek(ioc, &byte, sizeof(byte), NULL);

        left = n == 0 || n == IO_CHANNEL_ERR;
    }
    return left || !io_channel_set_blocking(ioc, true, NULL);
}

/* May the channel of @init join? A number taken by a peer that has gone meanwhile is free again. */
static bool fits(IncomingChannels *ic, const MultifdInit *init, GError **errp)
{
    unsigned id = init->id;

    if (memcmp(init->uuid, ic->config.uuid, MULTIFD_UUID_SIZE) != 0) {
        error_setg(errp,
                   "multifd: the source is another VM: channel %u has a uuid that is not ours", id);
        return false;
    }
    if (id >= ic->config.multifd) {
        error_setg(errp,
                   "multifd: received channel id %u, but 'multifd-channels' is %u here: set the "
                   "same number on both sides",
                   id, ic->config.multifd);
        return false;
    }
    if (ic->there[id] && ic->early[id] &&
        io_channel_has_feature(ic->early[id], IO_FEATURE_READ_PEEK) && has_left(ic->early[id])) {
        close_channel(g_steal_pointer(&ic->early[id]));
        ic->there[id] = false;
        ic->missing++;
    }
    if (ic->there[id]) {
        error_setg(errp, "multifd: received id '%u' already setup", id);
        return false;
    }
    return true;
}

/* Takes @ioc. */
static void join(IncomingChannels *ic, unsigned id, QIOChannel *ioc)
{
    trace(channels, "multifd channel %u is %s", id, io_channel_name(ioc));
    io_channel_set_delay(ioc, false);
    ic->there[id] = true;
    ic->missing--;
    progress(ic);
    if (ic->main_there) {
        ic->ops->multifd(id, ioc, ic->opaque);
    } else {
        ic->early[id] = ioc;
    }
}

/* The init packet of @c is complete; @c is gone afterwards. */
static void judge(Candidate *c)
{
    IncomingChannels *ic = c->ic;
    TransportListener *l = c->listener;
    QIOChannel *ioc = g_steal_pointer(&c->ioc);
    MultifdInit init;
    GError *err = NULL;
    bool spoke = multifd_decode_init(c->init, &init, &err);

    g_ptr_array_remove(ic->vetting, c);
    if (!spoke) {
        transport_listener_reject(l, ioc, err->message);
        g_error_free(err);
    } else if (!fits(ic, &init, &err)) {
        refuse(ic, l, ioc, err);
    } else if (!io_channel_set_blocking(ioc, true, &err)) {
        refuse(ic, l, ioc, err);
    } else {
        join(ic, init.id, ioc);
    }
}

static void dismiss(Candidate *c, const char *why)
{
    QIOChannel *ioc = g_steal_pointer(&c->ioc);
    TransportListener *l = c->listener;

    g_ptr_array_remove(c->ic->vetting, c);
    transport_listener_reject(l, ioc, why);
}

static gboolean candidate_timed_out(void *opaque)
{
    dismiss(opaque, "its init packet did not come in time");
    return G_SOURCE_REMOVE;
}

static void read_init(Candidate *c);

static gboolean candidate_readable(QIOChannel *ioc, GIOCondition cond, void *opaque)
{
    read_init(opaque);
    return G_SOURCE_REMOVE;
}

/* @c may be gone afterwards. */
static void read_init(Candidate *c)
{
    ssize_t n = IO_CHANNEL_WOULD_BLOCK;

    clear_source(&c->readable);
    while (c->got < MULTIFD_INIT_SIZE) {
        n = io_channel_read(c->ioc, c->init + c->got, MULTIFD_INIT_SIZE - c->got, NULL);
        if (n <= 0) {
            break;
        }
        c->got += n;
    }
    if (c->got == MULTIFD_INIT_SIZE) {
        judge(c);
    } else if (n == IO_CHANNEL_WOULD_BLOCK) {
        c->readable = io_channel_create_watch(c->ioc, G_IO_IN);
        g_source_set_callback(c->readable, (GSourceFunc)(void (*)(void))candidate_readable, c,
                              NULL);
        g_source_attach(c->readable, NULL);
    } else {
        dismiss(c, "it left within its init packet");
    }
}

/* Takes @ioc. */
static void vet(IncomingChannels *ic, TransportListener *l, QIOChannel *ioc)
{
    Candidate *c;

    if (!io_channel_set_blocking(ioc, false, NULL)) {
        close_channel(ioc);
        return;
    }
    if (ic->vetting->len == ic->config.multifd + VETTING_SPARE) {
        dismiss(g_ptr_array_index(ic->vetting, 0), "it made room for others");
    }
    c = g_new0(Candidate, 1);
    c->ic = ic;
    c->listener = l;
    c->ioc = ioc;
    g_ptr_array_add(ic->vetting, c);
    start_timer(&c->timer, ic->config.timeout_ms, candidate_timed_out, c);
    read_init(c);
}

/* ---- main and everybody ---- */

static void take_main(IncomingChannels *ic, QIOChannel *ioc)
{
    ic->main_there = true;
    progress(ic);
    ic->ops->main(ioc, ic->opaque);
    if (ic->refusal) {
        fail(ic, g_steal_pointer(&ic->refusal));
    }
    for (unsigned i = 0; i < ic->config.multifd && !ic->failed; i++) {
        if (ic->early[i]) {
            ic->ops->multifd(i, g_steal_pointer(&ic->early[i]), ic->opaque);
        }
    }
}

static void take_extra(IncomingChannels *ic, QIOChannel *ioc, uint32_t magic)
{
    if (ic->ops->extra && incoming_channels_complete(ic) && !ic->failed) {
        ic->ops->extra(ioc, magic, ic->opaque);
    } else {
        warn_report("Extra incoming migration connection; ignoring");
        close_channel(ioc);
    }
}

static void take_stranger(IncomingChannels *ic, TransportListener *l, QIOChannel *ioc)
{
    /* Whoever this is, it is not a migration: wait for the one that is, if the transport can. */
    if (!transport_listener_reject(l, ioc, "Not a migration stream")) {
        GError *err = NULL;

        error_setg(&err, "Not a migration stream");
        fail(ic, err);
    }
}

void incoming_channels_accept(IncomingChannels *ic, TransportListener *l, QIOChannel *ioc,
                              uint32_t magic)
{
    /* A channel whose first bytes cannot be seen: the main one comes first. */
    bool blind = magic == 0;

    if (magic == MULTIFD_MAGIC && !ic->config.multifd && !ic->failed) {
        /* Not to be overlooked, even late: all memory travels on channels like this one. */
        GError *err = NULL;

        error_setg(&err, "The source uses multifd: turn the capability 'multifd' on here too");
        refuse(ic, l, ioc, err);
    } else if (magic == MULTIFD_MAGIC && !ic->failed) {
        /* Also when all are there: one too many is a source set up differently, and must hear it.
         */
        vet(ic, l, ioc);
    } else if (ic->failed || incoming_channels_complete(ic)) {
        take_extra(ic, ioc, magic);
    } else if (!ic->main_there && (blind || magic == STREAM_MAGIC)) {
        take_main(ic, ioc);
    } else if (ic->config.multifd && blind) {
        vet(ic, l, ioc);
    } else if (magic == STREAM_MAGIC) {
        take_extra(ic, ioc, magic);
    } else {
        take_stranger(ic, l, ioc);
    }
}

IncomingChannels *incoming_channels_new(const IncomingChannelsConfig *config,
                                        const IncomingChannelsOps *ops, void *opaque)
{
    IncomingChannels *ic = g_new0(IncomingChannels, 1);

    ic->config = *config;
    ic->ops = ops;
    ic->opaque = opaque;
    ic->vetting = g_ptr_array_new_with_free_func(candidate_free);
    ic->early = g_new0(QIOChannel *, config->multifd);
    ic->there = g_new0(bool, config->multifd);
    ic->missing = config->multifd;
    return ic;
}

void incoming_channels_free(IncomingChannels *ic)
{
    if (!ic) {
        return;
    }
    g_ptr_array_unref(ic->vetting);
    drop_early(ic);
    clear_source(&ic->timer);
    g_clear_error(&ic->refusal);
    g_free(ic->early);
    g_free(ic->there);
    g_free(ic);
}
