/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests and their replies (spec 70 sections 2-4), descriptors, and event limits: the parts
 * without a chardev. */
#include "util/osdep.h"
#include <fcntl.h>
#include "monitor/internal.h"
#include "qapi/json-stream.h"

static bool marshal_ok(QmpCall *call, JsonObject *args, JsonNode **ret, GError **errp)
{
    *ret = json_node_init_int(json_node_alloc(), args ? (int)json_object_get_size(args) : -1);
    return true;
}

static bool marshal_fail(QmpCall *call, JsonObject *args, JsonNode **ret, GError **errp)
{
    error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device 'x' not found");
    return false;
}

static const QmpCommandDef commands[] = {
    {"ok", false, false, marshal_ok},
    {"urgent", true, false, marshal_ok},
    {"fail", false, false, marshal_fail},
    {"qmp_capabilities", false, true, marshal_ok},
};

typedef struct {
    unsigned flags;
    const char *request, *reply;
} Case;

#define ERR(text) "{\"error\": {\"class\": \"GenericError\", \"desc\": \"" text "\"}}"
#define ERR_ID(text, id) \
    "{\"error\": {\"class\": \"GenericError\", \"desc\": \"" text "\"}, \"id\": " id "}"
#define NOT_FOUND(text) "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"" text "\"}}"

static const Case cases[] = {
    {0, "{'execute': 'ok'}", "{\"return\": -1}"},
    {0, "{'execute': 'ok', 'arguments': {}}", "{\"return\": 0}"},
    {0, "{'arguments': {'a': 1}, 'id': {'a': [1, 2.5, null, true]}, 'execute': 'ok'}",
     "{\"return\": 1, \"id\": {\"a\": [1, 2.5, null, true]}}"},
    {0, "{'execute': 'ok', 'id': null}", "{\"return\": -1, \"id\": null}"},
    {0, "{'execute': 'fail', 'id': 18446744073709551615}",
     "{\"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"Device 'x' not found\"}, \"id\": "
     "18446744073709551615}"},
    {0, "[]", ERR("QMP input must be a JSON object")},
    {0, "12", ERR("QMP input must be a JSON object")},
    {0, "null", ERR("QMP input must be a JSON object")},
    {0, "{}", ERR("QMP input lacks member 'execute'")},
    {0, "{'id': 3}", ERR_ID("QMP input lacks member 'execute'", "3")},
    {0, "{'execute': 3}", ERR("QMP input member 'execute' must be a string")},
    {0, "{'execute': 18446744073709551615}", ERR("QMP input member 'execute' must be a string")},
    {0, "{'execute': 'ok', 'arguments': []}",
     ERR("QMP input member 'arguments' must be an object")},
    {0, "{'execute': 'ok', 'arguments': null}",
     ERR("QMP input member 'arguments' must be an object")},
    {0, "{'execute': 'ok', 'foo': 1, 'id': 'x'}",
     ERR_ID("QMP input member 'foo' is unexpected", "\"x\"")},
    {0, "{'execute': 'nope'}", NOT_FOUND("The command nope has not been found")},
    {0, "{'execute': 'qmp_capabilities'}",
     NOT_FOUND("Capabilities negotiation is already complete, command ignored")},
    {0, "{'exec-oob': 'urgent'}", ERR("QMP input member 'exec-oob' is unexpected")},
    {QMP_NEGOTIATING, "{'execute': 'ok'}",
     NOT_FOUND("Expecting capabilities negotiation with 'qmp_capabilities'")},
    {QMP_NEGOTIATING, "{'execute': 'nope'}",
     NOT_FOUND("Expecting capabilities negotiation with 'qmp_capabilities'")},
    {QMP_NEGOTIATING, "{'execute': 'qmp_capabilities'}", "{\"return\": -1}"},
    {QMP_OOB_ENABLED, "{'exec-oob': 'urgent', 'id': 1}", "{\"return\": -1, \"id\": 1}"},
    {QMP_OOB_ENABLED, "{'execute': 'urgent'}", "{\"return\": -1}"},
    {QMP_OOB_ENABLED, "{'exec-oob': 'ok'}", ERR("The command ok does not support OOB")},
    {QMP_OOB_ENABLED, "{'exec-oob': 'nope'}", NOT_FOUND("The command nope has not been found")},
    {QMP_OOB_ENABLED, "{'execute': 'ok', 'exec-oob': 'ok'}",
     ERR("QMP input member 'exec-oob' clashes with 'execute'")},
};

