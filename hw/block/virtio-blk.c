/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk: a raw image as a disk. Requests go to the block layer's workers straight from and to
 * guest memory.
 *
 * A request that fails and is to stop the VM (rerror/werror=stop) is parked: it travels with a
 * migration and is submitted again when the VM runs.
 */
#include "util/osdep.h"
#include "backends/block.h"
#include "hw/virtio.h"
#include "util/iov.h"

enum { /* feature bits */
       BLK_F_SEG_MAX = 2,
       BLK_F_GEOMETRY = 4,
       BLK_F_RO = 5,
       BLK_F_BLK_SIZE = 6,
       BLK_F_SCSI = 7, /* legacy */
       BLK_F_FLUSH = 9,
       BLK_F_TOPOLOGY = 10,
       BLK_F_CONFIG_WCE = 11,
       BLK_F_MQ = 12,
       BLK_F_DISCARD = 13,
       BLK_F_WRITE_ZEROES = 14,
};

enum { /* request types */
       BLK_T_IN = 0,
       BLK_T_OUT = 1,
       BLK_T_FLUSH = 4,
       BLK_T_GET_ID = 8,
       BLK_T_DISCARD = 11,
       BLK_T_WRITE_ZEROES = 13,
       BLK_T_BARRIER = 0x80000000u, /* legacy flag, no effect */
};

enum { BLK_S_OK, BLK_S_IOERR, BLK_S_UNSUPP };

#define SECTOR            512
#define ID_BYTES          20
#define MAX_QUEUES        (VIRTIO_QUEUE_MAX / 2)
#define QUEUES_AUTO       UINT16_MAX
#define WZ_FLAG_UNMAP     1u
#define CONFIG_WCE_OFFSET 32
#define MAX_DISCARD       (UINT32_MAX >> 10) /* sectors: 2 TiB less one cluster */

typedef struct {
    uint64_t capacity;
    uint32_t size_max;
    uint32_t seg_max;
    uint16_t cylinders;
    uint8_t heads, sectors;
    uint32_t blk_size;
    uint8_t physical_block_exp, alignment_offset;
    uint16_t min_io_size;
    uint32_t opt_io_size;
    uint8_t wce;
    uint8_t unused;
    uint16_t num_queues;
    uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
    uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
    uint8_t write_zeroes_may_unmap;
} __attribute__((packed)) BlkConfig;
G_STATIC_ASSERT(sizeof(BlkConfig) == 57);
G_STATIC_ASSERT(offsetof(BlkConfig, wce) == CONFIG_WCE_OFFSET);

typedef struct {
    uint32_t type, ioprio;
    uint64_t sector;
} BlkHeader;

typedef struct {
    uint64_t sector;
    uint32_t num_sectors, flags;
} BlkRange;

typedef enum { ON_ERROR_REPORT, ON_ERROR_IGNORE, ON_ERROR_STOP, ON_ERROR_ENOSPC } OnError;

typedef struct BlkRequest {
    VirtQueueElement elem; /* first: virtqueue_pop() allocates the whole */
    struct VirtIOBlk *s;
    VirtQueue *vq;
    uint32_t type;
    uint64_t sector;
    const struct iovec *data; /* without header and status byte */
    unsigned ndata;
    size_t data_len;
    struct iovec *own_data; /* allocated when the header or status shares a segment with data */
    uint8_t *status;
    struct BlkRequest *next; /* parked */
} BlkRequest;

typedef struct VirtIOBlk {
    VirtIODevice parent;
    BlockBackend *blk;
    char *drive, *serial, *rerror_text, *werror_text, *write_cache;
    uint16_t num_queues, queue_size;
    uint32_t logical_block_size;
    int32_t bootindex;
    OnError rerror, werror;
    bool wce, initial_wce;
    BlkRequest *parked, **parked_tail; /* oldest first */
} VirtIOBlk;
typedef VirtIODeviceClass VirtIOBlkClass;
#define VIRTIO_BLK(vdev) ((VirtIOBlk *)(vdev))

GType virtio_blk_get_type(void);
G_DEFINE_TYPE(VirtIOBlk, virtio_blk, TYPE_VIRTIO_DEVICE)
DEVICE_TYPE_REGISTER("virtio-blk-device", virtio_blk_get_type)

