/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Walking a VMStateDescription (spec 10 section 11): the same walk saves and loads, so that the two
 * sides of every rule (which fields exist, how many elements, where they are) stand next to each
 * other.
 *
 *     body := fields in order, then subsections
 */
#include "migration/vmdesc.h"

/* A device may let us allocate what the stream announces; no device of ours needs more. */
#define MAX_ALLOC (64 * MiB)

#define SUBSECTION_MARK 0x05

/* ---- where a field's elements are ---- */

static bool field_exists(const VMStateField *field, void *opaque, int version_id)
{
    return field->exists ? field->exists(opaque, version_id) : field->version_id <= version_id;
}

static uint64_t count_elements(const VMStateField *field, const uint8_t *opaque)
{
    const void *num = opaque + field->num_offset;
    uint64_t n = 1;

    if (field->flags & VMS_VARRAY_U8) {
        n = *(const uint8_t *)num;
    } else if (field->flags & VMS_VARRAY_U16) {
        n = *(const uint16_t *)num;
    } else if (field->flags & VMS_VARRAY_U32) {
        n = *(const uint32_t *)num;
    } else if (field->flags & VMS_VARRAY_I32) {
        n = MAX(*(const int32_t *)num, 0);
    } else if (field->flags & (VMS_ARRAY | VMS_MUST_EXIST)) {
        return field->num;
    }
    return field->flags & VMS_MULTIPLY_ELEMENTS ? n * field->num : n;
}

static uint64_t element_size(const VMStateField *field, const uint8_t *opaque)
{
    uint64_t size = field->size;

    if (field->flags & VMS_VBUFFER) {
        size = *(const uint32_t *)(opaque + field->size_offset);
        if (field->flags & VMS_MULTIPLY) {
            size *= field->size;
        }
    }
    return size;
}

typedef struct {
    uint8_t *base;
    uint64_t n;
    uint64_t size; /* of an element, and the stride */
} Elements;

static Elements find_elements(const VMStateField *field, void *opaque)
{
    Elements e = {
        .base = (uint8_t *)opaque + field->offset,
        .n = count_elements(field, opaque),
        .size = element_size(field, opaque),
    };

    if (field->flags & VMS_POINTER) {
        e.base = *(uint8_t **)e.base;
    }
    if (e.base) {
        e.base += field->start;
    }
    return e;
}

static void *element_at(const VMStateField *field, const Elements *e, uint64_t i)
{
    /* A buffer of no bytes may be nowhere. */
    uint8_t *p = e->size ? e->base + i * e->size : e->base;

    return field->flags & VMS_ARRAY_OF_POINTER ? *(void **)p : p;
}

static bool elements_usable(const VMStateField *field, const Elements *e, GError **errp)
{
    if (e->n && e->size && !e->base) {
        error_setg(errp, "there is no memory for %" PRIu64 " element(s) of %" PRIu64 " bytes", e->n,
                   e->size);
        return false;
    }
    return true;
}

/* ---- saving ---- */

static bool save_version(QEMUFile *f, const VMStateDescription *vmsd, void *opaque, int version,
                         VMDescWriter *desc, GError **errp);

/* Can one description object stand for all elements? Only if they cannot differ in layout. */
static bool elements_alike(const VMStateField *field)
{
    if (field->exists) {
        return false;
    }
    if (field->flags & VMS_STRUCT) {
        if (field->vmsd->subsections) {
            return false;
        }
        for (const VMStateField *sub = field->vmsd->fields; sub->name; sub++) {
            if (!elements_alike(sub)) {
                return false;
            }
        }
    }
    return true;
}

static bool save_element(QEMUFile *f, const VMStateField *field, void *element, uint64_t size,
                         VMDescWriter *desc, GError **errp)
{
    if (!element && (field->flags & VMS_ARRAY_OF_POINTER)) {
        return vmstate_info_nullptr.put(f, NULL, 0, field, errp);
    }
    if (field->flags & VMS_VSTRUCT) {
        return save_version(f, field->vmsd, element, field->struct_version_id, desc, errp);
    }
    if (field->flags & VMS_STRUCT) {
        return vmstate_save_state(f, field->vmsd, element, desc, errp);
    }
    return field->info->put(f, element, size, field, errp);
}

