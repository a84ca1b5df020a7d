/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One RV64 hart: architectural state (spec 81). Threads: the owning vCPU thread runs it; others
 * touch it only while the vCPU is stopped, except riscv_cpu_set_irq().
 */
#ifndef GODWIT_TARGET_RISCV_CPU_H
#define GODWIT_TARGET_RISCV_CPU_H

#include <json-glib/json-glib.h>
#include "memory/softtlb.h"
#include "migration/register.h"
#include "util/timer.h"

typedef struct RISCVCPU RISCVCPU;
typedef struct CPURISCVState CPURISCVState;

typedef enum { PRV_U = 0, PRV_S = 1, PRV_M = 3 } RISCVPriv;
/*
 * Software TLB tables: one per effective privilege, S twice (with and without SUM), so that
 * switching privilege, MPRV or SUM needs no flush. MXR is baked into the entries: changing it
 * flushes.
 */
enum { MMU_IDX_U, MMU_IDX_S, MMU_IDX_S_SUM, MMU_IDX_M, MMU_IDX__MAX };

typedef struct {
    bool ext_c, ext_f, ext_d, ext_h, ext_zba, ext_zbb, ext_zbc, ext_zbs, ext_sstc;
    bool mmu, pmp, debug, ext_zicsr, ext_zifencei, ext_zihintpause, short_isa_string;
    uint8_t pmu_num;
    uint64_t mvendorid, marchid, mimpid, resetvec;
    int priv_ver;     /* 2 = v1.12 */
    uint8_t satp_max; /* 8 Sv39, 9 Sv48, 10 Sv57 */
} RISCVCPUConfig;

#define RV_PMP_ENTRIES 16
#define RV_MAX_HPM     32

/* Sources of mip.SEIP; the visible bit is their OR. */
enum { RV_SEIP_LINE = 1, RV_SEIP_SOFTWARE = 2 };

/* Named as on the wire; reading = ticks now - prev + val. */
typedef struct {
    uint64_t mhpmcounter_val, mhpmcounterh_val, mhpmcounter_prev, mhpmcounterh_prev;
    bool started;
} PMUCounter;

typedef struct {
    uint64_t addr_reg;
    uint8_t cfg_reg;
} PMPEntry;

/* Fields that travel have the wire's width and order where that costs nothing (spec 81 section 10).
 */
struct CPURISCVState {
    /* Hot: touched by every block. */
    uint64_t gpr[32];
    uint64_t pc;
    uint64_t fpr[32];
    uint64_t priv;
    uint64_t virt;
    /* Nonzero asks the execution loop to leave at the next block end: interrupts, exit requests,
     * TLB flushes. */
    volatile uint32_t exit_request;
    uint32_t mmu_idx_data, mmu_idx_fetch; /* derived from priv, mstatus; riscv_update_mmu_idx() */
    uint64_t icount;                      /* instructions retired, for minstret/mcycle */

    uint64_t load_res, load_val; /* LR reservation; all-ones = none */
    uint64_t frm;
    uint32_t fflags; /* accrued; not migrated by 7.2 */

    uint64_t mstatus, mie, mideleg, medeleg, mtvec, mepc, mcause, mtval, mscratch;
    uint64_t satp, stval, stvec, sepc, scause, sscratch;
    uint64_t mip;          /* as visible: software bits OR lines; modified atomically */
    uint32_t seip_sources; /* who drives mip.SEIP: RV_SEIP_*; modified atomically */
    uint64_t miclaim, badaddr, guest_phys_fault_addr;
    uint64_t priv_ver, vext_ver, resetvec, mhartid;
    uint32_t misa_mxl, misa_ext, misa_mxl_max, misa_ext_mask, features;
    uint64_t miselect, siselect, scounteren, mcounteren, mcountinhibit;
    PMUCounter pmu_ctrs[RV_MAX_HPM];
    uint64_t mhpmevent_val[RV_MAX_HPM], mhpmeventh_val[RV_MAX_HPM];
    uint64_t mfromhost, mtohost, stimecmp;
    uint64_t menvcfg, senvcfg, henvcfg;
    uint8_t miprio[64], siprio[64], hviprio[64];

