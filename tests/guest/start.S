/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entry of every test guest, M-mode: a0 = hart id, a1 = device tree. Hart 0 clears .bss and runs guest_main(hart, fdt);
 * the others wait until it calls guest_release_harts(). 8 KiB of stack per hart, above the image.
 */
    .section .text.start
    .globl _start
_start:
    la      t0, trap_entry
    csrw    mtvec, t0
    csrw    mie, zero
    la      sp, __stacks
    addi    t1, a0, 1
    slli    t1, t1, 13
    add     sp, sp, t1
    bnez    a0, park
    la      t0, __bss_start
    la      t1, __stacks
1:  bgeu    t0, t1, 2f
    sd      zero, 0(t0)
    addi    t0, t0, 8
    j       1b
2:  call    guest_main
3:  wfi
    j       3b

/* guest_go lives in .data: clearing .bss must not race with a hart that is already waiting. */
park:
    la      t0, guest_go
4:  lw      t1, 0(t0)
    beqz    t1, 4b
    fence
    call    guest_main
    j       3b

    .balign 4
trap_entry:
    csrr    a0, mcause
    csrr    a1, mepc
    csrr    a2, mtval
    call    guest_trap
5:  wfi
    j       5b

    .section .data
    .globl  guest_go
    .balign 8
guest_go:
    .dword  0
