/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Page table walks in all three formats, A and D, PMP, the software TLB and the slow loads and
 * stores. */
#include "riscv-fixture.h"

#define TABLES UINT64_C(0x80100000) /* one page per level, top first */
#define TARGET UINT64_C(0x80400000) /* 2 MiB aligned: where leaves point to */
#define VA     UINT64_C(0x40201000)
#define RWX    (PTE_R | PTE_W | PTE_X)
#define AD     (PTE_A | PTE_D)

static unsigned levels_of(unsigned mode)
{
    return mode - 5;
}

static uint64_t *pte_slot(Hart *h, unsigned mode, uint64_t vaddr, unsigned level)
{
    unsigned depth = levels_of(mode) - 1 - level;

    return hart_ram(h, TABLES + depth * TARGET_PAGE_SIZE) + (vaddr >> (12 + 9 * level) & 0x1FF);
}

/* A hart in S-mode with an empty table of @mode, open PMP. */
static Hart *paged(unsigned mode)
{
    Hart *h = hart_new(NULL);

    hart_open_pmp(h);
    hart_csr_write(h, CSR_SATP, (uint64_t)mode << 60 | TABLES >> 12);
    riscv_set_priv(h->cpu, PRV_S);
    return h;
}

/* Point tables at each other down to @level and put @pte there. */
static void map(Hart *h, uint64_t vaddr, unsigned level, uint64_t pte)
{
    unsigned mode = h->env->satp >> 60;

    for (unsigned l = levels_of(mode) - 1; l > level; l--) {
        unsigned depth = levels_of(mode) - l;

        *pte_slot(h, mode, vaddr, l) =
            (TABLES + depth * TARGET_PAGE_SIZE) >> 12 << PTE_PPN_SHIFT | PTE_V;
    }
    *pte_slot(h, mode, vaddr, level) = pte;
}

static uint64_t leaf(hwaddr paddr, uint64_t bits)
{
    return paddr >> 12 << PTE_PPN_SHIFT | PTE_V | bits;
}

static RISCVException translate(Hart *h, uint64_t vaddr, RISCVAccess access, hwaddr *paddr)
{
    unsigned idx = access == ACCESS_FETCH ? h->env->mmu_idx_fetch : h->env->mmu_idx_data;
    hwaddr ignored;

    return riscv_translate(h->cpu, vaddr, 1, access, idx, paddr ? paddr : &ignored);
}

static const RISCVException page_fault[] = {RISCV_EXCP_LOAD_PAGE_FAULT, RISCV_EXCP_STORE_PAGE_FAULT,
                                            RISCV_EXCP_INST_PAGE_FAULT};
static const RISCVException access_fault[] = {RISCV_EXCP_LOAD_ACCESS, RISCV_EXCP_STORE_ACCESS,
                                              RISCV_EXCP_INST_ACCESS};

static void test_leaf_at_each_level(void)
{
    for (unsigned mode = 8; mode <= 10; mode++) {
        for (unsigned level = 0; level < levels_of(mode); level++) {
            g_autoptr(Hart) h = paged(mode);
            /* Level 2 and above: the aligned address below RAM, translation alone is looked at. */
            hwaddr base = level > 1 ? 0 : TARGET, paddr = 1;
            uint64_t mask = BIT64(12 + 9 * level) - 1;

            map(h, VA, level, leaf(base, RWX | AD));
            g_assert_cmpint(translate(h, VA + 0x123, ACCESS_LOAD, &paddr), ==, RISCV_EXCP_NONE);
            g_assert_cmphex(paddr, ==, base | ((VA + 0x123) & mask));
            if (level) { /* a superpage must be aligned to its size */
                map(h, VA, level, leaf(base + TARGET_PAGE_SIZE, RWX | AD));
                riscv_tlb_flush(h->cpu);
                g_assert_cmpint(translate(h, VA, ACCESS_LOAD, NULL), ==,
                                RISCV_EXCP_LOAD_PAGE_FAULT);
            }
        }
    }
}

