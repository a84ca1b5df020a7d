/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Nameless shared memory: memory-backend-memfd, and memory-backend-shm for hosts that hand it on as
 * POSIX shm. */
#include <fcntl.h>
#include <sys/mman.h>
#include "memory/memory-backend.h"
#include "util/object.h"

#define TYPE_MEMORY_BACKEND_MEMFD (memory_backend_memfd_get_type())
G_DECLARE_FINAL_TYPE(MemoryBackendMemfd, memory_backend_memfd, GW, MEMORY_BACKEND_MEMFD,
                     MemoryBackend)
struct _MemoryBackendMemfd {
    MemoryBackend parent;
    gboolean hugetlb;
    gboolean seal;
    uint64_t hugetlbsize;
};
G_DEFINE_TYPE(MemoryBackendMemfd, memory_backend_memfd, TYPE_MEMORY_BACKEND)
OBJECT_TYPE_REGISTER("memory-backend-memfd", memory_backend_memfd_get_type)

enum {
    PROP_0,
    PROP_HUGETLB,
    PROP_HUGETLBSIZE,
    PROP_SEAL,
};

/* The kernel takes log2 of the huge page size in the upper bits of the flags. */
#define HUGE_SIZE_SHIFT 26

static void memfd_set(GObject *obj, guint id, const GValue *value, GParamSpec *spec)
{
    MemoryBackendMemfd *self = GW_MEMORY_BACKEND_MEMFD(obj);

    switch (id) {
    case PROP_HUGETLB:
        self->hugetlb = g_value_get_boolean(value);
        break;
    case PROP_HUGETLBSIZE:
        self->hugetlbsize = g_value_get_uint64(value);
        break;
    case PROP_SEAL:
        self->seal = g_value_get_boolean(value);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(obj, id, spec);
    }
}

static void memfd_get(GObject *obj, guint id, GValue *value, GParamSpec *spec)
{
    MemoryBackendMemfd *self = GW_MEMORY_BACKEND_MEMFD(obj);

    switch (id) {
    case PROP_HUGETLB:
        g_value_set_boolean(value, self->hugetlb);
        break;
    case PROP_HUGETLBSIZE:
        g_value_set_uint64(value, self->hugetlbsize);
        break;
    case PROP_SEAL:
        g_value_set_boolean(value, self->seal);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(obj, id, spec);
    }
}

static bool memfd_open(MemoryBackend *mb, HostMemoryRequest *req, GError **errp)
{
    MemoryBackendMemfd *self = GW_MEMORY_BACKEND_MEMFD(mb);
    unsigned flags = MFD_CLOEXEC | (self->seal ? MFD_ALLOW_SEALING : 0);

    if (self->hugetlbsize & (self->hugetlbsize - 1)) {
        error_setg(errp, "'hugetlbsize' must be a power of two");
        return false;
    }
    if (self->hugetlbsize && !self->hugetlb) {
        error_setg(errp, "'hugetlbsize' needs 'hugetlb=on'");
        return false;
    }
    if (self->hugetlb) {
        flags |= MFD_HUGETLB;
        if (self->hugetlbsize) {
            flags |= (unsigned)__builtin_ctzll(self->hugetlbsize) << HUGE_SIZE_SHIFT;
        }
    }
    req->fd = memfd_create("memory-backend-memfd", flags);
    if (req->fd < 0) {
        error_setg_errno(errp, errno, "cannot create a memfd");
        return false;
    }
    if (self->hugetlb) {
        req->page_size = host_memory_fd_page_size(req->fd);
        if (req->size % req->page_size) {
            return true; /* the base class refuses the size with the page size in the message */
        }
    }
    if (ftruncate(req->fd, req->size) != 0) {
        error_setg_errno(errp, errno, "cannot size the memfd to 0x%" PRIx64 " bytes", req->size);
        return false;
    }
    if (self->seal && fcntl(req->fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
        error_setg_errno(errp, errno, "cannot seal the memfd");
        return false;
    }
    return true;
}

static void memory_backend_memfd_init(MemoryBackendMemfd *self)
{
    self->seal = TRUE;
    g_object_set(self, "share", TRUE, NULL);
}

static void memory_backend_memfd_class_init(MemoryBackendMemfdClass *klass)
{
    GObjectClass *cls = G_OBJECT_CLASS(klass);

    cls->set_property = memfd_set;
    cls->get_property = memfd_get;
    GW_MEMORY_BACKEND_CLASS(klass)->open = memfd_open;
    g_object_class_install_property(
        cls, PROP_HUGETLB,
        g_param_spec_boolean("hugetlb", NULL, "Back by huge pages", FALSE, G_PARAM_READWRITE));
    g_object_class_install_property(cls, PROP_HUGETLBSIZE,
                                    g_param_spec_uint64("hugetlbsize", NULL, "Huge page size", 0,
                                                        G_MAXINT64, 0, G_PARAM_READWRITE));
    g_object_class_install_property(
        cls, PROP_SEAL,
        g_param_spec_boolean("seal", NULL, "Size can never change", TRUE, G_PARAM_READWRITE));
}

/* ---- memory-backend-shm ---- */

#define TYPE_MEMORY_BACKEND_SHM (memory_backend_shm_get_type())
G_DECLARE_FINAL_TYPE(MemoryBackendShm, memory_backend_shm, GW, MEMORY_BACKEND_SHM, MemoryBackend)
struct _MemoryBackendShm {
    MemoryBackend parent;
};
G_DEFINE_TYPE(MemoryBackendShm, memory_backend_shm, TYPE_MEMORY_BACKEND)
OBJECT_TYPE_REGISTER("memory-backend-shm", memory_backend_shm_get_type)

static bool shm_backend_open(MemoryBackend *mb, HostMemoryRequest *req, GError **errp)
{
    g_autofree char *uuid = g_uuid_string_random();
    g_autofree char *name = g_strconcat("/godwit-", uuid, NULL);

    if (!req->shared) {
        error_setg(errp, "memory-backend-shm is always shared: 'share=off' is not possible");
        return false;
    }
    req->fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (req->fd < 0) {
        error_setg_errno(errp, errno, "cannot create shared memory");
        return false;
    }
    shm_unlink(name);
    if (ftruncate(req->fd, req->size) != 0) {
        error_setg_errno(errp, errno, "cannot size shared memory to 0x%" PRIx64 " bytes",
                         req->size);
        return false;
    }
    return true;
}

static void memory_backend_shm_init(MemoryBackendShm *self)
{
    g_object_set(self, "share", TRUE, NULL);
}

static void memory_backend_shm_class_init(MemoryBackendShmClass *klass)
{
    GW_MEMORY_BACKEND_CLASS(klass)->open = shm_backend_open;
}
