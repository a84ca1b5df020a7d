/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-pci: what the transport adds to the stream (spec 82 section 13). */
#include "hw/virtio/virtio-pci.h"

static bool load_vector(VirtIOPCI *s, QEMUFile *f, uint16_t *out, GError **errp)
{
    uint16_t vector = qemu_get_be16(f);

    if (!qemu_file_check(f, errp)) {
        return false;
    }
    if (vector != VIRTIO_NO_VECTOR && vector >= pci_msix_vectors(&s->parent)) {
        error_setg(errp, "virtio-pci: MSI-X vector %u of %u; set vectors= like on the source",
                   vector, pci_msix_vectors(&s->parent));
        return false;
    }
    *out = vector;
    return true;
}

bool virtio_pci_save_config(VirtioTransport *t, QEMUFile *f, GError **errp)
{
    VirtIOPCI *s = VIRTIO_PCI(t);
    PCIDevice *dev = &s->parent;

    if (!vmstate_save_state(f, &vmstate_pci_config, pci_config(dev), NULL, errp)) {
        return false;
    }
    if (pci_msix(dev)) {
        pci_msix_save(dev, f);
        qemu_put_be16(f, s->vdev->config_vector);
    }
    return true;
}

bool virtio_pci_load_config(VirtioTransport *t, QEMUFile *f, GError **errp)
{
    VirtIOPCI *s = VIRTIO_PCI(t);
    PCIDevice *dev = &s->parent;

    if (!vmstate_load_state(f, &vmstate_pci_config, pci_config(dev), vmstate_pci_config.version_id,
                            errp)) {
        return false;
    }
    s->vdev->config_vector = VIRTIO_NO_VECTOR;
    return !pci_msix(dev) ||
           (pci_msix_load(dev, f, errp) && load_vector(s, f, &s->vdev->config_vector, errp));
}

void virtio_pci_save_queue(VirtioTransport *t, unsigned n, QEMUFile *f)
{
    VirtIOPCI *s = VIRTIO_PCI(t);

    if (pci_msix(&s->parent)) {
        qemu_put_be16(f, s->vdev->vq[n].vector);
    }
}

bool virtio_pci_load_queue(VirtioTransport *t, unsigned n, QEMUFile *f, GError **errp)
{
    VirtIOPCI *s = VIRTIO_PCI(t);
    uint16_t *vector = &s->vdev->vq[n].vector;

    *vector = VIRTIO_NO_VECTOR;
    return !pci_msix(&s->parent) || load_vector(s, f, vector, errp);
}

static void put_halves(QEMUFile *f, const uint32_t half[2])
{
    qemu_put_be32(f, half[0]);
    qemu_put_be32(f, half[1]);
}

static void get_halves(QEMUFile *f, uint32_t half[2])
{
    half[0] = qemu_get_be32(f);
    half[1] = qemu_get_be32(f);
}

static bool put_queues(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    const VirtIOPCI *s = pv;

    for (unsigned i = 0; i < VIRTIO_QUEUE_MAX; i++) {
        const VirtIOPCIQueue *q = &s->vqs[i];

        qemu_put_be16(f, q->num);
        qemu_put_byte(f, 0);
        qemu_put_byte(f, q->enabled);
        put_halves(f, q->desc);
        put_halves(f, q->avail);
        put_halves(f, q->used);
    }
    return true;
}

static bool get_queues(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    VirtIOPCI *s = pv;

    for (unsigned i = 0; i < VIRTIO_QUEUE_MAX; i++) {
        VirtIOPCIQueue *q = &s->vqs[i];

        q->num = qemu_get_be16(f);
        qemu_get_byte(f);
        q->enabled = qemu_get_byte(f) != 0;
        get_halves(f, q->desc);
        get_halves(f, q->avail);
        get_halves(f, q->used);
    }
    return qemu_file_check(f, errp);
}

static bool modern_needed(void *opaque)
{
    return ((const VirtIOPCI *)opaque)->modern;
}

static const VMStateInfo info_queues = {"virtio_pci/queue_state", get_queues, put_queues};

static const VMStateDescription vmstate_modern_state = {
    .name = "virtio_pci/modern_state",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = modern_needed,
    .fields =
        (const VMStateField[]){
            VMSTATE_UINT32(dfselect, VirtIOPCI),
            VMSTATE_UINT32(gfselect, VirtIOPCI),
            VMSTATE_UINT32_ARRAY(guest_features, VirtIOPCI, 2),
            {.name = "vqs", .info = &info_queues, .flags = VMS_SINGLE},
            VMSTATE_END_OF_LIST(),
        },
};

const VMStateDescription vmstate_virtio_pci = {
    .name = "virtio_pci",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]){VMSTATE_END_OF_LIST()},
    .subsections = (const VMStateDescription *const[]){&vmstate_modern_state, NULL},
};
