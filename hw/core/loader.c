/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Boot images in guest memory: the list, its checks, and files. */
#include <sys/stat.h>
#include "hw/core/loader-internal.h"

#define MAX_IMAGE_SIZE (4 * GiB)

typedef struct {
    char *name;
    hwaddr addr;
    const uint8_t *data;
    uint64_t len;     /* bytes of data */
    uint64_t mem_len; /* bytes of memory; the rest is zeroed */
    GBytes *bytes;    /* owner of data, or NULL */
} Blob;

struct Loader {
    AddressSpace *as;
    GPtrArray *blobs;
};

static void blob_free(void *p)
{
    Blob *b = p;

    g_clear_pointer(&b->bytes, g_bytes_unref);
    g_free(b->name);
    g_free(b);
}

Loader *loader_new(AddressSpace *as)
{
    Loader *l = g_new0(Loader, 1);

    l->as = as;
    l->blobs = g_ptr_array_new_with_free_func(blob_free);
    return l;
}

void loader_free(Loader *l)
{
    if (l) {
        g_ptr_array_unref(l->blobs);
        g_free(l);
    }
}

bool loader_is_memory(Loader *l, hwaddr addr, uint64_t len)
{
    if (addr + len < addr) {
        return false;
    }
    while (len > 0) {
        MemoryTranslation t;

        address_space_translate(l->as, addr, &t);
        if (!t.host || t.len == 0) {
            return false;
        }

        uint64_t n = MIN(len, t.len);
        addr += n;
        len -= n;
    }
    return true;
}

static bool add(Loader *l, const Blob *blob, GError **errp)
{
    if (!loader_is_memory(l, blob->addr, blob->mem_len)) {
        error_setg(errp, "%s: no guest memory for 0x%" PRIx64 " bytes at 0x%" PRIx64, blob->name,
                   blob->mem_len, blob->addr);
        return false;
    }
    for (guint i = 0; i < l->blobs->len; i++) {
        const Blob *other = l->blobs->pdata[i];

        if (blob->addr < other->addr + other->mem_len && other->addr < blob->addr + blob->mem_len) {
            error_setg(errp,
                       "%s at 0x%" PRIx64 "..0x%" PRIx64 " overlaps %s at 0x%" PRIx64 "..0x%" PRIx64
                       "; give the machine more memory or smaller images",
                       blob->name, blob->addr, blob->addr + blob->mem_len, other->name, other->addr,
                       other->addr + other->mem_len);
            return false;
        }
    }
    g_ptr_array_add(l->blobs, g_memdup2(blob, sizeof(*blob)));
    return true;
}

bool loader_add_data(Loader *l, const char *name, hwaddr addr, const void *data, uint64_t len,
                     GError **errp)
{
    Blob blob = {.name = g_strdup(name), .addr = addr, .data = data, .len = len, .mem_len = len};

    if (!add(l, &blob, errp)) {
        g_free(blob.name);
        return false;
    }
    return true;
}

bool loader_add_bytes(Loader *l, const char *name, hwaddr addr, GBytes *bytes, uint64_t mem_len,
                      GError **errp)
{
    size_t len;
    const void *data = g_bytes_get_data(bytes, &len);
    Blob blob = {.name = g_strdup(name),
                 .addr = addr,
                 .data = data,
                 .len = len,
                 .mem_len = MAX(mem_len, len),
                 .bytes = g_bytes_ref(bytes)};

    if (!add(l, &blob, errp)) {
        g_bytes_unref(blob.bytes);
        g_free(blob.name);
        return false;
    }
    return true;
}

GBytes *loader_read_file(const char *path, uint64_t max, GError **errp)
{
    struct stat st;
    char *data;
    size_t len;

    if (stat(path, &st) < 0) {
        error_setg_errno(errp, errno, "could not open '%s'", path);
        return NULL;
    }
    if (!S_ISREG(st.st_mode)) {
        error_setg(errp, "'%s' is not a regular file", path);
        return NULL;
    }
    if ((uint64_t)st.st_size > max) {
        error_setg(errp, "'%s' is larger than 0x%" PRIx64 " bytes", path, max);
        return NULL;
    }
    if (!g_file_get_contents(path, &data, &len, errp)) {
        return NULL;
    }
    return g_bytes_new_take(data, len);
}

bool loader_add_file(Loader *l, const char *path, hwaddr raw_addr, LoadedImage *out, GError **errp)
{
    g_autoptr(GBytes) bytes = loader_read_file(path, MAX_IMAGE_SIZE, errp);

    if (!bytes) {
        return false;
    }
    if (elf_probe(bytes)) {
        return elf_load(l, path, bytes, out, errp);
    }
    if (uimage_probe(bytes)) {
        return uimage_load(l, path, bytes, out, errp);
    }
    *out = (LoadedImage){.kind = IMAGE_RAW,
                         .low = raw_addr,
                         .high = raw_addr + g_bytes_get_size(bytes),
                         .entry = raw_addr};
    return loader_add_bytes(l, path, raw_addr, bytes, 0, errp);
}

static void zero_memory(Loader *l, hwaddr addr, uint64_t len)
{
    static const uint8_t zeroes[64 * KiB];

    while (len > 0) {
        uint64_t n = MIN(len, sizeof(zeroes));

        address_space_write_rom(l->as, addr, zeroes, n);
        addr += n;
        len -= n;
    }
}

void loader_reset(Loader *l)
{
    for (guint i = 0; i < l->blobs->len; i++) {
        const Blob *b = l->blobs->pdata[i];

        address_space_write_rom(l->as, b->addr, b->data, b->len);
        zero_memory(l, b->addr + b->len, b->mem_len - b->len);
    }
}
