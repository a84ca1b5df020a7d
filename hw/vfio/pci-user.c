/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vfio-user-pci: a PCI function that another process plays. */
#include <json-glib/json-glib.h>
#include "hw/vfio/pci.h"

typedef struct {
    VFIOPCI parent;
    char *socket;
    uint32_t msg_timeout;
} VFIOUserPCI;

typedef VFIOPCIClass VFIOUserPCIClass;
GType vfio_user_pci_get_type(void);
G_DEFINE_TYPE(VFIOUserPCI, vfio_user_pci, TYPE_VFIO_PCI_BASE)
DEVICE_TYPE_REGISTER("vfio-user-pci", vfio_user_pci_get_type)

/* PATH, unix:PATH, or what QEMU writes: {"type":"unix","path":PATH}. */
static char *socket_path(const VFIOUserPCI *u, GError **errp)
{
    g_autoptr(JsonNode) node = NULL;
    JsonObject *obj;

    if (!u->socket || !u->socket[0]) {
        error_setg(errp, "socket= is missing: the path of the server's socket");
        return NULL;
    }
    if (u->socket[0] != '{') {
        return g_strdup(g_str_has_prefix(u->socket, "unix:") ? u->socket + 5 : u->socket);
    }
    node = json_from_string(u->socket, errp);
    obj = node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
    if (!obj) {
        return NULL;
    }
    if (g_strcmp0(json_object_get_string_member_with_default(obj, "type", ""), "unix") != 0 ||
        !json_object_get_string_member_with_default(obj, "path", NULL)) {
        error_setg(errp, "socket= takes type unix with a path");
        return NULL;
    }
    return g_strdup(json_object_get_string_member(obj, "path"));
}

static VFIODevice *vfio_user_pci_open(VFIOPCI *s, const char *name, GError **errp)
{
    const VFIOUserPCI *u = (VFIOUserPCI *)s;
    g_autofree char *path = socket_path(u, errp);

    return path ? vfio_user_device_new(name, path, u->msg_timeout, device_machine(HW_DEVICE(s))->as,
                                       errp)
                : NULL;
}

static const DeviceProperty vfio_user_pci_props[] = {
    DEVICE_PROP_STRING("socket", VFIOUserPCI, socket, "unix socket of the vfio-user server"),
    DEVICE_PROP_UINT32("x-msg-timeout", VFIOUserPCI, msg_timeout, 5000,
                       "how long an answer may take, milliseconds"),
    {},
};

static void vfio_user_pci_init(VFIOUserPCI *u)
{
}

static void vfio_user_pci_class_init(VFIOUserPCIClass *klass)
{
    DeviceStateClass *dc = HW_DEVICE_CLASS(klass);

    device_class_set_props(dc, vfio_user_pci_props);
    dc->desc = "PCI device of a vfio-user server";
    dc->user_creatable = true;
    klass->open = vfio_user_pci_open;
}
