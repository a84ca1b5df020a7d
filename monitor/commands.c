/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All the commands that live in this room. */
#include "util/osdep.h"
#include "monitor/commands.h"
#include "qapi-commands-block.h"
#include "qapi-commands-char.h"
#include "qapi-commands-control.h"
#include "qapi-commands-fds.h"
#include "qapi-commands-job.h"
#include "qapi-commands-machine.h"
#include "qapi-commands-net.h"
#include "qapi-commands-pci.h"
#include "qapi-commands-qom.h"
#include "qapi-commands-vfio.h"

void monitor_register_commands(MonitorHub *hub)
{
    QmpCommandTable *t = hub->commands;

    qmp_register_control(t, hub);
    qmp_register_fds(t, hub);
    qmp_register_qom(t, hub);
    qmp_register_machine(t, hub);
    qmp_register_char(t, hub);
    qmp_register_block(t, hub);
    qmp_register_job(t, hub);
    qmp_register_net(t, hub);
    qmp_register_pci(t, hub);
    qmp_register_vfio(t, hub);
}
