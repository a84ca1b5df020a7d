/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -netdev user: a network inside the process, by libslirp. Its sockets are polled by one GSource
 * that asks libslirp in each turn of the main loop what to watch. Guest frames may arrive on a vCPU
 * thread (big lock held), so the main loop is woken after each.
 */
#include "util/osdep.h"
#include <arpa/inet.h>
#include <slirp/libslirp.h>
#include "net-int.h"
#include "util/iov.h"
#include "util/keyval.h"

typedef struct {
    GSource source;
    NetBackend *nb;
    GArray *fds; /* GPollFD, as libslirp numbers them */
} SlirpSource;

typedef struct {
    Slirp *slirp;
    SlirpSource *source;
    char *hostname, *tftp, *bootfile, *domainname, *tftp_server_name;
} UserState;

/* ---- polling ---- */

static int add_poll(int fd, int events, void *opaque)
{
    SlirpSource *src = opaque;
    GPollFD pfd = {.fd = fd};

    pfd.events = (events & SLIRP_POLL_IN ? G_IO_IN : 0) | (events & SLIRP_POLL_OUT ? G_IO_OUT : 0) |
                 (events & SLIRP_POLL_PRI ? G_IO_PRI : 0) | G_IO_ERR | G_IO_HUP;
    g_array_append_val(src->fds, pfd);
    return src->fds->len - 1;
}

static int get_revents(int idx, void *opaque)
{
    SlirpSource *src = opaque;
    gushort r = g_array_index(src->fds, GPollFD, idx).revents;

    return (r & G_IO_IN ? SLIRP_POLL_IN : 0) | (r & G_IO_OUT ? SLIRP_POLL_OUT : 0) |
           (r & G_IO_PRI ? SLIRP_POLL_PRI : 0) | (r & G_IO_ERR ? SLIRP_POLL_ERR : 0) |
           (r & G_IO_HUP ? SLIRP_POLL_HUP : 0);
}

static void unwatch(SlirpSource *src)
{
    for (guint i = 0; i < src->fds->len; i++) {
        g_source_remove_poll(&src->source, &g_array_index(src->fds, GPollFD, i));
    }
}

static gboolean source_prepare(GSource *source, gint *timeout)
{
    SlirpSource *src = (SlirpSource *)source;
    UserState *s = src->nb->state;
    uint32_t wait = UINT32_MAX;

    /* The array may move while it grows: watch its elements only when it is complete. */
    unwatch(src);
    g_array_set_size(src->fds, 0);
    slirp_pollfds_fill(s->slirp, &wait, add_poll, src);
    for (guint i = 0; i < src->fds->len; i++) {
        g_source_add_poll(source, &g_array_index(src->fds, GPollFD, i));
    }
    *timeout = wait == UINT32_MAX ? -1 : (gint)MIN(wait, INT32_MAX);
    return FALSE;
}

/* libslirp's timers want a call after each poll, also when nothing happened. */
static gboolean source_check(GSource *source)
{
    return TRUE;
}

static gboolean source_dispatch(GSource *source, GSourceFunc fn, gpointer opaque)
{
    SlirpSource *src = (SlirpSource *)source;
    UserState *s = src->nb->state;

    slirp_pollfds_poll(s->slirp, 0, get_revents, src);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs source_funcs = {
    .prepare = source_prepare,
    .check = source_check,
    .dispatch = source_dispatch,
};

/* ---- what libslirp asks of us ---- */

static ssize_t cb_send_packet(const void *buf, size_t len, void *opaque)
{
    struct iovec iov = {(void *)buf, len};

    net_deliver(opaque, &iov, 1);
    return len;
}

static void cb_guest_error(const char *msg, void *opaque)
{
    warn_report("netdev '%s': %s", ((NetBackend *)opaque)->id, msg);
}

static int64_t cb_clock_get_ns(void *opaque)
{
    return clock_get_ns(((NetBackend *)opaque)->list->vclock);
}

static void *cb_timer_new(SlirpTimerCb cb, void *cb_opaque, void *opaque)
{
    return timer_new_ns(((NetBackend *)opaque)->list->vclock, cb, cb_opaque);
}

static void cb_timer_free(void *timer, void *opaque)
{
    timer_free(timer);
}

static void cb_timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
    timer_mod_ns(timer, expire_ms * SCALE_MS);
}

static void cb_poll_fd(int fd, void *opaque)
{
}

static void cb_notify(void *opaque)
{
    g_main_context_wakeup(NULL);
}

static const SlirpCb callbacks = {
    .send_packet = cb_send_packet,
    .guest_error = cb_guest_error,
    .clock_get_ns = cb_clock_get_ns,
    .timer_new = cb_timer_new,
    .timer_free = cb_timer_free,
    .timer_mod = cb_timer_mod,
    .register_poll_fd = cb_poll_fd,
    .unregister_poll_fd = cb_poll_fd,
    .notify = cb_notify,
};

/* ---- options ---- */

