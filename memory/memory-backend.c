/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all kinds of memory backend have in common, and the kind without a file: memory-backend-ram.
 */
#include <sys/mman.h>
#include "memory/memory-backend.h"
#include "util/object.h"

typedef struct {
    uint64_t size;
    bool share, merge, dump, prealloc, reserve, canonical_path;
    unsigned prealloc_threads;
    HostMemoryRequest req; /* as mapped */
    void *host;
    RAMBlock *block; /* while a machine uses it */
} MemoryBackendPrivate;

static void user_creatable_init(UserCreatableInterface *iface);
G_DEFINE_ABSTRACT_TYPE_WITH_CODE(MemoryBackend, memory_backend, G_TYPE_OBJECT,
                                 G_ADD_PRIVATE(MemoryBackend)
                                     G_IMPLEMENT_INTERFACE(TYPE_USER_CREATABLE,
                                                           user_creatable_init))

enum {
    PROP_0,
    PROP_SIZE,
    PROP_SHARE,
    PROP_MERGE,
    PROP_DUMP,
    PROP_PREALLOC,
    PROP_PREALLOC_THREADS,
    PROP_RESERVE,
    PROP_CANONICAL_PATH,
};

static bool *flag_of(MemoryBackendPrivate *p, guint id)
{
    switch (id) {
    case PROP_SHARE:
        return &p->share;
    case PROP_MERGE:
        return &p->merge;
    case PROP_DUMP:
        return &p->dump;
    case PROP_PREALLOC:
        return &p->prealloc;
    case PROP_RESERVE:
        return &p->reserve;
    case PROP_CANONICAL_PATH:
        return &p->canonical_path;
    default:
        return NULL;
    }
}

static void memory_backend_set(GObject *obj, guint id, const GValue *value, GParamSpec *spec)
{
    MemoryBackendPrivate *p = memory_backend_get_instance_private(GW_MEMORY_BACKEND(obj));
    bool *flag = flag_of(p, id);

    if (flag) {
        *flag = g_value_get_boolean(value);
    } else if (id == PROP_SIZE) {
        p->size = g_value_get_uint64(value);
    } else if (id == PROP_PREALLOC_THREADS) {
        p->prealloc_threads = g_value_get_uint(value);
    } else {
        G_OBJECT_WARN_INVALID_PROPERTY_ID(obj, id, spec);
    }
}

static void memory_backend_get(GObject *obj, guint id, GValue *value, GParamSpec *spec)
{
    MemoryBackendPrivate *p = memory_backend_get_instance_private(GW_MEMORY_BACKEND(obj));
    const bool *flag = flag_of(p, id);

    if (flag) {
        g_value_set_boolean(value, *flag);
    } else if (id == PROP_SIZE) {
        g_value_set_uint64(value, p->size);
    } else if (id == PROP_PREALLOC_THREADS) {
        g_value_set_uint(value, p->prealloc_threads);
    } else {
        G_OBJECT_WARN_INVALID_PROPERTY_ID(obj, id, spec);
    }
}

static bool check_request(MemoryBackendPrivate *p, const char *id, GError **errp)
{
    if (p->size == 0) {
        error_setg(errp, "memory backend '%s': 'size' must be given and not 0", id);
        return false;
    }
    if (p->prealloc && !p->reserve) {
        error_setg(errp, "memory backend '%s': 'prealloc=on' and 'reserve=off' are incompatible",
                   id);
        return false;
    }
    if (p->size % p->req.page_size) {
        error_setg(errp,
                   "memory backend '%s': size 0x%" PRIx64
                   " must be a multiple of the page size 0x%" PRIx64,
                   id, p->size, p->req.page_size);
        return false;
    }
    return true;
}

static gboolean memory_backend_complete(UserCreatable *self, GError **errp)
{
    MemoryBackend *mb = GW_MEMORY_BACKEND(self);
    MemoryBackendClass *cls = GW_MEMORY_BACKEND_GET_CLASS(mb);
    MemoryBackendPrivate *p = memory_backend_get_instance_private(mb);
    const char *id = object_id(G_OBJECT(self));

    p->req.size = p->size;
    p->req.page_size = sysconf(_SC_PAGESIZE);
    p->req.shared = p->share;
    p->req.noreserve = !p->reserve;
    if (p->size && cls->open && !cls->open(mb, &p->req, errp)) {
        g_prefix_error(errp, "memory backend '%s': ", id);
        return FALSE;
    }
    if (!check_request(p, id, errp)) {
        return FALSE;
    }
    p->host = host_memory_map(&p->req, errp);
    if (!p->host) {
        g_prefix_error(errp, "memory backend '%s': ", id);
        return FALSE;
    }
    /* Same-page merging is advice; a kernel without it says EINVAL and nothing is lost. */
    if (p->merge) {
        madvise(p->host, p->size, MADV_MERGEABLE);
    }
    if (!p->dump) {
        madvise(p->host, p->size, MADV_DONTDUMP);
    }
    if (p->prealloc && !host_memory_populate(p->host, p->size, p->prealloc_threads, errp)) {
        g_prefix_error(errp, "memory backend '%s': ", id);
        return FALSE;
    }
    return TRUE;
}

