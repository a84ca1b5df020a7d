/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One row per CSR number: gate, storage, what a write changes (spec 81 section 2). Numbers without
 * a row do not exist. The H rows are storage for a guest that probes or was migrated with misa.H;
 * nothing here enters V = 1.
 */
#include "target/riscv/internal.h"

/* ---- gates ---- */

static bool gate_fp(const RISCVCPU *cpu, unsigned csr)
{
    return riscv_has_ext(&cpu->env, 'f') && cpu->env.mstatus & MSTATUS_FS;
}

static bool gate_h(const RISCVCPU *cpu, unsigned csr)
{
    return riscv_has_ext(&cpu->env, 'h');
}

static bool gate_priv_1_12(const RISCVCPU *cpu, unsigned csr)
{
    return cpu->env.priv_ver >= 2;
}

static bool gate_h_1_12(const RISCVCPU *cpu, unsigned csr)
{
    return gate_h(cpu, csr) && gate_priv_1_12(cpu, csr);
}

static bool gate_priv_1_11(const RISCVCPU *cpu, unsigned csr)
{
    return cpu->env.priv_ver >= 1;
}

static bool gate_satp(const RISCVCPU *cpu, unsigned csr)
{
    return !(cpu->env.priv == PRV_S && cpu->env.mstatus & MSTATUS_TVM);
}

static bool gate_pmp(const RISCVCPU *cpu, unsigned csr)
{
    return cpu->env.features & FEATURE_PMP;
}

static bool gate_debug(const RISCVCPU *cpu, unsigned csr)
{
    return cpu->env.features & FEATURE_DEBUG;
}

static bool gate_stimecmp(const RISCVCPU *cpu, unsigned csr)
{
    const CPURISCVState *env = &cpu->env;

    if (!cpu->cfg.ext_sstc || !gate_priv_1_12(cpu, csr)) {
        return false;
    }
    return env->priv == PRV_M || (env->mcounteren & COUNTEREN_TM && env->menvcfg & ENVCFG_STCE);
}

static bool counter_exists(const RISCVCPU *cpu, unsigned index)
{
    return index < 3 || index < 3u + cpu->cfg.pmu_num;
}

static bool gate_mcounter(const RISCVCPU *cpu, unsigned csr)
{
    return counter_exists(cpu, csr & 31);
}

static bool gate_counter(const RISCVCPU *cpu, unsigned csr)
{
    const CPURISCVState *env = &cpu->env;
    uint64_t bit = BIT64(csr & 31);

    return counter_exists(cpu, csr & 31) && (env->priv == PRV_M || env->mcounteren & bit) &&
           (env->priv != PRV_U || env->scounteren & bit);
}

/* ---- floating point ---- */

static uint64_t read_fcsr(const RISCVCPU *cpu, const CsrRow *row, unsigned csr)
{
    const CPURISCVState *env = &cpu->env;

    switch (csr) {
    case CSR_FFLAGS:
        return env->fflags;
    case CSR_FRM:
        return env->frm;
    default:
        return env->frm << 5 | env->fflags;
    }
}

static void write_fcsr(RISCVCPU *cpu, const CsrRow *row, unsigned csr, uint64_t v, uint64_t mask)
{
    CPURISCVState *env = &cpu->env;

    if (csr != CSR_FRM) {
        env->fflags = v & 0x1F;
    }
    if (csr != CSR_FFLAGS) {
        env->frm = (csr == CSR_FCSR ? v >> 5 : v) & 7;
    }
    env->mstatus |= MSTATUS_FS;
}

/* ---- status ---- */

#define SSTATUS_WRITABLE                                                                \
    (MSTATUS_SIE | MSTATUS_SPIE | MSTATUS_SPP | MSTATUS_VS | MSTATUS_FS | MSTATUS_SUM | \
     MSTATUS_MXR | MSTATUS_UXL)
