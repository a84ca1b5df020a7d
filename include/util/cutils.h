/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small parsers for command lines and monitors. Pure, any thread. */
#ifndef GODWIT_UTIL_CUTILS_H
#define GODWIT_UTIL_CUTILS_H

#include "util/osdep.h"

/*
 * "150M", "1.5G", "0x1000", "512": a size in bytes.  @unit is the multiplier of a number without
 * suffix (1, or MiB for -m).  Suffixes B K M G T P E, either case; hex takes no fraction and no
 * suffix.
 */
bool parse_size(const char *text, uint64_t unit, uint64_t *out, GError **errp);
/* Unsigned integer, decimal, 0x or 0 octal; the whole of @text must be used. */
bool parse_uint64(const char *text, uint64_t *out, GError **errp);
/* on/off/yes/no/true/false/y/n */
bool parse_bool(const char *text, bool *out, GError **errp);
/* 8-4-4-4-12 hexadecimal. */
bool parse_uuid(const char *text, uint8_t out[16], GError **errp);
/* "4.0 KiB", "128 MiB"; free with g_free(). */
char *size_to_string(uint64_t bytes);

#endif