static void submit(BlkRequest *req);

/* ---- the end of a request ---- */

static void request_free(BlkRequest *req)
{
    g_free(req->own_data);
    g_free(req);
}

static void complete(BlkRequest *req, uint8_t status)
{
    *req->status = status;
    virtqueue_push(req->vq, &req->elem, iov_size(req->elem.in_sg, req->elem.in_num));
    virtio_notify(req->vq);
    request_free(req);
}

static void park(BlkRequest *req)
{
    VirtIOBlk *s = req->s;

    req->next = NULL;
    *s->parked_tail = req;
    s->parked_tail = &req->next;
}

/* Of @vq, or of all queues. */
static void drop_parked(VirtIOBlk *s, VirtQueue *vq)
{
    BlkRequest **link = &s->parked;

    while (*link) {
        BlkRequest *req = *link;

        if (vq && req->vq != vq) {
            link = &req->next;
            continue;
        }
        *link = req->next;
        virtqueue_detach(req->vq, &req->elem);
        request_free(req);
    }
    s->parked_tail = link;
}

static void emit_io_error(VirtIOBlk *s, bool write, const char *action, int err)
{
    Machine *m = device_machine(&s->parent.parent);
    JsonObject *data = json_object_new();

    json_object_set_string_member(data, "device", block_name(s->blk));
    json_object_set_string_member(data, "node-name", block_node_name(s->blk));
    json_object_set_string_member(data, "operation", write ? "write" : "read");
    json_object_set_string_member(data, "action", action);
    json_object_set_boolean_member(data, "nospace", err == ENOSPC);
    json_object_set_string_member(data, "reason", g_strerror(err));
    qapi_event_emit(&m->events, "BLOCK_IO_ERROR", data);
}

/* True when the request was dealt with. */
static bool handle_error(BlkRequest *req, int err, bool write)
{
    VirtIOBlk *s = req->s;
    Machine *m = device_machine(&s->parent.parent);
    OnError policy = write ? s->werror : s->rerror;

    if (policy == ON_ERROR_ENOSPC) {
        policy = err == ENOSPC ? ON_ERROR_STOP : ON_ERROR_REPORT;
    }
    if (policy == ON_ERROR_STOP && m->requests.io_error_request) {
        park(req);
        emit_io_error(s, write, "stop", err);
        m->requests.io_error_request(m->requests.opaque);
        return true;
    }
    if (policy == ON_ERROR_IGNORE) {
        emit_io_error(s, write, "ignore", err);
        return false;
    }
    emit_io_error(s, write, "report", err);
    complete(req, BLK_S_IOERR);
    return true;
}

static void flush_done(void *opaque, int ret)
{
    BlkRequest *req = opaque;

    if (ret && handle_error(req, -ret, true)) {
        return;
    }
    complete(req, BLK_S_OK);
}

static void read_done(void *opaque, int ret)
{
    BlkRequest *req = opaque;

    if (ret && handle_error(req, -ret, false)) {
        return;
    }
    complete(req, BLK_S_OK);
}

static void write_done(void *opaque, int ret)
{
    BlkRequest *req = opaque;

    if (ret && handle_error(req, -ret, true)) {
        return;
    }
    if (req->s->wce) {
        complete(req, BLK_S_OK);
    } else {
        block_aio_flush(req->s->blk, flush_done, req);
    }
}

/* ---- taking a request apart ---- */

/*
 * @sg without @front bytes at the start and @back bytes at the end: the array itself where the cuts
 * fall between segments, else a trimmed copy.
 */
static void set_data(BlkRequest *req, struct iovec *sg, unsigned n, size_t front, size_t back)
{
    while (n && front && sg->iov_len <= front) {
        front -= sg->iov_len;
        sg++;
        n--;
    }
    while (n && back && sg[n - 1].iov_len <= back) {
        back -= sg[--n].iov_len;
    }
    if (n && (front || back)) {
        req->own_data = g_memdup2(sg, n * sizeof(*sg));
        sg = req->own_data;
        sg[0].iov_base = (uint8_t *)sg[0].iov_base + front;
        sg[0].iov_len -= front;
        sg[n - 1].iov_len -= back;
    }
    req->data = sg;
    req->ndata = n;
    req->data_len = iov_size(sg, n);
}