#define MSTATUS_WRITABLE                                                                        \
    (SSTATUS_WRITABLE | MSTATUS_MIE | MSTATUS_MPIE | MSTATUS_MPP | MSTATUS_MPRV | MSTATUS_TVM | \
     MSTATUS_TW | MSTATUS_TSR | MSTATUS_MPV | MSTATUS_GVA)

static uint64_t read_mstatus(const RISCVCPU *cpu, const CsrRow *row, unsigned csr)
{
    uint64_t v = riscv_mstatus_read(&cpu->env);

    return csr == CSR_SSTATUS ? v & (SSTATUS_WRITABLE | MSTATUS_SD) : v;
}

static void write_mstatus(RISCVCPU *cpu, const CsrRow *row, unsigned csr, uint64_t v, uint64_t mask)
{
    CPURISCVState *env = &cpu->env;
    uint64_t bits = row->write_mask;
    uint64_t old = env->mstatus;

    if (!(v & MSTATUS_UXL)) {
        bits &= ~MSTATUS_UXL;
    }
    env->mstatus = (old & ~bits) | (v & bits);
    if ((old ^ env->mstatus) & MSTATUS_MXR) {
        riscv_tlb_flush_translated(cpu);
    }
    riscv_update_mmu_idx(env);
    riscv_interrupts_changed(cpu);
}

static void write_vsstatus(RISCVCPU *cpu, const CsrRow *row, unsigned csr, uint64_t v,
                           uint64_t mask)
{
    if (!(v & MSTATUS_UXL)) {
        v |= cpu->env.vsstatus & MSTATUS_UXL;
    }
    cpu->env.vsstatus = v;
}

static uint64_t read_hstatus(const RISCVCPU *cpu, const CsrRow *row, unsigned csr)
{
    return (cpu->env.hstatus & ~(HSTATUS_VSXL | HSTATUS_VSBE)) | BIT64(33);
}

static uint64_t read_misa(const RISCVCPU *cpu, const CsrRow *row, unsigned csr)
{
    return (uint64_t)cpu->env.misa_mxl << 62 | cpu->env.misa_ext;
}

static void write_ignored(RISCVCPU *cpu, const CsrRow *row, unsigned csr, uint64_t v, uint64_t mask)
{
}

static uint64_t read_zero(const RISCVCPU *cpu, const CsrRow *row, unsigned csr)
{
    return 0;
}

static void write_satp(RISCVCPU *cpu, const CsrRow *row, unsigned csr, uint64_t v, uint64_t mask)
{
    unsigned mode = v >> SATP_MODE_SHIFT;

    if (!(cpu->env.features & FEATURE_MMU) || v == cpu->env.satp ||
        (mode != 0 && (mode < 8 || mode > cpu->cfg.satp_max))) {
        return;
    }
    cpu->env.satp = v;
    riscv_tlb_flush_translated(cpu);
}

static void write_tvec(RISCVCPU *cpu, const CsrRow *row, unsigned csr, uint64_t v, uint64_t mask)
{
    if ((v & 3) < 2) {
        *(uint64_t *)((char *)&cpu->env + row->offset) = v;
    }
}

/* ---- interrupts ---- */

static bool has_h(const RISCVCPU *cpu)
{
    return riscv_has_ext(&cpu->env, 'h');
}

static void write_mideleg(RISCVCPU *cpu, const CsrRow *row, unsigned csr, uint64_t v, uint64_t mask)
{
    cpu->env.mideleg = (v & (MIP_S_BITS | MIP_VS_BITS)) | (has_h(cpu) ? MIP_HS_BITS : 0);
    riscv_interrupts_changed(cpu);
}

/* Which bits of mie a view shows, and how far it is shifted. */
static uint64_t mie_view(const RISCVCPU *cpu, unsigned csr, unsigned *shift)
{
    *shift = csr == CSR_VSIE;
    switch (csr) {
    case CSR_SIE:
        return cpu->env.mideleg & MIP_S_BITS;
    case CSR_HIE:
        return MIP_HS_BITS;
    case CSR_VSIE:
        return cpu->env.hideleg & MIP_VS_BITS;
    default:
        return has_h(cpu) ? 0x3EEE : 0x2EEE;
    }
}

