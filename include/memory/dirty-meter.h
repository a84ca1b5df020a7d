/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How many pages one vCPU makes dirty, and how many it may: pages that were clean for some client
 * of the dirty log when it wrote them. They are counted when the write permission is entered into
 * the software TLB, so counting costs the fast path nothing. While no log is on nothing is counted.
 *
 * The accelerator owns a meter per vCPU and obeys its limit; whoever has the list of blocks finds
 * them there.
 */
#ifndef GODWIT_MEMORY_DIRTY_METER_H
#define GODWIT_MEMORY_DIRTY_METER_H

#include "memory/ramblock.h"

typedef struct DirtyMeter {
    uint64_t pages;    /* so far; written by the owning thread, read by any (atomic) */
    uint64_t limit;    /* pages per second, 0: any number (atomic) */
    uint64_t slept_us; /* because of the limit, so far; as pages */
    /* Owning thread: how many more until spent() is called; UINT64_MAX: any number. */
    uint64_t budget;
    void (*spent)(struct DirtyMeter *meter);
    /* The limit has changed. Any thread. */
    void (*limit_changed)(struct DirtyMeter *meter);
} DirtyMeter;

/* Big lock; the meter outlives its place in the list. vCPUs are added in order of their index. */
void dirty_meter_add(RAMList *list, DirtyMeter *meter);
void dirty_meter_remove(RAMList *list, DirtyMeter *meter);
unsigned dirty_meter_count(const RAMList *list);
/* NULL: no such vCPU, or one that runs no code. Big lock, or while none is added or removed. */
DirtyMeter *dirty_meter_at(const RAMList *list, unsigned index);

/* What this thread stores as a vCPU counts into @meter from now on. */
void dirty_meter_attach(DirtyMeter *meter);
/* softtlb.c: this thread is about to make a page dirty. */
void dirty_meter_count_page(void);

static inline uint64_t dirty_meter_pages(const DirtyMeter *meter)
{
    return __atomic_load_n(&meter->pages, __ATOMIC_RELAXED);
}

static inline uint64_t dirty_meter_slept_us(const DirtyMeter *meter)
{
    return __atomic_load_n(&meter->slept_us, __ATOMIC_RELAXED);
}

static inline uint64_t dirty_meter_limit(const DirtyMeter *meter)
{
    return __atomic_load_n(&meter->limit, __ATOMIC_RELAXED);
}

/* Any thread. */
static inline void dirty_meter_set_limit(DirtyMeter *meter, uint64_t pages_per_second)
{
    __atomic_store_n(&meter->limit, pages_per_second, __ATOMIC_RELAXED);
    meter->limit_changed(meter);
}

#endif
