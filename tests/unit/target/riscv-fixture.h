/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One hart with 16 MiB of RAM at 0x80000000 and a device page at 0x10000000. */
#ifndef GODWIT_TESTS_RISCV_FIXTURE_H
#define GODWIT_TESTS_RISCV_FIXTURE_H

#include "memory/dirty-log.h"
#include "target/riscv/internal.h"

#define RAM_BASE UINT64_C(0x80000000)
#define RAM_SIZE (16 * MiB)
#define DEVICE   UINT64_C(0x10000000)

typedef struct {
    RAMList *list;
    AddressSpace *as;
    RAMBlock *ram;
    MemoryRegion ram_mr, device_mr;
    Clock *clock;
    RISCVCPU *cpu;
    CPURISCVState *env;
    unsigned device_reads, device_writes;
    uint64_t time, mtimecmp, kicks;
} Hart;

static inline MemTxResult hart_device_read(void *opaque, hwaddr addr, unsigned size,
                                           uint64_t *value)
{
    ((Hart *)opaque)->device_reads++;
    *value = 0x5A;
    return MEMTX_OK;
}

static inline MemTxResult hart_device_write(void *opaque, hwaddr addr, unsigned size,
                                            uint64_t value)
{
    ((Hart *)opaque)->device_writes++;
    return MEMTX_OK;
}

static inline uint64_t hart_time(void *opaque)
{
    return ((Hart *)opaque)->time;
}

static inline uint64_t hart_mtimecmp(void *opaque, unsigned hart)
{
    return ((Hart *)opaque)->mtimecmp;
}

/* @props: a JSON object, or NULL. */
static inline Hart *hart_new(const char *props)
{
    static const MemoryRegionOps ops = {hart_device_read, hart_device_write, .sizes = 15};
    Hart *h = g_new0(Hart, 1);
    g_autoptr(JsonNode) node = props ? json_from_string(props, NULL) : NULL;

    h->list = ram_list_new();
    h->as = address_space_new(h->list);
    h->ram = ram_block_new_anon(h->list, "ram", RAM_SIZE, RAM_MIGRATABLE, NULL);
    memory_region_init_ram(&h->ram_mr, "ram", h->ram);
    address_space_add(h->as, &h->ram_mr, RAM_BASE, 0);
    memory_region_init_io(&h->device_mr, "device", TARGET_PAGE_SIZE, &ops, h);
    address_space_add(h->as, &h->device_mr, DEVICE, 0);
    h->clock = clock_virtual_new();
    h->cpu =
        riscv_cpu_new("rv64", node ? json_node_get_object(node) : NULL, 0, h->as, h->clock, NULL);
    g_assert_nonnull(h->cpu);
    h->env = &h->cpu->env;
    h->cpu->rdtime = hart_time;
    h->cpu->mtimecmp = hart_mtimecmp;
    h->cpu->rdtime_opaque = h;
    h->mtimecmp = UINT64_MAX;
    return h;
}

static inline void hart_free(Hart *h)
{
    riscv_cpu_free(h->cpu);
    address_space_del(h->as, &h->device_mr);
    address_space_del(h->as, &h->ram_mr);
    address_space_free(h->as);
    ram_block_free(h->ram);
    ram_list_free(h->list);
    clock_free(h->clock);
    g_free(h);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Hart, hart_free)

/* A CSR that must be readable; a write that must succeed. */
static inline uint64_t hart_csr(Hart *h, unsigned csr)
{
    uint64_t v = 0;

    g_assert_cmpint(riscv_csr_read(h->cpu, csr, &v), ==, RISCV_EXCP_NONE);
    return v;
}

static inline RISCVException hart_csr_try_write(Hart *h, unsigned csr, uint64_t v)
{
    uint64_t old;

    return riscv_csr_rmw(h->cpu, csr, &old, v, UINT64_MAX, true);
}

static inline void hart_csr_write(Hart *h, unsigned csr, uint64_t v)
{
    g_assert_cmpint(hart_csr_try_write(h, csr, v), ==, RISCV_EXCP_NONE);
}

/* One PMP entry that lets S and U do everything. */
static inline void hart_open_pmp(Hart *h)
{
    hart_csr_write(h, CSR_PMPADDR0, UINT64_MAX);
    hart_csr_write(h, CSR_PMPCFG0, 0x1F);
}

static inline uint64_t *hart_ram(Hart *h, hwaddr addr)
{
    return (uint64_t *)(h->ram->host + (addr - RAM_BASE));
}

#endif
