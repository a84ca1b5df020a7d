/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every VMState shape against its bytes, both ways; and what hostile bytes do. */
#include "vmstate-helper.h"

/* ---- one structure that has everything with a fixed layout ---- */

typedef struct {
    bool b;
    int8_t i8;
    int16_t i16;
    int32_t i32;
    int64_t i64;
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    uint8_t raw[3];
    uint16_t array[3];
    uint8_t grid[2][2];
    uint64_t fp[1];
} Scalars;

static const VMStateDescription vmsd_scalars = {
    .name = "scalars",
    .version_id = 2,
    .minimum_version_id = 1,
    .fields =
        (const VMStateField[]){
            VMSTATE_BOOL(b, Scalars),
            VMSTATE_INT8(i8, Scalars),
            VMSTATE_INT16(i16, Scalars),
            VMSTATE_INT32(i32, Scalars),
            VMSTATE_INT64(i64, Scalars),
            VMSTATE_UINT8(u8, Scalars),
            VMSTATE_UINT16(u16, Scalars),
            VMSTATE_UINT32(u32, Scalars),
            VMSTATE_UINT64_V(u64, Scalars, 2),
            VMSTATE_BUFFER(raw, Scalars),
            VMSTATE_UNUSED(2),
            VMSTATE_SUB_ARRAY(array, Scalars, 1, 2, 0, vmstate_info_uint16, uint16_t),
            VMSTATE_2DARRAY(grid, Scalars, 2, 2, 0, vmstate_info_uint8, uint8_t),
            VMSTATE_CPUDOUBLE_ARRAY(fp, Scalars, 1),
            VMSTATE_END_OF_LIST(),
        },
};

static const Scalars scalars_value = {
    .b = true,
    .i8 = -2,
    .i16 = -3,
    .i32 = -4,
    .i64 = -5,
    .u8 = 0x11,
    .u16 = 0x2233,
    .u32 = 0x44556677,
    .u64 = 0x8899aabbccddeeff,
    .raw = {1, 2, 3},
    .array = {9, 0x0a0b, 0x0c0d},
    .grid = {{1, 2}, {3, 4}},
    .fp = {0x0102030405060708},
};

#define SCALARS_HEAD "01 fe ff fd ff ff ff fc ff ff ff ff ff ff ff fb 11 22 33 44 55 66 77"
#define SCALARS_TAIL " 01 02 03 00 00 0a 0b 0c 0d 01 02 03 04 01 02 03 04 05 06 07 08"
#define SCALARS_HEX  SCALARS_HEAD " 88 99 aa bb cc dd ee ff" SCALARS_TAIL

static void test_scalars(void)
{
    Scalars in = scalars_value, out;
    g_autofree char *hex = save_hex(&vmsd_scalars, &in, NULL, NULL);
    g_autofree char *again = NULL;

    g_assert_cmpstr(hex, ==, SCALARS_HEX);
    memset(&out, 0, sizeof(out));
    g_assert_true(load_hex(&vmsd_scalars, &out, 2, SCALARS_HEX, NULL));
    g_assert_cmpint(out.i64, ==, -5);
    g_assert_cmpuint(out.u64, ==, in.u64);
    g_assert_cmpuint(out.array[0], ==, 0); /* outside the sub-array */
    again = save_hex(&vmsd_scalars, &out, NULL, NULL);
    g_assert_cmpstr(again, ==, SCALARS_HEX);
}

static void test_older_version_lacks_field(void)
{
    Scalars out = {.u64 = 42};

    g_assert_true(load_hex(&vmsd_scalars, &out, 1, SCALARS_HEAD SCALARS_TAIL, NULL));
    g_assert_cmpuint(out.u64, ==, 42);
    g_assert_cmpuint(out.fp[0], ==, 0x0102030405060708);
}

static void expect_load_error(const VMStateDescription *vmsd, void *opaque, int version,
                              const char *hex, const char *text)
{
    g_autoptr(GError) err = NULL;

    g_assert_false(load_hex(vmsd, opaque, version, hex, &err));
    g_assert_nonnull(err);
    g_assert_nonnull(strstr(err->message, text));
}

