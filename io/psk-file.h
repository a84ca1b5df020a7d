/* SPDX-License-Identifier: GPL-2.0-or-later */
/* keys.psk: one "user:hexkey" a line, '#' starts a comment line (what psktool writes). */
#ifndef GODWIT_IO_PSK_FILE_H
#define GODWIT_IO_PSK_FILE_H

#include "util/osdep.h"

/* User name (string) to key (GBytes, 1..512 bytes). NULL and *errp with the line number otherwise;
 * any bytes are fine as input. */
GHashTable *psk_file_parse(const char *text, size_t len, GError **errp);

#endif
