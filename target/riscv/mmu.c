/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Address translation: the page table walk, protection, and filling the software TLB (spec 81
 * section 4). */
#include "memory/dirty-log.h"
#include "target/riscv/internal.h"

/* How data accesses of one MMU table are judged. */
typedef struct {
    uint64_t priv;
    bool sum, mxr;
} AccessMode;

typedef struct {
    hwaddr paddr;
    unsigned perms; /* PTE_R|W|X usable through the TLB; W only once D is set */
    bool superpage;
} WalkResult;

static inline RISCVException page_fault(RISCVAccess access)
{
    static const RISCVException cause[] = {[ACCESS_LOAD] = RISCV_EXCP_LOAD_PAGE_FAULT,
                                           [ACCESS_STORE] = RISCV_EXCP_STORE_PAGE_FAULT,
                                           [ACCESS_FETCH] = RISCV_EXCP_INST_PAGE_FAULT};
    return cause[access];
}

static inline RISCVException access_fault(RISCVAccess access)
{
    static const RISCVException cause[] = {[ACCESS_LOAD] = RISCV_EXCP_LOAD_ACCESS,
                                           [ACCESS_STORE] = RISCV_EXCP_STORE_ACCESS,
                                           [ACCESS_FETCH] = RISCV_EXCP_INST_ACCESS};
    return cause[access];
}

static inline AccessMode mode_of(const CPURISCVState *env, unsigned mmu_idx)
{
    static const uint8_t priv[MMU_IDX__MAX] = {
        [MMU_IDX_U] = PRV_U, [MMU_IDX_S] = PRV_S, [MMU_IDX_S_SUM] = PRV_S, [MMU_IDX_M] = PRV_M};

    return (AccessMode){
        .priv = priv[mmu_idx], .sum = mmu_idx == MMU_IDX_S_SUM, .mxr = env->mstatus & MSTATUS_MXR};
}

void riscv_update_mmu_idx(CPURISCVState *env)
{
    static const uint8_t idx[] = {
        [PRV_U] = MMU_IDX_U, [PRV_S] = MMU_IDX_S, [2] = MMU_IDX_U, [PRV_M] = MMU_IDX_M};
    uint64_t priv = env->priv;

    env->mmu_idx_fetch = idx[priv & 3];
    if (priv == PRV_M && env->mstatus & MSTATUS_MPRV) {
        priv = (env->mstatus & MSTATUS_MPP) >> MSTATUS_MPP_SHIFT;
    }
    env->mmu_idx_data = idx[priv & 3];
    if (env->mmu_idx_data == MMU_IDX_S && env->mstatus & MSTATUS_SUM) {
        env->mmu_idx_data = MMU_IDX_S_SUM;
    }
}

/* May @access use a leaf with these bits? */
static inline bool leaf_allows(uint64_t pte, RISCVAccess access, AccessMode m)
{
    if (pte & PTE_U) {
        if (m.priv == PRV_S && (!m.sum || access == ACCESS_FETCH)) {
            return false;
        }
    } else if (m.priv == PRV_U) {
        return false;
    }
    switch (access) {
    case ACCESS_FETCH:
        return pte & PTE_X;
    case ACCESS_STORE:
        return pte & PTE_W;
    default:
        return pte & PTE_R || (m.mxr && pte & PTE_X);
    }
}

/* What the TLB may allow without asking again; the leaf already passed leaf_allows() for some
 * access. */
static inline unsigned leaf_perms(uint64_t pte, AccessMode m)
{
    unsigned perms = pte & PTE_R;

    if (pte & PTE_X) {
        perms |= m.mxr ? PTE_R : 0;
        perms |= m.priv == PRV_S && pte & PTE_U ? 0 : PTE_X;
    }
    return perms | (pte & PTE_D ? pte & PTE_W : 0);
}

/*
 * Where the page table entry at @addr is in our memory, or NULL. Tables nearly always lie in the
 * same RAM, so the last answer is kept; riscv_tlb_flush() is what the accelerator calls when the
 * memory map changes.
 */
