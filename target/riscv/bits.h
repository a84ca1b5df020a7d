/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers of the privileged architecture: CSRs, their fields, page table entries (spec 81 sections
 * 2-4). */
#ifndef GODWIT_TARGET_RISCV_BITS_H
#define GODWIT_TARGET_RISCV_BITS_H

#include "util/osdep.h"

#define BIT64(n) (UINT64_C(1) << (n))

enum {
    CSR_FFLAGS = 0x001,
    CSR_FRM = 0x002,
    CSR_FCSR = 0x003,
    CSR_SSTATUS = 0x100,
    CSR_SIE = 0x104,
    CSR_STVEC = 0x105,
    CSR_SCOUNTEREN = 0x106,
    CSR_SENVCFG = 0x10A,
    CSR_SSCRATCH = 0x140,
    CSR_SEPC = 0x141,
    CSR_SCAUSE = 0x142,
    CSR_STVAL = 0x143,
    CSR_SIP = 0x144,
    CSR_STIMECMP = 0x14D,
    CSR_SATP = 0x180,
    CSR_VSSTATUS = 0x200,
    CSR_VSIE = 0x204,
    CSR_VSTVEC = 0x205,
    CSR_VSSCRATCH = 0x240,
    CSR_VSEPC = 0x241,
    CSR_VSCAUSE = 0x242,
    CSR_VSTVAL = 0x243,
    CSR_VSIP = 0x244,
    CSR_VSTIMECMP = 0x24D,
    CSR_VSATP = 0x280,
    CSR_MSTATUS = 0x300,
    CSR_MISA = 0x301,
    CSR_MEDELEG = 0x302,
    CSR_MIDELEG = 0x303,
    CSR_MIE = 0x304,
    CSR_MTVEC = 0x305,
    CSR_MCOUNTEREN = 0x306,
    CSR_MENVCFG = 0x30A,
    CSR_MCOUNTINHIBIT = 0x320,
    CSR_MHPMEVENT3 = 0x323,
    CSR_MHPMEVENT31 = 0x33F,
    CSR_MSCRATCH = 0x340,
    CSR_MEPC = 0x341,
    CSR_MCAUSE = 0x342,
    CSR_MTVAL = 0x343,
    CSR_MIP = 0x344,
    CSR_MTINST = 0x34A,
    CSR_MTVAL2 = 0x34B,
    CSR_PMPCFG0 = 0x3A0,
    CSR_PMPCFG2 = 0x3A2,
    CSR_PMPADDR0 = 0x3B0,
    CSR_PMPADDR15 = 0x3BF,
    CSR_HSTATUS = 0x600,
    CSR_HEDELEG = 0x602,
    CSR_HIDELEG = 0x603,
    CSR_HIE = 0x604,
    CSR_HTIMEDELTA = 0x605,
    CSR_HCOUNTEREN = 0x606,
    CSR_HGEIE = 0x607,
    CSR_HENVCFG = 0x60A,
    CSR_HTVAL = 0x643,
    CSR_HIP = 0x644,
    CSR_HVIP = 0x645,
    CSR_HTINST = 0x64A,
    CSR_HGATP = 0x680,
    CSR_TSELECT = 0x7A0,
    CSR_TDATA1 = 0x7A1,
    CSR_TDATA2 = 0x7A2,
    CSR_TDATA3 = 0x7A3,
    CSR_TINFO = 0x7A4,
    CSR_MCYCLE = 0xB00,
    CSR_MINSTRET = 0xB02,
    CSR_MHPMCOUNTER31 = 0xB1F,
    CSR_CYCLE = 0xC00,
    CSR_TIME = 0xC01,
    CSR_INSTRET = 0xC02,
    CSR_HPMCOUNTER31 = 0xC1F,
    CSR_HGEIP = 0xE12,
    CSR_MVENDORID = 0xF11,
    CSR_MARCHID = 0xF12,
    CSR_MIMPID = 0xF13,
    CSR_MHARTID = 0xF14,
    CSR_MCONFIGPTR = 0xF15,
};

#define MISA_EXT(letter) (1u << ((letter) - 'a'))

#define MSTATUS_SIE       BIT64(1)
#define MSTATUS_MIE       BIT64(3)
#define MSTATUS_SPIE      BIT64(5)
#define MSTATUS_MPIE      BIT64(7)
#define MSTATUS_SPP       BIT64(8)
#define MSTATUS_VS        (BIT64(9) | BIT64(10))
#define MSTATUS_MPP_SHIFT 11
#define MSTATUS_MPP       (UINT64_C(3) << MSTATUS_MPP_SHIFT)
#define MSTATUS_FS        (BIT64(13) | BIT64(14))
#define MSTATUS_MPRV      BIT64(17)
#define MSTATUS_SUM       BIT64(18)
#define MSTATUS_MXR       BIT64(19)
#define MSTATUS_TVM       BIT64(20)
#define MSTATUS_TW        BIT64(21)
#define MSTATUS_TSR       BIT64(22)
#define MSTATUS_UXL       (BIT64(32) | BIT64(33))
#define MSTATUS_SXL       (BIT64(34) | BIT64(35))
#define MSTATUS_XL64      (BIT64(33) | BIT64(35)) /* UXL = SXL = 2 */
#define MSTATUS_GVA       BIT64(38)
#define MSTATUS_MPV       BIT64(39)
#define MSTATUS_SD        BIT64(63)

#define HSTATUS_VSBE BIT64(5)
#define HSTATUS_GVA  BIT64(6)
#define HSTATUS_SPV  BIT64(7)
#define HSTATUS_VSXL (BIT64(32) | BIT64(33))

#define MIP_SSIP        BIT64(1)
#define MIP_VSSIP       BIT64(2)
#define MIP_STIP        BIT64(5)
#define MIP_VSTIP       BIT64(6)
#define MIP_MTIP        BIT64(7)
#define MIP_SEIP        BIT64(9)
#define MIP_VSEIP       BIT64(10)
#define MIP_LCOFIP      BIT64(13)
#define MIP_S_BITS      UINT64_C(0x2222) /* S level, and the counter overflow bit */
#define MIP_VS_BITS     UINT64_C(0x0444)
#define MIP_HS_BITS     UINT64_C(0x1444) /* VS level and guest external */
#define IRQ_STIP        5
#define IRQ_SEIP        9
#define CAUSE_INTERRUPT BIT64(63)

#define ENVCFG_STCE  BIT64(63)
#define COUNTEREN_TM BIT64(1)

#define SATP_MODE_SHIFT 60
#define SATP_PPN_MASK   (BIT64(44) - 1)

#define PTE_V         BIT64(0)
#define PTE_R         BIT64(1)
#define PTE_W         BIT64(2)
#define PTE_X         BIT64(3)
#define PTE_U         BIT64(4)
#define PTE_A         BIT64(6)
#define PTE_D         BIT64(7)
#define PTE_PPN_SHIFT 10
#define PTE_RESERVED  (UINT64_C(0x3FF) << 54)

#define PMP_R      1
#define PMP_W      2
#define PMP_X      4
#define PMP_L      0x80
#define PMP_A(cfg) ((cfg) >> 3 & 3)
enum { PMP_OFF, PMP_TOR, PMP_NA4, PMP_NAPOT };

#define TDATA1_TYPE2 (UINT64_C(2) << 60)

/* env.features (spec 81 section 10) */
enum { FEATURE_MMU = 1 << 0, FEATURE_PMP = 1 << 1, FEATURE_DEBUG = 1 << 4 };

#endif
