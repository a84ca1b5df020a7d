/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qapi/fds.json: descriptors passed by clients. */
#include "util/osdep.h"
#include "monitor/commands.h"
#include "qapi-commands-fds.h"

/* The descriptor that came with this command. */
static int received_fd(QmpCall *call, GError **errp)
{
    int fd = call->session ? qmp_session_take_fd(call->session) : -1;

    if (fd < 0) {
        error_setg(errp, "No file descriptor supplied via SCM_RIGHTS");
    }
    return fd;
}

void qmp_getfd(QmpCall *call, const QmpArgs_getfd *args, GError **errp)
{
    MonitorHub *hub = call->opaque;
    int fd = received_fd(call, errp);

    if (fd >= 0) {
        fd_store_put(hub->fds, args->fdname, fd, errp);
    }
}

void qmp_closefd(QmpCall *call, const QmpArgs_closefd *args, GError **errp)
{
    MonitorHub *hub = call->opaque;
    int fd = fd_store_take(hub->fds, args->fdname, NULL);

    if (fd < 0) {
        error_setg(errp, "File descriptor named '%s' not found", args->fdname);
        return;
    }
    close(fd);
}

AddfdInfo *qmp_add_fd(QmpCall *call, const QmpArgs_add_fd *args, GError **errp)
{
    MonitorHub *hub = call->opaque;
    int fd = received_fd(call, errp);
    AddfdInfo *info;

    if (fd < 0) {
        return NULL;
    }
    if (args->has_fdset_id && args->fdset_id < 0) {
        close(fd);
        error_setg(errp, "Parameter 'fdset-id' expects a non-negative value");
        return NULL;
    }
    info = g_new0(AddfdInfo, 1);
    info->fd = fd;
    info->fdset_id = fd_store_set_add(hub->fds, args->has_fdset_id ? args->fdset_id : -1, fd,
                                      args->opaque, errp);
    return info;
}

void qmp_remove_fd(QmpCall *call, const QmpArgs_remove_fd *args, GError **errp)
{
    MonitorHub *hub = call->opaque;

    fd_store_set_remove(hub->fds, args->fdset_id,
                        args->has_fd ? (int)CLAMP(args->fd, 0, INT_MAX) : -1, errp);
}

static void append_member(const FdsetMember *m, void *opaque)
{
    GPtrArray *list = opaque;
    FdsetInfo *set = list->len ? list->pdata[list->len - 1] : NULL;
    FdsetFdInfo *info = g_new0(FdsetFdInfo, 1);

    if (!set || set->fdset_id != m->id) {
        set = g_new0(FdsetInfo, 1);
        set->fdset_id = m->id;
        set->fds = qapi_list_new_FdsetFdInfo();
        g_ptr_array_add(list, set);
    }
    info->fd = m->fd;
    info->opaque = g_strdup(m->opaque);
    g_ptr_array_add(set->fds, info);
}

GPtrArray *qmp_query_fdsets(QmpCall *call, GError **errp)
{
    MonitorHub *hub = call->opaque;
    GPtrArray *list = qapi_list_new_FdsetInfo();

    fd_store_foreach(hub->fds, append_member, list);
    return list;
}
