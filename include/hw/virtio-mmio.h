/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The virtio-mmio transports of the board (spec 80 section 10). */
#ifndef GODWIT_HW_VIRTIO_MMIO_H
#define GODWIT_HW_VIRTIO_MMIO_H

#include "hw/device.h"

#define VIRTIO_MMIO_SLOTS     8
#define VIRTIO_MMIO_STRIDE    0x1000
#define VIRTIO_MMIO_REGION_SZ 0x200

/*
 * Map eight transports, slot i at @base + i * VIRTIO_MMIO_STRIDE driving irqs[i], each with a bus
 * "virtio-mmio-bus.i" of type "virtio-bus" and capacity 1, created in ascending order: -device
 * without bus= takes the newest free bus, so the first device lands in slot 7.
 */
bool virtio_mmio_create_slots(Machine *m, hwaddr base, const Irq irqs[VIRTIO_MMIO_SLOTS],
                              GError **errp);

#endif
