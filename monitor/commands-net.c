/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qapi/net.json: network back ends. */
#include "util/osdep.h"
#include "hw/device.h"
#include "monitor/commands.h"
#include "qapi-commands-net.h"

void qmp_netdev_add(QmpCall *call, JsonObject *args, GError **errp)
{
    Machine *m = monitor_hub_machine(call->opaque, errp);

    if (m && given_arguments(args, errp)) {
        net_backend_add(m->nets, args, errp);
    }
}

void qmp_netdev_del(QmpCall *call, const QmpArgs_netdev_del *args, GError **errp)
{
    Machine *m = monitor_hub_machine(call->opaque, errp);

    if (m) {
        net_backend_del(m->nets, args->id, errp);
    }
}

/* A back end by its own id, or by that of the device it serves. */
static NetBackend *find_backend(Machine *m, const char *name)
{
    NetBackend *nb = net_backend_find(m->nets, name);
    DeviceState *dev = nb ? NULL : device_find(m, name);

    if (!dev || !g_object_class_find_property(G_OBJECT_GET_CLASS(dev), "netdev")) {
        return nb;
    }
    g_autofree char *netdev = NULL;

    g_object_get(dev, "netdev", &netdev, NULL);
    return netdev ? net_backend_find(m->nets, netdev) : NULL;
}

void qmp_set_link(QmpCall *call, const QmpArgs_set_link *args, GError **errp)
{
    Machine *m = monitor_hub_machine(call->opaque, errp);
    NetBackend *nb = m ? find_backend(m, args->name) : NULL;

    if (nb) {
        net_backend_set_link(nb, args->up);
    } else if (m) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", args->name);
    }
}
