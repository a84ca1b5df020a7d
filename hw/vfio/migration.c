/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state of a VFIO device in the stream (spec 60 sections 2 to 7). Section "<path>/vfio":
 *
 *   START  SETUP EOS
 *   PART   one DATA of what the running device has ready, or none; EOS, or with switchover-ack
 *          INIT_DATA_SENT behind the last of its initial data
 *   END    DATA until the stopped device has no more; EOS
 *   FULL   CONFIG, configuration space and MSI-X table as the guest sees them; EOS
 *
 * What the device is asked to do, and when (state.c has the part of the guest's stop and start):
 *
 *   source         RUNNING -> PRE_COPY (setup) -> STOP_COPY (the guest stops) -> STOP (the end)
 *                  or back to RUNNING when it failed; without PRE_COPY: STOP, then STOP_COPY
 *   destination    RESUMING (before the first section) -> STOP (checks what came) -> RUNNING
 */
#include "hw/vfio/migration-internal.h"
#include "util/lock.h"
#include "util/log.h"

#define VFIO_EOS            UINT64_C(0xFFFFFFFFEF100001)
#define VFIO_CONFIG         UINT64_C(0xFFFFFFFFEF100002)
#define VFIO_SETUP          UINT64_C(0xFFFFFFFFEF100003)
#define VFIO_INIT_DATA_SENT UINT64_C(0xFFFFFFFFEF100005)
#define VFIO_DATA           UINT64_C(0xFFFFFFFFEF100004)

static VFIODevice *device(VFIOMigration *v)
{
    return vfio_migration_device(v);
}

/* ---- figures ---- */

static void clear_figures(uint64_t *bytes, uint64_t *us)
{
    __atomic_store_n(bytes, 0, __ATOMIC_RELAXED);
    __atomic_store_n(us, 0, __ATOMIC_RELAXED);
}

/* @n bytes went one way since @begin. */
static void count(uint64_t *bytes, uint64_t *us, uint64_t n, int64_t begin)
{
    __atomic_fetch_add(bytes, n, __ATOMIC_RELAXED);
    __atomic_fetch_add(us, g_get_monotonic_time() - begin, __ATOMIC_RELAXED);
}

void vfio_migration_fill_info(VFIOMigration *v, VFIOMigrationInfo *info)
{
    info->device_state = vfio_migration_state(v);
    info->sent = __atomic_load_n(&v->sent, __ATOMIC_RELAXED);
    info->sent_us = __atomic_load_n(&v->sent_us, __ATOMIC_RELAXED);
    info->loaded = __atomic_load_n(&v->loaded_bytes, __ATOMIC_RELAXED);
    info->precopy_left = __atomic_load_n(&v->initial, __ATOMIC_RELAXED) +
                         __atomic_load_n(&v->dirty, __ATOMIC_RELAXED);
    info->stop_copy_left = __atomic_load_n(&v->stop_copy, __ATOMIC_RELAXED);
    info->loaded_us = __atomic_load_n(&v->loaded_us, __ATOMIC_RELAXED);
}

/* ---- what is left ---- */

static uint64_t get(const uint64_t *size)
{
    return __atomic_load_n(size, __ATOMIC_RELAXED);
}

static void set(uint64_t *size, uint64_t bytes)
{
    __atomic_store_n(size, bytes, __ATOMIC_RELAXED);
}

/* @n bytes are not left any more; how many of them were counted. */
static uint64_t take(uint64_t *size, uint64_t n)
{
    n = MIN(n, get(size));
    set(size, get(size) - n);
    return n;
}

static void no_sizes(VFIOMigration *v, const char *which, const GError *err)
{
    if (!v->told_unknown) {
        error_report("%s: how much %s state it has is not known: %s", device(v)->name, which,
                     err->message);
    }
    v->told_unknown = true;
}

static bool knows(bool has_operation, GError **errp)
{
    if (!has_operation) {
        error_setg(errp, "it cannot be asked");
    }
    return has_operation;
}

static bool plausible(uint64_t bytes, GError **errp)
{
    if (bytes > INT64_MAX) {
        error_setg(errp, "%" PRIu64 " bytes are more than there can be", bytes);
        return false;
    }
    return true;
}

static void ask_stop_copy_size(VFIOMigration *v)
{
    g_autoptr(GError) err = NULL;
    uint64_t bytes = 0;

    if (!knows(device(v)->ops->stop_copy_size != NULL, &err) ||
        !device(v)->ops->stop_copy_size(device(v), &bytes, &err) || !plausible(bytes, &err)) {
        no_sizes(v, "stop-copy", err);
        bytes = VFIO_SIZE_UNKNOWN;
    }
    set(&v->stop_copy, bytes);
}

static bool wants_acks(VFIOMigration *v)
{
    return migration_has_capability(v->owner.migration, MIGRATION_CAPABILITY_SWITCHOVER_ACK);
}

/* The guest must not stop before the destination has all the initial data. */
static void request_ack(VFIOMigration *v)
{
    if (wants_acks(v)) {
        v->ack_due = true;
        v->ack_requests += !migration_has_legacy_acks(v->owner.migration);
    }
}

/* What the destination has acknowledged, or will, is worth nothing any more. */
static void request_ack_again(VFIOMigration *v)
{
    if (!v->ack_due && !migration_has_legacy_acks(v->owner.migration)) {
        request_ack(v);
    }
}

static bool ask_precopy_sizes(VFIOMigration *v)
{
    g_autoptr(GError) err = NULL;
    VFIOPrecopySizes sizes = {0};
    bool known = knows(device(v)->ops->precopy_sizes != NULL, &err) &&
                 device(v)->ops->precopy_sizes(device(v), &sizes, &err) &&
                 plausible(sizes.initial, &err) && plausible(sizes.dirty, &err);

    if (!known) {
        no_sizes(v, "precopy", err);
        sizes = (VFIOPrecopySizes){0};
    }
    set(&v->initial, sizes.initial);
    set(&v->dirty, sizes.dirty);
    if (sizes.reinit) {
        request_ack_again(v);
    }
    return known;
}

/* Not when somebody else than the migration stops the guest: its thread is at work then. */
void vfio_migration_look_again(VFIOMigration *v)
{
    MigrationHost *host = migration_host(v->owner.migration);

    if (v->saving && vfio_migration_is_precopying(v) && wants_acks(v) &&
        host->ops->runstate(host) == RUN_STATE_FINISH_MIGRATE && !ask_precopy_sizes(v)) {
        request_ack_again(v); /* for all we know */
    }
}

/* @n bytes were read while the device runs: initial data comes first. */
static void note_read(VFIOMigration *v, uint64_t n)
{
    if (device(v)->guesses_sizes) {
        ask_precopy_sizes(v);
    } else if (!n) {
        set(&v->initial, 0);
        set(&v->dirty, 0);
    } else {
        take(&v->dirty, n - take(&v->initial, n));
    }
    take(&v->stop_copy, n);
}

static void vfio_save_pending(void *opaque, MigPendingData *pending, bool exact)
{
    VFIOMigration *v = opaque;
    uint64_t precopy, all;

    if (exact) {
        ask_stop_copy_size(v);
    }
    if (exact && vfio_migration_is_precopying(v)) {
        ask_precopy_sizes(v);
    }
    precopy = get(&v->initial) + get(&v->dirty);
    all = get(&v->stop_copy);
    pending->precopy += precopy;
    pending->stopcopy += all > precopy ? all - precopy : 0;
    pending->ack_requests += v->ack_requests;
    v->ack_requests = 0;
}

/* ---- source ---- */

static void forget_sizes(VFIOMigration *v)
{
    set(&v->initial, 0);
    set(&v->dirty, 0);
    set(&v->stop_copy, 0);
}

static void forget_error(VFIOMigration *v)
{
    GError *err = vfio_migration_take_error(v);

    g_clear_error(&err);
}

static bool vfio_save_prepare(void *opaque, GError **errp)
{
    VFIOMigration *v = opaque;
    static const MigrationCapability impossible[] = {MIGRATION_CAPABILITY_POSTCOPY_RAM,
                                                     MIGRATION_CAPABILITY_BACKGROUND_SNAPSHOT};

    for (unsigned i = 0; i < ARRAY_SIZE(impossible); i++) {
        if (migration_has_capability(v->owner.migration, impossible[i])) {
            error_setg(errp, "%s: VFIO devices cannot migrate with capability '%s': turn it off",
                       device(v)->name, MigrationCapability_str(impossible[i]));
            return false;
        }
    }
    return true;
}

static bool vfio_save_setup(QEMUFile *f, void *opaque, GError **errp)
{
    VFIOMigration *v = opaque;

    forget_error(v);
    v->told_unknown = v->ack_due = false;
    v->ack_requests = 0;
    clear_figures(&v->sent, &v->sent_us);
    forget_sizes(v);
    v->saving = true;
    qemu_put_be64(f, VFIO_SETUP);
    ask_stop_copy_size(v);
    if (vfio_migration_state(v) == VFIO_DEVICE_STATE_RUNNING &&
        vfio_migration_offers(v, VFIO_MIGRATION_PRE_COPY) &&
        !vfio_migration_set_state_or(v, VFIO_DEVICE_STATE_PRE_COPY, VFIO_DEVICE_STATE_RUNNING,
                                     errp)) {
        return false;
    }
    if (vfio_migration_is_precopying(v)) {
        request_ack(v);
        ask_precopy_sizes(v);
    }
    qemu_put_be64(f, VFIO_EOS);
    return true;
}

/* Bytes that would be copied as quickly as they are sent from where they are. */
#define WORTH_A_REFERENCE (64 * KiB)

/* DATA records of VFIO_CHUNK each; @f has let go of v->buf afterwards. */
static void put_records(VFIOMigration *v, QEMUFile *f, uint32_t len)
{
    for (uint32_t done = 0, n; done < len; done += n) {
        n = MIN(len - done, VFIO_CHUNK);
        qemu_put_be64(f, VFIO_DATA);
        qemu_put_be64(f, n);
        if (len < WORTH_A_REFERENCE) {
            qemu_put_buffer(f, v->buf + done, n);
        } else {
            qemu_put_buffer_ref(f, v->buf + done, n);
        }
    }
    if (len >= WORTH_A_REFERENCE) {
        qemu_fflush(f);
    }
}

/* What it has, as much as *len and as came. */
static bool put_data(VFIOMigration *v, QEMUFile *f, uint32_t *len, GError **errp)
{
    int64_t begin = g_get_monotonic_time();

    if (!device(v)->ops->state_read(device(v), v->buf, len, errp)) {
        g_prefix_error(errp, "%s: reading its state: ", device(v)->name);
        return false;
    }
    count(&v->sent, &v->sent_us, *len, begin);
    put_records(v, f, *len);
    return true;
}

static bool is_precopying(void *opaque)
{
    return vfio_migration_is_precopying(opaque);
}

static IterateResult vfio_save_iterate(QEMUFile *f, void *opaque, GError **errp)
{
    VFIOMigration *v = opaque;
    uint32_t len = VFIO_CHUNK; /* one record */

    if (!put_data(v, f, &len, errp)) {
        return ITERATE_ERROR;
    }
    note_read(v, len);
    if (v->ack_due && !get(&v->initial)) {
        v->ack_due = false;
        qemu_put_be64(f, VFIO_INIT_DATA_SENT);
    } else {
        qemu_put_be64(f, VFIO_EOS);
    }
    return len ? ITERATE_MORE : ITERATE_DONE;
}

static bool vfio_save_complete(QEMUFile *f, void *opaque, GError **errp)
{
    VFIOMigration *v = opaque;
    GError *err = vfio_migration_take_error(v);
    uint32_t len;

    if (err) {
        g_propagate_error(errp, err);
        return false;
    }
    if (!vfio_migration_set_state_or(v, VFIO_DEVICE_STATE_STOP_COPY, VFIO_DEVICE_STATE_STOP,
                                     errp)) {
        return false;
    }
    do {
        len = VFIO_BUFFER;
        if (!put_data(v, f, &len, errp)) {
            return false;
        }
    } while (len && qemu_file_ok(f));
    qemu_put_be64(f, VFIO_EOS);
    return true;
}

static bool vfio_save_state(QEMUFile *f, void *opaque, GError **errp)
{
    VFIOMigration *v = opaque;

    qemu_put_be64(f, VFIO_CONFIG);
    if (!v->owner.save_config(v->owner.opaque, f, errp)) {
        return false;
    }
    qemu_put_be64(f, VFIO_EOS);
    return true;
}

/* The session ends. Whoever starts the guest again makes the device run. */
static void vfio_save_cleanup(void *opaque)
{
    VFIOMigration *v = opaque;
    g_autoptr(GError) err = NULL;
    bool ok = true;

    v->saving = false;
    forget_sizes(v);
    if (vfio_migration_is_precopying(v)) {
        ok = vfio_migration_set_state_or(v, VFIO_DEVICE_STATE_RUNNING, VFIO_DEVICE_STATE_ERROR,
                                         &err);
    } else if (vfio_migration_state(v) == VFIO_DEVICE_STATE_STOP_COPY) {
        ok = vfio_migration_set_state_or(v, VFIO_DEVICE_STATE_STOP, VFIO_DEVICE_STATE_ERROR, &err);
    }
    if (!ok) {
        error_report("%s", err->message);
    }
    forget_error(v);
}

/* ---- destination ---- */

static bool vfio_load_setup(QEMUFile *f, void *opaque, GError **errp)
{
    VFIOMigration *v = opaque;

    v->loaded = false;
    clear_figures(&v->loaded_bytes, &v->loaded_us);
    return vfio_migration_set_state_or(v, VFIO_DEVICE_STATE_RESUMING, vfio_migration_state(v),
                                       errp);
}

/* Straight on to the device: nothing is allocated by what the stream says. */
static bool load_data(VFIOMigration *v, QEMUFile *f, GError **errp)
{
    uint64_t len = qemu_get_be64(f);

    while (len && qemu_file_ok(f)) {
        uint32_t n = MIN(len, VFIO_BUFFER);
        int64_t begin;

        if (!qemu_get_buffer(f, v->buf, n)) {
            break;
        }
        begin = g_get_monotonic_time();
        if (!device(v)->ops->state_write(device(v), v->buf, n, errp)) {
            g_prefix_error(errp, "%s: the device refuses its state: ", device(v)->name);
            return false;
        }
        count(&v->loaded_bytes, &v->loaded_us, n, begin);
        len -= n;
    }
    return qemu_file_check(f, errp);
}

static bool load_config(VFIOMigration *v, QEMUFile *f, GError **errp)
{
    uint64_t end;
    BQL_LOCK_GUARD();

    if (!v->owner.load_config(v->owner.opaque, f, errp)) {
        return false;
    }
    end = qemu_get_be64(f);
    if (!qemu_file_check(f, errp)) {
        return false;
    }
    if (end != VFIO_EOS) {
        error_setg(errp, "0x%" PRIx64 " behind the configuration of a VFIO device, not the end",
                   end);
        return false;
    }
    /* Here the device judges what came: better now than when the guest is to run. */
    if (!vfio_migration_set_state(v, VFIO_DEVICE_STATE_STOP, errp)) {
        return false;
    }
    v->loaded = v->never_run = true;
    return true;
}

static bool expect_end(QEMUFile *f, GError **errp)
{
    uint64_t end = qemu_get_be64(f);

    if (qemu_file_check(f, errp) && end != VFIO_EOS) {
        error_setg(errp, "0x%" PRIx64 " behind the setup of a VFIO device, not the end", end);
        return false;
    }
    return qemu_file_ok(f);
}

static bool vfio_ack_needed(void *opaque)
{
    return vfio_migration_offers(opaque, VFIO_MIGRATION_PRE_COPY);
}

static bool approve(VFIOMigration *v, GError **errp)
{
    if (!wants_acks(v) || !vfio_ack_needed(v)) {
        error_setg(errp, "%s: its initial data have come, which nobody waits for: %s",
                   device(v)->name,
                   wants_acks(v) ? "it knows no PRE_COPY"
                                 : "turn the capability 'switchover-ack' on here too");
        return false;
    }
    return migration_approve_switchover(v->owner.migration, errp);
}

static bool vfio_load_state(QEMUFile *f, void *opaque, int version_id, GError **errp)
{
    VFIOMigration *v = opaque;

    while (qemu_file_ok(f)) {
        uint64_t what = qemu_get_be64(f);

        if (!qemu_file_ok(f)) {
            break;
        }
        if (v->loaded) {
            error_setg(errp, "%s: its state has come already", device(v)->name);
            return false;
        }
        switch (what) {
        case VFIO_EOS:
            return true;
        case VFIO_SETUP:
            return expect_end(f, errp);
        case VFIO_CONFIG:
            return load_config(v, f, errp);
        case VFIO_INIT_DATA_SENT:
            return approve(v, errp); /* no EOS behind it */
        case VFIO_DATA:
            if (!load_data(v, f, errp)) {
                return false;
            }
            break;
        default:
            error_setg(errp, "0x%" PRIx64 " is no record of a VFIO device", what);
            return false;
        }
    }
    return qemu_file_check(f, errp);
}

/* A device without state in the stream starts anew, and so does one that got half of it. */
static void vfio_load_cleanup(void *opaque)
{
    VFIOMigration *v = opaque;

    if (vfio_migration_state(v) == VFIO_DEVICE_STATE_RESUMING) {
        error_report("%s: no complete state has come", device(v)->name);
        vfio_migration_recover(v);
    }
}

static const SaveVMHandlers vfio_handlers = {
    .save_prepare = vfio_save_prepare,
    .save_setup = vfio_save_setup,
    .save_live_iterate = vfio_save_iterate,
    .is_active_iterate = is_precopying,
    .save_query_pending = vfio_save_pending,
    .save_complete = vfio_save_complete,
    .save_state = vfio_save_state,
    .save_cleanup = vfio_save_cleanup,
    .load_setup = vfio_load_setup,
    .load_state = vfio_load_state,
    .load_cleanup = vfio_load_cleanup,
    .switchover_ack_needed = vfio_ack_needed,
};

/* ---- life cycle ---- */

VFIOMigration *vfio_migration_new(const VFIOMigrationOwner *owner, const char *path)
{
    VFIOMigration *v = g_new0(VFIOMigration, 1);
    g_autofree char *idstr = g_strconcat(path, "/vfio", NULL);

    v->owner = *owner;
    v->state = VFIO_DEVICE_STATE_RUNNING;
    v->buf = g_malloc(VFIO_BUFFER);
    g_mutex_init(&v->lock);
    v->section = savevm_register_live(migration_savevm(owner->migration), idstr, INSTANCE_ID_ANY, 1,
                                      &vfio_handlers, v);
    return v;
}

void vfio_migration_free(VFIOMigration *v)
{
    if (v) {
        savevm_unregister(migration_savevm(v->owner.migration), v->section);
        g_clear_error(&v->error);
        g_mutex_clear(&v->lock);
        g_free(v->buf);
        g_free(v);
    }
}
