/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Slowing vCPUs down by a percentage: a thread lets them run, then sends them to sleep, in turns.
 * One sleep is at most 10 ms, so that a throttled guest still answers; strong throttling shortens
 * the time between sleeps instead.
 */
#include "accel/interp/machine.h"

#define MAX_SLEEP_US 10000
#define MIN_RUN_US   100

/* Under the lock: send all to sleep until @until. */
static void send_to_sleep(InterpAccel *a, int64_t until)
{
    for (unsigned i = 0; i < a->parent.cpus->len; i++) {
        VCPU *v = accel_vcpu(a, i);

        v->asleep_until = until;
        __atomic_store_n(&v->interp.cpu->env.exit_request, 1, __ATOMIC_SEQ_CST);
    }
}

static gpointer throttle_thread(gpointer opaque)
{
    InterpAccel *a = opaque;

    g_mutex_lock(&a->lock);
    while (!a->throttle_quit) {
        int percent = a->throttle_percent;
        int64_t run_us, sleep_us, until;

        if (!percent) {
            g_cond_wait(&a->throttle_wake, &a->lock);
            continue;
        }
        run_us = MAX(MAX_SLEEP_US * (100 - percent) / percent, MIN_RUN_US);
        sleep_us = MIN(run_us * percent / (100 - percent), MAX_SLEEP_US);
        until = g_get_monotonic_time() + run_us;
        if (g_cond_wait_until(&a->throttle_wake, &a->lock, until)) {
            continue;
        }
        until += sleep_us;
        send_to_sleep(a, until);
        while (!a->throttle_quit && g_get_monotonic_time() < until) {
            g_cond_wait_until(&a->throttle_wake, &a->lock, until);
        }
    }
    g_mutex_unlock(&a->lock);
    return NULL;
}

void throttle_set(Accel *accel, int percent)
{
    InterpAccel *a = container_of(accel, InterpAccel, parent);

    g_mutex_lock(&a->lock);
    a->throttle_percent = CLAMP(percent, 0, 99);
    if (a->throttle_percent && !a->throttle_thread) {
        a->throttle_thread = g_thread_new("throttle", throttle_thread, a);
    }
    g_cond_signal(&a->throttle_wake);
    g_mutex_unlock(&a->lock);
}

void throttle_stop(InterpAccel *a)
{
    g_mutex_lock(&a->lock);
    a->throttle_quit = true;
    g_cond_signal(&a->throttle_wake);
    g_mutex_unlock(&a->lock);
    if (a->throttle_thread) {
        g_thread_join(a->throttle_thread);
    }
}
