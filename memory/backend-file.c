/* SPDX-License-Identifier: GPL-2.0-or-later */
/* memory-backend-file: a file or a directory of a memory file system, by path. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "memory/memory-backend.h"
#include "util/object.h"

#define TYPE_MEMORY_BACKEND_FILE (memory_backend_file_get_type())
G_DECLARE_FINAL_TYPE(MemoryBackendFile, memory_backend_file, GW, MEMORY_BACKEND_FILE, MemoryBackend)
struct _MemoryBackendFile {
    MemoryBackend parent;
    char *mem_path;
    uint64_t offset;
    uint64_t align;
    gboolean readonly;
    gboolean discard_data;
};
G_DEFINE_TYPE(MemoryBackendFile, memory_backend_file, TYPE_MEMORY_BACKEND)
OBJECT_TYPE_REGISTER("memory-backend-file", memory_backend_file_get_type)

enum {
    PROP_0,
    PROP_MEM_PATH,
    PROP_OFFSET,
    PROP_ALIGN,
    PROP_READONLY,
    PROP_DISCARD_DATA,
};

static void file_set(GObject *obj, guint id, const GValue *value, GParamSpec *spec)
{
    MemoryBackendFile *self = GW_MEMORY_BACKEND_FILE(obj);

    switch (id) {
    case PROP_MEM_PATH:
        g_free(self->mem_path);
        self->mem_path = g_value_dup_string(value);
        break;
    case PROP_OFFSET:
        self->offset = g_value_get_uint64(value);
        break;
    case PROP_ALIGN:
        self->align = g_value_get_uint64(value);
        break;
    case PROP_READONLY:
        self->readonly = g_value_get_boolean(value);
        break;
    case PROP_DISCARD_DATA:
        self->discard_data = g_value_get_boolean(value);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(obj, id, spec);
    }
}

static void file_get(GObject *obj, guint id, GValue *value, GParamSpec *spec)
{
    MemoryBackendFile *self = GW_MEMORY_BACKEND_FILE(obj);

    switch (id) {
    case PROP_MEM_PATH:
        g_value_set_string(value, self->mem_path);
        break;
    case PROP_OFFSET:
        g_value_set_uint64(value, self->offset);
        break;
    case PROP_ALIGN:
        g_value_set_uint64(value, self->align);
        break;
    case PROP_READONLY:
        g_value_set_boolean(value, self->readonly);
        break;
    case PROP_DISCARD_DATA:
        g_value_set_boolean(value, self->discard_data);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(obj, id, spec);
    }
}

/* The file itself, or a nameless one when the path is a directory (hugetlbfs mount, /dev/shm). */
static int open_path(const MemoryBackendFile *self, GError **errp)
{
    int flags = (self->readonly ? O_RDONLY : O_RDWR | O_CREAT) | O_CLOEXEC;
    int fd = open(self->mem_path, flags, 0600);

    if (fd < 0 && errno == EISDIR && !self->readonly) {
        g_autofree char *name = g_build_filename(self->mem_path, "godwit-ram-XXXXXX", NULL);

        fd = g_mkstemp_full(name, O_RDWR | O_CLOEXEC, 0600);
        if (fd >= 0) {
            unlink(name);
        }
    }
    if (fd < 0) {
        error_setg_errno(errp, errno, "cannot open '%s' for guest memory", self->mem_path);
    }
    return fd;
}

/* Make the file long enough; one that is read-only must be long enough already. */
static bool ensure_length(const MemoryBackendFile *self, int fd, uint64_t size, GError **errp)
{
    struct stat st;
    uint64_t need;

    if (__builtin_add_overflow(size, self->offset, &need) || need > INT64_MAX) {
        error_setg(errp, "offset 0x%" PRIx64 " is too large", self->offset);
        return false;
    }
    if (fstat(fd, &st) != 0) {
        error_setg_errno(errp, errno, "cannot inspect '%s'", self->mem_path);
        return false;
    }
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size >= need) {
        return true;
    }
    if (self->readonly) {
        error_setg(errp, "'%s' has 0x%" PRIx64 " bytes, 0x%" PRIx64 " are needed", self->mem_path,
                   (uint64_t)st.st_size, need);
        return false;
    }
    if (ftruncate(fd, need) != 0) {
        error_setg_errno(errp, errno, "cannot extend '%s' to 0x%" PRIx64 " bytes", self->mem_path,
                         need);
        return false;
    }
    return true;
}

static bool file_open(MemoryBackend *mb, HostMemoryRequest *req, GError **errp)
{
    MemoryBackendFile *self = GW_MEMORY_BACKEND_FILE(mb);

    if (!self->mem_path || !*self->mem_path) {
        error_setg(errp, "'mem-path' must be given");
        return false;
    }
    req->fd = open_path(self, errp);
    if (req->fd < 0) {
        return false;
    }
    req->page_size = host_memory_fd_page_size(req->fd);
    if (self->offset % req->page_size) {
        error_setg(errp, "'offset' must be a multiple of the page size 0x%" PRIx64, req->page_size);
        return false;
    }
    if (self->align & (self->align - 1)) {
        error_setg(errp, "'align' must be a power of two");
        return false;
    }
    req->fd_offset = self->offset;
    req->align = self->align;
    req->readonly = self->readonly;
    return ensure_length(self, req->fd, req->size, errp);
}

static void file_closing(MemoryBackend *mb, void *host, uint64_t size)
{
    if (GW_MEMORY_BACKEND_FILE(mb)->discard_data) {
        madvise(host, size, MADV_REMOVE);
    }
}

static void file_finalize(GObject *obj)
{
    /* The base class calls closing(), which needs our fields. */
    g_autofree char *mem_path = GW_MEMORY_BACKEND_FILE(obj)->mem_path;

    G_OBJECT_CLASS(memory_backend_file_parent_class)->finalize(obj);
}

static void memory_backend_file_init(MemoryBackendFile *self)
{
}

static void memory_backend_file_class_init(MemoryBackendFileClass *klass)
{
    GObjectClass *cls = G_OBJECT_CLASS(klass);

    cls->set_property = file_set;
    cls->get_property = file_get;
    cls->finalize = file_finalize;
    GW_MEMORY_BACKEND_CLASS(klass)->open = file_open;
    GW_MEMORY_BACKEND_CLASS(klass)->closing = file_closing;
    g_object_class_install_property(
        cls, PROP_MEM_PATH,
        g_param_spec_string("mem-path", NULL, "File or directory", NULL, G_PARAM_READWRITE));
    g_object_class_install_property(cls, PROP_OFFSET,
                                    g_param_spec_uint64("offset", NULL, "First byte in the file", 0,
                                                        G_MAXINT64, 0, G_PARAM_READWRITE));
    g_object_class_install_property(cls, PROP_ALIGN,
                                    g_param_spec_uint64("align", NULL, "Alignment of the mapping",
                                                        0, 64 * GiB, 0, G_PARAM_READWRITE));
    g_object_class_install_property(
        cls, PROP_READONLY,
        g_param_spec_boolean("readonly", NULL, "The guest cannot write", FALSE, G_PARAM_READWRITE));
    g_object_class_install_property(cls, PROP_DISCARD_DATA,
                                    g_param_spec_boolean("discard-data", NULL,
                                                         "Contents are worthless at exit", FALSE,
                                                         G_PARAM_READWRITE));
}
