/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The virtio-*-pci types: which device model, which PCI identity, how many vectors. */
#include "hw/virtio/virtio-pci.h"

static uint32_t no_vectors(VirtIOPCI *s)
{
    return 0;
}

/* Configuration and one queue. */
static uint32_t two_vectors(VirtIOPCI *s)
{
    return 2;
}

/* Configuration, control, and two queues. */
static uint32_t net_vectors(VirtIOPCI *s)
{
    return 4;
}

/* One queue per hart unless the user says so; a vector for each and for the configuration. */
static uint32_t blk_vectors(VirtIOPCI *s)
{
    guint queues;

    g_object_get(s->part, "num-queues", &queues, NULL);
    if (queues == UINT16_MAX) {
        queues = device_machine(s->part)->smp_cpus;
        g_object_set(s->part, "num-queues", queues, NULL);
    }
    return queues + 1;
}

static void set_class(VirtIOPCIClass *k, const char *desc, const char *part_type, uint16_t class_id,
                      uint16_t transitional_id, uint32_t (*vectors)(VirtIOPCI *s))
{
    DeviceStateClass *dc = &k->parent_class.parent_class;

    dc->desc = desc;
    dc->user_creatable = true;
    device_class_forward_props(dc, object_type_lookup(part_type));
    k->parent_class.class_id = class_id;
    k->part_type = part_type;
    k->transitional_id = transitional_id;
    k->default_vectors = vectors;
}

/* The types add nothing to an instance. */
#define VIRTIO_PCI_TYPE(name, qom, desc, part, class_id, id, vectors) \
    typedef VirtIOPCI name;                                           \
    typedef VirtIOPCIClass name##Class;                               \
    GType name##_get_type(void);                                      \
    G_DEFINE_TYPE(name, name, TYPE_VIRTIO_PCI)                        \
    DEVICE_TYPE_REGISTER(qom, name##_get_type)                        \
    static void name##_init(name *s)                                  \
    {                                                                 \
    }                                                                 \
    static void name##_class_init(name##Class *k)                     \
    {                                                                 \
        set_class(k, desc, part, class_id, id, vectors);              \
    }

VIRTIO_PCI_TYPE(virtio_blk_pci, "virtio-blk-pci", "virtio disk on PCI", "virtio-blk-device", 0x0100,
                0x1001, blk_vectors)
VIRTIO_PCI_TYPE(virtio_net_pci, "virtio-net-pci", "virtio network card on PCI", "virtio-net-device",
                0x0200, 0x1000, net_vectors)
VIRTIO_PCI_TYPE(virtio_serial_pci, "virtio-serial-pci", "virtio serial bus on PCI",
                "virtio-serial-device", 0x0780, 0x1003, two_vectors)
VIRTIO_PCI_TYPE(virtio_rng_pci, "virtio-rng-pci", "virtio entropy source on PCI",
                "virtio-rng-device", 0x00FF, 0x1005, two_vectors)
VIRTIO_PCI_TYPE(virtio_balloon_pci, "virtio-balloon-pci", "virtio memory balloon on PCI",
                "virtio-balloon-device", 0x00FF, 0x1002, no_vectors)
