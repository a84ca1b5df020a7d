/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests of /dev/iommu, and those that tie a VFIO device to it (spec 60 section 1.6). Linux 6.2
 * to 6.7 brought them; the headers of 6.1 have none. Structures of the former begin with their
 * size.
 */
#ifndef GODWIT_HW_VFIO_IOMMUFD_UAPI_H
#define GODWIT_HW_VFIO_IOMMUFD_UAPI_H

#include <linux/vfio.h>

enum {
    IOMMUFD_DESTROY = 0x3B80,
    IOMMUFD_IOAS_ALLOC = 0x3B81,
    IOMMUFD_IOAS_MAP = 0x3B85,
    IOMMUFD_IOAS_UNMAP = 0x3B86,
    IOMMUFD_HWPT_ALLOC = 0x3B89,
    IOMMUFD_GET_HW_INFO = 0x3B8A,
    IOMMUFD_SET_DIRTY_TRACKING = 0x3B8B,
    IOMMUFD_GET_DIRTY_BITMAP = 0x3B8C,
    VFIO_CDEV_BIND = 0x3B76,
    VFIO_CDEV_ATTACH = 0x3B77,
    VFIO_CDEV_DETACH = 0x3B78,
};

enum {
    IOAS_MAP_FIXED_IOVA = 1,
    IOAS_MAP_WRITEABLE = 2,
    IOAS_MAP_READABLE = 4,
    HWPT_ALLOC_DIRTY_TRACKING = 2,
    HW_CAP_DIRTY_TRACKING = 1,
    DIRTY_TRACKING_ENABLE = 1,
    DIRTY_BITMAP_NO_CLEAR = 1,
};

typedef struct {
    __u32 size, id;
} IommufdDestroy;

typedef struct {
    __u32 size, flags, out_ioas;
} IommufdIoasAlloc;

typedef struct {
    __u32 size, flags, ioas, reserved;
    __aligned_u64 user_va, length, iova;
} IommufdIoasMap;

typedef struct {
    __u32 size, ioas;
    __aligned_u64 iova, length;
} IommufdIoasUnmap;

typedef struct {
    __u32 size, flags, dev, pt, out_hwpt, reserved, data_type, data_len;
    __aligned_u64 data;
    __u32 fault, reserved2;
} IommufdHwptAlloc;

typedef struct {
    __u32 size, flags, dev, data_len;
    __aligned_u64 data;
    __u32 out_type, reserved;
    __aligned_u64 out_capabilities;
} IommufdHwInfo;

typedef struct {
    __u32 size, flags, hwpt, reserved;
} IommufdSetDirtyTracking;

typedef struct {
    __u32 size, hwpt, flags, reserved;
    __aligned_u64 iova, length, page_size, bitmap;
} IommufdGetDirtyBitmap;

typedef struct {
    __u32 argsz, flags;
    __s32 iommufd;
    __u32 out_devid;
} VfioCdevBind;

typedef struct {
    __u32 argsz, flags, pt;
} VfioCdevAttach;

typedef struct {
    __u32 argsz, flags;
} VfioCdevDetach;

#endif