    /* PMP */
    struct {
        PMPEntry pmp[RV_PMP_ENTRIES];
    } pmp_state;
    /* Derived: first and last byte of each entry that is on, base > last when it is off or empty.
     */
    struct {
        uint64_t base, last;
    } pmp_range[RV_PMP_ENTRIES];
    uint32_t pmp_on; /* bit i: entry i is not OFF */

    /* H: storage only (spec 81 section 8) */
    uint64_t hstatus, hedeleg, hideleg, hcounteren, htval, htinst, hgatp, hgeie, hgeip, htimedelta;
    uint64_t vstimecmp, hvictl, vsstatus, vstvec, vsscratch, vsepc, vscause, vstval, vsatp,
        vsiselect;
    uint64_t mtval2, mtinst, stvec_hs, sscratch_hs, sepc_hs, scause_hs, stval_hs, satp_hs,
        mstatus_hs;

    /* Debug triggers: storage */
    uint64_t trigger_cur, tdata1[2], tdata2[2], tdata3[2];

    uint32_t halted;            /* in WFI */
    uint32_t interrupt_request; /* wire only */
    bool crash_occurred;        /* carried for the peer: its guest panicked */
    int32_t exception_index;    /* latched exception, -1 none */

    /* Bit 0/1: the TLBs may hold pieces of a superpage of the lower/upper half of the address
     * space. */
    uint32_t tlb_superpages;
    uint32_t tlb_filled; /* bit per MMU table: something was entered since its last flush */
    SoftTLB tlb[MMU_IDX__MAX];
};

struct RISCVCPU {
    CPURISCVState env;
    RISCVCPUConfig cfg;
    unsigned index; /* hart number = mhartid */
    AddressSpace *as;
    Clock *vclock;
    /* Current mtime in 10 MHz ticks; set by the board (the ACLINT). Lock-free. */
    uint64_t (*rdtime)(void *opaque);
    void *rdtime_opaque;
    /* The hart's mtimecmp; set by the board with the same opaque. NULL: there is no machine timer.
     */
    uint64_t (*mtimecmp)(void *opaque, unsigned hart);
    /* Wake the vCPU thread out of WFI and ask it to look at interrupts; set by the accelerator. Any
     * thread. */
    void (*kick)(RISCVCPU *cpu);
    /* FENCE.I, or a code page changed: forget pre-decoded blocks; set by the accelerator. vCPU
     * thread. */
    void (*invalidate_code)(RISCVCPU *cpu);
    /* Memory that page table walks met last, from @base on; forgotten together with the TLBs. */
    struct {
        hwaddr base;
        uint64_t len; /* 0: none */
        uint8_t *host;
        RAMBlock *block;
        ram_addr_t offset;
        bool writable;
    } tables;
    QEMUTimer *stimer;  /* Sstc */
    GMutex stimer_lock; /* makes "compare, set STIP, arm" one step for the vCPU and the timer's
                           thread */
    uint64_t wire_mip;  /* mip as it travels (spec 81 section 12); only during save and load */
    void *accel;        /* the accelerator's per-vCPU data */
};

/* Causes of synchronous exceptions (spec 81 section 3). */
typedef enum {
    RISCV_EXCP_NONE = -1,
    RISCV_EXCP_INST_ADDR_MIS = 0,
    RISCV_EXCP_INST_ACCESS = 1,
    RISCV_EXCP_ILLEGAL_INST = 2,
    RISCV_EXCP_BREAKPOINT = 3,
    RISCV_EXCP_LOAD_ADDR_MIS = 4,
    RISCV_EXCP_LOAD_ACCESS = 5,
    RISCV_EXCP_STORE_ADDR_MIS = 6,
    RISCV_EXCP_STORE_ACCESS = 7,
    RISCV_EXCP_U_ECALL = 8,
    RISCV_EXCP_S_ECALL = 9,
    RISCV_EXCP_VS_ECALL = 10,
    RISCV_EXCP_M_ECALL = 11,
    RISCV_EXCP_INST_PAGE_FAULT = 12,
    RISCV_EXCP_LOAD_PAGE_FAULT = 13,
    RISCV_EXCP_STORE_PAGE_FAULT = 15,
} RISCVException;

typedef enum { ACCESS_LOAD, ACCESS_STORE, ACCESS_FETCH } RISCVAccess;

