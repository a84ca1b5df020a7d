/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACLINT MTIMER (spec 80 section 5, spec 82 section 5): mtime counts the virtual clock at 10 MHz,
 * one mtimecmp per hart.
 *
 * Only mtimecmp travels. mtime follows from the virtual clock, so it goes on without a jump after a
 * migration as long as the guest never wrote it; a system reset therefore leaves it running. MTIP
 * and the timers are derived again whenever the VM starts, because the sections they depend on
 * (cpu, timer) may be loaded in any order.
 */
#include "hw/timer/aclint-mtimer.h"

#define MIP_MTIP    7
#define NS_PER_TICK (NANOSECONDS_PER_SECOND / ACLINT_TIMEBASE_FREQ)

#define TYPE_ACLINT_MTIMER (aclint_mtimer_get_type())
G_DECLARE_FINAL_TYPE(AclintMtimer, aclint_mtimer, HW, ACLINT_MTIMER, DeviceState)

typedef struct {
    RISCVCPU *cpu;
    QEMUTimer *timer;
} MtimerHart;

struct _AclintMtimer {
    DeviceState parent;
    MemoryRegion mr;
    hwaddr base;
    Clock *vclock;
    uint32_t num_harts;
    unsigned first_hart; /* number of harts[0] */
    MtimerHart *harts;
    uint64_t time_delta; /* mtime minus virtual clock; atomic, vCPUs read it without the big lock */
    uint64_t *timecmp;   /* per hart */
};

G_DEFINE_TYPE(AclintMtimer, aclint_mtimer, TYPE_DEVICE)
DEVICE_TYPE_REGISTER("riscv.aclint.mtimer", aclint_mtimer_get_type)

static uint64_t mtime_at(const AclintMtimer *s, int64_t ns)
{
    return (uint64_t)ns / NS_PER_TICK + __atomic_load_n(&s->time_delta, __ATOMIC_RELAXED);
}

static uint64_t mtimer_mtime(void *opaque)
{
    const AclintMtimer *s = opaque;

    return mtime_at(s, clock_get_ns(s->vclock));
}

static uint64_t mtimer_timecmp(void *opaque, unsigned hart)
{
    const AclintMtimer *s = opaque;

    return s->timecmp[hart - s->first_hart];
}

/* MTIP := mtime >= mtimecmp; otherwise wake up when it becomes true. */
static void mtimer_evaluate(AclintMtimer *s, unsigned h)
{
    int64_t now_ns = clock_get_ns(s->vclock);
    uint64_t mtime = mtime_at(s, now_ns);

    if (mtime >= s->timecmp[h]) {
        timer_del(s->harts[h].timer);
        riscv_cpu_set_irq(s->harts[h].cpu, MIP_MTIP, true);
        return;
    }

    int64_t tick_start = now_ns - now_ns % NS_PER_TICK;
    uint64_t ticks = s->timecmp[h] - mtime;
    uint64_t room = (uint64_t)(INT64_MAX - tick_start) / NS_PER_TICK;

    riscv_cpu_set_irq(s->harts[h].cpu, MIP_MTIP, false);
    timer_mod_ns(s->harts[h].timer,
                 ticks > room ? INT64_MAX : tick_start + (int64_t)(ticks * NS_PER_TICK));
}

static void mtimer_evaluate_all(AclintMtimer *s)
{
    for (unsigned h = 0; h < s->num_harts; h++) {
        mtimer_evaluate(s, h);
    }
}

static void mtimer_expired(void *opaque)
{
    MtimerHart *hart = opaque;

    riscv_cpu_set_irq(hart->cpu, MIP_MTIP, true);
}

/* The 32-bit half or the whole of @old that an access of @size at @addr means. */
static uint64_t half_read(uint64_t old, hwaddr addr, unsigned size)
{
    return size == 8 ? old : (uint32_t)(old >> (addr & 4 ? 32 : 0));
}

static uint64_t half_write(uint64_t old, hwaddr addr, unsigned size, uint64_t value)
{
    if (size == 8) {
        return value;
    }
    return addr & 4 ? (old & UINT32_MAX) | value << 32
                    : (old & ~(uint64_t)UINT32_MAX) | (uint32_t)value;
}

static MemTxResult mtimer_read(void *opaque, hwaddr addr, unsigned size, uint64_t *value)
{
    AclintMtimer *s = opaque;

    if (addr >= ACLINT_MTIMER_MTIME_OFF) {
        *value = half_read(mtimer_mtime(s), addr, size);
    } else {
        *value = addr / 8 < s->num_harts ? half_read(s->timecmp[addr / 8], addr, size) : 0;
    }
    return MEMTX_OK;
}

