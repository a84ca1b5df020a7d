/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vfio-user protocol on the wire (docs/interop/vfio-user.md): every structure is host-endian
 * and has no padding. Client and servers in this tree share this file.
 */
#ifndef GODWIT_BACKENDS_VFIO_USER_PROTOCOL_H
#define GODWIT_BACKENDS_VFIO_USER_PROTOCOL_H

#include <stdint.h>

enum { /* commands */
       VFIO_USER_VERSION = 1,
       VFIO_USER_DMA_MAP = 2,
       VFIO_USER_DMA_UNMAP = 3,
       VFIO_USER_DEVICE_GET_INFO = 4,
       VFIO_USER_DEVICE_GET_REGION_INFO = 5,
       VFIO_USER_DEVICE_GET_IRQ_INFO = 7,
       VFIO_USER_DEVICE_SET_IRQS = 8,
       VFIO_USER_REGION_READ = 9,
       VFIO_USER_REGION_WRITE = 10,
       VFIO_USER_DMA_READ = 11, /* this and the next: server to client */
       VFIO_USER_DMA_WRITE = 12,
       VFIO_USER_DEVICE_RESET = 13,
       VFIO_USER_DEVICE_FEATURE = 16,
       VFIO_USER_MIG_DATA_READ = 17,
       VFIO_USER_MIG_DATA_WRITE = 18,
};

enum { /* header flags */
       VFIO_USER_TYPE_MASK = 0xF,
       VFIO_USER_COMMAND = 0,
       VFIO_USER_REPLY = 1,
       VFIO_USER_NO_REPLY = 0x10,
       VFIO_USER_ERROR = 0x20,
};

enum {
    VFIO_USER_DMA_READABLE = 1,
    VFIO_USER_DMA_WRITEABLE = 2,
};

typedef struct {
    uint16_t id, command;
    uint32_t size; /* with this header */
    uint32_t flags;
    uint32_t error; /* errno of an error reply */
} VfioUserHeader;

typedef struct {
    uint16_t major, minor; /* JSON follows */
} VfioUserVersion;

typedef struct {
    uint32_t argsz, flags;
    uint64_t offset, address, size;
} VfioUserDmaMap;

typedef struct {
    uint32_t argsz, flags;
    uint64_t address, size;
} VfioUserDmaUnmap;

typedef struct {
    uint32_t argsz, flags, num_regions, num_irqs;
} VfioUserDeviceInfo;

typedef struct {
    uint32_t argsz, flags, index, cap_offset;
    uint64_t size, offset;
} VfioUserRegionInfo;

typedef struct {
    uint32_t argsz, flags, index, count;
} VfioUserIrqInfo;

typedef struct {
    uint32_t argsz, flags, index, start, count;
} VfioUserSetIrqs;

typedef struct {
    uint64_t offset;
    uint32_t region, count; /* data follows */
} VfioUserRegionAccess;

typedef struct {
    uint64_t address, count; /* data follows */
} VfioUserDmaAccess;

typedef struct {
    uint32_t argsz, flags; /* data follows */
} VfioUserFeature;

typedef struct {
    uint32_t argsz, size; /* data follows */
} VfioUserMigData;

/*
 * With the capability x_vmtd (our own): how much state there is. VFIO_USER_FEATURE_DATA_SIZE is the
 * kernel's MIG_DATA_SIZE, one u64: what a STOP_COPY that began now would produce.
 */
#define VFIO_USER_FEATURE_DATA_SIZE    9
#define VFIO_USER_FEATURE_PRECOPY_INFO 0x8001

typedef struct {
    uint64_t initial_bytes, dirty_bytes; /* to be read in PRE_COPY before the stop, if possible */
    uint32_t flags;                      /* 1: the initial bytes have begun anew */
    uint32_t reserved;
} VfioUserPrecopyInfo;

#endif
