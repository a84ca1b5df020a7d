/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The QMP commands of qapi/run-state.json, and the registration of everybody's commands. */
#include "qapi-commands-run-state.h"
#include "qapi-commands-snapshot.h"
#include "system/vm.h"

StatusInfo *qmp_query_status(QmpCall *call, GError **errp)
{
    StatusInfo *info = g_new0(StatusInfo, 1);

    info->status = vm_runstate(call->opaque);
    info->running = vm_is_running(call->opaque);
    return info;
}

void qmp_stop(QmpCall *call, GError **errp)
{
    vm_user_stop(call->opaque);
}

void qmp_cont(QmpCall *call, GError **errp)
{
    vm_user_cont(call->opaque, errp);
}

void qmp_quit(QmpCall *call, GError **errp)
{
    vm_quit(call->opaque, SHUTDOWN_CAUSE_HOST_QMP_QUIT, 0);
}

void qmp_system_reset(QmpCall *call, GError **errp)
{
    vm_request_reset(call->opaque, SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET);
}

void qmp_set_action(QmpCall *call, const QmpArgs_set_action *args, GError **errp)
{
    VM *vm = call->opaque;

    if (args->has_reboot) {
        vm->on_reboot = args->reboot;
    }
    if (args->has_shutdown) {
        vm->on_shutdown = args->shutdown;
    }
}

void vm_register_commands(VM *vm)
{
    QmpCommandTable *table = monitor_hub_commands(vm->hub);

    qmp_register_run_state(table, vm);
    qmp_register_snapshot(table, vm);
    migration_register_commands(vm->migration, table);
    monitor_register_commands(vm->hub);
}
