/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Clocks and timers.
 *
 * A Clock is a nanosecond time line.  QEMU_CLOCK_REALTIME and QEMU_CLOCK_HOST are the
 * host's monotonic and wall clock.  A virtual clock belongs to a machine: it stands
 * still while the VM is stopped and is carried by migration (spec 82 section 3); under
 * qtest it moves only when told.
 *
 * Timers fire in the main loop thread, with the big lock held, in order of expiry.
 * Clock reads are lock-free and allowed from any thread; timer_mod/timer_del from any thread.
 */
#ifndef GODWIT_UTIL_TIMER_H
#define GODWIT_UTIL_TIMER_H

#include "util/osdep.h"

typedef struct Clock Clock;
typedef struct QEMUTimer QEMUTimer;
typedef void QEMUTimerCB(void *opaque);

/* The host's clocks; shared, never freed. */
Clock *clock_realtime(void);
Clock *clock_host(void);

/* A stopped virtual clock at 0 ns. Free after all its timers. */
Clock *clock_virtual_new(void);
void clock_free(Clock *clock);

/* Now, in ns. */
int64_t clock_get_ns(const Clock *clock);

/* Start/stop a virtual clock (idempotent); big lock held. Timers of a stopped clock do not fire. */
void clock_virtual_start(Clock *clock);
void clock_virtual_stop(Clock *clock);
bool clock_virtual_is_running(const Clock *clock);
/* Set a stopped virtual clock, e.g. on incoming migration. */
void clock_virtual_set_ns(Clock *clock, int64_t ns);

/*
 * qtest mode: the clock no longer follows the host; clock_virtual_step_to() moves it to
 * @ns (never back), firing timers on the way even while the VM is stopped; returns the time
 * reached.
 */
void clock_virtual_set_manual(Clock *clock);
int64_t clock_virtual_step_to(Clock *clock, int64_t ns);
/* Expiry of the earliest armed timer, or -1. */
int64_t clock_deadline_ns(const Clock *clock);

/* A disarmed timer of @clock. timer_free(NULL) is fine; freeing disarms. */
QEMUTimer *timer_new_ns(Clock *clock, QEMUTimerCB *cb, void *opaque);
void timer_free(QEMUTimer *t);
/* (Re)arm for absolute time @expire_ns of its clock; a past time fires as soon as possible. */
void timer_mod_ns(QEMUTimer *t, int64_t expire_ns);
void timer_del(QEMUTimer *t);
bool timer_pending(const QEMUTimer *t);
/* Absolute expiry in ns, or UINT64_MAX when not armed (the wire form, spec 10 section 11.2). */
uint64_t timer_expire_time_ns(const QEMUTimer *t);
Clock *timer_clock(const QEMUTimer *t);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QEMUTimer, timer_free)

#endif
