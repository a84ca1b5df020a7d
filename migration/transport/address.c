/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where to: URIs, channel lists and the forms of -incoming become one MigrationTransport
 * (spec 35 sections 1 and 1.1, spec 71 section 2).
 */
#include "io/socket-address.h"
#include "migration/transport/kinds.h"
#include "qapi/json.h"
#include "util/cutils.h"
#include "util/keyval.h"

static const TransportOps *ops_of(const MigrationAddress *addr)
{
    switch (addr->transport) {
    case MIGRATION_ADDRESS_TYPE_EXEC:
        return &transport_exec_ops;
    case MIGRATION_ADDRESS_TYPE_FILE:
        return &transport_file_ops;
    case MIGRATION_ADDRESS_TYPE_RDMA:
        return &transport_rdma_ops;
    default:
        return addr->u.socket->type == SOCKET_ADDRESS_TYPE_FD ? &transport_fd_ops
                                                              : &transport_socket_ops;
    }
}

/* Takes @addr. */
static MigrationTransport *transport_new(MigrationAddress *addr, GError **errp)
{
    const TransportOps *ops = ops_of(addr);
    MigrationTransport *t;

    if (!ops->check(addr, errp)) {
        qapi_free_MigrationAddress(addr);
        return NULL;
    }
    t = g_new0(MigrationTransport, 1);
    t->ops = ops;
    t->addr = addr;
    t->name = ops->name(addr);
    return t;
}

MigrationTransport *transport_new_from_address(const MigrationAddress *addr, GError **errp)
{
    return transport_new(qapi_clone_MigrationAddress(addr), errp);
}

MigrationTransport *transport_copy(const MigrationTransport *t)
{
    MigrationTransport *copy = g_new(MigrationTransport, 1);

    *copy = *t;
    copy->addr = qapi_clone_MigrationAddress(t->addr);
    copy->name = g_strdup(t->name);
    return copy;
}

void transport_set_options(MigrationTransport *t, const MigrationOptions *o)
{
    t->options = o;
}

void transport_free(MigrationTransport *t)
{
    if (t) {
        qapi_free_MigrationAddress(t->addr);
        g_free(t->name);
        g_free(t);
    }
}

MigrationTransport *transport_parse_uri(const char *uri, GError **errp)
{
    static const char *const socket_prefixes[] = {"tcp:", "unix:", "vsock:", "fd:"};
    g_autoptr(MigrationAddress) addr = g_new0(MigrationAddress, 1);

    for (unsigned i = 0; i < ARRAY_SIZE(socket_prefixes); i++) {
        if (g_str_has_prefix(uri, socket_prefixes[i])) {
            SocketAddress *sa = socket_address_parse(uri, errp);

            addr->transport = MIGRATION_ADDRESS_TYPE_SOCKET;
            addr->u.socket = sa;
            return sa ? transport_new(g_steal_pointer(&addr), errp) : NULL;
        }
    }
    if (g_str_has_prefix(uri, "exec:")) {
        addr->transport = MIGRATION_ADDRESS_TYPE_EXEC;
        addr->u.exec = transport_exec_parse(uri + strlen("exec:"));
        return transport_new(g_steal_pointer(&addr), errp);
    }
    if (g_str_has_prefix(uri, "file:")) {
        FileMigrationArgs *args = transport_file_parse(uri + strlen("file:"), errp);

        addr->transport = MIGRATION_ADDRESS_TYPE_FILE;
        addr->u.file = args;
        return args ? transport_new(g_steal_pointer(&addr), errp) : NULL;
    }
    if (g_str_has_prefix(uri, "rdma:")) {
        g_autoptr(SocketAddress) sa = socket_address_parse_inet(uri + strlen("rdma:"), errp);

        addr->transport = MIGRATION_ADDRESS_TYPE_RDMA;
        addr->u.rdma = sa ? qapi_clone_InetSocketAddress(sa->u.inet) : NULL;
        return sa ? transport_new(g_steal_pointer(&addr), errp) : NULL;
    }
    error_setg(errp, "unknown migration protocol: %s", uri);
    return NULL;
}

