/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A memory-mapped 16550A UART, register stride 1 (spec 80 section 6). */
#ifndef GODWIT_HW_CHAR_SERIAL_16550_H
#define GODWIT_HW_CHAR_SERIAL_16550_H

#include "hw/device.h"

/* @chr may be NULL: output vanishes, there is no input. The device becomes its front end. */
DeviceState *serial_create(Machine *m, hwaddr base, Irq irq, Chardev *chr, GError **errp);

#endif
