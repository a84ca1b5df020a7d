/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network back ends: user (libslirp), tap, socket, stream. A NetBackend has one peer (a NIC).
 * Main loop or vCPU thread, big lock held.
 */
#ifndef GODWIT_BACKENDS_NET_H
#define GODWIT_BACKENDS_NET_H

#include <sys/uio.h>
#include <json-glib/json-glib.h>
#include "util/error.h"
#include "util/timer.h"

typedef struct NetBackend NetBackend;
typedef struct NetList NetList;

typedef struct {
    /* A frame for the guest. False: no room, keep it and wait for net_backend_flush(). */
    bool (*receive)(void *opaque, const struct iovec *iov, unsigned n);
    void (*link_changed)(void *opaque, bool up);
    /* The guest has moved here: make the network learn its address. Optional. */
    void (*announce)(void *opaque);
} NetPeer;

NetList *net_list_new(Clock *vclock);
void net_list_free(NetList *list);
/* -netdev TYPE,id=ID,... / netdev_add; options as JSON with "type" and "id". */
bool net_backend_add(NetList *list, JsonObject *options, GError **errp);
bool net_backend_del(NetList *list, const char *id, GError **errp);
NetBackend *net_backend_find(NetList *list, const char *id);
bool net_backend_attach(NetBackend *nb, const NetPeer *peer, void *opaque, GError **errp);
void net_backend_detach(NetBackend *nb);
/* A frame from the guest; dropped when the back end is full or down. */
void net_backend_send(NetBackend *nb, const struct iovec *iov, unsigned n);
/* The peer has room again. */
void net_backend_flush(NetBackend *nb);
/* Forget frames kept for the peer. */
void net_backend_purge(NetBackend *nb);
/* set_link: pull or plug the cable. */
void net_backend_set_link(NetBackend *nb, bool up);
bool net_backend_link_up(NetBackend *nb);
/* Stop and start delivering with the VM. */
void net_list_set_running(NetList *list, bool running);
/* One round of announcements of all peers (announce-self, end of an incoming migration). */
void net_list_announce(NetList *list);
/* For info network: id, type and a one-line description of each. */
void net_list_foreach(NetList *list,
                      void (*cb)(const char *id, const char *type, const char *info, void *opaque),
                      void *opaque);

/* How many user-mode stacks the command line created (the slirp sections of spec 82 section 4). */
unsigned net_list_user_count(NetList *list);

#endif
