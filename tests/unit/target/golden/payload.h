/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bare-metal M-mode on the virt board: text goes to the UART, returning from main() powers off. */
#ifndef GODWIT_TESTS_PAYLOAD_H
#define GODWIT_TESTS_PAYLOAD_H

#include <stdint.h>

static inline void print_char(char c)
{
    *(volatile uint8_t *)0x10000000 = c;
}

static inline void print_text(const char *s)
{
    while (*s) {
        print_char(*s++);
    }
}

static inline void print_hex(uint64_t v, int digits)
{
    while (digits--) {
        print_char("0123456789abcdef"[v >> (4 * digits) & 15]);
    }
}

#endif
