/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Split rings: walking descriptors the guest wrote, and handing used ones back.
 *
 * The three areas of a ring are looked up in guest RAM once, when the driver sets them; after that
 * an index is a plain load or store plus a dirty mark. Every value read from the guest is checked
 * before it is used, and read only once, so a guest that changes it meanwhile gains nothing.
 */
#include "util/osdep.h"
#include "hw/virtio.h"
#include "memory/dirty-log.h"

enum { DESC_F_NEXT = 1, DESC_F_WRITE = 2, DESC_F_INDIRECT = 4 };
enum { AVAIL_F_NO_INTERRUPT = 1, USED_F_NO_NOTIFY = 1 };

typedef struct {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
} VRingDesc;

/* Byte offsets inside the areas. */
#define RING_FLAGS         0
#define RING_IDX           2
#define RING_ENTRIES       4
#define AVAIL_SIZE         2
#define USED_SIZE          8
#define AVAIL_EVENT_OFF(n) (RING_ENTRIES + USED_SIZE * (n))  /* in the used area */
#define USED_EVENT_OFF(n)  (RING_ENTRIES + AVAIL_SIZE * (n)) /* in the available area */

static uint16_t area_load16(const VRingArea *area, uint64_t off)
{
    return GUINT16_FROM_LE(__atomic_load_n((uint16_t *)(area->host + off), __ATOMIC_ACQUIRE));
}

static void area_store16(const VRingArea *area, uint64_t off, uint16_t value)
{
    __atomic_store_n((uint16_t *)(area->host + off), GUINT16_TO_LE(value), __ATOMIC_RELEASE);
    dirty_log_mark(area->block, area->offset + off, sizeof(value));
}

static bool area_map(VirtIODevice *vdev, VRingArea *area, uint64_t addr, uint64_t size, bool write)
{
    uint64_t len = size;
    void *host = address_space_map(vdev->as, addr, &len, write);

    *area = (VRingArea){0};
    if (!host) {
        return false;
    }
    address_space_unmap(vdev->as, host, 0, false);
    if (len < size) {
        return false;
    }
    area->block = ram_block_from_host(address_space_ram(vdev->as), host, &area->offset);
    area->host = area->block ? host : NULL;
    return area->host;
}

void virtqueue_init(VirtQueue *vq, VirtIODevice *vdev, unsigned index)
{
    *vq =
        (VirtQueue){.vdev = vdev, .index = index, .notification = true, .vector = VIRTIO_NO_VECTOR};
}

void virtqueue_unmap(VirtQueue *vq)
{
    vq->desc_map = vq->avail_map = vq->used_map = (VRingArea){0};
}

void virtqueue_reset(VirtQueue *vq)
{
    virtqueue_unmap(vq);
    vq->num = vq->default_num;
    vq->desc = vq->avail = vq->used = 0;
    vq->last_avail_idx = vq->shadow_avail_idx = vq->used_idx = 0;
    vq->signalled_used = 0;
    vq->signalled_used_valid = false;
    vq->notification = true;
    vq->inuse = 0;
}

void virtqueue_legacy_layout(VirtQueue *vq)
{
    if (!vq->num || !vq->desc || !vq->align) {
        vq->avail = vq->used = 0;
        return;
    }
    vq->avail = vq->desc + vq->num * sizeof(VRingDesc);
    vq->used = ROUND_UP(vq->avail + RING_ENTRIES + AVAIL_SIZE * (uint64_t)vq->num, vq->align);
}

void virtqueue_map(VirtQueue *vq)
{
    VirtIODevice *vdev = vq->vdev;
    uint64_t event = virtio_has_feature(vdev, VIRTIO_F_EVENT_IDX) ? 2 : 0;

    virtqueue_unmap(vq);
    if (!vq->num || !vq->desc) {
        return;
    }
    /* Indices are accessed with aligned atomics: a guest that misaligns its rings is refused here.
     */
    if (vq->desc % 2 || vq->avail % 2 || vq->used % 4) {
        virtio_error(vdev, "queue %u: the rings are not aligned", vq->index);
    } else if (!area_map(vdev, &vq->desc_map, vq->desc, vq->num * sizeof(VRingDesc), false)) {
        virtio_error(vdev, "Cannot map desc");
    } else if (!area_map(vdev, &vq->used_map, vq->used, AVAIL_EVENT_OFF((uint64_t)vq->num) + event,
                         true)) {
        virtio_error(vdev, "Cannot map used");
    } else if (!area_map(vdev, &vq->avail_map, vq->avail, USED_EVENT_OFF((uint64_t)vq->num) + event,
                         false)) {
        virtio_error(vdev, "Cannot map avail");
    } else {
        return;
    }
    virtqueue_unmap(vq);
}

