/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The firmware configuration device (spec 80 section 8). */
#ifndef GODWIT_HW_NVRAM_FW_CFG_H
#define GODWIT_HW_NVRAM_FW_CFG_H

#include "hw/device.h"

enum {
    FW_CFG_SIGNATURE = 0x00,
    FW_CFG_ID = 0x01,
    FW_CFG_UUID = 0x02,
    FW_CFG_NOGRAPHIC = 0x04,
    FW_CFG_NB_CPUS = 0x05,
    FW_CFG_KERNEL_SIZE = 0x08,
    FW_CFG_INITRD_SIZE = 0x0B,
    FW_CFG_BOOT_MENU = 0x0E,
    FW_CFG_KERNEL_DATA = 0x11,
    FW_CFG_INITRD_DATA = 0x12,
    FW_CFG_CMDLINE_SIZE = 0x14,
    FW_CFG_CMDLINE_DATA = 0x15,
    FW_CFG_FILE_DIR = 0x19,
    FW_CFG_FILE_FIRST = 0x20,
    FW_CFG_MAX_ENTRY = 0x40, /* exclusive */
};

/* Unrealized, with the items every machine has; add more, then fw_cfg_map(). */
DeviceState *fw_cfg_new(Machine *m, GError **errp);
/* The content of @key, copied. */
void fw_cfg_set_bytes(DeviceState *dev, unsigned key, const void *data, size_t len);
void fw_cfg_set_le16(DeviceState *dev, unsigned key, uint16_t value);
void fw_cfg_set_le32(DeviceState *dev, unsigned key, uint32_t value);
/* A named file; at most 32, in the order of their names. @name is at most 55 bytes. */
void fw_cfg_add_file(DeviceState *dev, const char *name, const void *data, size_t len);
/* Realize and map the three windows at @base. Takes over the reference. */
bool fw_cfg_map(DeviceState *dev, hwaddr base, GError **errp);

#endif
