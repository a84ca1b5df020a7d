/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The boards of this build. */
#ifndef GODWIT_HW_BOARDS_H
#define GODWIT_HW_BOARDS_H

#include "hw/machine.h"

extern const MachineClass virt_machine_class;

#endif
