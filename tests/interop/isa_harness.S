# SPDX-License-Identifier: GPL-2.0-or-later
# Runs the cases of isa_payload.py one after the other in M, S or U mode and prints a hash of what each has done.
# With VERBOSE defined also prints what was hashed, except for the window: x0-x31, f0-f31, fcsr, trap hash, 8 PTEs; then
# cause, tval, epc and mstatus of the first 16 traps.

	.equ window, 0x84000000         # two pages
	.equ window_size, 0x2000
	.equ root, 0x84010000           # page tables: 1 GiB pages, and 4 KiB pages for the window
	.equ middle, 0x84011000
	.equ leaf, 0x84012000
	.equ save, 0x84020000           # x0-x31, f0-f31, fcsr, trap hash, PTEs
	.equ save_f, 256
	.equ save_fcsr, 512
	.equ save_traps, 520
	.equ save_ptes, 528
	.equ save_end, 592
	.equ trap_log, 592              # of 16 traps: cause, tval, epc, mstatus
	.equ trap_log_end, 1104
	.equ spill, 1536                # x5-x7 of an interrupted case, case, x8, end of the trap log
	.equ case_ptes, 24              # a case: entry, mstatus, satp, 8 PTEs, f0-f31, x0-x31
	.equ case_f, 88
	.equ case_x, 344
	.equ case_size, 600
	.equ uart, 0x10000000
	.equ uart_lsr, 5
	.equ uart_empty, 0x40
	.equ finisher, 0x100000

	.macro each_x insn:req, base:req, offset:req
	.irp n, 1, 2, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	\insn	x\n, \offset + 8 * \n(\base)
	.endr
	.endm

	.macro each_f insn:req, base:req, offset:req
	.irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	\insn	f\n, \offset + 8 * \n(\base)
	.endr
	.endm

	# hash = mix(hash ^ value); clobbers temp
	.macro mix hash:req, value:req, factor:req, temp:req
	xor	\hash, \hash, \value
	mul	\hash, \hash, \factor
	srli	\temp, \hash, 29
	xor	\hash, \hash, \temp
	.endm

	# until the transmitter (at t0) is empty; clobbers t4
	.macro wait_uart
.Lwait\@:
	lbu	t4, uart_lsr(t0)
	andi	t4, t4, uart_empty
	beqz	t4, .Lwait\@
	.endm

	.section .text.start, "ax"
	.globl	_start
_start:
	csrr	t0, mhartid
1:	beqz	t0, 2f
	wfi
	j	1b
2:
	lla	t0, trap
	csrw	mtvec, t0
	li	t0, save
	csrw	mscratch, t0
	li	t0, -1
	csrw	pmpaddr0, t0
	li	t0, 0x1f
	csrw	pmpcfg0, t0
	li	t0, root
	li	t1, (middle >> 2) | 0x01
	sd	t1, 8(t0)
	li	t1, (0x80000000 >> 2) | 0xcf
	sd	t1, 16(t0)              # DRAM where it is, for S
	ori	t1, t1, 0x10
	sd	t1, 24(t0)              # and again, for U
	li	t0, middle
	li	t1, (leaf >> 2) | 0x01
	sd	t1, 0(t0)
	lla	s0, cases
	li	t0, save
	sd	s0, spill + 24(t0)

start_case:                             # s0: case
	ld	t0, 0(s0)
	beqz	t0, finish
	csrw	mepc, t0
	ld	t0, 16(s0)
	csrw	satp, t0
	li	t0, leaf
	.irp n, 0, 1, 2, 3, 4, 5, 6, 7
	ld	t1, case_ptes + 8 * \n(s0)
	sd	t1, 8 * \n(t0)
	.endr
	sfence.vma
	li	t0, window
	li	t1, window + window_size
	li	t2, 0x9E3779B97F4A7C15
	mv	t3, t2
1:	sd	t3, 0(t0)
	add	t3, t3, t2
	addi	t0, t0, 8
	bltu	t0, t1, 1b
	li	t0, save
	sd	zero, save_traps(t0)
#ifdef VERBOSE
	addi	t1, t0, trap_log
	sd	t1, spill + 40(t0)
	addi	t2, t0, trap_log_end
1:	sd	zero, 0(t1)
	addi	t1, t1, 8
	bltu	t1, t2, 1b
