/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Save to and load from bytes in memory. */
#ifndef GODWIT_TESTS_VMSTATE_HELPER_H
#define GODWIT_TESTS_VMSTATE_HELPER_H

#include "io/channel-buffer.h"
#include "migration/vmdesc.h"

/* "01 02 ff" -> bytes. */
static inline GByteArray *bytes_from_hex(const char *hex)
{
    GByteArray *a = g_byte_array_new();

    while (*hex) {
        if (g_ascii_isxdigit(hex[0])) {
            uint8_t b = g_ascii_xdigit_value(hex[0]) << 4 | g_ascii_xdigit_value(hex[1]);

            g_byte_array_append(a, &b, 1);
            hex += 2;
        } else {
            hex++;
        }
    }
    return a;
}

static inline char *bytes_to_hex(const GByteArray *a)
{
    GString *s = g_string_new(NULL);

    for (guint i = 0; i < a->len; i++) {
        g_string_append_printf(s, i ? " %02x" : "%02x", a->data[i]);
    }
    return g_string_free(s, FALSE);
}

/* The hex text of the saved body, or NULL and *errp. */
static inline char *save_hex(const VMStateDescription *vmsd, void *opaque, VMDescWriter *desc,
                             GError **errp)
{
    g_autoptr(QIOChannelBuffer) ioc = io_channel_buffer_new();
    QEMUFile *f = qemu_file_new_output(IO_CHANNEL(ioc));
    bool ok = vmstate_save_state(f, vmsd, opaque, desc, errp);

    qemu_fflush(f);
    char *hex = ok ? bytes_to_hex(io_channel_buffer_bytes(ioc)) : NULL;
    qemu_fclose(f, NULL);
    return hex;
}

/* Load @hex; every byte must be used up. */
static inline bool load_hex(const VMStateDescription *vmsd, void *opaque, int version,
                            const char *hex, GError **errp)
{
    g_autoptr(QIOChannelBuffer) ioc = io_channel_buffer_new();
    g_autoptr(GByteArray) bytes = bytes_from_hex(hex);
    QEMUFile *f;
    bool ok;

    g_assert_true(!bytes->len ||
                  io_channel_write_all(IO_CHANNEL(ioc), bytes->data, bytes->len, NULL));
    f = qemu_file_new_input(IO_CHANNEL(ioc));
    ok = vmstate_load_state(f, vmsd, opaque, version, errp);
    if (ok) {
        g_assert_cmpuint(qemu_file_offset(f), ==, bytes->len);
    }
    qemu_fclose(f, NULL);
    return ok;
}

#endif
