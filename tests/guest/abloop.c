/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The workload of QEMU's qtest migration suite on riscv64 (spec 71 section 7): one 'A' on the
 * serial port, the first byte of each page of the test range zeroed, then increment them all in
 * ascending order for ever, a 'B' after every 32 passes. Nothing else may appear on the serial
 * port. Runs as raw firmware (-bios) or as a kernel.
 */
#include "guest.h"

#define TEST_START 0x80100000ul
#define TEST_END   (0x80000000ul + (100ul << 20))
#define PASSES     32

void guest_main(unsigned long hart, const void *fdt)
{
    volatile uint8_t *uart = (volatile uint8_t *)UART0;

    (void)fdt;
    if (hart) {
        return;
    }
    *uart = 'A';
    for (uintptr_t p = TEST_START; p < TEST_END; p += 4096) {
        *(volatile uint8_t *)p = 0;
    }
    for (;;) {
        for (unsigned pass = 0; pass < PASSES; pass++) {
            for (uintptr_t p = TEST_START; p < TEST_END; p += 4096) {
                ++*(volatile uint8_t *)p;
            }
        }
        *uart = 'B';
    }
}
