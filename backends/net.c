/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network back ends and their peers. Frames towards the guest are kept, up to a limit, while the
 * NIC has no buffers or the VM is stopped.
 */
#include "util/osdep.h"
#include "net-int.h"
#include "util/iov.h"
#include "util/keyval.h"

#define QUEUE_LIMIT 1024 /* frames */

static const NetKind *const kinds[] = {&net_kind_user, &net_kind_tap, &net_kind_socket,
                                       &net_kind_stream};

NetList *net_list_new(Clock *vclock)
{
    NetList *list = g_new0(NetList, 1);

    list->backends = g_ptr_array_new();
    list->vclock = vclock;
    return list;
}

static void backend_free(NetBackend *nb)
{
    net_backend_detach(nb);
    if (nb->state) {
        nb->kind->close(nb);
    }
    g_free(nb->id);
    g_free(nb->info);
    g_free(nb);
}

void net_list_free(NetList *list)
{
    if (!list) {
        return;
    }
    while (list->backends->len) {
        backend_free(g_ptr_array_steal_index(list->backends, list->backends->len - 1));
    }
    g_ptr_array_unref(list->backends);
    g_free(list);
}

NetBackend *net_backend_find(NetList *list, const char *id)
{
    for (guint i = 0; i < list->backends->len; i++) {
        NetBackend *nb = list->backends->pdata[i];

        if (g_str_equal(nb->id, id)) {
            return nb;
        }
    }
    return NULL;
}

static const NetKind *find_kind(const char *type)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (g_str_equal(kinds[i]->type, type)) {
            return kinds[i];
        }
    }
    return NULL;
}

static bool check_keys(const NetKind *kind, JsonObject *options, GError **errp)
{
    g_autoptr(GList) members = json_object_get_members(options);

    for (GList *l = members; l; l = l->next) {
        const char *key = l->data;

        if (!g_str_equal(key, "type") && !g_str_equal(key, "id") &&
            !g_strv_contains(kind->keys, key)) {
            error_setg(errp, "Parameter '%s' is unexpected", key);
            return false;
        }
    }
    return true;
}

bool net_backend_add(NetList *list, JsonObject *options, GError **errp)
{
    const char *type = keyval_get_string(options, "type");
    const char *id = keyval_get_string(options, "id");
    const NetKind *kind = type ? find_kind(type) : NULL;
    NetBackend *nb;

    if (!id) {
        error_setg(errp, "Parameter 'id' is missing");
        return false;
    }
    if (!kind) {
        error_setg(errp,
                   "Parameter 'type' does not accept value '%s'; use user, tap, socket or stream",
                   type ? type : "");
        return false;
    }
    if (net_backend_find(list, id)) {
        error_setg(errp, "Duplicate ID '%s' for netdev", id);
        return false;
    }
    if (!check_keys(kind, options, errp)) {
        return false;
    }
    nb = g_new0(NetBackend, 1);
    nb->list = list;
    nb->kind = kind;
    nb->id = g_strdup(id);
    g_queue_init(&nb->queue);
    if (!kind->open(nb, options, errp)) {
        backend_free(nb);
        return false;
    }
    g_ptr_array_add(list->backends, nb);
    return true;
}

bool net_backend_del(NetList *list, const char *id, GError **errp)
{
    NetBackend *nb = net_backend_find(list, id);

    if (!nb) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", id);
        return false;
    }
    if (nb->peer && nb->peer->link_changed) {
        nb->peer->link_changed(nb->opaque, false);
    }
    if (nb->peer) {
        error_setg(errp, "Device '%s' is in use by a network card", id);
        return false;
    }
    g_ptr_array_remove(list->backends, nb);
    backend_free(nb);
    return true;
}

bool net_backend_attach(NetBackend *nb, const NetPeer *peer, void *opaque, GError **errp)
{
    if (nb->peer) {
        error_setg(errp, "netdev '%s' is already in use", nb->id);
        return false;
    }
    nb->peer = peer;
    nb->opaque = opaque;
    return true;
}

void net_backend_purge(NetBackend *nb)
{
    g_queue_clear_full(&nb->queue, (GDestroyNotify)g_bytes_unref);
}

void net_backend_detach(NetBackend *nb)
{
    nb->peer = NULL;
    net_backend_purge(nb);
}

/* ---- frames ---- */

void net_backend_send(NetBackend *nb, const struct iovec *iov, unsigned n)
{
    if (!nb->link_down) {
        nb->kind->send(nb, iov, n);
    }
}

bool net_can_deliver(NetBackend *nb)
{
    return nb->list->running && nb->peer && g_queue_is_empty(&nb->queue);
}

void net_deliver(NetBackend *nb, const struct iovec *iov, unsigned n)
{
    size_t len = iov_size(iov, n);
    uint8_t *copy;

    if (!nb->peer || nb->link_down || !len || len > NET_MAX_FRAME) {
        return;
    }
    if (net_can_deliver(nb) && nb->peer->receive(nb->opaque, iov, n)) {
        return;
    }
    if (g_queue_get_length(&nb->queue) >= QUEUE_LIMIT) {
        return;
    }
    copy = g_malloc(len);
    iov_to_buf(iov, n, 0, copy, len);
    g_queue_push_tail(&nb->queue, g_bytes_new_take(copy, len));
}

void net_backend_flush(NetBackend *nb)
{
    if (!nb->list->running || !nb->peer) {
        return;
    }
    while (!g_queue_is_empty(&nb->queue)) {
        GBytes *frame = g_queue_peek_head(&nb->queue);
        gsize len;
        const void *data = g_bytes_get_data(frame, &len);
        struct iovec iov = {(void *)data, len};

        if (!nb->peer->receive(nb->opaque, &iov, 1)) {
            return;
        }
        g_bytes_unref(g_queue_pop_head(&nb->queue));
    }
    if (nb->kind->resume) {
        nb->kind->resume(nb);
    }
}

/* ---- the link, the VM, the neighbours ---- */

void net_backend_set_link(NetBackend *nb, bool up)
{
    if (nb->link_down == !up) {
        return;
    }
    nb->link_down = !up;
    if (nb->peer && nb->peer->link_changed) {
        nb->peer->link_changed(nb->opaque, up);
    }
}

bool net_backend_link_up(NetBackend *nb)
{
    return !nb->link_down;
}

void net_list_set_running(NetList *list, bool running)
{
    list->running = running;
    for (guint i = 0; running && i < list->backends->len; i++) {
        net_backend_flush(list->backends->pdata[i]);
    }
}

void net_list_announce(NetList *list)
{
    for (guint i = 0; i < list->backends->len; i++) {
        NetBackend *nb = list->backends->pdata[i];

        if (nb->peer && nb->peer->announce) {
            nb->peer->announce(nb->opaque);
        }
    }
}

void net_list_foreach(NetList *list,
                      void (*cb)(const char *id, const char *type, const char *info, void *opaque),
                      void *opaque)
{
    for (guint i = 0; i < list->backends->len; i++) {
        NetBackend *nb = list->backends->pdata[i];

        cb(nb->id, nb->kind->type, nb->info ? nb->info : "", opaque);
    }
}

unsigned net_list_user_count(NetList *list)
{
    unsigned n = 0;

    for (guint i = 0; i < list->backends->len; i++) {
        n += ((NetBackend *)list->backends->pdata[i])->kind == &net_kind_user;
    }
    return n;
}
