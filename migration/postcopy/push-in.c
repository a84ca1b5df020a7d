/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The destination's half of push-channels.h. */
#include "migration/postcopy/push-channels.h"
#include "migration/wire/postcopy.h"

/* So many strangers may claim to be one of ours beside those that are. */
#define STRANGERS_MAX 16

struct PushReceivers {
    PostcopyDestination *d;
    const PushReceiversOps *ops;
    void *opaque;

    GMutex lock;       /* protects the rest */
    unsigned expected; /* 0: nobody, and whoever reads is being stopped */
    uint8_t line;
    bool there[POSTCOPY_CHANNELS_MAX]; /* by number */
    unsigned reading;                  /* threads that still do */
    GPtrArray *receivers;
};

typedef struct {
    PushReceivers *owner;
    QEMUFile *f;
    PostcopyLoader *loader;
    GThread *thread;
} Receiver;

static void receiver_free(void *opaque)
{
    Receiver *r = opaque;

    postcopy_loader_free(r->loader);
    qemu_fclose(r->f, NULL);
    g_free(r);
}

/* ---- reading ---- */

static bool take_place(PushReceivers *o, const PostcopyChannel *c, GError **errp)
{
    bool ok;

    g_mutex_lock(&o->lock);
    ok = c->line == o->line && c->number < o->expected && !o->there[c->number];
    if (ok) {
        o->there[c->number] = true;
        o->reading++;
    }
    g_mutex_unlock(&o->lock);
    if (!ok) {
        error_setg(errp, "There is no place for number %u of line %u", c->number, c->line);
    }
    return ok;
}

static bool is_expecting(PushReceivers *o)
{
    bool expecting;

    g_mutex_lock(&o->lock);
    expecting = o->expected;
    g_mutex_unlock(&o->lock);
    return expecting;
}

/* Who is it? Nothing is touched before that is clear. */
static bool introduce(Receiver *r, PostcopyChannel *c, GError **errp)
{
    uint8_t bytes[POSTCOPY_CHANNEL_BYTES];

    if (!qemu_get_buffer(r->f, bytes, sizeof(bytes))) {
        return qemu_file_check(r->f, errp);
    }
    return postcopy_decode_channel(bytes, c, errp) && take_place(r->owner, c, errp);
}

static gpointer receiver_thread(gpointer opaque)
{
    Receiver *r = opaque;
    PushReceivers *o = r->owner;
    GError *err = NULL;
    PostcopyChannel c;
    bool stopped;

    if (!introduce(r, &c, &err)) {
        if (is_expecting(o)) { /* otherwise it was us who ended this */
            warn_report("Extra incoming migration connection; ignoring: %s", err->message);
        }
        g_error_free(err);
        qemu_file_shutdown(r->f);
        return NULL;
    }
    if (!o->ops->ready(c.number, o->opaque, &err) || !postcopy_loader_run(r->loader, r->f, &err)) {
        g_prefix_error(&err, "On channel %u for pushed pages: ", c.number);
    }
    g_mutex_lock(&o->lock);
    stopped = !o->expected;
    o->reading--;
    g_mutex_unlock(&o->lock);
    if (stopped) {
        g_clear_error(&err); /* our doing */
    }
    o->ops->ended(err, o->opaque);
    return NULL;
}

/* ---- who may come ---- */

PushReceivers *push_receivers_new(PostcopyDestination *d, const PushReceiversOps *ops, void *opaque)
{
    PushReceivers *o = g_new0(PushReceivers, 1);

    o->d = d;
    o->ops = ops;
    o->opaque = opaque;
    o->receivers = g_ptr_array_new_with_free_func(receiver_free);
    g_mutex_init(&o->lock);
    return o;
}

void push_receivers_free(PushReceivers *o)
{
    if (o) {
        g_ptr_array_unref(o->receivers);
        g_mutex_clear(&o->lock);
        g_free(o);
    }
}

bool push_receivers_expect(PushReceivers *o, uint8_t line, unsigned n, GError **errp)
{
    bool ok;

    g_mutex_lock(&o->lock);
    ok = n && n < POSTCOPY_CHANNELS_MAX && !o->expected;
    if (ok) {
        o->expected = n;
        o->line = line;
        memset(o->there, 0, sizeof(o->there));
    }
    g_mutex_unlock(&o->lock);
    if (!ok) {
        error_setg(errp, "The source announces %u channels for pushed pages out of turn", n);
    }
    return ok;
}

/* With the lock held. */
static bool start_receiver(PushReceivers *o, QIOChannel *ioc, GError **errp)
{
    Receiver *r = g_new0(Receiver, 1);

    io_channel_set_blocking(ioc, true, NULL);
    r->owner = o;
    r->f = qemu_file_new_input(ioc);
    r->loader = postcopy_destination_new_loader(o->d, true, errp);
    r->thread = r->loader ? g_thread_try_new("push", receiver_thread, r, errp) : NULL;
    if (!r->thread) {
        receiver_free(r);
        return false;
    }
    g_ptr_array_add(o->receivers, r);
    return true;
}

bool push_receivers_add(PushReceivers *o, QIOChannel *ioc, GError **errp)
{
    bool ok = false;

    g_mutex_lock(&o->lock);
    if (o->expected && o->receivers->len < o->expected + STRANGERS_MAX) {
        ok = start_receiver(o, ioc, errp);
    } else {
        error_setg(errp, "No channel for pushed pages is expected");
    }
    g_mutex_unlock(&o->lock);
    return ok;
}

bool push_receivers_pending(PushReceivers *o)
{
    bool pending;

    g_mutex_lock(&o->lock);
    pending = o->reading;
    g_mutex_unlock(&o->lock);
    return pending;
}

void push_receivers_stop(PushReceivers *o)
{
    g_autoptr(GPtrArray) receivers = g_ptr_array_new_with_free_func(receiver_free);

    g_mutex_lock(&o->lock);
    o->expected = 0;
    g_ptr_array_extend_and_steal(receivers, g_steal_pointer(&o->receivers));
    o->receivers = g_ptr_array_new_with_free_func(receiver_free);
    g_mutex_unlock(&o->lock);
    for (unsigned i = 0; i < receivers->len; i++) {
        Receiver *r = g_ptr_array_index(receivers, i);

        qemu_file_shutdown(r->f);
        g_thread_join(r->thread);
    }
}
