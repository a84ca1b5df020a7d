/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/postcopy/receivers.h"
#include "migration/options.h"
#include "migration/wire/postcopy.h"
#include "util/error.h"
#include "util/thread.h"

/* More that have not said a word than this: the one that waited longest has to go. */
#define UNKNOWN_MAX 64
#define MAGIC_BYTES 4

typedef enum {
    RECEIVER_UNKNOWN,
    RECEIVER_URGENT,
    RECEIVER_PUSH,
    RECEIVER_NOBODY,
} ReceiverKind;

struct PostcopyReceivers {
    PostcopyDestination *d;
    const PostcopyReceiversOps *ops;
    void *opaque;
    bool urgent;

    GMutex lock;     /* protects the rest */
    GPtrArray *list; /* of Receiver, oldest first */
    unsigned unknown, pushing;
    bool urgent_came, urgent_ended; /* on this line */
    unsigned expected;              /* on this line; 0: none were announced */
    uint8_t line;
    bool there[POSTCOPY_CHANNELS_MAX]; /* by number */
};

typedef struct {
    PostcopyReceivers *owner;
    QEMUFile *f;
    GThread *thread;

    /* Under the owner's lock. */
    ReceiverKind kind;
    bool cut;  /* its end is our doing */
    bool done; /* the thread takes no lock any more */
} Receiver;

static void receiver_free(void *opaque)
{
    Receiver *r = opaque;

    if (r->thread) {
        g_thread_join(r->thread);
    }
    qemu_fclose(r->f, NULL);
    g_free(r);
}

/* ---- who is it? ---- */

/* @kind, unless it was given up meanwhile. Lock held. */
static bool become(Receiver *r, ReceiverKind kind)
{
    if (r->kind != RECEIVER_UNKNOWN) {
        return false;
    }
    r->kind = kind;
    r->owner->unknown--;
    return true;
}

static bool claim_push(Receiver *r, const PostcopyChannel *c, GError **errp)
{
    PostcopyReceivers *o = r->owner;
    bool ok;

    g_mutex_lock(&o->lock);
    ok = c->line == o->line && c->number < o->expected && !o->there[c->number] &&
         become(r, RECEIVER_PUSH);
    if (ok) {
        o->there[c->number] = true;
        o->pushing++;
    }
    g_mutex_unlock(&o->lock);
    if (!ok) {
        error_setg(errp, "There is no place for number %u of line %u", c->number, c->line);
    }
    return ok;
}

/* There is no handshake; but the first bytes are the upper half of an offset. */
static bool claim_urgent(Receiver *r, uint32_t magic, GError **errp)
{
    PostcopyReceivers *o = r->owner;
    bool ok;

    g_mutex_lock(&o->lock);
    ok = o->urgent && !o->urgent_came &&
         postcopy_destination_has_offset(o->d, (uint64_t)magic << 32) && become(r, RECEIVER_URGENT);
    o->urgent_came |= ok;
    g_mutex_unlock(&o->lock);
    if (!ok) {
        error_setg(errp, "Nobody is expected who begins with 0x%08x", magic);
    }
    return ok;
}

/* Nothing is touched before that is clear. False without *errp: it left without a word. */
static bool introduce(Receiver *r, PostcopyChannel *c, GError **errp)
{
    uint8_t bytes[POSTCOPY_CHANNEL_BYTES];
    const uint8_t *first;
    uint32_t magic;

    if (qemu_peek_buffer(r->f, &first, MAGIC_BYTES) < MAGIC_BYTES) {
        return false;
    }
    magic = (uint32_t)first[0] << 24 | first[1] << 16 | first[2] << 8 | first[3];
    if (magic != POSTCOPY_CHANNEL_MAGIC) {
        return claim_urgent(r, magic, errp);
    }
    if (!qemu_get_buffer(r->f, bytes, sizeof(bytes))) {
        return qemu_file_check(r->f, errp);
    }
    return postcopy_decode_channel(bytes, c, errp) && claim_push(r, c, errp);
}

/* ---- reading ---- */

static bool read_urgent(Receiver *r, PostcopyLoader *l, GError **errp)
{
    thread_prompt();
    if (!postcopy_loader_run(l, r->f, errp)) {
        g_prefix_error(errp, "On the channel for urgent pages: ");
        return false;
    }
    return true;
}

static bool read_push(Receiver *r, PostcopyLoader *l, const PostcopyChannel *c, GError **errp)
{
    const uint8_t *first;
    bool ok = r->owner->ops->ready(c->number, r->owner->opaque, errp);

    if (ok && qemu_peek_buffer(r->f, &first, 1) < 1) {
        return true; /* the source has thought better of it, before it put anything there */
    }
    ok = ok && postcopy_loader_run(l, r->f, errp);
    if (!ok) {
        g_prefix_error(errp, "On channel %u for pushed pages: ", c->number);
    }
    return ok;
}

