/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef GODWIT_HW_CORE_DEVICE_INTERNAL_H
#define GODWIT_HW_CORE_DEVICE_INTERNAL_H

#include "hw/device.h"

/* Free the strings that table properties own; the base class's finalize calls it. */
void device_props_free_strings(GObject *obj);

/* Before realize. */
void device_set_hotplugged(DeviceState *dev);

#endif