static void test_canonical_addresses(void)
{
    for (unsigned mode = 8; mode <= 10; mode++) {
        g_autoptr(Hart) h = paged(mode);
        unsigned bits = 12 + 9 * levels_of(mode);
        uint64_t high = UINT64_MAX << (bits - 1);

        map(h, high, 0, leaf(TARGET, RWX | AD));
        g_assert_cmpint(translate(h, high, ACCESS_LOAD, NULL), ==, RISCV_EXCP_NONE);
        g_assert_cmpint(translate(h, high ^ BIT64(63), ACCESS_LOAD, NULL), ==,
                        RISCV_EXCP_LOAD_PAGE_FAULT);
        g_assert_cmpint(translate(h, BIT64(bits - 1), ACCESS_FETCH, NULL), ==,
                        RISCV_EXCP_INST_PAGE_FAULT);
        g_assert_cmphex(h->env->badaddr, ==, BIT64(bits - 1));
    }
}

/* Letters of the accesses that succeed, per privilege and mode bits. */
typedef struct {
    uint64_t pte;
    const char *u, *s, *s_sum, *s_mxr;
} PermRow;

static void check_perms(Hart *h, const PermRow *row, const char *allowed, uint64_t priv,
                        uint64_t status)
{
    static const char letters[] = "rwx";

    for (unsigned access = ACCESS_LOAD; access <= ACCESS_FETCH; access++) {
        RISCVException want =
            strchr(allowed, letters[access]) ? RISCV_EXCP_NONE : page_fault[access];
        RISCVException got;

        h->env->mstatus = MSTATUS_XL64 | status;
        riscv_set_priv(h->cpu, priv);
        riscv_tlb_flush(h->cpu);
        map(h, VA, 0, row->pte);
        got = translate(h, VA, access, NULL);
        if (got != want) {
            g_error("pte %" PRIx64 " priv %" PRIu64 " status %" PRIx64 " access %c: %d, not %d",
                    row->pte, priv, status, letters[access], got, want);
        }
    }
}

static void test_permissions(void)
{
    const PermRow rows[] = {
        {leaf(TARGET, PTE_R | AD), "", "r", "r", "r"},
        {leaf(TARGET, PTE_R | PTE_W | AD), "", "rw", "rw", "rw"},
        {leaf(TARGET, PTE_X | AD), "", "x", "x", "rx"},
        {leaf(TARGET, RWX | AD), "", "rwx", "rwx", "rwx"},
        {leaf(TARGET, RWX | PTE_U | AD), "rwx", "", "rw", ""},
        {leaf(TARGET, PTE_X | PTE_U | AD), "x", "", "", ""},
        {leaf(TARGET, PTE_W | AD), "", "", "", ""},           /* reserved */
        {leaf(TARGET, PTE_W | PTE_X | AD), "", "", "", ""},   /* reserved */
        {leaf(TARGET, RWX | AD) & ~PTE_V, "", "", "", ""},    /* invalid */
        {leaf(TARGET, 0), "", "", "", ""},                    /* a table below the last level */
        {leaf(TARGET, RWX | AD) | BIT64(54), "", "", "", ""}, /* reserved bits */
        {leaf(TARGET, RWX | AD) | BIT64(63), "", "", "", ""},
    };

    for (unsigned mode = 8; mode <= 10; mode++) {
        g_autoptr(Hart) h = paged(mode);

        for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
            check_perms(h, &rows[i], rows[i].u, PRV_U, 0);
            check_perms(h, &rows[i], rows[i].s, PRV_S, 0);
            check_perms(h, &rows[i], rows[i].s_sum, PRV_S, MSTATUS_SUM);
            check_perms(h, &rows[i], rows[i].s_mxr, PRV_S, MSTATUS_MXR);
        }
    }
}