static bool parse_ip(JsonObject *options, const char *key, const char *dflt, struct in_addr *out,
                     GError **errp)
{
    const char *text = keyval_get_string(options, key);

    if (inet_pton(AF_INET, text ? text : dflt, out) == 1) {
        return true;
    }
    error_setg(errp, "Failed to parse %s: '%s' is not an IPv4 address", key, text);
    return false;
}

/* "10.0.2.0/24" */
static bool parse_network(JsonObject *options, SlirpConfig *cfg, GError **errp)
{
    const char *text = keyval_get_string(options, "net");
    g_auto(GStrv) parts = g_strsplit(text ? text : "10.0.2.0/24", "/", 2);
    uint64_t bits = 24;

    if (inet_pton(AF_INET, parts[0], &cfg->vnetwork) != 1 ||
        (parts[1] && (!g_ascii_string_to_unsigned(parts[1], 10, 4, 30, &bits, NULL)))) {
        error_setg(errp, "Failed to parse net: '%s' is not an IPv4 network such as 10.0.2.0/24",
                   text);
        return false;
    }
    cfg->vnetmask.s_addr = htonl(UINT32_MAX << (32 - bits));
    cfg->vnetwork.s_addr &= cfg->vnetmask.s_addr;
    return true;
}

static struct in_addr host_in(const SlirpConfig *cfg, uint32_t n)
{
    return (struct in_addr){cfg->vnetwork.s_addr | htonl(n)};
}

/* An address of the network: given in full, or the default host number. */
static bool parse_host(JsonObject *options, const char *key, const SlirpConfig *cfg, uint32_t n,
                       struct in_addr *out, GError **errp)
{
    char dflt[INET_ADDRSTRLEN];
    struct in_addr addr = host_in(cfg, n);

    inet_ntop(AF_INET, &addr, dflt, sizeof(dflt));
    if (!parse_ip(options, key, dflt, out, errp)) {
        return false;
    }
    if ((out->s_addr & cfg->vnetmask.s_addr) != cfg->vnetwork.s_addr) {
        error_setg(errp, "'%s' is not inside the network of the netdev", key);
        return false;
    }
    return true;
}

static bool parse_port(const char *text, int *port)
{
    uint64_t v;

    if (!g_ascii_string_to_unsigned(text, 10, 0, 65535, &v, NULL)) {
        return false;
    }
    *port = v;
    return true;
}

/* "[tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport" */
static bool add_hostfwd(NetBackend *nb, const char *rule, GError **errp)
{
    UserState *s = nb->state;
    g_autoptr(GRegex) re =
        g_regex_new("^(tcp|udp|):([0-9.]*):([0-9]+)-([0-9.]*):([0-9]+)$", 0, 0, NULL);
    g_autoptr(GMatchInfo) m = NULL;
    struct in_addr host = {0}, guest = {0};
    int host_port, guest_port;

    if (g_regex_match(re, rule, 0, &m)) {
        g_autofree char *proto = g_match_info_fetch(m, 1), *haddr = g_match_info_fetch(m, 2);
        g_autofree char *hport = g_match_info_fetch(m, 3), *gaddr = g_match_info_fetch(m, 4);
        g_autofree char *gport = g_match_info_fetch(m, 5);

        if ((*haddr && inet_pton(AF_INET, haddr, &host) != 1) ||
            (*gaddr && inet_pton(AF_INET, gaddr, &guest) != 1) || !parse_port(hport, &host_port) ||
            !parse_port(gport, &guest_port)) {
            error_setg(errp, "Invalid host forwarding rule '%s': bad address or port", rule);
            return false;
        }
        if (slirp_add_hostfwd(s->slirp, g_str_equal(proto, "udp"), host, host_port, guest,
                              guest_port) < 0) {
            error_setg(errp, "Could not set up host forwarding rule '%s': %s", rule,
                       g_strerror(errno));
            return false;
        }
        return true;
    }
    error_setg(errp,
               "Invalid host forwarding rule '%s'; expected "
               "tcp|udp:[hostaddr]:hostport-[guestaddr]:guestport",
               rule);
    return false;
}

/* A rule as text, or a list of {"str": rule}. */
static bool add_hostfwds(NetBackend *nb, JsonObject *options, GError **errp)
{
    JsonNode *node = json_object_get_member(options, "hostfwd");
    const char *one = keyval_get_string(options, "hostfwd");
    JsonArray *list;

    if (!node) {
        return true;
    }
    if (one) {
        return add_hostfwd(nb, one, errp);
    }
    if (!JSON_NODE_HOLDS_ARRAY(node)) {
        error_setg(errp, "Invalid parameter type for 'hostfwd', expected: array");
        return false;
    }
    list = json_node_get_array(node);
    for (guint i = 0; i < json_array_get_length(list); i++) {
        JsonNode *item = json_array_get_element(list, i);
        const char *rule = NULL;

        if (JSON_NODE_HOLDS_OBJECT(item)) {
            rule = keyval_get_string(json_node_get_object(item), "str");
        } else if (JSON_NODE_HOLDS_VALUE(item)) {
            rule = json_node_get_string(item);
        }
        if (!rule) {
            error_setg(errp, "Parameter 'hostfwd[%u].str' is missing", i);
            return false;
        }
        if (!add_hostfwd(nb, rule, errp)) {
            return false;
        }
    }
    return true;
}