#endif
	li	t0, 3 << 13
	csrs	mstatus, t0
	each_f	fld, s0, case_f
	csrw	fcsr, zero
	ld	t0, 8(s0)
	csrw	mstatus, t0
	mv	x4, s0
	ld	x5, case_x + 40(x4)
	each_x	ld, x4, case_x
	ld	x4, case_x + 32(x4)
	mret

	.balign	4
trap:
	csrrw	x4, mscratch, x4
	sd	x5, spill(x4)
	sd	x6, spill + 8(x4)
	sd	x7, spill + 16(x4)
	csrr	x5, mcause
	addi	x6, x5, -8
	sltiu	x6, x6, 4
	bnez	x6, end_case            # an ECALL from any mode
	sd	x8, spill + 32(x4)
	ld	x6, save_traps(x4)
	addi	x6, x6, 1
	li	x7, 0x9E3779B97F4A7C15
	mix	x6, x5, x7, x8
	csrr	x5, mtval
	mix	x6, x5, x7, x8
	csrr	x5, mepc
	mix	x6, x5, x7, x8
	csrr	x5, mstatus
	mix	x6, x5, x7, x8
	sd	x6, save_traps(x4)
#ifdef VERBOSE
	ld	x6, spill + 40(x4)
	addi	x7, x4, trap_log_end
	bgeu	x6, x7, 1f
	sd	x5, 24(x6)
	csrr	x5, mcause
	sd	x5, 0(x6)
	csrr	x5, mtval
	sd	x5, 8(x6)
	csrr	x5, mepc
	sd	x5, 16(x6)
	addi	x6, x6, 32
	sd	x6, spill + 40(x4)
1:
#endif
	ld	x8, spill + 32(x4)
	csrr	x5, mcause
	addi	x6, x5, -1
	beqz	x6, 2f
	addi	x6, x5, -12
	beqz	x6, 2f
	csrr	x5, mepc                # skip the instruction; clear the alias for U-mode
	slli	x6, x5, 34
	srli	x6, x6, 34
	li	x7, 0x80000000
	or	x6, x6, x7
	lhu	x6, 0(x6)
	andi	x6, x6, 3
	addi	x6, x6, -3
	addi	x5, x5, 2
	bnez	x6, 1f
	addi	x5, x5, 2
1:	csrw	mepc, x5
	j	3f
2:	csrw	mepc, x1                # it jumped to where nothing can be run
3:	ld	x5, spill(x4)
	ld	x6, spill + 8(x4)
	ld	x7, spill + 16(x4)
	csrrw	x4, mscratch, x4
	mret

end_case:
	ld	x5, spill(x4)
	sd	x5, 40(x4)
	ld	x6, spill + 8(x4)
	each_x	sd, x4, 0
	li	t0, 3 << 13
	csrs	mstatus, t0
	csrrw	t0, mscratch, x4
	sd	t0, 32(x4)
	each_f	fsd, x4, save_f
	csrr	t0, fcsr
	sd	t0, save_fcsr(x4)
	li	t1, leaf
	.irp n, 0, 1, 2, 3, 4, 5, 6, 7
	ld	t0, 8 * \n(t1)
	sd	t0, save_ptes + 8 * \n(x4)
	.endr
	li	a0, 0
	li	a1, 0x9E3779B97F4A7C15
	li	t0, save
	li	t1, save + save_end
	call	hash
	li	t0, window
	li	t1, window + window_size
	call	hash
	call	print
#ifdef VERBOSE
	li	s1, save
1:	ld	a0, 0(s1)
	call	print
	addi	s1, s1, 8
	li	t0, save + trap_log_end
	bltu	s1, t0, 1b
#endif
	li	t0, save
	ld	s0, spill + 24(t0)
	addi	s0, s0, case_size
	sd	s0, spill + 24(t0)
	j	start_case

hash:                                   # a0 with t0..t1
	ld	t2, 0(t0)
	mix	a0, t2, a1, t3
	addi	t0, t0, 8
	bltu	t0, t1, hash
	ret

print:                                  # a0 as 16 digits
	li	t0, uart
	li	t1, 60
	li	t2, 58
1:	srl	t3, a0, t1
	andi	t3, t3, 15
	addi	t3, t3, 48
	bltu	t3, t2, 2f
	addi	t3, t3, 39
2:	wait_uart
	sb	t3, 0(t0)
	addi	t1, t1, -4
	bgez	t1, 1b
	wait_uart
	li	t3, 10
	sb	t3, 0(t0)
	ret

finish:
	li	t0, uart
	wait_uart
	li	t0, 0x5555
	li	t1, finisher
	sw	t0, 0(t1)
1:	j	1b
