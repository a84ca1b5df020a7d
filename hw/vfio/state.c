/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which state a VFIO device is in (spec 60 sections 6 and 7).
 *
 *                       the guest stops                         and runs again
 *     prepare   RUNNING -> RUNNING_P2P, PRE_COPY -> PRE_COPY_P2P         -> RUNNING_P2P
 *     then      -> STOP                 -> STOP_COPY                     -> RUNNING
 *
 * A device that refuses a change may be anywhere on the way to it. It is asked to go somewhere safe
 * then, and if it does not, reset; what was to be migrated fails in any case.
 */
#include "hw/vfio/migration-internal.h"
#include "util/log.h"

/* The kernel's numbers are those of the schema. */
G_STATIC_ASSERT((unsigned)VFIO_MIGRATION_STATE_STOP == VFIO_DEVICE_STATE_STOP);
G_STATIC_ASSERT((unsigned)VFIO_MIGRATION_STATE_PRE_COPY_P2P == VFIO_DEVICE_STATE_PRE_COPY_P2P);

static const char *state_name(unsigned state)
{
    return state < VFIO_MIGRATION_STATE__MAX ? VFIOMigrationState_str(state) : "?";
}

unsigned vfio_migration_state(const VFIOMigration *v)
{
    return __atomic_load_n(&v->state, __ATOMIC_RELAXED);
}

bool vfio_migration_is_precopying(const VFIOMigration *v)
{
    unsigned now = vfio_migration_state(v);

    return now == VFIO_DEVICE_STATE_PRE_COPY || now == VFIO_DEVICE_STATE_PRE_COPY_P2P;
}

bool vfio_migration_offers(const VFIOMigration *v, uint64_t flag)
{
    VFIODevice *d = vfio_migration_device(v);

    return d->ops->migration_flags(d) & flag;
}

static void note_state(VFIOMigration *v, unsigned state)
{
    __atomic_store_n(&v->state, state, __ATOMIC_RELAXED);
    v->owner.state_changed(v->owner.opaque, state);
}

/* Whatever state it is in. */
static bool tell(VFIOMigration *v, unsigned state, GError **errp)
{
    VFIODevice *d = vfio_migration_device(v);

    if (vfio_device_failed(d)) {
        error_setg(errp, "%s: the device has failed", d->name);
        return false;
    }
    if (state == VFIO_DEVICE_STATE_PRE_COPY_P2P) {
        v->owner.state_changed(v->owner.opaque, VFIO_MIGRATION_STATE_PRE_COPY_P2P_PREPARE);
    }
    if (!d->ops->set_state(d, state, errp)) {
        g_prefix_error(errp, "%s: from state %s to %s: ", d->name,
                       state_name(vfio_migration_state(v)), state_name(state));
        return false;
    }
    note_state(v, state);
    return true;
}

bool vfio_migration_set_state(VFIOMigration *v, unsigned state, GError **errp)
{
    return vfio_migration_state(v) == state || tell(v, state, errp);
}

bool vfio_migration_set_state_or(VFIOMigration *v, unsigned state, unsigned recover, GError **errp)
{
    g_autoptr(GError) err = NULL;

    if (vfio_migration_set_state(v, state, errp)) {
        return true;
    }
    if (recover == VFIO_DEVICE_STATE_ERROR || !tell(v, recover, &err)) {
        vfio_migration_recover(v);
    }
    return false;
}

void vfio_migration_recover(VFIOMigration *v)
{
    VFIODevice *d = vfio_migration_device(v);
    g_autoptr(GError) err = NULL;

    if (vfio_device_failed(d)) {
        return;
    }
    error_report("%s: the device is reset, its state is lost", d->name);
    if (!d->ops->reset(d, &err) || !tell(v, VFIO_DEVICE_STATE_RUNNING, &err)) {
        error_report("%s: the device cannot be made to run again: %s", d->name, err->message);
        __atomic_store_n(&d->failed, true, __ATOMIC_RELAXED);
        note_state(v, VFIO_DEVICE_STATE_ERROR);
    }
}

void vfio_migration_note_error(VFIOMigration *v, GError *err)
{
    g_mutex_lock(&v->lock);
    if (v->error) {
        g_error_free(err);
    } else {
        v->error = err;
    }
    g_mutex_unlock(&v->lock);
}

GError *vfio_migration_take_error(VFIOMigration *v)
{
    GError *err;

    g_mutex_lock(&v->lock);
    err = g_steal_pointer(&v->error);
    g_mutex_unlock(&v->lock);
    return err;
}

/* The session that save_setup opened ends before its time. */
static void lose_session(VFIOMigration *v, const char *why)
{
    if (v->saving) {
        vfio_migration_note_error(v, g_error_new(GODWIT_ERROR, 0,
                                                 "%s: its state cannot be sent any more: %s",
                                                 vfio_migration_device(v)->name, why));
    }
}

/* ---- the VM stops or runs ---- */

/* Nobody can be told here; a migration that runs finds out. */
static bool change(VFIOMigration *v, unsigned state, unsigned recover)
{
    GError *err = NULL;

    if (vfio_migration_set_state_or(v, state, recover, &err)) {
        return true;
    }
    error_report("%s", err->message);
    vfio_migration_note_error(v, err);
    return false;
}

/* A guest that runs here for the first time must not meet another device than it had. */
static void start(VFIOMigration *v, unsigned state)
{
    if (vfio_migration_state(v) == VFIO_DEVICE_STATE_STOP_COPY) {
        lose_session(v, "the guest was stopped and runs again");
    }
    if (!change(v, state, VFIO_DEVICE_STATE_ERROR) && v->never_run) {
        v->owner.stop_guest(v->owner.opaque);
    }
}

void vfio_migration_vm_prepare(VFIOMigration *v, bool running)
{
    unsigned now = vfio_migration_state(v);

    if (!vfio_migration_offers(v, VFIO_MIGRATION_P2P)) {
        return;
    }
    if (running) {
        start(v, VFIO_DEVICE_STATE_RUNNING_P2P);
    } else {
        vfio_migration_look_again(v);
        change(v,
               now == VFIO_DEVICE_STATE_PRE_COPY ? VFIO_DEVICE_STATE_PRE_COPY_P2P
                                                 : VFIO_DEVICE_STATE_RUNNING_P2P,
               now);
    }
}

void vfio_migration_vm_state(VFIOMigration *v, bool running)
{
    if (running) {
        start(v, VFIO_DEVICE_STATE_RUNNING);
        v->never_run = false;
    } else {
        change(v,
               vfio_migration_is_precopying(v) ? VFIO_DEVICE_STATE_STOP_COPY
                                               : VFIO_DEVICE_STATE_STOP,
               VFIO_DEVICE_STATE_STOP);
    }
}

/* A stopped device takes no reset. */
void vfio_migration_reset(VFIOMigration *v)
{
    VFIODevice *d = vfio_migration_device(v);
    bool stopped = vfio_migration_state(v) == VFIO_DEVICE_STATE_STOP;
    g_autoptr(GError) err = NULL;

    if (vfio_migration_is_precopying(v) || vfio_migration_state(v) == VFIO_DEVICE_STATE_STOP_COPY) {
        lose_session(v, "the guest was reset");
    }
    if (!vfio_migration_set_state(v, VFIO_DEVICE_STATE_RUNNING, &err) || !d->ops->reset(d, &err) ||
        (stopped && !vfio_migration_set_state(v, VFIO_DEVICE_STATE_STOP, &err))) {
        error_report("%s: reset failed: %s", d->name, err->message);
    }
}
