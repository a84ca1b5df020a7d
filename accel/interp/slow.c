/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Out-of-line halves of the execution loop: memory accesses that miss the fast path, CSRs, system
 * instructions. */
#include "accel/interp/interp.h"

/* Not aligned, but inside one page that the TLB holds: may be torn, as on hardware without
 * misaligned atomicity. */
static uint8_t *inside_page(CPURISCVState *env, uint64_t addr, unsigned size, bool store)
{
    SoftTLBEntry *e = softtlb_entry(&env->tlb[env->mmu_idx_data], addr);
    uint64_t tag = store ? e->tag_write : e->tag_read;

    if (tag != (addr & TARGET_PAGE_MASK) || (addr & PAGE_OFFSET_MASK) + size > TARGET_PAGE_SIZE) {
        return NULL;
    }
    return (uint8_t *)(addr + e->addend);
}

GUEST_ACCESS uint64_t exec_load_slow(InterpVCPU *v, uint64_t addr, unsigned size)
{
    const uint8_t *host = inside_page(&v->cpu->env, addr, size, false);
    uint64_t value = 0;

    if (host) {
        /* The guest is little-endian, and so is every host this runs on. */
        v->excp = RISCV_EXCP_NONE;
        memcpy(&value, host, size);
        return value;
    }
    v->excp = riscv_load_slow(v->cpu, addr, size, &value);
    v->tval = v->cpu->env.badaddr;
    return value;
}

GUEST_ACCESS void exec_store_slow(InterpVCPU *v, uint64_t addr, unsigned size, uint64_t value)
{
    uint8_t *host = inside_page(&v->cpu->env, addr, size, true);

    if (host) {
        v->excp = RISCV_EXCP_NONE;
        memcpy(host, &value, size);
        return;
    }
    v->excp = riscv_store_slow(v->cpu, addr, size, value);
    v->tval = v->cpu->env.badaddr;
}

static bool csr_done(InterpVCPU *v, const Op *op, RISCVException excp, uint64_t old)
{
    if (excp != RISCV_EXCP_NONE) {
        return exec_fail(v, excp, 0);
    }
    if (op->rd) {
        v->cpu->env.gpr[op->rd] = old;
    }
    return true;
}

bool exec_csr_read(InterpVCPU *v, const Op *op)
{
    uint64_t old = 0;
    RISCVException excp = riscv_csr_read(v->cpu, op->imm & 0xfff, &old);

    return csr_done(v, op, excp, old);
}

bool exec_csr_write(InterpVCPU *v, const Op *op)
{
    RvOp kind = RV_OP_csrrw + op->rs2;
    bool immediate = kind >= RV_OP_csrrwi;
    uint64_t operand = immediate ? op->rs1 : v->cpu->env.gpr[op->rs1];
    uint64_t old = 0, new_value, mask;
    RISCVException excp;

    switch (kind) {
    case RV_OP_csrrw:
    case RV_OP_csrrwi:
        new_value = operand;
        mask = UINT64_MAX;
        break;
    case RV_OP_csrrs:
    case RV_OP_csrrsi:
        new_value = UINT64_MAX;
        mask = operand;
        break;
    default:
        new_value = 0;
        mask = operand;
        break;
    }
    excp = riscv_csr_rmw(v->cpu, op->imm & 0xfff, &old, new_value, mask, true);
    return csr_done(v, op, excp, old);
}

static bool ecall(InterpVCPU *v)
{
    const CPURISCVState *env = &v->cpu->env;

    switch (env->priv) {
    case PRV_U:
        return exec_fail(v, RISCV_EXCP_U_ECALL, 0);
    case PRV_S:
        return exec_fail(v, env->virt & 1 ? RISCV_EXCP_VS_ECALL : RISCV_EXCP_S_ECALL, 0);
    default:
        return exec_fail(v, RISCV_EXCP_M_ECALL, 0);
    }
}

bool exec_system(InterpVCPU *v, const Op *op, uint64_t next_pc)
{
    RISCVCPU *cpu = v->cpu;
    RISCVException excp;

    switch (op->rs2) {
    case RV_OP_ecall:
        return ecall(v);
    case RV_OP_ebreak:
        return exec_fail(v, RISCV_EXCP_BREAKPOINT, 0);
    case RV_OP_mret:
        excp = riscv_mret(cpu);
        next_pc = cpu->env.pc;
        break;
    case RV_OP_sret:
        excp = riscv_sret(cpu);
        next_pc = cpu->env.pc;
        break;
    case RV_OP_sfence_vma:
        excp = op->rs1 ? riscv_sfence_vma_page(cpu, cpu->env.gpr[op->rs1]) : riscv_sfence_vma(cpu);
        break;
    case RV_OP_wfi:
        excp = riscv_wfi(cpu);
        break;
    default:
        excp = RISCV_EXCP_ILLEGAL_INST;
        break;
    }
    if (excp != RISCV_EXCP_NONE) {
        return exec_fail(v, excp, 0);
    }
    cpu->env.pc = next_pc;
    return true;
}
