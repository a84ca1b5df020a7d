/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The hart on the wire: sections cpu_common and cpu (spec 81 sections 9-12). Fields are in stream
 * order and named as the peer names them. What the fields of a stream may contain is decided in one
 * place, state_valid().
 */
#include "target/riscv/internal.h"

/* ---- what is written instead of the live value ---- */

/*
 * QEMU 7.2 does not re-arm the hart timers after loading, so an idle guest would sleep for ever. A
 * timer that is still to come is therefore handed over as already expired: the guest takes one
 * early interrupt, finds nothing due, and programs its timer again. So is one that was due when the
 * VM stopped but whose expiry the main loop had not seen. The live mip stays as it is; this guest
 * may have to go on here.
 */
static uint64_t mip_for_peer(const RISCVCPU *cpu)
{
    const CPURISCVState *env = &cpu->env;
    uint64_t mip = riscv_mip(env);

    /* 0: never programmed. */
    if (env->menvcfg & ENVCFG_STCE && env->mie & MIP_STIP && env->stimecmp != 0 &&
        env->stimecmp != UINT64_MAX) {
        mip |= MIP_STIP;
    }
    if (env->mie & MIP_MTIP && cpu->mtimecmp) {
        uint64_t cmp = cpu->mtimecmp(cpu->rdtime_opaque, cpu->index);

        mip |= cmp != UINT64_MAX ? MIP_MTIP : 0;
    }
    return mip;
}

static bool cpu_pre_save(void *opaque, GError **errp)
{
    RISCVCPU *cpu = opaque;
    static const unsigned running[] = {0, 2};

    cpu->wire_mip = mip_for_peer(cpu);
    /* What the guest reads does not change, but a receiver that starts its own ticks can go on from
     * val. */
    for (unsigned i = 0; i < ARRAY_SIZE(running); i++) {
        riscv_counter_write(&cpu->env, running[i], riscv_counter_read(&cpu->env, running[i]));
    }
    return true;
}

static bool cpu_common_pre_save(void *opaque, GError **errp)
{
    CPURISCVState *env = opaque;

    env->interrupt_request = mip_for_peer(container_of(env, RISCVCPU, env)) ? 2 : 0;
    return true;
}

/* ---- loading ---- */

#define MISA_IMPLEMENTED                                                             \
    (MISA_EXT('i') | MISA_EXT('m') | MISA_EXT('a') | MISA_EXT('f') | MISA_EXT('d') | \
     MISA_EXT('c') | MISA_EXT('s') | MISA_EXT('u') | MISA_EXT('h'))

static bool state_valid(const RISCVCPU *cpu, GError **errp)
{
    const CPURISCVState *env = &cpu->env;
    unsigned satp_mode = env->satp >> SATP_MODE_SHIFT;

    if (env->virt & 1) {
        error_setg(errp,
                   "hart %u was inside a nested guest (V = 1), which is not implemented here; "
                   "stop the guest's own virtual machines before migrating",
                   cpu->index);
    } else if (env->misa_mxl != 2 || env->misa_mxl_max != 2) {
        error_setg(errp, "hart %u is not 64-bit (misa MXL %u, maximum %u)", cpu->index,
                   env->misa_mxl, env->misa_mxl_max);
    } else if (env->misa_ext & ~MISA_IMPLEMENTED) {
        error_setg(errp,
                   "hart %u has misa extensions 0x%x, of which 0x%x are not implemented here; "
                   "start the source with these off",
                   cpu->index, env->misa_ext, env->misa_ext & ~MISA_IMPLEMENTED);
    } else if (env->features & ~(FEATURE_MMU | FEATURE_PMP | FEATURE_DEBUG)) {
        error_setg(errp, "hart %u has features 0x%x, only MMU, PMP and debug (0x13) are known here",
                   cpu->index, env->features);
    } else if (env->priv_ver > 2) {
        error_setg(errp,
                   "hart %u follows privileged specification number %" PRIu64
                   ", newest known here is 2 (v1.12)",
                   cpu->index, env->priv_ver);
    } else if (env->mhartid != cpu->index) {
        error_setg(errp, "state of hart %" PRIu64 " arrived for hart %u", env->mhartid, cpu->index);
    } else if (env->priv > PRV_M || env->priv == 2) {
        error_setg(errp, "hart %u has impossible privilege %" PRIu64, cpu->index, env->priv);
    } else if (env->frm > 7) {
        error_setg(errp, "hart %u has impossible rounding mode %" PRIu64, cpu->index, env->frm);
    } else if (satp_mode != 0 && (satp_mode < 8 || satp_mode > 10)) {
        error_setg(errp, "hart %u uses unknown address translation (satp mode %u)", cpu->index,
                   satp_mode);
    } else if (env->trigger_cur >= ARRAY_SIZE(env->tdata1)) {
        error_setg(errp, "hart %u selects trigger %" PRIu64 ", there are %zu", cpu->index,
                   env->trigger_cur, ARRAY_SIZE(env->tdata1));
    } else {
        return true;
    }
    return false;
}