static bool save_field(QEMUFile *f, const VMStateDescription *vmsd, const VMStateField *field,
                       void *opaque, VMDescWriter *desc, GError **errp)
{
    Elements e = find_elements(field, opaque);
    bool whole = desc && e.n > 1 && elements_alike(field);

    if (!elements_usable(field, &e, errp)) {
        return false;
    }
    for (uint64_t i = 0; i < e.n; i++) {
        VMDescWriter *d = whole && i > 0 ? NULL : desc;
        uint64_t start = qemu_file_transferred(f);

        vmdesc_field(d, vmsd, field, i, e.n, whole);
        if (!save_element(f, field, element_at(field, &e, i), e.size, d, errp)) {
            return false;
        }
        vmdesc_field_end(d, qemu_file_transferred(f) - start);
    }
    return true;
}

static bool save_fields(QEMUFile *f, const VMStateDescription *vmsd, void *opaque, int version,
                        VMDescWriter *desc, GError **errp)
{
    for (const VMStateField *field = vmsd->fields; field->name; field++) {
        bool ok = true;

        if (field_exists(field, opaque, version)) {
            ok = save_field(f, vmsd, field, opaque, desc, errp);
        } else if (field->flags & VMS_MUST_EXIST) {
            error_setg(errp, "state is not valid");
            ok = false;
        }
        if (!ok) {
            g_prefix_error(errp, "%s/%s: ", vmsd->name, field->name);
            return false;
        }
    }
    return true;
}

static bool save_subsections(QEMUFile *f, const VMStateDescription *vmsd, void *opaque,
                             VMDescWriter *desc, GError **errp)
{
    for (const VMStateDescription *const *sub = vmsd->subsections; sub && *sub; sub++) {
        if (!vmstate_section_needed(*sub, opaque)) {
            continue;
        }
        qemu_put_byte(f, SUBSECTION_MARK);
        qemu_put_counted_string(f, (*sub)->name);
        qemu_put_be32(f, (*sub)->version_id);
        if (!vmstate_save_state(f, *sub, opaque, desc, errp)) {
            return false;
        }
    }
    return true;
}

static bool save_version(QEMUFile *f, const VMStateDescription *vmsd, void *opaque, int version,
                         VMDescWriter *desc, GError **errp)
{
    bool ok;

    if (vmsd->pre_save && !vmsd->pre_save(opaque, errp)) {
        g_prefix_error(errp, "%s: ", vmsd->name);
        return false;
    }
    vmdesc_state(desc, vmsd, version);
    ok = save_fields(f, vmsd, opaque, version, desc, errp) &&
         save_subsections(f, vmsd, opaque, desc, errp);
    vmdesc_state_end(desc);
    if (vmsd->post_save) {
        vmsd->post_save(opaque);
    }
    return ok;
}

bool vmstate_save_state(QEMUFile *f, const VMStateDescription *vmsd, void *opaque,
                        VMDescWriter *desc, GError **errp)
{
    return save_version(f, vmsd, opaque, vmsd->version_id, desc, errp);
}

bool vmstate_section_needed(const VMStateDescription *vmsd, void *opaque)
{
    return !vmsd->needed || vmsd->needed(opaque);
}

/* ---- loading ---- */

static bool load_element(QEMUFile *f, const VMStateField *field, void *element, uint64_t size,
                         GError **errp)
{
    if (!element && (field->flags & VMS_ARRAY_OF_POINTER)) {
        return vmstate_info_nullptr.get(f, NULL, 0, field, errp);
    }
    if (field->flags & VMS_VSTRUCT) {
        return vmstate_load_state(f, field->vmsd, element, field->struct_version_id, errp);
    }
    if (field->flags & VMS_STRUCT) {
        return vmstate_load_state(f, field->vmsd, element, field->vmsd->version_id, errp);
    }
    return field->info->get(f, element, size, field, errp);
}

static bool allocate(const VMStateField *field, void *opaque, GError **errp)
{
    uint64_t n = count_elements(field, opaque), size = element_size(field, opaque);
    void **slot = (void **)((uint8_t *)opaque + field->offset);

    if (size && n > MAX_ALLOC / size) {
        error_setg(errp,
                   "%" PRIu64 " element(s) of %" PRIu64 " bytes are more than a device may ask for",
                   n, size);
        return false;
    }
    g_free(*slot);
    *slot = n && size ? g_malloc0(n * size) : NULL;
    return true;
}

