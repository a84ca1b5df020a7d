/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACLINT MSWI and SSWI (spec 80 section 5). They have no state of their own: MSIP and SSIP live in
 * the hart's mip and travel there.
 */
#include "hw/intc/aclint-swi.h"

#define MIP_SSIP 1
#define MIP_MSIP 3

#define TYPE_ACLINT_SWI (aclint_swi_get_type())
G_DECLARE_FINAL_TYPE(AclintSwi, aclint_swi, HW, ACLINT_SWI, DeviceState)

struct _AclintSwi {
    DeviceState parent;
    MemoryRegion mr;
    hwaddr base;
    RISCVCPU **cpus;
    unsigned harts;
    bool supervisor;
};

G_DEFINE_TYPE(AclintSwi, aclint_swi, TYPE_DEVICE)
DEVICE_TYPE_REGISTER("riscv.aclint.swi", aclint_swi_get_type)

static MemTxResult aclint_swi_read(void *opaque, hwaddr addr, unsigned size, uint64_t *value)
{
    const AclintSwi *s = opaque;
    uint64_t h = addr / 4;

    *value = 0;
    if (h < s->harts && !s->supervisor) {
        *value = __atomic_load_n(&s->cpus[h]->env.mip, __ATOMIC_SEQ_CST) >> MIP_MSIP & 1;
    }
    return MEMTX_OK;
}

static MemTxResult aclint_swi_write(void *opaque, hwaddr addr, unsigned size, uint64_t value)
{
    const AclintSwi *s = opaque;
    uint64_t h = addr / 4;

    if (h >= s->harts) {
        return MEMTX_OK;
    }
    if (!s->supervisor) {
        riscv_cpu_set_irq(s->cpus[h], MIP_MSIP, value & 1);
    } else if (value & 1) { /* SSIP is cleared by the hart itself */
        riscv_cpu_set_irq(s->cpus[h], MIP_SSIP, true);
    }
    return MEMTX_OK;
}

static const MemoryRegionOps aclint_swi_ops = {
    .read = aclint_swi_read, .write = aclint_swi_write, .sizes = 4};

static void aclint_swi_reset(DeviceState *dev)
{
    AclintSwi *s = HW_ACLINT_SWI(dev);

    for (unsigned h = 0; h < s->harts && !s->supervisor; h++) {
        riscv_cpu_set_irq(s->cpus[h], MIP_MSIP, false);
    }
}

static gboolean aclint_swi_realize(DeviceState *dev, GError **errp)
{
    AclintSwi *s = HW_ACLINT_SWI(dev);

    memory_region_init_io(&s->mr, "riscv.aclint.swi", ACLINT_SWI_SIZE, &aclint_swi_ops, s);
    address_space_add(device_machine(dev)->as, &s->mr, s->base, 0);
    return true;
}

static void aclint_swi_unrealize(DeviceState *dev)
{
    address_space_del(device_machine(dev)->as, &HW_ACLINT_SWI(dev)->mr);
}

static void aclint_swi_finalize(GObject *obj)
{
    g_free(HW_ACLINT_SWI(obj)->cpus);
    G_OBJECT_CLASS(aclint_swi_parent_class)->finalize(obj);
}

static void aclint_swi_class_init(AclintSwiClass *klass)
{
    DeviceStateClass *dc = HW_DEVICE_CLASS(klass);

    G_OBJECT_CLASS(klass)->finalize = aclint_swi_finalize;
    dc->desc = "ACLINT software interrupt device";
    dc->realize = aclint_swi_realize;
    dc->unrealize = aclint_swi_unrealize;
    dc->reset = aclint_swi_reset;
}

static void aclint_swi_init(AclintSwi *s)
{
}

DeviceState *aclint_swi_create(Machine *m, hwaddr base, RISCVCPU *const *cpus, unsigned harts,
                               bool supervisor, GError **errp)
{
    DeviceState *dev = device_new(m, "riscv.aclint.swi", NULL, errp);

    if (!dev) {
        return NULL;
    }

    AclintSwi *s = HW_ACLINT_SWI(dev);
    s->base = base;
    s->cpus = g_memdup2(cpus, harts * sizeof(*cpus));
    s->harts = harts;
    s->supervisor = supervisor;
    return device_realize(dev, NULL, errp) ? dev : NULL;
}
