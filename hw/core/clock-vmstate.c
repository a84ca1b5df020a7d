/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtual clock in the stream (spec 82 section 3). It is stopped when this is saved or loaded;
 * mtime and all virtual-clock timers follow from it, so it comes first.
 */
#include "hw/core/board-vmstate.h"

#define TYPE_CLOCK_VMSTATE (clock_vmstate_get_type())
G_DECLARE_FINAL_TYPE(ClockVMState, clock_vmstate, HW, CLOCK_VMSTATE, DeviceState)

struct _ClockVMState {
    DeviceState parent;
    int64_t cpu_ticks_offset; /* host counter ticks: of no use elsewhere, carried unchanged */
    int64_t cpu_clock_offset; /* virtual clock in ns */
};

G_DEFINE_TYPE(ClockVMState, clock_vmstate, TYPE_DEVICE)
DEVICE_TYPE_REGISTER("godwit-virtual-clock", clock_vmstate_get_type)

static bool clock_pre_save(void *opaque, GError **errp)
{
    ClockVMState *s = opaque;

    s->cpu_clock_offset = clock_get_ns(device_machine(opaque)->vclock);
    return true;
}

static bool clock_post_load(void *opaque, int version_id, GError **errp)
{
    const ClockVMState *s = opaque;
    Machine *m = device_machine(opaque);

    if (s->cpu_clock_offset < 0) {
        error_setg(errp, "timer: virtual clock %" PRId64 " ns is before power-on",
                   s->cpu_clock_offset);
        return false;
    }
    if (clock_virtual_is_running(m->vclock)) {
        error_setg(errp, "timer: state arrived while the virtual clock runs");
        return false;
    }
    clock_virtual_set_ns(m->vclock, s->cpu_clock_offset);
    return true;
}

static const VMStateDescription vmstate_timer = {
    .name = "timer",
    .version_id = 2,
    .minimum_version_id = 2,
    .pre_save = clock_pre_save,
    .post_load = clock_post_load,
    .fields =
        (const VMStateField[]){
            VMSTATE_INT64(cpu_ticks_offset, ClockVMState),
            VMSTATE_UNUSED(8),
            VMSTATE_INT64(cpu_clock_offset, ClockVMState),
            VMSTATE_END_OF_LIST(),
        },
};

static void clock_vmstate_class_init(ClockVMStateClass *klass)
{
    DeviceStateClass *dc = HW_DEVICE_CLASS(klass);

    dc->desc = "virtual clock";
    dc->vmsd = &vmstate_timer;
}

static void clock_vmstate_init(ClockVMState *s)
{
}

bool clock_vmstate_create(Machine *m, GError **errp)
{
    DeviceState *dev = device_new(m, "godwit-virtual-clock", NULL, errp);

    return dev && device_realize(dev, NULL, errp);
}
