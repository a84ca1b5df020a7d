/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tokens -> values, without recursion: a stack of the containers that are open. A token in the
 * wrong place turns the rest of the value into noise: only brackets are counted then, and the error
 * is delivered where the value ends.
 */
#include "util/osdep.h"
#include <math.h>
#include "value-builder.h"

typedef enum {
    WANT_VALUE,
    WANT_FIRST_VALUE, /* or ']' */
    WANT_FIRST_KEY,   /* or '}' */
    WANT_KEY,
    WANT_COLON,
    WANT_SEPARATOR, /* ',' or the closing bracket */
} Want;

typedef struct {
    JsonObject *object; /* one of the two */
    JsonArray *array;
    char *key;
    Want want;
} Frame;

struct ValueBuilder {
    JsonStreamCB *cb;
    void *opaque;
    GArray *frames;
    GError *err;    /* set: skipping */
    unsigned depth; /* brackets open; equals frames->len unless skipping */
};

static void frame_clear(void *data)
{
    Frame *f = data;

    g_clear_pointer(&f->object, json_object_unref);
    g_clear_pointer(&f->array, json_array_unref);
    g_clear_pointer(&f->key, g_free);
}

ValueBuilder *value_builder_new(JsonStreamCB *cb, void *opaque)
{
    ValueBuilder *b = g_new0(ValueBuilder, 1);

    b->cb = cb;
    b->opaque = opaque;
    b->frames = g_array_new(FALSE, FALSE, sizeof(Frame));
    g_array_set_clear_func(b->frames, frame_clear);
    return b;
}

void value_builder_free(ValueBuilder *b)
{
    g_array_unref(b->frames);
    g_clear_error(&b->err);
    g_free(b);
}

bool value_builder_idle(ValueBuilder *b)
{
    return b->depth == 0;
}

unsigned value_builder_depth(ValueBuilder *b)
{
    return b->depth;
}

void value_builder_drop(ValueBuilder *b)
{
    g_array_set_size(b->frames, 0);
    g_clear_error(&b->err);
    b->depth = 0;
}

void value_builder_fail(ValueBuilder *b, const char *text)
{
    GError *err = NULL;

    error_setg(&err, "%s", text);
    b->cb(b->opaque, NULL, err);
}

static Frame *top(ValueBuilder *b)
{
    return b->frames->len ? &g_array_index(b->frames, Frame, b->frames->len - 1) : NULL;
}

static void wrong(ValueBuilder *b, const char *what)
{
    if (b->depth == 0) {
        g_autofree char *text = g_strdup_printf("JSON parse error, %s", what);

        value_builder_fail(b, text);
    } else if (!b->err) {
        error_setg(&b->err, "JSON parse error, %s", what);
        g_array_set_size(b->frames, 0);
    }
}

/* Is a value welcome here? Complains otherwise. */
static bool want_value(ValueBuilder *b)
{
    Frame *f = top(b);

    if (b->err) {
        return false;
    }
    if (f && f->want != WANT_VALUE && f->want != WANT_FIRST_VALUE) {
        wrong(b, f->want == WANT_SEPARATOR ? "expected separator"
                 : f->want == WANT_COLON   ? "missing : in object pair"
                                           : "key is not a string in object");
        return false;
    }
    return true;
}

/* @node is complete and welcome. */
static void deliver(ValueBuilder *b, JsonNode *node)
{
    Frame *f = top(b);

    if (!f) {
        b->cb(b->opaque, node, NULL);
        return;
    }
    if (f->array) {
        json_array_add_element(f->array, node);
    } else {
        json_object_set_member(f->object, f->key, node);
        g_clear_pointer(&f->key, g_free);
    }
    f->want = WANT_SEPARATOR;
}

static void open_container(ValueBuilder *b, char c)
{
    if (want_value(b)) {
        Frame f = {0};

        if (c == '{') {
            f.object = json_object_new();
            f.want = WANT_FIRST_KEY;
        } else {
            f.array = json_array_new();
            f.want = WANT_FIRST_VALUE;
        }
        g_array_append_val(b->frames, f);
    }
    b->depth++;
}

static void close_container(ValueBuilder *b, char c)
{
    Frame *f = top(b);

    if (b->depth == 0) {
        wrong(b, "expecting value");
        return;
    }
    if (!b->err) {
        bool matches = c == '}' ? f->object != NULL : f->array != NULL;

        if (!matches || (f->want != WANT_SEPARATOR && f->want != WANT_FIRST_KEY &&
                         f->want != WANT_FIRST_VALUE)) {
            wrong(b, "expecting value");
        }
    }
    b->depth--;
    if (b->err) {
        if (b->depth == 0) {
            b->cb(b->opaque, NULL, g_steal_pointer(&b->err));
        }
        return;
    }
    JsonNode *node = json_node_new(f->object ? JSON_NODE_OBJECT : JSON_NODE_ARRAY);

    if (f->object) {
        json_node_set_object(node, f->object);
    } else {
        json_node_set_array(node, f->array);
    }
    g_array_set_size(b->frames, b->frames->len - 1);
    deliver(b, node);
}

void value_builder_punct(ValueBuilder *b, char c)
{
    Frame *f = top(b);

    if (c == '{' || c == '[') {
        open_container(b, c);
    } else if (c == '}' || c == ']') {
        close_container(b, c);
    } else if (b->err) {
        return;
    } else if (c == ':' && f && f->want == WANT_COLON) {
        f->want = WANT_VALUE;
    } else if (c == ',' && f && f->want == WANT_SEPARATOR) {
        f->want = f->object ? WANT_KEY : WANT_VALUE;
    } else {
        wrong(b, "expecting value");
    }
}

void value_builder_string(ValueBuilder *b, const char *text, const char *defect)
{
    Frame *f = top(b);

    if (b->err) {
        return;
    }
    if (defect) {
        wrong(b, defect);
    } else if (f && (f->want == WANT_FIRST_KEY || f->want == WANT_KEY)) {
        if (json_object_has_member(f->object, text)) {
            wrong(b, "duplicate key");
            return;
        }
        f->key = g_strdup(text);
        f->want = WANT_COLON;
    } else if (want_value(b)) {
        deliver(b, json_node_init_string(json_node_alloc(), text));
    }
}

void value_builder_number(ValueBuilder *b, const char *text, bool integer)
{
    if (!want_value(b)) {
        return;
    }
    if (integer) {
        bool negative = *text == '-';

        errno = 0;
        int64_t i = g_ascii_strtoll(text, NULL, 10);

        if (errno == 0) {
            deliver(b, json_node_init_int(json_node_alloc(), i));
            return;
        }
        errno = 0;
        uint64_t u = negative ? 0 : g_ascii_strtoull(text, NULL, 10);

        if (!negative && errno == 0) {
            deliver(b, qapi_json_new_uint(u));
            return;
        }
    }
    double d = g_ascii_strtod(text, NULL);

    if (!isfinite(d)) {
        wrong(b, "number out of range");
        return;
    }
    deliver(b, json_node_init_double(json_node_alloc(), d));
}

void value_builder_word(ValueBuilder *b, const char *text)
{
    if (!want_value(b)) {
        return;
    }
    if (strcmp(text, "null") == 0) {
        deliver(b, json_node_new(JSON_NODE_NULL));
    } else if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
        deliver(b, json_node_init_boolean(json_node_alloc(), *text == 't'));
    } else {
        g_autofree char *what = g_strdup_printf("invalid keyword '%.40s'", text);

        wrong(b, what);
    }
}
