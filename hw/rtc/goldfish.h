/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The goldfish real-time clock (spec 80 section 7). */
#ifndef GODWIT_HW_RTC_GOLDFISH_H
#define GODWIT_HW_RTC_GOLDFISH_H

#include "hw/device.h"

/* Starts at machine->rtc_offset_ns from the host clock, in whole seconds. */
DeviceState *goldfish_rtc_create(Machine *m, hwaddr base, Irq irq, GError **errp);

#endif
