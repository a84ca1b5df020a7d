/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Generated types: round trips, and the error texts of spec 70 section 3. */
#include "util/osdep.h"
#include "qapi-types-migration.h"
#include "qapi/json.h"

static JsonNode *parse(const char *text)
{
    g_autoptr(GError) err = NULL;
    JsonNode *node = json_from_string(text, &err);

    g_assert_no_error(err);
    return node;
}

#define CHECK_ROUND_TRIP(T, text)                                    \
    do {                                                             \
        g_autoptr(JsonNode) in_ = parse(text);                       \
        g_autoptr(GError) err_ = NULL;                               \
        g_autoptr(T) value_ = qapi_##T##_from_json(in_, "v", &err_); \
        g_assert_no_error(err_);                                     \
        g_autoptr(T) copy_ = qapi_clone_##T(value_);                 \
        g_clear_pointer(&value_, qapi_free_##T);                     \
        g_autoptr(JsonNode) out_ = qapi_##T##_to_json(copy_);        \
        g_assert_true(json_node_equal(in_, out_));                   \
    } while (0)

static void test_round_trip(void)
{
    CHECK_ROUND_TRIP(MigrationAddress,
                     "{\"transport\": \"socket\", \"type\": \"inet\", \"host\": \"h\", "
                     "\"port\": \"1\", \"to\": 65535, \"ipv4\": false}");
    CHECK_ROUND_TRIP(MigrationAddress, "{\"transport\": \"exec\", \"args\": [\"a\", \"b\"]}");
    CHECK_ROUND_TRIP(MigrationAddress, "{\"transport\": \"exec\", \"args\": []}");
    CHECK_ROUND_TRIP(MigrationInfo,
                     "{\"status\": \"active\", \"blocked-reasons\": [\"x\"], \"total-time\": 3, "
                     "\"socket-address\": [{\"type\": \"unix\", \"path\": \"/p\"}]}");
    CHECK_ROUND_TRIP(MigrationInfo, "{}");
    CHECK_ROUND_TRIP(MigrationRecord, "{\"time-us\": 1, \"side\": \"source\", \"kind\": \"gap\", "
                                      "\"count\": 2, \"mbps\": 1.5}");
}

static void test_members(void)
{
    g_autoptr(JsonNode) node =
        parse("{\"transport\": \"socket\", \"type\": \"unix\", \"path\": \"/p\", \"tight\": true}");
    g_autoptr(GError) err = NULL;
    g_autoptr(MigrationAddress) addr = qapi_MigrationAddress_from_json(node, "addr", &err);

    g_assert_no_error(err);
    g_assert_cmpint(addr->transport, ==, MIGRATION_ADDRESS_TYPE_SOCKET);
    g_assert_cmpint(addr->u.socket->type, ==, SOCKET_ADDRESS_TYPE_UNIX);
    g_assert_cmpstr(addr->u.socket->u.q_unix->path, ==, "/p");
    g_assert_true(addr->u.socket->u.q_unix->has_tight);
    g_assert_false(addr->u.socket->u.q_unix->has_abstract);
}

static void test_big_uint(void)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    g_autoptr(GError) err = NULL;
    JsonObject *obj = json_object_new();

    json_object_set_member(obj, "max-bandwidth", qapi_json_new_uint(UINT64_MAX));
    json_node_take_object(node, obj);
    g_autoptr(MigrationParameters) p = qapi_MigrationParameters_from_json(node, NULL, &err);

    g_assert_no_error(err);
    g_assert_cmpuint(p->max_bandwidth, ==, UINT64_MAX);
    g_autoptr(JsonNode) out = qapi_MigrationParameters_to_json(p);
    uint64_t back = 0;

    g_assert_true(qapi_json_get_uint(
        json_object_get_member(json_node_get_object(out), "max-bandwidth"), &back));
    g_assert_cmpuint(back, ==, UINT64_MAX);
}

