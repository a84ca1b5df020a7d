/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The memory balloon, for the commands balloon and query-balloon. Main thread, big lock. */
#ifndef GODWIT_HW_VIRTIO_BALLOON_H
#define GODWIT_HW_VIRTIO_BALLOON_H

#include "hw/device.h"

/* Ask the guest to keep @bytes; "No balloon device has been activated" without a device. */
bool virtio_balloon_set_target(Machine *m, uint64_t bytes, GError **errp);
/* How much the guest has now. */
bool virtio_balloon_get_actual(Machine *m, uint64_t *bytes, GError **errp);

#endif
