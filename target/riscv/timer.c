/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Time as the hart sees it, and Sstc: stimecmp drives STIP (spec 81 section 7). */
#include "target/riscv/internal.h"

#define NS_PER_TICK 100 /* mtime runs at 10 MHz */

uint64_t riscv_time(const RISCVCPU *cpu)
{
    /* A hart without a board counts its own virtual clock. */
    return cpu->rdtime ? cpu->rdtime(cpu->rdtime_opaque)
                       : (uint64_t)clock_get_ns(cpu->vclock) / NS_PER_TICK;
}

/* Raise STIP if stimecmp has passed, else arm for it. Lock held. True: raised. */
static bool fire_or_arm(RISCVCPU *cpu)
{
    uint64_t now = riscv_time(cpu), cmp = cpu->env.stimecmp;
    int64_t clock = clock_get_ns(cpu->vclock);
    uint64_t room = (uint64_t)(INT64_MAX - clock) / NS_PER_TICK;

    if (now >= cmp) {
        timer_del(cpu->stimer);
        return true;
    }
    timer_mod_ns(cpu->stimer, clock + (int64_t)(MIN(cmp - now, room) * NS_PER_TICK));
    return false;
}

static void stimer_expired(void *opaque)
{
    RISCVCPU *cpu = opaque;
    bool due;

    /* The vCPU may have moved stimecmp since the timer was picked: judge by the present value. */
    g_mutex_lock(&cpu->stimer_lock);
    due = fire_or_arm(cpu);
    if (due) {
        riscv_cpu_set_irq(cpu, IRQ_STIP, true);
    }
    g_mutex_unlock(&cpu->stimer_lock);
}

void riscv_stimecmp_write(RISCVCPU *cpu, uint64_t value)
{
    g_mutex_lock(&cpu->stimer_lock);
    cpu->env.stimecmp = value;
    riscv_mip_write(cpu, fire_or_arm(cpu) ? MIP_STIP : 0, MIP_STIP);
    g_mutex_unlock(&cpu->stimer_lock);
}

void riscv_stimer_rearm(RISCVCPU *cpu)
{
    bool wanted = cpu->env.menvcfg & ENVCFG_STCE && !(riscv_mip(&cpu->env) & MIP_STIP) &&
                  cpu->env.stimecmp != 0;

    g_mutex_lock(&cpu->stimer_lock);
    if (!wanted) {
        timer_del(cpu->stimer);
    } else if (fire_or_arm(cpu)) {
        riscv_mip_write(cpu, MIP_STIP, MIP_STIP);
    }
    g_mutex_unlock(&cpu->stimer_lock);
}

void riscv_stimer_init(RISCVCPU *cpu)
{
    g_mutex_init(&cpu->stimer_lock);
    cpu->stimer = timer_new_ns(cpu->vclock, stimer_expired, cpu);
}

void riscv_stimer_free(RISCVCPU *cpu)
{
    timer_free(cpu->stimer);
    g_mutex_clear(&cpu->stimer_lock);
}
