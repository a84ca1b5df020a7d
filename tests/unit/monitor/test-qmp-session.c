/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP sessions over real UNIX sockets: what a client sees (spec 70 sections 1-5, 14, 16). */
#include "util/osdep.h"
#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "monitor/monitor.h"
#include "qapi/json-stream.h"
#include "util/lock.h"

#define PATIENCE_MS 120000 /* only a hang gets there */

typedef struct {
    char *dir;
    ChardevList *chardevs;
    MonitorHub *hub;
    QapiEventSink events;
    unsigned opened; /* sockets so far */
} Fixture;

static bool marshal_urgent(QmpCall *call, JsonObject *args, JsonNode **ret, GError **errp)
{
    g_assert_false(bql_locked());
    *ret = json_node_init_string(json_node_alloc(), "at once");
    return true;
}

static bool marshal_announce(QmpCall *call, JsonObject *args, JsonNode **ret, GError **errp)
{
    Fixture *f = call->opaque;

    g_assert_true(bql_locked());
    qapi_event_emit(&f->events, "ANNOUNCED", NULL);
    *ret = json_node_init_int(json_node_alloc(), 1);
    return true;
}

static const QmpCommandDef test_commands[] = {
    {"urgent", true, false, marshal_urgent},
    {"announce", false, false, marshal_announce},
};

static void setup(Fixture *f, const void *data)
{
    f->dir = g_dir_make_tmp("godwit-qmp-XXXXXX", NULL);
    f->chardevs = chardev_list_new();
    f->hub = monitor_hub_new();
    f->events = monitor_hub_event_sink(f->hub);
    monitor_register_commands(f->hub);
    qmp_command_table_add(monitor_hub_commands(f->hub), test_commands, ARRAY_SIZE(test_commands),
                          f);
}

static void teardown(Fixture *f, const void *data)
{
    monitor_hub_free(f->hub);
    chardev_list_free(f->chardevs);
    for (unsigned i = 0; i < f->opened; i++) {
        g_autofree char *path = g_strdup_printf("%s/s%u", f->dir, i);

        g_unlink(path);
    }
    g_rmdir(f->dir);
    g_free(f->dir);
}

/* ---- the client's side ---- */

typedef struct {
    int fd;
    GString *in;
} Client;

/* A listening monitor; free with g_free(). */
static char *add_monitor(Fixture *f, bool pretty)
{
    char *path = g_strdup_printf("%s/s%u", f->dir, f->opened);
    g_autofree char *text = g_strdup_printf("unix:%s,server=on,wait=off", path);
    g_autofree char *label = g_strdup_printf("mon%u", f->opened++);
    g_autoptr(GError) err = NULL;
    Chardev *chr = chardev_new_short(f->chardevs, label, text, &err);

    g_assert_no_error(err);
    g_assert_true(monitor_add_qmp(f->hub, chr, pretty, &err));
    g_assert_no_error(err);
    return path;
}

static Client client_connect(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    Client c = {socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), g_string_new(NULL)};

    g_strlcpy(addr.sun_path, path, sizeof(addr.sun_path));
    g_assert_cmpint(connect(c.fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    return c;
}

static void client_close(Client *c)
{
    close(c->fd);
    g_string_free(c->in, TRUE);
}

static void client_send(Client *c, const char *text)
{
    g_assert_cmpint(send(c->fd, text, strlen(text), MSG_NOSIGNAL), ==, (gssize)strlen(text));
}

static void client_send_fds(Client *c, const char *text, const int *fds, unsigned n)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(16 * sizeof(int))];
    } control = {0};
    struct iovec iov = {(char *)text, strlen(text)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = CMSG_SPACE(n * sizeof(int))};
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(n * sizeof(int));
    memcpy(CMSG_DATA(cmsg), fds, n * sizeof(int));
    g_assert_cmpint(sendmsg(c->fd, &msg, MSG_NOSIGNAL), ==, (gssize)strlen(text));
}