bool virtqueue_ready(const VirtQueue *vq)
{
    return vq->avail_map.host != NULL;
}

uint16_t virtqueue_guest_used_idx(VirtQueue *vq)
{
    return area_load16(&vq->used_map, RING_IDX);
}

uint16_t virtqueue_guest_avail_idx(VirtQueue *vq)
{
    return area_load16(&vq->avail_map, RING_IDX);
}

bool virtqueue_empty(VirtQueue *vq)
{
    if (vq->vdev->broken || !virtqueue_ready(vq)) {
        return true;
    }
    if (vq->shadow_avail_idx != vq->last_avail_idx) {
        return false;
    }
    vq->shadow_avail_idx = virtqueue_guest_avail_idx(vq);
    return vq->shadow_avail_idx == vq->last_avail_idx;
}

static void set_avail_event(VirtQueue *vq, uint16_t value)
{
    if (vq->notification) {
        area_store16(&vq->used_map, AVAIL_EVENT_OFF(vq->num), value);
    }
}

void virtqueue_set_notification(VirtQueue *vq, bool enable)
{
    vq->notification = enable;
    if (vq->vdev->broken || !virtqueue_ready(vq)) {
        return;
    }
    if (virtio_has_feature(vq->vdev, VIRTIO_F_EVENT_IDX)) {
        set_avail_event(vq, virtqueue_guest_avail_idx(vq));
    } else {
        uint16_t flags = area_load16(&vq->used_map, RING_FLAGS);

        area_store16(&vq->used_map, RING_FLAGS,
                     enable ? flags & ~USED_F_NO_NOTIFY : flags | USED_F_NO_NOTIFY);
    }
    if (enable) {
        /* The driver must see this before we look at the ring once more. */
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    }
}

/* ---- descriptor chains ---- */

/* The segments of one chain while it is being collected. */
typedef struct {
    VirtIODevice *vdev;
    unsigned out_num, in_num;
    hwaddr addr[VIRTQUEUE_MAX_SIZE];
    struct iovec iov[VIRTQUEUE_MAX_SIZE];
} Chain;

static void chain_unmap(Chain *c)
{
    for (unsigned i = 0; i < c->out_num + c->in_num; i++) {
        address_space_unmap(c->vdev->as, c->iov[i].iov_base, 0, false);
    }
    c->out_num = c->in_num = 0;
}

/* Add one descriptor's buffer; it may cross RAM ranges and become several segments. */
static bool chain_add(Chain *c, uint64_t addr, uint64_t len, bool in)
{
    if (!len) {
        virtio_error(c->vdev, "virtio: zero sized buffers are not allowed");
        return false;
    }
    while (len) {
        unsigned n = c->out_num + c->in_num;
        uint64_t part = len;
        void *host;

        if (n == VIRTQUEUE_MAX_SIZE) {
            virtio_error(c->vdev, "virtio: too many write descriptors in indirect table");
            return false;
        }
        host = address_space_map(c->vdev->as, addr, &part, in);
        if (!host || !part) {
            virtio_error(c->vdev, "virtio: bogus descriptor or out of resources");
            return false;
        }
        c->iov[n] = (struct iovec){host, part};
        c->addr[n] = addr;
        *(in ? &c->in_num : &c->out_num) += 1;
        addr += part;
        len -= part;
    }
    return true;
}

static VRingDesc desc_read(const uint8_t *table, unsigned i)
{
    VRingDesc d;

    memcpy(&d, table + i * sizeof(d), sizeof(d));
    d.addr = GUINT64_FROM_LE(d.addr);
    d.len = GUINT32_FROM_LE(d.len);
    d.flags = GUINT16_FROM_LE(d.flags);
    d.next = GUINT16_FROM_LE(d.next);
    return d;
}