static void test_bad_tables(void)
{
    static const uint64_t forbidden[] = {PTE_A, PTE_D, PTE_U};

    for (unsigned i = 0; i < ARRAY_SIZE(forbidden); i++) {
        g_autoptr(Hart) h = paged(8);

        map(h, VA, 0, leaf(TARGET, RWX | AD));
        *pte_slot(h, 8, VA, 1) |= forbidden[i];
        g_assert_cmpint(translate(h, VA, ACCESS_STORE, NULL), ==, RISCV_EXCP_STORE_PAGE_FAULT);
    }
    /* Tables where there is no memory, or a device. */
    g_autoptr(Hart) h = paged(9);
    hart_csr_write(h, CSR_SATP, UINT64_C(9) << 60 | 0x1000);
    g_assert_cmpint(translate(h, VA, ACCESS_LOAD, NULL), ==, RISCV_EXCP_LOAD_PAGE_FAULT);
    hart_csr_write(h, CSR_SATP, UINT64_C(9) << 60 | DEVICE >> 12);
    g_assert_cmpint(translate(h, VA, ACCESS_LOAD, NULL), ==, RISCV_EXCP_LOAD_PAGE_FAULT);
    g_assert_cmpuint(h->device_reads, ==, 0);
}

static void test_accessed_dirty(void)
{
    g_autoptr(Hart) h = paged(10);
    unsigned long seen[BITS_TO_LONGS(RAM_SIZE / TARGET_PAGE_SIZE)] = {0};
    uint64_t *pte = pte_slot(h, 10, VA, 0);
    uint64_t plain = leaf(TARGET, PTE_R | PTE_W);
    uint64_t page = ((uint8_t *)pte - h->ram->host) >> TARGET_PAGE_BITS;
    hwaddr paddr;

    map(h, VA, 0, plain);
    g_assert_true(riscv_debug_translate(h->cpu, VA, &paddr));
    g_assert_cmphex(*pte, ==, plain); /* looking is not touching */

    /* Loading gives no right to store: the first store must come here to set D. */
    g_assert_cmpint(translate(h, VA, ACCESS_LOAD, NULL), ==, RISCV_EXCP_NONE);
    g_assert_cmphex(*pte, ==, plain | PTE_A);
    g_assert_true(softtlb_entry(&h->env->tlb[MMU_IDX_S], VA)->tag_read == VA);
    g_assert_true(softtlb_entry(&h->env->tlb[MMU_IDX_S], VA)->tag_write == SOFTTLB_INVALID);

    /* The table is guest memory that changes. */
    g_assert_true(dirty_log_start(h->list, DIRTY_CLIENT_MIGRATION, NULL));
    g_assert_cmpint(translate(h, VA, ACCESS_STORE, NULL), ==, RISCV_EXCP_NONE);
    g_assert_cmphex(*pte, ==, plain | PTE_A | PTE_D);
    g_assert_true(softtlb_entry(&h->env->tlb[MMU_IDX_S], VA)->tag_write == VA);
    dirty_log_sync_block(h->ram, DIRTY_CLIENT_MIGRATION, seen);
    g_assert_true(test_bit(page, seen));
    dirty_log_stop(h->list, DIRTY_CLIENT_MIGRATION);
}

static void test_mmu_indexes(void)
{
    g_autoptr(Hart) h = hart_new(NULL);
    static const struct {
        uint64_t priv, status;
        unsigned data, fetch;
    } rows[] = {
        {PRV_U, MSTATUS_SUM, MMU_IDX_U, MMU_IDX_U},
        {PRV_S, 0, MMU_IDX_S, MMU_IDX_S},
        {PRV_S, MSTATUS_SUM, MMU_IDX_S_SUM, MMU_IDX_S},
        {PRV_S, MSTATUS_MPRV, MMU_IDX_S, MMU_IDX_S},
        {PRV_M, 0, MMU_IDX_M, MMU_IDX_M},
        {PRV_M, MSTATUS_MPRV, MMU_IDX_U, MMU_IDX_M},
        {PRV_M, MSTATUS_MPRV | UINT64_C(1) << 11, MMU_IDX_S, MMU_IDX_M},
        {PRV_M, MSTATUS_MPRV | MSTATUS_SUM | UINT64_C(1) << 11, MMU_IDX_S_SUM, MMU_IDX_M},
        {PRV_M, MSTATUS_MPRV | UINT64_C(3) << 11, MMU_IDX_M, MMU_IDX_M},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        h->env->mstatus = rows[i].status;
        riscv_set_priv(h->cpu, rows[i].priv);
        g_assert_cmpuint(h->env->mmu_idx_data, ==, rows[i].data);
        g_assert_cmpuint(h->env->mmu_idx_fetch, ==, rows[i].fetch);
    }
}

