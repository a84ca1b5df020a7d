/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads that inflate COMPRESS_PAGE records where their pages lie (spec 20 section 9).
 *
 * The reader hands over pages, several at a time. A page comes at most once between two calls of
 * ram_decompress_drain(); one thread calls everything here.
 */
#ifndef GODWIT_MIGRATION_RAM_DECOMPRESS_H
#define GODWIT_MIGRATION_RAM_DECOMPRESS_H

#include "migration/qemu-file.h"

typedef struct RamDecompress RamDecompress;

/* NULL: no threads to be had. */
RamDecompress *ram_decompress_new(unsigned threads, GError **errp);
/* Pages handed over may be lost. NULL is fine. */
void ram_decompress_free(RamDecompress *d);
/* Length and bytes of the record for the page at @host are next in @f. */
bool ram_decompress_page(RamDecompress *d, QEMUFile *f, uint8_t *host, GError **errp);
/* All pages handed over are in place. NULL is fine. */
bool ram_decompress_drain(RamDecompress *d, GError **errp);

#endif