/* Follow the chain that starts at @i of a table of @max descriptors. */
static bool chain_walk(Chain *c, const uint8_t *table, unsigned max, unsigned i)
{
    for (unsigned seen = 0;; seen++) {
        VRingDesc d;
        bool in;

        if (seen == max) {
            virtio_error(c->vdev, "Looped descriptor");
            return false;
        }
        d = desc_read(table, i);
        if (d.flags & DESC_F_INDIRECT) {
            virtio_error(c->vdev, "Invalid size for indirect buffer table");
            return false;
        }
        in = d.flags & DESC_F_WRITE;
        if (!in && c->in_num) {
            virtio_error(c->vdev, "Incorrect order for descriptors");
            return false;
        }
        if (!chain_add(c, d.addr, d.len, in)) {
            return false;
        }
        if (!(d.flags & DESC_F_NEXT)) {
            return true;
        }
        if (d.next >= max) {
            virtio_error(c->vdev, "Desc next is %u", d.next);
            return false;
        }
        i = d.next;
    }
}

static bool chain_collect(Chain *c, VirtQueue *vq, unsigned head)
{
    VRingDesc d = desc_read(vq->desc_map.host, head);
    uint64_t len;
    void *table;
    bool ok;

    if (!(d.flags & DESC_F_INDIRECT)) {
        return chain_walk(c, vq->desc_map.host, vq->num, head);
    }
    if (!d.len || d.len % sizeof(VRingDesc)) {
        virtio_error(c->vdev, "Invalid size for indirect buffer table");
        return false;
    }
    len = d.len;
    table = address_space_map(c->vdev->as, d.addr, &len, false);
    if (!table || len < d.len) {
        if (table) {
            address_space_unmap(c->vdev->as, table, 0, false);
        }
        virtio_error(c->vdev, "Cannot map indirect buffer");
        return false;
    }
    ok = chain_walk(c, table, d.len / sizeof(VRingDesc), 0);
    address_space_unmap(c->vdev->as, table, 0, false);
    return ok;
}

/* @size bytes for the device, then the arrays; the element is the first member. */
static VirtQueueElement *element_new(size_t size, unsigned out_num, unsigned in_num)
{
    size_t head = ROUND_UP(size, sizeof(struct iovec));
    size_t n = out_num + in_num;
    uint8_t *mem = g_malloc(head + n * (sizeof(struct iovec) + sizeof(hwaddr)));
    VirtQueueElement *elem = (VirtQueueElement *)mem;

    memset(mem, 0, size);
    elem->out_num = out_num;
    elem->in_num = in_num;
    elem->out_sg = (struct iovec *)(mem + head);
    elem->in_sg = elem->out_sg + out_num;
    elem->out_addr = (hwaddr *)(elem->out_sg + n);
    elem->in_addr = elem->out_addr + out_num;
    return elem;
}

void *virtqueue_pop(VirtQueue *vq, size_t size)
{
    VirtIODevice *vdev = vq->vdev;
    VirtQueueElement *elem;
    unsigned head, n;
    Chain c;

    if (virtqueue_empty(vq)) {
        return NULL;
    }
    if ((uint16_t)(vq->shadow_avail_idx - vq->last_avail_idx) > vq->num) {
        virtio_error(vdev, "Guest moved used index from %u to %u", vq->last_avail_idx,
                     vq->shadow_avail_idx);
        return NULL;
    }
    if (vq->inuse >= vq->num) {
        virtio_error(vdev, "Virtqueue size exceeded");
        return NULL;
    }
    head = area_load16(&vq->avail_map, RING_ENTRIES + AVAIL_SIZE * (vq->last_avail_idx % vq->num));
    if (head >= vq->num) {
        virtio_error(vdev, "Guest says index %u is available", head);
        return NULL;
    }
    c.vdev = vdev;
    c.out_num = c.in_num = 0;
    if (!chain_collect(&c, vq, head)) {
        chain_unmap(&c);
        return NULL;
    }
    vq->last_avail_idx++;
    vq->inuse++;
    if (virtio_has_feature(vdev, VIRTIO_F_EVENT_IDX)) {
        set_avail_event(vq, vq->last_avail_idx);
    }
    elem = element_new(size, c.out_num, c.in_num);
    elem->index = head;
    n = c.out_num + c.in_num;
    memcpy(elem->out_sg, c.iov, n * sizeof(c.iov[0]));
    memcpy(elem->out_addr, c.addr, n * sizeof(c.addr[0]));
    return elem;
}

