/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The "slirp" section of a peer with a user-mode network (spec 82 section 4). It is accepted so
 * that default command lines on both sides fit together, and its leases are dropped: the guest
 * keeps the address it has. It is never sent, which every peer accepts.
 */
#include "hw/core/board-vmstate.h"

#define SLIRP_LEASES 16

#define TYPE_SLIRP_VMSTATE (slirp_vmstate_get_type())
G_DECLARE_FINAL_TYPE(SlirpVMState, slirp_vmstate, HW, SLIRP_VMSTATE, DeviceState)

typedef struct {
    uint16_t allocated;
    uint8_t mac[6];
} SlirpLease;

struct _SlirpVMState {
    DeviceState parent;
    uint8_t socket_mark;
    uint16_t ip_id;
    SlirpLease leases[SLIRP_LEASES];
};

G_DEFINE_TYPE(SlirpVMState, slirp_vmstate, TYPE_DEVICE)
DEVICE_TYPE_REGISTER("godwit-slirp-state", slirp_vmstate_get_type)

static bool slirp_needed(void *opaque)
{
    return false;
}

/* A record of a forwarded connection would follow here; its end point cannot be made again. */
static bool no_sockets(void *opaque, int version_id)
{
    return ((const SlirpVMState *)opaque)->socket_mark == 0;
}

static const VMStateDescription vmstate_lease = {
    .name = "slirp-bootp-client",
    .fields =
        (const VMStateField[]){
            VMSTATE_UINT16(allocated, SlirpLease),
            VMSTATE_BUFFER(mac, SlirpLease),
            VMSTATE_END_OF_LIST(),
        },
};

static const VMStateDescription vmstate_slirp = {
    .name = "slirp",
    .version_id = 4,
    .minimum_version_id = 4,
    .needed = slirp_needed,
    .fields =
        (const VMStateField[]){
            VMSTATE_UINT8(socket_mark, SlirpVMState),
            VMSTATE_VALIDATE("no guest-forward connection", no_sockets),
            VMSTATE_UINT16(ip_id, SlirpVMState),
            VMSTATE_STRUCT_ARRAY(leases, SlirpVMState, SLIRP_LEASES, 0, vmstate_lease, SlirpLease),
            VMSTATE_END_OF_LIST(),
        },
};

static void slirp_vmstate_class_init(SlirpVMStateClass *klass)
{
    DeviceStateClass *dc = HW_DEVICE_CLASS(klass);

    dc->desc = "accepts a peer's user-mode network state";
    dc->vmsd = &vmstate_slirp;
}

static void slirp_vmstate_init(SlirpVMState *s)
{
}

bool slirp_vmstate_create(Machine *m, GError **errp)
{
    DeviceState *dev = device_new(m, "godwit-slirp-state", NULL, errp);

    return dev && device_realize(dev, NULL, errp);
}