static uint64_t *table_entry(RISCVCPU *cpu, hwaddr addr)
{
    if (addr - cpu->tables.base >= cpu->tables.len) {
        MemoryTranslation t;

        address_space_translate(cpu->as, addr, &t);
        if (!t.host || t.len < 8) {
            return NULL;
        }
        /* Entries are aligned and ranges end at page ends at the earliest. */
        cpu->tables.base = addr;
        cpu->tables.len = t.len;
        cpu->tables.host = t.host;
        cpu->tables.block = t.mr->block;
        cpu->tables.offset = t.mr->block_offset + t.offset;
        cpu->tables.writable = t.writable;
    }
    return (uint64_t *)(cpu->tables.host + (addr - cpu->tables.base));
}

/*
 * Find the leaf for @vaddr. With @debug nothing is changed and permissions do not matter. Page
 * table entries are read and updated atomically: other harts walk and set A and D at the same time.
 */
static RISCVException walk(RISCVCPU *cpu, uint64_t vaddr, RISCVAccess access, AccessMode m,
                           bool debug, WalkResult *out)
{
    const CPURISCVState *env = &cpu->env;
    unsigned levels = 3 + (env->satp >> SATP_MODE_SHIFT) - 8;
    unsigned unused_bits = 64 - (12 + 9 * levels);
    uint64_t table = (env->satp & SATP_PPN_MASK) << TARGET_PAGE_BITS;

    if ((uint64_t)((int64_t)(vaddr << unused_bits) >> unused_bits) != vaddr) {
        return page_fault(access);
    }
    for (int level = levels - 1; level >= 0; level--) {
        unsigned shift = TARGET_PAGE_BITS + 9 * level;
        hwaddr addr = table + (vaddr >> shift & 0x1FF) * 8;
        uint64_t *entry, raw, pte, ppn;

        if (!riscv_pmp_check(env, addr, 8, ACCESS_LOAD, PRV_S)) {
            return access_fault(access);
        }
        entry = table_entry(cpu, addr);
        if (!entry) {
            return page_fault(access);
        }
        raw = __atomic_load_n(entry, __ATOMIC_ACQUIRE);
    again:
        pte = GUINT64_FROM_LE(raw);
        ppn = pte >> PTE_PPN_SHIFT;
        if (!(pte & PTE_V) || pte & PTE_RESERVED || ((pte & PTE_W) && !(pte & PTE_R))) {
            return page_fault(access);
        }
        if (!(pte & (PTE_R | PTE_X))) {
            if (pte & (PTE_A | PTE_D | PTE_U)) {
                return page_fault(access);
            }
            table = ppn << TARGET_PAGE_BITS;
            continue;
        }
        if (ppn & (BIT64(9 * level) - 1)) {
            return page_fault(access);
        }
        if (!debug) {
            if (!leaf_allows(pte, access, m)) {
                return page_fault(access);
            }
            pte |= PTE_A | (access == ACCESS_STORE ? PTE_D : 0);
            if (pte != GUINT64_FROM_LE(raw)) {
                if (!cpu->tables.writable) {
                    return page_fault(access);
                }
                if (!__atomic_compare_exchange_n(entry, &raw, GUINT64_TO_LE(pte), false,
                                                 __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE)) {
                    goto again;
                }
                dirty_log_mark(cpu->tables.block, cpu->tables.offset + (addr - cpu->tables.base),
                               8);
            }
        }
        out->paddr = ppn << TARGET_PAGE_BITS | (vaddr & (BIT64(shift) - 1));
        out->perms = leaf_perms(pte, m);
        out->superpage = level > 0;
        return RISCV_EXCP_NONE;
    }
    return page_fault(access); /* the last level was no leaf */
}

static inline bool translated(const CPURISCVState *env, uint64_t priv)
{
    return priv != PRV_M && env->satp >> SATP_MODE_SHIFT && env->features & FEATURE_MMU;
}

