/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source's half of channels.h: several connections, all or none. */
#include "migration/channels.h"

typedef struct {
    ChannelsOpening *opening;
    TransportConnection *connection; /* NULL: has arrived, or was never begun */
    unsigned index;
} Slot;

struct ChannelsOpening {
    ChannelsGreet *greet;
    ChannelsOpenedCB *cb;
    void *opaque;
    GPtrArray *channels; /* by index; NULL while not there */
    unsigned n, missing;
    Slot slots[];
};

void channels_open_cancel(ChannelsOpening *o)
{
    if (!o) {
        return;
    }
    for (unsigned i = 0; i < o->n; i++) {
        transport_connection_cancel(o->slots[i].connection);
    }
    if (o->channels) {
        g_ptr_array_unref(o->channels);
    }
    g_free(o);
}

static void channel_free(void *ioc)
{
    if (ioc) {
        g_object_unref(ioc);
    }
}

/* Takes @err; ends @o. */
static void deliver(ChannelsOpening *o, GError *err)
{
    GPtrArray *channels = err ? NULL : g_steal_pointer(&o->channels);
    ChannelsOpenedCB *cb = o->cb;
    void *opaque = o->opaque;

    channels_open_cancel(o);
    cb(channels, err, opaque);
}

static bool prepare(const Slot *slot, QIOChannel *ioc, GError **errp)
{
    const ChannelsOpening *o = slot->opening;

    io_channel_set_delay(ioc, false);
    return io_channel_set_blocking(ioc, true, errp) &&
           (!o->greet || o->greet(ioc, slot->index, o->opaque, errp));
}

static void connected(QIOChannel *ioc, GError *err, void *opaque)
{
    Slot *slot = opaque;
    ChannelsOpening *o = slot->opening;

    slot->connection = NULL;
    if (!err && !prepare(slot, ioc, &err)) {
        g_object_unref(ioc);
    }
    if (err) {
        g_prefix_error(&err, "Connection %u of %u beside the main one: ", slot->index + 1, o->n);
        deliver(o, err);
        return;
    }
    g_ptr_array_index(o->channels, slot->index) = ioc;
    if (--o->missing == 0) {
        deliver(o, NULL);
    }
}

ChannelsOpening *channels_open(const GPtrArray *to, MigrationHost *host, unsigned n,
                               ChannelsGreet *greet, ChannelsOpenedCB *cb, void *opaque,
                               GError **errp)
{
    ChannelsOpening *o = g_malloc0(sizeof(*o) + n * sizeof(Slot));

    g_assert(n > 0);
    o->greet = greet;
    o->cb = cb;
    o->opaque = opaque;
    o->n = o->missing = n;
    o->channels = g_ptr_array_new_with_free_func(channel_free);
    g_ptr_array_set_size(o->channels, n);
    for (unsigned i = 0; i < n; i++) {
        Slot *slot = &o->slots[i];

        slot->opening = o;
        slot->index = i;
        slot->connection =
            transport_connect(g_ptr_array_index(to, i % to->len), host, connected, slot, errp);
        if (!slot->connection) {
            channels_open_cancel(o);
            return NULL;
        }
    }
    return o;
}
