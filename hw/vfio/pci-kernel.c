/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vfio-pci: a PCI function of the host, or one that a driver of the host plays. */
#include "hw/vfio/kernel.h"
#include "hw/vfio/pci.h"

typedef struct {
    VFIOPCI parent;
    char *host;
    char *sysfsdev;
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

static VFIODevice *vfio_kernel_pci_open(VFIOPCI *s, const char *name, GError **errp)
{
    const VFIOKernelPCI *k = (VFIOKernelPCI *)s;
    g_autofree char *sysfs = NULL;

    if (!k->host == !k->sysfsdev) {
        error_setg(errp, "give either host=, a PCI address of the host, or sysfsdev=, a directory "
                         "in /sys");
        return NULL;
    }
    sysfs = k->host ? host_directory(k->host, errp) : g_strdup(k->sysfsdev);
    return sysfs ? vfio_kernel_device_new(&vfio_sys, name, sysfs, device_machine(HW_DEVICE(s))->as,
                                          errp)
                 : NULL;
}

static const DeviceProperty vfio_kernel_pci_props[] = {
    DEVICE_PROP_STRING("host", VFIOKernelPCI, host, "PCI address on the host"),
    DEVICE_PROP_STRING("sysfsdev", VFIOKernelPCI, sysfsdev, "directory of the device in /sys"),
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