static bool parse(BlkRequest *req)
{
    VirtIODevice *vdev = &req->s->parent;
    VirtQueueElement *elem = &req->elem;
    struct iovec *last;
    BlkHeader header;

    if (!elem->out_num || !elem->in_num) {
        virtio_error(vdev, "virtio-blk missing headers");
        return false;
    }
    if (iov_to_buf(elem->out_sg, elem->out_num, 0, &header, sizeof(header)) != sizeof(header)) {
        virtio_error(vdev, "virtio-blk request outhdr too short");
        return false;
    }
    last = &elem->in_sg[elem->in_num - 1];
    req->status = (uint8_t *)last->iov_base + last->iov_len - 1;
    req->type = GUINT32_FROM_LE(header.type) & ~BLK_T_BARRIER;
    req->sector = GUINT64_FROM_LE(header.sector);
    if (req->type == BLK_T_IN || req->type == BLK_T_GET_ID) {
        set_data(req, elem->in_sg, elem->in_num, 0, 1);
    } else {
        set_data(req, elem->out_sg, elem->out_num, sizeof(header), 0);
    }
    return true;
}

static bool range_ok(VirtIOBlk *s, uint64_t sector, uint64_t len)
{
    uint64_t capacity = block_length(s->blk);
    uint64_t unit = s->logical_block_size / SECTOR;

    return !(len % SECTOR) && !(sector % unit) && sector <= capacity / SECTOR &&
           len <= capacity - sector * SECTOR;
}

static void submit_range(BlkRequest *req)
{
    VirtIOBlk *s = req->s;
    bool zero = req->type == BLK_T_WRITE_ZEROES;
    BlkRange range;
    uint64_t sector, bytes;
    uint32_t flags;

    if (req->data_len != sizeof(range) || !block_is_writable(s->blk)) {
        complete(req, req->data_len != sizeof(range) ? BLK_S_UNSUPP : BLK_S_IOERR);
        return;
    }
    iov_to_buf(req->data, req->ndata, 0, &range, sizeof(range));
    sector = GUINT64_FROM_LE(range.sector);
    bytes = (uint64_t)GUINT32_FROM_LE(range.num_sectors) * SECTOR;
    flags = GUINT32_FROM_LE(range.flags);
    if (flags & ~WZ_FLAG_UNMAP || (flags && !zero)) {
        complete(req, BLK_S_UNSUPP);
    } else if (bytes / SECTOR > MAX_DISCARD || !range_ok(s, sector, bytes)) {
        complete(req, BLK_S_IOERR);
    } else {
        block_aio_discard(s->blk, sector * SECTOR, bytes, zero, write_done, req);
    }
}

static void submit_id(BlkRequest *req)
{
    char id[ID_BYTES] = {0};

    strncpy(id, req->s->serial ? req->s->serial : "", sizeof(id));
    iov_from_buf(req->data, req->ndata, 0, id, sizeof(id));
    complete(req, BLK_S_OK);
}

static void submit(BlkRequest *req)
{
    VirtIOBlk *s = req->s;

    switch (req->type) {
    case BLK_T_IN:
    case BLK_T_OUT:
        if (!range_ok(s, req->sector, req->data_len) ||
            (req->type == BLK_T_OUT && !block_is_writable(s->blk))) {
            complete(req, BLK_S_IOERR);
        } else if (req->type == BLK_T_IN) {
            block_aio_readv(s->blk, req->sector * SECTOR, req->data, req->ndata, read_done, req);
        } else {
            block_aio_writev(s->blk, req->sector * SECTOR, req->data, req->ndata, write_done, req);
        }
        break;
    case BLK_T_FLUSH:
        block_aio_flush(s->blk, flush_done, req);
        break;
    case BLK_T_GET_ID:
        submit_id(req);
        break;
    case BLK_T_DISCARD:
    case BLK_T_WRITE_ZEROES:
        submit_range(req);
        break;
    default:
        complete(req, BLK_S_UNSUPP);
        break;
    }
}

