/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files of virtio-net: the device, its control queue, its stream. */
#ifndef GODWIT_HW_NET_VIRTIO_NET_H
#define GODWIT_HW_NET_VIRTIO_NET_H

#include "backends/net.h"
#include "hw/virtio.h"

enum { /* feature bits */
       NET_F_CTRL_GUEST_OFFLOADS = 2,
       NET_F_MAC = 5,
       NET_F_GSO = 6, /* legacy */
       NET_F_MRG_RXBUF = 15,
       NET_F_STATUS = 16,
       NET_F_CTRL_VQ = 17,
       NET_F_CTRL_RX = 18,
       NET_F_CTRL_VLAN = 19,
       NET_F_CTRL_RX_EXTRA = 20,
       NET_F_GUEST_ANNOUNCE = 21,
       NET_F_CTRL_MAC_ADDR = 23,
};

enum { NET_S_LINK_UP = 1, NET_S_ANNOUNCE = 2 };

#define ETH_ALEN       6
#define MAC_TABLE_SIZE 64
#define VLAN_MAX       4096
#define VLAN_WORDS     (VLAN_MAX / 32)

typedef struct {
    VirtIODevice parent;
    NetBackend *nb;
    VirtQueue *rx, *tx, *ctrl;
    char *netdev, *mac_text;
    uint16_t rx_queue_size, tx_queue_size;
    int32_t bootindex;
    uint8_t default_mac[ETH_ALEN];

    uint8_t mac[ETH_ALEN];
    uint16_t status;
    uint32_t tx_waiting; /* frames may be waiting although nobody will kick */
    GSource *tx_source;  /* sends them from the main loop */
    bool mergeable;
    size_t header_len; /* bytes before each frame */
    uint8_t promisc, allmulti, alluni, nomulti, nouni, nobcast;
    struct {
        uint32_t in_use, first_multi;
        uint8_t multi_overflow, uni_overflow;
        uint8_t macs[MAC_TABLE_SIZE][ETH_ALEN];
    } mac_table; /* unicast first */
    uint32_t vlans[VLAN_WORDS];
    uint64_t curr_guest_offloads;
} VirtIONet;
#define VIRTIO_NET(vdev) ((VirtIONet *)(vdev))

void virtio_net_handle_control(VirtIODevice *vdev, VirtQueue *vq);
bool virtio_net_save(VirtIODevice *vdev, QEMUFile *f, GError **errp);
bool virtio_net_load(VirtIODevice *vdev, QEMUFile *f, GError **errp);

#endif
