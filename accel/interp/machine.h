/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The interpreter as an accelerator: its vCPU threads and what other threads may ask of them. */
#ifndef GODWIT_ACCEL_INTERP_MACHINE_H
#define GODWIT_ACCEL_INTERP_MACHINE_H

#include "accel/interp/interp.h"
#include "memory/dirty-meter.h"

typedef struct InterpAccel InterpAccel;

typedef struct VCPU {
    InterpVCPU interp;
    InterpAccel *accel;
    GThread *thread;
    int thread_id; /* host's, for query-cpus-fast */

    /* Under accel->lock. */
    GCond wake;
    GQueue work; /* WorkItem, see vcpu.c */
    bool stop, stopped, quit;
    bool in_fault; /* sleeps in memory that cannot be read */
    bool stale;    /* memory or registers may have changed from outside: start with empty caches */
    int64_t asleep_until; /* throttled; monotonic us */

    /* dirty-limit.c; own thread */
    DirtyMeter meter;
    uint64_t slice_limit; /* the limit that this slice was made for */
    int64_t slice_start_us;
    int64_t slice_spent_us; /* when its pages were used up; 0: not yet */

    int sleeping;   /* atomic: in WFI, needs a signal to notice anything */
    int invalidate; /* own thread only: drop the blocks at the next chance */

    /* barrier.c; atomic */
    int in_guest;
    unsigned seen_writes, seen_maps;
} VCPU;

struct InterpAccel {
    Accel parent;
    /* Inner to the big lock; held for moments, never while guest code or callbacks run. */
    GMutex lock;
    GCond changed; /* some vCPU stopped, or finished a work item */
    /* barrier.c; atomic: how often write permissions, or all translations, were called in. */
    unsigned writes, maps;
    MemoryListener listener;
    /* throttle.c; under lock */
    int throttle_percent;
    bool throttle_quit;
    GCond throttle_wake;
    GThread *throttle_thread;
};

static inline VCPU *accel_vcpu(InterpAccel *a, unsigned i)
{
    return ((RISCVCPU *)g_ptr_array_index(a->parent.cpus, i))->accel;
}

/* The vCPU whose thread this is, or NULL. */
VCPU *vcpu_current(void);
/* Make @v leave guest code, or WFI, and look around. Any thread; not under accel->lock. */
void vcpu_kick(VCPU *v);

/* ---- barrier.c ---- */
void barrier_init(InterpAccel *a);
void barrier_destroy(InterpAccel *a);
/* vCPU thread: guest code begins and ends. */
void barrier_enter_guest(VCPU *v);
void barrier_leave_guest(VCPU *v);
/* vCPU thread, once at its start. */
void barrier_attach_thread(VCPU *v);

/* ---- dirty-limit.c ---- */
/* Big lock: before the vCPU's thread starts, and after it has ended. */
void dirty_limit_add_vcpu(VCPU *v);
void dirty_limit_remove_vcpu(VCPU *v);
/* vCPU thread, under the lock, before it runs guest code: until when it has to wait (monotonic us),
 * 0: not at all. */
int64_t dirty_limit_wait(VCPU *v);

/* ---- throttle.c ---- */
void throttle_set(Accel *accel, int percent);
void throttle_stop(InterpAccel *a);

#endif
