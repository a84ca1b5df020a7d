/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which pages of a run need no bytes. Decided once, in front of every sink.
 *
 * Memory the guest never touched is known from the kernel without being read (and so without being
 * faulted in), in windows of 128 MiB. The rest is read, with a test that gives up at the first
 * non-zero word. Where most of it turns out to be zero, reading is all there is to do: then a
 * second thread joins in.
 */
#ifndef GODWIT_MIGRATION_RAM_ZERO_H
#define GODWIT_MIGRATION_RAM_ZERO_H

#include "migration/ram/scan.h"
#include "migration/ram/zero-ahead.h"

#define ZERO_WINDOW_PAGES UINT64_C(32768)

typedef struct {
    bool off; /* nothing is zero */
    /* The window of which @untouched tells; NULL: none. */
    const RAMBlock *block;
    uint64_t first;
    unsigned long untouched[32768 / BITS_PER_LONG];
    /* Reading ahead in [ahead_first, ahead_first + ahead_count) of ahead_block; NULL: nowhere. */
    const RAMBlock *ahead_block;
    uint64_t ahead_first, ahead_count;
    ZeroAhead *ahead; /* made when first needed */
    uint64_t streak;  /* how many of the pages read lately were zero; see zero.c */
} RamZero;

/* How long the first part of @run is, and whether it is zero. At most @max_zero or @max_data pages
 * (both >= 1). */
uint64_t ram_zero_split(RamZero *z, const RamRun *run, uint64_t max_zero, uint64_t max_data,
                        bool *is_zero);
/* A dirty sync happened: what was untouched may be written, and its bit set, since. */
void ram_zero_forget(RamZero *z);
/* Release what it owns; *@z is as new. */
void ram_zero_clear(RamZero *z);

#endif
