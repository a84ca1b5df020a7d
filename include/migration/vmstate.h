/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Door 2a: declarative device state (spec 10 section 11; field layout of this board in spec 82).
 *
 * A VMStateDescription lists the fields of a C structure in wire order. The macro names are the
 * field's vocabulary; each expands to one VMStateField initialiser whose C type is checked at
 * compile time.
 *
 * Every function here: big lock held, called by the migration or incoming thread.
 */
#ifndef GODWIT_MIGRATION_VMSTATE_H
#define GODWIT_MIGRATION_VMSTATE_H

#include "migration/qemu-file.h"
#include "util/timer.h"

typedef struct VMStateDescription VMStateDescription;
typedef struct VMStateField VMStateField;

/* Codec of a scalar or of raw bytes. @size: bytes of the element at @pv. */
typedef struct VMStateInfo {
    const char *name; /* "type" in the vmdesc JSON */
    bool (*get)(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp);
    bool (*put)(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp);
} VMStateInfo;

typedef enum {
    VMS_SINGLE = 0,
    VMS_STRUCT = 1 << 0,    /* encode with .vmsd instead of .info */
    VMS_VSTRUCT = 1 << 1,   /* struct saved at version .struct_version_id */
    VMS_ARRAY = 1 << 2,     /* .num elements */
    VMS_VARRAY_U8 = 1 << 3, /* element count in a field at .num_offset, loaded before */
    VMS_VARRAY_U16 = 1 << 4,
    VMS_VARRAY_U32 = 1 << 5,
    VMS_VARRAY_I32 = 1 << 6,
    VMS_POINTER = 1 << 7,            /* the field is a pointer to the data */
    VMS_ARRAY_OF_POINTER = 1 << 8,   /* each element is a pointer; NULL travels as one byte '0' */
    VMS_ALLOC = 1 << 9,              /* load allocates count * size bytes with g_malloc0 */
    VMS_VBUFFER = 1 << 10,           /* byte count in a u32/i32 field at .size_offset */
    VMS_MULTIPLY = 1 << 11,          /* VBUFFER count * .size */
    VMS_MULTIPLY_ELEMENTS = 1 << 12, /* VARRAY: count * .num elements */
    VMS_MUST_EXIST = 1 << 13,        /* validation entry: no bytes, .exists must hold */
    VMS_BUFFER = 1 << 14,            /* raw bytes of .size */
} VMStateFlags;

struct VMStateField {
    const char *name;
    size_t offset;
    size_t size;  /* of one element */
    size_t start; /* sub-array: first element's byte offset */
    uint32_t num;
    size_t num_offset;
    size_t size_offset;
    uint32_t flags; /* VMStateFlags */
    const VMStateInfo *info;
    const VMStateDescription *vmsd;
    const VMStateDescription *key_vmsd; /* gtree: its keys; NULL: the key pointer is the value */
    size_t key_size;
    int version_id;                               /* first version that has the field */
    int struct_version_id;                        /* VSTRUCT */
    bool (*exists)(void *opaque, int version_id); /* overrides version_id */
};

typedef enum { /* ascending: higher is sent earlier (spec 10 section 2.6) */
               MIG_PRI_LOW = -1,
               MIG_PRI_DEFAULT = 0,
               MIG_PRI_IOMMU,
               MIG_PRI_PCI_BUS,
               MIG_PRI_VIRTIO_MEM,
               MIG_PRI_APIC,
               MIG_PRI_GICV3_ITS,
               MIG_PRI_GICV3,
} MigrationPriority;

struct VMStateDescription {
    const char *name;
    bool unmigratable;
    bool early_setup;
    int version_id;
    int minimum_version_id;
    MigrationPriority priority;
    bool (*pre_load)(void *opaque, GError **errp);
    bool (*post_load)(void *opaque, int version_id, GError **errp);
    bool (*pre_save)(void *opaque, GError **errp);
    void (*post_save)(void *opaque);
    bool (*needed)(void *opaque);                 /* false: whole section or subsection omitted */
    const VMStateField *fields;                   /* ends with VMSTATE_END_OF_LIST() */
    const VMStateDescription *const *subsections; /* NULL-terminated, or NULL */
};

