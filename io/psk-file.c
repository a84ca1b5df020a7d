/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "io/psk-file.h"
#include "util/error.h"

#define USER_MAX 512 /* bytes of a name: GnuTLS takes no longer ones */
#define KEY_MAX  512

static GBytes *parse_hex(const char *hex, size_t len)
{
    g_autofree guint8 *key = NULL;

    if (!len || len % 2 || len / 2 > KEY_MAX) {
        return NULL;
    }
    key = g_malloc(len / 2);
    for (size_t i = 0; i < len; i += 2) {
        int high = g_ascii_xdigit_value(hex[i]), low = g_ascii_xdigit_value(hex[i + 1]);

        if (high < 0 || low < 0) {
            explicit_bzero(key, len / 2);
            return NULL;
        }
        key[i / 2] = high << 4 | low;
    }
    return g_bytes_new_take(g_steal_pointer(&key), len / 2);
}

/* The message never quotes the line: it may hold a key. */
static bool parse_line(const char *line, size_t len, GHashTable *keys, GError **errp)
{
    const char *colon = memchr(line, ':', len);
    size_t user_len = colon ? (size_t)(colon - line) : 0;
    g_autofree char *user = NULL;
    GBytes *key;

    if (!user_len || user_len > USER_MAX || memchr(line, '\0', user_len)) {
        error_setg(errp, "expected USER:HEXKEY");
        return false;
    }
    user = g_strndup(line, user_len);
    if (g_hash_table_contains(keys, user)) {
        error_setg(errp, "a second key for user '%s'", user);
        return false;
    }
    key = parse_hex(colon + 1, len - user_len - 1);
    if (!key) {
        error_setg(errp, "the key of user '%s' is not 1 to %d bytes in hexadecimal", user, KEY_MAX);
        return false;
    }
    g_hash_table_insert(keys, g_steal_pointer(&user), key);
    return true;
}

GHashTable *psk_file_parse(const char *text, size_t len, GError **errp)
{
    g_autoptr(GHashTable) keys =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_bytes_unref);
    const char *end = text + len;

    for (unsigned number = 1; text < end; number++) {
        const char *newline = memchr(text, '\n', end - text);
        const char *stop = newline ? newline : end;
        size_t n = stop - text;

        while (n && (text[n - 1] == '\r' || text[n - 1] == ' ')) {
            n--;
        }
        if (n && text[0] != '#' && !parse_line(text, n, keys, errp)) {
            g_prefix_error(errp, "line %u: ", number);
            return NULL;
        }
        text = newline ? newline + 1 : end;
    }
    if (!g_hash_table_size(keys)) {
        error_setg(errp, "no key in it");
        return NULL;
    }
    return g_steal_pointer(&keys);
}
