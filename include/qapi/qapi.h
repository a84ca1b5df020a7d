/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The QAPI runtime, and the C shape of what scripts/qapi-gen.py makes from the schema files.
 *
 * For a module M ("migration" of qapi/migration.json) the generator writes into the build tree
 *   qapi-types-M.h/.c      C types, JSON (de)serialisers
 *   qapi-commands-M.h/.c   prototypes of the hand-written qmp_*(), and their registration
 *   qapi-events-M.h/.c     one emitter per event
 *
 * Types
 *   enum Foo        typedef enum { FOO_A, FOO_B_C, FOO__MAX } Foo;
 *                   const char *Foo_str(Foo v); bool Foo_parse(const char *s, Foo *out);
 *                   Prefix: CamelCase split before each capital that follows a lower-case letter or
 * starts a word (MigrationStatus -> MIGRATION_STATUS_, MultiFDCompression -> MULTIFD_COMPRESSION_
 * by a 'prefix' key). struct Foo      members in order; '-' becomes '_'. str is char * (NULL =
 * absent), bool is bool, intN/uintN are the C types, int is int64_t, size is uint64_t, number is
 * double, any is JsonNode *, structs are pointers. Optional scalar x has bool has_x before it.
 *                   Arrays are GPtrArray * of pointers (structs, strings) or GArray * of
 * scalars/enums. A base struct's members come first, inline. union Foo       base members inline,
 * the discriminator among them, then a C union "u" with one pointer per branch: foo->u.inet->host.
 *   alternate Foo   { QapiAltKind type; union u }: StrOrNull has  char *s (NULL for null).
 *   void qapi_free_Foo(Foo *);  (NULL is fine; G_DEFINE_AUTOPTR_CLEANUP_FUNC is there)
 *   Foo *qapi_clone_Foo(const Foo *);
 *   JsonNode *qapi_Foo_to_json(const Foo *);
 *   Foo *qapi_Foo_from_json(JsonNode *, const char *path, GError **errp);  texts of spec 70 section
 * 3
 *
 * Commands: { 'command': 'migrate', 'data': {...}, 'returns': 'T' } in module M gives
 *   typedef struct { members } QmpArgs_migrate;             (absent when there are no arguments)
 *   T *qmp_migrate(QmpCall *call, const QmpArgs_migrate *args, GError **errp);   (void without
 * returns) Commands with 'data': 'TypeName' (boxed) take const TypeName *args. Returned pointers
 * are freed by the marshaller. Scalars return by value; lists as GPtrArray *. void
 * qmp_register_M(QmpCommandTable *t, void *opaque);  @opaque appears as call->opaque
 *
 * Events: void qapi_event_send_migration(const QapiEventSink *sink, MigrationStatus status);
 */
#ifndef GODWIT_QAPI_QAPI_H
#define GODWIT_QAPI_QAPI_H

#include <json-glib/json-glib.h>
#include "util/error.h"

/* Where events go; the monitor provides one, tests provide their own. Any thread may emit. */
typedef struct {
    /* @data: owned by the callee, may be NULL. @event: static name such as "STOP". */
    void (*emit)(void *opaque, const char *event, JsonObject *data);
    void *opaque;
} QapiEventSink;

/* Drops everything when @sink or sink->emit is NULL; takes @data. */
void qapi_event_emit(const QapiEventSink *sink, const char *event, JsonObject *data);

/*
 * Who is calling a command. Lives for the duration of the call.
 */
typedef struct QmpSession QmpSession;
typedef struct {
    void *opaque;        /* given at qmp_register_M() */
    QmpSession *session; /* the monitor connection, or NULL for internal calls */
} QmpCall;

/* One row of the command table; generated. */
typedef struct {
    const char *name;
    bool allow_oob;
    bool allow_preconfig;
    /* Validates @args completely, then runs the command. *ret is set (non-NULL) on success. */
    bool (*marshal)(QmpCall *call, JsonObject *args, JsonNode **ret, GError **errp);
} QmpCommandDef;

typedef struct QmpCommandTable QmpCommandTable;
QmpCommandTable *qmp_command_table_new(void);
void qmp_command_table_free(QmpCommandTable *t);
void qmp_command_table_add(QmpCommandTable *t, const QmpCommandDef *defs, unsigned n, void *opaque);
const QmpCommandDef *qmp_command_table_find(QmpCommandTable *t, const char *name, void **opaque);
/* Names, sorted; free with g_ptr_array_unref() (strings are static). */
GPtrArray *qmp_command_table_names(QmpCommandTable *t);

/* The answer of query-qmp-schema; generated, static text of a JSON array. */
extern const char qapi_schema_json[];

#endif
