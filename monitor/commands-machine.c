/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qapi/machine.json: boards, CPUs and memory. */
#include "util/osdep.h"
#include "accel/accel.h"
#include "hw/virtio-balloon.h"
#include "memory/memory-backend.h"
#include "monitor/commands.h"
#include "qapi-commands-machine.h"

GPtrArray *qmp_query_machines(QmpCall *call, GError **errp)
{
    GPtrArray *list = qapi_list_new_MachineInfo();

    for (const MachineClass *const *c = machine_class_list(); *c; c++) {
        MachineInfo *info = g_new0(MachineInfo, 1);

        info->name = g_strdup((*c)->name);
        info->cpu_max = (*c)->max_cpus;
        info->default_cpu_type =
            (*c)->default_cpu ? g_strconcat((*c)->default_cpu, "-riscv-cpu", NULL) : NULL;
        info->default_ram_id = g_strdup((*c)->default_ram_id);
        g_ptr_array_add(list, info);
    }
    return list;
}

GPtrArray *qmp_query_cpus_fast(QmpCall *call, GError **errp)
{
    Machine *m = monitor_hub_machine(call->opaque, errp);

    if (!m) {
        return NULL;
    }
    GPtrArray *list = qapi_list_new_CpuInfoFast();

    for (unsigned i = 0; m->cpus && i < m->cpus->len; i++) {
        CpuInfoFast *info = g_new0(CpuInfoFast, 1);

        info->cpu_index = i;
        info->qom_path = g_strdup_printf("/machine/unattached/cpu[%u]", i);
        info->thread_id = m->accel ? accel_vcpu_thread_id(m->accel, i) : 0;
        info->props = g_new0(CpuInstanceProperties, 1);
        info->props->has_core_id = true;
        info->props->core_id = i;
        info->target = SYS_EMU_TARGET_RISCV64;
        g_ptr_array_add(list, info);
    }
    return list;
}

MemoryInfo *qmp_query_memory_size_summary(QmpCall *call, GError **errp)
{
    Machine *m = monitor_hub_machine(call->opaque, errp);

    if (!m) {
        return NULL;
    }
    MemoryInfo *info = g_new0(MemoryInfo, 1);

    info->base_memory = m->ram_size;
    return info;
}

/* Memory backends share these properties. */
static bool backend_flag(GObject *obj, const char *name)
{
    g_autoptr(JsonNode) value = object_get_property_json(obj, name, NULL);

    return value && JSON_NODE_HOLDS_VALUE(value) && json_node_get_boolean(value);
}

static void add_memdev(const char *id, GObject *obj, void *opaque)
{
    if (!GW_IS_MEMORY_BACKEND(obj)) {
        return;
    }
    Memdev *info = g_new0(Memdev, 1);

    info->id = g_strdup(id);
    info->size = memory_backend_size(GW_MEMORY_BACKEND(obj));
    info->merge = backend_flag(obj, "merge");
    info->dump = backend_flag(obj, "dump");
    info->prealloc = backend_flag(obj, "prealloc");
    info->share = backend_flag(obj, "share");
    info->has_reserve = true;
    info->reserve = backend_flag(obj, "reserve");
    info->host_nodes = g_array_new(FALSE, FALSE, sizeof(uint16_t));
    info->policy = HOST_MEM_POLICY_DEFAULT;
    g_ptr_array_add(opaque, info);
}

GPtrArray *qmp_query_memdev(QmpCall *call, GError **errp)
{
    Machine *m = monitor_hub_machine(call->opaque, errp);

    if (!m) {
        return NULL;
    }
    GPtrArray *list = qapi_list_new_Memdev();

    if (m->objects) {
        object_registry_foreach(m->objects, add_memdev, list);
    }
    return list;
}

GPtrArray *qmp_query_iothreads(QmpCall *call, GError **errp)
{
    return qapi_list_new_IOThreadInfo();
}

void qmp_balloon(QmpCall *call, const QmpArgs_balloon *args, GError **errp)
{
    Machine *m = monitor_hub_machine(call->opaque, errp);

    if (m && args->value <= 0) {
        error_setg(errp, "Parameter 'value' expects a size");
    } else if (m) {
        virtio_balloon_set_target(m, (uint64_t)args->value, errp);
    }
}

BalloonInfo *qmp_query_balloon(QmpCall *call, GError **errp)
{
    Machine *m = monitor_hub_machine(call->opaque, errp);
    uint64_t bytes;

    if (!m || !virtio_balloon_get_actual(m, &bytes, errp)) {
        return NULL;
    }
    BalloonInfo *info = g_new0(BalloonInfo, 1);

    info->actual = (int64_t)bytes;
    return info;
}