static void test_versions_refused(void)
{
    Scalars out = {0};

    expect_load_error(&vmsd_scalars, &out, 3, SCALARS_HEX, "version 3 is newer than version 2");
    expect_load_error(&vmsd_scalars, &out, 0, SCALARS_HEX, "version 0 is older than version 1");
    expect_load_error(&vmsd_scalars, &out, -1, SCALARS_HEX, "older");
}

static void test_every_truncation_is_an_error(void)
{
    g_autoptr(GByteArray) bytes = bytes_from_hex(SCALARS_HEX);

    for (guint len = 0; len < bytes->len; len++) {
        g_autofree char *hex = g_strndup(SCALARS_HEX, len * 3);
        Scalars out = {0};

        expect_load_error(&vmsd_scalars, &out, 2, hex, "scalars/");
        expect_load_error(&vmsd_scalars, &out, 2, hex, "end of stream at offset");
    }
}

/* ---- values that must agree ---- */

typedef struct {
    uint8_t u8;
    uint16_t u16;
    int32_t i32;
    uint32_t u32;
    uint64_t u64;
    int32_t le;
} Equals;

static const VMStateDescription vmsd_equals = {
    .name = "equals",
    .fields =
        (const VMStateField[]){
            VMSTATE_UINT8_EQUAL(u8, Equals),
            VMSTATE_UINT16_EQUAL(u16, Equals),
            VMSTATE_INT32_EQUAL(i32, Equals),
            VMSTATE_UINT32_EQUAL(u32, Equals),
            VMSTATE_UINT64_EQUAL(u64, Equals),
            VMSTATE_INT32_LE(le, Equals),
            VMSTATE_END_OF_LIST(),
        },
};

static void test_equal_codecs(void)
{
    Equals e = {1, 2, -1, 4, 5, 6};
    g_autofree char *hex = save_hex(&vmsd_equals, &e, NULL, NULL);

    g_assert_cmpstr(hex, ==,
                    "01 00 02 ff ff ff ff 00 00 00 04 00 00 00 00 00 00 00 05 00 00 00 06");
    g_assert_true(load_hex(&vmsd_equals, &e, 0, hex, NULL));
    e.u16 = 3;
    expect_load_error(&vmsd_equals, &e, 0, hex,
                      "equals/u16 at offset 1: value 0x2 differs from 0x3");
    e.u16 = 2;
    e.le = 5;
    expect_load_error(&vmsd_equals, &e, 0, hex, "value 6 is not between 0 and 5");
    e.le = 9;
    g_assert_true(load_hex(&vmsd_equals, &e, 0, hex, NULL));
    g_assert_cmpint(e.le, ==, 6);
    expect_load_error(&vmsd_equals, &e, 0,
                      "01 00 02 ff ff ff ff 00 00 00 04 00 00 00 00 00 00 00 05 ff ff ff ff",
                      "value -1");
}

/* ---- structures, arrays of them, pointers ---- */

typedef struct {
    uint8_t x, y;
} Point;

static const VMStateDescription vmsd_point = {
    .name = "point",
    .version_id = 7,
    .minimum_version_id = 7,
    .fields = (const VMStateField[]){VMSTATE_UINT8(x, Point), VMSTATE_UINT8_V(y, Point, 7),
                                     VMSTATE_END_OF_LIST()},
};

static const VMStateDescription vmsd_point_any = {
    .name = "point-any",
    .version_id = 7,
    .fields = (const VMStateField[]){VMSTATE_UINT8(x, Point), VMSTATE_UINT8_V(y, Point, 7),
                                     VMSTATE_END_OF_LIST()},
};

typedef struct {
    Point one;
    Point pair[2];
    Point old;
    Point *ptr;
    Point *sparse[3];
    uint32_t n;
    uint32_t *values;
    uint32_t len;
    uint8_t *blob;
    int32_t bits;
    unsigned long *map;
    bool odd;
} Shapes;

static bool shapes_odd(void *opaque, int version_id)
{
    return ((Shapes *)opaque)->odd;
}

