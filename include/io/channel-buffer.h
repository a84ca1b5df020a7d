/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A growable byte array behind the QIOChannel interface. Single thread. */
#ifndef GODWIT_IO_CHANNEL_BUFFER_H
#define GODWIT_IO_CHANNEL_BUFFER_H

#include "io/channel.h"

#define TYPE_IO_CHANNEL_BUFFER (io_channel_buffer_get_type())
G_DECLARE_FINAL_TYPE(QIOChannelBuffer, io_channel_buffer, IO, CHANNEL_BUFFER, QIOChannel)

/* Empty; writes append, reads consume from the front, end of stream when drained. */
QIOChannelBuffer *io_channel_buffer_new(void);
/* All bytes written so far, whether read or not; owned by the channel. */
GByteArray *io_channel_buffer_bytes(QIOChannelBuffer *ioc);

#endif