static bool cached(Hart *h, unsigned idx, uint64_t vaddr)
{
    return softtlb_entry(&h->env->tlb[idx], vaddr)->tag_read == (vaddr & TARGET_PAGE_MASK);
}

static void test_flushes(void)
{
    g_autoptr(Hart) h = paged(8);
    const uint64_t high = UINT64_C(0xFFFFFFFFC0000000);

    map(h, VA, 0, leaf(TARGET, RWX | AD));
    map(h, VA + TARGET_PAGE_SIZE, 0, leaf(TARGET, RWX | AD));
    g_assert_cmpint(translate(h, VA, ACCESS_LOAD, NULL), ==, RISCV_EXCP_NONE);
    g_assert_cmpint(translate(h, VA + TARGET_PAGE_SIZE, ACCESS_LOAD, NULL), ==, RISCV_EXCP_NONE);
    riscv_sfence_vma_page(h->cpu, VA + 8);
    g_assert_false(cached(h, MMU_IDX_S, VA));
    g_assert_true(cached(h, MMU_IDX_S, VA + TARGET_PAGE_SIZE));

    /* A superpage in the upper half does not make fences of the lower half expensive. */
    map(h, high, 2, leaf(0x80000000, RWX | AD));
    g_assert_cmpint(translate(h, high, ACCESS_LOAD, NULL), ==, RISCV_EXCP_NONE);
    g_assert_cmpint(translate(h, high + 0x5000, ACCESS_LOAD, NULL), ==, RISCV_EXCP_NONE);
    riscv_sfence_vma_page(h->cpu, VA);
    g_assert_true(cached(h, MMU_IDX_S, high + 0x5000));
    riscv_sfence_vma_page(h->cpu, high); /* all of the superpage */
    g_assert_false(cached(h, MMU_IDX_S, high + 0x5000));

    g_assert_cmpint(translate(h, VA, ACCESS_LOAD, NULL), ==, RISCV_EXCP_NONE);
    hart_csr_write(h, CSR_SSTATUS, MSTATUS_SUM); /* has its own table */
    g_assert_true(cached(h, MMU_IDX_S, VA));
    hart_csr_write(h, CSR_SSTATUS, MSTATUS_MXR);
    g_assert_false(cached(h, MMU_IDX_S, VA));
    g_assert_cmpint(translate(h, VA, ACCESS_LOAD, NULL), ==, RISCV_EXCP_NONE);
    hart_csr_write(h, CSR_SATP, h->env->satp + BIT64(44));
    g_assert_false(cached(h, MMU_IDX_S, VA));

    /* M-mode's identity survives changes of translation, not of PMP. */
    riscv_set_priv(h->cpu, PRV_M);
    g_assert_cmpint(translate(h, TARGET, ACCESS_LOAD, NULL), ==, RISCV_EXCP_NONE);
    riscv_sfence_vma(h->cpu);
    g_assert_true(cached(h, MMU_IDX_M, TARGET));
    hart_csr_write(h, CSR_PMPADDR0 + 5, 1);
    g_assert_false(cached(h, MMU_IDX_M, TARGET));
}

