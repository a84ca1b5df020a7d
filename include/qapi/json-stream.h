/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON text in and out, as QMP speaks it (spec 70 sections 1 and 6). Pure; one thread per stream.
 *
 * The reader takes bytes as they come and hands out complete values. It survives anything: a bad
 * value costs one error and the next one is read again. Tolerated beyond RFC 8259: 'single quotes',
 * \' in either kind, integers up to 2^64-1.
 */
#ifndef GODWIT_QAPI_JSON_STREAM_H
#define GODWIT_QAPI_JSON_STREAM_H

#include "qapi/json.h"

/* Limits of one value. */
#define JSON_MAX_BYTES  (UINT64_C(64) << 20)
#define JSON_MAX_TOKENS 2097152
#define JSON_MAX_DEPTH  1024

typedef struct JsonStream JsonStream;

/* A complete @value, or @err; exactly one is set, the callee owns it. Must not free or feed the
 * stream. */
typedef void JsonStreamCB(void *opaque, JsonNode *value, GError *err);

JsonStream *json_stream_new(JsonStreamCB *cb, void *opaque);
void json_stream_free(JsonStream *s);
void json_stream_feed(JsonStream *s, const void *bytes, size_t len);
/* No more bytes will come: deliver a trailing scalar, report a value that was cut off. */
void json_stream_finish(JsonStream *s);
/* Forget any partial value. */
void json_stream_reset(JsonStream *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(JsonStream, json_stream_free)

/* Exactly one value; NULL and an error otherwise. */
JsonNode *qapi_json_parse(const char *text, size_t len, GError **errp);

/* Append @node as ASCII: one blank after ':' and ','; @pretty: indented lines. No line end. */
void qapi_json_write(GString *out, JsonNode *node, bool pretty);
/* As above into a new string; free with g_free(). */
char *qapi_json_to_string(JsonNode *node, bool pretty);

#endif
