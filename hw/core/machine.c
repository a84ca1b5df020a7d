/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Machine classes, and the life of a machine. */
#include "hw/device.h"
#include "hw/boards.h"

/* ---- machine "none": nothing but what the monitor needs ---- */

static bool none_init(Machine *m, GError **errp)
{
    return true;
}

static void none_reset(Machine *m)
{
    devices_reset_all(m);
}

static const MachineClass none_class = {
    .name = "none",
    .desc = "empty machine",
    .max_cpus = 1,
    .init = none_init,
    .done = none_init,
    .reset = none_reset,
};

/* ---- all machines ---- */

static const MachineClass *const machine_classes[] = {&none_class, &virt_machine_class, NULL};

const MachineClass *const *machine_class_list(void)
{
    return machine_classes;
}

const MachineClass *machine_class_find(const char *name)
{
    for (const MachineClass *const *c = machine_classes; *c; c++) {
        if (strcmp((*c)->name, name) == 0) {
            return *c;
        }
    }
    return NULL;
}

Machine *machine_new(const MachineClass *cls)
{
    Machine *m = g_new0(Machine, 1);

    m->cls = cls;
    m->smp_cpus = 1;
    m->ram_size = cls->default_ram_size;
    m->cpu_model = cls->default_cpu;
    m->globals = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    m->cpus = g_ptr_array_new();
    m->devices = g_ptr_array_new();
    m->buses = g_ptr_array_new();
    return m;
}

void machine_free(Machine *m)
{
    if (!m) {
        return;
    }
    devices_unrealize_all(m);
    if (m->cls->finalize) {
        m->cls->finalize(m);
    }
    g_clear_pointer(&m->cpu_props, json_object_unref);
    g_free(m->firmware);
    g_free(m->kernel);
    g_free(m->initrd);
    g_free(m->append);
    g_free(m->dtb);
    g_free(m->dumpdtb);
    g_strfreev(m->firmware_dirs);
    g_hash_table_unref(m->globals);
    g_ptr_array_unref(m->cpus);
    g_ptr_array_unref(m->devices);
    g_ptr_array_unref(m->buses);
    g_free(m);
}
