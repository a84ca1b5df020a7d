/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Codec of what travels on a multifd channel (spec 30 sections 2.1 and 3): bytes <-> structs, no
 * I/O, no state.
 *
 *   channel := init packet, once   then packets: header, payload
 *
 * Every byte decoded is the peer's word: decoders check all that can be checked without knowing the
 * guest.
 */
#ifndef GODWIT_MIGRATION_WIRE_MULTIFD_H
#define GODWIT_MIGRATION_WIRE_MULTIFD_H

#include "util/error.h"

#define MULTIFD_MAGIC        UINT32_C(0x11223344)
#define MULTIFD_VERSION      1
#define MULTIFD_CHANNELS_MAX 255

/* ---- init packet: the first 64 bytes of a channel, source to destination ---- */

#define MULTIFD_INIT_SIZE 64
#define MULTIFD_UUID_SIZE 16

typedef struct {
    uint8_t uuid[MULTIFD_UUID_SIZE]; /* of the VM, all zero without */
    uint8_t id;                      /* of the channel, from 0 */
} MultifdInit;

void multifd_encode_init(const MultifdInit *init, uint8_t buf[MULTIFD_INIT_SIZE]);
/* Magic and version are checked; whether uuid and id fit is the caller's business. */
bool multifd_decode_init(const uint8_t buf[MULTIFD_INIT_SIZE], MultifdInit *init, GError **errp);

#endif