static void handle_queue(VirtIODevice *vdev, VirtQueue *vq)
{
    do {
        BlkRequest *req;

        virtqueue_set_notification(vq, false);
        while ((req = virtqueue_pop(vq, sizeof(*req)))) {
            req->s = VIRTIO_BLK(vdev);
            req->vq = vq;
            if (!parse(req)) {
                virtqueue_detach(vq, &req->elem);
                request_free(req);
                return;
            }
            submit(req);
        }
        virtqueue_set_notification(vq, true);
    } while (!virtqueue_empty(vq));
}

/* ---- configuration ---- */

/* The classic translation for a disk nobody has partitioned. */
static void guess_geometry(BlkConfig *c, uint64_t sectors)
{
    uint64_t cylinders = sectors / (16 * 63);

    c->cylinders = GUINT16_TO_LE(CLAMP(cylinders, 2, 16383));
    c->heads = 16;
    c->sectors = 63;
}

static void blk_get_config(VirtIODevice *vdev, uint8_t *config)
{
    VirtIOBlk *s = VIRTIO_BLK(vdev);
    uint64_t sectors = block_length(s->blk) / SECTOR;
    BlkConfig c = {
        .capacity = GUINT64_TO_LE(sectors),
        .seg_max = GUINT32_TO_LE(s->queue_size - 2),
        .blk_size = GUINT32_TO_LE(s->logical_block_size),
        .wce = s->wce,
        .num_queues = GUINT16_TO_LE(s->num_queues),
        .max_discard_sectors = GUINT32_TO_LE(MAX_DISCARD),
        .max_discard_seg = GUINT32_TO_LE(1),
        .discard_sector_alignment = GUINT32_TO_LE(s->logical_block_size / SECTOR),
        .max_write_zeroes_sectors = GUINT32_TO_LE(MAX_DISCARD),
        .max_write_zeroes_seg = GUINT32_TO_LE(1),
        .write_zeroes_may_unmap = 1,
    };

    guess_geometry(&c, sectors);
    memcpy(config, &c, sizeof(c));
}

static void blk_set_config(VirtIODevice *vdev, const uint8_t *config)
{
    VirtIOBlk *s = VIRTIO_BLK(vdev);

    s->wce = config[CONFIG_WCE_OFFSET] & 1;
}

static uint64_t blk_get_features(VirtIODevice *vdev, uint64_t features)
{
    VirtIOBlk *s = VIRTIO_BLK(vdev);

    features |= 1ULL << BLK_F_SEG_MAX | 1ULL << BLK_F_GEOMETRY | 1ULL << BLK_F_TOPOLOGY |
                1ULL << BLK_F_BLK_SIZE | 1ULL << BLK_F_FLUSH;
    if (!(features >> VIRTIO_F_VERSION_1 & 1)) {
        features |= 1ULL << BLK_F_SCSI;
        features &= ~(1ULL << VIRTIO_F_ANY_LAYOUT);
    }
    if (s->num_queues > 1) {
        features |= 1ULL << BLK_F_MQ;
    }
    if (!block_is_writable(s->blk)) {
        features |= 1ULL << BLK_F_RO;
    }
    return features;
}

/* ---- life ---- */

static void blk_reset(VirtIODevice *vdev)
{
    VirtIOBlk *s = VIRTIO_BLK(vdev);

    /* Requests in flight write to guest memory: none may outlive the reset. */
    block_drain_all(device_machine(&vdev->parent)->blocks);
    drop_parked(s, NULL);
    s->wce = s->initial_wce;
}

static void blk_reset_queue(VirtIODevice *vdev, VirtQueue *vq)
{
    block_drain_all(device_machine(&vdev->parent)->blocks);
    drop_parked(VIRTIO_BLK(vdev), vq);
}

static void blk_running_changed(VirtIODevice *vdev)
{
    VirtIOBlk *s = VIRTIO_BLK(vdev);
    BlkRequest *list = s->parked;

    if (!vdev->vm_running) {
        return;
    }
    s->parked = NULL;
    s->parked_tail = &s->parked;
    while (list) {
        BlkRequest *req = list;

        list = req->next;
        submit(req);
    }
}

