/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * DMA through /dev/iommu (spec 60 section 1.6). Guest memory is one IO address space (IOAS). A
 * device with an IOMMU of its own gets a page table of it that tracks written pages, shared with
 * others where the kernel allows that; a device whose driver translates is attached to the IOAS
 * itself.
 */
#include <fcntl.h>
#include "hw/vfio/iommufd-uapi.h"
#include "hw/vfio/kernel.h"
#include "util/object.h"

typedef struct {
    uint32_t id;
    unsigned users;
} PageTable;

/* The object that users name. */
typedef struct {
    GObject parent;
    int fd;           /* given, or ours after complete() */
    VFIOIommu *space; /* while devices use it; not a reference */
} Iommufd;

typedef struct {
    VFIOIommu parent;
    Iommufd *owner; /* referenced: whose descriptor it is */
    uint32_t ioas;
    GArray *tables;     /* PageTable */
    unsigned untracked; /* devices without one */
} Space;

static Space *space(VFIOIommu *m)
{
    return container_of(m, Space, parent);
}

static int ask(VFIOIommu *m, unsigned long request, void *arg)
{
    return m->sys->ioctl(m->fd, request, arg);
}

/* ---- memory ---- */

static bool iommufd_map(VFIOIommu *m, uint64_t iova, uint64_t size, void *host, bool writable,
                        GError **errp)
{
    IommufdIoasMap map = {
        .size = sizeof(map),
        .flags = IOAS_MAP_FIXED_IOVA | IOAS_MAP_READABLE | (writable ? IOAS_MAP_WRITEABLE : 0),
        .ioas = space(m)->ioas,
        .user_va = (uintptr_t)host,
        .length = size,
        .iova = iova,
    };

    if (ask(m, IOMMUFD_IOAS_MAP, &map) < 0) {
        vfio_iommu_map_error(errp, errno, size);
        return false;
    }
    return true;
}

/* Every table knows what its own devices wrote. */
static bool read_tables(VFIOIommu *m, uint64_t iova, uint64_t size, uint32_t flags,
                        uint64_t *bitmap, GError **errp)
{
    Space *s = space(m);

    for (guint i = 0; i < s->tables->len; i++) {
        IommufdGetDirtyBitmap get = {
            .size = sizeof(get),
            .hwpt = g_array_index(s->tables, PageTable, i).id,
            .flags = flags,
            .iova = iova,
            .length = size,
            .page_size = TARGET_PAGE_SIZE,
            .bitmap = (uintptr_t)bitmap,
        };

        if (ask(m, IOMMUFD_GET_DIRTY_BITMAP, &get) < 0) {
            error_setg_errno(errp, errno, "the kernel does not say which pages were written");
            return false;
        }
    }
    return true;
}

static bool iommufd_written(VFIOIommu *m, uint64_t iova, uint64_t size, uint64_t *bitmap,
                            GError **errp)
{
    return read_tables(m, iova, size, 0, bitmap, errp);
}

static bool iommufd_unmap(VFIOIommu *m, uint64_t iova, uint64_t size, uint64_t *bitmap,
                          GError **errp)
{
    IommufdIoasUnmap unmap = {
        .size = sizeof(unmap), .ioas = space(m)->ioas, .iova = iova, .length = size};

    /* Clearing costs, and the bits go with the mapping. */
    if (bitmap && !read_tables(m, iova, size, DIRTY_BITMAP_NO_CLEAR, bitmap, errp)) {
        return false;
    }
    if (ask(m, IOMMUFD_IOAS_UNMAP, &unmap) < 0 && errno != ENOENT) {
        error_setg_errno(errp, errno, "the kernel refuses to end a DMA mapping");
        return false;
    }
    return true;
}

static bool switch_table(VFIOIommu *m, uint32_t id, bool on)
{
    IommufdSetDirtyTracking set = {
        .size = sizeof(set), .flags = on ? DIRTY_TRACKING_ENABLE : 0, .hwpt = id};

    return ask(m, IOMMUFD_SET_DIRTY_TRACKING, &set) == 0;
}