static gboolean memory_backend_can_be_deleted(UserCreatable *self)
{
    MemoryBackendPrivate *p = memory_backend_get_instance_private(GW_MEMORY_BACKEND(self));

    return p->block == NULL;
}

static void user_creatable_init(UserCreatableInterface *iface)
{
    iface->complete = memory_backend_complete;
    iface->can_be_deleted = memory_backend_can_be_deleted;
}

static void memory_backend_finalize(GObject *obj)
{
    MemoryBackend *mb = GW_MEMORY_BACKEND(obj);
    MemoryBackendClass *cls = GW_MEMORY_BACKEND_GET_CLASS(mb);
    MemoryBackendPrivate *p = memory_backend_get_instance_private(mb);

    if (p->host) {
        if (cls->closing) {
            cls->closing(mb, p->host, p->size);
        }
        host_memory_unmap(p->host, p->size);
    }
    if (p->req.fd >= 0) {
        close(p->req.fd);
    }
    G_OBJECT_CLASS(memory_backend_parent_class)->finalize(obj);
}

static void memory_backend_init(MemoryBackend *mb)
{
    MemoryBackendPrivate *p = memory_backend_get_instance_private(mb);

    p->merge = p->dump = p->reserve = true;
    p->prealloc_threads = 1;
    p->req.fd = -1;
}

static void install_flag(GObjectClass *cls, guint id, const char *name, const char *what)
{
    g_object_class_install_property(
        cls, id, g_param_spec_boolean(name, NULL, what, FALSE, G_PARAM_READWRITE));
}

static void memory_backend_class_init(MemoryBackendClass *klass)
{
    GObjectClass *cls = G_OBJECT_CLASS(klass);

    cls->set_property = memory_backend_set;
    cls->get_property = memory_backend_get;
    cls->finalize = memory_backend_finalize;
    g_object_class_install_property(
        cls, PROP_SIZE,
        g_param_spec_uint64("size", NULL, "Bytes of memory", 0, G_MAXINT64, 0, G_PARAM_READWRITE));
    install_flag(cls, PROP_SHARE, "share", "Visible to other processes");
    install_flag(cls, PROP_MERGE, "merge", "Let the host merge identical pages");
    install_flag(cls, PROP_DUMP, "dump", "Part of core dumps");
    install_flag(cls, PROP_PREALLOC, "prealloc", "Populate at creation");
    g_object_class_install_property(cls, PROP_PREALLOC_THREADS,
                                    g_param_spec_uint("prealloc-threads", NULL,
                                                      "Threads that populate", 1, 64, 1,
                                                      G_PARAM_READWRITE));
    install_flag(cls, PROP_RESERVE, "reserve", "Reserve swap or huge pages");
    install_flag(cls, PROP_CANONICAL_PATH, "x-use-canonical-path-for-ramblock-id",
                 "Name the RAM block /objects/ID");
}

uint64_t memory_backend_size(MemoryBackend *mb)
{
    MemoryBackendPrivate *p = memory_backend_get_instance_private(mb);

    return p->size;
}

static void release_block(RAMBlock *block)
{
    MemoryBackend *mb = block->owner;
    MemoryBackendPrivate *p = memory_backend_get_instance_private(mb);

    p->block = NULL;
    g_object_unref(mb);
}

RAMBlock *memory_backend_new_block(MemoryBackend *mb, RAMList *list, uint32_t flags, GError **errp)
{
    MemoryBackendPrivate *p = memory_backend_get_instance_private(mb);
    const char *id = object_id(G_OBJECT(mb));
    g_autofree char *name = g_strconcat(p->canonical_path ? "/objects/" : "", id, NULL);

    if (p->block) {
        error_setg(errp, "memory backend '%s' is in use already; give each user its own backend",
                   id);
        return NULL;
    }
    flags |= (p->share ? RAM_SHARED : 0) | (p->reserve ? 0 : RAM_NORESERVE) |
             (p->req.readonly ? RAM_READONLY : 0);
    p->block = ram_block_new_host(list, name, p->host, p->size, p->req.page_size, flags, p->req.fd,
                                  p->req.fd_offset, errp);
    if (p->block) {
        p->block->owner = g_object_ref(mb);
        p->block->free_host = release_block;
    }
    return p->block;
}

/* ---- memory-backend-ram ---- */

#define TYPE_MEMORY_BACKEND_RAM (memory_backend_ram_get_type())
G_DECLARE_FINAL_TYPE(MemoryBackendRam, memory_backend_ram, GW, MEMORY_BACKEND_RAM, MemoryBackend)
struct _MemoryBackendRam {
    MemoryBackend parent;
};
G_DEFINE_TYPE(MemoryBackendRam, memory_backend_ram, TYPE_MEMORY_BACKEND)
OBJECT_TYPE_REGISTER("memory-backend-ram", memory_backend_ram_get_type)

static void memory_backend_ram_init(MemoryBackendRam *self)
{
}

static void memory_backend_ram_class_init(MemoryBackendRamClass *cls)
{
}