/* Unmap; the first @written bytes of the in segments were written. */
static void element_unmap(VirtQueue *vq, VirtQueueElement *elem, uint64_t written)
{
    AddressSpace *as = vq->vdev->as;

    for (unsigned i = 0; i < elem->in_num; i++) {
        uint64_t part = MIN(written, elem->in_sg[i].iov_len);

        address_space_unmap(as, elem->in_sg[i].iov_base, part, part > 0);
        written -= part;
    }
    for (unsigned i = 0; i < elem->out_num; i++) {
        address_space_unmap(as, elem->out_sg[i].iov_base, 0, false);
    }
}

void virtqueue_detach(VirtQueue *vq, VirtQueueElement *elem)
{
    element_unmap(vq, elem, 0);
    if (vq->inuse) {
        vq->inuse--;
    }
}

void virtqueue_unpop(VirtQueue *vq, VirtQueueElement *elem)
{
    vq->last_avail_idx--;
    virtqueue_detach(vq, elem);
}

void virtqueue_fill(VirtQueue *vq, VirtQueueElement *elem, uint32_t len, unsigned idx)
{
    uint32_t *entry;
    uint64_t off;

    element_unmap(vq, elem, len);
    if (vq->vdev->broken || !virtqueue_ready(vq)) {
        return;
    }
    off = RING_ENTRIES + USED_SIZE * ((uint16_t)(vq->used_idx + idx) % vq->num);
    entry = (uint32_t *)(vq->used_map.host + off);
    __atomic_store_n(&entry[0], GUINT32_TO_LE(elem->index), __ATOMIC_RELAXED);
    __atomic_store_n(&entry[1], GUINT32_TO_LE(len), __ATOMIC_RELAXED);
    dirty_log_mark(vq->used_map.block, vq->used_map.offset + off, USED_SIZE);
}

void virtqueue_flush(VirtQueue *vq, unsigned count)
{
    uint16_t old = vq->used_idx;

    vq->inuse -= MIN(vq->inuse, count);
    if (vq->vdev->broken || !virtqueue_ready(vq)) {
        return;
    }
    vq->used_idx += count;
    area_store16(&vq->used_map, RING_IDX, vq->used_idx);
    if ((uint16_t)(vq->used_idx - vq->signalled_used) < (uint16_t)(vq->used_idx - old)) {
        vq->signalled_used_valid = false; /* it wrapped */
    }
}

void virtqueue_push(VirtQueue *vq, VirtQueueElement *elem, uint32_t len)
{
    virtqueue_fill(vq, elem, len, 0);
    virtqueue_flush(vq, 1);
}

static bool driver_wants_interrupt(VirtQueue *vq)
{
    VirtIODevice *vdev = vq->vdev;
    uint16_t old, event;
    bool valid;

    /* The used index must be visible before the driver's wish is read. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (virtio_has_feature(vdev, VIRTIO_F_NOTIFY_ON_EMPTY) && !vq->inuse && virtqueue_empty(vq)) {
        return true;
    }
    if (!virtio_has_feature(vdev, VIRTIO_F_EVENT_IDX)) {
        return !(area_load16(&vq->avail_map, RING_FLAGS) & AVAIL_F_NO_INTERRUPT);
    }
    valid = vq->signalled_used_valid;
    old = vq->signalled_used;
    vq->signalled_used = vq->used_idx;
    vq->signalled_used_valid = true;
    event = area_load16(&vq->avail_map, USED_EVENT_OFF(vq->num));
    return !valid || (uint16_t)(vq->used_idx - event - 1) < (uint16_t)(vq->used_idx - old);
}

bool virtqueue_wants_interrupt(VirtQueue *vq)
{
    return !vq->vdev->broken && virtqueue_ready(vq) && driver_wants_interrupt(vq);
}

/* ---- parked requests on the wire ---- */

#define WIRE_ELEMENT_SIZE (16 + VIRTQUEUE_MAX_SIZE * (2 * 8 + 2 * 16))
#define WIRE_IN_ADDR      16
#define WIRE_OUT_ADDR     (WIRE_IN_ADDR + VIRTQUEUE_MAX_SIZE * 8)
#define WIRE_IN_SG        (WIRE_OUT_ADDR + VIRTQUEUE_MAX_SIZE * 8)
#define WIRE_OUT_SG       (WIRE_IN_SG + VIRTQUEUE_MAX_SIZE * 16)
G_STATIC_ASSERT(WIRE_ELEMENT_SIZE == 49168);

static void wire_put32(uint8_t *p, uint32_t v)
{
    v = GUINT32_TO_LE(v);
    memcpy(p, &v, sizeof(v));
}

static void wire_put64(uint8_t *p, uint64_t v)
{
    v = GUINT64_TO_LE(v);
    memcpy(p, &v, sizeof(v));
}

static uint32_t wire_get32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return GUINT32_FROM_LE(v);
}

