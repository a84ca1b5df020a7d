/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-balloon: the guest lends pages to the host. Inflated pages are given back to the host
 * kernel; the guest reads zeros, or anything, when it takes them again. With free-page-reporting it
 * reports what it does not use at the moment, which is given back as well.
 *
 * free-page-hint is for migration: we ask by a command id in the configuration, the guest sends the
 * id, buffers that are the memory it does not use, and at the end the id STOP; it keeps the memory
 * from being used until we say DONE.
 */
#include "util/osdep.h"
#include "hw/virtio-balloon.h"
#include "hw/virtio.h"
#include "memory/dirty-log.h"
#include "migration/free-pages.h"
#include "util/iov.h"

enum {
    BALLOON_F_STATS_VQ = 1,
    BALLOON_F_DEFLATE_ON_OOM = 2,
    BALLOON_F_FREE_PAGE_HINT = 3,
    BALLOON_F_PAGE_POISON = 4,
    BALLOON_F_REPORTING = 5,
};

/* Command ids below this one have a meaning of their own. */
#define HINT_ID_STOP UINT32_C(0)
#define HINT_ID_DONE UINT32_C(1)
#define HINT_ID_MIN  UINT32_C(0x80000000)

/* On the wire. */
enum { HINT_STOP, HINT_REQUESTED, HINT_START, HINT_DONE };

#define QUEUE_SIZE    128
#define BALLOON_SHIFT 12

typedef struct {
    uint32_t num_pages; /* target */
    uint32_t actual;
    uint32_t free_page_hint_cmd_id;
    uint32_t poison_val;
} BalloonConfig;

typedef struct {
    VirtIODevice parent;
    VirtQueue *inflate, *deflate, *stats;
    VirtQueueElement *stats_elem; /* the guest's statistics buffer, kept until we want new ones */
    VirtQueue *free_pages, *reports;
    uint32_t num_pages, actual, poison_val;
    uint32_t hint_id, hint_status;
    bool hints_orphaned; /* the migration that asked has brought us here */
} VirtIOBalloon;
typedef VirtIODeviceClass VirtIOBalloonClass;
#define VIRTIO_BALLOON(vdev) ((VirtIOBalloon *)(vdev))

GType virtio_balloon_get_type(void);
G_DEFINE_TYPE(VirtIOBalloon, virtio_balloon, TYPE_VIRTIO_DEVICE)
DEVICE_TYPE_REGISTER("virtio-balloon-device", virtio_balloon_get_type)

/* ---- inflating and deflating ---- */

/* Give whole pages of [@host, @host + @len) back, if possible. */
static void give_to_host(VirtIOBalloon *s, void *host, uint64_t len)
{
    ram_addr_t offset, end;
    RAMBlock *block = ram_block_from_host(address_space_ram(s->parent.as), host, &offset);
    Migration *m = device_machine(&s->parent.parent)->migration;

    if (!block || (m && !migration_may_discard(m))) {
        return;
    }
    end = ROUND_DOWN(offset + len, block->page_size);
    offset = ROUND_UP(offset, block->page_size);
    if (offset < end && ram_block_discard(block, offset, end - offset, NULL)) {
        dirty_log_mark(block, offset, end - offset);
    }
}

/* Nothing to do for huge pages, shared or read-only memory: the guest may not touch it anyway. */
static void give_page_to_host(VirtIOBalloon *s, hwaddr gpa)
{
    MemoryTranslation t;

    address_space_translate(s->parent.as, gpa, &t);
    if (t.host && t.writable && t.len >= TARGET_PAGE_SIZE) {
        give_to_host(s, t.host, TARGET_PAGE_SIZE);
    }
}

static void handle_pages(VirtIODevice *vdev, VirtQueue *vq)
{
    VirtIOBalloon *s = VIRTIO_BALLOON(vdev);
    bool inflating = vq == s->inflate;
    VirtQueueElement *elem;

    while ((elem = virtqueue_pop(vq, sizeof(*elem)))) {
        uint32_t pfn;
        size_t offset = 0;

        while (iov_to_buf(elem->out_sg, elem->out_num, offset, &pfn, sizeof(pfn)) == sizeof(pfn)) {
            offset += sizeof(pfn);
            if (inflating) {
                give_page_to_host(s, (hwaddr)GUINT32_FROM_LE(pfn) << BALLOON_SHIFT);
            }
        }
        virtqueue_push(vq, elem, 0);
        g_free(elem);
    }
    virtio_notify(vq);
}

/* ---- memory that the guest does not use ---- */

/* It expects its poison in free memory: then what is in there matters. */
static bool free_memory_matters(const VirtIOBalloon *s)
{
    return virtio_has_feature(&s->parent, BALLOON_F_PAGE_POISON) && s->poison_val;
}