static bool load_field(QEMUFile *f, const VMStateField *field, void *opaque, GError **errp)
{
    Elements e;

    if ((field->flags & VMS_ALLOC) && !allocate(field, opaque, errp)) {
        return false;
    }
    e = find_elements(field, opaque);
    if (!elements_usable(field, &e, errp)) {
        return false;
    }
    for (uint64_t i = 0; i < e.n; i++) {
        if (!load_element(f, field, element_at(field, &e, i), e.size, errp) ||
            !qemu_file_check(f, errp)) {
            return false;
        }
    }
    return true;
}

static bool load_fields(QEMUFile *f, const VMStateDescription *vmsd, void *opaque, int version,
                        GError **errp)
{
    for (const VMStateField *field = vmsd->fields; field->name; field++) {
        uint64_t start = qemu_file_offset(f);
        bool ok = true;

        if (field_exists(field, opaque, version)) {
            ok = load_field(f, field, opaque, errp);
        } else if (field->flags & VMS_MUST_EXIST) {
            error_setg(errp, "state received so far is not valid");
            ok = false;
        }
        if (!ok) {
            g_prefix_error(errp, "%s/%s at offset %" PRIu64 ": ", vmsd->name, field->name, start);
            return false;
        }
    }
    return true;
}

/*
 * Is a subsection of @vmsd next? Look-ahead only: a byte 5 may as well be data of the enclosing
 * description, and only the name, which begins with its owner's, tells.
 */
static bool subsection_follows(QEMUFile *f, const VMStateDescription *vmsd, char name[256])
{
    size_t owner_len = strlen(vmsd->name);
    const uint8_t *p;
    size_t len;

    if (qemu_peek_buffer(f, &p, 1) < 1 || p[0] != SUBSECTION_MARK ||
        qemu_peek_buffer(f, &p, 2) < 2) {
        return false;
    }
    len = p[1];
    if (len < owner_len + 1 || qemu_peek_buffer(f, &p, 2 + len) < 2 + len ||
        memcmp(p + 2, vmsd->name, owner_len) != 0) {
        return false;
    }
    memcpy(name, p + 2, len);
    name[len] = '\0';
    return strlen(name) == len;
}

static const VMStateDescription *find_subsection(const VMStateDescription *vmsd, const char *name)
{
    for (const VMStateDescription *const *sub = vmsd->subsections; sub && *sub; sub++) {
        if (g_str_equal((*sub)->name, name)) {
            return *sub;
        }
    }
    return NULL;
}

static bool load_subsections(QEMUFile *f, const VMStateDescription *vmsd, void *opaque,
                             GError **errp)
{
    char name[256];

    while (subsection_follows(f, vmsd, name)) {
        const VMStateDescription *sub = find_subsection(vmsd, name);
        uint32_t version;

        if (!sub) {
            error_setg(errp, "%s: unknown subsection '%s' at offset %" PRIu64, vmsd->name, name,
                       qemu_file_offset(f));
            return false;
        }
        qemu_file_skip(f, 2 + strlen(name));
        version = qemu_get_be32(f);
        if (!qemu_file_check(f, errp) || !vmstate_load_state(f, sub, opaque, version, errp)) {
            return false;
        }
    }
    return true;
}

static bool version_fits(const VMStateDescription *vmsd, int version, GError **errp)
{
    if (version > vmsd->version_id) {
        error_setg(errp, "%s: version %d is newer than version %d understood here", vmsd->name,
                   version, vmsd->version_id);
        return false;
    }
    if (version < vmsd->minimum_version_id) {
        error_setg(errp, "%s: version %d is older than version %d, the oldest understood here",
                   vmsd->name, version, vmsd->minimum_version_id);
        return false;
    }
    return true;
}

bool vmstate_load_state(QEMUFile *f, const VMStateDescription *vmsd, void *opaque, int version_id,
                        GError **errp)
{
    if (!version_fits(vmsd, version_id, errp)) {
        return false;
    }
    if (vmsd->pre_load && !vmsd->pre_load(opaque, errp)) {
        g_prefix_error(errp, "%s: ", vmsd->name);
        return false;
    }
    if (!load_fields(f, vmsd, opaque, version_id, errp) ||
        !load_subsections(f, vmsd, opaque, errp) || !qemu_file_check(f, errp)) {
        return false;
    }
    if (vmsd->post_load && !vmsd->post_load(opaque, version_id, errp)) {
        g_prefix_error(errp, "%s: ", vmsd->name);
        return false;
    }
    return true;
}
