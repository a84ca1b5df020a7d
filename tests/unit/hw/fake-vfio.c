/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fake-vfio.h"

static FakeVFIO *fake(VFIODevice *d)
{
    return container_of(d, FakeVFIO, parent);
}

static uint64_t fake_flags(VFIODevice *d)
{
    return fake(d)->flags;
}

static bool fake_set_state(VFIODevice *d, unsigned state, GError **errp)
{
    FakeVFIO *f = fake(d);

    if (f->refuse_state == state) {
        f->refuse_state = 0;
        error_setg(errp, "refused");
        return false;
    }
    g_string_append_printf(f->trace, "%u ", state);
    return true;
}

static bool fake_read(VFIODevice *d, void *buf, uint32_t *len, GError **errp)
{
    FakeVFIO *f = fake(d);
    uint64_t initial;

    *len = MIN(MIN(*len, f->chunk), f->outbox->len);
    memcpy(buf, f->outbox->data, *len);
    if (*len) {
        g_byte_array_remove_range(f->outbox, 0, *len);
    }
    initial = MIN(f->sizes.initial, *len);
    f->sizes.initial -= initial;
    f->sizes.dirty -= MIN(f->sizes.dirty, *len - initial);
    f->sizes.reinit = false;
    return true;
}

static bool fake_write(VFIODevice *d, const void *buf, uint32_t len, GError **errp)
{
    FakeVFIO *f = fake(d);

    g_byte_array_append(f->inbox, buf, len);
    if (f->refuse_write_at && f->inbox->len >= f->refuse_write_at) {
        error_setg(errp, "bad state");
        return false;
    }
    return true;
}

static bool fake_stop_copy_size(VFIODevice *d, uint64_t *bytes, GError **errp)
{
    *bytes = fake(d)->stop_size;
    if (fake(d)->no_sizes) {
        error_setg(errp, "no sizes");
    }
    return !fake(d)->no_sizes;
}

static bool fake_precopy_sizes(VFIODevice *d, VFIOPrecopySizes *sizes, GError **errp)
{
    *sizes = fake(d)->sizes;
    if (fake(d)->no_sizes) {
        error_setg(errp, "no sizes");
    }
    return !fake(d)->no_sizes;
}

static bool fake_reset(VFIODevice *d, GError **errp)
{
    fake(d)->resets++;
    return true;
}

static const VFIODeviceOps fake_ops = {
    .reset = fake_reset,
    .migration_flags = fake_flags,
    .set_state = fake_set_state,
    .state_read = fake_read,
    .state_write = fake_write,
    .stop_copy_size = fake_stop_copy_size,
    .precopy_sizes = fake_precopy_sizes,
};

/* ---- owner ---- */

static bool save_config(void *opaque, QEMUFile *f, GError **errp)
{
    qemu_put_be32(f, ((FakeVFIO *)opaque)->config);
    return true;
}

static bool load_config(void *opaque, QEMUFile *f, GError **errp)
{
    uint32_t config = qemu_get_be32(f);

    if (qemu_file_check(f, errp) && config != ((FakeVFIO *)opaque)->config) {
        error_setg(errp, "configuration 0x%x", config);
        return false;
    }
    return qemu_file_ok(f);
}

static void state_changed(void *opaque, VFIOMigrationState state)
{
}

static void stop_guest(void *opaque)
{
    ((FakeVFIO *)opaque)->stops++;
}

FakeVFIO *fake_vfio_new(Migration *m, const char *path, uint64_t flags)
{
    FakeVFIO *f = g_new0(FakeVFIO, 1);
    VFIOMigrationOwner owner = {
        .dev = &f->parent,
        .migration = m,
        .save_config = save_config,
        .load_config = load_config,
        .state_changed = state_changed,
        .stop_guest = stop_guest,
        .opaque = f,
    };

    f->parent.ops = &fake_ops;
    f->parent.name = g_strdup("fake");
    f->flags = flags;
    f->config = 0xC0FF33;
    f->chunk = UINT32_MAX;
    f->outbox = g_byte_array_new();
    f->inbox = g_byte_array_new();
    f->trace = g_string_new(NULL);
    f->migration = vfio_migration_new(&owner, path);
    return f;
}

void fake_vfio_free(FakeVFIO *f)
{
    vfio_migration_free(f->migration);
    g_byte_array_unref(f->outbox);
    g_byte_array_unref(f->inbox);
    g_string_free(f->trace, TRUE);
    g_free(f->parent.name);
    g_free(f);
}
