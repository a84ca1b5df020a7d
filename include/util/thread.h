/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What GLib does not know about threads. */
#ifndef GODWIT_UTIL_THREAD_H
#define GODWIT_UTIL_THREAD_H

#include "util/osdep.h"

/*
 * The calling thread works in short bursts that somebody waits for: once woken it shall run soon,
 * also while others keep all CPUs busy. It asks the scheduler for short slices; priority and fair
 * share stay. Kernels before 6.12 do not listen, nothing else changes there.
 */
void thread_prompt(void);
/* Let others have this CPU that are about to do something short; a matter of a microsecond if there
 * are none. */
void thread_yield(void);
/* The same for thread @tid of this process (0: the caller), or back to how it was. Any thread. */
void thread_set_prompt(pid_t tid, bool on);

#endif