static uint64_t read_mie(const RISCVCPU *cpu, const CsrRow *row, unsigned csr)
{
    unsigned shift;
    uint64_t view = mie_view(cpu, csr, &shift);

    return (cpu->env.mie & view) >> shift;
}

static void write_mie(RISCVCPU *cpu, const CsrRow *row, unsigned csr, uint64_t v, uint64_t mask)
{
    unsigned shift;
    uint64_t view = mie_view(cpu, csr, &shift);

    cpu->env.mie = (cpu->env.mie & ~view) | (v << shift & view);
    riscv_interrupts_changed(cpu);
}

static uint64_t read_mip(const RISCVCPU *cpu, const CsrRow *row, unsigned csr)
{
    uint64_t mip = riscv_mip(&cpu->env);

    switch (csr) {
    case CSR_SIP:
        return mip & cpu->env.mideleg & MIP_S_BITS;
    case CSR_HIP:
        return mip & MIP_HS_BITS;
    case CSR_HVIP:
        return mip & MIP_VS_BITS;
    case CSR_VSIP:
        return (mip & cpu->env.hideleg & MIP_VS_BITS) >> 1;
    default:
        return mip;
    }
}

static void write_mip(RISCVCPU *cpu, const CsrRow *row, unsigned csr, uint64_t v, uint64_t mask)
{
    const CPURISCVState *env = &cpu->env;
    uint64_t bits;

    switch (csr) {
    case CSR_SIP:
        bits = env->mideleg & (MIP_SSIP | MIP_LCOFIP);
        break;
    case CSR_HIP:
        bits = MIP_VSSIP;
        break;
    case CSR_HVIP:
        bits = MIP_VS_BITS;
        break;
    case CSR_VSIP:
        bits = env->hideleg & MIP_VSSIP;
        v <<= 1;
        mask <<= 1;
        break;
    default:
        bits = MIP_S_BITS | MIP_VS_BITS;
        break;
    }
    if (env->menvcfg & ENVCFG_STCE) {
        bits &= ~(MIP_STIP | MIP_VSTIP); /* driven by the comparators */
    }
    /* Only the named bits: another thread may raise one of the others at this moment. */
    riscv_mip_write(cpu, v, bits & mask);
    riscv_interrupts_changed(cpu);
}

static void write_stimecmp(RISCVCPU *cpu, const CsrRow *row, unsigned csr, uint64_t v,
                           uint64_t mask)
{
    riscv_stimecmp_write(cpu, v);
    riscv_interrupts_changed(cpu);
}

/* ---- counters ---- */

static uint64_t read_counter(const RISCVCPU *cpu, const CsrRow *row, unsigned csr)
{
    return riscv_counter_read(&cpu->env, csr & 31);
}

static void write_counter(RISCVCPU *cpu, const CsrRow *row, unsigned csr, uint64_t v, uint64_t mask)
{
    riscv_counter_write(&cpu->env, csr & 31, v);
}

static void write_mcountinhibit(RISCVCPU *cpu, const CsrRow *row, unsigned csr, uint64_t v,
                                uint64_t mask)
{
    CPURISCVState *env = &cpu->env;
    uint64_t cycle = riscv_counter_read(env, 0), instret = riscv_counter_read(env, 2);

    env->mcountinhibit = v;
    riscv_counter_write(env, 0, cycle);
    riscv_counter_write(env, 2, instret);
}

static uint64_t read_time(const RISCVCPU *cpu, const CsrRow *row, unsigned csr)
{
    return riscv_time(cpu);
}

static uint64_t *event_slot(RISCVCPU *cpu, unsigned csr)
{
    return &cpu->env.mhpmevent_val[csr & 31];
}

static uint64_t read_event(const RISCVCPU *cpu, const CsrRow *row, unsigned csr)
{
    return *event_slot((RISCVCPU *)cpu, csr);
}

static void write_event(RISCVCPU *cpu, const CsrRow *row, unsigned csr, uint64_t v, uint64_t mask)
{
    *event_slot(cpu, csr) = v;
}

