/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine: what devices stand on and what system/ starts. One per VM; main thread, big lock.
 */
#ifndef GODWIT_HW_MACHINE_H
#define GODWIT_HW_MACHINE_H

#include "accel/accel.h"
#include "backends/block.h"
#include "backends/chardev.h"
#include "backends/net.h"
#include "memory/address-space.h"
#include "migration/register.h"
#include "qapi/qapi.h"
#include "util/irq.h"
#include "util/object.h"

typedef struct Machine Machine;
typedef struct _DeviceState DeviceState;
typedef struct MachineClass {
    const char *name; /* "virt", "none"; on the wire */
    const char *desc;
    unsigned max_cpus;
    const char *default_cpu;
    const char *default_ram_id; /* "riscv_virt_board.ram"; NULL: no RAM of its own */
    uint64_t default_ram_size;
    /* Check and store a -machine property this board owns; false and *known=false: not one of ours.
     */
    bool (*set_property)(Machine *m, const char *name, const char *value, bool *known,
                         GError **errp);
    /* Build CPUs, devices, memory map; then load boot images. */
    bool (*init)(Machine *m, GError **errp);
    /* After all -device were plugged: FDT, boot ROM. */
    bool (*done)(Machine *m, GError **errp);
    /* System reset, VM stopped: devices, CPUs, boot images. */
    void (*reset)(Machine *m);
    /* Free what init and done made; vCPU threads have ended. */
    void (*finalize)(Machine *m);
} MachineClass;

/* What a guest or a device asks of the run-state machinery; filled in by system/. Main thread or
 * vCPU, big lock. */
typedef struct {
    void (*reset_request)(void *opaque);
    void (*shutdown_request)(void *opaque, bool panic, int exit_code);
    /* A disk error with rerror/werror=stop: stop the VM from the main loop, state io-error;
     * optional. */
    void (*io_error_request)(void *opaque);
    /* A device is in a state that the guest must not see: the same, state internal-error; optional.
     */
    void (*internal_error_request)(void *opaque);
    /* device_del comes to its end: @dev is about to go; optional. */
    void (*device_deleted)(void *opaque, DeviceState *dev);
    void *opaque;
} MachineRequests;

struct Machine {
    const MachineClass *cls;
    /* configuration */
    unsigned smp_cpus;
    uint64_t ram_size;
    const char *cpu_model;
    JsonObject *cpu_props;
    char *firmware, *kernel, *initrd, *append, *dtb, *dumpdtb;
    char **firmware_dirs; /* -L, NULL-terminated */
    GHashTable *globals;  /* "driver.prop" -> text, -global */
    char *name;           /* -name, or NULL */
    bool suppress_vmdesc; /* no description behind the migration stream */
    bool usb_off, nographic, default_net;
    uint8_t uuid[16];
    bool has_uuid, incoming;
    int64_t rtc_offset_ns; /* configured date minus host clock */
    Chardev *serial0;
    BlockBackend *pflash[2];
    /* made by system/ before init */
    RAMList *ram_list;
    AddressSpace *as;
    Clock *vclock;
    Accel *accel;
    RAMBlock *ram; /* main memory */
    ObjectRegistry *objects;
    ChardevList *chardevs;
    BlockList *blocks;
    NetList *nets;
    Migration *migration;
    SaveStateList *savevm; /* of migration; NULL: devices register no sections */
    QapiEventSink events;
    MachineRequests requests;
    /* made by init */
    GPtrArray *cpus;    /* RISCVCPU */
    GPtrArray *devices; /* DeviceState, in creation order */
    GPtrArray *buses;   /* Bus, in creation order */
    void *board;        /* the board's own */
};

/* A machine with the defaults of @cls: one CPU, default RAM size, empty lists. */
Machine *machine_new(const MachineClass *cls);
/* Devices, then the board, then the structure and its strings; what system/ made before init stays
 * system's. */
void machine_free(Machine *m);

const MachineClass *machine_class_find(const char *name);
const MachineClass *const *machine_class_list(void); /* NULL-terminated */

#endif
