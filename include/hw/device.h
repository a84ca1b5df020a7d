/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices are GObjects: properties are GParamSpecs, state is a VMStateDescription. A device is one
 * small file that registers itself with DEVICE_TYPE_REGISTER(). Main thread, big lock.
 *
 * Life of a device:
 *   device_new()      allocated, defaults and -global applied; the caller owns it and sets
 * properties device_realize()  takes it over: checked, connected, vmstate registered, part of
 * machine->devices reset, vm_state   as often as needed device_unplug()   vmstate gone, unrealized,
 * off its bus, reference dropped
 */
#ifndef GODWIT_HW_DEVICE_H
#define GODWIT_HW_DEVICE_H

#include "hw/machine.h"

#define TYPE_DEVICE (device_get_type())
G_DECLARE_DERIVABLE_TYPE(DeviceState, device, HW, DEVICE, GObject)

typedef struct Bus Bus;
struct _DeviceStateClass {
    GObjectClass parent_class;
    const char *desc;
    const char *bus_type; /* bus it plugs into: "virtio-bus", "PCIE", NULL = system */
    bool user_creatable;  /* -device may name it */
    bool hotpluggable;
    /* Properties are set: validate, allocate, map, connect. Failing leaves nothing behind. */
    gboolean (*realize)(DeviceState *dev, GError **errp);
    void (*unrealize)(DeviceState *dev);
    void (*reset)(DeviceState *dev);
    /* Registered by device_realize() with the device as opaque, unregistered by unrealize; NULL:
     * none. */
    const VMStateDescription *vmsd;
    /* Section name prefix, e.g. "virtio-mmio@0000000010008000"; free with g_free(). NULL: none. */
    char *(*path)(DeviceState *dev);
    /* The VM stops or runs; optional. Parents before what is behind them when it starts, the other
     * way round when it stops. */
    void (*vm_state)(DeviceState *dev, gboolean running);
    /* The same, for all devices before vm_state is called for any; optional. */
    void (*vm_state_prepare)(DeviceState *dev, gboolean running);
    /*
     * In device_new(), before -global: make the parts whose properties this device passes on.
     * Optional.
     */
    gboolean (*create_parts)(DeviceState *dev, GError **errp);
    /* The part that device_class_forward_props() reaches. */
    DeviceState *(*part)(DeviceState *dev);
    /* @child was realized on a bus of this device; optional. */
    void (*child_plugged)(DeviceState *dev, DeviceState *child);
    /*
     * device_del of @child on a bus of this device: ask the guest, which ends in
     * device_unplug_deleted() now or later. NULL: it goes at once.
     */
    gboolean (*child_unplug_request)(DeviceState *dev, DeviceState *child, GError **errp);
};

/* A slot container; boards make them, -device picks one. */
struct Bus {
    const char *type;
    char *name; /* "virtio-mmio-bus.7", "pcie.0" */
    unsigned capacity;
    bool hotplug; /* accepts devices after start; false unless set by its maker */
    DeviceState *parent;
    GPtrArray *children; /* DeviceState; no references */
    Machine *machine;
    void *opaque; /* its maker's */
};

Machine *device_machine(DeviceState *dev);
const char *device_id(DeviceState *dev);
/* Where clients find it: "/machine/...". Free with g_free(). */
char *device_qom_path(DeviceState *dev);
Bus *device_bus(DeviceState *dev);
bool device_is_realized(DeviceState *dev);
/* It came by device_add, after the machine was started. */
bool device_is_hotplugged(DeviceState *dev);
/* Instance id used for its vmstate; INSTANCE_ID_ANY unless set before realize. */
void device_set_instance_id(DeviceState *dev, uint32_t id);
/*
 * A further section of this device, inside realize; unregistered with it. For devices whose
 * sections come in an order that one vmsd cannot express.
 */
bool device_register_vmstate(DeviceState *dev, const VMStateDescription *vmsd, void *opaque,
                             GError **errp);
/* The same under another path, or none. */
bool device_register_vmstate_as(DeviceState *dev, const char *path, const VMStateDescription *vmsd,
                                void *opaque, GError **errp);

/*
 * Create by type name, unrealized, with matching -global values applied; @id may be NULL. The
 * caller owns the reference. "'X' is not a valid device model name", "Duplicate ID 'X' for device",
 * ...
 */
