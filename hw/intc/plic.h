/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The platform-level interrupt controller (spec 80 section 4). */
#ifndef GODWIT_HW_INTC_PLIC_H
#define GODWIT_HW_INTC_PLIC_H

#include "hw/device.h"

#define PLIC_SOURCES    96 /* ids 0..95; 0 is reserved */
#define PLIC_PRIORITIES 7

/*
 * Create, realize and map at @base. @outputs: one line per context, 2 * @harts: M then S of each
 * hart; copied. NULL and error on failure.
 */
DeviceState *plic_create(Machine *m, hwaddr base, uint64_t size, unsigned harts, const Irq *outputs,
                         GError **errp);
/* The input line of source @id, 1..95. */
Irq plic_input(DeviceState *plic, unsigned id);

#endif