/* Takes @err, which may be NULL. */
static void turn_away(Receiver *r, GError *err)
{
    bool cut;

    g_mutex_lock(&r->owner->lock);
    become(r, RECEIVER_NOBODY);
    cut = r->cut;
    g_mutex_unlock(&r->owner->lock);
    if (err && !cut) {
        warn_report("Extra incoming migration connection; ignoring: %s", err->message);
    }
    g_clear_error(&err);
    qemu_file_shutdown(r->f);
}

/* Takes @err, which may be NULL. */
static void end(Receiver *r, bool urgent, GError *err)
{
    PostcopyReceivers *o = r->owner;

    g_mutex_lock(&o->lock);
    if (r->cut) {
        g_clear_error(&err);
    } else if (urgent) {
        o->urgent_ended = true;
    }
    o->pushing -= !urgent;
    g_mutex_unlock(&o->lock);
    o->ops->ended(err, o->opaque);
}

static void serve(Receiver *r)
{
    PostcopyReceivers *o = r->owner;
    PostcopyLoader *l = NULL;
    PostcopyChannel c;
    GError *err = NULL;
    bool urgent;

    if (!introduce(r, &c, &err)) {
        turn_away(r, err);
        return;
    }
    urgent = r->kind == RECEIVER_URGENT; /* nobody else changes it now */
    l = postcopy_destination_new_loader(o->d, !urgent, &err);
    if (l && urgent) {
        read_urgent(r, l, &err);
    } else if (l) {
        read_push(r, l, &c, &err);
    }
    postcopy_loader_free(l);
    end(r, urgent, err);
}

static gpointer receiver_thread(gpointer opaque)
{
    Receiver *r = opaque;
    PostcopyReceivers *o = r->owner;

    serve(r);
    g_mutex_lock(&o->lock);
    r->done = true;
    g_mutex_unlock(&o->lock);
    return NULL;
}

/* ---- coming and going ---- */

PostcopyReceivers *postcopy_receivers_new(PostcopyDestination *d, bool urgent,
                                          const PostcopyReceiversOps *ops, void *opaque)
{
    PostcopyReceivers *o = g_new0(PostcopyReceivers, 1);

    o->d = d;
    o->urgent = urgent;
    o->ops = ops;
    o->opaque = opaque;
    o->list = g_ptr_array_new_with_free_func(receiver_free);
    g_mutex_init(&o->lock);
    return o;
}

void postcopy_receivers_free(PostcopyReceivers *o)
{
    if (o) {
        g_ptr_array_unref(o->list);
        g_mutex_clear(&o->lock);
        g_free(o);
    }
}

/* Forget those who have gone, and make room. Lock held. */
static void tidy(PostcopyReceivers *o)
{
    bool full = o->unknown >= UNKNOWN_MAX;

    for (unsigned i = o->list->len; i-- > 0;) {
        Receiver *r = g_ptr_array_index(o->list, i);

        if (r->done) {
            g_ptr_array_remove_index(o->list, i);
        }
    }
    for (unsigned i = 0; full && i < o->list->len; i++) {
        Receiver *r = g_ptr_array_index(o->list, i);

        if (become(r, RECEIVER_NOBODY)) {
            r->cut = true;
            qemu_file_shutdown(r->f);
            full = false;
        }
    }
}

bool postcopy_receivers_add(PostcopyReceivers *o, QIOChannel *ioc, GError **errp)
{
    Receiver *r = g_new0(Receiver, 1);
    bool ok;

    io_channel_set_blocking(ioc, true, NULL);
    r->owner = o;
    r->f = qemu_file_new_input(ioc);
    g_mutex_lock(&o->lock);
    tidy(o);
    r->thread = g_thread_try_new("pages-in", receiver_thread, r, errp);
    ok = r->thread != NULL;
    if (ok) {
        g_ptr_array_add(o->list, r);
        o->unknown++;
    }
    g_mutex_unlock(&o->lock);
    if (!ok) {
        receiver_free(r);
    }
    return ok;
}

bool postcopy_receivers_expect(PostcopyReceivers *o, uint8_t line, unsigned n, GError **errp)
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

bool postcopy_receivers_pending(PostcopyReceivers *o, bool *absent)
{
    bool urgent, pending;

    g_mutex_lock(&o->lock);
    urgent = o->urgent && !o->urgent_ended;
    *absent = urgent && !o->urgent_came;
    pending = urgent || o->pushing;
    g_mutex_unlock(&o->lock);
    return pending;
}

void postcopy_receivers_stop(PostcopyReceivers *o)
{
    g_autoptr(GPtrArray) list = NULL;

    g_mutex_lock(&o->lock);
    list = g_steal_pointer(&o->list);
    o->list = g_ptr_array_new_with_free_func(receiver_free);
    o->expected = 0;
    o->urgent_came = o->urgent_ended = false;
    for (unsigned i = 0; i < list->len; i++) {
        Receiver *r = g_ptr_array_index(list, i);

        r->cut = true;
        qemu_file_shutdown(r->f);
    }
    g_mutex_unlock(&o->lock);
    /* Freeing waits for the threads, which may want the lock. */
}
