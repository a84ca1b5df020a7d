/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device tree of the virt board (spec 80 section 14). Nodes are written in the order in which
 * stock QEMU's tree has them: guests number devices by it.
 */
#include <libfdt.h>
#include "hw/riscv/virt.h"
#include "hw/intc/aclint-swi.h"
#include "hw/intc/plic.h"
#include "hw/timer/aclint-mtimer.h"

#define IRQ_M_SOFT  3
#define IRQ_M_TIMER 7
#define IRQ_S_SOFT  1
#define IRQ_M_EXT   11
#define IRQ_S_EXT   9

#define RNG_SEED_SIZE 32

/* phandles: cpu and interrupt controller of each hart from the last to the first, then these. */
static uint32_t cpu_phandle(const Machine *m, unsigned hart)
{
    return 2 * (m->smp_cpus - 1 - hart) + 1;
}

static uint32_t intc_phandle(const Machine *m, unsigned hart)
{
    return cpu_phandle(m, hart) + 1;
}

static uint32_t plic_phandle(const Machine *m)
{
    return 2 * m->smp_cpus + 1;
}

static uint32_t test_phandle(const Machine *m)
{
    return 2 * m->smp_cpus + 2;
}

/* ---- small writers over libfdt's sequential interface; the buffer is large enough by construction
 * ---- */

static void must(int ret)
{
    if (ret < 0) {
        g_error("device tree: %s", fdt_strerror(ret));
    }
}

