/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the generator makes of sample.json: every kind of type, command and event. */
#include "util/osdep.h"
#include "qapi-commands-sample.h"
#include "qapi-events-sample.h"
#include "qapi/json-stream.h"

/* ---- the implementation ---- */

static unsigned nothing_calls;

void qmp_nothing(QmpCall *call, GError **errp)
{
    nothing_calls++;
}

Ints *qmp_echo_ints(QmpCall *call, const Ints *args, GError **errp)
{
    return qapi_clone_Ints(args);
}

Shape *qmp_echo_shape(QmpCall *call, const Shape *args, GError **errp)
{
    return qapi_clone_Shape(args);
}

int64_t qmp_add(QmpCall *call, const QmpArgs_add *args, GError **errp)
{
    int64_t sum = args->a + (args->has_b ? args->b : 0);

    if (args->text) {
        sum += args->text->type == QAPI_ALT_NULL ? 1000 : (int64_t)strlen(args->text->u.s);
    }
    if (args->mixed && args->mixed->type == QAPI_ALT_INT) {
        sum += args->mixed->u.count;
    } else if (args->mixed && args->mixed->type == QAPI_ALT_ARRAY) {
        sum += args->mixed->u.list->len * 100;
    } else if (args->mixed && args->mixed->type == QAPI_ALT_OBJECT) {
        sum += (int64_t)strlen(args->mixed->u.thing->id) * 10000;
    }
    if (sum < 0) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_ACTIVE, "negative");
    }
    return sum;
}

JsonNode *qmp_raw(QmpCall *call, JsonObject *args, GError **errp)
{
    return json_node_init_int(json_node_alloc(), args ? json_object_get_size(args) : 0);
}

char *qmp_greet(QmpCall *call, const QmpArgs_greet *args, GError **errp)
{
    return g_strdup_printf("%s %s", (const char *)call->opaque, args->who ? args->who : "nobody");
}

GArray *qmp_list(QmpCall *call, const QmpArgs_list *args, GError **errp)
{
    GArray *list = g_array_new(FALSE, FALSE, sizeof(uint64_t));

    for (unsigned i = 0; i < args->n; i++) {
        uint64_t v = UINT64_MAX - i;

        g_array_append_val(list, v);
    }
    return list;
}

/* ---- the tests ---- */

static char *run(const char *name, const char *args)
{
    g_autoptr(GError) err = NULL;
    QmpCommandTable *t = qmp_command_table_new();
    QmpCall call = {0};
    g_autoptr(JsonNode) node = args ? qapi_json_parse(args, strlen(args), &err) : NULL;
    g_autoptr(JsonNode) ret = NULL;

    g_assert_no_error(err);
    qmp_register_sample(t, (void *)"hello");
    const QmpCommandDef *def = qmp_command_table_find(t, name, &call.opaque);

    g_assert_nonnull(def);
    bool ok = def->marshal(&call, node ? json_node_get_object(node) : NULL, &ret, &err);

    g_assert_true(ok == (err == NULL) && ok == (ret != NULL));
    qmp_command_table_free(t);
    return ok ? qapi_json_to_string(ret, false)
              : g_strdup_printf("!%s: %s", error_class_name(error_get_class(err)), err->message);
}

typedef struct {
    const char *command, *args, *result;
} Case;