/* ---- codecs (spec 10 section 11.2) ---- */
extern const VMStateInfo vmstate_info_bool, vmstate_info_int8, vmstate_info_int16,
    vmstate_info_int32, vmstate_info_int64, vmstate_info_uint8, vmstate_info_uint16,
    vmstate_info_uint32, vmstate_info_uint64, vmstate_info_uint8_equal, vmstate_info_uint16_equal,
    vmstate_info_int32_equal, vmstate_info_uint32_equal, vmstate_info_uint64_equal,
    vmstate_info_int32_le, vmstate_info_timer, vmstate_info_cpudouble, vmstate_info_buffer,
    vmstate_info_unused_buffer, vmstate_info_bitmap, vmstate_info_qtailq, vmstate_info_qlist,
    vmstate_info_gtree, vmstate_info_tmp, vmstate_info_nullptr;

/* offsetof with a compile-time check that the member has type @t. */
#define vms_off(s, f, t) \
    (offsetof(s, f) + BUILD_ASSERT_ZERO(__builtin_types_compatible_p(__typeof__(((s *)0)->f), t)))
#define vms_off_arr(s, f, t, n) \
    (offsetof(s, f) +           \
     BUILD_ASSERT_ZERO(__builtin_types_compatible_p(__typeof__(((s *)0)->f), t[n])))

#define VMSTATE_END_OF_LIST() \
    {                         \
        .name = NULL          \
    }

#define VMSTATE_SINGLE_FULL(f_, s_, t_, i_, v_, e_)                                    \
    {                                                                                  \
        .name = #f_, .offset = vms_off(s_, f_, t_), .size = sizeof(t_), .info = &(i_), \
        .version_id = (v_), .exists = (e_), .flags = VMS_SINGLE                        \
    }
#define VMSTATE_ARRAY_FULL(f_, s_, t_, n_, i_, v_, e_)                                       \
    {                                                                                        \
        .name = #f_, .offset = vms_off_arr(s_, f_, t_, n_), .size = sizeof(t_), .num = (n_), \
        .info = &(i_), .version_id = (v_), .exists = (e_), .flags = VMS_ARRAY                \
    }

#define VMSTATE_BOOL_V(f, s, v)      VMSTATE_SINGLE_FULL(f, s, bool, vmstate_info_bool, v, NULL)
#define VMSTATE_INT8_V(f, s, v)      VMSTATE_SINGLE_FULL(f, s, int8_t, vmstate_info_int8, v, NULL)
#define VMSTATE_INT16_V(f, s, v)     VMSTATE_SINGLE_FULL(f, s, int16_t, vmstate_info_int16, v, NULL)
#define VMSTATE_INT32_V(f, s, v)     VMSTATE_SINGLE_FULL(f, s, int32_t, vmstate_info_int32, v, NULL)
#define VMSTATE_INT64_V(f, s, v)     VMSTATE_SINGLE_FULL(f, s, int64_t, vmstate_info_int64, v, NULL)
#define VMSTATE_UINT8_V(f, s, v)     VMSTATE_SINGLE_FULL(f, s, uint8_t, vmstate_info_uint8, v, NULL)
#define VMSTATE_UINT16_V(f, s, v)    VMSTATE_SINGLE_FULL(f, s, uint16_t, vmstate_info_uint16, v, NULL)
#define VMSTATE_UINT32_V(f, s, v)    VMSTATE_SINGLE_FULL(f, s, uint32_t, vmstate_info_uint32, v, NULL)
#define VMSTATE_UINT64_V(f, s, v)    VMSTATE_SINGLE_FULL(f, s, uint64_t, vmstate_info_uint64, v, NULL)
#define VMSTATE_BOOL(f, s)           VMSTATE_BOOL_V(f, s, 0)
#define VMSTATE_INT8(f, s)           VMSTATE_INT8_V(f, s, 0)
#define VMSTATE_INT16(f, s)          VMSTATE_INT16_V(f, s, 0)
#define VMSTATE_INT32(f, s)          VMSTATE_INT32_V(f, s, 0)
#define VMSTATE_INT64(f, s)          VMSTATE_INT64_V(f, s, 0)
#define VMSTATE_UINT8(f, s)          VMSTATE_UINT8_V(f, s, 0)
#define VMSTATE_UINT16(f, s)         VMSTATE_UINT16_V(f, s, 0)
#define VMSTATE_UINT32(f, s)         VMSTATE_UINT32_V(f, s, 0)
#define VMSTATE_UINT64(f, s)         VMSTATE_UINT64_V(f, s, 0)
#define VMSTATE_BOOL_TEST(f, s, e)   VMSTATE_SINGLE_FULL(f, s, bool, vmstate_info_bool, 0, e)
#define VMSTATE_UINT8_TEST(f, s, e)  VMSTATE_SINGLE_FULL(f, s, uint8_t, vmstate_info_uint8, 0, e)
#define VMSTATE_UINT16_TEST(f, s, e) VMSTATE_SINGLE_FULL(f, s, uint16_t, vmstate_info_uint16, 0, e)
#define VMSTATE_UINT32_TEST(f, s, e) VMSTATE_SINGLE_FULL(f, s, uint32_t, vmstate_info_uint32, 0, e)
#define VMSTATE_INT32_TEST(f, s, e)  VMSTATE_SINGLE_FULL(f, s, int32_t, vmstate_info_int32, 0, e)
#define VMSTATE_UINT64_TEST(f, s, e) VMSTATE_SINGLE_FULL(f, s, uint64_t, vmstate_info_uint64, 0, e)
#define VMSTATE_UINT8_EQUAL(f, s) \
    VMSTATE_SINGLE_FULL(f, s, uint8_t, vmstate_info_uint8_equal, 0, NULL)
