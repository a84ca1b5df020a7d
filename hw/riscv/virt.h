/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of the virt board: what its files share (spec 80). */
#ifndef GODWIT_HW_RISCV_VIRT_H
#define GODWIT_HW_RISCV_VIRT_H

#include "hw/device.h"
#include "hw/core/loader.h"
#include "hw/virtio-mmio.h"

/* Physical memory map (spec 80 section 2). */
#define VIRT_MROM_BASE     UINT64_C(0x1000)
#define VIRT_MROM_SIZE     UINT64_C(0xF000)
#define VIRT_TEST_BASE     UINT64_C(0x100000)
#define VIRT_RTC_BASE      UINT64_C(0x101000)
#define VIRT_CLINT_BASE    UINT64_C(0x2000000)
#define VIRT_CLINT_SIZE    UINT64_C(0x10000)
#define VIRT_MTIMER_OFF    UINT64_C(0x4000)
#define VIRT_SSWI_BASE     UINT64_C(0x2F00000)
#define VIRT_PCIE_PIO_BASE UINT64_C(0x3000000)
#define VIRT_PCIE_PIO_SIZE UINT64_C(0x10000)
#define VIRT_PLATFORM_BASE UINT64_C(0x4000000)
#define VIRT_PLATFORM_SIZE UINT64_C(0x2000000)
#define VIRT_PLIC_BASE     UINT64_C(0xC000000)
#define VIRT_PLIC_SIZE     UINT64_C(0x600000)
#define VIRT_UART_BASE     UINT64_C(0x10000000)
#define VIRT_VIRTIO_BASE   UINT64_C(0x10001000)
#define VIRT_FW_CFG_BASE   UINT64_C(0x10100000)
#define VIRT_FLASH_BASE    UINT64_C(0x20000000)
#define VIRT_FLASH_SIZE    UINT64_C(0x2000000)
#define VIRT_ECAM_BASE     UINT64_C(0x30000000)
#define VIRT_ECAM_SIZE     UINT64_C(0x10000000)
#define VIRT_MMIO32_BASE   UINT64_C(0x40000000)
#define VIRT_MMIO32_SIZE   UINT64_C(0x40000000)
#define VIRT_DRAM_BASE     UINT64_C(0x80000000)
#define VIRT_MMIO64_SIZE   (16 * GiB)

/* PLIC sources (spec 80 section 3). */
#define VIRT_IRQ_VIRTIO 1
#define VIRT_IRQ_UART   10
#define VIRT_IRQ_RTC    11
#define VIRT_IRQ_PCIE   32

#define VIRT_MAX_CPUS 512

typedef struct {
    bool aclint;
    Loader *loader;
    RAMBlock *mrom_block;
    MemoryRegion mrom, dram;
    DeviceState *plic;
    bool keep_memory; /* the next reset loads no images */
    /* boot.c */
    void *fdt; /* final tree; rng-seed is rewritten at every reset */
    hwaddr fdt_addr;
} VirtBoard;

/* Where the 64-bit PCIe window begins: the first multiple of its size above RAM. */
static inline hwaddr virt_mmio64_base(const Machine *m)
{
    return ROUND_UP(VIRT_DRAM_BASE + m->ram_size, VIRT_MMIO64_SIZE);
}

/*
 * The generated device tree (spec 80 section 14), in a buffer of @size bytes with room for /chosen
 * entries. Free with g_free().
 */
void *virt_fdt_new(Machine *m, size_t size);
/* /chosen properties of a direct kernel boot; @initrd_end 0: no initrd. */
bool virt_fdt_set_chosen(void *fdt, const char *bootargs, uint32_t initrd_start,
                         uint32_t initrd_end, GError **errp);
/* Fresh random bytes for /chosen/rng-seed, if the tree has it. */
void virt_fdt_new_seed(void *fdt);

/* Load firmware, kernel, initrd and device tree into the board's loader; fw_cfg items into @fw_cfg.
 */
bool virt_boot_setup(Machine *m, DeviceState *fw_cfg, GError **errp);

#endif
