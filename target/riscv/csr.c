/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CSR access: the checks that hold for every number, then the row of csr-table.c (spec 81 section
 * 2). */
#include "target/riscv/internal.h"

static inline uint64_t *storage(CPURISCVState *env, const CsrRow *row)
{
    return (uint64_t *)((char *)env + row->offset);
}

/* The row, or NULL when the access is illegal. */
static const CsrRow *lookup(const RISCVCPU *cpu, unsigned csr, bool write)
{
    const CsrRow *row = &riscv_csr_table[csr & 0xFFF];
    /* Numbers of the hypervisor class belong to S-mode (there is no V = 1 here). */
    unsigned level = cpu->env.priv == PRV_S ? 2 : (unsigned)cpu->env.priv;

    if (!row->exists || level < (csr >> 8 & 3) || (write && (csr >> 10 & 3) == 3)) {
        return NULL;
    }
    return !row->gate || row->gate(cpu, csr) ? row : NULL;
}

static inline uint64_t read_row(const RISCVCPU *cpu, const CsrRow *row, unsigned csr)
{
    return row->read ? row->read(cpu, row, csr) : *storage((CPURISCVState *)&cpu->env, row);
}

RISCVException riscv_csr_read(RISCVCPU *cpu, unsigned csr, uint64_t *value)
{
    const CsrRow *row = lookup(cpu, csr, false);

    if (!row) {
        return RISCV_EXCP_ILLEGAL_INST;
    }
    *value = read_row(cpu, row, csr);
    return RISCV_EXCP_NONE;
}

RISCVException riscv_csr_rmw(RISCVCPU *cpu, unsigned csr, uint64_t *old, uint64_t new_value,
                             uint64_t mask, bool write)
{
    const CsrRow *row = lookup(cpu, csr, write);
    uint64_t value;

    if (!row) {
        return RISCV_EXCP_ILLEGAL_INST;
    }
    value = read_row(cpu, row, csr);
    *old = value;
    if (write) {
        value = (value & ~mask) | (new_value & mask);
        if (row->write) {
            row->write(cpu, row, csr, value, mask);
        } else {
            *storage(&cpu->env, row) = value & row->write_mask;
        }
    }
    return RISCV_EXCP_NONE;
}

uint64_t riscv_mstatus_read(const CPURISCVState *env)
{
    bool dirty =
        (env->mstatus & MSTATUS_FS) == MSTATUS_FS || (env->mstatus & MSTATUS_VS) == MSTATUS_VS;

    return env->mstatus | (dirty ? MSTATUS_SD : 0);
}

static inline bool counter_runs(const CPURISCVState *env, unsigned index)
{
    return (index == 0 || index == 2) && !(env->mcountinhibit >> index & 1);
}

uint64_t riscv_counter_read(const CPURISCVState *env, unsigned index)
{
    const PMUCounter *c = &env->pmu_ctrs[index];

    return counter_runs(env, index) ? env->icount - c->mhpmcounter_prev + c->mhpmcounter_val
                                    : c->mhpmcounter_val;
}

void riscv_counter_write(CPURISCVState *env, unsigned index, uint64_t value)
{
    env->pmu_ctrs[index].mhpmcounter_val = value;
    env->pmu_ctrs[index].mhpmcounter_prev = env->icount;
}
