/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The riscv64 virt board (spec 80): what is where and who is wired to whom. Devices are created in
 * the order in which their sections travel (spec 82 section 2).
 */
#include "hw/boards.h"
#include "hw/char/serial-16550.h"
#include "hw/core/board-vmstate.h"
#include "hw/intc/aclint-swi.h"
#include "hw/intc/plic.h"
#include "hw/misc/finisher.h"
#include "hw/nvram/fw-cfg.h"
#include "hw/nvram/pflash-cfi01.h"
#include "hw/pci.h"
#include "hw/riscv/virt.h"
#include "hw/rtc/goldfish.h"
#include "hw/timer/aclint-mtimer.h"
#include "util/cutils.h"

#define MIP_SEIP 9
#define MIP_MEIP 11

static VirtBoard *board_of(Machine *m)
{
    return m->board;
}

/* ---- -machine properties ---- */

static VirtBoard *board_new_if_needed(Machine *m)
{
    if (!m->board) {
        m->board = g_new0(VirtBoard, 1);
    }
    return m->board;
}

static bool virt_set_property(Machine *m, const char *name, const char *value, bool *known,
                              GError **errp)
{
    VirtBoard *board = board_new_if_needed(m);

    *known = true;
    if (strcmp(name, "aclint") == 0) {
        return parse_bool(value, &board->aclint, errp);
    }
    if (strcmp(name, "aia") == 0) {
        if (strcmp(value, "none") != 0) {
            error_setg(errp, "aia=%s is not available: this board has a PLIC, use aia=none", value);
            return false;
        }
        return true;
    }
    *known = false;
    return false;
}

/* ---- construction ---- */

static bool map_memory(Machine *m, GError **errp)
{
    VirtBoard *board = board_of(m);

    memory_region_init_ram(&board->dram, "riscv_virt_board.ram", m->ram);
    address_space_add(m->as, &board->dram, VIRT_DRAM_BASE, 0);
    board->mrom_block = ram_block_new_anon(m->ram_list, "riscv_virt_board.mrom", VIRT_MROM_SIZE,
                                           RAM_MIGRATABLE | RAM_READONLY, errp);
    if (!board->mrom_block) {
        return false;
    }
    memory_region_init_rom(&board->mrom, "riscv_virt_board.mrom", board->mrom_block);
    address_space_add(m->as, &board->mrom, VIRT_MROM_BASE, 0);
    return true;
}

static bool create_cpus(Machine *m, GError **errp)
{
    for (unsigned h = 0; h < m->smp_cpus; h++) {
        RISCVCPU *cpu = riscv_cpu_new(m->cpu_model, m->cpu_props, h, m->as, m->vclock, errp);

        if (!cpu) {
            return false;
        }
        g_ptr_array_add(m->cpus, cpu);
        if (m->savevm && !riscv_cpu_register_vmstate(cpu, m->savevm, errp)) {
            return false;
        }
        if (m->accel) {
            m->accel->ops->add_vcpu(m->accel, cpu);
        }
    }
    return true;
}

static bool create_interrupt_controllers(Machine *m, GError **errp)
{
    VirtBoard *board = board_of(m);
    RISCVCPU *const *cpus = (RISCVCPU *const *)m->cpus->pdata;
    g_autofree Irq *outputs = g_new(Irq, 2 * m->smp_cpus);

    for (unsigned h = 0; h < m->smp_cpus; h++) {
        outputs[2 * h] = (Irq){riscv_cpu_irq_handler, cpus[h], MIP_MEIP};
        outputs[2 * h + 1] = (Irq){riscv_cpu_irq_handler, cpus[h], MIP_SEIP};
    }
    if (!aclint_swi_create(m, VIRT_CLINT_BASE, cpus, m->smp_cpus, false, errp) ||
        !aclint_mtimer_create(m, VIRT_CLINT_BASE + VIRT_MTIMER_OFF, cpus, m->smp_cpus, errp)) {
        return false;
    }
    if (board->aclint && !aclint_swi_create(m, VIRT_SSWI_BASE, cpus, m->smp_cpus, true, errp)) {
        return false;
    }
    board->plic = plic_create(m, VIRT_PLIC_BASE, VIRT_PLIC_SIZE, m->smp_cpus, outputs, errp);
    return board->plic != NULL;
}

