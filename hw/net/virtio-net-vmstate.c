/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device part of virtio-net on the wire (spec 82 section 13 C, table "net"). */
#include "util/osdep.h"
#include "virtio-net.h"

bool virtio_net_save(VirtIODevice *vdev, QEMUFile *f, GError **errp)
{
    const VirtIONet *n = VIRTIO_NET(vdev);

    qemu_put_buffer(f, n->mac, ETH_ALEN);
    qemu_put_be32(f, n->tx_waiting);
    qemu_put_be32(f, n->mergeable);
    qemu_put_be16(f, n->status);
    qemu_put_byte(f, n->promisc);
    qemu_put_byte(f, n->allmulti);
    qemu_put_be32(f, n->mac_table.in_use);
    qemu_put_buffer(f, n->mac_table.macs[0], n->mac_table.in_use * ETH_ALEN);
    for (unsigned i = 0; i < VLAN_WORDS; i++) {
        uint32_t word = GUINT32_TO_LE(n->vlans[i]);

        qemu_put_buffer(f, &word, sizeof(word));
    }
    qemu_put_be32(f, 0); /* virtio-net headers on the back end */
    qemu_put_byte(f, n->mac_table.multi_overflow);
    qemu_put_byte(f, n->mac_table.uni_overflow);
    qemu_put_byte(f, n->alluni);
    qemu_put_byte(f, n->nomulti);
    qemu_put_byte(f, n->nouni);
    qemu_put_byte(f, n->nobcast);
    qemu_put_byte(f, 0); /* UFO */
    if (virtio_has_feature(vdev, NET_F_CTRL_GUEST_OFFLOADS)) {
        qemu_put_be64(f, n->curr_guest_offloads);
    }
    return true;
}

/* A table that does not fit here lets everything pass instead. */
static bool load_mac_table(VirtIONet *n, QEMUFile *f, GError **errp)
{
    uint32_t in_use = qemu_get_be32(f);

    if (in_use > MAC_TABLE_SIZE) {
        error_setg(errp, "MAC filter table of %u entries, at most %u are possible", in_use,
                   MAC_TABLE_SIZE);
        return false;
    }
    n->mac_table.in_use = in_use;
    qemu_get_buffer(f, n->mac_table.macs[0], in_use * ETH_ALEN);
    n->mac_table.first_multi = 0;
    while (n->mac_table.first_multi < in_use &&
           !(n->mac_table.macs[n->mac_table.first_multi][0] & 1)) {
        n->mac_table.first_multi++;
    }
    return true;
}

bool virtio_net_load(VirtIODevice *vdev, QEMUFile *f, GError **errp)
{
    VirtIONet *n = VIRTIO_NET(vdev);

    qemu_get_buffer(f, n->mac, ETH_ALEN);
    n->tx_waiting = qemu_get_be32(f) != 0;
    qemu_get_be32(f); /* mergeable buffers: follows from the features */
    n->status = qemu_get_be16(f) & (NET_S_LINK_UP | NET_S_ANNOUNCE);
    n->promisc = qemu_get_byte(f) != 0;
    n->allmulti = qemu_get_byte(f) != 0;
    if (!load_mac_table(n, f, errp)) {
        return false;
    }
    for (unsigned i = 0; i < VLAN_WORDS; i++) {
        uint32_t word = 0;

        qemu_get_buffer(f, &word, sizeof(word));
        n->vlans[i] = GUINT32_FROM_LE(word);
    }
    if (qemu_get_be32(f)) {
        error_setg(errp, "virtio-net: saved image requires vnet_hdr=on");
        return false;
    }
    n->mac_table.multi_overflow = qemu_get_byte(f) != 0;
    n->mac_table.uni_overflow = qemu_get_byte(f) != 0;
    n->alluni = qemu_get_byte(f) != 0;
    n->nomulti = qemu_get_byte(f) != 0;
    n->nouni = qemu_get_byte(f) != 0;
    n->nobcast = qemu_get_byte(f) != 0;
    if (qemu_get_byte(f)) {
        error_setg(errp, "virtio-net: saved image requires TUN_F_UFO support");
        return false;
    }
    if (virtio_has_feature(vdev, NET_F_CTRL_GUEST_OFFLOADS)) {
        n->curr_guest_offloads = qemu_get_be64(f);
    }
    return qemu_file_check(f, errp);
}
