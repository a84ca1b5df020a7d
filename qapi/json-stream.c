/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The JSON reader: bytes -> tokens (this file) -> values (value-builder.c).
 *
 * Two kinds of trouble. A byte that fits no token is a lexical error: the value so far is dropped
 * at once, and reading resumes after the offending byte if that was a control character or 0xFF
 * (the way a client forces resynchronisation), else at the next '{' or line end. A token in the
 * wrong place is left to the builder, which skips to the end of the value.
 */
#include "util/osdep.h"
#include "value-builder.h"

typedef enum {
    LEX_START,
    LEX_STRING,
    LEX_ESCAPE,
    LEX_HEX,
    LEX_NUMBER,
    LEX_WORD,
    LEX_RESYNC,
} LexState;

struct JsonStream {
    ValueBuilder *builder;
    LexState state;
    GString *token;     /* what the current token says so far, escapes resolved */
    size_t raw_from;    /* token bytes from here on came unescaped and are not checked yet */
    const char *defect; /* the string is well delimited but wrong */
    char quote;
    unsigned hex_digits;
    uint32_t hex, surrogate; /* surrogate: a high one waiting for its low half */
    uint64_t bytes;          /* of the current value */
    unsigned tokens;
};

JsonStream *json_stream_new(JsonStreamCB *cb, void *opaque)
{
    JsonStream *s = g_new0(JsonStream, 1);

    s->builder = value_builder_new(cb, opaque);
    s->token = g_string_new(NULL);
    return s;
}

void json_stream_free(JsonStream *s)
{
    if (s) {
        value_builder_free(s->builder);
        g_string_free(s->token, TRUE);
        g_free(s);
    }
}

static void start_value(JsonStream *s)
{
    s->bytes = 0;
    s->tokens = 0;
}

static void begin_token(JsonStream *s, LexState state)
{
    s->state = state;
    s->raw_from = 0;
    s->defect = NULL;
    s->surrogate = 0;
    /* A huge token must not keep its memory for the life of a session. */
    if (s->token->allocated_len > 64 * KiB) {
        g_string_free(s->token, TRUE);
        s->token = g_string_new(NULL);
    }
    g_string_truncate(s->token, 0);
}

void json_stream_reset(JsonStream *s)
{
    value_builder_drop(s->builder);
    begin_token(s, LEX_START);
    start_value(s);
}

static void lexical_error(JsonStream *s, LexState next, const char *fmt, ...) G_GNUC_PRINTF(3, 4);
static void lexical_error(JsonStream *s, LexState next, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);

    json_stream_reset(s);
    s->state = next;
    value_builder_fail(s->builder, text);
}

static void stray(JsonStream *s, uint8_t c)
{
    bool forced = (c < 0x20 && c != '\t') || c == 0xff;

    lexical_error(s, forced ? LEX_START : LEX_RESYNC,
                  c > 0x20 && c < 0x7f ? "JSON parse error, stray '%c'"
                                       : "JSON parse error, stray byte 0x%02x",
                  c);
}

/* A complete token went to the builder. */
static void token_done(JsonStream *s)
{
    begin_token(s, LEX_START);
    if (value_builder_idle(s->builder)) {
        start_value(s);
    } else if (++s->tokens > JSON_MAX_TOKENS) {
        lexical_error(s, LEX_RESYNC, "JSON token count limit exceeded");
    } else if (value_builder_depth(s->builder) > JSON_MAX_DEPTH) {
        lexical_error(s, LEX_RESYNC, "JSON nesting depth limit exceeded");
    }
}

/* U+0000 becomes C0 80, see qapi/json.h. */
static void append_unichar(JsonStream *s, uint32_t c)
{
    if (c == 0) {
        g_string_append(s->token, "\xc0\x80");
    } else {
        g_string_append_unichar(s->token, c);
    }
}

static void check_raw(JsonStream *s)
{
    size_t len = s->token->len - s->raw_from;

    if (len && !g_utf8_validate_len(s->token->str + s->raw_from, len, NULL)) {
        s->defect = "invalid UTF-8 sequence in string";
    }
}

static void check_surrogate(JsonStream *s)
{
    if (s->surrogate) {
        s->defect = "unpaired surrogate in string";
        s->surrogate = 0;
    }
}

static void lex_string(JsonStream *s, uint8_t c)
{
    if (c == '\\') {
        check_raw(s);
        s->state = LEX_ESCAPE;
        return;
    }
    check_surrogate(s);
    if (c == s->quote) {
        check_raw(s);
        value_builder_string(s->builder, s->token->str, s->defect);
        token_done(s);
    } else if (c < 0x20 || c == 0xff) {
        stray(s, c);
    } else {
        g_string_append_c(s->token, c);
    }
}

static void lex_escape(JsonStream *s, uint8_t c)
{
    static const char from[] = "bfnrt\"'\\/", to[] = "\b\f\n\r\t\"'\\/";
    const char *known = c ? strchr(from, c) : NULL;

    if (c < 0x20 || c == 0xff) {
        stray(s, c);
        return;
    }
    if (c == 'u') {
        s->state = LEX_HEX;
        s->hex = s->hex_digits = 0;
        return;
    }
    check_surrogate(s);
    if (known) {
        g_string_append_c(s->token, to[known - from]);
    } else {
        s->defect = "invalid escape sequence in string";
    }
    s->raw_from = s->token->len;
    s->state = LEX_STRING;
}