static bool iommufd_track(VFIOIommu *m, bool on, GError **errp)
{
    const PageTable *tables = (void *)space(m)->tables->data;
    guint n = space(m)->tables->len;

    for (guint i = 0; i < n; i++) {
        if (!switch_table(m, tables[i].id, on)) {
            error_setg_errno(errp, errno, "the kernel refuses to %s tracking of written pages",
                             on ? "start" : "stop");
            while (on && i-- > 0) {
                switch_table(m, tables[i].id, false);
            }
            return false;
        }
    }
    return true;
}

static void destroy(VFIOIommu *m, uint32_t id)
{
    IommufdDestroy d = {.size = sizeof(d), .id = id};

    ask(m, IOMMUFD_DESTROY, &d);
}

/* ---- devices ---- */

static bool attach(VFIOIommu *m, int device, uint32_t table)
{
    VfioCdevAttach a = {.argsz = sizeof(a), .pt = table};

    return m->sys->ioctl(device, VFIO_CDEV_ATTACH, &a) == 0;
}

static bool has_tracking_iommu(VFIOIommu *m, uint32_t devid)
{
    IommufdHwInfo info = {.size = sizeof(info), .dev = devid};

    return ask(m, IOMMUFD_GET_HW_INFO, &info) == 0 &&
           (info.out_capabilities & HW_CAP_DIRTY_TRACKING);
}

/* A table that another device uses already, or a new one; 0: none can be had. */
static uint32_t attach_to_table(VFIOIommu *m, int device, uint32_t devid)
{
    Space *s = space(m);
    IommufdHwptAlloc alloc = {
        .size = sizeof(alloc), .flags = HWPT_ALLOC_DIRTY_TRACKING, .dev = devid, .pt = s->ioas};
    PageTable fresh = {.users = 1};

    for (guint i = 0; i < s->tables->len; i++) {
        PageTable *t = &g_array_index(s->tables, PageTable, i);

        if (attach(m, device, t->id)) {
            t->users++;
            return t->id;
        }
    }
    if (ask(m, IOMMUFD_HWPT_ALLOC, &alloc) < 0) {
        return 0;
    }
    fresh.id = alloc.out_hwpt;
    if (!attach(m, device, fresh.id)) {
        destroy(m, fresh.id);
        return 0;
    }
    g_array_append_val(s->tables, fresh);
    return fresh.id;
}

bool vfio_iommufd_attach(VFIOIommu *m, int device, uint32_t *table, GError **errp)
{
    VfioCdevBind bind = {.argsz = sizeof(bind), .iommufd = m->fd};
    Space *s = space(m);

    *table = 0;
    if (m->sys->ioctl(device, VFIO_CDEV_BIND, &bind) < 0) {
        error_setg_errno(errp, errno, "cannot bind the device to the iommufd%s",
                         errno == ENOTTY ? " (Linux 6.6 or later is needed)" : "");
        return false;
    }
    if (has_tracking_iommu(m, bind.out_devid)) {
        *table = attach_to_table(m, device, bind.out_devid);
    }
    if (!*table) {
        if (!attach(m, device, s->ioas)) {
            error_setg_errno(errp, errno, "cannot attach the device to the memory of the guest");
            return false;
        }
        s->untracked++;
    }
    m->can_track = !s->untracked;
    return true;
}

void vfio_iommufd_detach(VFIOIommu *m, int device, uint32_t table)
{
    VfioCdevDetach d = {.argsz = sizeof(d)};
    Space *s = space(m);

    m->sys->ioctl(device, VFIO_CDEV_DETACH, &d);
    if (!table) {
        s->untracked--;
    }
    for (guint i = 0; table && i < s->tables->len; i++) {
        PageTable *t = &g_array_index(s->tables, PageTable, i);

        if (t->id == table && !--t->users) {
            destroy(m, t->id);
            g_array_remove_index_fast(s->tables, i);
            break;
        }
    }
    m->can_track = !s->untracked;
}

/* ---- the address space ---- */

static void iommufd_free(VFIOIommu *m)
{
    Space *s = space(m);

    destroy(m, s->ioas);
    g_array_unref(s->tables);
    if (s->owner) {
        s->owner->space = NULL;
        g_object_unref(s->owner);
    }
    g_free(s);
}