static void test_dispatch(void)
{
    QmpCommandTable *t = qmp_command_table_new();

    qmp_command_table_add(t, commands, ARRAY_SIZE(commands), NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autoptr(JsonNode) request =
            qapi_json_parse(cases[i].request, strlen(cases[i].request), NULL);
        g_autoptr(JsonNode) reply = qmp_dispatch(t, NULL, request, cases[i].flags);
        g_autofree char *text = qapi_json_to_string(reply, false);

        g_assert_cmpstr(text, ==, cases[i].reply);
    }
    qmp_command_table_free(t);
}

/* ---- events ---- */

static void deliver(void *opaque, JsonNode *event)
{
    JsonObject *obj = json_node_get_object(event);
    JsonObject *stamp = json_object_get_object_member(obj, "timestamp");

    g_assert_cmpint(json_object_get_int_member(stamp, "seconds"), >, 1600000000);
    g_assert_cmpint(json_object_get_int_member(stamp, "microseconds"), <, 1000000);
    g_string_append(opaque, json_object_get_string_member(obj, "event"));
    if (json_object_has_member(obj, "data")) {
        JsonObject *data = json_object_get_object_member(obj, "data");

        if (json_object_has_member(data, "n")) {
            g_string_append_printf(opaque, "%d", (int)json_object_get_int_member(data, "n"));
        }
    }
    g_string_append_c(opaque, ' ');
}

static JsonObject *data_with(int n, const char *name, const char *value)
{
    JsonObject *data = json_object_new();

    json_object_set_int_member(data, "n", n);
    if (name) {
        json_object_set_string_member(data, name, value);
    }
    return data;
}

static void test_events(void)
{
    g_autoptr(GString) log = g_string_new(NULL);
    Clock *clock = clock_virtual_new();
    EventLimiter *l;

    clock_virtual_set_manual(clock);
    l = event_limiter_new(clock, deliver, log);

    /* Not limited: all of them, in order. */
    event_limiter_emit(l, "STOP", NULL);
    event_limiter_emit(l, "MIGRATION", data_with(1, NULL, NULL));
    event_limiter_emit(l, "MIGRATION", data_with(2, NULL, NULL));
    g_assert_cmpstr(log->str, ==, "STOP MIGRATION1 MIGRATION2 ");
    g_string_truncate(log, 0);

    /* Limited: the first at once, of the rest the last when the window closes, and so on. */
    for (int i = 1; i <= 4; i++) {
        event_limiter_emit(l, "RTC_CHANGE", data_with(i, NULL, NULL));
    }
    g_assert_cmpstr(log->str, ==, "RTC_CHANGE1 ");
    clock_virtual_step_to(clock, 999 * SCALE_MS);
    g_assert_cmpstr(log->str, ==, "RTC_CHANGE1 ");
    clock_virtual_step_to(clock, 1000 * SCALE_MS);
    g_assert_cmpstr(log->str, ==, "RTC_CHANGE1 RTC_CHANGE4 ");
    event_limiter_emit(l, "RTC_CHANGE", data_with(5, NULL, NULL));
    g_assert_cmpstr(log->str, ==, "RTC_CHANGE1 RTC_CHANGE4 ");
    clock_virtual_step_to(clock, 2000 * SCALE_MS);
    clock_virtual_step_to(clock, 3000 * SCALE_MS);
    event_limiter_emit(l, "RTC_CHANGE", data_with(6, NULL, NULL));
    g_assert_cmpstr(log->str, ==, "RTC_CHANGE1 RTC_CHANGE4 RTC_CHANGE5 RTC_CHANGE6 ");
    g_string_truncate(log, 0);

    /* By id. */
    event_limiter_emit(l, "VSERPORT_CHANGE", data_with(1, "id", "a"));
    event_limiter_emit(l, "VSERPORT_CHANGE", data_with(2, "id", "b"));
    event_limiter_emit(l, "VSERPORT_CHANGE", data_with(3, "id", "a"));
    g_assert_cmpstr(log->str, ==, "VSERPORT_CHANGE1 VSERPORT_CHANGE2 ");
    g_string_truncate(log, 0);

    /* An I/O error that stops the VM is never held back. */
    event_limiter_emit(l, "BLOCK_IO_ERROR", data_with(1, "action", "report"));
    event_limiter_emit(l, "BLOCK_IO_ERROR", data_with(2, "action", "report"));
    event_limiter_emit(l, "BLOCK_IO_ERROR", data_with(3, "action", "stop"));
    g_assert_cmpstr(log->str, ==, "BLOCK_IO_ERROR1 BLOCK_IO_ERROR3 ");
    g_string_truncate(log, 0);

    /* A change of clock lets go what waits. */
    event_limiter_set_clock(l, clock_realtime());
    g_assert_nonnull(strstr(log->str, "BLOCK_IO_ERROR2"));
    g_assert_nonnull(strstr(log->str, "VSERPORT_CHANGE3"));

    event_limiter_free(l);
    clock_free(clock);
}

