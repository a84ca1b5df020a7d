/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What every file of the tree may take for granted: the C library, GLib and a
 * handful of macros.  Included first by every .c file; includes nothing of ours.
 */
#ifndef GODWIT_UTIL_OSDEP_H
#define GODWIT_UTIL_OSDEP_H

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <glib.h>
#include <glib-object.h>

#define KiB (UINT64_C(1) << 10)
#define MiB (UINT64_C(1) << 20)
#define GiB (UINT64_C(1) << 30)

#define NANOSECONDS_PER_SECOND INT64_C(1000000000)
#define SCALE_MS               INT64_C(1000000)
#define SCALE_US               INT64_C(1000)

#define ROUND_UP(n, d)     ((((n) + (d)-1) / (d)) * (d))
#define ROUND_DOWN(n, d)   ((n) / (d) * (d))
#define DIV_ROUND_UP(n, d) (((n) + (d)-1) / (d))
#define ARRAY_SIZE(a)      G_N_ELEMENTS(a)

/* The structure that holds @member at address @ptr. */
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* 0, or a compile error when @cond is false; usable inside an expression. */
#define BUILD_ASSERT_ZERO(cond) (sizeof(struct { int : (cond) ? 1 : -1; }) * 0)

#define likely(x)   G_LIKELY(x)
#define unlikely(x) G_UNLIKELY(x)

/* Guest physical address; also the offset type inside RAM blocks is ram_addr_t. */
typedef uint64_t hwaddr;
typedef uint64_t ram_addr_t;
#define HWADDR_PRIx PRIx64

#endif
