/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SiFive-style PLIC (spec 80 section 4, spec 82 section 6).
 *
 * Sources are edge-latched: every notification with level 1 sets the pending bit, level 0 does
 * nothing, and a line that is still high at completion is not sampled again. That is what guests of
 * stock QEMU 7.2 see, and what its migration stream can express.
 */
#include "hw/intc/plic.h"

#define PLIC_WORDS (PLIC_SOURCES / 32)

#define PLIC_PRIORITY_BASE  0x4
#define PLIC_PENDING_BASE   0x1000
#define PLIC_ENABLE_BASE    0x2000
#define PLIC_ENABLE_STRIDE  0x80
#define PLIC_CONTEXT_BASE   0x200000
#define PLIC_CONTEXT_STRIDE 0x1000

#define TYPE_PLIC (plic_get_type())
G_DECLARE_FINAL_TYPE(PlicState, plic, HW, PLIC, DeviceState)

struct _PlicState {
    DeviceState parent;
    MemoryRegion mr;
    hwaddr base;
    uint64_t size;
    uint32_t num_contexts;
    uint32_t num_enables; /* num_contexts * PLIC_WORDS */
    Irq *outputs;

    uint32_t source_priority[PLIC_SOURCES];
    uint32_t *target_priority; /* threshold per context */
    uint32_t pending[PLIC_WORDS];
    uint32_t claimed[PLIC_WORDS];
    uint32_t *enable; /* PLIC_WORDS per context */
};

G_DEFINE_TYPE(PlicState, plic, TYPE_DEVICE)
DEVICE_TYPE_REGISTER("riscv.sifive.plic", plic_get_type)

/* The source context @c would be given now, or 0. */
static unsigned plic_winner(const PlicState *s, unsigned c)
{
    unsigned winner = 0;
    uint32_t best = s->target_priority[c];

    for (unsigned w = 0; w < PLIC_WORDS; w++) {
        uint32_t candidates = s->pending[w] & ~s->claimed[w] & s->enable[c * PLIC_WORDS + w];

        if (w == 0) {
            candidates &= ~1u; /* source 0 does not exist */
        }
        for (; candidates; candidates &= candidates - 1) {
            unsigned id = w * 32 + __builtin_ctz(candidates);

            if (s->source_priority[id] > best) {
                best = s->source_priority[id];
                winner = id;
            }
        }
    }
    return winner;
}

static void plic_update(PlicState *s)
{
    for (unsigned c = 0; c < s->num_contexts; c++) {
        irq_set(&s->outputs[c], plic_winner(s, c) != 0);
    }
}

static void plic_source_handler(void *opaque, int n, int level)
{
    PlicState *s = opaque;

    if (level) {
        s->pending[n / 32] |= UINT32_C(1) << (n % 32);
        plic_update(s);
    }
}

static uint32_t plic_claim(PlicState *s, unsigned c)
{
    unsigned id = plic_winner(s, c);

    if (id) {
        s->pending[id / 32] &= ~(UINT32_C(1) << (id % 32));
        s->claimed[id / 32] |= UINT32_C(1) << (id % 32);
        plic_update(s);
    }
    return id;
}

static void plic_complete(PlicState *s, uint32_t id)
{
    if (id < PLIC_SOURCES) {
        s->claimed[id / 32] &= ~(UINT32_C(1) << (id % 32));
        plic_update(s);
    }
}

/* The register that @addr selects; NULL: reads as zero, writes are ignored. */
typedef enum {
    PLIC_NONE,
    PLIC_PRIORITY,
    PLIC_PENDING,
    PLIC_ENABLE,
    PLIC_THRESHOLD,
    PLIC_CLAIM
} Reg;

static uint32_t *plic_decode(PlicState *s, hwaddr addr, Reg *reg, unsigned *context)
{
    *reg = PLIC_NONE;
    if (addr >= PLIC_CONTEXT_BASE) {
        uint64_t c = (addr - PLIC_CONTEXT_BASE) / PLIC_CONTEXT_STRIDE;
        uint64_t off = (addr - PLIC_CONTEXT_BASE) % PLIC_CONTEXT_STRIDE;

        if (c < s->num_contexts && off <= 4) {
            *context = c;
            *reg = off ? PLIC_CLAIM : PLIC_THRESHOLD;
            return &s->target_priority[c];
        }
    } else if (addr >= PLIC_ENABLE_BASE) {
        uint64_t c = (addr - PLIC_ENABLE_BASE) / PLIC_ENABLE_STRIDE;
        uint64_t w = (addr - PLIC_ENABLE_BASE) % PLIC_ENABLE_STRIDE / 4;

        if (c < s->num_contexts && w < PLIC_WORDS) {
            *reg = PLIC_ENABLE;
            return &s->enable[c * PLIC_WORDS + w];
        }
    } else if (addr >= PLIC_PENDING_BASE) {
        uint64_t w = (addr - PLIC_PENDING_BASE) / 4;

        if (w < PLIC_WORDS) {
            *reg = PLIC_PENDING;
            return &s->pending[w];
        }
    } else if (addr >= PLIC_PRIORITY_BASE && addr / 4 < PLIC_SOURCES) {
        *reg = PLIC_PRIORITY;
        return &s->source_priority[addr / 4];
    }
    return NULL;
}

