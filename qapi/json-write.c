/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON out: ASCII only, fixed spacing (spec 70 section 1). */
#include "util/osdep.h"
#include <math.h>
#include "qapi/json-stream.h"

static void write_unit(GString *out, unsigned unit)
{
    g_string_append_printf(out, "\\u%04X", unit);
}

static void write_escaped(GString *out, gunichar c)
{
    static const char from[] = "\b\f\n\r\t\"\\", to[] = "bfnrt\"\\";
    const char *known = c && c < 0x80 ? strchr(from, (int)c) : NULL;

    if (known) {
        g_string_append_c(out, '\\');
        g_string_append_c(out, to[known - from]);
    } else if (c >= 0x20 && c < 0x7f) {
        g_string_append_c(out, (char)c);
    } else if (c > 0xffff) {
        write_unit(out, 0xd800 + ((c - 0x10000) >> 10));
        write_unit(out, 0xdc00 + ((c - 0x10000) & 0x3ff));
    } else {
        write_unit(out, c);
    }
}

static void write_string(GString *out, const char *s)
{
    g_string_append_c(out, '"');
    while (*s) {
        gunichar c;

        if ((uint8_t)s[0] == 0xc0 && (uint8_t)s[1] == 0x80) { /* U+0000, see qapi/json.h */
            write_unit(out, 0);
            s += 2;
            continue;
        }
        c = g_utf8_get_char_validated(s, -1);
        if (c >= 0x110000) { /* not UTF-8: a file name, say */
            write_unit(out, 0xfffd);
            s++;
            continue;
        }
        write_escaped(out, c);
        s = g_utf8_next_char(s);
    }
    g_string_append_c(out, '"');
}

/* The shortest of up to 17 digits that reads back as the same number. */
static void write_double(GString *out, double d)
{
    char buf[G_ASCII_DTOSTR_BUF_SIZE];
    static const char *const formats[] = {"%.15g", "%.16g", "%.17g"};

    if (!isfinite(d)) {
        g_string_append_c(out, '0');
        return;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(formats); i++) {
        g_ascii_formatd(buf, sizeof(buf), formats[i], d);
        if (g_ascii_strtod(buf, NULL) == d) {
            break;
        }
    }
    g_string_append(out, buf);
}

static void new_line(GString *out, unsigned depth)
{
    g_string_append_printf(out, "\n%*s", 4 * (int)depth, "");
}

static void write_node(GString *out, JsonNode *node, bool pretty, unsigned depth);

static void write_separator(GString *out, bool first, bool pretty, unsigned depth)
{
    if (!first) {
        g_string_append(out, pretty ? "," : ", ");
    }
    if (pretty) {
        new_line(out, depth);
    }
}

static void write_object(GString *out, JsonObject *obj, bool pretty, unsigned depth)
{
    JsonObjectIter iter;
    const char *name;
    JsonNode *value;
    bool first = true;

    g_string_append_c(out, '{');
    json_object_iter_init_ordered(&iter, obj);
    while (json_object_iter_next_ordered(&iter, &name, &value)) {
        write_separator(out, first, pretty, depth + 1);
        write_string(out, name);
        g_string_append(out, ": ");
        write_node(out, value, pretty, depth + 1);
        first = false;
    }
    if (pretty && !first) {
        new_line(out, depth);
    }
    g_string_append_c(out, '}');
}

static void write_array(GString *out, JsonArray *array, bool pretty, unsigned depth)
{
    unsigned n = json_array_get_length(array);

    g_string_append_c(out, '[');
    for (unsigned i = 0; i < n; i++) {
        write_separator(out, i == 0, pretty, depth + 1);
        write_node(out, json_array_get_element(array, i), pretty, depth + 1);
    }
    if (pretty && n) {
        new_line(out, depth);
    }
    g_string_append_c(out, ']');
}

static void write_value(GString *out, JsonNode *node)
{
    GType type = json_node_get_value_type(node);
    uint64_t u;

    if (qapi_json_is_big_uint(node) && qapi_json_get_uint(node, &u)) {
        g_string_append_printf(out, "%" PRIu64, u);
    } else if (type == G_TYPE_STRING) {
        write_string(out, json_node_get_string(node));
    } else if (type == G_TYPE_BOOLEAN) {
        g_string_append(out, json_node_get_boolean(node) ? "true" : "false");
    } else if (type == G_TYPE_DOUBLE) {
        write_double(out, json_node_get_double(node));
    } else {
        g_string_append_printf(out, "%" PRId64, json_node_get_int(node));
    }
}

static void write_node(GString *out, JsonNode *node, bool pretty, unsigned depth)
{
    switch (json_node_get_node_type(node)) {
    case JSON_NODE_OBJECT:
        write_object(out, json_node_get_object(node), pretty, depth);
        break;
    case JSON_NODE_ARRAY:
        write_array(out, json_node_get_array(node), pretty, depth);
        break;
    case JSON_NODE_VALUE:
        write_value(out, node);
        break;
    case JSON_NODE_NULL:
        g_string_append(out, "null");
        break;
    }
}

void qapi_json_write(GString *out, JsonNode *node, bool pretty)
{
    write_node(out, node, pretty, 0);
}

char *qapi_json_to_string(JsonNode *node, bool pretty)
{
    GString *out = g_string_new(NULL);

    qapi_json_write(out, node, pretty);
    return g_string_free(out, FALSE);
}
