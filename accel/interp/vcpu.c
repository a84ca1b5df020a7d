/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vCPU threads: one per hart. A thread is always in one of these states: running guest code,
 * sleeping in WFI, sleeping because it is throttled, stopped, or running a function somebody handed
 * it. Guest code runs without any lock.
 *
 * Waking works by setting env.exit_request and, if the thread sleeps, signalling its condition. The
 * thread clears exit_request *before* it looks at what may be wanted of it, so a request that comes
 * later is seen at the next exit.
 */
#include <sys/syscall.h>
#include "accel/interp/machine.h"
#include "accel/interp/ops.h"
#include "util/lock.h"

typedef struct {
    void (*fn)(RISCVCPU *cpu, void *opaque);
    void *opaque;
    bool done;
} WorkItem;

static __thread VCPU *current;

VCPU *vcpu_current(void)
{
    return current;
}

static InterpAccel *interp_accel(Accel *accel)
{
    return container_of(accel, InterpAccel, parent);
}

void vcpu_kick(VCPU *v)
{
    __atomic_store_n(&v->interp.cpu->env.exit_request, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&v->sleeping, __ATOMIC_SEQ_CST)) {
        g_mutex_lock(&v->accel->lock);
        g_cond_signal(&v->wake);
        g_mutex_unlock(&v->accel->lock);
    }
}

/* The same with the lock held. */
static void kick_locked(VCPU *v)
{
    __atomic_store_n(&v->interp.cpu->env.exit_request, 1, __ATOMIC_SEQ_CST);
    g_cond_signal(&v->wake);
}

static void kick_cpu(RISCVCPU *cpu)
{
    vcpu_kick(cpu->accel);
}

static void invalidate_code(RISCVCPU *cpu)
{
    VCPU *v = cpu->accel;

    /* The block that led here is still being executed: drop it when the loop has been left. */
    v->invalidate = true;
    __atomic_store_n(&cpu->env.exit_request, 1, __ATOMIC_SEQ_CST);
}

static void run_work(VCPU *v)
{
    WorkItem *item;

    while ((item = g_queue_pop_head(&v->work))) {
        g_mutex_unlock(&v->accel->lock);
        item->fn(v->interp.cpu, item->opaque);
        g_mutex_lock(&v->accel->lock);
        item->done = true;
        g_cond_broadcast(&v->accel->changed);
    }
}

/* WFI: true if there is something to do now; otherwise sleeps until somebody signals, and returns
 * false. */
static bool wait_for_interrupt(VCPU *v)
{
    CPURISCVState *env = &v->interp.cpu->env;

    __atomic_store_n(&v->sleeping, 1, __ATOMIC_SEQ_CST);
    if (riscv_cpu_has_work(v->interp.cpu)) {
        env->halted = 0;
    } else if (!__atomic_load_n(&env->exit_request, __ATOMIC_SEQ_CST)) {
        g_cond_wait(&v->wake, &v->accel->lock);
    }
    __atomic_store_n(&v->sleeping, 0, __ATOMIC_SEQ_CST);
    return !env->halted;
}

/* Under the lock: do all that is wanted of this vCPU until it may run guest code; false: the thread
 * shall end. */
static bool prepare_to_run(VCPU *v)
{
    CPURISCVState *env = &v->interp.cpu->env;

    for (;;) {
        int64_t until;

        __atomic_store_n(&env->exit_request, 0, __ATOMIC_SEQ_CST);
        run_work(v);
        if (v->quit) {
            return false;
        }
        if (v->stop) {
            if (!v->stopped) {
                v->stopped = true;
                g_cond_broadcast(&v->accel->changed);
            }
            g_cond_wait(&v->wake, &v->accel->lock);
        } else if (v->asleep_until && g_get_monotonic_time() < v->asleep_until) {
            g_cond_wait_until(&v->wake, &v->accel->lock, v->asleep_until);
        } else if ((until = dirty_limit_wait(v))) {
            g_cond_wait_until(&v->wake, &v->accel->lock, until);
        } else if (!env->halted || wait_for_interrupt(v)) {
            v->asleep_until = 0;
            return true;
        }
    }
}

static void run_guest(VCPU *v)
{
    RISCVCPU *cpu = v->interp.cpu;
    int irq;

    barrier_enter_guest(v);
    if (v->invalidate) {
        v->invalidate = false;
        code_cache_flush(&v->interp.code);
    }
    irq = riscv_pending_interrupt(cpu);
    if (irq >= 0) {
        riscv_take_interrupt(cpu, irq);
    }
    exec_run(&v->interp);
    barrier_leave_guest(v);
}

