/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Traps, their returns, and the other privileged instructions (spec 81 section 3). */
#include "target/riscv/internal.h"

void riscv_set_priv(RISCVCPU *cpu, uint64_t priv)
{
    cpu->env.priv = priv;
    cpu->env.load_res = UINT64_MAX;
    riscv_update_mmu_idx(&cpu->env);
}

static uint64_t vector(uint64_t tvec, uint64_t cause)
{
    uint64_t base = tvec & ~UINT64_C(3);

    return cause & CAUSE_INTERRUPT && (tvec & 3) == 1 ? base + 4 * (cause & ~CAUSE_INTERRUPT)
                                                      : base;
}

static inline uint64_t put_bit(uint64_t v, uint64_t bit, bool on)
{
    return on ? v | bit : v & ~bit;
}

static void enter_s(RISCVCPU *cpu, uint64_t cause, uint64_t tval)
{
    CPURISCVState *env = &cpu->env;
    uint64_t s = env->mstatus;

    s = put_bit(s, MSTATUS_SPIE, s & MSTATUS_SIE);
    s = put_bit(s, MSTATUS_SPP, env->priv == PRV_S);
    env->mstatus = s & ~MSTATUS_SIE;
    env->scause = cause;
    env->sepc = env->pc;
    env->stval = tval;
    if (riscv_has_ext(env, 'h')) {
        env->hstatus &= ~(HSTATUS_SPV | HSTATUS_GVA);
        env->htval = 0;
        env->htinst = 0;
    }
    env->pc = vector(env->stvec, cause);
    riscv_set_priv(cpu, PRV_S);
}

static void enter_m(RISCVCPU *cpu, uint64_t cause, uint64_t tval)
{
    CPURISCVState *env = &cpu->env;
    uint64_t s = env->mstatus;

    s = put_bit(s, MSTATUS_MPIE, s & MSTATUS_MIE);
    s = (s & ~MSTATUS_MPP) | env->priv << MSTATUS_MPP_SHIFT;
    s &= ~MSTATUS_MIE;
    if (riscv_has_ext(env, 'h')) {
        s &= ~(MSTATUS_MPV | MSTATUS_GVA);
        env->mtval2 = 0;
        env->mtinst = 0;
    }
    env->mstatus = s;
    env->mcause = cause;
    env->mepc = env->pc;
    env->mtval = tval;
    env->pc = vector(env->mtvec, cause);
    riscv_set_priv(cpu, PRV_M);
}

void riscv_raise_exception(RISCVCPU *cpu, RISCVException cause, uint64_t tval)
{
    CPURISCVState *env = &cpu->env;

    env->exception_index = RISCV_EXCP_NONE;
    switch (cause) {
    case RISCV_EXCP_BREAKPOINT:
    case RISCV_EXCP_U_ECALL:
    case RISCV_EXCP_S_ECALL:
    case RISCV_EXCP_VS_ECALL:
    case RISCV_EXCP_M_ECALL:
        tval = 0;
        break;
    default:
        env->badaddr = tval;
        break;
    }
    if (env->priv <= PRV_S && env->medeleg >> cause & 1) {
        enter_s(cpu, cause, tval);
    } else {
        enter_m(cpu, cause, tval);
    }
}

int riscv_pending_interrupt(const RISCVCPU *cpu)
{
    const CPURISCVState *env = &cpu->env;
    uint64_t pending = riscv_mip(env) & env->mie;
    uint64_t m_set, s_set;

    if (likely(!pending)) {
        return -1;
    }
    /* Inside a set the lowest number wins, as in the peer; a set that is off does not hide the
     * other. */
    m_set = pending & ~env->mideleg;
    if (m_set && (env->priv < PRV_M || env->mstatus & MSTATUS_MIE)) {
        return __builtin_ctzll(m_set);
    }
    s_set = pending & env->mideleg & ~env->hideleg;
    if (s_set && (env->priv < PRV_S || (env->priv == PRV_S && env->mstatus & MSTATUS_SIE))) {
        return __builtin_ctzll(s_set);
    }
    return -1;
}