/* ---- PMP ---- */

static uint64_t read_pmpcfg(const RISCVCPU *cpu, const CsrRow *row, unsigned csr)
{
    return riscv_pmpcfg_read(&cpu->env, csr - CSR_PMPCFG0);
}

static void write_pmpcfg(RISCVCPU *cpu, const CsrRow *row, unsigned csr, uint64_t v, uint64_t mask)
{
    riscv_pmpcfg_write(cpu, csr - CSR_PMPCFG0, v);
}

static uint64_t read_pmpaddr(const RISCVCPU *cpu, const CsrRow *row, unsigned csr)
{
    return cpu->env.pmp_state.pmp[csr - CSR_PMPADDR0].addr_reg;
}

static void write_pmpaddr(RISCVCPU *cpu, const CsrRow *row, unsigned csr, uint64_t v, uint64_t mask)
{
    riscv_pmpaddr_write(cpu, csr - CSR_PMPADDR0, v);
}

/* ---- triggers: storage ---- */

static void write_tselect(RISCVCPU *cpu, const CsrRow *row, unsigned csr, uint64_t v, uint64_t mask)
{
    if (v < ARRAY_SIZE(cpu->env.tdata1)) {
        cpu->env.trigger_cur = v;
    }
}

static uint64_t read_tdata(const RISCVCPU *cpu, const CsrRow *row, unsigned csr)
{
    const CPURISCVState *env = &cpu->env;
    const uint64_t *bank = csr == CSR_TDATA1   ? env->tdata1
                           : csr == CSR_TDATA2 ? env->tdata2
                                               : env->tdata3;

    return bank[env->trigger_cur];
}

static void write_tdata(RISCVCPU *cpu, const CsrRow *row, unsigned csr, uint64_t v, uint64_t mask)
{
    CPURISCVState *env = &cpu->env;

    if (csr == CSR_TDATA2) {
        env->tdata2[env->trigger_cur] = v;
    } else if (csr == CSR_TDATA1 && v >> 60 == TDATA1_TYPE2 >> 60) {
        /* load, store, execute, U, S, M; a size of 0 (any), 1, 2, 4 or 8 bytes. */
        uint64_t kept = v & 0x5F;
        uint64_t size = v & (UINT64_C(3) << 16 | UINT64_C(3) << 21);

        if (!(size >> 21) || size == (BIT64(16) | BIT64(21))) {
            kept |= size;
        }
        env->tdata1[env->trigger_cur] = TDATA1_TYPE2 | kept;
    }
}

static uint64_t read_tinfo(const RISCVCPU *cpu, const CsrRow *row, unsigned csr)
{
    return 0x44; /* types 2 and 6 */
}

/* ---- identification ---- */

static uint64_t read_id(const RISCVCPU *cpu, const CsrRow *row, unsigned csr)
{
    switch (csr) {
    case CSR_MVENDORID:
        return cpu->cfg.mvendorid;
    case CSR_MARCHID:
        return cpu->cfg.marchid;
    case CSR_MIMPID:
        return cpu->cfg.mimpid;
    default:
        return 0;
    }
}

#define ALL UINT64_MAX
#define ROW(name_, gate_, read_, write_)                                                     \
    {                                                                                        \
        .name = (name_), .gate = (gate_), .read = (read_), .write = (write_), .exists = true \
    }
/* Bits @mask of a field of CPURISCVState, no side effect. */
#define PLAIN(name_, gate_, field_, mask_)                                           \
    {                                                                                \
        .name = (name_), .gate = (gate_), .offset = offsetof(CPURISCVState, field_), \
        .write_mask = (mask_), .exists = true                                        \
    }
/* A field whose writes need care. */
#define FIELD(name_, gate_, field_, write_)                                          \
    {                                                                                \
        .name = (name_), .gate = (gate_), .offset = offsetof(CPURISCVState, field_), \
        .write = (write_), .exists = true                                            \
    }
