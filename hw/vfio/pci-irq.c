/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupts of a VFIO PCI function: the device writes eventfds, the main loop turns them into pins
 * and messages. Masked MSI-X vectors stay here, as pending bits.
 */
#include <glib-unix.h>
#include <sys/eventfd.h>
#include "hw/vfio/pci.h"
#include "util/log.h"

#define TRIGGER_EVENTFD (VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER)
#define TRIGGER_NONE    (VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER)
#define UNMASK_NONE     (VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK)

/* A failing interrupt is a message to the operator; the guest finds out by itself. */
static void set_irqs(VFIOPCI *s, unsigned index, uint32_t flags, unsigned count, const int *fds)
{
    g_autoptr(GError) err = NULL;

    if (!vfio_device_failed(s->dev) &&
        !s->dev->ops->set_irqs(s->dev, index, flags, 0, count, fds, &err) &&
        !vfio_device_failed(s->dev)) {
        error_report("%s: cannot set interrupts: %s", s->dev->name, err->message);
    }
}

static bool vector_open(VFIOVector *v, VFIOPCI *s, unsigned nr, GUnixFDSourceFunc fn, GError **errp)
{
    v->s = s;
    v->nr = nr;
    v->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (v->fd < 0) {
        error_setg_errno(errp, errno, "%s: cannot create an eventfd", s->dev->name);
        return false;
    }
    v->watch = g_unix_fd_add(v->fd, G_IO_IN, fn, v);
    return true;
}

static void vector_close(VFIOVector *v)
{
    if (v->watch) {
        g_source_remove(v->watch);
        v->watch = 0;
    }
    if (v->fd >= 0) {
        close(v->fd);
        v->fd = -1;
    }
}

static bool take_event(int fd)
{
    uint64_t count;

    return read(fd, &count, sizeof(count)) == sizeof(count);
}

/* ---- the pin ---- */

static gboolean intx_event(gint fd, GIOCondition condition, gpointer opaque)
{
    VFIOPCI *s = ((VFIOVector *)opaque)->s;

    if (take_event(fd)) {
        pci_set_irq(&s->parent, 0, true);
    }
    return G_SOURCE_CONTINUE;
}

/* The device masked the pin when it signalled. Unmasked with the level still high it signals again.
 */
void vfio_pci_intx_eoi(VFIOPCI *s)
{
    if (pci_config(&s->parent)->irq_state[0]) {
        pci_set_irq(&s->parent, 0, false);
        set_irqs(s, VFIO_PCI_INTX_IRQ_INDEX, UNMASK_NONE, 1, NULL);
    }
}

static void intx_on(VFIOPCI *s)
{
    if (s->intx.fd >= 0) {
        set_irqs(s, VFIO_PCI_INTX_IRQ_INDEX, TRIGGER_EVENTFD, 1, &s->intx.fd);
    }
}

static void intx_off(VFIOPCI *s)
{
    if (s->intx.fd >= 0) {
        set_irqs(s, VFIO_PCI_INTX_IRQ_INDEX, TRIGGER_NONE, 0, NULL);
        pci_set_irq(&s->parent, 0, false);
    }
}

/* ---- MSI-X ---- */

static gboolean msix_event(gint fd, GIOCondition condition, gpointer opaque)
{
    VFIOVector *v = opaque;

    if (take_event(fd)) {
        pci_msix_notify(&v->s->parent, v->nr);
    }
    return G_SOURCE_CONTINUE;
}

static void close_vectors(VFIOPCI *s)
{
    for (unsigned i = 0; i < s->n_vectors; i++) {
        vector_close(&s->vectors[i]);
    }
    g_clear_pointer(&s->vectors, g_free);
    s->n_vectors = 0;
}

static void msix_on(VFIOPCI *s)
{
    unsigned n = pci_msix_vectors(&s->parent);
    g_autofree int *fds = g_new(int, n);
    GError *err = NULL;

    s->vectors = g_new0(VFIOVector, n);
    for (unsigned i = 0; i < n; i++) {
        s->vectors[i].fd = -1;
    }
    s->n_vectors = n;
    for (unsigned i = 0; i < n; i++) {
        if (!vector_open(&s->vectors[i], s, i, msix_event, &err)) {
            error_report("%s", err->message);
            g_error_free(err);
            close_vectors(s);
            return;
        }
        fds[i] = s->vectors[i].fd;
    }
    intx_off(s);
    set_irqs(s, VFIO_PCI_MSIX_IRQ_INDEX, TRIGGER_EVENTFD, n, fds);
}

static void msix_off(VFIOPCI *s)
{
    set_irqs(s, VFIO_PCI_MSIX_IRQ_INDEX, TRIGGER_NONE, 0, NULL);
    close_vectors(s);
    intx_on(s);
}

static void msix_changed(PCIDevice *dev, unsigned vector)
{
    VFIOPCI *s = (VFIOPCI *)dev;
    bool enabled = pci_msix_enabled(dev);

    if (vector == UINT_MAX && enabled != (s->vectors != NULL)) {
        (enabled ? msix_on : msix_off)(s);
    }
}

/* ---- life cycle ---- */

bool vfio_pci_irq_init(VFIOPCI *s, GError **errp)
{
    unsigned pins;

    s->intx.fd = -1;
    if (!s->dev->ops->get_irq_count(s->dev, VFIO_PCI_INTX_IRQ_INDEX, &pins, errp)) {
        return false;
    }
    if (pins) {
        if (!vector_open(&s->intx, s, 0, intx_event, errp) ||
            !s->dev->ops->set_irqs(s->dev, VFIO_PCI_INTX_IRQ_INDEX, TRIGGER_EVENTFD, 0, 1,
                                   &s->intx.fd, errp)) {
            vector_close(&s->intx);
            return false;
        }
    }
    if (pci_msix(&s->parent)) {
        pci_msix_set_changed(&s->parent, msix_changed);
    }
    return true;
}

void vfio_pci_irq_cleanup(VFIOPCI *s)
{
    close_vectors(s);
    vector_close(&s->intx);
}

void vfio_pci_irq_reset(VFIOPCI *s)
{
    if (!s->vectors) {
        intx_on(s);
    }
}