static void test_enum(void)
{
    MigrationStatus s = MIGRATION_STATUS_NONE;

    g_assert_cmpstr(MigrationStatus_str(MIGRATION_STATUS_PRE_SWITCHOVER), ==, "pre-switchover");
    g_assert_true(MigrationStatus_parse("postcopy-active", &s));
    g_assert_cmpint(s, ==, MIGRATION_STATUS_POSTCOPY_ACTIVE);
    g_assert_false(MigrationStatus_parse("Active", &s));
    g_assert_cmpint(MIGRATION_STATUS__MAX, ==, 17);
}

typedef struct {
    const char *json;
    const char *text;
} BadCase;

#define CHANNELS(addr) "{\"channel-type\": \"main\", \"addr\": " addr "}"

/* All of MigrationChannel. */
static const BadCase bad_channels[] = {
    {"[]", "Parameter 'c' expects object"},
    {"3", "Parameter 'c' expects object"},
    {"{}", "Parameter 'c.channel-type' is missing"},
    {"{\"channel-type\": \"main\"}", "Parameter 'c.addr' is missing"},
    {"{\"channel-type\": \"cpr\"}", "Parameter 'c.channel-type' does not accept value 'cpr'"},
    {"{\"channel-type\": null}", "Parameter 'c.channel-type' expects string"},
    {CHANNELS("null"), "Parameter 'c.addr' expects object"},
    {CHANNELS("{}"), "Parameter 'c.addr.transport' is missing"},
    {CHANNELS("{\"transport\": \"socket\"}"), "Parameter 'c.addr.type' is missing"},
    {CHANNELS("{\"transport\": \"socket\", \"type\": \"inet\", \"host\": \"\"}"),
     "Parameter 'c.addr.port' is missing"},
    {CHANNELS("{\"transport\": \"socket\", \"type\": \"inet\", \"host\": \"\", \"port\": 3}"),
     "Parameter 'c.addr.port' expects string"},
    {CHANNELS("{\"transport\": \"socket\", \"type\": \"inet\", \"host\": \"\", \"port\": \"\", "
              "\"to\": 65536}"),
     "Parameter 'c.addr.to' expects uint16"},
    {CHANNELS("{\"transport\": \"socket\", \"type\": \"inet\", \"host\": \"\", \"port\": \"\", "
              "\"to\": -1}"),
     "Parameter 'c.addr.to' expects uint16"},
    {CHANNELS("{\"transport\": \"socket\", \"type\": \"inet\", \"host\": \"\", \"port\": \"\", "
              "\"to\": 1.0}"),
     "Parameter 'c.addr.to' expects uint16"},
    {CHANNELS("{\"transport\": \"socket\", \"type\": \"unix\", \"path\": \"\", \"abstract\": 1}"),
     "Parameter 'c.addr.abstract' expects boolean"},
    {CHANNELS("{\"transport\": \"socket\", \"type\": \"unix\", \"path\": \"\", \"host\": 1}"),
     "Parameter 'c.addr.host' is unexpected"},
    {CHANNELS("{\"transport\": \"exec\", \"args\": \"x\"}"),
     "Parameter 'c.addr.args' expects array"},
    {CHANNELS("{\"transport\": \"exec\", \"args\": [\"x\", 1]}"),
     "Parameter 'c.addr.args[1]' expects string"},
    {CHANNELS("{\"transport\": \"file\", \"filename\": \"\", \"offset\": \"1\"}"),
     "Parameter 'c.addr.offset' expects uint64"},
    {CHANNELS("{\"transport\": \"file\", \"filename\": \"\"}"),
     "Parameter 'c.addr.offset' is missing"},
};

static void test_errors(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(bad_channels); i++) {
        g_autoptr(JsonNode) node = parse(bad_channels[i].json);
        g_autoptr(GError) err = NULL;

        g_assert_null(qapi_MigrationChannel_from_json(node, "c", &err));
        g_assert_error(err, GODWIT_ERROR, ERROR_CLASS_GENERIC_ERROR);
        g_assert_cmpstr(err->message, ==, bad_channels[i].text);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qapi/types/round-trip", test_round_trip);
    g_test_add_func("/qapi/types/members", test_members);
    g_test_add_func("/qapi/types/big-uint", test_big_uint);
    g_test_add_func("/qapi/types/enum", test_enum);
    g_test_add_func("/qapi/types/errors", test_errors);
    return g_test_run();
}
