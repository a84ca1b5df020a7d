/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qapi/block.json: disk images. */
#include "util/osdep.h"
#include "hw/device.h"
#include "monitor/commands.h"
#include "qapi-commands-block.h"

static BlockDeviceInfo *block_device_info(BlockBackend *blk)
{
    const char *filename = block_filename(blk);
    BlockDeviceInfo *info = g_new0(BlockDeviceInfo, 1);

    info->file = g_strdup(filename ? filename : "");
    info->node_name = g_strdup(block_node_name(blk));
    info->ro = !block_is_writable(blk);
    info->drv = g_strdup(block_driver(blk));
    info->detect_zeroes = g_strdup("off");
    info->cache = g_new0(BlockdevCacheInfo, 1);
    info->cache->writeback = true;
    info->cache->direct = block_cache_direct(blk);
    info->cache->no_flush = block_cache_no_flush(blk);
    info->image = g_new0(ImageInfo, 1);
    info->image->filename = g_strdup(info->file);
    info->image->format = g_strdup(info->drv);
    info->image->virtual_size = (int64_t)block_length(blk);
    return info;
}

typedef struct {
    MonitorHub *hub;
    GPtrArray *list;
} BlockWalk;

/* What a device or -drive uses; nodes below that are only named nodes. */
static void add_block(BlockBackend *blk, void *opaque)
{
    BlockWalk *w = opaque;
    const char *user = block_device(blk);
    DeviceState *dev = user ? device_find(w->hub->machine, user) : NULL;
    BlockInfo *info;

    if (!user && !*block_name(blk)) {
        return;
    }
    info = g_new0(BlockInfo, 1);
    info->device = g_strdup(block_name(blk));
    info->qdev = dev ? device_qom_path(dev) : g_strdup(user);
    info->type = g_strdup("unknown");
    info->inserted = block_device_info(blk);
    g_ptr_array_add(w->list, info);
}

GPtrArray *qmp_query_block(QmpCall *call, GError **errp)
{
    MonitorHub *hub = call->opaque;
    GPtrArray *list = qapi_list_new_BlockInfo();

    if (hub->machine && hub->machine->blocks) {
        block_foreach(hub->machine->blocks, add_block, &(BlockWalk){hub, list});
    }
    return list;
}

static void add_node(BlockBackend *blk, void *opaque)
{
    g_ptr_array_add(opaque, block_device_info(blk));
}

GPtrArray *qmp_query_named_block_nodes(QmpCall *call, const QmpArgs_query_named_block_nodes *args,
                                       GError **errp)
{
    MonitorHub *hub = call->opaque;
    GPtrArray *list = qapi_list_new_BlockDeviceInfo();

    if (hub->machine && hub->machine->blocks) {
        block_foreach(hub->machine->blocks, add_node, list);
    }
    return list;
}

JsonObject *given_arguments(JsonObject *args, GError **errp)
{
    if (!args) {
        error_setg(errp, "Arguments are missing");
    }
    return args;
}

void qmp_blockdev_add(QmpCall *call, JsonObject *args, GError **errp)
{
    Machine *m = monitor_hub_machine(call->opaque, errp);

    if (m && given_arguments(args, errp)) {
        block_node_add(m->blocks, args, m->incoming, errp);
    }
}

void qmp_blockdev_del(QmpCall *call, const QmpArgs_blockdev_del *args, GError **errp)
{
    Machine *m = monitor_hub_machine(call->opaque, errp);

    if (m) {
        block_node_del(m->blocks, args->node_name, errp);
    }
}
