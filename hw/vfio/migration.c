/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state of a VFIO device in the stream (spec 60 sections 2 to 7). Section "<path>/vfio":
 *
 *   START  SETUP EOS
 *   PART   one DATA of what the running device has ready, or none; EOS
 *   END    DATA until the stopped device has no more; EOS
 *   FULL   CONFIG, configuration space and MSI-X table as the guest sees them; EOS
 *
 * What the device is asked to do, and when:
 *
 *   source         RUNNING -> PRE_COPY (setup) -> STOP_COPY (the guest stops) -> STOP (the end)
 *                  or back to RUNNING when it failed; without PRE_COPY: STOP, then STOP_COPY
 *   destination    RESUMING (before the first section) -> STOP (checks what came) -> RUNNING
 */
#include "hw/vfio/pci.h"
#include "qapi-events-vfio.h"
#include "util/lock.h"
#include "util/log.h"

#define CHUNK (1u << 20)

#define VFIO_EOS    UINT64_C(0xFFFFFFFFEF100001)
#define VFIO_CONFIG UINT64_C(0xFFFFFFFFEF100002)
#define VFIO_SETUP  UINT64_C(0xFFFFFFFFEF100003)
#define VFIO_DATA   UINT64_C(0xFFFFFFFFEF100004)

struct VFIOMigration {
    VFIOPCI *s;
    SaveStateEntry *section;
    unsigned state; /* atomic: what the device was told last */
    bool saving;    /* a session was opened by save_setup; big lock */
    bool loaded;    /* the device has validated what came; incoming thread */
    GMutex lock;
    GError *error; /* lock: what ended the session where nobody could be told */
    uint8_t *buf;  /* CHUNK bytes; migration or incoming thread */
    uint32_t last; /* bytes of the last read: the guess at what is left; migration thread */
    /* Of the last migration; atomic. */
    uint64_t sent, sent_us, loaded_bytes, loaded_us;
};

/* The kernel's numbers are those of the schema. */
G_STATIC_ASSERT((unsigned)VFIO_MIGRATION_STATE_STOP == VFIO_DEVICE_STATE_STOP);
G_STATIC_ASSERT((unsigned)VFIO_MIGRATION_STATE_PRE_COPY == VFIO_DEVICE_STATE_PRE_COPY);

static const char *state_name(unsigned state)
{
    return state < VFIO_MIGRATION_STATE__MAX ? VFIOMigrationState_str(state) : "?";
}

static VFIODevice *device(VFIOMigration *v)
{
    return v->s->dev;
}

static unsigned state_of(const VFIOMigration *v)
{
    return __atomic_load_n(&v->state, __ATOMIC_RELAXED);
}

static void note_state(VFIOMigration *v, unsigned state)
{
    DeviceState *dev = HW_DEVICE(v->s);

    __atomic_store_n(&v->state, state, __ATOMIC_RELAXED);
    if (v->s->migration_events) {
        const char *id = device_id(dev);
        g_autofree char *path = device_qom_path(dev);

        qapi_event_send_vfio_migration(&device_machine(dev)->events, id ? id : "", path, state);
    }
}

static bool set_state(VFIOMigration *v, unsigned state, GError **errp)
{
    if (state_of(v) == state) {
        return true;
    }
    if (vfio_device_failed(device(v))) {
        error_setg(errp, "%s: the device has failed", device(v)->name);
        return false;
    }
    if (!device(v)->ops->set_state(device(v), state, errp)) {
        g_prefix_error(errp, "%s: from state %s to %s: ", device(v)->name, state_name(state_of(v)),
                       state_name(state));
        return false;
    }
    note_state(v, state);
    return true;
}

/* Takes @err; the first one fails the migration that runs. */
static void note_error(VFIOMigration *v, GError *err)
{
    g_mutex_lock(&v->lock);
    if (v->error) {
        g_error_free(err);
    } else {
        v->error = err;
    }
    g_mutex_unlock(&v->lock);
}

static void forget_error(VFIOMigration *v)
{
    g_mutex_lock(&v->lock);
    g_clear_error(&v->error);
    g_mutex_unlock(&v->lock);
}

/* The device is in no state that we know: reset makes it run. */
static void recover(VFIOMigration *v)
{
    g_autoptr(GError) err = NULL;

    if (vfio_device_failed(device(v))) {
        return;
    }
    note_state(v, VFIO_DEVICE_STATE_ERROR);
    if (!device(v)->ops->reset(device(v), &err) || !set_state(v, VFIO_DEVICE_STATE_RUNNING, &err)) {
        error_report("%s: the device cannot be made to run again: %s", device(v)->name,
                     err->message);
    }
}

