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
    /* NULL-safe constructor: prepare for @n harts; error when the host cannot. Big lock. */
    Accel *(*create)(const struct AccelOps *ops, AddressSpace *as, Clock *vclock, GError **errp);
    /* Start the thread of @cpu, stopped. Big lock. */
    void (*add_vcpu)(Accel *a, RISCVCPU *cpu);
    /* Let all run / bring all to a halt between two instructions and wait for it. Big lock
     * (released while waiting). */
    void (*resume_all)(Accel *a);
    void (*pause_all)(Accel *a);
    /* 0..99 % of time asleep; never more than 10 ms at once. Any thread. */
    void (*set_throttle)(Accel *a, int percent);
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
/* Run @fn on the vCPU's thread between two blocks and wait; from any thread but a vCPU's own. */
void accel_run_on_vcpu(Accel *a, unsigned index, void (*fn)(RISCVCPU *cpu, void *opaque),
                       void *opaque);

#endif
