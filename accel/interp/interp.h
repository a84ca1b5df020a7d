/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside the interpreter: pre-decoded operations, blocks of them, the per-vCPU cache of blocks, and
 * the vCPU's own state. See docs/devel/interp.md for the picture.
 */
#ifndef GODWIT_ACCEL_INTERP_H
#define GODWIT_ACCEL_INTERP_H

#include "accel/accel.h"
#include "target/riscv-decode.h"

#define PAGE_OFFSET_MASK (TARGET_PAGE_SIZE - 1)

/*
 * Operations of the execution loop: the instructions themselves, then forms that exist only here.
 * Everything up to RV_OP__MAX has the same number as its RvOp.
 */
/* clang-format off */
#define EXEC_OPS_EXTRA(X)                                                                          \
    X(nop)       /* writes x0 only */                                                              \
    X(li)        /* rd = imm */                                                                    \
    X(mv)        /* rd = rs1 */                                                                    \
    X(la)        /* rd = page + imm */                                                             \
    X(load_x0)   /* a load whose value nobody wants; rs2 = bytes */                                \
    X(beqz)                                                                                        \
    X(bnez)                                                                                        \
    X(j)         /* jal x0 */                                                                      \
    X(jr)        /* jalr x0 */                                                                     \
    X(csr_read)  /* csrrs rd, csr, x0 */                                                           \
    X(csr_write)                                                                                   \
    X(amo)                                                                                         \
    X(fp)                                                                                          \
    X(end)       /* the block stops here without a jump */
/* clang-format on */

/*
 * Pairs run by one handler: the first operation's handler goes straight on to the second's code,
 * which stays in its own slot. Chosen from what compilers emit often: address arithmetic and the
 * access, counting and the loop's branch, runs of register saves and restores.
 */
/* clang-format off */
#define EXEC_OPS_PAIR(P)                                                                           \
    P(addi, addi) P(addi, add) P(addi, mv) P(addi, slli) P(addi, mul) P(addi, xor) P(addi, ld)     \
    P(addi, sd) P(addi, beq) P(addi, bne) P(addi, bltu) P(addi, bgeu)                              \
    P(addiw, beq) P(addiw, bne)                                                                    \
    P(add, add) P(add, ld) P(add, lw) P(add, lbu) P(add, sd) P(add, bne) P(add, bltu)              \
    P(add, bgeu)                                                                                   \
    P(mv, mv) P(mv, addi) P(mv, jal)                                                               \
    P(li, li) P(li, mv)                                                                            \
    P(slli, add) P(slli, srli) P(slli, xor)                                                        \
    P(srli, xor)                                                                                   \
    P(srliw, addi)                                                                                 \
    P(xor, addi) P(xor, addiw) P(xor, andi) P(xor, slli) P(xor, srli)                              \
    P(andi, slli) P(andi, beqz) P(andi, bnez)                                                      \
    P(mul, add)                                                                                    \
    P(ld, ld) P(ld, addi) P(ld, mv) P(ld, xor) P(ld, beqz) P(ld, bnez)                             \
    P(lw, mv) P(lw, add) P(lw, xor) P(lw, beqz) P(lw, bnez)                                        \
    P(lbu, srliw) P(lbu, beqz) P(lbu, bnez)                                                        \
    P(sd, sd) P(sd, addi) P(sd, mv)                                                                \
    P(sw, addi)                                                                                    \
    P(sb, add) P(sb, addi)

typedef enum {
#define X(name) XOP_##name,
    RV_OPS_ALL(X)
    EXEC_OPS_EXTRA(X)
#undef X
#define P(a, b) XOP_##a##__##b,
    EXEC_OPS_PAIR(P)
#undef P
    XOP__MAX
} ExecOp;
/* clang-format on */

/*
 * One pre-decoded operation. Immediates of pc-relative operations are relative to the start of the
 * page that holds the instruction, so that a block can run at any virtual address its page is
 * mapped at.
 */
typedef struct {
    const void *handler; /* label in exec_run() */
    int32_t imm;
    uint8_t rd, rs1, rs2;
    uint8_t len; /* bytes of guest code it covers */
} Op;

/* A block goes on behind a conditional branch that is not taken, a few times. */
#define BLOCK_MAX_OPS      64
#define BLOCK_MAX_BRANCHES 4
/* Slots that decoding may need beyond the last operation: a branch's link and the end. */
#define BLOCK_SPARE_OPS 3

