/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's VFIO interface (spec 60 section 1): a device is reached through its group or as a
 * character device, its DMA goes through an IOMMU address space.
 *
 *   iommu.c           what every kind of address space has in common
 *   type1.c           groups, and the type1 container they attach to
 *   iommufd.c         the iommufd object, and its address space
 *   device-kernel.c   the device
 *   pci-kernel.c      "vfio-pci": which device the operator means
 *
 * Everything here: big lock held, unless it says otherwise.
 */
#ifndef GODWIT_HW_VFIO_KERNEL_H
#define GODWIT_HW_VFIO_KERNEL_H

#include "hw/vfio/device.h"

/* The kernel, as far as a test puts another in its place. As the system calls: -1 and errno. */
typedef struct {
    int (*open)(const char *path, int flags);
    int (*ioctl)(int fd, unsigned long request, void *arg);
} VFIOSys;
extern const VFIOSys vfio_sys;

/* ---- an IOMMU address space ---- */

typedef struct VFIOIommu VFIOIommu;

typedef struct {
    bool (*map)(VFIOIommu *m, uint64_t iova, uint64_t size, void *host, bool writable,
                GError **errp);
    /* @bitmap: NULL, or while tracking: zero, becomes the pages written since last asked. */
    bool (*unmap)(VFIOIommu *m, uint64_t iova, uint64_t size, uint64_t *bitmap, GError **errp);
    bool (*track)(VFIOIommu *m, bool on, GError **errp);
    /* Any thread. Of one mapping; @bitmap is zero before. */
    bool (*written)(VFIOIommu *m, uint64_t iova, uint64_t size, uint64_t *bitmap, GError **errp);
    void (*free)(VFIOIommu *m);
} VFIOIommuOps;

struct VFIOIommu {
    const VFIOIommuOps *ops;
    const VFIOSys *sys;
    AddressSpace *as;
    int fd;
    bool can_track;
    unsigned users;    /* devices or groups */
    unsigned trackers; /* devices whose writes it logs */
    GArray *maps;      /* VFIOMap */
};

/* Devices that share an address space each ask for the whole of guest memory. */
typedef struct {
    uint64_t iova, size;
    unsigned users;
    bool writable;
} VFIOMap;

/* @m is fresh memory of the kind that @ops frees. */
void vfio_iommu_init(VFIOIommu *m, const VFIOIommuOps *ops, const VFIOSys *sys, AddressSpace *as,
                     int fd);
void vfio_iommu_ref(VFIOIommu *m);
/* The last one closes it, and all maps go. */
void vfio_iommu_unref(VFIOIommu *m);
/* The kernel refused a mapping of @size bytes with @error. */
void vfio_iommu_map_error(GError **errp, int error, uint64_t size);
bool vfio_iommu_map(VFIOIommu *m, uint64_t iova, uint64_t size, void *host, bool writable,
                    GError **errp);
bool vfio_iommu_unmap(VFIOIommu *m, uint64_t iova, uint64_t size, uint64_t *bitmap, GError **errp);
bool vfio_iommu_track(VFIOIommu *m, bool on, GError **errp);
/*
 * What a device that logs has to watch: the hull of what it may write below 4 GiB and of what lies
 * above. Returns how many, at most 2.
 */
unsigned vfio_iommu_ranges(const VFIOIommu *m,
                           struct vfio_device_feature_dma_logging_range ranges[2]);

/* ---- group and type1 container ---- */

typedef struct VFIOGroup VFIOGroup;

/* IOMMU group @number, attached to the container of @as. One that is in use already is shared. */
VFIOGroup *vfio_group_get(const VFIOSys *sys, unsigned number, AddressSpace *as, GError **errp);
void vfio_group_put(VFIOGroup *g);
VFIOIommu *vfio_group_iommu(VFIOGroup *g);
/* Descriptor of the device that the group calls @name, or -1. */
int vfio_group_open_device(VFIOGroup *g, const char *name, GError **errp);

/* ---- iommufd ---- */

/* The address space @as of the iommufd object @obj; a reference. */
VFIOIommu *vfio_iommufd_space(GObject *obj, AddressSpace *as, GError **errp);
/* The same of a descriptor, which stays the caller's. */
VFIOIommu *vfio_iommufd_space_new(const VFIOSys *sys, int fd, AddressSpace *as, GError **errp);
/* Bind the character device @device and attach it. *table: its page table, 0: that of the address
 * space. */
bool vfio_iommufd_attach(VFIOIommu *m, int device, uint32_t *table, GError **errp);
void vfio_iommufd_detach(VFIOIommu *m, int device, uint32_t table);

/* ---- the device ---- */

/* The device whose directory in /sys is @sysfs, through its group. @name is for messages. */
VFIODevice *vfio_kernel_device_new(const VFIOSys *sys, const char *name, const char *sysfs,
                                   AddressSpace *as, GError **errp);
/* The same as a character device: @fd, taken over, or -1 to open what @sysfs names. @m: a
 * reference, taken over. */
VFIODevice *vfio_kernel_device_new_cdev(VFIOIommu *m, const char *name, const char *sysfs, int fd,
                                        GError **errp);

#endif