static bool parse_policy(const char *text, const char *prop, OnError dflt, OnError *out,
                         GError **errp)
{
    static const char *const names[] = {
        [ON_ERROR_REPORT] = "report",
        [ON_ERROR_IGNORE] = "ignore",
        [ON_ERROR_STOP] = "stop",
        [ON_ERROR_ENOSPC] = "enospc",
    };

    *out = dflt;
    if (!text || g_str_equal(text, "auto")) {
        return true;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        if (g_str_equal(text, names[i])) {
            *out = i;
            return true;
        }
    }
    error_setg(errp, "Parameter '%s' does not accept value '%s'", prop, text);
    return false;
}

static bool parse_policies(VirtIOBlk *s, GError **errp)
{
    const char *read = s->rerror_text ? s->rerror_text : block_error_policy(s->blk, false);
    const char *write = s->werror_text ? s->werror_text : block_error_policy(s->blk, true);

    if (read && g_str_equal(read, "enospc")) {
        error_setg(errp, "Device does not support the rerror option 'enospc'");
        return false;
    }
    return parse_policy(read, "rerror", ON_ERROR_REPORT, &s->rerror, errp) &&
           parse_policy(write, "werror", ON_ERROR_ENOSPC, &s->werror, errp);
}

static bool check_properties(VirtIOBlk *s, GError **errp)
{
    if (s->num_queues == QUEUES_AUTO) {
        s->num_queues = 1;
    }
    if (!s->num_queues || s->num_queues > MAX_QUEUES) {
        error_setg(errp, "num-queues property must be in 1..%u", MAX_QUEUES);
        return false;
    }
    if (s->queue_size <= 2 || s->queue_size > VIRTQUEUE_MAX_SIZE ||
        (s->queue_size & (s->queue_size - 1))) {
        error_setg(errp, "invalid queue-size property (%u), must be a power of 2, from 4 to %u",
                   s->queue_size, VIRTQUEUE_MAX_SIZE);
        return false;
    }
    if (!s->logical_block_size) {
        s->logical_block_size = SECTOR;
    }
    if (s->logical_block_size < SECTOR || s->logical_block_size > 2 * MiB ||
        (s->logical_block_size & (s->logical_block_size - 1))) {
        error_setg(errp, "logical_block_size must be a power of 2 between 512 and 2097152");
        return false;
    }
    if (s->write_cache && !g_str_equal(s->write_cache, "on") &&
        !g_str_equal(s->write_cache, "off") && !g_str_equal(s->write_cache, "auto")) {
        error_setg(errp, "Parameter 'write-cache' does not accept value '%s'", s->write_cache);
        return false;
    }
    s->initial_wce = !s->write_cache || !g_str_equal(s->write_cache, "off");
    return true;
}

static bool blk_realize(VirtIODevice *vdev, GError **errp)
{
    VirtIOBlk *s = VIRTIO_BLK(vdev);
    DeviceState *dev = &vdev->parent;
    const char *id = virtio_user_id(vdev);
    const char *name = id ? id : "virtio-blk-device";

    if (!s->drive) {
        error_setg(errp, "drive property not set");
        return false;
    }
    s->blk = block_find(device_machine(dev)->blocks, s->drive);
    if (!s->blk) {
        error_setg(errp, "Property 'virtio-blk-device.drive' can't find value '%s'", s->drive);
        return false;
    }
    if (!check_properties(s, errp) || !parse_policies(s, errp) ||
        !block_claim(s->blk, name, block_is_writable(s->blk), errp)) {
        return false;
    }
    s->wce = s->initial_wce;
    s->parked_tail = &s->parked;
    for (unsigned i = 0; i < s->num_queues; i++) {
        virtio_add_queue(vdev, s->queue_size, handle_queue);
    }
    vdev->config_len = sizeof(BlkConfig);
    return true;
}

static void blk_unrealize(VirtIODevice *vdev)
{
    VirtIOBlk *s = VIRTIO_BLK(vdev);

    block_release(s->blk);
    s->blk = NULL;
}

/* ---- the stream: parked requests ---- */