static MigrationTransport *from_channels(const GPtrArray *channels, GError **errp)
{
    const MigrationChannel *found[MIGRATION_CHANNEL_TYPE__MAX] = {NULL};

    for (unsigned i = 0; i < channels->len; i++) {
        const MigrationChannel *c = g_ptr_array_index(channels, i);

        if (found[c->channel_type]) {
            error_setg(errp, "Channel list has more than one %s entry",
                       MigrationChannelType_str(c->channel_type));
            return NULL;
        }
        found[c->channel_type] = c;
    }
    if (!found[MIGRATION_CHANNEL_TYPE_MAIN]) {
        error_setg(errp, "Channel list has no main entry");
        return NULL;
    }
    return transport_new_from_address(found[MIGRATION_CHANNEL_TYPE_MAIN]->addr, errp);
}

MigrationTransport *transport_parse_args(const char *uri, const GPtrArray *channels, GError **errp)
{
    if (!uri == !channels) {
        error_setg(errp, "need either 'uri' or 'channels' argument");
        return NULL;
    }
    return uri ? transport_parse_uri(uri, errp) : from_channels(channels, errp);
}

/* ---- -incoming ---- */

/* "main,addr.transport=...": option values are text, the schema wants numbers and booleans. */
static bool type_option_values(JsonObject *addr, GError **errp)
{
    static const char *const bools[] = {"ipv4",  "ipv6",     "numeric", "keep-alive",
                                        "mptcp", "abstract", "tight"};
    static const char *const numbers[] = {"offset", "to"};

    for (unsigned i = 0; i < ARRAY_SIZE(bools); i++) {
        bool value;

        if (json_object_has_member(addr, bools[i])) {
            if (!keyval_get_bool(addr, bools[i], false, &value, errp)) {
                return false;
            }
            json_object_set_boolean_member(addr, bools[i], value);
        }
    }
    for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++) {
        uint64_t value;

        if (json_object_has_member(addr, numbers[i])) {
            if (!keyval_get_size(addr, numbers[i], 1, 0, &value, errp)) {
                return false;
            }
            json_object_set_member(addr, numbers[i], qapi_json_new_uint(value));
        }
    }
    return true;
}

static bool looks_like_uri(const char *text)
{
    size_t letters = 0;

    while (g_ascii_isalpha(text[letters])) {
        letters++;
    }
    return letters && text[letters] == ':';
}

MigrationTransport *transport_parse_option(const char *text, GError **errp)
{
    g_autoptr(JsonObject) obj = NULL;
    g_autoptr(JsonNode) node = NULL;
    g_autoptr(MigrationChannel) channel = NULL;
    JsonNode *addr;

    if (looks_like_uri(text) || !(text[0] == '{' || strchr(text, '='))) {
        return transport_parse_uri(text, errp);
    }
    obj = keyval_parse(text, "channel-type", errp);
    if (!obj) {
        return NULL;
    }
    addr = json_object_get_member(obj, "addr");
    if (text[0] != '{' && addr && JSON_NODE_HOLDS_OBJECT(addr) &&
        !type_option_values(json_node_get_object(addr), errp)) {
        return NULL;
    }
    node = json_node_init_object(json_node_alloc(), obj);
    channel = qapi_MigrationChannel_from_json(node, NULL, errp);
    return channel ? transport_new_from_address(channel->addr, errp) : NULL;
}

/* ---- questions ---- */

unsigned transport_flags(const MigrationTransport *t)
{
    return t->ops->flags;
}

const MigrationAddress *transport_address(const MigrationTransport *t)
{
    return t->addr;
}

const char *transport_name(const MigrationTransport *t)
{
    return t->name;
}

const char *transport_hostname(const MigrationTransport *t)
{
    if (t->addr->transport == MIGRATION_ADDRESS_TYPE_SOCKET &&
        t->addr->u.socket->type == SOCKET_ADDRESS_TYPE_INET) {
        return t->addr->u.socket->u.inet->host;
    }
    return NULL;
}