static RISCVException translate(RISCVCPU *cpu, uint64_t vaddr, unsigned size, RISCVAccess access,
                                unsigned mmu_idx, hwaddr *paddr)
{
    CPURISCVState *env = &cpu->env;
    AccessMode m = mode_of(env, mmu_idx);
    WalkResult w = {.paddr = vaddr, .perms = PTE_R | PTE_W | PTE_X};
    unsigned pmp;

    if (translated(env, m.priv)) {
        RISCVException e = walk(cpu, vaddr, access, m, false, &w);

        if (e != RISCV_EXCP_NONE) {
            return e;
        }
    }
    if (!riscv_pmp_check(env, w.paddr, size, access, m.priv)) {
        return access_fault(access);
    }
    *paddr = w.paddr;
    /* A page that PMP divides is looked up afresh at each access. */
    if (riscv_pmp_page(env, w.paddr & TARGET_PAGE_MASK, m.priv, &pmp)) {
        env->tlb_filled |= 1u << mmu_idx;
        env->tlb_superpages |= (uint32_t)w.superpage << (vaddr >> 63);
        softtlb_fill(&env->tlb[mmu_idx], cpu->as, vaddr & TARGET_PAGE_MASK,
                     w.paddr & TARGET_PAGE_MASK, w.perms & PTE_R && pmp & PMP_R,
                     w.perms & PTE_W && pmp & PMP_W, w.perms & PTE_X && pmp & PMP_X,
                     access == ACCESS_STORE);
    }
    return RISCV_EXCP_NONE;
}

RISCVException riscv_translate(RISCVCPU *cpu, uint64_t vaddr, unsigned size, RISCVAccess access,
                               unsigned mmu_idx, hwaddr *paddr)
{
    RISCVException e = translate(cpu, vaddr, size, access, mmu_idx, paddr);

    if (e != RISCV_EXCP_NONE) {
        cpu->env.badaddr = vaddr;
    }
    return e;
}

bool riscv_debug_translate(RISCVCPU *cpu, uint64_t vaddr, hwaddr *paddr)
{
    AccessMode m = mode_of(&cpu->env, cpu->env.mmu_idx_data);
    WalkResult w = {.paddr = vaddr};

    cpu->tables.len = 0; /* the vCPU is stopped: it may not have heard of the newest memory map */
    if (translated(&cpu->env, m.priv) &&
        walk(cpu, vaddr, ACCESS_LOAD, m, true, &w) != RISCV_EXCP_NONE) {
        return false;
    }
    *paddr = w.paddr;
    return true;
}

/* ---- forgetting ---- */

static void flush_tables(CPURISCVState *env, unsigned tables)
{
    for (unsigned i = 0; i < MMU_IDX__MAX; i++) {
        if (env->tlb_filled & tables & 1u << i) {
            softtlb_flush(&env->tlb[i]);
        }
    }
    env->tlb_filled &= ~tables;
}

#define TRANSLATED_TABLES (1u << MMU_IDX_U | 1u << MMU_IDX_S | 1u << MMU_IDX_S_SUM)

void riscv_tlb_flush_translated(RISCVCPU *cpu)
{
    flush_tables(&cpu->env, TRANSLATED_TABLES);
    cpu->env.tlb_superpages = 0;
}

void riscv_tlb_flush(RISCVCPU *cpu)
{
    for (unsigned i = 0; i < MMU_IDX__MAX; i++) {
        softtlb_flush(&cpu->env.tlb[i]);
    }
    cpu->env.tlb_filled = 0;
    cpu->env.tlb_superpages = 0;
    cpu->tables.len = 0;
}

void riscv_tlb_flush_page(RISCVCPU *cpu, uint64_t vaddr)
{
    CPURISCVState *env = &cpu->env;

    /* The entries of a superpage are scattered over the table. */
    if (env->tlb_superpages >> (vaddr >> 63) & 1) {
        riscv_tlb_flush_translated(cpu);
        return;
    }
    for (unsigned i = 0; i < MMU_IDX__MAX; i++) {
        if (TRANSLATED_TABLES & 1u << i) {
            softtlb_flush_page(&env->tlb[i], vaddr);
        }
    }
}
