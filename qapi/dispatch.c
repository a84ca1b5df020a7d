/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command table, and the way of an event to its sink. */
#include "util/osdep.h"
#include "qapi/qapi.h"

typedef struct {
    const QmpCommandDef *def;
    void *opaque;
} Entry;

struct QmpCommandTable {
    GHashTable *entries; /* static name -> Entry */
};

QmpCommandTable *qmp_command_table_new(void)
{
    QmpCommandTable *t = g_new0(QmpCommandTable, 1);

    t->entries = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, g_free);
    return t;
}

void qmp_command_table_free(QmpCommandTable *t)
{
    if (t) {
        g_hash_table_unref(t->entries);
        g_free(t);
    }
}

void qmp_command_table_add(QmpCommandTable *t, const QmpCommandDef *defs, unsigned n, void *opaque)
{
    for (unsigned i = 0; i < n; i++) {
        Entry *e = g_new(Entry, 1);

        e->def = &defs[i];
        e->opaque = opaque;
        g_hash_table_replace(t->entries, (char *)defs[i].name, e);
    }
}

const QmpCommandDef *qmp_command_table_find(QmpCommandTable *t, const char *name, void **opaque)
{
    Entry *e = g_hash_table_lookup(t->entries, name);

    if (!e) {
        return NULL;
    }
    if (opaque) {
        *opaque = e->opaque;
    }
    return e->def;
}

static int compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

GPtrArray *qmp_command_table_names(QmpCommandTable *t)
{
    GPtrArray *names = g_ptr_array_new();
    GHashTableIter iter;
    gpointer name;

    g_hash_table_iter_init(&iter, t->entries);
    while (g_hash_table_iter_next(&iter, &name, NULL)) {
        g_ptr_array_add(names, name);
    }
    g_ptr_array_sort(names, compare_names);
    return names;
}

void qapi_event_emit(const QapiEventSink *sink, const char *event, JsonObject *data)
{
    if (sink && sink->emit) {
        sink->emit(sink->opaque, event, data);
    } else if (data) {
        json_object_unref(data);
    }
}
