/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The codecs of single values (spec 10 section 11.2). Containers (lists, trees) are in
 * vmstate-lists.c.
 *
 * A reader's short stream is an error of the file; vmstate_load_state() looks at it after every
 * field, so the codecs here only judge values.
 */
#include "migration/vmstate.h"
#include "util/bitmap.h"

/* A codec that stores what it reads. */
#define PLAIN_CODEC(ident, json_name, type, bits)                                          \
    static bool get_##ident(QEMUFile *f, void *pv, size_t size, const VMStateField *field, \
                            GError **errp)                                                 \
    {                                                                                      \
        *(type *)pv = (type)qemu_get_be##bits(f);                                          \
        return true;                                                                       \
    }                                                                                      \
    static bool put_##ident(QEMUFile *f, void *pv, size_t size, const VMStateField *field, \
                            GError **errp)                                                 \
    {                                                                                      \
        qemu_put_be##bits(f, *(type *)pv);                                                 \
        return true;                                                                       \
    }                                                                                      \
    const VMStateInfo vmstate_info_##ident = {json_name, get_##ident, put_##ident};

/* A codec whose value must already be there: both sides were configured alike. */
#define EQUAL_CODEC(ident, json_name, type, bits)                                                  \
    static bool get_##ident##_equal(QEMUFile *f, void *pv, size_t size, const VMStateField *field, \
                                    GError **errp)                                                 \
    {                                                                                              \
        type v = (type)qemu_get_be##bits(f);                                                       \
                                                                                                   \
        if (v != *(type *)pv && qemu_file_ok(f)) {                                                 \
            error_setg(errp, "value 0x%" PRIx64 " differs from 0x%" PRIx64 " here", (uint64_t)v,   \
                       (uint64_t) * (type *)pv);                                                   \
            return false;                                                                          \
        }                                                                                          \
        return true;                                                                               \
    }                                                                                              \
    const VMStateInfo vmstate_info_##ident##_equal = {json_name, get_##ident##_equal, put_##ident};

#define qemu_get_be8 qemu_get_byte
#define qemu_put_be8 qemu_put_byte

PLAIN_CODEC(int8, "int8", int8_t, 8)
PLAIN_CODEC(int16, "int16", int16_t, 16)
PLAIN_CODEC(int32, "int32", int32_t, 32)
PLAIN_CODEC(int64, "int64", int64_t, 64)
PLAIN_CODEC(uint8, "uint8", uint8_t, 8)
PLAIN_CODEC(uint16, "uint16", uint16_t, 16)
PLAIN_CODEC(uint32, "uint32", uint32_t, 32)
PLAIN_CODEC(uint64, "uint64", uint64_t, 64)
EQUAL_CODEC(uint8, "uint8 equal", uint8_t, 8)
EQUAL_CODEC(uint16, "uint16 equal", uint16_t, 16)
EQUAL_CODEC(int32, "int32 equal", int32_t, 32)
EQUAL_CODEC(uint32, "uint32 equal", uint32_t, 32)
EQUAL_CODEC(uint64, "int64 equal", uint64_t, 64)

static bool get_bool(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    *(bool *)pv = qemu_get_byte(f) != 0;
    return true;
}

static bool put_bool(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    qemu_put_byte(f, *(bool *)pv);
    return true;
}

const VMStateInfo vmstate_info_bool = {"bool", get_bool, put_bool};

static bool get_int32_le(QEMUFile *f, void *pv, size_t size, const VMStateField *field,
                         GError **errp)
{
    int32_t *current = pv;
    int32_t v = (int32_t)qemu_get_be32(f);

    if (v < 0 || v > *current) {
        error_setg(errp, "value %d is not between 0 and %d", v, *current);
        return false;
    }
    *current = v;
    return true;
}

const VMStateInfo vmstate_info_int32_le = {"int32 le", get_int32_le, put_int32};

static bool get_timer(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    QEMUTimer *timer = pv;
    uint64_t expire = qemu_get_be64(f);

    if (!qemu_file_ok(f)) {
        return true;
    }
    if (expire == UINT64_MAX) {
        timer_del(timer);
    } else {
        timer_mod_ns(timer, MIN(expire, (uint64_t)INT64_MAX));
    }
    return true;
}

static bool put_timer(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    qemu_put_be64(f, timer_expire_time_ns(pv));
    return true;
}

const VMStateInfo vmstate_info_timer = {"timer", get_timer, put_timer};

/* Upper half first: the same bytes as a be64. */
const VMStateInfo vmstate_info_cpudouble = {"CPU_Double_U", get_uint64, put_uint64};

static bool get_buffer(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    qemu_get_buffer(f, pv, size);
    return true;
}

static bool put_buffer(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    qemu_put_buffer(f, pv, size);
    return true;
}

const VMStateInfo vmstate_info_buffer = {"buffer", get_buffer, put_buffer};

static bool get_unused_buffer(QEMUFile *f, void *pv, size_t size, const VMStateField *field,
                              GError **errp)
{
    qemu_file_skip(f, size);
    return true;
}

static bool put_unused_buffer(QEMUFile *f, void *pv, size_t size, const VMStateField *field,
                              GError **errp)
{
    static const uint8_t zeros[256];

    for (size_t left = size; left;) {
        size_t n = MIN(left, sizeof(zeros));

        qemu_put_buffer(f, zeros, n);
        left -= n;
    }
    return true;
}

const VMStateInfo vmstate_info_unused_buffer = {"unused_buffer", get_unused_buffer,
                                                put_unused_buffer};

/* @size is a number of bits. */
static bool get_bitmap(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    unsigned long *map = pv;

    G_STATIC_ASSERT(sizeof(unsigned long) == sizeof(uint64_t));
    for (size_t i = 0; i < BITS_TO_LONGS(size); i++) {
        map[i] = qemu_get_be64(f);
    }
    return true;
}

static bool put_bitmap(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    unsigned long *map = pv;

    for (size_t i = 0; i < BITS_TO_LONGS(size); i++) {
        qemu_put_be64(f, map[i]);
    }
    return true;
}

const VMStateInfo vmstate_info_bitmap = {"bitmap", get_bitmap, put_bitmap};

/* Stands for an absent element of an array of pointers. */
#define NULL_MARKER '0'

static bool get_nullptr(QEMUFile *f, void *pv, size_t size, const VMStateField *field,
                        GError **errp)
{
    uint8_t v = qemu_get_byte(f);

    if (v != NULL_MARKER && qemu_file_ok(f)) {
        error_setg(errp, "element is absent here but the stream has one (byte 0x%02x)", v);
        return false;
    }
    return true;
}

static bool put_nullptr(QEMUFile *f, void *pv, size_t size, const VMStateField *field,
                        GError **errp)
{
    qemu_put_byte(f, NULL_MARKER);
    return true;
}

const VMStateInfo vmstate_info_nullptr = {"uint64", get_nullptr, put_nullptr};
