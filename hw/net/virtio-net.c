/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-net: frames between the driver's rings and a network back end, without offloads. Control
 * commands are in virtio-net-control.c, the stream in virtio-net-vmstate.c.
 */
#include "util/osdep.h"
#include "virtio-net.h"
#include "util/iov.h"

#define CTRL_QUEUE_SIZE 64
#define MAX_HEADER      12 /* the last two bytes count the merged buffers */
#define LEGACY_HEADER   10
#define NUM_BUFFERS_AT  10
#define FRAME_MAX       (64 * 1024 + MAX_HEADER)
#define ETHERTYPE_VLAN  0x8100
#define ETHERTYPE_RARP  0x8035

typedef VirtIODeviceClass VirtIONetClass;
GType virtio_net_get_type(void);
G_DEFINE_TYPE(VirtIONet, virtio_net, TYPE_VIRTIO_DEVICE)
DEVICE_TYPE_REGISTER("virtio-net-device", virtio_net_get_type)

/* ---- guest to network ---- */

/* The frame of an element without its header, gathered in @out; number of vectors, 0 if it is
 * malformed. */
static unsigned frame_of(VirtIONet *n, VirtQueueElement *elem, struct iovec *out)
{
    size_t skip = n->header_len;
    unsigned count = 0;

    for (unsigned i = 0; i < elem->out_num; i++) {
        struct iovec v = elem->out_sg[i];
        size_t cut = MIN(skip, v.iov_len);

        skip -= cut;
        v.iov_base = (uint8_t *)v.iov_base + cut;
        v.iov_len -= cut;
        if (v.iov_len) {
            out[count++] = v;
        }
    }
    return skip ? 0 : count;
}

/* At most one ring full, so that a guest that keeps adding cannot hold the big lock. */
static void send_frames(VirtIONet *n)
{
    VirtIODevice *vdev = &n->parent;
    VirtQueue *vq = n->tx;
    struct iovec iov[VIRTQUEUE_MAX_SIZE];
    unsigned sent;

    for (sent = 0; sent < vq->num; sent++) {
        g_autofree VirtQueueElement *elem = virtqueue_pop(vq, sizeof(*elem));
        unsigned count;

        if (!elem) {
            break;
        }
        count = frame_of(n, elem, iov);
        if (!elem->out_num || iov_size(elem->out_sg, elem->out_num) < n->header_len) {
            virtio_error(vdev, "virtio-net header not in first element");
            virtqueue_detach(vq, elem);
            return;
        }
        if (count && iov_size(iov, count) <= FRAME_MAX) {
            net_backend_send(n->nb, iov, count);
        }
        virtqueue_push(vq, elem, 0);
    }
    if (sent) {
        virtio_notify(vq);
    }
}

static void transmit(VirtIONet *n)
{
    virtqueue_set_notification(n->tx, false);
    n->tx_waiting = 0;
    send_frames(n);
    virtqueue_set_notification(n->tx, true);
    if (!virtqueue_empty(n->tx)) {
        n->tx_waiting = 1;
        g_source_set_ready_time(n->tx_source, 0);
    }
}

static void handle_tx(VirtIODevice *vdev, VirtQueue *vq)
{
    VirtIONet *n = VIRTIO_NET(vdev);

    if (virtio_driver_ok(vdev)) {
        transmit(n);
    } else {
        n->tx_waiting = 1;
    }
}

static gboolean dispatch_tx(GSource *source, GSourceFunc fn, gpointer opaque)
{
    VirtIONet *n = opaque;

    g_source_set_ready_time(source, -1);
    if (n->tx_waiting && virtio_driver_ok(&n->parent)) {
        transmit(n);
    }
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs tx_source_funcs = {.dispatch = dispatch_tx};

/* ---- network to guest ---- */

static bool in_table(const VirtIONet *n, const uint8_t *addr, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        if (!memcmp(addr, n->mac_table.macs[i], ETH_ALEN)) {
            return true;
        }
    }
    return false;
}

