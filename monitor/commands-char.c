/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qapi/char.json: character devices. */
#include "util/osdep.h"
#include "monitor/commands.h"
#include "qapi-commands-char.h"

static void add_chardev(Chardev *chr, void *opaque)
{
    ChardevInfo *info = g_new0(ChardevInfo, 1);

    info->label = g_strdup(chardev_label(chr));
    info->filename = chardev_filename(chr);
    info->frontend_open = chardev_has_frontend(chr);
    g_ptr_array_add(opaque, info);
}

GPtrArray *qmp_query_chardev(QmpCall *call, GError **errp)
{
    MonitorHub *hub = call->opaque;
    GPtrArray *list = qapi_list_new_ChardevInfo();

    if (hub->machine && hub->machine->chardevs) {
        chardev_foreach(hub->machine->chardevs, add_chardev, list);
    }
    return list;
}

void qmp_chardev_remove(QmpCall *call, const QmpArgs_chardev_remove *args, GError **errp)
{
    Machine *m = monitor_hub_machine(call->opaque, errp);

    if (m) {
        chardev_remove(m->chardevs, args->id, errp);
    }
}

/* ---- chardev-add: QMP's nesting -> the flat options of -chardev ---- */

static void set_bool(JsonObject *o, const char *name, bool given, bool value)
{
    if (given) {
        json_object_set_boolean_member(o, name, value);
    }
}

static void set_address(JsonObject *o, const SocketAddressLegacy *addr)
{
    if (addr->type == CHARDEV_ADDRESS_TYPE_INET) {
        const InetSocketAddress *inet = addr->u.inet->data;

        json_object_set_string_member(o, "host", inet->host);
        json_object_set_string_member(o, "port", inet->port);
        set_bool(o, "ipv4", inet->has_ipv4, inet->ipv4);
        set_bool(o, "ipv6", inet->has_ipv6, inet->ipv6);
    } else if (addr->type == CHARDEV_ADDRESS_TYPE_UNIX) {
        const UnixSocketAddress *local = addr->u.q_unix->data;

        json_object_set_string_member(o, "path", local->path);
        set_bool(o, "abstract", local->has_abstract, local->abstract);
        set_bool(o, "tight", local->has_tight, local->tight);
    } else {
        json_object_set_string_member(o, "fd", addr->u.fd->data->str);
    }
}

static void set_socket(JsonObject *o, const ChardevSocket *s)
{
    bool server = !s->has_server || s->server;

    set_address(o, s->addr);
    json_object_set_boolean_member(o, "server", server);
    /* Waiting for a client would hold up the whole VM. */
    if (server) {
        json_object_set_boolean_member(o, "wait", FALSE);
    }
    if (s->has_reconnect && s->reconnect) {
        json_object_set_int_member(o, "reconnect", s->reconnect);
    }
}

/* A descriptor by its getfd name becomes its number; the chardev owns it from then on. */
static bool resolve_fd(MonitorHub *hub, ChardevBackend *backend, GError **errp)
{
    SocketAddressLegacy *addr =
        backend->type == CHARDEV_BACKEND_KIND_SOCKET ? backend->u.socket->data->addr : NULL;
    FdSocketAddress *fd = addr && addr->type == CHARDEV_ADDRESS_TYPE_FD ? addr->u.fd->data : NULL;

    if (fd && !g_ascii_isdigit(fd->str[0])) {
        int number = fd_store_take(hub->fds, fd->str, errp);

        if (number < 0) {
            return false;
        }
        g_free(fd->str);
        fd->str = g_strdup_printf("%d", number);
    }
    return true;
}

static JsonObject *flat_options(const char *id, const ChardevBackend *backend)
{
    JsonObject *o = json_object_new();

    json_object_set_string_member(o, "id", id);
    json_object_set_string_member(o, "backend", ChardevBackendKind_str(backend->type));
    switch (backend->type) {
    case CHARDEV_BACKEND_KIND_FILE:
        json_object_set_string_member(o, "path", backend->u.file->data->out);
        set_bool(o, "append", backend->u.file->data->has_append, backend->u.file->data->append);
        break;
    case CHARDEV_BACKEND_KIND_PIPE:
        json_object_set_string_member(o, "path", backend->u.pipe->data->device);
        break;
    case CHARDEV_BACKEND_KIND_SOCKET:
        set_socket(o, backend->u.socket->data);
        break;
    case CHARDEV_BACKEND_KIND_RINGBUF:
        if (backend->u.ringbuf->data->has_size) {
            json_object_set_int_member(o, "size", backend->u.ringbuf->data->size);
        }
        break;
    default:
        break;
    }
    return o;
}

ChardevReturn *qmp_chardev_add(QmpCall *call, const QmpArgs_chardev_add *args, GError **errp)
{
    static const char pty[] = "pty:";
    Machine *m = monitor_hub_machine(call->opaque, errp);
    g_autoptr(ChardevBackend) backend = qapi_clone_ChardevBackend(args->backend);

    if (!m || !resolve_fd(call->opaque, backend, errp)) {
        return NULL;
    }
    g_autoptr(JsonObject) options = flat_options(args->id, backend);
    Chardev *chr = chardev_new(m->chardevs, options, errp);

    if (!chr) {
        return NULL;
    }
    g_autofree char *filename = chardev_filename(chr);
    ChardevReturn *ret = g_new0(ChardevReturn, 1);

    ret->pty = g_str_has_prefix(filename, pty) ? g_strdup(filename + strlen(pty)) : NULL;
    return ret;
}