#define VMSTATE_UINT16_EQUAL(f, s) \
    VMSTATE_SINGLE_FULL(f, s, uint16_t, vmstate_info_uint16_equal, 0, NULL)
#define VMSTATE_INT32_EQUAL(f, s) \
    VMSTATE_SINGLE_FULL(f, s, int32_t, vmstate_info_int32_equal, 0, NULL)
#define VMSTATE_UINT32_EQUAL(f, s) \
    VMSTATE_SINGLE_FULL(f, s, uint32_t, vmstate_info_uint32_equal, 0, NULL)
#define VMSTATE_UINT64_EQUAL(f, s) \
    VMSTATE_SINGLE_FULL(f, s, uint64_t, vmstate_info_uint64_equal, 0, NULL)
#define VMSTATE_INT32_LE(f, s) VMSTATE_SINGLE_FULL(f, s, int32_t, vmstate_info_int32_le, 0, NULL)
#define VMSTATE_TIMER_PTR(f, s)                                                        \
    {                                                                                  \
        .name = #f, .offset = vms_off(s, f, QEMUTimer *), .size = sizeof(QEMUTimer *), \
        .info = &vmstate_info_timer, .flags = VMS_POINTER                              \
    }
#define VMSTATE_UINT8_ARRAY(f, s, n) \
    VMSTATE_ARRAY_FULL(f, s, uint8_t, n, vmstate_info_uint8, 0, NULL)
#define VMSTATE_UINT16_ARRAY(f, s, n) \
    VMSTATE_ARRAY_FULL(f, s, uint16_t, n, vmstate_info_uint16, 0, NULL)
#define VMSTATE_UINT32_ARRAY(f, s, n) \
    VMSTATE_ARRAY_FULL(f, s, uint32_t, n, vmstate_info_uint32, 0, NULL)
#define VMSTATE_UINT64_ARRAY(f, s, n) \
    VMSTATE_ARRAY_FULL(f, s, uint64_t, n, vmstate_info_uint64, 0, NULL)
#define VMSTATE_INT32_ARRAY(f, s, n) \
    VMSTATE_ARRAY_FULL(f, s, int32_t, n, vmstate_info_int32, 0, NULL)
#define VMSTATE_BOOL_ARRAY(f, s, n) VMSTATE_ARRAY_FULL(f, s, bool, n, vmstate_info_bool, 0, NULL)
/* Raw bytes: uint8_t f[n]. */
#define VMSTATE_BUFFER(f, s)                                               \
    {                                                                      \
        .name = #f, .offset = offsetof(s, f), .size = sizeof(((s *)0)->f), \
        .info = &vmstate_info_buffer, .flags = VMS_BUFFER                  \
    }
#define VMSTATE_UNUSED(n) VMSTATE_UNUSED_V(0, n)
#define VMSTATE_UNUSED_V(v, n)                                                                 \
    {                                                                                          \
        .name = "unused", .size = (n), .info = &vmstate_info_unused_buffer, .version_id = (v), \
        .flags = VMS_BUFFER                                                                    \
    }
/* Bytes behind a pointer, count in a u32 field. */
#define VMSTATE_VBUFFER_UINT32(f, s, v, e, fsize)                                         \
    {                                                                                     \
        .name = #f, .offset = offsetof(s, f), .size_offset = vms_off(s, fsize, uint32_t), \
        .info = &vmstate_info_buffer, .version_id = (v), .exists = (e),                   \
        .flags = VMS_VBUFFER | VMS_POINTER                                                \
    }
