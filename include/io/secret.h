/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `secret`: a password or key that other objects use by id (spec 71 section 3.2).
 *
 * Properties: data or file; format=raw|base64; keyid, iv: the content is AES-256-CBC with the
 * 32-byte secret `keyid` and the base64 initialisation vector `iv`.
 */
#ifndef GODWIT_IO_SECRET_H
#define GODWIT_IO_SECRET_H

#include "util/object.h"

/* The plain bytes of secret @id in @reg; free with g_bytes_unref(). NULL and *errp if there is no
 * such object or it is no secret. Big lock. */
GBytes *secret_lookup(ObjectRegistry *reg, const char *id, GError **errp);
/* The same for text without NUL bytes: a password; free with secret_free_password(). */
char *secret_lookup_password(ObjectRegistry *reg, const char *id, GError **errp);
/* Wipe and free; NULL is fine. */
void secret_free_password(char *password);

#endif
