/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "memory/dirty-meter.h"
#include "memory/ram-internal.h"

static __thread DirtyMeter *own;

void dirty_meter_add(RAMList *list, DirtyMeter *meter)
{
    if (!list->meters) {
        list->meters = g_ptr_array_new();
    }
    g_ptr_array_add(list->meters, meter);
}

void dirty_meter_remove(RAMList *list, DirtyMeter *meter)
{
    g_ptr_array_remove(list->meters, meter);
    if (!list->meters->len) {
        g_clear_pointer(&list->meters, g_ptr_array_unref);
    }
}

unsigned dirty_meter_count(const RAMList *list)
{
    return list->meters ? list->meters->len : 0;
}

DirtyMeter *dirty_meter_at(const RAMList *list, unsigned index)
{
    return index < dirty_meter_count(list) ? g_ptr_array_index(list->meters, index) : NULL;
}

void dirty_meter_attach(DirtyMeter *meter)
{
    own = meter;
}

void dirty_meter_count_page(void)
{
    if (!own) {
        return;
    }
    __atomic_store_n(&own->pages, own->pages + 1, __ATOMIC_RELAXED);
    if (own->budget != UINT64_MAX) {
        own->budget -= own->budget > 0;
        if (!own->budget) {
            own->spent(own);
        }
    }
}
