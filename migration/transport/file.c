/* SPDX-License-Identifier: GPL-2.0-or-later */
/* file: the stream in a file, behind a header that belongs to management (spec 35 section 5). */
#include <fcntl.h>
#include <sys/stat.h>
#include "io/channel-file.h"
#include "migration/transport/kinds.h"
#include "util/cutils.h"
#include "util/error.h"

#define OFFSET_KEY ",offset="

FileMigrationArgs *transport_file_parse(const char *text, GError **errp)
{
    const char *key = strstr(text, OFFSET_KEY);
    uint64_t offset = 0;
    FileMigrationArgs *args;

    if (key && !parse_size(key + strlen(OFFSET_KEY), 1, &offset, NULL)) {
        error_setg(errp, "file URI has bad offset %s", key + strlen(OFFSET_KEY));
        return NULL;
    }
    args = g_new0(FileMigrationArgs, 1);
    args->filename = key ? g_strndup(text, key - text) : g_strdup(text);
    args->offset = offset;
    return args;
}

static bool file_check(const MigrationAddress *addr, GError **errp)
{
    if (!addr->u.file->filename[0]) {
        error_setg(errp, "file: needs a path");
        return false;
    }
    if (addr->u.file->offset > INT64_MAX) {
        error_setg(errp, "file URI has bad offset %" PRIu64, addr->u.file->offset);
        return false;
    }
    return true;
}

static char *file_name(const MigrationAddress *addr)
{
    return g_strconcat("file:", addr->u.file->filename, NULL);
}

/* Keep what is before @offset, drop what an earlier migration left behind it. */
static bool cut_at(int fd, uint64_t offset, GError **errp)
{
    struct stat st;

    if (fstat(fd, &st) == 0 && S_ISBLK(st.st_mode)) {
        return true;
    }
    if (ftruncate(fd, offset) < 0) {
        error_setg_errno(errp, errno, "failed to truncate migration file to offset %" PRIx64,
                         offset);
        return false;
    }
    return true;
}

#define FDSET_PREFIX "/dev/fdset/"

/* A save that ends early shall leave the file that was there. Not where somebody else prepared the
 * file: a header in front of the offset, a descriptor set, a device. */
static QIOChannel *open_replacing(const FileMigrationArgs *args)
{
    if (args->offset || g_str_has_prefix(args->filename, FDSET_PREFIX)) {
        return NULL;
    }
    return (QIOChannel *)io_channel_file_new_replacing(args->filename, 0600);
}

static QIOChannel *file_open(const MigrationAddress *addr, MigrationHost *host, bool incoming,
                             GError **errp)
{
    const FileMigrationArgs *args = addr->u.file;
    QIOChannel *replacing = incoming ? NULL : open_replacing(args);
    int fd;

    if (replacing) {
        return replacing;
    }
    /* Non-blocking: a FIFO that nobody reads is an error, not the end of the main loop. */
    fd = host->ops->open_file(host, args->filename,
                              incoming ? O_RDONLY : O_CREAT | O_WRONLY | O_NONBLOCK, 0600, errp);
    if (fd < 0) {
        return NULL;
    }
    if (!incoming && !cut_at(fd, args->offset, errp)) {
        close(fd);
        return NULL;
    }
    if (lseek(fd, args->offset, SEEK_SET) < 0 && (args->offset || errno != ESPIPE)) {
        error_setg_errno(errp, errno, "Unable to seek to offset %" PRIu64 " in %s", args->offset,
                         args->filename);
        close(fd);
        return NULL;
    }
    return IO_CHANNEL(io_channel_file_new_fd(fd));
}

QIOChannel *transport_open_direct(const MigrationTransport *t, MigrationHost *host,
                                  QIOChannel *main, bool incoming, GError **errp)
{
    int flags = (incoming ? O_RDONLY : O_WRONLY) | O_DIRECT;
    const char *path = t && t->ops == &transport_file_ops ? t->addr->u.file->filename : "";
    QIOChannelFile *f = NULL;

    if (g_str_has_prefix(path, FDSET_PREFIX)) {
        int fd = host->ops->open_file(host, path, flags, 0, errp);

        f = fd < 0 ? NULL : io_channel_file_new_fd(fd);
    } else if (IO_IS_CHANNEL_FILE(main)) {
        f = io_channel_file_reopen(IO_CHANNEL_FILE(main), flags, errp);
    } else {
        error_setg(errp, "Channel '%s' is no file", io_channel_name(main));
    }
    if (!f) {
        g_prefix_error(errp, "direct-io needs a descriptor with O_DIRECT besides the main one: ");
        return NULL;
    }
    return IO_CHANNEL(f);
}

const TransportOps transport_file_ops = {
    .flags = TRANSPORT_SEEKABLE,
    .check = file_check,
    .name = file_name,
    .open = file_open,
};
