/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef GODWIT_HW_CORE_LOADER_INTERNAL_H
#define GODWIT_HW_CORE_LOADER_INTERNAL_H

#include "hw/core/loader.h"
#include "util/error.h"

/* Does @bytes look like one? */
bool elf_probe(GBytes *bytes);
bool uimage_probe(GBytes *bytes);
/* Check all headers, then add the contents. */
bool elf_load(Loader *l, const char *path, GBytes *bytes, LoadedImage *out, GError **errp);
bool uimage_load(Loader *l, const char *path, GBytes *bytes, LoadedImage *out, GError **errp);

#endif
