/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fd: a descriptor somebody opened for us, of whatever kind (spec 35 section 3, spec 70 section
 * 14). */
#include <fcntl.h>
#include <sys/socket.h>
#include "io/channel-file.h"
#include "io/channel-socket.h"
#include "migration/transport/kinds.h"
#include "util/error.h"

static bool fd_check(const MigrationAddress *addr, GError **errp)
{
    if (!addr->u.socket->u.fd->str[0]) {
        error_setg(errp, "fd: needs the name of a descriptor");
        return false;
    }
    return true;
}

static char *fd_name(const MigrationAddress *addr)
{
    return g_strconcat("fd:", addr->u.socket->u.fd->str, NULL);
}

/* Takes @fd. */
static QIOChannel *channel_of(int fd, const char *name, bool incoming, GError **errp)
{
    int flags = fcntl(fd, F_GETFL), type, listening = 0;
    socklen_t len = sizeof(type);

    if (flags < 0) {
        error_setg(errp, "Invalid file descriptor number '%s'", name);
        return NULL;
    }
    if ((flags & O_ACCMODE) == (incoming ? O_WRONLY : O_RDONLY)) {
        error_setg(errp, "File descriptor '%s' is not open for %s", name,
                   incoming ? "reading" : "writing");
        close(fd);
        return NULL;
    }
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0) {
        return IO_CHANNEL(io_channel_file_new_fd(fd));
    }
    len = sizeof(listening);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening) {
        error_setg(errp, "File descriptor '%s' is a listening socket, not a connection", name);
        close(fd);
        return NULL;
    }
    return IO_CHANNEL(io_channel_socket_new_fd(fd, errp));
}

static QIOChannel *fd_open(const MigrationAddress *addr, MigrationHost *host, bool incoming,
                           GError **errp)
{
    const char *name = addr->u.socket->u.fd->str;
    /* A number can only be inherited, and what is inherited is for the destination. */
    int fd = host->ops->take_fd(host, name, incoming, errp);

    return fd < 0 ? NULL : channel_of(fd, name, incoming, errp);
}

const TransportOps transport_fd_ops = {
    .flags = TRANSPORT_RETURN_PATH,
    .check = fd_check,
    .name = fd_name,
    .open = fd_open,
};