/* t *f with the element count in a u32 member; the array already exists on load. A count that the
 * stream itself carries must be checked before (INT32_LE, *_EQUAL, VALIDATE) or the array be
 * VMS_ALLOC. */
#define VMSTATE_VARRAY_UINT32(f, s, fnum, v, i, t)                                                \
    {                                                                                             \
        .name = #f, .offset = vms_off(s, f, t *), .num_offset = vms_off(s, fnum, uint32_t),       \
        .size = sizeof(t), .info = &(i), .version_id = (v), .flags = VMS_VARRAY_U32 | VMS_POINTER \
    }
#define VMSTATE_STRUCT(f, s, v, d, t)                                            \
    {                                                                            \
        .name = #f, .offset = vms_off(s, f, t), .size = sizeof(t), .vmsd = &(d), \
        .version_id = (v), .flags = VMS_STRUCT                                   \
    }
#define VMSTATE_STRUCT_POINTER(f, s, d, t)                                         \
    {                                                                              \
        .name = #f, .offset = vms_off(s, f, t *), .size = sizeof(t), .vmsd = &(d), \
        .flags = VMS_STRUCT | VMS_POINTER                                          \
    }
#define VMSTATE_STRUCT_ARRAY(f, s, n, v, d, t)                                        \
    {                                                                                 \
        .name = #f, .offset = vms_off_arr(s, f, t, n), .size = sizeof(t), .num = (n), \
        .vmsd = &(d), .version_id = (v), .flags = VMS_STRUCT | VMS_ARRAY              \
    }
#define VMSTATE_STRUCT_VARRAY_POINTER_UINT32(f, s, fnum, d, t)                              \
    {                                                                                       \
        .name = #f, .offset = vms_off(s, f, t *), .num_offset = vms_off(s, fnum, uint32_t), \
        .size = sizeof(t), .vmsd = &(d), .flags = VMS_STRUCT | VMS_VARRAY_U32 | VMS_POINTER \
    }
#define VMSTATE_VALIDATE(n, e)                              \
    {                                                       \
        .name = (n), .exists = (e), .flags = VMS_MUST_EXIST \
    }

/* ---- less common shapes ---- */
#define VMSTATE_STRUCT_TEST(f, s, e, v, d, t)                                    \
    {                                                                            \
        .name = #f, .offset = vms_off(s, f, t), .size = sizeof(t), .vmsd = &(d), \
        .version_id = (v), .exists = (e), .flags = VMS_STRUCT                    \
    }
/* Struct saved at version @sv of its description, which the reader must use too. */
#define VMSTATE_VSTRUCT(f, s, d, t, sv)                                          \
    {                                                                            \
        .name = #f, .offset = vms_off(s, f, t), .size = sizeof(t), .vmsd = &(d), \
        .struct_version_id = (sv), .flags = VMS_STRUCT | VMS_VSTRUCT             \
    }
/* Elements [start, start + n) of an array. */
#define VMSTATE_SUB_ARRAY(f, s, first, n, v, i, t)                                      \
    {                                                                                   \
        .name = #f, .offset = offsetof(s, f), .start = (first) * sizeof(t), .num = (n), \
        .size = sizeof(t), .info = &(i), .version_id = (v), .flags = VMS_ARRAY          \
    }
/* t f[n1][n2], row by row. */
#define VMSTATE_2DARRAY(f, s, n1, n2, v, i, t)                                                     \
    {                                                                                              \
        .name = #f, .offset = offsetof(s, f), .num = (n1) * (n2), .size = sizeof(t), .info = &(i), \
        .version_id = (v), .flags = VMS_ARRAY                                                      \
    }
/* t *f[n]; absent elements travel as one byte and must be absent on both sides. */
#define VMSTATE_ARRAY_OF_POINTER(f, s, n, v, i, t)                                        \
    {                                                                                     \
        .name = #f, .offset = vms_off_arr(s, f, t *, n), .num = (n), .size = sizeof(t *), \
        .info = &(i), .version_id = (v), .flags = VMS_ARRAY | VMS_ARRAY_OF_POINTER        \
    }
#define VMSTATE_ARRAY_OF_POINTER_TO_STRUCT(f, s, n, v, d, t)                                    \
    {                                                                                           \
        .name = #f, .offset = vms_off_arr(s, f, t *, n), .num = (n), .size = sizeof(t *),       \
        .vmsd = &(d), .version_id = (v), .flags = VMS_ARRAY | VMS_STRUCT | VMS_ARRAY_OF_POINTER \
    }
