/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parallel NOR flash, CFI command set 1 (spec 80 section 9). */
#ifndef GODWIT_HW_NVRAM_PFLASH_CFI01_H
#define GODWIT_HW_NVRAM_PFLASH_CFI01_H

#include "hw/device.h"

#define PFLASH_BANK_SIZE (32 * MiB)

/*
 * One bank whose contents are RAM block @name, mapped at @base. @blk may be NULL: all zero at
 * power-on; otherwise it is exactly one bank long, read at start and written through if writable.
 */
DeviceState *pflash_cfi01_create(Machine *m, const char *name, hwaddr base, BlockBackend *blk,
                                 GError **errp);

#endif
