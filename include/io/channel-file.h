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

#endif
