/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The subsystem of one VM: what it consists of, and what may keep it from migrating. */
#include "migration/core.h"
#include "migration/dirty-rate.h"
#include "migration/incoming.h"
#include "migration/lazy-restore.h"
#include "migration/outgoing.h"
#include "qapi-commands-migration.h"
#include "qapi-events-migration.h"
#include "util/lock.h"

/* ---- life ---- */

static void blocker_free(gpointer opaque)
{
    MigrationBlocker *b = opaque;

    g_free(b->reason);
    g_free(b);
}

Migration *migration_new(MigrationHost *host)
{
    Migration *m = g_new0(Migration, 1);

    m->host = host;
    g_mutex_init(&m->line);
    m->savevm = savevm_list_new();
    m->blockers = g_ptr_array_new_with_free_func(blocker_free);
    m->source_record = recorder_new(MIGRATION_SIDE_SOURCE);
    m->destination_record = recorder_new(MIGRATION_SIDE_DESTINATION);
    migration_options_init(&m->options);
    m->ram = migration_ram_new(m);
    m->dirty_rate = dirty_rate_new(m);
    m->dirty_limits = dirty_limits_new(m);
    globalstate_register(&m->global_state, m->savevm,
                         &m->options.switches[SWITCH_STORE_GLOBAL_STATE]);
    return m;
}

void migration_shutdown(Migration *m)
{
    if (m->outgoing) {
        outgoing_shutdown(m->outgoing);
    }
    if (m->incoming) {
        incoming_shutdown(m->incoming);
    }
    lazy_restore_end(m);
    dirty_rate_stop(m->dirty_rate);
    dirty_limits_stop(m->dirty_limits);
}

void migration_free(Migration *m)
{
    if (m) {
        migration_shutdown(m);
        dirty_rate_free(m->dirty_rate);
        dirty_limits_free(m->dirty_limits);
        outgoing_free(m->outgoing);
        incoming_free(m->incoming);
        savevm_list_free(m->savevm);
        ram_state_free(m->ram);
        g_ptr_array_unref(m->blockers);
        migration_options_clear(&m->options);
        recorder_free(m->source_record);
        recorder_free(m->destination_record);
        free_pages_forget_end(m);
        g_mutex_clear(&m->line);
        g_free(m);
    }
}

void migration_join(GThread *thread)
{
    bool locked = bql_locked();

    if (locked) {
        bql_unlock();
    }
    g_thread_join(thread);
    if (locked) {
        bql_lock();
    }
}

/* ---- small things ---- */

bool migration_has_capability(Migration *m, MigrationCapability cap)
{
    return options_cap(&m->options, cap);
}

bool migration_has_legacy_acks(Migration *m)
{
    return options_switch(&m->options, SWITCH_SWITCHOVER_ACK_LEGACY);
}

SaveStateList *migration_savevm(Migration *m)
{
    return m->savevm;
}

MigrationHost *migration_host(Migration *m)
{
    return m->host;
}

const MigrationOptions *migration_options(const Migration *m)
{
    return &m->options;
}

bool migration_set_global(Migration *m, const char *name, const char *value, GError **errp)
{
    return options_set_global(&m->options, name, value, errp);
}

bool migration_is_running(Migration *m)
{
    return (m->outgoing && outgoing_is_running(m->outgoing)) ||
           __atomic_load_n(&m->loading_file, __ATOMIC_ACQUIRE);
}

void migration_emit_status(Migration *m, MigrationStatus status)
{
    if (options_cap(&m->options, MIGRATION_CAPABILITY_EVENTS)) {
        qapi_event_send_migration(&m->host->events, status);
    }
}

bool migration_check_transport(const Migration *m, const MigrationTransport *t, GError **errp)
{
    if (options_multifd_channels(&m->options) && !(transport_flags(t) & TRANSPORT_MULTI_CHANNEL)) {
        error_setg(errp, "Migration requires multi-channel URIs (e.g. tcp)");
        return false;
    }
    if (options_cap(&m->options, MIGRATION_CAPABILITY_MAPPED_RAM) &&
        !(transport_flags(t) & TRANSPORT_SEEKABLE)) {
        error_setg(errp, "Migration requires seekable transport (e.g. file)");
        return false;
    }
    return true;
}

GPtrArray *migration_contents(Migration *m)
{
    GPtrArray *list = g_ptr_array_new_with_free_func(g_free);

    SAVEVM_FOREACH(se, m->savevm)
    {
        g_ptr_array_add(list, g_strdup_printf("section %s %u", se->idstr, se->instance_id));
    }
    RAMBLOCK_FOREACH_MIGRATABLE (block, m->host->ops->ram(m->host)) {
        g_ptr_array_add(list,
                        g_strdup_printf("memory %s 0x%" PRIx64, block->idstr, block->used_length));
    }
    if (options_cap(&m->options, MIGRATION_CAPABILITY_X_IGNORE_SHARED)) {
        g_ptr_array_add(list, g_strdup("x-ignore-shared, so no shared memory"));
    }
    return list;
}

const char *migration_snapshot_directory(Migration *m)
{
    return options_text(&m->options, TEXT_X_SNAPSHOT_DIRECTORY);
}

SaveContext migration_save_context(Migration *m, QEMUFile *f)
{
    return (SaveContext){f, m->savevm, options_switch(&m->options, SWITCH_SEND_SECTION_FOOTER)};
}

void migration_register_commands(Migration *m, QmpCommandTable *table)
{
    qmp_register_migration(table, m);
}

bool migration_incoming_start(Migration *m, const char *spec, GError **errp)
{
    g_autoptr(MigrationTransport) t = NULL;

    if (!m->incoming) {
        m->incoming = incoming_new(m);
    }
    if (g_str_equal(spec, "defer")) {
        return true;
    }
    t = transport_parse_option(spec, errp);
    if (t) {
        transport_set_options(t, &m->options);
    }
    return t && incoming_listen(m->incoming, t, true, errp);
}

/* ---- blockers ---- */

MigrationBlocker *migration_add_blocker(Migration *m, const char *reason, GError **errp)
{
    MigrationBlocker *b;

    if (m->savevm->only_migratable) {
        error_setg(errp, "-only-migratable does not allow this: %s", reason);
        return NULL;
    }
    if (migration_is_running(m)) {
        error_setg(errp, "Not possible while a migration is in progress: %s", reason);
        return NULL;
    }
    b = g_new0(MigrationBlocker, 1);
    b->reason = g_strdup(reason);
    g_ptr_array_add(m->blockers, b);
    return b;
}

void migration_del_blocker(Migration *m, MigrationBlocker *b)
{
    g_ptr_array_remove(m->blockers, b);
}

GPtrArray *migration_blocked_reasons(Migration *m)
{
    GPtrArray *reasons = g_ptr_array_new_with_free_func(g_free);

    for (unsigned i = 0; i < m->blockers->len; i++) {
        const MigrationBlocker *b = g_ptr_array_index(m->blockers, i);

        g_ptr_array_add(reasons, g_strdup(b->reason));
    }
    if (__atomic_load_n(&m->lazy, __ATOMIC_ACQUIRE)) {
        g_ptr_array_add(reasons, g_strdup("the guest's memory is still being read from its file"));
    }
    SAVEVM_FOREACH(se, m->savevm)
    {
        if (se->vmsd && se->vmsd->unmigratable) {
            g_ptr_array_add(reasons, g_strdup_printf("non-migratable device: %s", se->idstr));
        }
    }
    if (!reasons->len) {
        g_clear_pointer(&reasons, g_ptr_array_unref);
    }
    return reasons;
}