static void test_pmp_faults(void)
{
    g_autoptr(Hart) h = paged(8);
    hwaddr paddr;

    map(h, VA, 0, leaf(TARGET, RWX | AD));
    /* Entry 0: the target page may be read; entry 1: all else. */
    h->env->priv = PRV_M;
    hart_csr_write(h, CSR_PMPADDR0, TARGET >> 2 | 0x1FF);
    hart_csr_write(h, CSR_PMPADDR0 + 1, UINT64_MAX);
    hart_csr_write(h, CSR_PMPCFG0, 0x1F << 8 | 0x19);
    riscv_set_priv(h->cpu, PRV_S);
    g_assert_cmpint(translate(h, VA, ACCESS_LOAD, &paddr), ==, RISCV_EXCP_NONE);
    for (unsigned access = ACCESS_STORE; access <= ACCESS_FETCH; access++) {
        g_assert_cmpint(translate(h, VA, access, NULL), ==, access_fault[access]);
    }
    /* A page table that PMP hides: access fault of the original kind. */
    h->env->priv = PRV_M;
    hart_csr_write(h, CSR_PMPADDR0, (TABLES + 2 * TARGET_PAGE_SIZE) >> 2 | 0x1FF);
    hart_csr_write(h, CSR_PMPCFG0, 0x1F << 8 | 0x18);
    riscv_set_priv(h->cpu, PRV_S);
    for (unsigned access = ACCESS_LOAD; access <= ACCESS_FETCH; access++) {
        g_assert_cmpint(translate(h, VA, access, NULL), ==, access_fault[access]);
    }
}

/* A page that PMP divides works byte by byte and never enters the TLB. */
static void test_pmp_divides_page(void)
{
    g_autoptr(Hart) h = hart_new(NULL);
    uint64_t v;

    hart_csr_write(h, CSR_PMPADDR0, (TARGET + 0x100) >> 2);
    hart_csr_write(h, CSR_PMPADDR0 + 1, (TARGET + 0x104) >> 2);
    hart_csr_write(h, CSR_PMPADDR0 + 2, UINT64_MAX);
    hart_csr_write(h, CSR_PMPCFG0,
                   0x1F << 16 | 0x08 << 8 | 0x0F); /* TOR all, TOR none, NAPOT all */
    riscv_set_priv(h->cpu, PRV_S);
    g_assert_cmpint(riscv_load_slow(h->cpu, TARGET + 0xF8, 8, &v), ==, RISCV_EXCP_NONE);
    g_assert_cmpint(riscv_load_slow(h->cpu, TARGET + 0x100, 4, &v), ==, RISCV_EXCP_LOAD_ACCESS);
    g_assert_cmpint(riscv_load_slow(h->cpu, TARGET + 0xFC, 8, &v), ==, RISCV_EXCP_LOAD_ACCESS);
    g_assert_cmpint(riscv_store_slow(h->cpu, TARGET + 0x104, 8, 7), ==, RISCV_EXCP_NONE);
    g_assert_cmpuint(*hart_ram(h, TARGET + 0x100) >> 32, ==, 7);
    g_assert_false(cached(h, MMU_IDX_S, TARGET));
}

static void test_slow_access(void)
{
    g_autoptr(Hart) h = paged(8);
    uint64_t v;

    map(h, VA, 0, leaf(TARGET, PTE_R | PTE_W | AD));
    map(h, VA + 0x1000, 0, leaf(TARGET + 0x5000, PTE_R | PTE_W | AD)); /* not adjacent in memory */
    for (unsigned size = 1; size <= 8; size *= 2) {
        for (uint64_t at = VA + 0xFF0; at < VA + 0x1008; at++) {
            uint64_t want = UINT64_C(0x1122334455667788) >> (64 - 8 * size);

            g_assert_cmpint(riscv_store_slow(h->cpu, at, size, want), ==, RISCV_EXCP_NONE);
            g_assert_cmpint(riscv_load_slow(h->cpu, at, size, &v), ==, RISCV_EXCP_NONE);
            g_assert_cmphex(v, ==, want);
        }
    }
    g_assert_cmpint(riscv_store_slow(h->cpu, VA + 0xFFC, 8, 0x8877665544332211), ==,
                    RISCV_EXCP_NONE);
    g_assert_cmphex(*hart_ram(h, TARGET + 0xFF8) >> 32, ==, 0x44332211);
    g_assert_cmphex((uint32_t)*hart_ram(h, TARGET + 0x5000), ==, 0x88776655);

    /* The second page refuses: nothing of the first may change, and the report names the second. */
    map(h, VA + 0x1000, 0, leaf(TARGET + 0x5000, PTE_R | AD));
    riscv_sfence_vma(h->cpu);
    g_assert_cmpint(riscv_store_slow(h->cpu, VA + 0xFFC, 8, 0), ==, RISCV_EXCP_STORE_PAGE_FAULT);
    g_assert_cmphex(h->env->badaddr, ==, VA + 0x1000);
    g_assert_cmphex(*hart_ram(h, TARGET + 0xFF8) >> 32, ==, 0x44332211);
    map(h, VA, 0, 0);
    riscv_sfence_vma(h->cpu);
    g_assert_cmpint(riscv_load_slow(h->cpu, VA + 0xFFE, 4, &v), ==, RISCV_EXCP_LOAD_PAGE_FAULT);
    g_assert_cmphex(h->env->badaddr, ==, VA + 0xFFE);
}

