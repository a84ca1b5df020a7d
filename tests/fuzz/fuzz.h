/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the fuzz targets share: the input as a sequence of choices, and streams in memory. */
#ifndef GODWIT_TESTS_FUZZ_H
#define GODWIT_TESTS_FUZZ_H

#include "io/channel-buffer.h"
#include "migration/qemu-file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

typedef struct {
    const uint8_t *at, *end;
} FuzzInput;

static inline size_t fuzz_left(const FuzzInput *in)
{
    return in->end - in->at;
}

/* The next @bytes as a little-endian number; zeroes when there are no more. */
static inline uint64_t fuzz_take(FuzzInput *in, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes && in->at < in->end; i++) {
        value |= (uint64_t)*in->at++ << (8 * i);
    }
    return value;
}

/* A file that delivers @len bytes and ends. Close with qemu_fclose(). */
static inline QEMUFile *fuzz_file(const uint8_t *bytes, size_t len)
{
    g_autoptr(QIOChannelBuffer) ioc = io_channel_buffer_new();

    if (len) {
        g_byte_array_append(io_channel_buffer_bytes(ioc), bytes, len);
    }
    return qemu_file_new_input(IO_CHANNEL(ioc));
}

/* An error is set exactly if something failed, and says something. */
static inline void fuzz_check_error(bool ok, const GError *err)
{
    g_assert_true(ok == !err);
    g_assert_true(!err || err->message[0]);
}

#endif
