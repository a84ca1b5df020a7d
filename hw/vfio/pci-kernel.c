/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vfio-pci: a PCI function of the host, or one that a driver of the host plays. */
#include "hw/vfio/kernel.h"
#include "hw/vfio/pci.h"
#include "util/object.h"

typedef struct {
    VFIOPCI parent;
    char *host;
    char *sysfsdev;
    char *iommufd;
    int32_t fd;
} VFIOKernelPCI;

typedef VFIOPCIClass VFIOKernelPCIClass;
GType vfio_kernel_pci_get_type(void);
G_DEFINE_TYPE(VFIOKernelPCI, vfio_kernel_pci, TYPE_VFIO_PCI_BASE)
DEVICE_TYPE_REGISTER("vfio-pci", vfio_kernel_pci_get_type)

/* [DOMAIN:]BUS:SLOT.FUNCTION, all hexadecimal. */
static char *host_directory(const char *host, GError **errp)
{
    unsigned domain = 0, bus, slot, function;
    char rest;

    if ((sscanf(host, "%x:%x:%x.%x%c", &domain, &bus, &slot, &function, &rest) != 4 &&
         (domain = 0, sscanf(host, "%x:%x.%x%c", &bus, &slot, &function, &rest) != 3)) ||
        bus > 0xFF || slot > 0x1F || function > 7) {
        error_setg(errp, "host='%s' is no PCI address like 0000:01:00.0", host);
        return NULL;
    }
    return g_strdup_printf("/sys/bus/pci/devices/%04x:%02x:%02x.%x", domain, bus, slot, function);
}

static VFIODevice *open_by_iommufd(Machine *m, const VFIOKernelPCI *k, const char *name,
                                   const char *sysfs, GError **errp)
{
    GObject *obj = m->objects ? object_registry_find(m->objects, k->iommufd) : NULL;
    VFIOIommu *space;

    if (!obj) {
        error_setg(errp, "there is no object '%s' for iommufd=", k->iommufd);
        return NULL;
    }
    space = vfio_iommufd_space(obj, m->as, errp);
    return space ? vfio_kernel_device_new_cdev(space, name, sysfs, k->fd, errp) : NULL;
}

static VFIODevice *vfio_kernel_pci_open(VFIOPCI *s, const char *name, GError **errp)
{
    const VFIOKernelPCI *k = (VFIOKernelPCI *)s;
    Machine *m = device_machine(HW_DEVICE(s));
    g_autofree char *sysfs = NULL;

    if (!!k->host + !!k->sysfsdev + (k->fd >= 0) != 1) {
        error_setg(errp, "give one of host=, a PCI address of the host, sysfsdev=, a directory in "
                         "/sys, or fd=, an open character device");
        return NULL;
    }
    if (k->fd >= 0 && !k->iommufd) {
        error_setg(errp, "fd= needs iommufd=");
        return NULL;
    }
    sysfs = k->host ? host_directory(k->host, errp) : g_strdup(k->sysfsdev);
    if (!sysfs && k->fd < 0) {
        return NULL;
    }
    return k->iommufd ? open_by_iommufd(m, k, name, sysfs, errp)
                      : vfio_kernel_device_new(&vfio_sys, name, sysfs, m->as, errp);
}

static const DeviceProperty vfio_kernel_pci_props[] = {
    DEVICE_PROP_STRING("host", VFIOKernelPCI, host, "PCI address on the host"),
    DEVICE_PROP_STRING("sysfsdev", VFIOKernelPCI, sysfsdev, "directory of the device in /sys"),
    DEVICE_PROP_STRING("iommufd", VFIOKernelPCI, iommufd,
                       "object through which it reaches memory; without it its group does"),
    DEVICE_PROP_INT32("fd", VFIOKernelPCI, fd, -1, "descriptor of its character device, open"),
    {},
};

static void vfio_kernel_pci_init(VFIOKernelPCI *k)
{
}

static void vfio_kernel_pci_class_init(VFIOKernelPCIClass *klass)
{
    DeviceStateClass *dc = HW_DEVICE_CLASS(klass);

    device_class_set_props(dc, vfio_kernel_pci_props);
    dc->desc = "PCI device of the host (VFIO)";
    dc->user_creatable = true;
    klass->open = vfio_kernel_pci_open;
}
