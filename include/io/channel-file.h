/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A descriptor that is not a socket: regular file, pipe, character device. */
#ifndef GODWIT_IO_CHANNEL_FILE_H
#define GODWIT_IO_CHANNEL_FILE_H

#include "io/channel.h"

#define TYPE_IO_CHANNEL_FILE (io_channel_file_get_type())
G_DECLARE_FINAL_TYPE(QIOChannelFile, io_channel_file, IO, CHANNEL_FILE, QIOChannel)

/* Takes ownership of @fd. Pipes become non-blocking inside so that shutdown can wake them. */
QIOChannelFile *io_channel_file_new_fd(int fd);
/* open(2) with O_CLOEXEC. */
QIOChannelFile *io_channel_file_new_path(const char *path, int flags, mode_t mode, GError **errp);

/*
 * A new file that takes the place of @path only when io_channel_publish() is called; until then
 * @path stays as it is, and if that never happens nothing is left behind. It gets the owner and the
 * mode of the file it replaces. NULL: @path cannot be replaced (it is no regular
 * file, has several names, its directory is not ours to write), open it as it is.
 */
QIOChannelFile *io_channel_file_new_replacing(const char *path, mode_t mode);
/* Another descriptor of the same file, with the same position. */
QIOChannelFile *io_channel_file_dup(QIOChannelFile *f, GError **errp);
/* Another descriptor of the same file with open(2) flags of its own. */
QIOChannelFile *io_channel_file_reopen(QIOChannelFile *f, int flags, GError **errp);

#endif
