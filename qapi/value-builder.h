/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tokens -> values. Private to the JSON reader. */
#ifndef QAPI_VALUE_BUILDER_H
#define QAPI_VALUE_BUILDER_H

#include "qapi/json-stream.h"

typedef struct ValueBuilder ValueBuilder;

ValueBuilder *value_builder_new(JsonStreamCB *cb, void *opaque);
void value_builder_free(ValueBuilder *b);

/* One token each. @defect: why the string is no good, or NULL. */
void value_builder_punct(ValueBuilder *b, char c);
void value_builder_string(ValueBuilder *b, const char *text, const char *defect);
void value_builder_number(ValueBuilder *b, const char *text, bool integer);
void value_builder_word(ValueBuilder *b, const char *text);

/* Is no value under way? */
bool value_builder_idle(ValueBuilder *b);
unsigned value_builder_depth(ValueBuilder *b);
/* Forget the value under way. */
void value_builder_drop(ValueBuilder *b);
/* Deliver an error; nothing may be under way. */
void value_builder_fail(ValueBuilder *b, const char *text);

#endif
