/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A background snapshot (spec 20 section 11): the state of one moment, sent while the guest goes
 * on.
 *
 *     START of the live sections
 *     -- the guest stands still: device state into memory, guest memory protected --
 *     PART after PART: memory as it was at that moment
 *     the device state kept in memory, end of stream, description
 */
#include "io/channel-buffer.h"
#include "migration/outgoing.h"
#include "util/lock.h"

/* Device state, end of stream and description, into @blob. Big lock, guest stopped. */
static bool save_devices(MigrationState *s, QIOChannelBuffer *blob, GError **errp)
{
    bool suppressed = s->host->ops->suppress_vmdesc && s->host->ops->suppress_vmdesc(s->host);
    g_autoptr(VMDescWriter) desc = suppressed ? NULL : vmdesc_new();
    QEMUFile *f = qemu_file_new_output(IO_CHANNEL(blob));
    SaveContext c = migration_save_context(s->m, f);
    GError *err = NULL;

    if (savevm_complete_devices(&c, desc, &err)) {
        switchover_put_end(f, desc);
    }
    if (!qemu_fclose(f, err ? NULL : &err) || err) {
        g_propagate_error(errp, err);
        return false;
    }
    return true;
}

static void let_go_on(MigrationState *s)
{
    s->stopped = false;
    if (s->state_before == RUN_STATE_RUNNING) {
        s->host->ops->vm_start(s->host);
    } else {
        s->host->ops->set_runstate(s->host, s->state_before);
    }
}

/* The moment. */
static bool freeze(MigrationState *s, QIOChannelBuffer *blob, GError **errp)
{
    int64_t start = g_get_monotonic_time();

    BQL_LOCK_GUARD();
    if (!switchover_stop_guest(s, RUN_STATE_PAUSED, errp) || !save_devices(s, blob, errp) ||
        !ram_background_protect(s->m->ram, errp)) {
        return false; /* switchover_settle_guest() lets it go on */
    }
    let_go_on(s);
    stat_set(&s->downtime_us, g_get_monotonic_time() - start);
    recorder_switchover(s->m->source_record, "guest stood still", qemu_file_transferred(s->file),
                        g_get_monotonic_time() - start);
    return true;
}

static bool send_memory(MigrationState *s, GError **errp)
{
    SaveContext c = migration_save_context(s->m, s->file);
    IterateResult result;

    do {
        if (migration_interrupted(s, errp)) {
            return false;
        }
        result = savevm_iterate(&c, errp);
        stats_update(s);
    } while (result == ITERATE_MORE);
    return result == ITERATE_DONE;
}

/* Only memory can be held back at one moment; other live state (VFIO) goes on changing. */
static bool only_memory_is_live(MigrationState *s, GError **errp)
{
    SAVEVM_FOREACH(se, s->m->savevm)
    {
        if (savevm_is_live(se) && se->opaque != s->m->ram) {
            error_setg(errp,
                       "'%s' can only be saved while the guest stands still: turn the capability "
                       "'background-snapshot' off",
                       se->idstr);
            return false;
        }
    }
    return true;
}

bool background_run(MigrationState *s, GError **errp)
{
    g_autoptr(QIOChannelBuffer) blob = io_channel_buffer_new();
    GByteArray *bytes = io_channel_buffer_bytes(blob);

    if (!only_memory_is_live(s, errp)) {
        return false;
    }
    if (!freeze(s, blob, errp) || !send_memory(s, errp)) {
        return false;
    }
    qemu_put_buffer(s->file, bytes->data, bytes->len);
    if (!qemu_fflush(s->file)) {
        return qemu_file_check(s->file, errp);
    }
    if (!io_channel_publish(qemu_file_channel(s->file), errp)) {
        return false;
    }
    s->committed = true;
    return true;
}
