/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Board sections that belong to no hardware. */
#ifndef GODWIT_HW_CORE_BOARD_VMSTATE_H
#define GODWIT_HW_CORE_BOARD_VMSTATE_H

#include "hw/device.h"

/* The "timer" section: the virtual clock (spec 82 section 3). Create before every other device. */
bool clock_vmstate_create(Machine *m, GError **errp);
/* The "slirp" section, accepted and never sent (spec 82 section 4). */
bool slirp_vmstate_create(Machine *m, GError **errp);

#endif