static void handle_reports(VirtIODevice *vdev, VirtQueue *vq)
{
    VirtIOBalloon *s = VIRTIO_BALLOON(vdev);
    VirtQueueElement *elem;

    while ((elem = virtqueue_pop(vq, sizeof(*elem)))) {
        for (unsigned i = 0; i < elem->in_num && !free_memory_matters(s); i++) {
            give_to_host(s, elem->in_sg[i].iov_base, elem->in_sg[i].iov_len);
        }
        virtqueue_push(vq, elem, 0);
        g_free(elem);
    }
    virtio_notify(vq);
}

/* The guest begins what we asked for, or has no more. */
static void take_hint_id(VirtIOBalloon *s, uint32_t id)
{
    if (s->hint_status == HINT_REQUESTED && id == s->hint_id) {
        s->hint_status = HINT_START;
    } else if (s->hint_status == HINT_START && id == HINT_ID_STOP) {
        Migration *m = device_machine(&s->parent.parent)->migration;

        s->hint_status = HINT_STOP;
        if (m) {
            migration_free_pages_done(m);
        }
    }
}

static void take_hint(VirtIOBalloon *s, const VirtQueueElement *elem)
{
    Migration *m = device_machine(&s->parent.parent)->migration;

    for (unsigned i = 0; m && i < elem->in_num && s->hint_status == HINT_START; i++) {
        migration_free_pages(m, elem->in_sg[i].iov_base, elem->in_sg[i].iov_len);
    }
}

static void handle_free_pages(VirtIODevice *vdev, VirtQueue *vq)
{
    VirtIOBalloon *s = VIRTIO_BALLOON(vdev);
    VirtQueueElement *elem;
    uint32_t id;

    while ((elem = virtqueue_pop(vq, sizeof(*elem)))) {
        if (iov_to_buf(elem->out_sg, elem->out_num, 0, &id, sizeof(id)) == sizeof(id)) {
            take_hint_id(s, GUINT32_FROM_LE(id));
        }
        take_hint(s, elem);
        virtqueue_push(vq, elem, 0);
        g_free(elem);
    }
    virtio_notify(vq);
}

static void set_hint_status(VirtIOBalloon *s, uint32_t status)
{
    s->hint_status = status;
    if (virtio_has_feature(&s->parent, BALLOON_F_FREE_PAGE_HINT)) {
        virtio_notify_config(&s->parent);
    }
}

static bool ask_for_hints(void *opaque)
{
    VirtIOBalloon *s = opaque;

    if (!virtio_driver_ok(&s->parent) ||
        !virtio_has_feature(&s->parent, BALLOON_F_FREE_PAGE_HINT) || free_memory_matters(s)) {
        return false;
    }
    s->hint_id = MAX(s->hint_id + 1, HINT_ID_MIN);
    set_hint_status(s, HINT_REQUESTED);
    return true;
}

static void end_of_hints(void *opaque)
{
    set_hint_status(opaque, HINT_DONE);
}

static const FreePageOps free_page_ops = {.begin = ask_for_hints, .end = end_of_hints};

/* What the configuration says to it. */
static uint32_t hint_command(const VirtIOBalloon *s)
{
    switch (s->hint_status) {
    case HINT_REQUESTED:
    case HINT_START:
        return s->hint_id;
    case HINT_DONE:
        return HINT_ID_DONE;
    default:
        return HINT_ID_STOP;
    }
}

/* ---- statistics ---- */

/* The driver hands us one buffer and waits until we return it to ask for fresh numbers. */
static void handle_stats(VirtIODevice *vdev, VirtQueue *vq)
{
    VirtIOBalloon *s = VIRTIO_BALLOON(vdev);
    VirtQueueElement *elem = virtqueue_pop(vq, sizeof(*elem));

    if (!elem) {
        return;
    }
    if (s->stats_elem) {
        virtqueue_push(vq, s->stats_elem, 0);
        g_free(s->stats_elem);
        virtio_notify(vq);
    }
    s->stats_elem = elem;
}

static void drop_stats_buffer(VirtIOBalloon *s)
{
    if (s->stats_elem) {
        virtqueue_unpop(s->stats, s->stats_elem);
        g_clear_pointer(&s->stats_elem, g_free);
    }
}

/* ---- configuration ---- */

static uint64_t current_bytes(const VirtIOBalloon *s)
{
    uint64_t ram = device_machine((DeviceState *)s)->ram_size;

    return ram - MIN(ram, (uint64_t)s->actual << BALLOON_SHIFT);
}

