/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "memory/dirty-log.h"
#include "memory/dirty-meter.h"
#include "memory/softtlb.h"

void softtlb_flush(SoftTLB *tlb)
{
    /* All tags all-ones = SOFTTLB_INVALID; the addends do not matter then. */
    memset(tlb, 0xff, sizeof(*tlb));
}

void softtlb_flush_page(SoftTLB *tlb, uint64_t vaddr)
{
    SoftTLBEntry *e = softtlb_entry(tlb, vaddr);
    uint64_t page = vaddr & TARGET_PAGE_MASK;

    if (e->tag_read == page || e->tag_write == page || e->tag_exec == page) {
        e->tag_read = e->tag_write = e->tag_exec = SOFTTLB_INVALID;
    }
}

void softtlb_flush_write(SoftTLB *tlb)
{
    for (unsigned i = 0; i < SOFTTLB_SIZE; i++) {
        tlb->e[i].tag_write = SOFTTLB_INVALID;
    }
}

bool softtlb_fill(SoftTLB *tlb, AddressSpace *as, uint64_t vaddr, hwaddr paddr, bool may_read,
                  bool may_write, bool may_exec, bool is_store)
{
    SoftTLBEntry *e = softtlb_entry(tlb, vaddr);
    uint64_t page = vaddr & TARGET_PAGE_MASK;
    MemoryTranslation t;

    address_space_translate(as, paddr & TARGET_PAGE_MASK, &t);
    if (!t.host || t.len < TARGET_PAGE_SIZE) {
        return false;
    }
    e->tag_read = may_read ? page : SOFTTLB_INVALID;
    e->tag_exec = may_exec ? page : SOFTTLB_INVALID;
    e->tag_write = SOFTTLB_INVALID;
    e->addend = (uintptr_t)t.host - page;
    if (may_write && t.writable) {
        uint64_t offset = t.mr->block_offset + t.offset;

        if (is_store && !dirty_log_page_is_dirty(t.mr->block, offset >> TARGET_PAGE_BITS)) {
            dirty_meter_count_page();
            dirty_log_mark(t.mr->block, offset, TARGET_PAGE_SIZE);
        }
        if (dirty_log_page_is_dirty(t.mr->block, offset >> TARGET_PAGE_BITS)) {
            e->tag_write = page;
        }
    }
    return true;
}