/* The next line, without its CR LF. @run_main: let the main loop work meanwhile. */
static char *client_line(Client *c, bool run_main)
{
    int64_t limit = g_get_monotonic_time() + PATIENCE_MS * 1000;
    char *end;

    while (!(end = strstr(c->in->str, "\r\n"))) {
        struct pollfd p = {c->fd, POLLIN, 0};
        char buf[4096];

        g_assert_cmpint(g_get_monotonic_time(), <, limit);
        if (run_main) {
            g_main_context_iteration(NULL, FALSE);
        }
        if (poll(&p, 1, run_main ? 1 : 100) > 0) {
            ssize_t n = read(c->fd, buf, sizeof(buf));

            g_assert_cmpint(n, >, 0);
            g_string_append_len(c->in, buf, n);
        }
    }
    char *line = g_strndup(c->in->str, end - c->in->str);

    g_string_erase(c->in, 0, end + 2 - c->in->str);
    return line;
}

static void expect(Client *c, const char *text)
{
    g_autofree char *line = client_line(c, true);

    g_assert_cmpstr(line, ==, text);
}

static void expect_event(Client *c, const char *name)
{
    g_autofree char *line = client_line(c, true);
    g_autofree char *tail = g_strdup_printf("\"event\": \"%s\"}", name);

    g_assert_true(g_str_has_prefix(line, "{\"timestamp\": {\"seconds\": "));
    g_assert_true(g_str_has_suffix(line, tail));
}

static void expect_error(Client *c, const char *part)
{
    g_autofree char *line = client_line(c, true);

    g_assert_true(g_str_has_prefix(line, "{\"error\": "));
    g_assert_nonnull(strstr(line, part));
}

static void expect_greeting(Client *c)
{
    g_autofree char *line = client_line(c, true);

    g_assert_true(g_str_has_prefix(
        line, "{\"QMP\": {\"version\": {\"qemu\": {\"major\": 7, \"minor\": 2, \"micro\": 22}, "
              "\"package\": \"godwit-"));
    g_assert_true(g_str_has_suffix(line, "\"capabilities\": [\"oob\"]}}"));
}

/* Connected and in command mode. */
static Client client_ready(const char *path, bool oob)
{
    Client c = client_connect(path);

    expect_greeting(&c);
    client_send(&c, oob ? "{'execute':'qmp_capabilities','arguments':{'enable':['oob']}}"
                        : "{'execute':'qmp_capabilities'}");
    expect(&c, "{\"return\": {}}");
    return c;
}

/* ---- the tests ---- */

static void test_negotiation(Fixture *f, const void *data)
{
    g_autofree char *path = add_monitor(f, false);
    Client c = client_connect(path);

    expect_greeting(&c);
    client_send(&c, "{'execute':'query-version'}");
    expect_error(&c, "CommandNotFound");
    client_send(&c, "{'execute':'qmp_capabilities','arguments':{'enable':['nope']}}");
    expect_error(&c, "Parameter 'enable[0]' does not accept value 'nope'");
    client_send(&c, "{'exec-oob':'urgent'}");
    expect_error(&c, "QMP input member 'exec-oob' is unexpected");
    qapi_event_emit(&f->events, "UNHEARD", NULL);
    client_send(&c, "{'execute':'qmp_capabilities'}");
    expect(&c, "{\"return\": {}}");
    client_send(&c, "{'execute':'qmp_capabilities'}");
    expect_error(&c, "already complete");
    client_send(&c, "{'exec-oob':'urgent'}");
    expect_error(&c, "QMP input member 'exec-oob' is unexpected");
    client_send(&c, "{'execute':'query-name','id':{'a':[1,2.5,null,true]}}");
    expect(&c, "{\"return\": {}, \"id\": {\"a\": [1, 2.5, null, true]}}");
    client_close(&c);
}

static void test_stream(Fixture *f, const void *data)
{
    g_autofree char *path = add_monitor(f, false);
    Client c = client_ready(path, false);

    /* Two in one write; one in pieces; rubbish in between. */
    client_send(&c, "{'execute':'query-name','id':1}{'execute':'query-target','id':2}");
    expect(&c, "{\"return\": {}, \"id\": 1}");
    expect(&c, "{\"return\": {\"arch\": \"riscv64\"}, \"id\": 2}");
    for (const char *p = "\r\n {'execute':'query-name','id':3}"; *p; p++) {
        char piece[2] = {*p, 0};

        client_send(&c, piece);
        g_main_context_iteration(NULL, FALSE);
    }
    expect(&c, "{\"return\": {}, \"id\": 3}");
    client_send(&c, "{'execute':\xff{'execute':'query-name','id':4}");
    expect_error(&c, "JSON parse error, stray byte 0xff");
    expect(&c, "{\"return\": {}, \"id\": 4}");
    client_send(&c, "[]{'execute':'query-name','id':'\xc3\xa9\\u0000'}");
    expect_error(&c, "QMP input must be a JSON object");
    expect(&c, "{\"return\": {}, \"id\": \"\\u00E9\\u0000\"}");
    client_close(&c);
}

