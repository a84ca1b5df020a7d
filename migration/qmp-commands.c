/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands of qapi/migration.json (spec 70 sections 9-12). Main thread, big lock; migrate-pause
 * and migrate-recover also out of band: the monitor's I/O thread, without. */
#include "migration/incoming.h"
#include "migration/postcopy/incoming.h"
#include "migration/outgoing.h"
#include "migration/ram/guard.h"
#include "qapi-commands-migration.h"

/* ---- migrate ---- */

static bool may_migrate(Migration *m, GError **errp)
{
    g_autoptr(GPtrArray) reasons = NULL;
    RunState state = m->host->ops->runstate(m->host);

    if (migration_is_running(m)) {
        error_setg(errp, "There's a migration process in progress");
        return false;
    }
    if (state == RUN_STATE_INMIGRATE) {
        error_setg(errp, "Guest is waiting for an incoming migration");
        return false;
    }
    if (state == RUN_STATE_POSTMIGRATE) {
        error_setg(errp, "Can't migrate the vm that was paused due to previous migration");
        return false;
    }
    reasons = migration_blocked_reasons(m);
    if (reasons) {
        error_setg(errp, "%s", (const char *)g_ptr_array_index(reasons, 0));
        return false;
    }
    return options_check(&m->options, errp); /* -global sets them one by one */
}

static MigrationTransport *parse_address(Migration *m, const char *uri, const GPtrArray *channels,
                                         GError **errp)
{
    MigrationTransport *t = transport_parse_args(uri, channels, errp);

    if (t) {
        transport_set_options(t, &m->options);
    }
    return t;
}

void qmp_migrate(QmpCall *call, const QmpArgs_migrate *args, GError **errp)
{
    Migration *m = call->opaque;
    g_autoptr(MigrationTransport) t = NULL;

    if ((args->has_blk && args->blk) || (args->has_inc && args->inc)) {
        error_setg(errp, "Block migration ('blk', 'inc') is not available; "
                         "mirror the disks with other means");
        return;
    }
    t = parse_address(m, args->uri, args->channels, errp);
    if (t && args->has_resume && args->resume) {
        postcopy_source_resume(m->outgoing, t, errp);
        return;
    }
    if (!t || !may_migrate(m, errp) || !migration_check_transport(m, t, errp) ||
        !savevm_prepare(m->savevm, errp)) {
        return;
    }
    outgoing_start(outgoing_new(m), t, errp);
}

void qmp_migrate_cancel(QmpCall *call, GError **errp)
{
    Migration *m = call->opaque;

    if (m->outgoing && outgoing_is_running(m->outgoing) && postcopy_source_switched(m->outgoing)) {
        error_setg(errp, "Postcopy migration in progress, cannot cancel.");
    } else if (m->outgoing) {
        outgoing_cancel(m->outgoing);
    }
}

void qmp_migrate_continue(QmpCall *call, const QmpArgs_migrate_continue *args, GError **errp)
{
    Migration *m = call->opaque;
    MigrationStatus status = m->outgoing ? outgoing_status(m->outgoing) : MIGRATION_STATUS_NONE;

    if (status != args->state) {
        error_setg(errp, "Migration not in expected state: %s", MigrationStatus_str(status));
    } else if (status == MIGRATION_STATUS_PRE_SWITCHOVER) {
        outgoing_continue(m->outgoing);
    }
}

/* ---- postcopy ---- */

void qmp_migrate_start_postcopy(QmpCall *call, GError **errp)
{
    Migration *m = call->opaque;

    if (!options_cap(&m->options, MIGRATION_CAPABILITY_POSTCOPY_RAM)) {
        error_setg(errp, "Enable postcopy with migrate_set_capability before the start of "
                         "migration");
    } else if (!m->outgoing) {
        error_setg(errp, "Postcopy must be started after migration has been started");
    } else {
        postcopy_source_start(m->outgoing, errp);
    }
}

void qmp_migrate_pause(QmpCall *call, GError **errp)
{
    Migration *m = call->opaque;
    bool paused;

    g_mutex_lock(&m->line);
    paused = (m->outgoing && postcopy_source_interrupt(m->outgoing)) ||
             (m->incoming && postcopy_incoming_interrupt(m->incoming));
    g_mutex_unlock(&m->line);
    if (!paused) {
        error_setg(errp, "migrate-pause is currently only supported during postcopy-active or "
                         "postcopy-recover state");
    }
}