static void user_close(NetBackend *nb)
{
    UserState *s = nb->state;

    if (s->source) {
        g_source_destroy(&s->source->source);
        g_array_unref(s->source->fds);
        g_source_unref(&s->source->source);
    }
    if (s->slirp) {
        slirp_cleanup(s->slirp);
    }
    g_free(s->hostname);
    g_free(s->tftp);
    g_free(s->bootfile);
    g_free(s->domainname);
    g_free(s->tftp_server_name);
    g_free(s);
    nb->state = NULL;
}

static bool parse_config(JsonObject *options, UserState *s, SlirpConfig *cfg, GError **errp)
{
    bool restricted, ipv4, ipv6;

    if (!keyval_get_bool(options, "restrict", false, &restricted, errp) ||
        !keyval_get_bool(options, "ipv4", true, &ipv4, errp) ||
        !keyval_get_bool(options, "ipv6", true, &ipv6, errp) ||
        !parse_network(options, cfg, errp) ||
        !parse_host(options, "host", cfg, 2, &cfg->vhost, errp) ||
        !parse_host(options, "dns", cfg, 3, &cfg->vnameserver, errp) ||
        !parse_host(options, "dhcpstart", cfg, 15, &cfg->vdhcp_start, errp)) {
        return false;
    }
    if (!ipv4 && !ipv6) {
        error_setg(errp, "IPv4 and IPv6 disabled");
        return false;
    }
    s->hostname = g_strdup(keyval_get_string(options, "hostname"));
    s->tftp = g_strdup(keyval_get_string(options, "tftp"));
    s->bootfile = g_strdup(keyval_get_string(options, "bootfile"));
    s->domainname = g_strdup(keyval_get_string(options, "domainname"));
    s->tftp_server_name = g_strdup(keyval_get_string(options, "tftp-server-name"));
    cfg->version = 1;
    cfg->restricted = restricted;
    cfg->in_enabled = ipv4;
    cfg->in6_enabled = ipv6;
    inet_pton(AF_INET6, "fec0::", &cfg->vprefix_addr6);
    cfg->vprefix_len = 64;
    inet_pton(AF_INET6, "fec0::2", &cfg->vhost6);
    inet_pton(AF_INET6, "fec0::3", &cfg->vnameserver6);
    cfg->vhostname = s->hostname;
    cfg->tftp_server_name = s->tftp_server_name;
    cfg->tftp_path = s->tftp;
    cfg->bootfile = s->bootfile;
    cfg->vdomainname = s->domainname;
    return true;
}

static bool user_open(NetBackend *nb, JsonObject *options, GError **errp)
{
    UserState *s = nb->state = g_new0(UserState, 1);
    SlirpConfig cfg = {0};
    char net[INET_ADDRSTRLEN];

    if (!parse_config(options, s, &cfg, errp)) {
        return false;
    }
    s->slirp = slirp_new(&cfg, &callbacks, nb);
    if (!s->slirp) {
        error_setg(errp, "Could not create the user network '%s'", nb->id);
        return false;
    }
    if (!add_hostfwds(nb, options, errp)) {
        return false;
    }
    s->source = (SlirpSource *)g_source_new(&source_funcs, sizeof(SlirpSource));
    s->source->nb = nb;
    s->source->fds = g_array_new(FALSE, FALSE, sizeof(GPollFD));
    g_source_set_name(&s->source->source, "slirp");
    g_source_attach(&s->source->source, NULL);
    inet_ntop(AF_INET, &cfg.vnetwork, net, sizeof(net));
    nb->info = g_strdup_printf("net=%s,restrict=%s", net, cfg.restricted ? "on" : "off");
    return true;
}

static void user_send(NetBackend *nb, const struct iovec *iov, unsigned n)
{
    UserState *s = nb->state;

    if (n == 1) {
        slirp_input(s->slirp, iov->iov_base, iov->iov_len);
    } else {
        size_t len = iov_size(iov, n);
        g_autofree uint8_t *flat = g_malloc(len);

        iov_to_buf(iov, n, 0, flat, len);
        slirp_input(s->slirp, flat, len);
    }
    g_main_context_wakeup(NULL); /* there may be new sockets to watch */
}

static const char *const user_keys[] = {"restrict",
                                        "ipv4",
                                        "ipv6",
                                        "net",
                                        "host",
                                        "dns",
                                        "dhcpstart",
                                        "hostname",
                                        "tftp",
                                        "bootfile",
                                        "tftp-server-name",
                                        "domainname",
                                        "hostfwd",
                                        NULL};

const NetKind net_kind_user = {
    .type = "user",
    .keys = user_keys,
    .open = user_open,
    .close = user_close,
    .send = user_send,
};