static void balloon_get_config(VirtIODevice *vdev, uint8_t *config)
{
    const VirtIOBalloon *s = VIRTIO_BALLOON(vdev);
    BalloonConfig c = {
        .num_pages = GUINT32_TO_LE(s->num_pages),
        .actual = GUINT32_TO_LE(s->actual),
        .free_page_hint_cmd_id = GUINT32_TO_LE(hint_command(s)),
        .poison_val = GUINT32_TO_LE(s->poison_val),
    };

    memcpy(config, &c, sizeof(c));
}

static void balloon_set_config(VirtIODevice *vdev, const uint8_t *config)
{
    VirtIOBalloon *s = VIRTIO_BALLOON(vdev);
    uint32_t old = s->actual;
    BalloonConfig c;

    memcpy(&c, config, sizeof(c));
    s->actual = GUINT32_FROM_LE(c.actual);
    if (virtio_has_feature(vdev, BALLOON_F_PAGE_POISON)) {
        s->poison_val = GUINT32_FROM_LE(c.poison_val);
    }
    if (s->actual != old) {
        JsonObject *data = json_object_new();

        json_object_set_int_member(data, "actual", current_bytes(s));
        qapi_event_emit(&device_machine(&vdev->parent)->events, "BALLOON_CHANGE", data);
    }
}

static VirtIOBalloon *find_balloon(Machine *m, GError **errp)
{
    for (guint i = 0; i < m->devices->len; i++) {
        if (G_TYPE_CHECK_INSTANCE_TYPE(m->devices->pdata[i], virtio_balloon_get_type())) {
            return m->devices->pdata[i];
        }
    }
    error_set(errp, ERROR_CLASS_DEVICE_NOT_ACTIVE, "No balloon device has been activated");
    return NULL;
}

bool virtio_balloon_set_target(Machine *m, uint64_t bytes, GError **errp)
{
    VirtIOBalloon *s = find_balloon(m, errp);

    if (!s) {
        return false;
    }
    if (!bytes) {
        error_setg(errp, "Parameter 'target' expects a size");
        return false;
    }
    s->num_pages = (m->ram_size - MIN(bytes, m->ram_size)) >> BALLOON_SHIFT;
    virtio_notify_config(&s->parent);
    return true;
}

bool virtio_balloon_get_actual(Machine *m, uint64_t *bytes, GError **errp)
{
    VirtIOBalloon *s = find_balloon(m, errp);

    if (s) {
        *bytes = current_bytes(s);
    }
    return s != NULL;
}

/* ---- life ---- */

static void balloon_reset(VirtIODevice *vdev)
{
    VirtIOBalloon *s = VIRTIO_BALLOON(vdev);

    if (s->stats_elem) {
        virtqueue_detach(s->stats, s->stats_elem);
        g_clear_pointer(&s->stats_elem, g_free);
    }
    s->poison_val = 0;
    s->hint_status = HINT_STOP;
    s->hints_orphaned = false;
}

/* While the VM is stopped the statistics buffer is back in its ring, so that a stream needs no
 * place for it. */
static void balloon_running_changed(VirtIODevice *vdev)
{
    VirtIOBalloon *s = VIRTIO_BALLOON(vdev);

    if (vdev->vm_running && s->hints_orphaned) {
        s->hints_orphaned = false;
        set_hint_status(s, HINT_DONE);
    }
    if (!vdev->vm_running) {
        drop_stats_buffer(s);
    } else if (virtio_driver_ok(vdev)) {
        handle_stats(vdev, s->stats);
    }
}

static bool balloon_realize(VirtIODevice *vdev, GError **errp)
{
    VirtIOBalloon *s = VIRTIO_BALLOON(vdev);

    if (find_balloon(device_machine(&vdev->parent), NULL)) {
        error_setg(errp, "Only one balloon device is supported");
        return false;
    }
    s->inflate = virtio_add_queue(vdev, QUEUE_SIZE, handle_pages);
    s->deflate = virtio_add_queue(vdev, QUEUE_SIZE, handle_pages);
    s->stats = virtio_add_queue(vdev, QUEUE_SIZE, handle_stats);
    if (vdev->feature_on[BALLOON_F_FREE_PAGE_HINT]) {
        s->free_pages = virtio_add_queue(vdev, QUEUE_SIZE, handle_free_pages);
    }
    if (vdev->feature_on[BALLOON_F_REPORTING]) {
        s->reports = virtio_add_queue(vdev, QUEUE_SIZE, handle_reports);
    }
    vdev->config_len = sizeof(BalloonConfig);
    if (device_machine(&vdev->parent)->migration) {
        migration_set_free_page_ops(device_machine(&vdev->parent)->migration, &free_page_ops, s);
    }
    return true;
}

static void balloon_unrealize(VirtIODevice *vdev)
{
    if (device_machine(&vdev->parent)->migration) {
        migration_set_free_page_ops(device_machine(&vdev->parent)->migration, NULL, NULL);
    }
}

