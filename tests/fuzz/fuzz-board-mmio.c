/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hostile guest pokes the registers of the whole board: each access is
 *
 *     op  region  offset-lo offset-mid  [value of 1 << (op & 3) bytes, for a store]
 *
 * op bits 0-1 size; 2-3: load, store, store to guest memory (region: page), let time pass.
 */
#include "fuzz.h"
#include "full-board.h"
#include "hw/riscv/virt.h"
#include "util/lock.h"

#define MAX_ACCESSES 4096

static FullBoard *board;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    board = full_board_new(true);
    return 0;
}

/* The last two cover what 64 KiB of offset do not reach from the base of their region. */
static const hwaddr regions[] = {
    VIRT_MROM_BASE,
    VIRT_TEST_BASE,
    VIRT_RTC_BASE,
    VIRT_CLINT_BASE,
    VIRT_PLIC_BASE,
    VIRT_PLIC_BASE + 0x200000,
    VIRT_UART_BASE,
    VIRT_FW_CFG_BASE,
    VIRT_FLASH_BASE,
    VIRT_FLASH_BASE + VIRT_FLASH_SIZE - 0x8000,
    VIRT_ECAM_BASE,
    VIRT_PCIE_PIO_BASE,
    VIRT_MMIO32_BASE,
    VIRT_VIRTIO_BASE,
    VIRT_DRAM_BASE + 64 * MiB - 0x8000,
    UINT64_MAX - 0x7fff,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput in = {data, data + size};
    Machine *m = board->f.m;

    net_list_set_running(m->nets, true);
    devices_vm_state(m, true);
    for (unsigned n = 0; n < MAX_ACCESSES && fuzz_left(&in); n++) {
        unsigned op = fuzz_take(&in, 1), bytes = 1 << (op & 3);
        unsigned region = fuzz_take(&in, 1);
        hwaddr addr = regions[region % G_N_ELEMENTS(regions)] + fuzz_take(&in, 2);
        uint64_t value;

        switch (op >> 2 & 3) {
        case 0:
            address_space_load(m->as, addr, bytes, &value);
            break;
        case 1:
            address_space_store(m->as, addr, bytes, fuzz_take(&in, bytes));
            break;
        case 2:
            addr = VIRT_DRAM_BASE + (region & 7) * 4096 + (addr & 0xff8);
            address_space_store(m->as, addr, bytes, fuzz_take(&in, bytes));
            break;
        default:
            clock_virtual_step_to(m->vclock, clock_get_ns(m->vclock) + region * 100000);
            g_main_context_iteration(NULL, FALSE);
            break;
        }
    }
    full_board_run(board);
    full_board_reset(board);
    return 0;
}