static const VMStateDescription vmsd_shapes = {
    .name = "shapes",
    .fields =
        (const VMStateField[]){
            VMSTATE_STRUCT(one, Shapes, 0, vmsd_point, Point),
            VMSTATE_STRUCT_ARRAY(pair, Shapes, 2, 0, vmsd_point, Point),
            VMSTATE_VSTRUCT(old, Shapes, vmsd_point_any, Point, 6),
            VMSTATE_STRUCT_POINTER(ptr, Shapes, vmsd_point, Point),
            VMSTATE_ARRAY_OF_POINTER_TO_STRUCT(sparse, Shapes, 3, 0, vmsd_point, Point),
            VMSTATE_UINT32(n, Shapes),
            VMSTATE_VARRAY_UINT32_ALLOC(values, Shapes, n, 0, vmstate_info_uint32, uint32_t),
            VMSTATE_UINT32(len, Shapes),
            VMSTATE_VBUFFER_ALLOC_UINT32(blob, Shapes, 0, NULL, len),
            VMSTATE_BITMAP(map, Shapes, 0, bits),
            VMSTATE_BOOL(odd, Shapes),
            VMSTATE_STRUCT_TEST(one, Shapes, shapes_odd, 0, vmsd_point, Point),
            VMSTATE_END_OF_LIST(),
        },
};

#define SHAPES_HEX                                                                            \
    "01 02 03 04 05 06 07 08 09 30 0a 0b 30 00 00 00 02 00 00 00 15 00 00 00 16 00 00 00 03 " \
    "aa bb cc 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 02 01 01 02"

static void test_shapes(void)
{
    Point p = {8, 9}, q = {10, 11}, p2 = {0}, q2 = {0};
    uint32_t values[] = {21, 22};
    uint8_t blob[] = {0xaa, 0xbb, 0xcc};
    unsigned long map[] = {1, 2}, map2[] = {0, 0};
    Shapes in = {.one = {1, 2},
                 .pair = {{3, 4}, {5, 6}},
                 .old = {7, 99},
                 .ptr = &p,
                 .sparse = {NULL, &q, NULL},
                 .n = 2,
                 .values = values,
                 .len = 3,
                 .blob = blob,
                 .bits = 65,
                 .map = map,
                 .odd = true};
    Shapes out = {.ptr = &p2, .sparse = {NULL, &q2, NULL}, .bits = 65, .map = map2};
    g_autofree char *hex = save_hex(&vmsd_shapes, &in, NULL, NULL);

    g_assert_cmpstr(hex, ==, SHAPES_HEX);
    g_assert_true(load_hex(&vmsd_shapes, &out, 0, SHAPES_HEX, NULL));
    g_assert_cmpuint(out.pair[1].y, ==, 6);
    g_assert_cmpuint(p2.y, ==, 9);
    g_assert_cmpuint(q2.x, ==, 10);
    g_assert_cmpmem(out.values, 8, values, 8);
    g_assert_cmpmem(out.blob, 3, blob, 3);
    g_assert_cmpmem(map2, 16, map, 16);

    /* An absent element here that the stream has, and the reverse. */
    out.sparse[0] = &q2;
    expect_load_error(&vmsd_shapes, &out, 0, SHAPES_HEX, "shapes/");
    out.sparse[0] = out.sparse[1] = NULL;
    expect_load_error(&vmsd_shapes, &out, 0, SHAPES_HEX, "element is absent here");
    out.ptr = NULL;
    expect_load_error(&vmsd_shapes, &out, 0, SHAPES_HEX,
                      "shapes/ptr at offset 7: there is no memory");
    g_free(out.values);
    g_free(out.blob);
}

static void test_alloc_is_bounded(void)
{
    Point p = {0};
    Shapes out = {.ptr = &p};

    expect_load_error(&vmsd_shapes, &out, 0, "01 02 03 04 05 06 07 08 09 30 30 30 ff ff ff ff",
                      "more than a device may ask for");
    g_assert_null(out.values);
}

