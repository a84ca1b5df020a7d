/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The short forms of -serial, -monitor, -qmp and -qtest, spelled out as -chardev options. */
#include "backends/chardev-internal.h"
#include "io/socket-address.h"
#include "util/keyval.h"

/* "server", "nowait": flags of old, "no" turns them off. keyval made them "on". */
static void translate_old_flags(JsonObject *options)
{
    static const char *const flags[][2] = {{"nowait", "wait"}, {"noserver", "server"}};

    for (unsigned i = 0; i < ARRAY_SIZE(flags); i++) {
        if (json_object_has_member(options, flags[i][0])) {
            json_object_remove_member(options, flags[i][0]);
            json_object_set_string_member(options, flags[i][1], "off");
        }
    }
}

/* "HOST:PORT[,key=value...]" */
static JsonObject *parse_tcp(const char *text, GError **errp)
{
    size_t addr_len = strcspn(text, ",");
    g_autofree char *addr_text = g_strndup(text, addr_len);
    g_autoptr(SocketAddress) addr = socket_address_parse_inet(addr_text, errp);
    JsonObject *options;

    if (!addr) {
        return NULL;
    }
    options = keyval_parse(text + addr_len + (text[addr_len] == ','), NULL, errp);
    if (options) {
        json_object_set_string_member(options, "host", addr->u.inet->host);
        json_object_set_string_member(options, "port", addr->u.inet->port);
    }
    return options;
}

/* PATH up to the end, or NULL. */
static JsonObject *with_rest(const char *key, const char *rest)
{
    JsonObject *options = json_object_new();

    if (rest) {
        json_object_set_string_member(options, key, rest);
    }
    return options;
}

static JsonObject *parse_form(const char *name, const char *rest, const char **backend,
                              GError **errp)
{
    static const struct {
        const char *name, *key; /* what comes after the colon */
        bool rest_required;
    } forms[] = {
        {"null", NULL, false},  {"vc", "", false},      {"stdio", NULL, false},
        {"pty", "path", false}, {"file", "path", true}, {"pipe", "path", true},
        {"fd", "fd", true},
    };

    *backend = "socket";
    if (strcmp(name, "unix") == 0 && rest) {
        return keyval_parse(rest, "path", errp);
    }
    if (strcmp(name, "tcp") == 0 && rest) {
        return parse_tcp(rest, errp);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(forms); i++) {
        if (strcmp(name, forms[i].name) == 0 &&
            (rest ? forms[i].key != NULL : !forms[i].rest_required)) {
            *backend = forms[i].name;
            /* vc:80x25 sizes a window that we do not have */
            return with_rest(forms[i].key, forms[i].key && forms[i].key[0] ? rest : NULL);
        }
    }
    return NULL;
}

JsonObject *chardev_parse_short(const char *label, const char *text, GError **errp)
{
    const char *colon = strchr(text, ':'), *backend = NULL;
    g_autofree char *name = colon ? g_strndup(text, colon - text) : g_strdup(text);
    g_autoptr(GError) err = NULL;
    JsonObject *options = parse_form(name, colon ? colon + 1 : NULL, &backend, &err);

    if (!options) {
        if (err) {
            g_propagate_error(errp, g_steal_pointer(&err));
        } else {
            error_setg(errp, "'%s' is not a valid char driver", text);
        }
        return NULL;
    }
    translate_old_flags(options);
    json_object_set_string_member(options, "backend", backend);
    json_object_set_string_member(options, "id", label);
    return options;
}