static const Case cases[] = {
    {"nothing", NULL, "{}"},
    {"nothing", "{}", "{}"},
    {"nothing", "{'x': 1}", "!GenericError: Parameter 'x' is unexpected"},
    {"greet", NULL, "\"hello nobody\""},
    {"greet", "{'who': 'you'}", "\"hello you\""},
    {"add", NULL, "!GenericError: Parameter 'a' is missing"},
    {"add", "{'a': 1, 'b': 2}", "3"},
    {"add", "{'a': -1}", "!DeviceNotActive: negative"},
    {"add", "{'a': 1, 'text': 'four'}", "5"},
    {"add", "{'a': 1, 'text': null}", "1001"},
    {"add", "{'a': 1, 'text': 3}", "!GenericError: Parameter 'text' expects string or null"},
    {"add", "{'a': 1, 'mixed': 5}", "6"},
    {"add", "{'a': 1, 'mixed': ['x', 'y']}", "201"},
    {"add", "{'a': 1, 'mixed': {'id': 'xy'}}", "20001"},
    {"add", "{'a': 1, 'mixed': true}", "1"},
    {"add", "{'a': 1, 'mixed': 65536}", "!GenericError: Parameter 'mixed' expects uint16"},
    {"add", "{'a': 1, 'mixed': ['x', 1]}", "!GenericError: Parameter 'mixed[1]' expects string"},
    {"add", "{'a': 1, 'mixed': {'id': 1}}", "!GenericError: Parameter 'mixed.id' expects string"},
    {"add", "{'a': 1, 'mixed': 'x'}",
     "!GenericError: Parameter 'mixed' expects boolean or integer or object or array"},
    {"add", "{'a': 1.5}", "!GenericError: Parameter 'a' expects integer"},
    {"add", "{'a': '1'}", "!GenericError: Parameter 'a' expects integer"},
    {"add", "{'a': 9223372036854775808}", "!GenericError: Parameter 'a' expects integer"},
    {"raw", "{'a': 1, 'x': {}}", "2"},
    {"raw", NULL, "0"},
    {"list", "{'n': 2}", "[18446744073709551615, 18446744073709551614]"},
    {"list", "{'n': 0}", "[]"},
    {"echo-shape", "{'kind': 'dark-green'}", "{\"kind\": \"dark-green\"}"},
    {"echo-shape", "{'kind': 'dark-green', 'id': 'x'}",
     "!GenericError: Parameter 'id' is unexpected"},
    {"echo-shape", "{'kind': 'never'}",
     "!GenericError: Parameter 'kind' does not accept value 'never'"},
    {"echo-shape", "{'kind': 'red'}", "!GenericError: Parameter 'id' is missing"},
    {"echo-shape", "{'kind': 'red', 'id': 'x'}", "!GenericError: Parameter 'colour' is missing"},
    {"echo-shape",
     "{'kind': 'red', 'label': 'l', 'id': 'x', 'weight': 255, 'colour': 'red', 'static': true, "
     "'numbers': [-32768, 32767], 'names': [], 'colours': ['red', 'dark-green'], "
     "'things': [{'id': 'y', 'colour': 'red'}], 'anything': {'a': [1, null]}, 'real': 1}",
     "{\"kind\": \"red\", \"label\": \"l\", \"id\": \"x\", \"weight\": 255, \"colour\": \"red\", "
     "\"static\": true, \"numbers\": [-32768, 32767], \"names\": [], "
     "\"colours\": [\"red\", \"dark-green\"], "
     "\"things\": [{\"id\": \"y\", \"colour\": \"red\"}], \"anything\": {\"a\": [1, null]}, "
     "\"real\": 1}"},
    {"echo-shape", "{'kind': 'red', 'id': 'x', 'colour': 'red', 'gone': 'x'}",
     "!GenericError: Parameter 'gone' is unexpected"},
    {"echo-shape", "{'kind': 'red', 'id': 'x', 'colour': 'red', 'numbers': [1, 32768]}",
     "!GenericError: Parameter 'numbers[1]' expects int16"},
    {"echo-shape", "{'kind': 'red', 'id': 'x', 'colour': 'red', 'colours': ['blue']}",
     "!GenericError: Parameter 'colours[0]' does not accept value 'blue'"},
    {"echo-shape",
     "{'kind': 'red', 'id': 'x', 'colour': 'red', 'things': [{'id': 'y', 'colour': 'red', "
     "'things': [{}]}]}",
     "!GenericError: Parameter 'things[0].things[0].id' is missing"},
    {"echo-shape", "{'kind': 'red', 'id': 'x', 'colour': 'red', 'real': '1'}",
     "!GenericError: Parameter 'real' expects number"},
};

static void test_commands(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *result = run(cases[i].command, cases[i].args);

        g_assert_cmpstr(result, ==, cases[i].result);
    }
    g_assert_cmpuint(nothing_calls, ==, 2);
}

