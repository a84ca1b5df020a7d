/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs on the peer in M-mode: for each CSR that can be read, prints number, value, and what reads
 * back after writing ones and then zeros (or that it is read-only).
 */
#include "payload.h"

typedef struct {
    uint64_t value, trap;
} Result;

static uint32_t code[2] __attribute__((aligned(16)));

static Result run(uint32_t insn, uint64_t value)
{
    register uint64_t a0 __asm__("a0") = value;
    register uint64_t a1 __asm__("a1") = 0;

    code[0] = insn;
    code[1] = 0x00008067; /* ret */
    __asm__ volatile("fence.i\njalr %2"
                     : "+r"(a0), "+r"(a1)
                     : "r"(code)
                     : "ra", "t4", "t5", "t6", "memory");
    return (Result){a0, a1};
}

static Result csr_read(unsigned n)
{
    return run(0x00002573 | n << 20, 0); /* csrrs a0, n, x0 */
}

static Result csr_write(unsigned n, uint64_t v)
{
    return run(0x00051073 | n << 20, v); /* csrrw x0, n, a0 */
}

static void probe(unsigned n)
{
    Result first = csr_read(n);
    uint64_t ones, zeros;

    if (first.trap) {
        return;
    }
    if (csr_write(n, ~0ull).trap) {
        print_text("    {0x");
        print_hex(n, 3);
        print_text(", true, 0x");
        print_hex(first.value, 16);
        print_text(", 0, 0},\n");
        return;
    }
    ones = csr_read(n).value;
    csr_write(n, 0);
    zeros = csr_read(n).value;
    csr_write(n, first.value); /* before anything can trap: this may be mtvec */
    print_text("    {0x");
    print_hex(n, 3);
    print_text(", false, 0x");
    print_hex(first.value, 16);
    print_text(", 0x");
    print_hex(ones, 16);
    print_text(", 0x");
    print_hex(zeros, 16);
    print_text("},\n");
}

/* pmpcfg last: writing ones locks the entries. */
int main(void)
{
    for (unsigned n = 0; n < 4096; n++) {
        if (n < 0x3A0 || n > 0x3AF) {
            probe(n);
        }
    }
    for (unsigned n = 0x3A0; n <= 0x3AF; n++) {
        probe(n);
    }
    return 0;
}