static bool wanted(const VirtIONet *n, const uint8_t *frame, size_t len)
{
    static const uint8_t broadcast[ETH_ALEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

    if (n->promisc) {
        return true;
    }
    if (len >= 16 && frame[12] == ETHERTYPE_VLAN >> 8 && frame[13] == (ETHERTYPE_VLAN & 0xff)) {
        unsigned vid = (frame[14] << 8 | frame[15]) & (VLAN_MAX - 1);

        if (!(n->vlans[vid / 32] >> (vid % 32) & 1)) {
            return false;
        }
    }
    if (frame[0] & 1) {
        if (!memcmp(frame, broadcast, ETH_ALEN)) {
            return !n->nobcast;
        }
        return !n->nomulti && (n->allmulti || n->mac_table.multi_overflow ||
                               in_table(n, frame, n->mac_table.first_multi, n->mac_table.in_use));
    }
    return !n->nouni &&
           (n->alluni || n->mac_table.uni_overflow || !memcmp(frame, n->mac, ETH_ALEN) ||
            in_table(n, frame, 0, n->mac_table.first_multi));
}

/* The buffers one frame goes into. */
typedef struct {
    unsigned count;
    VirtQueueElement *elems[VIRTQUEUE_MAX_SIZE];
    uint32_t lens[VIRTQUEUE_MAX_SIZE];
} RxBuffers;

static void give_back(VirtIONet *n, RxBuffers *b)
{
    while (b->count) {
        VirtQueueElement *elem = b->elems[--b->count];

        virtqueue_unpop(n->rx, elem);
        g_free(elem);
    }
}

/* Copy header and frame into as many buffers as needed. False: not enough of them (all are given
 * back). */
static bool fill_buffers(VirtIONet *n, RxBuffers *b, const uint8_t *frame, size_t len)
{
    uint8_t header[MAX_HEADER] = {0};
    size_t done = 0;

    do {
        VirtQueueElement *elem = virtqueue_pop(n->rx, sizeof(*elem));
        size_t at = 0, put;

        if (!elem) {
            give_back(n, b);
            return false;
        }
        b->elems[b->count] = elem;
        b->count++;
        if (!elem->in_num) {
            virtio_error(&n->parent, "virtio-net receive queue contains no in buffers");
            give_back(n, b);
            return false;
        }
        if (b->count == 1) {
            at = iov_from_buf(elem->in_sg, elem->in_num, 0, header, n->header_len);
            if (at < n->header_len) {
                virtio_error(&n->parent, "virtio-net receive buffer is shorter than its header");
                give_back(n, b);
                return false;
            }
        }
        put = iov_from_buf(elem->in_sg, elem->in_num, at, frame + done, len - done);
        b->lens[b->count - 1] = at + put;
        done += put;
    } while (done < len && n->mergeable && b->count < n->rx->num);
    if (done < len) { /* the driver's buffers are too small for this frame: drop it */
        give_back(n, b);
    }
    return true;
}

static void publish(VirtIONet *n, RxBuffers *b)
{
    if (!b->count) {
        return;
    }
    if (n->header_len == MAX_HEADER) {
        uint16_t count = GUINT16_TO_LE(b->count);

        iov_from_buf(b->elems[0]->in_sg, b->elems[0]->in_num, NUM_BUFFERS_AT, &count,
                     sizeof(count));
    }
    for (unsigned i = 0; i < b->count; i++) {
        virtqueue_fill(n->rx, b->elems[i], b->lens[i], i);
        g_free(b->elems[i]);
    }
    virtqueue_flush(n->rx, b->count);
    virtio_notify(n->rx);
}

static bool net_receive(void *opaque, const struct iovec *iov, unsigned count)
{
    VirtIONet *n = opaque;
    VirtIODevice *vdev = &n->parent;
    size_t len = iov_size(iov, count);
    g_autofree uint8_t *flat = NULL;
    const uint8_t *frame = iov->iov_base;
    RxBuffers b = {.count = 0};

    if (!vdev->vm_running) {
        return false;
    }
    if (!virtio_driver_ok(vdev) || !(n->status & NET_S_LINK_UP) || len < 14) {
        return true; /* nobody there: dropped */
    }
    if (count > 1) {
        flat = g_malloc(len);
        iov_to_buf(iov, count, 0, flat, len);
        frame = flat;
    }
    if (!wanted(n, frame, len)) {
        return true;
    }
    virtqueue_set_notification(n->rx, false);
    if (!fill_buffers(n, &b, frame, len)) {
        virtqueue_set_notification(n->rx, true);
        /* The driver may have added buffers just before it was asked to notify. */
        if (vdev->broken || virtqueue_empty(n->rx) || !fill_buffers(n, &b, frame, len)) {
            return vdev->broken;
        }
    }
    publish(n, &b);
    return true;
}

static void handle_rx(VirtIODevice *vdev, VirtQueue *vq)
{
    net_backend_flush(VIRTIO_NET(vdev)->nb);
}

static void net_link_changed(void *opaque, bool up)
{
    VirtIONet *n = opaque;
    uint16_t status = up ? n->status | NET_S_LINK_UP : n->status & ~NET_S_LINK_UP;

    if (status != n->status) {
        n->status = status;
        virtio_notify_config(&n->parent);
    }
}

/* A reverse ARP request with our own address: switches learn where we are. */
static void send_rarp(VirtIONet *n)
{
    uint8_t frame[60] = {[12] = ETHERTYPE_RARP >> 8,
                         [13] = ETHERTYPE_RARP & 0xff,
                         [15] = 1,
                         [16] = 0x08,
                         [18] = ETH_ALEN,
                         [19] = 4,
                         [21] = 3};
    struct iovec iov = {frame, sizeof(frame)};

    memset(frame, 0xff, ETH_ALEN);
    memcpy(frame + 6, n->mac, ETH_ALEN);
    memcpy(frame + 22, n->mac, ETH_ALEN); /* sender */
    memcpy(frame + 32, n->mac, ETH_ALEN); /* target */
    net_backend_send(n->nb, &iov, 1);
}

static void net_announce(void *opaque)
{
    VirtIONet *n = opaque;

    send_rarp(n);
    if (virtio_has_feature(&n->parent, NET_F_GUEST_ANNOUNCE) &&
        virtio_has_feature(&n->parent, NET_F_CTRL_VQ)) {
        n->status |= NET_S_ANNOUNCE; /* until the driver acknowledges */
        virtio_notify_config(&n->parent);
    }
}

static const NetPeer net_peer = {
    .receive = net_receive,
    .link_changed = net_link_changed,
    .announce = net_announce,
};

/* ---- the device ---- */

static void net_get_config(VirtIODevice *vdev, uint8_t *config)
{
    VirtIONet *n = VIRTIO_NET(vdev);
    uint16_t status = GUINT16_TO_LE(n->status);

    memcpy(config, n->mac, ETH_ALEN);
    memcpy(config + ETH_ALEN, &status, sizeof(status));
}

static void net_set_config(VirtIODevice *vdev, const uint8_t *config)
{
    if (!virtio_has_feature(vdev, NET_F_CTRL_MAC_ADDR) && !virtio_is_modern(vdev)) {
        memcpy(VIRTIO_NET(vdev)->mac, config, ETH_ALEN);
    }
}

static void update_header(VirtIONet *n)
{
    n->mergeable = virtio_has_feature(&n->parent, NET_F_MRG_RXBUF);
    n->header_len = n->mergeable || virtio_is_modern(&n->parent) ? MAX_HEADER : LEGACY_HEADER;
}

static void net_set_features(VirtIODevice *vdev, uint64_t features)
{
    VirtIONet *n = VIRTIO_NET(vdev);

    update_header(n);
    memset(n->vlans, virtio_has_feature(vdev, NET_F_CTRL_VLAN) ? 0 : 0xff, sizeof(n->vlans));
}

static void net_reset(VirtIODevice *vdev)
{
    VirtIONet *n = VIRTIO_NET(vdev);

    n->promisc = 1;
    n->allmulti = n->alluni = n->nomulti = n->nouni = n->nobcast = 0;
    memset(&n->mac_table, 0, sizeof(n->mac_table));
    memset(n->vlans, 0xff, sizeof(n->vlans));
    memcpy(n->mac, n->default_mac, ETH_ALEN);
    n->status = net_backend_link_up(n->nb) ? NET_S_LINK_UP : 0;
    n->tx_waiting = 0;
    n->curr_guest_offloads = 0;
    n->mergeable = false;
    n->header_len = LEGACY_HEADER;
    net_backend_purge(n->nb);
}

static void net_set_status(VirtIODevice *vdev, uint8_t status)
{
    VirtIONet *n = VIRTIO_NET(vdev);
    bool was = vdev->status & VIRTIO_STATUS_DRIVER_OK;

    if ((status & VIRTIO_STATUS_DRIVER_OK) && !was && n->tx_waiting) {
        g_source_set_ready_time(n->tx_source, 0);
    }
}

static void net_running_changed(VirtIODevice *vdev)
{
    VirtIONet *n = VIRTIO_NET(vdev);

    if (!vdev->vm_running) {
        return;
    }
    if (n->tx_waiting) {
        g_source_set_ready_time(n->tx_source, 0);
    }
    net_backend_flush(n->nb); /* what arrived while the VM was stopped */
}

static bool net_post_load(VirtIODevice *vdev, GError **errp)
{
    update_header(VIRTIO_NET(vdev));
    return true;
}

static bool parse_mac(VirtIONet *n, GError **errp)
{
    static const uint8_t base[ETH_ALEN] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
    const char *p = n->mac_text;

    memcpy(n->default_mac, base, ETH_ALEN);
    if (!p) {
        /* Several cards get consecutive addresses. */
        GPtrArray *devices = device_machine(&n->parent.parent)->devices;

        for (guint i = 0; i < devices->len; i++) {
            n->default_mac[5] +=
                G_TYPE_CHECK_INSTANCE_TYPE(devices->pdata[i], virtio_net_get_type());
        }
        return true;
    }
    for (unsigned i = 0; i < ETH_ALEN; i++, p += 3) {
        bool last = i == ETH_ALEN - 1;

        if (!g_ascii_isxdigit(p[0]) || !g_ascii_isxdigit(p[1]) ||
            (last ? p[2] != '\0' : p[2] != ':' && p[2] != '-')) {
            error_setg(errp, "Property 'virtio-net-device.mac' doesn't take value '%s'",
                       n->mac_text);
            return false;
        }
        n->default_mac[i] = g_ascii_xdigit_value(p[0]) << 4 | g_ascii_xdigit_value(p[1]);
    }
    return true;
}

static bool check_queue_size(const char *prop, uint16_t size, GError **errp)
{
    if (size >= 256 && size <= VIRTQUEUE_MAX_SIZE && !(size & (size - 1))) {
        return true;
    }
    error_setg(errp, "Invalid %s (= %u), must be a power of 2 between 256 and %u", prop, size,
               VIRTQUEUE_MAX_SIZE);
    return false;
}

static bool net_realize(VirtIODevice *vdev, GError **errp)
{
    VirtIONet *n = VIRTIO_NET(vdev);
    Machine *m = device_machine(&vdev->parent);

    if (!n->netdev) {
        error_setg(errp, "Property 'virtio-net-device.netdev' is not set");
        return false;
    }
    n->nb = m->nets ? net_backend_find(m->nets, n->netdev) : NULL;
    if (!n->nb) {
        error_setg(errp, "Property 'virtio-net-device.netdev' can't find value '%s'", n->netdev);
        return false;
    }
    if (!check_queue_size("rx_queue_size", n->rx_queue_size, errp) ||
        !check_queue_size("tx_queue_size", n->tx_queue_size, errp) || !parse_mac(n, errp) ||
        !net_backend_attach(n->nb, &net_peer, n, errp)) {
        return false;
    }
    n->rx = virtio_add_queue(vdev, n->rx_queue_size, handle_rx);
    n->tx = virtio_add_queue(vdev, n->tx_queue_size, handle_tx);
    n->ctrl = virtio_add_queue(vdev, CTRL_QUEUE_SIZE, virtio_net_handle_control);
    n->tx_source = g_source_new(&tx_source_funcs, sizeof(GSource));
    g_source_set_callback(n->tx_source, NULL, n, NULL);
    g_source_attach(n->tx_source, NULL);
    vdev->config_len = ETH_ALEN + sizeof(uint16_t);
    net_reset(vdev);
    return true;
}

static void net_unrealize(VirtIODevice *vdev)
{
    VirtIONet *n = VIRTIO_NET(vdev);

    g_source_destroy(n->tx_source);
    g_clear_pointer(&n->tx_source, g_source_unref);
    net_backend_detach(n->nb);
    n->nb = NULL;
}

VIRTIO_VMSD(vmstate_virtio_net, "virtio-net", 11);

static const DeviceProperty net_props[] = {
    DEVICE_PROP_STRING("netdev", VirtIONet, netdev, "id of the network back end"),
    DEVICE_PROP_STRING("mac", VirtIONet, mac_text, "address, such as 52:54:00:12:34:56"),
    DEVICE_PROP_UINT16("rx_queue_size", VirtIONet, rx_queue_size, 256, "entries"),
    DEVICE_PROP_UINT16("tx_queue_size", VirtIONet, tx_queue_size, 256, "entries"),
    DEVICE_PROP_INT32("bootindex", VirtIONet, bootindex, -1, "boot order"),
    VIRTIO_FEATURE_PROP("mrg_rxbuf", NET_F_MRG_RXBUF, "merged receive buffers"),
    VIRTIO_FEATURE_PROP("status", NET_F_STATUS, "link status"),
    VIRTIO_FEATURE_PROP("gso", NET_F_GSO, "legacy offload bit"),
    VIRTIO_FEATURE_PROP("ctrl_vq", NET_F_CTRL_VQ, "control queue"),
    VIRTIO_FEATURE_PROP("ctrl_rx", NET_F_CTRL_RX, "receive modes"),
    VIRTIO_FEATURE_PROP("ctrl_rx_extra", NET_F_CTRL_RX_EXTRA, "more receive modes"),
    VIRTIO_FEATURE_PROP("ctrl_vlan", NET_F_CTRL_VLAN, "VLAN filter"),
    VIRTIO_FEATURE_PROP("ctrl_mac_addr", NET_F_CTRL_MAC_ADDR, "address set by command"),
    VIRTIO_FEATURE_PROP("ctrl_guest_offloads", NET_F_CTRL_GUEST_OFFLOADS, "offload command"),
    VIRTIO_FEATURE_PROP("guest_announce", NET_F_GUEST_ANNOUNCE, "the guest announces itself"),
    {},
};

static uint64_t net_get_features(VirtIODevice *vdev, uint64_t features)
{
    return features | 1ULL << NET_F_MAC;
}

static void virtio_net_init(VirtIONet *n)
{
}

static void virtio_net_class_init(VirtIONetClass *k)
{
    DeviceStateClass *dc = &k->parent_class;

    device_class_set_props(dc, net_props);
    dc->desc = "virtio network card";
    dc->user_creatable = true;
    dc->vmsd = &vmstate_virtio_net;
    k->device_id = VIRTIO_ID_NET;
    k->legacy_features = 1ULL << NET_F_GSO;
    k->realize_device = net_realize;
    k->unrealize_device = net_unrealize;
    k->get_features = net_get_features;
    k->set_features = net_set_features;
    k->get_config = net_get_config;
    k->set_config = net_set_config;
    k->reset_device = net_reset;
    k->set_status = net_set_status;
    k->running_changed = net_running_changed;
    k->save_device = virtio_net_save;
    k->load_device = virtio_net_load;
    k->post_load = net_post_load;
}
