/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "every-kind.h"

typedef struct {
    uint8_t x, y;
} Point;

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
    uint8_t canary1[8];
    uint16_t array[3];
    uint8_t grid[2][2];
    uint64_t fp[2];
    bool flags[2];
    uint8_t canary2[8];
    uint32_t same;
    int32_t at_most;
} Scalars;

typedef struct {
    Point one, pair[2], old, target;
    Point *ptr, *sparse[3];
    uint32_t n, *values;
    uint32_t len;
    uint8_t *blob;
    int32_t fill; /* of room: checked by the stream itself */
    uint32_t room_count;
    uint16_t *room;
    int32_t bits;
    unsigned long *map;
    bool odd;
    uint32_t count;
    Point *points;
} Shapes;

typedef struct {
    GQueue queue;
    GSList *list;
    GTree *direct, *keyed;
    QEMUTimer *timer;
    uint8_t value, extra, loaded;
} Lists;

struct EveryKind {
    Scalars scalars;
    Shapes shapes;
    Lists lists;
    Clock *clock;
    SaveStateEntry *entries[3];
};

/* ---- scalars ---- */

static bool newer(void *opaque, int version_id)
{
    return version_id > 1;
}

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
            VMSTATE_UINT8_TEST(u8, Scalars, newer),
            VMSTATE_UINT16(u16, Scalars),
            VMSTATE_UINT32(u32, Scalars),
            VMSTATE_UINT64_V(u64, Scalars, 2),
            VMSTATE_BUFFER(raw, Scalars),
            VMSTATE_UNUSED(2),
            VMSTATE_SUB_ARRAY(array, Scalars, 1, 2, 0, vmstate_info_uint16, uint16_t),
            VMSTATE_2DARRAY(grid, Scalars, 2, 2, 0, vmstate_info_uint8, uint8_t),
            VMSTATE_CPUDOUBLE_ARRAY(fp, Scalars, 2),
            VMSTATE_BOOL_ARRAY(flags, Scalars, 2),
            VMSTATE_UINT32_EQUAL(same, Scalars),
            VMSTATE_INT32_LE(at_most, Scalars),
            VMSTATE_END_OF_LIST(),
        },
};

/* ---- structures, pointers, counted arrays ---- */

static const VMStateDescription vmsd_point = {
    .name = "point",
    .version_id = 7,
    .minimum_version_id = 6,
    .fields = (const VMStateField[]){VMSTATE_UINT8(x, Point), VMSTATE_UINT8_V(y, Point, 7),
                                     VMSTATE_END_OF_LIST()},
};

static bool shapes_odd(void *opaque, int version_id)
{
    return ((Shapes *)opaque)->odd;
}

static bool count_fits(void *opaque, int version_id)
{
    return ((Shapes *)opaque)->count <= 5;
}

static const VMStateDescription vmsd_shapes = {
    .name = "shapes",
    .version_id = 7,
    .fields =
        (const VMStateField[]){
            VMSTATE_STRUCT(one, Shapes, 7, vmsd_point, Point),
            VMSTATE_STRUCT_ARRAY(pair, Shapes, 2, 7, vmsd_point, Point),
            VMSTATE_VSTRUCT(old, Shapes, vmsd_point, Point, 6),
            VMSTATE_STRUCT_POINTER(ptr, Shapes, vmsd_point, Point),
            VMSTATE_ARRAY_OF_POINTER_TO_STRUCT(sparse, Shapes, 3, 0, vmsd_point, Point),
            VMSTATE_UINT32(n, Shapes),
            VMSTATE_VARRAY_UINT32_ALLOC(values, Shapes, n, 0, vmstate_info_uint32, uint32_t),
            VMSTATE_UINT32(len, Shapes),
            VMSTATE_VBUFFER_ALLOC_UINT32(blob, Shapes, 0, NULL, len),
            VMSTATE_INT32_LE(fill, Shapes),
            VMSTATE_UINT32_EQUAL(room_count, Shapes),
            VMSTATE_VARRAY_UINT32(room, Shapes, room_count, 0, vmstate_info_uint16, uint16_t),
            VMSTATE_BITMAP(map, Shapes, 0, bits),
            VMSTATE_BOOL(odd, Shapes),
            VMSTATE_STRUCT_TEST(one, Shapes, shapes_odd, 0, vmsd_point, Point),
            VMSTATE_UINT32(count, Shapes),
            VMSTATE_VALIDATE("count", count_fits),
            VMSTATE_STRUCT_VARRAY_POINTER_UINT32(points, Shapes, count, vmsd_point, Point),
            VMSTATE_END_OF_LIST(),
        },
};

/* ---- lists, trees, a timer, hooks and subsections ---- */

typedef struct {
    Lists *parent;
    uint8_t doubled;
} ListsTmp;

static bool tmp_post_load(void *opaque, int version_id, GError **errp)
{
    ListsTmp *t = opaque;

    t->parent->value = t->doubled / 2;
    return true;
}

static const VMStateDescription vmsd_tmp = {
    .name = "lists-tmp",
    .post_load = tmp_post_load,
    .fields = (const VMStateField[]){VMSTATE_UINT8(doubled, ListsTmp), VMSTATE_END_OF_LIST()},
};

