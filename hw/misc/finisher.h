/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The SiFive test finisher: power off, fail, reset (spec 80 section 7). */
#ifndef GODWIT_HW_MISC_FINISHER_H
#define GODWIT_HW_MISC_FINISHER_H

#include "hw/device.h"

DeviceState *finisher_create(Machine *m, hwaddr base, GError **errp);

#endif