void qmp_migrate_recover(QmpCall *call, const QmpArgs_migrate_recover *args, GError **errp)
{
    Migration *m = call->opaque;
    g_autoptr(MigrationTransport) t = parse_address(m, args->uri, NULL, errp);

    if (t) {
        postcopy_incoming_recover(m->incoming, t, errp);
    }
}

/* ---- migrate-incoming ---- */

void qmp_migrate_incoming(QmpCall *call, const QmpArgs_migrate_incoming *args, GError **errp)
{
    Migration *m = call->opaque;
    g_autoptr(MigrationTransport) t = NULL;

    if (!m->incoming) {
        error_setg(errp, "'-incoming' was not specified on the command line");
        return;
    }
    if (incoming_has_started(m->incoming)) {
        error_setg(errp, "The incoming migration has already been started");
        return;
    }
    t = parse_address(m, args->uri, args->channels, errp);
    if (t) {
        incoming_listen(m->incoming, t, !args->has_exit_on_error || args->exit_on_error, errp);
    }
}

/* ---- queries ---- */

MigrationInfo *qmp_query_migrate(QmpCall *call, GError **errp)
{
    Migration *m = call->opaque;
    MigrationInfo *info = g_new0(MigrationInfo, 1);

    if (m->incoming) {
        incoming_fill_info(m->incoming, info);
    }
    if (m->outgoing) {
        stats_fill_info(m->outgoing, info);
    }
    info->blocked_reasons = migration_blocked_reasons(m);
    return info;
}

GPtrArray *qmp_x_query_migration_record(QmpCall *call, GError **errp)
{
    Migration *m = call->opaque;
    GPtrArray *list = qapi_list_new_MigrationRecord();

    recorder_read(m->source_record, list);
    recorder_read(m->destination_record, list);
    return list;
}

/* ---- capabilities and parameters ---- */

/* A destination that cannot receive that way says so now, not when the guest is on its way. */
static bool check_host(Migration *m, const GPtrArray *list, GError **errp)
{
    for (unsigned i = 0; i < list->len; i++) {
        const MigrationCapabilityStatus *c = g_ptr_array_index(list, i);

        if (c->capability == MIGRATION_CAPABILITY_POSTCOPY_RAM && c->state &&
            !options_cap(&m->options, c->capability) && m->incoming &&
            !postcopy_host_check(m->host->ops->ram(m->host), errp)) {
            g_prefix_error(errp, "Postcopy is not supported: ");
            return false;
        }
    }
    return true;
}

void qmp_migrate_set_capabilities(QmpCall *call, const QmpArgs_migrate_set_capabilities *args,
                                  GError **errp)
{
    Migration *m = call->opaque;

    if (migration_is_running(m)) {
        error_setg(errp, "There's a migration process in progress");
        return;
    }
    for (unsigned i = 0; i < args->capabilities->len; i++) {
        const MigrationCapabilityStatus *c = g_ptr_array_index(args->capabilities, i);

        if (c->state && c->capability == MIGRATION_CAPABILITY_BACKGROUND_SNAPSHOT &&
            !ram_guard_possible(errp)) {
            g_prefix_error(errp, "Background-snapshot is not supported by host kernel: ");
            return;
        }
    }
    if (check_host(m, args->capabilities, errp)) {
        options_set_caps(&m->options, args->capabilities,
                         m->incoming && incoming_has_started(m->incoming), errp);
    }
}

GPtrArray *qmp_query_migrate_capabilities(QmpCall *call, GError **errp)
{
    Migration *m = call->opaque;
    GPtrArray *list = qapi_list_new_MigrationCapabilityStatus();

    for (unsigned i = 0; i < MIGRATION_CAPABILITY__MAX; i++) {
        MigrationCapabilityStatus *c = g_new0(MigrationCapabilityStatus, 1);

        c->capability = i;
        c->state = options_cap(&m->options, i);
        g_ptr_array_add(list, c);
    }
    return list;
}

void qmp_migrate_set_parameters(QmpCall *call, const MigrationParameters *args, GError **errp)
{
    Migration *m = call->opaque;

    options_set_params(&m->options, args, errp);
}

MigrationParameters *qmp_query_migrate_parameters(QmpCall *call, GError **errp)
{
    Migration *m = call->opaque;

    return options_get_params(&m->options);
}