static void test_empty_buffer(void)
{
    unsigned long map[2] = {0};
    Point p = {0};
    Shapes in = {.ptr = &p, .bits = 65, .map = map};
    g_autofree char *hex = save_hex(&vmsd_shapes, &in, NULL, NULL);

    g_assert_nonnull(hex);
    g_assert_true(load_hex(&vmsd_shapes, &in, 0, hex, NULL));
    g_free(in.values);
    g_free(in.blob);
}

/* ---- lists and trees ---- */

typedef struct {
    GQueue queue;
    GSList *list;
    GTree *direct;
    GTree *keyed;
} Lists;

static const VMStateDescription vmsd_lists = {
    .name = "lists",
    .fields =
        (const VMStateField[]){VMSTATE_QTAILQ(queue, Lists, 7, vmsd_point, Point),
                               VMSTATE_QLIST(list, Lists, 7, vmsd_point, Point),
                               VMSTATE_GTREE_DIRECT_KEY(direct, Lists, 7, vmsd_point, Point),
                               VMSTATE_GTREE(keyed, Lists, 7, vmsd_point, Point, vmsd_point, Point),
                               VMSTATE_END_OF_LIST()},
    .version_id = 7,
    .minimum_version_id = 7,
};

static gint compare_direct(gconstpointer a, gconstpointer b, gpointer opaque)
{
    return (uintptr_t)a < (uintptr_t)b ? -1 : a != b;
}

static gint compare_points(gconstpointer a, gconstpointer b, gpointer opaque)
{
    return ((const Point *)a)->x - ((const Point *)b)->x;
}

static void lists_init(Lists *l)
{
    g_queue_init(&l->queue);
    l->list = NULL;
    l->direct = g_tree_new_full(compare_direct, NULL, NULL, g_free);
    l->keyed = g_tree_new_full(compare_points, NULL, g_free, g_free);
}

static void lists_clear(Lists *l)
{
    g_queue_clear_full(&l->queue, g_free);
    g_slist_free_full(l->list, g_free);
    g_tree_unref(l->direct);
    g_tree_unref(l->keyed);
}

#define LISTS_HEX                                                                       \
    "01 01 02 01 03 04 00 01 05 06 01 07 08 00 "                                        \
    "00 00 00 02 01 00 00 00 00 00 00 00 11 01 02 01 00 00 00 00 00 00 00 12 03 04 00 " \
    "00 00 00 01 01 09 09 0a 0a 00"

static void test_lists(void)
{
    g_autofree char *hex = NULL;
    Lists l;

    lists_init(&l);
    g_assert_true(load_hex(&vmsd_lists, &l, 7, LISTS_HEX, NULL));
    g_assert_cmpuint(l.queue.length, ==, 2);
    g_assert_cmpuint(((Point *)l.queue.tail->data)->y, ==, 4);
    g_assert_cmpuint(((Point *)l.list->data)->x, ==, 5);
    g_assert_cmpuint(((Point *)g_tree_lookup(l.direct, (void *)0x12))->x, ==, 3);
    hex = save_hex(&vmsd_lists, &l, NULL, NULL);
    g_assert_cmpstr(hex, ==, LISTS_HEX);
    lists_clear(&l);
}

static void test_lists_hostile(void)
{
    static const struct {
        const char *hex, *text;
    } rows[] = {
        {"02", "list marker is 0x02"},
        {"01 01", "end of stream"},
        {"00 00 00 00 00 02 01 00 00 00 00 00 00 00 11 01 02 00", "1 nodes, 2 were announced"},
        {"00 01 05", "end of stream"},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        Lists l;

        lists_init(&l);
        expect_load_error(&vmsd_lists, &l, 7, rows[i].hex, rows[i].text);
        lists_clear(&l);
    }
}

static void test_list_length_is_bounded(void)
{
    g_autoptr(GString) hex = g_string_new(NULL);
    Lists l;

    for (unsigned i = 0; i < 65537; i++) {
        g_string_append(hex, "010101");
    }
    lists_init(&l);
    expect_load_error(&vmsd_lists, &l, 7, hex->str, "more than 65536 elements");
    lists_clear(&l);
}

