/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Physical memory protection: 16 entries of 4-byte granularity, no ePMP (spec 81 section 4). */
#include "target/riscv/internal.h"

#define PMPADDR_BITS (BIT64(54) - 1)
#define PMP_RWX      (PMP_R | PMP_W | PMP_X)

void riscv_pmp_update(CPURISCVState *env)
{
    env->pmp_on = 0;
    for (unsigned i = 0; i < RV_PMP_ENTRIES; i++) {
        uint64_t a = env->pmp_state.pmp[i].addr_reg & PMPADDR_BITS;
        uint64_t below = i ? (env->pmp_state.pmp[i - 1].addr_reg & PMPADDR_BITS) << 2 : 0;
        uint64_t base = 1, last = 0, span;

        switch (PMP_A(env->pmp_state.pmp[i].cfg_reg)) {
        case PMP_TOR:
            if (a << 2 > below) {
                base = below;
                last = (a << 2) - 1;
            }
            break;
        case PMP_NA4:
            base = a << 2;
            last = base + 3;
            break;
        case PMP_NAPOT:
            span = BIT64(__builtin_ctzll(~a) + 3) - 1;
            base = (a << 2) & ~span;
            last = base | span;
            break;
        }
        env->pmp_range[i].base = base;
        env->pmp_range[i].last = last;
        env->pmp_on |= PMP_A(env->pmp_state.pmp[i].cfg_reg) ? 1u << i : 0;
    }
}

/* The first entry that touches [first, last], or -1; *whole: it covers all of it. */
static int first_match(const CPURISCVState *env, uint64_t first, uint64_t last, bool *whole)
{
    for (uint32_t on = env->pmp_on; on; on &= on - 1) {
        int i = __builtin_ctz(on);

        if (env->pmp_range[i].base <= last && first <= env->pmp_range[i].last) {
            *whole = env->pmp_range[i].base <= first && last <= env->pmp_range[i].last;
            return i;
        }
    }
    return -1;
}

static unsigned entry_perms(const CPURISCVState *env, int i, uint64_t priv)
{
    if (i < 0) {
        return priv == PRV_M ? PMP_RWX : 0;
    }
    if (priv == PRV_M && !(env->pmp_state.pmp[i].cfg_reg & PMP_L)) {
        return PMP_RWX;
    }
    return env->pmp_state.pmp[i].cfg_reg & PMP_RWX;
}

bool riscv_pmp_check(const CPURISCVState *env, hwaddr addr, unsigned size, RISCVAccess access,
                     uint64_t priv)
{
    static const unsigned need[] = {
        [ACCESS_LOAD] = PMP_R, [ACCESS_STORE] = PMP_W, [ACCESS_FETCH] = PMP_X};
    bool whole = true;
    int i;

    if (!(env->features & FEATURE_PMP)) {
        return true;
    }
    i = first_match(env, addr, addr + size - 1, &whole);
    return whole && entry_perms(env, i, priv) & need[access];
}

bool riscv_pmp_page(const CPURISCVState *env, hwaddr page, uint64_t priv, unsigned *perms)
{
    bool whole = true;
    int i;

    *perms = PMP_RWX;
    if (!(env->features & FEATURE_PMP)) {
        return true;
    }
    i = first_match(env, page, page | ~TARGET_PAGE_MASK, &whole);
    *perms = entry_perms(env, i, priv);
    return whole;
}

static void changed(RISCVCPU *cpu)
{
    riscv_pmp_update(&cpu->env);
    riscv_tlb_flush(cpu);
}

uint64_t riscv_pmpcfg_read(const CPURISCVState *env, unsigned reg)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < 8; i++) {
        v |= (uint64_t)env->pmp_state.pmp[reg * 4 + i].cfg_reg << (i * 8);
    }
    return v;
}

void riscv_pmpcfg_write(RISCVCPU *cpu, unsigned reg, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        uint8_t *cfg = &cpu->env.pmp_state.pmp[reg * 4 + i].cfg_reg;

        if (!(*cfg & PMP_L)) {
            *cfg = value >> (i * 8);
        }
    }
    changed(cpu);
}

void riscv_pmpaddr_write(RISCVCPU *cpu, unsigned index, uint64_t value)
{
    PMPEntry *entry = &cpu->env.pmp_state.pmp[index];
    /* A locked TOR entry locks its lower bound, which is the register before it. */
    bool next_locks = index + 1 < RV_PMP_ENTRIES && entry[1].cfg_reg & PMP_L &&
                      PMP_A(entry[1].cfg_reg) == PMP_TOR;

    if (!(entry->cfg_reg & PMP_L) && !next_locks) {
        entry->addr_reg = value;
        changed(cpu);
    }
}
