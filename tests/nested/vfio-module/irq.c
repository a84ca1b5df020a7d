// SPDX-License-Identifier: GPL-2.0-or-later
/* Interrupts: eventfds that user space hands over. The pin is level triggered and masks itself. */
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "device.h"

unsigned int gw_irq_count(unsigned int index)
{
    return index == VFIO_PCI_INTX_IRQ_INDEX ? 1 : index == VFIO_PCI_MSIX_IRQ_INDEX ? GW_VECTORS : 0;
}

void gw_signal(struct gw_device *gw, unsigned int vector)
{
    if (vector < GW_VECTORS && gw->msix[vector]) {
        eventfd_signal(gw->msix[vector], 1);
    }
}

void gw_update_pin(struct gw_device *gw)
{
    if (gw->level && !gw->masked && gw->intx) {
        gw->masked = true;
        eventfd_signal(gw->intx, 1);
    }
}

static void put(struct eventfd_ctx **slot, struct eventfd_ctx *new)
{
    if (*slot) {
        eventfd_ctx_put(*slot);
    }
    *slot = new;
}

static void release_index(struct gw_device *gw, unsigned int index)
{
    unsigned int i;

    if (index == VFIO_PCI_INTX_IRQ_INDEX) {
        put(&gw->intx, NULL);
        gw->masked = false;
    } else {
        for (i = 0; i < GW_VECTORS; i++) {
            put(&gw->msix[i], NULL);
        }
    }
}

void gw_release_irqs(struct gw_device *gw)
{
    release_index(gw, VFIO_PCI_INTX_IRQ_INDEX);
    release_index(gw, VFIO_PCI_MSIX_IRQ_INDEX);
}

static int set_trigger(struct gw_device *gw, const struct vfio_irq_set *set, const s32 *fds)
{
    unsigned int i;

    for (i = 0; i < set->count; i++) {
        struct eventfd_ctx *ctx = fds[i] < 0 ? NULL : eventfd_ctx_fdget(fds[i]);

        if (IS_ERR(ctx)) {
            return PTR_ERR(ctx);
        }
        put(set->index == VFIO_PCI_INTX_IRQ_INDEX ? &gw->intx : &gw->msix[set->start + i], ctx);
    }
    gw_update_pin(gw);
    return 0;
}

static int apply(struct gw_device *gw, const struct vfio_irq_set *set, const s32 *fds)
{
    bool intx = set->index == VFIO_PCI_INTX_IRQ_INDEX;

    switch (set->flags) {
    case VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER:
        return set_trigger(gw, set, fds);
    case VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER:
        if (!set->count) {
            release_index(gw, set->index);
            return 0;
        }
        return -EINVAL;
    case VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK:
    case VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK:
        if (!intx) {
            return -EINVAL;
        }
        gw->masked = set->flags & VFIO_IRQ_SET_ACTION_MASK;
        gw_update_pin(gw);
        return 0;
    default:
        return -EINVAL;
    }
}

long gw_set_irqs(struct gw_device *gw, unsigned long arg)
{
    const size_t head = offsetofend(struct vfio_irq_set, count);
    struct vfio_irq_set set;
    size_t size = 0;
    void *data = NULL;
    long ret;

    if (copy_from_user(&set, (void __user *)arg, head)) {
        return -EFAULT;
    }
    if (set.index >= VFIO_PCI_NUM_IRQS) {
        return -EINVAL;
    }
    ret =
        vfio_set_irqs_validate_and_prepare(&set, gw_irq_count(set.index), VFIO_PCI_NUM_IRQS, &size);
    if (ret) {
        return ret;
    }
    if (size) {
        data = memdup_user((void __user *)(arg + head), size);
        if (IS_ERR(data)) {
            return PTR_ERR(data);
        }
    }
    ret = apply(gw, &set, data);
    kfree(data);
    return ret;
}
