/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/ram/throttle.h"

/* Less says nothing about a rate; more, and the guest is slowed down too late. */
#define PERIOD_US 100000
/* So many periods must be too fast before the next step. */
#define STRIKES 2

void ram_throttle_start(RamThrottle *t, int64_t now_us, uint64_t sent)
{
    t->since_us = now_us;
    t->sent_before = sent;
    t->dirtied = 0;
}

/* How much more, if the guest dirtied @dirtied where @limit were allowed. */
static unsigned step(const RamThrottle *t, const RamThrottleOptions *o, uint64_t limit)
{
    unsigned now = 100 - t->percent; /* what is left of the CPU */
    unsigned ideal;

    if (!t->percent) {
        return o->initial;
    }
    if (!o->tailslow) {
        return o->increment;
    }
    ideal = now - (unsigned)((double)now * (double)limit / (double)t->dirtied);
    return MIN(ideal, o->increment);
}

/* A period is over. How much might have been dirtied in it? */
static uint64_t allowed(const RamThrottle *t, const RamThrottleOptions *o, uint64_t sent)
{
    return (double)(sent - t->sent_before) * o->trigger_threshold / 100;
}

static bool strikes_out(RamThrottle *t, uint64_t limit)
{
    if (t->dirtied > limit && ++t->strikes >= STRIKES) {
        t->strikes = 0;
        return true;
    }
    return false;
}

bool ram_throttle_too_fast(RamThrottle *t, const RamThrottleOptions *o, int64_t now_us,
                           uint64_t sent)
{
    bool too_fast;

    if (now_us - t->since_us < PERIOD_US) {
        return false;
    }
    too_fast = strikes_out(t, allowed(t, o, sent));
    ram_throttle_start(t, now_us, sent);
    return too_fast;
}

bool ram_throttle_judge(RamThrottle *t, const RamThrottleOptions *o, int64_t now_us, uint64_t sent)
{
    uint64_t limit = allowed(t, o, sent);
    unsigned before = t->percent;

    if (now_us - t->since_us < PERIOD_US) {
        return false;
    }
    if (strikes_out(t, limit)) {
        t->percent = MIN(MIN(t->percent + step(t, o, limit), o->max), 99);
    }
    ram_throttle_start(t, now_us, sent);
    return t->percent != before;
}
