/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Life of a hart: creation, reset, interrupt lines. */
#include "target/riscv/internal.h"

/* Which register of an interrupt-priority array holds what; constant without AIA (spec 81 section
 * 10). */
static const uint8_t miprio_reset[64] = {
    255, 20,  24,  17,  255, 21,  25,  18,  255, 19,  23,  0,   22,  255, 255, 255,
    36,  33,  30,  27,  14,  11,  8,   5,   255, 255, 255, 255, 255, 255, 255, 255,
    37,  35,  34,  32,  31,  29,  28,  26,  15,  13,  12,  10,  9,   7,   6,   4,
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};

static void reset_priorities(CPURISCVState *env)
{
    static const uint8_t custom[8] = {36, 33, 30, 27, 14, 11, 8, 5};

    memcpy(env->miprio, miprio_reset, sizeof(env->miprio));
    memcpy(env->siprio, miprio_reset, sizeof(env->siprio));
    env->siprio[9] = 0;
    env->siprio[11] = 16;
    if (riscv_has_ext(env, 'h')) {
        memset(env->hviprio, 0, sizeof(env->hviprio));
        env->hviprio[1] = 20;
        env->hviprio[5] = 21;
        memset(&env->hviprio[13], 255, 3);
        memcpy(&env->hviprio[16], custom, sizeof(custom));
    }
}

void riscv_cpu_reset(RISCVCPU *cpu)
{
    CPURISCVState *env = &cpu->env;

    env->mstatus &= ~(MSTATUS_MIE | MSTATUS_MPRV | MSTATUS_UXL | MSTATUS_SXL);
    env->mstatus |= MSTATUS_XL64;
    env->mcause = 0;
    env->virt = 0;
    env->pc = env->resetvec;
    env->halted = 0;
    env->exception_index = RISCV_EXCP_NONE;
    env->trigger_cur = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(env->tdata1); i++) {
        env->tdata1[i] = TDATA1_TYPE2;
        env->tdata2[i] = 0;
        env->tdata3[i] = 0;
    }
    reset_priorities(env);
    riscv_set_priv(cpu, PRV_M);
    riscv_tlb_flush(cpu);
}

RISCVCPU *riscv_cpu_new(const char *model, JsonObject *props, unsigned index, AddressSpace *as,
                        Clock *vclock, GError **errp)
{
    RISCVCPUConfig cfg;
    RISCVCPU *cpu;
    CPURISCVState *env;

    if (!riscv_model_configure(&cfg, model, props, errp)) {
        return NULL;
    }
    cpu = g_aligned_alloc0(1, sizeof(*cpu), 64);
    env = &cpu->env;
    cpu->cfg = cfg;
    cpu->index = index;
    cpu->as = as;
    cpu->vclock = vclock;
    env->misa_mxl = env->misa_mxl_max = 2;
    env->misa_ext = env->misa_ext_mask = riscv_model_misa(&cfg);
    env->features =
        (cfg.mmu ? FEATURE_MMU : 0) | (cfg.pmp ? FEATURE_PMP : 0) | (cfg.debug ? FEATURE_DEBUG : 0);
    env->priv_ver = cfg.priv_ver;
    env->resetvec = cfg.resetvec;
    env->mhartid = index;
    env->miclaim = 0x1000; /* constant, but on the wire */
    env->vsstatus = env->mstatus_hs = riscv_has_ext(env, 'h') ? MSTATUS_XL64 : 0;
    riscv_pmp_update(env);
    riscv_stimer_init(cpu);
    riscv_cpu_reset(cpu);
    return cpu;
}

void riscv_cpu_free(RISCVCPU *cpu)
{
    if (cpu) {
        riscv_stimer_free(cpu);
        g_aligned_free(cpu);
    }
}

/* ---- interrupt lines ---- */

static void ask_attention(RISCVCPU *cpu)
{
    __atomic_store_n(&cpu->env.exit_request, 1, __ATOMIC_SEQ_CST);
}

/*
 * SEIP is the OR of the line and of a bit that software writes. Whoever changes a source last
 * makes the visible bit agree: a concurrent change restarts the copy.
 */
static void seip_source(CPURISCVState *env, uint32_t source, bool on)
{
    uint32_t now;

    if (on) {
        __atomic_fetch_or(&env->seip_sources, source, __ATOMIC_SEQ_CST);
    } else {
        __atomic_fetch_and(&env->seip_sources, ~source, __ATOMIC_SEQ_CST);
    }
    do {
        now = __atomic_load_n(&env->seip_sources, __ATOMIC_SEQ_CST);
        if (now) {
            __atomic_fetch_or(&env->mip, MIP_SEIP, __ATOMIC_SEQ_CST);
        } else {
            __atomic_fetch_and(&env->mip, ~MIP_SEIP, __ATOMIC_SEQ_CST);
        }
    } while (now != __atomic_load_n(&env->seip_sources, __ATOMIC_SEQ_CST));
}

void riscv_mip_write(RISCVCPU *cpu, uint64_t value, uint64_t mask)
{
    CPURISCVState *env = &cpu->env;

    if (mask & MIP_SEIP) {
        seip_source(env, RV_SEIP_SOFTWARE, value & MIP_SEIP);
        mask &= ~MIP_SEIP;
    }
    __atomic_fetch_or(&env->mip, value & mask, __ATOMIC_SEQ_CST);
    __atomic_fetch_and(&env->mip, value | ~mask, __ATOMIC_SEQ_CST);
}

void riscv_interrupts_changed(RISCVCPU *cpu)
{
    if (riscv_pending_interrupt(cpu) >= 0) {
        ask_attention(cpu);
    }
}

void riscv_cpu_set_irq(RISCVCPU *cpu, unsigned bit, bool level)
{
    CPURISCVState *env = &cpu->env;

    if (bit == IRQ_SEIP) {
        seip_source(env, RV_SEIP_LINE, level);
    } else if (level) {
        __atomic_fetch_or(&env->mip, BIT64(bit), __ATOMIC_SEQ_CST);
    } else {
        __atomic_fetch_and(&env->mip, ~BIT64(bit), __ATOMIC_SEQ_CST);
    }
    if (level) {
        ask_attention(cpu);
        if (cpu->kick) {
            cpu->kick(cpu);
        }
    }
}

void riscv_cpu_irq_handler(void *opaque, int n, int level)
{
    riscv_cpu_set_irq(opaque, n, level);
}

bool riscv_cpu_has_work(const RISCVCPU *cpu)
{
    return riscv_mip(&cpu->env) & cpu->env.mie;
}