/* ---- descriptors ---- */

static int open_null(int flags)
{
    int fd = open("/dev/null", flags | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void test_named_fds(void)
{
    FdStore *s = fd_store_new();
    g_autoptr(GError) err = NULL;
    int first = open_null(O_RDONLY), second = open_null(O_RDONLY), third = open_null(O_RDONLY);

    g_assert_true(fd_store_put(s, "a", first, &err));
    g_assert_true(fd_store_put(s, "a", second, &err));
    g_assert_false(is_open(first));
    g_assert_cmpint(fd_store_take(s, "a", &err), ==, second);
    g_assert_true(is_open(second));
    g_assert_cmpint(fd_store_take(s, "a", &err), ==, -1);
    g_assert_cmpstr(err->message, ==, "File descriptor named 'a' has not been found");
    g_clear_error(&err);
    g_assert_false(fd_store_put(s, "1a", third, &err));
    g_assert_cmpstr(err->message, ==,
                    "Parameter 'fdname' expects a name not starting with a digit");
    g_assert_false(is_open(third));
    close(second);
    fd_store_free(s);
}

static void test_fdsets(void)
{
    FdStore *s = fd_store_new();
    g_autoptr(GError) err = NULL;
    int ro = open_null(O_RDONLY), wo = open_null(O_WRONLY), other = open_null(O_RDWR);

    g_assert_cmpint(fd_store_set_add(s, 1, ro, "text", &err), ==, 1);
    g_assert_cmpint(fd_store_set_add(s, -1, other, NULL, &err), ==, 0);
    g_assert_cmpint(fd_store_set_add(s, 1, wo, NULL, &err), ==, 1);

    int dup = fd_store_set_open(s, 1, O_WRONLY, &err);

    g_assert_cmpint(dup, >=, 0);
    g_assert_cmpint(dup, !=, wo);
    g_assert_cmpint(fcntl(dup, F_GETFL) & O_ACCMODE, ==, O_WRONLY);
    close(dup);
    g_assert_cmpint(fd_store_set_open(s, 1, O_RDWR, &err), ==, -1);
    g_assert_cmpstr(err->message, ==, "Could not open '/dev/fdset/1': Permission denied");
    g_clear_error(&err);
    g_assert_cmpint(fd_store_set_open(s, 7, O_RDWR, &err), ==, -1);
    g_assert_cmpstr(err->message, ==, "Could not open '/dev/fdset/7': No such file or directory");
    g_clear_error(&err);

    g_assert_true(fd_store_set_remove(s, 1, wo, &err));
    g_assert_false(is_open(wo));
    g_assert_true(is_open(ro));
    g_assert_true(fd_store_set_remove(s, 1, -1, &err));
    g_assert_false(is_open(ro));
    g_assert_false(fd_store_set_remove(s, 1, -1, &err));
    g_assert_cmpstr(err->message, ==, "File descriptor named 'fdset-id:1' not found");
    fd_store_free(s);
    g_assert_false(is_open(other));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/monitor/dispatch", test_dispatch);
    g_test_add_func("/monitor/events", test_events);
    g_test_add_func("/monitor/fds/named", test_named_fds);
    g_test_add_func("/monitor/fds/sets", test_fdsets);
    return g_test_run();
}
