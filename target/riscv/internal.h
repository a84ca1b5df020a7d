/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of target/riscv share with each other only. vCPU thread unless noted. */
#ifndef GODWIT_TARGET_RISCV_INTERNAL_H
#define GODWIT_TARGET_RISCV_INTERNAL_H

#include "target/riscv-cpu.h"
#include "target/riscv/bits.h"

static inline bool riscv_has_ext(const CPURISCVState *env, char letter)
{
    return env->misa_ext & MISA_EXT(letter);
}

static inline uint64_t riscv_mip(const CPURISCVState *env)
{
    return __atomic_load_n(&env->mip, __ATOMIC_SEQ_CST);
}

/* model.c: fill @cfg for @model with @props applied. */
bool riscv_model_configure(RISCVCPUConfig *cfg, const char *model, JsonObject *props,
                           GError **errp);
/* misa letters of @cfg. */
uint32_t riscv_model_misa(const RISCVCPUConfig *cfg);

/* cpu.c */
/* Replace the bits @mask of mip by @value (SEIP: its software source); any thread. */
void riscv_mip_write(RISCVCPU *cpu, uint64_t value, uint64_t mask);
/* After a change of mip, mie, mideleg or mstatus by the vCPU itself: look at interrupts soon. */
void riscv_interrupts_changed(RISCVCPU *cpu);

/* trap.c */
void riscv_set_priv(RISCVCPU *cpu, uint64_t priv);

/* csr.c */
/* mstatus with SD computed. */
uint64_t riscv_mstatus_read(const CPURISCVState *env);
/* cycle (0), instret (2) or hpmcounter @index as the guest reads it. */
uint64_t riscv_counter_read(const CPURISCVState *env, unsigned index);
void riscv_counter_write(CPURISCVState *env, unsigned index, uint64_t value);

/* timer.c: Sstc. Any thread. */
uint64_t riscv_time(const RISCVCPU *cpu);
void riscv_stimer_init(RISCVCPU *cpu);
void riscv_stimer_free(RISCVCPU *cpu);
/* stimecmp := @value; STIP follows now or when its time comes. */
void riscv_stimecmp_write(RISCVCPU *cpu, uint64_t value);
/* After loading state: arm for the present stimecmp, leaving STIP as it was unless it is due. */
void riscv_stimer_rearm(RISCVCPU *cpu);

/* pmp.c */
/* Recompute env->pmp_range and pmp_on from pmpcfg and pmpaddr. */
void riscv_pmp_update(CPURISCVState *env);
/* May @access of [addr, addr + size) proceed in privilege @priv? */
bool riscv_pmp_check(const CPURISCVState *env, hwaddr addr, unsigned size, RISCVAccess access,
                     uint64_t priv);
/* PMP_R|W|X that hold for every byte of the page; false: they differ inside the page. */
bool riscv_pmp_page(const CPURISCVState *env, hwaddr page, uint64_t priv, unsigned *perms);
void riscv_pmpcfg_write(RISCVCPU *cpu, unsigned reg, uint64_t value);
uint64_t riscv_pmpcfg_read(const CPURISCVState *env, unsigned reg);
void riscv_pmpaddr_write(RISCVCPU *cpu, unsigned index, uint64_t value);

/* mmu.c: address translation was changed, M-mode's identity map was not. */
void riscv_tlb_flush_translated(RISCVCPU *cpu);
void riscv_tlb_flush_page(RISCVCPU *cpu, uint64_t vaddr);

/* vmstate.c: sections cpu_common (opaque: CPURISCVState) and cpu (opaque: RISCVCPU). */
extern const VMStateDescription riscv_vmstate_cpu_common, riscv_vmstate_cpu;

/* csr-table.c */
typedef struct CsrRow CsrRow;
struct CsrRow {
    const char *name;
    /* Further condition beside privilege and number; NULL: none. */
    bool (*gate)(const RISCVCPU *cpu, unsigned csr);
    /* NULL: the 64-bit field of CPURISCVState at offset. */
    uint64_t (*read)(const RISCVCPU *cpu, const CsrRow *row, unsigned csr);
    /* @value: the new contents; @mask: the bits the instruction names. NULL: store value & mask
     * below. */
    void (*write)(RISCVCPU *cpu, const CsrRow *row, unsigned csr, uint64_t value, uint64_t mask);
    uint64_t write_mask;
    uint32_t offset;
    bool exists;
};
extern const CsrRow riscv_csr_table[4096];

#endif
