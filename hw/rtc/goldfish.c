/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Goldfish RTC: nanoseconds since the epoch and one alarm (spec 80 section 7, spec 82 section 9).
 * The guest's clock is the host's wall clock plus tick_offset, so it goes on while the VM is
 * stopped or on its way to another host.
 */
#include "hw/rtc/goldfish.h"

enum {
    REG_TIME_LOW = 0x00,
    REG_TIME_HIGH = 0x04,
    REG_ALARM_LOW = 0x08,
    REG_ALARM_HIGH = 0x0C,
    REG_IRQ_ENABLED = 0x10,
    REG_CLEAR_ALARM = 0x14,
    REG_ALARM_STATUS = 0x18,
    REG_CLEAR_INTERRUPT = 0x1C,
    REGION_SIZE = 0x24,
};

#define TYPE_GOLDFISH_RTC (goldfish_rtc_get_type())
G_DECLARE_FINAL_TYPE(GoldfishRTC, goldfish_rtc, HW, GOLDFISH_RTC, DeviceState)

struct _GoldfishRTC {
    DeviceState parent;
    MemoryRegion mr;
    hwaddr base;
    Irq irq;
    QEMUTimer *timer; /* host clock */

    uint64_t tick_offset_vmstate; /* what streams before version 3 carried instead of tick_offset */
    uint64_t alarm_next;
    uint32_t alarm_running;
    uint32_t irq_pending;
    uint32_t irq_enabled;
    uint32_t time_high;
    uint64_t tick_offset;
};

G_DEFINE_TYPE(GoldfishRTC, goldfish_rtc, TYPE_DEVICE)
DEVICE_TYPE_REGISTER("goldfish_rtc", goldfish_rtc_get_type)

static uint64_t rtc_now(const GoldfishRTC *s)
{
    return s->tick_offset + (uint64_t)clock_get_ns(clock_host());
}

static void rtc_update_irq(GoldfishRTC *s)
{
    irq_set(&s->irq, s->irq_pending && s->irq_enabled);
}

static void rtc_alarm(void *opaque)
{
    GoldfishRTC *s = opaque;

    s->alarm_running = 0;
    s->irq_pending = 1;
    rtc_update_irq(s);
}

static void rtc_arm(GoldfishRTC *s)
{
    uint64_t now = rtc_now(s);

    if (s->alarm_next <= now) {
        timer_del(s->timer);
        rtc_alarm(s);
        return;
    }

    int64_t host_now = clock_get_ns(clock_host());
    uint64_t wait = MIN(s->alarm_next - now, (uint64_t)(INT64_MAX - host_now));

    s->alarm_running = 1;
    timer_mod_ns(s->timer, host_now + (int64_t)wait);
}

static MemTxResult rtc_read(void *opaque, hwaddr addr, unsigned size, uint64_t *value)
{
    GoldfishRTC *s = opaque;
    uint64_t now;

    switch (addr) {
    case REG_TIME_LOW:
        now = rtc_now(s);
        s->time_high = now >> 32;
        *value = (uint32_t)now;
        break;
    case REG_TIME_HIGH:
        *value = s->time_high;
        break;
    case REG_ALARM_LOW:
        *value = (uint32_t)s->alarm_next;
        break;
    case REG_ALARM_HIGH:
        *value = s->alarm_next >> 32;
        break;
    case REG_IRQ_ENABLED:
        *value = s->irq_enabled;
        break;
    case REG_ALARM_STATUS:
        *value = s->alarm_running;
        break;
    default:
        *value = 0;
        break;
    }
    return MEMTX_OK;
}

static uint64_t with_low(uint64_t old, uint32_t low)
{
    return (old & ~(uint64_t)UINT32_MAX) | low;
}

static uint64_t with_high(uint64_t old, uint32_t high)
{
    return (uint64_t)high << 32 | (uint32_t)old;
}

static MemTxResult rtc_write(void *opaque, hwaddr addr, unsigned size, uint64_t value)
{
    GoldfishRTC *s = opaque;
    uint64_t now = rtc_now(s);

    switch (addr) {
    case REG_TIME_LOW:
        s->tick_offset += with_low(now, value) - now;
        break;
    case REG_TIME_HIGH:
        s->tick_offset += with_high(now, value) - now;
        break;
    case REG_ALARM_LOW:
        s->alarm_next = with_low(s->alarm_next, value);
        rtc_arm(s);
        break;
    case REG_ALARM_HIGH:
        s->alarm_next = with_high(s->alarm_next, value);
        break;
    case REG_IRQ_ENABLED:
        s->irq_enabled = value & 1;
        rtc_update_irq(s);
        break;
    case REG_CLEAR_ALARM:
        timer_del(s->timer);
        s->alarm_running = 0;
        break;
    case REG_CLEAR_INTERRUPT:
        s->irq_pending = 0;
        rtc_update_irq(s);
        break;
    default:
        break;
    }
    return MEMTX_OK;
}