/* ---- tmp, hooks, validation, subsections ---- */

typedef struct {
    uint8_t value;
    uint8_t extra;
    unsigned hooks; /* which ran, in octal digits */
    bool refuse;
} Hooked;

typedef struct {
    Hooked *parent;
    uint8_t doubled;
} HookedTmp;

static bool tmp_pre_save(void *opaque, GError **errp)
{
    HookedTmp *t = opaque;

    t->doubled = t->parent->value * 2;
    return true;
}

static bool tmp_post_load(void *opaque, int version_id, GError **errp)
{
    HookedTmp *t = opaque;

    t->parent->value = t->doubled / 2;
    return true;
}

static const VMStateDescription vmsd_hooked_tmp = {
    .name = "hooked-tmp",
    .pre_save = tmp_pre_save,
    .post_load = tmp_post_load,
    .fields = (const VMStateField[]){VMSTATE_UINT8(doubled, HookedTmp), VMSTATE_END_OF_LIST()},
};

static void mark(Hooked *h, unsigned digit)
{
    h->hooks = h->hooks << 3 | digit;
}

static bool hooked_pre_save(void *opaque, GError **errp)
{
    mark(opaque, 1);
    return true;
}

static void hooked_post_save(void *opaque)
{
    mark(opaque, 2);
}

static bool hooked_pre_load(void *opaque, GError **errp)
{
    mark(opaque, 3);
    return true;
}

static bool hooked_post_load(void *opaque, int version_id, GError **errp)
{
    mark(opaque, 4);
    if (((Hooked *)opaque)->refuse) {
        error_setg(errp, "does not fit");
        return false;
    }
    return true;
}

static bool hooked_valid(void *opaque, int version_id)
{
    return ((Hooked *)opaque)->value < 100;
}

static bool extra_needed(void *opaque)
{
    return ((Hooked *)opaque)->extra != 0;
}

static const VMStateDescription vmsd_hooked_extra = {
    .name = "hooked/extra",
    .version_id = 1,
    .needed = extra_needed,
    .fields = (const VMStateField[]){VMSTATE_UINT8(extra, Hooked), VMSTATE_END_OF_LIST()},
};

static const VMStateDescription vmsd_hooked = {
    .name = "hooked",
    .pre_save = hooked_pre_save,
    .post_save = hooked_post_save,
    .pre_load = hooked_pre_load,
    .post_load = hooked_post_load,
    .fields = (const VMStateField[]){VMSTATE_WITH_TMP(Hooked, HookedTmp, vmsd_hooked_tmp),
                                     VMSTATE_VALIDATE("value below 100", hooked_valid),
                                     VMSTATE_END_OF_LIST()},
    .subsections = (const VMStateDescription *const[]){&vmsd_hooked_extra, NULL},
};

#define EXTRA_HEX "05 0c 68 6f 6f 6b 65 64 2f 65 78 74 72 61 00 00 00 01 55"

static void test_hooks_tmp_and_subsections(void)
{
    Hooked h = {.value = 3}, out = {0};
    g_autofree char *plain = save_hex(&vmsd_hooked, &h, NULL, NULL);
    g_autofree char *with_extra = NULL;

    g_assert_cmpstr(plain, ==, "06");
    g_assert_cmpuint(h.hooks, ==, 012);
    h.extra = 0x55;
    with_extra = save_hex(&vmsd_hooked, &h, NULL, NULL);
    g_assert_cmpstr(with_extra, ==, "06 " EXTRA_HEX);

    g_assert_true(load_hex(&vmsd_hooked, &out, 0, plain, NULL));
    g_assert_cmpuint(out.value, ==, 3);
    g_assert_cmpuint(out.hooks, ==, 034);
    g_assert_true(load_hex(&vmsd_hooked, &out, 0, with_extra, NULL));
    g_assert_cmpuint(out.extra, ==, 0x55);
    /* Repeated: loaded again. */
    g_assert_true(load_hex(&vmsd_hooked, &out, 0, "06 " EXTRA_HEX " " EXTRA_HEX, NULL));
    out.refuse = true;
    expect_load_error(&vmsd_hooked, &out, 0, plain, "hooked: does not fit");
}