static bool blk_save(VirtIODevice *vdev, QEMUFile *f, GError **errp)
{
    VirtIOBlk *s = VIRTIO_BLK(vdev);

    for (const BlkRequest *req = s->parked; req; req = req->next) {
        qemu_put_byte(f, 1);
        if (s->num_queues > 1) {
            qemu_put_be32(f, req->vq->index);
        }
        virtqueue_element_save(f, &req->elem);
    }
    qemu_put_byte(f, 0);
    return true;
}

static bool blk_load(VirtIODevice *vdev, QEMUFile *f, GError **errp)
{
    VirtIOBlk *s = VIRTIO_BLK(vdev);
    unsigned count = 0;

    while (qemu_get_byte(f)) {
        uint32_t queue = s->num_queues > 1 ? qemu_get_be32(f) : 0;
        BlkRequest *req;

        if (queue >= s->num_queues) {
            error_setg(errp, "Invalid virtqueue index in request list: %#x", queue);
            return false;
        }
        if (++count > (unsigned)s->num_queues * VIRTQUEUE_MAX_SIZE) {
            error_setg(errp, "more parked requests than the queues have room for");
            return false;
        }
        req = virtqueue_element_load(&vdev->vq[queue], f, sizeof(*req), errp);
        if (!req) {
            return false;
        }
        req->s = s;
        req->vq = &vdev->vq[queue];
        park(req);
        if (!parse(req)) {
            error_setg(errp, "a parked request has no header or status byte");
            return false;
        }
    }
    return qemu_file_check(f, errp);
}

static bool blk_post_load(VirtIODevice *vdev, GError **errp)
{
    if (virtio_has_feature(vdev, BLK_F_CONFIG_WCE)) {
        blk_set_config(vdev, vdev->config);
    }
    return true;
}

VIRTIO_VMSD(vmstate_virtio_blk, "virtio-blk", 2);

static const DeviceProperty blk_props[] = {
    DEVICE_PROP_STRING("drive", VirtIOBlk, drive, "node name or id of the image"),
    DEVICE_PROP_STRING("serial", VirtIOBlk, serial, "serial number"),
    DEVICE_PROP_STRING("rerror", VirtIOBlk, rerror_text, "report, ignore, stop, auto"),
    DEVICE_PROP_STRING("werror", VirtIOBlk, werror_text, "report, ignore, enospc, stop, auto"),
    DEVICE_PROP_STRING("write-cache", VirtIOBlk, write_cache, "on, off, auto"),
    DEVICE_PROP_UINT16("num-queues", VirtIOBlk, num_queues, QUEUES_AUTO, "request queues"),
    DEVICE_PROP_UINT16("queue-size", VirtIOBlk, queue_size, 256, "entries per queue"),
    DEVICE_PROP_UINT32("logical_block_size", VirtIOBlk, logical_block_size, 0, "bytes"),
    DEVICE_PROP_INT32("bootindex", VirtIOBlk, bootindex, -1, "boot order"),
    VIRTIO_FEATURE_PROP("config-wce", BLK_F_CONFIG_WCE, "the driver may switch the write cache"),
    VIRTIO_FEATURE_PROP("discard", BLK_F_DISCARD, "offer discard"),
    VIRTIO_FEATURE_PROP("write-zeroes", BLK_F_WRITE_ZEROES, "offer write zeroes"),
    {},
};

static void virtio_blk_init(VirtIOBlk *s)
{
}

static void virtio_blk_class_init(VirtIOBlkClass *k)
{
    DeviceStateClass *dc = &k->parent_class;

    device_class_set_props(dc, blk_props);
    dc->desc = "virtio disk";
    dc->user_creatable = true;
    dc->vmsd = &vmstate_virtio_blk;
    k->device_id = VIRTIO_ID_BLOCK;
    k->legacy_features = 1ULL << BLK_F_SCSI;
    k->realize_device = blk_realize;
    k->unrealize_device = blk_unrealize;
    k->get_features = blk_get_features;
    k->get_config = blk_get_config;
    k->set_config = blk_set_config;
    k->reset_device = blk_reset;
    k->reset_queue = blk_reset_queue;
    k->running_changed = blk_running_changed;
    k->save_device = blk_save;
    k->load_device = blk_load;
    k->post_load = blk_post_load;
}
