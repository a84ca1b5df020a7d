/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine timer of the ACLINT (spec 80 section 5). */
#ifndef GODWIT_HW_TIMER_ACLINT_MTIMER_H
#define GODWIT_HW_TIMER_ACLINT_MTIMER_H

#include "hw/device.h"

#define ACLINT_MTIMER_SIZE      0x8000
#define ACLINT_TIMEBASE_FREQ    10000000
#define ACLINT_MTIMER_MTIME_OFF 0x7FF8

/* Also becomes the time source (rdtime, mtimecmp) of @cpus. */
DeviceState *aclint_mtimer_create(Machine *m, hwaddr base, RISCVCPU *const *cpus, unsigned harts,
                                  GError **errp);

#endif