static void test_validation_on_both_sides(void)
{
    Hooked h = {.value = 100};
    g_autoptr(GError) err = NULL;

    g_assert_null(save_hex(&vmsd_hooked, &h, NULL, &err));
    g_assert_nonnull(strstr(err->message, "hooked/value below 100"));
    g_assert_cmpuint(h.hooks, ==, 012); /* post_save ran all the same */
    expect_load_error(&vmsd_hooked, &h, 0, "c8", "hooked/value below 100");
}

static void test_subsection_errors(void)
{
    Hooked out = {0};

    expect_load_error(&vmsd_hooked, &out, 0,
                      "06 05 0c 68 6f 6f 6b 65 64 2f 65 78 74 72 62 00 00 00 01",
                      "unknown subsection 'hooked/extrb' at offset 1");
    expect_load_error(&vmsd_hooked, &out, 0,
                      "06 05 0c 68 6f 6f 6b 65 64 2f 65 78 74 72 61 00 00 00 02 55",
                      "hooked/extra: version 2 is newer");
}

/* A byte 5 that is data of the enclosing description, not the mark of a subsection. */
typedef struct {
    Hooked inner;
    uint8_t five[9];
} Outer;

static const VMStateDescription vmsd_outer = {
    .name = "outer",
    .fields = (const VMStateField[]){VMSTATE_STRUCT(inner, Outer, 0, vmsd_hooked, Hooked),
                                     VMSTATE_BUFFER(five, Outer), VMSTATE_END_OF_LIST()},
};

static void test_data_that_looks_like_a_subsection(void)
{
    Outer o = {0};

    g_assert_true(load_hex(&vmsd_outer, &o, 0, "06 05 07 68 6f 6f 6b 65 65 2f", NULL));
    g_assert_cmpuint(o.five[0], ==, 5);
    g_assert_true(load_hex(&vmsd_outer, &o, 0, "06 05 ff 01 02 03 04 05 06 07", NULL));
    g_assert_true(load_hex(&vmsd_outer, &o, 0, "06 05 00 01 02 03 04 05 06 07", NULL));
}

/* ---- timers ---- */

typedef struct {
    QEMUTimer *timer;
} Timed;

static const VMStateDescription vmsd_timed = {
    .name = "timed",
    .fields = (const VMStateField[]){VMSTATE_TIMER_PTR(timer, Timed), VMSTATE_END_OF_LIST()},
};

static void nothing(void *opaque)
{
}

static void test_timer(void)
{
    Clock *clock = clock_virtual_new();
    Timed t = {timer_new_ns(clock, nothing, NULL)};
    g_autofree char *idle = save_hex(&vmsd_timed, &t, NULL, NULL);
    g_autofree char *armed = NULL;

    g_assert_cmpstr(idle, ==, "ff ff ff ff ff ff ff ff");
    timer_mod_ns(t.timer, 0x123456);
    armed = save_hex(&vmsd_timed, &t, NULL, NULL);
    g_assert_cmpstr(armed, ==, "00 00 00 00 00 12 34 56");
    g_assert_true(load_hex(&vmsd_timed, &t, 0, idle, NULL));
    g_assert_false(timer_pending(t.timer));
    g_assert_true(load_hex(&vmsd_timed, &t, 0, armed, NULL));
    g_assert_cmpuint(timer_expire_time_ns(t.timer), ==, 0x123456);
    timer_free(t.timer);
    clock_free(clock);
}

/* ---- the description ---- */

