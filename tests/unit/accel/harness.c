/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "harness.h"
#include "util/lock.h"

static MemTxResult uart_read(void *opaque, hwaddr addr, unsigned size, uint64_t *value)
{
    *value = addr == 5 ? 0x60 : 0;
    return MEMTX_OK;
}

static MemTxResult uart_write(void *opaque, hwaddr addr, unsigned size, uint64_t value)
{
    Harness *h = opaque;

    if (addr == 0) {
        g_string_append_c(h->serial, value);
        if (h->echo) {
            putchar(value);
            fflush(stdout);
        }
    }
    return MEMTX_OK;
}

static MemTxResult finisher_read(void *opaque, hwaddr addr, unsigned size, uint64_t *value)
{
    *value = 0;
    return MEMTX_OK;
}

static MemTxResult finisher_write(void *opaque, hwaddr addr, unsigned size, uint64_t value)
{
    Harness *h = opaque;

    __atomic_store_n(&h->finished, (uint32_t)value, __ATOMIC_SEQ_CST);
    return MEMTX_OK;
}

static const MemoryRegionOps uart_ops = {.read = uart_read, .write = uart_write, .sizes = 1};
static const MemoryRegionOps finisher_ops = {
    .read = finisher_read, .write = finisher_write, .sizes = 4};

static uint64_t read_time(void *opaque)
{
    Harness *h = opaque;

    return clock_get_ns(h->vclock) / 100;
}

Harness *harness_new(uint64_t ram_size, unsigned harts)
{
    Harness *h = g_new0(Harness, 1);
    GError *err = NULL;

    bql_lock();
    h->serial = g_string_new(NULL);
    h->ram_list = ram_list_new();
    h->as = address_space_new(h->ram_list);
    h->vclock = clock_virtual_new();
    h->ram = ram_block_new_anon(h->ram_list, "ram", ram_size, RAM_MIGRATABLE, &err);
    g_assert_no_error(err);
    memory_region_init_ram(&h->ram_mr, "ram", h->ram);
    memory_region_init_io(&h->uart_mr, "uart", 8, &uart_ops, h);
    memory_region_init_io(&h->finisher_mr, "finisher", 0x1000, &finisher_ops, h);
    address_space_add(h->as, &h->ram_mr, HARNESS_RAM, 0);
    address_space_add(h->as, &h->uart_mr, HARNESS_UART, 0);
    address_space_add(h->as, &h->finisher_mr, HARNESS_FINISHER, 0);
    h->accel = accel_find("interp")->create(accel_find("interp"), h->as, h->vclock, &err);
    g_assert_no_error(err);
    h->cpus = g_ptr_array_new();
    for (unsigned i = 0; i < harts; i++) {
        RISCVCPU *cpu = riscv_cpu_new("rv64", NULL, i, h->as, h->vclock, &err);

        g_assert_no_error(err);
        cpu->rdtime = read_time;
        cpu->rdtime_opaque = h;
        riscv_cpu_reset(cpu);
        cpu->env.pc = HARNESS_RAM;
        cpu->env.gpr[10] = i;
        g_ptr_array_add(h->cpus, cpu);
        h->accel->ops->add_vcpu(h->accel, cpu);
    }
    clock_virtual_start(h->vclock);
    return h;
}

void harness_free(Harness *h)
{
    h->accel->ops->destroy(h->accel);
    for (unsigned i = 0; i < h->cpus->len; i++) {
        riscv_cpu_free(harness_cpu(h, i));
    }
    g_ptr_array_unref(h->cpus);
    address_space_del(h->as, &h->ram_mr);
    address_space_del(h->as, &h->uart_mr);
    address_space_del(h->as, &h->finisher_mr);
    address_space_free(h->as);
    ram_block_free(h->ram);
    ram_list_free(h->ram_list);
    clock_free(h->vclock);
    g_string_free(h->serial, true);
    g_free(h);
    bql_unlock();
}

RISCVCPU *harness_cpu(Harness *h, unsigned i)
{
    return g_ptr_array_index(h->cpus, i);
}

void *harness_ptr(Harness *h, uint64_t addr)
{
    return h->ram->host + (addr - HARNESS_RAM);
}

void harness_code(Harness *h, uint64_t addr, const uint32_t *words, unsigned n)
{
    memcpy(harness_ptr(h, addr), words, n * sizeof(*words));
}

uint32_t harness_run(Harness *h)
{
    int64_t give_up = g_get_monotonic_time() + 300 * G_USEC_PER_SEC;

    __atomic_store_n(&h->finished, 0, __ATOMIC_SEQ_CST);
    h->accel->ops->resume_all(h->accel);
    bql_unlock();
    while (!__atomic_load_n(&h->finished, __ATOMIC_SEQ_CST)) {
        g_assert_cmpint(g_get_monotonic_time(), <, give_up);
        g_usleep(200);
    }
    bql_lock();
    h->accel->ops->pause_all(h->accel);
    return h->finished;
}