/* The guest keeps the extensions it was started with, whatever this side's -cpu says. */
static void adopt_extensions(RISCVCPU *cpu)
{
    cpu->cfg.ext_c = riscv_has_ext(&cpu->env, 'c');
    cpu->cfg.ext_f = riscv_has_ext(&cpu->env, 'f');
    cpu->cfg.ext_d = riscv_has_ext(&cpu->env, 'd');
    cpu->cfg.ext_h = riscv_has_ext(&cpu->env, 'h');
}

static bool cpu_post_load(void *opaque, int version_id, GError **errp)
{
    RISCVCPU *cpu = opaque;
    CPURISCVState *env = &cpu->env;

    if (!state_valid(cpu, errp)) {
        return false;
    }
    adopt_extensions(cpu);
    env->gpr[0] = 0;
    env->fflags = 0; /* does not travel */
    env->mstatus &= ~MSTATUS_SD;
    env->mip = cpu->wire_mip;
    /* Software or line, the stream does not say: it holds until the interrupt controller speaks. */
    env->seip_sources = env->mip & MIP_SEIP ? RV_SEIP_LINE : 0;
    /* Ticks of another machine mean nothing here: go on counting from val. */
    for (unsigned i = 0; i < RV_MAX_HPM; i++) {
        env->pmu_ctrs[i].mhpmcounter_prev = env->icount;
    }
    riscv_pmp_update(env);
    riscv_tlb_flush(cpu);
    riscv_update_mmu_idx(env);
    riscv_stimer_rearm(cpu);
    if (env->halted && riscv_cpu_has_work(cpu)) {
        env->halted = 0;
    }
    if (env->exception_index != RISCV_EXCP_NONE) {
        riscv_raise_exception(cpu, env->exception_index, env->badaddr);
    }
    __atomic_store_n(&env->exit_request, 1, __ATOMIC_SEQ_CST);
    if (cpu->invalidate_code) {
        cpu->invalidate_code(cpu);
    }
    return true;
}

static bool cpu_common_pre_load(void *opaque, GError **errp)
{
    CPURISCVState *env = opaque;

    env->exception_index = RISCV_EXCP_NONE; /* their subsections may be missing */
    env->crash_occurred = false;
    return true;
}

static bool cpu_common_post_load(void *opaque, int version_id, GError **errp)
{
    CPURISCVState *env = opaque;

    env->halted = env->halted != 0;
    return true;
}

/* Numbers from here on are the peer's ways out of its execution loop, not exceptions. */
#define PEER_EXIT_CODES 0x10000

static bool exception_index_post_load(void *opaque, int version_id, GError **errp)
{
    CPURISCVState *env = opaque;

    if (env->exception_index >= PEER_EXIT_CODES) {
        env->exception_index = RISCV_EXCP_NONE;
    } else if (env->exception_index < RISCV_EXCP_NONE || env->exception_index > 23) {
        error_setg(errp, "unknown latched exception %d", env->exception_index);
        return false;
    }
    return true;
}

/* ---- cpu_common ---- */

static bool exception_index_needed(void *opaque)
{
    return ((CPURISCVState *)opaque)->exception_index != RISCV_EXCP_NONE;
}

static bool crash_occurred_needed(void *opaque)
{
    return ((CPURISCVState *)opaque)->crash_occurred;
}

