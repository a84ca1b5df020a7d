/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The software TLB of one vCPU: guest virtual page -> host address, one table per MMU mode.
 *
 * Only the owning vCPU thread looks up and fills. Other threads ask for flushes through the
 * accelerator, which runs them on the vCPU thread between blocks (see accel/accel.h). The write tag
 * of an entry is valid only while the page is dirty for every active client, so the fast path needs
 * no dirty test.
 */
#ifndef GODWIT_MEMORY_SOFTTLB_H
#define GODWIT_MEMORY_SOFTTLB_H

#include "memory/address-space.h"

#define SOFTTLB_BITS    9
#define SOFTTLB_SIZE    (1u << SOFTTLB_BITS)
#define SOFTTLB_INVALID UINT64_MAX

/*
 * For functions that access guest memory on a guest's behalf. Harts, devices and migration share it
 * without synchronisation, as the architecture says; ThreadSanitizer shall not look for races
 * there.
 */
#define GUEST_ACCESS __attribute__((no_sanitize("thread")))

typedef struct {
    uint64_t tag_read; /* page-aligned guest virtual address, or SOFTTLB_INVALID */
    uint64_t tag_write;
    uint64_t tag_exec;
    uintptr_t addend; /* host = guest virtual + addend */
} SoftTLBEntry;
#define SOFTTLB_ENTRY_BITS 5
_Static_assert(sizeof(SoftTLBEntry) == 1u << SOFTTLB_ENTRY_BITS,
               "softtlb_entry() computes offsets");

/* One MMU mode's table. MMIO pages are never entered: they take the slow path each time. */
typedef struct {
    SoftTLBEntry e[SOFTTLB_SIZE];
} SoftTLB;

static inline SoftTLBEntry *softtlb_entry(SoftTLB *tlb, uint64_t vaddr)
{
    /* The byte offset in one shift and one mask; compilers do not find that for &tlb->e[index]. */
    uint64_t offset = (vaddr >> (TARGET_PAGE_BITS - SOFTTLB_ENTRY_BITS)) &
                      ((uint64_t)(SOFTTLB_SIZE - 1) << SOFTTLB_ENTRY_BITS);

    return (SoftTLBEntry *)((char *)tlb->e + offset);
}

void softtlb_flush(SoftTLB *tlb);
void softtlb_flush_page(SoftTLB *tlb, uint64_t vaddr);
/* Drop write permissions only: the dirty log was cleared. */
void softtlb_flush_write(SoftTLB *tlb);

/*
 * Enter a translation vaddr page -> @paddr page. The write tag is set only if @may_write and the
 * page is dirty already; with @is_store the page is marked dirty first. False if @paddr is not RAM
 * (nothing entered).
 */
bool softtlb_fill(SoftTLB *tlb, AddressSpace *as, uint64_t vaddr, hwaddr paddr, bool may_read,
                  bool may_write, bool may_exec, bool is_store);

#endif