void riscv_take_interrupt(RISCVCPU *cpu, int irq)
{
    CPURISCVState *env = &cpu->env;

    env->halted = 0;
    if (env->priv <= PRV_S && env->mideleg >> irq & 1) {
        enter_s(cpu, CAUSE_INTERRUPT | irq, 0);
    } else {
        enter_m(cpu, CAUSE_INTERRUPT | irq, 0);
    }
}

RISCVException riscv_mret(RISCVCPU *cpu)
{
    CPURISCVState *env = &cpu->env;
    uint64_t s = env->mstatus;
    uint64_t target = (s & MSTATUS_MPP) >> MSTATUS_MPP_SHIFT;

    if (env->priv != PRV_M) {
        return RISCV_EXCP_ILLEGAL_INST;
    }
    target = target == 2 ? PRV_U : target;
    if (target != PRV_M) {
        bool to_virtual = riscv_has_ext(env, 'h') && s & MSTATUS_MPV;

        /* Without an active PMP entry the first fetch below M could only fault; V = 1 is not
         * offered. */
        if ((env->features & FEATURE_PMP && !env->pmp_on) || to_virtual) {
            return RISCV_EXCP_ILLEGAL_INST;
        }
    }
    s = put_bit(s, MSTATUS_MIE, s & MSTATUS_MPIE);
    env->mstatus = (s | MSTATUS_MPIE) & ~(MSTATUS_MPP | MSTATUS_MPV);
    env->pc = env->mepc & ~UINT64_C(1);
    riscv_set_priv(cpu, target);
    riscv_interrupts_changed(cpu);
    return RISCV_EXCP_NONE;
}

RISCVException riscv_sret(RISCVCPU *cpu)
{
    CPURISCVState *env = &cpu->env;
    uint64_t s = env->mstatus;

    if (env->priv < PRV_S || (env->priv == PRV_S && s & MSTATUS_TSR)) {
        return RISCV_EXCP_ILLEGAL_INST;
    }
    if (riscv_has_ext(env, 'h') && env->hstatus & HSTATUS_SPV) {
        return RISCV_EXCP_ILLEGAL_INST; /* would enter V = 1 */
    }
    bool to_s = s & MSTATUS_SPP;

    s = put_bit(s, MSTATUS_SIE, s & MSTATUS_SPIE);
    env->mstatus = (s | MSTATUS_SPIE) & ~MSTATUS_SPP;
    env->pc = env->sepc & ~UINT64_C(1);
    riscv_set_priv(cpu, to_s ? PRV_S : PRV_U);
    riscv_interrupts_changed(cpu);
    return RISCV_EXCP_NONE;
}

RISCVException riscv_wfi(RISCVCPU *cpu)
{
    CPURISCVState *env = &cpu->env;

    if (env->priv == PRV_U || (env->priv == PRV_S && env->mstatus & MSTATUS_TW)) {
        return RISCV_EXCP_ILLEGAL_INST;
    }
    env->halted = !riscv_cpu_has_work(cpu);
    return RISCV_EXCP_NONE;
}

static bool fence_allowed(const CPURISCVState *env)
{
    return env->priv == PRV_M || (env->priv == PRV_S && !(env->mstatus & MSTATUS_TVM));
}

RISCVException riscv_sfence_vma(RISCVCPU *cpu)
{
    if (!fence_allowed(&cpu->env)) {
        return RISCV_EXCP_ILLEGAL_INST;
    }
    riscv_tlb_flush_translated(cpu);
    return RISCV_EXCP_NONE;
}

RISCVException riscv_sfence_vma_page(RISCVCPU *cpu, uint64_t vaddr)
{
    if (!fence_allowed(&cpu->env)) {
        return RISCV_EXCP_ILLEGAL_INST;
    }
    riscv_tlb_flush_page(cpu, vaddr);
    return RISCV_EXCP_NONE;
}
