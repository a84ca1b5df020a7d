/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Image formats of the boot loader: ELF64 and uImage. Every offset and length is checked against
 * the file. */
#include <elf.h>
#include "hw/core/loader-internal.h"

#ifndef EM_RISCV
#define EM_RISCV 243
#endif

/* ---- ELF64, little-endian, riscv ---- */

bool elf_probe(GBytes *bytes)
{
    size_t len;
    const uint8_t *p = g_bytes_get_data(bytes, &len);

    return len >= SELFMAG && memcmp(p, ELFMAG, SELFMAG) == 0;
}

static bool elf_header(const char *path, GBytes *bytes, Elf64_Ehdr *eh, GError **errp)
{
    size_t len;
    const uint8_t *p = g_bytes_get_data(bytes, &len);

    if (len < sizeof(*eh)) {
        error_setg(errp, "%s: truncated ELF header", path);
        return false;
    }
    memcpy(eh, p, sizeof(*eh));
    if (eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_ident[EI_DATA] != ELFDATA2LSB ||
        GUINT16_FROM_LE(eh->e_machine) != EM_RISCV) {
        error_setg(errp, "%s: not a 64-bit little-endian RISC-V ELF file", path);
        return false;
    }

    uint64_t phoff = GUINT64_FROM_LE(eh->e_phoff);
    uint64_t table = (uint64_t)GUINT16_FROM_LE(eh->e_phnum) * sizeof(Elf64_Phdr);

    if (GUINT16_FROM_LE(eh->e_phentsize) != sizeof(Elf64_Phdr) || phoff > len ||
        table > len - phoff) {
        error_setg(errp, "%s: ELF program headers are outside the file", path);
        return false;
    }
    return true;
}

bool elf_load(Loader *l, const char *path, GBytes *bytes, LoadedImage *out, GError **errp)
{
    size_t len;
    const uint8_t *p = g_bytes_get_data(bytes, &len);
    Elf64_Ehdr eh;

    if (!elf_header(path, bytes, &eh, errp)) {
        return false;
    }
    *out =
        (LoadedImage){.kind = IMAGE_ELF, .low = UINT64_MAX, .entry = GUINT64_FROM_LE(eh.e_entry)};
    for (unsigned i = 0; i < GUINT16_FROM_LE(eh.e_phnum); i++) {
        Elf64_Phdr ph;

        memcpy(&ph, p + GUINT64_FROM_LE(eh.e_phoff) + i * sizeof(ph), sizeof(ph));

        uint64_t offset = GUINT64_FROM_LE(ph.p_offset), addr = GUINT64_FROM_LE(ph.p_paddr);
        uint64_t filesz = GUINT64_FROM_LE(ph.p_filesz), memsz = GUINT64_FROM_LE(ph.p_memsz);

        if (GUINT32_FROM_LE(ph.p_type) != PT_LOAD || memsz == 0) {
            continue;
        }
        if (filesz > memsz || offset > len || filesz > len - offset) {
            error_setg(errp, "%s: ELF segment %u is outside the file", path, i);
            return false;
        }

        if (!loader_is_memory(l, addr, memsz)) {
            /* Linkers put headers and notes at addresses nobody asked for; stock QEMU drops them.
             */
            warn_report("%s: ELF segment %u at 0x%" PRIx64 " is outside guest memory, not loaded",
                        path, i, addr);
            continue;
        }

        g_autoptr(GBytes) segment = g_bytes_new_from_bytes(bytes, offset, filesz);
        if (!loader_add_bytes(l, path, addr, segment, memsz, errp)) {
            return false;
        }
        out->low = MIN(out->low, addr);
        out->high = MAX(out->high, addr + memsz);
    }
    if (out->high == 0) {
        error_setg(errp, "%s: ELF file without a segment in guest memory", path);
        return false;
    }
    return true;
}

/* ---- uImage: a 64-byte big-endian header in front of the image ---- */

#define UIMAGE_MAGIC  0x27051956
#define UIMAGE_HEADER 64

enum { UIMAGE_SIZE = 12, UIMAGE_LOAD = 16, UIMAGE_ENTRY = 20, UIMAGE_TYPE = 30, UIMAGE_COMP = 31 };
enum { UIMAGE_TYPE_KERNEL = 2, UIMAGE_COMP_NONE = 0 };

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

bool uimage_probe(GBytes *bytes)
{
    size_t len;
    const uint8_t *p = g_bytes_get_data(bytes, &len);

    return len >= UIMAGE_HEADER && be32(p) == UIMAGE_MAGIC;
}

bool uimage_load(Loader *l, const char *path, GBytes *bytes, LoadedImage *out, GError **errp)
{
    size_t len;
    const uint8_t *p = g_bytes_get_data(bytes, &len);
    uint32_t size = be32(p + UIMAGE_SIZE);

    if (p[UIMAGE_TYPE] != UIMAGE_TYPE_KERNEL || p[UIMAGE_COMP] != UIMAGE_COMP_NONE) {
        error_setg(errp, "%s: not an uncompressed kernel uImage (type %u, compression %u)", path,
                   p[UIMAGE_TYPE], p[UIMAGE_COMP]);
        return false;
    }
    if (size == 0 || size > len - UIMAGE_HEADER) {
        error_setg(errp, "%s: uImage of %u bytes is %s", path, size, size ? "truncated" : "empty");
        return false;
    }

    g_autoptr(GBytes) body = g_bytes_new_from_bytes(bytes, UIMAGE_HEADER, size);
    *out = (LoadedImage){.kind = IMAGE_UIMAGE,
                         .low = be32(p + UIMAGE_LOAD),
                         .high = (hwaddr)be32(p + UIMAGE_LOAD) + size,
                         .entry = be32(p + UIMAGE_ENTRY)};
    return loader_add_bytes(l, path, out->low, body, 0, errp);
}