static MemTxResult plic_read(void *opaque, hwaddr addr, unsigned size, uint64_t *value)
{
    PlicState *s = opaque;
    unsigned c;
    Reg reg;
    const uint32_t *field = plic_decode(s, addr, &reg, &c);

    if (reg == PLIC_CLAIM) {
        *value = plic_claim(s, c);
    } else {
        *value = field ? *field : 0;
    }
    return MEMTX_OK;
}

static MemTxResult plic_write(void *opaque, hwaddr addr, unsigned size, uint64_t value)
{
    PlicState *s = opaque;
    unsigned c;
    Reg reg;
    uint32_t *field = plic_decode(s, addr, &reg, &c);

    switch (reg) {
    case PLIC_PRIORITY:
    case PLIC_THRESHOLD:
        *field = value % (PLIC_PRIORITIES + 1);
        plic_update(s);
        break;
    case PLIC_ENABLE:
        *field = value;
        plic_update(s);
        break;
    case PLIC_CLAIM:
        plic_complete(s, value);
        break;
    case PLIC_PENDING:
    case PLIC_NONE:
        break;
    }
    return MEMTX_OK;
}

static const MemoryRegionOps plic_ops = {.read = plic_read, .write = plic_write, .sizes = 4};

static void plic_reset(DeviceState *dev)
{
    PlicState *s = HW_PLIC(dev);

    memset(s->source_priority, 0, sizeof(s->source_priority));
    memset(s->target_priority, 0, s->num_contexts * sizeof(uint32_t));
    memset(s->pending, 0, sizeof(s->pending));
    memset(s->claimed, 0, sizeof(s->claimed));
    memset(s->enable, 0, s->num_enables * sizeof(uint32_t));
    plic_update(s);
}

/* Outputs are not driven here: the mip of the cpu sections carries them until the next event. */
static bool plic_post_load(void *opaque, int version_id, GError **errp)
{
    const PlicState *s = opaque;

    for (unsigned i = 0; i < PLIC_SOURCES; i++) {
        if (s->source_priority[i] > PLIC_PRIORITIES) {
            error_setg(errp, "riscv_sifive_plic: priority %u of source %u is above %u",
                       s->source_priority[i], i, PLIC_PRIORITIES);
            return false;
        }
    }
    for (unsigned c = 0; c < s->num_contexts; c++) {
        if (s->target_priority[c] > PLIC_PRIORITIES) {
            error_setg(errp, "riscv_sifive_plic: threshold %u of context %u is above %u",
                       s->target_priority[c], c, PLIC_PRIORITIES);
            return false;
        }
    }
    return true;
}

static const VMStateDescription vmstate_plic = {
    .name = "riscv_sifive_plic",
    .version_id = 1,
    .minimum_version_id = 1,
    .post_load = plic_post_load,
    .fields =
        (const VMStateField[]){
            VMSTATE_UINT32_ARRAY(source_priority, PlicState, PLIC_SOURCES),
            VMSTATE_VARRAY_UINT32(target_priority, PlicState, num_contexts, 0, vmstate_info_uint32,
                                  uint32_t),
            VMSTATE_UINT32_ARRAY(pending, PlicState, PLIC_WORDS),
            VMSTATE_UINT32_ARRAY(claimed, PlicState, PLIC_WORDS),
            VMSTATE_VARRAY_UINT32(enable, PlicState, num_enables, 0, vmstate_info_uint32, uint32_t),
            VMSTATE_END_OF_LIST(),
        },
};

static gboolean plic_realize(DeviceState *dev, GError **errp)
{
    PlicState *s = HW_PLIC(dev);

    memory_region_init_io(&s->mr, "riscv.sifive.plic", s->size, &plic_ops, s);
    address_space_add(device_machine(dev)->as, &s->mr, s->base, 0);
    return true;
}

static void plic_unrealize(DeviceState *dev)
{
    address_space_del(device_machine(dev)->as, &HW_PLIC(dev)->mr);
}

static void plic_finalize(GObject *obj)
{
    PlicState *s = HW_PLIC(obj);

    g_free(s->outputs);
    g_free(s->target_priority);
    g_free(s->enable);
    G_OBJECT_CLASS(plic_parent_class)->finalize(obj);
}

static void plic_class_init(PlicStateClass *klass)
{
    DeviceStateClass *dc = HW_DEVICE_CLASS(klass);

    G_OBJECT_CLASS(klass)->finalize = plic_finalize;
    dc->desc = "SiFive PLIC";
    dc->realize = plic_realize;
    dc->unrealize = plic_unrealize;
    dc->reset = plic_reset;
    dc->vmsd = &vmstate_plic;
}

static void plic_init(PlicState *s)
{
}

DeviceState *plic_create(Machine *m, hwaddr base, uint64_t size, unsigned harts, const Irq *outputs,
                         GError **errp)
{
    DeviceState *dev = device_new(m, "riscv.sifive.plic", NULL, errp);

    if (!dev) {
        return NULL;
    }

    PlicState *s = HW_PLIC(dev);
    s->base = base;
    s->size = size;
    s->num_contexts = 2 * harts;
    s->num_enables = s->num_contexts * PLIC_WORDS;
    s->outputs = g_memdup2(outputs, s->num_contexts * sizeof(Irq));
    s->target_priority = g_new0(uint32_t, s->num_contexts);
    s->enable = g_new0(uint32_t, s->num_enables);
    return device_realize(dev, NULL, errp) ? dev : NULL;
}

Irq plic_input(DeviceState *plic, unsigned id)
{
    g_assert(id > 0 && id < PLIC_SOURCES);
    return (Irq){.handler = plic_source_handler, .opaque = HW_PLIC(plic), .n = id};
}