typedef struct Block Block;
struct Block {
    const uint8_t *host; /* guest code it was decoded from: the key */
    /* Continuations inside the same page, once they are known; the last operation uses them. */
    Block *taken, *fallthrough;
    Block *hash_next;
    const uint8_t *host2; /* second half of an instruction that crosses the page, or NULL */
    uint16_t page_off;    /* of the first instruction */
    uint16_t end_off;     /* just behind the last one; may reach into the next page */
    uint16_t count;       /* instructions */
    uint16_t n_ops;
    bool unlinked; /* must be looked up each time: never a continuation of another block */
    Op ops[];
};

/* The slot behind a conditional branch: where it goes when taken, and how many instructions have
 * then been run. */
typedef struct {
    Block *taken; /* NULL until known, or in another page */
    uint32_t count;
    uint8_t pad[3];
    uint8_t len; /* 0: covers no guest code */
} BranchLink;

_Static_assert(sizeof(BranchLink) == sizeof(Op), "a link takes one slot");

#define CODE_TABLE_BITS 14
#define CODE_TABLE_SIZE (1u << CODE_TABLE_BITS)
#define CODE_ARENA_SIZE (16 * MiB)

/* Blocks of one vCPU; used by its thread only. */
typedef struct {
    Block *table[CODE_TABLE_SIZE]; /* never NULL: code_nowhere ends each chain */
    uint8_t *arena;
    size_t arena_used;
    unsigned generation; /* changes whenever blocks were dropped */
    bool empty;
} CodeCache;

typedef struct InterpVCPU {
    RISCVCPU *cpu;
    unsigned exts; /* RV_EXT_* of this CPU */
    CodeCache code;
    /* Set by helpers that failed, for the handler that called them. */
    RISCVException excp;
    uint64_t tval;
    /* A block of one instruction from memory that cannot be cached, and the bytes it came from. */
    Block *oneshot;
    uint8_t oneshot_code[4];
} InterpVCPU;

/* ---- block.c ---- */
extern Block code_nowhere;
void code_cache_init(CodeCache *code);
void code_cache_destroy(CodeCache *code);
/* Drop all blocks. Not while one of them is being executed further. */
void code_cache_flush(CodeCache *code);

static inline unsigned code_hash(const uint8_t *host)
{
    uintptr_t h = (uintptr_t)host >> 1;

    return (h ^ h >> CODE_TABLE_BITS) & (CODE_TABLE_SIZE - 1);
}

/*
 * The block for virtual address @pc in the current mode, decoding it if need be. NULL: the fetch
 * failed, v->excp and v->tval say how. May drop all other blocks (the generation changes).
 */
Block *block_get(InterpVCPU *v, uint64_t pc);
/* Offset of @op's instruction from the start of the block's page; how many operations come before
 * it; its bits. */
unsigned block_op_offset(const Block *blk, const Op *op, unsigned *before);
uint32_t block_op_bits(const Block *blk, const Op *op);

/* ---- exec.c ---- */
void exec_vcpu_init(InterpVCPU *v, RISCVCPU *cpu, unsigned exts);
void exec_vcpu_destroy(InterpVCPU *v);
/* Run guest code from env->pc until env->exit_request is set, an interrupt can be taken, or the
 * hart sleeps. */
void exec_run(InterpVCPU *v);
/* Handler addresses by ExecOp. */
extern const void *const *exec_handlers;

/* ---- slow.c, atomic.c, fp.c: what handlers call. On failure v->excp and v->tval are set ---- */
/* These two set v->excp to RISCV_EXCP_NONE on success. */
__attribute__((cold)) uint64_t exec_load_slow(InterpVCPU *v, uint64_t addr, unsigned size);
__attribute__((cold)) void exec_store_slow(InterpVCPU *v, uint64_t addr, unsigned size,
                                           uint64_t value);
/* The others return false on failure; the caller fills in tval of illegal instructions. */
bool exec_csr_read(InterpVCPU *v, const Op *op);
bool exec_csr_write(InterpVCPU *v, const Op *op);
/* env->pc is the instruction's; on success it becomes the next one's, @next_pc unless the operation
 * jumps. */
bool exec_system(InterpVCPU *v, const Op *op, uint64_t next_pc);
bool exec_amo(InterpVCPU *v, const Op *op);
bool exec_fp(InterpVCPU *v, const Op *op);
bool exec_fp_load(InterpVCPU *v, const Op *op, unsigned size);
bool exec_fp_store(InterpVCPU *v, const Op *op, unsigned size);

static inline bool exec_fail(InterpVCPU *v, RISCVException excp, uint64_t tval)
{
    v->excp = excp;
    v->tval = tval;
    return false;
}

#endif
