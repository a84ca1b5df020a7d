/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calling in what vCPUs have cached: write permissions (the dirty log was read) and translations
 * (the memory map changed).
 *
 * The promise to the dirty log: when the barrier returns, no vCPU can write a page through a
 * permission it cached before the barrier began, and all such writes are visible to the caller.
 *
 * How. A counter says how often permissions were called in. A vCPU sets in_guest, *then* reads the
 * counter, and if it differs from the last value it saw drops its write permissions. The barrier
 * raises the counter, *then* reads in_guest. All four are sequentially consistent, so for each vCPU
 * one of these holds:
 *   - the barrier sees in_guest clear: the vCPU is outside, and will see the new counter before its
 * next guest store;
 *   - the barrier sees in_guest set: it asks the vCPU to leave (exit_request) and waits until
 * in_guest is clear or the vCPU has seen the new counter. The vCPU leaves at the next jump it
 * takes: nanoseconds to a few microseconds, unless it is in the middle of a slow access. Clearing
 * in_guest is a release and the barrier's read an acquire, which makes the stores visible.
 *
 * Why it cannot deadlock. The barrier's caller may hold the big lock. The one thing for which a
 * vCPU inside guest code waits is the big lock, on its way into an MMIO access. An MMIO access is
 * not a RAM store, so a vCPU that has to wait there counts as outside (bql_set_waiter()): in_guest
 * is clear while it waits, and on getting the lock it enters again, reading the counter. A vCPU
 * that *has* the big lock finishes its MMIO access without waiting for the barrier's caller, who
 * does not have it then. A caller that is itself a vCPU (a device callback that changes the memory
 * map) skips itself: it will look at the counters when it leaves guest code, which exit_request
 * makes soon.
 *
 * Slow stores (page crossing, a page not yet in the TLB) write first and mark the page dirty
 * afterwards, so they need no barrier: a reader that missed the bytes finds the mark at the next
 * sync.
 */
#include <sched.h>
#include "accel/interp/machine.h"
#include "memory/dirty-log.h"
#include "util/lock.h"

#define SPINS_BEFORE_YIELD 1000

static void drop_write_permissions(VCPU *v)
{
    for (unsigned i = 0; i < MMU_IDX__MAX; i++) {
        softtlb_flush_write(&v->interp.cpu->env.tlb[i]);
    }
}

void barrier_enter_guest(VCPU *v)
{
    InterpAccel *a = v->accel;
    unsigned writes, maps;

    __atomic_store_n(&v->in_guest, 1, __ATOMIC_SEQ_CST);
    maps = __atomic_load_n(&a->maps, __ATOMIC_SEQ_CST);
    writes = __atomic_load_n(&a->writes, __ATOMIC_SEQ_CST);
    if (maps != v->seen_maps) {
        riscv_tlb_flush(v->interp.cpu);
        /* Blocks may be in use right now (we may be inside an MMIO access): drop them at the next
         * exit. */
        v->invalidate = true;
        __atomic_store_n(&v->interp.cpu->env.exit_request, 1, __ATOMIC_SEQ_CST);
    } else if (writes != v->seen_writes) {
        drop_write_permissions(v);
    }
    __atomic_store_n(&v->seen_maps, maps, __ATOMIC_RELEASE);
    __atomic_store_n(&v->seen_writes, writes, __ATOMIC_RELEASE);
}

void barrier_leave_guest(VCPU *v)
{
    __atomic_store_n(&v->in_guest, 0, __ATOMIC_RELEASE);
}

static void lock_wait_begin(void *opaque)
{
    barrier_leave_guest(opaque);
}

static void lock_wait_end(void *opaque)
{
    barrier_enter_guest(opaque);
}

static const BqlWaiter lock_waiter = {lock_wait_begin, lock_wait_end};

void barrier_attach_thread(VCPU *v)
{
    bql_set_waiter(&lock_waiter, v);
}

/* Wait until every vCPU but ourselves has seen *@counter at @value or is outside; @seen is its
 * field in VCPU. */
static void call_in(InterpAccel *a, unsigned *counter, size_t seen_offset)
{
    unsigned value = __atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST);
    VCPU *self = vcpu_current();

    for (unsigned i = 0; i < a->parent.cpus->len; i++) {
        VCPU *v = accel_vcpu(a, i);

        if (v == self || __atomic_load_n(&v->in_guest, __ATOMIC_SEQ_CST)) {
            __atomic_store_n(&v->interp.cpu->env.exit_request, 1, __ATOMIC_SEQ_CST);
        }
    }
    for (unsigned i = 0; i < a->parent.cpus->len; i++) {
        VCPU *v = accel_vcpu(a, i);
        unsigned *seen = (unsigned *)((char *)v + seen_offset);
        unsigned spins = 0;

        while (v != self && __atomic_load_n(&v->in_guest, __ATOMIC_SEQ_CST) &&
               (int)(__atomic_load_n(seen, __ATOMIC_ACQUIRE) - value) < 0) {
            /* On a machine with fewer CPUs than threads the vCPU may need ours to get there. */
            if (++spins > SPINS_BEFORE_YIELD) {
                sched_yield();
            }
        }
    }
}

static void write_barrier(void *opaque)
{
    InterpAccel *a = opaque;

    call_in(a, &a->writes, offsetof(VCPU, seen_writes));
}

static void map_changed(MemoryListener *l)
{
    InterpAccel *a = container_of(l, InterpAccel, listener);

    call_in(a, &a->maps, offsetof(VCPU, seen_maps));
}

void barrier_init(InterpAccel *a)
{
    a->listener.commit = map_changed;
    memory_listener_register(a->parent.as, &a->listener);
    dirty_log_set_write_barrier(address_space_ram(a->parent.as), write_barrier, a);
}

void barrier_destroy(InterpAccel *a)
{
    dirty_log_set_write_barrier(address_space_ram(a->parent.as), NULL, NULL);
    memory_listener_unregister(a->parent.as, &a->listener);
}