static bool create_pcie(Machine *m, GError **errp)
{
    GpexConfig cfg = {
        .ecam_base = VIRT_ECAM_BASE,
        .ecam_size = VIRT_ECAM_SIZE,
        .windows.pio_base = VIRT_PCIE_PIO_BASE,
        .windows.pio_size = VIRT_PCIE_PIO_SIZE,
        .windows.mmio32_base = VIRT_MMIO32_BASE,
        .windows.mmio32_size = VIRT_MMIO32_SIZE,
        .windows.mmio64_base = virt_mmio64_base(m),
        .windows.mmio64_size = VIRT_MMIO64_SIZE,
    };

    for (unsigned pin = 0; pin < PCI_NUM_PINS; pin++) {
        cfg.irqs[pin] = plic_input(board_of(m)->plic, VIRT_IRQ_PCIE + pin);
    }
    return gpex_create(m, &cfg, errp) != NULL;
}

static bool create_flash(Machine *m, GError **errp)
{
    static const char *const names[] = {"virt.flash0", "virt.flash1"};

    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        if (!pflash_cfi01_create(m, names[i], VIRT_FLASH_BASE + i * VIRT_FLASH_SIZE, m->pflash[i],
                                 errp)) {
            g_prefix_error(errp, "pflash unit %u: ", i);
            return false;
        }
    }
    return true;
}

static bool create_virtio_slots(Machine *m, GError **errp)
{
    Irq irqs[VIRTIO_MMIO_SLOTS];

    for (unsigned i = 0; i < VIRTIO_MMIO_SLOTS; i++) {
        irqs[i] = plic_input(board_of(m)->plic, VIRT_IRQ_VIRTIO + i);
    }
    return virtio_mmio_create_slots(m, VIRT_VIRTIO_BASE, irqs, errp);
}

/* Would stock QEMU with the same command line have a user-mode network? */
static bool has_user_network(const Machine *m)
{
    return m->default_net || (m->nets && net_list_user_count(m->nets) > 0);
}

static bool virt_init(Machine *m, GError **errp)
{
    VirtBoard *board = board_new_if_needed(m);
    Irq uart_irq, rtc_irq;

    board->loader = loader_new(m->as);
    board->keep_memory = m->incoming;
    if (!map_memory(m, errp) || !clock_vmstate_create(m, errp) ||
        (has_user_network(m) && !slirp_vmstate_create(m, errp)) || !create_cpus(m, errp) ||
        !create_interrupt_controllers(m, errp)) {
        return false;
    }
    uart_irq = plic_input(board->plic, VIRT_IRQ_UART);
    rtc_irq = plic_input(board->plic, VIRT_IRQ_RTC);
    return finisher_create(m, VIRT_TEST_BASE, errp) && create_pcie(m, errp) &&
           serial_create(m, VIRT_UART_BASE, uart_irq, m->serial0, errp) &&
           goldfish_rtc_create(m, VIRT_RTC_BASE, rtc_irq, errp) && create_flash(m, errp) &&
           create_virtio_slots(m, errp);
}

/* fw_cfg comes after all -device in the stream. */
static bool virt_done(Machine *m, GError **errp)
{
    g_autoptr(DeviceState) fw_cfg = fw_cfg_new(m, errp);

    return fw_cfg && virt_boot_setup(m, fw_cfg, errp) &&
           fw_cfg_map(g_steal_pointer(&fw_cfg), VIRT_FW_CFG_BASE, errp);
}

/*
 * The first reset of a machine that waits for a migration leaves memory alone: it arrives, or is
 * shared with the source that still runs.
 */
static void virt_reset(Machine *m)
{
    VirtBoard *board = board_of(m);

    for (guint i = 0; i < m->cpus->len; i++) {
        riscv_cpu_reset(m->cpus->pdata[i]);
    }
    devices_reset_all(m); /* drives the harts' interrupt lines again */
    if (board->keep_memory) {
        board->keep_memory = false;
        return;
    }
    virt_fdt_new_seed(board->fdt);
    loader_reset(board->loader);
}

static void virt_finalize(Machine *m)
{
    VirtBoard *board = board_of(m);

    if (!board) {
        return;
    }
    for (guint i = 0; i < m->cpus->len; i++) {
        riscv_cpu_free(m->cpus->pdata[i]);
    }
    g_ptr_array_set_size(m->cpus, 0);
    if (board->mrom_block) {
        address_space_del(m->as, &board->mrom);
        ram_block_free(board->mrom_block);
    }
    if (board->dram.as) {
        address_space_del(m->as, &board->dram);
    }
    loader_free(board->loader);
    g_free(board->fdt);
    g_free(board);
    m->board = NULL;
}

const MachineClass virt_machine_class = {
    .name = "virt",
    .desc = "RISC-V VirtIO board",
    .max_cpus = VIRT_MAX_CPUS,
    .default_cpu = "rv64",
    .default_ram_id = "riscv_virt_board.ram",
    .default_ram_size = 128 * MiB,
    .set_property = virt_set_property,
    .init = virt_init,
    .done = virt_done,
    .reset = virt_reset,
    .finalize = virt_finalize,
};
