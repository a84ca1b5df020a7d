/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The accelerator of device tests: harts exist and have state, but never execute; the test drives
 * the devices instead. */
#include "accel/qtest/ops.h"

static Accel *qtest_create(const AccelOps *ops, AddressSpace *as, Clock *vclock, GError **errp)
{
    Accel *a = g_new0(Accel, 1);

    *a = (Accel){ops, as, vclock, g_ptr_array_new()};
    if (vclock) {
        clock_virtual_set_manual(
            vclock); /* time passes when the test says so (spec 71 section 6) */
    }
    return a;
}

static void nobody_to_wake(RISCVCPU *cpu)
{
}

static void nothing_decoded(RISCVCPU *cpu)
{
}

static void qtest_add_vcpu(Accel *a, RISCVCPU *cpu)
{
    cpu->kick = nobody_to_wake;
    cpu->invalidate_code = nothing_decoded;
    g_ptr_array_add(a->cpus, cpu);
}

static void qtest_resume_or_pause(Accel *a)
{
}

static void qtest_set_throttle(Accel *a, int percent)
{
}

static int qtest_thread_id(Accel *a, unsigned index)
{
    return getpid();
}

static void qtest_run_on_vcpu(Accel *a, unsigned index, void (*fn)(RISCVCPU *cpu, void *opaque),
                              void *opaque)
{
    fn(g_ptr_array_index(a->cpus, index), opaque);
}

static void qtest_destroy(Accel *a)
{
    g_ptr_array_unref(a->cpus);
    g_free(a);
}

static const char *const aliases[] = {NULL};

const AccelOps qtest_accel_ops = {
    .name = "qtest",
    .aliases = aliases,
    .create = qtest_create,
    .add_vcpu = qtest_add_vcpu,
    .resume_all = qtest_resume_or_pause,
    .pause_all = qtest_resume_or_pause,
    .set_throttle = qtest_set_throttle,
    .thread_id = qtest_thread_id,
    .run_on_vcpu = qtest_run_on_vcpu,
    .destroy = qtest_destroy,
};