/* t *f, allocated by the load: the previous array is freed. */
#define VMSTATE_VARRAY_UINT32_ALLOC(f, s, fnum, v, i, t)                                    \
    {                                                                                       \
        .name = #f, .offset = vms_off(s, f, t *), .num_offset = vms_off(s, fnum, uint32_t), \
        .size = sizeof(t), .info = &(i), .version_id = (v),                                 \
        .flags = VMS_VARRAY_U32 | VMS_POINTER | VMS_ALLOC                                   \
    }
#define VMSTATE_VBUFFER_ALLOC_UINT32(f, s, v, e, fsize)                                   \
    {                                                                                     \
        .name = #f, .offset = offsetof(s, f), .size_offset = vms_off(s, fsize, uint32_t), \
        .info = &vmstate_info_buffer, .version_id = (v), .exists = (e),                   \
        .flags = VMS_VBUFFER | VMS_POINTER | VMS_ALLOC                                    \
    }
/* unsigned long *f with the number of bits in an int32_t member; the map already exists. */
#define VMSTATE_BITMAP(f, s, v, fbits)                                           \
    {                                                                            \
        .name = #f, .offset = vms_off(s, f, unsigned long *),                    \
        .size_offset = vms_off(s, fbits, int32_t), .info = &vmstate_info_bitmap, \
        .version_id = (v), .flags = VMS_VBUFFER | VMS_POINTER                    \
    }
/* uint64_t f[n], each as a double-precision register. */
#define VMSTATE_CPUDOUBLE_ARRAY(f, s, n) \
    VMSTATE_ARRAY_FULL(f, s, uint64_t, n, vmstate_info_cpudouble, 0, NULL)
/* GQueue f / GSList *f of t *; loaded elements come from g_malloc0() and are appended. */
#define VMSTATE_QTAILQ(f, s, v, d, t)                                                 \
    {                                                                                 \
        .name = #f, .offset = vms_off(s, f, GQueue), .size = sizeof(t), .vmsd = &(d), \
        .info = &vmstate_info_qtailq, .version_id = (v)                               \
    }
#define VMSTATE_QLIST(f, s, v, d, t)                                                    \
    {                                                                                   \
        .name = #f, .offset = vms_off(s, f, GSList *), .size = sizeof(t), .vmsd = &(d), \
        .info = &vmstate_info_qlist, .version_id = (v)                                  \
    }
/* GTree *f (it exists on load) of t *, keyed by a structure or by the key pointer's value. */
#define VMSTATE_GTREE(f, s, v, kd, kt, d, t)                                                      \
    {                                                                                             \
        .name = #f, .offset = vms_off(s, f, GTree *), .size = sizeof(t), .vmsd = &(d),            \
        .key_vmsd = &(kd), .key_size = sizeof(kt), .info = &vmstate_info_gtree, .version_id = (v) \
    }
#define VMSTATE_GTREE_DIRECT_KEY(f, s, v, d, t)                                        \
    {                                                                                  \
        .name = #f, .offset = vms_off(s, f, GTree *), .size = sizeof(t), .vmsd = &(d), \
        .info = &vmstate_info_gtree, .version_id = (v)                                 \
    }
/* A structure t made for the duration of save or load; its first member is `s *parent`. */
#define VMSTATE_WITH_TMP(s, t, d)                                                       \
    {                                                                                   \
        .name = "tmp", .size = sizeof(t) + BUILD_ASSERT_ZERO(offsetof(t, parent) == 0), \
        .vmsd = &(d), .info = &vmstate_info_tmp                                         \
    }

/* ---- saving and loading one description ---- */
typedef struct VMDescWriter VMDescWriter; /* migration/vmdesc.h; NULL: no description wanted */

/* Body only: pre_save, fields, subsections, post_save. */
bool vmstate_save_state(QEMUFile *f, const VMStateDescription *vmsd, void *opaque,
                        VMDescWriter *desc, GError **errp);
/* Version checks, pre_load, fields, subsections, post_load. Errors name description, field and
 * offset. */
bool vmstate_load_state(QEMUFile *f, const VMStateDescription *vmsd, void *opaque, int version_id,
                        GError **errp);
bool vmstate_section_needed(const VMStateDescription *vmsd, void *opaque);

#endif
