/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The smallest machine the interpreter can run on: RAM at 0x80000000, a serial port that collects
 * what is written, a finisher that records what is written, and a 10 MHz clock. Boots at the start
 * of RAM in M-mode.
 */
#ifndef GODWIT_TESTS_ACCEL_HARNESS_H
#define GODWIT_TESTS_ACCEL_HARNESS_H

#include "accel/accel.h"

#define HARNESS_RAM      UINT64_C(0x80000000)
#define HARNESS_UART     UINT64_C(0x10000000)
#define HARNESS_FINISHER UINT64_C(0x00100000)

typedef struct {
    RAMList *ram_list;
    AddressSpace *as;
    RAMBlock *ram;
    Clock *vclock;
    Accel *accel;
    GPtrArray *cpus;
    MemoryRegion ram_mr, uart_mr, finisher_mr;
    GString *serial;   /* under the big lock */
    bool echo;         /* also to stdout */
    uint32_t finished; /* what was written to the finisher, atomic; 0 = nothing yet */
} Harness;

/* @ram_size bytes, @harts of model rv64. Big lock held by the caller from here on, except inside
 * harness_run(). */
Harness *harness_new(uint64_t ram_size, unsigned harts);
void harness_free(Harness *h);
RISCVCPU *harness_cpu(Harness *h, unsigned i);
/* Host address of guest physical @addr. */
void *harness_ptr(Harness *h, uint64_t addr);
/* Put @n instruction words (32-bit) at @addr. */
void harness_code(Harness *h, uint64_t addr, const uint32_t *words, unsigned n);
/* Let all vCPUs run until the guest writes to the finisher, then pause them; what was written.
 * Fails after a minute. */
uint32_t harness_run(Harness *h);

#endif
