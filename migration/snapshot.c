/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * State snapshots: the stream of a stopped guest, to and from a file (spec 10 section 13). The work
 * runs in a thread as a migration's does, because handlers expect its locks; the caller waits.
 */
#include "migration/incoming-state.h"
#include "migration/loadvm.h"
#include "migration/outgoing.h"
#include "util/lock.h"

/* ---- saving ---- */

static bool save_stream(MigrationState *s, GError **errp)
{
    SaveContext c = migration_save_context(s->m, s->file);
    bool suppressed = s->host->ops->suppress_vmdesc && s->host->ops->suppress_vmdesc(s->host);
    g_autoptr(VMDescWriter) desc = suppressed ? NULL : vmdesc_new();
    IterateResult result = ITERATE_MORE;
    bool ok;

    if (!outgoing_begin_stream(s, errp)) {
        return false;
    }
    while (result == ITERATE_MORE) {
        result = savevm_iterate(&c, errp);
    }
    if (result == ITERATE_ERROR) {
        return false;
    }
    bql_lock();
    ok = switchover_send_rest(s, desc, errp);
    bql_unlock();
    return ok && switchover_store(s, desc, errp);
}

static gpointer save_thread(gpointer opaque)
{
    MigrationState *s = opaque;
    GError *err = NULL;

    s->committed = save_stream(s, &err);
    if (!s->committed) {
        migration_fail(s, err);
        outgoing_set_status(s, MIGRATION_STATUS_SETUP, MIGRATION_STATUS_FAILING);
    }
    stats_finish(s);
    return NULL;
}

void migration_cancel_snapshot(Migration *m)
{
    if (m->outgoing && m->outgoing->snapshot) {
        outgoing_cancel(m->outgoing);
    }
}

bool migration_save_snapshot(Migration *m, QIOChannel *ioc, GError **errp)
{
    g_autoptr(GPtrArray) reasons = migration_blocked_reasons(m);
    RunState before = m->host->ops->runstate(m->host);
    g_autofree char *error = NULL;
    MigrationState *s;

    if (migration_is_running(m) || before == RUN_STATE_INMIGRATE) {
        error_setg(errp, "There's a migration process in progress");
        return false;
    }
    if (options_cap(&m->options, MIGRATION_CAPABILITY_X_IGNORE_SHARED)) {
        error_setg(errp, "A snapshot has all memory: turn the capability 'x-ignore-shared' off");
        return false;
    }
    if (reasons) {
        error_setg(errp, "%s", (const char *)g_ptr_array_index(reasons, 0));
        return false;
    }
    if (!savevm_prepare(m->savevm, errp) ||
        !m->host->ops->vm_stop(m->host, RUN_STATE_SAVE_VM, errp)) {
        return false;
    }
    globalstate_store(&m->global_state, before);
    s = outgoing_new(m);
    s->snapshot = true;
    s->file = qemu_file_new_output(ioc);
    outgoing_set_status(s, MIGRATION_STATUS_NONE, MIGRATION_STATUS_SETUP);
    migration_join(g_thread_new("snapshot", save_thread, s));
    outgoing_finish(s);
    if (before == RUN_STATE_RUNNING) {
        m->host->ops->vm_start(m->host);
    } else {
        m->host->ops->set_runstate(m->host, before);
    }
    error = outgoing_error(s);
    if (!s->committed) {
        error_setg(errp, "Saving the snapshot: %s", error ? error : "cancelled");
    }
    return s->committed;
}

/* ---- loading ---- */

typedef struct {
    LoadContext load;
    GError *error;
} LoadJob;

static gpointer load_thread(gpointer opaque)
{
    LoadJob *job = opaque;

    if (loadvm_begin(&job->load, &job->error)) {
        loadvm_items(&job->load, &job->error);
    }
    return NULL;
}

bool migration_check_load(Migration *m, GError **errp)
{
    MigrationStatus in = m->incoming ? incoming_status(m->incoming) : MIGRATION_STATUS_NONE;
    g_autoptr(GPtrArray) reasons = migration_blocked_reasons(m);

    if (migration_is_running(m) || m->host->ops->runstate(m->host) == RUN_STATE_INMIGRATE ||
        (in != MIGRATION_STATUS_NONE && in != MIGRATION_STATUS_COMPLETED &&
         in != MIGRATION_STATUS_FAILED)) {
        error_setg(errp, "There's a migration process in progress");
        return false;
    }
    if (reasons) {
        error_setg(errp, "%s", (const char *)g_ptr_array_index(reasons, 0));
        return false;
    }
    return true;
}

bool migration_load_snapshot(Migration *m, QIOChannel *ioc, GError **errp)
{
    LoadJob job = {.load = {.m = m}};
    RunState before = m->host->ops->runstate(m->host);

    if (!migration_check_load(m, errp)) {
        return false;
    }
    m->host->ops->set_runstate(m->host, RUN_STATE_RESTORE_VM);
    __atomic_store_n(&m->loading_file, true, __ATOMIC_RELEASE);
    m->file_is_mapped = options_cap(&m->options, MIGRATION_CAPABILITY_MAPPED_RAM);
    job.load.f = qemu_file_new_input(ioc);
    migration_join(g_thread_new("snapshot", load_thread, &job));
    qemu_fclose(job.load.f, NULL);
    loadvm_cleanup(m);
    __atomic_store_n(&m->loading_file, false, __ATOMIC_RELEASE);
    if (job.error) {
        g_propagate_prefixed_error(errp, job.error, "Loading the snapshot: ");
        return false; /* half-loaded: it stays in restore-vm */
    }
    m->host->ops->set_runstate(m->host, before);
    return true;
}
