/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device base class with a toy device: options, -global, buses, life cycle, error texts. */
#include "hw/device.h"
#include "migration/savevm.h"

#define TYPE_TOY (toy_get_type())
G_DECLARE_DERIVABLE_TYPE(Toy, toy, TEST, TOY, DeviceState)
struct _ToyClass {
    DeviceStateClass parent_class;
};

/* Everything in the instance, as table properties need it. */
#define TOY(obj) ((ToyFull *)(obj))
typedef struct {
    Toy parent;
    bool flag;
    uint16_t small;
    int32_t number;
    uint64_t big;
    char *text;
    uint32_t wire;
    int resets, running;
} ToyFull;

static int live_toys;

#define TYPE_TOY_FULL (toy_full_get_type())
static GType toy_full_get_type(void);
typedef ToyClass ToyFullClass;

G_DEFINE_ABSTRACT_TYPE(Toy, toy, TYPE_DEVICE)
G_DEFINE_TYPE(ToyFull, toy_full, TYPE_TOY)
DEVICE_TYPE_REGISTER("toy-base", toy_get_type)
DEVICE_TYPE_REGISTER("toy", toy_full_get_type)

static gboolean toy_realize(DeviceState *dev, GError **errp)
{
    if (g_strcmp0(TOY(dev)->text, "bad") == 0) {
        error_setg(errp, "toy: text must not be bad");
        return false;
    }
    live_toys++;
    return true;
}

static void toy_unrealize(DeviceState *dev)
{
    live_toys--;
}

static void toy_reset(DeviceState *dev)
{
    TOY(dev)->resets++;
}

static void toy_vm_state(DeviceState *dev, gboolean running)
{
    TOY(dev)->running = running;
}

static char *toy_path(DeviceState *dev)
{
    return g_strdup(TOY(dev)->text);
}

static const VMStateDescription vmstate_toy = {
    .name = "toy",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]){VMSTATE_UINT32(wire, ToyFull), VMSTATE_END_OF_LIST()},
};

static const DeviceProperty toy_props[] = {
    DEVICE_PROP_BOOL("flag", ToyFull, flag, true, "a flag"),
    DEVICE_PROP_UINT16("small", ToyFull, small, 7, "a small number"),
    DEVICE_PROP_INT32("number", ToyFull, number, -1, "a signed number"),
    DEVICE_PROP_UINT64("big", ToyFull, big, 0, "a big number"),
    DEVICE_PROP_STRING("text", ToyFull, text, "a text"),
    {},
};

static void toy_class_init(ToyClass *klass)
{
}

static void toy_init(Toy *toy)
{
}

static void toy_full_class_init(ToyFullClass *klass)
{
    DeviceStateClass *dc = HW_DEVICE_CLASS(klass);

    device_class_set_props(dc, toy_props);
    dc->bus_type = "toy-bus";
    dc->user_creatable = true;
    dc->hotpluggable = true;
    dc->realize = toy_realize;
    dc->unrealize = toy_unrealize;
    dc->reset = toy_reset;
    dc->vm_state = toy_vm_state;
    dc->path = toy_path;
    dc->vmsd = &vmstate_toy;
}

static void toy_full_init(ToyFull *toy)
{
}

typedef struct {
    Machine *m;
    Bus *low, *high;
} Fixture;

static void setup(Fixture *f, gconstpointer data)
{
    f->m = machine_new(machine_class_find("none"));
    f->m->savevm = savevm_list_new();
    f->low = bus_new(f->m, "toy-bus", "toy.0", 1, NULL);
    f->high = bus_new(f->m, "toy-bus", "toy.1", 1, NULL);
    bus_new(f->m, "other-bus", "other", 1, NULL);
}

static void teardown(Fixture *f, gconstpointer data)
{
    SaveStateList *list = f->m->savevm;

    devices_unrealize_all(f->m);
    g_assert_cmpuint(list->entries->len, ==, 0);
    g_assert_cmpint(live_toys, ==, 0);
    while (f->m->buses->len) {
        bus_free(f->m->buses->pdata[0]);
    }
    machine_free(f->m);
    savevm_list_free(list);
}

static DeviceState *add(Fixture *f, const char *json, bool hotplug, GError **errp)
{
    g_autoptr(JsonNode) node = json_from_string(json, NULL);

    g_assert_nonnull(node);
    return device_add_from_options(f->m, json_node_get_object(node), hotplug, errp);
}

static void refused(Fixture *f, const char *json, bool hotplug, const char *text)
{
    g_autoptr(GError) err = NULL;
    guint devices = f->m->devices->len;

    g_assert_null(add(f, json, hotplug, &err));
    g_assert_nonnull(err);
    g_assert_cmpstr(err->message, ==, text);
    g_assert_cmpuint(f->m->devices->len, ==, devices);
}