static void test_pretty(Fixture *f, const void *data)
{
    g_autofree char *path = add_monitor(f, true);
    Client c = client_connect(path);

    g_string_assign(c.in, "");
    g_autofree char *hello = client_line(&c, true);

    g_assert_true(g_str_has_prefix(hello, "{\n    \"QMP\": {\n        \"version\": {"));
    client_send(&c, "{'execute':'qmp_capabilities'}");
    expect(&c, "{\n    \"return\": {}\n}");
    client_close(&c);
}

static void test_events(Fixture *f, const void *data)
{
    g_autofree char *path_a = add_monitor(f, false);
    g_autofree char *path_b = add_monitor(f, false);
    Client a = client_ready(path_a, false);
    Client b = client_connect(path_b);

    expect_greeting(&b);
    /* An event comes before the reply of the command that caused it, and only to those who
     * negotiated. */
    client_send(&a, "{'execute':'announce'}");
    expect_event(&a, "ANNOUNCED");
    expect(&a, "{\"return\": 1}");
    client_send(&b, "{'execute':'qmp_capabilities'}");
    expect(&b, "{\"return\": {}}");
    qapi_event_emit(&f->events, "BOTH", NULL);
    expect_event(&a, "BOTH");
    expect_event(&b, "BOTH");
    client_close(&a);
    client_close(&b);
}

static void test_oob(Fixture *f, const void *data)
{
    g_autofree char *path = add_monitor(f, false);
    Client c = client_ready(path, true);

    /* The main loop does not run: the out-of-band command overtakes the others. */
    for (unsigned i = 0; i < 20; i++) {
        g_autofree char *text = g_strdup_printf("{'execute':'query-name','id':%u}", i);

        if (i == 5) {
            client_send(&c, "{'exec-oob':'urgent','id':'x'}{'exec-oob':'query-name','id':'y'}");
        }
        client_send(&c, text);
    }
    g_autofree char *first = client_line(&c, false);
    g_autofree char *second = client_line(&c, false);

    g_assert_cmpstr(first, ==, "{\"return\": \"at once\", \"id\": \"x\"}");
    g_assert_nonnull(strstr(second, "The command query-name does not support OOB"));
    for (unsigned i = 0; i < 20; i++) {
        g_autofree char *text = g_strdup_printf("{\"return\": {}, \"id\": %u}", i);

        expect(&c, text);
    }
    client_send(&c, "{'execute':'query-name','exec-oob':'urgent'}");
    expect_error(&c, "clashes");
    client_close(&c);
}