static const MemoryRegionOps rtc_ops = {.read = rtc_read, .write = rtc_write, .sizes = 4};

/* The time of day survives. */
static void rtc_reset(DeviceState *dev)
{
    GoldfishRTC *s = HW_GOLDFISH_RTC(dev);

    timer_del(s->timer);
    s->alarm_next = 0;
    s->alarm_running = 0;
    s->irq_pending = 0;
    s->irq_enabled = 0;
}

static gboolean rtc_realize(DeviceState *dev, GError **errp)
{
    GoldfishRTC *s = HW_GOLDFISH_RTC(dev);
    Machine *m = device_machine(dev);
    int64_t host_now = clock_get_ns(clock_host());
    int64_t date = (host_now + m->rtc_offset_ns) / NANOSECONDS_PER_SECOND * NANOSECONDS_PER_SECOND;

    s->tick_offset = (uint64_t)(date - host_now);
    s->timer = timer_new_ns(clock_host(), rtc_alarm, s);
    memory_region_init_io(&s->mr, "goldfish_rtc", REGION_SIZE, &rtc_ops, s);
    address_space_add(m->as, &s->mr, s->base, 0);
    return true;
}

static void rtc_unrealize(DeviceState *dev)
{
    GoldfishRTC *s = HW_GOLDFISH_RTC(dev);

    address_space_del(device_machine(dev)->as, &s->mr);
    g_clear_pointer(&s->timer, timer_free);
}

static bool rtc_pre_save(void *opaque, GError **errp)
{
    GoldfishRTC *s = opaque;

    s->tick_offset_vmstate = 0;
    return true;
}

/* An alarm whose time passed on the way fires now. */
static bool rtc_post_load(void *opaque, int version_id, GError **errp)
{
    GoldfishRTC *s = opaque;

    if (version_id < 3) {
        Machine *m = device_machine(HW_DEVICE(s));

        s->tick_offset = s->tick_offset_vmstate - (uint64_t)clock_get_ns(clock_host()) +
                         (uint64_t)clock_get_ns(m->vclock);
    }
    s->alarm_running = s->alarm_running != 0;
    s->irq_pending = s->irq_pending != 0;
    s->irq_enabled &= 1;
    timer_del(s->timer);
    if (s->alarm_running) {
        rtc_arm(s);
    }
    return true;
}

static const VMStateDescription vmstate_goldfish_rtc = {
    .name = "goldfish_rtc",
    .version_id = 3,
    .minimum_version_id = 2,
    .pre_save = rtc_pre_save,
    .post_load = rtc_post_load,
    .fields =
        (const VMStateField[]){
            VMSTATE_UINT64(tick_offset_vmstate, GoldfishRTC),
            VMSTATE_UINT64(alarm_next, GoldfishRTC),
            VMSTATE_UINT32(alarm_running, GoldfishRTC),
            VMSTATE_UINT32(irq_pending, GoldfishRTC),
            VMSTATE_UINT32(irq_enabled, GoldfishRTC),
            VMSTATE_UINT32(time_high, GoldfishRTC),
            VMSTATE_UINT64_V(tick_offset, GoldfishRTC, 3),
            VMSTATE_END_OF_LIST(),
        },
};

static void goldfish_rtc_class_init(GoldfishRTCClass *klass)
{
    DeviceStateClass *dc = HW_DEVICE_CLASS(klass);

    dc->desc = "goldfish real-time clock";
    dc->realize = rtc_realize;
    dc->unrealize = rtc_unrealize;
    dc->reset = rtc_reset;
    dc->vmsd = &vmstate_goldfish_rtc;
}

static void goldfish_rtc_init(GoldfishRTC *s)
{
}

DeviceState *goldfish_rtc_create(Machine *m, hwaddr base, Irq irq, GError **errp)
{
    DeviceState *dev = device_new(m, "goldfish_rtc", NULL, errp);

    if (!dev) {
        return NULL;
    }
    HW_GOLDFISH_RTC(dev)->base = base;
    HW_GOLDFISH_RTC(dev)->irq = irq;
    return device_realize(dev, NULL, errp) ? dev : NULL;
}