static void test_devices(void)
{
    g_autoptr(Hart) h = hart_new(NULL);
    uint64_t v;

    g_assert_cmpint(riscv_load_slow(h->cpu, DEVICE + 4, 4, &v), ==, RISCV_EXCP_NONE);
    g_assert_cmphex(v, ==, 0x5A);
    g_assert_cmpint(riscv_store_slow(h->cpu, DEVICE, 8, 1), ==, RISCV_EXCP_NONE);
    g_assert_cmpuint(h->device_reads, ==, 1);
    g_assert_cmpuint(h->device_writes, ==, 1);
    /* Misaligned, inside the page and across its end; and nothing at all behind it. */
    g_assert_cmpint(riscv_load_slow(h->cpu, DEVICE + 2, 4, &v), ==, RISCV_EXCP_LOAD_ACCESS);
    g_assert_cmpint(riscv_store_slow(h->cpu, DEVICE + 0xFFE, 4, 0), ==, RISCV_EXCP_STORE_ACCESS);
    g_assert_cmpint(riscv_load_slow(h->cpu, 0x20000000, 4, &v), ==, RISCV_EXCP_LOAD_ACCESS);
    g_assert_cmphex(h->env->badaddr, ==, 0x20000000);
    g_assert_cmpuint(h->device_reads, ==, 1);
    g_assert_cmpuint(h->device_writes, ==, 1);
}

/* A store to a page the log considers clean marks it; across a page, both. */
static void test_stores_mark(void)
{
    g_autoptr(Hart) h = hart_new(NULL);
    unsigned long seen[BITS_TO_LONGS(RAM_SIZE / TARGET_PAGE_SIZE)] = {0};

    g_assert_true(dirty_log_start(h->list, DIRTY_CLIENT_MIGRATION, NULL));
    g_assert_cmpint(riscv_store_slow(h->cpu, RAM_BASE + 0x2FFE, 4, 1), ==, RISCV_EXCP_NONE);
    g_assert_cmpint(riscv_store_slow(h->cpu, RAM_BASE + 0x7008, 1, 1), ==, RISCV_EXCP_NONE);
    g_assert_cmpuint(dirty_log_sync_block(h->ram, DIRTY_CLIENT_MIGRATION, seen), ==, 3);
    g_assert_true(test_bit(2, seen) && test_bit(3, seen) && test_bit(7, seen));
    dirty_log_stop(h->list, DIRTY_CLIENT_MIGRATION);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/target/mmu/leaf-at-each-level", test_leaf_at_each_level);
    g_test_add_func("/target/mmu/canonical-addresses", test_canonical_addresses);
    g_test_add_func("/target/mmu/permissions", test_permissions);
    g_test_add_func("/target/mmu/bad-tables", test_bad_tables);
    g_test_add_func("/target/mmu/accessed-dirty", test_accessed_dirty);
    g_test_add_func("/target/mmu/indexes", test_mmu_indexes);
    g_test_add_func("/target/mmu/flushes", test_flushes);
    g_test_add_func("/target/mmu/pmp-faults", test_pmp_faults);
    g_test_add_func("/target/mmu/pmp-divides-page", test_pmp_divides_page);
    g_test_add_func("/target/mmu/slow-access", test_slow_access);
    g_test_add_func("/target/mmu/devices", test_devices);
    g_test_add_func("/target/mmu/stores-mark", test_stores_mark);
    return g_test_run();
}