static void lex_hex(JsonStream *s, uint8_t c)
{
    if (!g_ascii_isxdigit(c)) {
        s->defect = "invalid hex escape in string";
        s->raw_from = s->token->len;
        s->state = LEX_STRING;
        lex_string(s, c);
        return;
    }
    s->hex = s->hex << 4 | g_ascii_xdigit_value(c);
    if (++s->hex_digits < 4) {
        return;
    }
    if (s->hex >= 0xdc00 && s->hex <= 0xdfff && s->surrogate) {
        append_unichar(s, 0x10000 + ((s->surrogate - 0xd800) << 10) + (s->hex - 0xdc00));
        s->surrogate = 0;
    } else {
        check_surrogate(s);
        if (s->hex >= 0xd800 && s->hex <= 0xdbff) {
            s->surrogate = s->hex;
        } else if (s->hex >= 0xdc00 && s->hex <= 0xdfff) {
            s->defect = "unpaired surrogate in string";
        } else {
            append_unichar(s, s->hex);
        }
    }
    s->raw_from = s->token->len;
    s->state = LEX_STRING;
}

/* -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?, all of it. */
static bool number_ok(const char *p, bool *integer)
{
    *integer = true;
    p += *p == '-';
    if (*p == '0') {
        p++;
    } else if (g_ascii_isdigit(*p)) {
        p += strspn(p, "0123456789");
    } else {
        return false;
    }
    if (*p == '.') {
        *integer = false;
        if (!g_ascii_isdigit(*++p)) {
            return false;
        }
        p += strspn(p, "0123456789");
    }
    if (*p == 'e' || *p == 'E') {
        *integer = false;
        p++;
        p += *p == '+' || *p == '-';
        if (!g_ascii_isdigit(*p)) {
            return false;
        }
        p += strspn(p, "0123456789");
    }
    return *p == '\0';
}

/* The delimiter after a number or word has been seen. */
static void end_scalar(JsonStream *s)
{
    if (s->state == LEX_WORD) {
        value_builder_word(s->builder, s->token->str);
    } else {
        bool integer;

        if (!number_ok(s->token->str, &integer)) {
            lexical_error(s, LEX_RESYNC, "JSON parse error, bad number '%.40s'", s->token->str);
            return;
        }
        value_builder_number(s->builder, s->token->str, integer);
    }
    token_done(s);
}

static void lex_start(JsonStream *s, uint8_t c)
{
    switch (c) {
    case ' ':
    case '\t':
    case '\r':
    case '\n':
        break;
    case '{':
    case '}':
    case '[':
    case ']':
    case ':':
    case ',':
        value_builder_punct(s->builder, c);
        token_done(s);
        break;
    case '"':
    case '\'':
        begin_token(s, LEX_STRING);
        s->quote = c;
        break;
    default:
        if (c == '-' || g_ascii_isdigit(c)) {
            begin_token(s, LEX_NUMBER);
        } else if (g_ascii_isalpha(c)) {
            begin_token(s, LEX_WORD);
        } else {
            stray(s, c);
            break;
        }
        g_string_append_c(s->token, c);
    }
}

static void lex_byte(JsonStream *s, uint8_t c)
{
    switch (s->state) {
    case LEX_STRING:
        lex_string(s, c);
        break;
    case LEX_ESCAPE:
        lex_escape(s, c);
        break;
    case LEX_HEX:
        lex_hex(s, c);
        break;
    case LEX_NUMBER:
    case LEX_WORD:
        if (s->state == LEX_WORD ? g_ascii_isalpha(c) : c && strchr("0123456789+-.eE", c) != NULL) {
            g_string_append_c(s->token, c);
        } else {
            end_scalar(s);
            lex_byte(s, c); /* the state is no scalar's now */
        }
        break;
    case LEX_RESYNC:
        if (c == '\n' || c == '\r') {
            s->state = LEX_START;
        } else if (c == '{' || c < 0x20 || c == 0xff) {
            s->state = LEX_START;
            lex_start(s, c);
        }
        break;
    case LEX_START:
        lex_start(s, c);
        break;
    }
}

void json_stream_feed(JsonStream *s, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;

    for (size_t i = 0; i < len; i++) {
        if (s->state == LEX_START && value_builder_idle(s->builder)) {
            start_value(s);
        }
        if (s->state != LEX_RESYNC && ++s->bytes > JSON_MAX_BYTES) {
            lexical_error(s, LEX_RESYNC, "JSON token size limit exceeded");
        }
        lex_byte(s, p[i]);
    }
}

void json_stream_finish(JsonStream *s)
{
    if (s->state == LEX_NUMBER || s->state == LEX_WORD) {
        end_scalar(s);
    }
    if ((s->state != LEX_START && s->state != LEX_RESYNC) || !value_builder_idle(s->builder)) {
        json_stream_reset(s);
        value_builder_fail(s->builder, "JSON parse error, premature end of text");
    }
    json_stream_reset(s);
}

typedef struct {
    JsonNode *value;
    GError *err;
    unsigned count;
} Single;

static void take_single(void *opaque, JsonNode *value, GError *err)
{
    Single *single = opaque;

    single->count++;
    if (value) {
        g_clear_pointer(&single->value, json_node_unref);
        single->value = value;
    } else if (single->err) {
        g_error_free(err);
    } else {
        single->err = err;
    }
}

JsonNode *qapi_json_parse(const char *text, size_t len, GError **errp)
{
    Single single = {0};
    g_autoptr(JsonStream) s = json_stream_new(take_single, &single);

    json_stream_feed(s, text, len);
    json_stream_finish(s);
    if (single.count == 1 && single.value) {
        return single.value;
    }
    g_clear_pointer(&single.value, json_node_unref);
    if (single.err) {
        g_propagate_error(errp, single.err);
    } else {
        error_setg(errp, single.count ? "JSON parse error, more than one value"
                                      : "JSON parse error, no value");
    }
    return NULL;
}
