/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef GODWIT_HW_CORE_LOADER_INTERNAL_H
#define GODWIT_HW_CORE_LOADER_INTERNAL_H

#include "hw/core/loader.h"
#include "util/error.h"

/* Is [addr, addr + len) guest memory all the way? */
bool loader_is_memory(Loader *l, hwaddr addr, uint64_t len);
/* Does @bytes look like one? */
bool elf_probe(GBytes *bytes);
bool uimage_probe(GBytes *bytes);
/* Check all headers, then add the contents. */
bool elf_load(Loader *l, const char *path, GBytes *bytes, LoadedImage *out, GError **errp);
bool uimage_load(Loader *l, const char *path, GBytes *bytes, LoadedImage *out, GError **errp);

#endif