/* The session that save_setup opened ends before its time. */
static void lose_session(VFIOMigration *v, const char *why)
{
    if (v->saving) {
        note_error(v, g_error_new(GODWIT_ERROR, 0, "%s: its state cannot be sent any more: %s",
                                  device(v)->name, why));
    }
}

/* ---- the VM stops or runs ---- */

void vfio_migration_vm_state(VFIOMigration *v, bool running)
{
    unsigned now = state_of(v);
    unsigned state = running                             ? VFIO_DEVICE_STATE_RUNNING
                     : now == VFIO_DEVICE_STATE_PRE_COPY ? VFIO_DEVICE_STATE_STOP_COPY
                                                         : VFIO_DEVICE_STATE_STOP;
    GError *err = NULL;

    if (running && now == VFIO_DEVICE_STATE_STOP_COPY) {
        lose_session(v, "the guest was stopped and runs again");
    }
    if (set_state(v, state, &err)) {
        return;
    }
    error_report("%s", err->message);
    note_error(v, err);
    if (running) {
        recover(v);
    }
}

/* A stopped device takes no reset. */
void vfio_migration_reset(VFIOMigration *v)
{
    bool stopped = state_of(v) == VFIO_DEVICE_STATE_STOP;
    g_autoptr(GError) err = NULL;

    if (state_of(v) == VFIO_DEVICE_STATE_PRE_COPY || state_of(v) == VFIO_DEVICE_STATE_STOP_COPY) {
        lose_session(v, "the guest was reset");
    }
    if (!set_state(v, VFIO_DEVICE_STATE_RUNNING, &err) || !device(v)->ops->reset(device(v), &err) ||
        (stopped && !set_state(v, VFIO_DEVICE_STATE_STOP, &err))) {
        error_report("%s: reset failed: %s", device(v)->name, err->message);
    }
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

VFIOMigrationInfo *vfio_migration_info(VFIOMigration *v)
{
    VFIOMigrationInfo *info = g_new0(VFIOMigrationInfo, 1);
    const char *id = device_id(HW_DEVICE(v->s));

    info->device_id = g_strdup(id ? id : "");
    info->qom_path = device_qom_path(HW_DEVICE(v->s));
    info->device_state = state_of(v);
    info->sent = __atomic_load_n(&v->sent, __ATOMIC_RELAXED);
    info->sent_us = __atomic_load_n(&v->sent_us, __ATOMIC_RELAXED);
    info->loaded = __atomic_load_n(&v->loaded_bytes, __ATOMIC_RELAXED);
    info->loaded_us = __atomic_load_n(&v->loaded_us, __ATOMIC_RELAXED);
    return info;
}

/* ---- source ---- */

static bool vfio_save_setup(QEMUFile *f, void *opaque, GError **errp)
{
    VFIOMigration *v = opaque;

    forget_error(v);
    v->last = 0;
    clear_figures(&v->sent, &v->sent_us);
    v->saving = true;
    qemu_put_be64(f, VFIO_SETUP);
    if (state_of(v) == VFIO_DEVICE_STATE_RUNNING &&
        (device(v)->ops->migration_flags(device(v)) & VFIO_MIGRATION_PRE_COPY) &&
        !set_state(v, VFIO_DEVICE_STATE_PRE_COPY, errp)) {
        return false;
    }
    qemu_put_be64(f, VFIO_EOS);
    return true;
}

/* At most one DATA record; v->last says how long it was. */
static bool put_data(VFIOMigration *v, QEMUFile *f, GError **errp)
{
    int64_t begin = g_get_monotonic_time();
    uint32_t len = CHUNK;

    if (!device(v)->ops->state_read(device(v), v->buf, &len, errp)) {
        g_prefix_error(errp, "%s: reading its state: ", device(v)->name);
        return false;
    }
    count(&v->sent, &v->sent_us, len, begin);
    if (len) {
        qemu_put_be64(f, VFIO_DATA);
        qemu_put_be64(f, len);
        qemu_put_buffer(f, v->buf, len);
    }
    v->last = len;
    return true;
}

static bool is_precopying(void *opaque)
{
    return state_of(opaque) == VFIO_DEVICE_STATE_PRE_COPY;
}

static IterateResult vfio_save_iterate(QEMUFile *f, void *opaque, GError **errp)
{
    VFIOMigration *v = opaque;

    if (!put_data(v, f, errp)) {
        return ITERATE_ERROR;
    }
    qemu_put_be64(f, VFIO_EOS);
    return v->last ? ITERATE_MORE : ITERATE_DONE;
}

/* The protocol has no sizes: as much as came last is likely to come again. */
static void vfio_save_pending(void *opaque, MigPendingData *pending, bool exact)
{
    if (is_precopying(opaque)) {
        pending->precopy += ((VFIOMigration *)opaque)->last;
    }
}

static bool vfio_save_complete(QEMUFile *f, void *opaque, GError **errp)
{
    VFIOMigration *v = opaque;
    GError *err;

    g_mutex_lock(&v->lock);
    err = g_steal_pointer(&v->error);
    g_mutex_unlock(&v->lock);
    if (err) {
        g_propagate_error(errp, err);
        return false;
    }
    if (!set_state(v, VFIO_DEVICE_STATE_STOP_COPY, errp)) {
        return false;
    }
    do {
        if (!put_data(v, f, errp)) {
            return false;
        }
    } while (v->last && qemu_file_ok(f));
    qemu_put_be64(f, VFIO_EOS);
    return true;
}

static bool vfio_save_state(QEMUFile *f, void *opaque, GError **errp)
{
    VFIOMigration *v = opaque;
    PCIDevice *dev = &v->s->parent;

    qemu_put_be64(f, VFIO_CONFIG);
    if (!vmstate_save_state(f, &vmstate_pci_config, pci_config(dev), NULL, errp)) {
        return false;
    }
    pci_msix_save(dev, f);
    qemu_put_be64(f, VFIO_EOS);
    return true;
}

/* The session ends. Whoever starts the guest again makes the device run. */
static void vfio_save_cleanup(void *opaque)
{
    VFIOMigration *v = opaque;
    GError *err = NULL;
    bool ok = true;

    v->saving = false;
    if (state_of(v) == VFIO_DEVICE_STATE_PRE_COPY) {
        ok = set_state(v, VFIO_DEVICE_STATE_RUNNING, &err);
    } else if (state_of(v) == VFIO_DEVICE_STATE_STOP_COPY) {
        ok = set_state(v, VFIO_DEVICE_STATE_STOP, &err);
    }
    if (!ok) {
        error_report("%s", err->message);
        g_error_free(err);
        recover(v);
    }
    forget_error(v);
}

/* ---- destination ---- */

static bool vfio_load_setup(QEMUFile *f, void *opaque, GError **errp)
{
    VFIOMigration *v = opaque;

    v->loaded = false;
    clear_figures(&v->loaded_bytes, &v->loaded_us);
    return set_state(v, VFIO_DEVICE_STATE_RESUMING, errp);
}

/* Straight on to the device: nothing is allocated by what the stream says. */
static bool load_data(VFIOMigration *v, QEMUFile *f, GError **errp)
{
    uint64_t len = qemu_get_be64(f);

    while (len && qemu_file_ok(f)) {
        uint32_t n = MIN(len, CHUNK);
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
    PCIDevice *dev = &v->s->parent;
    uint64_t end;
    BQL_LOCK_GUARD();

    if (!vmstate_load_state(f, &vmstate_pci_config, pci_config(dev), vmstate_pci_config.version_id,
                            errp) ||
        !pci_msix_load(dev, f, errp)) {
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
    vfio_pci_forward_command(v->s);
    /* Here the device judges what came: better now than when the guest is to run. */
    if (!set_state(v, VFIO_DEVICE_STATE_STOP, errp)) {
        return false;
    }
    v->loaded = true;
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

    if (state_of(v) == VFIO_DEVICE_STATE_RESUMING) {
        error_report("%s: no complete state has come; the device is reset", device(v)->name);
        recover(v);
    }
}

static const SaveVMHandlers vfio_handlers = {
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
};

/* ---- life cycle ---- */

VFIOMigration *vfio_migration_new(VFIOPCI *s)
{
    VFIOMigration *v = g_new0(VFIOMigration, 1);
    g_autofree char *path = pci_path(&s->parent);
    g_autofree char *idstr = g_strconcat(path, "/vfio", NULL);

    v->s = s;
    v->state = VFIO_DEVICE_STATE_RUNNING;
    v->buf = g_malloc(CHUNK);
    g_mutex_init(&v->lock);
    v->section = savevm_register_live(device_machine(HW_DEVICE(s))->savevm, idstr, INSTANCE_ID_ANY,
                                      1, &vfio_handlers, v);
    return v;
}

void vfio_migration_free(VFIOMigration *v)
{
    if (v) {
        savevm_unregister(device_machine(HW_DEVICE(v->s))->savevm, v->section);
        g_clear_error(&v->error);
        g_mutex_clear(&v->lock);
        g_free(v->buf);
        g_free(v);
    }
}