static void begin(void *fdt, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
static void begin(void *fdt, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *name = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    must(fdt_begin_node(fdt, name));
}

static void end(void *fdt)
{
    must(fdt_end_node(fdt));
}

static void prop_flag(void *fdt, const char *name)
{
    must(fdt_property(fdt, name, NULL, 0));
}

static void prop_string(void *fdt, const char *name, const char *value)
{
    must(fdt_property_string(fdt, name, value));
}

/* Several strings, NUL separated, as a literal: sizeof counts the last NUL. */
#define prop_strings(fdt, name, literal) must(fdt_property(fdt, name, literal, sizeof(literal)))

static void prop_u32(void *fdt, const char *name, uint32_t value)
{
    must(fdt_property_u32(fdt, name, value));
}

static void prop_cells_array(void *fdt, const char *name, const uint32_t *cells, size_t n)
{
    g_autofree uint32_t *be = g_new(uint32_t, n);

    for (size_t i = 0; i < n; i++) {
        be[i] = cpu_to_fdt32(cells[i]);
    }
    must(fdt_property(fdt, name, be, n * sizeof(uint32_t)));
}

#define prop_cells(fdt, name, ...)                               \
    do {                                                         \
        const uint32_t cells_[] = {__VA_ARGS__};                 \
        prop_cells_array(fdt, name, cells_, ARRAY_SIZE(cells_)); \
    } while (0)

#define CELLS64(v) (uint32_t)((uint64_t)(v) >> 32), (uint32_t)(v)

static void prop_reg(void *fdt, hwaddr base, uint64_t size)
{
    prop_cells(fdt, "reg", CELLS64(base), CELLS64(size));
}

/* interrupts-extended: <intc irq> for each of @irqs of each hart, ascending. */
static void prop_hart_irqs(void *fdt, const Machine *m, const uint32_t *irqs, unsigned n)
{
    g_autofree uint32_t *cells = g_new(uint32_t, (size_t)m->smp_cpus * n * 2);
    size_t at = 0;

    for (unsigned h = 0; h < m->smp_cpus; h++) {
        for (unsigned i = 0; i < n; i++) {
            cells[at++] = intc_phandle(m, h);
            cells[at++] = irqs[i];
        }
    }
    prop_cells_array(fdt, "interrupts-extended", cells, at);
}

/* ---- nodes outside /soc ---- */

static void write_pmu(void *fdt, const Machine *m)
{
    const RISCVCPU *cpu = m->cpus->pdata[0];
    uint32_t mask = ((UINT64_C(1) << cpu->cfg.pmu_num) - 1) << 3;

    begin(fdt, "pmu");
    /* event, event, counters: cycles, instructions, DTLB read, DTLB write, ITLB misses */
    prop_cells(fdt, "riscv,event-to-mhpmcounters", 1, 1, mask | 1, 2, 2, mask | 4, 0x10019, 0x10019,
               mask, 0x1001B, 0x1001B, mask, 0x10021, 0x10021, mask, 0, 0, 0, 0, 0);
    prop_string(fdt, "compatible", "riscv,pmu");
    end(fdt);
}

static void write_fw_cfg(void *fdt)
{
    begin(fdt, "fw-cfg@%" PRIx64, VIRT_FW_CFG_BASE);
    prop_flag(fdt, "dma-coherent");
    prop_reg(fdt, VIRT_FW_CFG_BASE, 0x18);
    prop_string(fdt, "compatible", "qemu,fw-cfg-mmio");
    end(fdt);
}

static void write_flash(void *fdt)
{
    begin(fdt, "flash@%" PRIx64, VIRT_FLASH_BASE);
    prop_u32(fdt, "bank-width", 4);
    prop_cells(fdt, "reg", CELLS64(VIRT_FLASH_BASE), CELLS64(VIRT_FLASH_SIZE),
               CELLS64(VIRT_FLASH_BASE + VIRT_FLASH_SIZE), CELLS64(VIRT_FLASH_SIZE));
    prop_string(fdt, "compatible", "cfi-flash");
    end(fdt);
}

static void write_chosen(void *fdt)
{
    static const uint8_t seed[RNG_SEED_SIZE];

    begin(fdt, "chosen");
    must(fdt_property(fdt, "rng-seed", seed, sizeof(seed)));
    prop_string(fdt, "stdout-path", "/soc/serial@10000000");
    end(fdt);
}

static void write_syscon(void *fdt, const Machine *m, const char *name, const char *compatible,
                         uint32_t value)
{
    begin(fdt, "%s", name);
    prop_u32(fdt, "value", value);
    prop_u32(fdt, "offset", 0);
    prop_u32(fdt, "regmap", test_phandle(m));
    prop_string(fdt, "compatible", compatible);
    end(fdt);
}

static void write_platform_bus(void *fdt, const Machine *m)
{
    begin(fdt, "platform-bus@%" PRIx64, VIRT_PLATFORM_BASE);
    prop_u32(fdt, "interrupt-parent", plic_phandle(m));
    prop_cells(fdt, "ranges", 0, CELLS64(VIRT_PLATFORM_BASE), VIRT_PLATFORM_SIZE);
    prop_u32(fdt, "#address-cells", 1);
    prop_u32(fdt, "#size-cells", 1);
    prop_strings(fdt, "compatible", "qemu,platform\0simple-bus");
    end(fdt);
}

static void write_memory(void *fdt, const Machine *m)
{
    begin(fdt, "memory@%" PRIx64, VIRT_DRAM_BASE);
    prop_string(fdt, "device_type", "memory");
    prop_reg(fdt, VIRT_DRAM_BASE, m->ram_size);
    end(fdt);
}

static void write_cpu(void *fdt, const Machine *m, unsigned hart)
{
    const RISCVCPU *cpu = m->cpus->pdata[hart];
    g_autofree char *isa = riscv_isa_string(cpu);

    begin(fdt, "cpu@%x", hart);
    prop_u32(fdt, "phandle", cpu_phandle(m, hart));
    prop_string(fdt, "device_type", "cpu");
    prop_u32(fdt, "reg", hart);
    prop_string(fdt, "status", "okay");
    prop_string(fdt, "compatible", "riscv");
    prop_string(fdt, "riscv,isa", isa);
    prop_string(fdt, "mmu-type", cpu->cfg.mmu ? "riscv,sv48" : "riscv,none");
    begin(fdt, "interrupt-controller");
    prop_u32(fdt, "#interrupt-cells", 1);
    prop_flag(fdt, "interrupt-controller");
    prop_string(fdt, "compatible", "riscv,cpu-intc");
    prop_u32(fdt, "phandle", intc_phandle(m, hart));
    end(fdt);
    end(fdt);
}

static void write_cpus(void *fdt, const Machine *m)
{
    begin(fdt, "cpus");
    prop_u32(fdt, "#address-cells", 1);
    prop_u32(fdt, "#size-cells", 0);
    prop_u32(fdt, "timebase-frequency", ACLINT_TIMEBASE_FREQ);
    for (unsigned h = 0; h < m->smp_cpus; h++) {
        write_cpu(fdt, m, h);
    }
    begin(fdt, "cpu-map");
    begin(fdt, "cluster0");
    for (unsigned h = 0; h < m->smp_cpus; h++) {
        begin(fdt, "core%u", h);
        prop_u32(fdt, "cpu", cpu_phandle(m, h));
        end(fdt);
    }
    end(fdt);
    end(fdt);
    end(fdt);
}

/* ---- nodes in /soc ---- */

static void write_device(void *fdt, const Machine *m, const char *name, hwaddr base, uint64_t size,
                         uint32_t irq, const char *compatible, uint32_t clock_frequency)
{
    begin(fdt, "%s@%" PRIx64, name, base);
    prop_u32(fdt, "interrupts", irq);
    prop_u32(fdt, "interrupt-parent", plic_phandle(m));
    if (clock_frequency) {
        prop_u32(fdt, "clock-frequency", clock_frequency);
    }
    prop_reg(fdt, base, size);
    prop_string(fdt, "compatible", compatible);
    end(fdt);
}

static void write_test(void *fdt, const Machine *m)
{
    begin(fdt, "test@%" PRIx64, VIRT_TEST_BASE);
    prop_u32(fdt, "phandle", test_phandle(m));
    prop_reg(fdt, VIRT_TEST_BASE, 0x1000);
    prop_strings(fdt, "compatible", "sifive,test1\0sifive,test0\0syscon");
    end(fdt);
}

static void write_pci(void *fdt, const Machine *m)
{
    enum { DEVICES = 4, PINS = 4, CELLS = 6 };
    uint32_t map[DEVICES * PINS * CELLS];
    size_t at = 0;
    hwaddr high = virt_mmio64_base(m);

    for (uint32_t dev = 0; dev < DEVICES; dev++) {
        for (uint32_t pin = 0; pin < PINS; pin++) {
            const uint32_t entry[CELLS] = {
                dev << 11, 0, 0, pin + 1, plic_phandle(m), VIRT_IRQ_PCIE + (dev + pin) % PINS};

            memcpy(map + at, entry, sizeof(entry));
            at += CELLS;
        }
    }
    begin(fdt, "pci@%" PRIx64, VIRT_ECAM_BASE);
    prop_cells(fdt, "interrupt-map-mask", 0x1800, 0, 0, 7);
    prop_cells_array(fdt, "interrupt-map", map, at);
    prop_cells(fdt, "ranges", 0x1000000, CELLS64(0), CELLS64(VIRT_PCIE_PIO_BASE),
               CELLS64(VIRT_PCIE_PIO_SIZE), 0x2000000, CELLS64(VIRT_MMIO32_BASE),
               CELLS64(VIRT_MMIO32_BASE), CELLS64(VIRT_MMIO32_SIZE), 0x3000000, CELLS64(high),
               CELLS64(high), CELLS64(VIRT_MMIO64_SIZE));
    prop_reg(fdt, VIRT_ECAM_BASE, VIRT_ECAM_SIZE);
    prop_flag(fdt, "dma-coherent");
    prop_cells(fdt, "bus-range", 0, 0xFF);
    prop_u32(fdt, "linux,pci-domain", 0);
    prop_string(fdt, "device_type", "pci");
    prop_string(fdt, "compatible", "pci-host-ecam-generic");
    prop_u32(fdt, "#size-cells", 2);
    prop_u32(fdt, "#interrupt-cells", 1);
    prop_u32(fdt, "#address-cells", 3);
    end(fdt);
}

static void write_plic(void *fdt, const Machine *m)
{
    static const uint32_t irqs[] = {IRQ_M_EXT, IRQ_S_EXT};

    begin(fdt, "plic@%" PRIx64, VIRT_PLIC_BASE);
    prop_u32(fdt, "phandle", plic_phandle(m));
    prop_u32(fdt, "riscv,ndev", PLIC_SOURCES);
    prop_reg(fdt, VIRT_PLIC_BASE, VIRT_PLIC_SIZE);
    prop_hart_irqs(fdt, m, irqs, ARRAY_SIZE(irqs));
    prop_flag(fdt, "interrupt-controller");
    prop_strings(fdt, "compatible", "sifive,plic-1.0.0\0riscv,plic0");
    prop_u32(fdt, "#address-cells", 0);
    prop_u32(fdt, "#interrupt-cells", 1);
    end(fdt);
}

static void write_clint(void *fdt, const Machine *m)
{
    static const uint32_t irqs[] = {IRQ_M_SOFT, IRQ_M_TIMER};

    begin(fdt, "clint@%" PRIx64, VIRT_CLINT_BASE);
    prop_hart_irqs(fdt, m, irqs, ARRAY_SIZE(irqs));
    prop_reg(fdt, VIRT_CLINT_BASE, VIRT_CLINT_SIZE);
    prop_strings(fdt, "compatible", "sifive,clint0\0riscv,clint0");
    end(fdt);
}

static void write_aclint_swi(void *fdt, const Machine *m, const char *name, hwaddr base,
                             uint32_t irq, const char *compatible)
{
    begin(fdt, "%s@%" PRIx64, name, base);
    prop_u32(fdt, "#interrupt-cells", 0);
    prop_flag(fdt, "interrupt-controller");
    prop_hart_irqs(fdt, m, &irq, 1);
    prop_reg(fdt, base, ACLINT_SWI_SIZE);
    prop_string(fdt, "compatible", compatible);
    end(fdt);
}

static void write_aclint(void *fdt, const Machine *m)
{
    const hwaddr mtimer = VIRT_CLINT_BASE + VIRT_MTIMER_OFF;
    const uint32_t timer_irq = IRQ_M_TIMER;

    write_aclint_swi(fdt, m, "sswi", VIRT_SSWI_BASE, IRQ_S_SOFT, "riscv,aclint-sswi");
    begin(fdt, "mtimer@%" PRIx64, mtimer);
    prop_hart_irqs(fdt, m, &timer_irq, 1);
    prop_cells(fdt, "reg", CELLS64(mtimer + ACLINT_MTIMER_MTIME_OFF),
               CELLS64(VIRT_CLINT_SIZE - VIRT_MTIMER_OFF - ACLINT_MTIMER_MTIME_OFF),
               CELLS64(mtimer), CELLS64(ACLINT_MTIMER_MTIME_OFF));
    prop_string(fdt, "compatible", "riscv,aclint-mtimer");
    end(fdt);
    write_aclint_swi(fdt, m, "mswi", VIRT_CLINT_BASE, IRQ_M_SOFT, "riscv,aclint-mswi");
}

static void write_soc(void *fdt, const Machine *m)
{
    begin(fdt, "soc");
    prop_u32(fdt, "#address-cells", 2);
    prop_u32(fdt, "#size-cells", 2);
    prop_string(fdt, "compatible", "simple-bus");
    prop_flag(fdt, "ranges");
    write_device(fdt, m, "rtc", VIRT_RTC_BASE, 0x1000, VIRT_IRQ_RTC, "google,goldfish-rtc", 0);
    write_device(fdt, m, "serial", VIRT_UART_BASE, 0x100, VIRT_IRQ_UART, "ns16550a", 3686400);
    write_test(fdt, m);
    write_pci(fdt, m);
    for (unsigned i = VIRTIO_MMIO_SLOTS; i-- > 0;) {
        write_device(fdt, m, "virtio_mmio", VIRT_VIRTIO_BASE + i * VIRTIO_MMIO_STRIDE,
                     VIRTIO_MMIO_STRIDE, VIRT_IRQ_VIRTIO + i, "virtio,mmio", 0);
    }
    write_plic(fdt, m);
    if (((const VirtBoard *)m->board)->aclint) {
        write_aclint(fdt, m);
    } else {
        write_clint(fdt, m);
    }
    end(fdt);
}

void *virt_fdt_new(Machine *m, size_t size)
{
    void *fdt = g_malloc0(size);

    must(fdt_create(fdt, size));
    must(fdt_finish_reservemap(fdt));
    begin(fdt, "%s", "");
    prop_u32(fdt, "#address-cells", 2);
    prop_u32(fdt, "#size-cells", 2);
    prop_string(fdt, "compatible", "riscv-virtio");
    prop_string(fdt, "model", "riscv-virtio,qemu");
    write_pmu(fdt, m);
    write_fw_cfg(fdt);
    write_flash(fdt);
    write_chosen(fdt);
    write_syscon(fdt, m, "poweroff", "syscon-poweroff", 0x5555);
    write_syscon(fdt, m, "reboot", "syscon-reboot", 0x7777);
    write_platform_bus(fdt, m);
    write_memory(fdt, m);
    write_cpus(fdt, m);
    write_soc(fdt, m);
    end(fdt);
    must(fdt_finish(fdt));
    must(fdt_open_into(fdt, fdt, size)); /* room for virt_fdt_set_chosen() */
    return fdt;
}

static bool set_error(int ret, GError **errp)
{
    if (ret < 0) {
        error_setg(errp, "device tree: cannot set /chosen: %s", fdt_strerror(ret));
        return false;
    }
    return true;
}

bool virt_fdt_set_chosen(void *fdt, const char *bootargs, uint32_t initrd_start,
                         uint32_t initrd_end, GError **errp)
{
    int node = fdt_path_offset(fdt, "/chosen");

    if (node == -FDT_ERR_NOTFOUND) {
        node = fdt_add_subnode(fdt, 0, "chosen");
    }
    if (!set_error(node, errp)) {
        return false;
    }
    if (bootargs && *bootargs &&
        !set_error(fdt_setprop_string(fdt, node, "bootargs", bootargs), errp)) {
        return false;
    }
    return initrd_end == 0 ||
           (set_error(fdt_setprop_u32(fdt, node, "linux,initrd-start", initrd_start), errp) &&
            set_error(fdt_setprop_u32(fdt, node, "linux,initrd-end", initrd_end), errp));
}

void virt_fdt_new_seed(void *fdt)
{
    uint8_t seed[RNG_SEED_SIZE];
    int node = fdt_path_offset(fdt, "/chosen");

    if (node >= 0 && getentropy(seed, sizeof(seed)) == 0) {
        fdt_setprop_inplace(fdt, node, "rng-seed", seed, sizeof(seed)); /* absent: nothing to do */
    }
}