static const VMStateDescription vmstate_exception_index = {
    .name = "cpu_common/exception_index",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = exception_index_needed,
    .post_load = exception_index_post_load,
    .fields = (const VMStateField[]){VMSTATE_INT32(exception_index, CPURISCVState),
                                     VMSTATE_END_OF_LIST()},
};

static const VMStateDescription vmstate_crash_occurred = {
    .name = "cpu_common/crash_occurred",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = crash_occurred_needed,
    .fields =
        (const VMStateField[]){VMSTATE_BOOL(crash_occurred, CPURISCVState), VMSTATE_END_OF_LIST()},
};

const VMStateDescription riscv_vmstate_cpu_common = {
    .name = "cpu_common",
    .version_id = 1,
    .minimum_version_id = 1,
    .pre_save = cpu_common_pre_save,
    .pre_load = cpu_common_pre_load,
    .post_load = cpu_common_post_load,
    .fields = (const VMStateField[]){VMSTATE_UINT32(halted, CPURISCVState),
                                     VMSTATE_UINT32(interrupt_request, CPURISCVState),
                                     VMSTATE_END_OF_LIST()},
    .subsections = (const VMStateDescription *const[]){&vmstate_exception_index,
                                                       &vmstate_crash_occurred, NULL},
};

/* ---- cpu ---- */

#define U64(f)          VMSTATE_UINT64(env.f, RISCVCPU)
#define U64_ARRAY(f, n) VMSTATE_UINT64_ARRAY(env.f, RISCVCPU, n)
#define U32(f)          VMSTATE_UINT32(env.f, RISCVCPU)
#define U8_ARRAY(f, n)  VMSTATE_UINT8_ARRAY(env.f, RISCVCPU, n)

static const VMStateDescription vmstate_pmp_entry = {
    .name = "cpu/pmp/entry",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]){VMSTATE_UINT64(addr_reg, PMPEntry),
                                     VMSTATE_UINT8(cfg_reg, PMPEntry), VMSTATE_END_OF_LIST()},
};

static bool pmp_needed(void *opaque)
{
    return ((RISCVCPU *)opaque)->env.features & FEATURE_PMP;
}

static const VMStateDescription vmstate_pmp = {
    .name = "cpu/pmp",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = pmp_needed,
    .fields =
        (const VMStateField[]){VMSTATE_STRUCT_ARRAY(env.pmp_state.pmp, RISCVCPU, RV_PMP_ENTRIES, 0,
                                                    vmstate_pmp_entry, PMPEntry),
                               VMSTATE_END_OF_LIST()},
};

static bool hyper_needed(void *opaque)
{
    return riscv_has_ext(&((RISCVCPU *)opaque)->env, 'h');
}

static const VMStateDescription vmstate_hyper = {
    .name = "cpu/hyper",
    .version_id = 2,
    .minimum_version_id = 2,
    .needed = hyper_needed,
    .fields = (const VMStateField[]){U64(hstatus),
                                     U64(hedeleg),
                                     U64(hideleg),
                                     U64(hcounteren),
                                     U64(htval),
                                     U64(htinst),
                                     U64(hgatp),
                                     U64(hgeie),
                                     U64(hgeip),
                                     U64(htimedelta),
                                     U64(vstimecmp),
                                     U64(hvictl),
                                     U8_ARRAY(hviprio, 64),
                                     U64(vsstatus),
                                     U64(vstvec),
                                     U64(vsscratch),
                                     U64(vsepc),
                                     U64(vscause),
                                     U64(vstval),
                                     U64(vsatp),
                                     U64(vsiselect),
                                     U64(mtval2),
                                     U64(mtinst),
                                     U64(stvec_hs),
                                     U64(sscratch_hs),
                                     U64(sepc_hs),
                                     U64(scause_hs),
                                     U64(stval_hs),
                                     U64(satp_hs),
                                     U64(mstatus_hs),
                                     VMSTATE_END_OF_LIST()},
};

static bool envcfg_needed(void *opaque)
{
    return ((RISCVCPU *)opaque)->env.priv_ver >= 2;
}