static bool extra_needed(void *opaque)
{
    return ((Lists *)opaque)->extra != 0;
}

static const VMStateDescription vmsd_extra = {
    .name = "lists/extra",
    .version_id = 1,
    .needed = extra_needed,
    .fields = (const VMStateField[]){VMSTATE_UINT8(extra, Lists), VMSTATE_END_OF_LIST()},
};

static bool lists_pre_load(void *opaque, GError **errp)
{
    Lists *l = opaque;

    g_queue_clear_full(&l->queue, g_free);
    g_slist_free_full(g_steal_pointer(&l->list), g_free);
    g_tree_remove_all(l->direct);
    g_tree_remove_all(l->keyed);
    return true;
}

static bool lists_post_load(void *opaque, int version_id, GError **errp)
{
    if (((Lists *)opaque)->value == 99) {
        error_setg(errp, "99 is not welcome");
        return false;
    }
    return true;
}

static const VMStateDescription vmsd_lists = {
    .name = "lists",
    .version_id = 7,
    .pre_load = lists_pre_load,
    .post_load = lists_post_load,
    .fields =
        (const VMStateField[]){VMSTATE_QTAILQ(queue, Lists, 7, vmsd_point, Point),
                               VMSTATE_QLIST(list, Lists, 7, vmsd_point, Point),
                               VMSTATE_GTREE_DIRECT_KEY(direct, Lists, 7, vmsd_point, Point),
                               VMSTATE_GTREE(keyed, Lists, 7, vmsd_point, Point, vmsd_point, Point),
                               VMSTATE_TIMER_PTR(timer, Lists),
                               VMSTATE_WITH_TMP(Lists, ListsTmp, vmsd_tmp), VMSTATE_END_OF_LIST()},
    .subsections = (const VMStateDescription *const[]){&vmsd_extra, NULL},
};

/* ---- life ---- */

static gint compare_direct(gconstpointer a, gconstpointer b, gpointer opaque)
{
    return (uintptr_t)a < (uintptr_t)b ? -1 : a != b;
}

static gint compare_points(gconstpointer a, gconstpointer b, gpointer opaque)
{
    return ((const Point *)a)->x - ((const Point *)b)->x;
}

static void nothing(void *opaque)
{
}

EveryKind *every_kind_new(SaveStateList *list)
{
    EveryKind *e = g_new0(EveryKind, 1);
    Shapes *s = &e->shapes;

    memset(e->scalars.canary1, 0x5a, 8);
    memset(e->scalars.canary2, 0x5a, 8);
    e->scalars.same = 7;
    e->scalars.at_most = 5;
    s->ptr = &s->target;
    s->sparse[1] = g_new0(Point, 1);
    s->fill = 10;
    s->room_count = 4;
    s->room = g_new0(uint16_t, 4);
    s->bits = 65;
    s->map = g_new0(unsigned long, 2);
    s->points = g_new0(Point, 5);
    s->count = 2;
    g_queue_init(&e->lists.queue);
    e->lists.direct = g_tree_new_full(compare_direct, NULL, NULL, g_free);
    e->lists.keyed = g_tree_new_full(compare_points, NULL, g_free, g_free);
    g_queue_push_tail(&e->lists.queue, g_new0(Point, 1));
    e->lists.list = g_slist_prepend(NULL, g_new0(Point, 1));
    g_tree_insert(e->lists.direct, GUINT_TO_POINTER(5), g_new0(Point, 1));
    g_tree_insert(e->lists.keyed, g_new0(Point, 1), g_new0(Point, 1));
    e->lists.extra = 1;
    e->clock = clock_virtual_new();
    clock_virtual_set_manual(e->clock);
    e->lists.timer = timer_new_ns(e->clock, nothing, NULL);
    e->entries[0] = vmstate_register(list, NULL, 0, &vmsd_scalars, &e->scalars, -1, NULL);
    e->entries[1] = vmstate_register(list, "bus@7", 3, &vmsd_shapes, s, 4, NULL);
    e->entries[2] = vmstate_register(list, NULL, 0, &vmsd_lists, &e->lists, -1, NULL);
    return e;
}

void every_kind_free(EveryKind *e, SaveStateList *list)
{
    Shapes *s = &e->shapes;

    for (unsigned i = 0; i < G_N_ELEMENTS(e->entries); i++) {
        savevm_unregister(list, e->entries[i]);
    }
    for (unsigned i = 0; i < 8; i++) {
        g_assert_cmphex(e->scalars.canary1[i], ==, 0x5a);
        g_assert_cmphex(e->scalars.canary2[i], ==, 0x5a);
    }
    g_assert_true(s->fill <= 10 && s->bits <= 65 && s->room_count == 4);
    lists_pre_load(&e->lists, NULL);
    g_tree_unref(e->lists.direct);
    g_tree_unref(e->lists.keyed);
    timer_free(e->lists.timer);
    clock_free(e->clock);
    g_free(s->sparse[1]);
    g_free(s->values);
    g_free(s->blob);
    g_free(s->room);
    g_free(s->map);
    g_free(s->points);
    g_free(e);
}