DeviceState *device_new(Machine *m, const char *type, const char *id, GError **errp);
/* Realize, register vmstate, add to machine->devices. Takes over the caller's reference, also on
 * failure. */
bool device_realize(DeviceState *dev, Bus *bus, GError **errp);
/* Unrealize and drop the machine's reference. */
void device_unplug(DeviceState *dev);
/*
 * -device / device_add: @options JSON with "driver", "id", "bus" and properties. String values are
 * converted to the property's type, as on the command line. The machine owns the result.
 */
DeviceState *device_add_from_options(Machine *m, JsonObject *options, bool hotplug, GError **errp);
/* Unplug what device_del asked for, and tell who listens. */
void device_unplug_deleted(DeviceState *dev);
/* device_del: "Device 'X' not found" (DeviceNotFound), "Bus 'Y' does not support hotplugging". The
 * device may stay until the guest lets go of it. */
bool device_del_by_id(Machine *m, const char *id, GError **errp);
DeviceState *device_find(Machine *m, const char *id);
/* In creation order: parents first. */
void devices_reset_all(Machine *m);
/* In two phases, see vm_state_prepare. Started in creation order, stopped in reverse. */
void devices_vm_state(Machine *m, bool running);
/* In reverse creation order. */
void devices_unrealize_all(Machine *m);

Bus *bus_new(Machine *m, const char *type, const char *name, unsigned capacity,
             DeviceState *parent);
/* It must be empty. */
void bus_free(Bus *bus);
/* Buses of the machine, in creation order. */
GPtrArray *machine_buses(Machine *m);

/*
 * Properties that are plain members of the instance structure. The table becomes GParamSpecs with
 * generic getters and setters; strings are owned by the device. Call from class_init; other GObject
 * properties may be added by hand.
 */
typedef enum {
    DEVICE_PROP_TYPE_BOOL,
    DEVICE_PROP_TYPE_UINT8,
    DEVICE_PROP_TYPE_UINT16,
    DEVICE_PROP_TYPE_UINT32,
    DEVICE_PROP_TYPE_UINT64,
    DEVICE_PROP_TYPE_INT32,
    DEVICE_PROP_TYPE_STRING,
} DevicePropType;

typedef struct {
    const char *name;
    const char *desc;
    DevicePropType type;
    size_t offset;
    int64_t defval; /* numbers and booleans; strings start as NULL */
} DeviceProperty;

#define DEVICE_PROP_(n_, s_, f_, t_, e_, d_, b_)                                                \
    {                                                                                           \
        .name = (n_), .desc = (b_), .type = (e_), .offset = vms_off(s_, f_, t_), .defval = (d_) \
    }
#define DEVICE_PROP_BOOL(n, s, f, d, desc) \
    DEVICE_PROP_(n, s, f, bool, DEVICE_PROP_TYPE_BOOL, d, desc)
#define DEVICE_PROP_UINT8(n, s, f, d, desc) \
    DEVICE_PROP_(n, s, f, uint8_t, DEVICE_PROP_TYPE_UINT8, d, desc)
#define DEVICE_PROP_UINT16(n, s, f, d, desc) \
    DEVICE_PROP_(n, s, f, uint16_t, DEVICE_PROP_TYPE_UINT16, d, desc)
#define DEVICE_PROP_UINT32(n, s, f, d, desc) \
    DEVICE_PROP_(n, s, f, uint32_t, DEVICE_PROP_TYPE_UINT32, d, desc)
#define DEVICE_PROP_UINT64(n, s, f, d, desc) \
    DEVICE_PROP_(n, s, f, uint64_t, DEVICE_PROP_TYPE_UINT64, d, desc)
#define DEVICE_PROP_INT32(n, s, f, d, desc) \
    DEVICE_PROP_(n, s, f, int32_t, DEVICE_PROP_TYPE_INT32, d, desc)
#define DEVICE_PROP_STRING(n, s, f, desc) \
    DEVICE_PROP_(n, s, f, char *, DEVICE_PROP_TYPE_STRING, 0, desc)

/* @props is static and ends with an entry without name. */
void device_class_set_props(DeviceStateClass *klass, const DeviceProperty *props);

/* The table properties of @type become properties of this class, which passes them on to its part.
 */
void device_class_forward_props(DeviceStateClass *klass, GType type);

#define DEVICE_TYPE_REGISTER(name, get_type) OBJECT_TYPE_REGISTER(name, get_type)

#endif