static void test_defaults_and_values(Fixture *f, gconstpointer data)
{
    GError *err = NULL;
    DeviceState *a = add(f, "{'driver':'toy'}", false, &err);
    DeviceState *b = add(f,
                         "{'driver':'toy','id':'b','flag':'off','small':'0x10','big':5,"
                         "'number':-3,'text':'hello'}",
                         false, &err);

    g_assert_no_error(err);
    g_assert_true(TOY(a)->flag);
    g_assert_cmpuint(TOY(a)->small, ==, 7);
    g_assert_cmpint(TOY(a)->number, ==, -1);
    g_assert_null(TOY(a)->text);
    g_assert_false(TOY(b)->flag);
    g_assert_cmpuint(TOY(b)->small, ==, 16);
    g_assert_cmpuint(TOY(b)->big, ==, 5);
    g_assert_cmpint(TOY(b)->number, ==, -3);
    g_assert_cmpstr(TOY(b)->text, ==, "hello");
    g_assert_true(device_bus(a) == f->high); /* the newest free bus first */
    g_assert_true(device_bus(b) == f->low);
    g_assert_true(device_find(f->m, "b") == b);
    g_assert_nonnull(savevm_find(f->m->savevm, "toy", 0));
    g_assert_nonnull(savevm_find(f->m->savevm, "hello/toy", 0));
    refused(f, "{'driver':'toy'}", false, "No 'toy-bus' bus found for device 'toy'");
    refused(f, "{'driver':'toy','bus':'toy.0'}", false, "Bus 'toy.0' is full");
}

static void test_errors(Fixture *f, gconstpointer data)
{
    GError *err = NULL;

    refused(f, "{}", false, "Parameter 'driver' is missing");
    refused(f, "{'driver':5}", false, "Invalid parameter type for 'driver', expected: string");
    refused(f, "{'driver':'nosuch'}", false, "'nosuch' is not a valid device model name");
    refused(f, "{'driver':'memory-backend-ram'}", false,
            "'memory-backend-ram' is not a valid device model name");
    refused(f, "{'driver':'toy-base'}", false,
            "Parameter 'driver' expects a non-abstract device type");
    refused(f, "{'driver':'serial-mm'}", false,
            "Parameter 'driver' expects a pluggable device type");
    refused(f, "{'driver':'toy','bus':'nobus'}", false, "Bus 'nobus' not found");
    refused(f, "{'driver':'toy','bus':'other'}", false, "Device 'toy' can't go on other-bus bus");
    refused(f, "{'driver':'toy','foo':1}", false, "Property 'toy.foo' not found");
    refused(f, "{'driver':'toy','text':'bad'}", false, "toy: text must not be bad");
    refused(f, "{'driver':'toy','id':'9x'}", false,
            "Parameter 'id' expects an identifier: letters, digits, '-', '.', '_', starting with a "
            "letter");
    refused(f, "{'driver':'toy'}", true, "Bus 'toy.1' does not support hotplugging");
    g_assert_nonnull(add(f, "{'driver':'toy','id':'a'}", false, &err));
    refused(f, "{'driver':'toy','id':'a'}", false, "Duplicate ID 'a' for device");
    g_assert_null(add(f, "{'driver':'toy','small':70000}", false, &err));
    g_assert_nonnull(err);
    g_clear_error(&err);
}

static void test_globals(Fixture *f, gconstpointer data)
{
    GError *err = NULL;
    DeviceState *a, *b;

    g_hash_table_insert(f->m->globals, g_strdup("toy-base.small"), g_strdup("1"));
    g_hash_table_insert(f->m->globals, g_strdup("toy.small"), g_strdup("2"));
    g_hash_table_insert(f->m->globals, g_strdup("toy-base.flag"), g_strdup("off"));
    g_hash_table_insert(f->m->globals, g_strdup("other.small"), g_strdup("9"));
    a = add(f, "{'driver':'toy'}", false, &err);
    b = add(f, "{'driver':'toy','small':3}", false, &err);
    g_assert_no_error(err);
    g_assert_false(TOY(a)->flag);
    g_assert_cmpuint(TOY(a)->small, ==, 2);
    g_assert_cmpuint(TOY(b)->small, ==, 3);
    device_unplug(b);
    g_hash_table_insert(f->m->globals, g_strdup("toy.foo"), g_strdup("1"));
    refused(f, "{'driver':'toy'}", false,
            "can't apply global toy.foo=1: Property 'toy.foo' not found");
}

static void test_life(Fixture *f, gconstpointer data)
{
    GError *err = NULL;
    DeviceState *a = add(f, "{'driver':'toy','id':'a'}", false, &err);
    g_autoptr(GError) no_bus = NULL, no_device = NULL;

    g_assert_true(device_is_realized(a));
    devices_reset_all(f->m);
    devices_vm_state(f->m, true);
    g_assert_cmpint(TOY(a)->resets, ==, 1);
    g_assert_cmpint(TOY(a)->running, ==, 1);
    g_assert_false(device_del_by_id(f->m, "zz", &no_device));
    g_assert_cmpstr(no_device->message, ==, "Device 'zz' not found");
    g_assert_cmpint(error_get_class(no_device), ==, ERROR_CLASS_DEVICE_NOT_FOUND);
    g_assert_false(device_del_by_id(f->m, "a", &no_bus));
    g_assert_cmpstr(no_bus->message, ==, "Bus 'toy.1' does not support hotplugging");
    f->high->hotplug = true;
    g_assert_true(device_del_by_id(f->m, "a", &err));
    g_assert_null(device_find(f->m, "a"));
    g_assert_cmpuint(f->high->children->len, ==, 0);
    g_assert_null(savevm_find(f->m->savevm, "toy", 0));
    g_assert_nonnull(add(f, "{'driver':'toy','id':'a'}", true, &err));
    g_assert_no_error(err);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/hw/device/values", Fixture, NULL, setup, test_defaults_and_values, teardown);
    g_test_add("/hw/device/errors", Fixture, NULL, setup, test_errors, teardown);
    g_test_add("/hw/device/globals", Fixture, NULL, setup, test_globals, teardown);
    g_test_add("/hw/device/life", Fixture, NULL, setup, test_life, teardown);
    return g_test_run();
}
