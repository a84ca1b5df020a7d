/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Option values of command lines and HMP: "first,key=value,a.b=c,list.0=x" or JSON (spec 71 section
 * 1). Pure, any thread.
 */
#ifndef GODWIT_UTIL_KEYVAL_H
#define GODWIT_UTIL_KEYVAL_H

#include <json-glib/json-glib.h>
#include "util/osdep.h"

/*
 * Parse @text. A value starting with '{' is JSON; otherwise scalars are strings, dotted keys nest,
 * keys 0, 1, ... make lists, ",," is a literal comma, a trailing comma is fine. A first item
 * without '=' is the value of @implied_key (NULL: not allowed, it is a flag); later items without
 * '=' mean "on". Repeated keys: the last wins.
 */
JsonObject *keyval_parse(const char *text, const char *implied_key, GError **errp);
/* String member, or NULL when absent; error when present with another type. */
const char *keyval_get_string(JsonObject *obj, const char *key);
/* Boolean member given as JSON boolean or on/off text; @dflt when absent. */
bool keyval_get_bool(JsonObject *obj, const char *key, bool dflt, bool *out, GError **errp);
/* Unsigned number given as JSON integer or text (see parse_size(), @unit); @dflt when absent. */
bool keyval_get_size(JsonObject *obj, const char *key, uint64_t unit, uint64_t dflt, uint64_t *out,
                     GError **errp);
/* False and "Invalid parameter '<key>'" if @obj has a member outside the NULL-terminated @known. */
bool keyval_check_known(JsonObject *obj, const char *const *known, GError **errp);

#endif
