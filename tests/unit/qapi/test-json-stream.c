/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The JSON reader and writer: tolerance, limits, resynchronisation, hostile bytes (spec 70 section
 * 6). */
#include "util/osdep.h"
#include "qapi/json-stream.h"

typedef struct {
    GString *log; /* values as text, errors as "!text", one per line */
    unsigned values, errors;
} Sink;

static void sink_cb(void *opaque, JsonNode *value, GError *err)
{
    Sink *sink = opaque;

    g_assert_true(!value != !err);
    if (value) {
        qapi_json_write(sink->log, value, false);
        g_string_append_c(sink->log, '\n');
        sink->values++;
        json_node_unref(value);
    } else {
        g_string_append_printf(sink->log, "!%s\n", err->message);
        sink->errors++;
        g_error_free(err);
    }
}

typedef struct {
    const char *name;
    const char *in;
    const char *out;
} Case;

static const Case cases[] = {
    {"two-in-one", "{'a':1}{\"b\":[true,false,null]}",
     "{\"a\": 1}\n{\"b\": [true, false, null]}\n"},
    {"quotes", "'a\\'b\"c' \"a\\'b'c\" ", "\"a'b\\\"c\"\n\"a'b'c\"\n"},
    {"escapes", "'\\u00e9\\b\\f\\n\\r\\t\\/\\\\\\u0000\\ud83d\\ude00\x7f'",
     "\"\\u00E9\\b\\f\\n\\r\\t/\\\\\\u0000\\uD83D\\uDE00\\u007F\"\n"},
    {"utf8", "'\xc3\xa9\xf0\x9f\x98\x80'", "\"\\u00E9\\uD83D\\uDE00\"\n"},
    {"integers",
     "[9223372036854775807,9223372036854775808,18446744073709551615,-9223372036854775808]",
     "[9223372036854775807, 9223372036854775808, 18446744073709551615, -9223372036854775808]\n"},
    {"doubles", "[1.5e3,0.1,18446744073709551616,-9223372036854775809,-0.5]",
     "[1500, 0.1, 1.8446744073709552e+19, -9.223372036854776e+18, -0.5]\n"},
    {"scalar-needs-delimiter", "12 34\ntrue\n5", "12\n34\ntrue\n"},
    {"blank-lines", "\r\n\n\t {}\n\n", "{}\n"},
    {"resync-ff", "{\"execute\":\xff{\"x\":1}", "!JSON parse error, stray byte 0xff\n{\"x\": 1}\n"},
    {"resync-ff-in-string", "{\"exe\xff{\"x\":1}",
     "!JSON parse error, stray byte 0xff\n{\"x\": 1}\n"},
    {"resync-control", "{\"a\":\x01{\"x\":1}", "!JSON parse error, stray byte 0x01\n{\"x\": 1}\n"},
    {"resync-line", "{\"a\": @@}}]\n{\"x\":1}", "!JSON parse error, stray '@'\n{\"x\": 1}\n"},
    {"resync-brace", "{\"a\": @@}{\"x\":1}", "!JSON parse error, stray '@'\n{\"x\": 1}\n"},
    {"newline-in-string", "'abc\n{\"x\":1}", "!JSON parse error, stray byte 0x0a\n{\"x\": 1}\n"},
    {"tab-in-string", "'a\tb'\n{\"x\":1}", "!JSON parse error, stray byte 0x09\n{\"x\": 1}\n"},
    {"big-forged",
     "'\xff"
     "123'\n{}",
     "!JSON parse error, stray byte 0xff\n123\n!JSON parse error, "
     "stray byte 0x0a\n{}\n"},
    {"duplicate", "{'a':1,'a':2}{}", "!JSON parse error, duplicate key\n{}\n"},
    {"trailing-comma", "[1,]{'a':1,}{}",
     "!JSON parse error, expecting value\n!JSON parse error, expecting value\n{}\n"},
    {"mismatch", "{]{}", "!JSON parse error, expecting value\n{}\n"},
    {"closer", "]}{}",
     "!JSON parse error, expecting value\n!JSON parse error, expecting value\n{}\n"},
    {"one-error-per-value", "{'a' 1,,'b':[}]}{}",
     "!JSON parse error, missing : in object pair\n!JSON parse error, expecting value\n{}\n"},
    {"key-type", "{1:2}{}", "!JSON parse error, key is not a string in object\n{}\n"},
    {"separator", "[1 2]{'a':1 'b':2}{}",
     "!JSON parse error, expected separator\n!JSON parse error, expected separator\n{}\n"},
    {"keyword", "{'a':tru}{}", "!JSON parse error, invalid keyword 'tru'\n{}\n"},
    {"numbers", "01 {}\n-{} 1.e5 {}\n+1 {}",
     "!JSON parse error, bad number '01'\n{}\n"
     "!JSON parse error, bad number '-'\n{}\n"
     "!JSON parse error, bad number '1.e5'\n{}\n"
     "!JSON parse error, stray '+'\n{}\n"},
    {"infinity", "[1e999]{}", "!JSON parse error, number out of range\n{}\n"},
    {"escape-bad", "['\\q']{}", "!JSON parse error, invalid escape sequence in string\n{}\n"},
    {"hex-bad", "['\\u12g4']{}", "!JSON parse error, invalid hex escape in string\n{}\n"},
    {"surrogates", "['\\ud800']['\\udc00']['\\ud800x']['\\ud800\\ud800\\udc00']",
     "!JSON parse error, unpaired surrogate in string\n!JSON parse error, unpaired surrogate in string\n"
     "!JSON parse error, unpaired surrogate in string\n!JSON parse error, unpaired surrogate in string\n"},
    {"utf8-bad", "['\xc0\x80']['\xed\xa0\x80']['\xf4\x90\x80\x80']['\xc3']['\xc3\\n\xa9']{}",
     "!JSON parse error, invalid UTF-8 sequence in string\n!JSON parse error, invalid UTF-8 sequence in string\n"
     "!JSON parse error, invalid UTF-8 sequence in string\n!JSON parse error, invalid UTF-8 sequence in string\n"
     "!JSON parse error, invalid UTF-8 sequence in string\n{}\n"},
};