static uint64_t wire_get64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return GUINT64_FROM_LE(v);
}

void virtqueue_element_save(QEMUFile *f, const VirtQueueElement *elem)
{
    g_autofree uint8_t *wire = g_malloc0(WIRE_ELEMENT_SIZE);

    wire_put32(wire, elem->index);
    wire_put32(wire + 4, elem->out_num);
    wire_put32(wire + 8, elem->in_num);
    for (unsigned i = 0; i < elem->in_num; i++) {
        wire_put64(wire + WIRE_IN_ADDR + 8 * i, elem->in_addr[i]);
        wire_put64(wire + WIRE_IN_SG + 16 * i + 8, elem->in_sg[i].iov_len);
    }
    for (unsigned i = 0; i < elem->out_num; i++) {
        wire_put64(wire + WIRE_OUT_ADDR + 8 * i, elem->out_addr[i]);
        wire_put64(wire + WIRE_OUT_SG + 16 * i + 8, elem->out_sg[i].iov_len);
    }
    qemu_put_buffer(f, wire, WIRE_ELEMENT_SIZE);
}

/* Fill @iov and @addr from the wire arrays and map each segment whole. */
static unsigned wire_map(VirtQueue *vq, const uint8_t *addrs, const uint8_t *sgs, unsigned n,
                         struct iovec *iov, hwaddr *addr, bool in)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        uint64_t want = wire_get64(sgs + 16 * i + 8), len = want;
        void *host = NULL;

        addr[i] = wire_get64(addrs + 8 * i);
        if (want && want <= UINT32_MAX) {
            host = address_space_map(vq->vdev->as, addr[i], &len, in);
        }
        if (!host) {
            break;
        }
        if (len < want) {
            address_space_unmap(vq->vdev->as, host, 0, false);
            break;
        }
        iov[i] = (struct iovec){host, want};
    }
    return i;
}

void *virtqueue_element_load(VirtQueue *vq, QEMUFile *f, size_t size, GError **errp)
{
    g_autofree uint8_t *wire = g_malloc(WIRE_ELEMENT_SIZE);
    VirtQueueElement *elem;
    uint32_t index, out_num, in_num;
    unsigned got_in, got_out;

    if (!qemu_get_buffer(f, wire, WIRE_ELEMENT_SIZE)) {
        qemu_file_check(f, errp);
        return NULL;
    }
    index = wire_get32(wire);
    out_num = wire_get32(wire + 4);
    in_num = wire_get32(wire + 8);
    if (index >= vq->num || out_num > VIRTQUEUE_MAX_SIZE || in_num > VIRTQUEUE_MAX_SIZE) {
        error_setg(errp,
                   "queue %u: parked request has index %u of %u and %u + %u segments "
                   "(at most %u each); the stream is corrupt",
                   vq->index, index, vq->num, out_num, in_num, VIRTQUEUE_MAX_SIZE);
        return NULL;
    }
    elem = element_new(size, out_num, in_num);
    elem->index = index;
    got_out = wire_map(vq, wire + WIRE_OUT_ADDR, wire + WIRE_OUT_SG, out_num, elem->out_sg,
                       elem->out_addr, false);
    got_in = wire_map(vq, wire + WIRE_IN_ADDR, wire + WIRE_IN_SG, in_num, elem->in_sg,
                      elem->in_addr, true);
    if (got_out < out_num || got_in < in_num) {
        elem->out_num = got_out;
        elem->in_num = got_in;
        element_unmap(vq, elem, 0);
        g_free(elem);
        error_setg(errp, "queue %u: a segment of a parked request is not in guest RAM", vq->index);
        return NULL;
    }
    return elem;
}
