/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What others may know of VFIO devices. Big lock. */
#ifndef GODWIT_HW_VFIO_H
#define GODWIT_HW_VFIO_H

#include "hw/machine.h"

/* Of each device that can migrate; GPtrArray of VFIOMigrationInfo, the caller's. */
GPtrArray *vfio_migration_query(Machine *m);
/* Bytes of device state that the last outgoing migration has sent. False: no device can migrate. */
bool vfio_migration_bytes(Machine *m, uint64_t *bytes);

#endif
