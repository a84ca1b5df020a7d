/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entry and trap handler. A trap skips the instruction and leaves cause + 1 in a1, so that a probe can see it; t4-t6 are
 * clobbered.
 */
    .section .text.start
    .globl _start
_start:
    la      sp, stack_top
    la      t0, trap
    csrw    mtvec, t0
    li      t0, 0x6000              /* FS on */
    csrs    mstatus, t0
    call    main
    li      t0, 0x100000            /* the board's off switch */
    li      t1, 0x5555
    sw      t1, (t0)
1:  j       1b

    .balign 4
trap:
    csrr    a1, mcause
    addi    a1, a1, 1
    csrr    t6, mepc
    lhu     t5, 0(t6)
    andi    t5, t5, 3
    addi    t6, t6, 2
    li      t4, 3
    bne     t5, t4, 1f
    addi    t6, t6, 2
1:  csrw    mepc, t6
    mret

    .bss
    .balign 16
    .space  8192
stack_top:
