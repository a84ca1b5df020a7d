/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The three ways of asking, apart so that each can be tested. Each sets bits of untouched pages in
 * the (cleared) bitmap, or leaves it cleared and returns false where the kernel or file system
 * cannot tell.
 */
#ifndef GODWIT_MEMORY_UNTOUCHED_H
#define GODWIT_MEMORY_UNTOUCHED_H

#include "memory/ramblock.h"

/* @pagemap: /proc/self/pagemap; @n pages from @host. */
bool untouched_by_scan(int pagemap, const uint8_t *host, uint64_t n, unsigned long *untouched);
bool untouched_by_pagemap(int pagemap, const uint8_t *host, uint64_t n, unsigned long *untouched);
/* Holes of a tmpfs or memfd file from byte @offset (page aligned). */
bool untouched_by_holes(int fd, uint64_t offset, uint64_t n, unsigned long *untouched);

#endif
