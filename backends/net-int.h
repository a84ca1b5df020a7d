/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the network back ends: what one is, and what a kind of back end does. */
#ifndef GODWIT_BACKENDS_NET_INT_H
#define GODWIT_BACKENDS_NET_INT_H

#include "backends/net.h"

#define NET_MAX_FRAME (64 * 1024 + 4096)

typedef struct {
    const char *type;
    const char *const *keys; /* options besides type and id; NULL-terminated */
    bool (*open)(NetBackend *nb, JsonObject *options, GError **errp);
    void (*close)(NetBackend *nb);
    /* A frame from the guest; dropped when it cannot be sent. */
    void (*send)(NetBackend *nb, const struct iovec *iov, unsigned n);
    /* The queue towards the guest became empty: read again. Optional. */
    void (*resume)(NetBackend *nb);
} NetKind;

extern const NetKind net_kind_user, net_kind_tap, net_kind_socket, net_kind_stream;

struct NetBackend {
    NetList *list;
    const NetKind *kind;
    char *id;
    char *info; /* one line, for people */
    const NetPeer *peer;
    void *opaque;
    bool link_down;
    GQueue queue; /* GBytes the peer had no room for */
    void *state;  /* the kind's */
};

struct NetList {
    GPtrArray *backends; /* NetBackend, in creation order */
    Clock *vclock;
    bool running;
};

/* A frame for the guest. */
void net_deliver(NetBackend *nb, const struct iovec *iov, unsigned n);
/* May the kind read more from its descriptor? False while frames wait for the peer. */
bool net_can_deliver(NetBackend *nb);

#endif
