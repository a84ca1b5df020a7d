/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qapi/vfio.json: devices of others that migrate. */
#include "hw/vfio.h"
#include "monitor/commands.h"
#include "qapi-commands-vfio.h"

GPtrArray *qmp_x_query_vfio_migration(QmpCall *call, GError **errp)
{
    MonitorHub *hub = call->opaque;

    return vfio_migration_query(hub->machine);
}