static const VMStateDescription vmstate_envcfg = {
    .name = "cpu/envcfg",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = envcfg_needed,
    .fields =
        (const VMStateField[]){U64(menvcfg), U64(senvcfg), U64(henvcfg), VMSTATE_END_OF_LIST()},
};

static bool debug_needed(void *opaque)
{
    return ((RISCVCPU *)opaque)->env.features & FEATURE_DEBUG;
}

static const VMStateDescription vmstate_debug = {
    .name = "cpu/debug",
    .version_id = 2,
    .minimum_version_id = 2,
    .needed = debug_needed,
    .fields = (const VMStateField[]){U64(trigger_cur), U64_ARRAY(tdata1, 2), U64_ARRAY(tdata2, 2),
                                     U64_ARRAY(tdata3, 2), VMSTATE_END_OF_LIST()},
};

static const VMStateDescription vmstate_pmu_counter = {
    .name = "cpu/pmu",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]){VMSTATE_UINT64(mhpmcounter_val, PMUCounter),
                                     VMSTATE_UINT64(mhpmcounterh_val, PMUCounter),
                                     VMSTATE_UINT64(mhpmcounter_prev, PMUCounter),
                                     VMSTATE_UINT64(mhpmcounterh_prev, PMUCounter),
                                     VMSTATE_BOOL(started, PMUCounter), VMSTATE_END_OF_LIST()},
};

const VMStateDescription riscv_vmstate_cpu = {
    .name = "cpu",
    .version_id = 5,
    .minimum_version_id = 5,
    .pre_save = cpu_pre_save,
    .post_load = cpu_post_load,
    .fields = (const VMStateField[]){U64_ARRAY(gpr, 32),
                                     U64_ARRAY(fpr, 32),
                                     U8_ARRAY(miprio, 64),
                                     U8_ARRAY(siprio, 64),
                                     U64(pc),
                                     U64(load_res),
                                     U64(load_val),
                                     U64(frm),
                                     U64(badaddr),
                                     U64(guest_phys_fault_addr),
                                     U64(priv_ver),
                                     U64(vext_ver),
                                     U32(misa_mxl),
                                     U32(misa_ext),
                                     U32(misa_mxl_max),
                                     U32(misa_ext_mask),
                                     U32(features),
                                     U64(priv),
                                     U64(virt),
                                     U64(resetvec),
                                     U64(mhartid),
                                     U64(mstatus),
                                     {.name = "env.mip",
                                      .offset = vms_off(RISCVCPU, wire_mip, uint64_t),
                                      .size = sizeof(uint64_t),
                                      .info = &vmstate_info_uint64},
                                     U64(miclaim),
                                     U64(mie),
                                     U64(mideleg),
                                     U64(satp),
                                     U64(stval),
                                     U64(medeleg),
                                     U64(stvec),
                                     U64(sepc),
                                     U64(scause),
                                     U64(mtvec),
                                     U64(mepc),
                                     U64(mcause),
                                     U64(mtval),
                                     U64(miselect),
                                     U64(siselect),
                                     U64(scounteren),
                                     U64(mcounteren),
                                     U64(mcountinhibit),
                                     VMSTATE_STRUCT_ARRAY(env.pmu_ctrs, RISCVCPU, RV_MAX_HPM, 0,
                                                          vmstate_pmu_counter, PMUCounter),
                                     U64_ARRAY(mhpmevent_val, RV_MAX_HPM),
                                     U64_ARRAY(mhpmeventh_val, RV_MAX_HPM),
                                     U64(sscratch),
                                     U64(mscratch),
                                     U64(mfromhost),
                                     U64(mtohost),
                                     U64(stimecmp),
                                     VMSTATE_END_OF_LIST()},
    .subsections = (const VMStateDescription *const[]){&vmstate_pmp, &vmstate_hyper,
                                                       &vmstate_envcfg, &vmstate_debug, NULL},
};

bool riscv_cpu_register_vmstate(RISCVCPU *cpu, SaveStateList *list, GError **errp)
{
    return vmstate_register(list, NULL, cpu->index, &riscv_vmstate_cpu_common, &cpu->env, -1,
                            errp) &&
           vmstate_register(list, NULL, cpu->index, &riscv_vmstate_cpu, cpu, -1, errp);
}
