/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which pages of a run need no bytes. Decided once, in front of every sink.
 *
 * Memory the guest never touched is known from the kernel without being read (and so without being
 * faulted in), in windows of 128 MiB. The rest is read, with a test that gives up at the first
 * non-zero word.
 */
#ifndef GODWIT_MIGRATION_RAM_ZERO_H
#define GODWIT_MIGRATION_RAM_ZERO_H

#include "migration/ram/scan.h"

#define ZERO_WINDOW_PAGES UINT64_C(32768)

typedef struct {
    bool off; /* nothing is zero */
    /* The window of which @untouched tells; NULL: none. */
    const RAMBlock *block;
    uint64_t first;
    unsigned long untouched[32768 / BITS_PER_LONG];
} RamZero;

/* How long the first part of @run is, and whether it is zero. At most @max_zero or @max_data pages
 * (both >= 1). */
uint64_t ram_zero_split(RamZero *z, const RamRun *run, uint64_t max_zero, uint64_t max_data,
                        bool *is_zero);
/* A dirty sync happened: what was untouched may be written, and its bit set, since. */
void ram_zero_forget(RamZero *z);

#endif