static int null_fd(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void test_fds(Fixture *f, const void *data)
{
    g_autofree char *path = add_monitor(f, false);
    Client c = client_ready(path, true);
    int fds[16];

    for (unsigned i = 0; i < 16; i++) {
        fds[i] = null_fd();
    }
    client_send(&c, "{'execute':'getfd','arguments':{'fdname':'a'}}");
    expect_error(&c, "No file descriptor supplied via SCM_RIGHTS");
    client_send_fds(&c, "{'execute':'getfd','arguments':{'fdname':'a'}}", fds, 16);
    expect(&c, "{\"return\": {}}");
    client_send(&c, "{'execute':'getfd','arguments':{'fdname':'b'}}");
    expect_error(&c, "No file descriptor supplied via SCM_RIGHTS");
    /* Two in flight at once do not steal each other's. */
    client_send_fds(&c, "{'execute':'getfd','arguments':{'fdname':'b'}}", fds, 1);
    client_send_fds(&c, "{'execute':'getfd','arguments':{'fdname':'c'}}", fds, 1);
    expect(&c, "{\"return\": {}}");
    expect(&c, "{\"return\": {}}");
    for (const char *name = "abc"; *name; name++) {
        g_autofree char *text =
            g_strdup_printf("{'execute':'closefd','arguments':{'fdname':'%c'}}", *name);

        client_send(&c, text);
        expect(&c, "{\"return\": {}}");
    }
    client_send(&c, "{'execute':'closefd','arguments':{'fdname':'a'}}");
    expect_error(&c, "\"File descriptor named 'a' not found\"");

    /* A descriptor that arrives with an earlier command of the same write is still there for the
     * next. */
    client_send_fds(&c, "{'execute':'query-name'}{'execute':'add-fd','arguments':{'fdset-id':4}}",
                    fds, 1);
    expect(&c, "{\"return\": {}}");
    g_autofree char *added = client_line(&c, true);

    g_assert_true(g_str_has_prefix(added, "{\"return\": {\"fdset-id\": 4, \"fd\": "));
    int dup = monitor_fdset_open(f->hub, "/dev/fdset/4", O_RDONLY, NULL);

    g_assert_cmpint(dup, >=, 0);
    close(dup);
    client_send(&c, "{'execute':'remove-fd','arguments':{'fdset-id':4}}{'execute':'query-fdsets'}");
    expect(&c, "{\"return\": {}}");
    expect(&c, "{\"return\": []}");
    for (unsigned i = 0; i < 16; i++) {
        close(fds[i]);
    }
    client_close(&c);
}

static void test_reconnect(Fixture *f, const void *data)
{
    g_autofree char *path = add_monitor(f, false);
    Client c = client_ready(path, true);
    int fd = null_fd();

    client_send_fds(&c, "{'execute':'getfd','arguments':{'fdname':'kept'}}", &fd, 1);
    expect(&c, "{\"return\": {}}");
    /* Leave with requests queued and half a command sent: the next client sees nothing of it. */
    client_send(&c, "{'execute':'announce'}{'execute':'announce'}{'execute':");
    client_close(&c);
    c = client_connect(path);
    expect_greeting(&c);
    client_send(&c, "{'execute':'query-name'}");
    expect_error(&c, "CommandNotFound");
    client_send(&c, "{'execute':'qmp_capabilities'}");
    expect(&c, "{\"return\": {}}");
    client_send(&c, "{'execute':'closefd','arguments':{'fdname':'kept'}}");
    expect(&c, "{\"return\": {}}");
    close(fd);
    client_close(&c);
}

/* Every command is in the schema, with arguments and result that resolve (spec 70 section 16, check
 * 4). */
static void test_schema(Fixture *f, const void *data)
{
    g_autoptr(JsonNode) schema = qapi_json_parse(qapi_schema_json, strlen(qapi_schema_json), NULL);
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GPtrArray) commands = qmp_command_table_names(monitor_hub_commands(f->hub));
    JsonArray *list = json_node_get_array(schema);

    for (unsigned i = 0; i < json_array_get_length(list); i++) {
        JsonObject *e = json_array_get_object_element(list, i);
        const char *name = json_object_get_string_member(e, "name");

        g_assert_true(g_hash_table_insert(names, (char *)name, e));
    }
    for (unsigned i = 0; i < commands->len; i++) {
        JsonObject *e = g_hash_table_lookup(names, commands->pdata[i]);

        if (!strcmp(commands->pdata[i], "urgent") || !strcmp(commands->pdata[i], "announce")) {
            continue;
        }
        g_assert_nonnull(e);
        g_assert_true(g_hash_table_contains(names, json_object_get_string_member(e, "arg-type")));
        g_assert_true(g_hash_table_contains(names, json_object_get_string_member(e, "ret-type")));
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        void (*run)(Fixture *f, const void *data);
    } tests[] = {
        {"/monitor/qmp/negotiation", test_negotiation},
        {"/monitor/qmp/stream", test_stream},
        {"/monitor/qmp/pretty", test_pretty},
        {"/monitor/qmp/events", test_events},
        {"/monitor/qmp/oob", test_oob},
        {"/monitor/qmp/fds", test_fds},
        {"/monitor/qmp/reconnect", test_reconnect},
        {"/monitor/qmp/schema", test_schema},
    };

    g_test_init(&argc, &argv, NULL);
    bql_lock();
    bql_attach_main_context(NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(tests); i++) {
        g_test_add(tests[i].path, Fixture, NULL, setup, tests[i].run, teardown);
    }
    return g_test_run();
}
