/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The execution loop: direct threaded code. Each operation's handler ends by jumping to the next
 * operation's handler; a block ends in a jump to a linked block of the same page or in a look-up.
 *
 * Guest registers live in env->gpr, gpr[0] stays 0 because no handler that writes a register is
 * ever chosen for rd = x0. env->pc is only valid outside: inside, the pc is (virtual page, block,
 * operation), computed when somebody asks. exit_request is looked at on every jump that is taken,
 * so the loop leaves within one straight run of a page.
 */
#include "accel/interp/interp.h"
#include "target/riscv-alu.h"

const void *const *exec_handlers;

#define GPR(n) (env->gpr[n])
#define A      GPR(op->rs1)
#define B      GPR(op->rs2)
#define D      GPR(op->rd)
#define IMM    ((uint64_t)(int64_t)op->imm)

#define EXIT_REQUESTED __atomic_load_n(&env->exit_request, __ATOMIC_RELAXED)

#define DISPATCH() goto * op->handler
#define NEXT()      \
    do {            \
        op++;       \
        DISPATCH(); \
    } while (0)

/* Go on at the first operation of @b, a block of the page we are in (or that page_base was set
 * for). */
#define ENTER(b)       \
    do {               \
        blk = (b);     \
        op = blk->ops; \
        DISPATCH();    \
    } while (0)

/* A hit of the right kind, and naturally aligned: one comparison. */
#define TLB_TAG(addr, size) ((addr) & (TARGET_PAGE_MASK | ((size)-1)))

/*
 * Jump to page_base + @target along the link @known. The link is made the first time;
 * a target in another page is looked up each time.
 */
#define FOLLOW(known, target, check_exit)                           \
    do {                                                            \
        Block *next_ = (known);                                     \
        if (unlikely(!next_ || ((check_exit) && EXIT_REQUESTED))) { \
            pc = page_base + (target);                              \
            link = &(known);                                        \
            goto follow_slow;                                       \
        }                                                           \
        ENTER(next_);                                               \
    } while (0)

#define NEXT_PC (page_base + blk->end_off)
/* The block was run to its end. */
#define RETIRE() (env->icount += blk->count)

