/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Boot images: what is copied into guest memory at every system reset (spec 80 section 13). Files
 * are read once, when they are added, and fully checked before anything of them is used.
 */
#ifndef GODWIT_HW_CORE_LOADER_H
#define GODWIT_HW_CORE_LOADER_H

#include "memory/address-space.h"

typedef struct Loader Loader;

Loader *loader_new(AddressSpace *as);
void loader_free(Loader *l);

/*
 * Copy @data (owned by the caller, alive and possibly rewritten until loader_free()) to @addr at
 * every reset. Refused when there is no memory or another image.
 */
bool loader_add_data(Loader *l, const char *name, hwaddr addr, const void *data, uint64_t len,
                     GError **errp);
/* The same for bytes the loader keeps a reference of; zeroes follow up to @mem_len. */
bool loader_add_bytes(Loader *l, const char *name, hwaddr addr, GBytes *bytes, uint64_t mem_len,
                      GError **errp);

typedef enum { IMAGE_RAW, IMAGE_ELF, IMAGE_UIMAGE } ImageKind;

typedef struct {
    ImageKind kind;
    hwaddr low, high; /* loaded range, @high exclusive */
    hwaddr entry;     /* raw: low */
} LoadedImage;

/* Load @path: an ELF64 at its physical addresses, a uImage at its load address, anything else at
 * @raw_addr. */
bool loader_add_file(Loader *l, const char *path, hwaddr raw_addr, LoadedImage *out, GError **errp);
/* A whole regular file of at most @max bytes. */
GBytes *loader_read_file(const char *path, uint64_t max, GError **errp);

/* Copy everything. VM stopped, big lock. */
void loader_reset(Loader *l);

#endif
