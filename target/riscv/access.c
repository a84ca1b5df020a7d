/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The slow path of loads and stores: TLB misses, page crossings, devices, clean pages (spec 81
 * section 5). */
#include "memory/dirty-log.h"
#include "target/riscv/internal.h"

/* Guest bytes are little-endian; one machine instruction each, so that aligned accesses stay
 * single-copy atomic. */
GUEST_ACCESS static uint64_t read_host(const void *p, unsigned size)
{
    uint16_t h;
    uint32_t w;
    uint64_t d;

    switch (size) {
    case 1:
        return *(const uint8_t *)p;
    case 2:
        memcpy(&h, p, 2);
        return GUINT16_FROM_LE(h);
    case 4:
        memcpy(&w, p, 4);
        return GUINT32_FROM_LE(w);
    default:
        memcpy(&d, p, 8);
        return GUINT64_FROM_LE(d);
    }
}

GUEST_ACCESS static void write_host(void *p, unsigned size, uint64_t v)
{
    uint16_t h = GUINT16_TO_LE((uint16_t)v);
    uint32_t w = GUINT32_TO_LE((uint32_t)v);
    uint64_t d = GUINT64_TO_LE(v);

    switch (size) {
    case 1:
        *(uint8_t *)p = v;
        break;
    case 2:
        memcpy(p, &h, 2);
        break;
    case 4:
        memcpy(p, &w, 4);
        break;
    default:
        memcpy(p, &d, 8);
        break;
    }
}

static RISCVException fail(RISCVCPU *cpu, RISCVException cause, uint64_t vaddr)
{
    cpu->env.badaddr = vaddr;
    return cause;
}

static inline unsigned bytes_to_page_end(uint64_t vaddr)
{
    return TARGET_PAGE_SIZE - (vaddr & ~TARGET_PAGE_MASK);
}

/* One side of an access that crosses a page: memory only, devices take no misaligned access. */
typedef struct {
    uint64_t vaddr;
    unsigned len;
    MemoryTranslation t;
} Piece;

static RISCVException find_piece(RISCVCPU *cpu, Piece *p, RISCVAccess access)
{
    bool store = access == ACCESS_STORE;
    hwaddr paddr;
    RISCVException e =
        riscv_translate(cpu, p->vaddr, p->len, access, cpu->env.mmu_idx_data, &paddr);

    if (e != RISCV_EXCP_NONE) {
        return e;
    }
    address_space_translate(cpu->as, paddr, &p->t);
    if (!p->t.host || p->t.len < p->len ||
        (store && !p->t.writable && p->t.mr->kind != REGION_ROM)) {
        return fail(cpu, store ? RISCV_EXCP_STORE_ACCESS : RISCV_EXCP_LOAD_ACCESS, p->vaddr);
    }
    return RISCV_EXCP_NONE;
}

/* Both pages must allow the access before anything is read or written. */
static RISCVException find_pieces(RISCVCPU *cpu, uint64_t vaddr, unsigned size, RISCVAccess access,
                                  Piece p[2])
{
    unsigned first = bytes_to_page_end(vaddr);
    RISCVException e;

    p[0] = (Piece){.vaddr = vaddr, .len = first};
    p[1] = (Piece){.vaddr = vaddr + first, .len = size - first};
    e = find_piece(cpu, &p[0], access);
    return e == RISCV_EXCP_NONE ? find_piece(cpu, &p[1], access) : e;
}

GUEST_ACCESS RISCVException riscv_load_slow(RISCVCPU *cpu, uint64_t vaddr, unsigned size,
                                            uint64_t *value)
{
    unsigned idx = cpu->env.mmu_idx_data;
    const SoftTLBEntry *entry;
    RISCVException e;
    hwaddr paddr;

    if (unlikely(bytes_to_page_end(vaddr) < size)) {
        uint64_t bytes = 0;
        Piece p[2];

        e = find_pieces(cpu, vaddr, size, ACCESS_LOAD, p);
        if (e == RISCV_EXCP_NONE) {
            memcpy(&bytes, p[0].t.host, p[0].len);
            memcpy((uint8_t *)&bytes + p[0].len, p[1].t.host, p[1].len);
            *value = GUINT64_FROM_LE(bytes);
        }
        return e;
    }
    e = riscv_translate(cpu, vaddr, size, ACCESS_LOAD, idx, &paddr);
    if (e != RISCV_EXCP_NONE) {
        return e;
    }
    entry = softtlb_entry(&cpu->env.tlb[idx], vaddr);
    if (entry->tag_read == (vaddr & TARGET_PAGE_MASK)) {
        *value = read_host((const void *)(entry->addend + vaddr), size);
        return RISCV_EXCP_NONE;
    }
    return address_space_load(cpu->as, paddr, size, value) == MEMTX_OK
               ? RISCV_EXCP_NONE
               : fail(cpu, RISCV_EXCP_LOAD_ACCESS, vaddr);
}

GUEST_ACCESS RISCVException riscv_store_slow(RISCVCPU *cpu, uint64_t vaddr, unsigned size,
                                             uint64_t value)
{
    unsigned idx = cpu->env.mmu_idx_data;
    const SoftTLBEntry *entry;
    RISCVException e;
    hwaddr paddr;

    if (unlikely(bytes_to_page_end(vaddr) < size)) {
        uint64_t bytes = GUINT64_TO_LE(value);
        const uint8_t *from = (const uint8_t *)&bytes;
        Piece p[2];

        e = find_pieces(cpu, vaddr, size, ACCESS_STORE, p);
        for (unsigned i = 0; e == RISCV_EXCP_NONE && i < 2; from += p[i].len, i++) {
            if (p[i].t.writable) {
                memcpy(p[i].t.host, from, p[i].len);
                dirty_log_mark(p[i].t.mr->block, p[i].t.mr->block_offset + p[i].t.offset, p[i].len);
            }
        }
        return e;
    }
    e = riscv_translate(cpu, vaddr, size, ACCESS_STORE, idx, &paddr);
    if (e != RISCV_EXCP_NONE) {
        return e;
    }
    entry = softtlb_entry(&cpu->env.tlb[idx], vaddr);
    if (entry->tag_write == (vaddr & TARGET_PAGE_MASK)) {
        write_host((void *)(entry->addend + vaddr), size, value);
        return RISCV_EXCP_NONE;
    }
    return address_space_store(cpu->as, paddr, size, value) == MEMTX_OK
               ? RISCV_EXCP_NONE
               : fail(cpu, RISCV_EXCP_STORE_ACCESS, vaddr);
}