static MemTxResult mtimer_write(void *opaque, hwaddr addr, unsigned size, uint64_t value)
{
    AclintMtimer *s = opaque;

    if (addr >= ACLINT_MTIMER_MTIME_OFF) {
        uint64_t old = mtimer_mtime(s);
        uint64_t delta = s->time_delta + (half_write(old, addr, size, value) - old);

        __atomic_store_n(&s->time_delta, delta, __ATOMIC_RELAXED);
        mtimer_evaluate_all(s);
    } else if (addr / 8 < s->num_harts) {
        s->timecmp[addr / 8] = half_write(s->timecmp[addr / 8], addr, size, value);
        mtimer_evaluate(s, addr / 8);
    }
    return MEMTX_OK;
}

static const MemoryRegionOps mtimer_ops = {
    .read = mtimer_read, .write = mtimer_write, .sizes = 4 | 8};

static void mtimer_reset(DeviceState *dev)
{
    mtimer_evaluate_all(HW_ACLINT_MTIMER(dev));
}

static void mtimer_vm_state(DeviceState *dev, gboolean running)
{
    if (running) {
        mtimer_evaluate_all(HW_ACLINT_MTIMER(dev));
    }
}

static const VMStateDescription vmstate_mtimer = {
    .name = "riscv_mtimer",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields =
        (const VMStateField[]){
            VMSTATE_VARRAY_UINT32(timecmp, AclintMtimer, num_harts, 0, vmstate_info_uint64,
                                  uint64_t),
            VMSTATE_END_OF_LIST(),
        },
};

static gboolean mtimer_realize(DeviceState *dev, GError **errp)
{
    AclintMtimer *s = HW_ACLINT_MTIMER(dev);

    s->vclock = device_machine(dev)->vclock;
    for (unsigned h = 0; h < s->num_harts; h++) {
        RISCVCPU *cpu = s->harts[h].cpu;

        s->harts[h].timer = timer_new_ns(s->vclock, mtimer_expired, &s->harts[h]);
        cpu->rdtime = mtimer_mtime;
        cpu->mtimecmp = mtimer_timecmp;
        cpu->rdtime_opaque = s;
    }
    memory_region_init_io(&s->mr, "riscv.aclint.mtimer", ACLINT_MTIMER_SIZE, &mtimer_ops, s);
    address_space_add(device_machine(dev)->as, &s->mr, s->base, 0);
    return true;
}

static void mtimer_unrealize(DeviceState *dev)
{
    AclintMtimer *s = HW_ACLINT_MTIMER(dev);

    address_space_del(device_machine(dev)->as, &s->mr);
    for (unsigned h = 0; h < s->num_harts; h++) {
        RISCVCPU *cpu = s->harts[h].cpu;

        cpu->rdtime = NULL;
        cpu->mtimecmp = NULL;
        g_clear_pointer(&s->harts[h].timer, timer_free);
    }
}

static void mtimer_finalize(GObject *obj)
{
    g_free(HW_ACLINT_MTIMER(obj)->harts);
    g_free(HW_ACLINT_MTIMER(obj)->timecmp);
    G_OBJECT_CLASS(aclint_mtimer_parent_class)->finalize(obj);
}

static void aclint_mtimer_class_init(AclintMtimerClass *klass)
{
    DeviceStateClass *dc = HW_DEVICE_CLASS(klass);

    G_OBJECT_CLASS(klass)->finalize = mtimer_finalize;
    dc->desc = "ACLINT machine timer";
    dc->realize = mtimer_realize;
    dc->unrealize = mtimer_unrealize;
    dc->reset = mtimer_reset;
    dc->vm_state = mtimer_vm_state;
    dc->vmsd = &vmstate_mtimer;
}

static void aclint_mtimer_init(AclintMtimer *s)
{
}

DeviceState *aclint_mtimer_create(Machine *m, hwaddr base, RISCVCPU *const *cpus, unsigned harts,
                                  GError **errp)
{
    DeviceState *dev = device_new(m, "riscv.aclint.mtimer", NULL, errp);

    if (!dev) {
        return NULL;
    }

    AclintMtimer *s = HW_ACLINT_MTIMER(dev);
    s->base = base;
    s->num_harts = harts;
    s->first_hart = cpus[0]->index;
    s->harts = g_new0(MtimerHart, harts);
    s->timecmp = g_new0(uint64_t, harts);
    for (unsigned h = 0; h < harts; h++) {
        s->harts[h] = (MtimerHart){.cpu = cpus[h]};
    }
    return device_realize(dev, NULL, errp) ? dev : NULL;
}
