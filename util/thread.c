/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/thread.h"
#include <sys/syscall.h>

/* The shortest slice that Linux grants. */
#define SLICE_NS 100000

/* struct sched_attr of the kernel, first version; libc has none. */
typedef struct {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
} SchedAttr;

void thread_prompt(void)
{
    SchedAttr attr;

    if (syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0) == 0 && attr.policy == 0) {
        attr.runtime = SLICE_NS;
        syscall(SYS_sched_setattr, 0, &attr, 0); /* refused: it is as it was */
    }
}
