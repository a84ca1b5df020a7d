/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control queue of virtio-net: what the card receives, its addresses, announcements. */
#include "util/osdep.h"
#include "virtio-net.h"
#include "util/iov.h"

enum { CLASS_RX = 0, CLASS_MAC = 1, CLASS_VLAN = 2, CLASS_ANNOUNCE = 3, CLASS_OFFLOADS = 5 };
enum { ACK_OK = 0, ACK_ERR = 1 };
enum { RX_PROMISC, RX_ALLMULTI, RX_ALLUNI, RX_NOMULTI, RX_NOUNI, RX_NOBCAST };
enum { MAC_TABLE_SET, MAC_ADDR_SET };
enum { VLAN_ADD, VLAN_DEL };

#define COMMAND_MAX (64 * 1024)

typedef struct {
    const uint8_t *data;
    size_t len;
} Payload;

static bool handle_rx_mode(VirtIONet *n, uint8_t cmd, Payload p)
{
    uint8_t *const modes[] = {
        [RX_PROMISC] = &n->promisc, [RX_ALLMULTI] = &n->allmulti, [RX_ALLUNI] = &n->alluni,
        [RX_NOMULTI] = &n->nomulti, [RX_NOUNI] = &n->nouni,       [RX_NOBCAST] = &n->nobcast};

    if (cmd >= G_N_ELEMENTS(modes) || p.len < 1) {
        return false;
    }
    *modes[cmd] = p.data[0] != 0;
    return true;
}

/* u32 count and that many addresses; those that fit are appended, else the overflow flag lets all
 * pass. */
static bool take_table(VirtIONet *n, Payload *p, uint8_t *overflow)
{
    uint32_t entries;

    if (p->len < sizeof(entries)) {
        return false;
    }
    memcpy(&entries, p->data, sizeof(entries));
    entries = GUINT32_FROM_LE(entries);
    p->data += sizeof(entries);
    p->len -= sizeof(entries);
    if (entries > p->len / ETH_ALEN) {
        return false;
    }
    if (entries <= MAC_TABLE_SIZE - n->mac_table.in_use) {
        memcpy(n->mac_table.macs[n->mac_table.in_use], p->data, entries * ETH_ALEN);
        n->mac_table.in_use += entries;
    } else {
        *overflow = 1;
    }
    p->data += entries * ETH_ALEN;
    p->len -= entries * ETH_ALEN;
    return true;
}

static bool handle_mac(VirtIONet *n, uint8_t cmd, Payload p)
{
    if (cmd == MAC_ADDR_SET) {
        if (p.len != ETH_ALEN) {
            return false;
        }
        memcpy(n->mac, p.data, ETH_ALEN);
        return true;
    }
    if (cmd != MAC_TABLE_SET) {
        return false;
    }
    memset(&n->mac_table, 0, sizeof(n->mac_table));
    if (!take_table(n, &p, &n->mac_table.uni_overflow)) {
        memset(&n->mac_table, 0, sizeof(n->mac_table));
        return false;
    }
    n->mac_table.first_multi = n->mac_table.in_use;
    if (!take_table(n, &p, &n->mac_table.multi_overflow) || p.len) {
        memset(&n->mac_table, 0, sizeof(n->mac_table));
        return false;
    }
    return true;
}

static bool handle_vlan(VirtIONet *n, uint8_t cmd, Payload p)
{
    uint16_t vid;

    if (p.len < sizeof(vid) || (cmd != VLAN_ADD && cmd != VLAN_DEL)) {
        return false;
    }
    memcpy(&vid, p.data, sizeof(vid));
    vid = GUINT16_FROM_LE(vid);
    if (vid >= VLAN_MAX) {
        return false;
    }
    if (cmd == VLAN_ADD) {
        n->vlans[vid / 32] |= 1u << (vid % 32);
    } else {
        n->vlans[vid / 32] &= ~(1u << (vid % 32));
    }
    return true;
}

static bool handle_announce(VirtIONet *n, uint8_t cmd)
{
    bool pending = n->status & NET_S_ANNOUNCE;

    n->status &= ~NET_S_ANNOUNCE;
    return cmd == 0 && pending;
}

/* No offload is offered, so only "none" can be asked for. */
static bool handle_offloads(VirtIONet *n, uint8_t cmd, Payload p)
{
    uint64_t offloads;

    if (cmd != 0 || p.len != sizeof(offloads) ||
        !virtio_has_feature(&n->parent, NET_F_CTRL_GUEST_OFFLOADS)) {
        return false;
    }
    memcpy(&offloads, p.data, sizeof(offloads));
    return offloads == 0;
}

static bool handle_command(VirtIONet *n, Payload p)
{
    uint8_t class, cmd;

    if (p.len < 2) {
        return false;
    }
    class = p.data[0];
    cmd = p.data[1];
    p.data += 2;
    p.len -= 2;
    switch (class) {
    case CLASS_RX:
        return handle_rx_mode(n, cmd, p);
    case CLASS_MAC:
        return handle_mac(n, cmd, p);
    case CLASS_VLAN:
        return handle_vlan(n, cmd, p);
    case CLASS_ANNOUNCE:
        return handle_announce(n, cmd);
    case CLASS_OFFLOADS:
        return handle_offloads(n, cmd, p);
    default:
        return false;
    }
}

void virtio_net_handle_control(VirtIODevice *vdev, VirtQueue *vq)
{
    VirtIONet *n = VIRTIO_NET(vdev);
    VirtQueueElement *elem;

    while ((elem = virtqueue_pop(vq, sizeof(*elem)))) {
        g_autofree VirtQueueElement *owned = elem;
        size_t len = MIN(iov_size(elem->out_sg, elem->out_num), COMMAND_MAX);
        g_autofree uint8_t *command = g_malloc(len);
        uint8_t ack;

        if (!elem->in_num || len < 2) {
            virtio_error(vdev, "virtio-net ctrl missing headers");
            virtqueue_detach(vq, elem);
            return;
        }
        iov_to_buf(elem->out_sg, elem->out_num, 0, command, len);
        ack = handle_command(n, (Payload){command, len}) ? ACK_OK : ACK_ERR;
        iov_from_buf(elem->in_sg, elem->in_num, 0, &ack, sizeof(ack));
        virtqueue_push(vq, elem, sizeof(ack));
        virtio_notify(vq);
    }
    net_backend_flush(n->nb); /* the filter may let waiting frames pass now */
}