static uint64_t balloon_get_features(VirtIODevice *vdev, uint64_t features)
{
    return features | 1ULL << BALLOON_F_STATS_VQ;
}

/* ---- the stream ---- */

static bool balloon_save(VirtIODevice *vdev, QEMUFile *f, GError **errp)
{
    const VirtIOBalloon *s = VIRTIO_BALLOON(vdev);

    qemu_put_be32(f, s->num_pages);
    qemu_put_be32(f, s->actual);
    return true;
}

static bool balloon_load(VirtIODevice *vdev, QEMUFile *f, GError **errp)
{
    VirtIOBalloon *s = VIRTIO_BALLOON(vdev);

    s->num_pages = qemu_get_be32(f);
    s->actual = qemu_get_be32(f);
    return qemu_file_check(f, errp);
}

/* Stock keeps the statistics buffer popped while it sends: it is neither used nor lost, take it
 * again. */
static bool balloon_post_load(VirtIODevice *vdev, GError **errp)
{
    VirtQueue *vq = VIRTIO_BALLOON(vdev)->stats;

    if (vq->inuse == 1 && virtqueue_ready(vq)) {
        vq->last_avail_idx--;
        vq->shadow_avail_idx = vq->last_avail_idx;
        vq->inuse = 0;
    }
    return true;
}

static bool hints_needed(void *opaque)
{
    return ((VirtIODevice *)opaque)->feature_on[BALLOON_F_FREE_PAGE_HINT];
}

static bool hints_post_load(void *opaque, int version_id, GError **errp)
{
    VirtIOBalloon *s = opaque;

    if (s->hint_status > HINT_DONE) {
        error_setg(errp, "free page hints cannot be in state %u", s->hint_status);
        return false;
    }
    s->hints_orphaned = s->hint_status != HINT_DONE && s->hint_id >= HINT_ID_MIN;
    return true;
}

static const VMStateDescription vmstate_hints = {
    .name = "virtio-balloon-device/free-page-report",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = hints_needed,
    .post_load = hints_post_load,
    .fields =
        (const VMStateField[]){VMSTATE_UINT32(hint_id, VirtIOBalloon),
                               VMSTATE_UINT32(hint_status, VirtIOBalloon), VMSTATE_END_OF_LIST()},
};

static bool poison_needed(void *opaque)
{
    return virtio_has_feature(opaque, BALLOON_F_PAGE_POISON);
}

static const VMStateDescription vmstate_poison = {
    .name = "virtio-balloon-device/page-poison",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = poison_needed,
    .fields =
        (const VMStateField[]){VMSTATE_UINT32(poison_val, VirtIOBalloon), VMSTATE_END_OF_LIST()},
};

static const VMStateDescription vmstate_balloon_device = {
    .name = "virtio-balloon-device",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]){VMSTATE_END_OF_LIST()},
    .subsections = (const VMStateDescription *const[]){&vmstate_hints, &vmstate_poison, NULL},
};

VIRTIO_VMSD(vmstate_virtio_balloon, "virtio-balloon", 1);

static const DeviceProperty balloon_props[] = {
    VIRTIO_FEATURE_PROP("page-poison", BALLOON_F_PAGE_POISON, "the guest reports its poison value"),
    DEVICE_PROP_BOOL("deflate-on-oom", VirtIODevice, feature_on[BALLOON_F_DEFLATE_ON_OOM], false,
                     "the guest may take pages back when it has none left"),
    DEVICE_PROP_BOOL("free-page-hint", VirtIODevice, feature_on[BALLOON_F_FREE_PAGE_HINT], false,
                     "ask the guest at the start of a migration what it does not use"),
    DEVICE_PROP_BOOL("free-page-reporting", VirtIODevice, feature_on[BALLOON_F_REPORTING], false,
                     "give what the guest does not use back to the host"),
    {},
};

static void virtio_balloon_init(VirtIOBalloon *s)
{
}

static void virtio_balloon_class_init(VirtIOBalloonClass *k)
{
    DeviceStateClass *dc = &k->parent_class;

    device_class_set_props(dc, balloon_props);
    dc->desc = "virtio memory balloon";
    dc->user_creatable = true;
    dc->vmsd = &vmstate_virtio_balloon;
    k->device_id = VIRTIO_ID_BALLOON;
    k->realize_device = balloon_realize;
    k->unrealize_device = balloon_unrealize;
    k->get_features = balloon_get_features;
    k->get_config = balloon_get_config;
    k->set_config = balloon_set_config;
    k->reset_device = balloon_reset;
    k->running_changed = balloon_running_changed;
    k->save_device = balloon_save;
    k->load_device = balloon_load;
    k->post_load = balloon_post_load;
    k->device_vmsd = &vmstate_balloon_device;
}