GUEST_ACCESS static const void *const *run(InterpVCPU *v)
{
    /* clang-format off */
    static const void *const labels[] = {
#define X(name) &&L_##name,
        RV_OPS_ALL(X)
        EXEC_OPS_EXTRA(X)
#undef X
#define P(a, b) &&L_##a##__##b,
        EXEC_OPS_PAIR(P)
#undef P
    };
    /* clang-format on */
    CPURISCVState *env;
    SoftTLB *tlb;
    const Op *op;
    Block *blk, **link;
    uint64_t page_base, pc;
    unsigned before;

    if (!v) {
        return labels;
    }
    env = &v->cpu->env;
    pc = env->pc;
    goto resync;

    /* ---- integer operations ---- */
#define ALU(name, value)    \
    L_##name : D = (value); \
    NEXT();
/* Also the first of a pair: DO_name is what it does. */
#define DO_ALU(name) L_##name : DO_##name NEXT();
#include "accel/interp/exec-alu.h.inc"

    /* ---- memory ---- */
#include "accel/interp/exec-mem.h.inc"

    /* ---- pairs ---- */
#define P(a, b)                 \
    L_##a##__##b : DO_##a op++; \
    goto L_##b;
    EXEC_OPS_PAIR(P)
#undef P

    /* ---- control flow ---- */
/* Taken: leave the block by the link in the next slot. Not taken: go on behind it. */
#define BRANCH(name, cond)                           \
    L_##name : if (cond)                             \
    {                                                \
        BranchLink *taken_ = (BranchLink *)(op + 1); \
        env->icount += taken_->count;                \
        FOLLOW(taken_->taken, IMM, true);            \
    }                                                \
    op += 2;                                         \
    DISPATCH();

    BRANCH(beq, A == B)
    BRANCH(bne, A != B)
    BRANCH(blt, (int64_t)A < (int64_t)B)
    BRANCH(bge, (int64_t)A >= (int64_t)B)
    BRANCH(bltu, A < B)
    BRANCH(bgeu, A >= B)
    BRANCH(beqz, A == 0)
    BRANCH(bnez, A != 0)

L_j:
    RETIRE();
    FOLLOW(blk->taken, IMM, true);
L_jal:
    D = NEXT_PC;
    RETIRE();
    FOLLOW(blk->taken, IMM, true);
L_jalr:
    pc = (A + IMM) & ~UINT64_C(1);
    D = NEXT_PC;
    RETIRE();
    goto lookup;
L_jr:
    pc = (A + IMM) & ~UINT64_C(1);
    RETIRE();
    goto lookup;
L_end:
    RETIRE();
    FOLLOW(blk->fallthrough, blk->end_off, false);

follow_slow:
    if (pc - page_base < TARGET_PAGE_SIZE && !blk->unlinked && !EXIT_REQUESTED) {
        unsigned generation = v->code.generation;
        Block *next = block_get(v, pc);

        if (!next) {
            goto fetch_fault;
        }
        if (!next->unlinked && generation == v->code.generation) {
            *link = next;
        }
        ENTER(next);
    }
    goto lookup;

    /* The mode or the address space may have changed: start afresh at pc. */
resync:
    tlb = &env->tlb[env->mmu_idx_data];
lookup:
    if (unlikely(EXIT_REQUESTED)) {
        env->pc = pc;
        return NULL;
    }
    {
        SoftTLBEntry *e = softtlb_entry(&env->tlb[env->mmu_idx_fetch], pc);
        const uint8_t *host = (const uint8_t *)(pc + e->addend);
        Block *next = v->code.table[code_hash(host)];

        page_base = pc & TARGET_PAGE_MASK;
        if (unlikely(e->tag_exec != page_base || next->host != host || next->unlinked)) {
            next = block_get(v, pc);
            if (!next) {
                goto fetch_fault;
            }
        }
        ENTER(next);
    }

fetch_fault:
    env->pc = pc;
    riscv_raise_exception(v->cpu, v->excp, v->tval);
    pc = env->pc;
    goto resync;

    /* The instruction at op failed with v->excp and v->tval; it and its successors did not retire.
     */
raise:
    env->pc = page_base + block_op_offset(blk, op, &before);
    env->icount += before;
    riscv_raise_exception(v->cpu, v->excp, v->tval);
    pc = env->pc;
    goto resync;

    /* ---- everything rare ---- */
L_fence:
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    NEXT();
L_fence_i:
    pc = NEXT_PC;
    RETIRE();
    code_cache_flush(&v->code);
    goto lookup;
L_amo:
    if (unlikely(!exec_amo(v, op))) {
        goto raise;
    }
    NEXT();
L_fp:
    if (unlikely(!exec_fp(v, op))) {
        goto raise_system;
    }
    NEXT();
L_csr_read:
    if (!exec_csr_read(v, op)) {
        goto raise_system;
    }
    NEXT();
L_csr_write:
    if (!exec_csr_write(v, op)) {
        goto raise_system;
    }
    pc = NEXT_PC;
    RETIRE();
    goto system_done;
L_ecall:
L_ebreak:
L_illegal:
L_mret:
L_sret:
L_sfence_vma:
L_wfi:
    env->pc = page_base + block_op_offset(blk, op, &before);
    if (!exec_system(v, op, NEXT_PC)) {
        goto raise_system;
    }
    pc = env->pc;
    RETIRE();
    if (env->halted) {
        return NULL;
    }
    goto system_done;

    /* Interrupts may have become takeable. */
system_done:
    if (riscv_pending_interrupt(v->cpu) >= 0) {
        env->pc = pc;
        return NULL;
    }
    goto resync;

raise_system:
    if (v->excp == RISCV_EXCP_ILLEGAL_INST) {
        v->tval = block_op_bits(blk, op);
    }
    goto raise;

    /* Instructions that make_op() always turns into another form. */
#define X(name) L_##name:
    RV_OPS_AMO(X)
    RV_OPS_FP(X)
    RV_OPS_CSR(X)
L_lui:
L_auipc:
    g_assert_not_reached();
#undef X
}

void exec_vcpu_init(InterpVCPU *v, RISCVCPU *cpu, unsigned exts)
{
    v->cpu = cpu;
    v->exts = exts;
    v->oneshot = g_malloc0(sizeof(Block) + (1 + BLOCK_SPARE_OPS) * sizeof(Op));
    code_cache_init(&v->code);
}

void exec_vcpu_destroy(InterpVCPU *v)
{
    code_cache_destroy(&v->code);
    g_free(v->oneshot);
}

void exec_run(InterpVCPU *v)
{
    run(v);
}

__attribute__((constructor)) static void exec_init(void)
{
    exec_handlers = run(NULL);
}
