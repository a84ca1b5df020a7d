/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Machine name, page size, capabilities that change the bytes, UUID. */
#include "migration/configuration.h"
#include "migration/wire/stream.h"

/* Both sides must agree on these. */
static const MigrationCapability validated[] = {MIGRATION_CAPABILITY_X_IGNORE_SHARED,
                                                MIGRATION_CAPABILITY_MAPPED_RAM};

typedef struct {
    Migration *m;
    uint32_t name_len;
    uint8_t *name;
    uint32_t page_bits;
    uint32_t n_caps;
    MigrationCapability *caps;
    uint8_t uuid[16];
} Configuration;

static bool get_capability(QEMUFile *f, void *pv, size_t size, const VMStateField *field,
                           GError **errp)
{
    char name[256];

    if (qemu_get_counted_string(f, name) && !MigrationCapability_parse(name, pv)) {
        error_setg(errp, "unknown capability '%s'", name);
        return false;
    }
    return true;
}

static bool put_capability(QEMUFile *f, void *pv, size_t size, const VMStateField *field,
                           GError **errp)
{
    qemu_put_counted_string(f, MigrationCapability_str(*(MigrationCapability *)pv));
    return true;
}

static const VMStateInfo vmstate_info_capability = {"capability", get_capability, put_capability};

/* ---- target page bits: never sent here, 4096 is the architecture's minimum ---- */

static bool page_bits_needed(void *opaque)
{
    return false;
}

static bool page_bits_post_load(void *opaque, int version_id, GError **errp)
{
    Configuration *c = opaque;

    if (c->page_bits != TARGET_PAGE_BITS) {
        error_setg(errp, "Guest pages have %u bits on the source and %u here", c->page_bits,
                   TARGET_PAGE_BITS);
        return false;
    }
    return true;
}

static const VMStateDescription vmsd_page_bits = {
    .name = "configuration/target-page-bits",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = page_bits_needed,
    .post_load = page_bits_post_load,
    .fields =
        (const VMStateField[]){VMSTATE_UINT32(page_bits, Configuration), VMSTATE_END_OF_LIST()},
};

/* ---- capabilities ---- */

static bool caps_needed(void *opaque)
{
    return ((Configuration *)opaque)->n_caps > 0;
}

static const VMStateDescription vmsd_capabilities = {
    .name = "configuration/capabilities",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = caps_needed,
    .fields = (const VMStateField[]){VMSTATE_UINT32(n_caps, Configuration),
                                     VMSTATE_VARRAY_UINT32_ALLOC(caps, Configuration, n_caps, 0,
                                                                 vmstate_info_capability,
                                                                 MigrationCapability),
                                     VMSTATE_END_OF_LIST()},
};

static bool source_has(const Configuration *c, MigrationCapability cap)
{
    for (uint32_t i = 0; i < c->n_caps; i++) {
        if (c->caps[i] == cap) {
            return true;
        }
    }
    return false;
}

/* Who loads a file takes its layout from it; other capabilities are a matter of what is wanted. */
static bool layout_is_adopted(const Configuration *c, MigrationCapability cap)
{
    if (!c->m->loading_file || cap != MIGRATION_CAPABILITY_MAPPED_RAM) {
        return false;
    }
    c->m->file_is_mapped = source_has(c, cap);
    return true;
}

static bool caps_agree(const Configuration *c, GError **errp)
{
    for (unsigned i = 0; i < ARRAY_SIZE(validated); i++) {
        bool there = source_has(c, validated[i]);
        bool here = options_cap(&c->m->options, validated[i]);

        if (!layout_is_adopted(c, validated[i]) && there != here) {
            error_setg(errp, "Capability '%s' is %s on the source and %s here; set it alike",
                       MigrationCapability_str(validated[i]), there ? "on" : "off",
                       here ? "on" : "off");
            return false;
        }
    }
    return true;
}

/* ---- UUID ---- */

static bool uuid_needed(void *opaque)
{
    Configuration *c = opaque;

    return options_cap(&c->m->options, MIGRATION_CAPABILITY_VALIDATE_UUID) &&
           c->m->host->ops->uuid(c->m->host, c->uuid);
}

static char *uuid_text(const uint8_t u[16])
{
    return g_strdup_printf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                           u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11],
                           u[12], u[13], u[14], u[15]);
}

static bool uuid_post_load(void *opaque, int version_id, GError **errp)
{
    Configuration *c = opaque;
    g_autofree char *theirs = uuid_text(c->uuid), *ours = NULL;
    uint8_t local[16];

    if (!c->m->host->ops->uuid(c->m->host, local)) {
        warn_report("The incoming guest has UUID %s, none is set here", theirs);
        return true;
    }
    if (memcmp(local, c->uuid, sizeof(local)) != 0) {
        ours = uuid_text(local);
        error_setg(errp, "The incoming guest has UUID %s, %s is expected here", theirs, ours);
        return false;
    }
    return true;
}

static const VMStateDescription vmsd_uuid = {
    .name = "configuration/uuid",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = uuid_needed,
    .post_load = uuid_post_load,
    .fields = (const VMStateField[]){VMSTATE_BUFFER(uuid, Configuration), VMSTATE_END_OF_LIST()},
};

/* ---- the whole ---- */

static bool configuration_post_load(void *opaque, int version_id, GError **errp)
{
    Configuration *c = opaque;
    const char *local = c->m->host->ops->machine_name(c->m->host);

    /* A prefix is enough, even none: that is how the field has always compared it. */
    if (c->name_len > strlen(local) || (c->name_len && memcmp(c->name, local, c->name_len) != 0)) {
        g_autofree char *shown = g_utf8_make_valid((char *)c->name, MIN(c->name_len, 64));

        error_setg(errp, "The source is machine type '%s', this is '%s'", shown, local);
        return false;
    }
    return caps_agree(c, errp);
}

static const VMStateDescription vmsd_configuration = {
    .name = "configuration",
    .version_id = 1,
    .post_load = configuration_post_load,
    .fields =
        (const VMStateField[]){VMSTATE_UINT32(name_len, Configuration),
                               VMSTATE_VBUFFER_ALLOC_UINT32(name, Configuration, 0, NULL, name_len),
                               VMSTATE_END_OF_LIST()},
    .subsections =
        (const VMStateDescription *const[]){&vmsd_page_bits, &vmsd_capabilities, &vmsd_uuid, NULL},
};

bool configuration_save(QEMUFile *f, Migration *m, GError **errp)
{
    const char *name = m->host->ops->machine_name(m->host);
    MigrationCapability caps[ARRAY_SIZE(validated)];
    Configuration c = {
        .m = m,
        .name_len = strlen(name),
        .name = (uint8_t *)name,
        .caps = caps,
    };

    for (unsigned i = 0; i < ARRAY_SIZE(validated); i++) {
        if (options_cap(&m->options, validated[i])) {
            caps[c.n_caps++] = validated[i];
        }
    }
    qemu_put_byte(f, STREAM_CONFIGURATION);
    return vmstate_save_state(f, &vmsd_configuration, &c, NULL, errp);
}

bool configuration_load(QEMUFile *f, Migration *m, GError **errp)
{
    Configuration c = {.m = m};
    bool ok = vmstate_load_state(f, &vmsd_configuration, &c, 1, errp);

    g_free(c.name);
    g_free(c.caps);
    return ok;
}
