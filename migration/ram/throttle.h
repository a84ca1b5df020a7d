/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * auto-converge: a guest that dirties memory faster than it is sent is slowed down, step by step
 * (spec 20 section 14). This file decides by how much; accel/ does it.
 */
#ifndef GODWIT_MIGRATION_RAM_THROTTLE_H
#define GODWIT_MIGRATION_RAM_THROTTLE_H

#include "util/osdep.h"

/* All in percent; see the parameters of the same name. */
typedef struct {
    bool on;
    unsigned trigger_threshold, initial, increment, max;
    bool tailslow;
} RamThrottleOptions;

typedef struct {
    unsigned percent; /* of time the guest shall sleep */
    unsigned strikes; /* periods in a row, or nearly, that were too fast */
    /* The current period. */
    int64_t since_us;
    uint64_t sent_before;
    uint64_t dirtied;
} RamThrottle;

/* Forget what was dirtied before; a period begins. @sent: bytes so far. */
void ram_throttle_start(RamThrottle *t, int64_t now_us, uint64_t sent);
/* The guest dirtied memory that takes @bytes to send. */
static inline void ram_throttle_dirtied(RamThrottle *t, uint64_t bytes)
{
    t->dirtied += bytes;
}
/* If a period is over, judge it and begin the next. True: the guest was too fast again. */
bool ram_throttle_too_fast(RamThrottle *t, const RamThrottleOptions *o, int64_t now_us,
                           uint64_t sent);
/* If a period is over, judge it and begin the next. True: t->percent has changed. */
bool ram_throttle_judge(RamThrottle *t, const RamThrottleOptions *o, int64_t now_us, uint64_t sent);

#endif