/* ---- life cycle; main thread, big lock ---- */
/* @model "rv64" or "max"; @props: JSON object of -cpu properties ("h": false ...). */
RISCVCPU *riscv_cpu_new(const char *model, JsonObject *props, unsigned index, AddressSpace *as,
                        Clock *vclock, GError **errp);
void riscv_cpu_free(RISCVCPU *cpu);
void riscv_cpu_reset(RISCVCPU *cpu);
/* cpu_common and cpu sections (spec 81 sections 9-12). */
bool riscv_cpu_register_vmstate(RISCVCPU *cpu, SaveStateList *list, GError **errp);
/* "rv64imafdch_zicsr_..."; free with g_free(). */
char *riscv_isa_string(const RISCVCPU *cpu);
GPtrArray *riscv_cpu_models(void);

/* Drive a wired mip bit (3 MSIP, 7 MTIP, 9 SEIP, 11 MEIP, 1 SSIP set); any thread. */
void riscv_cpu_set_irq(RISCVCPU *cpu, unsigned bit, bool level);
/* As an IrqHandler: opaque = cpu, n = mip bit. */
void riscv_cpu_irq_handler(void *opaque, int n, int level);

/* ---- the execution loop's needs; vCPU thread ---- */
/* CSR access with privilege checks. RISCV_EXCP_NONE or the exception to raise. */
RISCVException riscv_csr_read(RISCVCPU *cpu, unsigned csr, uint64_t *value);
/* Read-modify-write: *old = value; value = (value & ~mask) | (new & mask) if mask != 0. */
RISCVException riscv_csr_rmw(RISCVCPU *cpu, unsigned csr, uint64_t *old, uint64_t new_value,
                             uint64_t mask, bool write);
/* Take a trap at env->pc (pc of the faulting instruction): updates CSRs, privilege, pc. */
void riscv_raise_exception(RISCVCPU *cpu, RISCVException cause, uint64_t tval);
/* Pending and enabled interrupt to take now, or -1; then riscv_take_interrupt(). */
int riscv_pending_interrupt(const RISCVCPU *cpu);
void riscv_take_interrupt(RISCVCPU *cpu, int irq);
/* WFI may sleep: true while mip & mie == 0. */
bool riscv_cpu_has_work(const RISCVCPU *cpu);
RISCVException riscv_mret(RISCVCPU *cpu);
RISCVException riscv_sret(RISCVCPU *cpu);
RISCVException riscv_wfi(RISCVCPU *cpu);        /* privilege checks; sets halted */
RISCVException riscv_sfence_vma(RISCVCPU *cpu); /* rs1 = x0: everything */
/* rs1 != x0: forgets one page when that is enough. */
RISCVException riscv_sfence_vma_page(RISCVCPU *cpu, uint64_t vaddr);
/* After any change of priv, mstatus.{MPRV,MPP,SUM,MXR}, satp: recompute mmu_idx_*. */
void riscv_update_mmu_idx(CPURISCVState *env);

/*
 * Translate @vaddr for @access with MMU table @mmu_idx: page walk, A/D update, PMP; enters the
 * software TLB when the page is RAM. *paddr is the physical address. RISCV_EXCP_NONE, or the
 * page/access fault.
 *
 * This function and the slow loads and stores leave the address to report (tval) in env->badaddr
 * when they fail: for an access that crosses a page it may be the start of the second page.
 */
RISCVException riscv_translate(RISCVCPU *cpu, uint64_t vaddr, unsigned size, RISCVAccess access,
                               unsigned mmu_idx, hwaddr *paddr);
/* Slow path of a load or store (TLB miss, page crossing, MMIO, clean page). */
RISCVException riscv_load_slow(RISCVCPU *cpu, uint64_t vaddr, unsigned size, uint64_t *value);
RISCVException riscv_store_slow(RISCVCPU *cpu, uint64_t vaddr, unsigned size, uint64_t value);
/* For monitors and loaders: virtual to physical with current state, no side effects. */
bool riscv_debug_translate(RISCVCPU *cpu, uint64_t vaddr, hwaddr *paddr);
void riscv_tlb_flush(RISCVCPU *cpu);

/* Text for info registers. */
void riscv_cpu_dump(RISCVCPU *cpu, GString *out);

#endif
