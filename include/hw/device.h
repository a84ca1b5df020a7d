/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices are GObjects: properties are GParamSpecs, state is a VMStateDescription. A device is one
 * small file that registers itself with DEVICE_TYPE_REGISTER(). Main thread, big lock.
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
    const char *bus_type; /* bus it plugs into: "virtio-bus", "PCI", NULL = system */
    bool user_creatable;  /* -device may name it */
    bool hotpluggable;
    /* Properties are set: validate, allocate, map, connect. Failing leaves nothing behind. */
    gboolean (*realize)(DeviceState *dev, GError **errp);
    void (*unrealize)(DeviceState *dev);
    void (*reset)(DeviceState *dev);
    /* Registered by device_realize(), unregistered by unrealize; NULL: none. */
    const VMStateDescription *vmsd;
    /* Section name prefix, e.g. "virtio-mmio@0000000010008000"; free with g_free(). NULL: none. */
    char *(*path)(DeviceState *dev);
    /* The VM stops or runs; optional. */
    void (*vm_state)(DeviceState *dev, gboolean running);
};

/* A slot container; boards make them, -device picks one. */
struct Bus {
    const char *type;
    char *name; /* "virtio-mmio-bus.7", "pcie.0" */
    unsigned capacity;
    DeviceState *parent;
    GPtrArray *children;
    Machine *machine;
};

Machine *device_machine(DeviceState *dev);
const char *device_id(DeviceState *dev);
Bus *device_bus(DeviceState *dev);
/* Instance id used for its vmstate; INSTANCE_ID_ANY unless set before realize. */
void device_set_instance_id(DeviceState *dev, uint32_t id);

/* Create by type name, unrealized; @id may be NULL. Class DeviceNotFound / GenericError texts of
 * spec 71. */
DeviceState *device_new(Machine *m, const char *type, const char *id, GError **errp);
/* Apply -global, realize, register vmstate, add to machine->devices. Consumes the floating device
 * on failure. */
bool device_realize(DeviceState *dev, Bus *bus, GError **errp);
/* Unrealize and drop the reference. */
void device_unplug(DeviceState *dev);
/* -device / device_add: @options JSON with "driver", "id", "bus" and properties. */
DeviceState *device_add_from_options(Machine *m, JsonObject *options, bool hotplug, GError **errp);
DeviceState *device_find(Machine *m, const char *id);
void devices_reset_all(Machine *m);
void devices_vm_state(Machine *m, bool running);
void devices_unrealize_all(Machine *m);

Bus *bus_new(Machine *m, const char *type, const char *name, unsigned capacity,
             DeviceState *parent);
void bus_free(Bus *bus);
/* Buses of the machine, in creation order. */
GPtrArray *machine_buses(Machine *m);

#define DEVICE_TYPE_REGISTER(name, get_type) OBJECT_TYPE_REGISTER(name, get_type)

#endif