static unsigned decode_extensions(const RISCVCPUConfig *cfg)
{
    return (cfg->ext_c ? RV_EXT_C : 0) | (cfg->ext_f ? RV_EXT_F : 0) | (cfg->ext_d ? RV_EXT_D : 0) |
           (cfg->ext_zba ? RV_EXT_ZBA : 0) | (cfg->ext_zbb ? RV_EXT_ZBB : 0) |
           (cfg->ext_zbc ? RV_EXT_ZBC : 0) | (cfg->ext_zbs ? RV_EXT_ZBS : 0) |
           (cfg->ext_zicsr ? RV_EXT_ZICSR : 0) | (cfg->ext_zifencei ? RV_EXT_ZIFENCEI : 0);
}

static gpointer vcpu_thread(gpointer opaque)
{
    VCPU *v = opaque;
    InterpAccel *a = v->accel;

    current = v;
    barrier_attach_thread(v);
    dirty_meter_attach(&v->meter);
    g_mutex_lock(&a->lock);
    v->thread_id = syscall(SYS_gettid);
    g_cond_broadcast(&a->changed);
    while (prepare_to_run(v)) {
        bool stale = v->stale;

        v->stale = false;
        g_mutex_unlock(&a->lock);
        if (stale) {
            /* An incoming guest brings its extensions along (spec 81 section 12). */
            v->interp.exts = decode_extensions(&v->interp.cpu->cfg);
            riscv_tlb_flush(v->interp.cpu);
            code_cache_flush(&v->interp.code);
        }
        run_guest(v);
        g_mutex_lock(&a->lock);
    }
    v->stopped = true;
    g_cond_broadcast(&a->changed);
    g_mutex_unlock(&a->lock);
    return NULL;
}

static Accel *interp_create(const AccelOps *ops, AddressSpace *as, Clock *vclock, GError **errp)
{
    InterpAccel *a = g_new0(InterpAccel, 1);

    a->parent = (Accel){ops, as, vclock, g_ptr_array_new()};
    g_mutex_init(&a->lock);
    g_cond_init(&a->changed);
    g_cond_init(&a->throttle_wake);
    barrier_init(a);
    return &a->parent;
}

static void interp_add_vcpu(Accel *accel, RISCVCPU *cpu)
{
    InterpAccel *a = interp_accel(accel);
    VCPU *v = g_new0(VCPU, 1);
    g_autofree char *name = g_strdup_printf("CPU %u/interp", cpu->index);

    v->accel = a;
    v->stop = true;
    exec_vcpu_init(&v->interp, cpu, decode_extensions(&cpu->cfg));
    g_cond_init(&v->wake);
    g_queue_init(&v->work);
    dirty_limit_add_vcpu(v);
    cpu->accel = v;
    cpu->kick = kick_cpu;
    cpu->invalidate_code = invalidate_code;
    g_ptr_array_add(accel->cpus, cpu);
    g_mutex_lock(&a->lock);
    v->thread = g_thread_new(name, vcpu_thread, v);
    while (!v->stopped) {
        g_cond_wait(&a->changed, &a->lock);
    }
    g_mutex_unlock(&a->lock);
}

/* Wait until *@flag, with the big lock released if we hold it: vCPUs may need it to get there. */
static void wait_unlocked(InterpAccel *a, const bool *flag)
{
    bool had_bql = bql_locked();

    if (had_bql) {
        bql_unlock();
    }
    g_mutex_lock(&a->lock);
    while (!*flag) {
        g_cond_wait(&a->changed, &a->lock);
    }
    g_mutex_unlock(&a->lock);
    if (had_bql) {
        bql_lock();
    }
}

/* As wait_unlocked(), for a vCPU to stop, or to be unable to go on. */
static void wait_stopped(InterpAccel *a, const VCPU *v)
{
    bool had_bql = bql_locked();

    if (had_bql) {
        bql_unlock();
    }
    g_mutex_lock(&a->lock);
    while (!v->stopped && !v->in_fault) {
        g_cond_wait(&a->changed, &a->lock);
    }
    g_mutex_unlock(&a->lock);
    if (had_bql) {
        bql_lock();
    }
}