static void test_description(void)
{
    Point p = {0};
    unsigned long map[2] = {0};
    Shapes in = {.ptr = &p, .bits = 65, .map = map, .odd = true};
    Hooked h = {.extra = 1};
    g_autoptr(VMDescWriter) w = vmdesc_new();
    g_autoptr(GString) json = NULL;

    vmdesc_device(w, "dev0", 0);
    g_free(save_hex(&vmsd_shapes, &in, w, NULL));
    vmdesc_device_end(w);
    vmdesc_device(w, "dev1", 3);
    g_free(save_hex(&vmsd_hooked, &h, w, NULL));
    vmdesc_device_end(w);
    json = vmdesc_render(w, 4096);
#define POINT                                                              \
    "\"struct\": {\"vmsd_name\": \"point\", \"version\": 7, \"fields\": [" \
    "{\"name\": \"x\", \"type\": \"uint8\", \"size\": 1}, "                \
    "{\"name\": \"y\", \"type\": \"uint8\", \"size\": 1}]}, "
    g_assert_cmpstr(
        json->str, ==,
        "{\"page_size\": 4096, \"devices\": [{\"name\": \"dev0\", \"instance_id\": 0, "
        "\"vmsd_name\": \"shapes\", \"version\": 0, \"fields\": ["
        "{\"name\": \"one[0]\", \"type\": \"struct\", " POINT "\"size\": 2}, "
        "{\"name\": \"pair\", \"array_len\": 2, \"type\": \"struct\", " POINT "\"size\": 2}, "
        "{\"name\": \"old\", \"type\": \"vstruct\", \"struct\": {\"vmsd_name\": \"point-any\", "
        "\"version\": 6, \"fields\": [{\"name\": \"x\", \"type\": \"uint8\", \"size\": 1}]}, "
        "\"size\": 1}, "
        "{\"name\": \"ptr\", \"type\": \"struct\", " POINT "\"size\": 2}, "
        "{\"name\": \"sparse\", \"array_len\": 3, \"type\": \"struct\", \"size\": 1}, "
        "{\"name\": \"n\", \"type\": \"uint32\", \"size\": 4}, "
        "{\"name\": \"len\", \"type\": \"uint32\", \"size\": 4}, "
        "{\"name\": \"blob\", \"type\": \"buffer\", \"size\": 0}, "
        "{\"name\": \"map\", \"type\": \"bitmap\", \"size\": 16}, "
        "{\"name\": \"odd\", \"type\": \"bool\", \"size\": 1}, "
        "{\"name\": \"one[1]\", \"type\": \"struct\", " POINT "\"size\": 2}]}, "
        "{\"name\": \"dev1\", \"instance_id\": 3, \"vmsd_name\": \"hooked\", \"version\": 0, "
        "\"fields\": [{\"name\": \"tmp\", \"type\": \"tmp\", \"size\": 1}], "
        "\"subsections\": [{\"vmsd_name\": \"hooked/extra\", \"version\": 1, \"fields\": ["
        "{\"name\": \"extra\", \"type\": \"uint8\", \"size\": 1}]}]}]}");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vmstate/scalars", test_scalars);
    g_test_add_func("/vmstate/older-version-lacks-field", test_older_version_lacks_field);
    g_test_add_func("/vmstate/versions-refused", test_versions_refused);
    g_test_add_func("/vmstate/every-truncation-is-an-error", test_every_truncation_is_an_error);
    g_test_add_func("/vmstate/equal-codecs", test_equal_codecs);
    g_test_add_func("/vmstate/shapes", test_shapes);
    g_test_add_func("/vmstate/alloc-is-bounded", test_alloc_is_bounded);
    g_test_add_func("/vmstate/empty-buffer", test_empty_buffer);
    g_test_add_func("/vmstate/lists", test_lists);
    g_test_add_func("/vmstate/lists-hostile", test_lists_hostile);
    g_test_add_func("/vmstate/list-length-is-bounded", test_list_length_is_bounded);
    g_test_add_func("/vmstate/hooks-tmp-and-subsections", test_hooks_tmp_and_subsections);
    g_test_add_func("/vmstate/validation-on-both-sides", test_validation_on_both_sides);
    g_test_add_func("/vmstate/subsection-errors", test_subsection_errors);
    g_test_add_func("/vmstate/data-that-looks-like-a-subsection",
                    test_data_that_looks_like_a_subsection);
    g_test_add_func("/vmstate/timer", test_timer);
    g_test_add_func("/vmstate/description", test_description);
    return g_test_run();
}
