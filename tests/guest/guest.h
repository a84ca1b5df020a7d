/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every bare-metal test guest shares: the console, the clock, the boot arguments. M-mode, no C
 * library. */
#ifndef GODWIT_TESTS_GUEST_H
#define GODWIT_TESTS_GUEST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UART0          0x10000000ul
#define FINISHER       0x00100000ul
#define CLINT_MTIMECMP 0x02004000ul
#define TICKS_PER_US   10 /* the time CSR counts at 10 MHz */
#define MAX_HARTS      32

/* Each guest's entry, once per hart. */
void guest_main(unsigned long hart, const void *fdt);
/* Let the other harts enter guest_main(). */
void guest_release_harts(void);
/* Any trap is a failure of the machine under test: report and stop. */
void guest_trap(unsigned long cause, unsigned long epc, unsigned long tval);

static inline uint64_t guest_time(void)
{
    uint64_t t;

    __asm__ volatile("rdtime %0" : "=r"(t));
    return t;
}

void uart_putc(char c);
/* A received byte, or -1. */
int uart_getc(void);
/* %s %u (unsigned long) %x (unsigned long) only. Takes the console lock, so lines of several harts
 * stay whole. */
void guest_printf(const char *fmt, ...);
/* Ask the board to power off. */
void guest_power_off(void) __attribute__((noreturn));

/* /chosen/bootargs, or "". */
const char *fdt_bootargs(const void *fdt);
/* How many cpu@N nodes the tree has. */
unsigned fdt_count_harts(const void *fdt);
/* Value of "key=" in the arguments, with K/M/G suffixes; @fallback when absent. */
uint64_t arg_u64(const char *args, const char *key, uint64_t fallback);
/* Does "key=value" occur? */
bool arg_is(const char *args, const char *key, const char *value);

void *memset(void *dst, int c, size_t n);
void *memcpy(void *dst, const void *src, size_t n);

#endif
