/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Text from a QMP client: JSON values, requests, and the arguments of the migration commands that
 * touch nothing outside the VM. First byte: how the bytes are cut. Whatever is written is read back
 * as the same value.
 */
#include "fake-vm.h"
#include "fuzz.h"
#include "monitor/internal.h"
#include "qapi/json-stream.h"
#include "util/lock.h"

static const char *const harmless[] = {
    "migrate-set-capabilities", "migrate-set-parameters",     "query-migrate",
    "query-migrate-parameters", "query-migrate-capabilities", "x-query-migration-record",
};

/* Made for the first value that is worth it: most inputs never get there. */
typedef struct {
    FakeVM *vm;
    QmpCommandTable *all, *table;
    unsigned flags;
} Monitor;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    bql_lock();
    bql_attach_main_context(NULL);
    return 0;
}

static void monitor_need_vm(Monitor *m)
{
    if (m->vm) {
        return;
    }
    m->vm = fake_vm_new(false);
    m->all = qmp_command_table_new();
    m->table = qmp_command_table_new();
    migration_register_commands(m->vm->m, m->all);
    for (unsigned i = 0; i < G_N_ELEMENTS(harmless); i++) {
        void *opaque;
        const QmpCommandDef *def = qmp_command_table_find(m->all, harmless[i], &opaque);

        g_assert_nonnull(def);
        qmp_command_table_add(m->table, def, 1, opaque);
    }
}

static void monitor_clear(Monitor *m)
{
    if (!m->vm) {
        return;
    }
    qmp_command_table_free(m->table);
    qmp_command_table_free(m->all);
    fake_vm_free(m->vm);
}

static void check_round_trip(JsonNode *value, bool pretty)
{
    g_autofree char *text = qapi_json_to_string(value, pretty), *again = NULL;
    g_autoptr(GError) err = NULL;
    g_autoptr(JsonNode) copy = qapi_json_parse(text, strlen(text), &err);

    g_assert_no_error(err);
    again = qapi_json_to_string(copy, pretty);
    /* A fraction -0.0 is written as the integer -0, which is read as 0. */
    if (!strstr(text, "-0")) {
        g_assert_cmpstr(text, ==, again);
    }
}

static void on_value(void *opaque, JsonNode *value, GError *err)
{
    Monitor *m = opaque;
    g_autoptr(JsonNode) reply = NULL;

    g_assert_true(!value == (err != NULL));
    if (err) {
        reply = qmp_error_reply(err, NULL);
    } else {
        check_round_trip(value, true);
        if (JSON_NODE_HOLDS_OBJECT(value)) {
            monitor_need_vm(m);
        }
        reply = qmp_dispatch(m->table, NULL, value, m->flags);
        json_node_unref(value);
    }
    check_round_trip(reply, false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(JsonStream) stream = NULL;
    Monitor m = {0};
    size_t step;

    if (size < 1) {
        return 0;
    }
    step = data[0] >> 2 ? data[0] >> 2 : size;
    m.flags = data[0] & 1 ? QMP_OOB_ENABLED : 0;
    stream = json_stream_new(on_value, &m);
    for (size_t at = 1; at < size; at += step) {
        json_stream_feed(stream, data + at, MIN(step, size - at));
    }
    if (data[0] & 2) {
        json_stream_finish(stream);
    } else {
        json_stream_reset(stream);
    }
    monitor_clear(&m);
    return 0;
}
