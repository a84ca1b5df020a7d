/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What json-glib's nodes cannot say by themselves.
 *
 * JSON integers reach 2^64-1 (spec 70 section 6), a JsonNode's only 2^63-1. Larger ones are carried
 * as a string node whose first byte is 0xFF followed by the decimal digits. No text can forge that:
 * every string that comes from outside is checked to be UTF-8, where the byte 0xFF does not occur.
 * Likewise U+0000 is carried as the two bytes C0 80. Always go through the functions below when an
 * integer may be unsigned. Pure, any thread.
 */
#ifndef GODWIT_QAPI_JSON_H
#define GODWIT_QAPI_JSON_H

#include <json-glib/json-glib.h>
#include "util/error.h"

JsonNode *qapi_json_new_uint(uint64_t value);
/* Is @node an integer above INT64_MAX? */
bool qapi_json_is_big_uint(JsonNode *node);
/* Any non-negative integer; false for other nodes. */
bool qapi_json_get_uint(JsonNode *node, uint64_t *out);
/* An integer that fits; false for other nodes. */
bool qapi_json_get_int(JsonNode *node, int64_t *out);
/* A string node proper, or NULL for all others. */
const char *qapi_json_get_str(JsonNode *node);

#endif