static void interp_set_asleep(Accel *accel, uint32_t thread, bool asleep)
{
    InterpAccel *a = interp_accel(accel);

    g_mutex_lock(&a->lock);
    for (unsigned i = 0; i < accel->cpus->len; i++) {
        VCPU *v = accel_vcpu(a, i);

        if ((uint32_t)v->thread_id == thread) {
            v->in_fault = asleep;
            g_cond_broadcast(&a->changed);
        }
    }
    g_mutex_unlock(&a->lock);
}

static void interp_resume_all(Accel *accel)
{
    InterpAccel *a = interp_accel(accel);

    g_mutex_lock(&a->lock);
    for (unsigned i = 0; i < accel->cpus->len; i++) {
        VCPU *v = accel_vcpu(a, i);

        if (v->stop) {
            v->stop = v->stopped = false;
            v->stale = true;
            kick_locked(v);
        }
    }
    g_mutex_unlock(&a->lock);
}

static void interp_pause_all(Accel *accel)
{
    InterpAccel *a = interp_accel(accel);

    g_mutex_lock(&a->lock);
    for (unsigned i = 0; i < accel->cpus->len; i++) {
        VCPU *v = accel_vcpu(a, i);

        v->stop = true;
        kick_locked(v);
    }
    g_mutex_unlock(&a->lock);
    for (unsigned i = 0; i < accel->cpus->len; i++) {
        VCPU *v = accel_vcpu(a, i);

        /* A vCPU that asks (through a device) stops when it gets back to its loop. */
        if (v != current) {
            wait_stopped(a, v);
        }
    }
}

static int interp_thread_id(Accel *accel, unsigned index)
{
    InterpAccel *a = interp_accel(accel);
    int id;

    g_mutex_lock(&a->lock);
    id = accel_vcpu(a, index)->thread_id;
    g_mutex_unlock(&a->lock);
    return id;
}

static void interp_run_on_vcpu(Accel *accel, unsigned index,
                               void (*fn)(RISCVCPU *cpu, void *opaque), void *opaque)
{
    InterpAccel *a = interp_accel(accel);
    VCPU *v = accel_vcpu(a, index);
    WorkItem item = {fn, opaque, false};

    g_mutex_lock(&a->lock);
    g_queue_push_tail(&v->work, &item);
    kick_locked(v);
    g_mutex_unlock(&a->lock);
    wait_unlocked(a, &item.done);
}

static void free_vcpu(RISCVCPU *cpu)
{
    VCPU *v = cpu->accel;

    dirty_limit_remove_vcpu(v);
    exec_vcpu_destroy(&v->interp);
    g_cond_clear(&v->wake);
    cpu->accel = NULL;
    cpu->kick = NULL;
    cpu->invalidate_code = NULL;
    g_free(v);
}

static void interp_destroy(Accel *accel)
{
    InterpAccel *a = interp_accel(accel);
    bool had_bql = bql_locked();

    g_mutex_lock(&a->lock);
    for (unsigned i = 0; i < accel->cpus->len; i++) {
        accel_vcpu(a, i)->quit = true;
        kick_locked(accel_vcpu(a, i));
    }
    g_mutex_unlock(&a->lock);
    if (had_bql) {
        bql_unlock();
    }
    throttle_stop(a);
    for (unsigned i = 0; i < accel->cpus->len; i++) {
        g_thread_join(accel_vcpu(a, i)->thread);
    }
    if (had_bql) {
        bql_lock();
    }
    barrier_destroy(a);
    for (unsigned i = 0; i < accel->cpus->len; i++) {
        free_vcpu(g_ptr_array_index(accel->cpus, i));
    }
    g_ptr_array_unref(accel->cpus);
    g_cond_clear(&a->throttle_wake);
    g_cond_clear(&a->changed);
    g_mutex_clear(&a->lock);
    g_free(a);
}

static const char *const aliases[] = {"tcg", NULL};

const AccelOps interp_accel_ops = {
    .name = "interp",
    .aliases = aliases,
    .create = interp_create,
    .add_vcpu = interp_add_vcpu,
    .resume_all = interp_resume_all,
    .pause_all = interp_pause_all,
    .set_asleep = interp_set_asleep,
    .set_throttle = throttle_set,
    .thread_id = interp_thread_id,
    .run_on_vcpu = interp_run_on_vcpu,
    .destroy = interp_destroy,
};
