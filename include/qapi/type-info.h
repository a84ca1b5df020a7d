/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Run-time description of QAPI types. The generator writes one QapiType per schema type; the
 * functions here turn JSON into C and back by walking it, so that generated code is tables and
 * one-line wrappers.
 *
 * A "field" is a place of the type's C type: for bool, integers, number and enums the value itself,
 * for all others a pointer to it. Pure, any thread.
 */
#ifndef GODWIT_QAPI_TYPE_INFO_H
#define GODWIT_QAPI_TYPE_INFO_H

#include <json-glib/json-glib.h>
#include "util/error.h"

typedef enum {
    QAPI_BOOL,
    QAPI_INT,  /* size 1, 2, 4 or 8 */
    QAPI_UINT, /* likewise */
    QAPI_NUMBER,
    QAPI_ENUM,
    QAPI_STR,
    QAPI_ANY,
    QAPI_NULL, /* only as a branch of an alternate; has no field */
    QAPI_OBJECT,
    QAPI_ALTERNATE,
    QAPI_LIST, /* GPtrArray of pointer types, GArray of the others */
} QapiKind;

/* Which JSON type an alternate holds. */
typedef enum {
    QAPI_ALT_NULL,
    QAPI_ALT_BOOL,
    QAPI_ALT_INT,
    QAPI_ALT_NUMBER,
    QAPI_ALT_STR,
    QAPI_ALT_OBJECT,
    QAPI_ALT_ARRAY,
    QAPI_ALT__MAX,
} QapiAltKind;

typedef struct QapiType QapiType;

typedef struct {
    const char *name;
    const QapiType *type;
    size_t offset;  /* of the field in the struct */
    int has_offset; /* of its has_ flag, or -1 */
    bool optional;
} QapiMember;

struct QapiType {
    QapiKind kind;
    const char *name; /* as in "Parameter 'X' expects NAME" */
    size_t size;      /* of the field for value kinds, of the struct for objects and alternates */
    GDestroyNotify free;
    /* QAPI_OBJECT */
    const QapiMember *members;
    unsigned n_members;
    /* QAPI_OBJECT that is a union: enum member choosing the branch, branches by enum value (NULL:
     * no data). QAPI_ALTERNATE: branches by QapiAltKind. Both: offset of the C union. */
    const QapiMember *tag;
    const QapiType *const *branches;
    size_t branch_offset;
    /* QAPI_ENUM */
    const char *const *values;
    unsigned n_values;
    /* QAPI_LIST */
    const QapiType *element;
};

extern const QapiType qapi_type_str, qapi_type_bool, qapi_type_number, qapi_type_any,
    qapi_type_null;
extern const QapiType qapi_type_int, qapi_type_int8, qapi_type_int16, qapi_type_int32;
extern const QapiType qapi_type_int64, qapi_type_uint8, qapi_type_uint16, qapi_type_uint32;
extern const QapiType qapi_type_uint64;

const char *qapi_enum_str(const QapiType *type, int value);
bool qapi_enum_parse(const QapiType *type, const char *s, int *out);

/* Fill @field from @node. @path names @node in errors and may be NULL. On failure @field is
 * untouched. */
bool qapi_from_json(const QapiType *type, JsonNode *node, const char *path, void *field,
                    GError **errp);
/* A new node; @field as above. */
JsonNode *qapi_to_json(const QapiType *type, const void *field);
/* @value: a struct. */
JsonObject *qapi_to_object(const QapiType *type, const void *value);
/* Free a struct with all it owns; NULL is fine. */
void qapi_free(const QapiType *type, void *value);
/* Deep copy of a struct; NULL gives NULL. */
void *qapi_clone(const QapiType *type, const void *value);

/* For generated marshallers: arguments of a command. @obj may be NULL (no "arguments"). */
bool qapi_args_from_json(const QapiType *type, JsonObject *obj, void *args, GError **errp);
bool qapi_args_boxed(const QapiType *type, JsonObject *obj, void **args, GError **errp);
bool qapi_args_none(JsonObject *obj, GError **errp);
void qapi_args_clear(const QapiType *type, void *args);
/* Finish a command: hand @err on, or put @field (freed) into *ret; {} when @type is NULL. */
bool qapi_return(const QapiType *type, void *field, GError *err, JsonNode **ret, GError **errp);

#endif