static const VFIOIommuOps iommufd_ops = {
    .map = iommufd_map,
    .unmap = iommufd_unmap,
    .track = iommufd_track,
    .written = iommufd_written,
    .free = iommufd_free,
};

VFIOIommu *vfio_iommufd_space_new(const VFIOSys *sys, int fd, AddressSpace *as, GError **errp)
{
    IommufdIoasAlloc alloc = {.size = sizeof(alloc)};
    Space *s;

    if (sys->ioctl(fd, IOMMUFD_IOAS_ALLOC, &alloc) < 0) {
        error_setg_errno(errp, errno, "the iommufd gives no address space");
        return NULL;
    }
    s = g_new0(Space, 1);
    vfio_iommu_init(&s->parent, &iommufd_ops, sys, as, fd);
    s->ioas = alloc.out_ioas;
    s->tables = g_array_new(FALSE, FALSE, sizeof(PageTable));
    return &s->parent;
}

/* ---- the object ---- */

typedef GObjectClass IommufdClass;

static void user_creatable_init(UserCreatableInterface *iface);
GType iommufd_get_type(void);
G_DEFINE_TYPE_WITH_CODE(Iommufd, iommufd, G_TYPE_OBJECT,
                        G_IMPLEMENT_INTERFACE(TYPE_USER_CREATABLE, user_creatable_init))
OBJECT_TYPE_REGISTER("iommufd", iommufd_get_type)

VFIOIommu *vfio_iommufd_space(GObject *obj, AddressSpace *as, GError **errp)
{
    Iommufd *o;

    if (!G_TYPE_CHECK_INSTANCE_TYPE(obj, iommufd_get_type())) {
        error_setg(errp, "iommufd= names an object of another type");
        return NULL;
    }
    o = (Iommufd *)obj;
    if (o->space) {
        vfio_iommu_ref(o->space);
        return o->space;
    }
    o->space = vfio_iommufd_space_new(&vfio_sys, o->fd, as, errp);
    if (o->space) {
        space(o->space)->owner = g_object_ref(o);
    }
    return o->space;
}

static gboolean iommufd_complete(UserCreatable *self, GError **errp)
{
    Iommufd *o = (Iommufd *)self;

    if (o->fd < 0) {
        o->fd = vfio_sys.open("/dev/iommu", O_RDWR);
    }
    if (o->fd < 0) {
        error_setg_errno(errp, errno, "cannot open /dev/iommu%s",
                         errno == ENOENT ? " (Linux 6.2 or later and its module iommufd are needed)"
                                         : "");
    }
    return o->fd >= 0;
}

static gboolean iommufd_can_be_deleted(UserCreatable *self)
{
    return !((Iommufd *)self)->space;
}

static void user_creatable_init(UserCreatableInterface *iface)
{
    iface->complete = iommufd_complete;
    iface->can_be_deleted = iommufd_can_be_deleted;
}

static void iommufd_set_property(GObject *obj, guint id, const GValue *value, GParamSpec *pspec)
{
    ((Iommufd *)obj)->fd = g_value_get_int(value);
}

static void iommufd_get_property(GObject *obj, guint id, GValue *value, GParamSpec *pspec)
{
    g_value_set_int(value, ((Iommufd *)obj)->fd);
}

static void iommufd_finalize(GObject *obj)
{
    if (((Iommufd *)obj)->fd >= 0) {
        close(((Iommufd *)obj)->fd);
    }
    G_OBJECT_CLASS(iommufd_parent_class)->finalize(obj);
}

static void iommufd_init(Iommufd *o)
{
    o->fd = -1;
}

static void iommufd_class_init(IommufdClass *k)
{
    k->set_property = iommufd_set_property;
    k->get_property = iommufd_get_property;
    k->finalize = iommufd_finalize;
    g_object_class_install_property(
        k, 1,
        g_param_spec_int("fd", "fd", "descriptor of /dev/iommu that was opened already, taken over",
                         -1, INT_MAX, -1, G_PARAM_READWRITE));
}
