/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SiFive test finisher (spec 80 section 7). Stateless. */
#include "hw/misc/finisher.h"

enum { FINISHER_FAIL = 0x3333, FINISHER_PASS = 0x5555, FINISHER_RESET = 0x7777 };

#define TYPE_FINISHER (finisher_get_type())
G_DECLARE_FINAL_TYPE(Finisher, finisher, HW, FINISHER, DeviceState)

struct _Finisher {
    DeviceState parent;
    MemoryRegion mr;
    hwaddr base;
};

G_DEFINE_TYPE(Finisher, finisher, TYPE_DEVICE)
DEVICE_TYPE_REGISTER("riscv.sifive.test", finisher_get_type)

static MemTxResult finisher_read(void *opaque, hwaddr addr, unsigned size, uint64_t *value)
{
    *value = 0;
    return MEMTX_OK;
}

static MemTxResult finisher_write(void *opaque, hwaddr addr, unsigned size, uint64_t value)
{
    const MachineRequests *req = &device_machine(opaque)->requests;

    if (addr != 0) {
        return MEMTX_OK;
    }
    switch (value & 0xFFFF) {
    case FINISHER_PASS:
        req->shutdown_request(req->opaque, false, 0);
        break;
    case FINISHER_FAIL:
        req->shutdown_request(req->opaque, true, value >> 16 & 0xFFFF);
        break;
    case FINISHER_RESET:
        req->reset_request(req->opaque);
        break;
    default:
        break;
    }
    return MEMTX_OK;
}

static const MemoryRegionOps finisher_ops = {
    .read = finisher_read, .write = finisher_write, .sizes = 2 | 4};

static gboolean finisher_realize(DeviceState *dev, GError **errp)
{
    Finisher *s = HW_FINISHER(dev);

    memory_region_init_io(&s->mr, "riscv.sifive.test", 0x1000, &finisher_ops, dev);
    address_space_add(device_machine(dev)->as, &s->mr, s->base, 0);
    return true;
}

static void finisher_unrealize(DeviceState *dev)
{
    address_space_del(device_machine(dev)->as, &HW_FINISHER(dev)->mr);
}

static void finisher_class_init(FinisherClass *klass)
{
    DeviceStateClass *dc = HW_DEVICE_CLASS(klass);

    dc->desc = "SiFive test finisher";
    dc->realize = finisher_realize;
    dc->unrealize = finisher_unrealize;
}

static void finisher_init(Finisher *s)
{
}

DeviceState *finisher_create(Machine *m, hwaddr base, GError **errp)
{
    DeviceState *dev = device_new(m, "riscv.sifive.test", NULL, errp);

    if (!dev) {
        return NULL;
    }
    HW_FINISHER(dev)->base = base;
    return device_realize(dev, NULL, errp) ? dev : NULL;
}
