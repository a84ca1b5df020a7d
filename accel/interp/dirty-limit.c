/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A limit to the pages a vCPU makes dirty per second. Time is cut into slices of at most 10 ms; a
 * vCPU that has used up the pages of its slice leaves guest code at the next jump and sleeps until
 * the slice is over. Only stores to clean pages are counted, and they are slow anyway, so a vCPU
 * that writes the same few pages, or none, is not slowed down at all.
 */
#include "accel/interp/machine.h"

#define SLICES_PER_SECOND 100

static void budget_spent(DirtyMeter *meter)
{
    VCPU *v = container_of(meter, VCPU, meter);

    __atomic_store_n(&v->interp.cpu->env.exit_request, 1, __ATOMIC_SEQ_CST);
}

static void limit_changed(DirtyMeter *meter)
{
    VCPU *v = container_of(meter, VCPU, meter);

    g_mutex_lock(&v->accel->lock);
    __atomic_store_n(&v->interp.cpu->env.exit_request, 1, __ATOMIC_SEQ_CST);
    g_cond_signal(&v->wake);
    g_mutex_unlock(&v->accel->lock);
}

void dirty_limit_add_vcpu(VCPU *v)
{
    v->meter =
        (DirtyMeter){.budget = UINT64_MAX, .spent = budget_spent, .limit_changed = limit_changed};
    dirty_meter_add(address_space_ram(v->accel->parent.as), &v->meter);
}

void dirty_limit_remove_vcpu(VCPU *v)
{
    dirty_meter_remove(address_space_ram(v->accel->parent.as), &v->meter);
}

static void begin_slice(VCPU *v, uint64_t limit, int64_t now)
{
    if (v->slice_spent_us) {
        __atomic_store_n(&v->meter.slept_us, v->meter.slept_us + now - v->slice_spent_us,
                         __ATOMIC_RELAXED);
        v->slice_spent_us = 0;
    }
    v->slice_limit = limit;
    v->slice_start_us = now;
    v->meter.budget = limit ? MAX(limit / SLICES_PER_SECOND, 1) : UINT64_MAX;
}

int64_t dirty_limit_wait(VCPU *v)
{
    uint64_t limit = dirty_meter_limit(&v->meter);
    int64_t now, end;

    if (!limit && !v->slice_limit) {
        return 0;
    }
    now = g_get_monotonic_time();
    end = v->slice_start_us + G_USEC_PER_SEC / SLICES_PER_SECOND;
    if (limit != v->slice_limit || now >= end) {
        begin_slice(v, limit, now);
        return 0;
    }
    if (v->meter.budget) {
        return 0;
    }
    if (!v->slice_spent_us) {
        v->slice_spent_us = now;
    }
    return end;
}