/* Both ends of every integer type, and one beyond. */
static void test_ranges(void)
{
    static const struct {
        const char *name, *expects, *min, *below, *max, *above;
    } types[] = {
        {"i8", "int8", "-128", "-129", "127", "128"},
        {"i16", "int16", "-32768", "-32769", "32767", "32768"},
        {"i32", "int32", "-2147483648", "-2147483649", "2147483647", "2147483648"},
        {"i64", "int64", "-9223372036854775808", "-9223372036854775809", "9223372036854775807",
         "9223372036854775808"},
        {"u8", "uint8", "0", "-1", "255", "256"},
        {"u16", "uint16", "0", "-1", "65535", "65536"},
        {"u32", "uint32", "0", "-1", "4294967295", "4294967296"},
        {"u64", "uint64", "0", "-1", "18446744073709551615", "18446744073709551616"},
        {"s", "uint64", "0", "-1", "18446744073709551615", "18446744073709551616"},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
        const char *good[] = {types[i].min, types[i].max};
        const char *bad[] = {types[i].below, types[i].above};

        for (unsigned j = 0; j < 2; j++) {
            g_autofree char *in = g_strdup_printf("{\"%s\": %s}", types[i].name, good[j]);
            g_autofree char *out = run("echo-ints", in);
            g_autofree char *in_bad = g_strdup_printf("{\"%s\": %s}", types[i].name, bad[j]);
            g_autofree char *out_bad = run("echo-ints", in_bad);
            g_autofree char *text = g_strdup_printf("!GenericError: Parameter '%s' expects %s",
                                                    types[i].name, types[i].expects);

            g_assert_cmpstr(out, ==, in);
            g_assert_cmpstr(out_bad, ==, text);
        }
    }
}

static void record_event(void *opaque, const char *event, JsonObject *data)
{
    GString *log = opaque;

    g_string_append(log, event);
    if (data) {
        g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);

        json_node_take_object(node, data);
        qapi_json_write(log, node, false);
    }
    g_string_append_c(log, '\n');
}

static void test_events(void)
{
    g_autoptr(GString) log = g_string_new(NULL);
    QapiEventSink sink = {record_event, log};
    Thing thing = {.id = (char *)"t", .colour = COLOUR_RED};
    g_autoptr(GPtrArray) names = g_ptr_array_new();

    g_ptr_array_add(names, (char *)"n");
    qapi_event_send_plain(&sink);
    qapi_event_send_plain(NULL);
    qapi_event_send_rich_event(&sink, COLOUR_DARK_GREEN, true, -1, &thing, names);
    qapi_event_send_rich_event(&sink, COLOUR_RED, false, 0, NULL, NULL);
    qapi_event_send_rich_event(&(QapiEventSink){0}, COLOUR_RED, false, 0, NULL, NULL);
    g_assert_cmpstr(
        log->str, ==,
        "PLAIN\n"
        "RICH_EVENT{\"colour\": \"dark-green\", \"count\": -1, \"thing\": {\"id\": \"t\", "
        "\"colour\": \"red\"}, \"names\": [\"n\"]}\n"
        "RICH_EVENT{\"colour\": \"red\"}\n");
}

static void test_names(void)
{
    QmpCommandTable *t = qmp_command_table_new();

    qmp_register_sample(t, NULL);
    g_autoptr(GPtrArray) names = qmp_command_table_names(t);

    g_assert_cmpuint(names->len, ==, 7);
    g_assert_cmpstr(names->pdata[0], ==, "add");
    g_assert_true(qmp_command_table_find(t, "echo-shape", NULL)->allow_oob);
    g_assert_false(qmp_command_table_find(t, "add", NULL)->allow_oob);
    g_assert_true(qmp_command_table_find(t, "greet", NULL)->allow_preconfig);
    g_assert_null(qmp_command_table_find(t, "adder", NULL));
    g_assert_cmpstr(MultiWORDName_str(MWN_4K), ==, "4k");
    qmp_command_table_free(t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qapi/commands/cases", test_commands);
    g_test_add_func("/qapi/commands/ranges", test_ranges);
    g_test_add_func("/qapi/commands/events", test_events);
    g_test_add_func("/qapi/commands/names", test_names);
    return g_test_run();
}
