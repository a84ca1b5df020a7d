/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A child process: our writes are its stdin, its stdout is what we read (spec 35 section 4). */
#ifndef GODWIT_IO_CHANNEL_COMMAND_H
#define GODWIT_IO_CHANNEL_COMMAND_H

#include "io/channel.h"

#define TYPE_IO_CHANNEL_COMMAND (io_channel_command_get_type())
G_DECLARE_FINAL_TYPE(QIOChannelCommand, io_channel_command, IO, CHANNEL_COMMAND, QIOChannel)

/* Run @argv (NULL-terminated, no shell); stderr inherited, no other descriptor leaks. The child is
 * reaped asynchronously: closing never waits for it. Dropped without close: SIGTERM, then SIGKILL;
 * closed after a shutdown of our writing side: the same, a second later.
 */
QIOChannelCommand *io_channel_command_new_spawn(const char *const *argv, GError **errp);

#endif
