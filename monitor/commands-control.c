/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qapi/control.json: the protocol about itself. */
#include "util/osdep.h"
#include "config-host.h"
#include "monitor/commands.h"
#include "qapi-commands-control.h"
#include "qapi/json-stream.h"

/* The QEMU whose interface this is; libvirt refuses anything below 4.2. */
enum { COMPAT_MAJOR = 7, COMPAT_MINOR = 2, COMPAT_MICRO = 22 };

void qmp_qmp_capabilities(QmpCall *call, const QmpArgs_qmp_capabilities *args, GError **errp)
{
    if (call->session) {
        qmp_session_negotiated(call->session, args->enable && args->enable->len > 0);
    }
}

VersionInfo *qmp_query_version(QmpCall *call, GError **errp)
{
    VersionInfo *info = g_new0(VersionInfo, 1);

    info->qemu = g_new0(VersionTriple, 1);
    info->qemu->major = COMPAT_MAJOR;
    info->qemu->minor = COMPAT_MINOR;
    info->qemu->micro = COMPAT_MICRO;
    info->package = g_strdup("godwit-" GODWIT_VERSION);
    return info;
}

JsonNode *qmp_greeting(void)
{
    g_autoptr(VersionInfo) version = qmp_query_version(NULL, NULL);
    JsonNode *node = json_node_new(JSON_NODE_OBJECT);
    JsonObject *obj = json_object_new();
    JsonObject *qmp = json_object_new();
    JsonArray *caps = json_array_new();

    json_array_add_string_element(caps, QMPCapability_str(QMP_CAPABILITY_OOB));
    json_object_set_member(qmp, "version", qapi_VersionInfo_to_json(version));
    json_object_set_array_member(qmp, "capabilities", caps);
    json_object_set_object_member(obj, "QMP", qmp);
    json_node_take_object(node, obj);
    return node;
}

GPtrArray *qmp_query_commands(QmpCall *call, GError **errp)
{
    MonitorHub *hub = call->opaque;
    g_autoptr(GPtrArray) names = qmp_command_table_names(hub->commands);
    GPtrArray *list = qapi_list_new_CommandInfo();

    for (unsigned i = 0; i < names->len; i++) {
        CommandInfo *info = g_new0(CommandInfo, 1);

        info->name = g_strdup(names->pdata[i]);
        g_ptr_array_add(list, info);
    }
    return list;
}

GPtrArray *qmp_query_qmp_schema(QmpCall *call, GError **errp)
{
    g_autoptr(JsonNode) node = qapi_json_parse(qapi_schema_json, strlen(qapi_schema_json), errp);
    GPtrArray *list;

    if (!node) {
        return NULL;
    }
    JsonArray *array = json_node_get_array(node);

    list = g_ptr_array_new_with_free_func((GDestroyNotify)json_node_unref);
    for (unsigned i = 0; i < json_array_get_length(array); i++) {
        g_ptr_array_add(list, json_node_copy(json_array_get_element(array, i)));
    }
    return list;
}

TargetInfo *qmp_query_target(QmpCall *call, GError **errp)
{
    TargetInfo *info = g_new0(TargetInfo, 1);

    info->arch = SYS_EMU_TARGET_RISCV64;
    return info;
}

KvmInfo *qmp_query_kvm(QmpCall *call, GError **errp)
{
    return g_new0(KvmInfo, 1);
}

NameInfo *qmp_query_name(QmpCall *call, GError **errp)
{
    MonitorHub *hub = call->opaque;
    NameInfo *info = g_new0(NameInfo, 1);

    info->name = g_strdup(hub->machine ? hub->machine->name : NULL);
    return info;
}

UuidInfo *qmp_query_uuid(QmpCall *call, GError **errp)
{
    static const uint8_t unset[16];
    MonitorHub *hub = call->opaque;
    const uint8_t *u = hub->machine && hub->machine->has_uuid ? hub->machine->uuid : unset;
    GString *text = g_string_new(NULL);
    UuidInfo *info = g_new0(UuidInfo, 1);

    for (unsigned i = 0; i < 16; i++) {
        g_string_append_printf(text, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
                               u[i]);
    }
    info->UUID = g_string_free(text, FALSE);
    return info;
}

GPtrArray *qmp_query_command_line_options(QmpCall *call,
                                          const QmpArgs_query_command_line_options *args,
                                          GError **errp)
{
    if (args->option) {
        error_setg(errp, "invalid option name: %s", args->option);
        return NULL;
    }
    return qapi_list_new_CommandLineOptionInfo();
}

char *qmp_human_monitor_command(QmpCall *call, const QmpArgs_human_monitor_command *args,
                                GError **errp)
{
    MonitorHub *hub = call->opaque;
    unsigned cpus = hub->machine && hub->machine->cpus ? hub->machine->cpus->len : 0;

    if (args->has_cpu_index && (args->cpu_index < 0 || args->cpu_index >= cpus)) {
        error_setg(errp, "Parameter 'cpu-index' expects a CPU number");
        return NULL;
    }
    return hmp_execute(hub, args->has_cpu_index ? (unsigned)args->cpu_index : 0,
                       args->command_line);
}
