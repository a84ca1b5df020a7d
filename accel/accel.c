/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which accelerators there are. */
#include "accel/interp/ops.h"
#include "accel/qtest/ops.h"

static const AccelOps *const accels[] = {&interp_accel_ops, &qtest_accel_ops, NULL};

const AccelOps *const *accel_list(void)
{
    return accels;
}

const AccelOps *accel_find(const char *name)
{
    for (unsigned i = 0; accels[i]; i++) {
        if (!strcmp(accels[i]->name, name) || g_strv_contains(accels[i]->aliases, name)) {
            return accels[i];
        }
    }
    return NULL;
}

int accel_vcpu_thread_id(Accel *a, unsigned index)
{
    return a->ops->thread_id(a, index);
}

void accel_run_on_vcpu(Accel *a, unsigned index, void (*fn)(RISCVCPU *cpu, void *opaque),
                       void *opaque)
{
    a->ops->run_on_vcpu(a, index, fn, opaque);
}
