/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Recording what was saved, and rendering it as JSON text afterwards. */
#include "migration/vmdesc.h"

typedef enum {
    REC_DEVICE,
    REC_DEVICE_END,
    REC_STATE,
    REC_STATE_END,
    REC_FIELD,
    REC_FIELD_END,
} RecordKind;

typedef struct {
    RecordKind kind;
    bool whole;
    uint32_t index; /* or instance id, or version */
    uint32_t n;
    const void *what; /* idstr, description or field */
    union {
        const VMStateDescription *owner;
        uint64_t bytes;
    };
} Record;

struct VMDescWriter {
    GArray *records;
};

VMDescWriter *vmdesc_new(void)
{
    VMDescWriter *w = g_new(VMDescWriter, 1);

    w->records = g_array_sized_new(FALSE, FALSE, sizeof(Record), 4096);
    return w;
}

void vmdesc_free(VMDescWriter *w)
{
    if (w) {
        g_array_unref(w->records);
        g_free(w);
    }
}

static void record(VMDescWriter *w, const Record *r)
{
    if (w) {
        g_array_append_vals(w->records, r, 1);
    }
}

void vmdesc_device(VMDescWriter *w, const char *idstr, uint32_t instance_id)
{
    record(w, &(Record){.kind = REC_DEVICE, .what = idstr, .index = instance_id});
}

void vmdesc_device_end(VMDescWriter *w)
{
    record(w, &(Record){.kind = REC_DEVICE_END});
}

void vmdesc_state(VMDescWriter *w, const VMStateDescription *vmsd, int version)
{
    record(w, &(Record){.kind = REC_STATE, .what = vmsd, .index = version});
}

void vmdesc_state_end(VMDescWriter *w)
{
    record(w, &(Record){.kind = REC_STATE_END});
}

void vmdesc_field(VMDescWriter *w, const VMStateDescription *owner, const VMStateField *field,
                  uint32_t index, uint32_t n, bool whole)
{
    record(w, &(Record){.kind = REC_FIELD,
                        .what = field,
                        .owner = owner,
                        .index = index,
                        .n = n,
                        .whole = whole});
}

void vmdesc_field_end(VMDescWriter *w, uint64_t bytes)
{
    record(w, &(Record){.kind = REC_FIELD_END, .bytes = bytes});
}

/* ---- rendering ---- */

static void put_string(GString *out, const char *s)
{
    g_string_append_c(out, '"');
    for (; *s; s++) {
        if (*s == '"' || *s == '\\') {
            g_string_append_c(out, '\\');
        }
        g_string_append_c(out, *s);
    }
    g_string_append_c(out, '"');
}

/* A name used by several fields of one description is told apart by its occurrence. */
static void put_field_name(GString *out, const VMStateDescription *owner, const VMStateField *field)
{
    unsigned before = 0, all = 0;

    for (const VMStateField *f = owner->fields; f->name; f++) {
        if (g_str_equal(f->name, field->name)) {
            before += f < field;
            all++;
        }
    }
    if (all > 1) {
        g_autofree char *numbered = g_strdup_printf("%s[%u]", field->name, before);

        put_string(out, numbered);
    } else {
        put_string(out, field->name);
    }
}

static const char *field_type(const VMStateField *field)
{
    if (field->flags & VMS_VSTRUCT) {
        return "vstruct";
    }
    return field->flags & VMS_STRUCT ? "struct" : field->info->name;
}

static void put_field(GString *out, const Record *r)
{
    const VMStateField *field = r->what;

    g_string_append(out, "{\"name\": ");
    put_field_name(out, r->owner, field);
    if (r->n > 1 && r->whole) {
        g_string_append_printf(out, ", \"array_len\": %u", r->n);
    } else if (r->n > 1) {
        g_string_append_printf(out, ", \"index\": %u", r->index);
    }
    g_string_append(out, ", \"type\": ");
    put_string(out, field_type(field));
    g_string_append(out, ", ");
}

/* One open description while rendering. */
typedef struct {
    RecordKind parent; /* what it belongs to: device, field, or (as subsection) a state */
    bool has_items;    /* something in "fields" already */
    bool in_subsections;
} Level;

static void open_state(GString *out, GArray *levels, const Record *r, RecordKind parent)
{
    const VMStateDescription *vmsd = r->what;
    Level level = {.parent = parent};

    if (parent == REC_STATE) {
        Level *owner = &g_array_index(levels, Level, levels->len - 1);

        g_string_append(out, owner->in_subsections ? ", {" : "], \"subsections\": [{");
        owner->in_subsections = true;
    } else if (parent == REC_FIELD) {
        g_string_append(out, "\"struct\": {");
    }
    g_string_append(out, "\"vmsd_name\": ");
    put_string(out, vmsd->name);
    g_string_append_printf(out, ", \"version\": %d, \"fields\": [", (int)r->index);
    g_array_append_val(levels, level);
}

GString *vmdesc_render(const VMDescWriter *w, uint64_t page_size)
{
    GString *out = g_string_sized_new(32 * KiB);
    g_autoptr(GArray) levels = g_array_new(FALSE, FALSE, sizeof(Level));
    RecordKind enclosing = REC_DEVICE; /* of the next state */
    bool has_devices = false;

    g_string_append_printf(out, "{\"page_size\": %" PRIu64 ", \"devices\": [", page_size);
    for (unsigned i = 0; i < w->records->len; i++) {
        const Record *r = &g_array_index(w->records, Record, i);
        Level *top = levels->len ? &g_array_index(levels, Level, levels->len - 1) : NULL;

        switch (r->kind) {
        case REC_DEVICE:
            g_string_append(out, has_devices ? ", {\"name\": " : "{\"name\": ");
            put_string(out, r->what);
            g_string_append_printf(out, ", \"instance_id\": %u, ", r->index);
            has_devices = true;
            enclosing = REC_DEVICE;
            break;
        case REC_DEVICE_END:
            g_string_append_c(out, '}');
            break;
        case REC_STATE:
            open_state(out, levels, r, enclosing);
            enclosing = REC_STATE;
            break;
        case REC_STATE_END:
            g_string_append_c(out, ']');
            if (top->parent == REC_FIELD) {
                g_string_append(out, "}, ");
            } else if (top->parent == REC_STATE) {
                g_string_append_c(out, '}');
            }
            enclosing = REC_STATE;
            g_array_set_size(levels, levels->len - 1);
            break;
        case REC_FIELD:
            if (top->has_items) {
                g_string_append(out, ", ");
            }
            top->has_items = true;
            put_field(out, r);
            enclosing = REC_FIELD;
            break;
        case REC_FIELD_END:
            g_string_append_printf(out, "\"size\": %" PRIu64 "}", r->bytes);
            enclosing = REC_STATE;
            break;
        }
    }
    g_string_append(out, "]}");
    return out;
}
