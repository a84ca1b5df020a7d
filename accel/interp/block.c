/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Basic blocks: decoding guest code into operations, and the per-vCPU cache of the result.
 *
 * A block is keyed by the *host* address of its first instruction. The host address names the
 * physical page whatever virtual address it is mapped at, and whoever looks a block up has just got
 * that host address from the software TLB, so translation changes (satp, SFENCE.VMA, privilege)
 * need no invalidation here. Blocks are dropped all at once: on FENCE.I, when the arena is full,
 * when the memory map changes and whenever the vCPU starts after having been stopped (memory may
 * have been loaded from outside).
 */
#include <sys/mman.h>
#include "accel/interp/interp.h"

Block code_nowhere;

void code_cache_init(CodeCache *code)
{
    /* Address space only; pages come as blocks are made. */
    code->arena = mmap(NULL, CODE_ARENA_SIZE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (code->arena == MAP_FAILED) {
        g_error("cannot reserve %" PRIu64 " bytes of address space for decoded guest code",
                CODE_ARENA_SIZE);
    }
    for (unsigned i = 0; i < CODE_TABLE_SIZE; i++) {
        code->table[i] = &code_nowhere;
    }
    code->empty = true;
}

void code_cache_destroy(CodeCache *code)
{
    munmap(code->arena, CODE_ARENA_SIZE);
}

void code_cache_flush(CodeCache *code)
{
    code->generation++;
    if (code->empty) {
        return;
    }
    for (unsigned i = 0; i < CODE_TABLE_SIZE; i++) {
        code->table[i] = &code_nowhere;
    }
    code->arena_used = 0;
    code->empty = true;
}

unsigned block_op_offset(const Block *blk, const Op *op, unsigned *before)
{
    unsigned off = blk->page_off;

    *before = 0;
    for (const Op *o = blk->ops; o < op; o++) {
        off += o->len;
        *before += o->len != 0;
    }
    return off;
}

uint32_t block_op_bits(const Block *blk, const Op *op)
{
    unsigned before, off = block_op_offset(blk, op, &before) - blk->page_off;
    uint16_t half[2];

    memcpy(&half[0], blk->host + off, 2);
    if (rv_insn_len(half[0]) == 2) {
        return half[0];
    }
    memcpy(&half[1], blk->host2 ? blk->host2 : blk->host + off + 2, 2);
    return half[0] | (uint32_t)half[1] << 16;
}

/* Forms with fewer operands, found by what x0 and small immediates make of an instruction. */
static unsigned simplify_alu(RvInsn *in)
{
    if (!in->rd) {
        return XOP_nop;
    }
    switch (in->op) {
    case RV_OP_addi:
        if (!in->rs1) {
            return XOP_li;
        }
        return in->imm ? in->op : XOP_mv;
    case RV_OP_addiw:
        return in->rs1 ? in->op : XOP_li;
    case RV_OP_add:
        if (!in->rs1) {
            in->rs1 = in->rs2;
            return XOP_mv;
        }
        return in->rs2 ? in->op : XOP_mv;
    case RV_OP_lui:
        return XOP_li;
    }
    return in->op;
}

static unsigned load_size(RvOp op)
{
    switch (op) {
    case RV_OP_lb:
    case RV_OP_lbu:
        return 1;
    case RV_OP_lh:
    case RV_OP_lhu:
        return 2;
    case RV_OP_ld:
        return 8;
    default:
        return 4;
    }
}

/* Instruction @in, found at page offset @off, as an operation; true if it ends the block. */
static bool make_op(Op *op, RvInsn in, unsigned off)
{
    unsigned x = in.op;
    bool last = false;

    switch (x) {
#define X(name) case RV_OP_##name:
        RV_OPS_ALU_RR(X)
        RV_OPS_ALU_RI(X)
    case RV_OP_lui:
        x = simplify_alu(&in);
        break;
    case RV_OP_auipc:
        /* No overflow: the low twelve bits of the immediate are clear. */
        in.imm += off;
        x = in.rd ? XOP_la : XOP_nop;
        break;
    case RV_OP_lb:
    case RV_OP_lh:
    case RV_OP_lw:
    case RV_OP_ld:
    case RV_OP_lbu:
    case RV_OP_lhu:
    case RV_OP_lwu:
        if (!in.rd) {
            in.rs2 = load_size(x);
            x = XOP_load_x0;
        }
        break;
        RV_OPS_BRANCH(X)
        in.imm += off;
        if (!in.rs2 && x == RV_OP_beq) {
            x = XOP_beqz;
        } else if (!in.rs2 && x == RV_OP_bne) {
            x = XOP_bnez;
        }
        break;
    case RV_OP_jal:
        in.imm += off;
        x = in.rd ? x : XOP_j;
        last = true;
        break;
    case RV_OP_jalr:
        x = in.rd ? x : XOP_jr;
        last = true;
        break;
        RV_OPS_AMO(X)
        in.imm = x;
        x = XOP_amo;
        break;
        RV_OPS_FP(X)
        in.imm |= x << 8;
        x = XOP_fp;
        break;
        RV_OPS_CSR(X)
        /* rs2 says which operation; a pure read does not end the block. */
        in.rs2 = x - RV_OP_csrrw;
        if (!in.rs1 && x != RV_OP_csrrw && x != RV_OP_csrrwi) {
            x = XOP_csr_read;
        } else {
            x = XOP_csr_write;
            last = true;
        }
        break;
        RV_OPS_SYSTEM(X)
        in.rs2 = x;
        last = true;
        break;
#undef X
    }
    *op = (Op){exec_handlers[x], in.imm, in.rd, in.rs1, in.rs2, in.len};
    return last;
}

static bool fits_imm(int64_t v)
{
    return v == (int32_t)v;
}

/*
 * Two instructions that build one constant become one operation: lui + addi(w), auipc + addi, and
 * auipc + jalr through a register that the jump overwrites (a far call). True if @second was
 * absorbed into @first.
 */
static bool absorb(Op *first, const Op *second)
{
    const void *const *h = exec_handlers;
    int64_t sum = (int64_t)first->imm + second->imm;

    if (second->rs1 != first->rd || second->rd != first->rd) {
        return false;
    }
    if (first->handler == h[XOP_li] && second->handler == h[RV_OP_addi] && fits_imm(sum)) {
        first->imm = sum;
    } else if (first->handler == h[XOP_li] && second->handler == h[RV_OP_addiw]) {
        first->imm = (int32_t)sum;
    } else if (first->handler == h[XOP_la] && second->handler == h[RV_OP_addi] && fits_imm(sum)) {
        first->imm = sum;
    } else if (first->handler == h[XOP_la] && second->handler == h[RV_OP_jalr] && fits_imm(sum)) {
        first->handler = h[RV_OP_jal];
        first->imm = sum & ~1;
    } else {
        return false;
    }
    first->len += second->len;
    return true;
}

/* Let one handler run two neighbours where such a handler exists. */
static void pair_up(Op *ops, unsigned n)
{
    static const struct {
        uint16_t first, second, both;
    } pairs[] = {
#define P(a, b) {XOP_##a, XOP_##b, XOP_##a##__##b},
        EXEC_OPS_PAIR(P)
#undef P
    };
    const void *const *h = exec_handlers;

    for (unsigned i = 0; i + 1 < n; i++) {
        for (unsigned p = 0; p < ARRAY_SIZE(pairs); p++) {
            if (ops[i].handler == h[pairs[p].first] && ops[i + 1].handler == h[pairs[p].second]) {
                ops[i].handler = h[pairs[p].both];
                i++;
                break;
            }
        }
    }
}

static Block *new_block(CodeCache *code)
{
    size_t room = sizeof(Block) + (BLOCK_MAX_OPS + BLOCK_SPARE_OPS) * sizeof(Op);

    if (code->arena_used + room > CODE_ARENA_SIZE) {
        code_cache_flush(code);
    }
    code->empty = false;
    return (Block *)(code->arena + code->arena_used);
}

/* Decode from @host on, at page offset @off; @host2: where a page-crossing first instruction goes
 * on. */
static void decode_block(InterpVCPU *v, Block *blk, const uint8_t *host, const uint8_t *host2,
                         unsigned off, unsigned max_insns)
{
    unsigned n = 0, count = 0, branches = 0;
    bool last = false;

    *blk = (Block){.host = host, .host2 = host2, .page_off = off, .unlinked = host2 != NULL};
    if (host2) {
        max_insns = 1;
    }
    while (!last && n < BLOCK_MAX_OPS && branches < BLOCK_MAX_BRANCHES && count < max_insns &&
           off < TARGET_PAGE_SIZE) {
        uint16_t half[2] = {0};
        RvInsn in;

        memcpy(&half[0], host, 2);
        if (rv_insn_len(half[0]) == 4) {
            if (off + 4 > TARGET_PAGE_SIZE && !host2) {
                break;
            }
            memcpy(&half[1], host2 ? host2 : host + 2, 2);
        }
        in = rv_decode(half[0] | (uint32_t)half[1] << 16, v->exts);
        last = make_op(&blk->ops[n], in, off);
        if (!n || !absorb(&blk->ops[n - 1], &blk->ops[n])) {
            n++;
        }
        count++;
        off += in.len;
        host += in.len;
        if (in.op >= RV_OP_beq && in.op <= RV_OP_bgeu) {
            BranchLink link = {.count = count};

            memcpy(&blk->ops[n++], &link, sizeof(link));
            branches++;
        }
    }
    if (!last) {
        blk->ops[n++] = (Op){.handler = exec_handlers[XOP_end]};
    }
    pair_up(blk->ops, n);
    blk->n_ops = n;
    blk->end_off = off;
    blk->count = count;
}

/* Host address of the code at @pc from the TLB after a walk. *host NULL: executable, but not to be
 * cached. */
static bool translate_fetch(InterpVCPU *v, uint64_t pc, const uint8_t **host, hwaddr *paddr)
{
    CPURISCVState *env = &v->cpu->env;
    SoftTLBEntry *e = softtlb_entry(&env->tlb[env->mmu_idx_fetch], pc);

    if (e->tag_exec != (pc & TARGET_PAGE_MASK)) {
        RISCVException excp =
            riscv_translate(v->cpu, pc, 2, ACCESS_FETCH, env->mmu_idx_fetch, paddr);

        if (excp != RISCV_EXCP_NONE) {
            return exec_fail(v, excp, pc);
        }
    }
    *host = e->tag_exec == (pc & TARGET_PAGE_MASK) ? (const uint8_t *)(pc + e->addend) : NULL;
    return true;
}

/* Read two bytes of code that the TLB does not hold: a page PMP splits. Code outside RAM and ROM
 * cannot run. */
static bool read_code(InterpVCPU *v, uint64_t pc, const uint8_t *host, hwaddr paddr, uint8_t *out)
{
    MemoryTranslation t;

    if (!host) {
        address_space_translate(v->cpu->as, paddr, &t);
        if (!t.host || t.len < 2) {
            return exec_fail(v, RISCV_EXCP_INST_ACCESS, pc);
        }
        host = t.host;
    }
    memcpy(out, host, 2);
    return true;
}

static Block *oneshot_block(InterpVCPU *v, uint64_t pc, const uint8_t *host, hwaddr paddr)
{
    uint8_t *code = v->oneshot_code;
    unsigned off = pc & PAGE_OFFSET_MASK;

    if (!read_code(v, pc, host, paddr, code)) {
        return NULL;
    }
    if (rv_insn_len(code[0]) == 4) {
        const uint8_t *host2;
        hwaddr paddr2;

        if (!translate_fetch(v, pc + 2, &host2, &paddr2) ||
            !read_code(v, pc + 2, host2, paddr2, code + 2)) {
            return NULL;
        }
    }
    /* The bytes are side by side here even if they cross a page; decode_block() need not know. */
    decode_block(v, v->oneshot, code, off + 2 == TARGET_PAGE_SIZE ? code + 2 : NULL, off, 1);
    v->oneshot->unlinked = true;
    return v->oneshot;
}

/* Does the 32-bit instruction at @host reach into the next page? Then *host2 is where; false: that
 * page faults. */
static bool second_half(InterpVCPU *v, uint64_t pc, const uint8_t *host, const uint8_t **host2)
{
    hwaddr paddr;

    *host2 = NULL;
    if ((pc & PAGE_OFFSET_MASK) != TARGET_PAGE_SIZE - 2 || rv_insn_len(*host) != 4) {
        return true;
    }
    return translate_fetch(v, pc + 2, host2, &paddr);
}

Block *block_get(InterpVCPU *v, uint64_t pc)
{
    CodeCache *code = &v->code;
    const uint8_t *host, *host2;
    hwaddr paddr = 0;
    unsigned h;
    Block *blk;

    /* Without C a jump to a halfword faults; reported at the target, not at the jump. */
    if (pc & (v->exts & RV_EXT_C ? 1 : 3)) {
        exec_fail(v, RISCV_EXCP_INST_ADDR_MIS, pc);
        return NULL;
    }
    if (!translate_fetch(v, pc, &host, &paddr)) {
        return NULL;
    }
    if (!host) {
        return oneshot_block(v, pc, host, paddr);
    }
    if (!second_half(v, pc, host, &host2)) {
        return NULL;
    }
    if (!host2 && (pc & PAGE_OFFSET_MASK) == TARGET_PAGE_SIZE - 2 && rv_insn_len(*host) == 4) {
        return oneshot_block(v, pc, host, paddr);
    }
    h = code_hash(host);
    for (blk = code->table[h]; blk != &code_nowhere; blk = blk->hash_next) {
        if (blk->host == host && blk->host2 == host2) {
            return blk;
        }
    }
    blk = new_block(code);
    decode_block(v, blk, host, host2, pc & PAGE_OFFSET_MASK, UINT32_MAX);
    code->arena_used += sizeof(Block) + blk->n_ops * sizeof(Op);
    blk->hash_next = code->table[h];
    code->table[h] = blk;
    return blk;
}