#define STATUS(name_, mask_)                                                                  \
    {                                                                                         \
        .name = (name_), .read = read_mstatus, .write = write_mstatus, .write_mask = (mask_), \
        .exists = true                                                                        \
    }

/* clang-format off */
const CsrRow riscv_csr_table[4096] = {
    [CSR_FFLAGS]      = ROW("fflags", gate_fp, read_fcsr, write_fcsr),
    [CSR_FRM]         = ROW("frm", gate_fp, read_fcsr, write_fcsr),
    [CSR_FCSR]        = ROW("fcsr", gate_fp, read_fcsr, write_fcsr),

    [CSR_CYCLE]       = ROW("cycle", gate_counter, read_counter, write_ignored),
    [CSR_TIME]        = ROW("time", gate_counter, read_time, write_ignored),
    [CSR_INSTRET ... CSR_HPMCOUNTER31] =
                        ROW("hpmcounter", gate_counter, read_counter, write_ignored),

    [CSR_SSTATUS]     = STATUS("sstatus", SSTATUS_WRITABLE),
    [CSR_SIE]         = ROW("sie", NULL, read_mie, write_mie),
    [CSR_STVEC]       = FIELD("stvec", NULL, stvec, write_tvec),
    [CSR_SCOUNTEREN]  = PLAIN("scounteren", NULL, scounteren, ALL),
    [CSR_SENVCFG]     = PLAIN("senvcfg", gate_priv_1_12, senvcfg, 0xF1),
    [CSR_SSCRATCH]    = PLAIN("sscratch", NULL, sscratch, ALL),
    [CSR_SEPC]        = PLAIN("sepc", NULL, sepc, ALL),
    [CSR_SCAUSE]      = PLAIN("scause", NULL, scause, ALL),
    [CSR_STVAL]       = PLAIN("stval", NULL, stval, ALL),
    [CSR_SIP]         = ROW("sip", NULL, read_mip, write_mip),
    [CSR_STIMECMP]    = FIELD("stimecmp", gate_stimecmp, stimecmp, write_stimecmp),
    [CSR_SATP]        = FIELD("satp", gate_satp, satp, write_satp),

    [CSR_VSSTATUS]    = FIELD("vsstatus", gate_h, vsstatus, write_vsstatus),
    [CSR_VSIE]        = ROW("vsie", gate_h, read_mie, write_mie),
    [CSR_VSTVEC]      = PLAIN("vstvec", gate_h, vstvec, ALL),
    [CSR_VSSCRATCH]   = PLAIN("vsscratch", gate_h, vsscratch, ALL),
    [CSR_VSEPC]       = PLAIN("vsepc", gate_h, vsepc, ALL),
    [CSR_VSCAUSE]     = PLAIN("vscause", gate_h, vscause, ALL),
    [CSR_VSTVAL]      = PLAIN("vstval", gate_h, vstval, ALL),
    [CSR_VSIP]        = ROW("vsip", gate_h, read_mip, write_mip),
    [CSR_VSTIMECMP]   = PLAIN("vstimecmp", gate_stimecmp, vstimecmp, ALL),
    [CSR_VSATP]       = PLAIN("vsatp", gate_h, vsatp, ALL),

    [CSR_MVENDORID ... CSR_MIMPID] = ROW("mid", NULL, read_id, write_ignored),
    [CSR_MHARTID]     = PLAIN("mhartid", NULL, mhartid, 0),
    [CSR_MCONFIGPTR]  = ROW("mconfigptr", gate_priv_1_12, read_zero, write_ignored),

    [CSR_MSTATUS]     = STATUS("mstatus", MSTATUS_WRITABLE),
    [CSR_MISA]        = ROW("misa", NULL, read_misa, write_ignored),
    [CSR_MEDELEG]     = PLAIN("medeleg", NULL, medeleg, 0xF0BFFF),
    [CSR_MIDELEG]     = FIELD("mideleg", NULL, mideleg, write_mideleg),
    [CSR_MIE]         = ROW("mie", NULL, read_mie, write_mie),
    [CSR_MTVEC]       = FIELD("mtvec", NULL, mtvec, write_tvec),
    [CSR_MCOUNTEREN]  = PLAIN("mcounteren", NULL, mcounteren, ALL),
    [CSR_MENVCFG]     = PLAIN("menvcfg", gate_priv_1_12, menvcfg, 0xC0000000000000F1),
    [CSR_MCOUNTINHIBIT] = FIELD("mcountinhibit", gate_priv_1_11, mcountinhibit,
                                write_mcountinhibit),
    [CSR_MHPMEVENT3 ... CSR_MHPMEVENT31] = ROW("mhpmevent", NULL, read_event, write_event),
    [CSR_MSCRATCH]    = PLAIN("mscratch", NULL, mscratch, ALL),
    [CSR_MEPC]        = PLAIN("mepc", NULL, mepc, ALL),
    [CSR_MCAUSE]      = PLAIN("mcause", NULL, mcause, ALL),
    [CSR_MTVAL]       = PLAIN("mtval", NULL, mtval, ALL),
    [CSR_MIP]         = ROW("mip", NULL, read_mip, write_mip),
    [CSR_MTINST]      = PLAIN("mtinst", gate_h, mtinst, ALL),
    [CSR_MTVAL2]      = PLAIN("mtval2", gate_h, mtval2, ALL),
    [CSR_PMPCFG0]     = ROW("pmpcfg0", gate_pmp, read_pmpcfg, write_pmpcfg),
    [CSR_PMPCFG2]     = ROW("pmpcfg2", gate_pmp, read_pmpcfg, write_pmpcfg),
    [CSR_PMPADDR0 ... CSR_PMPADDR15] = ROW("pmpaddr", gate_pmp, read_pmpaddr, write_pmpaddr),

    [CSR_HSTATUS]     = {.name = "hstatus", .gate = gate_h, .read = read_hstatus,
                         .offset = offsetof(CPURISCVState, hstatus), .write_mask = ALL,
                         .exists = true},
    [CSR_HEDELEG]     = PLAIN("hedeleg", gate_h, hedeleg, 0xB1FF),
    [CSR_HIDELEG]     = PLAIN("hideleg", gate_h, hideleg, MIP_VS_BITS),
    [CSR_HIE]         = ROW("hie", gate_h, read_mie, write_mie),
    [CSR_HTIMEDELTA]  = PLAIN("htimedelta", gate_h, htimedelta, ALL),
    [CSR_HCOUNTEREN]  = PLAIN("hcounteren", gate_h, hcounteren, ALL),
    [CSR_HGEIE]       = PLAIN("hgeie", gate_h, hgeie, 0),
    [CSR_HENVCFG]     = PLAIN("henvcfg", gate_h_1_12, henvcfg, 0xC0000000000000F1),
    [CSR_HTVAL]       = PLAIN("htval", gate_h, htval, ALL),
    [CSR_HIP]         = ROW("hip", gate_h, read_mip, write_mip),
    [CSR_HVIP]        = ROW("hvip", gate_h, read_mip, write_mip),
    [CSR_HTINST]      = FIELD("htinst", gate_h, htinst, write_ignored),
    [CSR_HGATP]       = PLAIN("hgatp", gate_h, hgatp, ALL),
    [CSR_HGEIP]       = PLAIN("hgeip", gate_h, hgeip, 0),

    [CSR_TSELECT]     = FIELD("tselect", gate_debug, trigger_cur, write_tselect),
    [CSR_TDATA1 ... CSR_TDATA3] = ROW("tdata", gate_debug, read_tdata, write_tdata),
    [CSR_TINFO]       = ROW("tinfo", gate_debug, read_tinfo, write_ignored),

    [CSR_MCYCLE]      = ROW("mcycle", NULL, read_counter, write_counter),
    [CSR_MINSTRET ... CSR_MHPMCOUNTER31] = ROW("mhpmcounter", gate_mcounter, read_counter,
                                               write_counter),
};
/* clang-format on */