/* The result may not depend on how the bytes are cut. */
static void test_case(const void *data)
{
    const Case *c = data;
    size_t len = strlen(c->in);

    for (size_t step = 1; step <= len; step++) {
        Sink sink = {g_string_new(NULL), 0, 0};
        g_autoptr(JsonStream) s = json_stream_new(sink_cb, &sink);

        for (size_t i = 0; i < len; i += step) {
            json_stream_feed(s, c->in + i, MIN(step, len - i));
        }
        g_assert_cmpstr(sink.log->str, ==, c->out);
        g_string_free(sink.log, TRUE);
    }
}

static void feed_many(JsonStream *s, const char *text, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        json_stream_feed(s, text, strlen(text));
    }
}

static void test_limits(void)
{
    Sink sink = {g_string_new(NULL), 0, 0};
    g_autoptr(JsonStream) s = json_stream_new(sink_cb, &sink);

    feed_many(s, "[", JSON_MAX_DEPTH);
    feed_many(s, "]", JSON_MAX_DEPTH);
    g_assert_cmpuint(sink.values, ==, 1);
    g_string_truncate(sink.log, 0);

    feed_many(s, "[", 3 * JSON_MAX_DEPTH);
    json_stream_feed(s, "\n{}", 3);
    g_assert_cmpstr(sink.log->str, ==, "!JSON nesting depth limit exceeded\n{}\n");
    g_string_truncate(sink.log, 0);

    json_stream_feed(s, "[1", 2);
    feed_many(s, ",1", JSON_MAX_TOKENS / 2);
    json_stream_feed(s, "\n{}", 3);
    g_assert_cmpstr(sink.log->str, ==, "!JSON token count limit exceeded\n{}\n");
    g_string_truncate(sink.log, 0);

    g_autofree char *chunk = g_strnfill(1 * MiB, 'x');

    json_stream_feed(s, "'", 1);
    feed_many(s, chunk, 65);
    json_stream_feed(s, "'\n{}", 4);
    g_assert_cmpstr(sink.log->str, ==, "!JSON token size limit exceeded\n{}\n");
    g_string_free(sink.log, TRUE);
}

/* Any bytes: no crash, and a forced resynchronisation always brings the next command through. */
static void test_noise(void)
{
    static const char alphabet[] = "{}[]:,\"'\\u0d8 1-.eEtrufalsn\n\t\x01\xff\xc3\xa9";
    g_autoptr(GRand) rand = g_rand_new_with_seed(70);

    for (unsigned round = 0; round < 3000; round++) {
        Sink sink = {g_string_new(NULL), 0, 0};
        g_autoptr(JsonStream) s = json_stream_new(sink_cb, &sink);
        unsigned len = g_rand_int_range(rand, 0, 200);

        for (unsigned i = 0; i < len; i++) {
            char c = round % 2 ? alphabet[g_rand_int_range(rand, 0, sizeof(alphabet) - 1)]
                               : (char)g_rand_int(rand);

            json_stream_feed(s, &c, 1);
        }
        json_stream_feed(s, "\xff", 1);
        unsigned values = sink.values, errors = sink.errors;

        g_assert_cmpuint(errors, >=, 1);
        json_stream_feed(s, "{'x':1}", 7);
        g_assert_cmpuint(sink.values, ==, values + 1);
        g_assert_cmpuint(sink.errors, ==, errors);
        g_string_free(sink.log, TRUE);
    }
}

static void test_parse(void)
{
    static const Case texts[] = {
        {NULL, "{'a':1}", "{\"a\": 1}"},
        {NULL, " 12", "12"},
        {NULL, "", "!JSON parse error, no value"},
        {NULL, "{'a':", "!JSON parse error, premature end of text"},
        {NULL, "'a", "!JSON parse error, premature end of text"},
        {NULL, "1 2", "!JSON parse error, more than one value"},
        {NULL, "[1,]", "!JSON parse error, expecting value"},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(texts); i++) {
        g_autoptr(GError) err = NULL;
        g_autoptr(JsonNode) node = qapi_json_parse(texts[i].in, strlen(texts[i].in), &err);
        g_autofree char *out =
            node ? qapi_json_to_string(node, false) : g_strconcat("!", err->message, NULL);

        g_assert_cmpstr(out, ==, texts[i].out);
    }
}

static void test_pretty(void)
{
    g_autoptr(JsonNode) node = qapi_json_parse("{'a':[1,{}],'b':{'c':[]}}", 25, NULL);
    g_autofree char *out = qapi_json_to_string(node, true);

    g_assert_cmpstr(
        out, ==,
        "{\n    \"a\": [\n        1,\n        {}\n    ],\n    \"b\": {\n        \"c\": []\n"
        "    }\n}");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *path = g_strconcat("/qapi/json/", cases[i].name, NULL);

        g_test_add_data_func(path, &cases[i], test_case);
    }
    g_test_add_func("/qapi/json/limits", test_limits);
    g_test_add_func("/qapi/json/noise", test_noise);
    g_test_add_func("/qapi/json/parse", test_parse);
    g_test_add_func("/qapi/json/pretty", test_pretty);
    return g_test_run();
}
