/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Software interrupt registers of the ACLINT (spec 80 section 5). */
#ifndef GODWIT_HW_INTC_ACLINT_SWI_H
#define GODWIT_HW_INTC_ACLINT_SWI_H

#include "hw/device.h"

#define ACLINT_SWI_SIZE 0x4000

/*
 * MSWI (machine level, also the msip part of a SiFive CLINT) or, with @supervisor, SSWI. Hart h of
 * @cpus has its register at @base + 4 * h.
 */
DeviceState *aclint_swi_create(Machine *m, hwaddr base, RISCVCPU *const *cpus, unsigned harts,
                               bool supervisor, GError **errp);

#endif
