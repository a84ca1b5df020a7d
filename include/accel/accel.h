/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Running vCPUs, behind one table. The accelerator owns the vCPU threads; everybody else asks.
 */
#ifndef GODWIT_ACCEL_ACCEL_H
#define GODWIT_ACCEL_ACCEL_H

#include "target/riscv-cpu.h"

typedef struct Accel Accel;
typedef struct AccelOps {
    const char *name;           /* "interp", "qtest" */
    const char *const *aliases; /* "tcg" */
    /* Prepare to run harts in @as; error when the host cannot. Big lock. */
    Accel *(*create)(const struct AccelOps *ops, AddressSpace *as, Clock *vclock, GError **errp);
    /* Start the thread of @cpu, stopped. Big lock. */
    void (*add_vcpu)(Accel *a, RISCVCPU *cpu);
    /*
     * A resumed vCPU starts with empty caches: memory and registers may have been loaded meanwhile.
     * Let all run / bring all to a halt between two instructions and wait for it. Big lock
     * (released while waiting). A vCPU thread may call pause_all: it stops itself when it is back
     * in its loop.
     */
    void (*resume_all)(Accel *a);
    void (*pause_all)(Accel *a);
    /* The vCPU of thread @thread sleeps in memory that cannot be read: pause_all does not wait for
     * it. Optional. Any thread. */
    void (*set_asleep)(Accel *a, uint32_t thread, bool asleep);
    /* 0..99 % of time asleep; never more than 10 ms at once. Any thread. */
    void (*set_throttle)(Accel *a, int percent);
    /* See accel_vcpu_thread_id() and accel_run_on_vcpu(). */
    int (*thread_id)(Accel *a, unsigned index);
    void (*run_on_vcpu)(Accel *a, unsigned index, void (*fn)(RISCVCPU *cpu, void *opaque),
                        void *opaque);
    /* Threads end. Big lock (released while waiting). */
    void (*destroy)(Accel *a);
} AccelOps;

struct Accel {
    const AccelOps *ops;
    AddressSpace *as;
    Clock *vclock;
    GPtrArray *cpus; /* RISCVCPU */
};

/* "tcg", "interp", "qtest"; NULL when unknown ("kvm" is known to nobody). */
const AccelOps *accel_find(const char *name);
/* NULL-terminated. */
const AccelOps *const *accel_list(void);
/* Host thread id of a vCPU (query-cpus-fast). */
int accel_vcpu_thread_id(Accel *a, unsigned index);
/*
 * Run @fn on the vCPU's thread between two blocks and wait; from any thread but a vCPU's own. Works
 * while the vCPU is stopped too. A big lock that the caller holds is released while waiting; @fn
 * runs without it. Under qtest there is no such thread: @fn runs here.
 */
void accel_run_on_vcpu(Accel *a, unsigned index, void (*fn)(RISCVCPU *cpu, void *opaque),
                       void *opaque);

#endif
