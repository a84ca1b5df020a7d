/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is a buffer all zero?  The widest instruction set of the host is picked once,
 * on first use.  A few words are probed first, since most non-zero pages show it
 * early.  Pure, any thread.
 */
#ifndef GODWIT_UTIL_ZERO_H
#define GODWIT_UTIL_ZERO_H

#include "util/osdep.h"

/* True if @len bytes at @buf are zero.  Any alignment, any length. */
bool buffer_is_zero(const void *buf, size_t len);

/* Name of the chosen implementation ("avx512", "avx2", "sse2", "scalar"), for logs and benches. */
const char *buffer_is_zero_impl(void);

/* For tests: run implementation number @i; false once @i is beyond the ones this host has. */
bool buffer_is_zero_test_impl(unsigned i, const void *buf, size_t len, bool *result);

#endif
